package websocket

// Pings, Pongs and keepalive where they meet something else.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPongThatWasNotAskedForAnswersNoPing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		c.CloseRead()
		result := make(chan error, 1)
		go func() {
			_, err := c.Ping(t.Context())
			result <- err
		}()
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{"", "unasked", strings.Repeat("\xff", 8), string(binary.BigEndian.AppendUint64(nil, 2)), strings.Repeat("\x00", 8)} {
			p.sends(pong(payload))
			synctest.Wait()
			select {
			case err := <-result:
				t.Fatalf("a Pong with %q answered: %v", payload, err)
			default:
			}
		}
		p.sends(pong(string(f.payload)))
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// An application that takes its time between two reads finds octets whenever it
// reads, so there is nothing to ask the peer.
func TestNoPingWhileOctetsWait(t *testing.T) {
	bothSidesTCP(t, &Options{KeepAlive: 20 * time.Millisecond, PongTimeout: time.Hour}, func(t *testing.T, c *Conn, p *peer) {
		for range 5 {
			p.sends(text("x"))
			p.hasSent()
			time.Sleep(40 * time.Millisecond)
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.wantIdle("no Ping: no read has found the socket empty")
	})
}

// Reading makes way for the Pongs to leave, but not for ever, and not again while they don't.
func TestPeerThatTakesNoPongsDelaysReadingOnce(t *testing.T) {
	bothSidesWith(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		got, begun := readAsync(t.Context(), c), time.Now()
		p.stopsListening()
		for range 1000 {
			p.sends(ping(strings.Repeat("x", 125)))
		}
		p.sends(text("end"))
		if r := <-got; r.err != nil || string(r.data) != "end" {
			t.Fatalf("got %q %v", r.data, r.err)
		}
		if took := time.Since(begun); took < owedPause || took > owedPause+2*owedLook { // some may have left, into the pipe
			t.Errorf("took %v, want %v", took, owedPause)
		}
	})
}

func TestKeepAliveSurvivesAFloodThatIsNotAnswered(t *testing.T) {
	bothSidesWith(t, nil, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		p.stopsListening()
		for i := range 1000 {
			p.sends(ping(fmt.Sprintf("%0125d", i)))
		}
		time.Sleep(2*owedPause + 30*time.Second) // keepalive asks, but can't
		last := strings.Repeat("last ", 25)
		p.sends(ping(last))
		synctest.Wait()
		if n := cap(c.ping.owed); n > 2*owedLimit {
			t.Errorf("%d octets are kept for Pongs", n)
		}
		p.listens()
		var asked, answered bool
		for !asked || !answered {
			f, err := p.next()
			if err != nil {
				t.Fatalf("%s: the Ping of keepalive came: %t, the Pong to the last Ping came: %t", endOf(err), asked, answered)
			}
			asked = asked || f.Opcode == OpPing
			answered = answered || f.Opcode == OpPong && string(f.payload) == last
		}
		begun := time.Now()
		if err := (<-got).err; !errors.Is(err, errSilent) {
			t.Errorf("Read got %v, want that the peer is silent", err)
		}
		if d := time.Since(begun); d > time.Minute {
			t.Errorf("it took %v to find the peer silent", d)
		}
	})
}

func TestKeepAliveLooksBeforeItFailsTheConnection(t *testing.T) {
	t.Parallel()
	o := &Options{KeepAlive: 50 * time.Millisecond, PongTimeout: time.Minute}
	bothSidesTCP(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("one"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := readAsync(ctx, c)
		f, err := p.next()
		if err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v, %v, want the Ping of keepalive", f, err)
		}
		cancel()
		<-got
		p.sends(pong(string(f.payload)), text("two"))
		p.hasSent()
		c.mu.Lock()
		c.ping.asked -= time.Hour // nobody reads, for longer than PongTimeout
		c.mu.Unlock()
		c.r.src.last.Add(-int64(time.Hour))
		c.wakeAt(monotonic() - time.Minute)
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "two" {
			t.Errorf("got %q, %v, want what has waited to be read", data, err)
		}
	})
}

// lateWriter is a stream whose writes return some time after the peer has answered
// what was written.
type lateWriter struct{ net.Conn }

func (w lateWriter) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	time.Sleep(time.Second)
	return n, err
}

func TestPongThatComesBeforeItsPingIsWrittenCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble, p.patience = true, time.Minute
		c := endpointOver(t, lateWriter{near}, nil, false)
		got := readAsync(t.Context(), c)
		for range 5 {
			f, err := p.next()
			if err != nil || f.Opcode != OpPing {
				t.Fatalf("got %v, %v, want the Ping of keepalive: the peer answers them all", f, err)
			}
			p.sends(pong(string(f.payload)))
		}
		p.hangsUp()
		<-got
		time.Sleep(time.Minute) // a write may still be on its way
	})
}

// TestPongThatIsOwedLeavesBeforeClose: whoever closes while a Pong waits for a
// message to be out does not take it back.
func TestPongThatIsOwedLeavesBeforeClose(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		read := readAsync(t.Context(), c)
		p.stopsListening()
		written := make(chan error, 1)
		go func() { written <- c.Write(t.Context(), Text, []byte("in the way")) }()
		synctest.Wait()
		p.sends(ping("before"))
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		synctest.Wait()
		p.listens()
		p.want("the message, the Pong and the Close frame", text("in the way"), pong("before"), closeFrame(1000, ""))
		p.sends(closeFrame(1000, ""))
		p.hangsUp()
		if err := errors.Join(<-written, <-closed); err != nil {
			t.Error(err)
		}
		<-read
	})
}

// A process that was stopped finds that deadlines have passed, and the Pong may be
// waiting: it looks once more before it takes the peer for dead.
func TestPausedProcessLooksOnceMore(t *testing.T) {
	near, _ := tcpPair(t)
	c := endpointOver(t, wrapped{near}, &Options{KeepAlive: time.Hour, PongTimeout: time.Minute}, false)
	c.r.src.last.Add(-int64(10 * time.Hour))
	c.mu.Lock()
	c.ping.asked = c.r.src.lastOctet() + time.Hour
	c.ping.began = c.ping.asked
	c.ping.progress = c.w.progress.Load()
	c.mu.Unlock()
	c.r.src.began = c.ping.asked
	c.readDeadline = c.ping.asked + time.Minute
	if err := c.keepAlive(false); err != nil {
		t.Errorf("after hours in which nothing ran: %v", err)
	}
	if soon := c.readDeadline - monotonic(); soon > lookPause {
		t.Errorf("looks again in %v, want %v", soon, lookPause)
	}
	c.readDeadline -= lookPause / 2 // as if that had been a little earlier, so that it is late again
	time.Sleep(2 * lookPause)
	if err := c.keepAlive(false); !errors.Is(err, errSilent) {
		t.Errorf("when there was nothing: got %v", err)
	}
}

// The same for a stream without deadlines.
func TestPausedProcessLooksOnceMoreAtAStream(t *testing.T) {
	bothSidesStream(t, &Options{KeepAlive: time.Hour, PongTimeout: time.Minute}, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		p.patience = 2 * time.Hour
		f, err := p.next()
		if err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v, %v, want the Ping of keepalive", f, err)
		}
		synctest.Wait()
		c.mu.Lock()
		c.ping.due -= time.Hour // it should have been seen by then
		c.mu.Unlock()
		time.Sleep(time.Minute + lookPause/2)
		select {
		case r := <-got:
			t.Fatalf("got %v", r.err)
		default:
		}
		time.Sleep(lookPause)
		if r := <-got; !errors.Is(r.err, errSilent) {
			t.Errorf("when there was nothing: got %v", r.err)
		}
	})
}

// The Pong may be read while the Ping is still being written, and noted with a time
// before that of the Ping's end, though after it.
func TestPongThatIsNotedLateCounts(t *testing.T) {
	c, p := overTCP(t, &Options{KeepAlive: time.Minute, PongTimeout: time.Minute}, false)
	now := monotonic()
	c.mu.Lock()
	c.ping.began, c.ping.asked, c.ping.progress = now-30*time.Minute, now-20*time.Minute, c.w.progress.Load()
	c.mu.Unlock()
	c.r.src.last.Store(int64(now - 25*time.Minute))
	if next, err := c.probe(now); err != nil || next < now {
		t.Errorf("got %v, %v, want another Ping", next, err)
	}
	if f, err := p.next(); err != nil || f.Opcode != OpPing {
		t.Errorf("got %v, %v, want another Ping", f, err)
	}
}

// A Pong that takes longer than KeepAlive does not put the next Ping off for what
// is left of PongTimeout.
func TestNextPingIsDueAfterALatePong(t *testing.T) {
	o := &Options{KeepAlive: time.Second, PongTimeout: time.Minute}
	check := func(t *testing.T, c *Conn, p *peer) {
		p.patience = 5 * time.Minute
		got := readAsync(t.Context(), c)
		for range 3 {
			f, err := p.next()
			if err != nil || f.Opcode != OpPing {
				t.Fatalf("got %v, %v, want the Ping of keepalive", f, err)
			}
			time.Sleep(1500 * time.Millisecond)
			p.sends(pong(string(f.payload)))
			synctest.Wait()
			begun := time.Now()
			if f, err = p.next(); err != nil || f.Opcode != OpPing || time.Since(begun) > time.Second {
				t.Errorf("%v after the Pong: got %v, %v, want a Ping after KeepAlive", time.Since(begun), f, err)
			}
			p.sends(pong(string(f.payload)))
		}
		p.hangsUp()
		<-got
	}
	bothSidesWith(t, o, check)
	bothSidesStream(t, o, check)
}

// brokenStream is a stream of which every Write fails.
type brokenStream struct{ io.ReadWriteCloser }

func (brokenStream) Write([]byte) (int, error) { return 0, errors.New("boom") }

// Keepalive ends a read on a stream that can't be written any more.
func TestReadOnAStreamThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := NewServerConn(brokenStream{near}, nil)
		defer c.CloseNow()
		got := readAsync(t.Context(), c)
		if err := c.Write(t.Context(), Text, nil); err == nil {
			t.Error("Write has no error")
		}
		if err := (<-got).err; !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "boom") {
			t.Errorf("Read: %v, want that the stream has ended, and why", err)
		}
	})
}

// ownTimeouts is a net.Conn whose deadlines have an error of their own, as those of
// some networks and multiplexers in user space have.
type ownTimeouts struct{ net.Conn }

type ownTimeout struct{}

func (ownTimeout) Error() string   { return "i/o timeout" }
func (ownTimeout) Timeout() bool   { return true }
func (ownTimeout) Temporary() bool { return true }

func (c ownTimeouts) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &net.OpError{Op: "read", Err: ownTimeout{}}
	}
	return n, err
}

func (c ownTimeouts) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &net.OpError{Op: "write", Err: ownTimeout{}}
	}
	return n, err
}

// However short WriteTimeout is, it does not pass before something is written.
func TestWriteTimeoutWaitsForAWrite(t *testing.T) {
	for range 500 {
		r, w := io.Pipe()
		c := NewServerConn(struct {
			io.Reader
			io.WriteCloser
		}{r, w}, &Options{WriteTimeout: 1, KeepAlive: -1})
		runtime.Gosched()
		if err := c.ended(); err != nil {
			t.Fatalf("a connection that nothing was written to is over: %v", err)
		}
		_ = c.CloseNow()
	}
}

func TestWriteTimeoutWithAnErrorOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := endpointOver(t, ownTimeouts{near}, quiet(), false)
		if err := c.Write(t.Context(), Text, []byte("x")); err == nil || !strings.Contains(err.Error(), "took nothing for WriteTimeout") {
			t.Errorf("Write: %v", err)
		}
		synctest.Wait()
		if c.Context().Err() == nil {
			t.Error("the connection is not over")
		}
	})
}

func TestDeadlinesWithAnErrorOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble, p.patience = true, time.Minute
		c := endpointOver(t, ownTimeouts{near}, nil, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read whose context ended: %v", err)
		}
		got := readAsync(t.Context(), c)
		if f, err := p.next(); err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v, %v, want the Ping of keepalive", f, err)
		}
		p.sends(text("hello"))
		if r := <-got; string(r.data) != "hello" {
			t.Errorf("Read: %q, %v", r.data, r.err)
		}
	})
}

// Durations near the end of what one can hold are for ever.
func TestHugeDurationsAreForEver(t *testing.T) {
	o := &Options{WriteTimeout: math.MaxInt64, CloseTimeout: math.MaxInt64, PongTimeout: math.MaxInt64, KeepAlive: 10 * time.Millisecond}
	bothSidesTCP(t, o, func(t *testing.T, c *Conn, p *peer) {
		if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
			t.Fatal(err)
		}
		p.want("the message", text("x"))
		got := readAsync(t.Context(), c)
		if f, err := p.next(); err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v, %v, want the Ping of keepalive", f, err)
		}
		time.Sleep(50 * time.Millisecond) // several looks at a Ping that is not answered
		p.sends(text("late"))
		if r := <-got; string(r.data) != "late" {
			t.Errorf("Read: %q, %v", r.data, r.err)
		}
	})
	bothSidesTCP(t, &Options{KeepAlive: math.MaxInt64}, func(t *testing.T, c *Conn, p *peer) {
		_ = readAsync(t.Context(), c)
		p.wantIdle("no Ping")
	})
}

// failingConn is a net.Conn whose writes wait, and fail then.
type failingConn struct {
	net.Conn
	fails chan struct{}
}

func (f failingConn) Write([]byte) (int, error) { <-f.fails; return 0, errors.New("reset by peer") }

// Where nothing can be written any more, reading makes way for nobody: what the peer has closed with is behind its Pings.
func TestFailedWriteLearnsOfTheCloseBehindManyPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		fails := make(chan struct{})
		c := NewClientConn(failingConn{near, fails}, quiet())
		written, read := make(chan error, 1), readAsync(t.Context(), c)
		go func() { written <- c.Write(t.Context(), Text, []byte("x")) }()
		synctest.Wait()
		one := ping(strings.Repeat("x", 125)).append(nil, false, [4]byte{})
		send := func(p []byte) {
			if _, err := far.Write(p); err != nil {
				t.Error(err)
			}
		}
		for n := 0; n+len(one) <= owedLimit; n += len(one) {
			send(one)
		}
		synctest.Wait()
		close(fails)
		synctest.Wait()
		begun := time.Now()
		send(one)
		go send(closeFrame(StatusGoingAway, "").append(nil, false, [4]byte{}))
		if err := <-written; CloseStatus(err) != StatusGoingAway {
			t.Errorf("Write got %v, want what the peer has closed with", err)
		}
		<-read
		if took := time.Since(begun); took > 0 {
			t.Errorf("the Close was seen after %v", took)
		}
		_, _ = c.CloseNow(), far.Close()
	})
}
