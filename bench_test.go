package websocket

import (
	"fmt"
	"io"
	"strings"
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
