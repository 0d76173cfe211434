package conform

import (
	"errors"
	"fmt"
)

// This file holds an inflater of its own (RFC 1951): slow, small, and able to tell how far
// back a compressor has reached, which the standard library's does not.

var errCorrupt = errors.New("the compressed octets are corrupt")

// A bitReader takes bits from octets, the least significant first.
type bitReader struct {
	in   []byte
	pos  int // next octet
	acc  uint32
	have uint
}

// bits returns the next n bits, the least significant first.
func (r *bitReader) bits(n uint) (int, error) {
	for r.have < n {
		if r.pos == len(r.in) {
			return 0, errCorrupt
		}
		r.acc |= uint32(r.in[r.pos]) << r.have
		r.pos++
		r.have += 8
	}
	v := r.acc & (1<<n - 1)
	r.acc >>= n
	r.have -= n
	return int(v), nil
}

// A huffman code: how many codes there are of each length, and the symbols in their order.
type huffman struct {
	count  [16]int
	symbol []int
}

// newHuffman makes the canonical code for the given lengths.
func newHuffman(lengths []int) *huffman {
	h := &huffman{symbol: make([]int, len(lengths))}
	for _, n := range lengths {
		h.count[n]++
	}
	var offset [16]int
	for n := 1; n < 15; n++ {
		offset[n+1] = offset[n] + h.count[n]
	}
	for s, n := range lengths {
		if n != 0 {
			h.symbol[offset[n]] = s
			offset[n]++
		}
	}
	return h
}

// decode reads one symbol.
func (h *huffman) decode(r *bitReader) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n <= 15; n++ {
		b, err := r.bits(1)
		if err != nil {
			return 0, err
		}
		code |= b
		count := h.count[n]
		if code-count < first {
			return h.symbol[index+code-first], nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, errCorrupt
}

var (
	lengthBase  = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = []uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = []uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	codeOrder   = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// An inflater of one message: window stands before its first octet.
type inflation struct {
	bitReader
	out    []byte // the window, then the message
	window int    // octets of out that are not the message
	reach  int    // no distance may be larger
	limit  int    // octets that the message may have
}

// inflate returns the message whose compressed payload is p (RFC 7692 section 7.2.2), given
// what stands in the window before it and how far back it may reach.
func inflate(p, window []byte, reach, limit int) ([]byte, error) {
	in := append(append([]byte(nil), p...), 0x00, 0x00, 0xFF, 0xFF)
	f := &inflation{bitReader: bitReader{in: in}, reach: reach, limit: limit}
	f.out = append(f.out, window...)
	f.window = len(window)
	for f.pos < len(f.in) {
		if err := f.block(); err != nil {
			return nil, err
		}
	}
	return f.out[f.window:], nil
}

// block inflates one block. A final one may be followed by others (RFC 7692 section 7.2.3.4).
func (f *inflation) block() error {
	final, err := f.bits(1)
	if err != nil {
		return err
	}
	kind, err := f.bits(2)
	if err != nil {
		return err
	}
	switch kind {
	case 0:
		err = f.stored()
	case 1:
		err = f.codes(fixedCodes())
	case 2:
		var lit, dist *huffman
		if lit, dist, err = f.dynamic(); err == nil {
			err = f.codes(lit, dist)
		}
	default:
		err = errCorrupt
	}
	if final == 1 { // the next stream starts at an octet
		f.acc, f.have = 0, 0
	}
	return err
}

// stored copies a block that is not compressed.
func (f *inflation) stored() error {
	f.acc, f.have = 0, 0
	if len(f.in)-f.pos < 4 {
		return errCorrupt
	}
	n := int(f.in[f.pos]) | int(f.in[f.pos+1])<<8
	inverse := int(f.in[f.pos+2]) | int(f.in[f.pos+3])<<8
	f.pos += 4
	if n != ^inverse&0xFFFF || len(f.in)-f.pos < n {
		return errCorrupt
	}
	f.out = append(f.out, f.in[f.pos:f.pos+n]...)
	f.pos += n
	return nil
}

// fixedCodes returns the codes of a block of type 1.
func fixedCodes() (lit, dist *huffman) {
	lengths := make([]int, 288)
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	fives := make([]int, 30)
	for i := range fives {
		fives[i] = 5
	}
	return newHuffman(lengths), newHuffman(fives)
}

// dynamic reads the codes of a block of type 2.
func (f *inflation) dynamic() (lit, dist *huffman, err error) {
	var n [3]int
	for i, width := range []uint{5, 5, 4} {
		if n[i], err = f.bits(width); err != nil {
			return nil, nil, err
		}
	}
	nlit, ndist := n[0]+257, n[1]+1
	if nlit > 286 || ndist > 30 {
		return nil, nil, errCorrupt
	}
	var first [19]int
	for _, at := range codeOrder[:n[2]+4] {
		if first[at], err = f.bits(3); err != nil {
			return nil, nil, err
		}
	}
	lengths, err := f.codeLengths(newHuffman(first[:]), nlit+ndist)
	if err != nil {
		return nil, nil, err
	}
	return newHuffman(lengths[:nlit]), newHuffman(lengths[nlit:]), nil
}

// codeLengths reads n run-length coded code lengths.
func (f *inflation) codeLengths(h *huffman, n int) ([]int, error) {
	var lengths []int
	for len(lengths) < n {
		s, err := h.decode(&f.bitReader)
		if err != nil {
			return nil, err
		}
		value, base, width := s, 1, uint(0)
		switch s {
		case 16:
			if len(lengths) == 0 {
				return nil, errCorrupt
			}
			value, base, width = lengths[len(lengths)-1], 3, 2
		case 17:
			value, base, width = 0, 3, 3
		case 18:
			value, base, width = 0, 11, 7
		}
		more, err := f.bits(width)
		if err != nil || len(lengths)+base+more > n {
			return nil, errCorrupt
		}
		for range base + more {
			lengths = append(lengths, value)
		}
	}
	return lengths, nil
}

// codes inflates a block's literals and references.
func (f *inflation) codes(lit, dist *huffman) error {
	for {
		s, err := lit.decode(&f.bitReader)
		switch {
		case err != nil:
			return err
		case s == 256:
			return nil
		case s < 256:
			f.out = append(f.out, byte(s))
		default:
			if err := f.reference(s-257, dist); err != nil {
				return err
			}
		}
		if len(f.out)-f.window > f.limit {
			return fmt.Errorf("the message inflates to more than %d octets", f.limit)
		}
	}
}

// reference copies what a length and a distance refer to.
func (f *inflation) reference(s int, dist *huffman) error {
	if s >= len(lengthBase) {
		return errCorrupt
	}
	more, err := f.bits(lengthExtra[s])
	if err != nil {
		return err
	}
	n := lengthBase[s] + more
	d, err := dist.decode(&f.bitReader)
	if err != nil || d >= len(distBase) {
		return errCorrupt
	}
	more, err = f.bits(distExtra[d])
	if err != nil {
		return err
	}
	back := distBase[d] + more
	if back > len(f.out) {
		return errors.New("a reference reaches back further than the window that was agreed to be kept")
	}
	if back > f.reach {
		return fmt.Errorf("a reference reaches back %d octets; the window agreed has %d", back, f.reach)
	}
	for range n {
		f.out = append(f.out, f.out[len(f.out)-back])
	}
	return nil
}
