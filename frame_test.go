package websocket

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// draw turns bits as a person draws them into octets; blanks are for the eye.
func draw(bits string) []byte {
	bits = strings.ReplaceAll(bits, " ", "")
	b := make([]byte, 0, len(bits)/8)
	for i := 0; i < len(bits); i += 8 {
		var octet byte
		for _, bit := range bits[i : i+8] {
			octet = octet<<1 | byte(bit-'0')
		}
		b = append(b, octet)
	}
	return b
}

// zeros is n octets of zero bits, drawn short.
func zeros(n int) string { return strings.Repeat("00000000", n) }

// drawnHeaders are headers beside their bits.
var drawnHeaders = []struct {
	why  string
	h    Header
	bits string
}{
	//        +-- Fin
	//        | +-- Rsv1, Rsv2, Rsv3
	//        | |    +-- opcode
	//        | |    |   +-- masked
	//        | |    |   |    +-- length in 7 bits, or 126, or 127
	//        | |    |   |    |     +-- length in 16 or 64 bits; key
	//        | |    |   |    |     |
	{"empty continuation", Header{},
		"0 000 0000 0 0000000"},
	{"last text, unmasked, Hello (5.7)", Header{Fin: true, Opcode: OpText, Length: 5},
		"1 000 0001 0 0000101"},
	{"last text, masked, Hello (5.7)", Header{Fin: true, Opcode: OpText, Masked: true, Key: [4]byte{0x37, 0xfa, 0x21, 0x3d}, Length: 5},
		"1 000 0001 1 0000101" + "00110111 11111010 00100001 00111101"},
	{"first fragment (5.7)", Header{Opcode: OpText, Length: 3},
		"0 000 0001 0 0000011"},
	{"last fragment (5.7)", Header{Fin: true, Opcode: OpContinuation, Length: 2},
		"1 000 0000 0 0000010"},
	{"close", Header{Fin: true, Opcode: OpClose, Length: 2},
		"1 000 1000 0 0000010"},
	{"ping (5.7)", Header{Fin: true, Opcode: OpPing, Length: 5},
		"1 000 1001 0 0000101"},
	{"masked empty pong", Header{Fin: true, Opcode: OpPong, Masked: true, Key: [4]byte{0, 0, 0, 1}},
		"1 000 1010 1 0000000" + zeros(3) + "00000001"},
	{"Rsv1", Header{Fin: true, Rsv1: true, Opcode: OpBinary},
		"1 100 0010 0 0000000"},
	{"Rsv2", Header{Rsv2: true, Opcode: OpBinary},
		"0 010 0010 0 0000000"},
	{"Rsv3", Header{Rsv3: true, Opcode: OpBinary},
		"0 001 0010 0 0000000"},
	{"all bits, reserved opcode", Header{Fin: true, Rsv1: true, Rsv2: true, Rsv3: true, Opcode: 15, Masked: true, Key: [4]byte{255, 255, 255, 255}, Length: 125},
		"1 111 1111 1 1111101" + "11111111 11111111 11111111 11111111"},
	{"256 octets (5.7)", Header{Fin: true, Opcode: OpBinary, Length: 256},
		"1 000 0010 0 1111110" + "00000001 00000000"},
	{"64 KiB (5.7)", Header{Fin: true, Opcode: OpBinary, Length: 65536},
		"1 000 0010 0 1111111" + zeros(5) + "00000001" + zeros(2)},
	{"126 octets, masked", Header{Opcode: OpBinary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 126},
		"0 000 0010 1 1111110" + "00000000 01111110" + "00000001 00000010 00000011 00000100"},
	{"65535 octets", Header{Opcode: OpBinary, Length: 65535},
		"0 000 0010 0 1111110" + "11111111 11111111"},
	{"2^31 octets", Header{Opcode: OpBinary, Length: 1 << 31},
		"0 000 0010 0 1111111" + zeros(4) + "10000000" + zeros(3)},
	{"2^63-1 octets, masked", Header{Opcode: OpBinary, Masked: true, Key: [4]byte{128, 0, 0, 0}, Length: math.MaxInt64},
		"0 000 0010 1 1111111" + "01111111" + strings.Repeat("11111111", 7) + "10000000" + zeros(3)},
}

func TestHeaderIsItsBits(t *testing.T) {
	for _, row := range drawnHeaders {
		want := draw(row.bits)
		if got := AppendHeader([]byte("ahead"), row.h); string(got) != "ahead"+string(want) {
			t.Errorf("%s: appended % x, want \"ahead\" and % x", row.why, got, want)
		}
		h, n, err := ParseHeader(append(bytes.Clone(want), "payload"...))
		if h != row.h || n != len(want) || err != nil {
			t.Errorf("%s: parsed %+v, %d octets, %v, want %+v, %d octets", row.why, h, n, err, row.h, len(want))
		}
	}
}

// TestHeaderCutAnywhere: no header is seen in fewer octets than it has, and that
// is no error.
func TestHeaderCutAnywhere(t *testing.T) {
	for _, row := range drawnHeaders {
		whole := draw(row.bits)
		for n := range whole {
			if h, got, err := ParseHeader(whole[:n:n]); h != (Header{}) || got != 0 || err != nil {
				t.Errorf("%s, cut to %d octets: got %+v, %d, %v, want nothing", row.why, n, h, got, err)
			}
		}
	}
}

// TestHeaderLengths appends and parses lengths around every boundary.
func TestHeaderLengths(t *testing.T) {
	for _, row := range []struct {
		length int64
		octets int // of the header without a key
	}{
		{0, 2}, {1, 2}, {124, 2}, {125, 2},
		{126, 4}, {127, 4}, {128, 4}, {255, 4}, {256, 4}, {65534, 4}, {65535, 4},
		{65536, 10}, {1 << 24, 10}, {1<<31 - 1, 10}, {1 << 31, 10}, {1<<32 - 1, 10}, {1 << 32, 10},
		{1<<62 + 1, 10}, {math.MaxInt64 - 1, 10}, {math.MaxInt64, 10},
	} {
		for _, masked := range []bool{false, true} {
			h, want := Header{Opcode: OpBinary, Masked: masked, Length: row.length}, row.octets
			if masked {
				h.Key, want = [4]byte{9, 8, 7, 6}, want+4
			}
			b := AppendHeader(nil, h)
			got, n, err := ParseHeader(b)
			if len(b) != want || len(b) > maxHeader || got != h || n != want || err != nil {
				t.Errorf("%+v: %d octets, parsed %+v, %d, %v, want %d octets", h, len(b), got, n, err, want)
			}
		}
	}
}

// TestHeaderRefused: "the minimal number of bytes MUST be used to encode the
// length", and of 64 bits "the most significant bit MUST be 0" (5.2).
func TestHeaderRefused(t *testing.T) {
	for _, row := range []struct {
		why, bits string
		want      *ProtocolError
	}{
		{"0 in 16 bits", "1 000 0010 0 1111110" + zeros(2), errLengthForm},
		{"125 in 16 bits", "1 000 0010 0 1111110" + "00000000 01111101", errLengthForm},
		{"0 in 64 bits", "1 000 0010 0 1111111" + zeros(8), errLengthForm},
		{"126 in 64 bits", "1 000 0010 0 1111111" + zeros(7) + "01111110", errLengthForm},
		{"65535 in 64 bits", "1 000 0010 0 1111111" + zeros(6) + "11111111 11111111", errLengthForm},
		{"2^63", "1 000 0010 0 1111111" + "10000000" + zeros(7), errLengthTop},
		{"2^63+5", "1 000 0010 0 1111111" + "10000000" + zeros(6) + "00000101", errLengthTop},
		{"2^64-1", "1 000 0010 0 1111111" + strings.Repeat("11111111", 8), errLengthTop},
	} {
		b := draw(row.bits)
		for _, masked := range []byte{0, maskBit} {
			b[1] |= masked // the key is not there: it is not needed to refuse
			if h, n, err := ParseHeader(b); err != error(row.want) || n != 0 || h != (Header{}) {
				t.Errorf("%s, mask bit %d: got %+v, %d, %v, want %v", row.why, masked>>7, h, n, err, row.want)
			}
			if row.want.Code != StatusProtocolError || row.want.Section != "5.2" {
				t.Errorf("%s: closes with %d by section %s, want 1002 by 5.2", row.why, row.want.Code, row.want.Section)
			}
		}
	}
}

// TestHeaderEveryFirstTwoOctets: of the first two octets each has one meaning.
func TestHeaderEveryFirstTwoOctets(t *testing.T) {
	for n := range 1 << 16 {
		b := make([]byte, maxHeader)
		b[0], b[1] = byte(n>>8), byte(n)
		copy(b[2:], "\x00\x80\x00\x00\x00\x01\x00\x00ABCD") // 128 in 16 bits, 2^47+65536 in 64
		h, size, err := ParseHeader(b)
		if err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		if again := AppendHeader(nil, h); !bytes.Equal(again, b[:size]) {
			t.Fatalf("% x: parsed to %+v, which is % x", b, h, again)
		}
		if h.Opcode.isControl() != (b[0]&0x08 != 0) {
			t.Fatalf("opcode %d: isControl is %v", h.Opcode, h.Opcode.isControl())
		}
	}
}

func TestOpcodeString(t *testing.T) {
	got := ""
	for op := range Opcode(18) {
		got += fmt.Sprint(op, " ")
	}
	want := "continuation text binary" + strings.Repeat(" reserved", 5) + " close ping pong" + strings.Repeat(" reserved", 7) + " "
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, maxHeader)
	h := Header{Fin: true, Opcode: OpText, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 1 << 20}
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendHeader(buf[:0], h)
		if got, _, err := ParseHeader(buf); got != h || err != nil {
			t.Fatal("the header was not parsed")
		}
		if _, _, err := ParseHeader([]byte{0, length64, 0xff, 0, 0, 0, 0, 0, 0, 0}); err == nil {
			t.Fatal("a length with the top bit set is accepted")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
