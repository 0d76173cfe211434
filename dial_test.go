package websocket

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestMakeRequest(t *testing.T) {
	for _, row := range []struct {
		id, url string
		want    string // URL that HTTP is given, or the rule that is not kept
		ok      bool
	}{
		{"3-1", "ws://example.com/chat?x=1", "http://example.com/chat?x=1", true},
		{"3-1", "wss://example.com:8443/", "https://example.com:8443/", true},
		{"3-2", "WSS://example.com", "https://example.com", true},
		{"3", "http://example.com/", "http://example.com/", true},
		{"3", "https://example.com/", "https://example.com/", true},
		{"3", "ws://[::1]:8080/", "http://[::1]:8080/", true},
		{"4.1-21", "ws://[::1]:80/", "http://[::1]/", true},
		{"4.1-21", "ws://[::1]/", "http://[::1]/", true},
		{"4.1-21", "wss://example.com:443/", "https://example.com/", true},
		{"4.1-21", "wss://example.com:80/", "https://example.com:80/", true},
		{"3", "ws://user:secret@example.com/", "http://user:secret@example.com/", true},
		{"3-6", "ws://example.com/%23", "http://example.com/%23", true},
		{"3-5", "ws://example.com/#top", "fragment", false},
		{"3-5", "ws://example.com/#", "fragment", false},
		{"4.1-1", "example.com/chat", "without a host", false},
		{"4.1-1", "ws:///chat", "without a host", false},
		{"4.1-1", "ws://:80/chat", "without a host", false},
		{"4.1-1", "ftp://example.com/", `scheme "ftp"`, false},
		{"4.1-1", "//example.com/", `scheme ""`, false},
		{"4.1-1", "ws://example.com:port/", "port", false},
		{"4.1-1", "ws://user:secret/1@example.com/", "URL: invalid port (", false},
		{"4.1-1", "ws://exa mple.com/", "URL", false},
		{"4.1-1", "ws://exa<mple.com/", `"exa<mple.com" is not a host`, false},
		{"4.1-1", "ws://exa%25<mple.com/", `"exa%<mple.com" is not a host`, false},
		{"3", "ws://[fe80::1%25Ethernet%202]/", "http://[fe80::1%25Ethernet%202]/", true},
		{"4.1-1", "ws://example.com/\r\nX: y", "URL", false},
		{"4.1-1", "", "without a host", false},
	} {
		req, refusal := makeRequest(row.url, "key", noOptions)
		switch {
		case !row.ok && (refusal == nil || !strings.Contains(refusal.Error(), row.want)):
			t.Errorf("%s: %q: got %v, want %q", row.id, row.url, refusal, row.want)
		case row.ok && (refusal != nil || req.URL.String() != row.want):
			t.Errorf("%s: %q: got %v and %v, want %q", row.id, row.url, req, refusal, row.want)
		}
	}
}

func TestRequestOnTheWire(t *testing.T) {
	req, refusal := makeRequest("ws://example.com/chat", "dGhlIHNhbXBsZSBub25jZQ==", &Options{
		Subprotocols: []string{"chat", "superchat"},
		Header:       http.Header{"Origin": {"http://example.com"}, "User-Agent": {"test"}},
		Host:         "other.example",
	})
	if refusal != nil {
		t.Fatal(refusal)
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		t.Fatal(err)
	}
	const want = "GET /chat HTTP/1.1\r\nHost: other.example\r\nUser-Agent: test\r\nConnection: Upgrade\r\nOrigin: http://example.com\r\n" +
		"Sec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Websocket-Protocol: chat, superchat\r\nSec-Websocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
	if b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}

// A zone has a meaning on this machine only, and stays here (RFC 6874 section 4), whatever its name.
func TestZoneIsNotSent(t *testing.T) {
	for url, want := range map[string]string{
		"ws://[fe80::1%25Ethernet%202]/":      "[fe80::1]",
		"ws://[fe80::1%25Ethernet%202]:8080/": "[fe80::1]:8080",
		"ws://[fe80::1%25eth0]:8080/":         "[fe80::1]:8080",
		"ws://[::1]:8080/":                    "[::1]:8080",
	} {
		req, refusal := makeRequest(url, "key", noOptions)
		if refusal != nil {
			t.Fatal(refusal)
		}
		var b bytes.Buffer
		if err := req.Write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "\r\nHost: "+want+"\r\n") {
			t.Errorf("%s: got %q, want Host: %s", url, b.String(), want)
		}
	}
}

// What a client asks for is what a server takes.
func TestOurRequestPassesOurJudge(t *testing.T) {
	o := &Options{Subprotocols: []string{"a", "b"}, Compression: &Compression{}}
	key := newKey()
	req, refusal := makeRequest("wss://example.com/", key, o)
	if refusal != nil {
		t.Fatal(refusal)
	}
	req.Host = req.URL.Host
	a, refusal := judgeRequest(req, o)
	if refusal != nil || a.key != key || a.subprotocol != "a" || a.deflate == nil {
		t.Errorf("got %+v and %v, want everything that was offered", a, refusal)
	}
}

func TestOptionsAreNotChanged(t *testing.T) {
	o := &Options{Header: http.Header{"X-A": {"b"}}}
	if _, refusal := makeRequest("ws://example.com/", "key", o); refusal != nil {
		t.Fatal(refusal)
	}
	if want := (http.Header{"X-A": {"b"}}); !reflect.DeepEqual(o.Header, want) {
		t.Errorf("got %v, want %v", o.Header, want)
	}
}

func TestSubprotocolsMustBeOfferable(t *testing.T) {
	for _, protocols := range [][]string{{""}, {"a b"}, {"a,b"}, {"a", "b", "a"}, {"ä"}, {"a\r\nX: b"}} {
		if _, refusal := makeRequest("ws://example.com/", "key", &Options{Subprotocols: protocols}); refusal == nil || refusal.Section != "4.1" {
			t.Errorf("%q: got %v, want a breach of 4.1", protocols, refusal)
		}
	}
}

// What net/http does not take for a host it would leave out: the request would go to whatever host is the default.
func TestHostMustBeAHost(t *testing.T) {
	for _, host := range []string{"exa mple.com", "http://example.com", "example.com/", "user@example.com", "example.com\r\nX: b", "bücher example"} {
		if _, refusal := makeRequest("ws://example.com/", "key", &Options{Host: host}); refusal == nil || refusal.Section != "4.1" {
			t.Errorf("%q: got %v, want a breach of 4.1", host, refusal)
		}
	}
	for _, host := range []string{"", "example.com:8080", "[::1]:80", "bücher.example"} {
		if _, refusal := makeRequest("ws://example.com/", "key", &Options{Host: host}); refusal != nil {
			t.Errorf("%q: got %v, want a request", host, refusal)
		}
	}
	for c := range utf8.RuneSelf { // nothing else is refused than what net/http leaves out
		host, b := string(rune(c)), new(bytes.Buffer)
		req := &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: "/"}}
		if err := req.Write(b); err != nil || strings.Contains(b.String(), "\r\nHost: \r\n") == isHost(host) {
			t.Errorf("isHost(%q) is %v, net/http sends %q (%v)", host, isHost(host), b, err)
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		key := newKey()
		if b, err := base64.StdEncoding.DecodeString(key); err != nil || len(b) != 16 {
			t.Fatalf("%q is not 16 octets in base64", key)
		}
		seen[key] = true
	}
	if len(seen) != 1000 {
		t.Errorf("got %d different keys of 1000", len(seen))
	}
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// sampleResponse is the response of RFC 6455 section 1.3, without its subprotocol.
func sampleResponse() *http.Response {
	return &http.Response{
		Status: "101 Switching Protocols", StatusCode: 101, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Upgrade":              {"websocket"},
			"Connection":           {"Upgrade"},
			"Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		},
	}
}

func TestJudgeResponse(t *testing.T) {
	set := func(name string, values ...string) func(*http.Response) {
		return func(r *http.Response) { r.Header[name] = values }
	}
	remove := func(name string) func(*http.Response) {
		return func(r *http.Response) { delete(r.Header, name) }
	}
	status := func(code int) func(*http.Response) {
		return func(r *http.Response) { r.StatusCode = code }
	}
	for _, row := range []struct {
		id, why string
		change  func(*http.Response)
		section string // of the rule that is not kept; "" for accepted
	}{
		{"4.1", "the example", func(*http.Response) {}, ""},
		{"4.1-v1", "200 is not 101", status(200), "4.1"},
		{"4.1-v1", "401 is not 101", status(401), "4.1"},
		{"4.1-v1", "100 is not 101", status(100), "4.1"},
		{"4.1", "HTTP/1.0 has no Upgrade", func(r *http.Response) { r.ProtoMinor = 0 }, "4.1"},
		{"4.1", "nor has what is older", func(r *http.Response) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/0.9", 0, 9 }, "4.1"},
		{"4.1-v2", "Upgrade must be there", remove("Upgrade"), "4.1"},
		{"4.1-v2", "Upgrade must be websocket", set("Upgrade", "h2c"), "4.1"},
		{"4.1-v2", "Upgrade must be websocket and nothing else", set("Upgrade", "websocket, h2c"), "4.1"},
		{"4.1-v2", "Upgrade must be websocket and nothing else", set("Upgrade", "websocket", "h2c"), "4.1"},
		{"4.1-v2", "case does not matter", set("Upgrade", "WebSocket"), ""},
		{"4.1-v3", "Connection must be there", remove("Connection"), "4.1"},
		{"4.1-v3", "Connection must name Upgrade", set("Connection", "keep-alive"), "4.1"},
		{"4.1-v3", "a substring is not a token", set("Connection", "upgraded"), "4.1"},
		{"4.1-v3", "one of a list will do", set("Connection", "keep-alive, upgrade"), ""},
		{"4.1-v4", "Accept must be there", remove("Sec-Websocket-Accept"), "4.1"},
		{"4.1-v4", "Accept must not be empty", set("Sec-Websocket-Accept", ""), "4.1"},
		{"4.1-v4", "Accept is not the key", set("Sec-Websocket-Accept", sampleKey), "4.1"},
		{"4.1-v4", "Accept answers our key", set("Sec-Websocket-Accept", AcceptKey("x3JJHMbDL1EzLkh9GBhXDw==")), "4.1"},
		{"4.1-v4", "case matters", set("Sec-Websocket-Accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "4.1"},
		{"11.3.3", "Accept must not appear twice", set("Sec-Websocket-Accept", AcceptKey(sampleKey), AcceptKey(sampleKey)), "4.1"},
		{"4.1-v6", "a subprotocol that was offered", set("Sec-Websocket-Protocol", "chat"), ""},
		{"4.1-v6", "a subprotocol that was not offered", set("Sec-Websocket-Protocol", "mqtt"), "4.1"},
		{"4.1-v6", "one in another case was not offered", set("Sec-Websocket-Protocol", "Chat"), "4.1"},
		{"4.1-v6", "one, not a list", set("Sec-Websocket-Protocol", "chat, superchat"), "4.1"},
		{"4.2.2", "the empty string is not none", set("Sec-Websocket-Protocol", ""), "4.1"},
		{"11.3.4", "one header", set("Sec-Websocket-Protocol", "chat", "chat"), "11.3.4"},
		{"11.3.2", "one header", set("Sec-Websocket-Extensions", "a", "b"), "11.3.2"},
	} {
		resp := sampleResponse()
		row.change(resp)
		_, refusal := judgeResponse(resp, sampleKey, &Options{Subprotocols: []string{"chat", "superchat"}})
		section := ""
		if refusal != nil {
			section = refusal.Section
			if refusal.Status != resp.StatusCode {
				t.Errorf("%s: %s: got status %d in the error, want %d", row.id, row.why, refusal.Status, resp.StatusCode)
			}
		}
		if section != row.section {
			t.Errorf("%s: %s: got %v, want section %q", row.id, row.why, refusal, row.section)
		}
	}
}

func TestExtensionThatWasNotOfferedFailsTheDial(t *testing.T) {
	for _, answer := range []string{"permessage-deflate", "x-unknown", "permessage-deflate; x=1"} {
		resp := sampleResponse()
		resp.Header["Sec-Websocket-Extensions"] = []string{answer}
		if _, refusal := judgeResponse(resp, sampleKey, noOptions); refusal == nil || refusal.Status != 101 || refusal.Section == "" {
			t.Errorf("%q: got %v, want a *HandshakeError with a section", answer, refusal)
		}
	}
}

func TestExtensionParameterThatWasNotOfferedFailsTheDial(t *testing.T) {
	for _, answer := range []string{"permessage-deflate; unknown", "x-webkit-deflate-frame", "permessage-deflate, permessage-deflate", ";"} {
		resp := sampleResponse()
		resp.Header["Sec-Websocket-Extensions"] = []string{answer}
		if _, refusal := judgeResponse(resp, sampleKey, &Options{Compression: &Compression{}}); refusal == nil || refusal.Section == "" {
			t.Errorf("%q: got %v, want a *HandshakeError with a section", answer, refusal)
		}
	}
}

func TestClientLearnsSubprotocol(t *testing.T) {
	resp := sampleResponse()
	resp.Header["Sec-Websocket-Protocol"] = []string{"superchat"}
	a, refusal := judgeResponse(resp, sampleKey, &Options{Subprotocols: []string{"chat", "superchat"}})
	if refusal != nil || a.subprotocol != "superchat" {
		t.Errorf("got %q and %v, want superchat", a.subprotocol, refusal)
	}
}

// dialContext is the context of a test's Dial.
func dialContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// wsURL is the ws or wss URL of a test server.
func wsURL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// wantEcho sends a message and wants it back.
func wantEcho(t *testing.T, c *Conn) {
	t.Helper()
	ctx := dialContext(t)
	if err := c.Write(ctx, Text, []byte("Hello")); err != nil {
		t.Fatalf("Write: %v", err)
	}
	typ, p, err := c.Read(ctx)
	if err != nil || typ != Text || string(p) != "Hello" {
		t.Fatalf("Read: got %v %q %v, want Hello back", typ, p, err)
	}
}

func TestDial(t *testing.T) {
	o := &Options{Subprotocols: []string{"b", "a"}}
	for name, start := range map[string]func(http.Handler) *httptest.Server{"ws": httptest.NewServer, "wss": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			s := start(echoOnce(o))
			defer s.Close()
			c, resp, err := Dial(dialContext(t), wsURL(s), &Options{Subprotocols: []string{"a", "b"}, HTTPClient: s.Client(), KeepAlive: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if resp.StatusCode != 101 || c.Subprotocol() != "b" {
				t.Errorf("got status %d and subprotocol %q, want 101 and b", resp.StatusCode, c.Subprotocol())
			}
			if resp.Body != http.NoBody {
				t.Error("the connection can be reached through the response")
			}
			wantEcho(t, c)
		})
	}
}

// evilServer answers every connection with what script writes, once it has read a request's header.
func evilServer(t *testing.T, script func(conn net.Conn, key string)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	conns := []io.Closer{l}
	t.Cleanup(func() { // also what net/http has opened for a dial that was given up
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					script(conn, r.Header.Get("Sec-WebSocket-Key"))
				}
			}()
		}
	}()
	return "ws://" + l.Addr().String()
}

// answer101 is a right answer to key, with further header lines.
func answer101(key, more string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + AcceptKey(key) + "\r\n" + more + "\r\n"
}

// untilGone waits for the peer to close conn.
func untilGone(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestEvilServers(t *testing.T) {
	for _, row := range []struct {
		why    string
		script func(conn net.Conn, key string)
		status int    // of the *HandshakeError; 0 for any other error
		want   string // in the error
	}{
		{"a wrong Accept", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, answer101("x"+key, ""))
		}, 101, "Sec-WebSocket-Accept"},
		{"an extension that was not offered", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, answer101(key, "Sec-WebSocket-Extensions: permessage-deflate\r\n"))
		}, 101, "RFC"},
		{"a subprotocol that was not offered", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, answer101(key, "Sec-WebSocket-Protocol: chat\r\n"))
		}, 101, `"chat"`},
		{"101 without an upgrade", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		}, 101, "Upgrade"},
		{"an answer that ends in the header", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, answer101(key, "")[:50])
		}, 0, "EOF"},
		{"no answer", func(c net.Conn, key string) {}, 0, "EOF"},
		{"no HTTP", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n\r\n")
		}, 0, "malformed"},
		{"a header without end", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n")
			flood(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n")
		}, 0, "exceeded"},
		{"a header line without end", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nX: ")
			flood(c, strings.Repeat("a", 1000))
		}, 0, "exceeded"},
		{"a flood of 1xx", func(c net.Conn, key string) {
			flood(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 20))
		}, 0, "exceeded"},
		{"redirects in a circle", func(c net.Conn, key string) {
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}, 302, "10 redirects"},
	} {
		t.Run(row.why, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 64 << 10}}
			c, _, err := Dial(dialContext(t), evilServer(t, row.script), &Options{HTTPClient: client})
			if c != nil || err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			var refusal *HandshakeError
			if errors.As(err, &refusal) != (row.status != 0) || refusal != nil && refusal.Status != row.status {
				t.Errorf("got %#v, want status %d", err, row.status)
			}
		})
	}
}

// flood writes text until the peer has gone.
func flood(conn net.Conn, text string) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

func TestOctetsBehindTheAnswerAreFrames(t *testing.T) {
	for cut := 0; cut <= len(hello); cut++ {
		url := evilServer(t, func(c net.Conn, key string) {
			_, _ = io.WriteString(c, answer101(key, "")+hello[:cut])
			_, _ = io.WriteString(c, hello[cut:])
			untilGone(c)
		})
		c, _, err := Dial(dialContext(t), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(dialContext(t)); err != nil || string(p) != "Hello" {
			t.Errorf("%d octets behind the answer: got %q and %v, want Hello", cut, p, err)
		}
		c.CloseNow()
	}
}

// More than any buffer of http.Client holds, and over TLS, where octets wait in more than one place.
func TestManyOctetsBehindTheAnswerAreFrames(t *testing.T) {
	const messages = 20000
	for name, start := range map[string]func(http.Handler) *httptest.Server{"tcp": httptest.NewServer, "tls": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			s := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, answer101(r.Header.Get("Sec-WebSocket-Key"), "")+strings.Repeat(hello, messages))
				untilGone(conn)
			}))
			defer s.Close()
			c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			ctx := dialContext(t)
			for i := range messages {
				if _, p, err := c.Read(ctx); err != nil || string(p) != "Hello" {
					t.Fatalf("message %d: got %q and %v, want Hello", i, p, err)
				}
			}
		})
	}
}

func TestErrorBodyCanBeRead(t *testing.T) {
	for _, row := range []struct {
		why  string
		send int
		want int
	}{{"none", 0, 0}, {"short", 10, 10}, {"one KiB", 1024, 1024}, {"long", 1 << 20, 1024}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(bytes.Repeat([]byte("x"), row.send))
		}))
		c, resp, err := Dial(dialContext(t), wsURL(s), nil)
		var refusal *HandshakeError
		if c != nil || !errors.As(err, &refusal) || refusal.Status != 503 {
			t.Fatalf("%s: got %v, want a *HandshakeError with 503", row.why, err)
		}
		s.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(body) != row.want || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("%s: got %d octets, %v and %v, want %d octets and the header", row.why, len(body), err, resp.Header, row.want)
		}
	}
}

// The response that comes with an error says of its body what is true, so that it can be written to a log.
func TestResponseOfARefusalCanBeDumped(t *testing.T) {
	for why, handler := range map[string]http.HandlerFunc{
		"a long body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(make([]byte, 5000))
		},
		"a long body of unknown length": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5000)) },
		"a short body":                  http.NotFound,
		"redirects in a circle":         http.RedirectHandler("/", http.StatusFound).ServeHTTP,
	} {
		s := httptest.NewServer(handler)
		_, resp, err := Dial(dialContext(t), wsURL(s), nil)
		s.Close()
		if resp == nil {
			t.Fatalf("%s: got %v and no response", why, err)
		}
		if b, err := httputil.DumpResponse(resp, true); err != nil {
			t.Errorf("%s: got %v behind %q", why, err, b)
		}
	}
}

// The octets that have arrived are better than none, whatever becomes of the rest.
func TestErrorBodyThatDoesNotEnd(t *testing.T) {
	url := evilServer(t, func(c net.Conn, key string) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
		untilGone(c)
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &cancelOnRead{conn, 2, cancel}, err
	}}}
	_, resp, err := Dial(ctx, url, &Options{HTTPClient: client})
	var refusal *HandshakeError
	if !errors.As(err, &refusal) || refusal.Status != 200 {
		t.Fatalf("got %v, want a *HandshakeError with 200", err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "data: x\n\n" {
		t.Errorf("got %q and %v, want what was sent", body, err)
	}
}

func TestErrorBodyIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			body := io.MultiReader(strings.NewReader("data"), readerFunc(func([]byte) (int, error) {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}))
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
		})}
		start := time.Now()
		_, resp, err := Dial(context.Background(), "ws://example.com/", &Options{HTTPClient: client})
		var refusal *HandshakeError
		if !errors.As(err, &refusal) || refusal.Status != 200 || time.Since(start) != errorBodyTime {
			t.Fatalf("got %v after %v, want a *HandshakeError with 200 after %v", err, time.Since(start), errorBodyTime)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "data" {
			t.Errorf("got %q and %v, want what was sent", body, err)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// cancelOnRead is a connection whose nth Read ends a context.
type cancelOnRead struct {
	net.Conn
	n      int32
	cancel context.CancelFunc
}

func (c *cancelOnRead) Read(p []byte) (int, error) {
	if atomic.AddInt32(&c.n, -1) == 0 {
		c.cancel()
	}
	return c.Conn.Read(p)
}

func TestContextEndsADialAtAnyPoint(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	addr := silent.Addr().String()
	over := make(chan struct{}) // net/http goes on with a dial that nobody waits for
	t.Cleanup(func() { close(over) })
	blocked := func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over:
			return nil, net.ErrClosed
		}
	}
	slowBody := evilServer(t, func(c net.Conn, key string) {
		_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n")
		untilGone(c)
	})
	slowHeader := evilServer(t, func(c net.Conn, key string) {
		_, _ = io.WriteString(c, answer101(key, "")[:60])
		untilGone(c)
	})
	proxy := func(scheme string) *http.Transport {
		return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: addr})}
	}
	for _, row := range []struct {
		why       string
		url       string
		transport http.RoundTripper
	}{
		{"the name is not found", "ws://example.com/", &http.Transport{DialContext: (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: blocked}}).DialContext}},
		{"the connection does not open", "ws://example.com/", &http.Transport{DialContext: blocked}},
		{"the TLS handshake does not end", "wss://" + addr, &http.Transport{}},
		{"no response", "ws://" + addr, &http.Transport{}},
		{"half of a header", slowHeader, &http.Transport{}},
		{"no body", slowBody, &http.Transport{}},
		{"the proxy does not answer", "ws://example.com/", proxy("http")},
		{"the proxy does not answer in TLS", "ws://example.com/", proxy("https")},
		{"the socks5 proxy does not answer", "ws://example.com/", proxy("socks5")},
		{"a RoundTripper that waits", "ws://example.com/", roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})},
	} {
		for _, by := range []string{"context", "Timeout"} {
			t.Run(row.why+"/"+by, func(t *testing.T) {
				t.Parallel()
				client, ctx := &http.Client{Transport: row.transport}, context.Background()
				if by == "Timeout" {
					client.Timeout = 50 * time.Millisecond
				} else {
					bounded, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
					defer cancel()
					ctx = bounded
				}
				start := time.Now()
				c, _, err := Dial(ctx, row.url, &Options{HTTPClient: client})
				var refusal *HandshakeError
				if c != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &refusal) {
					t.Errorf("got %v, want context.DeadlineExceeded", err)
				}
				if refusal == nil && errors.Is(err, errClientTimeout) != (by == "Timeout") {
					t.Errorf("got %v, which does not say that it was the %s", err, by)
				}
				if d := time.Since(start); d > testTimeout/2 {
					t.Errorf("took %v", d)
				}
			})
		}
	}
}

func TestContextThatIsOverDialsNobody(t *testing.T) {
	cause := errors.New("nobody wants it")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	nobody := roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s was asked for", r.URL)
		return nil, net.ErrClosed
	})
	c, _, err := Dial(ctx, "ws://127.0.0.1/", &Options{HTTPClient: &http.Client{Transport: nobody}})
	if c != nil || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("got %v, want context.Canceled and its cause", err)
	}
}

// ctx bounds the dial and not the connection, and neither does the client's Timeout.
func TestConnectionOutlivesTheDial(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, _, err := Dial(ctx, wsURL(s), &Options{HTTPClient: &http.Client{Timeout: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	cancel()
	wantEcho(t, c)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A RoundTripper without a net.Conn: what it gives as a Body is the connection.
func TestRoundTripperWithoutConnection(t *testing.T) {
	var requestContext context.Context
	client := &http.Client{Timeout: time.Hour, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		requestContext = r.Context()
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			_, p, err := NewServerConn(far, nil).Read(context.Background())
			if err == nil {
				_, _ = far.Write(append([]byte{0x81, byte(len(p))}, p...))
			}
		}()
		resp := sampleResponse()
		resp.Header["Sec-Websocket-Accept"] = []string{AcceptKey(r.Header.Get("Sec-WebSocket-Key"))}
		resp.Body = struct{ io.ReadWriteCloser }{near}
		resp.Request = r
		return resp, nil
	})}
	ctx, cancel := context.WithCancel(context.Background())
	c, _, err := Dial(ctx, "ws://example.com:99/", &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	cancel()
	if requestContext.Err() != nil {
		t.Error("the request's context ended with the dial's")
	}
	if got := c.RemoteAddr().String(); got != "example.com:99" {
		t.Errorf("got remote address %q, want that of the URL", got)
	}
	wantEcho(t, c)
}

// The context ends when everything is done but returning: then the connection is nobody's, and is closed.
func TestContextThatEndsLast(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	near, far := net.Pipe()
	defer far.Close()
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		cancel()
		resp := sampleResponse()
		resp.Header["Sec-Websocket-Accept"] = []string{AcceptKey(r.Header.Get("Sec-WebSocket-Key"))}
		resp.Body = near
		return resp, nil
	})}
	c, _, err := Dial(ctx, "ws://example.com/", &Options{HTTPClient: client})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer got %v, want the end of the stream", err)
	}
}

func TestRoundTripperWithoutConnectionOrWriter(t *testing.T) {
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp := sampleResponse()
		resp.Header["Sec-Websocket-Accept"] = []string{AcceptKey(r.Header.Get("Sec-WebSocket-Key"))}
		resp.Body = io.NopCloser(strings.NewReader(""))
		return resp, nil
	})}
	if c, _, err := Dial(dialContext(t), "ws://example.com/", &Options{HTTPClient: client}); c != nil || !errors.Is(err, errNotWritable) {
		t.Errorf("got %v, want %v", err, errNotWritable)
	}
}

// A RoundTripper of the caller's around an http.Transport: its connection is found all the same.
func TestRoundTripperAroundTransport(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			resp.Body = struct{ io.ReadCloser }{resp.Body} // no longer an io.Writer
		}
		return resp, err
	})}
	c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	wantEcho(t, c)
}

// noDeadlines is a connection as an ssh tunnel gives it.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetReadDeadline(time.Time) error { return errors.New("no deadlines") }

func TestConnectionWithoutDeadlines(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return noDeadlines{conn}, err
	}}}
	c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	wantEcho(t, c)
}

func TestDialOverAConnectionWithTimeoutErrorsOfItsOwn(t *testing.T) {
	for name, start := range map[string]func(http.Handler) *httptest.Server{"ws": httptest.NewServer, "wss": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			s := start(echoOnce(nil))
			defer s.Close()
			client := s.Client()
			client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return ownTimeouts{conn}, err
			}
			c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			wantEcho(t, c)
		})
	}
}

// noted is a connection that notes its read deadlines.
type noted struct {
	nowhere
	deadlines []time.Time
}

func (n *noted) SetReadDeadline(d time.Time) error {
	n.deadlines = append(n.deadlines, d)
	return nil
}

func (n *noted) RemoteAddr() net.Addr { return hostAddr("remote") }
func (n *noted) LocalAddr() net.Addr  { return hostAddr("local") }

func TestTakeOverLeavesNoDeadline(t *testing.T) {
	n := new(noted)
	var conn net.Conn = n
	d := &dialing{}
	d.conn.Store(&conn)
	body := io.MultiReader(strings.NewReader("ahead"), readerFunc(func([]byte) (int, error) { return 0, &net.OpError{Err: os.ErrDeadlineExceeded} }))
	cfg := config{}
	if err := d.takeOver(context.Background(), &http.Response{Body: io.NopCloser(body)}, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.rwc != conn || string(cfg.ahead) != "ahead" {
		t.Errorf("got %v and %q ahead, want the connection and all that was buffered", cfg.rwc, cfg.ahead)
	}
	if len(n.deadlines) != 2 || !n.deadlines[0].Before(time.Now()) || n.deadlines[0].IsZero() || !n.deadlines[1].IsZero() {
		t.Errorf("got deadlines %v, want one in the past and then none", n.deadlines)
	}
}

// deafDeadlines is a connection that takes deadlines and does not keep them.
type deafDeadlines struct{ net.Conn }

func (deafDeadlines) SetReadDeadline(time.Time) error { return nil }

func TestConnectionThatIgnoresDeadlinesIsBoundedByContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		// The second read is that for octets behind the answer.
		return deafDeadlines{&cancelOnRead{conn, 2, cancel}}, err
	}}}
	c, _, err := Dial(ctx, evilServer(t, func(c net.Conn, key string) {
		_, _ = io.WriteString(c, answer101(key, ""))
		untilGone(c)
	}), &Options{HTTPClient: client})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestCredentialsHostAndHeader(t *testing.T) {
	seen := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		echoOnce(nil)(w, r)
	}))
	defer s.Close()
	c, _, err := Dial(dialContext(t), strings.Replace(wsURL(s), "ws://", "ws://user:secret@", 1), &Options{
		Host: "chat.example.com", Header: http.Header{"X-Ours": {"4"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	r := <-seen
	user, password, _ := r.BasicAuth()
	if user != "user" || password != "secret" || r.Host != "chat.example.com" || r.Header.Get("X-Ours") != "4" {
		t.Errorf("got user %q, password %q, Host %q, header %v", user, password, r.Host, r.Header)
	}
}

func TestCookies(t *testing.T) {
	seen := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Cookie")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "2"}) // as middleware would
		echoOnce(&Options{Header: http.Header{"Set-Cookie": {"ours=3"}}})(w, r)
	}))
	defer s.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: "1"}})
	c, resp, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Jar: jar}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := <-seen; got != "session=1" {
		t.Errorf("the server got cookies %q", got)
	}
	if got := resp.Header.Values("Set-Cookie"); !reflect.DeepEqual(got, []string{"session=2", "ours=3"}) {
		t.Errorf("got Set-Cookie %q", got)
	}
	if got := fmt.Sprint(jar.Cookies(u)); got != "[session=2 ours=3]" {
		t.Errorf("the jar holds %v", got)
	}
	wantEcho(t, c)
}

func TestErrorDoesNotTellThePassword(t *testing.T) {
	for _, url := range []string{
		"ws://user:secret@127.0.0.1:0/", "ws://user:secret@exa mple/", "ws://user:secret@example.com/#x", "ws://user:secret@[::1/",
		"ws://user:secret#1@example.com/", "ws://user:secret/1@example.com/", "ws://user:secret?1@example.com/", "ws://[secret]/@example.com/",
	} {
		_, _, err := Dial(dialContext(t), url, nil)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without the password", url, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	keys := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Sec-WebSocket-Key")
		echoOnce(nil)(w, r)
	}))
	defer target.Close()
	for _, location := range []string{target.URL, wsURL(target)} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			keys <- r.Header.Get("Sec-WebSocket-Key")
			w.Header().Set("Location", location+"/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		c, resp, err := Dial(dialContext(t), wsURL(s), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Request.URL.Path != "/elsewhere" {
			t.Errorf("got a response from %v", resp.Request.URL)
		}
		if first, second := <-keys, <-keys; first == second || len(keys) > 0 {
			t.Errorf("got keys %q and %q, want one for each connection", first, second)
		}
		wantEcho(t, c)
		c.CloseNow()
		s.Close()
	}
}

// redirecting is an http.Client that is redirected once, to location. It notes the last request.
func redirecting(location string, last **http.Request) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		*last = r
		if r.Response == nil {
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {location}}, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
	})}
}

// What a server redirects to is encoded as what the caller has dialled (RFC 6455 section 11.1.1).
func TestQueryOfARedirectIsEncoded(t *testing.T) {
	for _, location := range []string{"/next?q=größe a", "ws://other.example/next?q=größe a"} {
		var last *http.Request
		_, _, err := Dial(dialContext(t), "ws://example.com/", &Options{HTTPClient: redirecting(location, &last)})
		if got := last.URL.RequestURI(); got != "/next?q=gr%C3%B6%C3%9Fe%20a" {
			t.Errorf("%s: asked for %q (%v)", location, got, err)
		}
	}
}

// The same holds for the Host header (RFC 6455 section 4.1). That of the Options stays where the host does.
func TestHostHeaderOfARedirect(t *testing.T) {
	for _, row := range []struct{ location, host, want string }{
		{"ws://other.example:80/", "", "other.example"},
		{"http://other.example:/", "", "other.example"},
		{"wss://other.example:443/", "", "other.example"},
		{"ws://other.example:8080/", "", "other.example:8080"},
		{"//other.example/", "", "other.example"},
		{"/next", "", "example.com"},
		{"/next", "chat.example", "chat.example"},
		{"ws://other.example/", "chat.example", "other.example"},
		{"ws://[fe80::1%25Ethernet%202]:8080/", "", "[fe80::1]:8080"},
	} {
		var last *http.Request
		_, _, err := Dial(dialContext(t), "ws://example.com:80/", &Options{Host: row.host, HTTPClient: redirecting(row.location, &last)})
		if got := cmp.Or(last.Host, last.URL.Host); got != row.want {
			t.Errorf("redirect to %s, Options.Host %q: got Host %q (%v), want %q", row.location, row.host, got, err, row.want)
		}
	}
}

func TestRedirectNeverLeavesTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "ws://127.0.0.1:1/")
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	c, resp, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: s.Client()})
	var refusal *HandshakeError
	if c != nil || !errors.As(err, &refusal) || refusal.Status != 302 || resp == nil || resp.StatusCode != 302 {
		t.Errorf("got %v and %v, want a *HandshakeError with 302", resp, err)
	}
}

func TestCheckRedirectIsAsked(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer s.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c, resp, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: client})
	var refusal *HandshakeError
	if c != nil || !errors.As(err, &refusal) || refusal.Status != 302 || resp.Header.Get("Location") != "/elsewhere" {
		t.Errorf("got %v and %v, want the 302", resp, err)
	}
}

func TestCertificateIsChecked(t *testing.T) {
	s := httptest.NewTLSServer(echoOnce(nil))
	s.Config.ErrorLog = discardLog
	defer s.Close()
	c, _, err := Dial(dialContext(t), wsURL(s), nil)
	var unverified *tls.CertificateVerificationError
	if c != nil || !errors.As(err, &unverified) {
		t.Errorf("unknown authority: got %v, want a *tls.CertificateVerificationError", err)
	}
	c, _, err = Dial(dialContext(t), strings.Replace(wsURL(s), "127.0.0.1", "localhost", 1), &Options{HTTPClient: s.Client()})
	if c != nil || !errors.As(err, &unverified) {
		t.Errorf("another host: got %v, want a *tls.CertificateVerificationError", err)
	}
}

func TestRedirectFromWSSInTheMiddle(t *testing.T) {
	plain := httptest.NewServer(echoOnce(nil))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(wsURL(plain), http.StatusFound))
	defer secure.Close()
	first := httptest.NewServer(http.RedirectHandler(wsURL(secure), http.StatusFound))
	defer first.Close()
	c, _, err := Dial(dialContext(t), wsURL(first), &Options{HTTPClient: secure.Client()})
	if err == nil {
		c.CloseNow()
		t.Error("followed a redirect from wss to ws")
	}
}

// switching is a 101 whose Body is the connection.
func switching(r *http.Request, body io.ReadWriteCloser) *http.Response {
	h := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {AcceptKey(r.Header.Get("Sec-WebSocket-Key"))}}
	return &http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: body, Request: r}
}

// A RoundTripper that names no connection has not used the one of an earlier hop.
func TestConnectionOfAnEarlierHop(t *testing.T) {
	first := httptest.NewServer(http.RedirectHandler("http://other.invalid/", http.StatusFound))
	defer first.Close()
	near, far := net.Pipe()
	defer far.Close()
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() != "other.invalid" {
			return http.DefaultTransport.RoundTrip(r)
		}
		return switching(r, near), nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	c, _, err := Dial(ctx, wsURL(first), &Options{HTTPClient: &http.Client{Transport: rt}})
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer c.CloseNow()
	if c.Underlying() != near {
		t.Errorf("Conn is over %v", c.Underlying().RemoteAddr())
	}
}

func TestContextEndsADialWhoseBodyIsNotOfTheNamedConnection(t *testing.T) {
	auth := httptest.NewServer(http.NotFoundHandler())
	defer auth.Close()
	near, far := net.Pipe()
	defer far.Close()
	rt := roundTripper(func(r *http.Request) (*http.Response, error) {
		a, _ := http.NewRequestWithContext(r.Context(), "GET", auth.URL, nil) // asks for a token first, say
		if resp, err := http.DefaultTransport.RoundTrip(a); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return switching(r, near), nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := Dial(ctx, "ws://x.invalid", &Options{HTTPClient: &http.Client{Transport: rt}})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(4 * time.Second):
		t.Error("Dial goes on after the end of its context")
	}
}

// A redirect to a host that net/http would leave out of the Host header fails, as such a URL does.
func TestRedirectToWhatIsNoHost(t *testing.T) {
	requests, location := 0, ""
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		requests++
		return &http.Response{StatusCode: 307, Header: http.Header{"Location": {location}}, Body: http.NoBody, Request: r}, nil
	})}
	for _, location = range []string{"ws://a\"b/next", "ws://a%25<b/", "ws://:8080/", "http:///next"} {
		requests = 0
		_, _, err := Dial(t.Context(), "ws://x.example/", &Options{HTTPClient: client})
		var refusal *HandshakeError
		if !errors.As(err, &refusal) || refusal.Status != 307 || requests != 1 {
			t.Errorf("%s: got %v after %d requests, want that the redirect leads nowhere", location, err, requests)
		}
	}
}

// What Dial asks for and the server agrees to is agreed: compression is one header in the
// answer, and that one is not too many.
func TestDialAgreesOnCompression(t *testing.T) {
	o := &Options{Compression: &Compression{ContextTakeover: true}}
	s := httptest.NewServer(echoOnce(o))
	defer s.Close()
	c, resp, err := Dial(dialContext(t), wsURL(s), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if c.r.deflate == nil || !c.r.deflate.sendTakeover || len(resp.Header["Sec-Websocket-Extensions"]) != 1 {
		t.Errorf("got %+v from %q, want compression with context takeover", c.r.deflate, resp.Header)
	}
	want := strings.Repeat("the same words ", 100)
	if err := c.Write(t.Context(), Text, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want what was sent", got, err)
	}
}

// An http.Client without a Transport has http.DefaultTransport, whose proxies are tunnelled
// through like all others.
func TestDefaultTransportIsTunnelledThrough(t *testing.T) {
	for name, o := range map[string]*Options{"no client": {}, "a client without a Transport": {HTTPClient: &http.Client{}}} {
		client, _ := (&dialing{options: o}).client()
		if got, ok := client.Transport.(tunnelling); !ok || got.transport != http.DefaultTransport {
			t.Errorf("%s: got Transport %T, want %T around http.DefaultTransport", name, client.Transport, got)
		}
	}
}
