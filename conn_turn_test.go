package websocket

// Contexts, turns, and the errors that calls get.

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

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

// endsWhenAsked is a context that ends right after it was asked for the first time
// whether it has, and lets everything happen that comes of it.
type endsWhenAsked struct {
	context.Context
	cancel context.CancelFunc
	asked  atomic.Bool
}

func (x *endsWhenAsked) Err() error {
	if x.asked.Swap(true) {
		return x.Context.Err()
	}
	x.cancel()
	synctest.Wait()
	return nil
}

func TestContextThatEndsWhileACallBeginsEndsTheCall(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		p.sends(text("one"))
		if _, _, err := c.Read(ctx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(&endsWhenAsked{Context: ctx, cancel: cancel}); !errors.Is(err, context.Canceled) {
			t.Errorf("Read got %v, want the context's error", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		if err := c.Write(ctx, Text, nil); err != nil {
			t.Fatal(err)
		}
		p.stopsListening()
		begun := time.Now()
		if err := c.Write(&endsWhenAsked{Context: ctx, cancel: cancel}, Text, nil); !errors.Is(err, context.Canceled) || time.Since(begun) > 0 {
			t.Errorf("Write got %v after %v, want the context's error at once", err, time.Since(begun))
		}
	})
}

// endsBetween is a context that ends while another call under it goes on, which ends
// then, and before a call that has found it good has its turn.
type endsBetween struct {
	context.Context
	end func() // nil: it has ended
}

func (x *endsBetween) Done() <-chan struct{} {
	if end := x.end; end != nil {
		x.end = nil
		end()
	}
	return x.Context.Done()
}

// A context that interrupts one call also ends another one under it, which had begun
// and has its turn behind that.
func TestContextThatEndsOneCallEndsTheNext(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.lockRead(ctx); err != nil { // as a Read does
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { p.sends(text("late")) })
		next := &endsBetween{ctx, func() { cancel(); synctest.Wait(); c.unlockRead() }}
		if _, got, err := c.Read(next); !errors.Is(err, context.Canceled) {
			t.Errorf("Read got %q %v, want the context's error", got, err)
		}
	})
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.lockFrame(ctx); err != nil { // as a Write does
			t.Fatal(err)
		}
		c.heed(ctx)
		p.stopsListening()
		next := &endsBetween{ctx, func() { cancel(); synctest.Wait(); c.unlockFrame() }}
		if err := c.Write(next, Text, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Write got %v, want the context's error", err)
		}
	})
}

// registers tells when something is registered with a context for the first time.
type registers struct {
	context.Context
	once sync.Once
	told chan struct{}
}

func (*registers) Value(any) any { return nil } // else context finds the one within

func (r *registers) AfterFunc(f func()) func() bool {
	r.once.Do(func() { close(r.told) })
	return context.AfterFunc(r.Context, f)
}

// To register with a context costs a good part of a short write. What leaves at once does
// without, in one frame or in fragments; what waits does not, and ends.
func TestWriteThatLeavesAtOnceRegistersNothing(t *testing.T) {
	for _, client := range []bool{false, true} {
		near, _ := tcpPair(t)
		c := endpointOver(t, near, quiet(), client)
		needsRaw(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watched := &registers{Context: ctx, told: make(chan struct{})}
		if err := c.Write(watched, Text, []byte("whole")); err != nil {
			t.Fatal(err)
		}
		w, err := c.Writer(watched, Text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-watched.told:
			t.Error("a write that left at once has registered")
		default:
		}
		go func() {
			<-watched.told // nobody reads: at last a write waits
			cancel()
		}()
		for err == nil {
			err = c.Write(watched, Binary, make([]byte, 1000))
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a Write that waits got %v, want the context's error", err)
		}
	}
}

// What was registered with a context does not stay there once calls come without it.
func TestContextThatNobodyUsesIsLeft(t *testing.T) {
	near, far := tcpPair(t)
	c, peer := endpointOver(t, near, quiet(), false), endpointOver(t, far, quiet(), true)
	needsRaw(t, c)
	old, cancel := context.WithCancel(t.Context())
	defer cancel()
	registered := func(w **contextWatch) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return *w != nil && (*w).stop != nil
	}
	echo := func(ctx context.Context, data []byte) {
		t.Helper()
		read := make(chan error, 1)
		go func() { // who waits is what registers
			_, _, err := c.Read(ctx)
			read <- err
		}()
		if err := peer.Write(t.Context(), Binary, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		written := make(chan error, 1)
		go func() { written <- c.Write(ctx, Binary, data) }()
		if _, _, err := peer.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		echo(old, make([]byte, 100_000))
	}
	if !registered(&c.readWatch) || !registered(&c.writeWatch) {
		t.Error("a context that comes again is not kept")
	}
	for range maxUnused {
		echo(context.Background(), []byte("short"))
	}
	if registered(&c.readWatch) || registered(&c.writeWatch) {
		t.Errorf("still registered: for reading %t, for writing %t", registered(&c.readWatch), registered(&c.writeWatch))
	}
}

// A reset is told as such to the Write that meets it, with the addresses, and to one that
// another wrote for.
func TestWriteTellsOfAReset(t *testing.T) {
	for _, offered := range []bool{false, true} {
		near, far := tcpPair(t)
		c := endpointOver(t, near, quiet(), false)
		needsRaw(t, c)
		if err := c.lockRead(t.Context()); err != nil { // so that nobody looks for a Close frame
			t.Fatal(err)
		}
		defer c.unlockRead()
		written := make(chan error, 1)
		write := func() { written <- c.Write(t.Context(), Binary, []byte("x")) }
		if offered {
			takesTurns(t, c)
			go write()
			waitsToSend(t, c, 1)
		}
		if err := far.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		time.Sleep(10 * time.Millisecond) // it has come by then, as a rule; else a later Write meets it
		if offered {
			c.unlockMessage()
		} else {
			go write()
		}
		err := <-written
		for err == nil {
			go write()
			err = <-written
		}
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNRESET) || !offered && (!errors.As(err, &op) || op.Addr == nil) {
			t.Errorf("offered: %t: got %v, want the reset", offered, err)
		}
	}
}

// withoutDeadlines is a stream that can't do more than it has to.
type withoutDeadlines struct{ io.ReadWriteCloser }

// bothSidesStream runs f with a server and with a client under test, each over a
// stream without deadlines in a bubble of synctest.
func bothSidesStream(t *testing.T, o *Options, f func(t *testing.T, c *Conn, p *peer)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		t.Run(side(client), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				p := newPeer(t, far, !client)
				p.bubble, p.patience = true, time.Second
				open := NewServerConn
				if client {
					open = NewClientConn
				}
				c := open(withoutDeadlines{near}, o)
				t.Cleanup(func() { _ = c.CloseNow() })
				f(t, c, p)
			})
		})
	}
}

// wantTold checks that err is a cause and only it, and what the next call gets.
func wantTold(t *testing.T, c *Conn, err, cause error) {
	t.Helper()
	if !errors.Is(err, cause) || errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want the cause %v, and only it", err, cause)
	}
	if err := c.Write(t.Context(), Text, nil); !errors.Is(err, cause) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a later call got %v, want net.ErrClosed and the cause", err)
	}
}

func TestContextEndsAStreamWithoutDeadlines(t *testing.T) {
	bothSidesStream(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := c.Read(ctx)
		wantTold(t, c, err, context.DeadlineExceeded)
	})
	bothSidesStream(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantTold(t, c, c.Write(ctx, Text, nil), context.DeadlineExceeded)
	})
}

func TestWriteTimeoutOnAStreamWithoutDeadlines(t *testing.T) {
	bothSidesStream(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		begun := time.Now()
		err := c.Write(t.Context(), Binary, make([]byte, 1_000_000))
		if d := time.Since(begun); d < 30*time.Second || d > 45*time.Second {
			t.Errorf("Write took %v, want WriteTimeout", d)
		}
		wantTold(t, c, err, os.ErrDeadlineExceeded)
	})
}

func TestWriteWaitsForAnotherThatMakesProgress(t *testing.T) {
	for name, long := range map[string]func(c *Conn, p []byte) error{
		"Write": func(c *Conn, p []byte) error { return c.Write(context.Background(), Binary, p) },
		"MessageWriter": func(c *Conn, p []byte) error {
			w, err := c.Writer(context.Background(), Binary)
			if err != nil {
				return err
			}
			if _, err := w.Write(p); err != nil {
				return err
			}
			return w.Close()
		},
	} {
		for _, client := range []bool{false, true} {
			t.Run(name+" "+side(client), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					c := endpointOver(t, near, quiet(), client)
					var slow sync.WaitGroup
					defer slow.Wait()
					defer far.Close()
					results := make(chan error, 2)
					go func() { results <- long(c, make([]byte, 200_000)) }()
					synctest.Wait()
					go func() { results <- c.Write(t.Context(), Text, []byte("behind it")) }()
					slow.Go(func() {
						for buf := make([]byte, 4<<10); ; time.Sleep(5 * time.Second) {
							if _, err := far.Read(buf); err != nil {
								return
							}
						}
					})
					for range 2 {
						if err := <-results; err != nil {
							t.Errorf("got %v, want both to be written: the peer takes octets all the time", err)
						}
					}
				})
			})
		}
	}
}

func TestConnectionsOwnContextDoesNotHideItsEnd(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		own := c.Context()
		derived, cancel := context.WithCancel(own)
		defer cancel()
		p.sends(closeFrame(4321, ""))
		if _, _, err := c.Read(derived); CloseStatus(err) != 4321 || errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want the CloseError and only it", err)
		}
		<-derived.Done()
		for _, ctx := range []context.Context{own, derived} {
			_, _, read := c.Read(ctx)
			_, writer := c.Writer(ctx, Text)
			_, pinged := c.Ping(ctx)
			for i, err := range []error{read, writer, pinged, c.Write(ctx, Text, nil)} {
				if CloseStatus(err) != 4321 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("call %d got %v, want net.ErrClosed and the cause", i, err)
				}
			}
		}
	})
	bothSides(t, func(t *testing.T, c *Conn, p *peer) { // whoever waits for a turn
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 20)
		for range cap(results) {
			go func() { results <- c.Write(c.Context(), Text, nil) }()
		}
		synctest.Wait()
		if err := c.CloseNow(); err != nil {
			t.Fatal(err)
		}
		for range cap(results) {
			if err := <-results; err != errClosed {
				t.Errorf("got %v, want net.ErrClosed", err)
			}
		}
		if err := w.Close(); err != errClosed {
			t.Errorf("MessageWriter.Close got %v, want net.ErrClosed", err)
		}
	})
}

// mergedContext ends with one context and has the values of another.
type mergedContext struct{ context.Context }

func (mergedContext) Err() error { return context.Canceled }

func (mergedContext) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func TestContextWithTheValuesOfTheConnection(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx := mergedContext{c.Context()}
		if _, _, err := c.Read(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Read: got %v", err)
		}
		if err := c.Write(ctx, Text, nil); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "%!") {
			t.Errorf("Write: got %v", err)
		}
	})
}

// A Close lets the frame that is being written end, whatever context of the
// connection's own family it is written under.
func TestCloseCutsNoWriteUnderADerivedContext(t *testing.T) {
	message := strings.Repeat("x", 300_000)
	check := func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(c.Context(), time.Hour)
		defer cancel()
		if err := c.Write(ctx, Text, nil); err != nil {
			t.Fatal(err)
		}
		p.want("the first message", text(""))
		p.stopsListening()
		wrote, closed := make(chan error, 1), make(chan error, 1)
		go func() { wrote <- c.Write(ctx, Text, []byte(message)) }()
		synctest.Wait()
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		synctest.Wait()
		p.listens()
		p.want("the message, whole, and the Close frame", text(message), closeFrame(StatusNormalClosure, ""))
		p.sends(closeFrame(StatusNormalClosure, ""))
		p.hangsUp()
		if err := <-wrote; err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	bothSides(t, check)
	bothSidesStream(t, quiet(), check)
}

// A write goes on while our Close frame waits for it, and its context still holds.
func TestContextOfAWriteHoldsAfterClose(t *testing.T) {
	check := func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun, wrote := time.Now(), make(chan error, 1)
		go func() { wrote <- c.Write(ctx, Binary, make([]byte, 300_000)) }()
		synctest.Wait()
		go func() { _ = c.Close(StatusNormalClosure, "") }()
		if err := <-wrote; err == nil || time.Since(begun) > 2*time.Second {
			t.Errorf("Write took %v: %v", time.Since(begun), err)
		}
	}
	o := &Options{KeepAlive: -1, WriteTimeout: -1, CloseTimeout: time.Hour}
	bothSidesWith(t, o, check)
	bothSidesStream(t, o, check)
}

// An error says why its context has ended, where that was said.
func TestErrorOfAContextHasItsCause(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		for cause, want := range map[error]string{
			errFull: "websocket: read: context canceled: full",
			nil:     "websocket: read: context canceled",
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			_, _, err := c.Read(ctx)
			if !errors.Is(err, context.Canceled) || cause != nil && !errors.Is(err, cause) || err.Error() != want {
				t.Errorf("cause %v: got %v, want %s", cause, err, want)
			}
		}
	})
}

// listErr is an error that == can't compare, as lists of errors are.
type listErr []string

func (listErr) Error() string { return "over" }

// listErrContext is a context of the caller's own that has ended.
type listErrContext struct{ context.Context }

func (listErrContext) Err() error { return listErr{"over"} }

// No method panics at a context whose error can't be compared.
func TestContextWhoseErrorCannotBeCompared(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		var want listErr
		if _, _, err := c.Read(listErrContext{t.Context()}); !errors.As(err, &want) {
			t.Errorf("got %v, want the error of the context", err)
		}
	})
}
