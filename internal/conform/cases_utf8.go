package conform

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// This file holds the cases of section 8.1: the classes of Markus Kuhn's stress test, at
// every cut, and how soon an endpoint fails.

// utf8Rule is the sentence of section 8.1.
const utf8Rule = "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."

// goodUTF8 is valid, up to the edges.
var goodUTF8 = []struct{ name, s string }{
	{"kosme", "κόσμε"},
	{"first-1", "\x00"}, {"first-2", "\u0080"}, {"first-3", "\u0800"}, {"first-4", "\U00010000"},
	{"last-1", "\x7F"}, {"last-2", "\u07FF"}, {"last-3", "\uFFFF"}, {"last-4", "\U0010FFFF"},
	{"before-surrogates", "\uD7FF"}, {"after-surrogates", "\uE000"}, {"replacement", "\uFFFD"},
	{"noncharacters", "\uFFFE\uFFFF\uFDD0\uFDEF\U0001FFFE\U0001FFFF\U0010FFFE\U0010FFFF"},
	{"bom", "\uFEFF"}, {"nul-inside", "a\x00b"}, {"mixed", "aß水𝄞"},
	{"planes", "\U0001F600\U00020000\U000E0001\U000F0000\U00100000"},
}

// badUTF8 is not valid, and from where.
var badUTF8 = []struct{ name, s string }{
	{"first-5", "\xF8\x88\x80\x80\x80"}, {"first-6", "\xFC\x84\x80\x80\x80\x80"},
	{"last-4-octets", "\xF7\xBF\xBF\xBF"}, {"last-5", "\xFB\xBF\xBF\xBF\xBF"}, {"last-6", "\xFD\xBF\xBF\xBF\xBF\xBF"},
	{"above-10FFFF", "\xF4\x90\x80\x80"}, {"f5", "\xF5\x80\x80\x80"},
	{"continuation-80", "\x80"}, {"continuation-bf", "\xBF"}, {"continuations-2", "\x80\xBF"}, {"continuations-7", "\x80\xBF\x80\xBF\x80\xBF\x80"},
	{"lonely-c2", "\xC2 "}, {"lonely-df", "\xDF "}, {"lonely-e0", "\xE0 "}, {"lonely-ef", "\xEF "}, {"lonely-f0", "\xF0 "}, {"lonely-f4", "\xF4 "},
	{"lonely-f8", "\xF8 "}, {"lonely-fc", "\xFC "},
	{"missing-2", "\xC3"}, {"missing-3", "\xE2\x98"}, {"missing-4", "\xF0\x9D\x84"}, {"missing-3-ascii", "\xE2\x98a"}, {"missing-4-ascii", "\xF0\x9D\x84a"},
	{"missing-all", "\xC0\xE0\x80\xF0\x80\x80"},
	{"fe", "\xFE"}, {"ff", "\xFF"}, {"fe-fe-ff-ff", "\xFE\xFE\xFF\xFF"},
	{"overlong-slash-2", "\xC0\xAF"}, {"overlong-slash-3", "\xE0\x80\xAF"}, {"overlong-slash-4", "\xF0\x80\x80\xAF"},
	{"overlong-slash-5", "\xF8\x80\x80\x80\xAF"}, {"overlong-slash-6", "\xFC\x80\x80\x80\x80\xAF"},
	{"overlong-max-2", "\xC1\xBF"}, {"overlong-max-3", "\xE0\x9F\xBF"}, {"overlong-max-4", "\xF0\x8F\xBF\xBF"},
	{"overlong-nul-2", "\xC0\x80"}, {"overlong-nul-3", "\xE0\x80\x80"}, {"overlong-nul-4", "\xF0\x80\x80\x80"},
	{"surrogate-d800", "\xED\xA0\x80"}, {"surrogate-db7f", "\xED\xAD\xBF"}, {"surrogate-db80", "\xED\xAE\x80"}, {"surrogate-dbff", "\xED\xAF\xBF"},
	{"surrogate-dc00", "\xED\xB0\x80"}, {"surrogate-df80", "\xED\xBE\x80"}, {"surrogate-dfff", "\xED\xBF\xBF"},
	{"surrogates-low", "\xED\xA0\x80\xED\xB0\x80"}, {"surrogates-high", "\xED\xAF\xBF\xED\xBF\xBF"},
	{"latin-1", "sch\xF6n"}, {"kosme-edited", "κόσμε\xED\xA0\x80edited"},
}

// utf8 is section 8.1.
func (k *catalog) utf8() {
	k.rule("5.6", "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8.", Both)
	for _, g := range goodUTF8 {
		s := "a" + g.s + "z"
		k.add("utf8-"+g.name, fmt.Sprintf("send the Text %q", s), send(text(s)), expectEcho(s))
		k.add("utf8-fragments-"+g.name, fmt.Sprintf("send the Text %q in fragments of one octet", s), send(cuts(opText, s, everyOctet(s)...)...), expectEcho(s))
		k.add("utf8-octets-"+g.name, fmt.Sprintf("send the Text %q in segments of one octet", s), send(text(s)).in(1, 20*time.Microsecond), expectEcho(s))
	}
	long := strings.Repeat("aß水𝄞", 2000)
	for _, size := range []int{1, 2, 3, 5, 7, 11, 4096} {
		k.add(fmt.Sprintf("utf8-long-%d", size), fmt.Sprintf("send a long Text in fragments of %d octets", size), send(cuts(opText, long, steps(len(long), size)...)...), expectEcho(long))
	}
	k.add("utf8-split-by-ping", "send a Ping between the octets of a character", send(first(opText, "\xF0\x9D"), ping("in"), last("\x84\x9E")), expect(pongs("in")), expectEcho("𝄞"))
	k.add("utf8-split-empty", "send empty fragments between the octets of a character", send(first(opText, "\xF0"), middle(""), middle("\x9D"), middle(""), middle("\x84"), middle(""), last("\x9E")), expectEcho("𝄞"))
	k.rule("8.1", utf8Rule, Both)
	for _, b := range badUTF8 {
		bad := text("abc" + b.s)
		k.add("bad-"+b.name, "send a Text with "+excerpt([]byte(b.s)), send(bad, ping("?")), fails(1007))
		cutUp := cuts(opText, "abc"+b.s, everyOctet("abc"+b.s)...)
		k.add("bad-fragments-"+b.name, "send a Text with "+excerpt([]byte(b.s))+" in fragments of one octet", send(append(cutUp, ping("?"))...), fails(1007))
		k.add("bad-long-"+b.name, "send a long Text with "+excerpt([]byte(b.s))+" in the middle", send(text(letters(5000)+b.s+letters(3000)), ping("?")), fails(1007))
		k.add("bad-end-"+b.name, "send a long Text with "+excerpt([]byte(b.s))+" at its end", send(text(letters(70001)+b.s), ping("?")), fails(1007))
	}
	k.truncations()
	k.failFast()
}

// truncations are texts that end inside a character.
func (k *catalog) truncations() {
	const s = "κ水𝄞\U0010FFFF"
	for at := 1; at < len(s); at++ {
		whole := utf8.ValidString(s[:at])
		add := func(name, title string, frames ...frame) {
			if whole {
				k.add(name, title, send(append(frames, ping("then"))...), expectEcho(s[:at]), expect(pongs("then")))
				return
			}
			k.add(name, title, send(append(frames, ping("?"))...), fails(1007))
		}
		add(fmt.Sprintf("truncated-%02d", at), fmt.Sprintf("send the first %d octets of %q", at, s), text(s[:at]))
		add(fmt.Sprintf("truncated-fragment-%02d", at), fmt.Sprintf("send the first %d octets of %q, and an empty last fragment", at, s), first(opText, s[:at]), last(""))
		if !whole {
			k.add(fmt.Sprintf("truncated-next-%02d", at), fmt.Sprintf("send the first %d octets of %q, the rest as another message", at, s),
				send(text(s[:at]), text(s[at:])), fails(1007))
		}
	}
}

// failFast is how soon an endpoint fails.
func (k *catalog) failFast() {
	for _, b := range []struct{ name, s string }{
		{"ff", "\xFF"}, {"surrogate", "\xED\xA0"}, {"overlong-2", "\xC0"}, {"overlong-3", "\xE0\x80"}, {"overlong-4", "\xF0\x80"},
		{"above", "\xF4\x90"}, {"f5", "\xF5"}, {"continuation", "\x80"}, {"lonely", "\xE2a"},
	} {
		k.add("fast-fragment-"+b.name, "send a first fragment with "+excerpt([]byte(b.s))+" and nothing more",
			send(first(opText, "abc"+b.s)), failsFast{1007, send(last("xyz"))})
		k.add("fast-frame-"+b.name, "send a part of a frame with "+excerpt([]byte(b.s))+" and nothing more",
			send(frame{opcode: opText, payload: []byte("abc" + b.s), claim: 1000, key: new([4]byte)}),
			failsFastInside{1000 - 3 - len(b.s)})
		k.add("fast-continuation-"+b.name, "send a second fragment with "+excerpt([]byte(b.s))+" and nothing more",
			send(first(opText, "κ"), middle("abc"+b.s)), failsFast{1007, send(last("xyz"))})
		k.add("fast-split-"+b.name, "send the last octet of "+excerpt([]byte(b.s))+" alone, and nothing more",
			send(first(opText, "abc"+b.s[:len(b.s)-1]), middle(b.s[len(b.s)-1:])), failsFast{1007, send(last("xyz"))})
	}
}

// failsFastInside is failsFast inside a frame: rest octets of its payload are missing.
type failsFastInside struct{ rest int }

func (s failsFastInside) run(c *conversation) {
	e := c.next(c.cfg.Patience)
	if e.kind != evSilence {
		fails(1007).judge(c, e)
		return
	}
	c.judge(Tolerable, "nothing came until the frame was complete; failing at once is right (fail-fast)")
	octets{b: []byte(strings.Repeat("x", s.rest))}.run(c)
	fails(1007).run(c)
}

func (s failsFastInside) String() string {
	return "expect Close 1007 at once; tolerable: only after the rest of the frame was sent"
}
