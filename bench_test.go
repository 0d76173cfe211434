package websocket

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

// BenchmarkMask masks in cache. The last offset is odd, so that the key has to be
// turned.
func BenchmarkMask(b *testing.B) {
	for _, n := range []int{5, 16, 31, 64, 125, 512, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("octets=%d", n), func(b *testing.B) {
			p, key, at := make([]byte, n), [4]byte{0x37, 0xfa, 0x21, 0x3d}, 1
			b.SetBytes(int64(n))
			for b.Loop() {
				at = Mask(p, key, at) | 1
			}
		})
	}
}

// benchTexts are texts in which all octets are ASCII, one in twenty is not, and
// none is, in characters of three and of four octets.
var benchTexts = []struct{ name, text string }{
	{"ascii", "It was the best of times, it was the worst of times, it was the age of wisdom. "},
	{"german", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, das ist schöner Übermut. "},
	{"chinese", "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"},
	{"emoji", "👏🎉🚀😀🧵🦊🌍🍀🎸🥁🏔🛶"},
}

// BenchmarkUTF8 measures our check beside utf8.Valid, because only their ratio in
// one run says anything.
func BenchmarkUTF8(b *testing.B) {
	for _, text := range benchTexts {
		for _, n := range []int{64, 4 << 10, 64 << 10} {
			p := []byte(strings.Repeat(text.text, n/len(text.text)+1))[:n]
			for !utf8.Valid(p) {
				p = p[:len(p)-1]
			}
			for _, check := range []struct {
				name  string
				valid func([]byte) bool
			}{{"ours", validUTF8}, {"utf8.Valid", utf8.Valid}} {
				b.Run(fmt.Sprintf("text=%s/octets=%d/%s", text.name, n, check.name), func(b *testing.B) {
					b.SetBytes(int64(len(p)))
					for b.Loop() {
						if !check.valid(p) {
							b.Fatal("a valid text is refused")
						}
					}
				})
			}
		}
	}
}

// benchHeaders are headers of every length that a header can have, but for those
// that nobody sends.
var benchHeaders = []struct {
	name string
	h    Header
}{
	{"server/length=5", Header{Fin: true, Opcode: OpText, Length: 5}},
	{"client/length=5", Header{Fin: true, Opcode: OpText, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 5}},
	{"client/length=512", Header{Fin: true, Opcode: OpBinary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 512}},
	{"client/length=65536", Header{Fin: true, Opcode: OpBinary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 1 << 16}},
}

func BenchmarkAppendHeader(b *testing.B) {
	for _, bench := range benchHeaders {
		b.Run(bench.name, func(b *testing.B) {
			buf := make([]byte, 0, maxHeader)
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendHeader(buf[:0], bench.h)
			}
		})
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, bench := range benchHeaders {
		b.Run(bench.name, func(b *testing.B) {
			buf := AppendHeader(nil, bench.h)
			b.ReportAllocs()
			for b.Loop() {
				if h, _, err := ParseHeader(buf); err != nil || h.Length != bench.h.Length {
					b.Fatal("the header was not parsed")
				}
			}
		})
	}
}

// BenchmarkSequence judges the frames of a message that a Ping interrupts.
func BenchmarkSequence(b *testing.B) {
	frames := []Header{{Opcode: OpText}, {Fin: true, Opcode: OpPing}, {Opcode: OpContinuation}, {Fin: true, Opcode: OpContinuation}}
	var s sequence
	b.ReportAllocs()
	for b.Loop() {
		for i := range frames {
			if err := s.accept(&frames[i]); err != nil {
				b.Fatal(err)
			}
		}
		s.end()
	}
}

// benchSizes are payloads from a chat's line to more than one read brings.
var benchSizes = []int{32, 512, 4 << 10, 64 << 10}

// BenchmarkReader reads binary messages of a client out of memory, whole.
func BenchmarkReader(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("octets=%d", n), func(b *testing.B) {
			frame := AppendHeader(nil, Header{Fin: true, Opcode: OpBinary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: int64(n)})
			r := newReader(&again{octets: append(frame, make([]byte, n)...)}, new(heard))
			buf := make([]byte, 0, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				_, err := r.next()
				if err == nil {
					buf, err = r.appendMessage(buf[:0])
				}
				if err != nil || len(buf) != n {
					b.Fatalf("got %d octets and %v", len(buf), err)
				}
			}
		})
	}
}

// again is a stream of the same octets again and again.
type again struct {
	octets []byte
	at     int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.octets[a.at:])
	a.at = (a.at + n) % len(a.octets)
	return n, nil
}

func BenchmarkWriter(b *testing.B) {
	for _, side := range []string{"server", "client"} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/octets=%d", side, n), func(b *testing.B) {
				w := writer{client: side == "client"}
				w.init(discarding{}, new(rawReader))
				p := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := w.frame(&Header{Fin: true, Opcode: OpBinary, Length: int64(n)}, p, func() {}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkQueue queues eight messages and takes them.
func BenchmarkQueue(b *testing.B) {
	msg := prepared(b, Binary, strings.Repeat("x", 512))
	var q queue
	b.ReportAllocs()
	for b.Loop() {
		for range 8 {
			if !q.put(msg, defaultSendLimit) {
				b.Fatal("the queue is full")
			}
		}
		q.done(q.take())
	}
}

// BenchmarkDrain sends 64 messages, the last of which waits for the others to be out.
func BenchmarkDrain(b *testing.B) {
	for _, row := range []struct {
		kind string
		ends func() (near io.ReadWriteCloser, far net.Conn)
		o    Options
		open func(io.ReadWriteCloser, *Options) *Conn
	}{
		{"server", func() (io.ReadWriteCloser, net.Conn) { return tcpPair(b) }, Options{}, NewServerConn},
		{"client", func() (io.ReadWriteCloser, net.Conn) { return tcpPair(b) }, Options{}, NewClientConn},
		{"takeover", func() (io.ReadWriteCloser, net.Conn) { return tcpPair(b) },
			Options{Compression: &Compression{ContextTakeover: true, Threshold: 1 << 20}}, NewServerConn},
		{"tls", func() (io.ReadWriteCloser, net.Conn) { return tlsPair(b) }, Options{}, NewServerConn},
	} {
		b.Run(row.kind, func(b *testing.B) {
			near, far := row.ends()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			c, msg := row.open(near, &row.o), prepared(b, Text, strings.Repeat("x", 100))
			b.ReportAllocs()
			for b.Loop() {
				for range 63 {
					if err := c.Send(msg); err != nil {
						b.Fatal(err)
					}
				}
				if err := c.Write(context.Background(), Text, msg.payload); err != nil {
					b.Fatal(err)
				}
			}
			_ = c.CloseNow()
		})
	}
}

// BenchmarkCrowd has many write at once, each the next message when its last is out.
func BenchmarkCrowd(b *testing.B) {
	for _, writers := range []int{2, 10, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			near, far := tcpPair(b)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			c, p := NewServerConn(near, nil), make([]byte, 100)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if err := c.Write(context.Background(), Binary, p); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			_ = c.CloseNow()
		})
	}
}

// BenchmarkConn sends a message over TCP and reads it at the other end.
func BenchmarkConn(b *testing.B) {
	for _, from := range []string{"server", "client"} {
		for _, n := range benchSizes[:3] { // what a socket takes though nobody reads yet
			b.Run(fmt.Sprintf("%s/octets=%d", from, n), func(b *testing.B) {
				near, far := tcpEnds(b)
				writes, reads := NewServerConn(near, nil), NewClientConn(far, nil)
				if from == "client" {
					writes, reads = reads, writes
				}
				ctx, p, buf := context.Background(), make([]byte, n), make([]byte, 0, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if err := writes.Write(ctx, Binary, p); err != nil {
						b.Fatal(err)
					}
					if _, got, err := reads.ReadAppend(ctx, buf); err != nil || len(got) != n {
						b.Fatalf("got %d octets and %v", len(got), err)
					}
				}
				_, _ = writes.CloseNow(), reads.CloseNow()
			})
		}
	}
}

// BenchmarkNetConn is BenchmarkConn for a stream of octets.
func BenchmarkNetConn(b *testing.B) {
	for _, n := range benchSizes[:3] {
		b.Run(fmt.Sprintf("octets=%d", n), func(b *testing.B) {
			near, far := tcpEnds(b)
			writes, reads := NetConn(NewServerConn(near, nil), Binary), NetConn(NewClientConn(far, nil), Binary)
			go func() { _, _ = io.Copy(io.Discard, writes) }() // reads the Close frame
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := writes.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(reads, p); err != nil {
					b.Fatal(err)
				}
			}
			_ = reads.Close()
		})
	}
}

// BenchmarkDial opens a connection, with all that net/http does for it at both ends, and
// cuts it off.
func BenchmarkDial(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, nil); err == nil {
			_ = c.CloseNow()
		}
	}))
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		c, resp, err := Dial(b.Context(), s.URL, nil)
		if err != nil {
			b.Fatal(resp, err)
		}
		_ = c.CloseNow()
	}
}

func BenchmarkWriteJSON(b *testing.B) {
	c := NewServerConn(discarding{}, &Options{KeepAlive: -1})
	defer c.CloseNow()
	v := &move{Player: "Ada", Score: 3}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.WriteJSON(b.Context(), v); err != nil {
			b.Fatal(err)
		}
	}
}

// discarding is a stream that takes everything and ends at once.
type discarding struct{}

func (discarding) Read([]byte) (int, error)    { return 0, io.EOF }
func (discarding) Write(p []byte) (int, error) { return len(p), nil }
func (discarding) Close() error                { return nil }
