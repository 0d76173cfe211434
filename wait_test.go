package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"
)

// This file holds what the end of a stream is to a reader: never the end of a message.

// tcpPair is two ends of a stream over TCP, whose reads go to the file descriptor.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// wrapped hides the type of a connection, so that it is read by its methods.
type wrapped struct{ net.Conn }

func TestEndOfStreamIsNotTheEndOfAMessage(t *testing.T) {
	frames := AppendHeader(nil, Header{Opcode: OpText, Length: 3})
	frames = append(frames, "one"...)
	frames = AppendHeader(frames, Header{Fin: true, Length: 5000})
	frames = append(frames, make([]byte, 5000)...)
	for _, keep := range []int{0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 100, 4106, 5008} {
		for _, raw := range []bool{true, false} {
			peer, ours := tcpPair(t)
			if !raw {
				ours = wrapped{ours}
			}
			if _, err := peer.Write(frames[:keep]); err != nil {
				t.Fatal(err)
			}
			_ = peer.Close()
			c := NewClientConn(ours, &Options{CloseTimeout: time.Second})
			_, msg, err := c.Read(context.Background())
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || msg != nil {
				t.Errorf("stream ends after %d octets, raw %t: Read returned %d octets, %v; want io.ErrUnexpectedEOF", keep, raw, len(msg), err)
			}
			_ = c.CloseNow()
		}
	}
}

// needsRaw skips a test of what there is only where sockets are read and written without
// waiting: on Unix.
func needsRaw(t *testing.T, c *Conn) {
	t.Helper()
	if !c.w.raw.isRaw() {
		t.Skip("reading and writing without waiting is not possible here")
	}
}

// rawPair is a reader that reads from a file descriptor, and what writes to it.
func rawPair(t *testing.T) (*reader, net.Conn) {
	ours, peer := tcpPair(t)
	r := newReader(nil, new(heard))
	if r.init(ours, nil); !r.src.raw.isRaw() {
		t.Skip("no file descriptor is read on this system")
	}
	return r, peer
}

func TestLongBufferIsHeldOnlyForMuch(t *testing.T) {
	for _, row := range []struct{ octets, length int }{{1, bufferSize}, {bufferSize - 3, bufferSize}, {bufferSize, longBufferSize}, {100_000, longBufferSize}} {
		r, peer := rawPair(t)
		s := &r.src
		sent := bytes.Repeat([]byte("0123456789"), row.octets)[:row.octets]
		if _, err := peer.Write(sent); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < len(sent) { // what is sent may come in pieces
			buf, n, err := s.fill(3, 3+len(sent)-len(got))
			if err != nil {
				t.Fatal(err)
			}
			if n == len(sent) && len(buf.octets) != row.length {
				t.Errorf("%d octets are held in a buffer of %d, want %d", n, len(buf.octets), row.length)
			}
			if n == len(sent) != s.raw.isFull() && len(got) == 0 {
				t.Errorf("%d octets of %d have come: isFull says %t", n, len(sent), s.raw.isFull())
			}
			got = append(got, buf.octets[3:3+n]...)
			buf.free()
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%d octets did not come as they were sent", len(sent))
		}
	}
}

// Where more waits than a buffer takes, the next is a long one that ends with a
// message; whatever their lengths, all messages are what was sent.
func TestLongReadsEndWithAMessage(t *testing.T) {
	for _, lengths := range [][]int{{64 << 10}, {4 << 10}, {125}, {0}, {100_000}, {1 << 20}, {0, 70_000, 125, 4096, 126, 65_535, 200_000}} {
		r, peer := rawPair(t)
		r.inPlace = true
		var octets []byte
		var want []int
		for len(octets) < 3_000_000 && len(want) < 200_000 {
			n := lengths[len(want)%len(lengths)]
			octets = AppendHeader(octets, Header{Fin: true, Opcode: OpBinary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: int64(n)})
			for i := range n {
				octets = append(octets, byte(len(want)+i)^byte(1+i%4))
			}
			want = append(want, n)
		}
		go func() { _, _ = peer.Write(octets) }()
		time.Sleep(20 * time.Millisecond) // for enough of it to wait
		long, whole := 0, 0
		for k, n := range want {
			_, p, ok, err := r.nextInPlace()
			if !ok && err == nil {
				p, err = r.appendMessage(nil)
			}
			if err != nil || len(p) != n {
				t.Fatalf("message %d of lengths %d: %d octets, %v", k, lengths, len(p), err)
			}
			for i, b := range p {
				if b != byte(k+i) {
					t.Fatalf("message %d of lengths %d: octet %d is %d", k, lengths, i, b)
				}
			}
			if r.buf != nil && len(r.buf.octets) == longBufferSize {
				if long++; r.pos == r.end {
					whole++
				}
			}
		}
		if fits := lengths[0] < longBufferSize; fits != (long > 0) || fits && len(lengths) == 1 && whole == 0 {
			t.Errorf("lengths %d: %d messages were in a long buffer, %d ended with it", lengths, long, whole)
		}
		r.release()
	}
}

// Processors copy slowly to 1 to 15 octets further in a page, which is what a header
// makes of a payload that begins with a page: no long one of ours does, also where
// the answers to a few such messages wait before it.
func TestLongPayloadsLieOffTheStartOfPages(t *testing.T) {
	const page = 4096
	behind := func(what string, p []byte, header int) {
		at := int(reflect.ValueOf(p).Pointer() % page)
		for waiting := range 16 {
			to := (waiting*(header+len(p)) + header) % page
			if further := (to - at + page) % page; 0 < further && further < 16 {
				t.Errorf("%s: %d octets, at %d in a page, go %d octets further in one, with %d before them", what, len(p), at, further, waiting)
			}
		}
	}
	for _, size := range []int{copyLimit + 1, 20_000, 24 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20} {
		header := Header{Fin: true, Opcode: OpBinary, Masked: true, Length: int64(size)}
		frame := append(AppendHeader(nil, header), make([]byte, size)...)
		answer := len(frame) - size - 4
		for _, kept := range [][]byte{nil, make([]byte, 0, 1000), make([]byte, 0, 17_000)} {
			r := newReader(nil, new(heard))
			r.init(bytes.NewReader(frame), nil)
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
			if p, err := r.appendMessage(kept); err != nil || cap(p) == cap(kept) {
				if cap(kept) < size {
					t.Errorf("%d octets appended to room for %d: room for %d, %v", size, cap(kept), cap(p), err)
				}
			} else {
				behind("a message read", p, answer)
			}
		}
		for _, buf := range []*buffer{newBuffer(bufferSize), newBuffer(longBufferSize)} {
			behind("a message in the buffer", buf.octets[answer+4:min(len(buf.octets), answer+4+size)], answer)
			behind("a client's frame", buf.octets, 0)
		}
	}
}

// lengthsWanted is a stream of which each read is asked for so many octets, and gives as many as it was told.
type lengthsWanted struct{ gives, asked []int }

func (l *lengthsWanted) Read(p []byte) (int, error) {
	l.asked = append(l.asked, len(p))
	n := min(len(p), l.gives[0])
	l.gives = l.gives[1:]
	return n, nil
}

// What is held while nothing is there is short, but not where much comes at a time.
func TestStreamThatGivesLittleIsWaitedForWithAShortBuffer(t *testing.T) {
	l := &lengthsWanted{gives: []int{1, waitBufferSize - 1, waitBufferSize, streamBufferSize, 10, waitBufferSize, 1, 1, 1, 1, 1}}
	var s source
	s.init(l)
	for range l.gives {
		buf, _, err := s.fill(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		buf.free()
	}
	const short, long = waitBufferSize, streamBufferSize
	if want := []int{short, short, short, long, long, long, long, long, long, long, short}; !slices.Equal(l.asked, want) {
		t.Errorf("asked for %d octets, want %d", l.asked, want)
	}
}
