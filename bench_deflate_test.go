package websocket

import (
	"fmt"
	"io"
	"testing"
)

// quotes gives messages of n octets as a feed of quotes sends them: alike, and never the same.
func quotes(count, n int) (all [][]byte) {
	symbols := []string{"AAPL", "MSFT", "GOOG", "AMZN"}
	for i := range count {
		var b []byte
		for k := i; len(b) < n; k++ {
			b = fmt.Appendf(b, `{"type":"quote","id":%d,"symbol":"%s","price":%d.%02d,"size":%d},`,
				i*7919+k*31, symbols[k%4], 100+(i*37+k*11)%900, (i*13+k*7)%100, (i*i+k)%5000)
		}
		all = append(all, b[:n])
	}
	return all
}

// eachDeflateSet runs b for JSON of some lengths, with and without context takeover, and with a small window.
func eachDeflateSet(b *testing.B, run func(b *testing.B, p *pair, messages [][]byte)) {
	for _, n := range []int{128, 1 << 10, 16 << 10} {
		for _, set := range []struct {
			name        string
			takeover    bool
			bits, level int
		}{
			{"alone", false, 15, defaultLevel},
			{"takeover", true, 15, defaultLevelTakeover},
			{"takeover-bits=10", true, 10, defaultLevelTakeover},
		} {
			b.Run(fmt.Sprintf("json=%d/%s", n, set.name), func(b *testing.B) {
				run(b, newPair(set.takeover, set.bits, set.level), quotes(max(100, 256<<10/n), n))
			})
		}
	}
}

func BenchmarkDeflate(b *testing.B) {
	eachDeflateSet(b, func(b *testing.B, p *pair, messages [][]byte) {
		var buf []byte
		in, out := 0, 0
		b.ReportAllocs()
		b.SetBytes(int64(len(messages[0])))
		for i := 0; b.Loop(); i++ {
			msg := messages[i%len(messages)]
			buf, _ = p.d.message(buf[:0], msg)
			in += len(msg)
			out += len(buf)
		}
		b.ReportMetric(float64(out)/float64(in), "ratio")
	})
}

func BenchmarkInflate(b *testing.B) {
	eachDeflateSet(b, func(b *testing.B, p *pair, messages [][]byte) {
		var payloads [][]byte
		for _, msg := range messages {
			payload, ok := p.d.message(nil, msg)
			if !ok {
				b.Fatal("a message did not shrink")
			}
			payloads = append(payloads, payload)
		}
		got := make([]byte, len(messages[0])+1)
		b.ReportAllocs()
		b.SetBytes(int64(len(messages[0])))
		for i := 0; b.Loop(); i++ {
			if i%len(payloads) == 0 {
				p.f.window = nil // where the sender's window was empty
			}
			p.f.feed(payloads[i%len(payloads)], true)
			readToEnd(b, p.f, got)
		}
	})
}

// BenchmarkInflateInPieces feeds a message in two pieces to a reader that wants each at once, which takes a goroutine.
func BenchmarkInflateInPieces(b *testing.B) {
	p := newPair(false, 15, defaultLevel)
	msg := quotes(1, 1<<10)[0]
	payload, _ := p.d.message(nil, msg)
	got := make([]byte, len(msg)+1)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		p.f.feed(payload[:100], false)
		if n, err := p.f.read(got); err != errMoreInput {
			b.Fatal(n, err)
		}
		p.f.feed(payload[100:], true)
		readToEnd(b, p.f, got)
	}
}

func readToEnd(b *testing.B, f *inflater, got []byte) {
	for {
		if _, err := f.read(got); err == io.EOF {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAcceptOffers(b *testing.B) {
	offers := []string{"permessage-deflate; client_max_window_bits"} // as browsers send it
	b.ReportAllocs()
	for b.Loop() {
		if _, p := acceptOffers(offers, &Compression{}); p == nil {
			b.Fatal("declined")
		}
	}
}
