package websocket

// What a connection promises beyond the RFC's sentences: about time, turns,
// memory and its own end. Most of it runs in both roles over a net.Pipe in
// synctest's time; what is about sockets runs over loopback TCP.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// bothSidesTCP runs f with a server and with a client under test over TCP.
func bothSidesTCP(t *testing.T, o *Options, f func(t *testing.T, c *Conn, p *peer)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		t.Run(side(client), func(t *testing.T) {
			c, p := overTCP(t, o, client)
			f(t, c, p)
		})
	}
}

// readResult is what a Read in a goroutine of its own has returned.
type readResult struct {
	typ  MessageType
	data []byte
	err  error
}

func readAsync(ctx context.Context, c *Conn) <-chan readResult {
	done := make(chan readResult, 1)
	go func() {
		typ, data, err := c.Read(ctx)
		done <- readResult{typ, data, err}
	}()
	return done
}

// wire is the octets of frames as the peer sends them.
func (p *peer) wire(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.append(b, p.client, [4]byte{1, 2, 3, 4})
	}
	return b
}

func TestReadResumesAtEveryOctet(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		long := strings.Repeat("ü", 100) // two octets each, and a length of 16 bits
		frames := []frame{text(long).more(), ping("in between"), cont("").more(), cont("end")}
		want := long + "end"
		for _, b := range p.wire(frames...) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			p.writes([]byte{b})
			typ, data, err := c.Read(ctx)
			cancel()
			if err == nil {
				if typ != Text || string(data) != want {
					t.Fatalf("got %v %q, want the whole text", typ, data)
				}
				want = ""
				continue
			}
			if !errors.Is(err, context.DeadlineExceeded) || data != nil {
				t.Fatalf("got %q %v, want a deadline and no octets", data, err)
			}
		}
		if want != "" {
			t.Error("the message did not arrive")
		}
		p.want("the Ping between fragments was answered once", pong("in between"))
	})
}

func TestReadResumesInsideAFrameOverTCP(t *testing.T) {
	bothSidesTCP(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		message := strings.Repeat("0123456789", 20_000)
		wire := p.wire(binaryOf(message))
		into := make([]byte, 0, 8)
		for _, cut := range []int{1, 5, 100, 70_000, 150_000} {
			p.writes(wire[:cut])
			wire = wire[min(cut, len(wire)):]
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			_, into2, err := c.ReadAppend(ctx, into)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || len(into2) != 0 {
				t.Fatalf("got %d octets and %v, want none and a deadline", len(into2), err)
			}
			if wire = wire[:len(wire):len(wire)]; len(wire) < 150_000 {
				break
			}
		}
		p.writes(wire)
		_, data, err := c.Read(t.Context())
		if err != nil || string(data) != message {
			t.Fatalf("got %d octets and %v, want all %d", len(data), err, len(message))
		}
	})
}

func TestContextOfALateReadIsNotThatOfTheNext(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		p.sends(text("1"))
		if _, _, err := c.Read(ctx); err != nil {
			t.Fatal(err)
		}
		cancel() // nobody reads
		got := readAsync(t.Context(), c)
		synctest.Wait()
		p.sends(text("2"))
		if r := <-got; r.err != nil || string(r.data) != "2" {
			t.Errorf("got %q %v, want the second message", r.data, r.err)
		}
		if _, _, err := c.Read(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the error of a context that had ended", err)
		}
	})
}

func TestReadersTakeTurns(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		var results []<-chan readResult
		for range 5 {
			results = append(results, readAsync(t.Context(), c))
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		impatient := readAsync(ctx, c)
		synctest.Wait()
		cancel()
		if r := <-impatient; !errors.Is(r.err, context.Canceled) {
			t.Errorf("a reader that waits for its turn: got %v, want its context's error", r.err)
		}
		for i, result := range results {
			p.sends(text(fmt.Sprint(i)))
			if r := <-result; string(r.data) != fmt.Sprint(i) {
				t.Errorf("reader %d got %q %v", i, r.data, r.err)
			}
		}
	})
}

func TestEveryPingGetsItsPong(t *testing.T) {
	const count = 2000
	check := func(t *testing.T, c *Conn, p *peer) {
		var pings, pongs []frame
		for i := range count {
			payload := fmt.Sprintf("%0*d", i%126, i)
			pings, pongs = append(pings, ping(payload)), append(pongs, pong(payload))
		}
		got := readAsync(t.Context(), c)
		p.sends(append(pings, text("end"))...)
		if r := <-got; r.err != nil || string(r.data) != "end" {
			t.Fatalf("got %q %v", r.data, r.err)
		}
		p.want("each Ping's Pong, in order", pongs...)
	}
	t.Run("tcp", func(t *testing.T) { bothSidesTCP(t, quiet(), check) })
	t.Run("tls", func(t *testing.T) { bothSidesTLS(t, quiet(), check) }) // a goroutine writes them, and comes to run later
}

func TestPongDoesNotWaitForWriter(t *testing.T) {
	bothSidesTCP(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		written := make(chan error, 1)
		go func() { written <- c.Write(t.Context(), Binary, make([]byte, 6<<20)) }() // more than the sockets take
		for i := range 1000 {
			p.sends(ping(fmt.Sprint(i)), text(fmt.Sprint(i)))
			if _, data, err := c.Read(t.Context()); err != nil || string(data) != fmt.Sprint(i) {
				t.Fatalf("while a Write is stuck, got %q %v, want message %d", data, err, i)
			}
		}
		c.mu.Lock()
		owed := len(c.ping.owed)
		c.mu.Unlock()
		if owed > owedLimit {
			t.Errorf("%d octets are owed, want at most %d", owed, owedLimit)
		}
		if len(written) > 0 {
			t.Error("the Write was never stuck")
		}
		p.listens()
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	})
}

func TestLaterPingReplacesThoseThatCantBeAnswered(t *testing.T) {
	var state pingState
	for i := range 10_000 {
		state.owe(OpPong, fmt.Appendf(nil, "%05d", i))
	}
	if n := len(state.owed); n > owedLimit {
		t.Errorf("%d octets are owed, want at most %d", n, owedLimit)
	}
	if last := string(state.owed[state.lastOwed+2:]); last != "09999" {
		t.Errorf("the last Pong owed is %q, want that to the latest Ping", last)
	}
}

func TestPingMeasuresTheRoundTrip(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		go func() { _, _, _ = c.Read(t.Context()) }()
		type result struct {
			d   time.Duration
			err error
		}
		results := make(chan result, 3)
		for range 3 {
			go func() {
				d, err := c.Ping(t.Context())
				results <- result{d, err}
			}()
			synctest.Wait()
		}
		p.sends(pong("not asked for"))
		time.Sleep(3 * time.Second)
		var last frame
		for range 3 {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			last = f
		}
		p.sends(pong(string(last.payload))) // answers all three (5.5.3)
		for range 3 {
			if r := <-results; r.err != nil || r.d != 3*time.Second {
				t.Errorf("got %v %v, want 3s", r.d, r.err)
			}
		}
	})
}

func TestPingGivesUpWithItsContext(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline: nobody reads", err)
		}
		if c.ping.waiting != nil {
			t.Error("a Ping that was given up is still waited for")
		}
		p.sends(text("fine"))
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "fine" {
			t.Errorf("got %q %v, want the connection as it was", data, err)
		}
	})
}

func TestKeepAlivePingsASilentPeer(t *testing.T) {
	bothSidesWith(t, nil, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		time.Sleep(30*time.Second - 1)
		p.wantIdle("no Ping before KeepAlive")
		time.Sleep(time.Second)
		f, err := p.next()
		if err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v %v, want a Ping after KeepAlive", f, err)
		}
		p.sends(pong(string(f.payload)))
		time.Sleep(29 * time.Second)
		p.wantIdle("no Ping for KeepAlive after the Pong")
		time.Sleep(2 * time.Second)
		if f, err := p.next(); err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v %v, want the next Ping", f, err)
		}
		time.Sleep(18 * time.Second)
		select {
		case r := <-got:
			t.Fatalf("got %v before PongTimeout", r.err)
		default:
		}
		time.Sleep(3 * time.Second)
		r := <-got
		if !errors.Is(r.err, errSilent) || !errors.Is(r.err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want that the peer is silent", r.err)
		}
		p.wantEOF("the connection is cut")
	})
}

func TestKeepAliveDoesNotPingWhereNobodyReads(t *testing.T) {
	bothSidesWith(t, nil, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("waits to be read"))
		time.Sleep(time.Hour)
		p.wantIdle("a Ping is due only while a read waits")
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "waits to be read" {
			t.Fatalf("got %q %v, want what has waited", data, err)
		}
		got := readAsync(t.Context(), c)
		time.Sleep(time.Minute)
		select {
		case r := <-got:
			if !errors.Is(r.err, errSilent) {
				t.Errorf("got %v", r.err)
			}
		default:
			t.Error("a peer that is silent for KeepAlive and PongTimeout was not given up")
		}
	})
}

func TestKeepAliveOverTCP(t *testing.T) {
	t.Parallel()
	answered := &Options{KeepAlive: 50 * time.Millisecond, PongTimeout: time.Minute}
	bothSidesTCP(t, answered, func(t *testing.T, c *Conn, p *peer) {
		readAsync(t.Context(), c)
		for range 3 {
			f, err := p.next()
			if err != nil || f.Opcode != OpPing {
				t.Fatalf("got %v %v, want a Ping", f, err)
			}
			p.sends(pong(string(f.payload)))
		}
	})
	silent := &Options{KeepAlive: 50 * time.Millisecond, PongTimeout: 100 * time.Millisecond}
	bothSidesTCP(t, silent, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		if f, err := p.next(); err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v %v, want the Ping that is not answered", f, err)
		}
		if r := <-got; !errors.Is(r.err, errSilent) {
			t.Errorf("got %v, want that the peer is silent", r.err)
		}
	})
}

func TestProgressOfWritesRestartsPongTimeout(t *testing.T) {
	bothSidesWith(t, nil, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		for range 20 { // the peer takes octets, so it is there
			time.Sleep(15 * time.Second)
			if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case r := <-got:
			t.Fatalf("got %v, want no end while writes make progress", r.err)
		default:
		}
		time.Sleep(time.Minute + 30*time.Second)
		if r := <-got; !errors.Is(r.err, errSilent) {
			t.Errorf("got %v", r.err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	rows := map[string]func(t *testing.T, c *Conn, p *peer){
		"peer takes nothing": func(t *testing.T, _ *Conn, p *peer) { p.stopsListening() },
		"a Write is stuck": func(t *testing.T, c *Conn, p *peer) {
			p.stopsListening()
			go func() { _ = c.Write(t.Context(), Binary, make([]byte, 1<<20)) }()
			synctest.Wait()
		},
		"a MessageWriter is open": func(t *testing.T, c *Conn, p *peer) {
			w, err := c.Writer(t.Context(), Text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("and")); err != nil {
				t.Fatal(err)
			}
		},
		"a MessageReader is open": func(t *testing.T, c *Conn, p *peer) {
			p.sends(text("begun").more())
			_, r, err := c.Reader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		},
		"someone reads":          func(t *testing.T, c *Conn, p *peer) { readAsync(t.Context(), c); synctest.Wait() },
		"the peer goes on":       func(t *testing.T, c *Conn, p *peer) { p.sends(text("a"), binaryOf("b"), text("c").more()) },
		"the peer answers never": func(t *testing.T, c *Conn, p *peer) {},
	}
	for name, prepare := range rows {
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, c *Conn, p *peer) {
				prepare(t, c, p)
				begun := time.Now()
				if err := c.Close(StatusNormalClosure, ""); err == nil {
					t.Error("got nil, want an error: the peer has sent no Close")
				}
				if d := time.Since(begun); d > 5*time.Second {
					t.Errorf("Close took %v, want at most CloseTimeout", d)
				}
				if err := c.Write(t.Context(), Text, nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v, want net.ErrClosed", err)
				}
			})
		})
	}
}

func TestSecondCloseWaitsForTheFirst(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		results := make(chan error, 3)
		for i := range 3 {
			go func() { results <- c.Close(StatusCode(4000+i), "") }()
			synctest.Wait()
		}
		p.want("one Close frame, the first", closeFrame(4000, ""))
		p.sends(closeFrame(4000, ""))
		for range 3 {
			if err := <-results; err != nil {
				t.Errorf("got %v, want nil: both Close frames have passed", err)
			}
		}
	})
}

func TestCloseArgumentsThatChangeNothing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		for _, code := range []StatusCode{-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 70_000} {
			if err := c.Close(code, ""); err == nil {
				t.Errorf("Close(%d) got nil", code)
			}
		}
		if err := c.Close(StatusNormalClosure, "\xff"); err == nil {
			t.Error("a reason that is not UTF-8 got nil")
		}
		if err := c.Write(t.Context(), Text, []byte("still open")); err != nil {
			t.Error(err)
		}
		p.want("nothing but the message", text("still open"))
	})
}

func TestCallThatMeetsTheEndGetsTheCause(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		ctx := c.Context()
		p.sends(closeFrame(4321, "reason"))
		_, _, err := c.Read(t.Context())
		var closed *CloseError
		if !errors.As(err, &closed) || closed.Reason != "reason" || CloseStatus(err) != 4321 || errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want the CloseError and only it", err)
		}
		if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) || CloseStatus(err) != 4321 {
			t.Errorf("a later call got %v, want net.ErrClosed and the cause", err)
		}
		if err := c.Write(t.Context(), Text, nil); !errors.Is(err, net.ErrClosed) || CloseStatus(err) != 4321 {
			t.Errorf("a later Write got %v, want net.ErrClosed and the cause", err)
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); CloseStatus(cause) != 4321 {
			t.Errorf("the context's cause is %v", cause)
		}
		p.want("the answer", closeFrame(4321, ""))
		if err := c.Close(StatusNormalClosure, ""); err != nil {
			t.Errorf("Close got %v, want nil: both Close frames have passed", err)
		}
	})
}

func TestCloseOfOurOwnIsErrClosed(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		got := readAsync(t.Context(), c)
		synctest.Wait()
		p.sends(closeFrame(1000, ""))
		closed := make(chan error, 1)
		go func() { closed <- c.Close(4001, "ours") }()
		<-closed
		r := <-got
		if CloseStatus(r.err) != 1000 && !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("got %v, want the peer's Close or ours", r.err)
		}
	})
}

func TestEndOfStreamAtEveryOctet(t *testing.T) {
	conversation := []frame{text("whole"), text("ü").more(), ping("p"), cont("rest"), binaryOf(strings.Repeat("b", 300)), closeFrame(1000, "bye")}
	whole := []string{"whole", "ürest", strings.Repeat("b", 300)}
	for _, client := range []bool{false, true} {
		t.Run(side(client), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, scratch := overPipe(t, quiet(), client)
				wire := scratch.wire(conversation...)
				for cut := range wire {
					c, p := overPipe(t, quiet(), client)
					p.writes(wire[:cut])
					p.hangsUp()
					var got []string
					var err error
					for err == nil {
						var data []byte
						if _, data, err = c.Read(t.Context()); err == nil {
							got = append(got, string(data))
						}
					}
					if !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Fatalf("cut at %d: got %v, want io.ErrUnexpectedEOF", cut, err)
					}
					if len(got) > len(whole) || strings.Join(got, "|") != strings.Join(whole[:len(got)], "|") {
						t.Fatalf("cut at %d: got %q", cut, got)
					}
					_ = c.CloseNow()
				}
			})
		})
	}
}

func TestMessageReaderNeverEndsShort(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("half a ").more())
		_, r, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.hangsUp()
		data, err := io.ReadAll(r)
		if !errors.Is(err, io.ErrUnexpectedEOF) || string(data) != "half a " {
			t.Errorf("got %q %v, want the octets and io.ErrUnexpectedEOF", data, err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("a later Read got %v", err)
		}
	})
}

func TestMessageReaderKeepsItsMessage(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("first").more(), cont(" message"), text("second"), text("third"))
		_, r, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrReaderOpen) {
			t.Errorf("Read got %v, want ErrReaderOpen", err)
		}
		if _, _, err := c.Reader(t.Context()); !errors.Is(err, ErrReaderOpen) {
			t.Errorf("Reader got %v, want ErrReaderOpen", err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || string(rest) != "st message" {
			t.Errorf("got %q %v", rest, err)
		}
		_, untouched, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "second" {
			t.Errorf("got %q %v, want the message of which nothing was delivered", data, err)
		}
		if _, err := untouched.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the reader that lost its message got %v", err)
		}
		_, third, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := third.Discard(); err != nil {
			t.Error(err)
		}
		if err := third.Discard(); err != nil {
			t.Errorf("a second Discard got %v", err)
		}
	})
}

func TestMessageReaderGoesOnAfterItsContext(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("abc").more())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, r, err := c.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if !errors.Is(err, context.DeadlineExceeded) || string(data) != "abc" {
			t.Fatalf("got %q %v", data, err)
		}
		r.SetContext(t.Context())
		p.sends(cont("def"))
		if data, err := io.ReadAll(r); err != nil || string(data) != "def" {
			t.Errorf("got %q %v", data, err)
		}
	})
}

func TestWriterSendsFragments(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range []string{"a\xe2", "\x82", "", "\xacb"} { // a euro sign in three pieces
			if _, err := io.WriteString(w, piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err == nil {
			t.Error("a second Close got nil")
		}
		p.want("a fragment for each Write and an end", text("a\xe2").more(), cont("\x82").more(), cont("\xacb").more(), cont(""))
		if err := c.Write(t.Context(), Text, []byte("next")); err != nil {
			t.Fatal(err)
		}
		p.want("the next message", text("next"))
	})
}

func TestFailedWriterNeverEndsItsMessage(t *testing.T) {
	rows := map[string]func(w *MessageWriter) error{
		"no UTF-8": func(w *MessageWriter) error { _, err := w.Write([]byte("\xff")); return errors.Join(err, w.Close()) },
		"cut in a character": func(w *MessageWriter) error {
			_, err := w.Write([]byte("\xe2\x82"))
			return errors.Join(err, w.Close())
		},
		"abandoned by Abort ": func(w *MessageWriter) error { return errors.Join(w.Abort(), errors.New("aborted")) },
		"copied from what breaks off": func(w *MessageWriter) error {
			lost := errors.New("lost")
			n, err := io.Copy(w, io.MultiReader(strings.NewReader("a part"), iotest.ErrReader(lost)))
			if n != 6 || err != lost {
				err = nil
			}
			if w.Close() != lost { // as if it were deferred
				err = nil
			}
			return err
		},
	}
	for name, fail := range rows {
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, c *Conn, p *peer) {
				w, err := c.Writer(t.Context(), Text)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte("begun")); err != nil {
					t.Fatal(err)
				}
				if err := fail(w); err == nil {
					t.Error("got nil, want an error")
				}
				for {
					f, err := p.next()
					if err != nil {
						t.Fatalf("got %v, want a Close with 1011", err)
					}
					if f.Fin && !f.Opcode.isControl() {
						t.Fatalf("got %v, want no end of the message", f)
					}
					if f.Opcode == OpClose {
						if got := f.String(); got != closeFrame(StatusInternalError, "").String() {
							t.Errorf("got %s, want 1011", got)
						}
						return
					}
				}
			})
		})
	}
}

// What is copied may break off with another MessageWriter's error, as a relay passes it on, or with a panic, if its
// Reader says that it has read more than there was room for: the message ends with an error, and the connection too.
func TestWriterCopiesFromBrokenReaders(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"another writer's error":  iotest.ErrReader(errWriterClosed),
		"more than there is room": readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			bothSides(t, func(t *testing.T, c *Conn, p *peer) {
				w, err := c.Writer(t.Context(), Text)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(w, io.MultiReader(strings.NewReader("a part"), r)); err == nil {
					t.Error("io.Copy got nil, want an error")
				}
				if err := w.Close(); err == nil {
					t.Error("Close got nil, want an error")
				}
				p.want("no end of the message", text("a part").more(), closeFrame(StatusInternalError, ""))
			})
		})
	}
}

// A MessageWriter that was closed takes nothing more, and nothing out of what is to be copied.
func TestWriterThatWasClosedCopiesNothing(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", "some octets"} {
			r := strings.NewReader(text)
			if _, err := w.ReadFrom(r); err == nil || r.Len() != len(text) {
				t.Errorf("ReadFrom of %q: got %v, and %d octets are left", text, err, r.Len())
			}
		}
	})
}

func TestWriteGivesUpOnAMessageWriterThatIsIdle(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { result <- c.Write(t.Context(), Text, []byte("later")) }()
		for range 3 { // it writes, so it is waited for
			time.Sleep(25 * time.Second)
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-result:
			t.Fatalf("got %v while the MessageWriter writes", err)
		default:
		}
		time.Sleep(61 * time.Second)
		if err := <-result; !errors.Is(err, errSendingTaken) {
			t.Errorf("got %v, want an error that names the MessageWriter", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWriteThatWaitsForItsTurnLeavesTheConnectionAsItWas(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		w, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Write(ctx, Text, []byte("never")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want its context's error", err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Write(t.Context(), Text, []byte("next")); err != nil {
			t.Fatal(err)
		}
		p.want("what was written, and nothing of what was not", text(""), text("next"))
	})
}

func TestWriteEndsWithItsContextOverTCP(t *testing.T) {
	bothSidesTCP(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		message := make([]byte, 64<<20) // takes long under the race detector, and before the first octet is out Write only gives up
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for c.w.progress.Load() == 0 && c.ended() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		err := c.Write(ctx, Binary, message)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection") {
			t.Errorf("got %v, want the context's error, and that the connection ended with it", err)
		}
		if err := c.Write(t.Context(), Text, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed: the frame was cut", err)
		}
	})
}

func TestPeerThatTakesNothingForWriteTimeout(t *testing.T) {
	o := &Options{KeepAlive: -1, WriteTimeout: 100 * time.Millisecond}
	bothSidesTCP(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		err := c.Write(t.Context(), Binary, make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want os.ErrDeadlineExceeded", err)
		}
	})
}

func TestWriteTimeoutIsAboutProgress(t *testing.T) {
	t.Parallel()
	o := &Options{KeepAlive: -1, WriteTimeout: 3 * time.Second}
	bothSidesTCP(t, o, func(t *testing.T, c *Conn, p *peer) {
		t.Parallel()
		done := make(chan error, 1)
		message := make([]byte, 48<<20)
		go func() { done <- c.Write(t.Context(), Binary, message) }()
		var pauses pauses
		for range 60 { // the peer listens now and then, for longer than WriteTimeout in all
			pauses.end()
			p.stopsListening()
			time.Sleep(60 * time.Millisecond)
			p.listens()
			time.Sleep(2 * time.Millisecond)
		}
		switch err := <-done; {
		case err == nil:
			p.want("the whole message", binaryOf(string(message)))
		case !pauses.excuse(t, err):
			t.Error(err)
		}
	})
}

// pauses are those of a test that has to do something often, on a machine that may
// stand still. The zero value begins with the first.
type pauses struct {
	last    time.Time
	longest time.Duration
}

// end ends a pause and begins the next.
func (p *pauses) end() {
	now := time.Now()
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

// excuse says whether err may come of a pause, the one that ends now too, that was
// so long that a connection may well take its peer for dead.
func (p *pauses) excuse(t *testing.T, err error) bool {
	p.end()
	t.Logf("%v; the longest pause was %v", err, p.longest)
	return p.longest > 400*time.Millisecond
}

// sleeper is a socket that wakes no writer, as the system does while less than a good
// part of the socket's buffer is free: every Write comes too late. Until then the
// peer takes what is on its way.
type sleeper struct {
	net.Conn
	far   net.Conn
	late  int // Writes
	taken int // octets
}

func (s *sleeper) Write([]byte) (int, error) {
	s.late++
	p := make([]byte, 64<<10)
	for {
		if err := s.far.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return 0, err
		}
		n, err := s.far.Read(p)
		switch s.taken += n; {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case err != nil:
			return 0, errors.New("the peer can't read: " + err.Error())
		}
	}
}

func TestPeerThatTakesLittleIsNotTakenForDead(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for _, row := range []struct {
		what  string
		write func(c *Conn) error
	}{
		{"a long message", func(c *Conn) error { return c.Write(t.Context(), Binary, make([]byte, size)) }},
		{"many", func(c *Conn) error {
			for range 64 {
				if err := c.Write(t.Context(), Binary, make([]byte, 16<<10)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"what is queued", func(c *Conn) error {
			for range 4 {
				if err := c.Send(prepared(t, Binary, strings.Repeat("x", size/4))); err != nil {
					return err
				}
			}
			return c.Write(t.Context(), Text, nil) // behind them
		}},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			near, far := tcpPair(t)
			if err := errors.Join(near.(*net.TCPConn).SetWriteBuffer(64<<10), far.(*net.TCPConn).SetReadBuffer(64<<10)); err != nil {
				t.Fatal(err)
			}
			c := NewServerConn(near, &Options{KeepAlive: -1, WriteTimeout: time.Minute, SendLimit: -1})
			defer func() { _ = c.CloseNow() }()
			needsRaw(t, c)
			s := &sleeper{Conn: near, far: far}
			c.w.stream, c.w.conn = s, s
			if err := row.write(c); err != nil {
				t.Errorf("after %d octets: %v", s.taken, err)
			}
			if s.late < 3 {
				t.Errorf("%d writes came too late: nothing is tested", s.late)
			}
		})
	}
}

// socketServer is a server that can write without waiting, with both ends of its
// connection.
func socketServer(t *testing.T) (c *Conn, near, far net.Conn) {
	t.Helper()
	near, far = tcpPair(t)
	c = NewServerConn(near, &Options{KeepAlive: -1, WriteTimeout: time.Minute})
	t.Cleanup(func() { _ = c.CloseNow() })
	needsRaw(t, c)
	return c, near, far
}

// The same for frames that leave together.
func TestLastTryTakesGatheredFramesOn(t *testing.T) {
	c, near, far := socketServer(t)
	total := int64(0)
	for n := 1; n > 0; total += int64(n) {
		var err error
		if n, err = c.w.raw.write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, far, 128<<10); err != nil { // less than the system would report
		t.Fatal(err)
	}
	within(t, "there is some room", func() bool {
		n, _ := c.w.raw.write([]byte{0})
		total += int64(n)
		return n > 0
	})
	c.w.deadline = monotonic() + time.Hour                 // so that it is not renewed,
	if err := near.SetWriteDeadline(longAgo); err != nil { // though it has passed
		t.Fatal(err)
	}
	arrived := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, far)
		arrived <- n + 128<<10
	}()
	frames := net.Buffers{make([]byte, 1000), make([]byte, 1000), make([]byte, 1<<20)}
	n, err := c.w.buffers(&frames)
	if want := int64(1<<20 + 2000); err != nil || n != want || len(frames) > 0 {
		t.Errorf("wrote %d octets of %d: %v", n, want, err)
	}
	_ = near.Close()
	if got := <-arrived; got != total+n {
		t.Errorf("%d octets arrived, want %d", got, total+n)
	}
}

// A process that was stopped between looking at a deadline and writing finds that it
// has passed, which says nothing about the peer.
func TestDeadlineThatPassesUnnoticedIsNone(t *testing.T) {
	c, near, far := socketServer(t)
	go func() { _, _ = io.Copy(io.Discard, far) }()
	for what, write := range map[string]func() (int64, error){
		"a short write":             func() (int64, error) { return c.w.write(make([]byte, 100)) },
		"a long write":              func() (int64, error) { return c.w.write(make([]byte, 100<<10)) },
		"a write that doesn't wait": func() (int64, error) { n, err := c.w.tryWrite(make([]byte, 100)); return int64(n), err },
	} {
		c.w.deadline = monotonic() + time.Hour                 // so that it is not renewed,
		if err := near.SetWriteDeadline(longAgo); err != nil { // though it has passed
			t.Fatal(err)
		}
		if n, err := write(); n < 100 || err != nil {
			t.Errorf("%s: wrote %d octets: %v", what, n, err)
		}
	}
}

func TestPeerInTheMiddleOfAnUploadSeesTheCode(t *testing.T) {
	bothSidesTCP(t, &Options{KeepAlive: -1, ReadLimit: 1000}, func(t *testing.T, c *Conn, p *peer) {
		p.sends(binaryOf(strings.Repeat("x", 8<<20)))
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrTooBig) {
			t.Errorf("got %v, want ErrTooBig", err)
		}
		p.want("1009, although the peer is still sending", closeFrame(StatusMessageTooBig, ""))
		p.sends(closeFrame(StatusMessageTooBig, ""))
		p.wantEOF("TCP ends in order")
	})
}

func TestCloseNowLeavesACloseFrameThatIsOnItsWay(t *testing.T) {
	bothSidesTCP(t, &Options{KeepAlive: -1, ReadLimit: 1000}, func(t *testing.T, c *Conn, p *peer) {
		p.sends(binaryOf(strings.Repeat("x", 6<<20)))
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrTooBig) {
			t.Errorf("got %v, want ErrTooBig", err)
		}
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		p.want("1009, although CloseNow was called", closeFrame(StatusMessageTooBig, ""))
	})
}

func TestFailedWriteFindsThePeersClose(t *testing.T) {
	bothSidesTCP(t, quiet(), func(t *testing.T, c *Conn, p *peer) {
		p.sends(closeFrame(4999, "gone"))
		p.hangsUp()
		for {
			err := c.Write(t.Context(), Binary, make([]byte, 100_000))
			if err == nil {
				continue
			}
			if CloseStatus(err) != 4999 {
				t.Errorf("got %v, want the Close frame that waited to be read", err)
			}
			return
		}
	})
}

func TestCloseReadAnswersAndRefuses(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		c.CloseRead()
		c.CloseRead()
		p.sends(ping("there?"))
		p.want("a Pong without a Read", pong("there?"))
		if _, _, err := c.Read(t.Context()); !errors.Is(err, errReadClosed) {
			t.Errorf("got %v, want that CloseRead was called", err)
		}
		p.sends(text("unwanted"))
		p.want("1008", anyClose(StatusPolicyViolation))
		p.sends(closeFrame(StatusPolicyViolation, ""))
		<-c.Context().Done()
	})
}

func TestNilContextIsAnError(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		var none context.Context
		_, _, read := c.Read(none)
		_, _, reader := c.Reader(none)
		_, writer := c.Writer(none, Text)
		_, pinged := c.Ping(none)
		_, _, dialled := Dial(none, "ws://example.com", nil)
		for i, err := range []error{read, reader, writer, pinged, c.Write(none, Text, nil), dialled} {
			if !errors.Is(err, errNilContext) {
				t.Errorf("call %d got %v", i, err)
			}
		}
	})
}

func TestWriteArguments(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		if err := c.Write(t.Context(), Text, []byte("\xed\xa0\x80")); !errors.Is(err, errNotUTF8) {
			t.Errorf("got %v, want that a surrogate is no UTF-8", err)
		}
		if err := c.Write(t.Context(), MessageType(OpPing), nil); !errors.Is(err, errMessageType) {
			t.Errorf("got %v, want that a Ping is no message", err)
		}
		if _, err := c.Writer(t.Context(), 0); !errors.Is(err, errMessageType) {
			t.Errorf("got %v", err)
		}
		p.wantIdle("nothing was sent")
	})
}

func TestDeclaredLengthCostsNothing(t *testing.T) {
	for _, length := range []uint64{16 << 20, 1 << 31, 1<<63 - 1} {
		bothSidesTCP(t, &Options{KeepAlive: -1, ReadLimit: -1}, func(t *testing.T, c *Conn, p *peer) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p.sends(binaryOf("only this").claims(length))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			want := context.DeadlineExceeded
			if length > math.MaxInt { // of 32 bits: no slice could hold that
				want = ErrTooBig
			}
			if _, _, err := c.Read(ctx); !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("a header that declares %d octets cost %d", length, n)
			}
		})
	}
}

func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	bothSidesTCP(t, nil, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("one"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.r.buf != nil {
			t.Error("a buffer is held between two reads")
		}
		p.writes([]byte{0x81}) // half a header
		within(t, "half a header has arrived", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _, _ = c.Read(ctx)
			return c.r.cutLen == 1
		})
		if c.r.buf != nil {
			t.Error("a buffer is held for half a header")
		}
	})
}

func TestWriteAndReadAppendAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	near, far := tcpPair(t)
	client, server := NewClientConn(near, nil), NewServerConn(far, nil)
	defer client.CloseNow()
	defer server.CloseNow()
	reused, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": reused} {
		for _, size := range []int{0, 100, 10_000, 200_000} {
			message, buf := make([]byte, size), make([]byte, 0, size+1)
			exchange := func(from, to *Conn) {
				done := make(chan error, 1)
				if size > 50_000 { // more than the socket takes at once
					go func() { done <- from.Write(ctx, Binary, message) }()
				} else {
					done <- from.Write(ctx, Binary, message)
				}
				if _, _, err := to.ReadAppend(ctx, buf); err != nil {
					t.Error(err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			own := 2.0 // the channel and its closure
			if size > 50_000 {
				own = 3 // and a goroutine with its closure
			}
			for _, pair := range [][2]*Conn{{client, server}, {server, client}} {
				exchange(pair[0], pair[1])
				if n := testing.AllocsPerRun(50, func() { exchange(pair[0], pair[1]) }); n > own {
					t.Errorf("%s, %d octets: %v allocations, want %v", name, size, n, own)
				}
			}
		}
	}
}

func TestOneWriteForAMessage(t *testing.T) {
	for _, client := range []bool{false, true} {
		near, far := net.Pipe()
		counted := &countingConn{Conn: near}
		c := endpointOver(t, counted, quiet(), client)
		go func() { _, _ = io.Copy(io.Discard, far) }()
		for _, size := range []int{0, 1, 125, 126, 4096, copyLimit} {
			before := counted.writes
			if err := c.Write(t.Context(), Binary, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if n := counted.writes - before; n != 1 {
				t.Errorf("%s: %d octets left in %d writes, want 1", side(client), size, n)
			}
		}
		_ = far.Close()
	}
}

// countingConn counts writes. It embeds a net.Conn, so it must be written by its
// own Write.
type countingConn struct {
	net.Conn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// wrappedTCP embeds what has a file descriptor, and changes every octet.
type wrappedTCP struct{ *net.TCPConn }

func (w wrappedTCP) Read(p []byte) (int, error) {
	n, err := w.TCPConn.Read(p)
	for i := range p[:n] {
		p[i] ^= 0x55
	}
	return n, err
}

func (w wrappedTCP) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	for i := range q {
		q[i] ^= 0x55
	}
	return w.TCPConn.Write(q)
}

func TestWrapperIsNotBypassed(t *testing.T) {
	near, far := tcpPair(t)
	client := NewClientConn(wrappedTCP{near.(*net.TCPConn)}, nil)
	server := NewServerConn(wrappedTCP{far.(*net.TCPConn)}, nil)
	defer client.CloseNow()
	message := bytes.Repeat([]byte("wrapped "), 50_000)
	go func() { _ = client.Write(t.Context(), Text, message) }()
	_, data, err := server.Read(t.Context())
	if err != nil || !bytes.Equal(data, message) {
		t.Fatalf("got %d octets and %v", len(data), err)
	}
	closed := make(chan error, 1)
	go func() { closed <- client.Close(StatusNormalClosure, "") }()
	if _, _, err := server.Read(t.Context()); CloseStatus(err) != StatusNormalClosure {
		t.Errorf("got %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestEveryMethodFromEveryGoroutine(t *testing.T) {
	rounds := 30
	if raceEnabled {
		rounds = 15 // CI repeats them
	}
	for round := range rounds {
		near, far := tcpPair(t)
		o := &Options{CloseTimeout: 100 * time.Millisecond} // often nobody reads any more
		client, server := NewClientConn(near, o), NewServerConn(far, o)
		p, err := Prepare(Text, []byte("prepared"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, c := range []*Conn{client, server} {
			for i := range 3 {
				all.Go(func() {
					for c.Write(ctx, Binary, make([]byte, 1000*i)) == nil {
					}
				})
				all.Go(func() {
					var b []byte
					for err := error(nil); err == nil; {
						_, b, err = c.ReadAppend(ctx, b[:0])
					}
				})
				all.Go(func() {
					for c.Context().Err() == nil {
						_ = c.Send(p)
						runtime.Gosched()
					}
				})
			}
			all.Go(func() {
				for err := error(nil); err == nil; {
					_, err = c.Ping(ctx)
				}
			})
			all.Go(func() {
				for c.Context().Err() == nil {
					short, stop := context.WithTimeout(ctx, time.Millisecond)
					_, _, _ = c.Read(short)
					stop()
				}
			})
			all.Go(func() {
				for err := error(nil); err == nil; {
					var w *MessageWriter
					if w, err = c.Writer(ctx, Text); err == nil {
						_, _ = w.Write([]byte("streamed"))
						err = w.Close()
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * time.Millisecond)
		switch round % 3 {
		case 0:
			go func() { _ = server.Close(StatusNormalClosure, "") }()
			_ = client.Close(StatusNormalClosure, "")
		case 1:
			_ = client.CloseNow()
		case 2:
			cancel()
			_ = client.Close(StatusGoingAway, "")
		}
		_ = client.Close(StatusNormalClosure, "")
		_ = server.Close(StatusNormalClosure, "")
		cancel()
		all.Wait()
	}
}

// TestTextThatWasReadIsCheckedWhereItWasChanged: a text that is written as it was
// read need not be checked again, which must not hold for one that was changed in
// between, whether it came in one frame or in several.
func TestTextThatWasReadIsCheckedWhereItWasChanged(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		long := strings.Repeat("ü", 300)
		for _, frames := range [][]frame{{text(long)}, {text(long[:99]).more(), cont(long[99:])}} {
			p.sends(frames...)
			typ, data, err := c.Read(t.Context())
			if err != nil || string(data) != long {
				t.Fatalf("got %q, %v", data, err)
			}
			if err := c.Write(t.Context(), typ, data); err != nil {
				t.Errorf("as it was read: %v", err)
			}
			p.want("an echo", text(long))
			data[len(data)-1] = 'x'
			if err := c.Write(t.Context(), typ, data); !errors.Is(err, errNotUTF8) {
				t.Errorf("changed: got %v, want %v", err, errNotUTF8)
			}
			p.wantIdle("what is not UTF-8 is not sent")
		}
	})
}
