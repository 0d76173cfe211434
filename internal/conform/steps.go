package conform

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// This file holds the vocabulary of which conversations are made. A step does one thing and
// judges it; the worst judgement is the case's verdict.

// A step is one thing that the kit does, or expects.
type step interface {
	run(c *conversation)
	String() string
}

// A conversation is one case under way.
type conversation struct {
	cfg  Config
	role Role // of the endpoint under test
	of   *Case
	w    *wire
	peer opening

	verdict Verdict
	why     string
	over    bool  // nothing more is to be done on this connection
	partial bool  // what the kit has sent ends inside a frame
	closing bool  // the kit has sent Close
	memory  int64 // held by the endpoint when it was measured
	fresh   bool  // compressed messages of the kit must stand alone
	reach   int   // octets that a reference in these may reach back

	pings    []pinged // that no Pong has answered or passed over yet
	answered []string // payloads of the others, until their Pong is expected
}

// A pinged is a Ping that the kit has sent.
type pinged struct {
	payload string
	often   bool // again and again, and nobody counts the Pongs
}

// judge makes the verdict no better than v.
func (c *conversation) judge(v Verdict, format string, args ...any) {
	if v > c.verdict {
		c.verdict, c.why = v, fmt.Sprintf(format, args...)
	}
	c.over = c.over || v == Wrong
	if v > Right {
		c.w.note("%s: %s", strings.ToUpper(v.String()), fmt.Sprintf(format, args...))
	}
}

// next returns the endpoint's next event. Its Pings are answered on the way, and Pongs that answer nothing are passed over.
func (c *conversation) next(d time.Duration) event {
	until := time.Now().Add(d)
	for {
		e := c.w.next(time.Until(until))
		switch {
		case e.kind == evPing && !c.partial && !c.closing:
			c.transmit(&frame{opcode: opPong, payload: e.payload})
		case e.kind == evPong && !c.answers(string(e.payload)):
			c.judge(Tolerable, "%s came that answers no Ping, as it may (5.5.3)", e)
		case e.kind != evPing:
			return e
		}
	}
}

// pinging remembers the Pings among frames that go out.
func (c *conversation) pinging(often bool, frames ...frame) {
	for _, f := range frames {
		if f.opcode == opPing {
			c.pings = append(c.pings, pinged{string(f.payload), often})
		}
	}
}

// answers reports whether a Pong answers a Ping. It then stands for the Pings before that, too (RFC 6455 section 5.5.3).
func (c *conversation) answers(pong string) bool {
	at := slices.IndexFunc(c.pings, func(p pinged) bool { return p.payload == pong })
	if at < 0 {
		return false
	}
	until := at + 1
	if c.pings[at].often {
		until = at
	}
	for _, p := range c.pings[:until] {
		c.answered = append(c.answered, p.payload)
	}
	c.pings = c.pings[until:]
	return true
}

// hasAnswered reports whether a Pong that is right has come, or was passed over. It counts once.
func (c *conversation) hasAnswered(right []answer) bool {
	for _, a := range right {
		if at := slices.Index(c.answered, string(a.payload)); a.kind == evPong && at >= 0 {
			c.answered = slices.Delete(c.answered, at, at+1)
			return true
		}
	}
	return false
}

// transmit sends one frame at once.
func (c *conversation) transmit(f *frame) {
	c.w.note("→ %s", f)
	_ = c.w.write(f.appendTo(nil, c.w.masks), 0, 0) // what comes of it is seen by what is expected next
}

// A sending is frames that go out together, in segments.
type sending struct {
	frames  []frame
	segment int           // octets; 0: as few segments as possible
	pause   time.Duration // after each segment
	times   int           // how often; 0: once
}

// send sends frames.
func send(frames ...frame) sending { return sending{frames: frames} }

// in sends in segments of n octets, with a pause after each.
func (s sending) in(n int, pause time.Duration) sending {
	s.segment, s.pause = n, pause
	return s
}

// repeated sends the frames n times.
func (s sending) repeated(n int) sending {
	s.times = n
	return s
}

func (s sending) run(c *conversation) {
	var one []byte
	c.pinging(s.times > 1, s.frames...)
	for i := range s.frames {
		f := &s.frames[i]
		if i < keptLines/2 {
			c.w.note("→ %s", f)
		}
		one = f.appendTo(one, c.w.masks)
		c.closing = c.closing || f.opcode == opClose
		c.partial = f.length() != uint64(len(f.payload))
	}
	if s.times > 1 {
		c.w.note("→ all that %d times", s.times)
	}
	batch := max(1, (64<<10)/len(one))
	for n := max(1, s.times); n > 0; n -= batch {
		batch = min(batch, n)
		if err := c.w.write(bytes.Repeat(one, batch), s.segment, s.pause); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.judge(Wrong, "the endpoint took no octets for %v", c.cfg.Patience)
			}
			return
		}
	}
}

func (s sending) String() string {
	var lines []string
	for i := range s.frames {
		if i == 8 {
			lines = append(lines, fmt.Sprintf("… %d frames", len(s.frames)))
			break
		}
		lines = append(lines, s.frames[i].String())
	}
	text := "send " + strings.Join(lines, " | ")
	if s.times > 1 {
		text += fmt.Sprintf(", %d times", s.times)
	}
	if s.segment > 0 {
		text += fmt.Sprintf(", in segments of %d octets", s.segment)
	}
	if s.pause > 0 {
		text += fmt.Sprintf(", %v apart", s.pause)
	}
	return text
}

// octets goes out as it is, without being a frame.
type octets struct {
	b    []byte
	more bool // a frame is still open after it
}

func (s octets) run(c *conversation) {
	c.w.note("→ %s", excerpt(s.b))
	c.partial = s.more
	_ = c.w.write(s.b, 0, 0)
}

func (s octets) String() string { return "send the octets " + excerpt(s.b) }

// An answer is one thing that the endpoint may do.
type answer struct {
	kind    eventKind
	op      byte
	payload []byte
	codes   []int // of a Close; none: any
}

// message is the answer of a whole message.
func message(op byte, payload []byte) answer {
	return answer{kind: evMessage, op: op, payload: payload}
}

// pong is the answer of a Pong.
func pong(payload []byte) answer { return answer{kind: evPong, payload: payload} }

// closes is the answer of a Close frame with one of the codes, or with any.
func closes(codes ...int) answer { return answer{kind: evClose, codes: codes} }

// drops is the answer of an end without a Close frame.
var drops = answer{kind: evEnd}

// is reports whether the event is the answer.
func (a answer) is(e event) bool {
	switch a.kind {
	case evMessage:
		return e.kind == evMessage && e.op == a.op && bytes.Equal(e.payload, a.payload)
	case evPong:
		return e.kind == evPong && bytes.Equal(e.payload, a.payload)
	case evClose:
		return e.kind == evClose && (len(a.codes) == 0 || slices.Contains(a.codes, e.code))
	case evEnd:
		return e.kind == evEnd || e.kind == evReset
	}
	return e.kind == a.kind
}

// String returns the answer in words.
func (a answer) String() string {
	switch {
	case a.kind == evClose && len(a.codes) == 0:
		return "Close"
	case a.kind == evClose:
		var words []string
		for _, code := range a.codes {
			words = append(words, fmt.Sprint(code))
		}
		return strings.ReplaceAll("Close "+strings.Join(words, " or "), "1005", "without a code")
	}
	return event{kind: a.kind, op: a.op, payload: a.payload}.String()
}

// anyOf names answers.
func anyOf(list []answer) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, ", or ")
}

// An expectation is what must come next.
type expectation struct {
	right, tolerable []answer
	because          string // why the tolerable is not right
}

// expect names the right answers to what was sent.
func expect(right ...answer) expectation { return expectation{right: right} }

// orTolerably adds answers that fall short and are allowed.
func (s expectation) orTolerably(because string, list ...answer) expectation {
	s.tolerable, s.because = append(s.tolerable, list...), because
	return s
}

func (s expectation) run(c *conversation) {
	for until := time.Now().Add(c.cfg.Patience); !c.hasAnswered(s.right); {
		if e := c.next(time.Until(until)); !s.mayWait(e) {
			s.judge(c, e)
			return
		}
	}
	c.judge(Right, "")
}

// mayWait reports whether what is expected may come after the event: a Pong overtakes messages,
// as it is sent as soon as is practical (RFC 6455 section 5.5.2). Where the connection is to
// fail, a Pong gives away that it has not.
func (s expectation) mayWait(e event) bool {
	closing := slices.ContainsFunc(s.right, func(a answer) bool { return a.kind == evClose })
	return e.kind == evPong && !closing && !slices.ContainsFunc(s.tolerable, func(a answer) bool { return a.is(e) })
}

// judge judges the event that has come.
func (s expectation) judge(c *conversation, e event) {
	if slices.ContainsFunc(s.right, func(a answer) bool { return a.is(e) }) {
		c.judge(Right, "")
	} else if slices.ContainsFunc(s.tolerable, func(a answer) bool { return a.is(e) }) {
		c.judge(Tolerable, "%s came where %s is right (%s)", e, anyOf(s.right), s.because)
	} else {
		c.judge(Wrong, "%s came where %s is right", e, anyOf(s.right))
		return
	}
	c.after(e)
}

func (s expectation) String() string {
	text := "expect " + anyOf(s.right)
	if len(s.tolerable) > 0 {
		text += "; tolerable (" + s.because + "): " + anyOf(s.tolerable)
	}
	return text
}

// after does what an ending event asks for.
func (c *conversation) after(e event) {
	switch e.kind {
	case evClose:
		c.finish(e.code)
	case evEnd, evReset, evViolation:
		c.over = true
	}
}

// finish ends a connection on which the endpoint has sent Close: the kit answers, and the
// endpoint must end the TCP connection too (RFC 6455 sections 7.1.1 and 7.1.7).
func (c *conversation) finish(code int) {
	c.over = true
	if !c.closing && !c.partial {
		c.transmit(closeFrame(code, ""))
		c.closing = true
	}
	if c.role == Client {
		c.w.halfClose() // the server is the first to end TCP
	}
	for until := time.Now().Add(c.cfg.Patience); ; {
		switch e := c.next(time.Until(until)); e.kind {
		case evEnd, evReset:
			return
		case evSilence:
			c.judge(Wrong, "both Close frames have passed and the TCP connection was still open after %v", c.cfg.Patience)
			return
		default:
			c.judge(Wrong, "%s came after the Close frame", e)
			return
		}
	}
}

// fails expects that the endpoint fails the connection with one of the codes.
func fails(codes ...int) expectation {
	return expect(closes(codes...)).
		orTolerably("7.1.7: the code SHOULD be the one that fits, and be sent", closes(), drops)
}

// failsFast expects that the endpoint fails the connection at once, before the rest comes.
type failsFast struct {
	code int
	rest step
}

func (s failsFast) run(c *conversation) {
	e := c.next(c.cfg.Patience)
	if e.kind != evSilence {
		fails(s.code).judge(c, e)
		return
	}
	c.judge(Tolerable, "nothing came until the message was complete; failing at once is right (fail-fast)")
	s.rest.run(c)
	fails(s.code).run(c)
}

func (s failsFast) String() string {
	return fmt.Sprintf("expect Close %d at once; tolerable: only after the rest was sent", s.code)
}

// pongsUpTo expects Pongs, the last of them with the payload. The endpoint may have left out
// earlier ones (RFC 6455 section 5.5.3).
type pongsUpTo struct{ last []byte }

func (s pongsUpTo) run(c *conversation) {
	for {
		e := c.next(c.cfg.Patience)
		if e.kind != evPong {
			c.judge(Wrong, "%s came where Pongs were due, the last with %s", e, excerpt(s.last))
			return
		}
		if bytes.Equal(e.payload, s.last) {
			c.judge(Right, "")
			return
		}
	}
}

func (s pongsUpTo) String() string {
	return "expect Pongs, each or only for the latest Ping, up to " + excerpt(s.last)
}

// endsHere is the end of the kit's direction, and what may come then: the echoes of the
// messages that were whole, and the end.
type endsHere struct{ whole []answer }

func (s endsHere) run(c *conversation) {
	c.partial = true
	c.w.halfClose()
	left := s.whole
	for {
		for len(left) > 0 && c.hasAnswered(left[:1]) {
			left = left[1:]
		}
		e := c.next(c.cfg.Patience)
		switch {
		case e.kind == evPong && slices.ContainsFunc(left, func(a answer) bool { return a.is(e) }):
		case len(left) > 0 && left[0].is(e):
			left = left[1:]
		case e.kind == evClose && len(left) == 0:
			c.w.note("a Close frame after the end of the stream does no harm")
		case e.kind == evEnd || e.kind == evReset:
			c.over = true
			for len(left) > 0 && left[0].kind == evPong {
				left = left[1:] // nobody is there any more to whom it would say something
			}
			if len(left) > 0 {
				c.judge(Tolerable, "the end came before %s", left[0])
				return
			}
			c.judge(Right, "")
			return
		case len(left) > 0:
			c.judge(Wrong, "%s came where %s is right", e, left[0])
			return
		default:
			c.judge(Wrong, "%s came where only the end of the connection is right", e)
			return
		}
	}
}

func (s endsHere) String() string {
	return fmt.Sprintf("end the stream; expect %d answers, then the end", len(s.whole))
}

// An act is a step that expects nothing.
type act struct {
	name string
	do   func(c *conversation)
}

func (s act) run(c *conversation) { s.do(c) }
func (s act) String() string      { return s.name }

// The acts.
var (
	halfClose = act{"end the stream", func(c *conversation) { c.partial = true; c.w.halfClose() }}
	reset     = act{"reset the connection", func(c *conversation) { c.w.reset(); c.over = true; c.judge(Right, "") }}
	stall     = act{"read nothing", func(c *conversation) { c.w.setStall(true) }}
	resume    = act{"read again", func(c *conversation) { c.w.setStall(false) }}
	measure   = act{"measure memory", func(c *conversation) { c.memory = c.held() }}
)

// pause waits.
func pause(d time.Duration) act {
	return act{fmt.Sprintf("wait %v", d), func(*conversation) { time.Sleep(d) }}
}

// atLeast is how long something may take that takes d at most, where a patient kit expects the machine to be busy.
func (c *conversation) atLeast(d time.Duration) time.Duration { return max(d, c.cfg.Patience/8) }

// held returns the octets that the endpoint's process holds, 0 where that is not known.
func (c *conversation) held() int64 {
	if c.cfg.Memory == nil {
		return 0
	}
	return c.cfg.Memory()
}

// staysSmall expects that the endpoint's memory has not grown by more than max octets since
// measure. What a busy endpoint has thrown away and not yet given back is no growth, so one
// look of several is enough to clear it; not so where the peak is what matters.
type staysSmall struct {
	max  int64
	peak bool
}

func (s staysSmall) run(c *conversation) {
	least, most := int64(math.MaxInt64), int64(0)
	for range 12 { // a quarter of a second, where the peak matters
		grown := c.held() - c.memory
		least, most = min(least, grown), max(most, grown)
		if !s.peak && least <= s.max || s.peak && most > s.max {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s.peak {
		least = most
	}
	if least > s.max {
		c.judge(Wrong, "memory grew by %d octets, where %d are plenty", least, s.max)
		return
	}
	c.judge(Right, "")
}

func (s staysSmall) String() string {
	return fmt.Sprintf("expect that memory grows by at most %d octets, if it can be measured", s.max)
}

// endOf reports whether reading a head ended because the endpoint ended the connection.
func endOf(err error) bool {
	var timeout interface{ Timeout() bool }
	return err == io.EOF || err == io.ErrUnexpectedEOF || !(errors.As(err, &timeout) && timeout.Timeout()) && !errors.Is(err, errHead)
}
