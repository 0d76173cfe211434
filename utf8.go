package websocket

// An incremental check of UTF-8 (RFC 6455 section 8.1, RFC 3629): text arrives in
// pieces that may end inside a character.

import "encoding/binary"

// utf8Check is how far a text has been checked. Its zero value is the start of a
// text. It is a state of the automaton below, written as the number of bits by
// which a table entry has to be shifted to find the next state.
type utf8Check uint64

const (
	utf8Start   utf8Check = 6 * iota // between two characters
	utf8Wrong                        // no text goes on like that
	utf8More1                        // one more octet, 80 to BF
	utf8More2                        // two more
	utf8More3                        // three more
	utf8AfterE0                      // A0 to BF, else it is overlong; then one more
	utf8AfterED                      // 80 to 9F, else it is a surrogate; then one more
	utf8AfterF0                      // 90 to BF, else it is overlong; then two more
	utf8AfterF4                      // 80 to 8F, else it is above U+10FFFF; then two more
)

// utf8Beyond is set beside the state once much of the text may not be ASCII.
const utf8Beyond utf8Check = 1 << 63

// utf8Next has for each octet the next states, that of state s at bit s: so
// finding it takes one shift, and the table entries can be loaded ahead.
var utf8Next = func() (table [256]uint64) {
	for b := range table {
		for s := utf8Start; s <= utf8AfterF4; s += 6 {
			table[b] |= uint64(utf8Step(s, byte(b))) << s
		}
	}
	return table
}()

// utf8Step is the automaton: the table of RFC 3629 section 4.
func utf8Step(s utf8Check, b byte) utf8Check {
	within := func(low, high byte, next utf8Check) utf8Check {
		if low <= b && b <= high {
			return next
		}
		return utf8Wrong
	}
	switch s {
	case utf8Start:
		return utf8First(b)
	case utf8More1:
		return within(0x80, 0xBF, utf8Start)
	case utf8More2:
		return within(0x80, 0xBF, utf8More1)
	case utf8More3:
		return within(0x80, 0xBF, utf8More2)
	case utf8AfterE0:
		return within(0xA0, 0xBF, utf8More1)
	case utf8AfterED:
		return within(0x80, 0x9F, utf8More1)
	case utf8AfterF0:
		return within(0x90, 0xBF, utf8More2)
	case utf8AfterF4:
		return within(0x80, 0x8F, utf8More2)
	}
	return utf8Wrong
}

// utf8First is the state after the first octet of a character.
func utf8First(b byte) utf8Check {
	switch {
	case b <= 0x7F:
		return utf8Start
	case b < 0xC2:
		return utf8Wrong
	case b <= 0xDF:
		return utf8More1
	case b == 0xE0:
		return utf8AfterE0
	case b == 0xED:
		return utf8AfterED
	case b <= 0xEF:
		return utf8More2
	case b == 0xF0:
		return utf8AfterF0
	case b <= 0xF3:
		return utf8More3
	case b == 0xF4:
		return utf8AfterF4
	}
	return utf8Wrong
}

// write goes on with p. It returns false if the first octet that no text can have
// at its place is in p, or was before.
func (u *utf8Check) write(p []byte) bool {
	s, beyond := uint64(*u), *u&utf8Beyond
	for s&63 != uint64(utf8Start) && len(p) > 0 {
		s, p = utf8Next[p[0]]>>(s&63), p[1:]
	}
	for len(p) >= asciiStep {
		if p = p[asciiPrefix(p):]; len(p) < asciiStep {
			break
		}
		beyond = utf8Beyond
		n, ok := utf8Fast(p)
		if !ok {
			s = uint64(utf8Wrong)
			break
		}
		if n == 0 {
			break
		}
		p = p[n:]
	}
	for ; len(p) >= 8; p = p[8:] {
		q := p[0:8:8]
		s = utf8Next[q[0]] >> (s & 63)
		s = utf8Next[q[1]] >> (s & 63)
		s = utf8Next[q[2]] >> (s & 63)
		s = utf8Next[q[3]] >> (s & 63)
		s = utf8Next[q[4]] >> (s & 63)
		s = utf8Next[q[5]] >> (s & 63)
		s = utf8Next[q[6]] >> (s & 63)
		s = utf8Next[q[7]] >> (s & 63)
	}
	for _, b := range p {
		s = utf8Next[b] >> (s & 63)
	}
	*u = utf8Check(s&63) | beyond
	return *u&^utf8Beyond != utf8Wrong
}

const highBits = 0x8080808080808080

// asciiStep is in what steps asciiPrefix counts.
const asciiStep = 8

// asciiPrefix says how many octets at the start of p are ASCII, in steps of asciiStep.
func asciiPrefix(p []byte) (n int) {
	le := binary.LittleEndian
	for n = asciiVectors(p); n <= len(p)-32; n += 32 {
		q := p[n : n+32 : n+32]
		if (le.Uint64(q[0:8])|le.Uint64(q[8:16])|le.Uint64(q[16:24])|le.Uint64(q[24:32]))&highBits != 0 {
			break
		}
	}
	for n <= len(p)-asciiStep && le.Uint64(p[n:n+asciiStep:n+asciiStep])&highBits == 0 {
		n += asciiStep
	}
	return n
}

// utf8Blocks checks blocks of 64 octets, up to the first that is ASCII and no more
// than p has. p begins between two characters. ok says that they are right as far
// as they go, and n where the last character begins that was looked at.
//
// The bits of a block are rearranged to eight words, of which bK has bit K of all
// octets, so that a rule takes a few operations for 64 octets at once and the time
// does not depend on the text.
func utf8Blocks(p []byte) (n int, ok bool) {
	le := binary.LittleEndian
	var carry1, carry2, carry3, carryLow, carryHigh uint64 // what the octets before ask for
	for ; n <= len(p)-64; n += 64 {
		q := p[n : n+64 : n+64]
		b0, b1, b2, b3 := le.Uint64(q[0:8]), le.Uint64(q[8:16]), le.Uint64(q[16:24]), le.Uint64(q[24:32])
		b4, b5, b6, b7 := le.Uint64(q[32:40]), le.Uint64(q[40:48]), le.Uint64(q[48:56]), le.Uint64(q[56:64])
		if (b0|b1|b2|b3|b4|b5|b6|b7)&highBits == 0 {
			break
		}
		b0, b4 = swapBits(b0, b4, 4, 0x0F0F0F0F0F0F0F0F)
		b1, b5 = swapBits(b1, b5, 4, 0x0F0F0F0F0F0F0F0F)
		b2, b6 = swapBits(b2, b6, 4, 0x0F0F0F0F0F0F0F0F)
		b3, b7 = swapBits(b3, b7, 4, 0x0F0F0F0F0F0F0F0F)
		b0, b2 = swapBits(b0, b2, 2, 0x3333333333333333)
		b1, b3 = swapBits(b1, b3, 2, 0x3333333333333333)
		b4, b6 = swapBits(b4, b6, 2, 0x3333333333333333)
		b5, b7 = swapBits(b5, b7, 2, 0x3333333333333333)
		b0, b1 = swapBits(b0, b1, 1, 0x5555555555555555)
		b2, b3 = swapBits(b2, b3, 1, 0x5555555555555555)
		b4, b5 = swapBits(b4, b5, 1, 0x5555555555555555)
		b6, b7 = swapBits(b6, b7, 1, 0x5555555555555555)

		first := b7 & b6     // of a character that is not ASCII
		first3 := first & b5 // of one of three octets, or four
		first4 := first3 & b4
		after4 := after(first4, carry3)
		two := first3 | after4 // two more octets follow, or more
		one := first | after(two, carry2)
		wrong := after(one, carry1) ^ first ^ b7 // where they do, and nowhere else, octets are 80 to BF
		carry1, carry2, carry3 = one>>63, two>>63, first4>>63

		wrong |= (first ^ first3) &^ (b4 | b3 | b2 | b1) // C0, C1
		wrong |= first4 & (b3 | b2&(b1|b0))              // F5 to FF
		low := first3 &^ (b3 | b2 | b1 | b0)             // E0, F0: else it is overlong,
		high := (first3^first4)&b3&b2&b0&^b1 | first4&b2 // ED, F4: else it is a surrogate, or above U+10FFFF,
		above := b5 | b4&after4                          // the next is A0 or more, or 90, or is less
		wrong |= after(low, carryLow)&^above | after(high, carryHigh)&above
		carryLow, carryHigh = low>>63, high>>63
		if wrong != 0 {
			return n, false
		}
	}
	if n == 0 {
		return 0, true
	}
	for n--; p[n]&0xC0 == 0x80; n-- {
	}
	return n, true
}

// swapBits exchanges the bits of b that are in mask with those of a that are n
// places higher. Done for 4, 2 and 1 with words whose numbers are as far apart, it
// exchanges the number of a bit in its octet with that of the word: bit 8*j + i
// of word K is then what bit K was of octet j of word i.
func swapBits(a, b uint64, n int, mask uint64) (uint64, uint64) {
	t := (a>>n ^ b) & mask
	return a ^ t<<n, b ^ t
}

// after has the bits that stand for the next octets of those in x: the next of
// octet j of word i is octet j+1, or octet 0 of the next word; carry is the bit of
// the octet before the block.
func after(x, carry uint64) uint64 { return x<<8 | x>>55&0xFE | carry }

// atBoundary says whether the text so far ends with a whole character.
func (u *utf8Check) atBoundary() bool { return *u&^utf8Beyond == utf8Start }

// isASCII says whether the text so far is ASCII, but perhaps for fewer than asciiStep
// octets at the end of each piece, and the rest of a character that ended there.
func (u *utf8Check) isASCII() bool { return *u&utf8Beyond == 0 }

// validUTF8 says whether p is UTF-8 as a whole.
func validUTF8(p []byte) bool {
	var u utf8Check
	return u.write(p) && u.atBoundary()
}
