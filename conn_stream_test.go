package websocket

// MessageReader and MessageWriter in the hands of several goroutines, and out of
// order.

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// whileFraming runs f while a frame is being written that the peer does not take,
// and then lets it go.
func whileFraming(t *testing.T, c *Conn, p *peer, f func()) {
	t.Helper()
	p.stopsListening()
	ctx, cancel := context.WithCancel(t.Context())
	pinged := make(chan struct{})
	go func() {
		_, _ = c.Ping(ctx)
		close(pinged)
	}()
	synctest.Wait()
	f()
	p.listens()
	if f, err := p.next(); err != nil || f.Opcode != OpPing {
		t.Fatalf("got %v, %v, want the Ping", f, err)
	}
	cancel()
	<-pinged
}

func TestMessageEndsOnceWhoeverWrites(t *testing.T) {
	for name, row := range map[string]struct {
		calls []func(w *MessageWriter) error
		want  []error
		wire  []frame
	}{
		"Close, Close": {
			[]func(w *MessageWriter) error{(*MessageWriter).Close, (*MessageWriter).Close},
			[]error{nil, errWriterClosed},
			[]frame{cont("")},
		},
		"Close, Write": {
			[]func(w *MessageWriter) error{(*MessageWriter).Close, write("late")},
			[]error{nil, errWriterClosed},
			[]frame{cont("")},
		},
		"bad Write, Close": {
			[]func(w *MessageWriter) error{write("\xff"), (*MessageWriter).Close},
			[]error{errNotUTF8, errNotUTF8},
			[]frame{closeFrame(StatusInternalError, "")},
		},
		"bad Write, Write": {
			[]func(w *MessageWriter) error{write("\xff"), write("good")},
			[]error{errNotUTF8, errNotUTF8},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, c *Conn, p *peer) {
				w, err := c.Writer(t.Context(), Text)
				if err != nil {
					t.Fatal(err)
				}
				if err := write("begun")(w); err != nil {
					t.Fatal(err)
				}
				p.want("the start", text("begun").more())
				results := make([]chan error, len(row.calls))
				whileFraming(t, c, p, func() {
					for i, call := range row.calls {
						results[i] = make(chan error, 1)
						go func() { results[i] <- call(w) }()
						synctest.Wait()
					}
				})
				p.want("what the calls sent", row.wire...)
				p.sends(closeFrame(StatusInternalError, ""))
				for i, want := range row.want {
					if err := <-results[i]; err != want {
						t.Errorf("call %d got %v, want %v", i, err, want)
					}
				}
				p.wantIdleOrEnd("nothing else")
			})
		})
	}
}

func write(s string) func(w *MessageWriter) error {
	return func(w *MessageWriter) error {
		_, err := w.Write([]byte(s))
		return err
	}
}

// wantIdleOrEnd wants no frame to come now.
func (p *peer) wantIdleOrEnd(why string) {
	p.t.Helper()
	synctest.Wait()
	if f, err := p.take(); err == nil {
		p.t.Errorf("%s\n got: %s", why, f)
	}
}

func TestMessageReaderAtItsEndDoesNotWaitForOthers(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("whole"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, r, err := c.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "whole" {
			t.Fatalf("got %q, %v", b, err)
		}
		next := readAsync(t.Context(), c)
		synctest.Wait()
		for range 2 {
			begun := time.Now()
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("got %d, %v, want io.EOF", n, err)
			}
			if err := r.Discard(); err != nil {
				t.Error(err)
			}
			if time.Since(begun) > 0 {
				t.Error("it waited for a Read of another")
			}
			cancel()
		}
		p.sends(text("next"))
		if r := <-next; r.err != nil || string(r.data) != "next" {
			t.Errorf("got %q, %v", r.data, r.err)
		}
	})
}

func TestMessageReaderWithAnEndedContextReturnsAtOnce(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("a").more())
		ctx, cancel := context.WithCancel(t.Context())
		_, r, err := c.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		other := readAsync(t.Context(), c) // takes the message over
		synctest.Wait()
		cancel()
		begun := time.Now()
		if _, err := r.Read(make([]byte, 1)); err == nil || time.Since(begun) > 0 {
			t.Errorf("got %v after %v, want the context's error at once", err, time.Since(begun))
		}
		p.sends(cont("b"))
		if got := <-other; string(got.data) != "ab" {
			t.Errorf("got %q, %v", got.data, got.err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("got %v, want an error that is not the end of the message", err)
		}
	})
}

func TestMessageThatIsOpenNeedsNoFurtherOctet(t *testing.T) {
	for _, payload := range []string{"", "x"} {
		bothSides(t, func(t *testing.T, c *Conn, p *peer) {
			p.sends(text(payload))
			for range 3 {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				typ, _, err := c.Reader(ctx)
				cancel()
				if typ != Text || err != nil || time.Since(begun) > 0 {
					t.Fatalf("Reader got %v, %v after %v", typ, err, time.Since(begun))
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, data, err := c.Read(ctx); err != nil || string(data) != payload {
				t.Errorf("Read got %q, %v, want %q: the whole message has arrived", data, err, payload)
			}
		})
	}
}

// A first fragment that was given up before its first octet was out has begun no
// message, so what was queued still has its place before the Close frame.
func TestFragmentThatNeverLeftLeavesTheQueueAsItIs(t *testing.T) {
	c, far := overUnix(t)
	needsRaw(t, c)
	empty := binaryOf("").append(nil, false, [4]byte{})
	full := 0
	for n := len(empty); n == len(empty); full++ {
		var err error
		if n, err = c.w.tryWrite(empty); err != nil || n%len(empty) != 0 {
			t.Fatal(n, err)
		}
	}
	full-- // the last was not taken
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	m, err := c.Writer(ctx, Binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write([]byte("given up")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Write: %v, want the context's error", err)
	}
	if err := c.Send(prepared(t, Text, "queued")); err != nil {
		t.Fatal(err)
	}
	go func() { _ = m.Abort() }()
	p := newPeer(t, far, true)
	for range full {
		p.want("what has filled the socket", binaryOf(""))
	}
	p.want("what was queued, and the Close frame", text("queued"), closeFrame(1011, ""))
}

func TestReaderAfterCloseOnAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble, p.patience = true, time.Second
		c := NewServerConn(withoutDeadlines{near}, quiet())
		defer c.CloseNow()
		got := make(chan error, 1)
		go func() { _, _, err := c.Reader(t.Context()); got <- err }()
		synctest.Wait()
		go func() { _ = c.Close(1000, "") }()
		synctest.Wait()
		p.sends(text("late"), closeFrame(1000, ""))
		if err := <-got; err == nil {
			t.Error("Reader has no error after Close")
		}
	})
}

// An empty Write sends nothing and says so: a count below zero would be out of range for
// whoever adds it up.
func TestEmptyWriteOfAMessageWriterCountsNothing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := w.Write(nil); n != 0 || err != nil {
			t.Errorf("got %d, %v, want 0 and no error", n, err)
		}
		p.wantIdle("nothing was sent")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p.want("the message", text(""))
		if n, err := w.Write(nil); n != 0 || err != errWriterClosed {
			t.Errorf("after Close: got %d, %v, want 0 and %v", n, err, errWriterClosed)
		}
	})
}
