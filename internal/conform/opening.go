package conform

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// This file holds the steps of an opening handshake, in both roles (RFC 6455 section 4).

// An opening is what is known before the first frame.
type opening struct {
	dial    func() (net.Conn, error) // another connection to the server under test
	host    string                   // of the server, with its port if need be
	scheme  string                   // "http", or "https" over TLS
	target  string                   // the request's target
	key     string                   // the request's Sec-WebSocket-Key
	request head                     // of the client under test
}

// fill puts into a head what differs from one connection to the next.
func (o *opening) fill() *strings.Replacer {
	return strings.NewReplacer("{host}", o.host, "{scheme}", o.scheme, "{target}", o.target, "{key}", o.key,
		"{accept}", acceptFor(o.key))
}

// open does the opening handshake as it should be.
func (c *conversation) open() {
	if c.role == Server {
		h := request
		if c.of.offer != "" {
			h = h.with("Sec-WebSocket-Extensions: " + c.of.offer)
		}
		requesting{head: h}.run(c)
		accepted{}.run(c)
		if c.of.offer != "" && c.w.incoming == nil && !c.over {
			c.skip("the server did not take the offer of " + deflateName)
		}
		return
	}
	h := response
	if c.of.answer != "" {
		values := c.peer.request.values("Sec-WebSocket-Extensions")
		offers, err := offered(values)
		if err != nil {
			c.judge(Wrong, "the client's offer: %v (RFC 7692 7.1)", err)
			return
		}
		c.judgeForm(values)
		answer, terms := answerTo(offers, c.of.answer)
		if terms == nil {
			c.skip("the client did not offer what this answer needs")
			return
		}
		h = h.with("Sec-WebSocket-Extensions: " + answer)
		c.agree(terms)
	}
	responding{head: h}.run(c)
}

// judgeForm judges how an extension header of the endpoint is written.
func (c *conversation) judgeForm(values []string) {
	if list := strings.Join(values, ","); len(values) > 0 && rareForm.MatchString(list) {
		c.judge(Tolerable, "Sec-WebSocket-Extensions: %s has empty elements, blanks at a = or quoted pairs: RFC 2616 allows them, and many do not read them", list)
	}
}

// agree makes the terms of permessage-deflate those of the connection.
func (c *conversation) agree(terms *deflateTerms) {
	c.w.incoming = newIncoming(terms, c.role)
	mine := newIncoming(terms, Both&^c.role)
	c.fresh, c.reach = !mine.takeover, mine.reach
}

// overreaches reports whether compressed messages of the case refer further back than was agreed.
func (c *conversation) overreaches() bool {
	if c.w.incoming == nil || c.reach == 1<<15 {
		return false
	}
	agreed, widest := &incoming{takeover: !c.fresh, reach: c.reach}, &incoming{takeover: !c.fresh, reach: 1 << 15}
	for _, p := range c.of.compressed() {
		if _, err := widest.message(p); err != nil {
			return false // it is corrupt on purpose
		}
		if _, err := agreed.short(p); err != nil {
			return true
		}
	}
	return false
}

// compressed returns the payloads of the compressed messages that a case sends.
func (c *Case) compressed() (payloads [][]byte) {
	var body []byte
	zipped := false
	for _, s := range c.steps {
		sent, _ := s.(sending)
		for _, f := range sent.frames {
			switch {
			case f.opcode >= opClose:
				continue
			case f.opcode != opContinuation:
				body, zipped = nil, f.rsv == rsv1
			}
			if body = append(body, f.payload...); zipped && !f.more {
				payloads = append(payloads, body)
			}
		}
	}
	return payloads
}

// answerTo returns the answer as it may be given to the first of a client's offers that allows it, and what it means; nil if none does.
func answerTo(offers []deflateTerms, answer string) (string, *deflateTerms) {
	for _, offer := range offers {
		if whole, terms := offer.answered(answer); terms != nil {
			return whole, terms
		}
	}
	return "", nil
}

// answered returns the answer with what the offer demands of every answer, and what it means;
// nil if it may not be given to that offer.
func (t deflateTerms) answered(answer string) (string, *deflateTerms) {
	if more, ok := strings.CutPrefix(answer, asOffered); ok {
		answer = deflateName + more
		if t.clientFresh {
			answer += "; " + clientNoTakeover
		}
	}
	answer += t.demands(answer)
	list, err := parseExtensions([]string{answer})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	terms, err := list[0].terms()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if terms.answers(t) != nil || terms.isLarger(t) {
		return "", nil
	}
	return answer, &terms
}

// demands is what an offer demands of every answer, as far as the given parameters lack it.
func (t deflateTerms) demands(given string) (more string) {
	if t.serverFresh && !strings.Contains(given, serverNoTakeover) {
		more += "; " + serverNoTakeover
	}
	if t.serverBits > 0 && !strings.Contains(given, serverMaxBits) {
		more += fmt.Sprintf("; %s=%d", serverMaxBits, t.serverBits)
	}
	return more
}

// skip ends a case that does not apply to the endpoint.
func (c *conversation) skip(why string) {
	c.verdict, c.why, c.over = Skipped, why, true
}

// requesting sends a request to the server under test.
type requesting struct {
	head    head
	behind  []frame // in the same segments
	segment int
	pause   time.Duration
}

func (s requesting) run(c *conversation) {
	c.peer.key = newKey()
	b := s.head.octets(c.peer.fill())
	c.w.note("→ %s", c.peer.fill().Replace(s.head.String()))
	c.pinging(false, s.behind...)
	for i := range s.behind {
		c.w.note("→ %s", &s.behind[i])
		b = s.behind[i].appendTo(b, true)
	}
	_ = c.w.write(b, s.segment, s.pause)
}

func (s requesting) String() string {
	text := "send the request " + s.head.String()
	if len(s.behind) > 0 {
		text += " and frames right behind it"
	}
	if s.segment > 0 {
		text += fmt.Sprintf(", in segments of %d octets", s.segment)
	}
	return text
}

// accepted expects a response of the server under test that opens the connection.
type accepted struct {
	mayRefuse string                   // why a refusal is tolerable; "": it is not
	protocols []string                 // subprotocols that were offered
	also      func(answer head) string // says what is wrong with the answer
}

func (s accepted) run(c *conversation) {
	if s.mayRefuse != "" && c.refuses() {
		c.over = true
		c.judge(Tolerable, "the server refused, which it may: %s", s.mayRefuse)
		return
	}
	h, ok := c.response()
	if !ok {
		return
	}
	if why := s.fault(c, h); why != "" {
		c.judge(Wrong, "%s", why)
		return
	}
	terms, err := judgeAnswer(c.of.offer, h.values("Sec-WebSocket-Extensions"))
	if err != nil && strings.HasPrefix(c.of.answer, asOffered) {
		c.skip("the server's answer is wrong, which the cases of RFC 7692 section 7.1 tell")
		return
	}
	if err != nil {
		c.judge(Wrong, "%v", err)
		return
	}
	c.judge(Right, "")
	if terms != nil {
		c.agree(terms)
		c.judgeForm(h.values("Sec-WebSocket-Extensions"))
		offers, _ := offered([]string{c.of.offer})
		if offer, _ := terms.fitting(offers); terms.isLarger(offer) {
			c.judge(Tolerable, "the answer's client_max_window_bits is %d where %d or less is right (RFC 7692 7.1.2.2)", terms.clientBits, offer.clientBits)
		}
	}
	c.w.listen()
}

// refuses reports whether what comes is the end of the connection, or no 101.
func (c *conversation) refuses() bool {
	_ = c.w.conn.SetReadDeadline(time.Now().Add(c.cfg.Patience))
	begin, err := c.w.br.Peek(len("HTTP/1.1 101"))
	return err != nil && endOf(err) || err == nil && string(begin[9:]) != "101"
}

// fault says what is wrong with a response that should open the connection (RFC 6455 section 4.2.2).
func (s accepted) fault(c *conversation, h head) string {
	switch {
	case h.status() != 101:
		return "the response is " + h.line + " where 101 is right"
	case !strings.HasPrefix(h.line, "HTTP/1.1 "):
		return "the response is " + h.line + " where HTTP/1.1 is right"
	case len(h.values("Upgrade")) != 1 || !strings.EqualFold(h.values("Upgrade")[0], "websocket"):
		return fmt.Sprintf("the response has Upgrade %q", h.values("Upgrade"))
	case !h.hasToken("Connection", "Upgrade"):
		return fmt.Sprintf("the response has Connection %q", h.values("Connection"))
	case !slices.Equal(h.values("Sec-WebSocket-Accept"), []string{acceptFor(c.peer.key)}):
		return fmt.Sprintf("the response has Sec-WebSocket-Accept %q where %q is right", h.values("Sec-WebSocket-Accept"), acceptFor(c.peer.key))
	case len(h.values("Content-Length"))+len(h.values("Transfer-Encoding")) > 0:
		return "the 101 declares a body"
	}
	chosen := h.values("Sec-WebSocket-Protocol")
	if len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(s.protocols, chosen[0]) {
		return fmt.Sprintf("the response has Sec-WebSocket-Protocol %q; offered were %q", chosen, s.protocols)
	}
	if s.also != nil {
		return s.also(h)
	}
	return ""
}

func (s accepted) String() string { return "expect 101 and a correct response" }

// response reads the head of the server's response.
func (c *conversation) response() (head, bool) {
	_ = c.w.conn.SetReadDeadline(time.Now().Add(c.cfg.Patience))
	h, raw, err := readHead(c.w.br)
	if err != nil {
		c.w.note("← %s, then %s", excerpt(raw), plain(err))
		c.judge(Wrong, "no response came: %s", plain(err))
		return h, false
	}
	c.w.note("← %s", h)
	return h, true
}

// refused expects that the server under test does not open the connection.
type refused struct {
	right  []int                    // statuses; none: all of 400 to 599
	mayDo  bool                     // opening the connection is tolerable
	maySay string                   // why a page, or where it is, is tolerable; "": it is not
	also   func(answer head) string // says what is wrong with the answer
}

func (s refused) run(c *conversation) {
	_ = c.w.conn.SetReadDeadline(time.Now().Add(c.cfg.Patience))
	h, raw, err := readHead(c.w.br)
	c.over = true
	switch status := h.status(); {
	case err != nil && endOf(err) && len(raw) == 0:
		c.judge(Tolerable, "the server ended the connection without a response; a status (%s) is right", s.statuses())
	case err != nil:
		c.judge(Wrong, "no response came: %s", plain(err))
	case status == 101 && s.mayDo:
		c.judge(Tolerable, "the server opened the connection where %s is right", s.statuses())
	case status >= 200 && status < 400 && s.maySay != "":
		c.judge(Tolerable, "%s came where %s is best: %s", h.line, s.statuses(), s.maySay)
	case status < 400 || status > 599:
		c.judge(Wrong, "%s came where %s is right", h.line, s.statuses())
	case len(s.right) > 0 && !slices.Contains(s.right, status):
		c.judge(Tolerable, "%s came where %s is right", h.line, s.statuses())
	case s.also != nil && s.also(h) != "":
		c.judge(Wrong, "%s", s.also(h))
	default:
		c.judge(Right, "")
	}
	c.w.note("← %s %s", h, excerpt(raw))
}

// statuses names the right statuses.
func (s refused) statuses() string {
	if len(s.right) == 0 {
		return "a status of 400 to 599"
	}
	return "status " + strings.Trim(strings.ReplaceAll(fmt.Sprint(s.right), " ", " or "), "[]")
}

func (s refused) String() string { return "expect a refusal: " + s.statuses() }

// responding sends a response to the client under test.
type responding struct {
	head    head
	behind  []frame // in the same segments
	segment int
	pause   time.Duration
}

func (s responding) run(c *conversation) {
	if keys := c.peer.request.values("Sec-WebSocket-Key"); len(keys) == 1 {
		c.peer.key = keys[0]
	} else {
		c.judge(Wrong, "the request has %d Sec-WebSocket-Key fields", len(keys))
		return
	}
	c.w.note("→ %s", c.peer.fill().Replace(s.head.String()))
	b := s.head.octets(c.peer.fill())
	c.pinging(false, s.behind...)
	for i := range s.behind {
		c.w.note("→ %s", &s.behind[i])
		b = s.behind[i].appendTo(b, false)
	}
	_ = c.w.write(b, s.segment, s.pause)
	c.w.listen()
}

func (s responding) String() string {
	text := "answer " + s.head.String()
	if len(s.behind) > 0 {
		text += " and frames right behind it"
	}
	if s.segment > 0 {
		text += fmt.Sprintf(", in segments of %d octets", s.segment)
	}
	return text
}

// givesUp expects that the client under test ends the connection and sends nothing.
type givesUp struct{ mayDo bool }

func (s givesUp) run(c *conversation) {
	if c.w.done == nil {
		c.w.listen()
	}
	e := c.next(c.cfg.Patience)
	c.over = true
	switch {
	case e.kind == evEnd && e.text == "", e.kind == evReset:
		c.judge(Right, "")
	case e.kind == evClose:
		c.judge(Tolerable, "the client sent Close on a connection that was never open; ending TCP is right")
	case s.mayDo && e.kind == evMessage:
		c.judge(Tolerable, "the client opened the connection; failing it is right")
	default:
		c.judge(Wrong, "%s came where the end of the connection is right", e)
	}
}

func (s givesUp) String() string { return "expect that the client ends the connection without a frame" }

// asked judges the request of the client under test; the function says what is wrong with it.
type asked struct {
	what  string
	fault func(o *opening) string
}

func (s asked) run(c *conversation) {
	if why := s.fault(&c.peer); why != "" {
		c.judge(Wrong, "%s", why)
		return
	}
	c.judge(Right, "")
}

func (s asked) String() string { return "look at the request: " + s.what }

// another expects that the server under test still serves another connection.
type another struct{}

func (another) run(c *conversation) {
	conn, err := c.peer.dial()
	if err != nil {
		c.judge(Wrong, "the server takes no further connection: %s", plain(err))
		return
	}
	defer func(w *wire, over, partial, closing bool) {
		c.w.close()
		w.note("the other connection:")
		for _, line := range c.w.lines() {
			w.note("%s", line)
		}
		c.w, c.over, c.partial, c.closing = w, over || c.verdict == Wrong, partial, closing
	}(c.w, c.over, c.partial, c.closing)
	c.w = newWire(conn, nil, true, c.cfg.Patience)
	c.over, c.partial, c.closing = false, false, false
	requesting{head: request}.run(c)
	accepted{}.run(c)
	if !c.over {
		send(text("alive?")).run(c)
		expect(message(opText, []byte("alive?"))).run(c)
	}
}

func (another) String() string { return "expect that another connection is served" }

// validKey reports whether a Sec-WebSocket-Key stands for 16 octets.
func validKey(key string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(b) == 16
}
