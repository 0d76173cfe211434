package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// This file holds what only event mode promises. What both modes promise is in
// server_test.go, what it costs in events_linux_test.go.

// eventsOver serves one connection in event mode over TCP.
func eventsOver(t *testing.T, s *Server) (*Conn, *peer) {
	t.Helper()
	near, far := tcpPair(t)
	return serveEvents(t, s, near), newPeer(t, far, true)
}

func serveEvents(t *testing.T, s *Server, near io.ReadWriteCloser) *Conn {
	t.Helper()
	c := NewServerConn(near, &s.Options)
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for c := range s.Conns() {
			_ = c.CloseNow()
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// needsEvents skips a test of what there is only where event mode waits without a goroutine
// for each connection.
func needsEvents(t *testing.T) {
	t.Helper()
	s := &Server{Options: *quiet(), Message: writeBack}
	eventsOver(t, s)
	for e := range s.eventConns() {
		if e.waits {
			t.Skip("each connection in event mode has a goroutine here")
		}
	}
}

func TestEventsInAnyPieces(t *testing.T) {
	long, other := strings.Repeat("0123456789", 20_000), strings.Repeat("ä", 100)
	frames := []frame{
		text("one"), text("t").more(), ping("p"), cont("").more(), cont("wo"), binaryOf(""), binaryOf(long),
		text(other[:101]).more(), cont(other[101:]), pong("unasked"), binaryOf(long[:70_000]).more(), cont(long[70_000:]), text("last"),
	}
	want := []frame{text("one"), pong("p"), text("two"), binaryOf(""), binaryOf(long), text(other), binaryOf(long), text("last")}
	for _, piece := range []int{0, 1, 3, 1000} {
		s := &Server{Options: *quiet(), Message: writeBack}
		_, p := eventsOver(t, s)
		p.piece = piece
		p.sends(frames...)
		p.want(fmt.Sprintf("the echo, in order, of frames in pieces of %d octets", piece), want...)
	}
}

func TestEventsOfCompressedMessages(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		s := &Server{Options: Options{KeepAlive: -1, Compression: &Compression{ContextTakeover: takeover, Threshold: 1}}, Message: writeBack}
		near, far := tcpPair(t)
		serveEvents(t, s, near)
		client := NewClientConn(far, &Options{KeepAlive: -1, Compression: s.Options.Compression})
		defer client.CloseNow()
		for i := range 20 {
			msg := strings.Repeat(fmt.Sprint("the same words ", i), 1+i*500)
			if err := client.Write(t.Context(), Text, []byte(msg)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := client.Read(t.Context()); err != nil || string(got) != msg {
				t.Fatalf("message %d: got %d octets, %v", i, len(got), err)
			}
		}
	}
}

func TestTextThatACallbackHasChangedIsChecked(t *testing.T) {
	long := strings.Repeat("ü", 300)
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if err := writeBack(c, msg); err != nil {
			return err
		}
		msg.Data[len(msg.Data)-1] = 'x'
		if err := writeBack(c, msg); !errors.Is(err, errNotUTF8) {
			t.Errorf("changed: got %v, want %v", err, errNotUTF8)
		}
		return nil
	}}
	_, p := eventsOver(t, s)
	p.sends(text(long), text(long[:99]).more(), cont(long[99:]))
	p.want("the echo of what was not changed", text(long), text(long))
	p.wantIdle("what is not UTF-8 is not sent")
}

func TestSlowMessageDelaysNoOtherConnection(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "slow" {
			close(entered)
			<-release
		}
		return writeBack(c, msg)
	}}
	_, slow := eventsOver(t, s)
	_, other := eventsOver(t, s)
	slow.sends(text("slow"), text("behind it"))
	<-entered
	for range 10 {
		other.sends(text("x"))
		other.want("the echo of another connection", text("x"))
	}
	slow.wantIdle("Message has not returned")
	close(release)
	slow.want("the echo, in order", text("slow"), text("behind it"))
}

func TestRepliesToWhatArrivedTogetherLeaveTogether(t *testing.T) {
	for _, row := range []struct {
		size, count int
		compression *Compression
	}{{10, 100, nil}, {10_000, 3, nil}, {5000, 12, nil}, {10, 10, &Compression{Threshold: -1}}} {
		fewest := uint32(row.count)
		for range 50 { // for what a slow machine takes a millisecond to answer leaves earlier
			if fewest = min(fewest, writesOfReplies(t, row.size, row.count, row.compression)); fewest <= 2 { // a reading buffer ends anywhere
				break
			}
		}
		if fewest > 2 {
			t.Errorf("%d replies of %d octets left in %d writes, with compression %v", row.count, row.size, fewest, row.compression)
		}
	}
}

// writesOfReplies says in how many writes the replies leave to messages that have
// arrived together. Compressing gains nothing.
func writesOfReplies(t *testing.T, size, count int, compression *Compression) uint32 {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{Options: Options{KeepAlive: -1, Compression: compression}, Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "wait" {
			close(begun)
			<-goOn
			return nil
		}
		return writeBack(c, msg)
	}}
	c, p := eventsOver(t, s)
	needsEvents(t) // where a goroutine waits it has the turn
	p.sends(text("wait"))
	<-begun
	msg := binaryOf(string(octetsOf(size)))
	p.sends(slices.Repeat([]frame{msg}, count)...)
	p.hasSent()
	close(goOn)
	for range count {
		p.want("the echo", msg)
	}
	within(t, "the turn is given back", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.reading.held
	})
	return c.w.progress.Load()
}

// What one callback has written waits for no other: a millisecond is not up to
// users to keep.
func TestWhatIsHeldBackLeavesThoughCallbacksTakeTheirTime(t *testing.T) {
	release := make(chan struct{})
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if err := writeBack(c, msg); err != nil {
			return err
		}
		select {
		case <-release:
		case <-time.After(30 * time.Second):
			return errors.New("the reply did not arrive while its callback ran")
		}
		return nil
	}}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.sends(text("1"), text("2"), text("3"), text("4"))
	serveEvents(t, s, near) // when all has arrived
	for i := range 4 {
		p.want("a reply whose callback has not returned", text(fmt.Sprint(i+1)))
		p.wantIdle("the next callback has not begun")
		release <- struct{}{}
	}
}

// The call for the last message that has arrived may take its time without writing:
// what the calls before have written, and what is broadcast meanwhile, leaves.
func TestWhatIsHeldBackDoesNotWaitForTheLastCallback(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "fast" {
			return writeBack(c, msg)
		}
		close(began)
		<-release
		return nil
	}}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	defer close(release)
	p.sends(text("fast"), text("slow"))
	serveEvents(t, s, near) // when both have arrived
	<-began
	s.Broadcast(prepared(t, Text, "news"))
	p.want("the reply of the call before", text("fast"))
	p.want("what was broadcast during the call", text("news"))
}

// A read before Serve leaves a deadline, and in event mode nobody reads until then.
func TestServeAfterAReadLeavesNoDeadline(t *testing.T) {
	s := &Server{Options: Options{KeepAlive: 100 * time.Millisecond, PongTimeout: time.Hour}, Message: writeBack}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	c := NewServerConn(near, &s.Options)
	needsEvents(t)
	p.sends(text("hello"))
	if _, _, err := c.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	p.sends(text("first"))
	p.want("the reply", text("first"))
	if err := c.lockEvents(); err != nil {
		t.Fatal(err)
	}
	if c.readDeadline != 0 {
		t.Error("a read deadline is set though nobody waits")
	}
	c.unlockRead()
}

// Somebody may be reading when Serve takes a connection over.
func TestServeDoesNotWaitForARead(t *testing.T) {
	over := make(chan error, 1)
	s := &Server{Options: *quiet(), Message: writeBack, Closed: func(_ *Conn, err error) { over <- err }}
	for name, read := range map[string]func(*Conn){
		"Read":      func(c *Conn) { go func() { _, _, _ = c.Read(context.Background()) }() },
		"CloseRead": (*Conn).CloseRead,
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			p := newPeer(t, far, true)
			c := NewServerConn(near, &s.Options)
			read(c)
			within(t, "somebody reads", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.reading.held
			})
			if err := s.Serve(c, nil); err != nil { // returns
				t.Fatal(err)
			}
			if name == "Read" {
				p.sends(text("of the read"), text("of the server"))
				p.want("the reply to what the read has left", text("of the server"))
			}
			_ = c.CloseNow()
			if err := <-over; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Closed was told %v, want net.ErrClosed", err)
			}
		})
	}
}

// A buffer that a long message of one peer has grown is not held by another that has
// sent next to nothing.
func TestOneOctetGetsNoBufferOfAnothersMessage(t *testing.T) {
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		return c.Write(context.Background(), Text, []byte("got it"))
	}}
	_, long := eventsOver(t, s)
	needsEvents(t) // where a goroutine waits it has the turn
	for range 8 {
		long.sends(binaryOf(strings.Repeat("x", 1<<20)))
		long.want("the reply", text("got it"))
		near, far := tcpPair(t)
		c := serveEvents(t, s, near)
		if _, err := far.Write(binaryOf("0123456789").append(nil, true, [4]byte{})[:7]); err != nil {
			t.Fatal(err)
		}
		within(t, "the octet has been read", func() bool {
			if c.lockEvents() != nil {
				return false
			}
			defer c.unlockRead()
			return c.r.left == 9
		})
	}
	within(t, "none of them has memory for much more than has arrived", func() bool {
		for e := range s.eventConns() {
			if err := e.c.lockEvents(); err != nil {
				t.Fatal(err)
			}
			fits := e.msg == nil || cap(*e.msg) <= firstGrowth
			e.c.unlockRead()
			if !fits {
				return false
			}
		}
		return true
	})
}

// Messages that are to be long find a buffer that they need not grow again.
func TestBufferForOneOfReadLimitIsKept(t *testing.T) {
	for limit, want := range map[int64]int64{0: 2 << 20, 1000: 2000, 4 << 20: 8 << 20, 64 << 20: maxKeptMessage, -1: maxKeptMessage} {
		near, _ := net.Pipe()
		c := endpointOver(t, near, &Options{ReadLimit: limit, KeepAlive: -1}, false)
		if got := (&eventConn{c: c}).mostKept(); got != want {
			t.Errorf("ReadLimit %d: buffers of up to %d octets are kept, want %d", limit, got, want)
		}
	}
}

// Where a goroutine waits too, once keepalive has woken it.
func TestOneOctetGetsNoLongBufferWhereAGoroutineWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Options: Options{KeepAlive: time.Second}, Message: ignore}
		var e *eventConn
		s.Open = func(*Conn, *http.Request) error {
			for e = range s.eventConns() {
				long := make([]byte, 0, maxKeptMessage)
				e.msg = &long // as a message of another connection may have left it behind
			}
			return nil
		}
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		p.bubble = true
		c := NewServerConn(near, &s.Options)
		if err := s.Serve(c, nil); err != nil {
			t.Fatal(err)
		}
		p.sends(text("x").more())
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := *e.msg; string(got) != "x" || cap(got) > firstGrowth {
			t.Errorf("%q has a buffer of %d octets", got, cap(got))
		}
		_ = c.CloseNow()
		synctest.Wait()
	})
}

// What is in the buffer behind a message is the next one.
func TestAppendingToAMessageChangesNoOther(t *testing.T) {
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		return writeBack(c, Message{msg.Type, append(msg.Data, ", and a tail that is longer than a header"...)})
	}}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.sends(text("one"), text(strings.Repeat("2", 60)), text("three"))
	serveEvents(t, s, near) // when all has arrived
	for _, s := range []string{"one", strings.Repeat("2", 60), "three"} {
		p.want("the reply", text(s+", and a tail that is longer than a header"))
	}
}

// Another goroutine writes while frames are held back, and at times just when that
// ends.
func TestWritesOfOthersLeaveThoughNothingFollows(t *testing.T) {
	turn, errs := make(chan struct{}), make(chan error, 1)
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "1" {
			turn <- struct{}{}
		}
		return writeBack(c, msg)
	}}
	c, p := eventsOver(t, s)
	defer close(turn)
	go func() {
		for range turn {
			if err := writeBack(c, Message{Text, []byte("3")}); err != nil {
				errs <- err
				return
			}
		}
	}()
	got := make(map[string]int)
	for round := 1; round <= 2000; round++ {
		p.sends(text("1"), text("2"))
		for range 3 {
			f, err := p.next()
			if err != nil {
				t.Fatalf("round %d: got %v, then %v", round, got, err)
			}
			got[string(f.payload)]++
		}
		if got["1"] != round || got["2"] != round || got["3"] != round {
			t.Fatalf("round %d: got %v", round, got)
		}
	}
	select {
	case err := <-errs:
		t.Error(err)
	default:
	}
}

func TestHeldBackIsSentBeforeWhatFollows(t *testing.T) {
	big := strings.Repeat("b", 100_000)
	var s *Server
	s = &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if err := writeBack(c, msg); err != nil {
			return err
		}
		switch string(msg.Data) {
		case "queue":
			return c.Send(prepared(t, Text, "queued"))
		case "broadcast":
			s.Broadcast(prepared(t, Text, "to all"))
		case "big":
			return c.Write(context.Background(), Binary, []byte(big))
		case "stream":
			w, err := c.Writer(context.Background(), Text)
			if err != nil {
				return err
			}
			_, _ = w.Write([]byte("str"))
			_, _ = w.Write([]byte("eam"))
			return w.Close()
		}
		return nil
	}}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.sends(text("broadcast"), text("big"), ping("p"), text("stream"), text("queue"), closeFrame(1000, ""))
	serveEvents(t, s, near)
	p.want("all of it in order", text("broadcast"), text("to all"), text("big"), binaryOf(big), pong("p"), text("stream"),
		text("str").more(), cont("eam").more(), cont(""), text("queue"))
	if f, err := p.next(); err != nil || f.String() != text("queued").String() && f.Opcode != OpClose {
		t.Errorf("got %s %v, want what was queued, or the answer to the Close", f, err)
	}
	p.hangsUp()
}

// A panic leaves what was answered before as it was: of messages that came together, in
// the middle and at the end, of one that was put together, and where a goroutine waits.
func TestAnswersBeforeAPanicLeave(t *testing.T) {
	for name, row := range map[string]struct {
		frames []frame
		panics any
		over   error
	}{
		"in the middle":        {[]frame{text("one"), text("panic"), text("not handled")}, "oh no", errPanicked},
		"at the end":           {[]frame{text("one"), text("panic")}, "oh no", errPanicked},
		"in fragments":         {[]frame{text("one"), text("pa").more(), cont("nic"), text("not "), text("handled")}, "oh no", errPanicked},
		"with nil, in between": {[]frame{text("one"), text("pa").more(), cont("nic"), text("not ").more(), cont("handled")}, nil, errGoexit},
	} {
		for _, stream := range []bool{false, true} {
			for _, answered := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, stream %t, answered %t", name, stream, answered), func(t *testing.T) {
					t.Setenv("GODEBUG", "panicnil=1")
					log, over := logged(t), make(chan error, 1)
					s := &Server{Options: *quiet(), Closed: func(_ *Conn, err error) { over <- err }, Message: func(c *Conn, msg Message) (err error) {
						panics := string(msg.Data) == "panic"
						if answered || !panics {
							err = writeBack(c, msg)
						}
						if panics {
							panic(row.panics)
						}
						return err
					}}
					near, far := tcpPair(t)
					p := newPeer(t, far, true)
					p.sends(row.frames...)
					p.hasSent()
					if stream {
						serveEvents(t, s, withoutDeadlines{near})
					} else {
						serveEvents(t, s, near)
					}
					want := []frame{text("one"), text("panic"), closeFrame(1011, "")}
					if !answered {
						want = slices.Delete(want, 1, 2)
					}
					p.want("the answers, and the code of a panic", want...)
					bye(p, closeFrame(1011, ""))
					if err := <-over; err != row.over || row.panics != nil && !strings.Contains(log.String(), "events_test.go") {
						t.Errorf("Closed got %v; logged %q, want the panic with its stack", err, log)
					}
				})
			}
		}
	}
}

// A panic that is not the application's is not hidden, also where Message was called
// before.
func TestPanicThatIsNotOfMessageIsNotRecovered(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	var got []string
	s := &Server{Options: *quiet(), Message: func(_ *Conn, msg Message) error { got = append(got, string(msg.Data)); return nil }}
	c := NewServerConn(near, &s.Options)
	e := s.newSession(c).events
	frame := append(AppendHeader(nil, Header{Fin: true, Opcode: OpText, Masked: true, Length: 3}), "one"...)
	c.r.src.stream = io.MultiReader(bytes.NewReader(frame), panics{})
	defer func() {
		if p := recover(); p != "of a bug" || !slices.Equal(got, []string{"one"}) {
			t.Errorf("recovered %v; Message got %q", p, got)
		}
	}()
	t.Errorf("readAll returned %v", e.readAll())
}

// panics is a stream that panics.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("of a bug") }

func TestAcceptedWriteThatFailsReachesClosed(t *testing.T) {
	entered, goOn, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "first" {
			close(entered)
			<-goOn
		}
		for range 3 {
			if err := writeBack(c, msg); err != nil {
				return nil // only Closed is to tell
			}
		}
		return nil
	}, Closed: func(_ *Conn, err error) { over <- err }}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.sends(text("first"), text("second"), text("third"))
	serveEvents(t, s, near)
	<-entered
	_ = far.(*net.TCPConn).SetLinger(0) // a reset
	_ = far.Close()
	close(goOn)
	if err := <-over; err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Closed got %v, want what has happened", err)
	}
}

// A write may fail because the peer has closed: then Closed gets the peer's Close frame,
// which has arrived behind the last message.
func TestCloseBehindAFailedWriteReachesClosed(t *testing.T) {
	for name, frames := range map[string][]frame{
		"of the call":                              {text("fails")},
		"of what was held back":                    {text("is held"), text("does nothing")},
		"of what was held back, in spite of panic": {text("is held"), text("panics")},
	} {
		t.Run(name, func(t *testing.T) {
			logged(t)
			entered, goOn, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			begin := sync.OnceFunc(func() { close(entered); <-goOn })
			s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) (err error) {
				begin()
				switch string(msg.Data) {
				case "is held":
					err = writeBack(c, msg)
				case "fails":
					for err == nil {
						err = writeBack(c, msg)
					}
				case "panics":
					panic("oh no")
				}
				return err
			}, Closed: func(_ *Conn, err error) { over <- err }}
			near, far := tcpPair(t)
			p := newPeer(t, far, true)
			p.sends(append(frames, closeFrame(4999, "gone"))...)
			p.hasSent()
			serveEvents(t, s, near) // when all has arrived
			<-entered
			_ = far.(*net.TCPConn).SetLinger(0) // a reset
			_ = far.Close()
			close(goOn)
			if err := <-over; CloseStatus(err) != 4999 {
				t.Errorf("Closed got %v, want the Close frame that has arrived", err)
			}
		})
	}
}

func TestMethodsInEventMode(t *testing.T) {
	check := func(c *Conn) {
		ctx := context.Background()
		_, _, read := c.Read(ctx)
		_, _, reader := c.Reader(ctx)
		_, _, readAppend := c.ReadAppend(ctx, nil)
		_, netConn := NetConn(c, Binary).Read(make([]byte, 1))
		readJSON := c.ReadJSON(ctx, new(any))
		for name, err := range map[string]error{"Read": read, "Reader": reader, "ReadAppend": readAppend, "NetConn": netConn, "ReadJSON": readJSON} {
			if !errors.Is(err, ErrEventMode) {
				t.Errorf("%s returned %v", name, err)
			}
		}
		for _, err := range c.Messages(ctx) {
			if !errors.Is(err, ErrEventMode) {
				t.Errorf("Messages gave %v", err)
			}
		}
		c.CloseRead()
		c.SetReadLimit(100)
	}
	s := &Server{Options: *quiet(), Open: func(c *Conn, _ *http.Request) error { check(c); return nil }, Message: func(c *Conn, msg Message) error {
		check(c)
		if _, err := c.Ping(context.Background()); err != ErrEventMode {
			t.Errorf("Ping in a callback: %v", err)
		}
		return writeBack(c, msg)
	}}
	c, p := eventsOver(t, s)
	p.sends(text("x"))
	p.want("the echo: nothing has ended the connection", text("x"))
	check(c)
	pinged := make(chan error, 1)
	within(t, "the callback has returned", func() bool { return !c.calling.Load() })
	go func() { _, err := c.Ping(context.Background()); pinged <- err }()
	f, err := p.next()
	if err != nil || f.Opcode != OpPing {
		t.Fatalf("got %s %v", f, err)
	}
	p.sends(pong(string(f.payload)))
	if err := <-pinged; err != nil {
		t.Errorf("Ping outside a callback: %v", err)
	}
}

// Close in a callback sends the frame and returns; what has arrived behind the
// message is not delivered, and Closed reports the end.
func TestCloseInACallback(t *testing.T) {
	for _, over := range []string{"TCP", "a wrapped connection", "a pipe"} {
		t.Run(over, func(t *testing.T) {
			calls, ended := 0, make(chan error, 1)
			s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
				calls++
				_ = c.Write(context.Background(), Text, []byte("goodbye"))
				if err := c.Close(4000, "enough"); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := c.Close(4001, ""); err != nil {
					t.Errorf("second Close: %v", err)
				}
				if err := c.Write(context.Background(), Text, nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after Close: %v", err)
				}
				return nil
			}, Closed: func(_ *Conn, err error) { ended <- err }}
			near, far := endsOver(t, over)
			p := newPeer(t, far, true)
			p.sends(text("1"), text("2"), text("3"))
			serveEvents(t, s, near)
			p.want("what the callback wrote, and its Close", text("goodbye"), closeFrame(4000, "enough"))
			p.sends(text("4"), closeFrame(4000, "enough"))
			if over != "TCP" {
				p.hangsUp()
			} else {
				p.wantEOF("the end")
				p.hangsUp()
			}
			if err := <-ended; !errors.Is(err, net.ErrClosed) || calls != 1 {
				t.Errorf("Closed got %v after %d messages", err, calls)
			}
		})
	}
}

// cut streams end with an error, whatever ends them and wherever.
func TestEventsEndWithTheStream(t *testing.T) {
	p := peer{client: true}
	stream := p.wire(text("one"), text("tw").more(), ping("x"), cont("o"), binaryOf(strings.Repeat("x", 300)))
	step := 1
	if testing.Short() || raceEnabled {
		step = 7
	}
	for keep := 0; keep <= len(stream); keep += step {
		for _, how := range []string{"EOF", "half-close", "reset"} {
			var delivered strings.Builder
			over := make(chan error, 2)
			s := &Server{Options: *quiet(), Message: func(_ *Conn, msg Message) error {
				delivered.Write(msg.Data)
				return nil
			}, Closed: func(_ *Conn, err error) { over <- err }}
			near, far := tcpPair(t)
			c := NewServerConn(near, quiet())
			_, _ = far.Write(stream[:keep/2])
			if err := s.Serve(c, nil); err != nil {
				t.Fatal(err)
			}
			_, _ = far.Write(stream[keep/2 : keep])
			switch how {
			case "half-close":
				_ = far.(*net.TCPConn).CloseWrite()
			case "reset":
				_ = far.(*net.TCPConn).SetLinger(0)
				fallthrough
			default:
				_ = far.Close()
			}
			if err := <-over; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s after %d octets: Closed got %v", how, keep, err)
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if all := "onetwo" + strings.Repeat("x", 300); !strings.HasPrefix(all, delivered.String()) || delivered.Len() != 0 && delivered.Len() != 3 && delivered.Len() != 6 && delivered.Len() != len(all) {
				t.Errorf("%s after %d octets: a part of a message was delivered: %q", how, keep, delivered.String())
			}
			if len(over) > 0 {
				t.Error("Closed was called twice")
			}
			_ = far.Close()
		}
	}
}

func TestOctetsBehindTheHandshake(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet()}, writeBack)
		v := serving(t, s, s)
		far := peer{client: true}
		frames := far.wire(text("at once"), text("half a frame"))
		conn, br, resp := v.ask(handshake + string(frames[:len(frames)-5]))
		if resp.StatusCode != 101 {
			t.Fatal(resp.Status)
		}
		ahead, _ := br.Peek(br.Buffered())
		p := newPeer(t, &aheadConn{conn, append([]byte(nil), ahead...)}, true)
		p.want("the echo of what came with the handshake", text("at once"))
		p.writes(frames[len(frames)-5:])
		p.want("the echo of what came in two parts", text("half a frame"))
	})
}

// endsOver are the two ends of a connection over TCP, over "a pipe", or wrapped, which
// hides the socket.
func endsOver(t *testing.T, over string) (near, far net.Conn) {
	t.Helper()
	if over == "a pipe" {
		return net.Pipe()
	}
	near, far = tcpPair(t)
	if over != "TCP" {
		near = wrapped{near}
	}
	return near, far
}

func TestKeepAliveInEventMode(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"TCP", "a wrapped connection", "a pipe"} {
		for _, row := range []struct {
			pongs    int
			patience time.Duration
		}{{3, time.Minute}, {0, 120 * time.Millisecond}} {
			t.Run(fmt.Sprintf("%s, %d Pongs", over, row.pongs), func(t *testing.T) {
				t.Parallel()
				ended := make(chan error, 1)
				o := Options{KeepAlive: 60 * time.Millisecond, PongTimeout: row.patience}
				s := &Server{Options: o, Message: writeBack, Closed: func(_ *Conn, err error) { ended <- err }}
				near, far := endsOver(t, over)
				c := serveEvents(t, s, near)
				p := newPeer(t, far, true)
				for range row.pongs {
					f, err := p.next()
					if err != nil || f.Opcode != OpPing {
						t.Fatalf("got %s %v, want a Ping; Closed got %v", f, err, <-ended)
					}
					p.sends(pong(string(f.payload)))
				}
				if f, err := p.next(); err != nil || f.Opcode != OpPing {
					t.Fatalf("got %s %v, want another Ping", f, err)
				}
				if row.pongs > 0 { // PongTimeout is long, and a slow machine no silent peer
					_ = c.CloseNow()
					<-ended
				} else if err := <-ended; !errors.Is(err, errSilent) || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Closed got %v, want that the peer is silent", err)
				}
			})
		}
	}
}

func TestPeerThatTalksIsNotPinged(t *testing.T) {
	t.Parallel()
	s := &Server{Options: Options{KeepAlive: time.Second}, Message: writeBack}
	_, p := eventsOver(t, s)
	last := time.Now()
	for begun := last; time.Since(begun) < 1300*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		p.sends(text("x"))
		f, err := p.next()
		if err != nil || f.Opcode != OpText && time.Since(last) < s.Options.KeepAlive/2 { // else the machine has not let us talk
			t.Fatalf("got %s %v after %v", f, err, time.Since(begun))
		}
		last = time.Now()
	}
}

// A process that was stopped finds deadlines passed and Pongs waiting: no peer is
// silent from whom there is something to be read.
func TestPausedProcessTakesNobodyForDead(t *testing.T) {
	var heard atomic.Int32 // without an answer, which would be a sign of life as well
	s := &Server{
		Options: Options{KeepAlive: time.Hour, PongTimeout: time.Minute},
		Message: func(*Conn, Message) error { heard.Add(1); return nil },
	}
	c, p := eventsOver(t, s)
	needsEvents(t) // where a goroutine waits it is never idle
	var e *eventConn
	for e = range s.eventConns() {
	}
	idle := func() bool { return e.state.Load() == eventIdle }
	p.sends(text("x"))
	within(t, "it is idle", func() bool { return heard.Load() == 1 && idle() })
	c.mu.Lock()
	c.reading.held = true // nothing is read for now: the process sleeps
	c.mu.Unlock()
	p.sends(text("waits in the socket"))
	within(t, "somebody is about to read it", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.reading.first != nil })
	long := int64(10 * time.Hour)
	c.r.src.last.Add(-long)
	c.mu.Lock()
	c.ping.number++
	c.ping.asked = time.Duration(c.r.src.last.Load()) + time.Minute
	c.ping.began = c.ping.asked
	c.ping.progress = c.w.progress.Load()
	c.mu.Unlock()
	e.due.Store(dueNow) // as the sweeper does
	c.releaseTurn(&c.reading)
	within(t, "what was waiting is heard", func() bool { return heard.Load() == 2 })
	within(t, "it is idle again, or over", func() bool { return idle() || c.ended() != nil })
	if err := c.ended(); err != nil {
		t.Errorf("the connection was ended: %v", err)
	}
}

// eventConns are those of s.
func (s *Server) eventConns() map[*eventConn]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*eventConn]bool)
	for _, e := range s.sessions {
		all[e.events] = true
	}
	return all
}

// Connections come and go in every way at random, while all is broadcast to: no
// event is lost, each connection is told its end once, and nothing comes after.
func TestEventsUnderStress(t *testing.T) {
	lives := 1500
	if testing.Short() || raceEnabled {
		lives = 300
	}
	type tally struct{ closed, messages atomic.Int32 }
	var opened, closed, delivered, sent atomic.Int32
	var s *Server
	s = &Server{
		Options: Options{KeepAlive: 20 * time.Millisecond, PongTimeout: 2 * time.Second, CloseTimeout: 500 * time.Millisecond, SendLimit: 64 << 10},
		Open:    func(c *Conn, _ *http.Request) error { opened.Add(1); c.SetValue(new(tally)); return nil },
		Message: func(c *Conn, msg Message) error {
			mine := c.Value().(*tally)
			if mine.closed.Load() > 0 {
				t.Error("a message after Closed")
			}
			if got, want := string(msg.Data), fmt.Sprint(mine.messages.Add(1)); got != want {
				t.Errorf("message %q, want %q", got, want)
			}
			delivered.Add(1)
			switch rand.IntN(60) {
			case 0:
				_ = c.Close(4000, "")
			case 1:
				_ = c.CloseNow()
			case 2:
				return errors.New("no more")
			case 3:
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			case 4:
				go s.Broadcast(prepared(t, Text, "news"))
			case 5:
				go c.CloseNow()
			}
			if err := writeBack(c, msg); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		},
		Closed: func(c *Conn, err error) {
			if c.Value().(*tally).closed.Add(1) > 1 {
				t.Error("Closed was called twice")
			}
			if err == nil || c.ended() == nil {
				t.Errorf("Closed got %v of a connection that has ended with %v", err, c.ended())
			}
			closed.Add(1)
		},
	}
	logged(t)
	var all sync.WaitGroup
	next := make(chan int)
	for range 16 {
		all.Go(func() {
			for range next {
				live(t, s, &sent)
			}
		})
	}
	for i := range lives {
		next <- i
	}
	close(next)
	all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if opened.Load() != closed.Load() || delivered.Load() == 0 || delivered.Load() > sent.Load() {
		t.Errorf("%d opened, %d closed; %d messages sent, %d delivered", opened.Load(), closed.Load(), sent.Load(), delivered.Load())
	}
}

// live is the life of one connection, as its client sees it: what is sent while the
// connection lives comes back, all of it and in order.
func live(t *testing.T, s *Server, sent *atomic.Int32) {
	near, far := tcpPairFor(t)
	defer far.Close()
	c := NewServerConn(near, &s.Options)
	if err := s.Serve(c, nil); err != nil {
		t.Error(err)
		return
	}
	client := NewClientConn(far, &Options{KeepAlive: -1, CloseTimeout: 500 * time.Millisecond})
	defer client.CloseNow()
	answered := make(chan int, 1)
	go func() {
		n := 0
		for msg, err := range client.Messages(context.Background()) {
			if err != nil {
				answered <- n
				return
			}
			if string(msg.Data) == "news" {
				continue
			}
			if n++; string(msg.Data) != fmt.Sprint(n) {
				t.Errorf("reply %q, want %d", msg.Data, n)
			}
		}
	}()
	count := rand.IntN(40)
	failed := false
	for i := range count {
		sent.Add(1)
		if failed = client.Write(context.Background(), Text, []byte(fmt.Sprint(i+1))) != nil; failed {
			break
		}
		if rand.IntN(8) == 0 {
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		}
	}
	switch rand.IntN(4) {
	case 0:
		_ = far.(*net.TCPConn).SetLinger(0)
		_ = far.Close()
	case 1:
		_ = client.CloseNow()
	case 2:
		_ = far.(*net.TCPConn).CloseWrite()
	default:
		_ = client.Close(1000, "")
	}
	_ = client.CloseNow()
	<-answered
	select {
	case <-c.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("the end of a connection was not noticed")
	}
}

// tcpPairFor is tcpPair without the test's Cleanup, for many.
func tcpPairFor(t *testing.T) (near, far net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Error(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Error(err)
	}
	return near, far
}

// A message of which a part was read already can't go to Message whole.
func TestEventsDoNotBeginInsideAMessage(t *testing.T) {
	for _, opened := range []struct {
		message string
		octets  int
		ok      bool
	}{{"0123456789", 0, true}, {"0123456789", 3, false}, {"", 0, true}} {
		ended := make(chan error, 1)
		s := &Server{Options: *quiet(), Message: writeBack, Closed: func(_ *Conn, err error) { ended <- err }}
		near, far := tcpPair(t)
		p := newPeer(t, far, true)
		p.sends(text(opened.message))
		c := NewServerConn(near, quiet())
		_, m, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if opened.octets > 0 {
			if n, err := m.Read(make([]byte, opened.octets)); n != opened.octets || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := s.Serve(c, nil); err != nil {
			t.Fatal(err)
		}
		if opened.ok {
			p.want("the echo of a message that was only looked at", text(opened.message))
			_ = c.CloseNow()
			<-ended
			continue
		}
		p.want("the connection ends", closeFrame(StatusInternalError, ""))
		bye(p, closeFrame(StatusInternalError, ""))
		if err := <-ended; !errors.Is(err, ErrReaderOpen) {
			t.Errorf("Closed got %v", err)
		}
	}
}

// eventsOverStream is a connection in event mode over a stream without deadlines. In a
// bubble of synctest only.
func eventsOverStream(t *testing.T, s *Server) (*Conn, *peer) {
	near, far := net.Pipe()
	p := newPeer(t, far, true)
	p.bubble, p.patience = true, time.Second
	c := NewServerConn(withoutDeadlines{near}, &s.Options)
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	return c, p
}

// Nothing is delivered after a Close: on a stream whose Read can't be woken too.
func TestNothingIsDeliveredAfterCloseOnAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Options: *quiet()}
		var got []string
		s.Message = func(c *Conn, m Message) error { got = append(got, string(m.Data)); return nil }
		c, p := eventsOverStream(t, s)
		synctest.Wait()
		go func() { _ = c.Close(StatusNormalClosure, "") }()
		synctest.Wait()
		p.sends(text("late"))
		synctest.Wait()
		if len(got) > 0 {
			t.Errorf("Message got %q after Close", got)
		}
		_ = c.CloseNow()
		time.Sleep(time.Minute)
	})
}

// Nothing is delivered after a Close of another goroutine has returned: of what has
// arrived together, and whatever stands between two messages, too.
func TestNothingIsDeliveredAfterCloseHasReturned(t *testing.T) {
	over := make(chan error, 1)
	var got []string
	s := &Server{Options: *quiet(), Closed: func(_ *Conn, err error) { over <- err }, Message: func(_ *Conn, msg Message) error {
		got = append(got, string(msg.Data))
		return nil
	}}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.sends(text("one"), ping("while Close runs"), text("two"))
	p.hasSent()
	c := NewServerConn(near, &s.Options)
	needsEvents(t) // where a goroutine waits, Close waits for what this Ping does
	c.r.control = controlFunc(func(op Opcode, payload []byte) error {
		if op == OpPing {
			closed := make(chan struct{})
			go func() { defer close(closed); _ = c.Close(StatusGoingAway, "") }()
			<-closed
		}
		return c.controlFrame(op, payload)
	})
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	p.want("the Close frame", closeFrame(StatusGoingAway, ""))
	bye(p, closeFrame(StatusGoingAway, ""))
	if err := <-over; !errors.Is(err, net.ErrClosed) || !slices.Equal(got, []string{"one"}) {
		t.Errorf("Message got %q, and Closed %v", got, err)
	}
}

// A Message that takes its time is no silence of the peer.
func TestSlowMessageOnAStreamIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Options: Options{KeepAlive: time.Second, PongTimeout: time.Second}}
		var ended error
		s.Closed = func(c *Conn, err error) { ended = err }
		n := 0
		s.Message = func(c *Conn, m Message) error {
			if n++; n == 1 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		c, p := eventsOverStream(t, s)
		p.sends(text("one"), text("two"))
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		if err := context.Cause(c.Context()); err != nil || n != 2 {
			t.Errorf("after %d messages, though octets waited all the time: %v; Closed got %v", n, err, ended)
		}
		_ = c.CloseNow()
		time.Sleep(time.Minute)
	})
}

// The application may have calls of Message wait for what closes the connection.
func TestLateMessageThatWaitsForClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Options: Options{KeepAlive: -1, CloseTimeout: 5 * time.Second}}
		closed := make(chan struct{})
		s.Message = func(c *Conn, m Message) error { <-closed; return nil }
		c, p := eventsOverStream(t, s)
		synctest.Wait()
		begun := time.Now()
		var err error
		go func() { err = c.Close(StatusNormalClosure, ""); close(closed) }()
		synctest.Wait()
		p.sends(text("late"), closeFrame(1000, ""))
		<-closed
		if err != nil || time.Since(begun) > time.Second {
			t.Errorf("Close took %v: %v", time.Since(begun), err)
		}
		time.Sleep(time.Minute)
	})
}
