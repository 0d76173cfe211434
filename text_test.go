package websocket

import (
	"bytes"
	"strings"
	"testing"
)

// TestKnownTextIsTheSameText: what differs in one octet from the text that was
// remembered, or in length, is not known.
func TestKnownTextIsTheSameText(t *testing.T) {
	text := []byte(strings.Repeat("known text, bekannter Täxt, 熟知 ", 20))
	known := 0
	for range 100 { // pools forget now and then
		if rememberText(text); isKnownText(text) {
			known++
		}
	}
	if known == 0 {
		t.Error("the same text is not known")
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 0x80
		if rememberText(text); isKnownText(changed) {
			t.Fatalf("with another octet %d: known", i)
		}
	}
	for _, other := range [][]byte{text[:len(text)-1], text[1:], append(bytes.Clone(text), 0), nil} {
		if rememberText(text); isKnownText(other) {
			t.Errorf("of %d octets instead of %d: known", len(other), len(text))
		}
	}
	for _, n := range []int{0, minKnownText - 1, maxKnownText + 1} {
		p := make([]byte, n)
		if rememberText(p); isKnownText(p) {
			t.Errorf("%d octets: known", n)
		}
	}
}
