package websocket

import (
	"bufio"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// values are the lines of a header field: none for "", else what "\n" separates.
func values(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// elements are the elements of a list header, found the plain way.
func elements(lines []string) []string {
	var all []string
	for _, e := range strings.Split(strings.Join(lines, ","), ",") {
		if e = strings.Trim(e, " \t"); e != "" {
			all = append(all, e)
		}
	}
	return all
}

func hasFold(all []string, want string) bool {
	return slices.ContainsFunc(all, func(e string) bool { return strings.EqualFold(e, want) && len(e) == len(want) })
}

// FuzzRequest: whatever a client asks, it is answered, legally, and accepted only if every rule was kept.
func FuzzRequest(f *testing.F) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	f.Add("websocket", "Upgrade", key, "13", "", "", "", "", "server.example.com")
	f.Add("h2c\nWebSocket", "keep-alive, upgrade", key, "13", "chat, superchat", "permessage-deflate; client_max_window_bits", "https://server.example.com", "same-origin", "server.example.com:443")
	f.Add("websocket", "Upgrade", key, "13\n13", "a b", "permessage-deflate; server_max_window_bits=\"10\", x; y=\"\\\"\"", "https://*.example.org", "cross-site", "[::1]:80")
	f.Add(",,websocket,,", "\t upgrade \t,", "AQIDBAUGBwgJCgsMDQ4PEC==", "13", ",chat,,", ";;;,,,\"", "null\nnull", "none\nnone", ":")
	f.Fuzz(func(t *testing.T, upgrade, connection, key, version, protocols, extensions, origin, site, host string) {
		h := http.Header{
			"Upgrade": values(upgrade), "Connection": values(connection), "Sec-Websocket-Key": values(key), "Sec-Websocket-Version": values(version),
			"Sec-Websocket-Protocol": values(protocols), "Sec-Websocket-Extensions": values(extensions), "Origin": values(origin), "Sec-Fetch-Site": values(site),
		}
		o := &Options{Subprotocols: []string{"superchat", "chat"}, Compression: &Compression{}, Origins: []string{"https://*.example.org"}}
		for _, r := range []*http.Request{sampleRequest(), connectRequest()} {
			for name, lines := range h {
				r.Header[name] = lines
			}
			r.Host = host
			a, refusal := judgeRequest(r, o)
			if refusal != nil {
				w := httptest.NewRecorder()
				refuse(w, new(http.Request), refusal)
				if w.Code < 400 || w.Code > 599 || w.Code != refusal.Status || refusal.Rule == "" {
					t.Fatalf("refused with %#v and status %d", refusal, w.Code)
				}
				continue
			}
			wantKept(t, r)
			wantLegal(t, r.Header, a)
		}
	})
}

// wantKept checks a request that was accepted against the rules, in their plainest form.
func wantKept(t *testing.T, r *http.Request) {
	t.Helper()
	h := r.Header
	if len(h["Sec-Websocket-Version"]) != 1 || h["Sec-Websocket-Version"][0] != "13" || r.Host == "" || len(h["Origin"]) > 1 {
		t.Fatalf("accepted %q %v", r.Host, h)
	}
	if r.ProtoMajor == 2 {
		return
	}
	if !hasFold(elements(h["Upgrade"]), "websocket") || !hasFold(elements(h["Connection"]), "upgrade") || len(h["Sec-Websocket-Key"]) != 1 {
		t.Fatalf("accepted %v", h)
	}
	if nonce, err := base64.StdEncoding.DecodeString(h["Sec-Websocket-Key"][0]); err != nil || len(nonce) != 16 {
		t.Fatalf("accepted key %q", h["Sec-Websocket-Key"][0])
	}
}

// wantLegal checks the answer to a request with header h.
func wantLegal(t *testing.T, h http.Header, a agreement) {
	t.Helper()
	answer := string(appendAnswer(nil, a, nil, nil))
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil || !strings.HasSuffix(answer, "\r\n\r\n") || strings.Count(answer, "\r\n\r\n") != 1 {
		t.Fatalf("answered %q: %v", answer, err)
	}
	if len(resp.Header["Sec-Websocket-Protocol"]) > 1 || len(resp.Header["Sec-Websocket-Extensions"]) > 1 {
		t.Fatalf("answered %v", resp.Header)
	}
	if p := resp.Header.Get("Sec-Websocket-Protocol"); p != a.subprotocol || p != "" && !slices.Contains(elements(h["Sec-Websocket-Protocol"]), p) {
		t.Fatalf("answered subprotocol %q to %q", p, h["Sec-Websocket-Protocol"])
	}
	if e := resp.Header.Get("Sec-Websocket-Extensions"); (e != "") != (a.deflate != nil) || e != "" && !strings.Contains(strings.Join(h["Sec-Websocket-Extensions"], ","), "permessage-deflate") {
		t.Fatalf("answered extensions %q to %q", e, h["Sec-Websocket-Extensions"])
	}
}

// FuzzResponse: whatever a server answers, the client takes it only if every rule was kept.
func FuzzResponse(f *testing.F) {
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+accept+"\r\n"), true)
	f.Add([]byte("HTTP/1.1 101 X\r\nupgrade: WebSocket\r\nconnection: a, upgrade\r\n"+accept+"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15\r\n\r\n"), true)
	f.Add([]byte("HTTP/1.0 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+accept+accept+"\r\n"), false)
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"), false)
	f.Fuzz(func(t *testing.T, octets []byte, compress bool) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(octets))), nil)
		if err != nil {
			return
		}
		o := &Options{Subprotocols: []string{"chat", "superchat"}}
		if compress {
			o.Compression = &Compression{}
		}
		a, refusal := judgeResponse(resp, sampleKey, o)
		if refusal != nil {
			if refusal.Rule == "" || refusal.Section == "" || refusal.Status != resp.StatusCode {
				t.Fatalf("refused with %#v, status %d", refusal, resp.StatusCode)
			}
			return
		}
		h := resp.Header
		if resp.StatusCode != 101 || len(h["Upgrade"]) != 1 || !hasFold(h["Upgrade"], "websocket") || !hasFold(elements(h["Connection"]), "upgrade") ||
			len(h["Sec-Websocket-Accept"]) != 1 || h["Sec-Websocket-Accept"][0] != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("accepted %v", h)
		}
		if p := h["Sec-Websocket-Protocol"]; len(p) > 1 || len(p) == 1 && (p[0] != a.subprotocol || !slices.Contains(o.Subprotocols, p[0])) || p == nil && a.subprotocol != "" {
			t.Fatalf("accepted subprotocol %q as %q", p, a.subprotocol)
		}
		if e := h["Sec-Websocket-Extensions"]; len(e) > 1 || !compress && e != nil || (e != nil) != (a.deflate != nil) {
			t.Fatalf("accepted extensions %q as %v", e, a.deflate)
		}
	})
}

// Headers of a megabyte are judged in the time that reading them takes. With quadratic rules this would take hours.
func TestHostileHeadersAreJudgedInLinearTime(t *testing.T) {
	const size = 1 << 20
	start := time.Now()
	for _, pattern := range []string{",", " ", ", ", ";", "\"", "\\", "a,", "chat,", "a;", "a=\"", "websocket", "permessage-deflate,", "permessage-deflate; x,", "\xff", "*.", ":", "[", "]"} {
		hostile := strings.Repeat(pattern, size/len(pattern))
		for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Origin", "Sec-Fetch-Site"} {
			r := sampleRequest()
			r.Header[name] = append(r.Header[name], hostile)
			_, _ = judgeRequest(r, &Options{Subprotocols: []string{"x", "y"}, Compression: &Compression{}, Origins: []string{"https://*.example.org"}})
			r.Header[name] = strings.SplitAfter(hostile[:size/64], pattern)
			_, _ = judgeRequest(r, &Options{Subprotocols: []string{"x", "y"}, Compression: &Compression{}, Origins: []string{"https://*.example.org"}})
		}
		for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions"} {
			resp := sampleResponse()
			resp.Header[name] = []string{hostile}
			_, _ = judgeResponse(resp, sampleKey, &Options{Subprotocols: []string{"x", "y"}, Compression: &Compression{}})
		}
	}
	if d := time.Since(start); d > testTimeout {
		t.Errorf("took %v", d)
	}
}
