package conform

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A key that comes twice is told whichever of the two cases ends first: clients may run them side by side.
func TestKeyThatComesTwiceIsToldInAnyOrder(t *testing.T) {
	for _, order := range [][]string{{"4.1-key-fresh", "4.1-key"}, {"4.1-key", "4.1-key-fresh"}} {
		exam, err := Listen("127.0.0.1:0", nil, Config{Patience: 200 * time.Millisecond, Match: func(c *Case) bool { return c.ID == order[0] || c.ID == order[1] }})
		if err != nil {
			t.Fatal(err)
		}
		addr := strings.Trim(strings.TrimPrefix(exam.URL(), "ws:"), "/")
		for _, id := range order {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(conn, "GET /case/%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", id, addr)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
		found := false
		for _, r := range exam.Results() {
			found = found || r.ID == "4.1-key-fresh" && r.Verdict == Wrong && strings.Contains(r.Why, "Sec-WebSocket-Key")
		}
		if !found {
			t.Errorf("%v: the key that came twice is not told: %v", order, exam.Results())
		}
		_ = exam.Close()
	}
}
