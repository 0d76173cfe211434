package websocket

import (
	"bytes"
	"fmt"
	"testing"
)

// naiveMask is section 5.3 word for word: "transformed-octet-i = original-octet-i
// XOR masking-key-octet-j" with "j = i MOD 4".
func naiveMask(b []byte, key [4]byte, offset int) int {
	for i := range b {
		b[i] ^= key[(offset+i)%4]
	}
	return (offset + len(b)) % 4
}

// TestMaskEqualsNaiveTwin tries all lengths up to several turns of the widest
// loop, at all offsets, at all alignments in memory.
func TestMaskEqualsNaiveTwin(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	memory := make([]byte, 410)
	for i := range memory {
		memory[i] = byte(i * 7)
	}
	for length := range 400 {
		for offset := range 9 {
			for start := range 9 {
				got, want := bytes.Clone(memory), bytes.Clone(memory)
				next := Mask(got[start:start+length], key, offset)
				wantNext := naiveMask(want[start:start+length], key, offset)
				if !bytes.Equal(got, want) || next != wantNext {
					t.Fatalf("%d octets at offset %d, %d octets into memory: next offset %d, want %d; got\n%x\nwant\n%x",
						length, offset, start, next, wantNext, got, want)
				}
			}
		}
	}
}

// TestMaskToEqualsNaiveTwin does the same on the way from one place to another, and
// looks that neither the source nor what surrounds the target changes.
func TestMaskToEqualsNaiveTwin(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	source := make([]byte, 410)
	for i := range source {
		source[i] = byte(i * 7)
	}
	before := bytes.Clone(source)
	for length := range 400 {
		for offset := range 5 {
			for start := range 9 {
				got, want := bytes.Repeat([]byte{0x55}, 410), bytes.Repeat([]byte{0x55}, 410)
				copy(want[start:], source[9-start:9-start+length])
				next := maskTo(got[start:start+length], source[9-start:9-start+length], key, offset)
				wantNext := naiveMask(want[start:start+length], key, offset)
				if !bytes.Equal(got, want) || next != wantNext || !bytes.Equal(source, before) {
					t.Fatalf("%d octets at offset %d, to %d octets into memory: next offset %d, want %d; got\n%x\nwant\n%x",
						length, offset, start, next, wantNext, got, want)
				}
			}
		}
	}
}

// TestMaskInPieces masks a payload in two pieces, which is the same as at once.
func TestMaskInPieces(t *testing.T) {
	key := [4]byte{1, 2, 4, 8}
	for length := range 150 {
		whole := bytes.Repeat([]byte{0x55}, length)
		naiveMask(whole, key, 0)
		for cut := range length + 1 {
			pieces := bytes.Repeat([]byte{0x55}, length)
			offset := Mask(pieces[:cut], key, 0)
			if Mask(pieces[cut:], key, offset); !bytes.Equal(pieces, whole) {
				t.Fatalf("%d octets cut at %d: got %x, want %x", length, cut, pieces, whole)
			}
		}
	}
}

// TestMaskTwice: "The same algorithm applies regardless of the direction of the
// translation." (5.3)
func TestMaskTwice(t *testing.T) {
	for _, length := range []int{0, 1, 7, 8, 63, 64, 65, 4096 + 3} {
		b := bytes.Repeat([]byte("Hallo, Welt"), length/11+1)[:length]
		want := bytes.Clone(b)
		key := [4]byte{0xde, 0xad, 0xbe, 0xef}
		Mask(b, key, 3)
		if length > 0 && bytes.Equal(b, want) {
			t.Errorf("%d octets: masked once, they are as they were", length)
		}
		if Mask(b, key, 3); !bytes.Equal(b, want) {
			t.Errorf("%d octets: masked twice, they are %x, want %x", length, b, want)
		}
	}
}

// TestMaskLeavesNeighboursAlone: a view into a read buffer has octets of other
// frames before and behind it, within its capacity.
func TestMaskLeavesNeighboursAlone(t *testing.T) {
	for length := range 140 {
		memory := make([]byte, length+32)
		Mask(memory[16:16+length], [4]byte{0xff, 0xff, 0xff, 0xff}, 0)
		want := fmt.Sprintf("%032x%s%032x", 0, bytes.Repeat([]byte("ff"), length), 0)
		if got := fmt.Sprintf("%x", memory); got != want {
			t.Fatalf("%d octets between two times 16: got\n%s\nwant\n%s", length, got, want)
		}
	}
}

// TestMaskRFCExample is the masked "Hello" of section 5.7.
func TestMaskRFCExample(t *testing.T) {
	b := []byte{0x7f, 0x9f, 0x4d, 0x51, 0x58}
	if next := Mask(b, [4]byte{0x37, 0xfa, 0x21, 0x3d}, 0); string(b) != "Hello" || next != 1 {
		t.Errorf("got %q and offset %d, want \"Hello\" and 1", b, next)
	}
}
