package websocket

// RFC 6455 in its order: the opening handshake. What a client sends, how it takes
// the answer, and how a server answers, all on the wire.

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// dialRow is a sentence about what a client sends.
type dialRow struct {
	id   string
	says string
	url  string // "ws://example.com/chat" where empty
	opts Options
	host string   // that is connected to; not looked at where empty
	has  []string // patterns, each of which one line of the request matches
	not  []string // patterns that no line matches
}

// urlRow is a sentence about what a client must not even begin to do.
type urlRow struct {
	id   string
	says string
	url  string
	opts Options
}

// answerRow is a sentence about how a client takes an answer.
type answerRow struct {
	id      string
	says    string
	opts    Options
	answer  []string // changes to the sample
	refused bool
	talk    []step // where it is not refused
}

// requestRow is a sentence about how a server answers a request.
type requestRow struct {
	id      string
	says    string
	opts    Options
	request []string // changes to the sample
	body    string
	status  int
	has     []string // as in dialRow, of the answer
	not     []string
	talk    []step // after a 101
}

// otherRow is a sentence that needs a scene of its own.
type otherRow struct {
	id   string
	says string
	run  func(t *testing.T) (got, want string)
}

var sampleRequestLines = []string{
	"GET /chat HTTP/1.1", "Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
}

var sampleAnswerLines = []string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: $ACCEPT"}

// changed is a message with changes: a line replaces the one of the same name, or
// the first one; "+line" adds one, "-name" takes one away.
func changed(lines, changes []string) string {
	lines = slices.Clone(lines)
	for _, change := range changes {
		name, _, _ := strings.Cut(strings.TrimLeft(change, "+-"), ":")
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, name+":") })
		switch {
		case strings.Contains(change, "HTTP/1."):
			lines[0] = change
		case change[0] == '-':
			lines = slices.Delete(lines, at, at+1)
		case change[0] == '+':
			lines = append(lines, change[1:])
		default:
			lines[at] = change
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// readHead reads the head of an HTTP message, line by line. Upper and lower case
// mean nothing in the names of fields; here they are the RFC's.
func readHead(r *bufio.Reader) ([]string, error) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); err != nil || line == "" {
			return lines, err
		}
		lines = append(lines, strings.Replace(line, "Sec-Websocket-", "Sec-WebSocket-", 1))
	}
}

// missing says which pattern is not as it should be.
func missing(lines, has, not []string) string {
	matches := func(pattern string) bool {
		return slices.ContainsFunc(lines, regexp.MustCompile("^(?:"+pattern+")$").MatchString)
	}
	for _, pattern := range has {
		if !matches(pattern) {
			return fmt.Sprintf("no line %q in\n\t%s", pattern, strings.Join(lines, "\n\t"))
		}
	}
	for _, pattern := range not {
		if matches(pattern) {
			return fmt.Sprintf("a line %q in\n\t%s", pattern, strings.Join(lines, "\n\t"))
		}
	}
	return ""
}

// rawServer accepts one connection, whatever host is dialled.
type rawServer struct {
	listener net.Listener
	dialled  chan string // what was dialled
	conns    chan net.Conn
}

func newRawServer(t *testing.T) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{l, make(chan string, 16), make(chan net.Conn, 16)}
	go func() {
		defer close(s.conns)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- conn
		}
	}()
	t.Cleanup(func() { l.Close() })
	return s
}

// client is an http.Client for which every host is s.
func (s *rawServer) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			s.dialled <- addr
			return new(net.Dialer).DialContext(ctx, network, s.listener.Addr().String())
		},
	}}
}

// accept takes the connection that was made.
func (s *rawServer) accept(t *testing.T) net.Conn {
	t.Helper()
	select {
	case conn := <-s.conns:
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // if that fails, the rest may take long
		return conn
	case <-time.After(20 * time.Second):
		t.Fatal("nobody connects")
		return nil
	}
}

type dialled struct {
	c   *Conn
	err error
}

// dials has a client dial in the background.
func dials(t *testing.T, url string, o Options, s *rawServer) <-chan dialled {
	if url == "" {
		url = "ws://example.com/chat"
	}
	o.HTTPClient, o.KeepAlive = s.client(), -1
	done := make(chan dialled, 1)
	go func() {
		c, _, err := Dial(t.Context(), url, &o)
		done <- dialled{c, err}
	}()
	return done
}

func (r dialRow) run(t *testing.T) {
	s := newRawServer(t)
	done := dials(t, r.url, r.opts, s)
	conn := s.accept(t)
	if host := <-s.dialled; r.host != "" && host != r.host {
		t.Errorf("%s %q\n  got: a connection to %s\n want: to %s", r.id, r.says, host, r.host)
	}
	if len(r.has)+len(r.not) > 0 {
		lines, err := readHead(bufio.NewReader(conn))
		if err != nil {
			t.Fatalf("%s %q\n %v in %q", r.id, r.says, err, lines)
		}
		if wrong := missing(lines, r.has, r.not); wrong != "" {
			t.Errorf("%s %q\n %s", r.id, r.says, wrong)
		}
	}
	_ = conn.Close()
	if d := <-done; d.err == nil {
		t.Errorf("%s %q\n connection without an answer", r.id, r.says)
	}
}

func (r urlRow) run(t *testing.T) {
	s := newRawServer(t)
	d := <-dials(t, r.url, r.opts, s)
	var refusal *HandshakeError
	if !errors.As(d.err, &refusal) {
		t.Errorf("%s %q\n  got: %v\n want: a *HandshakeError", r.id, r.says, d.err)
	}
	if len(s.dialled) > 0 {
		t.Errorf("%s %q\n  got: a connection to %s\n want: none", r.id, r.says, <-s.dialled)
	}
}

func (r answerRow) run(t *testing.T) {
	s := newRawServer(t)
	done := dials(t, "", r.opts, s)
	conn := s.accept(t)
	stream := behindHandshake{conn.(*net.TCPConn), bufio.NewReader(conn)}
	req, err := http.ReadRequest(stream.ahead)
	if err != nil {
		t.Fatal(err)
	}
	key := req.Header.Get("Sec-WebSocket-Key")
	answer := strings.NewReplacer("$ACCEPT", AcceptKey(key), "$KEY", key).Replace(changed(sampleAnswerLines, r.answer))
	if _, err := io.WriteString(conn, answer); err != nil {
		t.Fatal(err)
	}
	d := <-done
	var refusal *HandshakeError
	switch {
	case !r.refused && d.err != nil, r.refused && !errors.As(d.err, &refusal):
		t.Fatalf("%s %q\n  got: %v\n want: refused %v", r.id, r.says, d.err, r.refused)
	case r.refused:
		if b, err := io.ReadAll(stream.ahead); len(b) > 0 || err != nil {
			t.Errorf("%s %q\n  got: % x %v\n want: end of stream", r.id, r.says, b, err)
		}
		return
	}
	_ = conn.SetDeadline(time.Time{})
	t.Cleanup(func() { _ = d.c.CloseNow() })
	converse(t, newExchange(d.c, newPeer(t, stream, false)), where{role: "client", half: true}, row{id: r.id, says: r.says, talk: r.talk})
}

// converse goes through a conversation after a handshake.
func converse(t *testing.T, x *exchange, has where, r row) {
	x.client, x.half, x.results = has.role == "client", has.half, map[string]chan error{}
	x.follow(t, r)
}

// servers are the ways in which a server answers requests.
func servers(o *Options, conns chan<- *Conn) map[string]http.Handler {
	open := func(c *Conn, _ *http.Request) error {
		conns <- c
		return nil
	}
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, o); err == nil {
			conns <- c
		}
	})
	return map[string]http.Handler{
		"Accept": accept,
		// Reads are the row's, and Handle lasts as long as the connection.
		"Server.Handle": &Server{Options: *o, Open: open, Handle: func(c *Conn, _ *http.Request) error {
			<-c.Context().Done()
			return nil
		}},
	}
}

func (r requestRow) run(t *testing.T) {
	r.opts.KeepAlive = -1
	conns := make(chan *Conn, 1)
	for name, handler := range servers(&r.opts, conns) {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(handler)
			t.Cleanup(s.Close)
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // if that fails, the rest may take long
			if _, err := io.WriteString(conn, changed(sampleRequestLines, r.request)+r.body); err != nil {
				t.Fatal(err)
			}
			stream := behindHandshake{conn.(*net.TCPConn), bufio.NewReader(conn)}
			lines, err := readHead(stream.ahead)
			if err != nil {
				t.Fatal(err)
			}
			has := append([]string{fmt.Sprintf("HTTP/1.[01] %d .*", r.status)}, r.has...)
			if wrong := missing(lines, has, r.not); wrong != "" {
				t.Fatalf("%s %q\n %s", r.id, r.says, wrong)
			}
			if r.status != http.StatusSwitchingProtocols {
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
			c := <-conns
			t.Cleanup(func() { _ = c.CloseNow() })
			converse(t, newExchange(c, newPeer(t, stream, true)), where{role: "server", half: true}, row{id: r.id, says: r.says, talk: r.talk})
		})
	}
}

func Test3_URIs(t *testing.T) {
	runEach(t, dialRows3, dialRow.run)
	runEach(t, urlRows3, urlRow.run)
}

// runEach runs rows of one kind.
func runEach[R interface{ claim() (id, says string) }](t *testing.T, rows []R, run func(R, *testing.T)) {
	for _, r := range rows {
		id, _ := r.claim()
		t.Run(id, func(t *testing.T) { run(r, t) })
	}
}

func (r row) claim() (id, says string)        { return r.id, r.says }
func (r dialRow) claim() (id, says string)    { return r.id, r.says }
func (r urlRow) claim() (id, says string)     { return r.id, r.says }
func (r answerRow) claim() (id, says string)  { return r.id, r.says }
func (r requestRow) claim() (id, says string) { return r.id, r.says }
func (r otherRow) claim() (id, says string)   { return r.id, r.says }

func (r otherRow) test(t *testing.T) {
	if got, want := r.run(t); got != want {
		t.Errorf("%s %q\n  got: %s\n want: %s", r.id, r.says, got, want)
	}
}

var dialRows3 = []dialRow{
	{id: "3-1", says: `The port component is OPTIONAL; the default for "ws" is port 80, while the default for "wss" is port 443.`,
		url: "ws://example.com/chat", host: "example.com:80"},
	{id: "3-1", says: `The port component is OPTIONAL; the default for "ws" is port 80, while the default for "wss" is port 443.`,
		url: "wss://example.com/chat", host: "example.com:443"},
	{id: "3-1", says: `The port component is OPTIONAL; the default for "ws" is port 80, while the default for "wss" is port 443.`,
		url: "ws://example.com:8080/chat", host: "example.com:8080"},
	{id: "3-3", says: `As with any URI scheme, the character "#", when not indicating the start of a fragment, MUST be escaped as %23.`,
		url: "ws://example.com/a%23b?c%23d", has: []string{`GET /a%23b\?c%23d HTTP/1\.1`}},
}

var urlRows3 = []urlRow{
	{id: "3-2", says: `Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on these URIs.`,
		url: "ws://example.com/chat#there"},
	{id: "3-2", says: `Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on these URIs.`,
		url: "ws://example.com/chat#"},
	{id: "4.1-3", says: `The components of the WebSocket URI passed into this algorithm (/host/, /port/, /resource name/, and /secure/ flag) MUST be valid according to the specification of WebSocket URIs specified in Section 3.`,
		url: "ws:///chat"},
	{id: "4.1-3", says: `The components of the WebSocket URI passed into this algorithm (/host/, /port/, /resource name/, and /secure/ flag) MUST be valid according to the specification of WebSocket URIs specified in Section 3.`,
		url: "ws://example.com:port/chat"},
	{id: "4.1-4", says: `If any of the components are invalid, the client MUST _Fail the WebSocket Connection_ and abort these steps.`,
		url: "example.com/chat"},
	{id: "4.1-4", says: `If any of the components are invalid, the client MUST _Fail the WebSocket Connection_ and abort these steps.`,
		url: "ftp://example.com/chat"},
	{id: "4.1-4", says: `If any of the components are invalid, the client MUST _Fail the WebSocket Connection_ and abort these steps.`,
		url: "ws://exa mple.com/chat"},
	{id: "4.1-32", says: `The elements that comprise this value MUST be non-empty strings with characters in the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings.`,
		url: "ws://example.com/chat", opts: Options{Subprotocols: []string{"chat", ""}}},
	{id: "4.1-32", says: `The elements that comprise this value MUST be non-empty strings with characters in the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings.`,
		url: "ws://example.com/chat", opts: Options{Subprotocols: []string{"chat room"}}},
	{id: "4.1-32", says: `The elements that comprise this value MUST be non-empty strings with characters in the range U+0021 to U+007E not including separator characters as defined in [RFC2616] and MUST all be unique strings.`,
		url: "ws://example.com/chat", opts: Options{Subprotocols: []string{"a", "b", "a"}}},
}

func Test4_1_ClientRequirements(t *testing.T) {
	runEach(t, dialRows4_1, dialRow.run)
	runEach(t, answerRows4_1, answerRow.run)
	runEach(t, otherRows4_1, otherRow.test)
}

var dialRows4_1 = []dialRow{
	{id: "4.1-2", says: `When the client is to _Establish a WebSocket Connection_ given a set of (/host/, /port/, /resource name/, and /secure/ flag), along with a list of /protocols/ and /extensions/ to be used, and an /origin/ in the case of web browsers, it MUST open a connection, send an opening handshake, and read the server's handshake in response.`,
		host: "example.com:80", has: []string{`GET /chat HTTP/1\.1`, `Host: example\.com`, `Upgrade: websocket`, `Connection: Upgrade`}},
	{id: "4.1-10", says: `If the client is not configured to use a proxy, then a direct TCP connection SHOULD be opened to the host given by /host/ and the port given by /port/.`,
		url: "ws://example.com:1234/", host: "example.com:1234"},
	{id: "4.1-17", says: `Once a connection to the server has been established (including a connection via a proxy or over a TLS-encrypted tunnel), the client MUST send an opening handshake to the server.`,
		has: []string{`GET /chat HTTP/1\.1`, `Sec-WebSocket-Key: .*`}},
	{id: "4.1-18", says: `The handshake MUST be a valid HTTP request as specified by [RFC2616].`,
		has: []string{`GET /chat HTTP/1\.1`}, not: []string{`[^: ]+`, `Content-Length: .*`, `Transfer-Encoding: .*`}},
	{id: "4.1-19", says: `The method of the request MUST be GET, and the HTTP version MUST be at least 1.1.`,
		has: []string{`GET [^ ]+ HTTP/1\.1`}},
	{id: "4.1-20", says: `The "Request-URI" part of the request MUST match the /resource name/ defined in Section 3 (a relative URI) or be an absolute http/https URI that, when parsed, has a /resource name/, /host/, and /port/ that match the corresponding ws/wss URI.`,
		url: "ws://example.com", has: []string{`GET / HTTP/1\.1`}},
	{id: "4.1-20", says: `The "Request-URI" part of the request MUST match the /resource name/ defined in Section 3 (a relative URI) or be an absolute http/https URI that, when parsed, has a /resource name/, /host/, and /port/ that match the corresponding ws/wss URI.`,
		url: "ws://example.com/a/b%2Fc?d=e&f", has: []string{`GET /a/b%2Fc\?d=e&f HTTP/1\.1`}},
	{id: "4.1-20", says: `The "Request-URI" part of the request MUST match the /resource name/ defined in Section 3 (a relative URI) or be an absolute http/https URI that, when parsed, has a /resource name/, /host/, and /port/ that match the corresponding ws/wss URI.`,
		url: "ws://example.com?query", has: []string{`GET /\?query HTTP/1\.1`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		has: []string{`Host: example\.com`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		url: "ws://example.com:8080/", has: []string{`Host: example\.com:8080`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		url: "ws://example.com:80/", host: "example.com:80", has: []string{`Host: example\.com`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		url: "ws://example.com:/", host: "example.com:80", has: []string{`Host: example\.com`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		url: "ws://[::1]:80/", host: "[::1]:80", has: []string{`Host: \[::1\]`}},
	{id: "4.1-21", says: `The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed by /port/ (when not using the default port).`,
		url: "ws://example.com:443/", host: "example.com:443", has: []string{`Host: example\.com:443`}},
	{id: "4.1-22", says: `The request MUST contain an |Upgrade| header field whose value MUST include the "websocket" keyword.`,
		has: []string{`Upgrade: websocket`}},
	{id: "4.1-23", says: `The request MUST contain a |Connection| header field whose value MUST include the "Upgrade" token.`,
		has: []string{`Connection: Upgrade`}},
	{id: "4.1-24", says: `The request MUST include a header field with the name |Sec-WebSocket-Key|.`,
		has: []string{`Sec-WebSocket-Key: .+`}},
	{id: "4.1-25", says: `The value of this header field MUST be a nonce consisting of a randomly selected 16-byte value that has been base64-encoded (see Section 4 of [RFC4648]).`,
		has: []string{`Sec-WebSocket-Key: [A-Za-z0-9+/]{21}[AQgw]==`}},
	{id: "4.1-28", says: `If the connection is from a non-browser client, the request MAY include this header field if the semantics of that client match the use-case described here for browser clients.`,
		not: []string{`Origin:.*`}},
	{id: "4.1-28", says: `If the connection is from a non-browser client, the request MAY include this header field if the semantics of that client match the use-case described here for browser clients.`,
		opts: Options{Header: http.Header{"Origin": {"https://example.com"}}}, has: []string{`Origin: https://example\.com`}},
	{id: "4.1-29", says: `The request MUST include a header field with the name |Sec-WebSocket-Version|.`,
		has: []string{`Sec-WebSocket-Version: .*`}},
	{id: "4.1-30", says: `The value of this header field MUST be 13.`,
		has: []string{`Sec-WebSocket-Version: 13`}},
	{id: "4.1-31", says: `The request MAY include a header field with the name |Sec-WebSocket-Protocol|.`,
		not: []string{`Sec-WebSocket-Protocol:.*`}},
	{id: "4.1-31", says: `The request MAY include a header field with the name |Sec-WebSocket-Protocol|.`,
		opts: Options{Subprotocols: []string{"chat", "superchat"}}, has: []string{`Sec-WebSocket-Protocol: chat, superchat`}},
	{id: "4.1-33", says: `The request MAY include a header field with the name |Sec-WebSocket-Extensions|.`,
		not: []string{`Sec-WebSocket-Extensions:.*`}},
	{id: "4.1-33", says: `The request MAY include a header field with the name |Sec-WebSocket-Extensions|.`,
		opts: Options{Compression: new(Compression)}, has: []string{`Sec-WebSocket-Extensions: permessage-deflate.*`}},
	{id: "4.1-34", says: `The request MAY include any other header fields, for example, cookies [RFC6265] and/or authentication-related header fields such as the |Authorization| header field [RFC2616], which are processed according to documents that define them.`,
		opts: Options{Header: http.Header{"Authorization": {"Bearer x"}, "Cookie": {"a=b"}}}, has: []string{`Authorization: Bearer x`, `Cookie: a=b`}},
}

var answerRows4_1 = []answerRow{
	{id: "4.1-36", says: `The client MUST validate the server's response as follows:`,
		talk: []step{writes(Text, "a"), wants("a message", text("a"))}},
	{id: "4.1-36", says: `The client MUST validate the server's response as follows:`,
		answer: []string{"HTTP/1.1 200 OK", "+Content-Length: 0"}, refused: true},
	{id: "4.1-37", says: `If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"-Upgrade"}, refused: true},
	{id: "4.1-37", says: `If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Upgrade: websockets"}, refused: true},
	{id: "4.1-37", says: `If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Upgrade: websocket, h2c"}, refused: true},
	{id: "4.1-37", says: `If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Upgrade: webSOCKET"}},
	{id: "4.1-38", says: `If the response lacks a |Connection| header field or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"-Connection"}, refused: true},
	{id: "4.1-38", says: `If the response lacks a |Connection| header field or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Connection: upgraded, keep-alive"}, refused: true},
	{id: "4.1-38", says: `If the response lacks a |Connection| header field or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Connection: keep-alive", "+Connection: other , uPGRADE"}},
	{id: "4.1-39", says: `If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"-Sec-WebSocket-Accept"}, refused: true},
	{id: "4.1-39", says: `If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, refused: true},
	{id: "4.1-39", says: `If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Sec-WebSocket-Accept: $KEY"}, refused: true},
	{id: "4.1-39", says: `If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"Sec-WebSocket-Accept: \t $ACCEPT \t"}},
	{id: "4.1-40", says: `If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates the use of an extension that was not present in the client's handshake (the server has indicated an extension not requested by the client), the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"+Sec-WebSocket-Extensions: permessage-deflate"}, refused: true},
	{id: "4.1-40", says: `If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates the use of an extension that was not present in the client's handshake (the server has indicated an extension not requested by the client), the client MUST _Fail the WebSocket Connection_.`,
		opts: Options{Compression: new(Compression)}, answer: []string{"+Sec-WebSocket-Extensions: x-other"}, refused: true},
	{id: "4.1-41", says: `If the response includes a |Sec-WebSocket-Protocol| header field and this header field indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"+Sec-WebSocket-Protocol: chat"}, refused: true},
	{id: "4.1-41", says: `If the response includes a |Sec-WebSocket-Protocol| header field and this header field indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_.`,
		opts: Options{Subprotocols: []string{"chat"}}, answer: []string{"+Sec-WebSocket-Protocol: Chat"}, refused: true},
	{id: "4.1-41", says: `If the response includes a |Sec-WebSocket-Protocol| header field and this header field indicates the use of a subprotocol that was not present in the client's handshake (the server has indicated a subprotocol not requested by the client), the client MUST _Fail the WebSocket Connection_.`,
		opts: Options{Subprotocols: []string{"chat", "superchat"}}, answer: []string{"+Sec-WebSocket-Protocol: superchat"},
		talk: []step{sees("the subprotocol", func(x *exchange) (got, want string) { return x.c.Subprotocol(), "superchat" })}},
	{id: "4.1-42", says: `If the server's response does not conform to the requirements for the server's handshake as defined in this section and in Section 4.2.2, the client MUST _Fail the WebSocket Connection_.`,
		answer: []string{"HTTP/1.0 101 Switching Protocols"}, refused: true},
	{id: "7.2.1-1", says: `To do so, the client MUST _Fail the WebSocket Connection_ as defined in Section 7.1.7.`,
		answer: []string{"HTTP/1.1 403 Forbidden", "+Content-Length: 0"}, refused: true},
}

var otherRows4_1 = []otherRow{
	{id: "4.1-12", says: `If the connection could not be opened, either because a direct connection failed or because any proxy used returned an error, then the client MUST _Fail the WebSocket Connection_ and abort the connection attempt.`,
		run: func(t *testing.T) (got, want string) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_ = l.Close() // nobody listens there now
			c, resp, err := Dial(t.Context(), "ws://"+l.Addr().String()+"/", nil)
			return fmt.Sprint(c == nil, resp == nil, err != nil), "true true true"
		}},
	{id: "4.1-13", says: `If /secure/ is true, the client MUST perform a TLS handshake over the connection after opening the connection and before sending the handshake data [RFC2818].`,
		run: func(t *testing.T) (got, want string) {
			s := newRawServer(t)
			done := dials(t, "wss://example.com/", Options{}, s)
			conn := s.accept(t)
			first := make([]byte, 1)
			_, err := io.ReadFull(conn, first)
			_ = conn.Close()
			<-done
			return fmt.Sprintf("% x %v", first, err), "16 <nil>" // a TLS record of a handshake
		}},
	{id: "4.1-14", says: `If this fails (e.g., the server's certificate could not be verified), then the client MUST _Fail the WebSocket Connection_ and abort the connection.`,
		run: func(t *testing.T) (got, want string) {
			_, err := overTLS(t, "wss://example.com/", &tls.Config{})
			var unknown *tls.CertificateVerificationError
			return fmt.Sprint(errors.As(err, &unknown)), "true"
		}},
	{id: "4.1-14", says: `If this fails (e.g., the server's certificate could not be verified), then the client MUST _Fail the WebSocket Connection_ and abort the connection.`,
		run: func(t *testing.T) (got, want string) {
			_, err := overTLS(t, "wss://other.example.org/", nil)
			var unknown *tls.CertificateVerificationError
			return fmt.Sprint(errors.As(err, &unknown)), "true"
		}},
	{id: "4.1-15", says: `Otherwise, all further communication on this channel MUST run through the encrypted tunnel [RFC5246].`,
		run: func(t *testing.T) (got, want string) { return wantOverTLS(t) }},
	{id: "4.1-16", says: `Clients MUST use the Server Name Indication extension in the TLS handshake [RFC6066].`,
		run: func(t *testing.T) (got, want string) {
			req, err := overTLS(t, "wss://example.com/", nil)
			if err != nil {
				return err.Error(), ""
			}
			return req.TLS.ServerName, "example.com"
		}},
	{id: "4.1-35", says: `Once the client's opening handshake has been sent, the client MUST wait for a response from the server before sending any further data.`,
		run: func(t *testing.T) (got, want string) {
			s := newRawServer(t)
			done := dials(t, "", Options{}, s)
			conn := s.accept(t)
			r := bufio.NewReader(conn)
			req, err := http.ReadRequest(r)
			if err != nil {
				t.Fatal(err)
			}
			before := r.Buffered()
			if len(done) > 0 {
				return "Dial has returned", "it waits"
			}
			answer := strings.ReplaceAll(changed(sampleAnswerLines, nil), "$ACCEPT", AcceptKey(req.Header.Get("Sec-WebSocket-Key")))
			_, _ = io.WriteString(conn, answer) // an error shows in what Dial returns
			d := <-done
			if d.err != nil {
				t.Fatal(d.err)
			}
			_ = d.c.CloseNow()
			after, err := io.ReadAll(r)
			return fmt.Sprintf("%d octets before, %d after, %v", before, len(after), err), "0 octets before, 0 after, <nil>"
		}},
	{id: "4.2.2-2", says: `If this fails (e.g., the client indicated a host name in the extended client hello "server_name" extension that the server does not host), then close the connection; otherwise, all further communication for the connection (including the server's handshake) MUST run through the encrypted tunnel [RFC5246].`,
		run: func(t *testing.T) (got, want string) { return wantOverTLS(t) }},
	{id: "10.6-1", says: `WebSocket implementations MUST support TLS and SHOULD employ it when communicating with their peers.`,
		run: func(t *testing.T) (got, want string) { return wantOverTLS(t) }},
}

func wantOverTLS(t *testing.T) (got, want string) {
	req, err := overTLS(t, "wss://example.com/", nil)
	if err != nil {
		return err.Error(), ""
	}
	return fmt.Sprint(req.TLS.HandshakeComplete), "true"
}

// overTLS dials a server that is example.com, exchanges messages and closes. It
// returns the request that the server has got. config nil trusts the server.
func overTLS(t *testing.T, url string, config *tls.Config) (*http.Request, error) {
	requests := make(chan *http.Request, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		c, err := Accept(w, r, quiet())
		if err != nil {
			return
		}
		for msg, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), msg.Type, msg.Data) != nil {
				return
			}
		}
	}))
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	t.Cleanup(s.Close)
	client := s.Client()
	transport := client.Transport.(*http.Transport)
	if config != nil {
		transport.TLSClientConfig = config
	}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	o := quiet()
	o.HTTPClient = client
	c, _, err := Dial(t.Context(), url, o)
	if err != nil {
		return nil, err
	}
	defer c.CloseNow()
	if err := c.Write(t.Context(), Text, []byte("Hello")); err != nil {
		return nil, err
	}
	if _, data, err := c.Read(t.Context()); string(data) != "Hello" {
		return nil, fmt.Errorf("got %q, %w", data, err)
	}
	return <-requests, c.Close(StatusNormalClosure, "")
}

func Test4_2_ServerRequirements(t *testing.T) { runEach(t, requestRows4_2, requestRow.run) }

const (
	mustMatch  = `If the server, while reading the handshake, finds that the client did not send a handshake that matches the description below (note that as per [RFC2616], the order of the header fields is not important), including but not limited to any violations of the ABNF grammar specified for the components of the handshake, the server MUST stop processing the client's handshake and return an HTTP response with an appropriate error code (such as 400 Bad Request).`
	getRequest = `An HTTP/1.1 or higher GET request, including a "Request-URI" [RFC2616] that should be interpreted as a /resource name/ defined in Section 3 (or an absolute HTTP/HTTPS URI containing the /resource name/).`
)

var requestRows4_2 = []requestRow{
	{id: "4.2.1-1", says: mustMatch, request: []string{"Sec-WebSocket-Key: too short"}, status: 400},
	{id: "4.2.1-1", says: mustMatch, request: []string{"+Sec-WebSocket-Protocol: no, to ken"}, status: 400},
	{id: "4.2.1-1", says: mustMatch, request: []string{"+Content-Length: 3"}, body: "abc", status: 400},
	{id: "4.2.1-1", says: mustMatch, status: 101, // the order of the fields is not important
		request: []string{"-Host", "-Upgrade", "+sec-websocket-protocol: x", "+Upgrade: websocket", "+HOST: server.example.com"}},
	{id: "4.2.1-2", says: `A connection attempt lacking this header field SHOULD NOT be interpreted as coming from a browser client.`,
		status: 101, talk: []step{sends(text("a")), delivers(Text, "a")}},
	{id: "4.2.1-a", says: getRequest, request: []string{"POST /chat HTTP/1.1"}, status: 405, has: []string{"Allow: GET"}},
	{id: "4.2.1-a", says: getRequest, request: []string{"GET /chat HTTP/1.0"}, status: 505},
	{id: "4.2.1-a", says: getRequest, request: []string{"GET http://server.example.com/chat HTTP/1.1"}, status: 101},
	{id: "4.2.1-b", says: `A |Host| header field containing the server's authority.`, request: []string{"-Host"}, status: 400},
	{id: "4.2.1-c", says: `An |Upgrade| header field containing the value "websocket", treated as an ASCII case-insensitive value.`,
		request: []string{"-Upgrade"}, status: 426, has: []string{"Upgrade: websocket"}},
	{id: "4.2.1-c", says: `An |Upgrade| header field containing the value "websocket", treated as an ASCII case-insensitive value.`,
		request: []string{"Upgrade: websockets"}, status: 426},
	{id: "4.2.1-c", says: `An |Upgrade| header field containing the value "websocket", treated as an ASCII case-insensitive value.`,
		request: []string{"Upgrade: h2c , WebSocket"}, status: 101},
	{id: "4.2.1-d", says: `A |Connection| header field that includes the token "Upgrade", treated as an ASCII case-insensitive value.`,
		request: []string{"Connection: keep-alive"}, status: 426},
	{id: "4.2.1-d", says: `A |Connection| header field that includes the token "Upgrade", treated as an ASCII case-insensitive value.`,
		request: []string{"Connection: not-upgrade"}, status: 426},
	{id: "4.2.1-d", says: `A |Connection| header field that includes the token "Upgrade", treated as an ASCII case-insensitive value.`,
		request: []string{"Connection: keep-alive", "+Connection: , uPgrade"}, status: 101},
	{id: "4.2.1-e", says: `A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length.`,
		request: []string{"-Sec-WebSocket-Key"}, status: 400},
	{id: "4.2.1-e", says: `A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length.`,
		request: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM="}, status: 400},
	{id: "4.2.1-e", says: `A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length.`,
		request: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ.=="}, status: 400},
	{id: "4.2.1-e", says: `A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length.`,
		request: []string{"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="}, status: 101}, // 4.1's own example
	{id: "4.2.1-f", says: `A |Sec-WebSocket-Version| header field, with a value of 13.`,
		request: []string{"-Sec-WebSocket-Version"}, status: 426, has: []string{"Sec-WebSocket-Version: 13"}},
	{id: "4.2.2-1", says: `When a client establishes a WebSocket connection to a server, the server MUST complete the following steps to accept the connection and send the server's opening handshake.`,
		status: 101, talk: []step{writes(Text, "a"), wants("a message", text("a"))}},
	{id: "4.2.2-4", says: `The server MAY use this information as part of a determination of whether to accept the incoming connection.`,
		request: []string{"+Origin: http://server.example.com"}, status: 101},
	{id: "4.2.2-4", says: `The server MAY use this information as part of a determination of whether to accept the incoming connection.`,
		opts: Options{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "http://other.example.com" }}, request: []string{"+Origin: http://other.example.com"}, status: 101},
	{id: "4.2.2-5", says: `If the server does not wish to accept this connection, it MUST return an appropriate HTTP error code (e.g., 403 Forbidden) and abort the WebSocket handshake described in this section.`,
		request: []string{"+Origin: http://other.example.com"}, status: 403, not: []string{"Sec-WebSocket-Accept:.*"}},
	{id: "4.2.2-6", says: `If this version does not match a version understood by the server, the server MUST abort the WebSocket handshake described in this section and instead send an appropriate HTTP error code (such as 426 Upgrade Required) and a |Sec-WebSocket-Version| header field indicating the version(s) the server is capable of understanding.`,
		request: []string{"Sec-WebSocket-Version: 8"}, status: 426, has: []string{"Sec-WebSocket-Version: 13"}, not: []string{"Sec-WebSocket-Accept:.*"}},
	{id: "4.2.2-8", says: `The value chosen MUST be derived from the client's handshake, specifically by selecting one of the values from the |Sec-WebSocket-Protocol| field that the server is willing to use for this connection (if any).`,
		opts: Options{Subprotocols: []string{"third", "second", "first"}}, request: []string{"+Sec-WebSocket-Protocol: first,second"}, status: 101, has: []string{"Sec-WebSocket-Protocol: second"},
		talk: []step{sees("the subprotocol", func(x *exchange) (got, want string) { return x.c.Subprotocol(), "second" })}},
	{id: "4.2.2-9", says: `The absence of such a field is equivalent to the null value (meaning that if the server does not wish to agree to one of the suggested subprotocols, it MUST NOT send back a |Sec-WebSocket-Protocol| header field in its response).`,
		opts: Options{Subprotocols: []string{"chat"}}, request: []string{"+Sec-WebSocket-Protocol: Chat, superchat"}, status: 101, not: []string{"Sec-WebSocket-Protocol:.*"}},
	{id: "4.2.2-9", says: `The absence of such a field is equivalent to the null value (meaning that if the server does not wish to agree to one of the suggested subprotocols, it MUST NOT send back a |Sec-WebSocket-Protocol| header field in its response).`,
		opts: Options{Subprotocols: []string{"chat"}}, status: 101, not: []string{"Sec-WebSocket-Protocol:.*"}},
	{id: "4.2.2-10", says: `If the server supports multiple extensions, then the value MUST be derived from the client's handshake, specifically by selecting one or more of the values from the |Sec-WebSocket-Extensions| field.`,
		opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: x-other, permessage-deflate"}, status: 101,
		has: []string{"Sec-WebSocket-Extensions: permessage-deflate[^,]*"}},
	{id: "4.2.2-11", says: `Extensions not listed by the client MUST NOT be listed.`,
		opts: Options{Compression: new(Compression)}, status: 101, not: []string{"Sec-WebSocket-Extensions:.*"}},
	{id: "4.2.2-11", says: `Extensions not listed by the client MUST NOT be listed.`,
		opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: permessage-deflated"}, status: 101, not: []string{"Sec-WebSocket-Extensions:.*"}},
	{id: "4.2.2-12", says: `If the server chooses to accept the incoming connection, it MUST reply with a valid HTTP response indicating the following.`,
		status: 101, has: []string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", regexp.QuoteMeta("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")}},
	{id: "4.3-1", says: `When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the 'token' ABNF.`,
		opts: Options{Compression: new(Compression)}, request: []string{`+Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="1\0"`}, status: 101,
		has: []string{"Sec-WebSocket-Extensions: permessage-deflate;.*server_max_window_bits=10.*"}},
	{id: "4.3-1", says: `When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the 'token' ABNF.`,
		opts: Options{Compression: new(Compression)}, request: []string{`+Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits="1 0"`}, status: 400},
	{id: "4.4-1", says: `If the server doesn't support the requested version, it MUST respond with a |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields) containing all versions it is willing to use.`,
		request: []string{"Sec-WebSocket-Version: 25"}, status: 426, has: []string{"Sec-WebSocket-Version: 13"}},
	{id: "7.2.2-1", says: `To do so, the server MUST simply _Close the WebSocket Connection_ (Section 7.1.1).`,
		request: []string{"-Sec-WebSocket-Key"}, status: 400, not: []string{"Upgrade:.*"}},
}

func Test9_Extensions(t *testing.T) {
	runEach(t, requestRows9, requestRow.run)
	runEach(t, answerRows9, answerRow.run)
	runEach(t, dialRows9, dialRow.run)
}

const malformed = `If a value is received by either the client or the server during negotiation that does not conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail the WebSocket Connection_.`

var requestRows9 = []requestRow{
	{id: "9-1", says: `WebSocket clients MAY request extensions to this specification, and WebSocket servers MAY accept some or all extensions requested by the client.`,
		request: []string{"+Sec-WebSocket-Extensions: permessage-deflate"}, status: 101, not: []string{"Sec-WebSocket-Extensions:.*"}},
	{id: "9-2", says: `A server MUST NOT respond with any extension not requested by the client.`,
		opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: x-other; permessage-deflate"}, status: 101, not: []string{"Sec-WebSocket-Extensions:.*"}},
	{id: "9.1-1", says: malformed, opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: permessage-deflate;"}, status: 400},
	{id: "9.1-1", says: malformed, opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: permessage-deflate; =10"}, status: 400},
	{id: "9.1-1", says: malformed, opts: Options{Compression: new(Compression)}, request: []string{`+Sec-WebSocket-Extensions: permessage-deflate; a="b`}, status: 400},
	{id: "9.1-1", says: malformed, request: []string{"+Sec-WebSocket-Extensions: per message"}, status: 400},
	{id: "9.1-2", says: `When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the 'token' ABNF.`,
		request: []string{`+Sec-WebSocket-Extensions: x-other; a=""`}, status: 400},
	{id: "9.1-3", says: `Note that like other HTTP header fields, this header field MAY be split or combined across multiple lines.`,
		opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: foo", "+Sec-WebSocket-Extensions: bar; baz=2, permessage-deflate"}, status: 101,
		has: []string{"Sec-WebSocket-Extensions: permessage-deflate.*"}},
	{id: "9.2-1", says: `This document doesn't define any extension, but implementations MAY use extensions defined separately.`,
		opts: Options{Compression: &Compression{Threshold: 1}}, request: []string{"+Sec-WebSocket-Extensions: permessage-deflate"}, status: 101,
		has:  []string{"Sec-WebSocket-Extensions: permessage-deflate.*"},
		talk: []step{sends(text("\xf2\x48\xcd\xc9\xc9\x07\x00").rsv(1)), delivers(Text, "Hello")}},
}

var answerRows9 = []answerRow{
	{id: "9.1-1", says: malformed, opts: Options{Compression: new(Compression)}, answer: []string{"+Sec-WebSocket-Extensions: permessage-deflate;"}, refused: true},
	{id: "9.1-1", says: malformed, opts: Options{Compression: new(Compression)}, answer: []string{"+Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover="}, refused: true},
	{id: "9.1-2", says: `When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the 'token' ABNF.`,
		opts: Options{Compression: new(Compression)}, answer: []string{`+Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover="a b"`}, refused: true},
	{id: "9.1-5", says: `The parameters supplied with any given extension MUST be defined for that extension.`,
		opts: Options{Compression: new(Compression)}, answer: []string{"+Sec-WebSocket-Extensions: permessage-deflate; level=9"}, refused: true},
	{id: "9.1-6", says: `Note that the client is only offering to use any advertised extensions and MUST NOT use them unless the server indicates that it wishes to use the extension.`,
		opts: Options{Compression: &Compression{Threshold: 1}},
		talk: []step{
			writes(Text, strings.Repeat("a", 1000)), wants("a message that is not compressed", text(strings.Repeat("a", 1000))),
			sends(text("\xf2\x48\xcd\xc9\xc9\x07\x00").rsv(1)), fails(1002, "5.2"),
		}},
}

var dialRows9 = []dialRow{
	{id: "9.1-4", says: `Any extension-token used MUST be a registered token (see Section 11.4).`,
		opts: Options{Compression: new(Compression)}, has: []string{`Sec-WebSocket-Extensions: permessage-deflate(;.*)?`}},
	{id: "9.1-5", says: `The parameters supplied with any given extension MUST be defined for that extension.`,
		opts: Options{Compression: &Compression{ContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 11}},
		has:  []string{`Sec-WebSocket-Extensions: permessage-deflate(; (server_no_context_takeover|client_no_context_takeover|(server|client)_max_window_bits(=\d+)?))*`}},
}

func Test10_Handshake(t *testing.T) { runEach(t, requestRows10, requestRow.run) }

var requestRows10 = []requestRow{
	{id: "10.2-1", says: `Servers that are not intended to process input from any web page but only for certain sites SHOULD verify the |Origin| field is an origin they expect.`,
		opts: Options{Origins: []string{"https://*.example.com"}}, request: []string{"+Origin: https://app.example.com"}, status: 101},
	{id: "10.2-1", says: `Servers that are not intended to process input from any web page but only for certain sites SHOULD verify the |Origin| field is an origin they expect.`,
		opts: Options{Origins: []string{"https://*.example.com"}}, request: []string{"+Origin: https://app.example.com.evil.org"}, status: 403},
	{id: "10.2-2", says: `If the origin indicated is unacceptable to the server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403 Forbidden status code.`,
		request: []string{"+Origin: null"}, status: 403},
	{id: "10.7-4", says: `If the invalid data is sent during the WebSocket handshake, the server SHOULD return an appropriate HTTP [RFC2616] status code.`,
		request: []string{"Sec-WebSocket-Version: 13, 8"}, status: 426},
}

func Test11_HeaderFields(t *testing.T) {
	runEach(t, dialRows11, dialRow.run)
	runEach(t, requestRows11, requestRow.run)
	runEach(t, answerRows11, answerRow.run)
	runEach(t, otherRows11, otherRow.test)
}

const (
	asciiHost  = `Characters in the host component that are excluded by the syntax defined above MUST be converted from Unicode to ASCII as specified in [RFC3987] or its replacement.`
	asciiOther = `Characters in other components that are excluded by the syntax defined above MUST be converted from Unicode to ASCII by first encoding the characters as UTF-8 and then replacing the corresponding bytes using their percent-encoded form as defined in the URI [RFC3986] and Internationalized Resource Identifier (IRI) [RFC3987] specifications.`
)

var dialRows11 = []dialRow{
	{id: "11.1.1-1", says: asciiHost, url: "ws://bücher.example/", host: "xn--bcher-kva.example:80", has: []string{`Host: xn--bcher-kva\.example`}},
	{id: "11.1.1-1", says: asciiHost, url: "ws://bücher.example:80/", host: "xn--bcher-kva.example:80", has: []string{`Host: xn--bcher-kva\.example`}},
	{id: "11.1.1-2", says: asciiOther, url: "ws://example.com/Bücher?sort=größe", has: []string{`GET /B%C3%BCcher\?sort=gr%C3%B6%C3%9Fe HTTP/1\.1`}},
	{id: "11.1.1-2", says: asciiOther, url: "ws://example.com/a b?q=c d HTTP/1.0", has: []string{`GET /a%20b\?q=c%20d%20HTTP/1\.0 HTTP/1\.1`}},
	{id: "11.1.2-1", says: asciiHost, url: "wss://bücher.example/", host: "xn--bcher-kva.example:443"},
}

var requestRows11 = []requestRow{
	{id: "11.3.1-1", says: `The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP request.`,
		request: []string{"+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, status: 400},
	{id: "11.3.2-1", says: `The |Sec-WebSocket-Extensions| header field MAY appear multiple times in an HTTP request (which is logically the same as a single |Sec-WebSocket-Extensions| header field that contains all values.`,
		opts: Options{Compression: new(Compression)}, request: []string{"+Sec-WebSocket-Extensions: permessage-deflate; unknown", "+Sec-WebSocket-Extensions: permessage-deflate"}, status: 101,
		has: []string{"Sec-WebSocket-Extensions: permessage-deflate.*"}},
	{id: "11.3.4-1", says: `The |Sec-WebSocket-Protocol| header field MAY appear multiple times in an HTTP request (which is logically the same as a single |Sec-WebSocket-Protocol| header field that contains all values).`,
		opts: Options{Subprotocols: []string{"b"}}, request: []string{"+Sec-WebSocket-Protocol: a", "+Sec-WebSocket-Protocol: b, c"}, status: 101, has: []string{"Sec-WebSocket-Protocol: b"}},
	{id: "11.3.5-2", says: `However, the |Sec-WebSocket-Version| header field MUST NOT appear more than once in an HTTP request.`,
		request: []string{"+Sec-WebSocket-Version: 13"}, status: 426},
}

var answerRows11 = []answerRow{
	{id: "11.3.2-2", says: `However, the |Sec-WebSocket-Extensions| header field MUST NOT appear more than once in an HTTP response.`,
		opts: Options{Compression: new(Compression)}, answer: []string{"+Sec-WebSocket-Extensions: permessage-deflate", "+Sec-WebSocket-Extensions: permessage-deflate"}, refused: true},
	{id: "11.3.3-1", says: `The |Sec-WebSocket-Accept| header MUST NOT appear more than once in an HTTP response.`,
		answer: []string{"+Sec-WebSocket-Accept: $ACCEPT"}, refused: true},
	{id: "11.3.4-2", says: `However, the |Sec-WebSocket-Protocol| header field MUST NOT appear more than once in an HTTP response.`,
		opts: Options{Subprotocols: []string{"a", "b"}}, answer: []string{"+Sec-WebSocket-Protocol: a", "+Sec-WebSocket-Protocol: b"}, refused: true},
	{id: "11.3.5-1", says: `The |Sec-WebSocket-Version| header field MAY appear multiple times in an HTTP response (which is logically the same as a single |Sec-WebSocket-Version| header field that contains all values).`,
		answer: []string{"HTTP/1.1 426 Upgrade Required", "+Sec-WebSocket-Version: 13", "+Sec-WebSocket-Version: 8, 7", "+Content-Length: 0"}, refused: true},
}

var otherRows11 = []otherRow{
	{id: "11.1.2-2", says: strings.Replace(asciiOther, "Internationalized Resource Identifier (IRI)", "IRI", 1), run: func(t *testing.T) (got, want string) {
		req, err := overTLS(t, "wss://example.com/Bücher?sort=größe", nil)
		if err != nil {
			return err.Error(), ""
		}
		return req.RequestURI, "/B%C3%BCcher?sort=gr%C3%B6%C3%9Fe"
	}},
}
