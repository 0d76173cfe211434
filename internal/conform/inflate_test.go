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

// A final block may be followed by others (RFC 7692 section 7.2.3.4), in long messages too.
func TestLongMessagesOfSeveralStreamsInflate(t *testing.T) {
	var parts []string
	for i := range 4 {
		parts = append(parts, string(scrambled(60_000, uint32(i))))
	}
	want := strings.Join(parts, "")
	got, err := newIncoming(&deflateTerms{}, Server).message(finals(parts))
	if err != nil || string(got) != want {
		t.Errorf("got %d octets of %d, %v", len(got), len(want), err)
	}
}

func TestLongMessagesThatEndInRubbishDoNotInflate(t *testing.T) {
	p := append(finals([]string{string(scrambled(200_000, 1))}), "\x06rubbish"...)
	if _, err := newIncoming(&deflateTerms{}, Server).message(p); err == nil {
		t.Errorf("%d octets that end in rubbish inflate", len(p))
	}
}

// An endpoint must not be able to use up the kit's memory.
func TestLongMessagesInflateToNoMoreThanTheLimit(t *testing.T) {
	const limit = 1 << 20
	if got, err := inflateLong(zeros(limit), nil, limit); err != nil || len(got) != limit {
		t.Errorf("got %d octets, %v", len(got), err)
	}
	if got, err := inflateLong(zeros(limit+1), nil, limit); err == nil {
		t.Errorf("got %d octets", len(got))
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
