package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sampleRequest is the request of RFC 6455 section 1.3, without its Origin and subprotocols, as http.Server hands it over.
func sampleRequest() *http.Request {
	r := httptest.NewRequest("GET", "http://server.example.com/chat", nil)
	r.Header = http.Header{
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Sec-Websocket-Version": {"13"},
	}
	return r
}

// connectRequest is the request of RFC 8441 section 5.1 as http.Server hands it over.
func connectRequest() *http.Request {
	r := httptest.NewRequest("CONNECT", "http://server.example.com/chat", http.NoBody)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.ContentLength = -1
	r.Host = "server.example.com"
	r.Header = http.Header{
		":protocol":             {"websocket"},
		"Sec-Websocket-Version": {"13"},
	}
	return r
}

func TestJudgeRequest(t *testing.T) {
	type change func(h http.Header, r *http.Request)
	set := func(name string, values ...string) change {
		return func(h http.Header, _ *http.Request) { h[name] = values }
	}
	remove := func(name string) change {
		return func(h http.Header, _ *http.Request) { delete(h, name) }
	}
	for _, row := range []struct {
		id, why string
		change  change
		status  int // 0: accepted
	}{
		{"4.2.1-1", "HTTP/1.0 has no Upgrade", func(_ http.Header, r *http.Request) { r.ProtoMinor = 0 }, 505},
		{"4.2.1-1", "a later minor version of HTTP/1 is higher", func(_ http.Header, r *http.Request) { r.ProtoMinor = 2 }, 0},
		{"4.2.1-1", "the method must be GET", func(_ http.Header, r *http.Request) { r.Method = "POST" }, 405},
		{"4.2.1-1", "a method is case-sensitive", func(_ http.Header, r *http.Request) { r.Method = "get" }, 405},
		{"4.2.1-1", "CONNECT is HTTP/2's", func(_ http.Header, r *http.Request) { r.Method = "CONNECT" }, 405},
		{"4.2.1-2", "Host must be there", func(_ http.Header, r *http.Request) { r.Host = "" }, 400},
		{"4.2.1-3", "Upgrade must be there", remove("Upgrade"), 426},
		{"4.2.1-3", "Upgrade must name websocket", set("Upgrade", "h2c"), 426},
		{"4.2.1-3", "case does not matter", set("Upgrade", "WebSocket"), 0},
		{"4.2.1-3", "one of a list will do", set("Upgrade", "h2c, websocket"), 0},
		{"4.2.1-3", "one of several lines will do", set("Upgrade", "h2c", "websocket"), 0},
		{"4.2.1-3", "white space around an element is none of it", set("Upgrade", "h2c ,\t websocket \t"), 0},
		{"4.2.1-3", "a substring is not a token", set("Upgrade", "websocketx"), 426},
		{"4.2.1-3", "a substring is not a token", set("Upgrade", "x-websocket"), 426},
		{"4.2.1-3", "a name with a version is another token", set("Upgrade", "websocket/13"), 426},
		{"4.2.1-3", "two words are no token", set("Upgrade", "web socket"), 426},
		{"4.2.1-3", "the K of Kelvin is no letter k", set("Upgrade", "websoc\u212aet"), 426},
		{"4.2.1-4", "Connection must be there", remove("Connection"), 426},
		{"4.2.1-4", "Connection must name Upgrade", set("Connection", "keep-alive"), 426},
		{"4.2.1-4", "Firefox sends a list", set("Connection", "keep-alive, Upgrade"), 0},
		{"4.2.1-4", "one of several lines will do", set("Connection", "keep-alive", "UPGRADE"), 0},
		{"4.2.1-4", "a substring is not a token", set("Connection", "upgrade-insecure"), 426},
		{"4.2.1-5", "the key must be there", remove("Sec-Websocket-Key"), 400},
		{"4.2.1-5", "the key must not be empty", set("Sec-Websocket-Key", ""), 400},
		{"4.2.1-5", "the key must decode to 16 octets, not 15", set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAA"), 400},
		{"4.2.1-5", "the key must decode to 16 octets, not 17", set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="), 400},
		{"4.2.1-5", "the key must decode to 16 octets, not 18", set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAAAA"), 400},
		{"4.2.1-5", "the key must be padded", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), 400},
		{"4.2.1-5", "the key must be base64", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25j!Q=="), 400},
		{"4.2.1-5", "what stands beside the letters is none", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25j{Q=="), 400},
		{"4.2.1-5", "what stands beside the letters is none", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25j`Q=="), 400},
		{"4.2.1-5", "what stands beside the figures is none", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25j:Q=="), 400},
		{"4.2.1-5", "the alphabet is the one of section 4, not 5", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25j-_=="), 400},
		{"4.2.1-5", "all of the alphabet is good", set("Sec-Websocket-Key", "+/azAZ0189+/azAZ0189gg=="), 0},
		{"4.1", "RFC 6455's own example sets spare bits", set("Sec-Websocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC=="), 0},
		{"11.3.1", "the key must not appear twice", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="), 400},
		{"4.2.1-6", "the version must be there", remove("Sec-Websocket-Version"), 426},
		{"4.2.1-6", "the version must be 13", set("Sec-Websocket-Version", "8"), 426},
		{"4.2.1-6", "the version must be 13 alone", set("Sec-Websocket-Version", "13, 8"), 426},
		{"4.3", "a version has no leading zero", set("Sec-Websocket-Version", "013"), 426},
		{"11.3.5", "the version must not appear twice", set("Sec-Websocket-Version", "13", "13"), 426},
		{"4.1", "octets behind the header are not frames", func(_ http.Header, r *http.Request) { r.ContentLength = 4 }, 400},
		{"4.1", "a body of unknown length is a body", func(_ http.Header, r *http.Request) { r.ContentLength = -1 }, 400},
		{"4.2.1-8", "an offer of subprotocols is a list of tokens", set("Sec-Websocket-Protocol", "chat, superchat"), 0},
		{"4.2.1-8", "an element with a space is no token", set("Sec-Websocket-Protocol", "chat, super chat"), 400},
		{"4.2.1-8", "an element with a separator is no token", set("Sec-Websocket-Protocol", "a/b"), 400},
		{"4.3", "a list has an element", set("Sec-Websocket-Protocol", ""), 400},
		{"4.3", "empty elements do not count", set("Sec-Websocket-Protocol", ",chat,,"), 0},
		{"9.1", "an unknown extension is not taken", set("Sec-Websocket-Extensions", "x-unknown; a=b"), 0},
		{"9.1", "a malformed extension fails the connection", set("Sec-Websocket-Extensions", "permessage-deflate; ="), 400},
		{"9.1", "a malformed extension fails it on the second line too", set("Sec-Websocket-Extensions", "permessage-deflate", "\""), 400},
		{"4.2.1-10", "unknown fields are ignored", set("X-Unknown", "\""), 0},
	} {
		r := sampleRequest()
		row.change(r.Header, r)
		_, refusal := judgeRequest(r, noOptions)
		if got := statusOf(refusal); got != row.status {
			t.Errorf("%s: %s: got status %d (%v), want %d", row.id, row.why, got, refusal, row.status)
		}
	}
}

// statusOf is the status of a refusal, 0 for none.
func statusOf(e *HandshakeError) int {
	if e == nil {
		return 0
	}
	return e.Status
}

func TestJudgeExtendedConnect(t *testing.T) {
	for _, row := range []struct {
		why    string
		change func(r *http.Request)
		status int
	}{
		{"the example of RFC 8441 section 5.1", func(*http.Request) {}, 0},
		{"another protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 501},
		{"two protocols", func(r *http.Request) { r.Header[":protocol"] = []string{"websocket", "websocket"} }, 501},
		{"another version", func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"12"} }, 400},
		{"no version", func(r *http.Request) { delete(r.Header, "Sec-Websocket-Version") }, 400},
		{"no authority", func(r *http.Request) { r.Host = "" }, 400},
		{"a foreign page", func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} }, 403},
		{"CONNECT without :protocol is for a proxy", func(r *http.Request) { delete(r.Header, ":protocol") }, 405},
		{"GET over HTTP/2 can't be upgraded", func(r *http.Request) { r.Method = "GET" }, 400},
		{"POST over HTTP/2", func(r *http.Request) { r.Method = "POST" }, 405},
		{":protocol means nothing in HTTP/1.1", func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 1, 1 }, 405},
	} {
		r := connectRequest()
		row.change(r)
		a, refusal := judgeRequest(r, noOptions)
		if got := statusOf(refusal); got != row.status {
			t.Errorf("%s: got status %d (%v), want %d", row.why, got, refusal, row.status)
		}
		if a.key != "" {
			t.Errorf("%s: got key %q, want none", row.why, a.key)
		}
	}
}

func TestRefusalSaysWhatWouldDo(t *testing.T) {
	for _, row := range []struct {
		why    string
		r      *http.Request
		change func(r *http.Request)
		status int
		want   http.Header // "" for a header that must not be there
	}{
		{"405 lists the methods (RFC 9110 section 15.5.6)", sampleRequest(),
			func(r *http.Request) { r.Method = "PUT" }, 405, http.Header{"Allow": {"GET"}}},
		{"426 says to what (RFC 9110 section 15.5.22)", sampleRequest(),
			func(r *http.Request) { delete(r.Header, "Upgrade") }, 426, http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": nil}},
		{"another version is told ours (4.4)", sampleRequest(),
			func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"25"} }, 426, http.Header{"Sec-Websocket-Version": {"13"}}},
		{"over HTTP/2 too, but without Upgrade (RFC 9113 section 8.2.2)", connectRequest(),
			func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"25"} }, 400, http.Header{"Sec-Websocket-Version": {"13"}, "Upgrade": nil, "Connection": nil}},
		{"a GET over HTTP/2 gets no Upgrade", connectRequest(),
			func(r *http.Request) { r.Method = "GET" }, 400, http.Header{"Upgrade": nil, "Connection": nil}},
	} {
		row.change(row.r)
		w := httptest.NewRecorder()
		c, err := Accept(w, row.r, nil)
		var refusal *HandshakeError
		if c != nil || !errors.As(err, &refusal) || refusal.Status != row.status || w.Code != row.status {
			t.Errorf("%s: got %v and status %d, want a *HandshakeError and %d", row.why, err, w.Code, row.status)
			continue
		}
		for name, want := range row.want {
			if got := w.Header()[name]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: got %q, want %q", row.why, name, got, want)
			}
		}
		if body := strings.TrimSpace(w.Body.String()); body != refusal.Rule {
			t.Errorf("%s: got body %q, want the rule %q", row.why, body, refusal.Rule)
		}
	}
}

func TestRefuseKeepsStatusLegal(t *testing.T) {
	for status, want := range map[int]int{0: 403, 101: 403, 200: 403, 302: 302, 401: 401, 503: 503, 600: 403, -1: 403, 1000: 403} {
		w := httptest.NewRecorder()
		refuse(w, new(http.Request), &HandshakeError{Status: status, Rule: "no"})
		if w.Code != want {
			t.Errorf("status %d: answered %d, want %d", status, w.Code, want)
		}
	}
}

func TestOriginPolicy(t *testing.T) {
	type header = http.Header
	const host = "chat.example.com"
	for _, row := range []struct {
		why     string
		host    string
		origins []string
		h       header
		want    bool
	}{
		{"not a browser", host, nil, header{}, true},
		{"a page of the same host", host, nil, header{"Origin": {"http://chat.example.com"}}, true},
		{"TLS may end at a proxy", host, nil, header{"Origin": {"https://chat.example.com"}}, true},
		{"case does not matter in host names", host, nil, header{"Origin": {"HTTPS://Chat.Example.COM"}}, true},
		{"a default port is the same as none", "chat.example.com:443", nil, header{"Origin": {"https://chat.example.com"}}, true},
		{"a default port is the same as none", host, nil, header{"Origin": {"http://chat.example.com:80"}}, true},
		{"the default is that of Origin's scheme", "chat.example.com:80", nil, header{"Origin": {"https://chat.example.com"}}, false},
		{"the same port", "chat.example.com:8080", nil, header{"Origin": {"http://chat.example.com:8080"}}, true},
		{"another port", "chat.example.com:8080", nil, header{"Origin": {"http://chat.example.com:8081"}}, false},
		{"another port", host, nil, header{"Origin": {"http://chat.example.com:8080"}}, false},
		{"the K of Kelvin is no letter k", "k.example", nil, header{"Origin": {"https://\u212a.example"}}, false},
		{"an IPv6 address", "[::1]:8080", nil, header{"Origin": {"http://[::1]:8080"}}, true},
		{"an IPv6 address without a port", "[::1]", nil, header{"Origin": {"http://[::1]"}}, true},
		{"another IPv6 address", "[::1]:8080", nil, header{"Origin": {"http://[::2]:8080"}}, false},
		{"an IPv6 address without its first bracket", "::1]", nil, header{"Origin": {"http://::1]"}}, false},
		{"an IPv6 address without its last bracket", "[::1", nil, header{"Origin": {"http://[::1"}}, false},
		{"another host", host, nil, header{"Origin": {"https://evil.example"}}, false},
		{"a host that ends alike", host, nil, header{"Origin": {"https://evilchat.example.com"}}, false},
		{"a host that begins alike", host, nil, header{"Origin": {"https://chat.example.com.evil.example"}}, false},
		{"a user name that looks like the host", host, nil, header{"Origin": {"https://chat.example.com@evil.example"}}, false},
		{"a path that looks like the host", host, nil, header{"Origin": {"https://evil.example/chat.example.com"}}, false},
		{"a path", host, nil, header{"Origin": {"https://chat.example.com/"}}, false},
		{"a scheme that is not the web's", host, nil, header{"Origin": {"evil://chat.example.com"}}, false},
		{"opaque", host, nil, header{"Origin": {"null"}}, false},
		{"empty", host, nil, header{"Origin": {""}}, false},
		{"an empty port", host, nil, header{"Origin": {"https://chat.example.com:"}}, false},
		{"no scheme", host, nil, header{"Origin": {"chat.example.com"}}, false},
		{"an empty scheme", host, nil, header{"Origin": {"://chat.example.com"}}, false},
		{"an empty scheme is none, though it is listed", host, []string{"://chat.example.com"}, header{"Origin": {"://chat.example.com"}}, false},
		{"an empty host", "", nil, header{"Origin": {"https://"}}, false},
		{"several", host, nil, header{"Origin": {"https://chat.example.com", "https://chat.example.com"}}, false},
		{"several, even if any will do", host, []string{"*"}, header{"Origin": {"https://a.example", "https://b.example"}}, false},
		{"several in one", host, nil, header{"Origin": {"https://chat.example.com https://evil.example"}}, false},

		{"listed", host, []string{"https://app.example.org"}, header{"Origin": {"https://app.example.org"}}, true},
		{"listed with a slash behind it", host, []string{"https://app.example.org/"}, header{"Origin": {"https://app.example.org"}}, true},
		{"listed with a path", host, []string{"https://app.example.org/chat"}, header{"Origin": {"https://app.example.org"}}, false},
		{"a slash alone stands for nothing", host, []string{"/"}, header{"Origin": {"https://evil.example"}}, false},
		{"listed second", host, []string{"https://a.example", "https://b.example"}, header{"Origin": {"https://b.example"}}, true},
		{"listed with another scheme", host, []string{"https://app.example.org"}, header{"Origin": {"http://app.example.org"}}, false},
		{"listed with another port", host, []string{"https://app.example.org"}, header{"Origin": {"https://app.example.org:444"}}, false},
		{"listed with its default port", host, []string{"https://app.example.org:443"}, header{"Origin": {"https://app.example.org"}}, true},
		{"listed without a scheme", host, []string{"app.example.org"}, header{"Origin": {"http://app.example.org"}}, true},
		{"listed without a scheme, and not the web's", host, []string{"app.example.org"}, header{"Origin": {"evil://app.example.org"}}, false},
		{"listed with a scheme that is not the web's", host, []string{"chrome-extension://abcdef"}, header{"Origin": {"chrome-extension://abcdef"}}, true},
		{"listed with any port", host, []string{"http://localhost:*"}, header{"Origin": {"http://localhost:5173"}}, true},
		{"listed with any port, another host", host, []string{"http://localhost:*"}, header{"Origin": {"http://evil.example:5173"}}, false},
		{"a subdomain", host, []string{"https://*.example.org"}, header{"Origin": {"https://a.example.org"}}, true},
		{"a subdomain of a subdomain", host, []string{"https://*.example.org"}, header{"Origin": {"https://a.b.example.org"}}, true},
		{"not the domain itself", host, []string{"https://*.example.org"}, header{"Origin": {"https://example.org"}}, false},
		{"an empty subdomain", host, []string{"https://*.example.org"}, header{"Origin": {"https://.example.org"}}, false},
		{"not a domain that ends alike", host, []string{"https://*.example.org"}, header{"Origin": {"https://evilexample.org"}}, false},
		{"a subdomain on a port", host, []string{"*.example.org:8443"}, header{"Origin": {"https://a.example.org:8443"}}, true},
		{"a subdomain on another port", host, []string{"*.example.org:8443"}, header{"Origin": {"https://a.example.org"}}, false},
		{"a path that ends like a subdomain", host, []string{"https://*.example.org"}, header{"Origin": {"https://evil.example/.example.org"}}, false},
		{"a user name before a subdomain", host, []string{"https://*.example.org"}, header{"Origin": {"https://me@a.example.org"}}, false},
		{"a star in the middle stands for nothing", host, []string{"https://a.*.org"}, header{"Origin": {"https://a.example.org"}}, false},
		{"a star before letters stands for nothing", host, []string{"https://*ample.org"}, header{"Origin": {"https://example.org"}}, false},
		{"any host of a scheme", host, []string{"https://*"}, header{"Origin": {"https://evil.example"}}, true},
		{"any host of a scheme, and another scheme", host, []string{"https://*"}, header{"Origin": {"http://evil.example"}}, false},
		{"null must be listed", host, []string{"https://*"}, header{"Origin": {"null"}}, false},
		{"null is listed", host, []string{"null"}, header{"Origin": {"null"}}, true},
		{"any includes null", host, []string{"*"}, header{"Origin": {"null"}}, true},
		{"any", host, []string{"*"}, header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, true},
		{"the own host needs no list", host, []string{"https://app.example.org"}, header{"Origin": {"https://chat.example.com"}}, true},
		{"an empty pattern stands for nothing", host, []string{""}, header{"Origin": {"https://evil.example"}}, false},
		{"an empty pattern is not an empty Origin", host, []string{""}, header{"Origin": {""}}, false},

		{"the browser knows that it is the same origin", "internal:1234", nil, header{"Origin": {"https://chat.example.com"}, "Sec-Fetch-Site": {"same-origin"}}, true},
		{"two opinions are none", "internal:1234", nil, header{"Origin": {"https://chat.example.com"}, "Sec-Fetch-Site": {"same-origin", "same-origin"}}, false},
		{"no Origin, from another site", host, nil, header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"no Origin, from a sibling", host, nil, header{"Sec-Fetch-Site": {"same-site"}}, false},
		{"no Origin, from another site, twice", host, nil, header{"Sec-Fetch-Site": {"cross-site", "cross-site"}}, false},
		{"no Origin, typed in by the user", host, nil, header{"Sec-Fetch-Site": {"none"}}, true},
		{"no Origin, the same origin", host, nil, header{"Sec-Fetch-Site": {"same-origin"}}, true},
	} {
		r := sampleRequest()
		r.Host = row.host
		for name, values := range row.h {
			r.Header[name] = values
		}
		refusal := judgeOrigin(r, &Options{Origins: row.origins})
		if got := refusal == nil; got != row.want {
			t.Errorf("%s: Host %q, Origins %q, %v: allowed %v, want %v", row.why, row.host, row.origins, row.h, got, row.want)
		}
		if refusal != nil && refusal.Status != 403 {
			t.Errorf("%s: got status %d, want 403", row.why, refusal.Status)
		}
	}
}

func TestForeignOriginIsToldTheRemedies(t *testing.T) {
	r := sampleRequest()
	r.Header["Origin"] = []string{"https://evil.example"}
	_, refusal := judgeRequest(r, noOptions)
	if refusal == nil {
		t.Fatal("a foreign origin was accepted")
	}
	for _, want := range []string{`"https://evil.example"`, `"server.example.com"`, "Options.Origins", "Options.CheckOrigin"} {
		if !strings.Contains(refusal.Rule, want) {
			t.Errorf("got %q, want %s in it", refusal.Rule, want)
		}
	}
}

func TestCheckOriginReplacesThePolicy(t *testing.T) {
	for _, want := range []bool{true, false} {
		r := sampleRequest()
		r.Header["Origin"] = []string{"https://one.example", "https://two.example"}
		if !want {
			r.Header["Origin"] = nil
		}
		var asked *http.Request
		o := &Options{Origins: []string{"*"}, CheckOrigin: func(r *http.Request) bool { asked = r; return want }}
		_, refusal := judgeRequest(r, o)
		if got := refusal == nil; got != want || asked != r {
			t.Errorf("CheckOrigin says %v: allowed %v, asked about %p, want %p", want, got, asked, r)
		}
	}
}

func TestServerChoosesSubprotocol(t *testing.T) {
	for _, row := range []struct {
		why         string
		offers, our []string
		want        string
	}{
		{"nothing offered", nil, []string{"chat"}, ""},
		{"nothing spoken", []string{"chat"}, nil, ""},
		{"nothing in common", []string{"chat"}, []string{"mqtt"}, ""},
		{"the server's order decides", []string{"a, b, c"}, []string{"c", "b"}, "c"},
		{"over several lines", []string{"a", "b, c"}, []string{"c"}, "c"},
		{"case matters", []string{"Chat"}, []string{"chat"}, ""},
		{"a substring is another one", []string{"superchat"}, []string{"chat"}, ""},
		{"an empty one is none", []string{"a,,b"}, []string{""}, ""},
	} {
		r := sampleRequest()
		if row.offers != nil {
			r.Header["Sec-Websocket-Protocol"] = row.offers
		}
		a, refusal := judgeRequest(r, &Options{Subprotocols: row.our})
		if refusal != nil || a.subprotocol != row.want {
			t.Errorf("%s: got %q and %v, want %q", row.why, a.subprotocol, refusal, row.want)
		}
	}
}

// A header that would break the handshake is found before anything is sent, on both sides.
func TestJudgeHeader(t *testing.T) {
	for _, row := range []struct {
		name, value string
		ok          bool
	}{
		{"Set-Cookie", "a=b; Path=/", true},
		{"X-Tab", "a\tb", true},
		{"X-Latin1", "\xe4", true},
		{"X-Empty", "", true},
		{"Origin", "https://app.example", true},
		{"X-Break", "a\r\nSet-Cookie: b=c", false},
		{"X-Break", "a\nb", false},
		{"X-Break", "a\rb", false},
		{"X-Nul", "a\x00b", false},
		{"X-Del", "a\x7fb", false},
		{"X: a\r\nX", "a", false},
		{"X Y", "a", false},
		{"", "a", false},
		{"Ümlaut", "a", false},
		{"Sec-WebSocket-Protocol", "chat", false},
		{"sec-websocket-accept", "x", false},
		{"SEC-WEBSOCKET-ANYTHING", "x", false},
		{"upgrade", "h2c", false},
		{"Connection", "close", false},
		{"HOST", "x", false},
		{"Content-Length", "0", false},
		{"content-type", "text/html", false},
		{"Transfer-Encoding", "chunked", false},
		{"Trailer", "X", false},
	} {
		o := &Options{Header: http.Header{row.name: {row.value}}}
		if _, refusal := judgeRequest(sampleRequest(), o); (refusal == nil) != row.ok || refusal != nil && refusal.Status != 500 {
			t.Errorf("server, %q: %q: got %v, want accepted: %v", row.name, row.value, refusal, row.ok)
		}
		if _, refusal := makeRequest("ws://example.com/", "", o); (refusal == nil) != row.ok {
			t.Errorf("client, %q: %q: got %v, want accepted: %v", row.name, row.value, refusal, row.ok)
		}
	}
}

func TestServersOwnMistakeIsNotTheClientsToKnow(t *testing.T) {
	w := httptest.NewRecorder()
	_, err := Accept(w, sampleRequest(), &Options{Header: http.Header{"Upgrade": {"x"}}})
	if err == nil || !strings.Contains(err.Error(), "Upgrade") {
		t.Errorf("got error %v, want one that names the header", err)
	}
	if w.Code != 500 || strings.Contains(w.Body.String(), "Upgrade") {
		t.Errorf("answered %d with %q, want 500 and nothing of our header", w.Code, w.Body)
	}
}

// The example of RFC 6455 section 1.3.
func TestAcceptKey(t *testing.T) {
	if got, want := AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := len(AcceptKey(strings.Repeat("x", 1000))), 28; got != want {
		t.Errorf("got %d octets for a long key, want %d", got, want)
	}
}

func TestAnswer(t *testing.T) {
	a := agreement{key: "dGhlIHNhbXBsZSBub25jZQ==", subprotocol: "chat", extensions: "permessage-deflate"}
	const start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
	for _, row := range []struct {
		why                 string
		middleware, options http.Header
		want                string
	}{
		{"bare", nil, nil, ""},
		{"what middleware has set goes out, ours after it", http.Header{"Set-Cookie": {"a=1", "b=2"}}, http.Header{"Set-Cookie": {"c=3"}},
			"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nSet-Cookie: c=3\r\n"},
		{"middleware can't speak for the handshake", http.Header{
			"Connection": {"close"}, "Upgrade": {"h2c"}, "Sec-Websocket-Accept": {"x"}, "Sec-WebSocket-Protocol": {"x"},
		}, nil, ""},
		{"a 101 has no body to describe (RFC 9110 section 8.6)", http.Header{
			"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "Content-Encoding": {"gzip"}, "Trailer": {"X"},
		}, nil, ""},
		{"middleware's line breaks become spaces", http.Header{"X-A": {"b\r\nSet-Cookie: c"}}, nil, "X-A: b  Set-Cookie: c\r\n"},
		{"middleware's bad names are dropped", http.Header{"X A": {"b"}, "Trailer:X": {"c"}}, nil, ""},
		{"a policy is no body", http.Header{"Content-Security-Policy": {"x"}}, nil, "Content-Security-Policy: x\r\n"},
	} {
		if got, want := string(appendAnswer(nil, a, row.middleware, row.options)), start+row.want+"\r\n"; got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", row.why, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	d := (&Options{}).limits()
	if d != noOptions.limits() || d.readLimit != 1<<20 || d.maxFragments != 131072 || d.writeTimeout != 30*time.Second || d.closeTimeout != 5*time.Second ||
		d.keepAlive != 30*time.Second || d.pongTimeout != 20*time.Second || d.sendLimit != 1<<20 {
		t.Errorf("defaults: %+v", d)
	}
	none := (&Options{ReadLimit: -1, MaxFragments: -1, WriteTimeout: -1, CloseTimeout: -1, KeepAlive: -1, PongTimeout: -1, SendLimit: -1}).limits()
	if want := (limits{readLimit: math.MaxInt, sendLimit: math.MaxInt64, maxFragments: math.MaxInt}); *none != want {
		t.Errorf("none: got %+v, want %+v", *none, want)
	}
	given := (&Options{ReadLimit: 1, MaxFragments: 2, WriteTimeout: 3, CloseTimeout: 4, KeepAlive: 5, PongTimeout: 6, SendLimit: 7}).limits()
	if want := (limits{readLimit: 1, maxFragments: 2, writeTimeout: 3, closeTimeout: 4, keepAlive: 5, pongTimeout: 6, sendLimit: 7}); *given != want {
		t.Errorf("given: got %+v, want %+v", *given, want)
	}
}

func TestHandshakeErrorText(t *testing.T) {
	for _, row := range []struct {
		e    HandshakeError
		want string
	}{
		{*errMethod, "websocket: method is not GET (RFC 6455 section 4.2.1, status 405)"},
		{*errProtocol, "websocket: :protocol is not websocket (RFC 8441 section 4, status 501)"},
		{HandshakeError{Section: "3", Rule: "URL with a fragment"}, "websocket: URL with a fragment (RFC 6455 section 3)"},
		{HandshakeError{Status: 401, Rule: "who are you?"}, "websocket: who are you? (status 401)"},
		{HandshakeError{Rule: "no"}, "websocket: no"},
	} {
		if got := row.e.Error(); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}

// hijackable is a ResponseWriter over a net.Conn of the test's own.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
	buf  *bufio.ReadWriter
	err  error
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.buf, h.err }

// journal is a net.Conn that notes what is done to it.
type journal struct {
	net.Conn
	done     []string
	deadline time.Time // the last that was set for writes
	err      error     // of Write
}

func (j *journal) Write(p []byte) (int, error) {
	j.done = append(j.done, "write")
	return len(p), j.err
}

func (j *journal) SetWriteDeadline(d time.Time) error {
	j.done = append(j.done, "write deadline")
	j.deadline = d
	return nil
}

func (j *journal) SetDeadline(d time.Time) error {
	j.done = append(j.done, fmt.Sprintf("deadline zero: %v", d.IsZero()))
	return nil
}

func (j *journal) Close() error {
	j.done = append(j.done, "close")
	return nil
}

// The 101 leaves in one write, under WriteTimeout, and no deadline of http.Server's outlives the handshake.
func TestAnswerIsOneWriteUnderWriteTimeout(t *testing.T) {
	for _, row := range []struct {
		why     string
		timeout time.Duration
		err     error
		want    []string
	}{
		{"with a timeout", time.Hour, nil, []string{"write deadline", "write", "deadline zero: true"}},
		{"without", -1, nil, []string{"write", "deadline zero: true"}},
		{"the write fails", -1, net.ErrClosed, []string{"write", "close"}},
	} {
		j := &journal{err: row.err}
		before := time.Now()
		_, err := Accept(hijackable{httptest.NewRecorder(), j, nil, nil}, sampleRequest(), &Options{WriteTimeout: row.timeout})
		if !errors.Is(err, row.err) || (err == nil) != (row.err == nil) {
			t.Errorf("%s: got error %v, want %v", row.why, err, row.err)
		}
		if !reflect.DeepEqual(j.done, row.want) {
			t.Errorf("%s: did %q, want %q", row.why, j.done, row.want)
		}
		if row.timeout > 0 && (j.deadline.Before(before.Add(row.timeout)) || j.deadline.After(time.Now().Add(row.timeout))) {
			t.Errorf("%s: deadline %v, want %v from now", row.why, j.deadline, row.timeout)
		}
	}
}

// transparent is middleware as http.ResponseController wants it; opaque hides what it wraps; lying says more than it has.
type (
	transparent struct{ http.ResponseWriter }
	opaque      struct{ http.ResponseWriter }
	lying       struct{ http.ResponseWriter }
)

func (w transparent) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (lying) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, http.ErrNotSupported }

func TestHijackBehindMiddleware(t *testing.T) {
	for _, row := range []struct {
		why  string
		wrap func(http.ResponseWriter) http.ResponseWriter
		want string // in the error; "" for none
	}{
		{"none", func(w http.ResponseWriter) http.ResponseWriter { return w }, ""},
		{"two layers", func(w http.ResponseWriter) http.ResponseWriter { return transparent{transparent{w}} }, ""},
		{"one that hides", func(w http.ResponseWriter) http.ResponseWriter { return opaque{w} }, "websocket.opaque hides"},
		{"one that hides, behind one that does not", func(w http.ResponseWriter) http.ResponseWriter { return transparent{opaque{w}} }, "websocket.opaque hides"},
		{"one that hides, before one that does not", func(w http.ResponseWriter) http.ResponseWriter { return opaque{transparent{w}} }, "websocket.opaque hides"},
		{"one that promises too much", func(w http.ResponseWriter) http.ResponseWriter { return lying{w} }, "websocket.lying can't"},
	} {
		result := make(chan error, 1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := Accept(row.wrap(w), r, nil)
			if c != nil {
				defer c.CloseNow()
			}
			result <- err
		}))
		resp, conn := rawHandshake(t, s.Listener.Addr(), sampleText)
		err := <-result
		conn.Close()
		s.Close()
		if row.want == "" && (err != nil || resp.StatusCode != 101) {
			t.Errorf("%s: got %v and status %d, want 101", row.why, err, resp.StatusCode)
		}
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || resp.StatusCode != 500) {
			t.Errorf("%s: got %v and status %d, want %q and 500", row.why, err, resp.StatusCode, row.want)
		}
	}
}

// sampleText is sampleRequest as it is sent.
const sampleText = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// rawHandshake sends text to addr and reads the response's header.
func rawHandshake(t *testing.T, addr net.Addr, text string) (*http.Response, *wireConn) {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	c := newWireConn(conn)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, c
}

// wireConn is a connection whose octets a test reads itself.
type wireConn struct {
	net.Conn
	r *bufio.Reader
}

func newWireConn(conn net.Conn) *wireConn { return &wireConn{conn, bufio.NewReader(conn)} }

func (c *wireConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// testTimeout is how long a test waits for what must happen at once.
const testTimeout = 20 * time.Second

// echoOnce accepts r and sends the first message back.
func echoOnce(o *Options) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		typ, p, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), typ, p)
		}
	}
}

// maskedHello and hello are the frames of RFC 6455 section 5.7.
const (
	maskedHello = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
	hello       = "\x81\x05Hello"
)

// A client may not send before it has the answer, but octets that come right behind a request are frames all the same.
func TestOctetsBehindTheRequestAreFrames(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	for cut := 0; cut <= len(maskedHello); cut++ {
		resp, conn := rawHandshake(t, s.Listener.Addr(), sampleText+maskedHello[:cut])
		if resp.StatusCode != 101 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if _, err := conn.Write([]byte(maskedHello[cut:])); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(hello))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != hello {
			t.Errorf("%d octets behind the request: got %q and %v, want %q", cut, got, err, hello)
		}
		conn.Close()
	}
}

func TestRequestInOneOctetSegments(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []byte(sampleText + maskedHello) {
		if _, err := conn.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v and %v, want 101", resp, err)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != hello {
		t.Errorf("got %q and %v, want %q", got, err, hello)
	}
}

// What net/http spends on a hijack is not counted here: the writer is the test's.
func TestAcceptAllocations(t *testing.T) {
	j := &journal{}
	w := hijackable{httptest.NewRecorder(), j, bufio.NewReadWriter(bufio.NewReader(j), bufio.NewWriter(j)), nil}
	r := sampleRequest()
	r.Header["Origin"] = []string{"http://server.example.com"}
	r.Header["Sec-Websocket-Protocol"] = []string{"chat, superchat"}
	o := &Options{Subprotocols: []string{"superchat"}, Header: http.Header{"Set-Cookie": {"a=b"}}}
	j.done = make([]string, 0, 1<<16)
	got := testing.AllocsPerRun(1000, func() {
		if _, err := Accept(w, r, o); err != nil {
			t.Fatal(err)
		}
	})
	if got > 8 {
		t.Errorf("got %v allocations a handshake, want at most 8", got)
	}
	t.Logf("%v allocations a handshake", got)
}

func BenchmarkAccept(b *testing.B) {
	w := hijackable{httptest.NewRecorder(), nowhere{}, bufio.NewReadWriter(bufio.NewReader(nowhere{}), bufio.NewWriter(nowhere{})), nil}
	r := sampleRequest()
	r.Header["Origin"] = []string{"http://server.example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Accept(w, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere is a net.Conn that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error)        { return len(p), nil }
func (nowhere) SetWriteDeadline(d time.Time) error { return nil }
func (nowhere) SetDeadline(d time.Time) error      { return nil }

// A message has to fit a slice, so no limit means as many octets as that may have.
func TestLimitOfReadsFitsASlice(t *testing.T) {
	for _, limit := range []int64{-1, math.MaxInt64} {
		if got := (&Options{ReadLimit: limit}).limits().readLimit; got != math.MaxInt {
			t.Errorf("ReadLimit %d: %d, want %d", limit, got, math.MaxInt)
		}
	}
}
