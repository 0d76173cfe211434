package websocket

// Tests of contexts and turns that need no peer beyond an echo.

import "testing"

// A connection's own context is the natural one to read and write with, and the
// one that Handle's request has.
func TestConnReadsAndWritesWithItsOwnContext(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx := c.Context()
		p.sends(text("ping"))
		_, got, err := c.Read(ctx)
		if err != nil || string(got) != "ping" {
			t.Fatalf("Read: %q, %v", got, err)
		}
		if err := c.Write(ctx, Text, got); err != nil {
			t.Fatal(err)
		}
		p.want("the echo", text("ping"))
		p.sends(closeFrame(StatusNormalClosure, ""))
		if _, _, err := c.Read(ctx); CloseStatus(err) != StatusNormalClosure {
			t.Errorf("Read: %v, want the peer's 1000", err)
		}
		p.want("the answer to the Close", closeFrame(StatusNormalClosure, ""))
	})
}
