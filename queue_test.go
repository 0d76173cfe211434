package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// This file holds what Prepare, Send and the queue of a connection promise.

// prepared is Prepare of what can be sent.
func prepared(t testing.TB, typ MessageType, data string) *Prepared {
	t.Helper()
	p, err := Prepare(typ, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stalled is a server under test over TCP whose peer reads nothing, and whose
// queue waits behind a message that the socket did not take whole.
func stalled(t *testing.T, o *Options) (*Conn, *peer, frame) {
	t.Helper()
	c, p := overTCP(t, o, false)
	p.stopsListening()
	first := binaryOf(strings.Repeat("first", 8<<20/5))
	if err := c.Send(prepared(t, Binary, string(first.payload))); err != nil {
		t.Fatal(err)
	}
	within(t, "the socket takes what it can and the writer waits", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queueWriting && c.w.progress.Load() > 0
	})
	return c, p, first
}

// within waits until something is so.
func within(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	for begun := time.Now(); !isSo(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}

// goroutines counts them while the world stands still. runtime.NumGoroutine does not,
// and counts those that have ended, 32 of them, while they go from one list of free
// ones to another.
func goroutines() int {
	n, _ := runtime.GoroutineProfile(make([]runtime.StackRecord, 1))
	return n
}

func TestQueueIsBounded(t *testing.T) {
	five := prepared(t, Text, "12345") // 7 octets with its header
	var q queue
	for i, row := range []struct {
		limit int64
		want  bool
	}{{6, false}, {7, true}, {13, false}, {14, true}, {21, true}, {21, false}} {
		before := q.octets
		if got := q.put(five, row.limit); got != row.want {
			t.Errorf("row %d: put to a queue of %d octets of at most %d: %t", i, before, row.limit, got)
		}
	}
	taken := q.take()
	if len(taken) != 3 || q.octets != 21 || q.put(five, 21) {
		t.Errorf("%d messages were taken, %d octets count; want that they count until they are done", len(taken), q.octets)
	}
	q.done(taken[:2])
	if q.octets != 7 || !q.put(five, 14) {
		t.Errorf("%d octets count; want those of one message", q.octets)
	}
	q.drop()
	if q.octets != 7 || len(q.take()) != 0 {
		t.Errorf("%d octets count after drop; want those that were taken", q.octets)
	}
}

func TestPrepareRefusesWhatCantBeSent(t *testing.T) {
	if _, err := Prepare(Text, []byte("\xff")); err != errNotUTF8 {
		t.Errorf("text that is not UTF-8: %v", err)
	}
	for _, typ := range []MessageType{0, MessageType(OpClose), MessageType(OpPing)} {
		if _, err := Prepare(typ, nil); err != errMessageType {
			t.Errorf("type %d: %v", typ, err)
		}
	}
	data := []byte("abc")
	p, err := Prepare(Binary, data)
	if err != nil {
		t.Fatal(err)
	}
	data[0] = 'x'
	if string(p.payload) != "abc" {
		t.Error("the message changes with the caller's slice")
	}
}

func TestPreparedIsFramedOnce(t *testing.T) {
	p := prepared(t, Binary, strings.Repeat("x", 1000))
	first, second := p.frame(nil), p.frame(nil)
	if &first[0] != &second[0] || &p.payload[0] != &first[4] {
		t.Error("the frame, or its payload, exists more than once")
	}
	if n := testing.AllocsPerRun(10, func() { p.frame(nil) }); n != 0 {
		t.Errorf("%v allocations for each connection", n)
	}
}

func TestPreparedIsCompressedOnceForMany(t *testing.T) {
	p := prepared(t, Text, strings.Repeat("the same words ", 1000))
	params := &deflateParams{sendBits: 15, receiveBits: 15, level: 1, threshold: 100}
	frames := make([][]byte, 20)
	var all sync.WaitGroup
	for i := range frames {
		all.Go(func() { frames[i] = p.frame(params) })
	}
	all.Wait()
	for _, f := range frames {
		if &f[0] != &frames[0][0] {
			t.Fatal("compressed more than once")
		}
	}
}

func TestSendKeepsOrder(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		p.writes(nil)
		var want []frame
		for i := range 100 {
			s := fmt.Sprint(i)
			want = append(want, text(s))
			if err := c.Send(prepared(t, Text, s)); err != nil {
				t.Fatal(err)
			}
		}
		written := make(chan error, 1)
		go func() { written <- c.Write(t.Context(), Binary, []byte("last")) }()
		synctest.Wait()
		select {
		case err := <-written:
			t.Fatalf("Write did not wait for what was queued before: %v", err)
		default:
		}
		p.listens()
		p.want("what was queued, in order, then what was written", append(want, binaryOf("last"))...)
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

func TestSendAndWriteOfManyKeepEachOnesOrder(t *testing.T) {
	const senders, each = 8, 60
	c, p := overTCP(t, quiet(), false)
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				msg := fmt.Sprintf("%d %d", s, i)
				err := error(nil)
				if i%3 == 2 {
					err = c.Write(t.Context(), Text, []byte(msg))
				} else {
					err = c.Send(prepared(t, Text, msg))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var next [senders]int
	for range senders * each {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		var s, i int
		if _, err := fmt.Sscan(string(f.payload), &s, &i); err != nil || next[s] != i {
			t.Fatalf("got %s, want message %d of that sender", f, next[s])
		}
		next[s]++
	}
	all.Wait()
}

// TestSendOfAllSizesToASlowReader: what the peer takes at once, what it takes a part
// of, and what waits leave in order and once.
func TestSendOfAllSizesToASlowReader(t *testing.T) {
	c, p := overTCP(t, &Options{KeepAlive: -1, SendLimit: -1}, false)
	p.stopsListening()
	var want []frame
	for i := range 200 {
		size := []int{0, 3, 500, 30_000, maxAtOnce + 1}[i%5]
		msg := strings.Repeat(string(rune('a'+i%26)), size)
		want = append(want, text(msg))
		if err := c.Send(prepared(t, Text, msg)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			runtime.Gosched() // so that some drains have more to do and some less
		}
	}
	p.listens()
	p.want("what was sent, in order", want...)
	within(t, "nothing is buffered", func() bool { return c.BufferedAmount() == 0 })
	if err := c.Write(t.Context(), Text, []byte("last")); err != nil {
		t.Error(err)
	}
	p.want("what was written after", text("last"))
}

func TestBurstOfSendsTakesFewGoroutines(t *testing.T) {
	const conns = 100
	var peers [conns]*peer
	var all [conns]*Conn
	for i := range conns {
		all[i], peers[i] = overTCP(t, quiet(), false)
	}
	needsRaw(t, all[0])
	m := prepared(t, Text, "to all")
	before, most := goroutines(), 0
	for range 20 {
		for _, c := range all {
			if err := c.Send(m); err != nil {
				t.Fatal(err)
			}
			most = max(most, goroutines()-before)
		}
	}
	if most > 2*maxDrainers { // maxDrainers, and those that are about to end, having found nothing more
		t.Errorf("%d goroutines for %d connections, want about %d", most, conns, maxDrainers)
	}
	for _, p := range peers {
		for range 20 {
			p.want("what was sent", text("to all"))
		}
	}
}

func TestSendLimit(t *testing.T) {
	o := &Options{KeepAlive: -1, SendLimit: 100}
	bothSidesWith(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		twenty := prepared(t, Binary, strings.Repeat("x", 18))
		for i := range 5 {
			if err := c.Send(twenty); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if err := c.Send(twenty); err != ErrQueueFull {
			t.Errorf("over the limit: %v, want ErrQueueFull", err)
		}
		synctest.Wait() // the drain holds what it has taken: that counts as well
		if err := c.Send(prepared(t, Binary, "")); err != ErrQueueFull || c.BufferedAmount() != 100 {
			t.Errorf("got %v with %d octets, want ErrQueueFull with 100", err, c.BufferedAmount())
		}
		p.listens()
		for range 5 {
			p.want("what was queued", binaryOf(string(twenty.payload)))
		}
		synctest.Wait()
		if n := c.BufferedAmount(); n != 0 {
			t.Errorf("%d octets are buffered after all was taken", n)
		}
		if err := c.Send(twenty); err != nil {
			t.Errorf("Send after ErrQueueFull: %v", err)
		}
		p.want("a connection that was full goes on", binaryOf(string(twenty.payload)))
	})
}

func TestMessageOverSendLimitIsNeverQueued(t *testing.T) {
	o := &Options{KeepAlive: -1, SendLimit: 10}
	bothSidesWith(t, o, func(t *testing.T, c *Conn, p *peer) {
		if err := c.Send(prepared(t, Binary, "123456789")); err != ErrQueueFull {
			t.Errorf("11 octets of at most 10: %v", err)
		}
		if err := c.Send(prepared(t, Binary, "12345678")); err != nil {
			t.Errorf("10 octets of at most 10: %v", err)
		}
		p.want("what fits", binaryOf("12345678"))
	})
}

func TestQueueWithoutLimit(t *testing.T) {
	o := &Options{KeepAlive: -1, SendLimit: -1}
	bothSidesWith(t, o, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		for range 5 {
			if err := c.Send(prepared(t, Binary, strings.Repeat("x", 1<<20))); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNoGoroutineWhereNothingIsQueued(t *testing.T) {
	c, p := overTCP(t, quiet(), false)
	if err := c.Send(prepared(t, Text, "one")); err != nil {
		t.Fatal(err)
	}
	p.want("the message", text("one"))
	within(t, "the drain has ended", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.drains == drainNone && !c.sending.held && !c.framing.held
	})
	within(t, "its goroutine is gone", func() bool { return !strings.Contains(goroutinesOfPackage(), "drainQueue") })
}

func TestWhatIsQueuedLeavesInOneWrite(t *testing.T) {
	takeover := &Options{KeepAlive: -1, Compression: &Compression{ContextTakeover: true, Threshold: 1 << 30}}
	for _, row := range []struct {
		what   string
		o      *Options
		client bool
		wrap   func(net.Conn) net.Conn
	}{
		{"server", quiet(), false, func(c net.Conn) net.Conn { return c }},
		{"client", quiet(), true, func(c net.Conn) net.Conn { return c }},
		{"takeover", takeover, false, func(c net.Conn) net.Conn { return c }},
		{"no socket", quiet(), false, func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }},
	} {
		t.Run(row.what, func(t *testing.T) {
			near, far := tcpPair(t)
			testQueuedLeavesInOneWrite(t, endpointOver(t, row.wrap(near), row.o, row.client), newPeer(t, far, !row.client))
		})
	}
}

func testQueuedLeavesInOneWrite(t *testing.T, c *Conn, p *peer) {
	mw, err := c.Writer(t.Context(), Binary)
	if err != nil {
		t.Fatal(err)
	}
	var want []frame
	for i := range 200 { // they wait for the end of the MessageWriter's message
		want = append(want, text(fmt.Sprint(i)))
		if err := c.Send(prepared(t, Text, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mw.Write([]byte("fragment")); err != nil {
		t.Fatal(err)
	}
	plain := c.r.deflate == nil // else a MessageWriter compresses
	if f, err := p.next(); err != nil || f.Opcode != OpBinary || f.Fin || plain && string(f.payload) != "fragment" {
		t.Fatalf("got %s, %v, want the fragment, and nothing of the queue inside the message", f, err)
	}
	if n := c.BufferedAmount(); n < 400 {
		t.Errorf("%d octets are buffered", n)
	}
	before := c.w.progress.Load()
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err := p.next(); err != nil || f.Opcode != OpContinuation || !f.Fin || plain && len(f.payload) > 0 {
		t.Fatalf("got %s, %v, want the end of the message", f, err)
	}
	p.want("what was queued meanwhile", want...)
	within(t, "the drain has ended", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.drains == drainNone
	})
	if n := c.w.progress.Load() - before; n != 2 {
		t.Errorf("%d writes, want one for the last fragment and one for the queue", n)
	}
}

// TestLongQueueLeavesInManyWrites: what is gathered for one write has an end.
func TestLongQueueLeavesInManyWrites(t *testing.T) {
	c, p := overTCP(t, &Options{KeepAlive: -1, SendLimit: 64 << 20}, true)
	mw, err := c.Writer(t.Context(), Binary)
	if err != nil {
		t.Fatal(err)
	}
	var want []frame
	for i, size := range []int{1, copyLimit - 100, 80, 20, 70_000, 5, 3 * copyLimit, copyLimit, copyLimit - 9, 1, 0, 300} {
		want = append(want, text(strings.Repeat(fmt.Sprint(i%10), size)))
		if err := c.Send(prepared(t, Text, string(want[i].payload))); err != nil {
			t.Fatal(err)
		}
	}
	before := c.w.progress.Load()
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	p.want("the end of the message", binaryOf(""))
	p.want("what was queued meanwhile", want...)
	within(t, "the drain has ended", func() bool { return c.BufferedAmount() == 0 })
	if n := c.w.progress.Load() - before; n < 9 {
		t.Errorf("%d writes, the first of them of the message's end", n)
	}
}

// TestQueuedMessagesShareAWindow: what is gathered for one write is compressed as it would
// be message by message, and some of it not at all.
func TestQueuedMessagesShareAWindow(t *testing.T) {
	near, far := tcpPair(t)
	o := &Options{KeepAlive: -1, Compression: &Compression{ContextTakeover: true, Threshold: 50}}
	c, client := NewServerConn(near, o), NewClientConn(far, o)
	defer func() { _, _ = c.CloseNow(), client.CloseNow() }()
	if !c.takeTurn(&c.sending, nil) {
		t.Fatal("no turn")
	}
	var want [][]byte
	for i := range 60 {
		kind, size := [...]string{"text", "random", "text"}[i%3], [...]int{300, 200, 20}[i%3]
		want = append(want, append([]byte{byte(i)}, sample(kind, size)...))
		if err := c.Send(prepared(t, Binary, string(want[i]))); err != nil {
			t.Fatal(err)
		}
	}
	before := c.w.progress.Load()
	c.releaseTurn(&c.sending)
	for i := range want {
		if _, got, err := client.Read(t.Context()); err != nil || !bytes.Equal(got, want[i]) {
			t.Fatalf("message %d: got %d octets, %v; want %d", i, len(got), err, len(want[i]))
		}
	}
	if n := c.w.progress.Load() - before; n > 2 {
		t.Errorf("%d writes of what has room in one", n)
	}
}

func TestFrameInProgress(t *testing.T) {
	frames, ends := []byte("aabbbc"), []int{2, 5, 6}
	for out, want := range []string{"", "a", "", "bb", "b", "", ""} {
		if got := inProgress(frames, ends, out); string(got) != want {
			t.Errorf("%d octets are out: %q is left of the frame in progress, want %q", out, got, want)
		}
	}
	for out, want := range []string{"", "bc", "c", ""} {
		if got := inProgress([]byte("abc"), nil, out); string(got) != want {
			t.Errorf("%d octets of the only frame are out: %q is left, want %q", out, got, want)
		}
	}
}

// Keepalive spares a peer that takes octets, and what is queued may be long.
func TestQueueThatIsTakenSlowlyIsProgress(t *testing.T) {
	for name, size := range map[string]int{"many": 16 << 10, "long": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			c, near, far := socketServer(t)
			for _, err := range []error{near.(*net.TCPConn).SetWriteBuffer(64 << 10), far.(*net.TCPConn).SetReadBuffer(64 << 10)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			const total = 4 << 20
			frames := net.Buffers{make([]byte, 1000)}
			for range total / size {
				frames = append(frames, make([]byte, size))
			}
			written := make(chan error, 1)
			go func() {
				_, err := c.w.buffers(&frames)
				written <- err
			}()
			progress := uint32(0)
			for taken := 0; taken < 3*total/4; taken += total / 4 {
				if _, err := io.CopyN(io.Discard, far, total/4); err != nil {
					t.Fatal(err)
				}
				within(t, "there is progress", func() bool { return c.w.progress.Load() > progress })
				progress = c.w.progress.Load()
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(far, 1000+total/4))
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCloseSendsWhatIsQueuedFirst(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		for i := range 10 {
			if err := c.Send(prepared(t, Text, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		synctest.Wait()
		if err := c.Send(prepared(t, Text, "late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		p.listens()
		for i := range 10 {
			p.want("what was queued", text(fmt.Sprint(i)))
		}
		p.want("our Close", closeFrame(1000, ""))
		p.sends(closeFrame(1000, ""))
		p.hangsUp()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if n := c.BufferedAmount(); n != 0 {
			t.Errorf("%d octets are buffered after all has left", n)
		}
	})
}

func TestCloseWithAFullQueueIsBounded(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.stopsListening()
		for range 3 {
			if err := c.Send(prepared(t, Binary, strings.Repeat("x", 1000))); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := c.Close(StatusNormalClosure, ""); err == nil {
			t.Error("Close returned nil though its frame can't be out")
		}
		if took := time.Since(begun); took != c.limits.closeTimeout {
			t.Errorf("Close took %v", took)
		}
		synctest.Wait()
		if c.queue.messages != nil {
			t.Error("messages are kept that nobody will get")
		}
	})
}

func TestQueueOfAConnectionThatIsCutIsForgotten(t *testing.T) {
	c, _, _ := stalled(t, &Options{KeepAlive: -1, SendLimit: 64 << 20})
	if err := c.Send(prepared(t, Text, "waits")); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseNow()
	within(t, "nothing is kept", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queue.messages == nil && c.drains == drainNone
	})
}

// refillingStream takes all that is written, and queues a message for each write.
type refillingStream struct {
	c      *Conn
	msg    *Prepared
	writes atomic.Int32
	at     atomic.Int32 // which write was that of "written"
	closed chan struct{}
}

func (s *refillingStream) Read([]byte) (int, error) { <-s.closed; return 0, net.ErrClosed }
func (s *refillingStream) Close() error             { close(s.closed); return nil }
func (s *refillingStream) Write(p []byte) (int, error) {
	n := s.writes.Add(1)
	if n == 1 {
		for !s.isWaitedFor() {
			time.Sleep(time.Millisecond)
		}
	}
	if bytes.HasSuffix(p, []byte("written")) {
		s.at.Store(n)
	} else if n < 1000 {
		_ = s.c.Send(s.msg)
	}
	return len(p), nil
}

// isWaitedFor says whether a Write has lined up behind what was queued.
func (s *refillingStream) isWaitedFor() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.sending.first != nil
}

func TestWriteGetsItsTurnThoughOthersKeepTheQueueFilled(t *testing.T) {
	s := &refillingStream{msg: prepared(t, Text, "queued"), closed: make(chan struct{})}
	s.c = NewServerConn(s, quiet())
	defer s.c.CloseNow()
	if err := s.c.Send(s.msg); err != nil {
		t.Fatal(err)
	}
	if err := s.c.Write(t.Context(), Text, []byte("written")); err != nil {
		t.Fatal(err)
	}
	if at := s.at.Load(); at > 3 { // while the first is written it lines up
		t.Errorf("%d messages went before a Write, most of which were queued later", at-1)
	}
}

// A peer that has not kept up takes octets again: what it gets are whole messages,
// as many as were begun, and then 1013.
func TestSlowConsumerGets1013BehindTheFrameInProgress(t *testing.T) {
	plain := &Options{KeepAlive: -1, SendLimit: 64 << 20}
	takeover := &Options{KeepAlive: -1, SendLimit: 64 << 20, Compression: &Compression{ContextTakeover: true, Threshold: 1 << 30}}
	for _, row := range []struct {
		o           *Options
		client      bool
		count, size int
	}{{plain, false, 40, 300_000}, {takeover, false, 40, 300_000}, {takeover, false, 3000, 1000}, {plain, true, 3000, 1000}} {
		near, far := tcpPair(t)
		if err := errors.Join(near.(*net.TCPConn).SetWriteBuffer(64<<10), far.(*net.TCPConn).SetReadBuffer(64<<10)); err != nil {
			t.Fatal(err)
		}
		c, p := endpointOver(t, near, row.o, row.client), newPeer(t, far, !row.client)
		message := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), row.size+i%40*(row.size/300+1)) }
		p.stopsListening()
		mw, err := c.Writer(t.Context(), Text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range row.count { // of different lengths, so that the writer stops anywhere
			if err := c.Send(prepared(t, Text, message(i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := mw.Close(); err != nil {
			t.Fatal(err)
		}
		before := uint32(0)
		within(t, "the socket takes no more", func() bool {
			now := c.w.progress.Load()
			time.Sleep(20 * time.Millisecond)
			still := now == before && now > 0
			before = now
			return still
		})
		c.dropSlow()
		if err := c.Context().Err(); err == nil || !errors.Is(context.Cause(c.Context()), ErrQueueFull) {
			t.Errorf("cause %v, want ErrQueueFull", context.Cause(c.Context()))
		}
		p.listens()
		if f, err := p.next(); err != nil || f.Opcode != OpText || !f.Fin {
			t.Fatalf("got %s %v, want the message that was open", f, err)
		}
		for i := 0; ; i++ {
			f, err := p.next()
			if err != nil {
				t.Fatalf("after %d messages: %v", i, err)
			}
			if f.Opcode == OpClose {
				if f.String() != closeFrame(1013, "").String() {
					t.Errorf("got %s", f)
				}
				break
			}
			if string(f.payload) != message(i) || i == row.count-1 {
				t.Fatalf("message %d: got %s, want it whole, and not all of them", i, f)
			}
		}
		if p.sends(closeFrame(1013, "")); !row.client { // who waits for the server to end TCP
			p.wantEOF("the end")
		}
	}
}

// A write to a stream can't be cut short, but what was to be written next is dropped.
func TestSlowConsumerOnAStreamGets1013BehindTheWriteInProgress(t *testing.T) {
	near, far := net.Pipe()
	c := endpointOver(t, near, quiet(), false)
	p := newPeer(t, far, true)
	p.stopsListening()
	if !c.takeTurn(&c.sending, nil) {
		t.Fatal("no turn")
	}
	var want []frame
	for _, size := range []int{5, 10_000, 20_000, 7, 8} {
		want = append(want, text(strings.Repeat("x", size)))
		if err := c.Send(prepared(t, Text, string(want[len(want)-1].payload))); err != nil {
			t.Fatal(err)
		}
	}
	c.releaseTurn(&c.sending)
	within(t, "the queue is being written", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queueWriting
	})
	c.dropSlow()
	p.listens()
	p.want("what leaves together, and the Close frame", want[0], want[1], closeFrame(1013, ""))
}

func TestSlowConsumerThatTakesNothingIsCut(t *testing.T) {
	c, p, _ := stalled(t, &Options{KeepAlive: -1, SendLimit: 64 << 20, CloseTimeout: 50 * time.Millisecond})
	begun := time.Now()
	c.dropSlow()
	<-c.Context().Done()
	c.awaitEnd()
	if took := time.Since(begun); took < 50*time.Millisecond || took > 10*time.Second {
		t.Errorf("cut after %v, want CloseTimeout", took)
	}
	p.listens()
	if f, err := p.next(); err == nil {
		t.Errorf("got %s, want the end of the stream inside the first message", f)
	}
}

// TestDropOfASlowConsumerNeverLosesItsCode drops connections at the very moment in
// which their queue has been written.
func TestDropOfASlowConsumerNeverLosesItsCode(t *testing.T) {
	rounds := 300
	if testing.Short() || raceEnabled {
		rounds = 50
	}
	msg := prepared(t, Text, "message")
	for range rounds {
		c, p := overTCP(t, quiet(), false)
		if err := c.Send(msg); err != nil {
			t.Fatal(err)
		}
		c.dropSlow()
		f, err := p.next()
		if err == nil && f.Opcode == OpText {
			f, err = p.next()
		}
		if err != nil || f.Opcode != OpClose {
			t.Fatalf("got %s %v, want 1013", f, err)
		}
		p.hangsUp()
	}
}

func TestCauseIsLeftToTheFirstCall(t *testing.T) {
	c, p, _ := stalled(t, &Options{KeepAlive: -1, SendLimit: 64 << 20, WriteTimeout: 50 * time.Millisecond})
	within(t, "the drain has failed", func() bool { return c.ended() != nil })
	_, _, err := c.Read(t.Context())
	if errors.Is(err, net.ErrClosed) || err == nil {
		t.Errorf("the first call got %v, want the cause alone", err)
	}
	if err := c.Send(prepared(t, Text, "")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second call got %v, want net.ErrClosed with the cause", err)
	}
	p.listens()
}

// TestLateDrainLeavesTheCauseToTheFirstCall: whoever finds nothing to be written
// any more has not been told why.
func TestLateDrainLeavesTheCauseToTheFirstCall(t *testing.T) {
	c, _ := overTCP(t, quiet(), false)
	c.mu.Lock() // as Send does while the goroutines that write have something else to do
	c.queue.put(prepared(t, Text, "late"), 100)
	c.drains, c.sending.held = drainWaits, true
	c.mu.Unlock()
	why := errors.New("why")
	c.cut(why)
	c.drainAtOnce()
	if _, _, err := c.Read(t.Context()); !errors.Is(err, why) || errors.Is(err, net.ErrClosed) {
		t.Errorf("the first call got %v, want the cause alone", err)
	}
}

// TestLongMessageIsNotCompressedWhileOthersWait: those who write for all connections
// leave that to a goroutine of the connection's own.
func TestLongMessageIsNotCompressedWhileOthersWait(t *testing.T) {
	c, p := overTCP(t, &Options{KeepAlive: -1, SendLimit: -1, Compression: &Compression{}}, false)
	m := prepared(t, Text, strings.Repeat("long ", maxAtOnce/5))
	if sent, n, err := c.tryQueued([]*Prepared{m}); sent != 0 || n != 0 || err != nil || m.deflated != nil {
		t.Errorf("got %d, %d, %v, compressed %v", sent, n, err, m.deflated != nil)
	}
	if err := c.Send(m); err != nil {
		t.Fatal(err)
	}
	if f, err := p.next(); err != nil || !f.Rsv1 || len(f.payload) >= maxAtOnce {
		t.Errorf("got %s, %v, want it compressed", f, err)
	}
}

// overUnix is a server under test over a Unix socket, where writes are taken whole
// or not at all, and its peer's end.
func overUnix(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	near, far := unixPair(t)
	return endpointOver(t, near, quiet(), false), far
}

func unixPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip("no Unix sockets: ", err)
	}
	defer ln.Close()
	if far, err = net.Dial("unix", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestSlowConsumerGets1013InsteadOfAFrameThatHasNotBegun(t *testing.T) {
	for _, size := range []int{1000, maxAtOnce + 1} {
		c, far := overUnix(t)
		needsRaw(t, c)
		filler, filled := []byte("\x8a\x00"), 0 // a Pong, so that the socket is full between two frames
		for n, err := 1, error(nil); n > 0; filled += n {
			if n, err = c.w.tryWrite(filler); err != nil || n == 1 {
				t.Fatal(n, err)
			}
		}
		if err := c.Send(prepared(t, Text, strings.Repeat("a", size))); err != nil {
			t.Fatal(err)
		}
		within(t, "the message waits for the socket", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.queueWriting
		})
		c.dropSlow()
		time.Sleep(10 * time.Millisecond) // where it were written after all, it would now
		got := make([]byte, filled+4)
		_ = far.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(far, got); err != nil {
			t.Fatal(err)
		}
		if end := got[filled:]; !bytes.Equal(end, []byte{0x88, 2, 1013 >> 8, 1013 & 0xff}) {
			t.Errorf("a message of %d octets: got % x behind what the socket had taken, want Close 1013", size, end)
		}
	}
}

// TestDeadPeersDelayNoOther: what is said of connections that can't be written to any
// more is found out by goroutines of their own.
func TestDeadPeersDelayNoOther(t *testing.T) {
	const dead, attempts = 4 * maxDrainers, 5
	m := prepared(t, Text, "x")
	for attempt := 1; ; attempt++ {
		var all []*Conn
		for range dead {
			c, far := overUnix(t)
			_ = readAsync(t.Context(), c) // so that the reader is the one to say why
			if err := far.(*net.UnixConn).CloseRead(); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		c, far := overUnix(t)
		begin := time.Now()
		for _, c := range append(all, c) {
			if err := c.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(far, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		for _, c := range all {
			_ = c.CloseNow()
		}
		if took < answerPatience {
			return
		}
		if attempt == attempts {
			t.Fatalf("the message to a peer that lives took %v", took)
		}
	}
}

func TestNilIsNoMessage(t *testing.T) {
	s := &Server{Options: *quiet(), Message: ignore}
	c, p := eventsOver(t, s)
	if err := c.Send(nil); err != errNilPrepared {
		t.Errorf("Send: got %v", err)
	}
	if slow := s.Broadcast(nil); slow != 0 {
		t.Errorf("Broadcast dropped %d", slow)
	}
	if err := c.Write(t.Context(), Text, []byte("goes on")); err != nil {
		t.Error(err)
	}
	p.want("what was written after", text("goes on"))
}

// Whoever waits for a message of a peer that was dropped is told at once.
func TestDropOfASlowConsumerEndsItsRead(t *testing.T) {
	c, p := overTCP(t, &Options{KeepAlive: -1, CloseTimeout: time.Hour}, false)
	got := readAsync(t.Context(), c)
	within(t, "a read waits", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.reading.held })
	c.dropSlow()
	select {
	case r := <-got:
		if !errors.Is(r.err, ErrQueueFull) {
			t.Errorf("got %v", r.err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the read goes on")
	}
	p.want("the reason", closeFrame(StatusTryAgainLater, ""))
	p.sends(text("too late"), closeFrame(StatusTryAgainLater, ""))
	p.wantEOF("the end")
}

// The cause of a drop that no call has met is left to the next one, though the closing
// has read, and what CloseRead has begun was ended by it.
func TestCauseOfADropIsLeftToTheFirstCall(t *testing.T) {
	for _, read := range []func(*Conn){func(*Conn) {}, (*Conn).CloseRead} {
		bothSides(t, func(t *testing.T, c *Conn, p *peer) {
			read(c)
			synctest.Wait()
			c.dropSlow()
			p.want("the reason", closeFrame(StatusTryAgainLater, ""))
			p.sends(closeFrame(StatusTryAgainLater, ""))
			p.hangsUp()
			synctest.Wait()
			wantTold(t, c, c.Write(t.Context(), Text, nil), ErrQueueFull)
		})
	}
}

// A message that is delivered while its connection is dropped is not delivered.
func TestNothingIsDeliveredOnceASlowConsumerIsDropped(t *testing.T) {
	c, p := overTCP(t, quiet(), false)
	if err := c.lockRead(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.dropSlow()
	if !c.unlockRead() {
		t.Error("a read that has its message would return it")
	}
	p.want("the reason", closeFrame(StatusTryAgainLater, ""))
	bye(p, closeFrame(StatusTryAgainLater, ""))
}

// A peer for whom nothing waits keeps up, over whatever its connection goes.
func TestBroadcastOfALongMessageDropsNobodyWhoKeepsUp(t *testing.T) {
	for _, over := range []func(net.Conn) net.Conn{
		func(c net.Conn) net.Conn { return c },
		func(c net.Conn) net.Conn { return wrapped{c} },
	} {
		s := &Server{Options: Options{KeepAlive: -1, SendLimit: 100}, Message: ignore}
		near, far := tcpPair(t)
		c := serveEvents(t, s, over(near))
		p := newPeer(t, far, true)
		msg := prepared(t, Binary, strings.Repeat("x", 4<<20))
		if slow := s.Broadcast(msg); slow != 0 {
			t.Fatalf("%T: a peer that reads was dropped", c.rwc)
		}
		p.want("the whole message", binaryOf(string(msg.payload)))
		within(t, "nothing is buffered", func() bool { return c.BufferedAmount() == 0 })
		p.stopsListening()
		for slow := 0; slow == 0; slow = s.Broadcast(msg) {
			if n := c.BufferedAmount(); n > int64(2*len(msg.plain)) {
				t.Fatalf("%T: %d octets wait", c.rwc, n)
			}
		}
	}
}

// However many broadcast at once, a connection that does not keep up counts once.
func TestBroadcastsCountASlowConnectionOnce(t *testing.T) {
	for range 20 {
		s, c, _ := slowly(t, 1000)
		m := prepared(t, Binary, strings.Repeat("x", 1000))
		var slow atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for c.ended() == nil {
					slow.Add(int32(s.Broadcast(m)))
				}
			})
		}
		all.Wait()
		if n := slow.Load(); n != 1 {
			t.Fatalf("counted %d times", n)
		}
		_ = c.CloseNow()
	}
}

// A Prepared that Prepare has not made holds no message.
func TestZeroPreparedIsRefused(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		if err := c.Send(new(Prepared)); err != errNilPrepared {
			t.Errorf("Send: %v", err)
		}
		if slow := new(Server).Broadcast(new(Prepared)); slow != 0 {
			t.Errorf("%d are slow", slow)
		}
		p.wantIdle("nothing was sent")
	})
}

// slowly is a Server whose connection has small buffers, to a peer that reads nothing of itself.
func slowly(t *testing.T, limit int64) (s *Server, c *Conn, peer net.Conn) {
	near, far := tcpPair(t)
	if err := errors.Join(near.(*net.TCPConn).SetWriteBuffer(16<<10), far.(*net.TCPConn).SetReadBuffer(16<<10)); err != nil {
		t.Fatal(err)
	}
	s = &Server{Handle: func(c *Conn, r *http.Request) error { _, _, err := c.Read(r.Context()); return err }}
	c = NewServerConn(near, &Options{SendLimit: limit})
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return s, c, far
}

// What a drain has taken at once waits only until it is out: a peer that takes all but the last of it keeps up.
func TestWhatIsOutWaitsNoLonger(t *testing.T) {
	const size, count, taken = 32<<10 + 4, 40, 30
	s, c, peer := slowly(t, count*size)
	m := prepared(t, Binary, strings.Repeat("x", size-4))
	for i := range count {
		if slow := s.Broadcast(m); slow != 0 {
			t.Fatalf("dropped at message %d", i)
		}
	}
	if _, err := io.CopyN(io.Discard, peer, taken*size); err != nil {
		t.Fatal(err)
	}
	within(t, "what the peer has taken is counted off", func() bool { return c.BufferedAmount() <= (count-taken)*size+2*writeChunk })
	for i := range 5 {
		if slow := s.Broadcast(m); slow != 0 {
			t.Fatalf("dropped at message %d more, though half of what may wait does", i)
		}
	}
	if _, err := io.CopyN(io.Discard, peer, (count-taken+5)*size); err != nil {
		t.Fatal(err)
	}
	within(t, "nothing waits", func() bool { return c.BufferedAmount() == 0 })
}

// A Prepared is compressed once for all connections that want the same, whatever they go over, and masked in a copy.
func TestPreparedIsCompressedOnceForStreamsToo(t *testing.T) {
	o := &Options{KeepAlive: -1, Compression: &Compression{}}
	for name, ends := range map[string]func() (net.Conn, net.Conn){
		"TCP":  func() (net.Conn, net.Conn) { return tcpPair(t) },
		"TLS":  func() (net.Conn, net.Conn) { return tlsPair(t) },
		"pipe": net.Pipe,
	} {
		for _, client := range []bool{false, true} {
			m := prepared(t, Text, strings.Repeat("as dull as the one before. ", 1000))
			a, b := ends()
			c, peer := NewServerConn(a, o), NewClientConn(b, o)
			if client {
				c, peer = peer, c
			}
			got := readAsync(t.Context(), peer)
			if err := c.Send(m); err != nil {
				t.Fatal(err)
			}
			if r := <-got; r.err != nil || string(r.data) != string(m.payload) {
				t.Errorf("%s, %s: %d octets came, %v", name, side(client), len(r.data), r.err)
			}
			_, _ = c.CloseNow(), peer.CloseNow()
			if again := prepared(t, Text, string(m.payload)); len(m.deflated) != 1 || string(m.plain) != string(again.plain) {
				t.Errorf("%s, %s: the compressed form was not kept, or the plain one changed", name, side(client))
			}
		}
	}
}

// witness is a stream that sees whether what is written to it lies in a frame, from its first octet to its last.
type witness struct {
	net.Conn
	frame []byte
	at    int           // octets
	whole chan struct{} // closed once all of frame was written
}

func (w *witness) Write(p []byte) (int, error) {
	if w.at < len(w.frame) && &p[0] == &w.frame[w.at] {
		if w.at += len(p); w.at == len(w.frame) {
			close(w.whole)
		}
	}
	return len(p), nil
}

// What is sent to many is not copied for each of them.
func TestPreparedIsNotCopiedForAStream(t *testing.T) {
	m := prepared(t, Binary, strings.Repeat("x", 1<<19))
	near, far := net.Pipe()
	defer far.Close()
	w := &witness{Conn: near, frame: m.plain, whole: make(chan struct{})}
	c := NewServerConn(w, quiet())
	defer c.CloseNow()
	if err := c.Send(m); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.whole:
	case <-time.After(10 * time.Second):
		t.Errorf("a copy was written, from octet %d on", w.at)
	}
}

// "The application MUST NOT send any more data frames after sending a Close frame." (5.5.1)
// What is broadcast while the peer's answer is waited for goes to the others.
func TestNothingIsBroadcastBehindOurClose(t *testing.T) {
	c, p := overTCP(t, quiet(), false)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(StatusNormalClosure, "") }()
	p.want("our Close frame", closeFrame(StatusNormalClosure, ""))
	within(t, "the turn to write is free", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.framing.held })
	if _, err := c.sendAtOnce(prepared(t, Text, "too late")); err != nil {
		t.Errorf("got %v, want no error, which is for those who read or write", err)
	}
	bye(p, closeFrame(StatusNormalClosure, ""))
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Threshold is the length from which on messages are compressed: that one is.
func TestPreparedOfThresholdLengthIsCompressed(t *testing.T) {
	p := prepared(t, Binary, strings.Repeat("x", 100))
	for threshold, want := range map[int]bool{99: true, 100: true, 101: false} {
		h, _, err := ParseHeader(p.frame(&deflateParams{sendBits: 15, receiveBits: 15, level: 1, threshold: threshold}))
		if err != nil || h.Rsv1 != want {
			t.Errorf("100 octets with threshold %d: got %+v, %v, want compressed %t", threshold, h, err, want)
		}
	}
}
