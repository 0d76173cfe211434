package websocket

// Every header in every state, judged by the RFC's rules one by one.

import (
	"errors"
	"testing"
)

// rules are what section 5 asks of a header in a state, one by one. Where several
// are broken, any of their errors will do.
func rules(s sequence, h Header) (broken []error) {
	rule := func(kept bool, err error) {
		if !kept {
			broken = append(broken, err)
		}
	}
	control := h.Opcode >= 8
	data := h.Opcode == OpText || h.Opcode == OpBinary
	known := h.Opcode <= OpBinary || h.Opcode >= OpClose && h.Opcode <= OpPong
	rule(!h.Rsv2 && !h.Rsv3 && (s.deflate || !h.Rsv1), errReserved)
	rule(!h.Rsv1 || data, errRsv1Misplaced)
	rule(known, errOpcode)
	rule(!s.masked || h.Masked, errUnmasked)
	rule(s.masked || !h.Masked, errMasked)
	rule(!control || h.Length <= 125, errControlLong)
	rule(!control || h.Fin, errControlFragment)
	rule(h.Opcode != OpContinuation || s.isOpen(), errNoStart)
	rule(!data || !s.isOpen(), errInterleaved)
	return broken
}

// everyHeader calls f with every header that sequence can tell from another.
func everyHeader(f func(h Header)) {
	for bits := range 1 << 9 {
		bit := func(i int) bool { return bits>>i&1 != 0 }
		for _, length := range []int64{0, 125, 126, 1 << 40} {
			f(Header{Fin: bit(0), Rsv1: bit(1), Rsv2: bit(2), Rsv3: bit(3), Masked: bit(4), Opcode: Opcode(bits >> 5), Length: length})
		}
	}
}

func TestEveryHeaderInEveryState(t *testing.T) {
	for _, masked := range []bool{false, true} {
		for _, deflate := range []bool{false, true} {
			for _, before := range []sequence{
				{},
				{opcode: OpText, fragments: 1},
				{opcode: OpBinary, compressed: true, fragments: 7},
				{final: true, fragments: 3}, // a message has ended
			} {
				before.masked, before.deflate = masked, deflate
				everyHeader(func(h Header) {
					judge(t, before, h)
				})
			}
		}
	}
}

// judge holds what accept makes of a header in a state against the rules.
func judge(t *testing.T, before sequence, h Header) {
	t.Helper()
	s, broken := before, rules(before, h)
	err := s.accept(&h)
	if err != nil {
		for _, rule := range broken {
			if err == rule {
				broken = nil
			}
		}
		var violated *ProtocolError
		if len(broken) > 0 || !errors.As(err, &violated) || violated.Code != StatusProtocolError {
			t.Fatalf("%+v in %+v: got %v, want one of %v", h, before, err, rules(before, h))
		}
		if s != before {
			t.Fatalf("%+v was refused and changed %+v to %+v", h, before, s)
		}
		return
	}
	if len(broken) > 0 {
		t.Fatalf("%+v in %+v: got nil, want one of %v", h, before, broken)
	}
	want := before
	switch {
	case h.Opcode >= 8:
	case h.Opcode == OpContinuation:
		want.final = h.Fin
		want.fragments++
	default:
		want.opcode, want.compressed, want.final, want.fragments = h.Opcode, h.Rsv1, h.Fin, 1
	}
	if s != want {
		t.Fatalf("%+v turned %+v into %+v, want %+v", h, before, s, want)
	}
}

func TestMessageTypes(t *testing.T) {
	for typ := range MessageType(255) {
		want := map[MessageType]string{Text: "Text", Binary: "Binary"}[typ]
		if typ.isValid() != (want != "") {
			t.Errorf("%d is valid: %t", typ, typ.isValid())
		}
		if want == "" {
			want = "MessageType(invalid)"
		}
		if got := typ.String(); got != want {
			t.Errorf("%d is %q, want %q", typ, got, want)
		}
	}
}
