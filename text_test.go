package websocket

import (
	"bytes"
	"strings"
	"testing"
)

// TestKnownTextIsTheSameText: what differs in one octet from the text that was
// remembered, or in length, is not known.
func TestKnownTextIsTheSameText(t *testing.T) {
	if utf8HasVectors {
		t.Skip("with vectors texts are checked again")
	}
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

// TestASCIIIsNotRemembered: to check it again costs less.
func TestASCIIIsNotRemembered(t *testing.T) {
	if utf8HasVectors {
		t.Skip("with vectors texts are checked again")
	}
	plain, beyond := []byte(strings.Repeat("a", 2*minKnownText)), []byte(strings.Repeat("é", minKnownText))
	knew := false
	for range 100 { // pools forget now and then
		if !isText(plain) || !isText(beyond) {
			t.Fatal("not a text")
		}
		knew = knew || isKnownText(beyond)
		if !isText(plain) || isKnownText(plain) {
			t.Fatal("ASCII was remembered, or is no text")
		}
	}
	if !knew {
		t.Error("what is not ASCII was never remembered")
	}
	octets := text(string(plain)).append(nil, true, [4]byte{1, 2, 3, 4})
	for _, inPlace := range []bool{true, false} {
		r := newReader(bytes.NewReader(octets), new(heard))
		var err error
		if inPlace {
			_, _, _, err = r.nextInPlace()
		} else if _, err = r.next(); err == nil {
			_, err = r.appendMessage(nil)
		}
		if err != nil || isKnownText(plain) {
			t.Errorf("read, in place %t: %v, known %t", inPlace, err, isKnownText(plain))
		}
	}
}
