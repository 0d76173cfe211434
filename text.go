package websocket

// Texts that need no check, because they had one a moment ago.

import (
	"bytes"
	"sync"
)

const (
	// minKnownText and maxKnownText are how many octets a text has that is worth
	// remembering: below, a check costs no more than the comparison.
	minKnownText = 256
	maxKnownText = 64 << 10
)

// knownTexts are copies of texts that were found to be UTF-8 a moment ago. What
// was read is often what is written next, and what is written to one peer what is
// written to another; to compare costs a fraction of a check.
var knownTexts = sync.Pool{New: func() any { return new([]byte) }}

// isText says whether p is UTF-8 as a whole.
func isText(p []byte) bool {
	rest := p[asciiPrefix(p):]
	switch {
	case len(rest) < asciiStep:
		return validUTF8(rest)
	case isKnownText(p):
		return true
	case !validUTF8(rest):
		return false
	}
	rememberText(p)
	return true
}

// rememberText keeps p, which is UTF-8 as a whole, for isKnownText. It is not for ASCII:
// to check that again costs less than to keep and to compare it.
func rememberText(p []byte) {
	if utf8HasVectors || len(p) < minKnownText || len(p) > maxKnownText {
		return
	}
	known := knownTexts.Get().(*[]byte)
	*known = append((*known)[:0], p...)
	knownTexts.Put(known)
}

// isKnownText says whether p was found to be UTF-8 a moment ago.
func isKnownText(p []byte) bool {
	if utf8HasVectors || len(p) < minKnownText || len(p) > maxKnownText {
		return false
	}
	known := knownTexts.Get().(*[]byte)
	same := bytes.Equal(*known, p)
	knownTexts.Put(known)
	return same
}
