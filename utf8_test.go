package websocket

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// utf8Wrongs are texts that go wrong, by the octet that no text can have there.
// The classes are those of Markus Kuhn's stress test and RFC 3629 section 4.
var utf8Wrongs = []struct {
	name, text string
	at         int // of the first impossible octet
}{
	{"continuation octet first", "\x80", 0},
	{"last continuation octet first", "\xbf", 0},
	{"continuation octet after a character", "é\xa9", 2},
	{"overlong NUL of two octets", "\xc0\x80", 0},
	{"overlong slash of two octets", "\xc1\xaf", 0},
	{"overlong slash of three octets", "\xe0\x80\xaf", 1},
	{"largest overlong of three octets", "\xe0\x9f\xbf", 1},
	{"overlong slash of four octets", "\xf0\x80\x80\xaf", 1},
	{"largest overlong of four octets", "\xf0\x8f\xbf\xbf", 1},
	{"first surrogate", "\xed\xa0\x80", 1},
	{"last surrogate", "\xed\xbf\xbf", 1},
	{"pair of surrogates", "\xed\xa0\x80\xed\xb0\x80", 1},
	{"U+110000", "\xf4\x90\x80\x80", 1},
	{"U+13FFFF", "\xf4\xbf\xbf\xbf", 1},
	{"first octet F5", "\xf5\x80\x80\x80", 0},
	{"five octets", "\xf8\x88\x80\x80\x80", 0},
	{"six octets", "\xfc\x84\x80\x80\x80\x80", 0},
	{"octet FE", "\xfe", 0},
	{"octet FF", "\xff", 0},
	{"two octets cut by ASCII", "\xc3(", 1},
	{"three octets cut after one", "\xe2(", 1},
	{"three octets cut after two", "\xe2\x82(", 2},
	{"four octets cut after one", "\xf0(", 1},
	{"four octets cut after three", "\xf0\x9f\x91(", 3},
	{"character inside a character", "\xe2\x82\xc3\xa9", 2},
}

// TestUTF8FailsAtTheFirstImpossibleOctet: the octet before is still accepted, and
// nothing that follows makes it right again.
func TestUTF8FailsAtTheFirstImpossibleOctet(t *testing.T) {
	for _, row := range utf8Wrongs {
		for _, before := range []string{"", "a", "1234567", "12345678", "ä", "日本語", strings.Repeat("x", 33), strings.Repeat("👏", 9)} {
			text, at := before+row.text, len(before)+row.at
			for cut := range at + 1 {
				var u utf8Check
				if !u.write([]byte(text[:cut])) || !u.write([]byte(text[cut:at])) {
					t.Errorf("%s after %q: refused before octet %d", row.name, before, at)
				}
				if u.write([]byte(text[at : at+1])) {
					t.Errorf("%s after %q, cut at %d: octet %d is accepted", row.name, before, cut, at)
				}
				if u.write([]byte("plain text, long enough for the fast loops")) || u.atBoundary() {
					t.Errorf("%s after %q: right again after what follows", row.name, before)
				}
			}
			for _, behind := range []string{"", strings.Repeat("y", 40)} {
				if p := []byte(text + behind); validUTF8(p) || isText(p) {
					t.Errorf("%s after %q, as a whole, before %q: accepted", row.name, before, behind)
				}
			}
		}
	}
}

// TestUTF8EveryCodePoint writes each code point in one piece and octet by octet.
func TestUTF8EveryCodePoint(t *testing.T) {
	var buf [utf8.UTFMax]byte
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if 0xD800 <= r && r <= 0xDFFF {
			continue // surrogates are no characters, and EncodeRune would replace them
		}
		p := buf[:utf8.EncodeRune(buf[:], r)]
		var u utf8Check
		for i := range p {
			if ok := u.write(p[i : i+1]); !ok || u.atBoundary() != (i == len(p)-1) {
				t.Fatalf("U+%04X, octet %d: accepted %v, at a boundary %v", r, i, ok, u.atBoundary())
			}
		}
	}
}

// TestUTF8EveryThreeOctets holds all sequences of three octets, followed by one
// that may or may not go on with them, against the standard library, and in the
// midst of a block and across two against themselves.
func TestUTF8EveryThreeOctets(t *testing.T) {
	long := []byte(strings.Repeat("é", 64))
	for n := range 1 << 24 {
		if n&0xFF != n>>8&0xFF && n>>16 < 0xC0 {
			continue // of the many that begin with whole characters, some will do
		}
		if raceEnabled && n%16 != 0 {
			continue // nothing here runs at the same time
		}
		p := [...]byte{byte(n >> 16), byte(n >> 8), byte(n), 0x80}
		valid := utf8.Valid(p[:])
		if validUTF8(p[:3]) != utf8.Valid(p[:3]) || validUTF8(p[:]) != valid {
			t.Fatalf("% x, or with 80 behind it: accepted %v and %v", p[:3], validUTF8(p[:3]), validUTF8(p[:]))
		}
		at := 24 + 2*(n%3)*19 // 24, 62, 100: the second is cut by a block's end
		copy(long[at:], p[:])
		if validUTF8(long) != valid {
			t.Fatalf("% x and 80 at %d: accepted %v", p[:3], at, !valid)
		}
		copy(long[at:], "éé")
	}
}

// TestUTF8OfRandomTexts holds texts of all kinds of characters, some of them with
// one octet that is wrong, against the standard library.
func TestUTF8OfRandomTexts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() rune {
		switch random.IntN(5) {
		case 0:
			return rune(random.IntN(0x80))
		case 1:
			return rune(0x80 + random.IntN(0x780))
		case 2:
			return rune(0x800 + random.IntN(0xF800)) // surrogates are replaced
		case 3:
			return rune(0x10000 + random.IntN(0x100000))
		}
		edges := []rune{0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF}
		return edges[random.IntN(len(edges))]
	}
	for range 100_000 {
		var p []byte
		for len(p) < 200 {
			p = utf8.AppendRune(p, some())
		}
		p = p[:random.IntN(200)]
		if random.IntN(2) == 0 && len(p) > 0 {
			p[random.IntN(len(p))] = byte(random.IntN(256))
		}
		if validUTF8(p) != utf8.Valid(p) {
			t.Fatalf("% x: accepted %v", p, validUTF8(p))
		}
	}
}

// TestUTF8AtEveryPlaceOfTheFastLoops puts one wrong octet, or one character, at
// each place of a text.
func TestUTF8AtEveryPlaceOfTheFastLoops(t *testing.T) {
	for _, filler := range []string{"a", "é", "語", "👏"} {
		puts := []string{"\xff", "\x80", "\xc3", "z", "é", "語", "👏"}
		for _, row := range utf8Wrongs {
			puts = append(puts, row.text)
		}
		for _, put := range puts {
			for n := range 90 {
				for _, rest := range []int{0, 1, 7, 40} {
					text := strings.Repeat(filler, n) + put + strings.Repeat(filler, rest)
					if got, want := validUTF8([]byte(text)), utf8.ValidString(text); got != want {
						t.Fatalf("%d times %q, %q, %d times: accepted %v, want %v", n, filler, put, rest, got, want)
					}
				}
			}
		}
	}
}

// TestUTF8PlainTextInsideACharacter: ASCII is skipped between characters only.
func TestUTF8PlainTextInsideACharacter(t *testing.T) {
	for before := range 40 {
		for inside := 1; inside < 80; inside++ {
			text := strings.Repeat("a", before) + "\xc3" + strings.Repeat("b", inside)
			if new(utf8Check).write([]byte(text)) || validUTF8([]byte(text+"\xa9")) {
				t.Fatalf("%q: accepted", text)
			}
		}
	}
}

// TestUTF8TellsASCII: one octet that is not ASCII shows, unless it is one of the last few,
// whatever comes behind it in other pieces.
func TestUTF8TellsASCII(t *testing.T) {
	for n := range 400 {
		text := strings.Repeat("x", n)
		var plain utf8Check
		for range 3 {
			if plain.write([]byte(text)); !plain.isASCII() || !plain.atBoundary() {
				t.Fatalf("%d octets of ASCII: told as %x", n, plain)
			}
		}
		for at := range n - 1 {
			var u utf8Check
			u.write([]byte(text[:at] + "é" + text[at+2:]))
			if shows := !u.isASCII(); !shows && n-at > asciiStep || !u.atBoundary() {
				t.Fatalf("octet %d of %d is not ASCII: shows %t, at a boundary %t", at, n, shows, u.atBoundary())
			}
			before := u.isASCII()
			if u.write([]byte(text)); u.isASCII() != before || !u.atBoundary() {
				t.Fatalf("octet %d of %d is not ASCII: forgotten after the next piece", at, n)
			}
		}
	}
}

// TestUTF8InPieces cuts a text at any two places.
func TestUTF8InPieces(t *testing.T) {
	text := "κόσμε, Grüße, 日本語 and some plain text that is skipped quickly, 👏🎉 \U0010FFFF\uFFFF\u0800\u07FF\x7F"
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			var u utf8Check
			for _, piece := range []string{text[:i], text[i:j], text[j:]} {
				if !u.write([]byte(piece)) {
					t.Fatalf("cut at %d and %d: %q is refused", i, j, piece)
				}
			}
			if !u.atBoundary() {
				t.Fatalf("cut at %d and %d: not at a boundary after the end", i, j)
			}
		}
	}
}

// TestUTF8BoundaryIsBetweenCharacters: a text that is cut is right so far, and
// wrong as a whole.
func TestUTF8BoundaryIsBetweenCharacters(t *testing.T) {
	text := "aé語👏"
	for n := range len(text) + 1 {
		t.Run(fmt.Sprintf("octets=%d", n), func(t *testing.T) {
			var u utf8Check
			whole := utf8.ValidString(text[:n])
			if !u.write([]byte(text[:n])) {
				t.Error("refused, but it may go on")
			}
			if u.atBoundary() != whole || validUTF8([]byte(text[:n])) != whole {
				t.Errorf("at a boundary %v, valid as a whole %v, want both %v", u.atBoundary(), validUTF8([]byte(text[:n])), whole)
			}
		})
	}
}
