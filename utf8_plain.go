//go:build !goexperiment.simd || !amd64 || !go1.26 || go1.27

package websocket

// utf8HasVectors: there are none without GOEXPERIMENT=simd.
const utf8HasVectors = false

// utf8Fast is how long texts are checked.
func utf8Fast(p []byte) (n int, ok bool) { return utf8Blocks(p) }

// asciiVectors says how many octets at the start of p are ASCII as far as vectors tell.
func asciiVectors(p []byte) (n int) { return 0 }
