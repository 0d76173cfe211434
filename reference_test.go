package websocket

// A slow twin of the reader: what all the octets that a peer sends come to,
// written after the text of the RFCs, without a thought for chunks, buffers or
// speed. The fuzz targets of fuzz_conn_test.go hold the real one against it.

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// occurrence is something whole that has arrived: a message, a Ping or a Pong.
type occurrence struct {
	opcode  Opcode
	payload string
}

// outcome is how the octets end.
type outcome struct {
	what   string     // "end of stream", "close", "violation", "too big"; "": not yet
	code   StatusCode // of the peer's Close, or of the one that we owe it
	reason string     // of the peer's Close
}

var (
	streamEnds = outcome{what: "end of stream"}
	tooLong    = outcome{what: "too big", code: 1009}
)

func violates(code StatusCode) outcome { return outcome{what: "violation", code: code} }

// reference judges the octets of one direction.
type reference struct {
	masked   bool // they come from a client
	deflate  bool // permessage-deflate was agreed
	takeover bool // with context takeover
	window   int  // octets
	limit    int  // octets of a message
	frames   int  // of a message

	rest []byte       // octets that were not looked at
	seen []occurrence // in order
	end  outcome

	// A compressed message that is open at the end, or at fault for it, may have
	// been found out before all of it had arrived: then after seen[:earlyFrom] at
	// the soonest, with one of these outcomes.
	early     []outcome
	earlyFrom int

	open       Opcode // OpText or OpBinary inside a message, else 0
	compressed bool
	fragments  int
	message    []byte // as it came
	checked    int    // octets of message that are whole characters
	history    []byte // what was inflated before
}

// naiveHeader is a header with its length as it stands there.
type naiveHeader struct {
	fin, masked bool
	rsv         byte
	opcode      Opcode
	length      uint64
	key         []byte
}

// play judges octets, all that will ever come.
func (r *reference) play(octets []byte) {
	r.rest = octets
	for r.end.what == "" {
		r.frame()
	}
	if r.open != 0 && r.compressed {
		r.couldEndEarly()
	}
}

// take takes n octets; where they are not there, the stream has ended.
func (r *reference) take(n int) []byte {
	if r.end.what == "" && len(r.rest) < n {
		r.end = streamEnds
	}
	if r.end.what != "" {
		return make([]byte, n)
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *reference) frame() {
	h := r.header()
	if r.end.what != "" {
		return
	}
	if r.forbids(h) {
		r.end = violates(1002)
		return
	}
	payload := slices.Clone(r.rest[:min(h.length, uint64(len(r.rest)))])
	r.rest = r.rest[len(payload):]
	for i := range payload {
		if h.masked {
			payload[i] ^= h.key[i%4]
		}
	}
	whole := uint64(len(payload)) == h.length
	if h.opcode >= 8 {
		r.control(h, payload, whole)
		return
	}
	r.data(h, payload, whole)
}

// header is section 5.2.
func (r *reference) header() (h naiveHeader) {
	p := r.take(2)
	h.fin, h.rsv, h.opcode = p[0]>>7 == 1, p[0]>>4&7, Opcode(p[0]&15)
	h.masked, h.length = p[1]>>7 == 1, uint64(p[1]&127)
	least := uint64(0)
	switch h.length {
	case 126:
		h.length, least = uint64(binary.BigEndian.Uint16(r.take(2))), 126
	case 127:
		h.length, least = binary.BigEndian.Uint64(r.take(8)), 65536
	}
	if r.end.what == "" && (h.length < least || h.length>>63 == 1) {
		r.end = violates(1002)
	}
	if h.masked {
		h.key = r.take(4)
	}
	return h
}

// forbids is sections 5.1 to 5.5, and RFC 7692 section 6.
func (r *reference) forbids(h naiveHeader) bool {
	control, begins := h.opcode >= 8, h.opcode == 1 || h.opcode == 2
	return h.rsv&3 != 0 ||
		h.rsv == 4 && !(r.deflate && begins) ||
		h.opcode > 2 && h.opcode < 8 || h.opcode > 10 ||
		h.masked != r.masked ||
		control && (!h.fin || h.length > 125) ||
		h.opcode == 0 && r.open == 0 ||
		begins && r.open != 0
}

func (r *reference) control(h naiveHeader, payload []byte, whole bool) {
	switch {
	case !whole:
		r.end = streamEnds
	case h.opcode != OpClose:
		r.seen = append(r.seen, occurrence{h.opcode, string(payload)})
	case len(payload) == 0:
		r.end = outcome{what: "close", code: 1005}
	case len(payload) == 1:
		r.end = violates(1002)
	default:
		r.end = naiveClose(int(payload[0])<<8|int(payload[1]), string(payload[2:]))
	}
}

// naiveClose is sections 5.5.1 and 7.4, and the registry of codes.
func naiveClose(code int, reason string) outcome {
	switch {
	case code < 1000, code > 1014 && code < 3000, code >= 5000, code == 1004, code == 1005, code == 1006:
		return violates(1002)
	case !utf8.ValidString(reason):
		return violates(1007)
	}
	return outcome{"close", StatusCode(code), reason}
}

// data is sections 5.4, 6.2 and 8.1.
func (r *reference) data(h naiveHeader, payload []byte, whole bool) {
	if h.opcode != 0 {
		r.open, r.compressed, r.fragments, r.earlyFrom = h.opcode, h.rsv == 4, 0, len(r.seen)
		r.message, r.checked = nil, 0
	}
	r.fragments++
	room := r.limit - len(r.message)
	if r.compressed {
		room += 15*r.limit + 64<<10 // by the library's rule that so much has to give something
	}
	if r.fragments > r.frames || h.length > uint64(max(0, room)) {
		r.end = tooLong
		return
	}
	r.message = append(r.message, payload...)
	switch {
	case r.open == OpText && !r.compressed && !r.mayGoOn():
		r.end = violates(1007)
	case !whole:
		r.end = streamEnds
	case h.fin:
		r.messageEnds()
	}
}

// mayGoOn says whether the text so far is the beginning of a text.
func (r *reference) mayGoOn() bool {
	for r.checked < len(r.message) {
		c, n := utf8.DecodeRune(r.message[r.checked:])
		if c == utf8.RuneError && n == 1 {
			return !utf8.FullRune(r.message[r.checked:])
		}
		r.checked += n
	}
	return true
}

func (r *reference) messageEnds() {
	message := r.message
	if r.compressed {
		var why string
		message, _, why = r.inflate(r.message)
		if faults := r.faults(message, why, true); len(faults) > 0 {
			r.end, r.early = faults[0], faults
			return
		}
		if r.takeover {
			r.history = append(r.history, message...)
			r.history = r.history[max(0, len(r.history)-r.window):]
		}
	}
	if r.open == OpText && !utf8.Valid(message) {
		r.end = violates(1007)
		return
	}
	r.seen = append(r.seen, occurrence{r.open, string(message)})
	r.open = 0
}

// inflate inflates what there is of a message. why is "" where it is whole, "cut"
// where it goes on, and bits how many were looked at.
func (r *reference) inflate(payload []byte) (out []byte, bits int, why string) {
	n := &naive{in: payload, out: slices.Clone(r.history), window: r.window}
	defer func() {
		if e := recover(); e != nil {
			why = e.(naiveError).Error()
		}
		out, bits = n.out[len(r.history):], n.bit
	}()
	for !n.block() {
	}
	return nil, 0, ""
}

// isHopeless says whether the open message, which looks like the beginning of
// one, is none: the twin goes on to the next symbol before it finds out. No symbol
// has more than 15 bits.
func (r *reference) isHopeless() bool {
	for i := range 64 {
		payload := append(slices.Clip(r.message), endlessOctets(1000*i, 8)...)
		if _, bits, why := r.inflate(payload); why == "" || why == "cut" || bits > 8*len(r.message)+15 {
			return false
		}
	}
	return true
}

// faults is what a compressed message can be failed for that has come to out.
func (r *reference) faults(out []byte, why string, whole bool) (faults []outcome) {
	long := len(out) > r.limit
	if long {
		faults = append(faults, tooLong)
	}
	text := out[:min(len(out), r.limit)]
	switch {
	case !long && why != "" && (whole || why != "cut"),
		r.open == OpText && !mayBecomeText(text),
		r.open == OpText && whole && !long && !utf8.Valid(text):
		faults = append(faults, violates(1007))
	}
	return faults
}

// couldEndEarly notes what the open message could have been failed for before
// its end, or all its faults where it is whole and has two.
func (r *reference) couldEndEarly() {
	out, _, why := r.inflate(r.message)
	r.early = append(r.early, r.faults(out, why, false)...)
}

// played is what an endpoint has made of the octets.
type played struct {
	seen []occurrence
	end  outcome
}

// check holds what an endpoint has made of the octets against the reference.
func (r *reference) check(t *testing.T, got played) {
	t.Helper()
	n := len(got.seen)
	exact := got.end == r.end && slices.Equal(got.seen, r.seen)
	if !exact && r.open != 0 && r.compressed && r.isHopeless() {
		r.early = append(r.early, violates(1007))
	}
	early := slices.Contains(r.early, got.end) && n >= r.earlyFrom && n <= len(r.seen) && slices.Equal(got.seen, r.seen[:n])
	if !exact && !early {
		t.Fatalf("got\n%v\nwant\n%v\nor one of %v from %d on", got, played{r.seen, r.end}, r.early, r.earlyFrom)
	}
}

// String lists what was seen, a line each.
func (p played) String() string {
	var b strings.Builder
	for _, o := range p.seen {
		b.WriteString("  " + o.opcode.String() + " " + abridged([]byte(o.payload)) + "\n")
	}
	b.WriteString("  " + p.end.what)
	if p.end.code != 0 {
		b.WriteString(" " + abridged(appendClosePayload(nil, p.end.code, p.end.reason)))
	}
	return b.String()
}

// only is what of a list has one of the opcodes.
func only(list []occurrence, opcodes ...Opcode) (some []occurrence) {
	for _, o := range list {
		if slices.Contains(opcodes, o.opcode) {
			some = append(some, o)
		}
	}
	return some
}
