package websocket

// Many who write at once.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// waitsToSend waits until n wait for the turn to send.
func waitsToSend(t *testing.T, c *Conn, n int) {
	t.Helper()
	for range 10_000 {
		c.mu.Lock()
		waiting := 0
		for w := c.sending.first; w != nil; w = w.next {
			waiting++
		}
		c.mu.Unlock()
		if waiting == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("there were never %d who wait to send", n)
}

// takesTurns takes the turns that a Write has, so that others line up.
func takesTurns(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.lockMessage(context.Background(), Binary, nil); err != nil {
		t.Fatal(err)
	}
}

// busyServer is a server's end over near, the turns of which a Write has.
func busyServer(t *testing.T, near net.Conn) *Conn {
	t.Helper()
	c := endpointOver(t, near, quiet(), false)
	needsRaw(t, c)
	takesTurns(t, c)
	return c
}

// wantsStays checks what became of a Write of "stays", which has returned err, and that
// nothing came before it.
func wantsStays(t *testing.T, peer *Conn, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if _, got, err := peer.Read(t.Context()); string(got) != "stays" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Who has the turn writes what others wait to send, up to the first that is none of its
// business: in their order, by one system call for as much as is copied at a time.
func TestWritersThatWaitAreWrittenAlong(t *testing.T) {
	const short, long = 4, offerLimit + 1
	for _, row := range []struct {
		sizes  []int
		writes uint32
	}{
		{[]int{short, short, short, short, short, short, short}, 1},
		{[]int{short, short, short, long, short}, 3},                                       // the long one by itself, and the last by who wrote that
		{[]int{offerLimit, offerLimit, offerLimit, offerLimit, offerLimit, offerLimit}, 3}, // three; one by itself; two
	} {
		for _, client := range []bool{false, true} {
			near, far := tcpPair(t)
			c, peer := endpointOver(t, near, quiet(), client), endpointOver(t, far, quiet(), !client)
			needsRaw(t, c)
			takesTurns(t, c)
			var all sync.WaitGroup
			for i, size := range row.sizes {
				data := make([]byte, size)
				binary.BigEndian.PutUint32(data, uint32(i))
				all.Go(func() {
					if err := c.Write(context.Background(), Binary, data); err != nil {
						t.Error(err)
					}
				})
				waitsToSend(t, c, i+1)
			}
			before := c.w.progress.Load()
			c.unlockMessage()
			all.Wait()
			for i, size := range row.sizes {
				_, got, err := peer.Read(t.Context())
				if err != nil || len(got) != size || binary.BigEndian.Uint32(got) != uint32(i) {
					t.Fatalf("%s: message %d: got %d octets, %v, want %d", side(client), i, len(got), err, size)
				}
			}
			if n := c.w.progress.Load() - before; n != row.writes {
				t.Errorf("%s, %v: %d writes, want %d", side(client), row.sizes, n, row.writes)
			}
		}
	}
}

// A context that has ended while its Write waited takes the message back, though the one who
// gives up has yet to run: that is no reason for the connection to end.
func TestOfferWhoseContextHasEndedIsNotWritten(t *testing.T) {
	near, far := unixPair(t)
	if err := near.(*net.UnixConn).SetWriteBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	c, peer := busyServer(t, near), endpointOver(t, far, quiet(), true)
	ctx, cancel := context.WithCancel(t.Context())
	ended, stays := make(chan error, 3), make(chan error, 1)
	for i := range 3 {
		go func() { ended <- c.Write(ctx, Binary, make([]byte, offerLimit)) }()
		waitsToSend(t, c, i+1)
	}
	go func() { stays <- c.Write(t.Context(), Binary, []byte("stays")) }()
	waitsToSend(t, c, 4)
	c.mu.Lock()
	cancel() // those who wait can't come to it before c.mu is free
	if c.mayWriteOffers() || c.writeOffers() {
		t.Error("a message was to be written whose context has ended")
	}
	c.releaseFrame()
	c.sending.release()
	c.mu.Unlock()
	for range 3 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	}
	wantsStays(t, peer, <-stays)
}

// Who gave up among others who wait is left out by who writes for them.
func TestOffersUpToOneWhoseContextHasEndedAreWritten(t *testing.T) {
	near, _ := tcpPair(t)
	c := busyServer(t, near)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i, under := range []context.Context{t.Context(), ctx, t.Context()} {
		all.Go(func() { _ = c.Write(under, Binary, make([]byte, 100)) })
		waitsToSend(t, c, i+1)
	}
	c.mu.Lock()
	cancel()
	frames, first := c.takeOffers(make([]byte, 0, copyLimit))
	if want := 2 + 100; len(frames) != want || first.next != nil {
		t.Errorf("%d octets of frames, want %d", len(frames), want)
	}
	c.sending.putBack(first)
	c.mu.Unlock()
	c.unlockMessage()
	all.Wait()
}

// takesOffers does what writeOffers does before it writes.
func takesOffers(c *Conn) (frames []byte, first *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takeOffers(make([]byte, 0, copyLimit))
}

// Who gives up while its message is in another's hands is told what became of that. If it
// was not written, it is not in the queue any more, and nobody waits for it.
func TestWriterGivesUpWhileAnotherHasItsMessage(t *testing.T) {
	near, far := tcpPair(t)
	c, peer := busyServer(t, near), endpointOver(t, far, quiet(), true)
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() { gone <- c.Write(ctx, Binary, []byte("gone")) }()
	waitsToSend(t, c, 1)
	go func() { stays <- c.Write(t.Context(), Binary, []byte("stays")) }()
	waitsToSend(t, c, 2)
	_, first := takesOffers(c)
	cancel()
	for left := false; !left; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		left = first.offer.left
		c.mu.Unlock()
	}
	select {
	case err := <-gone:
		t.Fatalf("Write has returned %v while another has its octets", err)
	default:
	}
	c.mu.Lock()
	c.sending.putBack(first)
	c.mu.Unlock()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	c.unlockMessage()
	wantsStays(t, peer, <-stays)
}

// A frame that others have begun is ended by who offered it, under its own context.
func TestContextEndsAFrameThatOthersHaveBegun(t *testing.T) {
	near, _ := unixPair(t)
	c := busyServer(t, near)
	for n, err := 1, error(nil); n > 0; { // full, and nobody reads
		if n, err = c.w.tryWrite(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- c.Write(ctx, Binary, []byte("begun")) }()
	waitsToSend(t, c, 1)
	frames, w := takesOffers(c)
	c.mu.Lock()
	w.offer.state, w.offer.rest = offerBegun, frames[1:]
	close(w.ready)
	c.mu.Unlock()
	for watched := false; !watched; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		watched = c.writeWatch != nil
		c.mu.Unlock()
	}
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) || c.ended() == nil {
		t.Errorf("got %v, want the context's error; the connection ended with %v", err, c.ended())
	}
}

// A context that ends while its message waits takes back that message and no other.
func TestMessageThatWaitsIsTakenBack(t *testing.T) {
	near, far := tcpPair(t)
	c, peer := busyServer(t, near), endpointOver(t, far, quiet(), true)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range byte(5) {
		all.Go(func() {
			under, want := t.Context(), error(nil)
			if i%2 == 1 {
				under, want = ctx, context.Canceled
			}
			if err := c.Write(under, Binary, []byte{i}); !errors.Is(err, want) {
				t.Errorf("message %d: got %v, want %v", i, err, want)
			}
		})
		waitsToSend(t, c, int(i)+1)
	}
	cancel()
	waitsToSend(t, c, 3)
	c.unlockMessage()
	all.Wait()
	for i := byte(0); i < 5; i += 2 {
		if _, got, err := peer.Read(t.Context()); err != nil || len(got) != 1 || got[0] != i {
			t.Fatalf("got %v, %v, want message %d", got, err, i)
		}
	}
}

// A Pong does not wait for what others offer.
func TestOffersGoBehindControlFrames(t *testing.T) {
	near, far := tcpPair(t)
	c, p := busyServer(t, near), newPeer(t, far, true)
	written := make(chan error, 1)
	go func() { written <- c.Write(context.Background(), Text, []byte("offered")) }()
	waitsToSend(t, c, 1)
	if err := c.controlFrame(OpPing, []byte("first")); err != nil { // the reader, which waits for nobody
		t.Fatal(err)
	}
	for range 10_000 {
		c.mu.Lock()
		waits := c.framing.first != nil
		c.mu.Unlock()
		if waits {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c.unlockMessage()
	p.want("the Pong goes first", pong("first"), text("offered"))
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// After a write that broke off, what others write would be read as the rest of its frame.
func TestNothingIsWrittenAlongBehindABrokenWrite(t *testing.T) {
	near, far := tcpPair(t)
	c, p := busyServer(t, near), newPeer(t, far, true)
	written := make(chan error, 1)
	go func() { written <- c.Write(context.Background(), Binary, []byte("rest?")) }()
	waitsToSend(t, c, 1)
	c.mu.Lock()
	c.breakOff(io.ErrShortWrite)
	c.mu.Unlock()
	c.unlockMessage()
	if err := <-written; !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want what the write before came to", err)
	}
	_ = c.CloseNow()
	p.wantEOF("nothing was written")
}

// crowd is many who write at once to a peer that takes little at a time, under contexts
// that may end.
type crowd struct {
	c        *Conn
	mu       sync.Mutex
	returned map[uint32]error // by message
}

// write sends messages of one writer, whose numbers grow, until one fails for good.
func (w *crowd) write(writer uint32, random *rand.Rand) {
	for i := range uint32(40) {
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if random.IntN(4) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(2000))*time.Microsecond)
		}
		id := writer<<16 | i
		data := binary.BigEndian.AppendUint32(make([]byte, 0, 6000), id)
		data = data[:4+random.IntN(2)*random.IntN(5900)]
		err := w.c.Write(ctx, Binary, data)
		cancel()
		w.mu.Lock()
		w.returned[id] = err
		w.mu.Unlock()
		if err != nil && w.c.ended() != nil {
			return
		}
	}
}

// Each message arrives whole, once, and in its writer's order, if its Write returned nil,
// and not at all if that returned an error, whatever the peer takes at a time and whoever
// gives up waiting.
func TestCrowdOfWritersSendsEachMessageOnce(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			near, far := unixPair(t) // TCP's timers would make it take a minute
			if err := near.(*net.UnixConn).SetWriteBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			client := seed%2 == 1
			w := &crowd{c: endpointOver(t, near, quiet(), client), returned: map[uint32]error{}}
			peer := endpointOver(t, bySips{far, rand.New(rand.NewPCG(seed, 0))}, quiet(), !client)
			got, last := map[uint32]bool{}, map[uint32]uint32{}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for msg, err := range peer.Messages(context.Background()) {
					if err != nil {
						return
					}
					id := binary.BigEndian.Uint32(msg.Data)
					if before, ok := last[id>>16]; got[id] || ok && id < before {
						t.Errorf("message %x came twice, or behind %x", id, before)
					}
					got[id], last[id>>16] = true, id
				}
			}()
			var all sync.WaitGroup
			for writer := range uint32(8) {
				all.Go(func() { w.write(writer, rand.New(rand.NewPCG(seed, uint64(writer)+1))) })
			}
			all.Wait()
			_ = w.c.Close(StatusNormalClosure, "")
			<-done
			for id, err := range w.returned {
				if (err == nil) != got[id] {
					t.Errorf("message %x: Write returned %v, came: %t", id, err, got[id])
				}
			}
		})
	}
}

// bySips reads a little at a time, and then and now pauses.
type bySips struct {
	net.Conn
	random *rand.Rand
}

func (s bySips) Read(p []byte) (int, error) {
	if s.random.IntN(8) == 0 {
		time.Sleep(time.Duration(s.random.IntN(300)) * time.Microsecond)
	}
	return s.Conn.Read(p[:min(len(p), 1+s.random.IntN(3000))])
}
