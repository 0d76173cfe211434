package websocket

// Which frame may follow which, as the receiver sees it (RFC 6455 sections 5.1
// to 5.5). This file knows headers only; it reads and writes nothing.

// MessageType says what the payload of a data message is (RFC 6455 section 5.6).
// Control frames have no MessageType, so none can be asked for by mistake.
type MessageType uint8

const (
	// Text is a message whose payload is UTF-8.
	Text = MessageType(OpText)
	// Binary is a message whose payload is for the application to interpret.
	Binary = MessageType(OpBinary)
)

// String returns "Text", "Binary", or a description of the invalid value.
func (t MessageType) String() string {
	switch t {
	case Text:
		return "Text"
	case Binary:
		return "Binary"
	default:
		return "MessageType(invalid)"
	}
}

// isValid says whether t is one of the two types of data messages.
func (t MessageType) isValid() bool { return t == Text || t == Binary }

var (
	errReserved        = violation(StatusProtocolError, "5.2", "reserved bit set without an extension that gives it a meaning")
	errRsv1Misplaced   = violation(StatusProtocolError, "RFC 7692 6.1", "RSV1 set on a frame that is not the first of a data message")
	errUnmasked        = violation(StatusProtocolError, "5.1", "frame from a client is not masked")
	errMasked          = violation(StatusProtocolError, "5.1", "frame from a server is masked")
	errOpcode          = violation(StatusProtocolError, "5.2", "reserved opcode")
	errControlLong     = violation(StatusProtocolError, "5.5", "control frame longer than 125 octets")
	errControlFragment = violation(StatusProtocolError, "5.5", "fragmented control frame")
	errNoStart         = violation(StatusProtocolError, "5.4", "continuation frame without a message to continue")
	errInterleaved     = violation(StatusProtocolError, "5.4", "new message inside a fragmented one")
)

// sequence is what the frames of one direction have led up to. Its zero value,
// with masked and deflate set, is the start of a connection.
type sequence struct {
	masked  bool // constant; the peer is a client, so its frames must be masked
	deflate bool // constant; permessage-deflate is agreed, so RSV1 has a meaning

	opcode     Opcode // OpText or OpBinary while a message is open; else OpContinuation
	compressed bool   // the open message is compressed
	final      bool   // the last data frame was the open message's last
	fragments  int    // frames of the open message so far
}

// accept judges the header of the next frame. If it returns an error, the
// sequence is as it was.
func (s *sequence) accept(h *Header) error {
	first := h.Opcode == OpText || h.Opcode == OpBinary
	switch {
	// "MUST be 0 unless an extension is negotiated that defines meanings for
	// non-zero values." (5.2)
	case h.Rsv2, h.Rsv3, h.Rsv1 && !s.deflate:
		return errReserved
	// "An endpoint MUST NOT set the 'Per-Message Compressed' bit of control
	// frames and non-first fragments of a data message." (RFC 7692 6.1)
	case h.Rsv1 && !first:
		return errRsv1Misplaced
	// "If an unknown opcode is received, the receiving endpoint MUST _Fail the
	// WebSocket Connection_." (5.2)
	case !first && h.Opcode != OpContinuation && (h.Opcode < OpClose || h.Opcode > OpPong):
		return errOpcode
	// "The server MUST close the connection upon receiving a frame that is not
	// masked." (5.1)
	case s.masked && !h.Masked:
		return errUnmasked
	// "A client MUST close a connection if it detects a masked frame." (5.1)
	case !s.masked && h.Masked:
		return errMasked
	// "All control frames MUST have a payload length of 125 bytes or less and
	// MUST NOT be fragmented." (5.5)
	case h.Opcode.isControl() && h.Length > maxControlPayload:
		return errControlLong
	case h.Opcode.isControl() && !h.Fin:
		return errControlFragment
	// "A fragmented message consists of a single frame with the FIN bit clear
	// and an opcode other than 0, followed by zero or more frames with the FIN
	// bit clear and the opcode set to 0, and terminated by a single frame with
	// the FIN bit set and an opcode of 0." (5.4)
	case h.Opcode == OpContinuation && s.opcode == OpContinuation:
		return errNoStart
	case first && s.opcode != OpContinuation:
		return errInterleaved
	// Control frames stand between fragments and change nothing. (5.4)
	case h.Opcode.isControl():
		return nil
	}
	if first {
		s.opcode, s.compressed, s.fragments = h.Opcode, h.Rsv1, 0
	}
	s.final = h.Fin
	s.fragments++
	return nil
}

// isOpen says whether a message has begun whose end was not taken yet.
func (s *sequence) isOpen() bool { return s.opcode != OpContinuation }

// end takes the end of the open message.
func (s *sequence) end() { s.opcode = OpContinuation }
