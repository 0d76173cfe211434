//go:build unix

package websocket

import (
	"math"
	"testing"
)

// A long read ends within its buffer, and is longer than a usual one, whatever the last header has declared.
func TestLongReadEndsWithinItsBuffer(t *testing.T) {
	var r reader
	r.src.raw.full = true
	for _, length := range []int64{0, 1, 125, 126, 65_535, 65_536, 1 << 17, bufferSize, longBufferSize/2 - 13, longBufferSize / 2, longBufferSize/2 + 1,
		longBufferSize - 15, longBufferSize - maxHeader, longBufferSize - maxHeader + 1, longBufferSize, 1 << 20, 1 << 31, 1 << 32, math.MaxInt64 - 14, math.MaxInt64} {
		for _, masked := range []bool{false, true} {
			r.ahead = Header{Fin: true, Opcode: OpBinary, Masked: masked, Length: length}
			for _, left := range []int64{0, 1, 5, 1000, 65_536, length - 1, length} {
				r.left = min(max(left, 0), length)
				if most := r.most(); most != 0 && (most <= bufferSize || most > longBufferSize) {
					t.Errorf("length %d, %d left: a long read of %d octets", length, r.left, most)
				}
			}
		}
	}
}
