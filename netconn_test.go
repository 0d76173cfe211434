package websocket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// netConns runs f with both ends of a connection as net.Conns: over loopback TCP
// and over a stream that has to be read by its methods.
func netConns(t *testing.T, f func(t *testing.T, a, b net.Conn)) {
	t.Helper()
	for _, hidden := range []bool{false, true} {
		for _, swapped := range []bool{false, true} {
			name := map[bool]string{false: "tcp", true: "wrapped"}[hidden] + "/" + side(swapped)
			t.Run(name, func(t *testing.T) {
				near, far := tcpPair(t)
				if hidden {
					near, far = wrapped{near}, wrapped{far}
				}
				a := NetConn(endpointOver(t, near, quiet(), swapped), Binary)
				b := NetConn(endpointOver(t, far, quiet(), !swapped), Binary)
				f(t, a, b)
			})
		}
	}
}

// echo writes what it reads until either fails.
func echo(c net.Conn) { _, _ = io.Copy(c, c) } // an error shows at the other end

// checkTimeout checks that n and err are what a net.Conn returns after a deadline.
func checkTimeout(t *testing.T, what string, n int, err error) {
	t.Helper()
	timeout, ok := err.(net.Error)
	if n != 0 || !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: got %d and %v, want 0 and a timeout", what, n, err)
	}
}

// roundTrip sends some octets to an echo and wants them back.
func roundTrip(t *testing.T, c net.Conn, sent string) {
	t.Helper()
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write([]byte(sent)); n != len(sent) || err != nil {
		t.Fatalf("write %q: got %d and %v", sent, n, err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != sent {
		t.Fatalf("read %q and %v, want %q", got, err, sent)
	}
}

// The tests from here on are those of golang.org/x/net/nettest for any net.Conn,
// but for what needs a Write that stopped halfway to be gone on with.

func TestNetConnBasicIO(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		sent := make([]byte, 3<<20+7)
		_, _ = rand.NewChaCha8(sha256.Sum256(nil)).Read(sent) // never fails
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				n, err := a.Write(rest[:min(len(rest), 1000+len(rest)/3)])
				if err != nil {
					t.Error(err)
					break
				}
				rest = rest[n:]
			}
			if err := a.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("got %d octets and %v, want the %d that were sent", len(got), err, len(sent))
		}
		wg.Wait()
	})
}

func TestNetConnPingPong(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		go echo(b)
		for range 100 {
			roundTrip(t, a, "ping")
		}
	})
}

func TestNetConnRacyReadsAndWrites(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		var both, echoes sync.WaitGroup
		echoes.Go(func() { echo(b) })
		for range 5 {
			both.Go(func() {
				p := make([]byte, 100)
				for range 50 {
					_ = a.SetReadDeadline(time.Now().Add(time.Duration(rand.N(2000)) * time.Microsecond))
					if n, err := a.Read(p); err != nil {
						checkTimeout(t, "racy read", n, err)
					}
				}
			})
			both.Go(func() {
				for range 20 {
					if _, err := a.Write(make([]byte, 50)); err != nil {
						t.Errorf("racy write: %v", err)
					}
				}
			})
		}
		both.Wait()
		_ = a.SetReadDeadline(time.Time{})
		go func() { _ = a.Close() }()
		echoes.Wait()
	})
}

// A passed deadline of one direction leaves the other alone.
func TestNetConnTimeoutsAreApart(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		_ = a.SetReadDeadline(longAgo)
		n, err := a.Read(make([]byte, 10))
		checkTimeout(t, "read after its deadline", n, err)
		if _, err := a.Write([]byte("goes on")); err != nil {
			t.Errorf("write while reads have timed out: %v", err)
		}
		_ = b.SetWriteDeadline(longAgo)
		n, err = b.Write([]byte("x"))
		checkTimeout(t, "write after its deadline", n, err)
		p := make([]byte, 7)
		if _, err := io.ReadFull(b, p); err != nil || string(p) != "goes on" {
			t.Errorf("read while writes have timed out: %q and %v", p, err)
		}
	})
}

func TestNetConnPastDeadline(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		go echo(b)
		roundTrip(t, a, "before")
		for range 3 {
			_ = a.SetDeadline(longAgo)
			n, err := a.Write(make([]byte, 1024))
			checkTimeout(t, "write", n, err)
			n, err = a.Read(make([]byte, 1024))
			checkTimeout(t, "read", n, err)
			roundTrip(t, a, "after")
		}
	})
}

// A deadline that is set while a Read and a Write wait ends both.
func TestNetConnPresentDeadline(t *testing.T) {
	netConns(t, func(t *testing.T, a, _ net.Conn) {
		var wg sync.WaitGroup
		full := make(chan struct{})
		wg.Go(func() {
			n, err := a.Read(make([]byte, 1))
			checkTimeout(t, "read", n, err)
		})
		wg.Go(func() {
			var err error
			for n := 0; err == nil; n++ { // until nothing more fits, then once more
				if _, err = a.Write(make([]byte, 1<<20)); n == 0 {
					close(full)
				}
			}
			checkTimeout(t, "write", 0, err)
		})
		<-full
		_ = a.SetDeadline(longAgo)
		wg.Wait()
	})
}

// A deadline that passes while a Read waits, inside a message, loses nothing.
func TestNetConnReadDeadlineLosesNothing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		n := NetConn(c, Binary)
		got := make([]byte, 20)
		p.sends(binaryOf("one").more())
		if k, err := n.Read(got); string(got[:k]) != "one" || err != nil {
			t.Fatalf("got %q and %v, want the first fragment", got[:k], err)
		}
		for range 3 {
			_ = n.SetReadDeadline(time.Now().Add(time.Minute))
			began := time.Now()
			k, err := n.Read(got)
			checkTimeout(t, "between two fragments", k, err)
			if waited := time.Since(began); waited != time.Minute {
				t.Errorf("waited %v, want a minute", waited)
			}
		}
		k, err := n.Read(got)
		checkTimeout(t, "the deadline is still over", k, err)
		_ = n.SetReadDeadline(time.Time{})
		p.sends(cont("two"), binaryOf(""), binaryOf("three"))
		for _, want := range []string{"two", "three"} {
			if k, err := n.Read(got); string(got[:k]) != want || err != nil {
				t.Fatalf("got %q and %v, want %q", got[:k], err, want)
			}
		}
	})
}

// A deadline that is moved holds for the Read that waits.
func TestNetConnDeadlineMovesUnderARead(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, _ *peer) {
		n := NetConn(c, Binary)
		_ = n.SetDeadline(time.Now().Add(time.Second))
		began := time.Now()
		time.AfterFunc(time.Second/2, func() { _ = n.SetReadDeadline(began.Add(time.Hour)) })
		k, err := n.Read(make([]byte, 1))
		checkTimeout(t, "read", k, err)
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("waited %v, want an hour", waited)
		}
	})
}

func TestNetConnCloseUnblocks(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		var wg sync.WaitGroup
		reads := make(chan struct{})
		wg.Go(func() {
			close(reads)
			if k, err := a.Read(make([]byte, 1)); k != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: got %d and %v, want net.ErrClosed", k, err)
			}
		})
		wg.Go(func() {
			if k, err := b.Read(make([]byte, 1)); k != 0 || err != io.EOF {
				t.Errorf("the other end's read: got %d and %v, want io.EOF", k, err)
			}
		})
		<-reads
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		wg.Wait()
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: got %v, want net.ErrClosed", err)
		}
		if _, err := b.Write([]byte("x")); err == nil || err == io.EOF {
			t.Errorf("write after the other end's close: got %v, want an error that is not io.EOF", err)
		}
		if k, err := b.Read(make([]byte, 1)); k != 0 || err != io.EOF {
			t.Errorf("read again at the end: got %d and %v, want io.EOF", k, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("close after the other end's close: %v", err)
		}
	})
}

func TestNetConnConcurrentMethods(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		go echo(b)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _, _ = a.Read(make([]byte, 1024)) })
			wg.Go(func() { _, _ = a.Write(make([]byte, 1024)) })
			wg.Go(func() { _ = a.SetDeadline(time.Now().Add(time.Millisecond)) })
			wg.Go(func() { _ = a.SetReadDeadline(longAgo) })
			wg.Go(func() { _ = a.SetWriteDeadline(longAgo) })
			wg.Go(func() { _ = a.LocalAddr().String() })
			wg.Go(func() { _ = a.RemoteAddr().String() })
		}
		_ = a.SetDeadline(longAgo)
		wg.Wait()
	})
}

// How the peer ends the connection is what Read returns.
func TestNetConnEnd(t *testing.T) {
	for _, row := range []struct {
		why  string
		ends func(p *peer)
		want error
	}{
		{"1000 is the end", func(p *peer) { p.sends(closeFrame(1000, "bye")) }, io.EOF},
		{"1001 is the end", func(p *peer) { p.sends(closeFrame(1001, "")) }, io.EOF},
		{"so is a Close frame without a code", func(p *peer) { p.sends(emptyClose()) }, io.EOF},
		{"1011 is an error", func(p *peer) { p.sends(closeFrame(1011, "")) }, &CloseError{Code: 1011}},
		{"4000 is an error", func(p *peer) { p.sends(closeFrame(4000, "")) }, &CloseError{Code: 4000}},
		{"a stream that ends is an error", func(p *peer) { p.hangsUp() }, io.ErrUnexpectedEOF},
		{"inside a message too", func(p *peer) { p.sends(binaryOf("").more()); p.hangsUp() }, io.ErrUnexpectedEOF},
		{"a wrong frame is an error", func(p *peer) { p.sends(ping("").rsv(2)) }, errReserved},
	} {
		t.Run(row.why, func(t *testing.T) {
			bothSides(t, func(t *testing.T, c *Conn, p *peer) {
				n := NetConn(c, Binary)
				p.sends(binaryOf("octets"))
				row.ends(p)
				got, err := io.ReadAll(n)
				if row.want == io.EOF {
					row.want = nil // which is what ReadAll makes of it
				}
				same := err == row.want || errors.Is(err, row.want) || CloseStatus(err) == CloseStatus(row.want) && CloseStatus(err) > 0
				if string(got) != "octets" || !same {
					t.Errorf("got %q and %v, want \"octets\" and %v", got, err, row.want)
				}
			})
		})
	}
}

// A message of the other type ends the connection with 1003.
func TestNetConnOtherType(t *testing.T) {
	for _, typ := range []MessageType{Text, Binary} {
		bothSides(t, func(t *testing.T, c *Conn, p *peer) {
			n, right, wrong := NetConn(c, typ), text("right"), binaryOf("wrong")
			if typ == Binary {
				right, wrong = binaryOf("right"), text("wrong")
			}
			p.sends(right, wrong.more())
			got := make([]byte, 20)
			k, err := n.Read(got)
			if string(got[:k]) != "right" || err != nil {
				t.Fatalf("got %q and %v", got[:k], err)
			}
			done := make(chan error)
			go func() {
				_, err := n.Read(got)
				done <- err
			}()
			p.want("the Close frame", anyClose(1003))
			p.sends(closeFrame(1003, ""))
			if err, want := <-done, "got a "+MessageType(wrong.Opcode).String()+" message"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
			if _, err := n.Read(got); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read again: got %v, want net.ErrClosed", err)
			}
		})
	}
}

// Each Write is one message, and none where there is nothing to write.
func TestNetConnWritesMessages(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		n := NetConn(c, Text)
		for _, sent := range []string{"one", "", "zwölf"} {
			if k, err := n.Write([]byte(sent)); k != len(sent) || err != nil {
				t.Errorf("%q: got %d and %v", sent, k, err)
			}
		}
		if k, err := n.Write([]byte("caf\xc3")); k != 0 || err == nil {
			t.Errorf("half a character: got %d and %v, want an error", k, err)
		}
		p.want("the messages", text("one"), text("zwölf"))
		p.wantIdle("nothing else is sent")
		if k, err := n.Read(nil); k != 0 || err != nil {
			t.Errorf("a Read of nothing: got %d and %v, want 0 and nothing to wait for", k, err)
		}
	})
}

// A message is passed on as it comes, so no limit holds for it.
func TestNetConnHasNoReadLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, &Options{KeepAlive: -1, ReadLimit: 10}, false)
		p.sends(binaryOf(strings.Repeat("x", 5000)), closeFrame(1000, ""))
		if got, err := io.ReadAll(NetConn(c, Binary)); len(got) != 5000 || err != nil {
			t.Errorf("got %d octets and %v, want all 5000", len(got), err)
		}
	})
}

// bareStream hides all of a net.Conn that is not an io.ReadWriteCloser.
type bareStream struct{ io.ReadWriteCloser }

func TestNetConnAddresses(t *testing.T) {
	near, far := tcpPair(t)
	n := NetConn(endpointOver(t, near, quiet(), true), Binary)
	if n.LocalAddr() != near.LocalAddr() || n.RemoteAddr() != near.RemoteAddr() {
		t.Errorf("got %v and %v, want %v and %v", n.LocalAddr(), n.RemoteAddr(), near.LocalAddr(), near.RemoteAddr())
	}
	c := NewServerConn(bareStream{far}, quiet())
	defer c.CloseNow()
	for _, a := range []net.Addr{NetConn(c, Binary).LocalAddr(), NetConn(c, Binary).RemoteAddr()} {
		if a == nil || a.Network() != "websocket" || a.String() != "websocket/unknown" {
			t.Errorf("got %v, want an address that says that it is unknown", a)
		}
	}
}

// oneListener accepts one connection, and then none until it is closed.
type oneListener struct {
	net.Conn
	next   chan net.Conn
	closed chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Addr() net.Addr { return l.LocalAddr() }

func (l *oneListener) Close() error {
	close(l.closed)
	return nil
}

// HTTP, which uses deadlines to get its reads back, runs over a NetConn.
func TestNetConnCarriesHTTP(t *testing.T) {
	netConns(t, func(t *testing.T, a, b net.Conn) {
		ln := &oneListener{Conn: b, next: make(chan net.Conn, 1), closed: make(chan struct{})}
		ln.next <- b
		server := &http.Server{
			ReadTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body) // what is lost is missed by the client
			}),
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		first, errAgain := make(chan net.Conn, 1), errors.New("there is one connection")
		first <- a
		client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			select {
			case a := <-first:
				return a, nil
			default:
				return nil, errAgain
			}
		}}}
		for range 3 {
			sent := strings.Repeat("HTTP over WebSocket ", 5000)
			resp, err := client.Post("http://inside/", "text/plain", strings.NewReader(sent))
			if errors.Is(err, errAgain) {
				t.Log("net/http has given up a connection, as it does where its own goroutines are 50 ms late")
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(got) != sent || err != nil {
				t.Fatalf("got %d octets and %v, want %d", len(got), err, len(sent))
			}
		}
		client.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}

// A message that broke off is no io.EOF, though the peer closed in order.
func TestNetConnCloseInsideAMessage(t *testing.T) {
	a, b := tcpPair(t)
	n := NetConn(NewServerConn(a, quiet()), Binary)
	p := newPeer(t, b, true)
	p.sends(binaryOf("half").more(), closeFrame(1000, ""))
	got, err := io.ReadAll(n)
	if CloseStatus(err) != StatusNormalClosure {
		t.Errorf("a message that broke off came as %q, %v, want the CloseError", got, err)
	}
	p.want("answer", closeFrame(1000, ""))
	p.hangsUp()
	_ = n.Close()
}

// os.ErrDeadlineExceeded would say that a deadline of the caller's has passed, and that it may try again.
func TestNetConnOfADeadPeerIsNotLate(t *testing.T) {
	for name, use := range map[string]func(n net.Conn) error{
		"Read, by keepalive": func(n net.Conn) error {
			for range 1000 {
				_ = n.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := n.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
			}
			return errors.New("a deadline has passed a thousand times")
		},
		"Write, by WriteTimeout": func(n net.Conn) error {
			_, err := n.Write(make([]byte, 1000))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				n := NetConn(NewServerConn(near, nil), Binary)
				go func() { _, _ = io.CopyN(io.Discard, far, 2) }() // the Ping's, and no more
				err := use(n)
				if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
				}
				if _, err := n.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a later Read: %v, want net.ErrClosed", err)
				}
				_ = n.Close()
			})
		})
	}
}

// Where the stream is the NetConn of another connection, what has ended that one is not what ends the one above it: no
// Close frame came there, and no message was too big.
func TestEndOfAConnectionBelowIsAnEndOfTheStream(t *testing.T) {
	for name, end := range map[string]func(far *Conn){
		"closed":           func(far *Conn) { _ = far.Close(4000, "below") },
		"closed with 1011": func(far *Conn) { _ = far.Close(StatusInternalError, "below") },
		"too many fragments": func(far *Conn) {
			w, err := far.Writer(t.Context(), Binary)
			if err != nil {
				t.Error(err)
				return
			}
			for range 3 {
				_, _ = w.Write([]byte{0x82}) // that it fails sooner or later is what the row is about
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			peer := NewClientConn(far, quiet())
			defer peer.CloseNow()
			peer.CloseRead()
			c := NewServerConn(NetConn(NewServerConn(near, &Options{KeepAlive: -1, MaxFragments: 1}), Binary), quiet())
			defer c.CloseNow()
			go end(peer)
			_, _, err := c.Read(t.Context())
			var closed *CloseError
			if errors.As(err, &closed) || errors.Is(err, ErrTooBig) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
			}
		})
	}
}

// Close says 1000 to the peer, and leaves no timer behind that would hold on to the
// connection until its deadline comes.
func TestNetConnCloseIsInOrderAndLeavesNoTimer(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		n := NetConn(c, Binary).(*netConn)
		if err := n.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		closed := make(chan error, 1)
		go func() { closed <- n.Close() }()
		p.want("the code", closeFrame(StatusNormalClosure, ""))
		p.sends(closeFrame(StatusNormalClosure, ""))
		p.hangsUp()
		if err := <-closed; err != nil {
			t.Errorf("Close got %v", err)
		}
		for direction, d := range map[string]*deadline{"read": &n.readDeadline, "write": &n.writeDeadline} {
			d.mu.Lock()
			if d.timer != nil {
				t.Errorf("a timer is left for the %s deadline", direction)
			}
			d.mu.Unlock()
		}
	})
}

// In event mode a NetConn can write, and takes no limit away.
func TestNetConnInEventModeLeavesTheLimit(t *testing.T) {
	s := &Server{Options: Options{KeepAlive: -1, ReadLimit: 100}, Message: writeBack}
	c, p := eventsOver(t, s)
	n := NetConn(c, Binary)
	if _, err := n.Write([]byte("written")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Read(make([]byte, 1)); !errors.Is(err, ErrEventMode) {
		t.Errorf("Read: %v, want ErrEventMode", err)
	}
	p.sends(binaryOf(strings.Repeat("x", 101)))
	p.want("what was written, and that 101 octets are too many", binaryOf("written"), closeFrame(StatusMessageTooBig, ""))
}
