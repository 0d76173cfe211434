package conform

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// This file holds the cases of section 7 and of 5.5.1: the closing handshake, its races, its
// codes, and the end of TCP.

// echoed is the right answer to a Close frame with a code.
func echoed(code int) expectation {
	return expect(closes(code)).orTolerably("5.5.1: the endpoint typically echoes the status code", closes())
}

// expectEchoOrClose expects the echo of a message behind which Close was sent.
func expectEchoOrClose(s string) expectation { return expectEcho(s).orTolerably(closedEarly, closes()) }

const closedEarly = "5.5.1: a Close is answered as soon as practical, and messages that are due then may be lost"

// expectEchoOrFailure expects the echo of a message behind which a rule is broken: who reads
// ahead of the application may fail before that has answered.
func expectEchoOrFailure(s string) expectation {
	return expectEcho(s).orTolerably(failedEarly, closes(), drops)
}

const failedEarly = "what is on its way when a connection fails may be lost"

// orLatePong expects Close 1000 where a Ping stands behind the kit's: a Pong before it is
// neither due nor forbidden.
func orLatePong(s string) expectation {
	return expect(closes(1000)).orTolerably("5.5.1: typically the code is echoed; 5.5.2: no Pong is due", closes(), pongs(s))
}

// closing is the closing handshake.
func (k *catalog) closing() {
	k.rule("5.5.1", "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame in response.", Both)
	k.add("close", "send Close 1000", send(*closeFrame(1000, "")), echoed(1000))
	k.add("empty", "send an empty Close", send(*closeFrame(noStatus, "")), expect(closes(noStatus, 1000)).orTolerably("5.5.1: the endpoint typically echoes the status code", closes()))
	k.add("octets", "send Close 1000 with a reason in segments of one octet", send(*closeFrame(1000, "that is all")).in(1, 20*time.Microsecond), echoed(1000))
	k.add("after-messages", "send Close after a message and its echo", send(text(hello)), expectEcho(hello), send(*closeFrame(1000, "")), echoed(1000))
	k.add("with-message", "send a message and Close at once", send(text(hello), *closeFrame(1000, "")), expectEchoOrClose(hello), echoed(1000))
	k.add("with-hundred", "send 100 messages and Close at once", hundredAndClose()...)
	k.add("with-ping", "send a Ping and Close at once", send(ping("last"), *closeFrame(1000, "")), expect(pongs("last")).
		orTolerably("5.5.2: no Pong is due once a Close frame has been received", closes()), echoed(1000))
	k.add("with-pong", "send a Pong and Close at once", send(pongFrame(""), *closeFrame(1000, "")), echoed(1000))
	k.add("inside-message", "send Close inside a fragmented message", send(first(opText, "He"), middle("l"), *closeFrame(1000, "")), echoed(1000))
	k.add("inside-message-masked-key", "send Close 3000 masked with a zero key", send(frame{opcode: opClose, payload: closeFrame(3000, "").payload, key: new([4]byte)}), echoed(3000))
	k.reasons()
	k.afterClose()
	k.endOfTCP()
	k.failing()
}

// hundredAndClose is a hundred messages, a Close, and what is right then.
func hundredAndClose() []step {
	var frames []frame
	var steps []step
	for i := range 100 {
		s := fmt.Sprint("message ", i)
		frames = append(frames, text(s))
		steps = append(steps, expectEchoOrClose(s))
	}
	frames = append(frames, *closeFrame(1001, "going"))
	return append(append([]step{send(frames...)}, steps...), echoed(1001))
}

// reasons are the bodies of Close frames.
func (k *catalog) reasons() {
	k.rule("5.5.1", "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte order) representing a status code with value /code/ defined in Section 7.4.", Both)
	for _, b := range []byte{0, 3, 0xFF} {
		k.illegal(fmt.Sprintf("one-octet-%02x", b), fmt.Sprintf("send a Close whose body is the octet %02x", b), 1002, frame{opcode: opClose, payload: []byte{b}})
	}
	k.rule("5.5.1", "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/, the interpretation of which is not defined by this specification.", Both)
	for _, n := range []int{1, 2, 122, 123} {
		k.add(fmt.Sprintf("reason-%d", n), fmt.Sprintf("send Close with a reason of %d octets", n), send(*closeFrame(1000, letters(n))), echoed(1000))
	}
	for name, reason := range map[string]string{"two": "schön", "three": "☃☃", "four": "𝄞", "nul": "a\x00b", "bom": "\uFEFFx", "last": "\U0010FFFF"} {
		k.add("reason-utf8-"+name, fmt.Sprintf("send Close with the reason %q", reason), send(*closeFrame(1000, reason)), echoed(1000))
	}
	k.sortLast(6)
	k.rule("8.1", "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.", Both)
	for i, reason := range []string{"\xFF", "a\x80", "\xC3", "\xE2\x98", "\xF0\x9D\x84", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", letters(122) + "\xE2"} {
		k.add(fmt.Sprintf("reason-%d", i), fmt.Sprintf("send Close with a reason that is not UTF-8: %s", excerpt([]byte(reason))),
			send(*closeFrame(1000, reason)), fails(1007, 1002))
	}
}

// sortLast puts the last n cases into the order of their ids: they came from a map.
func (k *catalog) sortLast(n int) {
	part := k.cases[len(k.cases)-n:]
	for i := range part {
		for j := i; j > 0 && part[j].ID < part[j-1].ID; j-- {
			part[j], part[j-1] = part[j-1], part[j]
		}
	}
}

// afterClose is what comes too late.
func (k *catalog) afterClose() {
	k.rule("5.5.1", "The application MUST NOT send any more data frames after sending a Close frame.", Both)
	late := func(name, title string, frames ...frame) {
		k.add(name, title, send(append([]frame{*closeFrame(1000, "")}, frames...)...), echoed(1000))
	}
	late("then-text", "send Close, then a message", text("too late"))
	late("then-fragments", "send Close, then fragments", first(opText, "too"), last(" late"))
	k.add("then-ping", "send Close, then a Ping", send(*closeFrame(1000, ""), ping("too late")), orLatePong("too late"), echoed(1000))
	late("then-close", "send two Close frames", *closeFrame(1001, ""))
	late("then-illegal", "send Close, then an illegal frame", frame{opcode: 5, rsv: 7})
	late("then-many", "send Close, then 64 KiB of messages", bin(filled(30000)), bin(filled(30000)), text("too late"))
	k.add("then-garbage", "send Close, then octets that are no frames", send(*closeFrame(1000, "")), octets{b: filled(3000)}, echoed(1000))
	k.add("then-half", "send Close, then half a frame", send(*closeFrame(1000, ""), frame{opcode: opText, claim: 100, payload: []byte(hello)}), echoed(1000))
	k.rule("7.1.5", "A closing of the WebSocket connection may be initiated by either endpoint, potentially simultaneously.", Both)
	k.add("crossing", "break a rule and send Close at once: both ends start the closing handshake", send(frame{opcode: 5}, *closeFrame(1000, "")), fails(1002))
	k.add("crossing-first", "send Close and then break a rule: the Close comes first", send(*closeFrame(1000, ""), frame{opcode: 5}), echoed(1000))
}

// endOfTCP is what becomes of the TCP connection.
func (k *catalog) endOfTCP() {
	k.rule("5.5.1", "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for the server to close the connection but MAY close the connection at any time after sending and receiving a Close message, e.g., if it has not received a TCP Close from the server in a reasonable time period.", Server)
	k.add("tcp-server-first", "send Close, and leave TCP to the server", send(*closeFrame(1000, "")), endsBy{time.Second})
	k.rule("7.1.1", "As such, when a server is instructed to _Close the WebSocket Connection_ it SHOULD initiate a TCP Close immediately, and when a client is instructed to do the same, it SHOULD wait for a TCP Close from the server.", Client)
	k.add("client-waits", "send Close, and end TCP 100 ms after the client's answer", send(*closeFrame(1000, "")), clientWaits{100 * time.Millisecond})
	k.add("client-waits-not-forever", "send Close, and never end TCP", send(*closeFrame(1000, "")), lingers{}).weighs()
	k.rule("7.1.1", "An endpoint SHOULD use a method that cleanly closes the TCP connection, as well as the TLS session, if applicable, discarding any trailing bytes that may have been received.", Both)
	k.add("half-closed", "send a message and Close and end the stream", send(text(hello), *closeFrame(1000, "")), halfClose, expectEchoOrClose(hello).
		orTolerably("the kit may be gone, or Close be answered first", drops), echoed(1000).orTolerably("the kit may be gone", drops))
	k.add("half-closed-empty", "send an empty Close and end the stream", send(*closeFrame(noStatus, "")), halfClose, echoed(noStatus).orTolerably("the kit may be gone", drops))
	k.add("close-and-gone", "send Close and reset", send(*closeFrame(1000, "")), reset, another{})
	k.add("close-in-upload", "break a rule in the middle of an upload of 20 MiB; the Close must arrive all the same", upload{20 << 20}).weighs()
}

// endsBy expects Close and the end of TCP within a time, without doing anything for it.
type endsBy struct{ within time.Duration }

func (s endsBy) run(c *conversation) {
	if e := c.next(c.cfg.Patience); e.kind != evClose {
		c.judge(Wrong, "%s came where Close is right", e)
		return
	}
	start := time.Now()
	e := c.next(c.cfg.Patience)
	took := time.Since(start)
	c.over = true
	switch {
	case e.kind != evEnd && e.kind != evReset:
		c.judge(Wrong, "%s came where the end of the TCP connection is right", e)
	case took > c.atLeast(s.within):
		c.judge(Tolerable, "the TCP connection ended only after %v", took.Round(time.Millisecond))
	case e.kind == evReset:
		c.judge(Tolerable, "the TCP connection ended by a reset")
	default:
		c.judge(Right, "")
	}
}

func (s endsBy) String() string {
	return fmt.Sprintf("expect Close, and the end of TCP within %v", s.within)
}

// clientWaits expects that the client leaves it to the server to end TCP.
type clientWaits struct{ d time.Duration }

func (s clientWaits) run(c *conversation) {
	if e := c.next(c.cfg.Patience); e.kind != evClose {
		c.judge(Wrong, "%s came where Close is right", e)
		return
	}
	e := c.next(s.d)
	c.w.halfClose()
	if c.over = true; e.kind != evSilence {
		c.judge(Tolerable, "the client ended TCP before the server did, which it may")
		return
	}
	if e = c.next(c.cfg.Patience); e.kind != evEnd && e.kind != evReset {
		c.judge(Wrong, "%s came where the end of the TCP connection is right", e)
		return
	}
	c.judge(Right, "")
}

func (s clientWaits) String() string {
	return fmt.Sprintf("expect Close, and that the client ends TCP, but not before %v have passed", s.d)
}

// lingers expects that a client ends TCP in the end when the server never does.
type lingers struct{}

func (lingers) run(c *conversation) {
	if e := c.next(c.cfg.Patience); e.kind != evClose {
		c.judge(Wrong, "%s came where Close is right", e)
		return
	}
	c.over = true
	if e := c.next(max(3*c.cfg.Patience, 12*time.Second)); e.kind == evSilence {
		c.judge(Tolerable, "the client waited longer than %v for the server to end TCP", max(3*c.cfg.Patience, 12*time.Second))
		return
	}
	c.judge(Right, "")
}

func (lingers) String() string { return "expect Close, and the end of TCP in a reasonable time" }

// upload sends much behind an illegal frame, and reads nothing meanwhile but what comes.
type upload struct{ n int }

func (s upload) run(c *conversation) {
	send(frame{opcode: 5}).run(c)
	big := frame{opcode: opBinary, payload: make([]byte, 64<<10)}
	b := big.appendTo(nil, c.w.masks)
	broken := false
	for sent := 0; sent < s.n && !broken; sent += len(b) {
		broken = c.w.write(b, 0, 0) != nil
	}
	c.closing, c.over = true, true // nothing of ours would be read
	e := c.next(c.cfg.Patience)
	switch {
	case e.kind == evEnd || e.kind == evReset:
		c.judge(Tolerable, "%s came where Close 1002 is right; if it was sent, it was destroyed", e)
		return
	case e.kind != evClose:
		c.judge(Wrong, "%s came where Close 1002 is right", e)
		return
	}
	if c.role == Client {
		c.w.halfClose()
	}
	switch end := c.next(c.cfg.Patience); {
	case end.kind == evReset, broken:
		c.judge(Tolerable, "the TCP connection ended by a reset, which destroys the Close frame in some networks")
	case end.kind != evEnd:
		c.judge(Wrong, "%s came where the end of the TCP connection is right", end)
	case e.code != 1002:
		c.judge(Tolerable, "%s came where Close 1002 is right", e)
	default:
		c.judge(Right, "")
	}
}

func (s upload) String() string {
	return fmt.Sprintf("send an illegal frame and %d MiB behind it; expect Close 1002 all the same", s.n>>20)
}

// failing is section 7.1.7.
func (k *catalog) failing() {
	k.rule("7.1.7", "An endpoint MUST NOT continue to attempt to process data (including a responding Close frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_.", Both)
	k.add("then-message", "break a rule, then send a message", send(frame{opcode: 5}, text("too late")), fails(1002))
	k.add("then-ping", "break a rule, then send a Ping", send(frame{opcode: 5}, ping("too late")), fails(1002))
	k.add("then-other", "break two rules", send(frame{opcode: 5}, frame{opcode: opText, payload: []byte{0xFF}}), fails(1002))
	k.add("message-before", "send a message, then break a rule", send(text(hello), frame{opcode: 5}), expectEchoOrFailure(hello), fails(1002))
	k.add("inside-message", "break a rule inside a fragmented message", send(first(opText, hello), frame{opcode: 5}, last("")), fails(1002))
	k.rule("7.1.7", "Similarly, to do so, the server MUST _Close the WebSocket Connection_, and SHOULD log the problem.", Server)
	k.add("unanswered", "break a rule and do not answer the Close", send(frame{opcode: 5}), act{"answer nothing", func(c *conversation) { c.closing = true }}, fails(1002))
	k.rule("7.1.7", "To do so, the client MUST _Close the WebSocket Connection_, and MAY report the problem to the user (which would be especially useful for developers) in an appropriate manner.", Client)
	k.add("unanswered-client", "break a rule, do not answer the Close and do not end TCP", send(frame{opcode: 5}), failsAlone{}).weighs()
}

// failsAlone expects that a client that fails the connection ends TCP without help.
type failsAlone struct{}

func (failsAlone) run(c *conversation) {
	e := c.next(c.cfg.Patience)
	c.over = true
	switch {
	case e.kind == evEnd || e.kind == evReset:
		c.judge(Tolerable, "no Close frame came; sending it is right (SHOULD)")
		return
	case e.kind != evClose:
		c.judge(Wrong, "%s came where Close 1002 is right", e)
		return
	case e.code != 1002:
		c.judge(Tolerable, "%s came where Close 1002 is right (7.1.7: the code SHOULD be the one that fits)", e)
	}
	if e := c.next(max(3*c.cfg.Patience, 12*time.Second)); e.kind != evEnd && e.kind != evReset {
		c.judge(Wrong, "%s came where the end of the TCP connection is right", e)
		return
	}
	c.judge(Right, "")
}

func (failsAlone) String() string {
	return "expect Close 1002, and the end of TCP, whatever the server does"
}

// codes is section 7.4.
func (k *catalog) codes() {
	k.rule("7.4.1", "Endpoints MAY use the following pre-defined status codes when sending a Close frame.", Both)
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011} {
		k.add(fmt.Sprintf("code-%d", code), fmt.Sprintf("send Close %d", code), send(*closeFrame(code, "")), echoed(code))
		k.add(fmt.Sprintf("code-%d-reason", code), fmt.Sprintf("send Close %d with a reason", code), send(*closeFrame(code, "reason")), echoed(code))
	}
	k.rule("7.4.2", "Status codes in the range 1000-2999 are reserved for definition by this protocol, its future revisions, and extensions specified in a permanent and readily available public specification.", Both)
	for _, code := range []int{1012, 1013, 1014} {
		k.add(fmt.Sprintf("code-%d", code), fmt.Sprintf("send Close %d, which IANA has registered since", code), send(*closeFrame(code, "")), echoed(code))
	}
	k.rule("7.4.2", "Status codes in the range 3000-3999 are reserved for use by libraries, frameworks, and applications.", Both)
	for _, code := range []int{3000, 3001, 3500, 3999} {
		k.add(fmt.Sprintf("code-%d", code), fmt.Sprintf("send Close %d", code), send(*closeFrame(code, "")), echoed(code))
	}
	k.rule("7.4.2", "Status codes in the range 4000-4999 are reserved for private use and thus can't be registered.", Both)
	for _, code := range []int{4000, 4001, 4500, 4999} {
		k.add(fmt.Sprintf("code-%d", code), fmt.Sprintf("send Close %d", code), send(*closeFrame(code, "")), echoed(code))
	}
	k.badCodes()
}

// badCodes must not be in a Close frame.
func (k *catalog) badCodes() {
	bad := func(codes ...int) {
		for _, code := range codes {
			k.add(fmt.Sprintf("code-%d", code), fmt.Sprintf("send Close %d", code), send(rawClose(code, "")), fails(1002))
			k.add(fmt.Sprintf("code-%d-reason", code), fmt.Sprintf("send Close %d with a reason", code), send(rawClose(code, "reason")), fails(1002))
		}
	}
	for _, code := range []int{1005, 1006, 1015} {
		k.rule("7.4.1", strings.ReplaceAll("CODE is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint.", "CODE", fmt.Sprint(code)), Both)
		bad(code)
	}
	k.rule("7.4.1", "Reserved. The specific meaning might be defined in the future.", Both)
	bad(1004)
	k.rule("7.4.2", "Status codes in the range 0-999 are not used.", Both)
	bad(0, 1, 42, 500, 998, 999)
	k.rule("7.4.2", "Status codes in the range 1000-2999 are reserved for definition by this protocol, its future revisions, and extensions specified in a permanent and readily available public specification.", Both)
	bad(1016, 1017, 1100, 1999, 2000, 2999)
	k.rule("5.5.1", "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte order) representing a status code with value /code/ defined in Section 7.4.", Both)
	bad(5000, 5001, 10000, 32768, 65535)
}

// rawClose is a Close frame with any code.
func rawClose(code int, reason string) frame {
	return frame{opcode: opClose, payload: append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)}
}
