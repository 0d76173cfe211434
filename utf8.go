package websocket

// An incremental check of UTF-8 (RFC 6455 section 8.1, RFC 3629): text arrives in
// pieces that may end inside a character.

import (
	"bytes"
	"encoding/binary"
	"sync"
)

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
	const high = 0x8080808080808080
	le, s, i := binary.LittleEndian, uint64(*u), 0
	for i <= len(p)-8 {
		// One look at the first octet keeps text without ASCII off these loops.
		if p[i] < 0x80 && s&63 == uint64(utf8Start) {
			for ; i <= len(p)-32; i += 32 {
				q := p[i : i+32 : i+32]
				if (le.Uint64(q[0:8])|le.Uint64(q[8:16])|le.Uint64(q[16:24])|le.Uint64(q[24:32]))&high != 0 {
					break
				}
			}
			for i <= len(p)-8 && le.Uint64(p[i:i+8:i+8])&high == 0 {
				i += 8
			}
			if i > len(p)-8 {
				break
			}
		}
		q := p[i : i+8 : i+8]
		s = utf8Next[q[0]] >> (s & 63)
		s = utf8Next[q[1]] >> (s & 63)
		s = utf8Next[q[2]] >> (s & 63)
		s = utf8Next[q[3]] >> (s & 63)
		s = utf8Next[q[4]] >> (s & 63)
		s = utf8Next[q[5]] >> (s & 63)
		s = utf8Next[q[6]] >> (s & 63)
		s = utf8Next[q[7]] >> (s & 63)
		i += 8
	}
	for _, b := range p[i:] {
		s = utf8Next[b] >> (s & 63)
	}
	*u = utf8Check(s & 63)
	return *u != utf8Wrong
}

// atBoundary says whether the text so far ends with a whole character.
func (u *utf8Check) atBoundary() bool { return *u == utf8Start }

// validUTF8 says whether p is UTF-8 as a whole.
func validUTF8(p []byte) bool {
	var u utf8Check
	return u.write(p) && u.atBoundary()
}

const (
	// minKnownText and maxKnownText are how many octets a text has that is worth
	// remembering: below, a check costs no more than the comparison.
	minKnownText = 256
	maxKnownText = 64 << 10
)

// knownTexts are copies of texts that were found to be UTF-8 a moment ago. What
// was read is often what is written next, and what is written to one peer what is
// written to another; to compare costs a tenth of a check.
var knownTexts = sync.Pool{New: func() any { return new([]byte) }}

// rememberText keeps p, which is UTF-8 as a whole, for isKnownText.
func rememberText(p []byte) {
	if len(p) < minKnownText || len(p) > maxKnownText {
		return
	}
	known := knownTexts.Get().(*[]byte)
	*known = append((*known)[:0], p...)
	knownTexts.Put(known)
}

// isKnownText says whether p was found to be UTF-8 a moment ago.
func isKnownText(p []byte) bool {
	if len(p) < minKnownText || len(p) > maxKnownText {
		return false
	}
	known := knownTexts.Get().(*[]byte)
	same := bytes.Equal(*known, p)
	knownTexts.Put(known)
	return same
}
