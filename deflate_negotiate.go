package websocket

// permessage-deflate, first half (RFC 7692 sections 5 and 7.1): what the user wants, what the Sec-WebSocket-Extensions
// header says, and what was agreed, by pure functions. The second half, deflate.go, does what was agreed.

import (
	"compress/flate"
	"strconv"
	"strings"
)

// Compression turns on permessage-deflate (RFC 7692) where the peer knows it too. The zero value is a good choice: no
// context takeover, and messages of 512 octets or more are compressed, unless that makes them longer.
//
// Without context takeover a connection holds nothing between messages: while one is compressed it borrows about 1.2
// MiB (level 1) or 0.8 MiB (levels 2 to 9), while one is inflated about 110 KiB. With context takeover each message may
// refer to those before it, which makes much of small messages that are alike; the price is 0.8 MiB (level 1: 1.2 MiB)
// for each connection that has sent a compressed message since keepalive's last Ping but one, and for each that has
// received one as many octets as the peer's window holds, 32 KiB or less. So a connection that idles gives its
// compressor back, and the next message refers to none before; with KeepAlive off it keeps it.
//
// The length of a compressed message tells about its content: do not put secrets next to what others choose.
type Compression struct {
	// Level is that of compress/flate, from 1 (fastest) to 9 (smallest), or flate.HuffmanOnly. 0, and what
	// compress/flate does not know: 1 without takeover in the sending direction, 2 with it.
	Level int
	// Threshold is the length in octets from which on messages are compressed. 0: 512, or 32 with takeover in the
	// sending direction; negative: all are. It does not bind a MessageWriter, which can't know how long its message
	// will be.
	Threshold int
	// ContextTakeover asks for and allows context takeover in both directions (RFC 7692 section 7.1.1). What the peer
	// refuses is off. Where it is false, Dial asks the server for none, and fails if the answer does not say so
	// (section 7.1.1.1): a few servers, such as Tornado's, overlook the question, and need true.
	ContextTakeover bool
	// ServerMaxWindowBits and ClientMaxWindowBits limit the window, 2 to that power in octets, of what the server and
	// what the client sends, 8 to 15 (RFC 7692 section 7.1.2). 0: 15; values outside are taken as the nearest. A client
	// that does not offer client_max_window_bits can't be limited.
	ServerMaxWindowBits, ClientMaxWindowBits int
}

const (
	deflateName          = "permessage-deflate"
	serverNoTakeoverName = "server_no_context_takeover"
	clientNoTakeoverName = "client_no_context_takeover"
	serverBitsName       = "server_max_window_bits"
	clientBitsName       = "client_max_window_bits"

	minWindowBits, maxWindowBits = 8, 15

	// Shorter messages gain too little for the time they cost. Measured with takeover: JSON of 16 to 200 octets comes
	// down to 0.25 of its length with a threshold of 32, to 0.24 without one, to 0.31 with 64 and to 0.55 with 128.
	defaultThreshold, defaultThresholdTakeover = 512, 32

	// With takeover level 1 reaches back into the last message only.
	defaultLevel, defaultLevelTakeover = 1, 2
)

// deflateParams are what two endpoints agreed on, seen from one of them.
type deflateParams struct {
	sendTakeover, receiveTakeover bool
	sendBits, receiveBits         int // 8 to 15
	level                         int // that compress/flate knows
	threshold                     int // octets; shorter messages are sent as they are
}

// deflateForm is all that a message that stands alone depends on, so that it is compressed once for many connections.
type deflateForm struct{ bits, level int }

// compresses says whether a message is to be compressed as a whole; nil params mean no
// compression.
func (p *deflateParams) compresses(payload []byte) bool {
	return p != nil && len(payload) > 0 && len(payload) >= p.threshold
}

func (p *deflateParams) form() deflateForm { return deflateForm{p.sendBits, p.level} }

// deflateTerms are the parameters of one permessage-deflate, in an offer, in an answer, or as agreed.
type deflateTerms struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int  // 8 to 15; 0: not there, or there without a value
	clientBitsAlone                    bool // client_max_window_bits is there, without a value: only an offer may do that
}

// What makes a server decline an offer and a client fail the handshake.
var (
	errExtensionSyntax    = violation(StatusProtocolError, "9.1", "malformed Sec-WebSocket-Extensions header")
	errExtensionUnoffered = violation(StatusProtocolError, "4.1", "the answer has an extension that was not offered")
	errDeflateTwice       = violation(StatusProtocolError, "RFC 7692 5.1", "permessage-deflate answered twice")
	errDeflateUnknown     = violation(StatusProtocolError, "RFC 7692 7.1", "permessage-deflate parameter that is not defined")
	errDeflateRepeated    = violation(StatusProtocolError, "RFC 7692 7.1", "permessage-deflate parameter repeated")
	errDeflateNoValue     = violation(StatusProtocolError, "RFC 7692 7.1", "permessage-deflate parameter lacks its value")
	errDeflateValue       = violation(StatusProtocolError, "RFC 7692 7.1", "permessage-deflate parameter with a value that is not allowed")
	errDeflateTakeover    = violation(StatusProtocolError, "RFC 7692 7.1.1.1", "the answer lacks server_no_context_takeover, which was asked for")
	errDeflateServerBits  = violation(StatusProtocolError, "RFC 7692 7.1.2.1", "the answer exceeds server_max_window_bits, or lacks it")
)

// offer is the Sec-WebSocket-Extensions value of a client's request: one offer.
func (c *Compression) offer() string {
	terms := deflateTerms{
		serverNoTakeover: !c.ContextTakeover,
		clientNoTakeover: !c.ContextTakeover,
		clientBitsAlone:  true, // a browser says so too, and a server can't ask for a smaller window otherwise (RFC 7692 section 7.1.2.2)
	}
	if bits := windowBits(c.ServerMaxWindowBits); bits < maxWindowBits {
		terms.serverBits = bits
	}
	if bits := windowBits(c.ClientMaxWindowBits); bits < maxWindowBits {
		terms.clientBits, terms.clientBitsAlone = bits, false
	}
	return terms.String()
}

// checkExtensions returns an error for Sec-WebSocket-Extensions lines that break the grammar: with them the handshake
// fails, whether any extension is known or not (RFC 6455 section 9.1).
func checkExtensions(lines []string) error {
	return scanExtensions(lines, func(string, deflateTerms, error) error { return nil })
}

// acceptOffers judges a request's Sec-WebSocket-Extensions lines as the server: the first offer of permessage-deflate
// that is in order is taken. answer is empty and p nil when there is none, when the lines are malformed, and when c is
// nil.
func acceptOffers(offers []string, c *Compression) (answer string, p *deflateParams) {
	err := scanExtensions(offers, func(name string, offer deflateTerms, broken error) error {
		// An offer that is not in order is declined, and the next one judged (RFC 7692 section 5.1).
		if c == nil || p != nil || name != deflateName || broken != nil {
			return nil
		}
		terms := c.answerTo(offer)
		answer, p = terms.String(), c.serverParams(terms)
		return nil
	})
	if err != nil {
		return "", nil
	}
	return answer, p
}

// answerTo is what a server agrees to when it gets a valid offer: the stricter of what both want.
func (c *Compression) answerTo(offer deflateTerms) deflateTerms {
	answer := deflateTerms{
		serverNoTakeover: offer.serverNoTakeover || !c.ContextTakeover,
		clientNoTakeover: offer.clientNoTakeover || !c.ContextTakeover,
	}
	// An offered value is answered by one that is not greater, 15 too; without an offered value there need be no answer
	// (section 7.1.2.1).
	if bits := windowBits(c.ServerMaxWindowBits); offer.serverBits != 0 || bits < maxWindowBits {
		answer.serverBits = min(bits, orMaxBits(offer.serverBits))
	}
	// Only a client that offered client_max_window_bits understands it (section 7.1.2.2).
	bits := min(windowBits(c.ClientMaxWindowBits), orMaxBits(offer.clientBits))
	if (offer.clientBits != 0 || offer.clientBitsAlone) && bits < maxWindowBits {
		answer.clientBits = bits
	}
	return answer
}

// checkAnswer judges a response's Sec-WebSocket-Extensions lines as the client that sent c.offer(), or no offer where c
// is nil. p is nil when the server took none. The error is a *ProtocolError.
func checkAnswer(answers []string, c *Compression) (p *deflateParams, err error) {
	err = scanExtensions(answers, func(name string, answer deflateTerms, broken error) error {
		switch {
		case c == nil || name != deflateName:
			return errExtensionUnoffered
		case p != nil:
			return errDeflateTwice
		case broken != nil:
			return broken
		case answer.clientBitsAlone:
			return errDeflateNoValue
		case !c.ContextTakeover && !answer.serverNoTakeover:
			return errDeflateTakeover
		case orMaxBits(answer.serverBits) > windowBits(c.ServerMaxWindowBits):
			return errDeflateServerBits
		}
		// What a client said about itself holds whatever the answer says (RFC 7692 sections 7.1.1.2 and 7.1.2.2).
		answer.clientNoTakeover = answer.clientNoTakeover || !c.ContextTakeover
		answer.clientBits = min(orMaxBits(answer.clientBits), windowBits(c.ClientMaxWindowBits))
		p = c.clientParams(answer)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// serverParams is what agreed terms mean for the server.
func (c *Compression) serverParams(agreed deflateTerms) *deflateParams {
	p := &deflateParams{
		sendTakeover:    !agreed.serverNoTakeover,
		receiveTakeover: !agreed.clientNoTakeover,
		sendBits:        orMaxBits(agreed.serverBits),
		receiveBits:     orMaxBits(agreed.clientBits),
	}
	c.setCosts(p)
	return p
}

// clientParams is what agreed terms mean for the client.
func (c *Compression) clientParams(agreed deflateTerms) *deflateParams {
	p := &deflateParams{
		sendTakeover:    !agreed.clientNoTakeover,
		receiveTakeover: !agreed.serverNoTakeover,
		sendBits:        orMaxBits(agreed.clientBits),
		receiveBits:     orMaxBits(agreed.serverBits),
	}
	c.setCosts(p)
	return p
}

// setCosts settles what the peer need not know.
func (c *Compression) setCosts(p *deflateParams) {
	p.level, p.threshold = defaultLevel, defaultThreshold
	if p.sendTakeover {
		p.level, p.threshold = defaultLevelTakeover, defaultThresholdTakeover
	}
	if c.Level != 0 && flate.HuffmanOnly <= c.Level && c.Level <= flate.BestCompression {
		p.level = c.Level
	}
	if c.Threshold != 0 {
		p.threshold = c.Threshold
	}
}

// windowBits is a limit that the user gave, within what there is.
func windowBits(bits int) int {
	if bits == 0 {
		return maxWindowBits
	}
	return min(max(bits, minWindowBits), maxWindowBits)
}

// orMaxBits is the limit that a parameter means, which is none when it is absent.
func orMaxBits(bits int) int {
	if bits == 0 {
		return maxWindowBits
	}
	return bits
}

// String spells the terms for the header.
func (t deflateTerms) String() string {
	b := append(make([]byte, 0, 160), deflateName...)
	if t.serverNoTakeover {
		b = append(b, "; "+serverNoTakeoverName...)
	}
	if t.clientNoTakeover {
		b = append(b, "; "+clientNoTakeoverName...)
	}
	if t.serverBits != 0 {
		b = strconv.AppendInt(append(b, "; "+serverBitsName+"="...), int64(t.serverBits), 10)
	}
	switch {
	case t.clientBits != 0:
		b = strconv.AppendInt(append(b, "; "+clientBitsName+"="...), int64(t.clientBits), 10)
	case t.clientBitsAlone:
		b = append(b, "; "+clientBitsName...)
	}
	return string(b)
}

// set takes one parameter as it was sent, and returns the rule that it breaks (RFC 7692 section 7.1).
func (t *deflateTerms) set(name, value string, hasValue bool) error {
	switch name {
	case serverNoTakeoverName:
		return setFlag(&t.serverNoTakeover, hasValue)
	case clientNoTakeoverName:
		return setFlag(&t.clientNoTakeover, hasValue)
	case serverBitsName:
		if !hasValue {
			return errDeflateNoValue
		}
		return setBits(&t.serverBits, value)
	case clientBitsName:
		if t.clientBitsAlone {
			return errDeflateRepeated
		}
		if hasValue {
			return setBits(&t.clientBits, value)
		}
		if t.clientBits != 0 {
			return errDeflateRepeated
		}
		t.clientBitsAlone = true
		return nil
	default:
		return errDeflateUnknown
	}
}

// setFlag takes a parameter that has no value.
func setFlag(flag *bool, hasValue bool) error {
	switch {
	case *flag:
		return errDeflateRepeated
	case hasValue:
		return errDeflateValue
	}
	*flag = true
	return nil
}

// setBits takes a number of window bits: decimal, 8 to 15, no leading zero (RFC 7692 section 7.1.2).
func setBits(bits *int, value string) error {
	n, err := strconv.Atoi(value)
	switch {
	case *bits != 0:
		return errDeflateRepeated
	case err != nil || n < minWindowBits || n > maxWindowBits || value != strconv.Itoa(n):
		return errDeflateValue
	}
	*bits = n
	return nil
}

// scanExtensions calls visit for each extension of the header's lines, in order, with its parameters and the first rule
// that they break as those of permessage-deflate. It ends at visit's first error and returns it, or errExtensionSyntax.
// It reads each octet once and keeps none: a header costs time and memory in proportion to its length at most.
func scanExtensions(lines []string, visit func(name string, terms deflateTerms, broken error) error) error {
	found := len(lines) == 0 // an element, in any line: several are the same as one (RFC 6455 section 11.3.2)
	for _, line := range lines {
		s := headerScanner{rest: line}
		for {
			if s.take(',') { // an empty element of the list (RFC 2616 section 2.1)
				continue
			}
			if s.rest == "" {
				break
			}
			name, terms, broken := s.extension()
			if s.bad || s.rest != "" && !s.take(',') {
				return errExtensionSyntax
			}
			if err := visit(name, terms, broken); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return errExtensionSyntax
	}
	return nil
}

// headerScanner reads the grammar of RFC 6455 section 9.1. Blanks may stand between any two of its elements.
type headerScanner struct {
	rest string
	bad  bool // something else stood where an element must stand; nothing is read any more
}

// extension reads extension-token *( ";" extension-param ), and judges the parameters as those of permessage-deflate.
func (s *headerScanner) extension() (name string, terms deflateTerms, broken error) {
	name = s.token()
	for !s.bad && s.take(';') {
		param, value := s.token(), ""
		hasValue := s.take('=')
		if hasValue {
			value = s.value()
		}
		if broken == nil {
			broken = terms.set(param, value, hasValue)
		}
	}
	return name, terms, broken
}

// take reads c, if it comes next.
func (s *headerScanner) take(c byte) bool {
	s.rest = strings.TrimLeft(s.rest, " \t")
	if s.bad || s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token reads a token, which is not empty.
func (s *headerScanner) token() string {
	s.rest = strings.TrimLeft(s.rest, " \t")
	n := 0
	for n < len(s.rest) && isTokenOctet(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = strings.TrimLeft(s.rest[n:], " \t")
	s.bad = s.bad || n == 0
	return t
}

// value reads a token, or a quoted-string that is a token once it is unquoted (RFC 6455 section 9.1).
func (s *headerScanner) value() string {
	if !s.take('"') {
		return s.token()
	}
	var b strings.Builder
	for i := 0; i < len(s.rest); i++ {
		c := s.rest[i]
		if c == '"' {
			s.rest = strings.TrimLeft(s.rest[i+1:], " \t")
			s.bad = s.bad || b.Len() == 0
			return b.String()
		}
		if c == '\\' && i+1 < len(s.rest) {
			i++
			c = s.rest[i]
		}
		if !isTokenOctet(c) {
			break
		}
		b.WriteByte(c)
	}
	s.bad = true
	return ""
}

// isTokenOctet reports whether c may be part of a token (RFC 2616 section 2.2).
func isTokenOctet(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune("()<>@,;:\\\"/[]?={}", rune(c))
}
