package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOffer(t *testing.T) {
	for _, row := range []struct {
		c    Compression
		want string
	}{
		{Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"},
		{Compression{ContextTakeover: true}, "permessage-deflate; client_max_window_bits"},
		{Compression{ContextTakeover: true, ServerMaxWindowBits: 10}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits"},
		{Compression{ContextTakeover: true, ClientMaxWindowBits: 9}, "permessage-deflate; client_max_window_bits=9"},
		{Compression{ContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, "permessage-deflate; client_max_window_bits"},
		{Compression{ContextTakeover: true, ServerMaxWindowBits: 99, ClientMaxWindowBits: -3}, "permessage-deflate; client_max_window_bits=8"},
	} {
		if got := row.c.offer(); got != row.want {
			t.Errorf("%+v offers %q, want %q", row.c, got, row.want)
		}
	}
}

func TestAcceptOffers(t *testing.T) {
	takeover := Compression{ContextTakeover: true}
	narrow := Compression{ContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 9}
	for _, row := range []struct {
		why    string
		c      Compression
		offers []string
		want   string // "": declined
	}{
		{"no offer", takeover, nil, ""},
		{"another extension", takeover, []string{"x-webkit-deflate-frame"}, ""},
		{"a browser's offer", takeover, []string{"permessage-deflate; client_max_window_bits"}, "permessage-deflate"},
		{"a browser's offer, no takeover wanted", Compression{}, []string{"permessage-deflate; client_max_window_bits"},
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"the offer asks for no takeover", takeover, []string{"permessage-deflate; server_no_context_takeover"},
			"permessage-deflate; server_no_context_takeover"},
		{"the client will not take over", takeover, []string{"permessage-deflate; client_no_context_takeover"},
			"permessage-deflate; client_no_context_takeover"},

		{"a server window is answered", takeover, []string{"permessage-deflate; server_max_window_bits=15"},
			"permessage-deflate; server_max_window_bits=15"},
		{"the smaller server window, ours", narrow, []string{"permessage-deflate; server_max_window_bits=12"},
			"permessage-deflate; server_max_window_bits=10"},
		{"the smaller server window, theirs", narrow, []string{"permessage-deflate; server_max_window_bits=8"},
			"permessage-deflate; server_max_window_bits=8"},
		{"a client window is not answered unoffered", narrow, []string{"permessage-deflate"},
			"permessage-deflate; server_max_window_bits=10"},
		{"a client window is answered", narrow, []string{"permessage-deflate; client_max_window_bits"},
			"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"},
		{"the smaller client window, theirs", narrow, []string{"permessage-deflate; client_max_window_bits=8"},
			"permessage-deflate; server_max_window_bits=10; client_max_window_bits=8"},
		{"the client's word on its window is taken", takeover, []string{"permessage-deflate; client_max_window_bits=11"},
			"permessage-deflate; client_max_window_bits=11"},
		{"a client window of 15", takeover, []string{"permessage-deflate; client_max_window_bits=15"}, "permessage-deflate"},

		{"unknown parameter", takeover, []string{"permessage-deflate; level=3"}, ""},
		{"parameters are lower case", takeover, []string{"permessage-deflate; Server_No_Context_Takeover"}, ""},
		{"repeated flag", takeover, []string{"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, ""},
		{"repeated bits", takeover, []string{"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"}, ""},
		{"repeated client bits", takeover, []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, ""},
		{"repeated client bits with a value", takeover, []string{"permessage-deflate; client_max_window_bits; client_max_window_bits=9"}, ""},
		{"repeated client bits without a value", takeover, []string{"permessage-deflate; client_max_window_bits=9; client_max_window_bits"}, ""},
		{"flag with a value", takeover, []string{"permessage-deflate; client_no_context_takeover=1"}, ""},
		{"server bits without a value", takeover, []string{"permessage-deflate; server_max_window_bits"}, ""},
		{"bits below 8", takeover, []string{"permessage-deflate; server_max_window_bits=7"}, ""},
		{"bits above 15", takeover, []string{"permessage-deflate; client_max_window_bits=16"}, ""},
		{"leading zero", takeover, []string{"permessage-deflate; server_max_window_bits=09"}, ""},
		{"sign", takeover, []string{"permessage-deflate; server_max_window_bits=+9"}, ""},
		{"no number", takeover, []string{"permessage-deflate; server_max_window_bits=ten"}, ""},
		{"far out of range", takeover, []string{"permessage-deflate; server_max_window_bits=99999999999999999999"}, ""},

		{"falls back to a later offer", takeover,
			[]string{"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=9, permessage-deflate"},
			"permessage-deflate; server_max_window_bits=9"},
		{"falls back to a later line", takeover, []string{"permessage-deflate; unknown", "foo; a=b, permessage-deflate"}, "permessage-deflate"},
		{"an unknown extension may have any parameter", takeover, []string{"foo; a; a; b=\"c\"; server_max_window_bits, permessage-deflate"},
			"permessage-deflate"},
		{"quoted value", takeover, []string{`permessage-deflate; server_max_window_bits="10"`}, "permessage-deflate; server_max_window_bits=10"},
		{"quoted value with an escape", takeover, []string{`permessage-deflate; server_max_window_bits="1\0"`},
			"permessage-deflate; server_max_window_bits=10"},
		{"blanks and empty elements", takeover, []string{" ,\t, permessage-deflate\t; server_max_window_bits = 9 ,, "},
			"permessage-deflate; server_max_window_bits=9"},
		{"malformed behind a good offer", takeover, []string{"permessage-deflate, @"}, ""},
	} {
		answer, p := acceptOffers(row.offers, &row.c)
		if answer != row.want || (p != nil) != (row.want != "") {
			t.Errorf("%s: %q answered by %q with %+v, want %q", row.why, row.offers, answer, p, row.want)
		}
	}
	if answer, p := acceptOffers([]string{"permessage-deflate"}, nil); answer != "" || p != nil {
		t.Errorf("without Compression the answer is %q", answer)
	}
}

func TestMalformedExtensionsFailTheHandshake(t *testing.T) {
	for _, bad := range []string{
		"", " ", ",", ";", "foo;", "foo;;a", "foo; ;a", "foo bar", "foo; a b", "foo=1", "foo; =1", "foo; a=", "foo; a=;b", "foo; a=,bar",
		`foo; a="`, `foo; a="b`, `foo; a="b\`, `foo; a="b\"`, `foo; a=""`, `foo; a="b c"`, `foo; a="b"c`, `foo; a="\,"`, `"foo"`,
		"f\x00o", "f\x7fo", "fo\u00e9", "foo; a=(b)", "foo/bar", "foo\r\nbar",
	} {
		if err := checkExtensions([]string{bad}); err != errExtensionSyntax {
			t.Errorf("%q: %v", bad, err)
		}
		want := error(errExtensionSyntax)
		if strings.Trim(bad, " ,") == "" {
			want = nil // no element, of a list that has one (RFC 6455 section 11.3.2)
		}
		if err := checkExtensions([]string{"foo", bad}); err != want {
			t.Errorf("%q on a second line: %v", bad, err)
		}
		if _, err := checkAnswer([]string{bad}, &Compression{}); err != errExtensionSyntax {
			t.Errorf("%q as an answer: %v", bad, err)
		}
	}
	for _, good := range []string{"foo", "foo,", ",foo", "foo , bar;a;b=c;d=\"e\"", "a!#$%&'*+-.^_`|~b; 0=1"} {
		if err := checkExtensions([]string{good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	plain, takeover := &Compression{}, &Compression{ContextTakeover: true}
	narrow := &Compression{ContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 9}
	const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, row := range []struct {
		why    string
		c      *Compression
		answer string
		want   error
		params string // sendTakeover receiveTakeover sendBits receiveBits
	}{
		{"nothing was offered", nil, "permessage-deflate", errExtensionUnoffered, ""},
		{"another extension", plain, "foo", errExtensionUnoffered, ""},
		{"another extension besides", plain, both + ", foo", errExtensionUnoffered, ""},
		{"two answers", plain, both + ", " + both, errDeflateTwice, ""},
		{"agreed", plain, both, nil, "false false 15 15"},
		{"the client said that it does not take over", plain, "permessage-deflate; server_no_context_takeover", nil, "false false 15 15"},
		{"what was asked for is not repeated", plain, "permessage-deflate", errDeflateTakeover, ""},
		{"takeover", takeover, "permessage-deflate", nil, "true true 15 15"},
		{"the server does not take over, unasked", takeover, "permessage-deflate; server_no_context_takeover", nil, "true false 15 15"},
		{"the client must not take over", takeover, "permessage-deflate; client_no_context_takeover", nil, "false true 15 15"},
		{"a server window, unasked", takeover, "permessage-deflate; server_max_window_bits=8", nil, "true true 15 8"},
		{"a client window", takeover, "permessage-deflate; client_max_window_bits=8", nil, "true true 8 15"},
		{"a client window without a value", takeover, "permessage-deflate; client_max_window_bits", errDeflateNoValue, ""},
		{"the server window asked for", narrow, "permessage-deflate; server_max_window_bits=10", nil, "true true 9 10"},
		{"a smaller server window", narrow, "permessage-deflate; server_max_window_bits=8", nil, "true true 9 8"},
		{"a greater server window", narrow, "permessage-deflate; server_max_window_bits=11", errDeflateServerBits, ""},
		{"no server window", narrow, "permessage-deflate", errDeflateServerBits, ""},
		{"a greater client window than the client uses", narrow,
			"permessage-deflate; server_max_window_bits=10; client_max_window_bits=15", nil, "true true 9 10"},
		{"unknown parameter", takeover, "permessage-deflate; foo", errDeflateUnknown, ""},
		{"repeated parameter", takeover, "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", errDeflateRepeated, ""},
		{"flag with a value", takeover, "permessage-deflate; client_no_context_takeover=true", errDeflateValue, ""},
		{"bits out of range", takeover, "permessage-deflate; server_max_window_bits=16", errDeflateValue, ""},
	} {
		p, err := checkAnswer([]string{row.answer}, row.c)
		if err != row.want && !errors.Is(err, row.want) {
			t.Errorf("%s: %q gives %v, want %v", row.why, row.answer, err, row.want)
			continue
		}
		if (p == nil) != (row.want != nil) {
			t.Errorf("%s: params %+v with error %v", row.why, p, err)
			continue
		}
		if p == nil {
			continue
		}
		if got := fmt.Sprint(p.sendTakeover, p.receiveTakeover, p.sendBits, p.receiveBits); got != row.params {
			t.Errorf("%s: params %s, want %s", row.why, got, row.params)
		}
	}
	if p, err := checkAnswer(nil, plain); p != nil || err != nil {
		t.Errorf("no answer gives %+v, %v", p, err)
	}
}

func TestBothSidesAgreeOnTheSame(t *testing.T) {
	for _, c := range everyCompression() {
		for _, s := range everyCompression() {
			answer, server := acceptOffers([]string{c.offer()}, &s)
			if server == nil {
				t.Fatalf("%+v declines our own offer %q", s, c.offer())
			}
			client, err := checkAnswer([]string{answer}, &c)
			if err != nil {
				t.Fatalf("offer %q, answer %q: %v", c.offer(), answer, err)
			}
			if client.sendTakeover && !server.receiveTakeover || server.sendTakeover && !client.receiveTakeover ||
				client.sendBits > server.receiveBits || server.sendBits > client.receiveBits {
				t.Errorf("offer %q, answer %q: one end sends %+v, the other %+v", c.offer(), answer, client, server)
			}
		}
	}
}

func everyCompression() (all []Compression) {
	for _, takeover := range []bool{false, true} {
		for _, server := range []int{0, 8, 12, 15} {
			for _, client := range []int{0, 8, 11, 15} {
				all = append(all, Compression{ContextTakeover: takeover, ServerMaxWindowBits: server, ClientMaxWindowBits: client})
			}
		}
	}
	return all
}

func TestLevelAndThreshold(t *testing.T) {
	for _, row := range []struct {
		c                Compression
		level, threshold int
	}{
		{Compression{}, 1, 512},
		{Compression{ContextTakeover: true}, 2, 32},
		{Compression{Level: 9, Threshold: 7}, 9, 7},
		{Compression{Level: flate.HuffmanOnly, Threshold: -1}, flate.HuffmanOnly, -1},
		{Compression{Level: 10}, 1, 512},
		{Compression{Level: -3, ContextTakeover: true}, 2, 32},
	} {
		_, p := acceptOffers([]string{row.c.offer()}, &row.c)
		if p.level != row.level || p.threshold != row.threshold {
			t.Errorf("%+v: level %d and threshold %d, want %d and %d", row.c, p.level, p.threshold, row.level, row.threshold)
		}
	}
}

// A scanner that looks at octets twice for each that it has seen would take hours here.
func TestExtensionsAreParsedInLinearTime(t *testing.T) {
	const length = 1 << 20
	start := time.Now()
	for _, unit := range []string{
		`"`, `\`, ",", ";", " ", "\t", "a", "a;", "a,", "a;b=\"", `a;b="\`, ", ,", "permessage-deflate;", "permessage-deflate,",
		"permessage-deflate; server_max_window_bits=9,", "permessage-deflate; server_max_window_bits=\"",
	} {
		line := strings.Repeat(unit, length/len(unit))
		for _, s := range []string{line, "a;b=\"" + line, "a;b=\"" + line + "\"", "permessage-deflate;" + line, `a;b="` + strings.Repeat(`\`+unit, length/(1+len(unit)))} {
			_ = checkExtensions([]string{s})
			_, _ = acceptOffers([]string{s}, &Compression{})
		}
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// The examples of RFC 7692 section 7.2.3, and what comes near them.
func TestInflateExamples(t *testing.T) {
	hello := "f248cdc9c90700"
	for _, row := range []struct {
		why      string
		payloads string // of messages, one after the other, with context takeover
		want     []string
		err      error // of the last
	}{
		{"7.2.3.1 one block", hello, []string{"Hello"}, nil},
		{"7.2.3.2 the window is shared", hello + " f200110000", []string{"Hello", "Hello"}, nil},
		{"7.2.3.3 stored block", "000500faff48656c6c6f00", []string{"Hello"}, nil},
		{"7.2.3.4 BFINAL set", "f348cdc9c9070000", []string{"Hello"}, nil},
		{"7.2.3.5 two blocks", "f248050000 00ffffcac9c90700", nil, errDeflateTruncated},
		{"7.2.3.5 two blocks", "f24805000000ffffcac9c90700", []string{"Hello"}, nil},
		{"7.2.3.6 empty", "00", []string{""}, nil},
		{"empty, between others", hello + " 00 f200110000", []string{"Hello", "", "Hello"}, nil},
		{"empty fixed block", "0200", []string{""}, nil},
		{"empty stored block with BFINAL set", "01", []string{""}, nil},
		{"the window lives on behind BFINAL", "f348cdc9c90700f200110000", []string{"HelloHello"}, nil},
		{"and behind the message", hello + " 0300f200110000", []string{"Hello", "Hello"}, nil},
		{"many final blocks", strings.Repeat("0300", 100) + "00", []string{""}, nil},

		{"no octet at all", "-", nil, errDeflateTruncated},
		{"ends with a final block", "f348cdc9c90700", nil, errDeflateTruncated},
		{"ends inside a fixed block", "f248cdc9", nil, errDeflateTruncated},
		{"ends inside a stored block", "000500faff48656c6c6f", nil, errDeflateTruncated},
		{"ends four octets early in a stored block", "000500faff48", nil, errDeflateTruncated},
		{"ends inside a stored block's length", "000500fa", nil, errDeflateTruncated},
		{"ends inside a dynamic block's header", "04c0", nil, errDeflateTruncated},
		{"reserved block type", "0600", nil, errDeflateCorrupt},
		{"length and complement differ", "000500faff48656c6c6f0005000000", nil, errDeflateCorrupt},
		{"distance beyond the window", "f200110000", nil, errDeflateCorrupt},
		{"the tail was sent", hello + "0000ffff", nil, errDeflateTruncated},
	} {
		t.Run(row.why, func(t *testing.T) {
			for size := 1; size < 20; size++ {
				f := newInflater(&deflateParams{receiveTakeover: true, receiveBits: 15})
				payloads := strings.Fields(row.payloads)
				for i, s := range payloads {
					payload, err := hex.DecodeString(strings.Trim(s, "-"))
					if err != nil {
						t.Fatal(err)
					}
					got, err := inflateInPieces(f, payload, size)
					if i < len(row.want) && (err != nil || string(got) != row.want[i]) {
						t.Fatalf("message %d in pieces of %d octets: %q, %v", i, size, got, err)
					}
					if i >= len(row.want) && err != row.err {
						t.Fatalf("message %d in pieces of %d octets: %v, want %v", i, size, err, row.err)
					}
					if err != nil {
						break
					}
				}
			}
		})
	}
}

// Behind a final block the window is that of the message and of those before it.
func TestWindowBehindFinalBlocks(t *testing.T) {
	f := newInflater(&deflateParams{receiveTakeover: true, receiveBits: 15})
	for _, row := range []struct{ payload, want, window string }{
		{"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", "Hello"},
		{"\x03\x00\x03\x00\xf2\x00\x11\x00\x00", "Hello", "HelloHello"},
		{"\x03\x00\xf2\x00\x11\x00\x00", "Hello", "HelloHelloHello"},
		{"\x00\x01\x00\xfe\xff!\x03\x00\x00", "!", "HelloHelloHello!"},
	} {
		// What another message has left behind must not show.
		_, _ = inflateInPieces(newInflater(f.p), deflated(&deflateParams{sendBits: 15, level: 1}, strings.Repeat("x", 1000)), 0)
		got, err := inflateInPieces(f, []byte(row.payload), 0)
		if err != nil || string(got) != row.want || string(f.window) != row.window {
			t.Errorf("%x: %q and %v, window %q, want %q and %q", row.payload, got, err, f.window, row.want, row.window)
		}
	}
	for _, n := range []int{20_000, 40_000} {
		first := sample("text", n)
		_, _ = inflateInPieces(f, deflated(&deflateParams{sendBits: 15, level: 1}, string(first)), 0)
		if _, err := inflateInPieces(f, []byte("\x00\x01\x00\xfe\xff!\x03\x00\x03\x00\x00"), 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(f.window, append(first[max(0, n-maxWindow+1):], '!')) {
			t.Errorf("behind %d octets the window is another one", n)
		}
	}
}

// inflateInPieces feeds a payload in pieces of at most size octets; size 0 is all at once.
func inflateInPieces(f *inflater, payload []byte, size int) ([]byte, error) {
	if size == 0 {
		size = max(1, len(payload))
	}
	var got []byte
	var buf [3000]byte
	for fed := false; ; fed = true {
		n, err := f.read(buf[:])
		got = append(got, buf[:n]...)
		switch {
		case err == nil && n == 0:
			return nil, errors.New("read gave neither octets nor an error")
		case err == nil:
		case err == io.EOF:
			return got, nil
		case err != errMoreInput:
			return nil, err
		case fed && len(payload) == 0:
			return nil, errors.New("asks for input behind the end")
		default:
			n := min(size, len(payload))
			f.feed(slices.Clone(payload[:n]), n == len(payload))
			payload = payload[n:]
		}
	}
}

// kinds are the kinds of messages that sample makes.
var kinds = []string{"zero", "random", "text", "json"}

// sample is a message of n octets, always the same one.
func sample(kind string, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7692))
	b := make([]byte, 0, n+100)
	switch kind {
	case "zero":
		return b[:n]
	case "random":
		for len(b) < n {
			b = append(b, byte(r.Uint32()))
		}
	case "text":
		words := strings.Fields("the quick brown fox jumps over a lazy dog and every message of this connection is as short as it is dull")
		for len(b) < n {
			b = append(append(b, words[r.IntN(len(words))]...), ' ')
		}
	case "json":
		for i := 0; len(b) < n; i++ {
			b = fmt.Appendf(b, `{"id":%d,"user":"u%x","price":%.2f,"tags":["a","b"],"ok":%t},`, i, r.Uint32(), r.Float64()*100, i%3 == 0)
		}
	}
	return b[:n]
}

// pair is the two ends of one direction, and a slow reference that has seen the same.
type pair struct {
	d       *deflater
	f       *inflater
	p       *deflateParams
	history []byte // what the reference has inflated, with takeover
}

func newPair(takeover bool, bits, level int) *pair {
	p := &deflateParams{sendTakeover: takeover, receiveTakeover: takeover, sendBits: bits, receiveBits: bits, level: level}
	return &pair{d: newDeflater(p), f: newInflater(p), p: p}
}

// window is how far a match may reach back.
func (p *pair) window() int { return 1 << p.p.sendBits }

// check inflates a payload in pieces and by the references, and wants msg from all.
func (p *pair) check(t *testing.T, payload, msg []byte, size int) {
	t.Helper()
	p.f.patient = !p.f.patient
	got, err := inflateInPieces(p.f, payload, size)
	if err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("%d octets in pieces of %d: %d octets and %v", len(msg), size, len(got), err)
	}
	dict := p.history[max(0, len(p.history)-p.window()):]
	got, err = io.ReadAll(flate.NewReaderDict(strings.NewReader(string(payload)+flushTail+"\x01\x00\x00\xff\xff"), dict))
	if err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("%d octets: compress/flate gives %d octets and %v", len(msg), len(got), err)
	}
	if len(msg) <= 70_000 {
		got, err = naiveInflate(payload, p.history, p.window())
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("%d octets: the naive twin gives %d octets and %v", len(msg), len(got), err)
		}
	}
	if p.p.sendTakeover {
		p.history = append(p.history, msg...)
		p.history = slices.Clone(p.history[max(0, len(p.history)-maxWindow):])
	}
}

func TestRoundTripUnderEveryParameterSet(t *testing.T) {
	sizes := []int{0, 1, 2, 15, 16, 17, 100, 127, 128, 255, 256, 257, 600, 4096, 4097, 32767, 32768, 32769, 65535, 65536}
	for _, takeover := range []bool{false, true} {
		for bits := minWindowBits; bits <= maxWindowBits; bits++ {
			for _, level := range []int{flate.HuffmanOnly, 1, 2, 9} {
				if raceEnabled && (level != 2 || bits%7 != 1) {
					continue // which goroutines there are does not depend on that
				}
				t.Run(fmt.Sprintf("takeover=%t/bits=%d/level=%d", takeover, bits, level), func(t *testing.T) {
					t.Parallel()
					p := newPair(takeover, bits, level)
					for i, n := range sizes {
						if n > 5000 && bits != 8 && bits != 11 && bits != 15 {
							continue
						}
						for _, kind := range kinds {
							msg := sample(kind, n)
							p.roundTrip(t, msg, []int{0, 1 + n/50, 100 + n/20, 5000}[i%4])
						}
					}
					if level == 2 && bits%3 == 0 {
						p.roundTrip(t, sample("json", 1<<20), 16<<10)
						p.roundTrip(t, sample("random", 1<<20), 0)
						p.roundTrip(t, sample("zero", 1<<20), 300)
					}
				})
			}
		}
	}
}

// roundTrip sends msg whole if that shrinks it, and then streamed.
func (p *pair) roundTrip(t *testing.T, msg []byte, size int) {
	t.Helper()
	prefix := []byte("prefix")
	out, ok := p.d.message(prefix, msg)
	switch {
	case !bytes.HasPrefix(out, prefix) || !ok && len(out) != len(prefix):
		t.Fatalf("%d octets: dst became %q", len(msg), out[:min(len(out), 100)])
	case ok && len(out)-len(prefix) >= len(msg):
		t.Fatalf("%d octets became %d", len(msg), len(out)-len(prefix))
	case ok:
		p.check(t, out[len(prefix):], msg, size)
	}
	var streamed []byte
	for rest := msg; len(rest) > 0; {
		n := min(len(rest), 1+len(msg)*2/5)
		streamed = p.d.write(streamed, rest[:n])
		rest = rest[n:]
	}
	p.check(t, p.d.end(streamed), msg, size)
}

func TestWhatShrinksIsSentCompressed(t *testing.T) {
	for _, row := range []struct {
		p    deflateParams
		msg  string
		want bool
	}{
		{deflateParams{sendBits: 15, level: 1, threshold: 512}, strings.Repeat("a", 511), false},
		{deflateParams{sendBits: 15, level: 1, threshold: 512}, strings.Repeat("a", 512), true},
		{deflateParams{sendBits: 15, level: 1, threshold: -1}, "", false},
		{deflateParams{sendBits: 15, level: 1, threshold: -1}, "abc", false},
		{deflateParams{sendBits: 15, level: 2, threshold: -1}, strings.Repeat("a", 20), true},
		{deflateParams{sendBits: 15, level: 9, threshold: -1}, string(sample("random", 100_000)), false},
	} {
		if out, ok := newDeflater(&row.p).message(nil, []byte(row.msg)); ok != row.want {
			t.Errorf("%+v: %d octets compressed: %t (%d octets)", row.p, len(row.msg), ok, len(out))
		}
	}
}

func TestNoMessageGrows(t *testing.T) {
	same := 0
	for _, level := range []int{1, 2} {
		for _, kind := range kinds {
			for n := 1; n < 200; n++ {
				p := &deflateParams{sendBits: 15, level: level, threshold: -1}
				msg := sample(kind, n)
				alone := len(newDeflater(p).write(nil, msg)) - len(flushTail)
				if alone == n {
					same++
				}
				if _, ok := newDeflater(p).message(nil, msg); ok != (alone < n) {
					t.Errorf("level %d: %d octets of %s compressed to %d: %t", level, n, kind, alone, ok)
				}
			}
		}
	}
	if same == 0 {
		t.Error("no message keeps its length")
	}
}

func TestTakeoverShrinksWhatCameBefore(t *testing.T) {
	msg := sample("json", 400)
	for bits := 9; bits <= maxWindowBits; bits++ {
		p := newPair(true, bits, 2)
		first, _ := p.d.message(nil, msg)
		p.check(t, first, msg, 0)
		second, ok := p.d.message(nil, msg)
		if !ok {
			t.Fatal("a repeated message did not shrink")
		}
		p.check(t, second, msg, 0)
		if fits := 2*len(msg) <= p.window(); fits != (len(second) < 20) {
			t.Errorf("bits %d: a repeated message of %d octets became %d", bits, len(msg), len(second))
		}
	}
}

func TestWithoutTakeoverNothingIsHeld(t *testing.T) {
	p := newPair(false, 15, 1)
	msg := sample("text", 100_000)
	for range 3 {
		p.roundTrip(t, msg, 0)
		if p.d.c != nil || p.f.m != nil || p.f.window != nil || p.f.turns != nil {
			t.Fatalf("held between messages: %+v %+v", p.d, p.f)
		}
	}
}

func TestSavedWindowIsNoGreaterThanAgreed(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		p := newPair(true, bits, 2)
		for _, n := range []int{10, 300, 5, 4096, 70_000, 1, 40_000} {
			p.roundTrip(t, sample("text", n), 0)
			if c := cap(p.f.window); c > p.window() {
				t.Errorf("bits %d: the window takes %d octets", bits, c)
			}
			if want := p.history[max(0, len(p.history)-p.window()):]; !bytes.Equal(p.f.window, want) {
				t.Fatalf("bits %d: the window of %d octets is not the end of what came", bits, len(p.f.window))
			}
		}
	}
}

// A message that was compressed and not sent must not be in the window of the next one.
func TestForgottenMessageIsNotReferredTo(t *testing.T) {
	text := sample("text", 3000)
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for _, level := range []int{1, 2, 9} {
			p := newPair(true, bits, level)
			p.roundTrip(t, []byte("something that the window holds"), 0)
			lose := []func(){
				func() { p.d.message(nil, text); p.d.forget() },
				func() { p.d.write(nil, text[:100]); p.d.forget() },
				func() {
					if _, ok := p.d.message(nil, sample("random", 1000)); ok {
						t.Fatal("random octets shrank")
					}
				},
				func() { p.d.forget(); p.d.forget() },
			}
			for _, f := range lose {
				f()
				p.roundTrip(t, text, 0)
			}
		}
	}
}

func TestStreamedOctetsArriveAsTheyAreWritten(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 15} {
			p := newPair(takeover, bits, 2)
			for range 3 {
				p.f.patient = false
				for _, n := range []int{1, 1000, 40_000, 3} {
					msg := sample("json", n)
					p.f.feed(p.d.write(nil, msg), false)
					got := make([]byte, n)
					for i := 0; i < n; {
						m, err := p.f.read(got[i:])
						if err != nil {
							t.Fatalf("%d octets written, after %d: %v", n, i, err)
						}
						i += m
					}
					if !bytes.Equal(got, msg) {
						t.Fatal("other octets")
					}
					if _, err := p.f.read(got); err != errMoreInput {
						t.Fatalf("behind what was written: %v", err)
					}
				}
				p.f.feed(p.d.end(p.d.write(nil, nil)), true)
				if _, err := p.f.read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("behind the end: %v", err)
				}
			}
		}
	}
}

// Every piece of a message's payload that is not all of it either ends where a sender may end a message, or is refused.
func TestEveryCutIsNoticed(t *testing.T) {
	for _, level := range []int{flate.HuffmanOnly, 1, 2, 9} {
		for _, n := range []int{1, 10, 100, 700, 33_000} {
			if raceEnabled && n > 100 {
				continue
			}
			for _, kind := range kinds {
				msg := sample(kind, n)
				d := newDeflater(&deflateParams{sendBits: 15, level: level})
				payload := d.end(d.write(nil, msg))
				step, ends := 1+len(payload)/50, 100 // of a long one, not every cut
				if n > 1000 {
					ends = 20
				}
				cuts := []int{}
				for i := 0; i < len(payload); i++ {
					if i%step == 0 || i < ends || len(payload)-i < ends {
						cuts = append(cuts, i)
					}
				}
				for _, cut := range cuts {
					want, wantErr := naiveInflate(payload[:cut], nil, maxWindow)
					for _, size := range []int{0, 1 + cut/3} {
						got, err := inflateInPieces(newInflater(&deflateParams{receiveBits: 15}), payload[:cut], size)
						if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
							t.Fatalf("%s, level %d: %d of %d octets in pieces of %d give %d octets and %v, want %d and %v",
								kind, level, cut, len(payload), size, len(got), err, len(want), wantErr)
						}
					}
				}
			}
		}
	}
}

// A stored block that is cut four octets before its end would end well if flushTail were its data, here just where
// compress/flate's window wraps.
func TestCutStoredBlockIsNoticed(t *testing.T) {
	msg := sample("random", maxWindow)
	d := newDeflater(&deflateParams{sendBits: 15, level: 1})
	payload := d.end(d.write(nil, msg))
	end := bytes.LastIndex(payload, msg[len(msg)-8:]) + 8
	if end < 8 {
		t.Fatal("random octets are not stored")
	}
	for cut := end - 20; cut <= end; cut++ {
		if got, err := inflateInPieces(newInflater(&deflateParams{receiveBits: 15}), payload[:cut], 0); err != errDeflateTruncated {
			t.Errorf("%d octets before the block's end: %d octets and %v", end-cut, len(got), err)
		}
	}
}

func TestEveryCompressFlateShowsWhereAMessageEnds(t *testing.T) {
	if !asksForLengthByRead() {
		t.Error("compress/flate takes a stored block's length by ReadByte: payloadSource can't tell a cut message from a whole one")
	}
}

func TestReadGivesNoMoreThanAskedFor(t *testing.T) {
	bomb, _ := newDeflater(&deflateParams{sendBits: 15, level: 9}).message(nil, make([]byte, 16<<20))
	f := newInflater(&deflateParams{receiveBits: 15})
	f.feed(bomb, true)
	total := 0
	for _, n := range []int{1, 2, 1000, 100_000, 0, 1} {
		got, err := f.read(make([]byte, n))
		if err != nil || got > n || got == 0 && n > 0 {
			t.Fatalf("read of %d octets: %d, %v", n, got, err)
		}
		total += got
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := f.read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("a read allocates %v times", allocs)
	}
	f.stop()
}

func TestSmallMessageInPiecesIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(false, 15, 1)
		p.f.patient = true
		payload, _ := p.d.message(nil, sample("json", 2000))
		for i := range payload[1:] {
			p.f.feed(payload[i:i+1], false)
			if n, err := p.f.read(make([]byte, 1)); err != errMoreInput || p.f.m != nil || p.f.turns != nil {
				t.Fatalf("after %d of %d octets: %d, %v, %+v", i+1, len(payload), n, err, p.f)
			}
		}
		p.f.feed(payload[len(payload)-1:], true)
		if n, err := p.f.read(make([]byte, 2001)); n != 2000 || err != nil || p.f.turns != nil {
			t.Errorf("%d octets, %v, goroutine %v", n, err, p.f.turns)
		}
		if _, err := p.f.read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		p.f.feed(payload[:100], false)
		p.f.patient = false
		if n, err := p.f.read(make([]byte, 2001)); n > 0 || err != errMoreInput || p.f.held != nil {
			t.Errorf("once a part is wanted: %d octets, %v, %d octets held", n, err, len(p.f.held))
		}
		p.f.stop()
	})
}

func TestPatienceEnds(t *testing.T) {
	p := newPair(false, 15, 1)
	p.f.patient = true
	payload := deflated(p.p, string(sample("random", 2*patience)))
	for i := 0; p.f.m == nil; i += 1000 {
		if i > patience {
			t.Fatalf("%d octets are held", len(p.f.held))
		}
		p.f.feed(payload[i:i+1000], false)
	}
	p.f.stop()
}

// In a bubble a goroutine that is left over fails the test.
func TestStopAnywhereLeavesNothing(t *testing.T) {
	msg := sample("json", 100_000)
	d := newDeflater(&deflateParams{sendBits: 15, level: 2})
	payload := d.end(d.write(nil, msg))
	for _, take := range []int{0, 1, 100, 40_000, 70_000} {
		for _, pieces := range []int{1, 2, 3, 20} {
			for fed := range pieces + 1 {
				synctest.Test(t, func(t *testing.T) {
					f := newInflater(&deflateParams{receiveBits: 15})
					f.patient = fed%2 == 1
					stopAfter(t, f, payload, pieces, fed, take)
					f.stop()
					if f.m != nil || f.turns != nil || f.held != nil {
						t.Errorf("held after stop: %+v", f)
					}
					f.stop()
				})
			}
		}
	}
}

// stopAfter feeds some of a payload's pieces and takes at most take octets of the message.
func stopAfter(t *testing.T, f *inflater, payload []byte, pieces, fed, take int) {
	for i := range fed {
		f.feed(payload[len(payload)*i/pieces:len(payload)*(i+1)/pieces], i == pieces-1)
		for {
			n, err := f.read(make([]byte, min(take, 1000)))
			take -= n
			if err == errMoreInput || err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if take == 0 {
				return
			}
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	msg := bytes.Repeat([]byte("abcd efgh "), 100)
	for _, takeover := range []bool{true, false} {
		for _, bits := range []int{10, 15} {
			p := newPair(takeover, bits, 2)
			buf, in := make([]byte, 0, 2000), make([]byte, 2000)
			allocs := testing.AllocsPerRun(200, func() {
				out, _ := p.d.message(buf, msg)
				p.f.feed(out, true)
				for {
					if _, err := p.f.read(in); err == io.EOF {
						return
					} else if err != nil {
						t.Fatal(err)
					}
				}
			})
			// The race detector empties pools at random.
			if allocs > 0 && !raceEnabled {
				t.Errorf("takeover %t, bits %d: a message costs %v allocations", takeover, bits, allocs)
			}
		}
	}
}

// zlibCase is a payload for node's zlib, whose window is as small as was agreed.
type zlibCase struct {
	Name          string
	Bits          int
	Dict, In, Out string // base64; Dict is the window before the message
}

const zlibScript = `
const zlib = require('node:zlib'), lines = require('node:fs').readFileSync(0, 'utf8').trim().split('\n');
for (const line of lines) {
	const c = JSON.parse(line), b = s => Buffer.from(s, 'base64');
	const options = {windowBits: c.Bits, finishFlush: zlib.constants.Z_SYNC_FLUSH};
	if (c.Dict) options.dictionary = b(c.Dict);
	try {
		if (!zlib.inflateRawSync(b(c.In), options).equals(b(c.Out))) console.log(c.Name + ': inflates to something else');
	} catch (e) {
		console.log(c.Name + ': ' + e.message);
	}
}
console.log(lines.length + ' payloads checked');
`

// inflateByZlib has all payloads inflated by node's zlib.
func inflateByZlib(t *testing.T, cases []zlibCase) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("node is not installed: what was compressed is not held against a real zlib")
	}
	cmd := exec.Command(node, "-e", zlibScript)
	var in bytes.Buffer
	for _, c := range cases {
		if err := json.NewEncoder(&in).Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("%d payloads checked\n", len(cases)); err != nil || string(out) != want {
		t.Errorf("node: %v\n%s", err, out)
	}
}

// newZlibCase is a payload that inflates to msg with a window that ends with history.
func newZlibCase(name string, bits int, history, payload, msg []byte) zlibCase {
	b64 := base64.StdEncoding.EncodeToString
	dict := history[max(0, len(history)-1<<bits):]
	return zlibCase{name, bits, b64(dict), b64([]byte(string(payload) + flushTail)), b64(msg)}
}

func TestZlibWithTheAgreedWindowInflatesAll(t *testing.T) {
	var cases []zlibCase
	for _, takeover := range []bool{false, true} {
		for bits := minWindowBits; bits <= maxWindowBits; bits++ {
			for _, level := range []int{1, 2, 9} {
				p := newPair(takeover, bits, level)
				for _, n := range []int{20, 300, 1, 0, 1000, 40_000, 20, 20, 5000} {
					for _, kind := range kinds {
						msg := sample(kind, n)
						payload, ok := p.d.message(nil, msg)
						if !ok {
							payload = p.d.end(p.d.write(nil, msg))
						}
						name := fmt.Sprintf("takeover %t, bits %d, level %d, %d octets of %s", takeover, bits, level, n, kind)
						cases = append(cases, newZlibCase(name, bits, p.history, payload, msg))
						p.check(t, payload, msg, 0)
					}
				}
			}
		}
	}
	inflateByZlib(t, cases)
}
