//go:build !goexperiment.simd || !amd64 || !go1.26 || go1.27

package websocket

// maskVectors says how many octets were masked with vectors: none without
// GOEXPERIMENT=simd.
func maskVectors(_, _ []byte, _ uint64) (n int) { return 0 }
