//go:build goexperiment.simd && amd64 && go1.26 && !go1.27

package websocket

// The check of UTF-8 with vector instructions, for programs that are built with
// GOEXPERIMENT=simd. Go promises nothing of archsimd yet: for any other version
// utf8_plain.go takes the place of this file.
//
// It is the one of Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction
// Per Byte" (2020): three lookups tell what is wrong with two octets.

import "simd/archsimd"

// utf8Pairs are octets from first to firstTo, each before one from next to nextTo.
type utf8Pairs struct{ first, firstTo, next, nextTo byte }

// utf8Errors has for each bit of a lookup what is wrong with two octets. Where rows
// share a bit, all their halves of first octets go with all their next octets.
var utf8Errors = [8][]utf8Pairs{
	{{0xC0, 0xFF, 0x00, 0x7F}, {0xC0, 0xFF, 0xC0, 0xFF}}, // a character that is not ASCII begins, and does not go on
	{{0x00, 0x7F, 0x80, 0xBF}},                           // one goes on that did not begin
	{{0xC0, 0xC1, 0x80, 0xBF}},                           // overlong
	{{0xE0, 0xE0, 0x80, 0x9F}},                           // overlong
	{{0xED, 0xED, 0xA0, 0xBF}},                           // a surrogate
	{{0xF0, 0xF0, 0x80, 0x8F}, {0xF5, 0xFF, 0x80, 0x8F}}, // overlong; above U+10FFFF
	{{0xF4, 0xF4, 0x90, 0xBF}, {0xF5, 0xFF, 0x90, 0xBF}}, // above U+10FFFF
	{{0x80, 0xBF, 0x80, 0xBF}},                           // unless two or three octets before a character of more began
}

// utf8Twice is the last of these bits: an octet from 80 to BF behind another.
const utf8Twice = 0x80

// The tables have for the upper and for the lower half of an octet, and for the upper
// half of the next, what each allows to be wrong: wrong is what all three allow. They are
// as long as the vectors, so each is there more than once.
var utf8Tables32, utf8Tables64 = func() (by32 [3][32]byte, by64 [3][64]byte) {
	var upper, lower, next [16]byte
	for bit, rows := range utf8Errors {
		for _, row := range rows {
			for b := int(row.first); b <= int(row.firstTo); b++ {
				upper[b>>4] |= 1 << bit
				lower[b&15] |= 1 << bit
			}
			for b := int(row.next); b <= int(row.nextTo); b++ {
				next[b>>4] |= 1 << bit
			}
		}
	}
	for i := range 32 {
		by32[0][i], by32[1][i], by32[2][i] = upper[i&15], lower[i&15], next[i&15]
	}
	for i := range 64 {
		by64[0][i], by64[1][i], by64[2][i] = upper[i>>2], lower[i&15], next[i>>2]
	}
	return by32, by64
}()

// utf8HasVectors says whether this processor has vectors that utf8Fast can use.
var utf8HasVectors = archsimd.X86.AVX2()

// utf8IsLong is how many octets a text has that is checked with vectors: the longest, and
// the three octets before it.
const utf8IsLong = 3 + 64

// utf8Fast is utf8Blocks with vectors. It looks at all of p and at nothing twice but the
// last character, whose rest may come later, and a little that two vectors share.
func utf8Fast(p []byte) (n int, ok bool) {
	if !utf8HasVectors || len(p) < utf8IsLong {
		return utf8Blocks(p)
	}
	var u utf8Check
	if !u.write(p[:3]) || !utf8RightFrom3(p) || !utf8RightFrom3(p[len(p)-utf8IsLong:]) {
		return 0, false
	}
	for n = len(p) - 1; p[n]&0xC0 == 0x80; n-- {
	}
	return n, true
}

// utf8RightFrom3 says whether there is no error between an octet of p from the fourth on
// and the three before it, as far as p has whole vectors of the longest that there are.
var utf8RightFrom3 = func() func(p []byte) bool {
	if archsimd.X86.AVX512VBMI() {
		return utf8RightBy64
	}
	return utf8RightBy32
}()

func utf8RightBy32(p []byte) bool {
	upper := archsimd.LoadUint8x32(&utf8Tables32[0])
	lower := archsimd.LoadUint8x32(&utf8Tables32[1])
	next := archsimd.LoadUint8x32(&utf8Tables32[2])
	half := archsimd.BroadcastUint8x32(0x0F)
	twice := archsimd.BroadcastUint8x32(utf8Twice)
	from3 := archsimd.BroadcastUint8x32(0xE0 - utf8Twice) // of characters of three octets, or more
	from4 := archsimd.BroadcastUint8x32(0xF0 - utf8Twice)
	var wrong archsimd.Uint8x32
	for i := 0; i <= len(p)-35; i += 32 {
		q := p[i : i+35 : i+35]
		before3 := archsimd.LoadUint8x32((*[32]byte)(q))
		before2 := archsimd.LoadUint8x32((*[32]byte)(q[1:]))
		before1 := archsimd.LoadUint8x32((*[32]byte)(q[2:]))
		here := archsimd.LoadUint8x32((*[32]byte)(q[3:]))
		a := upper.PermuteOrZeroGrouped(before1.AsInt16x16().ShiftAllRight(4).AsUint8x32().And(half).AsInt8x32())
		b := lower.PermuteOrZeroGrouped(before1.And(half).AsInt8x32())
		c := next.PermuteOrZeroGrouped(here.AsInt16x16().ShiftAllRight(4).AsUint8x32().And(half).AsInt8x32())
		must := before2.SubSaturated(from3).Or(before3.SubSaturated(from4)).And(twice)
		wrong = wrong.Or(a.And(b).And(c).Xor(must))
	}
	if !wrong.IsZero() { // a branch: what is only computed might be behind the instruction that clears
		archsimd.ClearAVXUpperBits()
		return false
	}
	archsimd.ClearAVXUpperBits()
	return true
}

// utf8RightBy64 has tables of 64 octets, of which the lower six bits of an index choose:
// what a shift leaves above them does not matter.
func utf8RightBy64(p []byte) bool {
	upper := archsimd.LoadUint8x64(&utf8Tables64[0])
	lower := archsimd.LoadUint8x64(&utf8Tables64[1])
	next := archsimd.LoadUint8x64(&utf8Tables64[2])
	twice := archsimd.BroadcastUint8x64(utf8Twice).AsInt64x8()
	from3 := archsimd.BroadcastUint8x64(0xE0 - utf8Twice)
	from4 := archsimd.BroadcastUint8x64(0xF0 - utf8Twice)
	var wrong archsimd.Int64x8 // the compiler joins three operations to one for such alone
	for i := 0; i <= len(p)-67; i += 64 {
		q := p[i : i+67 : i+67]
		before3 := archsimd.LoadUint8x64((*[64]byte)(q))
		before2 := archsimd.LoadUint8x64((*[64]byte)(q[1:]))
		before1 := archsimd.LoadUint8x64((*[64]byte)(q[2:]))
		here := archsimd.LoadUint8x64((*[64]byte)(q[3:]))
		a := upper.Permute(before1.AsInt16x32().ShiftAllRight(2).AsUint8x64()).AsInt64x8()
		b := lower.Permute(before1).AsInt64x8()
		c := next.Permute(here.AsInt16x32().ShiftAllRight(2).AsUint8x64()).AsInt64x8()
		must := before2.SubSaturated(from3).AsInt64x8().Or(before3.SubSaturated(from4).AsInt64x8()).And(twice)
		wrong = wrong.Or(a.And(b).And(c).Xor(must))
	}
	if wrong.NotEqual(archsimd.Int64x8{}).ToBits() != 0 { // a branch, as above
		archsimd.ClearAVXUpperBits()
		return false
	}
	archsimd.ClearAVXUpperBits()
	return true
}

// asciiVectors says how many octets at the start of p are ASCII, in steps of 128. Fewer
// than 256 are counted as quickly without.
func asciiVectors(p []byte) (n int) {
	if !utf8HasVectors || len(p) < 256 {
		return 0
	}
	high := archsimd.BroadcastUint8x32(0x80)
	for ; n <= len(p)-128; n += 128 {
		q := p[n : n+128 : n+128]
		a, b := archsimd.LoadUint8x32((*[32]byte)(q)), archsimd.LoadUint8x32((*[32]byte)(q[32:]))
		c, d := archsimd.LoadUint8x32((*[32]byte)(q[64:])), archsimd.LoadUint8x32((*[32]byte)(q[96:]))
		if !a.Or(b).Or(c.Or(d)).And(high).IsZero() {
			break
		}
	}
	archsimd.ClearAVXUpperBits()
	return n
}
