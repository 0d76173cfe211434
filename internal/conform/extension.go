package conform

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file holds permessage-deflate as the kit sees it: the header (RFC 6455 section 9.1,
// RFC 7692 sections 5 and 7.1), what was agreed, and payloads (RFC 7692 section 7.2).

// An extension is one element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []param
}

type param struct {
	name, value string
	hasValue    bool
}

// isToken reports whether s is a token of HTTP.
func isToken(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7F || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return s != ""
}

// parseExtensions reads the header's values, with all that RFC 2616's list rule and implied
// blanks allow (RFC 6455 section 9.1). No comma or semicolon can be in a quoted string: what it
// stands for is a token.
func parseExtensions(values []string) ([]extension, error) {
	var list []extension
	joined := strings.Join(values, ",")
	for _, e := range strings.Split(joined, ",") {
		if strings.TrimSpace(e) == "" {
			continue // "null elements are allowed, but do not contribute to the count of elements present"
		}
		parts := strings.Split(e, ";")
		x := extension{name: strings.TrimSpace(parts[0])}
		if !isToken(x.name) {
			return nil, fmt.Errorf("Sec-WebSocket-Extensions has no valid name in %q", e)
		}
		for _, p := range parts[1:] {
			name, value, has := strings.Cut(p, "=")
			name, value = strings.TrimSpace(name), unquoted(strings.TrimSpace(value))
			if !isToken(name) || has && !isToken(value) {
				return nil, fmt.Errorf("Sec-WebSocket-Extensions has no valid parameter in %q", p)
			}
			x.params = append(x.params, param{name, value, has})
		}
		list = append(list, x)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("Sec-WebSocket-Extensions has no element: %q", joined)
	}
	return list, nil
}

// unquoted returns what a quoted string stands for, anything else as it is.
func unquoted(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return quotedPair.ReplaceAllString(s[1:len(s)-1], "$1")
}

var (
	quotedPair = regexp.MustCompile(`\\(.)`)

	// rareForm matches what the grammar of the header allows and few write or read.
	rareForm = regexp.MustCompile(`(^|,)[ \t]*(,|$)|[ \t]=|=[ \t]|\\`)
)

// The names of permessage-deflate (RFC 7692 section 7.1).
const (
	deflateName      = "permessage-deflate"
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverMaxBits    = "server_max_window_bits"
	clientMaxBits    = "client_max_window_bits"
)

// deflateTerms are the parameters of an offer or an answer. Bits are 0 where the parameter
// is absent, -1 where it has no value.
type deflateTerms struct {
	serverFresh, clientFresh bool
	serverBits, clientBits   int
}

// terms reads the parameters of one offer or answer of permessage-deflate.
func (x extension) terms() (deflateTerms, error) {
	var t deflateTerms
	var seen []string
	for _, p := range x.params {
		if slices.Contains(seen, p.name) {
			return t, fmt.Errorf("parameter %s twice", p.name)
		}
		seen = append(seen, p.name)
		if err := t.take(p); err != nil {
			return t, err
		}
	}
	return t, nil
}

// take sets what one parameter says.
func (t *deflateTerms) take(p param) error {
	switch p.name {
	case serverNoTakeover, clientNoTakeover:
		if p.hasValue {
			return fmt.Errorf("parameter %s has a value", p.name)
		}
		t.serverFresh = t.serverFresh || p.name == serverNoTakeover
		t.clientFresh = t.clientFresh || p.name == clientNoTakeover
		return nil
	case serverMaxBits, clientMaxBits:
		bits := -1
		if p.hasValue {
			n, err := strconv.Atoi(p.value)
			if err != nil || n < 8 || n > 15 || p.value[0] == '0' || p.value[0] == '+' {
				return fmt.Errorf("parameter %s=%s", p.name, p.value)
			}
			bits = n
		} else if p.name == serverMaxBits {
			return fmt.Errorf("parameter %s without a value", p.name)
		}
		if p.name == serverMaxBits {
			t.serverBits = bits
		} else {
			t.clientBits = bits
		}
		return nil
	}
	return fmt.Errorf("unknown parameter %s", p.name)
}

// answers reports whether a server may answer an offer so.
func (t deflateTerms) answers(offer deflateTerms) error {
	switch {
	case offer.serverFresh && !t.serverFresh:
		return errors.New("the answer lacks server_no_context_takeover, which was asked for")
	case offer.serverBits > 0 && t.serverBits == 0:
		return errors.New("the answer lacks server_max_window_bits, which was asked for")
	case offer.serverBits > 0 && t.serverBits > offer.serverBits:
		return errors.New("the answer's server_max_window_bits is larger than was asked for")
	case offer.clientBits == 0 && t.clientBits != 0:
		return errors.New("the answer has client_max_window_bits, which was not offered")
	case t.clientBits < 0:
		return errors.New("the answer has client_max_window_bits without a value")
	}
	return nil
}

// isLarger reports whether an answer's client_max_window_bits is larger than the offer's, where
// RFC 7692 section 7.1.2.2 has an equal or a smaller one.
func (t deflateTerms) isLarger(offer deflateTerms) bool {
	return offer.clientBits > 0 && t.clientBits > offer.clientBits
}

// judgeAnswer checks a server's answer to an offer. nil and nil: the extension is not agreed.
func judgeAnswer(offer string, answer []string) (*deflateTerms, error) {
	if len(answer) == 0 {
		return nil, nil
	}
	got, err := parseExtensions(answer)
	if err != nil {
		return nil, err
	}
	if offer == "" {
		return nil, fmt.Errorf("the response has Sec-WebSocket-Extensions: %s; none was offered (4.2.2)", strings.Join(answer, ", "))
	}
	if len(got) != 1 || got[0].name != deflateName {
		return nil, fmt.Errorf("the response has Sec-WebSocket-Extensions: %s; %s was offered (4.2.2)", strings.Join(answer, ", "), offer)
	}
	t, err := got[0].terms()
	if err != nil {
		return nil, err
	}
	offers, _ := offered([]string{offer})
	if _, err := t.fitting(offers); err != nil {
		return nil, err
	}
	return &t, nil
}

// fitting returns the offer that an answer fits best.
func (t deflateTerms) fitting(offers []deflateTerms) (best deflateTerms, err error) {
	err = errors.New("the answer fits no valid offer")
	for _, offer := range offers {
		why := t.answers(offer)
		if why == nil && !t.isLarger(offer) {
			return offer, nil
		}
		if best, err = offer, why; why == nil {
			break
		}
	}
	return best, err
}

// offered returns the valid offers of permessage-deflate in a client's request, and what is wrong with others.
func offered(values []string) (offers []deflateTerms, err error) {
	if len(values) == 0 {
		return nil, nil
	}
	list, err := parseExtensions(values)
	for _, x := range list {
		if x.name != deflateName {
			continue
		}
		t, why := x.terms()
		if why != nil {
			err = why
			continue
		}
		offers = append(offers, t)
	}
	return offers, err
}

// An inflating direction: what the endpoint under test sends compressed.
type incoming struct {
	takeover bool
	reach    int // octets that a reference may reach back
	window   []byte
}

// newIncoming returns the direction from the endpoint in the given role.
func newIncoming(t *deflateTerms, from Role) *incoming {
	fresh, bits := t.serverFresh, t.serverBits
	if from == Client {
		fresh, bits = t.clientFresh, t.clientBits
	}
	if bits <= 0 {
		bits = 15
	}
	return &incoming{takeover: !fresh, reach: 1 << bits}
}

// maxInflated bounds what the kit takes from an endpoint in one message, in octets.
const maxInflated = 64 << 20

// message inflates one message's payload.
func (d *incoming) message(p []byte) ([]byte, error) {
	const quick = 64 << 10 // above it, distances are not worth the slow inflater's time
	if len(p) < quick {
		return d.short(p)
	}
	out, err := inflateLong(p, d.window, maxInflated)
	d.keep(out)
	return out, err
}

// short inflates the payload of a message that is not long. A reference further back than was agreed is an error.
func (d *incoming) short(p []byte) ([]byte, error) {
	out, err := inflate(p, d.window, d.reach, maxInflated)
	d.keep(out)
	return out, err
}

// inflateLong is inflate by the standard library, which does not tell how far back a compressor has reached.
func inflateLong(p, window []byte, limit int) ([]byte, error) {
	in := bytes.NewReader(append(bytes.Clone(p), 0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF))
	out := bytes.NewBuffer(bytes.Clone(window))
	end := len(window) + limit
	for in.Len() > 0 { // a final block may be followed by others (RFC 7692 section 7.2.3.4)
		stream := flate.NewReaderDict(in, tail(out.Bytes(), 1<<15))
		if _, err := out.ReadFrom(io.LimitReader(stream, int64(end-out.Len())+1)); err != nil {
			return nil, err
		}
		if out.Len() > end {
			return nil, fmt.Errorf("the message inflates to more than %d octets", limit)
		}
	}
	return out.Bytes()[len(window):], nil
}

// keep is what context takeover means for the receiver.
func (d *incoming) keep(out []byte) {
	if d.takeover {
		d.window = tail(append(d.window, out...), d.reach)
	}
}

// tail returns a copy of the last n octets of p.
func tail(p []byte, n int) []byte {
	return bytes.Clone(p[max(0, len(p)-n):])
}

// deflate returns the payload of a compressed message (RFC 7692 section 7.2.1). dict: what
// the receiver's window holds.
func deflate(p, dict []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, level, dict)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	_, _ = w.Write(p)
	_ = w.Flush()
	out := bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xFF, 0xFF})
	if len(out) == 0 {
		return []byte{0}
	}
	return out
}
