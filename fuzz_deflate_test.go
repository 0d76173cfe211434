package websocket

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The grammar of RFC 6455 section 9.1 as an expression; a quoted-string must be a token once it is unquoted.
var extensionGrammar = func() *regexp.Regexp {
	const (
		blank     = `[ \t]*`
		token     = blank + "[!#$%&'*+.^_`|~0-9A-Za-z-]+" + blank
		quoted    = blank + "\"(?:[\\\\]?[!#$%&'*+.^_`|~0-9A-Za-z-])+\"" + blank
		extension = token + `(?:;` + token + `(?:=(?:` + token + `|` + quoted + `))?)*`
		element   = `(?:` + extension + `|` + blank + `)`
	)
	return regexp.MustCompile(`^` + element + `(?:,` + element + `)*$`)
}()

// naiveTerms is a twin of acceptOffers' reading: the parameters of each offer of permessage-deflate that is in order,
// for lines that keep the grammar.
func naiveTerms(line string) (all []map[string]string, ok bool) {
	if !extensionGrammar.MatchString(line) || strings.Trim(line, " \t,") == "" {
		return nil, false
	}
	for _, element := range strings.Split(strings.NewReplacer(`"`, "", `\`, "").Replace(line), ",") {
		parts := strings.Split(element, ";")
		if strings.Trim(parts[0], " \t") != "permessage-deflate" {
			continue
		}
		terms := make(map[string]string)
		for _, part := range parts[1:] {
			name, value, hasValue := strings.Cut(part, "=")
			name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
			bits, err := strconv.Atoi(value)
			_, repeated := terms[name]
			good := err == nil && bits >= 8 && bits <= 15 && strconv.Itoa(bits) == value
			switch name {
			case "server_no_context_takeover", "client_no_context_takeover":
				good = !hasValue
			case "client_max_window_bits":
				good = good || !hasValue
			case "server_max_window_bits":
			default:
				good = false
			}
			if repeated || !good {
				terms = nil
				break
			}
			terms[name] = value
		}
		if terms != nil {
			all = append(all, terms)
		}
	}
	return all, true
}

func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "foo; a=\"b\\c\", permessage-deflate; server_max_window_bits=\"1\\0\"",
		"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_no_context_takeover;client_max_window_bits=9,,",
		"permessage-deflate; client_max_window_bits; client_max_window_bits", `a;b="`, ";", `a;b="\"`,
	} {
		f.Add(s, true, 0, 0)
		f.Add(s, false, 9, 10)
	}
	f.Fuzz(func(t *testing.T, line string, takeover bool, serverBits, clientBits int) {
		c := &Compression{ContextTakeover: takeover, ServerMaxWindowBits: serverBits, ClientMaxWindowBits: clientBits}
		offers, ok := naiveTerms(line)
		if err := checkExtensions([]string{line}); ok != (err == nil) {
			t.Fatalf("%q: %v", line, err)
		}
		answer, p := acceptOffers([]string{line}, c)
		if (p != nil) != (len(offers) > 0) {
			t.Fatalf("%q has %d good offers, answered by %q", line, len(offers), answer)
		}
		if p != nil {
			checkLegalAnswer(t, offers[0], answer, p)
		}
		if p, err := checkAnswer([]string{line}, c); err == nil && (p.sendBits > windowBits(clientBits) || p.receiveBits > windowBits(serverBits) ||
			!takeover && (p.sendTakeover || p.receiveTakeover)) {
			t.Fatalf("%+v takes the answer %q as %+v", c, line, p)
		}
	})
}

// checkLegalAnswer holds a server's answer against the offer (RFC 7692 section 7.1).
func checkLegalAnswer(t *testing.T, offer map[string]string, answer string, p *deflateParams) {
	t.Helper()
	answers, ok := naiveTerms(answer)
	if !ok || len(answers) != 1 {
		t.Fatalf("malformed answer %q", answer)
	}
	terms := answers[0]
	has := func(terms map[string]string, name string) bool { _, ok := terms[name]; return ok }
	bits := func(terms map[string]string, name string) int {
		if n, err := strconv.Atoi(terms[name]); err == nil {
			return n
		}
		return 15
	}
	switch {
	case has(offer, "server_no_context_takeover") && !has(terms, "server_no_context_takeover"):
		t.Fatalf("offer %v, answer %q: server_no_context_takeover is not repeated (7.1.1.1)", offer, answer)
	case has(offer, "server_max_window_bits") && !has(terms, "server_max_window_bits"):
		t.Fatalf("offer %v, answer %q: server_max_window_bits is not answered (7.1.2.1)", offer, answer)
	case bits(terms, "server_max_window_bits") > bits(offer, "server_max_window_bits"):
		t.Fatalf("offer %v, answer %q: a greater window than was asked for (7.1.2.1)", offer, answer)
	case has(terms, "client_max_window_bits") && (!has(offer, "client_max_window_bits") || terms["client_max_window_bits"] == ""):
		t.Fatalf("offer %v, answer %q: client_max_window_bits where it has no business (7.1.2.2)", offer, answer)
	case p.sendTakeover == has(terms, "server_no_context_takeover"), p.receiveTakeover == has(terms, "client_no_context_takeover"),
		p.sendBits != bits(terms, "server_max_window_bits"), p.receiveBits != bits(terms, "client_max_window_bits"):
		t.Fatalf("answer %q is not what is done: %+v", answer, p)
	}
}

func FuzzDeflateRoundTrip(f *testing.F) {
	for bits := byte(8); bits <= 15; bits++ {
		f.Add([]byte("hello hello hello hello"), []byte("hello again"), bits%2 == 0, bits, bits%4, uint16(bits))
	}
	f.Add(sample("json", 5000), sample("json", 3000), true, byte(10), byte(2), uint16(100))
	f.Add(sample("random", 5000), make([]byte, 70_000), true, byte(9), byte(1), uint16(0))
	f.Fuzz(func(t *testing.T, a, b []byte, takeover bool, bits, level byte, size uint16) {
		p := newPair(takeover, 8+int(bits%8), []int{-2, 1, 2, 6, 9}[level%5])
		for _, msg := range [][]byte{a, b, a, nil, b} {
			p.roundTrip(t, msg, int(size))
		}
	})
}

func FuzzInflate(f *testing.F) {
	for _, kind := range kinds {
		msg := sample(kind, 600)
		d := newDeflater(&deflateParams{sendBits: 15, level: 9, sendTakeover: true})
		f.Add(d.end(d.write(nil, msg)), d.end(d.write(nil, msg)), uint16(0))
		f.Add(d.end(d.write(d.write(nil, msg[:100]), msg[100:])), []byte{0}, uint16(7))
	}
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"), []byte("\x03\x00\xf2\x00\x11\x00\x00"), uint16(1))
	f.Add([]byte("\x00\x05\x00\xfa\xffHello\x00"), []byte("\x00\x05\x00\xfa\xffH"), uint16(3))
	f.Fuzz(func(t *testing.T, a, b []byte, size uint16) {
		in := newInflater(&deflateParams{receiveTakeover: true, receiveBits: 15})
		var history []byte
		for _, payload := range [][]byte{a, b, a} {
			payload = payload[:min(len(payload), 2000)]
			want, wantErr := naiveInflate(payload, history, maxWindow)
			in.patient = size%2 == 1
			got, err := inflateInPieces(in, payload, int(size))
			if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
				t.Fatalf("%x: %d octets and %v, want %d and %v", payload, len(got), err, len(want), wantErr)
			}
			if err != nil {
				if err != errDeflateCorrupt && err != errDeflateTruncated {
					t.Fatalf("%x: %v", payload, err)
				}
				return
			}
			history = append(history, got...)
		}
	})
}
