//go:build goexperiment.simd && amd64 && go1.26 && !go1.27

package websocket

// Masking with vector instructions; utf8_simd.go says for whom.

import "simd/archsimd"

// maskVectors puts src, masked with word, to dst, as far as vectors pay, and says how many
// octets that were: a multiple of 128. dst has as many octets, and is src or does not
// overlap it.
func maskVectors(dst, src []byte, word uint64) (n int) {
	if len(src) < 256 || !archsimd.X86.AVX2() {
		return 0
	}
	return maskBy128(dst, src, word)
}

func maskBy128(dst, src []byte, word uint64) (n int) {
	key := archsimd.BroadcastUint64x4(word).AsUint8x32()
	for dst = dst[:len(src)]; n <= len(src)-128; n += 128 {
		s, d := src[n:n+128:n+128], dst[n:n+128:n+128]
		archsimd.LoadUint8x32((*[32]byte)(s)).Xor(key).Store((*[32]byte)(d))
		archsimd.LoadUint8x32((*[32]byte)(s[32:])).Xor(key).Store((*[32]byte)(d[32:]))
		archsimd.LoadUint8x32((*[32]byte)(s[64:])).Xor(key).Store((*[32]byte)(d[64:]))
		archsimd.LoadUint8x32((*[32]byte)(s[96:])).Xor(key).Store((*[32]byte)(d[96:]))
	}
	archsimd.ClearAVXUpperBits()
	return n
}
