package websocket

// RFC 6455 in its order: sections 5 to 8, and what section 10 has for them. The
// opening handshake is in rfc6455_handshake_test.go, all sentences are in
// testdata/rfc6455.txt, and rfc6455_run_test.go says how the rows run.

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEverySentenceIsHeld holds all sentences that bind an endpoint against the
// rows: each is claimed by one, or says why not.
func TestEverySentenceIsHeld(t *testing.T) {
	claimed := map[string]bool{}
	sentences := readSentences(t)
	for id, says := range claims() {
		claimed[id] = true
		if s, ok := sentences[id]; !ok || s.says != says {
			t.Errorf("%s: row says\n\t%q, RFC says\n\t%q", id, says, s.says)
		}
	}
	tests := testNames(t)
	for id, s := range sentences {
		isTest := strings.HasPrefix(s.why, "Test")
		switch {
		case claimed[id] && s.why != "":
			t.Errorf("%s: a row holds it, but the list says %q", id, s.why)
		case !claimed[id] && s.why == "":
			t.Errorf("%s: no row, and no reason: %q", id, s.says)
		case isTest && !tests[s.why]:
			t.Errorf("%s: there is no %s", id, s.why)
		}
	}
}

// claims are the sentences of all rows.
func claims() iter.Seq2[string, string] {
	return func(yield func(id, says string) bool) {
		for _, rows := range [][]row{rows5_1, rows5_2, rows5_3, rows5_4, rows5_5, rows5_5_1, rows5_5_2, rows5_5_3, rows5_6, rows5_7, rows5_8,
			rows6_1, rows6_2, rows7_1_1, rows7_1_2, rows7_1_5, rows7_1_6, rows7_1_7, rows7_2, rows7_3, rows7_4, rows8_1, rows10} {
			claimAll(rows, yield)
		}
		for _, rows := range [][]dialRow{dialRows3, dialRows4_1, dialRows9, dialRows11} {
			claimAll(rows, yield)
		}
		for _, rows := range [][]answerRow{answerRows4_1, answerRows9, answerRows11} {
			claimAll(rows, yield)
		}
		for _, rows := range [][]requestRow{requestRows4_2, requestRows9, requestRows10, requestRows11} {
			claimAll(rows, yield)
		}
		claimAll(urlRows3, yield)
		claimAll(otherRows4_1, yield)
		claimAll(otherRows11, yield)
	}
}

func claimAll[R interface{ claim() (id, says string) }](rows []R, yield func(id, says string) bool) {
	for _, r := range rows {
		yield(r.claim())
	}
}

// sentence is one of testdata/rfc6455.txt.
type sentence struct {
	says string
	why  string // no row holds it, or the test that does; empty: a row does
}

func readSentences(t *testing.T) map[string]sentence {
	t.Helper()
	b, err := os.ReadFile("testdata/rfc6455.txt")
	if err != nil {
		t.Fatal(err)
	}
	sentences := map[string]sentence{}
	var last string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		why, isWhy := strings.CutPrefix(line, "\t")
		id, says, ok := strings.Cut(line, " ")
		switch {
		case isWhy:
			sentences[last] = sentence{sentences[last].says, why}
		case ok && id != "#":
			if _, twice := sentences[id]; twice {
				t.Errorf("%s twice", id)
			}
			sentences[id], last = sentence{says: says}, id
		}
	}
	return sentences
}

// testNames are the names of the tests of this package.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
	}
	return names
}

func Test5_1_Overview(t *testing.T) { run(t, rows5_1) }

var rows5_1 = []row{
	{id: "5.1-1", on: atClient,
		says: "To avoid confusing network intermediaries (such as intercepting proxies) and for security reasons that are further discussed in Section 10.3, a client MUST mask all frames that it sends to the server (see Section 5.3 for further details).",
		talk: []step{
			writes(Text, "Hello", strings.Repeat("long", 20_000)), wants("masked messages", text("Hello"), text(strings.Repeat("long", 20_000))),
			begins(Binary, "a"), finishes(), wants("masked fragments", binaryOf("a").more(), cont("")),
			sends(ping("p")), wants("a masked Pong", pong("p")),
		}},
	{id: "5.1-2", on: atServer,
		says: "The server MUST close the connection upon receiving a frame that is not masked.",
		talk: []step{sends(text("Hello").wronglyMasked()), fails(1002, "5.1")}},
	{id: "5.1-2", on: atServer,
		says: "The server MUST close the connection upon receiving a frame that is not masked.",
		talk: []step{sends(text("Hel").more(), cont("lo").wronglyMasked()), fails(1002, "5.1")}},
	{id: "5.1-3", on: atServer,
		says: "In this case, a server MAY send a Close frame with a status code of 1002 (protocol error) as defined in Section 7.4.1.",
		talk: []step{sends(ping("").wronglyMasked()), fails(1002, "5.1")}},
	{id: "5.1-4", on: atServer,
		says: "A server MUST NOT mask any frames that it sends to the client.",
		talk: []step{
			writes(Text, "Hello", strings.Repeat("long", 20_000)), wants("messages as they are", text("Hello"), text(strings.Repeat("long", 20_000))),
			begins(Binary, "a"), finishes(), wants("fragments as they are", binaryOf("a").more(), cont("")),
			sends(ping("p")), wants("a Pong as it is", pong("p")),
		}},
	{id: "5.1-5", on: atClient,
		says: "A client MUST close a connection if it detects a masked frame.",
		talk: []step{sends(text("Hello").wronglyMasked()), fails(1002, "5.1")}},
	{id: "5.1-6", on: atClient,
		says: "In this case, it MAY use the status code 1002 (protocol error) as defined in Section 7.4.1.",
		talk: []step{sends(pong("").wronglyMasked()), fails(1002, "5.1")}},
	{id: "5.1-7",
		says: "A data frame MAY be transmitted by either the client or the server at any time after opening handshake completion and before that endpoint has sent a Close frame (Section 5.5.1).",
		talk: []step{
			sends(text("first")), delivers(Text, "first"),
			writes(Text, "one"), sends(text("two")), writes(Binary, "three"),
			wants("what was written", text("one"), binaryOf("three")), delivers(Text, "two"),
			callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), refusesMessages(),
			sends(text("late"), closeFrame(1000, "")), parts(), returns("Close", "nil"), endsWith("closed"),
		}},
}

func Test5_2_BaseFraming(t *testing.T) { run(t, rows5_2) }

var rows5_2 = slices.Concat([]row{
	{id: "5.2-1",
		says: "The first fragment MAY also be the final fragment.",
		talk: []step{sends(text("Hello")), delivers(Text, "Hello"), writes(Binary, "Hello"), wants("one frame", binaryOf("Hello"))}},
	{id: "5.2-2",
		says: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values.",
		talk: []step{writes(Text, "Hello", ""), wants("frames without RSV bits", text("Hello"), text(""))}},
	{id: "5.2-2", on: where{fresh: true}, opts: &Options{KeepAlive: -1, Compression: &Compression{Threshold: 4}},
		says: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values.",
		talk: []step{
			sends(text("\xf2\x48\xcd\xc9\xc9\x07\x00").rsv(1)), delivers(Text, "Hello"), // RFC 7692 section 7.2.3.1
			sends(text("Hello")), delivers(Text, "Hello"),
			sends(text("Hello").rsv(2)), fails(1002, "5.2"),
		}},
	{id: "5.2-5",
		says: "If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most significant bit MUST be 0) are the payload length.",
		talk: []step{sends(binaryOf("").claims(1 << 63)), fails(1002, "5.2")}},
	{id: "5.2-5",
		says: "If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most significant bit MUST be 0) are the payload length.",
		talk: []step{sends(text("abc").claims(1<<64 - 1)), fails(1002, "5.2")}},
	{id: "5.2-6",
		says: "Note that in all cases, the minimal number of bytes MUST be used to encode the length, for example, the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124.",
		talk: slices.Concat(
			// The peer's header that does not parse would be one that is too long.
			echoes(0), echoes(1), echoes(124), echoes(125), echoes(126), echoes(127), echoes(1<<16-1), echoes(1<<16), echoes(1<<16+1)),
	},
	{id: "5.2-8",
		says: "1 bit in length, MUST be 0 unless negotiated otherwise",
		talk: []step{
			begins(Text, "Hel"), continues("lo"), finishes(), wants("fragments without RSV bits", text("Hel").more(), cont("lo").more(), cont("")),
			sends(ping("")), wants("a Pong without RSV bits", pong("")),
		}},
	{id: "5.2-a", on: atClient,
		says: "All frames sent from client to server have this bit set to 1.",
		talk: []step{writes(Binary, ""), wants("an empty message that is masked all the same", binaryOf("")), callsClose(1005, ""),
			wants("an empty Close that is masked all the same", emptyClose()), sends(emptyClose()), parts(), returns("Close", "nil"), endsWith("closed")}},
},
	each(func(f frame) row {
		return row{id: "5.2-3",
			says: "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket Connection_.",
			talk: []step{sends(f), fails(1002, "5.2")}}
	}, text("x").rsv(1), text("x").rsv(2), binaryOf("x").rsv(3), binaryOf("").rsv(1, 2, 3), text("x").rsv(1).more(),
		ping("x").rsv(1), pong("x").rsv(2), closeFrame(1000, "").rsv(3), cont("x").rsv(2)),
	each(func(f frame) row {
		return row{id: "5.2-4",
			says: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_.",
			talk: []step{sends(text("before")), delivers(Text, "before"), sends(f), fails(1002, "5.2")}}
	}, dataFrame(0x3, ""), dataFrame(0x4, "x"), dataFrame(0x5, "").more(), dataFrame(0x6, ""), dataFrame(0x7, strings.Repeat("x", 126)),
		dataFrame(0xB, ""), dataFrame(0xC, "x"), dataFrame(0xD, ""), dataFrame(0xE, ""), dataFrame(0xF, "").more()),
	each(func(f frame) row {
		return row{id: "5.2-6",
			says: "Note that in all cases, the minimal number of bytes MUST be used to encode the length, for example, the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124.",
			talk: []step{sends(f), fails(1002, "5.2")}}
	}, text(strings.Repeat("x", 124)).lengthIn(2), text("").lengthIn(2), binaryOf(strings.Repeat("x", 125)).lengthIn(2), ping("x").lengthIn(2),
		text("").lengthIn(8), text(strings.Repeat("x", 125)).lengthIn(8), binaryOf(strings.Repeat("x", 126)).lengthIn(8), binaryOf(strings.Repeat("x", 1<<16-1)).lengthIn(8)),
)

// each makes a row of each frame.
func each(of func(f frame) row, frames ...frame) []row {
	var rows []row
	for _, f := range frames {
		rows = append(rows, of(f))
	}
	return rows
}

// echoes is a message of n octets, both ways.
func echoes(n int) []step {
	data := strings.Repeat("0123456789abcdef", n/16+1)[:n]
	return []step{sends(binaryOf(data)), delivers(Binary, data), writes(Text, data), wants("a frame of the shortest form", text(data))}
}

func Test5_3_Masking(t *testing.T) { run(t, rows5_3) }

var rows5_3 = []row{
	{id: "5.3-1", on: atClient,
		says: "A masked frame MUST have the field frame-masked set to 1, as defined in Section 5.2.",
		talk: []step{writes(Text, "Hello"), wants("a frame with the bit, that unmasks to what was written", text("Hello"))}},
	{id: "5.3-1", on: atServer,
		says: "A masked frame MUST have the field frame-masked set to 1, as defined in Section 5.2.",
		talk: slices.Concat(echoes(1), echoes(2), echoes(3), echoes(4), echoes(5), echoes(70_001))},
	{id: "5.3-2", on: atClient,
		says: "When preparing a masked frame, the client MUST pick a fresh masking key from the set of allowed 32-bit values.",
		talk: []step{writes(Text, sameOften...), wants("the messages", framesOf(sameOften)...), sees("keys that differ", differingKeys)}},
	{id: "5.3-3", on: atClient,
		says: "The masking key needs to be unpredictable; thus, the masking key MUST be derived from a strong source of entropy, and the masking key for a given frame MUST NOT make it simple for a server/proxy to predict the masking key for a subsequent frame.",
		talk: []step{writes(Text, sameOften...), wants("the messages", framesOf(sameOften)...), sees("no two steps from key to key that are the same", differingSteps)}},
}

var sameOften = slices.Repeat([]string{"the same"}, 100)

func framesOf(messages []string) []frame {
	var frames []frame
	for _, m := range messages {
		frames = append(frames, text(m))
	}
	return frames
}

// differingKeys looks for a masking key that was used twice. By chance there is one
// in 100 frames once in a million times.
func differingKeys(x *exchange) (got, want string) {
	return repeated(x.maskingKeys()), "none"
}

func differingSteps(x *exchange) (got, want string) {
	keys := x.maskingKeys()
	for i := range len(keys) - 1 {
		for j := range keys[i] {
			keys[i][j] ^= keys[i+1][j]
		}
	}
	return repeated(keys[:len(keys)-1]), "none"
}

func repeated(keys [][4]byte) string {
	seen := map[[4]byte]bool{}
	for _, k := range keys {
		if seen[k] {
			return fmt.Sprintf("% x twice", k)
		}
		seen[k] = true
	}
	return "none"
}

func Test5_4_Fragmentation(t *testing.T) { run(t, rows5_4) }

var rows5_4 = []row{
	{id: "5.4-1",
		says: "Control frames (see Section 5.5) MAY be injected in the middle of a fragmented message.",
		talk: []step{
			begins(Text, "Hel"), wants("the first fragment", text("Hel").more()),
			calls("Ping", pings), wants("a Ping in the middle", firstPing), sends(firstPong), returns("Ping", "nil"),
			continues("lo"), finishes(), wants("the rest", cont("lo").more(), cont("")),
		}},
	{id: "5.4-2",
		says: "Control frames themselves MUST NOT be fragmented.",
		talk: []step{sends(ping("x").more()), fails(1002, "5.5")}},
	{id: "5.4-2",
		says: "Control frames themselves MUST NOT be fragmented.",
		talk: []step{sends(text("Hel").more(), pong("").more()), fails(1002, "5.5")}},
	{id: "5.4-2",
		says: "Control frames themselves MUST NOT be fragmented.",
		talk: []step{sends(closeFrame(1000, "").more()), fails(1002, "5.5")}},
	{id: "5.4-3",
		says: "Message fragments MUST be delivered to the recipient in the order sent by the sender.",
		talk: []step{
			sends(text("a").more(), cont("b").more(), cont("c").more(), cont("d")), delivers(Text, "abcd"),
			begins(Text, "a"), continues("b"), continues("c"), finishes(), wants("fragments in order", text("a").more(), cont("b").more(), cont("c").more(), cont("")),
		}},
	{id: "5.4-4",
		says: "The fragments of one message MUST NOT be interleaved between the fragments of another message unless an extension has been negotiated that can interpret the interleaving.",
		talk: []step{sends(text("Hel").more(), text("lo")), fails(1002, "5.4")}},
	{id: "5.4-4",
		says: "The fragments of one message MUST NOT be interleaved between the fragments of another message unless an extension has been negotiated that can interpret the interleaving.",
		talk: []step{sends(binaryOf("a").more(), cont("b").more(), text("c").more()), fails(1002, "5.4")}},
	{id: "5.4-4",
		says: "The fragments of one message MUST NOT be interleaved between the fragments of another message unless an extension has been negotiated that can interpret the interleaving.",
		talk: []step{
			begins(Text, "Hel"), wants("the first fragment", text("Hel").more()),
			calls("Write", func(c *Conn) error { return c.Write(context.Background(), Binary, []byte("other")) }),
			idle("the other message waits"),
			continues("lo"), finishes(), wants("first the one, then the other", cont("lo").more(), cont(""), binaryOf("other")), returns("Write", "nil"),
		}},
	{id: "5.4-5",
		says: "An endpoint MUST be capable of handling control frames in the middle of a fragmented message.",
		talk: []step{
			sends(text("Hel").more(), ping("1"), pong("x"), cont("l").more(), ping("2")), wants("both Pongs, before the message has ended", pong("1"), pong("2")),
			idle("the message has not ended"), sends(cont("o")), delivers(Text, "Hello"),
		}},
	{id: "5.4-5",
		says: "An endpoint MUST be capable of handling control frames in the middle of a fragmented message.",
		talk: []step{sends(text("Hel").more()), closes(1001, "away")}},
	{id: "5.4-6",
		says: "A sender MAY create fragments of any size for non-control messages.",
		talk: []step{
			sends(binaryOf("").more(), cont("").more(), cont("a").more(), cont(strings.Repeat("b", 126)).more(), cont("").more(), cont(strings.Repeat("c", 1<<16)).more(), cont("")),
			delivers(Binary, "a"+strings.Repeat("b", 126)+strings.Repeat("c", 1<<16)),
			begins(Binary, "a"), continues(strings.Repeat("b", 1<<16)), finishes(), wants("fragments as they were written", binaryOf("a").more(), cont(strings.Repeat("b", 1<<16)).more(), cont("")),
		}},
	{id: "5.4-7",
		says: "Clients and servers MUST support receiving both fragmented and unfragmented messages.",
		talk: []step{
			sends(text("Hello")), delivers(Text, "Hello"), sends(text("Hel").more(), cont("lo")), delivers(Text, "Hello"),
			sends(binaryOf("\x00\xff"), binaryOf("\x00").more(), cont("\xff"), text("")), delivers(Binary, "\x00\xff"), delivers(Binary, "\x00\xff"), delivers(Text, ""),
		}},
	{id: "5.4-12",
		says: "Since control frames cannot be fragmented, the type for all fragments in a message MUST be either text, binary, or one of the reserved opcodes.",
		talk: []step{
			sends(text("a").more(), cont("b")), delivers(Text, "ab"), sends(binaryOf("\xff").more(), cont("\xfe")), delivers(Binary, "\xff\xfe"),
			sends(dataFrame(0x3, "a").more()), fails(1002, "5.2"),
		}},
	{id: "5.4-a",
		says: "One implication of this is that in absence of extensions, senders and receivers must not depend on the presence of specific frame boundaries.",
		talk: []step{
			sends(text("κόσ").more(), cont("\xce").more(), cont("").more(), cont("\xbc").more(), cont("ε")), delivers(Text, "κόσμε"),
			begins(Text, "\xce"), continues("\xba"), finishes(), wants("a character over two fragments", text("\xce").more(), cont("\xba").more(), cont("")),
		}},
	{id: "5.4-b",
		says: "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0.",
		talk: []step{sends(cont("x")), fails(1002, "5.4")}},
	{id: "5.4-b",
		says: "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0.",
		talk: []step{sends(text("a").more(), cont("b")), delivers(Text, "ab"), sends(cont("").more()), fails(1002, "5.4")}},
}

// pings is a call of Ping.
func pings(c *Conn) error {
	_, err := c.Ping(context.Background())
	return err
}

// The first Ping of an endpoint carries the number 1.
var firstPing, firstPong = ping("\x00\x00\x00\x00\x00\x00\x00\x01"), pong("\x00\x00\x00\x00\x00\x00\x00\x01")

func Test5_5_ControlFrames(t *testing.T) { run(t, rows5_5) }

var octets125 = strings.Repeat("0123456789", 13)[:125]

var rows5_5 = slices.Concat(
	[]row{{id: "5.5-1",
		says: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.",
		talk: []step{sends(pong(octets125), ping(octets125)), wants("a Pong of 125 octets", pong(octets125)), closes(1000, octets125[:123])}}},
	each(func(f frame) row {
		return row{id: "5.5-1",
			says: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented.",
			talk: []step{sends(f), fails(1002, "5.5")}}
	}, ping(octets125+"x"), pong(octets125+"x"), closeFrame(1000, octets125), ping(strings.Repeat("x", 1<<16)), ping("").more()),
)

func Test5_5_1_Close(t *testing.T) { run(t, rows5_5_1) }

var rows5_5_1 = []row{
	{id: "5.5.1-1",
		says: "The Close frame MAY contain a body (the \"Application data\" portion of the frame) that indicates a reason for closing, such as an endpoint shutting down, an endpoint having received a frame too large, or an endpoint having received a frame that does not conform to the format expected by the endpoint.",
		talk: []step{sends(emptyClose()), wants("an answer without a body", emptyClose()), parts(), endsWith("close without a code")}},
	{id: "5.5.1-1",
		says: "The Close frame MAY contain a body (the \"Application data\" portion of the frame) that indicates a reason for closing, such as an endpoint shutting down, an endpoint having received a frame too large, or an endpoint having received a frame that does not conform to the format expected by the endpoint.",
		talk: []step{closes(1001, "")}},
	{id: "5.5.1-2",
		says: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte order) representing a status code with value /code/ defined in Section 7.4.",
		talk: []step{sends(dataFrame(OpClose, "\x03")), fails(1002, "5.5.1")}},
	{id: "5.5.1-3",
		says: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/, the interpretation of which is not defined by this specification.",
		talk: []step{closes(1000, "auf Wiederhören")}},
	{id: "5.5.1-3",
		says: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/, the interpretation of which is not defined by this specification.",
		talk: []step{sends(closeFrame(1000, "not \xff")), fails(1007, "5.5.1")}},
	{id: "5.5.1-3",
		says: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/, the interpretation of which is not defined by this specification.",
		talk: []step{sends(closeFrame(1000, "cut \xe2\x82")), fails(1007, "5.5.1")}},
	{id: "5.5.1-5",
		says: "The application MUST NOT send any more data frames after sending a Close frame.",
		talk: []step{
			callsClose(1000, "bye"), wants("our Close", closeFrame(1000, "bye")), refusesMessages(),
			refuses("application can't queue", func(c *Conn) error {
				p, err := Prepare(Text, nil)
				if err != nil {
					return nil
				}
				return c.Send(p)
			}),
			refuses("application can't ping", pings),
			sends(ping("late"), closeFrame(1000, "")), parts(), returns("Close", "nil"), endsWith("closed"),
		}},
	{id: "5.5.1-6",
		says: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a Close frame in response.",
		talk: []step{closes(1000, "done")}},
	{id: "5.5.1-7",
		says: "It SHOULD do so as soon as practical.",
		talk: []step{begins(Text, "Hel"), wants("the first fragment", text("Hel").more()), closes(1000, "now"), loses("lo")}},
	{id: "5.5.1-9",
		says: "After both sending and receiving a Close message, an endpoint considers the WebSocket connection closed and MUST close the underlying TCP connection.",
		talk: []step{callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), sends(closeFrame(1000, "")), parts(), returns("Close", "nil"), endsWith("closed")}},
	{id: "5.5.1-10", on: where{role: "server", half: true},
		says: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for the server to close the connection but MAY close the connection at any time after sending and receiving a Close message, e.g., if it has not received a TCP Close from the server in a reasonable time period.",
		talk: []step{sends(closeFrame(1000, "")), wants("the answer", closeFrame(1000, "")), eof("the server ends TCP, whether the client does or not")}},
	{id: "5.5.1-10", on: where{role: "client", half: true, timed: true},
		says: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for the server to close the connection but MAY close the connection at any time after sending and receiving a Close message, e.g., if it has not received a TCP Close from the server in a reasonable time period.",
		talk: []step{
			sends(closeFrame(1000, "")), wants("the answer", closeFrame(1000, "")), endsWith("close 1000 \"\""),
			passes(4 * time.Second), sees("the client waits", stillOpen), passes(2 * time.Second), eof("CloseTimeout is over"),
		}},
	{id: "5.5.1-10", on: where{role: "client", half: true, timed: true},
		says: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for the server to close the connection but MAY close the connection at any time after sending and receiving a Close message, e.g., if it has not received a TCP Close from the server in a reasonable time period.",
		talk: []step{
			callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), sends(closeFrame(1000, "")), endsWith("closed"),
			passes(4 * time.Second), sees("the client waits", stillOpen), parts(), returns("Close", "nil"),
		}},
	{id: "5.5.1-a", on: atClient,
		says: "Close frames sent from client to server must be masked as per Section 5.3.",
		talk: []step{callsClose(1000, "bye"), wants("a Close that is masked", closeFrame(1000, "bye")), sends(closeFrame(1000, "bye")), parts(), returns("Close", "nil"), endsWith("closed")}},
	{id: "5.5.1-b",
		says: "(When sending a Close frame in response, the endpoint typically echos the status code it received.)",
		talk: []step{closes(4321, "an application's")}},
	{id: "5.5.1-c",
		says: "If a client and server both send a Close message at the same time, both endpoints will have sent and received a Close message and should consider the WebSocket connection closed and close the underlying TCP connection.",
		talk: []step{
			callsClose(1000, "ours"), wants("our Close, not an answer", closeFrame(1000, "ours")),
			sends(closeFrame(1001, "theirs, not an answer either")), parts(), returns("Close", "nil"), endsWith("closed"),
		}},
	{id: "5.5.1-c",
		says: "If a client and server both send a Close message at the same time, both endpoints will have sent and received a Close message and should consider the WebSocket connection closed and close the underlying TCP connection.",
		talk: []step{callsClose(1000, "ours"), sends(closeFrame(1001, "theirs")), sees("one Close frame", eitherClose), parts(), returns("Close", "nil")}},
}

// eitherClose takes one Close frame, ours or the answer, whichever was faster.
func eitherClose(x *exchange) (got, want string) {
	x.told = true // what the application is told depends on that too
	if f, err := x.next(); err != nil {
		return endOf(err), "a Close frame"
	} else if got := f.String(); got != closeFrame(1001, "").String() {
		return got, closeFrame(1000, "ours").String()
	}
	return "", ""
}

// stillOpen looks that the stream has not ended.
func stillOpen(x *exchange) (got, want string) {
	got, _ = x.expectIdle()
	return got, "nothing"
}

func Test5_5_2_Ping(t *testing.T) { run(t, rows5_5_2) }

var rows5_5_2 = []row{
	{id: "5.5.2-1",
		says: "A Ping frame MAY include \"Application data\".",
		talk: []step{sends(ping("")), wants("a Pong without", pong("")), sends(ping("x")), wants("a Pong with", pong("x"))}},
	{id: "5.5.2-2",
		says: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received a Close frame.",
		talk: []step{sends(ping("1")), wants("the Pong", pong("1")), sends(text("a"), ping("2"), text("b")), wants("the Pong", pong("2")), delivers(Text, "a"), delivers(Text, "b")}},
	{id: "5.5.2-2",
		says: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received a Close frame.",
		talk: []step{sends(closeFrame(1000, ""), ping("late"), text("late")), wants("the answer, and no Pong", closeFrame(1000, "")), parts(), endsWith("close 1000 \"\"")}},
	{id: "5.5.2-3",
		says: "It SHOULD respond with Pong frame as soon as is practical.",
		talk: []step{
			begins(Text, "Hel"), wants("the first fragment", text("Hel").more()), sends(ping("now")), wants("the Pong, between two fragments", pong("now")),
			finishes(), wants("the end of the message", cont("")),
		}},
	{id: "5.5.2-4",
		says: "An endpoint MAY send a Ping frame any time after the connection is established and before the connection is closed.",
		talk: []step{calls("Ping", pings), wants("our Ping", firstPing), sends(text("first"), firstPong), returns("Ping", "nil"), delivers(Text, "first")}},
	{id: "5.5.2-4", on: where{timed: true}, opts: &Options{KeepAlive: 10 * time.Second, PongTimeout: 5 * time.Second},
		says: "An endpoint MAY send a Ping frame any time after the connection is established and before the connection is closed.",
		talk: []step{
			passes(11 * time.Second), wants("the Ping of keepalive", firstPing), sends(firstPong),
			passes(11 * time.Second), wants("the next one", ping("\x00\x00\x00\x00\x00\x00\x00\x02")), passes(5 * time.Second), eof("no Pong came"),
		}},
}

func Test5_5_3_Pong(t *testing.T) { run(t, rows5_5_3) }

var rows5_5_3 = []row{
	{id: "5.5.3-1",
		says: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame.",
		talk: []step{sends(ping("1"), ping("2"), ping("3")), wants("every Pong, because the peer takes them", pong("1"), pong("2"), pong("3"))}},
	{id: "5.5.3-1", on: where{timed: true},
		says: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame.",
		talk: []step{
			sees("the peer listens no more", func(x *exchange) (got, want string) { x.stopsListening(); return "", "" }),
			sends(slices.Repeat([]frame{ping(octets125)}, 10_000)...), sends(text("read"), ping("last")), delivers(Text, "read"),
			sees("the Pong to the latest Ping, and not all before it", latestPong),
		}},
	{id: "5.5.3-2",
		says: "A Pong frame MAY be sent unsolicited.",
		talk: []step{sends(pong(""), pong("x"), firstPong, pong(octets125), text("after")), delivers(Text, "after"), idle("no answer")}},
	{id: "5.5.3-2",
		says: "A Pong frame MAY be sent unsolicited.",
		talk: []step{
			calls("Ping", pings), wants("our Ping", firstPing), sends(pong("\x00\x00\x00\x00\x00\x00\x00\x00"), pong("else")), idle("these are not its Pong"),
			sends(firstPong), returns("Ping", "nil"),
		}},
	{id: "5.5.3-a",
		says: "A Pong frame sent in response to a Ping frame must have identical \"Application data\" as found in the message body of the Ping frame being replied to.",
		talk: []step{sends(ping("\x00\xff\xfe"), ping(octets125)), wants("the same octets", pong("\x00\xff\xfe"), pong(octets125))}},
}

// latestPong takes Pongs until that of the latest Ping.
func latestPong(x *exchange) (got, want string) {
	x.listens()
	for n := 0; ; n++ {
		f, err := x.next()
		switch {
		case err != nil:
			return endOf(err), pong("last").String()
		case n > 1000:
			return "more than 1000 Pongs", "that many were never owed at a time"
		case f.String() == pong("last").String():
			return "", ""
		}
	}
}

func Test5_6_DataFrames(t *testing.T) { run(t, rows5_6) }

var rows5_6 = []row{
	{id: "5.6-1",
		says: "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8.",
		talk: []step{sends(text("\xf0\x9f").more(), cont("\x8e").more(), cont("\x89")), delivers(Text, "🎉"), sends(text("\xf0\x9f").more(), cont("\x8e")), fails(1007, "8.1")}},
	{id: "5.6-1",
		says: "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8.",
		talk: []step{
			refuses("application can't send it as text", func(c *Conn) error { return c.Write(context.Background(), Text, []byte("\xff")) }), idle("nothing was sent"),
			writes(Binary, "\xff"), wants("but as binary", binaryOf("\xff")),
		}},
	{id: "5.6-1",
		says: "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid UTF-8.",
		talk: []step{
			begins(Text, "\xf0\x9f"), wants("a part of a character", text("\xf0\x9f").more()),
			sees("the message can't end there", func(x *exchange) (got, want string) {
				x.results["Close"] = make(chan error, 1)
				go func() { x.results["Close"] <- x.writer.Close() }()
				return "", ""
			}),
			wants("no FIN", anyClose(1011)), sends(closeFrame(1011, "")), parts(),
			returns("Close", errTextCut.Error()), endsWith("closed"),
		}},
}

func Test5_7_Examples(t *testing.T) { run(t, rows5_7) }

var rows5_7 = []row{
	{id: "5.7-a", on: atClient,
		says: "A single-frame unmasked text message",
		talk: []step{sends(octets("81 05 48 65 6c 6c 6f")), delivers(Text, "Hello")}},
	{id: "5.7-b", on: atServer,
		says: "A single-frame masked text message",
		talk: []step{sends(octets("81 85 37 fa 21 3d 7f 9f 4d 51 58")), delivers(Text, "Hello")}},
	{id: "5.7-c", on: atClient,
		says: "A fragmented unmasked text message",
		talk: []step{sends(octets("01 03 48 65 6c"), octets("80 02 6c 6f")), delivers(Text, "Hello")}},
	{id: "5.7-d", on: atClient,
		says: "Unmasked Ping request and masked Ping response",
		talk: []step{sends(octets("89 05 48 65 6c 6c 6f")), wants("the response", pong("Hello"))}},
	{id: "5.7-d", on: atServer,
		says: "Unmasked Ping request and masked Ping response",
		talk: []step{calls("Ping", pings), wants("our Ping", firstPing), sends(octets("8a 88 37 fa 21 3d 37 fa 21 3d 37 fa 21 3c")), returns("Ping", "nil")}},
	{id: "5.7-e", on: atClient,
		says: "256 bytes binary message in a single unmasked frame",
		talk: []step{sends(octets("82 7e 01 00 " + strings.Repeat("c3", 256))), delivers(Binary, strings.Repeat("\xc3", 256))}},
	{id: "5.7-f", on: atClient,
		says: "64KiB binary message in a single unmasked frame",
		talk: []step{sends(octets("82 7f 00 00 00 00 00 01 00 00 " + strings.Repeat("c3", 65536))), delivers(Binary, strings.Repeat("\xc3", 65536))}},
}

func Test5_8_Extensibility(t *testing.T) { run(t, rows5_8) }

var rows5_8 = []row{
	{id: "5.8-1",
		says: "The endpoints of a connection MUST negotiate the use of any extensions during the opening handshake.",
		talk: []step{sends(text("\xf2\x48\xcd\xc9\xc9\x07\x00").rsv(1)), fails(1002, "5.2")}},
}

func Test6_1_SendingData(t *testing.T) { run(t, rows6_1) }

var rows6_1 = []row{
	{id: "6.1-1",
		says: "To _Send a WebSocket Message_ comprising of /data/ over a WebSocket connection, an endpoint MUST perform the following steps.",
		talk: []step{writes(Text, "data"), wants("the message", text("data"))}},
	{id: "6.1-2",
		says: "The endpoint MUST ensure the WebSocket connection is in the OPEN state (cf. Sections 4.1 and 4.2.2.)",
		talk: []step{closes(1000, ""), refusesMessages()}},
	{id: "6.1-3",
		says: "If at any point the state of the WebSocket connection changes, the endpoint MUST abort the following steps.",
		talk: []step{begins(Binary, "a"), wants("the first fragment", binaryOf("a").more()), closes(1001, ""), loses("b"), refusesMessages()}},
	{id: "6.1-4",
		says: "An endpoint MUST encapsulate the /data/ in a WebSocket frame as defined in Section 5.2.",
		talk: []step{writes(Binary, "", "\x00", octets125+"xy"), wants("frames", binaryOf(""), binaryOf("\x00"), binaryOf(octets125+"xy"))}},
	{id: "6.1-5",
		says: "If the data to be sent is large or if the data is not available in its entirety at the point the endpoint wishes to begin sending the data, the endpoint MAY alternately encapsulate the data in a series of frames as defined in Section 5.4.",
		talk: []step{begins(Text, "now "), wants("what there is", text("now ").more()), continues("later"), wants("what came later", cont("later").more()), finishes(), wants("the end", cont(""))}},
	{id: "6.1-6",
		says: "The opcode (frame-opcode) of the first frame containing the data MUST be set to the appropriate value from Section 5.2 for data that is to be interpreted by the recipient as text or binary data.",
		talk: []step{
			writes(Text, "t"), writes(Binary, "b"), wants("text and binary", text("t"), binaryOf("b")),
			refuses("a type that is neither", func(c *Conn) error { return c.Write(context.Background(), MessageType(OpPing), nil) }), idle("nothing was sent"),
		}},
	{id: "6.1-7",
		says: "The FIN bit (frame-fin) of the last frame containing the data MUST be set to 1 as defined in Section 5.2.",
		talk: []step{begins(Text, "a"), finishes(), wants("FIN on the last frame, and only there", text("a").more(), cont("")), writes(Text, "b"), wants("FIN on the only frame", text("b"))}},
	{id: "6.1-8", on: atClient,
		says: "If the data is being sent by the client, the frame(s) MUST be masked as defined in Section 5.3.",
		talk: []step{writes(Binary, "12345"), begins(Text, "1"), continues("2345"), finishes(), wants("masked frames", binaryOf("12345"), text("1").more(), cont("2345").more(), cont(""))}},
	{id: "6.1-9",
		says: "The frame(s) that have been formed MUST be transmitted over the underlying network connection.",
		talk: []step{writes(Text, "1", "2", "3"), wants("all of them", text("1"), text("2"), text("3"))}},
}

func Test6_2_ReceivingData(t *testing.T) { run(t, rows6_2) }

var rows6_2 = []row{
	{id: "6.2-1",
		says: "Incoming data MUST be parsed as WebSocket frames as defined in Section 5.2.",
		talk: slices.Concat(echoes(0), echoes(125), echoes(126), echoes(1<<16-1), echoes(1<<16))},
	{id: "6.2-2",
		says: "If a control frame (Section 5.5) is received, the frame MUST be handled as defined by Section 5.5.",
		talk: []step{sends(pong("x"), ping("y")), wants("the Pong", pong("y")), closes(1000, "")}},
	{id: "6.2-3",
		says: "Upon receiving a data frame (Section 5.6), the endpoint MUST note the /type/ of the data as defined by the opcode (frame-opcode) from Section 5.2.",
		talk: []step{sends(text("t"), binaryOf("b"), text("u").more(), cont("v"), binaryOf("c").more(), cont("d")), delivers(Text, "t"), delivers(Binary, "b"), delivers(Text, "uv"), delivers(Binary, "cd")}},
	{id: "6.2-4",
		says: "Subsequent data frames MUST be interpreted as belonging to a new WebSocket message.",
		talk: []step{sends(text("a").more(), cont("b"), binaryOf("c"), text("d").more(), cont("")), delivers(Text, "ab"), delivers(Binary, "c"), delivers(Text, "d")}},
	{id: "6.2-7", on: atServer,
		says: "A server MUST remove masking for data frames received from a client as described in Section 5.3.",
		talk: []step{
			sends(octets("81 85 37 fa 21 3d 7f 9f 4d 51 58")), delivers(Text, "Hello"),
			sends(octets("01 83 00 00 00 00 48 65 6c"), octets("80 82 ff ff ff ff 93 90")), delivers(Text, "Hello"), // each frame has its key
		}},
}

func Test7_1_1_CloseTheConnection(t *testing.T) { run(t, rows7_1_1) }

var rows7_1_1 = []row{
	{id: "7.1.1-1",
		says: "An endpoint SHOULD use a method that cleanly closes the TCP connection, as well as the TLS session, if applicable, discarding any trailing bytes that may have been received.",
		talk: []step{sends(closeFrame(1000, ""), octets("ff ff ff ff"), text(strings.Repeat("late", 1000))), wants("the answer, and no reset", closeFrame(1000, "")), parts(), endsWith("close 1000 \"\"")}},
	{id: "7.1.1-1", on: where{half: true},
		says: "An endpoint SHOULD use a method that cleanly closes the TCP connection, as well as the TLS session, if applicable, discarding any trailing bytes that may have been received.",
		talk: []step{
			// The peer is in the middle of a message that is too big for everybody's socket buffers.
			sends(text("\xff").more(), cont(strings.Repeat("upload", 3_000_000))),
			wants("a Close frame that no reset has destroyed", anyClose(1007)), eof("and the end"), endsWith("protocol error 1007 (8.1)"),
		}},
	{id: "7.1.1-2",
		says: "An endpoint MAY close the connection via any means available when necessary, such as when under attack.",
		talk: []step{cutsOff(), eof("no Close frame"), endsWith("closed")}},
	{id: "7.1.1-3", on: where{role: "server", half: true},
		says: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server, so that it holds the TIME_WAIT state and not the client (as this would prevent it from re-opening the connection for 2 maximum segment lifetimes (2MSL), while there is no corresponding server impact as a TIME_WAIT connection is immediately reopened upon a new SYN with a higher seq number).",
		talk: []step{callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), sends(closeFrame(1000, "")), eof("the server ends TCP first"), returns("Close", "nil"), endsWith("closed")}},
	{id: "7.1.1-4", on: where{role: "client", half: true, timed: true},
		says: "In abnormal cases (such as not having received a TCP Close from the server after a reasonable amount of time) a client MAY initiate the TCP Close.",
		talk: []step{callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), sends(closeFrame(1000, "")), passes(6 * time.Second), eof("CloseTimeout is over"), returns("Close", "nil"), endsWith("closed")}},
	{id: "7.1.1-5", on: where{role: "server", half: true},
		says: "As such, when a server is instructed to _Close the WebSocket Connection_ it SHOULD initiate a TCP Close immediately, and when a client is instructed to do the same, it SHOULD wait for a TCP Close from the server.",
		talk: []step{sends(closeFrame(1001, "")), wants("the answer", closeFrame(1001, "")), eof("the server's TCP Close"), endsWith("close 1001 \"\"")}},
	{id: "7.1.1-5", on: where{role: "client", half: true, timed: true},
		says: "As such, when a server is instructed to _Close the WebSocket Connection_ it SHOULD initiate a TCP Close immediately, and when a client is instructed to do the same, it SHOULD wait for a TCP Close from the server.",
		talk: []step{sends(closeFrame(1001, "")), wants("the answer", closeFrame(1001, "")), passes(time.Second), sees("the client waits", stillOpen), parts(), endsWith("close 1001 \"\"")}},
}

func Test7_1_2_StartTheClosingHandshake(t *testing.T) { run(t, rows7_1_2) }

var rows7_1_2 = []row{
	{id: "7.1.2-1",
		says: "To _Start the WebSocket Closing Handshake_ with a status code (Section 7.4) /code/ and an optional close reason (Section 7.1.6) /reason/, an endpoint MUST send a Close control frame, as described in Section 5.5.1, whose status code is set to /code/ and whose close reason is set to /reason/.",
		talk: []step{callsClose(4000, "why"), wants("code and reason", closeFrame(4000, "why")), sends(closeFrame(4000, "")), parts(), returns("Close", "nil"), endsWith("closed")}},
	{id: "7.1.2-1",
		says: "To _Start the WebSocket Closing Handshake_ with a status code (Section 7.4) /code/ and an optional close reason (Section 7.1.6) /reason/, an endpoint MUST send a Close control frame, as described in Section 5.5.1, whose status code is set to /code/ and whose close reason is set to /reason/.",
		talk: []step{
			callsClose(1000, octets125[:122]+"äöü"), wants("as much of the reason as there is room for, in whole characters", closeFrame(1000, octets125[:122])),
			sends(closeFrame(1000, "")), parts(), returns("Close", "nil"), endsWith("closed"),
		}},
	{id: "7.1.2-2",
		says: "Once an endpoint has both sent and received a Close control frame, that endpoint SHOULD _Close the WebSocket Connection_ as defined in Section 7.1.1.",
		talk: []step{callsClose(1000, ""), wants("our Close", closeFrame(1000, "")), sends(text("in flight"), closeFrame(3000, "")), parts(), returns("Close", "nil"), endsWith("closed")}},
}

func Test7_1_5_CloseCode(t *testing.T) { run(t, rows7_1_5) }

var rows7_1_5 = []row{
	{id: "7.1.5-a",
		says: "If this Close control frame contains no status code, _The WebSocket Connection Close Code_ is considered to be 1005.",
		talk: []step{
			sends(emptyClose()), wants("the answer", emptyClose()), parts(),
			sees("the code", func(x *exchange) (got, want string) {
				x.told = true
				return fmt.Sprint(int(CloseStatus(<-x.over))), "1005"
			}),
		}},
	{id: "7.1.5-b",
		says: "If _The WebSocket Connection is Closed_ and no Close control frame was received by the endpoint (such as could occur if the underlying transport connection is lost), _The WebSocket Connection Close Code_ is considered to be 1006.",
		talk: []step{sends(text("a")), delivers(Text, "a"), hangsUp(), endsWith("unexpected end")}},
	{id: "7.1.5-b",
		says: "If _The WebSocket Connection is Closed_ and no Close control frame was received by the endpoint (such as could occur if the underlying transport connection is lost), _The WebSocket Connection Close Code_ is considered to be 1006.",
		talk: []step{sends(text("Hel").more(), octets("80")), hangsUp(), endsWith("unexpected end")}},
	{id: "7.1.5-c",
		says: "_The WebSocket Connection Close Code_ is defined as the status code (Section 7.4) contained in the first Close control frame received by the application implementing this protocol.",
		talk: []step{sends(closeFrame(4001, "first"), closeFrame(4002, "second")), wants("the answer to the first", closeFrame(4001, "")), parts(), endsWith("close 4001 \"first\"")}},
}

func Test7_1_6_CloseReason(t *testing.T) { run(t, rows7_1_6) }

var rows7_1_6 = []row{
	{id: "7.1.6-a",
		says: "_The WebSocket Connection Close Reason_ is defined as the UTF-8-encoded data following the status code (Section 7.4) contained in the first Close control frame received by the application implementing this protocol.",
		talk: []step{closes(1000, strings.Repeat("ä", 61))}},
	{id: "7.1.6-b",
		says: "If there is no such data in the Close control frame, _The WebSocket Connection Close Reason_ is the empty string.",
		talk: []step{closes(1000, "")}},
}

func Test7_1_7_FailTheConnection(t *testing.T) { run(t, rows7_1_7) }

var rows7_1_7 = []row{
	{id: "7.1.7-1", on: atClient,
		says: "To do so, the client MUST _Close the WebSocket Connection_, and MAY report the problem to the user (which would be especially useful for developers) in an appropriate manner.",
		talk: []step{sends(cont("")), fails(1002, "5.4")}},
	{id: "7.1.7-2", on: atServer,
		says: "Similarly, to do so, the server MUST _Close the WebSocket Connection_, and SHOULD log the problem.",
		talk: []step{sends(cont("")), fails(1002, "5.4")}},
	{id: "7.1.7-3",
		says: "If _The WebSocket Connection is Established_ prior to the point where the endpoint is required to _Fail the WebSocket Connection_, the endpoint SHOULD send a Close frame with an appropriate status code (Section 7.4) before proceeding to _Close the WebSocket Connection_.",
		talk: []step{writes(Text, "before"), sends(text("\xc0")), wants("what was written before", text("before")), fails(1007, "8.1")}},
	{id: "7.1.7-3",
		says: "If _The WebSocket Connection is Established_ prior to the point where the endpoint is required to _Fail the WebSocket Connection_, the endpoint SHOULD send a Close frame with an appropriate status code (Section 7.4) before proceeding to _Close the WebSocket Connection_.",
		talk: []step{begins(Text, "Hel"), wants("a message of which there is no rest", text("Hel").more()), sends(dataFrame(0xF, "")), fails(1002, "5.2"), loses("lo")}},
	{id: "7.1.7-5",
		says: "An endpoint MUST NOT continue to attempt to process data (including a responding Close frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_.",
		talk: []step{sends(text("one"), text("\xff"), text("two"), ping("three"), closeFrame(1000, "four")), delivers(Text, "one"), fails(1007, "8.1")}},
	{id: "7.1.7-6", on: where{role: "client", timed: true},
		says: "Except as indicated above or as specified by the application layer (e.g., a script using the WebSocket API), clients SHOULD NOT close the connection.",
		talk: []step{passes(1000 * time.Hour), idle("nothing happens"), sends(text("still there")), delivers(Text, "still there")}},
}

func Test7_2_AbnormalClosures(t *testing.T) { run(t, rows7_2) }

var rows7_2 = []row{
	{id: "7.2.1-2", on: atClient,
		says: "If at any point the underlying transport layer connection is unexpectedly lost, the client MUST _Fail the WebSocket Connection_.",
		talk: []step{hangsUp(), endsWith("unexpected end"), refusesMessages()}},
	{id: "7.2.1-2", on: atClient,
		says: "If at any point the underlying transport layer connection is unexpectedly lost, the client MUST _Fail the WebSocket Connection_.",
		talk: []step{sends(text("Hel").more(), ping("")), wants("a Pong", pong("")), hangsUp(), endsWith("unexpected end"), refusesMessages()}},
	{id: "7.2.1-3", on: where{role: "client", timed: true}, opts: &Options{KeepAlive: time.Minute},
		says: "Except as indicated above or as specified by the application layer (e.g., a script using the WebSocket API), clients SHOULD NOT close the connection.",
		talk: []step{
			passes(61 * time.Second), wants("it only asks whether the server is there", firstPing), sends(firstPong),
			passes(30 * time.Second), idle("and is content"),
		}},
}

func Test7_3_NormalClosure(t *testing.T) { run(t, rows7_3) }

var rows7_3 = []row{
	{id: "7.3-1", on: atServer,
		says: "Servers MAY close the WebSocket connection whenever desired.",
		talk: []step{
			sends(text("Hel").more()), begins(Binary, "a"), wants("a fragment", binaryOf("a").more()),
			callsClose(1001, "restart"), wants("our Close", closeFrame(1001, "restart")), sends(closeFrame(1001, "")), parts(), returns("Close", "nil"), endsWith("closed"), loses("b"),
		}},
	{id: "7.3-2", on: where{role: "client", timed: true},
		says: "Clients SHOULD NOT close the WebSocket connection arbitrarily.",
		talk: []step{
			sends(text("Hel").more()), passes(1000 * time.Hour), idle("nothing happens in the middle of a message"),
			sends(cont("lo")), delivers(Text, "Hello"),
		}},
}

func Test7_4_StatusCodes(t *testing.T) { run(t, rows7_4) }

var rows7_4 = slices.Concat([]row{
	{id: "7.4-1",
		says: "When closing an established connection (e.g., when sending a Close frame, after the opening handshake has completed), an endpoint MAY indicate a reason for closure.",
		talk: []step{callsClose(1005, ""), wants("a Close frame without a code", emptyClose()), sends(emptyClose()), parts(), returns("Close", "nil"), endsWith("closed")}},
	{id: "7.4.1-2",
		says: "1003 indicates that an endpoint is terminating the connection because it has received a type of data it cannot accept (e.g., an endpoint that understands only text data MAY send this if it receives a binary message).",
		talk: []step{sends(binaryOf("x")), delivers(Binary, "x"), callsClose(1003, ""), wants("our Close", closeFrame(1003, "")), sends(closeFrame(1003, "")), parts(), returns("Close", "nil"), endsWith("closed")}},
	{id: "7.4.1-3",
		says: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint.",
		talk: []step{refusesToClose(1005, "with a reason"), idle("nothing was sent"), sends(closeFrame(1005, "")), fails(1002, "7.4")}},
	{id: "7.4.1-4",
		says: "1006 is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint.",
		talk: []step{refusesToClose(1006, ""), idle("nothing was sent"), sends(closeFrame(1006, "")), fails(1002, "7.4")}},
	{id: "7.4.1-6",
		says: "1015 is a reserved value and MUST NOT be set as a status code in a Close control frame by an endpoint.",
		talk: []step{refusesToClose(1015, ""), idle("nothing was sent"), sends(closeFrame(1015, "")), fails(1002, "7.4")}},
},
	eachCode(func(code StatusCode) row {
		return row{id: "7.4.1-1",
			says: "Endpoints MAY use the following pre-defined status codes when sending a Close frame.",
			talk: []step{callsClose(code, ""), wants("our Close", closeFrame(code, "")), sends(closeFrame(code, "")), parts(), returns("Close", "nil"), endsWith("closed")}}
	}, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011),
	eachCode(func(code StatusCode) row {
		return row{id: "7.4.1-1",
			says: "Endpoints MAY use the following pre-defined status codes when sending a Close frame.",
			talk: []step{closes(code, "seen")}}
	}, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011),
	refusedCodes("7.4.2-a", "Status codes in the range 0-999 are not used.", 0, 1, 999),
	refusedCodes("7.4.2-b", "Status codes in the range 1000-2999 are reserved for definition by this protocol, its future revisions, and extensions specified in a permanent and readily available public specification.", 1004, 1016, 2000, 2999),
	eachCode(func(code StatusCode) row {
		return row{id: "7.4.2-b",
			says: "Status codes in the range 1000-2999 are reserved for definition by this protocol, its future revisions, and extensions specified in a permanent and readily available public specification.",
			talk: []step{closes(code, "registered with IANA since")}}
	}, 1012, 1013, 1014),
	eachCode(func(code StatusCode) row {
		return row{id: "7.4.2-c",
			says: "Status codes in the range 3000-3999 are reserved for use by libraries, frameworks, and applications.",
			talk: []step{closes(code, "")}}
	}, 3000, 3999),
	eachCode(func(code StatusCode) row {
		return row{id: "7.4.2-d",
			says: "Status codes in the range 4000-4999 are reserved for private use and thus can't be registered.",
			talk: []step{closes(code, "")}}
	}, 4000, 4999),
	refusedCodes("7.4.2-d", "Status codes in the range 4000-4999 are reserved for private use and thus can't be registered.", 5000, 65535),
)

// refusedCodes are rows of codes that neither end may send.
func refusedCodes(id, says string, codes ...StatusCode) []row {
	return eachCode(func(code StatusCode) row {
		return row{id: id, says: says, talk: []step{refusesToClose(code, ""), idle("nothing was sent"), sends(closeFrame(code, "")), fails(1002, "7.4")}}
	}, codes...)
}

func eachCode(of func(code StatusCode) row, codes ...StatusCode) []row {
	var rows []row
	for _, code := range codes {
		rows = append(rows, of(code))
	}
	return rows
}

func refusesToClose(code StatusCode, reason string) step {
	return refuses(fmt.Sprintf("application can't close with %d", code), func(c *Conn) error { return c.Close(code, reason) })
}

func Test8_1_HandlingErrorsInUTF8(t *testing.T) { run(t, rows8_1) }

var rows8_1 = slices.Concat(
	each(func(f frame) row {
		return row{id: "8.1-1",
			says: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.",
			talk: []step{sends(text("gültig").more(), cont("е")), delivers(Text, "gültigе"), sends(f), fails(1007, "8.1")}}
	},
		text("\x80"), text("\xbf"), text("\xff"), text("\xfe"), // octets that begin nothing
		text("\xc0\xaf"), text("\xc1\xbf"), text("\xe0\x80\xaf"), text("\xe0\x9f\xbf"), text("\xf0\x80\x80\xaf"), text("\xf0\x8f\xbf\xbf"), // overlong
		text("\xed\xa0\x80"), text("\xed\xbf\xbf"), // surrogates
		text("\xf4\x90\x80\x80"), text("\xf5\x80\x80\x80"), // behind U+10FFFF
		text("\xc3"), text("\xe2\x82"), text("\xf0\x9f\x8e"), // cut short by the end of the message
		text("\xc3a"), text("\xe2\x82a"), text("\xf0\x9f\x8ea"), // cut short by another character
		text(strings.Repeat("κόσμε", 10_000)+"\xff"),
		// The first impossible octet decides, without waiting for more.
		text("\xff").more(), text("\xed\xa0").more(), text("\xf4\x90").more(), text("\xe0\x9f").more(), text("\xf8").more(),
	),
	[]row{{id: "8.1-1",
		says: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.",
		talk: []step{sends(text("κόσμ\xce").more(), ping("in the middle")), wants("a Pong", pong("in the middle")), sends(cont("\xce")), fails(1007, "8.1")}},
		{id: "8.1-1",
			says: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.",
			talk: []step{sends(text("\x00\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff\ufeff")), delivers(Text, "\x00\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff\ufeff")}},
	})

func Test10_SecurityConsiderations(t *testing.T) { run(t, rows10) }

var rows10 = []row{
	{id: "10.3-1", on: atClient,
		says: "Clients MUST choose a new masking key for each frame, using an algorithm that cannot be predicted by end applications that provide data.",
		talk: []step{
			begins(Text, "a"), continues("a"), continues("a"), finishes(), sends(ping("a")), wants("frames of all kinds", text("a").more(), cont("a").more(), cont("a").more(), cont(""), pong("a")),
			sees("keys that differ", differingKeys),
		}},
	{id: "10.3-a", on: atClient,
		says: "It is also necessary that once the transmission of a frame from a client has begun, the payload (application-supplied data) of that frame must not be capable of being modified by the application.",
		talk: []step{
			sees("the application's octets are masked elsewhere", func(x *exchange) (got, want string) {
				data := bytes.Repeat([]byte("upload"), 50_000)
				if err := x.c.Write(context.Background(), Binary, data); err != nil {
					return err.Error(), ""
				}
				return abridged(data), abridged(bytes.Repeat([]byte("upload"), 50_000))
			}),
			wants("the message", binaryOf(strings.Repeat("upload", 50_000))),
		}},
	{id: "10.4-1", opts: &Options{KeepAlive: -1, ReadLimit: 1000},
		says: "Implementations that have implementation- and/or platform-specific limitations regarding the frame size or total message size after reassembly from multiple frames MUST protect themselves against exceeding those limits.",
		talk: []step{sends(binaryOf(strings.Repeat("x", 1000))), delivers(Binary, strings.Repeat("x", 1000)), sends(binaryOf("").claims(1 << 60)), failsWith(1009, "too big")}},
	{id: "10.4-1", opts: &Options{KeepAlive: -1, MaxFragments: 100},
		says: "Implementations that have implementation- and/or platform-specific limitations regarding the frame size or total message size after reassembly from multiple frames MUST protect themselves against exceeding those limits.",
		talk: []step{
			sends(text("").more()), sends(slices.Repeat([]frame{cont("").more()}, 98)...), sends(cont("100")), delivers(Text, "100"),
			sends(text("").more()), sends(slices.Repeat([]frame{cont("").more()}, 100)...), failsWith(1009, "too big"),
		}},
	{id: "10.4-2", opts: &Options{KeepAlive: -1, ReadLimit: 1000},
		says: "Such an implementation SHOULD impose a limit on frame sizes and the total message size after reassembly from multiple frames.",
		talk: []step{
			sends(text(strings.Repeat("x", 600)).more(), cont(strings.Repeat("y", 400))), delivers(Text, strings.Repeat("x", 600)+strings.Repeat("y", 400)),
			sends(text(strings.Repeat("x", 600)).more(), cont(strings.Repeat("y", 401))), failsWith(1009, "too big"),
		}},
	{id: "10.7-1",
		says: "Incoming data MUST always be validated by both clients and servers.",
		talk: []step{sends(dataFrame(0x7, "").rsv(1, 2, 3).more()), fails(1002, "5.2")}},
	{id: "10.7-2",
		says: "If, at any time, an endpoint is faced with data that it does not understand or that violates some criteria by which the endpoint determines safety of input, or when the endpoint sees an opening handshake that does not correspond to the values it is expecting (e.g., incorrect path or origin in the client request), the endpoint MAY drop the TCP connection.",
		talk: []step{sends(dataFrame(0x3, "what?")), fails(1002, "5.2")}},
	{id: "10.7-3",
		says: "If the invalid data was received after a successful WebSocket handshake, the endpoint SHOULD send a Close frame with an appropriate status code (Section 7.4) before proceeding to _Close the WebSocket Connection_.",
		talk: []step{sends(closeFrame(999, "")), fails(1002, "7.4")}},
	{id: "10.7-3",
		says: "If the invalid data was received after a successful WebSocket handshake, the endpoint SHOULD send a Close frame with an appropriate status code (Section 7.4) before proceeding to _Close the WebSocket Connection_.",
		talk: []step{sends(text("a\xffb")), fails(1007, "8.1")}},
}
