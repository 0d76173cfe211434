package conform

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
	"strings"
)

// This file holds the cases of RFC 7692. An endpoint that does not agree on
// permessage-deflate skips them.

// deflateNegotiation is sections 5 and 7.1.
func (k *catalog) deflateNegotiation() {
	k.badOffers()
	k.goodOffers()
	k.goodAnswers()
	k.badAnswers()
}

// declined expects a response without the extension.
type declined struct {
	asIf string // an offer as which it is tolerable to take what was offered; "": none
}

func (s declined) run(c *conversation) {
	h, ok := c.response()
	if !ok {
		return
	}
	values := h.values("Sec-WebSocket-Extensions")
	switch {
	case h.status() >= 400 && h.status() <= 599:
		c.over = true
		c.judge(Tolerable, "%s came; opening the connection without the extension is right", h.line)
	case h.status() != 101:
		c.judge(Wrong, "%s came where 101 without the extension is right", h.line)
	case len(values) > 0:
		terms, err := judgeAnswer(s.asIf, values)
		if s.asIf == "" || err != nil {
			c.judge(Wrong, "the server took the offer: %s", strings.Join(values, ", "))
			return
		}
		c.judge(Tolerable, "the server took the offer as %s", s.asIf)
		c.agree(terms)
		c.w.listen()
	default:
		c.judge(Right, "")
		c.w.listen()
	}
}

func (declined) String() string { return "expect 101 without the extension" }

// badOffers must be declined.
func (k *catalog) badOffers() {
	k.rule("7692 7.1", "A server must decline an offer with a parameter that is not defined, has no valid value, or stands there twice.", Server)
	for _, bad := range []struct{ name, params string }{
		{"unknown", "x_conform"}, {"unknown-value", "x_conform=1"},
		{"twice-server", "server_no_context_takeover; server_no_context_takeover"}, {"twice-client", "client_no_context_takeover; client_no_context_takeover"},
		{"twice-server-bits", "server_max_window_bits=10; server_max_window_bits=10"}, {"twice-client-bits", "client_max_window_bits; client_max_window_bits=10"},
		{"server-takeover-value", "server_no_context_takeover=1"}, {"client-takeover-value", "client_no_context_takeover=true"},
		{"server-bits-none", "server_max_window_bits"}, {"server-bits-7", "server_max_window_bits=7"}, {"server-bits-16", "server_max_window_bits=16"},
		{"server-bits-0", "server_max_window_bits=0"}, {"server-bits-zero-led", "server_max_window_bits=08"}, {"server-bits-word", "server_max_window_bits=ten"},
		{"server-bits-big", "server_max_window_bits=99999999999999999999"}, {"server-bits-signed", "server_max_window_bits=+10"},
		{"client-bits-7", "client_max_window_bits=7"}, {"client-bits-16", "client_max_window_bits=16"}, {"client-bits-zero-led", "client_max_window_bits=010"},
		{"client-bits-word", "client_max_window_bits=x"},
	} {
		offer := "Sec-WebSocket-Extensions: " + deflateName + "; " + bad.params
		k.add("offer-"+bad.name, "offer "+bad.params, requesting{head: request.with(offer)}, declined{}, send(text(hello)), expectEcho(hello)).inBare()
	}
	cased := request.with("Sec-WebSocket-Extensions: " + deflateName + "; Server_No_Context_Takeover")
	k.add("offer-case", "offer Server_No_Context_Takeover; whether that is the parameter's name the RFC leaves open", requesting{head: cased},
		declined{asIf: deflateName + "; " + serverNoTakeover}, send(text(hello)), expectEcho(hello)).inBare()
	k.add("offer-other-case", "offer PERMESSAGE-DEFLATE-X, which is another name", requesting{head: request.with("Sec-WebSocket-Extensions: permessage-deflate-x")}, declined{}, send(text(hello)), expectEcho(hello)).inBare()
}

// goodOffers may be taken or declined; what is answered must fit.
func (k *catalog) goodOffers() {
	s := strings.Repeat("some text that repeats itself, ", 40)
	k.rule("7692 7.1", "The parameters of an answer must be ones that the offer allows: what was asked for is repeated, windows are not larger, and client_max_window_bits is answered only if it was offered.", Server)
	offer := func(name, value string) *Case {
		c := k.add("takes-"+name, "offer "+value, send(text(s), text(s)), expectEcho(s), expectEcho(s))
		c.offer = value
		return c
	}
	offer("plain", deflateName)
	offer("server-fresh", deflateName+"; "+serverNoTakeover)
	offer("client-fresh", deflateName+"; "+clientNoTakeover)
	offer("both-fresh", deflateName+"; "+clientNoTakeover+"; "+serverNoTakeover)
	offer("client-bits", deflateName+"; "+clientMaxBits)
	for bits := 8; bits <= 15; bits++ {
		offer(fmt.Sprintf("client-bits-%d", bits), fmt.Sprintf("%s; %s=%d", deflateName, clientMaxBits, bits))
	}
	offer("all", deflateName+"; "+clientMaxBits+"=12; "+serverMaxBits+"=12; "+clientNoTakeover+"; "+serverNoTakeover)
	offer("quoted", deflateName+"; "+clientMaxBits+`="12"`)
	offer("spaces", "  "+deflateName+" ;\t"+clientNoTakeover+" ; "+clientMaxBits)
	offer("tight", deflateName+";"+clientNoTakeover+";"+clientMaxBits)
	offer("second", deflateName+"; x_conform, "+deflateName)
	offer("second-after-other", "x-conform-unknown; a=b, "+deflateName+"; "+clientMaxBits)
	offer("fallback", deflateName+"; "+serverMaxBits+"=99, "+deflateName+"; "+serverNoTakeover)
	k.rule("7692 7.1", "A server that takes server_max_window_bits must not reach back further than that window; one that takes server_no_context_takeover must not reach back into earlier messages.", Server)
	far := repeating()
	for bits := 8; bits <= 15; bits++ {
		for _, fresh := range []string{"", "; " + serverNoTakeover} {
			name := fmt.Sprintf("server-bits-%d", bits)
			if fresh != "" {
				name += "-fresh"
			}
			c := k.add(name, fmt.Sprintf("offer %s=%d%s and send messages that repeat themselves", serverMaxBits, bits, fresh),
				send(text(far), text(far[:5000]), text(s)), expectEcho(far), expectEcho(far[:5000]), expectEcho(s))
			c.offer = fmt.Sprintf("%s; %s=%d%s", deflateName, serverMaxBits, bits, fresh)
		}
	}
}

// repeating returns text with repetitions at distances from 100 octets to 24 KiB.
func repeating() string {
	var b strings.Builder
	for i := range 24 {
		b.WriteString(letters(100) + strings.Repeat(fmt.Sprint(i), 40) + string(scrambled(1000, uint32(i%3))))
	}
	return b.String()
}

// scrambled returns n letters without repetitions worth compressing.
func scrambled(n int, seed uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = "abcdefghijklmnopqrstuvwxyz012345"[seed>>27]
	}
	return b
}

// goodAnswers must be understood by a client that has offered the extension.
func (k *catalog) goodAnswers() {
	s := strings.Repeat("some text that repeats itself, ", 40)
	k.rule("7692 7.1", "A client must accept every answer that its offer allows, and keep to it.", Client)
	far := repeating()
	answer := func(name, value string) {
		c := k.add("answer-"+name, "answer "+value, send(zip(opText, deflate([]byte(s), nil, flate.HuffmanOnly)), text(s), text(far), text(far[:5000])),
			expectEcho(s), expectEcho(s), expectEcho(far), expectEcho(far[:5000]))
		c.answer = value
	}
	answer("plain", deflateName)
	answer("server-fresh", deflateName+"; "+serverNoTakeover)
	answer("client-fresh", deflateName+"; "+clientNoTakeover)
	answer("both-fresh", deflateName+"; "+clientNoTakeover+"; "+serverNoTakeover)
	for bits := 8; bits <= 15; bits++ {
		answer(fmt.Sprintf("server-bits-%d", bits), fmt.Sprintf("%s; %s=%d", deflateName, serverMaxBits, bits))
		answer(fmt.Sprintf("client-bits-%d", bits), fmt.Sprintf("%s; %s=%d", deflateName, clientMaxBits, bits))
	}
	answer("all", deflateName+"; "+clientMaxBits+"=9; "+serverMaxBits+"=9; "+clientNoTakeover+"; "+serverNoTakeover)
	answer("quoted", deflateName+"; "+serverMaxBits+`="12"`)
	answer("tight", deflateName+";"+serverNoTakeover)
}

// badAnswers must make a client give up, whether it has offered the extension or not.
func (k *catalog) badAnswers() {
	k.rule("7692 7.1", "A client must fail the connection on an answer with a parameter that is not defined, has no valid value, or stands there twice.", Client)
	for _, bad := range []struct{ name, value string }{
		{"unknown", "; x_conform"}, {"twice", "; server_no_context_takeover; server_no_context_takeover"},
		{"takeover-value", "; server_no_context_takeover=1"}, {"client-takeover-value", "; client_no_context_takeover=0"},
		{"server-bits-none", "; server_max_window_bits"}, {"server-bits-7", "; server_max_window_bits=7"}, {"server-bits-16", "; server_max_window_bits=16"},
		{"server-bits-0", "; server_max_window_bits=0"}, {"server-bits-huge", "; server_max_window_bits=1000"}, {"server-bits-word", "; server_max_window_bits=abc"},
		{"server-bits-zero-led", "; server_max_window_bits=08"},
		{"client-bits-none", "; client_max_window_bits"}, {"client-bits-7", "; client_max_window_bits=7"}, {"client-bits-16", "; client_max_window_bits=16"},
		{"extension-twice", ", permessage-deflate"}, {"and-other", ", x-conform-unknown"},
	} {
		k.add("answer-bad-"+bad.name, "answer "+deflateName+bad.value, respondingBadly{bad.value}, givesUp{}).inBare()
	}
}

// respondingBadly answers with bad parameters, and with all that the client's first offer
// demands: else the client would give up for want of that.
type respondingBadly struct{ params string }

func (s respondingBadly) run(c *conversation) {
	params := s.params
	if offers, err := offered(c.peer.request.values("Sec-WebSocket-Extensions")); err == nil && len(offers) > 0 {
		params = offers[0].demands(params) + params
	}
	s.with(params).run(c)
}

func (respondingBadly) with(params string) responding {
	return responding{head: response.with("Sec-WebSocket-Extensions: " + deflateName + params), behind: []frame{text(hello)}}
}

func (s respondingBadly) String() string { return s.with(s.params).String() }

// zip is a whole compressed message in one frame.
func zip(op byte, p []byte) frame { return frame{opcode: op, rsv: rsv1, payload: p} }

// zipText is a Text compressed by the standard library, standing alone.
func zipText(s string) frame { return zip(opText, deflate([]byte(s), nil, 6)) }

// zipOctets is a Text compressed, in fragments of one octet.
func zipOctets(s string) []frame {
	p := string(zipText(s).payload)
	f := cuts(opText, p, everyOctet(p)...)
	f[0].rsv = rsv1
	return f
}

// asOffered stands for the answer that a client likes best: its own offer, repeated. More
// parameters may follow.
const asOffered = "as offered"

// withDeflate gives a case the extension, in the form that suits the endpoint.
func (c *Case) withDeflate() *Case {
	c.offer, c.answer = deflateName, asOffered
	return c
}

// deflateMessages is sections 6, 7.2 and 8.
func (k *catalog) deflateMessages() {
	k.compressedFraming()
	k.examples()
	k.takeover()
	k.corrupt()
	k.compressedText()
	k.bombs()
	k.rule("7692 7.2", "A compressed message is whole only when its last frame is.", Both)
	whole := zipText(hello)
	v := validStream{"compressed", cuts(opText, string(whole.payload), 3)}
	v.frames[0].rsv = rsv1
	k.endsOfCompressed(v, hello)
}

// endsOfCompressed is endsOf for a message whose payload is not its data.
func (k *catalog) endsOfCompressed(v validStream, data string) {
	total := 0
	for i := range v.frames {
		v.frames[i].key = new([4]byte)
		total += len(v.frames[i].appendTo(nil, true))
	}
	for n := 0; n < total-4*len(v.frames); n++ {
		k.add(fmt.Sprintf("end-%s-%03d", v.name, n), fmt.Sprintf("end the stream after %d octets of a compressed message", n), cutCompressed{v.frames, n}).withDeflate()
	}
	k.add("end-"+v.name+"-whole", "end the stream after a compressed message", send(v.frames...), endsHere{[]answer{echoes(data)}}).withDeflate()
}

// cutCompressed sends the first octets of a compressed message and ends the stream.
type cutCompressed struct {
	frames []frame
	keep   int
}

func (s cutCompressed) run(c *conversation) {
	var b []byte
	for i := range s.frames {
		b = s.frames[i].appendTo(b, c.w.masks)
	}
	c.w.note("→ %d octets: %s", s.keep, excerpt(b[:s.keep]))
	_ = c.w.write(b[:s.keep], 0, 0)
	endsHere{}.run(c)
}

func (s cutCompressed) String() string {
	return fmt.Sprintf("send %d octets of a compressed message and end the stream; expect only the end", s.keep)
}

// compressedFraming is where RSV1 may stand.
func (k *catalog) compressedFraming() {
	k.rule("7692 6", "RSV1 on the first frame of a message says that it is compressed; messages may be sent uncompressed at any time.", Both)
	k.add("plain", "send a message that is not compressed", send(text(hello)), expectEcho(hello)).withDeflate()
	k.add("compressed", "send a compressed message", send(zipText(hello)), expectEcho(hello)).withDeflate()
	k.add("compressed-binary", "send a compressed Binary", send(zip(opBinary, deflate(filled(1000), nil, 6))), expect(echoesBinary(filled(1000)))).withDeflate()
	k.add("turns", "send compressed and other messages in turns", send(zipText("one"), text("two"), zipText("three"), zip(opBinary, deflate([]byte{1}, nil, 1)), text("")),
		expectEcho("one"), expectEcho("two"), expectEcho("three"), expect(echoesBinary([]byte{1})), expectEcho("")).withDeflate()
	payload := deflate([]byte(hello), nil, 6)
	for at := 0; at <= len(payload); at++ {
		f := cuts(opText, string(payload), at)
		f[0].rsv = rsv1
		k.add(fmt.Sprintf("fragments-%d", at), fmt.Sprintf("send a compressed message in two fragments, cut after %d octets", at), send(f...), expectEcho(hello)).withDeflate()
		f = slices.Insert(slices.Clone(f), 1, ping("in"))
		k.add(fmt.Sprintf("fragments-%d-ping", at), fmt.Sprintf("send a compressed message in two fragments, cut after %d octets, with a Ping between", at),
			send(f...), expect(pongs("in")), expectEcho(hello)).withDeflate()
	}
	k.add("fragments-octets", "send a compressed message in fragments of one octet", send(zipOctets(letters(3000))...), expectEcho(letters(3000))).withDeflate()
	k.add("octets", "send a compressed message in segments of one octet", send(zipText(letters(3000))).in(1, 0), expectEcho(letters(3000))).withDeflate()
	k.rule("7692 6", "RSV1 must not be set on a continuation or on a control frame.", Both)
	bad := func(name, title string, frames ...frame) { k.illegal(name, title, 1002, frames...).withDeflate() }
	bad("rsv1-continuation", "send RSV1 on a continuation of a compressed message", frame{opcode: opText, rsv: rsv1, more: true, payload: payload[:3]}, frame{rsv: rsv1, payload: payload[3:]})
	bad("rsv1-continuation-only", "send RSV1 on a continuation of a message that is not compressed", first(opText, "He"), frame{rsv: rsv1, payload: []byte("llo")})
	for _, op := range []byte{opPing, opPong, opClose} {
		bad("rsv1-"+strings.ToLower(opcodeName(op)), "send RSV1 on a "+opcodeName(op), frame{opcode: op, rsv: rsv1})
	}
	for _, rsv := range []byte{rsv2, rsv3, rsv1 | rsv2, rsv1 | rsv3, rsv2 | rsv3, 7} {
		bad(fmt.Sprintf("rsv%d", rsv), fmt.Sprintf("send the reserved bits %03b on a Text", rsv), frame{opcode: opText, rsv: rsv, payload: payload})
	}
}

// examples is section 7.2.3, and the kinds of blocks.
func (k *catalog) examples() {
	k.rule("7692 7.2", "The payload of a compressed message is a DEFLATE stream without its last four octets 00 00 ff ff, made of any blocks.", Both)
	example := func(name, title, payload string) {
		k.add(name, title, send(zip(opText, []byte(payload)), text("then")), expectEcho(hello), expectEcho("then")).withDeflate()
	}
	example("example-fixed", "send the RFC's example of a fixed block", "\xf2\x48\xcd\xc9\xc9\x07\x00")
	example("example-stored", "send the RFC's example of a stored block", "\x00\x05\x00\xfa\xffHello\x00")
	example("example-final", "send the RFC's example with BFINAL set", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")
	example("example-two-blocks", "send the RFC's example of two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")
	empty := func(name, title, payload string) {
		k.add(name, title, send(zip(opText, []byte(payload)), zip(opText, deflate([]byte(hello), nil, 6))), expectEcho(""), expectEcho(hello)).withDeflate()
	}
	empty("empty", "send an empty message as the octet 00", "\x00")
	empty("empty-final", "send an empty message as a final fixed block", "\x03\x00\x00")
	empty("empty-blocks", "send an empty message of 2000 empty blocks", strings.Repeat("\x00\x00\x00\xff\xff", 2000)+"\x00")
	for level := flate.HuffmanOnly; level <= 9; level++ {
		for _, n := range []int{1, 100, 4096, 32767, 32768, 32769, 70000} {
			s := letters(n)
			k.add(fmt.Sprintf("level-%d-%d", level, n), fmt.Sprintf("send %d octets compressed at level %d", n, level), send(zip(opText, deflate([]byte(s), nil, level))), expectEcho(s)).withDeflate()
		}
	}
	noise := scrambled(200_000, 7)
	k.add("incompressible", "send 200000 octets that hardly compress", send(zip(opText, deflate(noise, nil, 6))), expectEcho(string(noise))).withDeflate()
	k.add("big", "send 4 MiB compressed", send(zip(opBinary, deflate(filled(4<<20), nil, 6))), expect(echoesBinary(filled(4<<20)))).withDeflate().needing(4 << 20)
	final := finals([]string{"Hel", "lo, ", "world"})
	k.add("finals", "send a message of three streams with BFINAL set", send(zip(opText, final)), expectEcho("Hello, world")).withDeflate()
	back := append([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00"), deflate([]byte(hello+hello), []byte(hello), 9)...)
	k.add("finals-window", "send a message whose second stream reaches back into its first", send(zip(opText, back)), expectEcho(hello+hello+hello).
		orTolerably("RFC 1951: a distance cannot refer past the beginning of the output stream", closes(1007, 1002), drops)).withDeflate()
}

// finals returns a message of several streams that each end with BFINAL, and an empty block.
func finals(parts []string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		w, err := flate.NewWriter(&b, 6)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		_, _ = w.Write([]byte(p))
		_ = w.Close()
	}
	return append(b.Bytes(), 0)
}

// needsTakeover skips the case unless the kit may take over its context.
var needsTakeover = act{"go on if the kit may keep its window from one message to the next", func(c *conversation) {
	if c.fresh {
		c.skip("it was agreed that the kit does not take over its context")
	}
}}

// takeover is messages that reach back into earlier ones.
func (k *catalog) takeover() {
	k.rule("7692 7.2", "With context takeover the window reaches back over earlier compressed messages, and only over these.", Both)
	const again = "\xf2\x00\x11\x00\x00" // "Hello", said by reference to a window that ends with it
	helloZip := zip(opText, []byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	add := func(name, title string, steps ...step) {
		k.add("takeover-"+name, title, append([]step{needsTakeover}, steps...)...).withDeflate()
	}
	add("example", "send the RFC's example of a shared window", send(helloZip, zip(opText, []byte(again))), expectEcho(hello), expectEcho(hello))
	add("over-plain", "send another message between the two that share a window", send(helloZip, text("not this"), zip(opText, []byte(again))), expectEcho(hello), expectEcho("not this"), expectEcho(hello))
	add("over-ping", "send a Ping between the two that share a window", send(helloZip, ping("Ping!"), zip(opText, []byte(again))), expectEcho(hello), expect(pongs("Ping!")), expectEcho(hello))
	add("over-empty", "send an empty compressed message between the two that share a window", send(helloZip, zip(opText, []byte{0}), zip(opText, []byte(again))), expectEcho(hello), expectEcho(""), expectEcho(hello))
	add("over-final", "send a message with BFINAL first", send(zip(opText, []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), zip(opText, []byte(again))), expectEcho(hello), expectEcho(hello))
	f := cuts(opText, again, everyOctet(again)...)
	f[0].rsv = rsv1
	add("fragments", "send the second in fragments of one octet", append([]step{send(helloZip), send(f...)}, expectEcho(hello), expectEcho(hello))...)
	for _, n := range []int{100, 16384, 32767, 32768, 32769, 40000} {
		one, two := scrambled(n, 3), append(scrambled(n, 3), "end"...)
		add(fmt.Sprintf("of-%d", n), fmt.Sprintf("send %d octets twice, the second time by reference", n),
			send(zip(opBinary, deflate(one, nil, 6)), zip(opBinary, deflate(two, tail(one, 32768), 6))), expect(echoesBinary(one)), expect(echoesBinary(two)))
	}
	var steps []step
	var window []byte
	for i := range 60 {
		p := append(scrambled(3000, uint32(i%4)), fmt.Sprint(i)...)
		steps = append(steps, send(zip(opBinary, deflate(p, window, 6))), expect(echoesBinary(p)))
		window = tail(append(window, p...), 32768)
	}
	add("long", "send 60 messages that refer to earlier ones", steps...)
	k.rule("7692 7.2", "Without context takeover every message starts with an empty window.", Both)
	c := k.add("fresh-reference", "agree that each message stands alone, and send one that refers to the one before",
		act{"go on if that was agreed", func(c *conversation) {
			if !c.fresh {
				c.skip("the endpoint did not agree to that")
			}
		}}, send(helloZip, zip(opText, []byte(again)), ping("?")), expectEchoOrFailure(hello),
		fails(1007, 1002).orTolerably("it could be read, though it must not have been sent", echoes(hello)))
	c.offer, c.answer = deflateName+"; "+clientNoTakeover, asOffered+"; "+serverNoTakeover
	k.rule("7692 7.2", "What an endpoint sends must inflate with the window that was agreed.", Both)
	var turns []step
	for i := range 40 {
		p := string(scrambled(700, uint32(i%3))) + strings.Repeat("again ", i)
		turns = append(turns, send(text(p)), expectEcho(p))
	}
	k.add("echoes-40", "send 40 messages that repeat themselves; the echoes must inflate", turns...).withDeflate()
}

// corrupt is payloads that do not inflate.
func (k *catalog) corrupt() {
	k.rule("7692 7.2", "An endpoint must fail the connection on a compressed message that does not inflate.", Both)
	either := func(name, title, payload string, want expectation) {
		k.add("corrupt-"+name, title, send(zip(opText, []byte(payload)), ping("?")), want).withDeflate()
		f := cuts(opText, payload, max(1, len(payload)/2))
		f[0].rsv = rsv1
		k.add("corrupt-fragments-"+name, title+", in two fragments", send(append(f, ping("?"))...), want).withDeflate()
	}
	bad := func(name, title, payload string) { either(name, title, payload, fails(1007, 1002)) }
	bad("block-type", "send a block of the reserved type 3", "\x06\x00")
	bad("all-ff", "send octets ff", strings.Repeat("\xff", 20))
	bad("stored-length", "send a stored block whose length and complement differ", "\x00\x05\x00\x00\x00Hello\x00")
	bad("distance", "refer to octets before the window's first", "\xf2\x00\x11\x00\x00")
	either("truncated", "leave out the end of the stream", "\xf2\x48\xcd\xc9",
		fails(1007, 1002).orTolerably("7.2.2 says how to inflate, not that the end must be the end of a block", echoes("Helh")))
	bad("code-lengths", "send a dynamic block with impossible code lengths", "\x04\x00\xfe\xff\xff\xff\xff")
	k.add("corrupt-second", "send a good message and a corrupt one", send(zipText(hello), zip(opText, []byte("\x06\x00")), ping("?")), expectEchoOrFailure(hello), fails(1007, 1002)).withDeflate()
}

// compressedText is UTF-8 inside compressed messages.
func (k *catalog) compressedText() {
	k.rule("8.1", utf8Rule, Both)
	for _, b := range badUTF8 {
		k.add("compressed-bad-"+b.name, "send a compressed Text with "+excerpt([]byte(b.s)), send(zipText("abc"+b.s), ping("?")), fails(1007)).withDeflate()
		f := zipOctets("abc" + b.s)
		k.add("compressed-bad-fragments-"+b.name, "send a compressed Text with "+excerpt([]byte(b.s))+" in fragments of one octet", send(append(f, ping("?"))...), fails(1007)).withDeflate()
		k.add("compressed-bad-end-"+b.name, "send a long compressed Text with "+excerpt([]byte(b.s))+" at its end", send(zipText(letters(70001)+b.s), ping("?")), fails(1007)).withDeflate()
	}
	k.rule("5.6", "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8.", Both)
	long := strings.Repeat("aß水𝄞", 8000) // the 32 KiB end inside a character
	k.add("compressed-utf8-long", "send 80000 octets of Text compressed", send(zipText(long)), expectEcho(long)).withDeflate()
	for _, g := range goodUTF8 {
		k.add("compressed-utf8-"+g.name, fmt.Sprintf("send the Text %q compressed", g.s), send(zipText("a"+g.s)), expectEcho("a"+g.s)).withDeflate()
	}
}

// zeros returns n zeros compressed: the same mebibyte again and again, so that it is made in
// no time.
func zeros(n int64) []byte {
	const unit = 1 << 20
	part := func(n int64) []byte { return append(deflate(make([]byte, n), nil, 6), 0, 0, 0xFF, 0xFF) }
	b := append(bytes.Repeat(part(unit), int(n/unit)), part(n%unit)...)
	return bytes.TrimSuffix(b, []byte{0, 0, 0xFF, 0xFF})
}

// bombs are small messages that inflate to big ones.
func (k *catalog) bombs() {
	k.rule("7692 8", "Limits hold for what a message inflates to, and are enforced while inflating.", Both)
	bomb := func(name, title string, do func(c *conversation, limit int64)) *Case {
		return k.add(name, title, limited{title, do}, another{}).withDeflate().weighs()
	}
	bomb("limit", "send a compressed message of exactly the limit", func(c *conversation, limit int64) {
		send(zip(opBinary, zeros(limit))).run(c)
		expect(echoesBinary(make([]byte, limit))).run(c)
	})
	bomb("limit-plus-one", "send a compressed message of the limit and one octet", func(c *conversation, limit int64) {
		send(zip(opBinary, zeros(limit+1))).run(c)
		tooBig.run(c)
	})
	bomb("bomb", "send a message that inflates to four times the limit", func(c *conversation, limit int64) {
		send(zip(opBinary, zeros(4*limit))).run(c)
		tooBig.run(c)
	})
	bomb("bomb-fragments", "send such a message in fragments of 1000 octets", func(c *conversation, limit int64) {
		p := string(zeros(2 * limit))
		f := cuts(opBinary, p, steps(len(p), 1000)...)
		f[0].rsv = rsv1
		send(f...).run(c)
		tooBig.run(c)
	})
	k.add("bomb-memory", "send a message that inflates to sixteen times the limit", measure, limited{"expect that memory does not grow by eight times the limit", func(c *conversation, limit int64) {
		send(zip(opBinary, zeros(16*limit))).run(c)
		staysSmall{max: 8 * limit, peak: true}.run(c)
		tooBig.run(c)
	}}).withDeflate().weighs().inPeace()
}
