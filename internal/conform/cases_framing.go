package conform

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// This file holds the cases of sections 5 and 6: frames, fragments, control frames, and
// streams that end anywhere.

// illegal adds a case in which frames must make the endpoint fail the connection. A Ping
// follows at once: an endpoint that goes on gives itself away by the Pong.
func (k *catalog) illegal(name, title string, code int, frames ...frame) *Case {
	return k.add(name, title, send(append(frames, ping("still there?"))...), fails(code))
}

// masking is section 5.1.
func (k *catalog) masking() {
	kinds := []frame{text(hello), bin([]byte(hello)), text(""), ping(hello), pongFrame(hello), *closeFrame(1000, ""), first(opText, hello)}
	names := []string{"text", "binary", "empty", "ping", "pong", "close", "fragment"}
	for i, name := range names {
		f := kinds[i]
		k.rule("5.1", "The server MUST close the connection upon receiving a frame that is not masked.", Server)
		f.mask = maskNever
		k.add("unmasked-"+name, "send a frame without mask: "+f.String(), send(f), fails(1002))
		k.rule("5.1", "A client MUST close a connection if it detects a masked frame.", Client)
		f.mask = maskAlways
		k.add("masked-"+name, "send a masked frame: "+f.String(), send(f), fails(1002))
	}
	wrong := last(" world")
	wrong.mask = maskNever
	k.rule("5.1", "The server MUST close the connection upon receiving a frame that is not masked.", Server)
	k.add("unmasked-continuation", "send the second fragment without mask", send(first(opText, hello), wrong), fails(1002))
	k.rule("5.1", "A client MUST close a connection if it detects a masked frame.", Client)
	wrong.mask = maskAlways
	k.add("masked-continuation", "send the second fragment masked", send(first(opText, hello), wrong), fails(1002))
}

// boundaries are the lengths at which the form of a length, or a buffer, ends.
var boundaries = []int{0, 1, 2, 3, 7, 8, 15, 16, 31, 33, 63, 65, 124, 125, 126, 127, 128, 129, 255, 256, 257, 511, 512, 513,
	1023, 1024, 4095, 4096, 4097, 16383, 16384, 16385, 32767, 32768, 65534, 65535, 65536, 65537, 131071, 131073}

// framing is section 5.2, and the key of 5.3.
func (k *catalog) framing() {
	k.lengths()
	k.badLengths()
	k.reserved()
	k.segments()
	k.rule("5.3", "Octet i of the transformed data (\"transformed-octet-i\") is the XOR of octet i of the original data (\"original-octet-i\") with octet at index i modulo 4 of the masking key (\"masking-key-octet-j\")", Server)
	for _, key := range [][4]byte{{}, {0xFF, 0xFF, 0xFF, 0xFF}, {1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}, {0x37, 0xFA, 0x21, 0x3D}} {
		for _, n := range []int{5, 126, 4099} {
			k.add(fmt.Sprintf("key-%x-%d", key, n), fmt.Sprintf("send %d octets masked with %x", n, key),
				send(frame{opcode: opBinary, payload: filled(n), key: &key}), expect(echoesBinary(filled(n))))
		}
	}
	var frames []frame
	var answers []step
	for n := range 41 {
		frames = append(frames, bin(filled(n)))
		answers = append(answers, expect(echoesBinary(filled(n))))
	}
	k.add("key-per-frame", "send messages of 0 to 40 octets, each with a key of its own", append([]step{send(frames...)}, answers...)...)
	k.add("key-per-fragment", "send a message of 60 fragments of up to 9 octets, each with a key of its own",
		send(cuts(opText, letters(270), slices.Compact(steps(270, 1, 2, 3, 4, 5, 6, 7, 8, 9))...)...), expectEcho(letters(270)))
	k.rule("5.3", "When preparing a masked frame, the client MUST pick a fresh masking key from the set of allowed 32-bit values.", Client)
	k.add("keys-fresh", "send 64 messages; the keys of the echoes must all differ", freshKeys{})
}

// steps returns offsets below n that go up by the given strides, in turn.
func steps(n int, strides ...int) []int {
	var list []int
	for at, i := strides[0], 0; at < n; at, i = at+strides[(i+1)%len(strides)], i+1 {
		list = append(list, at)
	}
	return list
}

// freshKeys looks at the masking keys of a client. Two equal ones among 64 happen once in two million runs.
type freshKeys struct{}

func (freshKeys) run(c *conversation) {
	for i := range 64 {
		s := fmt.Sprintf("key %d", i)
		send(text(s)).run(c)
		if expectEcho(s).run(c); c.over {
			return
		}
	}
	seen := make(map[[4]byte]bool)
	for _, key := range c.w.maskingKeys() {
		if seen[key] {
			c.judge(Wrong, "the masking key %x was used twice", key)
			return
		}
		seen[key] = true
	}
}

func (freshKeys) String() string { return "send 64 messages; expect their echoes with 64 masking keys" }

// lengths is what every endpoint must take.
func (k *catalog) lengths() {
	k.rule("5.2", "The length of the \"Payload data\", in bytes: if 0-125, that is the payload length. If 126, the following 2 bytes interpreted as a 16-bit unsigned integer are the payload length. If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most significant bit MUST be 0) are the payload length.", Both)
	for _, n := range boundaries {
		s := letters(n)
		k.add(fmt.Sprintf("text-%d", n), fmt.Sprintf("send a Text of %d octets", n), send(text(s)), expectEcho(s))
		k.add(fmt.Sprintf("binary-%d", n), fmt.Sprintf("send a Binary of %d octets", n), send(bin(filled(n))), expect(echoesBinary(filled(n))))
	}
	k.add("all-octets", "send each octet's value in a Binary", send(bin(filled(256*251))), expect(echoesBinary(filled(256*251))))
	for _, n := range []int{1 << 18, 1 << 20, 1 << 22, 1 << 24} {
		k.add(fmt.Sprintf("big-text-%dK", n>>10), fmt.Sprintf("send a Text of %d KiB", n>>10), send(text(letters(n))), expectEcho(letters(n))).needing(n)
		k.add(fmt.Sprintf("big-binary-%dK", n>>10), fmt.Sprintf("send a Binary of %d KiB", n>>10), send(bin(filled(n))), expect(echoesBinary(filled(n)))).needing(n)
	}
}

// badLengths are lengths that no frame has.
func (k *catalog) badLengths() {
	k.rule("5.2", "Note that in all cases, the minimal number of bytes MUST be used to encode the length, for example, the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124.", Both)
	for _, form := range []struct{ n, bits int }{{0, 16}, {1, 16}, {124, 16}, {125, 16}, {0, 64}, {5, 64}, {125, 64}, {126, 64}, {1000, 64}, {65535, 64}} {
		f := text(letters(form.n))
		f.bits = form.bits
		k.add(fmt.Sprintf("length-%d-in-%d", form.n, form.bits), fmt.Sprintf("send a length of %d in %d bits", form.n, form.bits),
			send(f), fails(1002).orTolerably("5.2 binds the sender; a receiver may be lenient", echoes(letters(form.n))))
	}
	for _, bits := range []int{16, 64} {
		f := ping("ping")
		f.bits = bits
		k.add(fmt.Sprintf("length-ping-in-%d", bits), fmt.Sprintf("send a Ping with its length in %d bits", bits),
			send(f), fails(1002).orTolerably("5.2 binds the sender; a receiver may be lenient", pongs("ping")))
	}
	k.rule("5.2", "If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most significant bit MUST be 0) are the payload length.", Both)
	for _, claim := range []uint64{1 << 63, 1<<63 + 5, math.MaxUint64} {
		for _, op := range []byte{opText, opBinary} {
			k.add(fmt.Sprintf("length-%x-%s", claim, strings.ToLower(opcodeName(op))), fmt.Sprintf("declare a length of %x (hexadecimal)", claim),
				send(frame{opcode: op, claim: claim, payload: []byte(hello)}), fails(1002), another{})
		}
	}
	k.add("length-top-bit-continuation", "declare such a length in a continuation",
		send(first(opText, hello), frame{claim: 1 << 63, payload: []byte(hello)}), fails(1002), another{})
}

// reserved are bits and opcodes that mean nothing.
func (k *catalog) reserved() {
	k.rule("5.2", "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_.", Both)
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []byte{opText, opBinary, opClose, opPing, opPong} {
			f := frame{opcode: op, rsv: rsv, payload: []byte{3, 0xE8, 'x'}}
			k.illegal(fmt.Sprintf("rsv%d-%s", rsv, strings.ToLower(opcodeName(op))), "send "+f.String(), 1002, f)
		}
		f := last(" world")
		f.rsv = rsv
		k.illegal(fmt.Sprintf("rsv%d-continuation", rsv), "send a continuation with reserved bits", 1002, first(opText, hello), f)
		f = frame{opcode: opText, more: true, rsv: rsv, payload: []byte(hello)}
		k.illegal(fmt.Sprintf("rsv%d-fragment", rsv), "send a first fragment with reserved bits", 1002, f, last(""))
		f = ping("inside")
		f.rsv = rsv
		k.illegal(fmt.Sprintf("rsv%d-ping-between", rsv), "send a Ping with reserved bits between fragments", 1002, first(opText, hello), f, last(""))
	}
	k.rule("5.2", "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_.", Both)
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		k.illegal(fmt.Sprintf("opcode-%X", op), fmt.Sprintf("send a frame of opcode 0x%X", op), 1002, frame{opcode: op, payload: []byte(hello)})
		k.illegal(fmt.Sprintf("opcode-%X-empty", op), fmt.Sprintf("send an empty frame of opcode 0x%X", op), 1002, frame{opcode: op})
		k.illegal(fmt.Sprintf("opcode-%X-more", op), fmt.Sprintf("send a frame of opcode 0x%X without FIN", op), 1002, frame{opcode: op, more: true})
		k.illegal(fmt.Sprintf("opcode-%X-between", op), fmt.Sprintf("send a frame of opcode 0x%X between fragments", op), 1002,
			first(opText, hello), frame{opcode: op}, last(""))
	}
	k.add("opcode-after-echo", "send a message, then opcode 0x5", send(text(hello), frame{opcode: 5}), expectEchoOrFailure(hello), fails(1002))
}

// segments are the same frames in unhandy pieces.
func (k *catalog) segments() {
	k.rule("5.4", "One implication of this is that in absence of extensions, senders and receivers must not depend on the presence of specific frame boundaries.", Both)
	for _, n := range []int{0, 1, 125, 126, 127, 300} {
		k.add(fmt.Sprintf("octets-%d", n), fmt.Sprintf("send a Text of %d octets in segments of one", n),
			send(text(letters(n))).in(1, 20*time.Microsecond), expectEcho(letters(n)))
	}
	k.add("octets-65536", "send a Binary of 65536 octets in segments of one", send(bin(filled(65536))).in(1, 0), expect(echoesBinary(filled(65536)))).weighs()
	for _, size := range []int{2, 3, 5, 7, 11, 13, 14, 15, 100, 997, 4095, 4097} {
		k.add(fmt.Sprintf("segments-%d", size), fmt.Sprintf("send frames of every form of length in segments of %d octets", size),
			send(text(letters(5)), ping("between"), text(letters(200)), first(opBinary, "ab"), last("cd"), text(letters(min(70000, size*2500)))).in(size, 0),
			expectEcho(letters(5)), expect(pongs("between")), expectEcho(letters(200)), expect(echoesBinary([]byte("abcd"))), expectEcho(letters(min(70000, size*2500))))
	}
	f := frame{opcode: opText, payload: []byte(letters(66000)), key: &[4]byte{1, 2, 3, 4}}
	for at := 1; at < 15; at++ {
		k.add(fmt.Sprintf("header-cut-%d", at), fmt.Sprintf("send a frame with a pause after its octet %d", at),
			cutFrame{f, at}, expectEcho(string(f.payload)))
	}
	k.add("coalesced", "send 200 messages and Pings in one segment", coalesced()...)
}

// cutFrame sends a frame in two segments, with a pause between them.
type cutFrame struct {
	f  frame
	at int
}

func (s cutFrame) run(c *conversation) {
	c.w.note("→ %s, with a pause after octet %d", &s.f, s.at)
	b := s.f.appendTo(nil, c.w.masks)
	_ = c.w.write(b[:s.at], 0, 5*time.Millisecond)
	_ = c.w.write(b[s.at:], 0, 0)
}

func (s cutFrame) String() string {
	return fmt.Sprintf("send %s, with a pause after octet %d", s.f.String(), s.at)
}

// coalesced is many small frames at once.
func coalesced() []step {
	var frames []frame
	var answers []step
	for i := range 100 {
		s := fmt.Sprintf("message %d", i)
		frames = append(frames, text(s), ping(s))
		answers = append(answers, expectEcho(s), expect(pongs(s)))
	}
	return append([]step{send(frames...)}, answers...)
}

// fragmentation is section 5.4.
func (k *catalog) fragmentation() {
	const greeting = "Hello, wörld ☃ and 𝄞!"
	k.rule("5.4", "Clients and servers MUST support receiving both fragmented and unfragmented messages.", Both)
	for at := 0; at <= len(greeting); at++ {
		k.add(fmt.Sprintf("two-%02d", at), fmt.Sprintf("send a Text in two fragments, cut after %d octets", at),
			send(cuts(opText, greeting, at)...), expectEcho(greeting))
	}
	k.add("octet-fragments", "send a Text in fragments of one octet", send(cuts(opText, greeting, everyOctet(greeting)...)...), expectEcho(greeting))
	k.add("octet-fragments-segments", "send a Text in fragments of one octet and segments of one octet",
		send(cuts(opText, greeting, everyOctet(greeting)...)...).in(1, 20*time.Microsecond), expectEcho(greeting))
	k.add("binary-fragments", "send a Binary in fragments of 100 octets", send(cuts(opBinary, string(filled(10000)), steps(10000, 100)...)...), expect(echoesBinary(filled(10000))))
	for _, n := range []int{125, 126, 65535, 65536} {
		k.add(fmt.Sprintf("three-of-%d", n), fmt.Sprintf("send a Binary in three fragments of %d octets", n),
			send(cuts(opBinary, string(filled(3*n)), n, 2*n)...), expect(echoesBinary(filled(3*n))))
	}
	k.add("empty-first", "send an empty first fragment", send(first(opText, ""), last(hello)), expectEcho(hello))
	k.add("empty-middle", "send an empty fragment in the middle", send(first(opText, "He"), middle(""), last("llo")), expectEcho(hello))
	k.add("empty-last", "send an empty last fragment", send(first(opText, hello), last("")), expectEcho(hello))
	k.add("empty-all", "send an empty message in four fragments", send(first(opText, ""), middle(""), middle(""), last("")), expectEcho(""))
	k.add("big-1K-fragments", "send a Binary of 4 MiB in fragments of 1 KiB", send(cuts(opBinary, string(filled(4<<20)), steps(4<<20, 1024)...)...), expect(echoesBinary(filled(4<<20)))).needing(4 << 20)
	k.add("big-64-fragments", "send a Text of 1 MiB in fragments of 64 octets", send(cuts(opText, letters(1<<20), steps(1<<20, 64)...)...), expectEcho(letters(1<<20))).needing(1 << 20)
	k.rule("5.4", "An endpoint MUST be capable of handling control frames in the middle of a fragmented message.", Both)
	k.add("ping-between", "send a Ping between two fragments", send(first(opText, "He"), ping("now"), last("llo")), expect(pongs("now")), expectEcho(hello))
	k.add("ping-answered-before-end", "send a Ping between two fragments, and the second only after the Pong", send(first(opText, "He"), ping("now")), expect(pongs("now")), send(last("llo")), expectEcho(hello))
	k.add("ping-in-empty", "send a Ping between empty fragments", send(first(opText, ""), ping("now"), last("")), expect(pongs("now")), expectEcho(""))
	k.add("pong-between", "send a Pong between two fragments", send(first(opText, "He"), pongFrame("?"), last("llo")), expectEcho(hello))
	k.add("close-between", "send Close between two fragments", send(first(opText, "He"), *closeFrame(1000, "")), expect(closes(1000)).orTolerably("5.5.1: typically the code is echoed", closes()))
	between := []frame{first(opText, "")}
	answers := []step{}
	for i := range 10 {
		s := fmt.Sprint(i)
		between = append(between, ping(s), middle(s))
		answers = append(answers, expect(pongs(s)))
	}
	between = append(between, last("!"))
	answers = append(answers, expectEcho("0123456789!"))
	k.add("pings-between-all", "send a Ping before each of ten fragments", append([]step{send(between...)}, answers...)...)
	k.add("pings-between-all-octets", "the same in segments of one octet", append([]step{send(between...).in(1, 20*time.Microsecond)}, answers...)...)
	k.rule("5.4", "The fragments of one message MUST NOT be interleaved between the fragments of another message unless an extension has been negotiated that can interpret the interleaving.", Both)
	k.illegal("new-text-inside", "start a Text inside a fragmented Text", 1002, first(opText, hello), text(hello))
	k.illegal("new-binary-inside", "start a Binary inside a fragmented Text", 1002, first(opText, hello), bin([]byte(hello)), last(""))
	k.illegal("new-empty-inside", "start an empty message inside a fragmented one", 1002, first(opBinary, hello), text(""))
	k.illegal("new-inside-empty", "start a message inside one whose fragments so far are empty", 1002, first(opText, ""), text(hello))
	k.rule("5.4", "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0.", Both)
	k.illegal("continuation-of-nothing", "send a continuation first", 1002, last(hello))
	k.illegal("continuation-of-nothing-more", "send a continuation without FIN first", 1002, middle(hello), last(""))
	k.illegal("continuation-of-nothing-empty", "send an empty continuation first", 1002, last(""))
	k.add("continuation-after-end", "send a continuation after a whole message", send(text(hello), last(hello), ping("?")), expectEchoOrFailure(hello), fails(1002))
	k.add("continuation-after-fragments", "send a continuation after a fragmented message", send(first(opText, "He"), last("llo"), last(hello), ping("?")), expectEchoOrFailure(hello), fails(1002))
	k.orders()
}

// orders is every order of up to three frames, and some longer ones: what is right follows
// from the rules of 5.4.
func (k *catalog) orders() {
	k.rule("5.4", "As a consequence of these rules, all fragments of a message are of the same type, as set by the first fragment's opcode.", Both)
	const letters = "TtBbCcPOX" // capitals have FIN, small ones not; P Ping, O Pong, X Close
	var walk func(word string)
	walk = func(word string) {
		steps, over := ordered(word)
		if over || len(word) == 3 {
			k.add("order-"+spell(word), "send "+spell(word), steps...)
			return
		}
		for i := range letters {
			walk(word + letters[i:i+1])
		}
	}
	walk("")
	state := uint32(1)
	for n := range 24 {
		word, legal := "", ""
		for len(word) < 14 {
			state = state*1664525 + 1013904223
			word = legal + letters[state>>24%8:][:1] // no Close
			if _, over := ordered(word); !over {
				legal = word
			}
		}
		word = legal + "TtBbCcPOX"[n%9:][:1]
		steps, _ := ordered(word)
		k.add("order-"+spell(word), "send "+spell(word), steps...)
	}
}

// spell makes a word fit for file systems and URLs that fold case.
func spell(word string) string {
	names := map[rune]string{'T': "T1", 't': "T0", 'B': "B1", 'b': "B0", 'C': "C1", 'c': "C0", 'P': "Pi", 'O': "Po", 'X': "X"}
	var b strings.Builder
	for _, r := range word {
		b.WriteString(names[r])
	}
	return b.String()
}

// letterFrame returns the frame of a letter.
func letterFrame(r rune, data []byte) frame {
	opcodes := map[rune]byte{'T': opText, 't': opText, 'B': opBinary, 'b': opBinary, 'P': opPing, 'O': opPong}
	if r == 'X' {
		return *closeFrame(1000, "")
	}
	return frame{opcode: opcodes[r], payload: data, more: r == 't' || r == 'b' || r == 'c'}
}

// ordered returns the conversation of a word of frames, and whether its last frame ends the connection.
func ordered(word string) (conversation []step, over bool) {
	var frames []frame
	var answers []step
	var open byte
	var body []byte
	for i, r := range word {
		data := []byte{'a' + byte(i)}
		f := letterFrame(r, data)
		switch r {
		case 'P':
			answers = append(answers, expect(pong(data)))
		case 'X':
			answers = append(answers, expect(closes(1000)).orTolerably("5.5.1: typically the code is echoed", closes()))
		}
		frames = append(frames, f)
		if r == 'X' {
			orInstead(answers[:len(answers)-1], closedEarly, closes())
			return append([]step{send(frames...)}, answers...), true
		}
		if f.opcode >= opClose {
			continue
		}
		if (open == 0) != (f.opcode != opContinuation) {
			orInstead(answers, failedEarly, closes(), drops)
			answers = append(answers, fails(1002))
			return append([]step{send(frames...)}, answers...), true
		}
		if open == 0 {
			open, body = f.opcode, nil
		}
		if body = append(body, data...); !f.more {
			answers = append(answers, expect(message(open, bytes.Clone(body))))
			open = 0
		}
	}
	// A barrier: everything before it has been seen when its Pong comes.
	frames = append(frames, ping("end"))
	answers = append(answers, expect(pongs("end")))
	return append([]step{send(frames...)}, answers...), false
}

// orInstead makes other answers tolerable in each of the expectations.
func orInstead(expectations []step, because string, others ...answer) {
	for i, s := range expectations {
		expectations[i] = s.(expectation).orTolerably(because, others...)
	}
}

// controls is sections 5.5, 5.5.2 and 5.5.3.
func (k *catalog) controls() {
	k.rule("5.5", "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.", Both)
	for _, op := range []byte{opClose, opPing, opPong} {
		name := strings.ToLower(opcodeName(op))
		long := append([]byte{3, 0xE8}, letters(70000)...)
		for _, n := range []int{126, 127, 65536} {
			k.illegal(fmt.Sprintf("%s-%d", name, n), fmt.Sprintf("send a %s of %d octets", opcodeName(op), n), 1002, frame{opcode: op, payload: long[:n]})
		}
		k.illegal(name+"-126-between", fmt.Sprintf("send a %s of 126 octets between fragments", opcodeName(op)), 1002, first(opText, ""), frame{opcode: op, payload: long[:126]}, last(""))
		k.illegal(name+"-more", fmt.Sprintf("send a %s without FIN", opcodeName(op)), 1002, frame{opcode: op, payload: long[:2], more: true})
		k.illegal(name+"-more-last", fmt.Sprintf("send a %s in two fragments", opcodeName(op)), 1002, frame{opcode: op, payload: long[:2], more: true}, last("x"))
		k.illegal(name+"-more-empty", fmt.Sprintf("send an empty %s without FIN", opcodeName(op)), 1002, frame{opcode: op, more: true})
		k.illegal(name+"-more-between", fmt.Sprintf("send a %s without FIN between fragments", opcodeName(op)), 1002, first(opText, ""), frame{opcode: op, more: true}, last(""))
		k.add(name+"-126-at-once", fmt.Sprintf("send only the header of a %s of 126 octets", opcodeName(op)), send(frame{opcode: op, claim: 126}), failsFast{1002, octets{b: long[:126]}})
	}
	k.pings()
	k.rule("5.5.3", "A Pong frame MAY be sent unsolicited. This serves as a unidirectional heartbeat. A response to an unsolicited Pong frame is not expected.", Both)
	for _, n := range []int{0, 1, 125} {
		k.add(fmt.Sprintf("unsolicited-%d", n), fmt.Sprintf("send a Pong of %d octets, then a Ping", n), send(pongFrame(letters(n)), ping("then")), expect(pongs("then")))
	}
	k.add("unsolicited-then-message", "send a Pong, then a message", send(pongFrame(hello), text(hello)), expectEcho(hello))
	k.add("unsolicited-100", "send 100 Pongs, then a Ping", send(pongFrame(hello)).repeated(100), send(ping("then")), expect(pongs("then")))
}

// pings is section 5.5.2 and the first half of 5.5.3.
func (k *catalog) pings() {
	k.rule("5.5.2", "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received a Close frame.", Both)
	k.add("empty", "send an empty Ping", send(ping("")), expect(pongs("")))
	for _, n := range []int{1, 2, 7, 8, 9, 124, 125} {
		k.add(fmt.Sprintf("of-%d", n), fmt.Sprintf("send a Ping of %d octets", n), send(frame{opcode: opPing, payload: filled(n)}), expect(pong(filled(n))))
	}
	k.add("not-utf8", "send a Ping of octets that are no text", send(frame{opcode: opPing, payload: []byte{0, 0xFF, 0xFE, 0xFD, 0xC0}}), expect(pong([]byte{0, 0xFF, 0xFE, 0xFD, 0xC0})))
	k.add("octets", "send a Ping of 125 octets in segments of one", send(frame{opcode: opPing, payload: filled(125)}).in(1, 20*time.Microsecond), expect(pong(filled(125))))
	k.add("before-message", "send a Ping and a message", send(ping("now"), text(hello)), expect(pongs("now")), expectEcho(hello))
	k.add("after-close", "send Close, then a Ping", send(*closeFrame(1000, ""), ping("late")), orLatePong("late"), echoed(1000))
	k.rule("5.5.3", "A Pong frame sent in response to a Ping frame must have identical \"Application data\" as found in the message body of the Ping frame being replied to.", Both)
	var frames []frame
	for i := range 10 {
		frames = append(frames, ping(fmt.Sprintf("number %d", i)))
	}
	k.add("ten", "send ten Pings at once", send(frames...), pongsUpTo{[]byte("number 9")})
	k.add("ten-octets", "send ten Pings in segments of one octet", send(frames...).in(1, 20*time.Microsecond), pongsUpTo{[]byte("number 9")})
	var steps []step
	for i := range 10 {
		s := letters(i * 13)
		steps = append(steps, send(ping(s)), expect(pongs(s)))
	}
	k.add("one-by-one", "send ten Pings, each after the Pong of the one before", steps...)
}

// data is sections 5.6, 6.1 and 6.2, as far as others do not have it.
func (k *catalog) data() {
	k.rule("6.1", "The opcode (frame-opcode) of the first frame containing the data MUST be set to the appropriate value from Section 5.2 for data that is to be interpreted by the recipient as text or binary data.", Both)
	k.add("types", "send Text and Binary in turns", send(text("a"), bin([]byte("a")), text("b"), bin([]byte{0xFF})),
		expectEcho("a"), expect(echoesBinary([]byte("a"))), expectEcho("b"), expect(echoesBinary([]byte{0xFF})))
	k.rule("5.6", "The \"Payload data\" is arbitrary binary data whose interpretation is solely up to the application layer.", Both)
	k.add("binary-not-utf8", "send a Binary that is no text", send(bin([]byte{0xC0, 0x80, 0xED, 0xA0, 0x80, 0xFF, 0})), expect(echoesBinary([]byte{0xC0, 0x80, 0xED, 0xA0, 0x80, 0xFF, 0})))
	k.add("binary-fragments-not-utf8", "send a fragmented Binary that is no text", send(first(opBinary, "\xC3"), middle("\xFF"), last("\x28")), expect(echoesBinary([]byte("\xC3\xFF\x28"))))
	k.rule("6.2", "Subsequent data frames MUST be interpreted as belonging to a new WebSocket message.", Both)
	var steps []step
	var frames []frame
	for i := range 1000 {
		s := letters(i % 300)
		frames = append(frames, text(s))
		steps = append(steps, expectEcho(s))
	}
	k.add("thousand", "send a thousand messages at once", append([]step{send(frames...)}, steps...)...)
	steps = nil
	for i := range 200 {
		steps = append(steps, send(text(letters(i))), expectEcho(letters(i)))
	}
	k.add("two-hundred", "send 200 messages, each after the echo of the one before", steps...)
}

// A valid conversation whose stream is to end anywhere: frames, and what they are answered with.
type validStream struct {
	name   string
	frames []frame
}

// ends is the end of the stream at every octet of valid conversations.
func (k *catalog) ends() {
	k.rule("6.2", "When the last fragment is received as indicated by the FIN bit (frame-fin), it is said that _A WebSocket Message Has Been Received_ with data /data/ (comprised of the concatenation of the \"Application data\" of the fragments) and type /type/ (noted from the first frame of the fragmented message).", Both)
	for _, v := range []validStream{
		{"text", []frame{text(hello)}},
		{"binary", []frame{bin([]byte{0, 1, 2, 0xFF})}},
		{"text-utf8", []frame{text("wörld ☃")}},
		{"text-126", []frame{text(letters(126))}},
		{"two", []frame{text("one"), bin([]byte("two"))}},
		{"fragments", []frame{first(opText, "He"), middle("l"), last("lo")}},
		{"empty-fragments", []frame{first(opText, ""), middle(""), last("")}},
		{"ping", []frame{ping("ping")}},
		{"ping-between", []frame{first(opText, "He"), ping("in"), last("llo")}},
	} {
		k.endsOf(v)
	}
	// The kit's own frames are masked with a zero key, so that a cut payload is text all the same.
	long := frame{opcode: opText, payload: []byte(letters(66000)), key: new([4]byte)}
	for _, keep := range []int{1, 2, 5, 10, 13, 14, 15, 100, 4096, 16384, 32768, 65535, 65536, 66000} {
		k.add(fmt.Sprintf("end-long-%d", keep), fmt.Sprintf("end the stream after %d octets of a Text of 66000", keep), cutStream{[]frame{long}, keep})
	}
	k.rule("7.2.1", "If at any point the underlying transport layer connection is unexpectedly lost, the client MUST _Fail the WebSocket Connection_.", Both)
	for _, keep := range []int{0, 1, 2, 5, 7, 9} {
		k.add(fmt.Sprintf("reset-%d", keep), fmt.Sprintf("reset the connection after %d octets of a frame", keep), resetStream{text(letters(20)), keep}, another{})
	}
	k.add("reset-between-fragments", "reset the connection between fragments", send(first(opText, hello)), reset, another{})
	k.add("reset-after-message", "send a message and reset the connection", send(text(hello)), reset, another{})
}

// endsOf adds a case for each octet at which the stream can end.
func (k *catalog) endsOf(v validStream) {
	for i := range v.frames {
		v.frames[i].key = new([4]byte)
	}
	total := 0
	for i := range v.frames {
		total += len(v.frames[i].appendTo(nil, true))
	}
	for n := 0; n <= total; n++ {
		c := k.add(fmt.Sprintf("end-%s-%03d", v.name, n), fmt.Sprintf("end the stream after %d octets of %s", n, v.name), cutStream{v.frames, n})
		if n > total-4*len(v.frames) { // a server's frames have no mask
			c.Roles = Server
		}
	}
}

// cutStream sends the first octets of frames and ends the stream.
type cutStream struct {
	frames []frame
	keep   int
}

func (s cutStream) run(c *conversation) {
	var b []byte
	var whole []answer
	var body []byte
	var open byte
	for i := range s.frames {
		f := &s.frames[i]
		b = f.appendTo(b, c.w.masks)
		if len(b) > s.keep {
			break
		}
		switch f.opcode {
		case opPing:
			c.pinging(false, *f)
			whole = append(whole, pong(f.payload))
			continue
		case opText, opBinary:
			open, body = f.opcode, nil
		}
		if body = append(body, f.payload...); !f.more {
			whole = append(whole, message(open, body))
		}
	}
	keep := min(s.keep, len(b))
	c.w.note("→ %d octets: %s", keep, excerpt(b[:keep]))
	_ = c.w.write(b[:keep], 0, 0)
	endsHere{whole}.run(c)
}

func (s cutStream) String() string {
	return fmt.Sprintf("send %d octets of a valid conversation and end the stream; expect echoes of whole messages only, then the end", s.keep)
}

// resetStream sends the first octets of a frame and resets the connection.
type resetStream struct {
	f    frame
	keep int
}

func (s resetStream) run(c *conversation) {
	b := s.f.appendTo(nil, c.w.masks)
	_ = c.w.write(b[:s.keep], 0, time.Millisecond)
	reset.run(c)
}

func (s resetStream) String() string {
	return fmt.Sprintf("send %d octets of a frame and reset the connection", s.keep)
}
