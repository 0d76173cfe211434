package conform

import (
	"encoding/binary"
	"strings"
	"sync"
)

// This file holds how cases are written down, and the list of them all, in the RFC's order.

// Cases returns every case, in the order of the RFC's sections. The slice is the caller's.
func Cases() []*Case { return append([]*Case(nil), all()...) }

var all = sync.OnceValue(func() []*Case {
	k := &catalog{}
	k.clientHandshake()
	k.serverHandshake()
	k.masking()
	k.framing()
	k.fragmentation()
	k.controls()
	k.data()
	k.ends()
	k.closing()
	k.codes()
	k.utf8()
	k.limits()
	k.hostile()
	k.deflateNegotiation()
	k.deflateMessages()
	return k.cases
})

// A catalog is the list under construction.
type catalog struct {
	cases    []*Case
	section  string
	sentence string
	roles    Role
}

// rule names the sentence that the cases added from here on enforce. RFC 7692's are restated,
// RFC 6455's are its own words.
func (k *catalog) rule(section, sentence string, roles Role) {
	k.section, k.sentence, k.roles = section, sentence, roles
}

// add adds a case.
func (k *catalog) add(name, title string, steps ...step) *Case {
	c := &Case{
		ID: strings.ReplaceAll(k.section, " ", "-") + "-" + name, Section: k.section, Sentence: k.sentence,
		Title: title, Roles: k.roles, steps: steps,
	}
	k.cases = append(k.cases, c)
	return c
}

// inBare makes the steps include the opening handshake.
func (c *Case) inBare() *Case {
	c.bare = true
	return c
}

// weighs marks a case that moves megabytes or waits.
func (c *Case) weighs() *Case {
	c.heavy = true
	return c
}

// needing says how many octets the biggest message has.
func (c *Case) needing(n int) *Case {
	c.heavy, c.needs = true, int64(n)
	return c
}

// inPeace lets nothing else run meanwhile.
func (c *Case) inPeace() *Case {
	c.alone = true
	return c
}

// text is a whole Text message in one frame.
func text(s string) frame { return frame{opcode: opText, payload: []byte(s)} }

// bin is a whole Binary message in one frame.
func bin(p []byte) frame { return frame{opcode: opBinary, payload: p} }

// ping and pongFrame are control frames.
func ping(s string) frame      { return frame{opcode: opPing, payload: []byte(s)} }
func pongFrame(s string) frame { return frame{opcode: opPong, payload: []byte(s)} }

// first, middle and last are the fragments of a message.
func first(op byte, s string) frame { return frame{opcode: op, payload: []byte(s), more: true} }
func middle(s string) frame         { return frame{payload: []byte(s), more: true} }
func last(s string) frame           { return frame{payload: []byte(s)} }

// closeFrame is a Close frame; 1005 makes an empty one.
func closeFrame(code int, reason string) *frame {
	if code == noStatus {
		return &frame{opcode: opClose}
	}
	return &frame{opcode: opClose, payload: append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)}
}

// echoes and pongs are the answers to what text, bin and ping send.
func echoes(s string) answer          { return message(opText, []byte(s)) }
func echoesBinary(p []byte) answer    { return message(opBinary, p) }
func pongs(s string) answer           { return pong([]byte(s)) }
func expectEcho(s string) expectation { return expect(echoes(s)) }

// pattern is what filled and letters give parts of, so that big messages cost nothing twice.
var pattern struct {
	sync.Mutex
	octets []byte
	text   string
}

// filled returns n octets that are neither constant nor periodic in a power of two. They are
// shared, and must not be changed.
func filled(n int) []byte {
	octets, _ := patterned(n)
	return octets
}

// letters returns n octets of text.
func letters(n int) string {
	_, text := patterned(n)
	return text
}

// patterned returns the first n octets of the pattern, in both forms.
func patterned(n int) ([]byte, string) {
	pattern.Lock()
	defer pattern.Unlock()
	if n > len(pattern.octets) {
		octets, text := make([]byte, n), make([]byte, n)
		for i := range octets {
			octets[i] = byte(i*7 + i/251)
			text[i] = 'a' + octets[i]%26
		}
		pattern.octets, pattern.text = octets, string(text)
	}
	return pattern.octets[:n:n], pattern.text[:n]
}

// cuts returns the fragments of a message, cut at the given offsets.
func cuts(op byte, s string, offsets ...int) []frame {
	var frames []frame
	from := 0
	for _, at := range append(offsets, len(s)) {
		frames = append(frames, frame{opcode: op, payload: []byte(s[from:at]), more: true})
		op, from = opContinuation, at
	}
	frames[len(frames)-1].more = false
	return frames
}

// everyOctet returns the offsets between all octets of s.
func everyOctet(s string) []int {
	var offsets []int
	for i := 1; i < len(s); i++ {
		offsets = append(offsets, i)
	}
	return offsets
}
