package websocket

// The reader by itself: the same conversations at every chunking and cut at every
// octet, held against a naive twin, which has all octets before it begins.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// errPause is a stream's error that is not its end, as a deadline is.
var errPause = errors.New("pause")

// script is a stream that gives its octets in pieces of a size, and where it
// pauses, an error before each of them.
type script struct {
	octets []byte
	piece  int
	pauses bool
	paused bool
}

func (s *script) Read(p []byte) (int, error) {
	if s.paused = s.pauses && !s.paused; s.paused {
		return 0, errPause
	}
	if len(s.octets) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.octets[:min(s.piece, len(s.octets))])
	s.octets = s.octets[n:]
	return n, nil
}

// controlFunc is a controlHandler.
type controlFunc func(op Opcode, payload []byte) error

func (f controlFunc) controlFrame(op Opcode, payload []byte) error { return f(op, payload) }

// heard is what a reader has come to: messages and control frames in their order,
// and how it ended.
type heard struct {
	said []string
	end  error
}

func (h *heard) controlFrame(op Opcode, payload []byte) error {
	h.said = append(h.said, fmt.Sprintf("%v %q", op, payload))
	return nil
}

func (h *heard) message(typ MessageType, payload []byte) {
	h.said = append(h.said, fmt.Sprintf("%v of %d octets, %x", typ, len(payload), sum(payload)))
}

func sum(p []byte) (n uint32) {
	for _, b := range p {
		n = n*31 + uint32(b)
	}
	return n
}

// newReader makes a reader of a client's frames.
func newReader(stream io.Reader, h *heard) *reader {
	r := &reader{control: h, frames: 1000, seq: sequence{masked: true}}
	r.init(stream, nil)
	r.limit.Store(1 << 20)
	return r
}

// readAll reads to the end of the stream, whole messages, and goes on after pauses.
func readAll(r *reader, h *heard) {
	var kept []byte
	for {
		typ, err := r.next()
		if err == nil {
			kept, err = r.appendMessage(kept)
		}
		switch {
		case err == errPause:
			r.save(slices.Clone(kept)) // as a Read that was interrupted does
			kept = kept[:0]
			if len(r.saved) == 0 {
				r.saved = nil
			}
		case err != nil:
			h.end = err
			return
		default:
			h.message(typ, kept)
			kept = nil
		}
	}
}

// streamAll does the same through a buffer of n octets.
func streamAll(r *reader, h *heard, n int) {
	var got []byte
	for buf := make([]byte, n); ; {
		typ, err := r.next()
		for err == nil {
			n, err = r.read(buf)
			got = append(got, buf[:n]...)
		}
		switch {
		case err == io.EOF:
			h.message(typ, got)
			got = nil
		case err != errPause:
			h.end = err
			return
		}
	}
}

// naiveReading is what octets come to that are all there.
func naiveReading(b []byte) (h heard) {
	var open []byte
	var typ MessageType
	isOpen := false
	for {
		header, n, err := ParseHeader(b)
		if err != nil || n == 0 || int64(len(b)-n) < header.Length {
			text := isOpen && typ == Text
			if err == nil && n > 0 && (header.Opcode == OpText || header.Opcode == OpContinuation && text) {
				open, text = append(open, unmasked(header, b[n:])...), true
			}
			if h.end = io.ErrUnexpectedEOF; text && !isPrefix(open) {
				h.end = errText
			}
			return h
		}
		payload := unmasked(header, b[n:n+int(header.Length)])
		b = b[n+int(header.Length):]
		if header.Opcode.isControl() {
			_ = h.controlFrame(header.Opcode, payload)
			continue
		}
		if header.Opcode != OpContinuation {
			open, typ = nil, MessageType(header.Opcode)
		}
		open, isOpen = append(open, payload...), !header.Fin
		switch {
		case typ == Text && !isPrefix(open), typ == Text && header.Fin && !utf8.Valid(open):
			h.end = errText
			return h
		case header.Fin:
			h.message(typ, open)
			open = nil
		}
	}
}

func unmasked(h Header, p []byte) []byte {
	p = bytes.Clone(p)
	for i := range p {
		p[i] ^= h.Key[i%4]
	}
	return p
}

// isPrefix says whether p can be continued to UTF-8.
func isPrefix(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return isCut(p)
		}
		p = p[n:]
	}
	return true
}

// isCut says whether p is the beginning of a character.
func isCut(p []byte) bool {
	for _, rest := range []string{"\x80", "\x8f", "\x90", "\x9f", "\xa0", "\xbf"} {
		for n := range 4 - len(p) {
			if utf8.Valid(append(append(bytes.Clone(p), rest...), strings.Repeat("\x80", n)...)) {
				return true
			}
		}
	}
	return false
}

// conversations are octets of a client.
func conversations() map[string][]byte {
	wire := func(frames ...frame) (b []byte) {
		for i, f := range frames {
			b = f.append(b, true, [4]byte{byte(i), 0x5a, 0xc3, byte(7 * i)})
		}
		return b
	}
	long := strings.Repeat("a£€𐍈", 600)
	return map[string][]byte{
		"messages":        wire(text("one"), binaryOf("\x00\xff"), text(""), binaryOf(""), text("a£€𐍈")),
		"fragments":       wire(text("sp").more(), cont("li").more(), cont("").more(), cont("t"), binaryOf("").more(), cont("")),
		"between":         wire(text("a\xe2").more(), ping("1"), cont("\x82").more(), pong(""), ping(strings.Repeat("p", 125)), cont("\xac")),
		"lengths":         wire(binaryOf(strings.Repeat("x", 125)), binaryOf(strings.Repeat("y", 126)), binaryOf(strings.Repeat("z", 300))),
		"impossible":      wire(text("good"), text("ab\xc0cd")),
		"impossible late": wire(text("a\xf0\x90").more(), ping(""), cont("\x80\x41 and on")),
		"text that ends":  wire(text("\xe2\x82").more(), cont("")),
		"long":            wire(text(long), binaryOf(long[:4999]).more(), cont(long)),
	}
}

// readings are ways to read to the end.
var readings = map[string]func(r *reader, h *heard){
	"whole":    readAll,
	"1 octet":  func(r *reader, h *heard) { streamAll(r, h, 1) },
	"7 octets": func(r *reader, h *heard) { streamAll(r, h, 7) },
	"directly": func(r *reader, h *heard) { streamAll(r, h, directRead) },
}

func TestReaderAtEveryCutAndChunking(t *testing.T) {
	for name, octets := range conversations() {
		step := 1 + len(octets)/1000*37 // of a long one, not every cut
		for cut := len(octets); cut >= 0; cut -= step {
			want := naiveReading(octets[:cut])
			for _, piece := range []int{1, 2, 3, 13, 1 << 20} {
				for way, read := range readings {
					for _, pauses := range []bool{false, true} {
						var got heard
						r := newReader(&script{octets: octets[:cut], piece: piece, pauses: pauses}, &got)
						read(r, &got)
						r.release()
						if !slices.Equal(got.said, want.said) || got.end != want.end {
							t.Fatalf("%s, cut at %d of %d, pieces of %d, read %s, pauses %t\n got: %q, %v\nwant: %q, %v",
								name, cut, len(octets), piece, way, pauses, got.said, got.end, want.said, want.end)
						}
					}
				}
			}
		}
	}
}

func TestReaderKeepsWhatCameAhead(t *testing.T) {
	for name, octets := range conversations() {
		want := naiveReading(octets)
		for _, ahead := range []int{0, 1, 5, len(octets) / 2, len(octets)} {
			var got heard
			r := newReader(nil, &got)
			r.init(&script{octets: octets[ahead:], piece: 11}, octets[:ahead])
			readAll(r, &got)
			r.release()
			if !slices.Equal(got.said, want.said) || got.end != want.end {
				t.Errorf("%s, %d octets ahead\n got: %q, %v\nwant: %q, %v", name, ahead, got.said, got.end, want.said, want.end)
			}
		}
	}
	long := bytes.Repeat(conversations()["messages"], 5000) // more than a buffer takes
	want := naiveReading(long)
	var got heard
	r := newReader(nil, &got)
	r.init(&script{octets: long[200_000:], piece: 1 << 20}, long[:200_000])
	readAll(r, &got)
	if !slices.Equal(got.said, want.said) {
		t.Errorf("got %d messages, want %d", len(got.said), len(want.said))
	}
}

// frames is a stream of a frame again and again.
type frames struct {
	octets []byte
	at     int
	left   int // frames
}

func (f *frames) Read(p []byte) (n int, err error) {
	for n < len(p) && f.left > 0 {
		some := copy(p[n:], f.octets[f.at:])
		n += some
		if f.at += some; f.at == len(f.octets) {
			f.at = 0
			f.left--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestAMillionEmptyFragments(t *testing.T) {
	const million = 1_000_000
	start := text("").more().append(nil, true, [4]byte{})
	for _, limit := range []int{1000, 2 * million} {
		stream := &frames{octets: cont("").more().append(nil, true, [4]byte{}), left: million}
		var got heard
		r := newReader(io.MultiReader(bytes.NewReader(start), stream), &got)
		r.frames = limit
		begun := time.Now()
		readAll(r, &got)
		if want := limit < million; errors.Is(got.end, ErrTooBig) != want {
			t.Errorf("MaxFragments %d: got %v", limit, got.end)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("MaxFragments %d: it took %v", limit, d)
		}
		if len(r.saved) > 0 || cap(r.saved) > 0 {
			t.Errorf("MaxFragments %d: %d octets are kept for nothing", limit, cap(r.saved))
		}
		r.release()
	}
}

// A message that arrives whole is taken where it lies, at first sight and behind others,
// and nothing else is.
func TestMessageIsTakenWhereItLies(t *testing.T) {
	const limit = 1000
	message := strings.Repeat("x", limit)
	for name, row := range map[string]struct {
		frames  []frame
		missing int  // octets at the end
		whole   bool // the last message is taken where it lies
	}{
		"alone":                  {[]frame{binaryOf(message)}, 0, true},
		"empty":                  {[]frame{text("")}, 0, true},
		"behind another":         {[]frame{text("one"), text("two")}, 0, true},
		"behind a Ping":          {[]frame{ping("?"), text("two")}, 0, true},
		"fragmented":             {[]frame{text("o").more(), cont("ne")}, 0, false},
		"behind a fragmented":    {[]frame{text("o").more(), cont("ne"), text("two")}, 0, true},
		"not whole":              {[]frame{text("one"), text("two").more()}, 0, false},
		"longer than the limit":  {[]frame{binaryOf(message + "x")}, 0, false},
		"without its last octet": {[]frame{text("one"), text("two")}, 1, false},
	} {
		var octets []byte
		for _, f := range row.frames {
			octets = f.append(octets, true, [4]byte{1, 2, 3, 4})
		}
		r := newReader(bytes.NewReader(octets[:len(octets)-row.missing]), new(heard))
		r.limit.Store(limit)
		whole, p, err := false, []byte(nil), error(nil)
		for err == nil && (!whole || r.buffered() > 0) {
			if _, p, whole, err = r.nextInPlace(); err == nil && !whole {
				_, err = r.appendMessage(nil)
			}
			if whole && len(p) > 0 && &p[0] != &r.buf.octets[r.pos-len(p)] {
				t.Errorf("%s: %q is not where it lies", name, p)
			}
		}
		if whole != row.whole {
			t.Errorf("%s: in place %t, want %t (%v)", name, whole, row.whole, err)
		}
	}
}

// A text is remembered when it was checked, not before.
func TestTextTakenWhereItLiesIsRememberedIfItIsUTF8(t *testing.T) {
	if utf8HasVectors {
		t.Skip("with vectors texts are checked again")
	}
	known := map[bool]int{}
	for _, valid := range []bool{true, false} {
		message := "remembered " + strings.Repeat("é", minKnownText)
		if !valid {
			message += "\xFF"
		}
		for range 100 { // pools forget now and then
			octets := text(message).append(nil, true, [4]byte{1, 2, 3, 4})
			r := newReader(bytes.NewReader(octets), new(heard))
			if _, _, whole, err := r.nextInPlace(); whole != valid || (err == errText) == valid {
				t.Fatalf("whole %t, %v", whole, err)
			}
			if isKnownText([]byte(message)) {
				known[valid]++
			}
		}
	}
	if known[true] == 0 || known[false] > 0 {
		t.Errorf("known were %d texts that are UTF-8, and %d that are not", known[true], known[false])
	}
}

func TestLimitsAreExact(t *testing.T) {
	wire := func(frames ...frame) (b []byte) {
		for _, f := range frames {
			b = f.append(b, true, [4]byte{1, 2, 3, 4})
		}
		return b
	}
	x := strings.Repeat("x", 100)
	rows := []struct {
		name   string
		octets []byte
		fits   bool
	}{
		{"exactly, in one frame", wire(binaryOf(x)), true},
		{"exactly, in fragments", wire(binaryOf(x[:50]).more(), cont(x[:50])), true},
		{"exactly, with an empty end", wire(binaryOf(x).more(), cont("")), true},
		{"exactly, in three frames", wire(binaryOf("").more(), cont("").more(), cont(x)), true},
		{"one octet more in one frame", wire(binaryOf(x + "x")), false},
		{"one octet more in fragments", wire(binaryOf(x[:50]).more(), cont(x[:51])), false},
		{"a length that overflows", wire(binaryOf(x[:1]).more(), cont("").claims(1<<63-1)), false},
		{"one frame more", wire(binaryOf("").more(), cont("").more(), cont("").more(), cont("")), false},
	}
	for _, row := range rows {
		for way, read := range readings {
			var got heard
			r := newReader(&script{octets: row.octets, piece: 1 << 20}, &got)
			r.limit.Store(100)
			r.frames = 3
			read(r, &got)
			r.release()
			if fits := len(got.said) == 1; fits != row.fits || errors.Is(got.end, ErrTooBig) == row.fits {
				t.Errorf("%s, read %s: got %q, %v", row.name, way, got.said, got.end)
			}
		}
	}
}

func TestReaderGrowsWithWhatHasArrived(t *testing.T) {
	for _, size := range []int{0, 1, 511, 4096, 65_536, 200_000} {
		octets := binaryOf(strings.Repeat("x", size)).append(nil, true, [4]byte{})
		octets = append(octets, binaryOf("").claims(1<<40).append(nil, true, [4]byte{})...)
		var got heard
		r := newReader(&script{octets: octets, piece: 1 << 20}, &got)
		r.limit.Store(1 << 41)
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
		b, err := r.appendMessage(nil)
		if err != nil || len(b) != size || cap(b) > max(2*size, firstGrowth)*5/4+minGrowth {
			t.Errorf("%d octets: got %d in a slice for %d, %v", size, len(b), cap(b), err)
		}
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
		if b, err := r.appendMessage(nil); err != io.ErrUnexpectedEOF || cap(b) > 2*firstGrowth {
			t.Errorf("a header that declares 1<<40 octets: a slice for %d, %v", cap(b), err)
		}
		r.release()
	}
}

// What was kept for a later read is let go when it has been given: an empty slice would hold all of it.
func TestReaderLetsGoWhatItHasGiven(t *testing.T) {
	var r reader
	r.save(make([]byte, 1000))
	ahead := &aheadReader{make([]byte, 1000), &script{}}
	for range 2 {
		_, err := r.read(make([]byte, 500))
		_, later := ahead.Read(make([]byte, 500))
		if err := errors.Join(err, later); err != nil {
			t.Fatal(err)
		}
	}
	if r.saved != nil || ahead.ahead != nil {
		t.Errorf("still holds %d and %d octets", cap(r.saved), cap(ahead.ahead))
	}
}

// A peer that declares all but 2^63 octets, and sends so many that a read is filled to the brim, ends its own connection at most.
func TestGreatestLengthBehindAFullRead(t *testing.T) {
	block := append([]byte{0, 0xFF, 0xFF, 0, 0}, make([]byte, 65_535)...) // of DEFLATE, not compressed (RFC 1951 section 3.2.4)
	sent := func(t *testing.T, first byte) net.Conn {
		near, far := tcpPair(t)
		b := append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, math.MaxInt64), 0, 0, 0, 0)
		if _, err := far.Write(append(b, bytes.Repeat(block, 5)...)); err != nil {
			t.Fatal(err)
		}
		_ = far.(*net.TCPConn).CloseWrite()
		return near
	}
	o := &Options{ReadLimit: -1, Compression: &Compression{}, KeepAlive: -1, CloseTimeout: 5 * time.Second}
	want := io.ErrUnexpectedEOF
	if math.MaxInt == math.MaxInt32 { // no slice can hold so many
		want = ErrTooBig
	}
	for name, first := range map[string]byte{"plain": 0x82, "compressed": 0xC2} {
		t.Run(name, func(t *testing.T) {
			c := NewServerConn(sent(t, first), o)
			_, r, err := c.Reader(t.Context())
			if err == nil {
				err = r.Discard()
			}
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
		t.Run(name+", to a closing connection", func(t *testing.T) {
			c := NewServerConn(sent(t, first), &Options{Compression: &Compression{}})
			_ = c.Close(StatusNormalClosure, "") // the peer is gone
		})
		t.Run(name+", as an event", func(t *testing.T) {
			s := &Server{Options: *o, Message: ignore}
			if err := s.Serve(NewServerConn(sent(t, first), o), nil); err != nil {
				t.Fatal(err)
			}
			within(t, "the connection is over", func() bool { return len(s.conns(everyone)) == 0 })
		})
	}
}
