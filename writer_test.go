package websocket

// The writer by itself: what frames look like that it has written, over streams
// with and without a file descriptor, and what it says has left.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

// errFull is what a recorder says that takes no more.
var errFull = errors.New("full")

// recorder is a stream that takes so many octets and no more.
type recorder struct {
	taken []byte
	room  int // octets; negative: no end
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.room >= 0 && len(p) > r.room-len(r.taken) {
		n := r.room - len(r.taken)
		r.taken = append(r.taken, p[:n]...)
		return n, errFull
	}
	r.taken = append(r.taken, p...)
	return len(p), nil
}

// frameSizes are payload lengths at which a header or a way of writing changes.
func frameSizes() (sizes []int) {
	for _, at := range []int{0, 125, 1 << 16, copyLimit, streamChunk, 2 * streamChunk, 64 << 10, writeChunk} {
		for n := max(0, at-maxHeader-1); n <= at+maxHeader+1; n++ {
			sizes = append(sizes, n)
		}
	}
	return append(sizes, 1_000_003)
}

// octetsOf are n octets that repeat only after a while, with n as their capacity.
func octetsOf(n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rng.Read(p)
	return p[:n:n]
}

// unframed takes the one frame apart that b is, octet by octet.
func unframed(b []byte) (Header, []byte, error) {
	h, n, err := ParseHeader(b)
	if err != nil || n == 0 || int64(len(b)-n) != h.Length {
		return h, nil, fmt.Errorf("not one frame: %d octets, header %+v, %v", len(b), h, err)
	}
	payload := bytes.Clone(b[n:])
	for i := range payload {
		if h.Masked {
			payload[i] ^= h.Key[i%4]
		}
	}
	return h, payload, nil
}

func TestFramesOfEveryLength(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, size := range frameSizes() {
			r := &recorder{room: -1}
			w := writer{client: client}
			w.init(r, new(rawReader))
			p := octetsOf(size)
			before := bytes.Clone(p)
			n, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, p, func() {})
			if err != nil || n != int64(len(r.taken)) {
				t.Fatalf("%s, %d octets: %d have left, but frame says %d, %v", side(client), size, len(r.taken), n, err)
			}
			h, got, err := unframed(r.taken)
			if err != nil || !bytes.Equal(got, p) || h.Masked != client {
				t.Fatalf("%s, %d octets: masked %t, %v; the payload is the same: %t", side(client), size, h.Masked, err, bytes.Equal(got, p))
			}
			if !bytes.Equal(p, before) {
				t.Fatalf("%s, %d octets: the caller's slice was changed", side(client), size)
			}
		}
	}
}

func TestFramesOfEveryLengthOverTCP(t *testing.T) {
	for _, client := range []bool{false, true} {
		near, far := tcpPair(t)
		w := writer{client: client, timeout: time.Minute}
		var raw rawReader
		raw.init(near)
		w.init(near, &raw)
		for _, size := range frameSizes() {
			p := octetsOf(size)
			want := int64(len(AppendHeader(nil, Header{Masked: client, Length: int64(size)})) + size)
			got := make([]byte, want)
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(far, got)
				read <- err
			}()
			n, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, p, func() {})
			if err != nil || n != want {
				t.Fatalf("%s, %d octets: frame says %d have left, want %d; %v", side(client), size, n, want, err)
			}
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			if _, payload, err := unframed(got); err != nil || !bytes.Equal(payload, p) {
				t.Fatalf("%s, %d octets: %v; the payload is the same: %t", side(client), size, err, bytes.Equal(payload, p))
			}
		}
	}
}

// On TLS each write is a record, which holds as much as streamChunk: what is over costs one of its own.
func TestLongFramesFillTheirRecords(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, size := range []int{64 << 10, 100_000, 1 << 20} {
			r := new(lengths)
			w := writer{client: client}
			w.init(r, new(rawReader))
			n, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, make([]byte, size), func() {})
			full := len(*r) - 1
			if err != nil || slices.ContainsFunc((*r)[:full], func(n int) bool { return n != streamChunk }) || (*r)[full] > streamChunk+maxHeader {
				t.Errorf("%s: %d octets left in writes of %d, want %d each but in the last; %v", side(client), n, *r, streamChunk, err)
			}
		}
	}
}

// lengths are those of what was written.
type lengths []int

func (l *lengths) Write(p []byte) (int, error) {
	*l = append(*l, len(p))
	return len(p), nil
}

func TestWriterSaysHowMuchHasLeft(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, size := range []int{0, 10, copyLimit, copyLimit + 1, streamChunk, 100_000} {
			whole := len(AppendHeader(nil, Header{Masked: client, Length: int64(size)})) + size
			for _, room := range []int{0, 1, 2, 5, 11, copyLimit - 1, copyLimit + 2, streamChunk, streamChunk + 1, 80_000, whole - 1} {
				if room >= whole {
					continue
				}
				r := &recorder{room: room}
				w := writer{client: client}
				w.init(r, new(rawReader))
				n, err := w.frame(&Header{Fin: true, Opcode: OpText, Length: int64(size)}, make([]byte, size), func() {})
				if err != errFull || n != int64(room) {
					t.Errorf("%s, %d octets to a stream that takes %d: frame says %d, %v", side(client), size, room, n, err)
				}
			}
		}
	}
}

func TestFramesHeldBackLeaveInOrder(t *testing.T) {
	for _, client := range []bool{false, true} {
		r := &recorder{room: -1}
		w := writer{client: client}
		w.init(r, new(rawReader))
		var want [][]byte
		send := func(size int) {
			p := octetsOf(size)
			want = append(want, p)
			if _, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, p, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		w.corked.Store(true)
		for _, size := range []int{0, 1, 100, copyLimit - maxHeader, 40_000, 1, 30_000, heldLimit, 7, copyLimit, 70_000, 3} {
			send(size)
		}
		if w.held == nil {
			t.Errorf("%s: nothing is held back at the end", side(client))
		}
		w.corked.Store(false)
		send(5) // takes those before with it
		if w.held != nil || w.holds.Load() {
			t.Errorf("%s: something is still held back", side(client))
		}
		rest := r.taken
		for i, p := range want {
			h, n, err := ParseHeader(rest)
			if err != nil || n == 0 || int64(len(rest)-n) < h.Length {
				t.Fatalf("%s: frame %d: %v", side(client), i, err)
			}
			_, got, err := unframed(rest[:n+int(h.Length)])
			if err != nil || !bytes.Equal(got, p) {
				t.Fatalf("%s: frame %d of %d octets is not what was written: %v", side(client), i, len(p), err)
			}
			rest = rest[n+int(h.Length):]
		}
		if len(rest) > 0 {
			t.Errorf("%s: %d octets more than were written", side(client), len(rest))
		}
	}
}

// takesNothing is a Writer that has no error for what it does not write.
type takesNothing struct{ net.Conn }

func (takesNothing) Write([]byte) (int, error) { return 0, nil }

func TestWriterThatTakesNothingIsNotAskedForEver(t *testing.T) {
	for _, size := range []int{1, 1_000_000} {
		near, _ := net.Pipe()
		c := NewServerConn(takesNothing{near}, quiet())
		if err := c.Write(context.Background(), Binary, make([]byte, size)); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%d octets: %v", size, err)
		}
		_ = c.CloseNow()
	}
}

// frozen is a connection whose write deadline can't be set.
type frozen struct{ net.Conn }

func (frozen) SetWriteDeadline(time.Time) error { return errFull }

// Without its deadline nothing is written, for the peer might take nothing for ever; and
// what was not written is never said to be.
func TestWriteWhoseDeadlineCannotBeSetFails(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := NewServerConn(frozen{near}, quiet())
	defer c.CloseNow()
	if err := c.Write(t.Context(), Text, []byte("lost")); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

// While more is to follow, what leaves of long frames is whole segments of TCP, unless
// the rest is too long for a copy; in the end all is there, in order.
func TestEndsThatFillNoSegmentAreHeldBack(t *testing.T) {
	for _, corked := range []bool{true, false} {
		r, peer := rawPair(t)
		ours := r.src.stream.(net.Conn)
		var w writer
		w.init(ours, &r.src.raw)
		got := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(peer)
			got <- b
		}()
		var want []byte
		send := func(size int) {
			h, p := Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, octetsOf(size)
			want = append(AppendHeader(want, h), p...)
			if _, err := w.frame(&h, p, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		w.corked.Store(corked)
		waits, held, first := 0, 0, uint16(0)
		for i, size := range []int{65_536, 65_536, 65_540, 1 << 20, 80_000, 65_536, 65_536, 100, 65_536, 70_000, 3 << 20, 65_536} {
			before := len(want)
			send(size)
			all := waits + len(want) - before
			switch segment := int(w.segment); {
			case !corked:
				waits = 0
			case maxHeader+size <= heldLimit-waits && waits > 0, maxHeader+size <= copyLimit:
				waits = all // copied
			case unfilled(all, segment) <= copyLimit:
				waits = unfilled(all, segment)
			default:
				waits = 0
			}
			if waits > 0 {
				held++
			}
			if i == 0 {
				first = w.segment
			}
			if has := w.held != nil; has != (waits > 0) || has && w.held.n != waits || w.holds.Load() != has {
				t.Errorf("corked %t, frame %d of %d octets, segments of %d: want %d to wait, have %+v", corked, i, size, w.segment, waits, w.held)
			}
		}
		if corked && runtime.GOOS == "linux" && (held < 6 || w.segment <= first) {
			t.Errorf("something waited behind %d frames; segments of %d at first, %d now that the peer has more room", held, first, w.segment)
		}
		w.corked.Store(false)
		send(copyLimit + 1) // takes those before with it
		if w.held != nil || w.holds.Load() {
			t.Errorf("corked %t: something is still held back", corked)
		}
		_ = ours.Close()
		if !bytes.Equal(<-got, want) {
			t.Errorf("corked %t: what has come is not what was sent", corked)
		}
	}
}

// What was held back is lost with a long frame that can't be written, so that this one
// is not as if it had never been.
func TestLongFrameThatTakesHeldBackOnesWithIt(t *testing.T) {
	r, _ := rawPair(t)
	var w writer
	w.init(r.src.stream.(net.Conn), &r.src.raw)
	for filler := make([]byte, 1<<20); ; {
		if n, err := w.raw.write(filler); err != nil || n == 0 {
			break
		}
	}
	w.corked.Store(true)
	for _, size := range []int{100, 100_000} {
		if size > copyLimit {
			w.interrupt()
		}
		n, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, octetsOf(size), func() {})
		if (err != nil) != (size > copyLimit) || n == 0 {
			t.Errorf("a frame of %d octets: %d have left, %v", size, n, err)
		}
	}
}

// What was held back is nobody else's while it is written, however long that takes.
func TestHeldBufferIsNobodyElsesWhileItIsWritten(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	r, peer := rawPair(t)
	var w writer
	w.init(r.src.stream.(net.Conn), &r.src.raw)
	w.corked.Store(true)
	var want []byte
	send := func(size int) error {
		h, p := Header{Fin: true, Opcode: OpBinary, Length: int64(size)}, octetsOf(size)
		want = append(AppendHeader(want, h), p...)
		_, err := w.frame(&h, p, func() {})
		return err
	}
	filled := 0
	for filler, n := make([]byte, 1<<20), 1; n > 0; filled += n {
		n, _ = w.raw.write(filler)
	}
	if err := send(10_000); err != nil || w.held == nil {
		t.Fatal(err, w.held)
	}
	w.corked.Store(false)
	wrote := make(chan error, 1)
	go func() { wrote <- send(100_000) }()
	time.Sleep(50 * time.Millisecond) // it waits
	others := make([]*heldBuffer, 20)
	for i := range others {
		others[i] = heldBuffers.Get().(*heldBuffer)
		clear(others[i].octets[:])
	}
	got := make([]byte, filled+10_000+4+100_000+10)
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil || !bytes.Equal(got[filled:], want) {
		t.Errorf("%v; what has come is not what was sent", err)
	}
	for _, f := range others {
		f.free()
	}
}

func TestUnfilledSegment(t *testing.T) {
	for _, row := range []struct{ n, segment, want int }{
		{12_345, 0, 0}, {12_345, 1, 0}, {999, 1000, 0}, {1000, 1000, 0}, {1001, 1000, 1}, {2999, 1000, 999}, {65_546, 65_483, 63},
	} {
		if got := unfilled(row.n, row.segment); got != row.want {
			t.Errorf("%d octets in segments of %d: %d behind the last, want %d", row.n, row.segment, got, row.want)
		}
	}
}
