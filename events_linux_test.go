package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// This file holds what many connections cost, and what epoll leaves behind.

// raiseDescriptors lets the process have n descriptors, or skips the test.
func raiseDescriptors(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= uint64(n) {
		return
	}
	limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d descriptors: %v", n, err)
	}
}

// A broadcast to 5,000 of whom 50 read nothing: nobody else waits for them, they
// cost no more than SendLimit, and none gets a goroutine whose network takes what
// comes.
func TestBroadcastToManyOfWhomSomeAreStalled(t *testing.T) {
	many, lame, rounds := 5000, 50, 10
	if testing.Short() || raceEnabled {
		many, lame = 500, 10
	}
	raiseDescriptors(t, 2*many+500)
	s := &Server{Message: ignore, Options: Options{KeepAlive: -1, SendLimit: 32 << 10, CloseTimeout: 200 * time.Millisecond}}
	ln := listen(t)
	defer ln.Close()
	clients := make([]net.Conn, many)
	for i := range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		near, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i < lame {
			_ = near.(*net.TCPConn).SetWriteBuffer(4 << 10)
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		if err := s.Serve(NewServerConn(near, &s.Options), nil); err != nil {
			t.Fatal(err)
		}
		clients[i] = conn
	}
	msg := prepared(t, Binary, strings.Repeat("x", 8<<10))
	buf := make([]byte, len(msg.plain))
	slow, before := 0, goroutines()
	var longest time.Duration
	for range rounds {
		begun := time.Now()
		slow += s.Broadcast(msg)
		longest = max(longest, time.Since(begun))
		if n := goroutines() - before; n > 4*lame+10 { // one sends, or three end it; and some are about to end
			t.Errorf("%d goroutines send or end, of %d connections that are stalled", n, lame)
		}
		for _, conn := range clients[lame:] {
			if _, err := io.ReadFull(conn, buf); err != nil || !bytes.Equal(buf, msg.plain) {
				t.Fatalf("a peer that reads got something else: %v", err)
			}
		}
	}
	t.Logf("broadcast of %d octets to %d: %v at most", len(buf), many, longest)
	if slow != lame {
		t.Errorf("%d were dropped, want the %d that are stalled", slow, lame)
	}
	count := 0
	for c := range s.Conns() {
		if c.ended() == nil {
			count++
		}
	}
	if count != many-lame {
		t.Errorf("%d connections live on", count)
	}
	for _, conn := range clients {
		_ = conn.Close()
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// manyServed are connections of a Server whose clients do nothing; memory is what
// each costs on top of its net.Conn.
func manyServed(t *testing.T, s *Server, n int) (memory int64, clients []net.Conn) {
	t.Helper()
	raiseDescriptors(t, 2*n+200)
	ln := listen(t)
	defer ln.Close()
	nears := make([]net.Conn, n)
	clients = make([]net.Conn, n)
	for i := range clients {
		var err error
		if clients[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if nears[i], err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	first := n / 4 // not counted, for what is made once
	var before int64
	for i, near := range nears {
		if i == first {
			before = memoryInUse()
		}
		r := httptest.NewRequest("GET", "/path?q=1", nil)
		for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "User-Agent", "Origin"} {
			r.Header.Set(name, "what a browser says "+name)
		}
		if err := s.Serve(NewServerConn(near, &s.Options), r); err != nil {
			t.Fatal(err)
		}
		nears[i] = nil
	}
	return (memoryInUse() - before) / int64(n-first), clients
}

// memoryInUse is what Go objects and stacks take, once nothing is garbage.
func memoryInUse() int64 {
	var m runtime.MemStats
	time.Sleep(20 * time.Millisecond) // so that goroutines wait
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// alone says whether the test runs in a process of its own, with env in its environment. Where not, it has run it
// in one, and there is nothing left to do.
func alone(t *testing.T, env ...string) bool {
	t.Helper()
	const mark = "WEBSOCKET_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), mark+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if bytes.Contains(out, []byte("--- SKIP: "+t.Name())) {
		t.SkipNow()
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("in a process of its own: %v", err)
	}
	return false
}

// An octet more, and a connection takes the allocator's next size, of 128 octets more: of 1024 it keeps 8 for itself.
func TestConnectionFillsItsSize(t *testing.T) {
	if size := reflect.TypeFor[Conn]().Size(); strconv.IntSize == 64 && size > 1016 {
		t.Errorf("a Conn has %d octets, want 1016 at most", size)
	}
}

// echoForEver is how an application may look that allocates nothing: it waits a little deeper in its stack than one that only reads.
func echoForEver(c *Conn) error {
	defer func() { _ = c.CloseNow() }()
	var (
		ctx = context.Background()
		typ MessageType
		b   []byte
		err error
	)
	for {
		if typ, b, err = c.ReadAppend(ctx, b[:0]); err != nil {
			return err
		}
		if err = c.Write(ctx, typ, b); err != nil {
			return err
		}
	}
}

func TestMemoryOfAnIdleConnection(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	if !alone(t) { // what tests before have left to the runtime would count too
		return
	}
	const n = 2000
	for _, row := range []struct {
		name string
		s    *Server
		most int64 // octets
	}{
		{"event mode", &Server{Message: ignore}, 1638},
		{"Handle", &Server{Handle: func(c *Conn, r *http.Request) error {
			for {
				if _, _, err := c.Read(context.Background()); err != nil {
					return err
				}
			}
		}}, 4096},
		{"Handle with a stack that is used", &Server{Handle: func(c *Conn, r *http.Request) error { return echoForEver(c) }}, 4096},
	} {
		memory, clients := manyServed(t, row.s, n)
		t.Logf("%s: %d octets a connection", row.name, memory)
		if memory > row.most {
			t.Errorf("%s: an idle connection costs %d octets, want %d at most", row.name, memory, row.most)
		}
		for _, conn := range clients {
			_ = conn.Close()
		}
		if err := row.s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A stack grows by being copied, which takes longer than all else that the library does to open a connection. net/http's
// goroutine has 4 KiB when it asks for that, and the one of Handle waits on 2 KiB, on which it can end as well.
func TestStacksNeedNotGrow(t *testing.T) {
	if raceEnabled {
		t.Skip("with -race frames are larger")
	}
	if !alone(t, "GODEBUG=adaptivestackstart=0") { // else a stack may be longer from the beginning
		return
	}
	const n = 300
	opened, handled, closed, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := &Server{
		Open: func(*Conn, *http.Request) error { opened <- struct{}{}; <-goOn; return nil },
		Handle: func(c *Conn, _ *http.Request) error {
			handled <- struct{}{}
			_, _, err := c.Read(context.Background())
			return err
		},
		Closed: func(*Conn, error) { closed <- struct{}{} },
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", s.ServeHTTP)
	hs := httptest.NewServer(mux)
	defer hs.Close()
	clients := make([]net.Conn, n)
	open := func(i int) {
		conn, err := net.Dial("tcp", hs.Listener.Addr().String())
		if err == nil {
			clients[i] = conn
			err = sampleRequest().Write(conn)
		}
		if err != nil {
			t.Fatal(err)
		}
		<-opened
	}
	open(0) // for what is made once
	before := stacksInUse()
	for i := range n - 1 {
		open(i + 1)
	}
	if each := (stacksInUse() - before) / (n - 1); each > 5<<10 {
		t.Errorf("while it is opened, a connection has %d octets of stack, want the 4 KiB of net/http, or little more", each)
	}
	close(goOn)
	for range n {
		<-handled
	}
	time.Sleep(20 * time.Millisecond) // so that net/http's goroutines end
	runtime.GC()                      // gives back what they had
	before = stacksInUse()
	for _, conn := range clients {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	time.Sleep(100 * time.Millisecond) // so that goroutines wait in Closed, one after the other
	if each := (stacksInUse() - before) / n; each > 1<<10 {
		t.Errorf("for its end, a connection has got %d octets of stack more, want none, or few", each)
	}
	for range n {
		<-closed
	}
}

// stacksInUse is what stacks take, and keeps them from being made shorter.
func stacksInUse() int64 {
	debug.SetGCPercent(-1)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// openDescriptors counts those of the process.
func openDescriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// An idle connection has no goroutine, and with the last one nothing is left.
func TestIdleEventConnectionsHaveNoGoroutine(t *testing.T) {
	n := 1000
	if testing.Short() || raceEnabled {
		n = 200
	}
	s := &Server{Message: writeBack}
	_ = listen(t).Close() // the runtime's own epoll comes with the first socket of the process, and stays
	for range 2 {         // a server whose last connection has gone begins anew
		before, descriptors := goroutines(), openDescriptors(t)
		_, clients := manyServed(t, s, n)
		for _, conn := range clients[:50] {
			far := peer{client: true}
			if _, err := conn.Write(far.wire(text("x"))); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "no connection has a goroutine", func() bool { return goroutines() <= before+20 })
		for _, conn := range clients {
			_ = conn.Close()
		}
		within(t, "nothing is left of the last connection", func() bool {
			return goroutines() <= before && openDescriptors(t) <= descriptors && s.loop.watcher.isClosed()
		})
	}
}

func (w *watcher) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoll == nil && w.count == 0
}

// withoutEpoll lets epoll refuse every connection: a goroutine waits for each of s, as
// on other systems.
func withoutEpoll(s *Server) *Server {
	w := &s.loop.watcher
	w.epoll, w.count = new(os.File), 1 // nobody is the last
	w.control = func(uintptr) { w.failed = syscall.EPERM }
	return s
}

// A goroutine that waits for a socket wakes when keepalive is due, looks at the socket
// once more, and then asks or judges the peer.
func TestKeepAliveWhereAGoroutineWaitsForASocket(t *testing.T) {
	t.Parallel()
	over := make(chan error, 1)
	o := Options{KeepAlive: 60 * time.Millisecond, PongTimeout: 120 * time.Millisecond}
	_, p := eventsOver(t, withoutEpoll(&Server{Options: o, Message: writeBack, Closed: func(_ *Conn, err error) { over <- err }}))
	if f, err := p.next(); err != nil || f.Opcode != OpPing {
		t.Fatalf("got %s %v, want a Ping", f, err)
	}
	if err := <-over; !errors.Is(err, errSilent) {
		t.Errorf("Closed got %v, want that the peer is silent", err)
	}
}

// A read ends early at TCP's urgent mark: what stands behind it is read all the same.
func TestUrgentOctetHidesNothingBehindIt(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "wait" {
			close(entered)
			<-goOn
		}
		return writeBack(c, msg)
	}}
	_, p := eventsOver(t, s)
	_, other := eventsOver(t, s)
	raw, err := p.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	p.sends(text("wait"))
	<-entered
	p.sends(text("before"))
	p.hasSent()
	_ = raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	p.sends(text("behind"))
	p.hasSent()
	other.sends(text("x"))
	other.want("the echo: the events of all before have been handled", text("x"))
	close(goOn)
	p.want("the echo of all", text("wait"), text("before"), text("behind"))
}

// Behind a buffer that was filled to the brim there is more, as a rule: the answer to its
// last message waits for that, but not for long where nothing is there, and not at all
// where a goroutine waits for it.
func TestAnswerBehindAFullBufferWaitsForMore(t *testing.T) {
	for _, row := range []struct {
		octets      int // those of a message that has no buffer to itself come in any number of reads
		waits, ends bool
		goroutine   bool
	}{
		{octets: bufferSize, waits: true},
		{octets: bufferSize, waits: true, ends: true},
		{octets: bufferSize, goroutine: true},
		{octets: bufferSize - 1},
		{octets: bufferSize + 1},
		{octets: 1 << 20},
	} {
		entered, release, waits := make(chan bool), make(chan bool), make(chan bool, 1)
		s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
			if len(msg.Data) == 1 {
				entered <- true
				<-release
				return nil
			}
			waits <- c.w.corked.Load()
			return writeBack(c, msg)
		}}
		if row.goroutine {
			s = withoutEpoll(s)
		}
		c, p := eventsOver(t, s)
		p.sends(text("1"))
		<-entered
		long := binaryOf(strings.Repeat("x", row.octets-maxHeader))
		p.sends(long)
		if row.ends {
			p.hasSent()
			p.stopsTalking()
		}
		for row.octets <= bufferSize && !hasArrived(t, c, row.octets) {
			time.Sleep(time.Millisecond)
		}
		close(release)
		if got := <-waits; got != row.waits {
			t.Errorf("%+v: the answer waits: %t, want %t", row, got, row.waits)
		}
		for e := range s.eventConns() {
			for !row.goroutine && (e.state.Load() == eventBusy || e.state.Load() == eventAgain) {
				runtime.Gosched()
			}
			if !row.goroutine && c.w.holds.Load() {
				t.Errorf("%+v: nothing more is there, and the end of the answer is held back", row)
			}
		}
		p.want("the echo, whole", long)
	}
}

// A long Write of another goroutine that takes its time began while more was to follow:
// its end leaves though nothing follows any more.
func TestEndOfALongWriteOfOthersLeavesThoughNothingFollows(t *testing.T) {
	const size = 8<<20 + 12_345
	wrote := make(chan error, 1)
	s := &Server{Options: *quiet(), Message: func(c *Conn, msg Message) error {
		if string(msg.Data) == "1" {
			go func() { wrote <- c.Write(context.Background(), Binary, make([]byte, size)) }()
			for last, now := uint32(0), uint32(0); now == 0 || now != last; { // until the socket is full, and the Write waits
				last = now
				time.Sleep(20 * time.Millisecond)
				now = c.w.progress.Load()
			}
		}
		return nil
	}}
	c, p := eventsForDeaf(t, s, text("1"), text("2"))
	within(t, "nothing more follows", func() bool { return !c.calling.Load() && !c.w.corked.Load() && c.w.progress.Load() > 0 })
	time.Sleep(20 * heldTime) // nobody looks after what is held back any more
	p.listens()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if f, err := p.next(); err != nil || len(f.payload) != size {
		t.Errorf("what was written: %d octets, %v; held back: %t", len(f.payload), err, c.w.holds.Load())
	}
}

// What a peer has done wrong ends the connection, though what was held back can't leave.
func TestViolationBehindWhatIsHeldBackIsNotDelayed(t *testing.T) {
	const closeTimeout, patience = 200 * time.Millisecond, 5 * time.Second
	full := make(chan bool, 1)
	s := &Server{Options: Options{KeepAlive: -1, WriteTimeout: 3 * patience, CloseTimeout: closeTimeout}, Message: func(c *Conn, _ Message) error {
		fill(t, c)
		err := c.Write(context.Background(), Binary, make([]byte, 10_000))
		full <- c.w.holds.Load()
		return err
	}}
	c, _ := eventsForDeaf(t, s, text("1"), text("\xff\xff"))
	if !<-full {
		t.Error("nothing is held back")
	}
	select {
	case <-c.Context().Done():
	case <-time.After(patience):
		t.Errorf("not over %v after a violation, with a CloseTimeout of %v", patience, closeTimeout)
	}
}

// eventsForDeaf is eventsOver for a peer that takes nothing, and whose frames have all
// arrived when the first is handled.
func eventsForDeaf(t *testing.T, s *Server, frames ...frame) (*Conn, *peer) {
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	p.stopsListening()
	p.sends(frames...)
	p.hasSent()
	return serveEvents(t, s, near), p
}

// fill writes Pongs until the socket takes no more for a while: TCP that paces what it
// sends makes room late.
func fill(t *testing.T, c *Conn) {
	pongs := bytes.Repeat([]byte("\x8a\x00"), 32<<10)
	for looks := 0; looks < 10; looks++ {
		for some := pongs; len(some) > 0; {
			n, err := c.w.raw.write(some)
			if err != nil {
				t.Error(err)
				return
			}
			if n == 0 {
				some = some[:len(some)/2&^1]
			} else {
				looks = 0
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// hasArrived says whether n octets wait to be read by c.
func hasArrived(t *testing.T, c *Conn, n int) bool {
	t.Helper()
	p := make([]byte, n+1)
	got := 0
	err := c.r.src.raw.raw.Control(func(fd uintptr) {
		got, _, _ = syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got == n
}

// An event that is late names a connection that has gone: its place may be
// another's by then.
func TestLateEventWakesNobodyElse(t *testing.T) {
	var w watcher
	old, young := &eventConn{}, &eventConn{}
	w.slots = []watchSlot{{e: old}}
	late := []syscall.EpollEvent{{Events: syscall.EPOLLIN, Fd: 0, Pad: 0}, {Events: syscall.EPOLLIN, Fd: 7}}
	if got := w.named(nil, late); len(got) != 1 || got[0] != old {
		t.Errorf("got %v, want the connection", got)
	}
	w.slots[0] = watchSlot{e: young, generation: 1}
	if got := w.named(nil, late); len(got) != 0 {
		t.Errorf("got %v, want nobody", got)
	}
	w.slots[0] = watchSlot{generation: 2}
	late[0].Pad = 2
	if got := w.named(nil, late); len(got) != 0 {
		t.Errorf("got %v, want nobody", got)
	}
}

// burst is a server in event mode with peers, and lets each of them send a message
// before anybody is woken.
type burst struct {
	s     *Server
	peers []*peer
}

func newBurst(t *testing.T, peers int, message func(*Conn, Message) error) *burst {
	t.Helper()
	b := &burst{s: &Server{Options: *quiet(), Message: message}}
	b.s.Options.CloseTimeout = 100 * time.Millisecond
	for range peers {
		_, p := eventsOver(t, b.s)
		b.peers = append(b.peers, p)
	}
	return b
}

func (b *burst) sends(f frame) {
	w := &b.s.loop.watcher
	w.mu.Lock() // events are not handled for now
	defer w.mu.Unlock()
	for _, p := range b.peers {
		p.sends(f)
		p.hasSent()
	}
}

// Calls may wait for one another: a goroutine is on its way to each connection for
// which something has come, whatever those do that were there before.
func TestCallsOfAllConnectionsMayWait(t *testing.T) {
	const conns = 100
	var there atomic.Int32
	all := make(chan struct{})
	b := newBurst(t, conns, func(c *Conn, msg Message) error {
		if there.Add(1) == conns {
			close(all)
		}
		<-all
		return writeBack(c, msg)
	})
	b.sends(text("x"))
	for _, p := range b.peers {
		p.want("the echo, once all were called", text("x"))
	}
}

// A call that never returns, for its goroutine ends, leaves nobody behind.
func TestGoexitLeavesOtherConnectionsServed(t *testing.T) {
	logged(t)
	const conns = 40
	var served atomic.Int32
	b := newBurst(t, conns, func(c *Conn, msg Message) error {
		if served.Add(1)%2 == 1 {
			runtime.Goexit()
		}
		return nil
	})
	b.sends(text("x"))
	within(t, "all were served", func() bool { return served.Load() == conns })
}

// A burst of short messages takes a few goroutines, and not one for each connection.
func TestBurstOfMessagesTakesFewGoroutines(t *testing.T) {
	const conns, bursts = 100, 5
	got := conns
	for try := 0; try < 4 && got > conns/2; try++ { // on a busy machine many come late
		b := newBurst(t, conns, writeBack)
		for range bursts {
			b.sends(text("x"))
			for _, p := range b.peers {
				p.want("the echo", text("x"))
			}
		}
		w := &b.s.loop.watcher.workers
		w.mu.Lock()
		got = len(w.idle)
		w.mu.Unlock()
	}
	if got > conns/2 {
		t.Errorf("%d goroutines have worked for %d connections, want %d at most", got, conns, conns/2)
	}
}

func TestMessageEventsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	for size, rows := range map[int][]int{512: {1, 16}, 64 << 10: {1, 10}} {
		echoed := newEventEcho(t, size)
		echoed(1)
		for _, together := range rows {
			if n := testing.AllocsPerRun(500, func() { echoed(together) }); n > 0.1*float64(together) {
				t.Errorf("%v allocations for %d messages of %d octets together", n, together, size)
			}
		}
	}
}

// newEventEcho gives a function that sends some messages at once to a server in
// event mode, and waits for the echo.
func newEventEcho(tb testing.TB, size int) func(count int) {
	ln := listen(tb)
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{Message: writeBack}
	if err := s.Serve(NewServerConn(near, nil), nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = far.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	client := peer{client: true}
	one := client.wire(binaryOf(strings.Repeat("x", size)))
	many := bytes.Repeat(one, 64)
	buf := make([]byte, 64*(len(one)-4))
	return func(count int) {
		if _, err := far.Write(many[:count*len(one)]); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(far, buf[:count*(len(one)-4)]); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkEventEcho(b *testing.B) {
	for _, together := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			echoed := newEventEcho(b, 512)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += together {
				echoed(together)
			}
		})
	}
}

func BenchmarkBroadcast(b *testing.B) {
	s := &Server{Message: ignore, Options: Options{KeepAlive: -1}}
	const many = 100
	for range many {
		near, far := tcpEnds(b)
		if err := s.Serve(NewServerConn(near, &s.Options), nil); err != nil {
			b.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, far) }()
	}
	msg := prepared(b, Binary, strings.Repeat("x", 512))
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += many {
		s.Broadcast(msg)
	}
	b.StopTimer()
	for c := range s.Conns() {
		_ = c.CloseNow()
	}
	_ = s.Shutdown(context.Background()) // without a context's end there is no error
}

const (
	// idleClients is the name of the variable that makes this test's process the
	// clients of another: both ends would need more descriptors than one may have.
	idleClients = "WEBSOCKET_TEST_IDLE_CLIENTS"
	// idleMany is the name of the variable that says how many there are: 10000 take
	// their time on a machine that has other things to do.
	idleMany = "WEBSOCKET_TEST_IDLE"
)

// TestIdleClients opens connections for TestShutdownOfManyIdleConnections and says
// how many of them got 1001.
func TestIdleClients(t *testing.T) {
	addr := os.Getenv(idleClients)
	if addr == "" {
		t.Skip("is run by another test")
	}
	n := manyIdle()
	raiseDescriptors(t, n+100)
	far := peer{client: true}
	answer, goodbye := far.wire(closeFrame(1001, "")), AppendHeader(nil, Header{Fin: true, Opcode: OpClose, Length: 2})
	goodbye = append(goodbye, 1001>>8, 1001&0xff)
	var all sync.WaitGroup
	var good atomic.Int32
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer conn.Close()
			got := make([]byte, len(goodbye))
			if _, err := io.ReadFull(conn, got); err == nil && bytes.Equal(got, goodbye) {
				good.Add(1)
			}
			_, _ = conn.Write(answer)
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	all.Wait()
	fmt.Printf("%d of %d got 1001\n", good.Load(), n)
}

// cpuTime is what the process has had of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// manyIdle is how many connections TestShutdownOfManyIdleConnections has.
func manyIdle() int {
	if n, err := strconv.Atoi(os.Getenv(idleMany)); err == nil {
		return n
	}
	if raceEnabled {
		return 500
	}
	return 2000
}

func TestShutdownOfManyIdleConnections(t *testing.T) {
	n := manyIdle()
	raiseDescriptors(t, n+200)
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(new(Server), ignore)
		ln := listen(t)
		defer ln.Close()
		clients := exec.Command(os.Args[0], "-test.run=^TestIdleClients$")
		clients.Env = append(os.Environ(), idleClients+"="+ln.Addr().String())
		var out bytes.Buffer
		clients.Stdout, clients.Stderr = &out, &out
		if err := clients.Start(); err != nil {
			t.Fatal(err)
		}
		_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
		for range n {
			near, err := ln.Accept()
			if err != nil {
				t.Fatal(err, out.String())
			}
			if err := s.Serve(NewServerConn(near, nil), nil); err != nil {
				t.Fatal(err)
			}
		}
		begun, before := time.Now(), cpuTime()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		took, busy := time.Since(begun), cpuTime()-before
		if err := clients.Wait(); err != nil || !strings.Contains(out.String(), fmt.Sprintf("%d of %d got 1001", n, n)) {
			t.Errorf("%v %s", err, out.String())
		}
		t.Logf("%d connections were shut down in %v, with %v of the processors' time", n, took, busy)
		if busy > 2*time.Second || took > 20*time.Second { // others may be at work on the machine
			t.Errorf("Shutdown took %v, and %v of the processors' time", took, busy)
		}
	})
}

// What a header promises costs nothing, in a read that waits too; and one octet of
// it no more than the first growth.
func TestMemoryOfADeclaredLength(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	if !alone(t) {
		return
	}
	const n = 300
	reads := &Server{Options: Options{KeepAlive: -1}, Handle: func(c *Conn, _ *http.Request) error {
		_, _, err := c.Read(context.Background())
		return err
	}}
	for name, s := range map[string]*Server{"Read": reads, "Message": {Options: Options{KeepAlive: -1}, Message: ignore}} {
		_, clients := manyServed(t, s, n)
		frame := AppendHeader(nil, Header{Fin: true, Opcode: OpBinary, Masked: true, Length: 1 << 20})
		for _, row := range []struct {
			octets []byte
			most   int64
		}{{frame, 4 << 10}, {[]byte{1}, 80 << 10}} {
			before := memoryInUse()
			for _, c := range clients {
				if _, err := c.Write(row.octets); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // for all to be read; where not, it is read while memory is measured
			each := (memoryInUse() - before) / n
			t.Logf("%s: %d octets for %d on the wire", name, each, len(row.octets))
			if each > row.most {
				t.Errorf("%s: %d octets cost %d, want at most %d", name, len(row.octets), each, row.most)
			}
		}
		for _, c := range clients {
			_ = c.Close()
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A message that has been read by who looked why a write failed comes all the same, though
// no event tells of it. On a Unix socket whose peer reads no more, writing alone fails.
func TestMessageThatAFailedWriteHasReadIsDelivered(t *testing.T) {
	near, far := unixPair(t)
	got := make(chan string, 1)
	s := &Server{Options: *quiet(), Message: func(_ *Conn, m Message) error {
		got <- string(m.Data)
		return nil
	}}
	c := serveEvents(t, s, near)
	c.mu.Lock()
	e := c.woken.(*eventConn)
	c.mu.Unlock()
	within(t, "it waits for events", func() bool { return e.state.Load() == eventIdle })
	e.loop.watcher.mu.Lock()
	e.loop.watcher.slots[e.slot].e = nil // no event comes
	e.loop.watcher.mu.Unlock()
	if err := far.(*net.UnixConn).CloseRead(); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, far, true)
	p.sends(text("read by the writer"))
	p.hasSent()
	if err := c.Write(context.Background(), Text, []byte("lost")); err == nil {
		t.Fatal("a write to who reads no more succeeds")
	}
	select {
	case m := <-got:
		if m != "read by the writer" {
			t.Errorf("got %q", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("the message was not delivered")
	}
}

// A read of a Unix socket ends where descriptors came along: that it is short does not say that it was the last.
func TestShortReadOfAUnixSocketHidesNothing(t *testing.T) {
	near, conn := unixPair(t)
	far := conn.(*net.UnixConn)
	inside, goOn, got := make(chan struct{}), make(chan struct{}), make(chan string, 10)
	s := &Server{Options: *quiet(), Message: func(_ *Conn, msg Message) error {
		if got <- string(msg.Data); string(msg.Data) == "first" {
			inside <- struct{}{}
			<-goOn
		}
		return nil
	}}
	serveEvents(t, s, near)
	send := func(message string, descriptors ...int) {
		if _, _, err := far.WriteMsgUnix(text(message).append(nil, true, [4]byte{1, 2, 3, 4}), syscall.UnixRights(descriptors...), nil); err != nil {
			t.Fatal(err)
		}
	}
	send("first")
	<-inside
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	send("with a descriptor", int(null.Fd()))
	send("behind it")
	time.Sleep(50 * time.Millisecond) // so that no event is left to come
	goOn <- struct{}{}
	for _, want := range []string{"first", "with a descriptor", "behind it"} {
		select {
		case message := <-got:
			if message != want {
				t.Fatalf("got %q, want %q", message, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%q has arrived and is not delivered", want)
		}
	}
}

// Keepalive comes to every connection, however many there are, and does not keep events
// waiting for all of them.
func TestSweepComesToAllConnections(t *testing.T) {
	for _, n := range []int{0, 1, sweepAtOnce - 1, sweepAtOnce, sweepAtOnce + 1, 3 * sweepAtOnce, 3*sweepAtOnce + 7} {
		var w watcher
		for i := range n {
			e := new(eventConn)
			e.due.Store(int64(1 + i%2)) // every second one is due
			w.slots = append(w.slots, watchSlot{e: e})
		}
		woken, turns := 0, 0
		for from, more := 0, true; more; from += sweepAtOnce {
			var due []*eventConn
			if due, more = w.appendDue(due, from, 1); len(due) > sweepAtOnce {
				t.Errorf("%d connections: %d at once", n, len(due))
			}
			woken += len(due)
			turns++
		}
		if want := (n + 1) / 2; woken != want || turns > n/sweepAtOnce+1 {
			t.Errorf("%d connections: %d woken in %d turns, want %d", n, woken, turns, want)
		}
	}
}
