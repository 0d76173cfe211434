//go:build goexperiment.simd && amd64 && go1.26 && !go1.27

package websocket

import (
	"math/rand/v2"
	"simd/archsimd"
	"strings"
	"testing"
	"unicode/utf8"
)

// widths are the lengths of vectors, of which the tests elsewhere meet the longest that
// this processor has.
var widths = []struct {
	name  string
	has   bool
	right func(p []byte) bool
}{
	{"octets=32", archsimd.X86.AVX2(), utf8RightBy32},
	{"octets=64", archsimd.X86.AVX512VBMI(), utf8RightBy64},
}

// TestUTF8OfVectorsOfEachWidth holds the check against the standard library with each of
// the two: all pairs of octets and all errors, at all places of a vector and where two meet.
func TestUTF8OfVectorsOfEachWidth(t *testing.T) {
	defer func(right func(p []byte) bool, has bool) { utf8RightFrom3, utf8HasVectors = right, has }(utf8RightFrom3, utf8HasVectors)
	for _, width := range widths {
		t.Run(width.name, func(t *testing.T) {
			if !width.has {
				t.Skip("this processor has no such vectors")
			}
			utf8HasVectors = true
			used := 0
			utf8RightFrom3 = func(p []byte) bool {
				used++
				return width.right(p)
			}
			t.Run("pairs", testUTF8Pairs)
			t.Run("errors", testUTF8Errors)
			t.Run("random", TestUTF8OfRandomTexts)
			t.Run("places", TestUTF8AtEveryPlaceOfTheFastLoops)
			t.Run("three octets", TestUTF8EveryThreeOctets)
			if used == 0 {
				t.Error("no text was checked with vectors")
			}
		})
	}
}

// testUTF8Pairs puts each two octets between fillers that let them, or one of them, stand.
func testUTF8Pairs(t *testing.T) {
	for _, around := range [][2]string{{"a", "b"}, {"\xe2", "\x82"}, {"\xf0\x9f", "\x91"}, {"\xf4", "\x80"}, {"é", "\x80\x80"}} {
		for _, at := range []int{0, 1, 3, 30, 31, 34, 62, 63, 66, 100} {
			for pair := range 1 << 16 {
				if raceEnabled && pair%7 != 0 {
					continue // nothing here runs at the same time
				}
				p := []byte(strings.Repeat("x", at) + around[0] + string([]byte{byte(pair >> 8), byte(pair)}) + around[1] + strings.Repeat("y", 131-at))
				if got, want := validUTF8(p), utf8.Valid(p); got != want {
					t.Fatalf("%04x at %d between %q: accepted %t, want %t", pair, at, around, got, want)
				}
			}
		}
	}
}

// testUTF8Errors has one error in a long text that is right else, at each of its places.
func testUTF8Errors(t *testing.T) {
	for _, filler := range []string{"a", "é", "語", "👏"} {
		for _, row := range utf8Wrongs {
			for at := range 300 / len(filler) {
				text := []byte(strings.Repeat(filler, at) + row.text + strings.Repeat(filler, 300/len(filler)-at))
				for cut := range 3 {
					p := text[:len(text)-cut]
					if got, want := validUTF8(p), utf8.Valid(p); got != want {
						t.Fatalf("%s after %d times %q, %d octets cut: accepted %t, want %t", row.name, at, filler, cut, got, want)
					}
				}
			}
		}
	}
}

// TestUTF8WithVectorsGoesOnInPieces: what a piece ends with is known for the next.
func TestUTF8WithVectorsGoesOnInPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var whole []byte
		for len(whole) < 1000 {
			whole = utf8.AppendRune(whole, []rune("aéż語한👏🎉")[random.IntN(7)])
		}
		if random.IntN(2) == 0 {
			whole[random.IntN(len(whole))] ^= byte(1 << random.IntN(8))
		}
		var u utf8Check
		right := true
		for rest := whole; len(rest) > 0 && right; {
			n := min(1+random.IntN(200), len(rest))
			right = u.write(rest[:n])
			rest = rest[n:]
		}
		if got, want := right && u.atBoundary(), utf8.Valid(whole); got != want {
			t.Fatalf("% x in pieces: accepted %t, want %t", whole, got, want)
		}
	}
}

// TestUTF8WithoutVectors: a processor that has none checks texts too.
func TestUTF8WithoutVectors(t *testing.T) {
	defer func(has bool) { utf8HasVectors = has }(utf8HasVectors)
	utf8HasVectors = false
	t.Run("errors", testUTF8Errors)
	t.Run("known", TestKnownTextIsTheSameText)
	t.Run("ASCII", TestASCIIIsNotRemembered)
	t.Run("in place", TestTextTakenWhereItLiesIsRememberedIfItIsUTF8)
}
