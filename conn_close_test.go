package websocket

// How a connection ends where something is in the way.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// deafAndMute is a stream that neither reads nor writes, and of which Close ends
// no call: standard input and output can be such.
type deafAndMute struct{ closed chan struct{} }

func (s *deafAndMute) Read([]byte) (int, error)  { return s.never() }
func (s *deafAndMute) Write([]byte) (int, error) { return s.never() }
func (s *deafAndMute) Close() error              { close(s.closed); return nil }

func (s *deafAndMute) never() (int, error) {
	<-s.closed
	time.Sleep(time.Hour)
	return 0, io.EOF
}

func TestCloseIsBoundedOverAStreamThatCloseDoesNotWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClientConn(&deafAndMute{make(chan struct{})}, nil)
		go c.CloseRead()
		synctest.Wait()
		begun := time.Now()
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- c.Close(StatusNormalClosure, "") }()
		}
		for range 2 {
			if err := <-results; !errors.Is(err, errCloseTimeout) {
				t.Errorf("got %v, want that it took longer than CloseTimeout", err)
			}
		}
		if d := time.Since(begun); d > 6*time.Second {
			t.Errorf("Close took %v", d)
		}
		time.Sleep(3 * time.Hour)
	})
}

func TestNothingIsDeliveredAfterClose(t *testing.T) {
	bothSidesStream(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		p.want("our Close", closeFrame(1000, ""))
		p.sends(text("too late"), closeFrame(1000, ""))
		if r := <-got; r.err != errClosed || r.data != nil {
			t.Errorf("Read got %q, %v; want net.ErrClosed", r.data, r.err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close got %v", err)
		}
	})
	bothSidesStream(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("begun").more())
		_, r, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(io.LimitReader(r, 5)); err != nil || string(b) != "begun" {
			t.Fatalf("got %q, %v", b, err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := r.Read(make([]byte, 10))
			got <- err
		}()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		p.want("our Close", closeFrame(1000, ""))
		p.sends(cont("too late"), closeFrame(1000, ""))
		if err := <-got; err != errClosed {
			t.Errorf("MessageReader.Read got %v; want net.ErrClosed", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close got %v", err)
		}
	})
}

func TestCloseNowEndsAClosingWithoutATimeout(t *testing.T) {
	bothSidesWith(t, &Options{KeepAlive: -1, CloseTimeout: -1, WriteTimeout: -1}, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		p.sends(text("").rsv(2))
		if _, _, err := c.Read(t.Context()); err != errReserved {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Hour)
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		if err := c.Close(StatusNormalClosure, ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close got %v", err)
		}
	})
}

// failing is a stream whose writes fail.
type failing struct{ net.Conn }

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestFailedWriteDoesNotWaitForTheStream(t *testing.T) {
	for _, stream := range []func(net.Conn) io.ReadWriteCloser{
		func(c net.Conn) io.ReadWriteCloser { return failing{c} },
		func(c net.Conn) io.ReadWriteCloser { return withoutDeadlines{failing{c}} },
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			c := NewServerConn(stream(near), quiet())
			defer c.CloseNow()
			begun := time.Now()
			if err := c.Write(t.Context(), Text, nil); !errors.Is(err, errFull) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begun); d > time.Second {
				t.Errorf("Write took %v", d)
			}
		})
	}
}

func TestFailedWriteFindsTheCloseBehindWhatWasRead(t *testing.T) {
	bothSidesTCP(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("read before"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.sends(closeFrame(4999, "gone"))
		p.hangsUp()
		var err error
		for err == nil {
			err = c.Write(t.Context(), Binary, make([]byte, 100_000))
		}
		if CloseStatus(err) != 4999 || errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want the Close frame that waited to be read, and only it", err)
		}
		if _, _, err := c.Read(t.Context()); CloseStatus(err) != 4999 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("a later call got %v, want net.ErrClosed and the cause", err)
		}
	})
}

// Nobody may have read for so long that the deadline by which keepalive wakes a read
// has passed.
func TestFailedWriteFindsTheCloseThoughTheReadDeadlineHasPassed(t *testing.T) {
	bothSidesTCP(t, &Options{KeepAlive: time.Hour}, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("read before"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.conn.SetReadDeadline(longAgo); err != nil {
			t.Fatal(err)
		}
		p.sends(closeFrame(4999, "gone"))
		p.hangsUp()
		var err error
		for err == nil {
			err = c.Write(t.Context(), Binary, make([]byte, 100_000))
		}
		if CloseStatus(err) != 4999 {
			t.Errorf("got %v, want the Close frame that waited to be read", err)
		}
	})
}

// Messages that come before the peer's answer are discarded, whatever their size.
func TestReadLimitThatIsSetDuringCloseEndsNothing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		result := make(chan error, 1)
		go func() { result <- c.Close(StatusNormalClosure, "") }()
		p.want("our Close frame", closeFrame(1000, ""))
		synctest.Wait()
		c.SetReadLimit(10)
		p.sends(text("longer than ten octets"), closeFrame(1000, ""))
		if err := <-result; err != nil {
			t.Errorf("Close: %v, want nil: both Close frames have passed", err)
		}
	})
}

func TestNextCallGetsTheCauseThatNoCallHasMet(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		c.CloseRead()
		p.sends(closeFrame(4321, ""))
		<-c.Context().Done()
		_, _, err := c.Read(t.Context())
		var closed *CloseError
		if !errors.As(err, &closed) {
			t.Fatalf("got %v", err)
		}
		wantTold(t, c, err, closed)
	})
	bothSides(t, func(t *testing.T, c *Conn, p *peer) { // what Send has queued is written by nobody's call
		p.stopsListening()
		m, err := Prepare(Text, []byte("queued"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(m); err != nil {
			t.Fatal(err)
		}
		<-c.Context().Done()
		_, _, err = c.Read(t.Context())
		wantTold(t, c, err, os.ErrDeadlineExceeded)
	})
	bothSides(t, func(t *testing.T, c *Conn, p *peer) { // and so is a Pong
		p.stopsListening()
		got := readAsync(t.Context(), c)
		p.sends(ping("there?"))
		wantTold(t, c, (<-got).err, os.ErrDeadlineExceeded)
	})
	for _, overStream := range []bool{false, true} {
		run := bothSidesWith
		if overStream {
			run = bothSidesStream
		}
		run(t, nil, func(t *testing.T, c *Conn, p *peer) {
			_, _, err := c.Read(t.Context())
			wantTold(t, c, err, errSilent)
		})
	}
}

func TestDiscardedReadLeavesItsBufferAsItWas(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		b := []byte("mine")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.sends(text("half").more())
		_, got, err := c.ReadAppend(ctx, b)
		if !errors.Is(err, context.DeadlineExceeded) || !bytes.Equal(got, b) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A write that fails looks for what the peer has sent, though the connection was
// cut off in between and its buffer is gone.
func TestFailedWriteLooksIntoNoBufferThatIsGone(t *testing.T) {
	near, far := tcpPair(t)
	c := NewServerConn(near, quiet())
	if !c.takeTurn(&c.reading, nil) {
		t.Fatal("no turn")
	}
	p := newPeer(t, far, true)
	p.sends(text("x"), ping("behind it"))
	within(t, "both have arrived", func() bool {
		_ = c.r.await()
		return c.r.buffered() > 7
	})
	if _, _, ok, err := c.r.nextInPlace(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	c.r.hasWhole() // looks at the Ping
	c.unlockRead()
	c.cut(errClosed)
	c.findReason()
}

// deafWriter is a connection that can't be written once it is dead, and of which a
// read waits for ever.
type deafWriter struct {
	net.Conn
	dead atomic.Bool
}

func (w *deafWriter) Write(p []byte) (int, error) {
	if w.dead.Load() {
		return 0, errFull
	}
	return w.Conn.Write(p)
}

func TestKeepAliveEndsWhatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		w := &deafWriter{Conn: near}
		c := endpointOver(t, w, &Options{KeepAlive: time.Second, PongTimeout: time.Second}, false)
		got := readAsync(t.Context(), c)
		synctest.Wait()
		w.dead.Store(true)
		if err := c.Send(prepared(t, Text, "lost")); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-got:
			if !errors.Is(r.err, errFull) {
				t.Errorf("got %v, want why nothing can be written", r.err)
			}
		case <-time.After(time.Minute):
			t.Error("the connection lives on")
		}
	})
}

func TestCloseThatCannotBeSentIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		w := &deafWriter{Conn: near}
		w.dead.Store(true)
		c := endpointOver(t, w, quiet(), false)
		begun := time.Now()
		if err := c.Close(StatusNormalClosure, ""); !errors.Is(err, errFull) || time.Since(begun) > time.Second {
			t.Errorf("Close took %v and got %v", time.Since(begun), err)
		}
	})
}

// slowCloser is a stream whose Close takes its time.
type slowCloser struct{ net.Conn }

func (s slowCloser) Close() error {
	time.Sleep(time.Hour)
	return s.Conn.Close()
}

func TestCloseOfTheStreamIsNotWaitedForLong(t *testing.T) {
	for what, end := range map[string]func(c *Conn) error{
		"Close":    func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
		"CloseNow": (*Conn).CloseNow,
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			c := NewServerConn(slowCloser{near}, &Options{KeepAlive: -1, CloseTimeout: time.Second})
			begun := time.Now()
			_ = end(c)
			<-c.Context().Done()
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("%s took %v", what, took)
			}
			time.Sleep(2 * time.Hour) // for the stream
		})
	}
}

// A reader that meets the peer's Close does not wait for an answer that can't be sent.
func TestPeersCloseBehindAFailedWriteIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble = true
		w := &deafWriter{Conn: near}
		c := endpointOver(t, w, quiet(), false)
		got := readAsync(t.Context(), c)
		synctest.Wait()
		w.dead.Store(true)
		begun := time.Now()
		written := make(chan error, 1)
		go func() { written <- c.Write(t.Context(), Text, nil) }()
		synctest.Wait()
		p.sends(closeFrame(4999, ""))
		if r := <-got; CloseStatus(r.err) != 4999 {
			t.Errorf("Read got %v", r.err)
		}
		if err := <-written; CloseStatus(err) != 4999 {
			t.Errorf("Write got %v", err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("that took %v", took)
		}
	})
}

func TestShutdownCutsStreamsThatTakeTheirTimeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Options: Options{KeepAlive: -1}, Message: ignore}
		for range 50 {
			near, far := net.Pipe()
			defer far.Close()
			if err := s.Serve(NewServerConn(slowCloser{near}, &s.Options), nil); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
			t.Errorf("Shutdown took %v: %v", time.Since(begun), err)
		}
		time.Sleep(2 * time.Hour) // for the streams
	})
}

// wantBothClosed has a and b perform the closing handshake at the same time.
func wantBothClosed(t *testing.T, a, b *Conn) {
	t.Helper()
	begun := time.Now()
	result := make(chan error, 1)
	go func() { result <- b.Close(StatusNormalClosure, "") }()
	if err := errors.Join(a.Close(StatusNormalClosure, ""), <-result); err != nil || time.Since(begun) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

// Neither side takes the other's Close frame before its own is out, unless it reads meanwhile.
func TestBothSidesMayCloseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		wantBothClosed(t, NewServerConn(near, nil), NewClientConn(far, nil))
	})
	near, far := tcpPair(t)
	for _, conn := range []*net.TCPConn{near.(*net.TCPConn), far.(*net.TCPConn)} {
		if err := errors.Join(conn.SetReadBuffer(64<<10), conn.SetWriteBuffer(64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	a, b := NewServerConn(near, nil), NewClientConn(far, nil)
	p := prepared(t, Binary, strings.Repeat("x", 1_000_000)) // more than the sockets take
	if err := errors.Join(a.Send(p), b.Send(p)); err != nil {
		t.Fatal(err)
	}
	wantBothClosed(t, a, b)
}

// A peer that is inside a Write, and reads nothing before that is out, gets our Close frame all the same.
func TestPeerInsideAWriteGetsTheCloseFrame(t *testing.T) {
	write := func(c *Conn, result chan<- error) {
		if err := c.Write(context.Background(), Binary, make([]byte, 100_000)); err != nil {
			result <- err
			return
		}
		_, _, err := c.Read(context.Background())
		result <- err
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a, b := NewServerConn(near, quiet()), NewClientConn(far, quiet())
		result := make(chan error, 1)
		go write(b, result)
		synctest.Wait()
		begun := time.Now()
		if err := a.Close(StatusGoingAway, ""); err != nil || time.Since(begun) > time.Second {
			t.Errorf("Close after %v: %v", time.Since(begun), err)
		}
		if err := <-result; CloseStatus(err) != StatusGoingAway {
			t.Errorf("the peer got %v, want 1001", err)
		}
		time.Sleep(time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a, b := NewServerConn(near, &Options{ReadLimit: 1000, KeepAlive: -1}), NewClientConn(far, quiet())
		result := make(chan error, 1)
		go write(b, result)
		begun := time.Now()
		if _, _, err := a.Read(t.Context()); !errors.Is(err, ErrTooBig) {
			t.Errorf("Read: %v", err)
		}
		if err := <-result; CloseStatus(err) != StatusMessageTooBig || time.Since(begun) > time.Second {
			t.Errorf("the peer got %v after %v, want 1009", err, time.Since(begun))
		}
		time.Sleep(time.Minute)
	})
}

func TestCloseOfAFailedConnectionNamesTheCause(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("x").rsv(2))
		_, _, err := c.Read(t.Context())
		var broken *ProtocolError
		if !errors.As(err, &broken) {
			t.Fatal(err)
		}
		if err = c.Close(StatusNormalClosure, ""); !errors.Is(err, broken) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: %v, want net.ErrClosed and the cause", err)
		}
	})
}

// Nothing is held for a peer that sends nothing: while its Close frame is awaited,
// and while the rest of a message is, which nobody wants.
func TestWaitingForWhatIsDiscardedHoldsNoBuffer(t *testing.T) {
	const conns = 100
	for name, wait := range map[string]func(c *Conn, p *peer){
		"Close": func(c *Conn, p *peer) {
			go func() { _ = c.Close(StatusGoingAway, "") }()
			p.want("the Close frame", closeFrame(StatusGoingAway, ""))
		},
		"Discard": func(c *Conn, p *peer) {
			p.sends(text("a").more())
			_, m, err := c.Reader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = m.Discard() }()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			var all []*Conn
			var peers []*peer
			for range conns {
				near, far := tcpPair(t)
				c := NewServerConn(near, &Options{KeepAlive: -1, CloseTimeout: time.Minute})
				defer c.CloseNow()
				all, peers = append(all, c), append(peers, newPeer(t, far, true))
			}
			runtime.GC() // pools give up what they hold in the second
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i, c := range all {
				wait(c, peers[i])
			}
			time.Sleep(100 * time.Millisecond) // for all to wait
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			if held := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / conns; held > 20<<10 {
				t.Errorf("%d octets are held for each connection", held)
			}
		})
	}
}

// Messages behind our Close are discarded whatever their size, also where a read of
// before finds them.
func TestMessageThatIsTooBigBehindClose(t *testing.T) {
	bothSidesStream(t, &Options{KeepAlive: -1, ReadLimit: 5}, func(t *testing.T, c *Conn, p *peer) {
		read := readAsync(t.Context(), c)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		p.want("the Close frame", closeFrame(StatusNormalClosure, ""))
		p.sends(binaryOf("0123456789"), closeFrame(StatusNormalClosure, ""))
		p.hangsUp()
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := (<-read).err; !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrTooBig) {
			t.Errorf("Read: %v, want net.ErrClosed", err)
		}
	})
}

// A write that fails looks for the peer's Close, and leaves no deadline behind that would end a later read.
func TestLookForCloseLeavesNoDeadlineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble = true
		w := &deafWriter{Conn: ownTimeouts{near}}
		c := endpointOver(t, w, quiet(), false)
		w.dead.Store(true)
		if err := c.Write(t.Context(), Text, nil); !errors.Is(err, errFull) {
			t.Fatal(err)
		}
		p.sends(text("still here"))
		if _, data, err := c.Read(t.Context()); string(data) != "still here" {
			t.Errorf("Read: %q, %v", data, err)
		}
	})
}

// A peer that breaks a rule and has sent more is not reset, which would destroy the Close frame, though the stream has
// neither deadlines nor CloseWrite.
func TestStreamWithNothingButCloseEndsInOrder(t *testing.T) {
	near, far := tcpPair(t)
	c := NewServerConn(struct{ io.ReadWriteCloser }{near}, quiet())
	got := readAsync(t.Context(), c)
	p := newPeer(t, far, true)
	p.sends(frame{Header: Header{Fin: true, Opcode: 5}}, binaryOf(strings.Repeat("x", 60<<10)))
	p.want("the Close frame", anyClose(1002))
	p.wantEOF("the stream's end, and no reset")
	<-got
}

// The end of a stream is io.ErrUnexpectedEOF to those who read, together with what the system says of it.
func TestErrorOfAStreamThatEnded(t *testing.T) {
	const text = "websocket: stream ended without a Close frame: unexpected EOF"
	for err, want := range map[error]string{io.ErrUnexpectedEOF: text, io.ErrClosedPipe: text + ": io: read/write on closed pipe"} {
		bothSidesWith(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
			c.r.src.stream = iotest.ErrReader(err)
			_, _, got := c.Read(t.Context())
			if got == nil || got.Error() != want || !errors.Is(got, err) || !errors.Is(got, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

// A Close that waits for its peer is not waited for: CloseNow ends it.
func TestCloseNowEndsACloseOfOurOwn(t *testing.T) {
	bothSidesWith(t, &Options{KeepAlive: -1, CloseTimeout: time.Hour}, func(t *testing.T, c *Conn, p *peer) {
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		p.want("our Close frame", closeFrame(StatusNormalClosure, ""))
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-closed:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close got %v, want net.ErrClosed", err)
			}
		case <-time.After(testTimeout):
			t.Error("Close still waits for the peer")
			p.hangsUp()
		}
	})
}

// CloseRead starts one goroutine, however often it is called.
func TestCloseReadTwiceStartsOneGoroutine(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		for range 3 {
			c.CloseRead()
		}
		synctest.Wait()
		if n := strings.Count(goroutinesOfPackage(), ").refuseMessages("); n != 1 {
			t.Errorf("%d goroutines refuse messages, want 1", n)
		}
		_ = c.CloseNow()
	})
}

// That a context has ended a write is nobody's timeout, also for those who come right behind it.
func TestCutWriteIsNoTimeoutForOthers(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		ctx, cancel := context.WithCancel(t.Context())
		written, closed := make(chan error, 1), make(chan error, 1)
		go func() { written <- c.Write(ctx, Binary, make([]byte, 1<<20)) }()
		synctest.Wait()
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		synctest.Wait()
		cancel()
		if err := <-written; !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Errorf("Write: %v", err)
		}
		if err := <-closed; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close: %v, want what has cut it off", err)
		}
	})
}

func TestSendBehindACutWriteSaysThatItIsOver(t *testing.T) {
	msg, cause := prepared(t, Text, "x"), errors.New("nobody wants it")
	for range 300 {
		near, far := net.Pipe()
		c := NewServerConn(near, quiet())
		ctx, cancel := context.WithCancelCause(t.Context())
		written, sent := make(chan error, 1), make(chan error, 1)
		go func() { written <- c.Write(ctx, Binary, make([]byte, 1<<20)) }()
		if _, err := io.ReadFull(far, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if err := c.Send(msg); err != nil && err != ErrQueueFull {
					sent <- err
					return
				}
			}
		}()
		cancel(cause)
		if err := <-written; !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Fatalf("Write: %v, want context.Canceled and its cause", err)
		}
		if err := <-sent; !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Fatalf("Send: %v, want that the connection is over", err)
		}
		_, _ = c.CloseNow(), far.Close()
	}
}

// closingConn is a net.Conn that is about to end when a call is to be interrupted: it sets no deadline any more.
type closingConn struct{ net.Conn }

func (c closingConn) SetReadDeadline(at time.Time) error {
	if at.Equal(longAgo) {
		return io.ErrClosedPipe
	}
	return c.Conn.SetReadDeadline(at)
}

func (c closingConn) SetWriteDeadline(at time.Time) error {
	if at.Equal(longAgo) {
		return io.ErrClosedPipe
	}
	return c.Conn.SetWriteDeadline(at)
}

// A stream that is about to end is not one without deadlines: its end is what ends the connection, and not a context that
// ends at the same time.
func TestContextThatEndsWithTheStreamEndsNoMoreThanItsCall(t *testing.T) {
	calls := map[string]func(context.Context, *Conn) error{
		"read":  func(ctx context.Context, c *Conn) error { _, _, err := c.Read(ctx); return err },
		"write": func(ctx context.Context, c *Conn) error { return c.Write(ctx, Text, []byte("x")) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				c := NewServerConn(closingConn{near}, quiet())
				ctx, cancel := context.WithCancel(t.Context())
				first := make(chan error, 1)
				go func() { first <- call(ctx, c) }()
				synctest.Wait()
				cancel()
				synctest.Wait()
				if err := c.ended(); err != nil {
					t.Errorf("before the stream has ended: %v", err)
				}
				_ = far.Close()
				<-first
				if err := call(t.Context(), c); name == "read" && errors.Is(err, context.Canceled) {
					t.Errorf("under a context that has not ended: %v", err)
				}
				_ = c.CloseNow()
			})
		})
	}
}
