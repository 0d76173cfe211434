package websocket

import (
	"errors"
	"net"
	"net/http"
	"testing"
)

// An application may close a connection as soon as Open has shown it, while the
// connection is about to be watched.
func TestCloseWhileMessagesBeginToCome(t *testing.T) {
	for range 1000 {
		closed, over := make(chan error, 1), make(chan error, 1)
		s := &Server{
			Open: func(c *Conn, _ *http.Request) error {
				go func() { closed <- c.Close(StatusNormalClosure, "") }()
				return nil
			},
			Message: func(*Conn, Message) error { return nil },
			Closed:  func(_ *Conn, err error) { over <- err },
		}
		far, near := tcpPair(t)
		p := newPeer(t, far, true)
		if err := s.Serve(NewServerConn(near, quiet()), nil); err != nil {
			t.Fatal(err)
		}
		p.want("the Close of the application", closeFrame(1000, ""))
		p.sends(closeFrame(1000, ""))
		p.wantEOF("the server ends TCP")
		p.hangsUp()
		if err := <-closed; err != nil {
			t.Fatalf("Close: %v", err)
		}
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Closed got %v, want net.ErrClosed", err)
		}
	}
}
