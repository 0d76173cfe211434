package conform

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// This file holds the cases of section 10: limits, floods, peers that stall.

// limited is a step that needs to know the endpoint's read limit.
type limited struct {
	name string
	do   func(c *conversation, limit int64)
}

func (s limited) run(c *conversation) {
	if c.cfg.Limit == 0 {
		c.skip("the endpoint's read limit is not known")
		return
	}
	s.do(c, c.cfg.Limit)
}

func (s limited) String() string { return s.name }

// tooBig expects Close 1009.
var tooBig = fails(1009)

// atOnce expects Close 1009 although what was declared has not come. To wait for it costs
// nothing that was not sent, so that falls short only of what is best.
var atOnce = expectation{right: []answer{closes(1009)}, tolerable: []answer{closes(), drops, {kind: evSilence}},
	because: "7.4.1: 1009 is the code for a message that is too big, and that is known at once"}

// limits is section 10.4.
func (k *catalog) limits() {
	k.rule("10.4", "Implementations that have implementation- and/or platform-specific limitations regarding the frame size or total message size after reassembly from multiple frames MUST protect themselves against exceeding those limits.", Both)
	whole := func(name, title string, extra int64, frames func(n int64) []frame) {
		k.add(name, title, limited{title, func(c *conversation, limit int64) {
			n := limit + extra
			send(frames(n)...).run(c)
			if extra > 0 {
				tooBig.run(c)
				return
			}
			expect(echoesBinary(filled(int(n)))).run(c)
		}}, another{}).weighs()
	}
	one := func(n int64) []frame { return []frame{bin(filled(int(n)))} }
	pieces := func(n int64) []frame { return cuts(opBinary, string(filled(int(n))), steps(int(n), 1<<16)...) }
	whole("limit", "send a message of exactly the limit", 0, one)
	whole("limit-fragments", "send a message of exactly the limit in fragments of 64 KiB", 0, pieces)
	whole("limit-plus-one", "send a message of the limit and one octet", 1, one)
	whole("limit-plus-one-fragments", "send a message of the limit and one octet in fragments of 64 KiB", 1, pieces)
	whole("limit-plus-one-last", "send a message of the limit, and one octet as its last fragment", 1, func(n int64) []frame {
		return cuts(opBinary, string(filled(int(n))), int(n)-1)
	})
	k.add("limit-empty-last", "send a message of the limit, and an empty last fragment", limited{"send it and expect its echo", func(c *conversation, limit int64) {
		send(cuts(opBinary, string(filled(int(limit))), int(limit))...).run(c)
		expect(echoesBinary(filled(int(limit)))).run(c)
	}}).weighs()
	k.claims()
	k.add("memory-of-a-claim", "declare a message of the limit and send 100 octets of it", measure,
		limited{"declare it; expect that memory does not grow by a quarter of it", func(c *conversation, limit int64) {
			send(frame{opcode: opBinary, claim: uint64(limit), payload: filled(100)}).run(c)
			staysSmall{max: limit / 4, peak: true}.run(c)
		}}).inPeace()
	k.add("memory-of-a-continued-claim", "declare a continuation of nearly the limit and send 100 octets of it", measure,
		limited{"declare it; expect that memory does not grow by a quarter of it", func(c *conversation, limit int64) {
			send(first(opBinary, hello), frame{claim: uint64(limit - 10), payload: filled(100)}).run(c)
			staysSmall{max: limit / 4, peak: true}.run(c)
		}}).inPeace()
}

// claims declares lengths above the limit and never sends the octets.
func (k *catalog) claims() {
	claim := func(name, title string, frames func(limit int64) []frame) {
		k.add(name, title, limited{title, func(c *conversation, limit int64) {
			send(frames(limit)...).run(c)
			atOnce.run(c)
		}}, another{})
	}
	claim("claim-limit-plus-one", "declare one octet more than the limit, and send none", func(limit int64) []frame {
		return []frame{{opcode: opBinary, claim: uint64(limit) + 1}}
	})
	for name, n := range map[string]uint64{"2p31-minus-1": math.MaxInt32, "2p31": 1 << 31, "2p32-minus-1": math.MaxUint32, "2p32": 1 << 32, "2p32-plus-5": 1<<32 + 5, "2p40": 1 << 40, "2p62": 1 << 62, "2p63-minus-1": math.MaxInt64} {
		claim("claim-"+name, fmt.Sprintf("declare %d octets and send 5", n), func(int64) []frame {
			return []frame{{opcode: opText, claim: n, payload: []byte(hello)}}
		})
	}
	k.sortLast(8)
	claim("claim-continuation", "declare a continuation with which the message has one octet more than the limit", func(limit int64) []frame {
		return []frame{first(opBinary, hello), {claim: uint64(limit) + 1 - uint64(len(hello))}}
	})
	claim("claim-overflow", "declare a continuation of 2^63-1 octets, so that the sum overflows", func(int64) []frame {
		return []frame{first(opBinary, hello), {claim: math.MaxInt64, payload: []byte(hello)}}
	})
	claim("claim-overflow-more", "the same without FIN, after several fragments", func(int64) []frame {
		return []frame{first(opText, hello), middle(hello), {claim: math.MaxInt64 - 5, more: true}}
	})
}

// hostile is what a peer may do to waste the endpoint's time and memory.
func (k *catalog) hostile() {
	k.rule("10.4", "(For example, a malicious endpoint can try to exhaust its peer's memory or mount a denial-of-service attack by sending either a single big frame (e.g., of size 2**60) or by sending a long stream of small frames that are a part of a fragmented message.)", Both)
	guarded := []answer{closes(1008, 1009, 1002)}
	fragments := func(name, title, unit string, n int) {
		k.add(name, title, send(first(opText, unit)), send(middle(unit)).repeated(n), send(last("end")),
			manyFragments{expectation{right: append(guarded, echoes(repeat(unit, n+1)+"end")), tolerable: []answer{drops, closes()}, because: "a Close frame with 1008 or 1009 says why"}}, another{}).weighs()
	}
	fragments("empty-fragments", "send a message of a million empty fragments", "", 1_000_000)
	fragments("octet-fragments", "send a message of 300000 fragments of one octet", "x", 300_000)
	k.add("memory-of-fragments", "send 120000 empty fragments of a message that does not end", measure, send(first(opBinary, "")),
		send(middle("")).repeated(120_000), staysSmall{max: 4 << 20}).inPeace().weighs()
	k.rule("10.7", "Incoming data MUST always be validated by both clients and servers.", Both)
	k.add("ping-flood", "send 30000 Pings", send(ping("flood")).repeated(30_000), send(ping("last")), pongsUpTo{[]byte("last")}, another{}).weighs()
	k.add("ping-flood-between", "send 10000 Pings between two fragments", send(first(opText, "He")), send(ping("flood")).repeated(10_000), send(ping("last")),
		pongsUpTo{[]byte("last")}, send(last("llo")), expectEcho(hello)).weighs()
	k.add("pong-flood", "send 100000 Pongs", send(pongFrame("flood")).repeated(100_000), send(ping("then")), expect(pongs("then"))).weighs()
	k.add("empty-messages", "send 10000 empty messages", send(text("")).repeated(10_000), send(text("last")), manyEchoes{10_000, text(""), "last"}).weighs()
	k.add("memory-of-pongs", "send 200000 Pongs of 125 octets", measure, send(pongFrame(letters(125))).repeated(200_000), send(ping("then")), expect(pongs("then")), staysSmall{max: 8 << 20}).inPeace().weighs()
	k.add("stalled-pings", "send 200000 Pings of 125 octets and read nothing until the endpoint is stuck or has taken them", stall,
		pushes{ping(letters(125)), 200_000}, send(ping("last")), pongsUpTo{[]byte("last")}, another{}).weighs().inPeace()
	k.add("stalled-messages", "send 48 MiB of messages and read nothing until the endpoint is stuck or has taken them", stall,
		pushes{bin(filled(64 << 10)), 768}, send(text("last")), manyEchoes{768, bin(filled(64 << 10)), "last"}).weighs().inPeace()
	k.add("stalled-others", "read nothing on one connection while others are served", stall, send(bin(filled(1<<20))), another{}, resume, expect(echoesBinary(filled(1<<20)))).needing(1 << 20)
	k.add("slow-octets", "send a message at 20 ms an octet", send(text("as slow as that")).in(1, 20*time.Millisecond), expectEcho("as slow as that"))
	k.add("garbage", "send octets that are no frames", octets{b: bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 300), more: true}, garbageEnds{}, another{})
	k.roles = Server
	k.add("crowd", "open 100 connections at once, and send a message on each", crowd{100}).weighs()
}

// repeat is strings.Repeat with a name that says what for.
func repeat(unit string, n int) string { return string(bytes.Repeat([]byte(unit), n)) }

// manyFragments is an expectation whose words do not list a million octets.
type manyFragments struct{ expectation }

func (s manyFragments) run(c *conversation) { s.expectation.run(c) }
func (manyFragments) String() string {
	return "expect Close 1008 or 1009, or the message's echo, then that another connection is served"
}

// manyEchoes expects the echo of a frame n times, then that of a Text.
type manyEchoes struct {
	n    int
	f    frame
	last string
}

func (s manyEchoes) run(c *conversation) {
	want := message(s.f.opcode, s.f.payload)
	for i := range s.n {
		if e := c.next(c.cfg.Patience); !want.is(e) {
			c.judge(Wrong, "%s came where echo %d of %d is right", e, i+1, s.n)
			return
		}
	}
	expectEcho(s.last).run(c)
}

func (s manyEchoes) String() string { return fmt.Sprintf("expect %d echoes", s.n+1) }

// pushes sends a frame n times while nothing is read. When the endpoint takes nothing for a
// while, as it may, the kit reads again and sends the rest.
type pushes struct {
	f frame
	n int
}

func (s pushes) run(c *conversation) {
	c.memory = c.held()
	c.pinging(true, s.f)
	one := s.f.appendTo(nil, c.w.masks)
	batch := max(1, (64<<10)/len(one))
	block := bytes.Repeat(one, batch)
	sent := 0
	for left := s.n; left > 0; left -= batch {
		b := block[:min(batch, left)*len(one)]
		for len(b) > 0 {
			_ = c.w.conn.SetWriteDeadline(time.Now().Add(150 * time.Millisecond))
			n, err := c.w.conn.Write(b)
			b, sent = b[n:], sent+n
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.w.note("→ write fails: %s", plain(err))
				resume.run(c)
				return
			}
			if err != nil {
				resumeRead(c, sent)
				if werr := c.w.write(b, 0, 0); werr != nil {
					return
				}
				b = nil
			}
		}
	}
	c.w.note("→ %s, %d times", &s.f, s.n)
	resume.run(c)
}

// resumeRead looks at the endpoint's memory and reads again.
func resumeRead(c *conversation, sent int) {
	c.w.mu.Lock()
	stalled := c.w.stall != nil
	c.w.mu.Unlock()
	if !stalled {
		return
	}
	c.w.note("the endpoint takes no more after %d KiB; reading again", sent>>10)
	staysSmall{max: 32 << 20}.run(c)
	resume.run(c)
}

func (s pushes) String() string {
	return fmt.Sprintf("send %s, %d times, and read nothing until the endpoint is stuck", s.f.String(), s.n)
}

// garbageEnds expects that the connection ends.
type garbageEnds struct{}

func (garbageEnds) run(c *conversation) { fails(1002, 1007, 1009).run(c) }
func (garbageEnds) String() string      { return "expect that the endpoint fails the connection" }

// crowd opens many connections at once and uses each.
type crowd struct{ n int }

func (s crowd) run(c *conversation) {
	type member struct {
		w   *wire
		key string
	}
	var members []member
	mine := c.w
	defer func() {
		for _, m := range members {
			_ = m.w.conn.Close()
		}
		c.w, c.over = mine, true
	}()
	for range s.n {
		conn, err := c.peer.dial()
		if err != nil {
			c.judge(Wrong, "connection %d of %d is not taken: %s", len(members)+1, s.n, plain(err))
			return
		}
		c.w = newWire(conn, nil, true, c.cfg.Patience)
		requesting{head: request}.run(c) // at once: servers bound the time for a request
		members = append(members, member{c.w, c.peer.key})
	}
	for i, m := range members {
		c.w, c.peer.key, c.over = m.w, m.key, false
		accepted{}.run(c)
		if !c.over {
			send(text(fmt.Sprint(i))).run(c)
			expectEcho(fmt.Sprint(i)).run(c)
		}
		if c.over {
			return
		}
	}
}

func (s crowd) String() string {
	return fmt.Sprintf("open %d connections; expect an echo on each", s.n)
}
