package websocket

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzHeader: a header that parses is the only spelling of itself, and it parses
// from exactly its octets.
func FuzzHeader(f *testing.F) {
	for _, row := range drawnHeaders {
		f.Add(draw(row.bits))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if n == 0 {
			if h != (Header{}) || err == nil && len(b) >= maxHeader {
				t.Fatalf("% x: got %+v, no octets, %v", b, h, err)
			}
			return
		}
		if again := AppendHeader(nil, h); err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("% x: parsed to %+v, %d octets, %v, which is % x", b, h, n, err, again)
		}
		for cut := range n {
			if _, got, err := ParseHeader(b[:cut]); got != 0 || err != nil {
				t.Fatalf("% x, cut to %d octets: got %d, %v, want nothing", b[:n], cut, got, err)
			}
		}
	})
}

// FuzzMask: masking in two pieces equals the naive twin.
func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello"), []byte{0x37, 0xfa, 0x21, 0x3d}, uint(0), uint(2))
	f.Add(bytes.Repeat([]byte("0123456789"), 20), []byte{1, 2, 3, 4}, uint(3), uint(77))
	f.Fuzz(func(t *testing.T, b, k []byte, offset, cut uint) {
		var key [4]byte
		copy(key[:], k)
		cut, offset = cut%uint(len(b)+1), offset%4
		got, want := bytes.Clone(b), bytes.Clone(b)
		next := Mask(got[cut:], key, Mask(got[:cut], key, int(offset)))
		if wantNext := naiveMask(want, key, int(offset)); next != wantNext || !bytes.Equal(got, want) {
			t.Fatalf("% x with % x at %d, cut at %d: got % x and %d, want % x and %d",
				b, key, offset, cut, got, next, want, wantNext)
		}
	})
}

// FuzzUTF8: a text in pieces is judged as utf8.Valid judges the whole, and
// refused no later than where it can't be one any more.
func FuzzUTF8(f *testing.F) {
	for _, row := range utf8Wrongs {
		f.Add([]byte("some plain text that is skipped quickly"+row.text), uint(1))
	}
	f.Add([]byte("κόσμε 日本語 👏"), uint(3))
	f.Add([]byte(strings.Repeat("Größe, 数据在网络上流动; привет, мир 👏🎉 ", 4)), uint(150))
	f.Fuzz(func(t *testing.T, p []byte, size uint) {
		size = size%200 + 1
		var u utf8Check
		valid := true
		for rest := p; len(rest) > 0 && valid; {
			n := min(int(size), len(rest))
			valid, rest = u.write(rest[:n]), rest[n:]
			if so := p[:len(p)-len(rest)]; valid != mayBecomeText(so) {
				t.Fatalf("% x in pieces of %d: accepted %v after % x", p, size, valid, so)
			}
		}
		if whole := utf8.Valid(p); valid && u.atBoundary() != whole || validUTF8(p) != whole || isText(p) != whole || isText(p) != whole {
			t.Fatalf("% x in pieces of %d: %v, at a boundary %v; as a whole %v, and twice %v; utf8.Valid %v",
				p, size, valid, u.atBoundary(), validUTF8(p), isText(p), whole)
		}
	})
}

// mayBecomeText says whether p is the beginning of a text: UTF-8, but for a last
// character that is not whole.
func mayBecomeText(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(p)
		}
		p = p[n:]
	}
	return true
}

// FuzzClosePayload: what parses is UTF-8 with a code that may be sent, and becomes
// the same octets again; what doesn't breaks a rule.
func FuzzClosePayload(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{3})
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xedcaf\xc3"))
	f.Fuzz(func(t *testing.T, p []byte) {
		closed, err := parseClosePayload(p)
		if err != nil {
			var broken *ProtocolError
			if !errors.As(err, &broken) || closed != nil || !broken.Code.maySend() {
				t.Fatalf("% x: got %v and %v", p, closed, err)
			}
			return
		}
		if checkClose(closed.Code, closed.Reason) != nil || !utf8.ValidString(closed.Reason) {
			t.Fatalf("% x: parsed to %v, which may not be sent", p, closed)
		}
		if again := appendClosePayload(nil, closed.Code, closed.Reason); len(p) <= maxControlPayload && !bytes.Equal(again, p) {
			t.Fatalf("% x: parsed to %v, which is % x", p, closed, again)
		}
	})
}
