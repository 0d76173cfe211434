package conform

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// This file holds the cases of section 4 and of the handshake's side of 9.1 and 10.2.

// hello is what proves that a connection is open.
const hello = "Hello"

// clientHandshake examines the request of a client and what it makes of responses.
func (k *catalog) clientHandshake() {
	k.requests()
	k.rule("4.1", "Once the client's opening handshake has been sent, the client MUST wait for a response from the server before sending any further data.", Client)
	k.add("waits", "answer the request only after 150 ms", act{"expect no octet meanwhile", func(c *conversation) {
		_ = c.w.conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
		if b, err := c.w.br.Peek(1); err == nil {
			c.judge(Wrong, "the client sent the octet %x before it had a response", b)
		}
		_ = c.w.conn.SetReadDeadline(time.Time{})
	}}, responding{head: response}, send(text(hello)), expectEcho(hello)).inBare()
	k.goodResponses()
	k.badResponses()
	k.hostileResponses()
}

// requests looks at the client's request.
func (k *catalog) requests() {
	look := func(name, title, sentence string, fault func(o *opening) string) {
		k.rule("4.1", sentence, Client)
		k.add(name, title, asked{title, fault}, responding{head: response}, send(text(hello)), expectEcho(hello)).inBare()
	}
	one := func(o *opening, field, want string) string {
		if got := o.request.values(field); len(got) != 1 || got[0] != want {
			return fmt.Sprintf("the request has %s: %q where %q is right", field, got, want)
		}
		return ""
	}
	look("get", "the method is GET, the version HTTP/1.1", "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1.", func(o *opening) string {
		if !strings.HasPrefix(o.request.line, "GET ") || !strings.HasSuffix(o.request.line, " HTTP/1.1") {
			return "the request line is " + o.request.line
		}
		return ""
	})
	look("host", "one Host field with the server's authority", "The request MUST contain a |Host| header field whose value contains /host/ plus optionally \":\" followed by /port/ (when not using the default port).", func(o *opening) string {
		got := o.request.values("Host")
		if len(got) != 1 {
			return fmt.Sprintf("the request has %d Host fields", len(got))
		}
		_, want, _ := net.SplitHostPort(o.host)
		_, port, err := net.SplitHostPort(got[0])
		if err != nil && want == map[string]string{"http": "80", "https": "443"}[o.scheme] {
			port = want // the default one may be left out
		}
		if port != want {
			return fmt.Sprintf("the request has Host: %s for a server at port %s", got[0], want)
		}
		return ""
	})
	look("upgrade", "an Upgrade field with websocket", "The request MUST contain an |Upgrade| header field whose value MUST include the \"websocket\" keyword.", func(o *opening) string {
		if !o.request.hasToken("Upgrade", "websocket") {
			return fmt.Sprintf("the request has Upgrade: %q", o.request.values("Upgrade"))
		}
		return ""
	})
	look("connection", "a Connection field with Upgrade", "The request MUST contain a |Connection| header field whose value MUST include the \"Upgrade\" token.", func(o *opening) string {
		if !o.request.hasToken("Connection", "Upgrade") {
			return fmt.Sprintf("the request has Connection: %q", o.request.values("Connection"))
		}
		return ""
	})
	look("key", "one Sec-WebSocket-Key of 16 octets", "The value of this header field MUST be a nonce consisting of a randomly selected 16-byte value that has been base64-encoded (see Section 4 of [RFC4648]).", func(o *opening) string {
		if got := o.request.values("Sec-WebSocket-Key"); len(got) != 1 || !validKey(got[0]) {
			return fmt.Sprintf("the request has Sec-WebSocket-Key: %q", got)
		}
		return ""
	})
	look("key-fresh", "a key that no earlier request had", "The nonce MUST be selected randomly for each connection.", func(*opening) string { return "" }) // the exam compares
	look("version", "Sec-WebSocket-Version is 13", "The request MUST include a header field with the name |Sec-WebSocket-Version|. The value of this header field MUST be 13.", func(o *opening) string {
		return one(o, "Sec-WebSocket-Version", "13")
	})
	look("subprotocols", "subprotocols, if any, are tokens, each once", "The elements that comprise this value MUST be non-empty strings with characters in the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings.", func(o *opening) string {
		var seen []string
		for _, v := range o.request.values("Sec-WebSocket-Protocol") {
			for _, p := range strings.Split(v, ",") {
				if p = strings.TrimSpace(p); !isToken(p) || slices.Contains(seen, p) {
					return fmt.Sprintf("the request offers the subprotocol %q", p)
				}
				seen = append(seen, p)
			}
		}
		return ""
	})
	look("no-body", "the request has no body", "The handshake MUST be a valid HTTP request as specified by [RFC2616].", func(o *opening) string {
		if n := o.request.values("Content-Length"); len(n) > 0 && n[0] != "0" || len(o.request.values("Transfer-Encoding")) > 0 {
			return "the request announces a body"
		}
		return ""
	})
}

// goodResponses are right in ways that a careless client refuses.
func (k *catalog) goodResponses() {
	good := func(name, title string, s responding) {
		k.add(name, title, s, send(text(hello)), expectEcho(hello)).inBare()
	}
	k.rule("4.1", "If the server's response is validated as provided for above, it is said that _The WebSocket Connection is Established_ and that the WebSocket Connection is in the OPEN state.", Client)
	good("response", "answer as the RFC has it", responding{head: response})
	good("response-octets", "answer in segments of one octet", responding{head: response, segment: 1, pause: 50 * time.Microsecond})
	good("response-reason", "answer with another reason phrase", responding{head: response.withLine("HTTP/1.1 101 Web Socket Protocol Handshake")})
	good("response-no-reason", "answer with an empty reason phrase", responding{head: response.withLine("HTTP/1.1 101 ")})
	good("response-more-fields", "answer with further fields", responding{head: response.with("Date: Sat, 01 Jan 2028 00:00:00 GMT", "Server: conform", "Set-Cookie: a=b", "X-Empty:")})
	good("response-order", "answer with the fields in another order", responding{head: head{response.line, []string{response.fields[2], response.fields[1], response.fields[0]}}})
	k.rule("4.1", "Please note that according to [RFC2616], all header field names in both HTTP requests and HTTP responses are case-insensitive.", Client)
	good("response-case", "answer with names and tokens in odd case", responding{head: head{response.line, []string{
		"UPGRADE: WebSocket", "connection: uPGRADE", "sec-websocket-ACCEPT: {accept}"}}})
	good("response-spaces", "answer with white space around values", responding{head: head{response.line, []string{
		"Upgrade:\t websocket \t", "Connection:Upgrade", "Sec-WebSocket-Accept:    {accept}   "}}})
	good("response-list", "answer with Connection: keep-alive, Upgrade", responding{head: response.replaced("Connection", "Connection: keep-alive, Upgrade")})
	good("response-lists", "answer with two Connection fields", responding{head: response.replaced("Connection", "Connection: keep-alive", "Connection: Upgrade")})
	k.rule("4.2.2", "At this point, the server may begin sending (and receiving) data.", Client)
	k.add("frames-behind-response", "send a Ping and a message in one segment with the response",
		responding{head: response, behind: []frame{ping("now"), text(hello)}}, expect(pongs("now")), expectEcho(hello)).inBare()
	k.add("frame-cut-behind-response", "send half a frame in one segment with the response, the rest later",
		responding{head: response, behind: []frame{{opcode: opText, payload: []byte("He"), claim: 5}}}, pause(20*time.Millisecond),
		octets{b: []byte("llo")}, expectEcho(hello)).inBare()
}

// badResponses must make the client give up. A message follows at once: a client that
// accepts the response gives itself away by the echo.
func (k *catalog) badResponses() {
	bad := func(name, title string, h head) *Case {
		return k.add(name, title, responding{head: h, behind: []frame{text(hello)}}, givesUp{}).inBare()
	}
	k.rule("4.1", "If the status code received from the server is not 101, the client handles the response per HTTP [RFC2616] procedures.", Client)
	for _, status := range []string{"200 OK", "204 No Content", "400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "426 Upgrade Required", "500 Internal Server Error", "503 Service Unavailable"} {
		h := response.withLine("HTTP/1.1 " + status).with("Connection: close")
		if status[:3] != "204" {
			h = h.with("Content-Length: 7")
		}
		bad("status-"+status[:3], "answer with status "+status, h)
	}
	k.rule("4.1", "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value \"websocket\", the client MUST _Fail the WebSocket Connection_.", Client)
	bad("no-upgrade", "answer without Upgrade", response.without("Upgrade"))
	bad("upgrade-other", "answer with Upgrade: h2c", response.replaced("Upgrade", "Upgrade: h2c"))
	bad("upgrade-empty", "answer with an empty Upgrade", response.replaced("Upgrade", "Upgrade:"))
	bad("upgrade-longer", "answer with Upgrade: websockets", response.replaced("Upgrade", "Upgrade: websockets"))
	bad("upgrade-prefix", "answer with Upgrade: notwebsocket", response.replaced("Upgrade", "Upgrade: notwebsocket"))
	k.rule("4.1", "If the response lacks a |Connection| header field or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value \"Upgrade\", the client MUST _Fail the WebSocket Connection_.", Client)
	bad("no-connection", "answer without Connection", response.without("Connection"))
	bad("connection-other", "answer with Connection: keep-alive", response.replaced("Connection", "Connection: keep-alive"))
	bad("connection-longer", "answer with Connection: Upgraded", response.replaced("Connection", "Connection: Upgraded"))
	bad("connection-phrase", "answer with Connection: no Upgrade", response.replaced("Connection", "Connection: no-Upgrade"))
	k.rule("4.1", "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string \"258EAFA5-E914-47DA-95CA-C5AB0DC85B11\" but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_.", Client)
	bad("no-accept", "answer without Sec-WebSocket-Accept", response.without("Sec-WebSocket-Accept"))
	bad("accept-empty", "answer with an empty Sec-WebSocket-Accept", response.replaced("Sec-WebSocket-Accept", "Sec-WebSocket-Accept:"))
	bad("accept-other", "answer with the RFC's example as Sec-WebSocket-Accept", response.replaced("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
	bad("accept-key", "answer with the key as Sec-WebSocket-Accept", response.replaced("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: {key}"))
	bad("accept-longer", "answer with an octet behind the right Sec-WebSocket-Accept", response.replaced("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: {accept}A"))
	bad("accept-case", "answer with Sec-WebSocket-Accept in lower case", response).steps[0] = loweredAccept{}
	k.rule("4.1", "If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates the use of an extension that was not present in the client's handshake (the server has indicated an extension not requested by the client), the client MUST _Fail the WebSocket Connection_.", Client)
	bad("extension-not-offered", "answer with an extension that nobody offers", response.with("Sec-WebSocket-Extensions: x-conform-unknown"))
	bad("extension-not-offered-second", "answer with two such extensions on two lines", response.with("Sec-WebSocket-Extensions: x-conform-unknown", "Sec-WebSocket-Extensions: x-conform-other; a=1"))
	k.rule("4.1", "If the response includes a |Sec-WebSocket-Protocol| header field and this header field indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_.", Client)
	bad("subprotocol-not-offered", "answer with a subprotocol that nobody offers", response.with("Sec-WebSocket-Protocol: x-conform-unknown"))
}

// loweredAccept is a response whose Sec-WebSocket-Accept has lost its case.
type loweredAccept struct{}

func (loweredAccept) run(c *conversation) {
	accept := acceptFor(strings.Join(c.peer.request.values("Sec-WebSocket-Key"), ""))
	lowered := strings.ToLower(accept)
	if lowered == accept { // one of 10^13 keys
		lowered = "A" + lowered[1:]
	}
	responding{head: response.replaced("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: "+lowered), behind: []frame{text(hello)}}.run(c)
}

func (loweredAccept) String() string { return "answer with Sec-WebSocket-Accept in lower case" }

// hostileResponses are no HTTP, or too much of it, or too little.
func (k *catalog) hostileResponses() {
	k.rule("10.7", "Incoming data MUST always be validated by both clients and servers.", Client)
	raw := func(name, title, answer string) {
		k.add(name, title, octets{b: []byte(answer)}, halfClose, givesUp{}).inBare()
	}
	raw("response-nothing", "end the stream instead of a response", "")
	raw("response-garbage", "answer with octets that are no HTTP", "\x81\x05Hello\r\n\r\n")
	raw("response-line-cut", "answer with half a status line", "HTTP/1.1 10")
	raw("response-no-status", "answer without a status", "HTTP/1.1\r\n\r\n")
	raw("response-control-octets", "answer with a NUL in a field's name", "HTTP/1.1 101 Switching Protocols\r\nUp\x00grade: websocket\r\n\r\n")
	raw("response-no-colon", "answer with a field without a colon", "HTTP/1.1 101 Switching Protocols\r\nUpgrade websocket\r\n\r\n")
	full := string(response.octets(strings.NewReplacer("{accept}", acceptFor("dGhlIHNhbXBsZSBub25jZQ=="))))
	for n := 1; n < len(full); n += 7 {
		raw(fmt.Sprintf("response-cut-%03d", n), fmt.Sprintf("end the stream after %d octets of the response", n), full[:n])
	}
	k.add("response-endless-fields", "answer with up to 32 MiB of fields", endless{unit: "X-Filler: " + letters(1000) + crlf, max: 32 << 20}).inBare().weighs()
	k.add("response-endless-line", "answer with one field of up to 32 MiB", endless{start: "X-Filler: ", unit: letters(1000), max: 32 << 20}).inBare().weighs()
}

// endless sends a head that does not end, and expects the peer to end that.
type endless struct {
	start, unit string
	max         int
}

func (s endless) run(c *conversation) {
	line := response.line
	if c.role == Server {
		line = string(c.peer.fill().Replace(request.line + crlf + "Host: {host}"))
	}
	b := []byte(line + crlf + s.start)
	for range 64 {
		b = append(b, s.unit...)
	}
	sent := 0
	for sent < s.max {
		if err := c.w.write(b, 0, 0); err != nil {
			c.w.note("the endpoint had enough after %d KiB", sent>>10)
			c.over = true
			c.judge(Right, "")
			return
		}
		sent += len(b)
		b = []byte(strings.Repeat(s.unit, 64))
	}
	c.over = true
	c.judge(Wrong, "the endpoint took %d MiB of header", s.max>>20)
}

func (s endless) String() string {
	return fmt.Sprintf("send a head of up to %d MiB; expect that the endpoint ends the connection before", s.max>>20)
}

// serverHandshake examines what a server makes of requests, and its responses.
func (k *catalog) serverHandshake() {
	k.goodRequests()
	k.badRequests()
	k.badKeys()
	k.responses()
	k.hostileRequests()
}

// goodRequests are right in ways that a careless server refuses.
func (k *catalog) goodRequests() {
	good := func(name, title string, s requesting) {
		k.add(name, title, s, accepted{}, send(text(hello)), expectEcho(hello)).inBare()
	}
	k.rule("4.2.1", "An |Upgrade| header field containing the value \"websocket\", treated as an ASCII case-insensitive value.", Server)
	good("upgrade-case", "ask with Upgrade: WebSocket", requesting{head: request.replaced("Upgrade", "Upgrade: WebSocket")})
	list := func(name, title string, fields ...string) {
		k.add(name, title, requesting{head: request.replaced("Upgrade", fields...)}, accepted{mayRefuse: "4.2.1 can be read as asking for one value"}, send(text(hello)), expectEcho(hello)).inBare()
	}
	list("upgrade-list", "ask with Upgrade: h2c, websocket", "Upgrade: h2c, websocket")
	list("upgrade-lines", "ask with two Upgrade fields", "Upgrade: h2c", "Upgrade: websocket")
	k.rule("4.2.1", "A |Connection| header field that includes the token \"Upgrade\", treated as an ASCII case-insensitive value.", Server)
	good("connection-case", "ask with Connection: uPGRADE", requesting{head: request.replaced("Connection", "Connection: uPGRADE")})
	good("connection-list", "ask with Connection: keep-alive, Upgrade", requesting{head: request.replaced("Connection", "Connection: keep-alive, Upgrade")})
	good("connection-list-tight", "ask with Connection: keep-alive,Upgrade,,x", requesting{head: request.replaced("Connection", "Connection: keep-alive,Upgrade,,x")})
	good("connection-lines", "ask with two Connection fields", requesting{head: request.replaced("Connection", "Connection: keep-alive", "Connection: Upgrade")})
	k.rule("4.2.1", "Unknown header fields are ignored, as per [RFC2616].", Server)
	good("unknown-fields", "ask with unknown fields", requesting{head: request.with("X-One: 1", "X-Two: "+letters(3000), "X-Empty:")})
	good("field-case", "ask with names in odd case", requesting{head: head{request.line, []string{
		"hOST: {host}", "upgrade: websocket", "CONNECTION: Upgrade", "sec-websocket-key: {key}", "SEC-WEBSOCKET-VERSION: 13"}}})
	good("field-spaces", "ask with white space around values", requesting{head: head{request.line, []string{
		"Host: {host}", "Upgrade:\twebsocket ", "Connection:Upgrade", "Sec-WebSocket-Key:   {key}  ", "Sec-WebSocket-Version:13"}}})
	good("field-order", "ask with the fields in another order", requesting{head: head{request.line, []string{
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: {key}", "Connection: Upgrade", "Upgrade: websocket", "Host: {host}"}}})
	k.rule("4.2.1", "Optionally, other header fields, such as those used to send cookies or request authentication to a server.", Server)
	good("cookies", "ask with cookies and credentials", requesting{head: request.with("Cookie: a=b; c=d", "Authorization: Basic Og==", "User-Agent: conform")})
	k.rule("4.2.1", "The server must parse at least part of this handshake in order to obtain the necessary information to generate the server part of the handshake.", Server)
	good("request-octets", "ask in segments of one octet", requesting{head: request, segment: 1, pause: 50 * time.Microsecond})
	good("request-pieces", "ask in segments of 17 octets, 2 ms apart", requesting{head: request, segment: 17, pause: 2 * time.Millisecond})
	const hasty = "4.1 tells clients to wait for the response"
	k.add("frames-behind-request", "send a Ping and a message in one segment with the request",
		requesting{head: request, behind: []frame{ping("now"), text(hello)}}, accepted{mayRefuse: hasty}, expect(pongs("now")), expectEcho(hello)).inBare()
	k.add("frame-cut-behind-request", "send half a frame in one segment with the request, the rest later",
		requesting{head: request, behind: []frame{{opcode: opText, payload: []byte("He"), claim: 5, key: new([4]byte)}}}, pause(20*time.Millisecond),
		accepted{mayRefuse: hasty}, octets{b: []byte("llo")}, expectEcho(hello)).inBare()
}

// badRequests must be refused.
func (k *catalog) badRequests() {
	bad := func(name, title string, h head, want refused) {
		k.add(name, title, requesting{head: h}, want, another{}).inBare()
	}
	k.rule("4.2.1", "An HTTP/1.1 or higher GET request, including a \"Request-URI\" [RFC2616] that should be interpreted as a /resource name/ defined in Section 3 (or an absolute HTTP/HTTPS URI containing the /resource name/).", Server)
	for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get"} {
		bad("method-"+method, "ask with the method "+method, request.withLine(method+" {target} HTTP/1.1"), refused{})
	}
	bad("http-1.0", "ask with HTTP/1.0", request.withLine("GET {target} HTTP/1.0"), refused{})
	k.rule("4.2.1", "A |Host| header field containing the server's authority.", Server)
	bad("no-host", "ask without Host", request.without("Host"), refused{right: []int{400}})
	bad("two-hosts", "ask with two Host fields", request.with("Host: other.example"), refused{right: []int{400}})
	k.rule("4.2.1", "An |Upgrade| header field containing the value \"websocket\", treated as an ASCII case-insensitive value.", Server)
	upgrade := refused{right: []int{426, 400}, maySay: "it was asked for no WebSocket"}
	bad("no-upgrade", "ask without Upgrade", request.without("Upgrade"), upgrade)
	bad("upgrade-other", "ask with Upgrade: h2c", request.replaced("Upgrade", "Upgrade: h2c"), upgrade)
	bad("upgrade-longer", "ask with Upgrade: websockets", request.replaced("Upgrade", "Upgrade: websockets"), upgrade)
	bad("upgrade-prefix", "ask with Upgrade: notwebsocket", request.replaced("Upgrade", "Upgrade: notwebsocket"), upgrade)
	k.rule("4.2.1", "A |Connection| header field that includes the token \"Upgrade\", treated as an ASCII case-insensitive value.", Server)
	bad("no-connection", "ask without Connection", request.without("Connection"), upgrade)
	bad("connection-other", "ask with Connection: keep-alive", request.replaced("Connection", "Connection: keep-alive"), upgrade)
	bad("connection-longer", "ask with Connection: Upgraded", request.replaced("Connection", "Connection: Upgraded"), upgrade)
	bad("connection-phrase", "ask with Connection: no-Upgrade", request.replaced("Connection", "Connection: no-Upgrade"), upgrade)
	k.rule("4.4", "If the server doesn't support the requested version, it MUST respond with a |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields) containing all versions it is willing to use.", Server)
	version := refused{right: []int{426, 400}, also: func(h head) string {
		if !h.hasToken("Sec-WebSocket-Version", "13") {
			return fmt.Sprintf("the refusal has Sec-WebSocket-Version: %q where 13 must be", h.values("Sec-WebSocket-Version"))
		}
		return ""
	}}
	for _, v := range []string{"0", "8", "12", "14", "99", "255"} {
		bad("version-"+v, "ask for version "+v, request.replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: "+v), version)
	}
	k.rule("4.2.1", "A |Sec-WebSocket-Version| header field, with a value of 13.", Server)
	bad("no-version", "ask without Sec-WebSocket-Version", request.without("Sec-WebSocket-Version"), refused{right: []int{426, 400}})
	bad("version-empty", "ask with an empty Sec-WebSocket-Version", request.replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), refused{right: []int{426, 400}})
	bad("version-word", "ask with Sec-WebSocket-Version: 13x", request.replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13x"), refused{right: []int{426, 400}})
	bad("version-zeros", "ask with Sec-WebSocket-Version: 013", request.replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), refused{right: []int{426, 400}, mayDo: true})
	k.rule("4.2.1", "The client's opening handshake consists of the following parts. If the server, while reading the handshake, finds that the client did not send a handshake that matches the description below (note that as per [RFC2616], the order of the header fields is not important), including but not limited to any violations of the ABNF grammar specified for the components of the handshake, the server MUST stop processing the client's handshake and return an HTTP response with an appropriate error code (such as 400 Bad Request).", Server)
	k.add("body", "ask with a body", requesting{head: request.with("Content-Length: 5"), behind: nil}, octets{b: []byte("12345")}, refused{right: []int{400}, mayDo: true}, another{}).inBare()
}

// badKeys are requests without a proper Sec-WebSocket-Key.
func (k *catalog) badKeys() {
	k.rule("4.2.1", "A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length.", Server)
	encoded := func(n int) string { return base64.StdEncoding.EncodeToString(filled(n)) }
	for _, bad := range []struct {
		name, title string
		fields      []string
		mayDo       bool
	}{
		{"no-key", "ask without Sec-WebSocket-Key", nil, false},
		{"key-empty", "ask with an empty key", []string{""}, false},
		{"key-15", "ask with a key of 15 octets", []string{encoded(15)}, false},
		{"key-17", "ask with a key of 17 octets", []string{encoded(17)}, false},
		{"key-0x10", "ask with a key of 160 octets", []string{encoded(160)}, false},
		{"key-words", "ask with a key of 24 characters that are no base64", []string{"?!?!?!?!?!?!?!?!?!?!?!=="}, false},
		{"key-url", "ask with a key in base64url", []string{"__________-_______-_-w=="}, false},
		{"key-no-padding", "ask with a key without padding", []string{strings.TrimRight(encoded(16), "=")}, false},
		{"key-bare", "ask with a key of 16 characters", []string{"0123456789abcdef"}, false},
		{"two-keys", "ask with two keys", []string{encoded(16), "dGhlIHNhbXBsZSBub25jZQ=="}, false},
	} {
		h := request.without("Sec-WebSocket-Key")
		for _, f := range bad.fields {
			h = h.with("Sec-WebSocket-Key: " + f)
		}
		k.add(bad.name, bad.title, requesting{head: h}, refused{right: []int{400}, mayDo: bad.mayDo}, another{}).inBare()
	}
}

// responses looks at what the server answers.
func (k *catalog) responses() {
	k.rule("4.2.2", "If the server chooses to accept the incoming connection, it MUST reply with a valid HTTP response indicating the following.", Server)
	k.add("response", "ask as the RFC has it", requesting{head: request}, accepted{}, send(text(hello)), expectEcho(hello)).inBare()
	k.rule("4.2.2", "The value of this header field is constructed by concatenating /key/, defined above in step 4 in Section 4.2.2, with the string \"258EAFA5-E914-47DA-95CA-C5AB0DC85B11\", taking the SHA-1 hash of this concatenated value to obtain a 20-byte value and base64-encoding (see Section 4 of [RFC4648]) this 20-byte hash.", Server)
	k.add("accept-example", "ask with the RFC's example key", act{"send the key dGhlIHNhbXBsZSBub25jZQ==", func(c *conversation) {
		requesting{head: request.replaced("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")}.run(c)
		c.peer.key = "dGhlIHNhbXBsZSBub25jZQ=="
	}}, accepted{also: func(h head) string {
		if got := h.values("Sec-WebSocket-Accept")[0]; got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			return "Sec-WebSocket-Accept is " + got
		}
		return ""
	}}).inBare()
	k.rule("4.2.2", "If the client's handshake did not contain such a header field or if the server does not agree to any of the client's requested subprotocols, the only acceptable value is null.", Server)
	offer := func(name, title string, fields ...string) {
		var protocols []string
		for _, f := range fields {
			_, v, _ := strings.Cut(f, ":")
			for _, p := range strings.Split(v, ",") {
				if p = strings.TrimSpace(p); isToken(p) {
					protocols = append(protocols, p)
				}
			}
		}
		k.add(name, title, requesting{head: request.with(fields...)}, accepted{protocols: protocols}, send(text(hello)), expectEcho(hello)).inBare()
	}
	offer("subprotocol", "offer a subprotocol that nobody speaks", "Sec-WebSocket-Protocol: x-conform-unknown")
	offer("subprotocols", "offer several subprotocols on two lines", "Sec-WebSocket-Protocol: x-conform-one, x-conform-two", "Sec-WebSocket-Protocol: x-conform-three")
	k.add("subprotocol-no-token", "offer a subprotocol that is no token", requesting{head: request.with("Sec-WebSocket-Protocol: a{b}")},
		act{"expect a refusal, or 101 without the subprotocol", func(c *conversation) {
			h, ok := c.response()
			if c.over = true; !ok || h.status() >= 400 && h.status() <= 599 {
				c.judge(Right, "")
			} else if why := (accepted{}).fault(c, h); why != "" {
				c.judge(Wrong, "%s", why)
			} else {
				c.judge(Right, "")
			}
		}}).inBare()
	k.rule("4.2.2", "Extensions not listed by the client MUST NOT be listed.", Server)
	ext := func(name, title, value string) {
		k.add(name, title, requesting{head: request.with("Sec-WebSocket-Extensions: " + value)}, accepted{}, send(text(hello)), expectEcho(hello)).inBare()
	}
	ext("extension-unknown", "offer an extension that nobody knows", "x-conform-unknown")
	ext("extension-unknown-parameters", "offer unknown extensions with parameters", `x-conform-unknown; a=1; b="c", x-conform-other;d`)
	k.rule("10.2", "If the origin indicated is unacceptable to the server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403 Forbidden status code.", Server)
	k.add("origin-foreign", "ask with the Origin of another site", requesting{head: request.with("Origin: https://elsewhere.example")}, refused{right: []int{403}, mayDo: true}, another{}).inBare()
	k.add("origin-null", "ask with Origin: null", requesting{head: request.with("Origin: null")}, refused{right: []int{403}, mayDo: true}, another{}).inBare()
	k.add("origin-lookalike", "ask with an Origin that starts with the server's name", requesting{head: request.with("Origin: http://{host}.elsewhere.example")}, refused{right: []int{403}, mayDo: true}, another{}).inBare()
	k.add("origin-two", "ask with two Origin fields", requesting{head: request.with("Origin: http://{host}", "Origin: https://elsewhere.example")}, refused{right: []int{403, 400}, mayDo: true}, another{}).inBare()
	k.add("origin-own", "ask with the server's own Origin", requesting{head: request.with("Origin: {scheme}://{host}")}, accepted{mayRefuse: "10.2 leaves it to the server which origins are acceptable"}, send(text(hello)), expectEcho(hello)).inBare()
}

// hostileRequests are no HTTP, or too much of it, or too little.
func (k *catalog) hostileRequests() {
	k.rule("10.7", "If the invalid data is sent during the WebSocket handshake, the server SHOULD return an appropriate HTTP [RFC2616] status code.", Server)
	k.add("request-garbage", "send octets that are no HTTP", octets{b: []byte("\x81\x85\x00\x00\x00\x00Hello\r\n\r\n")}, refused{}, another{}).inBare()
	k.add("request-field-octets", "ask with a NUL in a field's name", requesting{head: request.with("X\x00Y: 1")}, refused{right: []int{400}}, another{}).inBare()
	k.add("request-no-colon", "ask with a field without a colon", requesting{head: request.with("nothing")}, refused{right: []int{400}}, another{}).inBare()
	k.add("extension-garbage", "offer extensions of 32 KiB of ;;;,,,\"\\", requesting{head: request.with("Sec-WebSocket-Extensions: a" + strings.Repeat(`; ,"\`, 6000))},
		quickly{time.Second}, another{}).inBare()
	k.add("subprotocol-garbage", "offer subprotocols of 32 KiB of commas and spaces", requesting{head: request.with("Sec-WebSocket-Protocol: a" + strings.Repeat(", \t ", 8000) + "b")},
		quickly{time.Second}, another{}).inBare()
	full := len(request.octets(strings.NewReplacer()))
	for n := 0; n < full; n += 9 {
		k.add(fmt.Sprintf("request-cut-%03d", n), fmt.Sprintf("end the stream after %d octets of the request", n),
			requestCut{n}, another{}).inBare()
	}
	k.rule("10.7", "If, at any time, an endpoint is faced with data that it does not understand or that violates some criteria by which the endpoint determines safety of input, or when the endpoint sees an opening handshake that does not correspond to the values it is expecting (e.g., incorrect path or origin in the client request), the endpoint MAY drop the TCP connection.", Server)
	k.add("request-endless-fields", "ask with up to 32 MiB of fields", endless{unit: "X-Filler: " + letters(1000) + crlf, max: 32 << 20}, another{}).inBare().weighs()
	k.add("request-endless-line", "ask with one field of up to 32 MiB", endless{start: "X-Filler: ", unit: letters(1000), max: 32 << 20}, another{}).inBare().weighs()
	k.add("request-stalled", "leave 32 requests unfinished, then ask on another connection", act{"send half a request on 32 connections", func(c *conversation) {
		var open []net.Conn
		for range 32 {
			conn, err := c.peer.dial()
			if err != nil {
				break
			}
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: " + c.peer.host + "\r\n"))
			open = append(open, conn)
		}
		another{}.run(c)
		for _, conn := range open {
			_ = conn.Close()
		}
		c.over = true
	}}).inBare()
}

// quickly expects any response at all within a time that only a quadratic parser needs.
type quickly struct{ within time.Duration }

func (s quickly) run(c *conversation) {
	start := time.Now()
	_, raw, err := readHead(c.w.br)
	c.over = true
	c.w.note("← %s", excerpt(raw))
	if took := time.Since(start); took > c.atLeast(s.within) || err != nil && !endOf(err) {
		c.judge(Wrong, "a response took %v", took.Round(time.Millisecond))
		return
	}
	c.judge(Right, "")
}

func (s quickly) String() string { return fmt.Sprintf("expect any answer within %v", s.within) }

// requestCut ends the stream inside the request.
type requestCut struct{ n int }

func (s requestCut) run(c *conversation) {
	c.peer.key = newKey()
	b := request.octets(c.peer.fill())
	c.w.note("→ %d octets of the request", min(s.n, len(b)-1))
	_ = c.w.write(b[:min(s.n, len(b)-1)], 0, 0)
	c.w.halfClose()
	_ = c.w.conn.SetReadDeadline(time.Now().Add(c.cfg.Patience))
	h, _, err := readHead(c.w.br)
	c.over = true
	switch {
	case err == nil && h.status() >= 400, err != nil && endOf(err):
		c.judge(Right, "")
	case err == nil:
		c.judge(Wrong, "%s came for a request that was not whole", h.line)
	default:
		c.judge(Wrong, "the server did not end the connection: %s", plain(err))
	}
}

func (s requestCut) String() string {
	return fmt.Sprintf("send %d octets of a request and end the stream; expect the end, or a refusal", s.n)
}
