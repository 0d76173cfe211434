package conform

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"strings"
	"testing"
)

// deflated returns p as compress/flate makes it at a level, without the last four octets.
func deflated(t *testing.T, p, window []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, level, window)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xFF, 0xFF})
}

func TestInflateEqualsStandardLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for level := -2; level <= 9; level++ {
		var window []byte
		for size := 0; size < 100_000; size = size*3 + 1 {
			p := make([]byte, size)
			for i := range p {
				p[i] = "aaaaabcdefgh"[rnd.IntN(12)] + byte(i>>12)
			}
			got, err := inflate(deflated(t, p, window, level), window, 32768, 1<<20)
			if err != nil || !bytes.Equal(got, p) {
				t.Fatalf("level %d, %d octets: %v", level, size, err)
			}
			window = tail(append(window, p...), 32768)
		}
	}
}

func TestInflateTellsReach(t *testing.T) {
	p := []byte(strings.Repeat("a", 10) + strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz", 30))
	noise := make([]byte, 300)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	p = append(append(p, noise...), "0123456789abcdefghijklmnopqrstuvwxyz"...)
	c := deflated(t, p, nil, 9)
	if _, err := inflate(c, nil, 32768, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := inflate(c, nil, 256, 1<<20); err == nil {
		t.Fatal("a reference further back than 256 octets was not seen")
	}
}
