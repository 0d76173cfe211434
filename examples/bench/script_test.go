//go:build linux

package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPayloadsHaveTheirLength(t *testing.T) {
	for _, kind := range []string{kindBinary, kindASCII, kindUTF8, kindJSON} {
		for _, size := range []int{128, 512, 1 << 10, 4 << 10, 64 << 10} {
			p := payload(kind, size)
			if len(p) != size {
				t.Errorf("%s: %d octets, want %d", kind, len(p), size)
			}
			if kind != kindBinary && !utf8.Valid(p) {
				t.Errorf("%s of %d octets is not UTF-8", kind, size)
			}
			if kind == kindASCII && strings.ContainsFunc(string(p), func(r rune) bool { return r >= utf8.RuneSelf }) {
				t.Error("ascii is not ASCII")
			}
		}
	}
}

// An echo, in pieces of any size, counts as many messages as were sent; an echo with one octet changed is noticed.
func TestAnswersAreCountedAndVerified(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 4 << 10, 65535, 65536} {
		for _, server := range []bool{false, true} {
			s := echoScript(kindBinary, size, 3, server, false)
			var echo []byte
			const n = 5
			for range n {
				echo = appendFrame(echo, 0x80|opBinary, server, s.payloads[0])
			}
			for _, piece := range []int{1, 7, 4096, len(echo)} {
				if got, err := fed(s, echo, piece); err != nil || got != n {
					t.Errorf("%d octets, masked %v, pieces of %d: %d messages and %v, want %d", size, server, piece, got, err, n)
				}
			}
			if size == 0 {
				continue
			}
			echo[len(echo)-1] ^= 1
			if _, err := fed(s, echo, 4096); !errors.Is(err, errOtherOctets) {
				t.Errorf("%d octets, masked %v: a changed octet gave %v", size, server, err)
			}
		}
	}
}

func fed(s *script, p []byte, piece int) (int64, error) {
	a := answers{script: s, verify: true}
	for len(p) > 0 {
		n := min(piece, len(p))
		if err := a.write(p[:n]); err != nil {
			return a.messages(), err
		}
		p = p[n:]
	}
	if a.octets/int64(s.answer) != a.count {
		return a.messages(), errors.New("octets and headers disagree")
	}
	return a.messages(), nil
}

// The loop of a script with takeover must stay right for ever, though it was compressed only once.
func TestDeflateScriptGoesRound(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		s, err := deflateScript(128, takeover, takeover)
		if err != nil {
			t.Fatal(err)
		}
		var window []byte
		for round, f := range []frames{s.first, s.loop, s.loop, s.loop} {
			begin := 0
			for i, end := range f.ends {
				got, err := unframed(f.octets[begin:end], window)
				if err != nil || !bytes.Equal(got, s.payloads[i]) {
					t.Fatalf("takeover %v, round %d, message %d: %.40q and %v, want %.40q", takeover, round, i, got, err, s.payloads[i])
				}
				begin = end
				if takeover {
					window = append(window, got...)
					window = window[max(0, len(window)-deflateWindow):]
				}
			}
		}
	}
}

func unframed(frame, window []byte) ([]byte, error) {
	head := 6
	if frame[1] == 0x80|126 {
		head = 8
	}
	p := bytes.Clone(frame[head:])
	unmask(p, [4]byte(frame[head-4:]))
	p = append(p, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	return io.ReadAll(flate.NewReaderDict(bytes.NewReader(p), window))
}

func TestMedianAndSpread(t *testing.T) {
	if m, ok := median([]float64{9, 1, 5}); !ok || m != 5 {
		t.Errorf("median of three: %v", m)
	}
	if m, ok := median([]float64{4, 2}); !ok || m != 3 {
		t.Errorf("median of two: %v", m)
	}
	if _, ok := median(nil); ok {
		t.Error("nothing has a median")
	}
	if s := spread([]float64{8, 10, 12}); s != 0.2 {
		t.Errorf("spread: %v, want 0.2", s)
	}
}

// The generator in the server's role, a bound as the client, in one process.
func TestGeneratorMeasuresABound(t *testing.T) {
	l, err := newLoad()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := l.listen()
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{frame: echoScript(kindBinary, 512, 1, true, true).answer}
	for range 2 {
		if err := byMessage.dial(addr, s); err != nil {
			t.Fatal(err)
		}
	}
	o := order{Op: "echo", Conns: 2, Depth: 4, Size: 512, Kind: kindBinary, Raw: true, Accept: true, Window: 1, PID: 0}
	if _, err := l.do(o); err != nil {
		t.Fatal(err)
	}
	o.Op = "window"
	r, err := l.do(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.do(order{Op: "close"}); err != nil {
		t.Fatal(err)
	}
	if r.Messages < fewestMessages || r.Elapsed <= 0 || r.CPU <= 0 {
		t.Errorf("measured %+v", r)
	}
}
