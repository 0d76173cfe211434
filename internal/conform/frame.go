package conform

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// This file holds frames as they look on the wire, legal or not (RFC 6455 section 5.2).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//	|I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//	|N|V|V|V|       |S|             |   (if payload len==126/127)   |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +

// The opcodes that the RFC defines.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// The reserved bits, as they stand in rsv.
const (
	rsv3 = 1 << iota
	rsv2
	rsv1
)

// maskForm says whether a frame is masked.
type maskForm uint8

const (
	maskByRole maskForm = iota // as the sender's role demands
	maskNever
	maskAlways
)

// A frame is one frame to be sent. Its zero form beyond the first four fields is the legal one.
type frame struct {
	more    bool // FIN is not set
	rsv     byte
	opcode  byte
	payload []byte

	claim uint64   // the declared length, where it is not the payload's
	bits  int      // 7, 16 or 64: the form of the length; 0: the shortest
	mask  maskForm // legal is maskByRole
	key   *[4]byte // nil: random
}

// length returns what the header declares.
func (f *frame) length() uint64 {
	if f.claim != 0 {
		return f.claim
	}
	return uint64(len(f.payload))
}

// appendTo appends the frame as a sender masks it that masks by role or not.
func (f *frame) appendTo(b []byte, masks bool) []byte {
	first := f.rsv<<4 | f.opcode
	if !f.more {
		first |= 0x80
	}
	masked := f.mask == maskAlways || f.mask == maskByRole && masks
	b = appendLength(append(b, first), f.length(), f.bits, masked)
	if !masked {
		return append(b, f.payload...)
	}
	key := f.key
	if key == nil {
		key = new([4]byte)
		_, _ = rand.Read(key[:]) // never fails
	}
	b = append(b, key[:]...)
	start := len(b)
	b = append(b, f.payload...)
	applyMask(b[start:], *key)
	return b
}

// appendLength appends the mask bit and the length in the given form.
func appendLength(b []byte, n uint64, bits int, masked bool) []byte {
	var bit byte
	if masked {
		bit = 0x80
	}
	switch {
	case bits == 7 || bits == 0 && n < 126:
		return append(b, bit|byte(n&0x7F))
	case bits == 16 || bits == 0 && n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, bit|127), n)
}

// applyMask masks or unmasks b in place (RFC 6455 section 5.3).
func applyMask(b []byte, key [4]byte) {
	if key == [4]byte{} {
		return
	}
	var keys [1024]byte
	for i := range keys {
		keys[i] = key[i%4]
	}
	for len(b) > 0 {
		b = b[subtle.XORBytes(b, b, keys[:]):]
	}
}

// received is a frame as the endpoint under test sent it, unmasked.
type received struct {
	frame
	masked bool
	maskBy [4]byte
}

// String returns the frame in words; forms that are as they should be are not mentioned.
func (f *received) String() string {
	shown := f.frame
	shown.claim, shown.bits = 0, 0
	return shown.String()
}

// readFrame reads one frame. Lengths are believed, memory is not given for them: the
// endpoint's octets make it grow. io.EOF: the stream ended between frames.
func readFrame(r io.Reader) (*received, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return nil, err
	}
	f := &received{}
	f.more, f.rsv, f.opcode = head[0]&0x80 == 0, head[0]>>4&7, head[0]&0xF
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return f, cut(err)
	}
	f.masked = head[0]&0x80 != 0
	f.claim, f.bits = uint64(head[0]&0x7F), 7
	if f.claim >= 126 {
		wide := 2
		if f.claim == 127 {
			wide = 8
		}
		if _, err := io.ReadFull(r, head[8-wide:]); err != nil {
			return f, cut(err)
		}
		clear(head[:8-wide])
		f.claim, f.bits = binary.BigEndian.Uint64(head[:]), wide*8
	}
	if f.masked {
		if _, err := io.ReadFull(r, f.maskBy[:]); err != nil {
			return f, cut(err)
		}
	}
	if f.claim > 1<<40 {
		return f, fmt.Errorf("a frame that declares %d octets", f.claim)
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, r, int64(f.claim))
	f.payload = body.Bytes()
	applyMask(f.payload, f.maskBy)
	return f, cut(err)
}

// cut is io.ErrUnexpectedEOF for an end inside a frame.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var opcodeNames = map[byte]string{
	opContinuation: "Continuation", opText: "Text", opBinary: "Binary",
	opClose: "Close", opPing: "Ping", opPong: "Pong",
}

// opcodeName returns the RFC's word for an opcode.
func opcodeName(op byte) string {
	if name, ok := opcodeNames[op]; ok {
		return name
	}
	return fmt.Sprintf("opcode 0x%X", op)
}

// String returns a frame in words: "Text, FIN, 5 octets "Hello"".
func (f *frame) String() string {
	s := opcodeName(f.opcode)
	if !f.more {
		s += ", FIN"
	}
	for i, name := range []string{"RSV3", "RSV2", "RSV1"} {
		if f.rsv>>i&1 != 0 {
			s += ", " + name
		}
	}
	if f.claim != 0 && f.claim != uint64(len(f.payload)) {
		s += fmt.Sprintf(", declares %d octets", f.claim)
	}
	if f.bits != 0 {
		s += fmt.Sprintf(", %d-bit length", f.bits)
	}
	switch f.mask {
	case maskNever:
		s += ", not masked"
	case maskAlways:
		s += ", masked"
	}
	if f.opcode == opClose && len(f.payload) >= 2 {
		return s + fmt.Sprintf(", code %d %s", binary.BigEndian.Uint16(f.payload), excerpt(f.payload[2:]))
	}
	return s + ", " + excerpt(f.payload)
}

// excerpt returns the length and the beginning of p, as text where it is printable text.
func excerpt(p []byte) string {
	const shown = 32
	head, dots := p, ""
	if len(p) > shown {
		head, dots = p[:shown], "…"
	}
	if len(p) == 0 {
		return "empty"
	}
	if utf8.Valid(head) {
		return fmt.Sprintf("%d octets %q%s", len(p), head, dots)
	}
	return fmt.Sprintf("%d octets %x%s", len(p), head, dots)
}
