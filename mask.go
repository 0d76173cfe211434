package websocket

// Masking (RFC 6455 section 5.3): XOR with a key of four octets.

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks b in place (RFC 6455 section 5.3). offset is how many
// octets of the payload came before b; the result is the offset of what follows,
// modulo 4.
func Mask(b []byte, key [4]byte, offset int) int {
	next := (offset + len(b)) & 3
	le := binary.LittleEndian
	half := bits.RotateLeft32(le.Uint32(key[:]), -8*(offset&3))
	if len(b) < 8 {
		for i := range b {
			b[i] ^= byte(half)
			half = bits.RotateLeft32(half, -8)
		}
		return next
	}
	word := uint64(half)<<32 | uint64(half)
	// The last eight octets overlap those of the last turn of the loop, so they
	// are masked before and stored after it.
	end := b[len(b)-8:]
	last := le.Uint64(end) ^ bits.RotateLeft64(word, -8*(len(b)&3))
	// Slices of constant length let the compiler drop all bounds checks but one.
	i := maskVectors(b, b, word)
	for ; i <= len(b)-64; i += 64 {
		p := b[i : i+64 : i+64]
		le.PutUint64(p[0:8], le.Uint64(p[0:8])^word)
		le.PutUint64(p[8:16], le.Uint64(p[8:16])^word)
		le.PutUint64(p[16:24], le.Uint64(p[16:24])^word)
		le.PutUint64(p[24:32], le.Uint64(p[24:32])^word)
		le.PutUint64(p[32:40], le.Uint64(p[32:40])^word)
		le.PutUint64(p[40:48], le.Uint64(p[40:48])^word)
		le.PutUint64(p[48:56], le.Uint64(p[48:56])^word)
		le.PutUint64(p[56:64], le.Uint64(p[56:64])^word)
	}
	for ; i <= len(b)-8; i += 8 {
		p := b[i : i+8 : i+8]
		le.PutUint64(p, le.Uint64(p)^word)
	}
	le.PutUint64(end, last)
	return next
}

// maskTo is Mask for octets that have to be copied too: it puts src, masked or
// unmasked, to dst, which has as many octets and does not overlap it. One way through
// a long payload costs less than two. Mask does not call it, for what is masked in place
// takes the processor fewer instructions: 51 instead of 36 GB/s.
func maskTo(dst, src []byte, key [4]byte, offset int) int {
	le := binary.LittleEndian
	half := bits.RotateLeft32(le.Uint32(key[:]), -8*(offset&3))
	word := uint64(half)<<32 | uint64(half)
	i := maskVectors(dst, src, word)
	for ; i <= len(src)-64 && i <= len(dst)-64; i += 64 { // so for both, as in Mask
		s, d := src[i:i+64:i+64], dst[i:i+64:i+64]
		le.PutUint64(d[0:8], le.Uint64(s[0:8])^word)
		le.PutUint64(d[8:16], le.Uint64(s[8:16])^word)
		le.PutUint64(d[16:24], le.Uint64(s[16:24])^word)
		le.PutUint64(d[24:32], le.Uint64(s[24:32])^word)
		le.PutUint64(d[32:40], le.Uint64(s[32:40])^word)
		le.PutUint64(d[40:48], le.Uint64(s[40:48])^word)
		le.PutUint64(d[48:56], le.Uint64(s[48:56])^word)
		le.PutUint64(d[56:64], le.Uint64(s[56:64])^word)
	}
	copy(dst[i:], src[i:])
	return Mask(dst[i:], key, offset) // 64 octets leave the offset as it was
}
