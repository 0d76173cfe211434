package websocket

// A connection over TLS, where half-closing is an alert, a write that was cut can't
// go on, and a deaf peer keeps its alert waiting.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tlsPair connects two ends by TLS over loopback TCP.
func tlsPair(t testing.TB) (server, client *tls.Conn) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS() // for its certificate
	certificates := s.TLS.Certificates
	s.Close()
	a, b := tcpPair(t)
	dials := tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	accepts := tls.Server(b, &tls.Config{Certificates: certificates})
	shaken := make(chan error, 1)
	go func() { shaken <- accepts.HandshakeContext(t.Context()) }()
	if err := dials.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return accepts, dials
}

// tlsEndpoint connects an endpoint under test to a peer by TLS over loopback TCP.
func tlsEndpoint(t *testing.T, o *Options, client bool) (*Conn, *peer) {
	t.Helper()
	near, far := tlsPair(t)
	if client {
		near, far = far, near
	}
	return endpointOver(t, near, o, client), newPeer(t, far, !client)
}

// bothSidesTLS runs f with a server and with a client under test over TLS.
func bothSidesTLS(t *testing.T, o *Options, f func(t *testing.T, c *Conn, p *peer)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		t.Run(side(client), func(t *testing.T) {
			t.Parallel()
			c, p := tlsEndpoint(t, o, client)
			f(t, c, p)
		})
	}
}

func TestMessagesOverTLS(t *testing.T) {
	bothSidesTLS(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		for n := copyLimit - maxHeader - 2; n <= streamChunk+maxHeader+2; n++ {
			message := strings.Repeat("x", n)
			if err := c.Write(t.Context(), Binary, []byte(message)); err != nil {
				t.Fatal(err)
			}
			p.want("the whole message", binaryOf(message))
			p.sends(binaryOf(message))
			if _, data, err := c.Read(t.Context()); err != nil || string(data) != message {
				t.Fatalf("got %d octets of %d, %v", len(data), n, err)
			}
		}
	})
}

func TestReadResumesInsideAFrameOverTLS(t *testing.T) {
	bothSidesTLS(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		wire := p.wire(text("first").more(), cont("second"))
		for _, b := range wire {
			p.writes([]byte{b})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
			_, data, err := c.Read(ctx)
			cancel()
			if err == nil {
				if string(data) != "firstsecond" {
					t.Errorf("got %q", data)
				}
				return
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
		}
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "firstsecond" {
			t.Errorf("got %q, %v", data, err)
		}
	})
}

func TestCloseIsBoundedOverTLS(t *testing.T) {
	o := &Options{KeepAlive: -1, CloseTimeout: 200 * time.Millisecond}
	bothSidesTLS(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		stuck := make(chan error, 1)
		go func() { stuck <- c.Write(t.Context(), Binary, make([]byte, 64<<20)) }()
		got := readAsync(t.Context(), c)
		time.Sleep(100 * time.Millisecond) // for the Write to fill what there is of buffers
		begun := time.Now()
		if err := c.Close(StatusNormalClosure, ""); err == nil {
			t.Error("Close got nil of a peer that takes nothing")
		}
		if d := time.Since(begun); d > 4*time.Second { // TLS would wait five for its alert to leave
			t.Errorf("Close took %v", d)
		}
		if err := <-stuck; err == nil {
			t.Error("Write got nil")
		}
		if r := <-got; r.err != errClosed {
			t.Errorf("Read got %v, want net.ErrClosed", r.err)
		}
	})
}

func TestPeerThatTakesNothingForWriteTimeoutOverTLS(t *testing.T) {
	o := &Options{KeepAlive: -1, WriteTimeout: 100 * time.Millisecond}
	bothSidesTLS(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		begun := time.Now()
		err := c.Write(t.Context(), Binary, make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want os.ErrDeadlineExceeded", err)
		}
		if d := time.Since(begun); d < 100*time.Millisecond {
			t.Errorf("it came after %v, which is early", d)
		}
	})
}

func TestPeerInTheMiddleOfAnUploadSeesTheCodeOverTLS(t *testing.T) {
	bothSidesTLS(t, &Options{KeepAlive: -1, ReadLimit: 1000}, func(t *testing.T, c *Conn, p *peer) {
		p.sends(binaryOf(strings.Repeat("x", 8<<20)))
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrTooBig) {
			t.Errorf("got %v, want ErrTooBig", err)
		}
		p.want("1009, although the peer is still sending", closeFrame(StatusMessageTooBig, ""))
		p.sends(closeFrame(StatusMessageTooBig, ""))
		p.wantEOF("TLS ends with its alert")
	})
}

func TestClosingHandshakeOverTLS(t *testing.T) {
	bothSidesTLS(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusGoingAway, "bye") }()
		p.want("our Close", closeFrame(StatusGoingAway, "bye"))
		p.sends(text("crossed it"), closeFrame(StatusGoingAway, ""))
		if p.client {
			p.wantEOF("the server ends TLS first (7.1.1)")
		}
		p.hangsUp()
		if err := <-closed; err != nil {
			t.Errorf("Close got %v", err)
		}
	})
	bothSidesTLS(t, quiet(), func(t *testing.T, c *Conn, p *peer) { // the end of TLS is not the end of a message
		p.sends(text("half").more())
		p.stopsTalking()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read got %v, want io.ErrUnexpectedEOF", err)
		}
	})
}

// deadlined remembers the deadline of its writes.
type deadlined struct {
	net.Conn
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *deadlined) SetWriteDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
	return c.Conn.SetWriteDeadline(at)
}

// wantNonePassed waits for d and fails if a deadline passes meanwhile, and if one is set then.
func (c *deadlined) wantNonePassed(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		synctest.Wait()
		c.mu.Lock()
		at := c.at
		c.mu.Unlock()
		switch done := !time.Now().Before(end); {
		case !at.IsZero() && !time.Now().Before(at):
			t.Fatal("a write deadline has passed while nobody wrote")
		case done && !at.IsZero():
			t.Fatal("a write deadline is left")
		case done:
			return
		}
	}
}

// crypto/tls writes in a Read where the peer asks for new keys (RFC 8446 section 4.6.3), and after a deadline that passed it never
// writes again: none passes while nobody writes, whatever was written.
func TestNoWriteDeadlineIsLeftBehind(t *testing.T) {
	const timeout = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble = true
		conn := &deadlined{Conn: near}
		c := endpointOver(t, conn, &Options{KeepAlive: -1, WriteTimeout: timeout}, false)
		got := readAsync(t.Context(), c)
		m, err := c.Writer(t.Context(), Text)
		if err == nil {
			_, err = m.Write([]byte("in two"))
		}
		err = errors.Join(err, m.Close(), c.Write(t.Context(), Binary, make([]byte, 100_000)), c.Send(prepared(t, Text, "queued")))
		p.sends(ping("x"), text("end"))
		if r := <-got; errors.Join(err, r.err) != nil {
			t.Fatal(err, r.err)
		}
		conn.wantNonePassed(t, 2*timeout)
		for i := range 50 { // one write after the other
			if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
				t.Fatal(i, err)
			}
			time.Sleep(timeout / 10)
		}
		conn.wantNonePassed(t, 2*timeout)
	})
}

// Nor is one left where a write goes on when that is looked for; but that write has its own.
func TestNoWriteDeadlineIsLeftBehindASlowWrite(t *testing.T) {
	const timeout = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		conn := &deadlined{Conn: near}
		c := endpointOver(t, conn, &Options{KeepAlive: -1, WriteTimeout: timeout}, false)
		taken := func(after time.Duration) {
			time.Sleep(after)
			if _, err := far.Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			for _, after := range []time.Duration{0, timeout * 8 / 10} { // the second begins soon enough to keep the first one's deadline
				go taken(after)
				if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(timeout * 4 / 10)
			}
			conn.wantNonePassed(t, 2*timeout)
		}
		go taken(0)
		err := c.Write(t.Context(), Text, []byte("x"))
		time.Sleep(timeout * 4 / 10)
		began := time.Now()
		if lost := c.Write(t.Context(), Text, []byte("y")); err != nil || lost == nil || time.Since(began) > 2*timeout {
			t.Errorf("a write that the peer does not take: %v and %v after %v", err, lost, time.Since(began))
		}
	})
}

// A TLS handshake that the context of a read has cut short can't go on: every read has the error of its deadline again.
// That ends the connection, and no read tries for ever.
func TestReadDoesNotSpinWhereADeadlineStays(t *testing.T) {
	for _, keepAlive := range []time.Duration{-1, time.Minute} {
		near, far := tcpPair(t)
		defer far.Close()
		c := NewServerConn(tls.Server(near, &tls.Config{MinVersion: tls.VersionTLS12}), &Options{KeepAlive: keepAlive})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		limited, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, _, err := c.Read(limited); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("keepalive %v: got %v, want the end of the stream", keepAlive, err)
		}
		_ = c.CloseNow()
	}
}
