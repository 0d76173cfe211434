package websocket

import "errors"

// naiveInflate is the inflater's slow twin, after the text of RFC 1951: it inflates one message's payload behind
// history and refuses what reaches back further than window octets, and a payload that does not end in the type of a
// stored block (RFC 7692 section 7.2.1).
func naiveInflate(payload, history []byte, window int) (msg []byte, err error) {
	n := &naive{in: payload, out: append([]byte(nil), history...), window: window}
	defer func() {
		if r := recover(); r != nil {
			msg, err = nil, r.(naiveError).error
		}
	}()
	for !n.block() {
	}
	return n.out[len(history):], nil
}

type naive struct {
	in     []byte
	bit    int // the next bit of in
	out    []byte
	window int
}

// naiveError is what the twin panics with.
type naiveError struct{ error }

func (n *naive) refuse(why string) { panic(naiveError{errors.New(why)}) }

func (n *naive) bits(count int) (v int) {
	for i := range count {
		if n.bit/8 == len(n.in) {
			n.refuse("cut")
		}
		v |= int(n.in[n.bit/8]>>(n.bit%8)&1) << i
		n.bit++
	}
	return v
}

// block inflates one block and reports whether it is the one whose length the sender left out.
func (n *naive) block() (last bool) {
	final := n.bits(1) == 1
	switch n.bits(2) {
	case 0:
		n.align()
		if n.bit/8 == len(n.in) {
			return true
		}
		length := n.bits(16)
		if n.bits(16) != length^0xffff {
			n.refuse("complement")
		}
		for range length {
			n.out = append(n.out, byte(n.bits(8)))
		}
	case 1:
		lengths := make([]int, 288)
		for i := range lengths {
			lengths[i] = 8
			if i >= 144 && i < 256 {
				lengths[i] = 9
			} else if i >= 256 && i < 280 {
				lengths[i] = 7
			}
		}
		distances := make([]int, 32)
		for i := range distances {
			distances[i] = 5
		}
		n.codes(n.tree(lengths), n.tree(distances))
	case 2:
		n.dynamic()
	default:
		n.refuse("type")
	}
	if final {
		n.align()
	}
	return false
}

func (n *naive) align() { n.bit = (n.bit + 7) / 8 * 8 }

// naiveTree is a canonical Huffman code (RFC 1951 section 3.2.2).
type naiveTree struct {
	counts  [16]int // of codes of each length
	symbols []int   // in the order of their codes
}

func (n *naive) tree(lengths []int) (t naiveTree) {
	free := 1 // codes of the length that are not taken
	for length := 1; length <= 15; length++ {
		for symbol, l := range lengths {
			if l == length {
				t.counts[length]++
				t.symbols = append(t.symbols, symbol)
			}
		}
		if free = 2*free - t.counts[length]; free < 0 {
			n.refuse("oversubscribed tree")
		}
	}
	if one := len(t.symbols) == 1 && t.counts[1] == 1; free > 0 && len(t.symbols) > 0 && !one {
		n.refuse("incomplete tree")
	}
	return t
}

func (n *naive) symbol(t naiveTree) int {
	code, first, symbols := 0, 0, t.symbols
	for _, count := range t.counts[1:] {
		code |= n.bits(1)
		if code-first < count {
			return symbols[code-first]
		}
		symbols = symbols[count:]
		first = (first + count) << 1
		code <<= 1
	}
	n.refuse("code")
	return 0
}

func (n *naive) dynamic() {
	literals, distances, count := 257+n.bits(5), 1+n.bits(5), 4+n.bits(4)
	if literals > 286 || distances > 30 {
		n.refuse("too many codes")
	}
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	lengths := make([]int, 19)
	for _, i := range order[:count] {
		lengths[i] = n.bits(3)
	}
	tree := n.tree(lengths)
	lengths = nil
	for len(lengths) < literals+distances {
		symbol, repeat, length := n.symbol(tree), 1, 0
		switch symbol {
		case 16:
			if len(lengths) == 0 {
				n.refuse("nothing to repeat")
			}
			repeat, length = 3+n.bits(2), lengths[len(lengths)-1]
		case 17:
			repeat = 3 + n.bits(3)
		case 18:
			repeat = 11 + n.bits(7)
		default:
			length = symbol
		}
		for range repeat {
			lengths = append(lengths, length)
		}
	}
	if len(lengths) > literals+distances {
		n.refuse("too many lengths")
	}
	n.codes(n.tree(lengths[:literals]), n.tree(lengths[literals:]))
}

// codes inflates literals and matches until the end of the block (RFC 1951 section 3.2.5).
func (n *naive) codes(literals, distances naiveTree) {
	for {
		symbol := n.symbol(literals)
		switch {
		case symbol < 256:
			n.out = append(n.out, byte(symbol))
			continue
		case symbol == 256:
			return
		case symbol > 285:
			n.refuse("length symbol")
		}
		length := 258
		if symbol < 285 {
			length = n.extra(symbol-257, 3, 4)
		}
		symbol = n.symbol(distances)
		if symbol > 29 {
			n.refuse("distance symbol")
		}
		distance := n.extra(symbol, 1, 2)
		if distance > len(n.out) || distance > n.window {
			n.refuse("distance")
		}
		for range length {
			n.out = append(n.out, n.out[len(n.out)-distance])
		}
	}
}

// extra is the value of a length or distance symbol: group symbols each share a number of extra bits, beginning with
// two groups of none.
func (n *naive) extra(symbol, first, group int) int {
	bits := max(0, symbol/group-1)
	if bits == 0 {
		return first + symbol
	}
	base := group<<bits + symbol%group<<bits
	return first + base + n.bits(bits)
}
