package websocket

// The header of a frame, to and from octets (RFC 6455 section 5.2). Who masks and
// which frame may follow which is not known here.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//	|I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//	|N|V|V|V|       |S|             |   (if payload len==126/127)   |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//	|     Extended payload length continued, if payload len == 127  |
//	+ - - - - - - - - - - - - - - - +-------------------------------+
//	|                               |Masking-key, if MASK set to 1  |
//	+-------------------------------+-------------------------------+
//	| Masking-key (continued)       |          Payload Data         |
//	+-------------------------------- - - - - - - - - - - - - - - - +

import "encoding/binary"

// Opcode says what a frame is (RFC 6455 section 5.2). 3 to 7 and 11 to 15 are
// reserved.
type Opcode uint8

const (
	OpContinuation Opcode = 0x0 // goes on with a fragmented message
	OpText         Opcode = 0x1 // begins a message of UTF-8
	OpBinary       Opcode = 0x2 // begins a message of any octets
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// String returns the RFC's word for the opcode.
func (op Opcode) String() string {
	names := [16]string{
		OpContinuation: "continuation", OpText: "text", OpBinary: "binary",
		OpClose: "close", OpPing: "ping", OpPong: "pong",
	}
	if name := names[op&0xF]; name != "" && op <= 0xF {
		return name
	}
	return "reserved"
}

// isControl says whether op is that of a control frame (RFC 6455 section 5.5).
func (op Opcode) isControl() bool { return op&0x8 != 0 }

// Header is the header of a frame (RFC 6455 section 5.2).
type Header struct {
	Fin              bool // the frame is the last of its message
	Rsv1, Rsv2, Rsv3 bool // have a meaning only by extensions
	Opcode           Opcode
	Masked           bool    // Key is there, and the payload is masked with it
	Key              [4]byte // the masking key
	Length           int64   // octets of the payload
}

const (
	finBit  = 0x80 // in the first octet
	rsv1Bit = 0x40
	rsv2Bit = 0x20
	rsv3Bit = 0x10
	maskBit = 0x80 // in the second octet

	length16 = 126 // says that the length is in the next 2 octets
	length64 = 127 // says that the length is in the next 8 octets

	maxHeader = 14 // octets
)

var (
	errLengthForm = violation(StatusProtocolError, "5.2", "payload length is not in its shortest form")
	errLengthTop  = violation(StatusProtocolError, "5.2", "most significant bit of a 64-bit payload length is set")
)

// AppendHeader appends the octets of h, at most 14, to b. The length takes its
// shortest form, as section 5.2 asks for. h.Opcode is below 16 and h.Length not
// negative.
func AppendHeader(b []byte, h Header) []byte { return h.append(b) }

// append is AppendHeader. Inside the package headers are passed by reference:
// copying what was just put together octet by octet would stall the processor.
func (h *Header) append(b []byte) []byte {
	first, second := byte(h.Opcode&0xF), byte(0)
	if h.Fin {
		first |= finBit
	}
	if h.Rsv1 {
		first |= rsv1Bit
	}
	if h.Rsv2 {
		first |= rsv2Bit
	}
	if h.Rsv3 {
		first |= rsv3Bit
	}
	if h.Masked {
		second = maskBit
	}
	switch {
	case h.Length < length16:
		b = append(b, first, second|byte(h.Length))
	case h.Length < 1<<16:
		b = append(b, first, second|length16, byte(h.Length>>8), byte(h.Length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, second|length64), uint64(h.Length))
	}
	if h.Masked {
		b = append(b, h.Key[:]...)
	}
	return b
}

// ParseHeader parses the header that b begins with. n is how many octets it has; 0
// with a nil error says that b does not hold all of it yet. It refuses what no
// header may look like: a length that is not in its shortest form, or whose most
// significant bit is set (a *ProtocolError, section 5.2). So exactly one sequence
// of octets stands for each header.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if n, err = h.parse(b); n == 0 {
		return Header{}, 0, err
	}
	return h, n, nil
}

// parse is ParseHeader. Where n is 0, h has no meaning.
func (h *Header) parse(b []byte) (n int, err error) {
	if len(b) < 2 {
		return 0, nil
	}
	h.Fin = b[0]&finBit != 0 // field by field: a literal would be made elsewhere and copied
	h.Rsv1 = b[0]&rsv1Bit != 0
	h.Rsv2 = b[0]&rsv2Bit != 0
	h.Rsv3 = b[0]&rsv3Bit != 0
	h.Opcode = Opcode(b[0] & 0xF)
	h.Masked = b[1]&maskBit != 0
	h.Key = [4]byte{}
	h.Length = int64(b[1] &^ maskBit)
	n = 2
	if h.Length >= length16 {
		if h.Length, n, err = parseLength(b, h.Length); n == 0 || err != nil {
			return 0, err
		}
	}
	if h.Masked {
		if len(b) < n+4 {
			return 0, nil
		}
		h.Key = [4]byte(b[n:])
		n += 4
	}
	return n, nil
}

// parseLength parses the extended payload length of the header that b begins
// with. n is where it ends; 0 without an error says that b ends before that.
func parseLength(b []byte, form int64) (length int64, n int, err error) {
	if form == length16 {
		if len(b) < 4 {
			return 0, 0, nil
		}
		length = int64(binary.BigEndian.Uint16(b[2:]))
		if length < length16 {
			return 0, 0, errLengthForm
		}
		return length, 4, nil
	}
	if len(b) < 10 {
		return 0, 0, nil
	}
	length = int64(binary.BigEndian.Uint64(b[2:]))
	switch {
	case length < 0:
		return 0, 0, errLengthTop
	case length < 1<<16:
		return 0, 0, errLengthForm
	}
	return length, 10, nil
}
