//go:build linux

package main

// What goes over the wire: payloads, and the frames that the load generator sends, made once before anything is measured.
// Nothing here comes from a WebSocket library, so that no contender meets its own mistakes or its own habits.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The kinds of payload.
const (
	kindBinary = "binary"
	kindASCII  = "ascii"
	kindUTF8   = "utf8" // text of two, three and four octets a character, with ASCII between
	kindJSON   = "json"
)

const (
	opText   = 1
	opBinary = 2
)

// maskKey masks every frame of the generator. A peer can't tell it from a random key, and one key lets frames be made beforehand.
var maskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// payload returns size octets of the kind. Text is whole: no character is cut.
func payload(kind string, size int) []byte {
	switch kind {
	case kindASCII:
		return filled("The quick brown fox jumps over the lazy dog. ", size)
	case kindUTF8:
		return filled("Größe, Maß und Übung; 数据在网络上流动; привет, мир; 👏🎉 ", size)
	case kindJSON:
		return document(0, size)
	}
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

func filled(text string, size int) []byte {
	p := make([]byte, 0, size)
	for {
		for _, r := range text {
			c := string(r)
			if len(p)+len(c) > size {
				return append(p, strings.Repeat(".", size-len(p))...)
			}
			p = append(p, c...)
		}
	}
}

// document returns a JSON object of exactly size octets, as an application that pushes rows of figures sends them;
// n makes one differ from the next.
func document(n, size int) []byte {
	random := uint32(n)*2654435761 + 12345
	next := func(below uint32) uint32 {
		random = random*1664525 + 1013904223
		return (random >> 8) % below
	}
	b := fmt.Appendf(nil, `{"type":"prices","id":%d,"rows":[`, 100000+n)
	const tail = `],"pad":""}`
	for first := true; ; first = false {
		row := fmt.Appendf(nil, `{"symbol":"%c%c%c","bid":%d.%02d,"ask":%d.%02d,"volume":%d}`,
			'A'+rune(next(26)), 'A'+rune(next(26)), 'A'+rune(next(26)), next(900), next(100), next(900), next(100), next(1e6))
		if !first {
			row = append([]byte{','}, row...)
		}
		if len(b)+len(row)+len(tail) > size {
			break
		}
		b = append(b, row...)
	}
	b = append(b, `],"pad":"`...)
	for len(b) < size-2 {
		b = append(b, 'a'+byte(next(26)))
	}
	return append(b, `"}`...)
}

func opcodeOf(kind string) byte {
	if kind == kindBinary {
		return opBinary
	}
	return opText
}

// appendFrame appends one unfragmented frame; first is its first octet.
func appendFrame(b []byte, first byte, masked bool, payload []byte) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, first, mask|byte(n))
	case n < 1<<16:
		b = append(b, first, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, first, mask|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	b = append(b, maskKey[:]...)
	start := len(b)
	b = append(b, payload...)
	unmask(b[start:], maskKey)
	return b
}

func unmask(p []byte, key [4]byte) {
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// script is what one connection sends: first once, then loop for ever, and what must come back.
type script struct {
	first, loop frames
	payloads    [][]byte // of the messages in loop, in order; first holds the same ones
	answer      int      // octets of each answer, where all are equally long; 0: answers are counted by their headers
	raw         bool     // answers are the octets that were sent
	masked      bool     // answers must be masked: the generator plays the server
	inflate     bool     // answers may be compressed
	takeover    bool     // their window goes on from message to message
}

// frames are messages back to back; ends says where each of them ends.
type frames struct {
	octets []byte
	ends   []int
}

func (f *frames) add(first byte, masked bool, payload []byte) {
	f.octets = appendFrame(f.octets, first, masked, payload)
	f.ends = append(f.ends, len(f.octets))
}

// batchOctets bounds how many copies of a message lie back to back, and so how many can leave in one system call.
const batchOctets = 256 << 10

// echoScript sends one message again and again. server: the generator plays the server. raw: the octets are only octets to the peer.
func echoScript(kind string, size, depth int, server, raw bool) *script {
	p := payload(kind, size)
	s := &script{raw: raw, masked: server, payloads: [][]byte{p}}
	first := 0x80 | opcodeOf(kind)
	copies := max(1, min(depth, batchOctets/(size+14)))
	for range copies {
		s.loop.add(first, !server, p)
	}
	s.loop.octets = offPageStart(s.loop.octets)
	s.answer = len(appendFrame(nil, first, server != raw, p))
	return s
}

// offPageStart is p half a page behind the start of one, if it is long. Some processors copy several times as slowly to 1 to 15 octets
// further in a page (rep movsb on AMD's Zen 4): frames that begin with a page go to such places behind the header of a frame that the
// contender has not taken yet, and it would be chance whom the generator can keep busy.
func offPageStart(p []byte) []byte {
	const skew = 2 << 10
	if len(p) <= 32<<10 {
		return p
	}
	return append(make([]byte, skew, skew+len(p)), p...)[skew:]
}

// deflateScript sends JSON documents, compressed. With takeover the compressor keeps its window: the documents go round, and as one
// round is longer than the window, what the compressor writes for the second round is right for every later one.
func deflateScript(size int, client, server bool) (*script, error) {
	s := &script{inflate: true, takeover: server}
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	for round := range 2 {
		s.first, s.loop, s.payloads = s.loop, frames{}, nil
		for i := range max(64, 2*deflateWindow/size) {
			p := document(i, size)
			if !client {
				buf.Reset()
				w.Reset(&buf)
			}
			z, err := deflated(w, &buf, p)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", round, err)
			}
			s.loop.add(0xc0|opText, true, z)
			s.payloads = append(s.payloads, p)
		}
	}
	return s, nil
}

const deflateWindow = 32 << 10

func deflated(w *flate.Writer, buf *bytes.Buffer, p []byte) ([]byte, error) {
	buf.Reset()
	if _, err := w.Write(p); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(bytes.Clone(buf.Bytes()), []byte{0, 0, 0xff, 0xff}), nil
}

// answers takes the octets that come back, counts whole messages and, while verify is set, holds them against the script.
type answers struct {
	script *script
	verify bool
	octets int64 // all that came
	count  int64 // whole messages, where they are counted by headers
	plain  int64 // octets of the messages, uncompressed, while verify was set

	header  []byte
	left    int64 // octets of the present frame's payload that have not come yet
	payload []byte
	rsv1    bool // of the message's first frame
	started bool
	window  []byte
}

var (
	errOtherOctets = errors.New("the answer is not what was sent")
	errHeader      = errors.New("a frame that an echo does not send")
)

// messages says how many whole messages have come.
func (a *answers) messages() int64 {
	if a.script.answer > 0 {
		return a.octets / int64(a.script.answer)
	}
	return a.count
}

// needsOctets says whether write wants to see the octets, or only their number.
func (a *answers) needsOctets() bool {
	return a.verify || a.script.answer == 0
}

func (a *answers) write(p []byte) error {
	a.octets += int64(len(p))
	if !a.needsOctets() {
		return nil
	}
	if a.script.raw {
		return a.writeRaw(p)
	}
	for len(p) > 0 {
		if a.left == 0 {
			n, err := a.writeHeader(p)
			if err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		n := int(min(int64(len(p)), a.left))
		if a.verify {
			a.payload = append(a.payload, p[:n]...)
		}
		a.left -= int64(n)
		p = p[n:]
		if a.left == 0 {
			if err := a.message(); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRaw compares with the frames that were sent; all of them are equal.
func (a *answers) writeRaw(p []byte) error {
	sent := a.script.loop.octets[:a.script.answer]
	at := int((a.octets - int64(len(p))) % int64(len(sent)))
	for len(p) > 0 {
		n := min(len(p), len(sent)-at)
		if !bytes.Equal(p[:n], sent[at:at+n]) {
			return errOtherOctets
		}
		p, at = p[n:], 0
	}
	return nil
}

// writeHeader takes octets until the header is whole; then left is the payload's length.
func (a *answers) writeHeader(p []byte) (int, error) {
	for n, c := range p {
		a.header = append(a.header, c)
		if len(a.header) < 2 || len(a.header) < a.headerSize() {
			continue
		}
		if err := a.begin(); err != nil {
			return 0, err
		}
		if a.left == 0 {
			return n + 1, a.message()
		}
		return n + 1, nil
	}
	return len(p), nil
}

func (a *answers) headerSize() int {
	size := 2
	switch a.header[1] & 0x7f {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if a.script.masked {
		size += 4
	}
	return size
}

// begin starts a frame whose header is whole.
func (a *answers) begin() error {
	h := a.header
	fin, masked, op := h[0]&0x80 != 0, h[1]&0x80 != 0, h[0]&15
	switch {
	case op > opBinary, (op == 0) != a.started, masked != a.script.masked:
		return fmt.Errorf("%w: % x", errHeader, h)
	case !fin && a.script.answer > 0: // the octets are counted as those of whole messages
		return fmt.Errorf("%w: a fragment, % x", errHeader, h)
	}
	switch h[1] & 0x7f {
	case 126:
		a.left = int64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		a.left = int64(binary.BigEndian.Uint64(h[2:]))
	default:
		a.left = int64(h[1] & 0x7f)
	}
	if !a.started {
		a.rsv1 = h[0]&0x40 != 0
	}
	a.started = !fin
	return nil
}

// message is called at the end of each frame, and does its work at the end of the message.
func (a *answers) message() error {
	if a.verify && a.script.masked {
		unmask(a.payload, [4]byte(a.header[len(a.header)-4:]))
	}
	a.header = a.header[:0]
	if a.started {
		return nil
	}
	a.count++
	if !a.verify {
		return nil
	}
	p := a.payload
	if a.rsv1 {
		var err error
		if p, err = a.inflate(p); err != nil {
			return err
		}
	}
	a.payload = a.payload[:0]
	a.plain += int64(len(p))
	if want := a.script.payloads[(a.count-1)%int64(len(a.script.payloads))]; !bytes.Equal(p, want) {
		return fmt.Errorf("%w: message %d has %d octets, want %d", errOtherOctets, a.count, len(p), len(want))
	}
	if a.script.takeover && a.rsv1 { // what was not compressed is not in the window (RFC 7692 section 7.2.2)
		a.window = append(a.window, p...)
		a.window = a.window[max(0, len(a.window)-deflateWindow):]
	}
	return nil
}

func (a *answers) inflate(p []byte) ([]byte, error) {
	r := flate.NewReaderDict(bytes.NewReader(append(p[:len(p):len(p)], 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)), a.window)
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("inflating an answer: %w", err)
	}
	return out.Bytes(), nil
}
