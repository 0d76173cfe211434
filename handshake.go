package websocket

// The opening handshake of a server (RFC 6455 section 4.2, RFC 8441) and the Options of both sides. A request is judged
// by functions that see the request and the Options and nothing else; only a request that was found right has its
// connection taken over. What a frame is, this file does not know.

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Options say how a connection is opened and what it may cost. One type serves both sides, as tls.Config does; nil and
// the zero value are the safe default. Everywhere 0 means the default and a negative value means none or off. Options
// are read during the call that is given them, never changed and never kept, so that one value may serve many calls at
// once.
type Options struct {
	// Subprotocols are the application protocols that this endpoint speaks, in order of preference. A client offers them
	// all; a server takes the first of its own that the client offers, or none (RFC 6455 section 1.9). For NewServerConn
	// and NewClientConn the first one is what was agreed elsewhere.
	Subprotocols []string

	// Header holds further fields of the request (Origin, Authorization, Cookie, …) or of the response (Set-Cookie, …).
	// Names that the handshake sets itself (Sec-WebSocket-*, Upgrade, Connection, Host, Content-*, Transfer-Encoding,
	// Trailer), names that are no token and values with control characters fail the handshake before anything is sent.
	Header http.Header

	ReadLimit    int64         // octets of one message after decompression; 1 MiB
	MaxFragments int           // frames of one message; 131072
	WriteTimeout time.Duration // the connection ends when the peer takes nothing of what is sent for this long, or up to three times as long; 30 s
	CloseTimeout time.Duration // all that Close may take; 5 s
	KeepAlive    time.Duration // a Ping after this long without an octet from the peer; 30 s
	PongTimeout  time.Duration // the connection fails when the peer stays silent this long after the Ping, or after it last took something since; 20 s
	SendLimit    int64         // octets that may wait in the send queue; 1 MiB

	// Compression is offered by a client and accepted by a server (RFC 7692); nil is off. For NewServerConn and
	// NewClientConn it is what was agreed elsewhere.
	Compression *Compression

	// Origins are the origins whose pages may connect to this server besides those of the request's own host (RFC 6455
	// section 10.2): "https://app.example.com", without a scheme for http and https alike, "*.example.com:8443" for every
	// name below example.com on that port, "localhost:*" for every port, "null", and "*" for any origin at all. Where no
	// port is given, it is the default one of the scheme. A browser sends host names in lower case and in ASCII. An origin
	// has no path: an entry with one, but for a slash at the end, matches nothing.
	Origins []string

	// CheckOrigin replaces the whole origin policy of a server, Origins too: false answers 403.
	CheckOrigin func(*http.Request) bool

	// Host is the client's Host header, where it differs from the URL.
	Host string

	// HTTPClient sends the client's request; nil is http.DefaultClient. Proxies (http, https, socks5), cookies, redirects,
	// TLS and the limit on response headers are its own; its Timeout bounds the dial and not the connection.
	HTTPClient *http.Client
}

// The limits of a connection whose Options do not say otherwise.
const (
	defaultReadLimit    = 1 << 20 // octets
	defaultMaxFragments = 1 << 17 // frames
	defaultWriteTimeout = 30 * time.Second
	defaultCloseTimeout = 5 * time.Second
	defaultKeepAlive    = 30 * time.Second
	defaultPongTimeout  = 20 * time.Second
	defaultSendLimit    = 1 << 20 // octets
)

var (
	noOptions     = new(Options)
	defaultLimits = limits{
		readLimit:    defaultReadLimit,
		sendLimit:    defaultSendLimit,
		maxFragments: defaultMaxFragments,
		writeTimeout: defaultWriteTimeout,
		closeTimeout: defaultCloseTimeout,
		keepAlive:    defaultKeepAlive,
		pongTimeout:  defaultPongTimeout,
	}
)

// orDefault is o, or the default Options for nil.
func (o *Options) orDefault() *Options {
	if o == nil {
		return noOptions
	}
	return o
}

// limits resolves the limits of o. A count of none is the largest value, so that comparing needs no special case; a
// duration of none is 0.
func (o *Options) limits() *limits {
	l := limits{
		readLimit:    resolve(o.ReadLimit, defaultReadLimit, math.MaxInt, math.MaxInt), // a message has to fit a slice
		sendLimit:    resolve(o.SendLimit, defaultSendLimit, math.MaxInt64, math.MaxInt64),
		maxFragments: resolve(o.MaxFragments, defaultMaxFragments, math.MaxInt, math.MaxInt),
		writeTimeout: resolve(o.WriteTimeout, defaultWriteTimeout, 0, maxDuration),
		closeTimeout: resolve(o.CloseTimeout, defaultCloseTimeout, 0, maxDuration),
		keepAlive:    resolve(o.KeepAlive, defaultKeepAlive, 0, maxDuration),
		pongTimeout:  resolve(o.PongTimeout, defaultPongTimeout, 0, maxDuration),
	}
	if l == defaultLimits {
		return &defaultLimits
	}
	resolved := l // only Options that differ cost an allocation
	return &resolved
}

// maxDuration is as good as no limit, and one and a half times as much can still be added to a time by monotonic.
const maxDuration = 100 * 365 * 24 * time.Hour

// resolve is v but most at most, or byDefault for 0, or none for a negative value.
func resolve[T int | int64 | time.Duration](v, byDefault, none, most T) T {
	switch {
	case v == 0:
		return byDefault
	case v < 0:
		return none
	}
	return min(v, most)
}

// HandshakeError says which rule of the opening handshake was not kept.
type HandshakeError struct {
	Status  int    // of the HTTP response, sent by Accept or received by Dial; 0 where there was none, for an argument was wrong
	Section string // "4.2.1" of RFC 6455, or with its RFC's name "RFC 8441 4"; empty for what no RFC says
	Rule    string // what was not kept, in words
}

func (e *HandshakeError) Error() string {
	var where []string
	if e.Section != "" {
		where = append(where, inFull(e.Section))
	}
	if e.Status != 0 {
		where = append(where, "status "+strconv.Itoa(e.Status))
	}
	if where == nil {
		return "websocket: " + e.Rule
	}
	return "websocket: " + e.Rule + " (" + strings.Join(where, ", ") + ")"
}

// agreement is what a request that was found right and its answer agree on.
type agreement struct {
	key         string         // Sec-WebSocket-Key; empty over HTTP/2
	subprotocol string         // empty for none
	extensions  string         // Sec-WebSocket-Extensions of the answer; empty for none
	deflate     *deflateParams // nil for no compression
}

var (
	errHTTPVersion     = &HandshakeError{http.StatusHTTPVersionNotSupported, "4.2.1", "request is older than HTTP/1.1"}
	errMethod          = &HandshakeError{http.StatusMethodNotAllowed, "4.2.1", "method is not GET"}
	errNoHost          = &HandshakeError{http.StatusBadRequest, "4.2.1", "no Host header"}
	errNoUpgrade       = &HandshakeError{http.StatusUpgradeRequired, "4.2.1", "no \"websocket\" in the Upgrade header"}
	errNoConnection    = &HandshakeError{http.StatusUpgradeRequired, "4.2.1", "no \"Upgrade\" in the Connection header"}
	errVersion         = &HandshakeError{http.StatusUpgradeRequired, "4.2.2", "Sec-WebSocket-Version is not 13"}
	errKey             = &HandshakeError{http.StatusBadRequest, "4.2.1", "Sec-WebSocket-Key is not one header of 16 octets in base64"}
	errBody            = &HandshakeError{http.StatusBadRequest, "4.1", "request has a body"}
	errNotConnect      = &HandshakeError{http.StatusBadRequest, "RFC 8441 5", "over HTTP/2 a WebSocket is opened with CONNECT"}
	errProtocol        = &HandshakeError{http.StatusNotImplemented, "RFC 8441 4", ":protocol is not websocket"}
	errVersionConnect  = &HandshakeError{http.StatusBadRequest, "RFC 8441 5", "sec-websocket-version is not 13"}
	errSubprotocolList = &HandshakeError{http.StatusBadRequest, "4.3", "Sec-WebSocket-Protocol is not a list of tokens"}
)

// judgeRequest says what the answer to r is made of, or why r is refused.
func judgeRequest(r *http.Request, o *Options) (agreement, *HandshakeError) {
	judge := judgeUpgrade
	if isExtendedConnect(r) {
		judge = judgeExtendedConnect
	}
	if refusal := judge(r); refusal != nil {
		return agreement{}, refusal
	}
	if refusal := judgeOrigin(r, o); refusal != nil {
		return agreement{}, refusal
	}
	if rule := judgeHeader(o.Header); rule != "" {
		return agreement{}, &HandshakeError{Status: http.StatusInternalServerError, Rule: rule}
	}
	return negotiate(r.Header, o)
}

// judgeUpgrade judges an HTTP/1.1 request (RFC 6455 section 4.2.1).
func judgeUpgrade(r *http.Request) *HandshakeError {
	switch {
	case !r.ProtoAtLeast(1, 1):
		return errHTTPVersion
	case r.Method != http.MethodGet:
		return errMethod
	// 426 would need the Upgrade header that HTTP/2 forbids (RFC 9113 section 8.2.2).
	case r.ProtoMajor > 1:
		return errNotConnect
	case r.Host == "":
		return errNoHost
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return errNoUpgrade
	case !hasToken(r.Header["Connection"], "upgrade"):
		return errNoConnection
	case !isOnly(r.Header["Sec-Websocket-Version"], "13"):
		return errVersion
	case !isKey(r.Header["Sec-Websocket-Key"]):
		return errKey
	// What follows the header would be read as frames, so that a proxy and this server would disagree on where it ends.
	case r.ContentLength != 0:
		return errBody
	}
	return nil
}

// isExtendedConnect reports whether r is the CONNECT of RFC 8441 section 4. Go's server puts :protocol among the headers.
func isExtendedConnect(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodConnect && len(r.Header[":protocol"]) > 0
}

// judgeExtendedConnect judges an HTTP/2 request, which has neither Upgrade, Connection nor a key (RFC 8441 section 5).
func judgeExtendedConnect(r *http.Request) *HandshakeError {
	switch {
	case !isOnly(r.Header[":protocol"], "websocket"):
		return errProtocol
	case r.Host == "":
		return errNoHost
	case !isOnly(r.Header["Sec-Websocket-Version"], "13"):
		return errVersionConnect
	}
	return nil
}

// negotiate chooses the subprotocol and the extensions (RFC 6455 section 4.2.2).
func negotiate(h http.Header, o *Options) (agreement, *HandshakeError) {
	a := agreement{}
	if keys := h["Sec-Websocket-Key"]; len(keys) == 1 {
		a.key = keys[0]
	}
	if offers := h["Sec-Websocket-Protocol"]; len(offers) > 0 {
		if !isTokenList(offers) {
			return a, errSubprotocolList
		}
		a.subprotocol = chooseSubprotocol(offers, o.Subprotocols)
	}
	if offers := h["Sec-Websocket-Extensions"]; len(offers) > 0 {
		if err := checkExtensions(offers); err != nil {
			return a, extensionRefusal(http.StatusBadRequest, err)
		}
		a.extensions, a.deflate = acceptOffers(offers, o.Compression)
	}
	return a, nil
}

// extensionRefusal is what is wrong with a Sec-WebSocket-Extensions header, as a rule of the handshake.
func extensionRefusal(status int, err error) *HandshakeError {
	e := &HandshakeError{status, "9.1", err.Error()}
	var violation *ProtocolError
	if errors.As(err, &violation) {
		e.Section, e.Rule = violation.Section, violation.Rule
	}
	return e
}

// chooseSubprotocol is the first of ours that is among the offers, or "". It gives our own string, which does not keep
// the request's header alive.
func chooseSubprotocol(offers, ours []string) string {
	for _, p := range ours {
		for offer := range listElements(offers) {
			if offer == p {
				return p
			}
		}
	}
	return ""
}

// isKey reports whether a Sec-WebSocket-Key stands alone and is 16 octets in base64. The bits that base64 has to spare
// are not looked at: RFC 6455's own example sets them (section 4.1).
func isKey(values []string) bool {
	if len(values) != 1 || len(values[0]) != 24 || values[0][22:] != "==" {
		return false
	}
	for _, c := range []byte(values[0][:22]) {
		if !isAlphaNumeric(c) && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

// guid is what proves that an endpoint speaks this protocol (RFC 6455 section 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AcceptKey is the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func AcceptKey(key string) string {
	return string(appendAcceptKey(nil, key))
}

func appendAcceptKey(b []byte, key string) []byte {
	var room [64]byte // a key is 24 octets
	sum := sha1.Sum(append(append(room[:0], key...), guid...))
	return base64.StdEncoding.AppendEncode(b, sum[:])
}

// judgeHeader says what is wrong with the fields of Options.Header, or "". A field that the handshake sets itself would
// contradict it, and a line break would let a value go on as a field of its own.
func judgeHeader(h http.Header) string {
	for name, values := range h {
		switch {
		case !isToken(name):
			return fmt.Sprintf("Options.Header: %q is not a header name", name)
		case isReserved(name):
			return fmt.Sprintf("Options.Header: %q is set by the handshake itself", name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, isCTL) {
				return fmt.Sprintf("Options.Header: control character in the value of %q", name)
			}
		}
	}
	return ""
}

// isReserved reports whether a header field belongs to the handshake or to the message that carries it.
func isReserved(name string) bool {
	return isOurs(name) || hasPrefixFold(name, "Content-") || equalFold(name, "Host")
}

// isHopByHop reports whether a header field says how this one message is delimited or what becomes of its connection.
func isHopByHop(name string) bool {
	for _, field := range [...]string{"Connection", "Upgrade", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Trailer"} {
		if equalFold(name, field) {
			return true
		}
	}
	return false
}

// isCTL reports whether c is a control character that a header value must not hold (RFC 9110 section 5.5).
func isCTL(c rune) bool {
	return c < ' ' && c != '\t' || c == 0x7f
}

// Accept answers the opening handshake in r and takes over its connection (RFC 6455 section 4.2). If it returns an error
// it has already answered the request, with the Status of the *HandshakeError where that is the error's type, and the
// handler has nothing left to do but return. What w.Header() holds goes out with the answer, but for the names that the
// handshake sets itself. The connection does not end with the handler, and the request's context says nothing about it;
// use Conn.Context.
//
// What middleware has wrapped around w must be an http.Hijacker or have a method Unwrap() http.ResponseWriter, as for
// http.ResponseController, and hears of no WriteHeader; what buffers a whole response, as http.TimeoutHandler does and
// httptest.ResponseRecorder, can't carry a connection. Both are answered with 500 and an error that names the wrapper.
//
// Over HTTP/2 a WebSocket is a stream, opened by an extended CONNECT (RFC 8441), and there the handler must not return
// before Conn.Close or Conn.CloseNow has, after which nothing is written to w, and no call of its methods goes on any
// more. (Where TCP takes nothing at all, not even that the stream is reset, they return all the same; a Server's
// ServeHTTP does not.) Close also waits for a closing handshake that is under way. Go's server announces extended CONNECT
// only with GODEBUG=http2xconnect=1 in the environment; without it browsers open a connection over HTTP/1.1 instead. A
// ServeMux pattern for both has no method. Frames arrive as r.Body there, and what middleware has put around that sees
// all of the connection: http.MaxBytesHandler counts it as one body.
func Accept(w http.ResponseWriter, r *http.Request, opts *Options) (*Conn, error) {
	o := opts.orDefault()
	return accept(w, r, o, o.limits())
}

// accept is Accept with limits that are resolved already.
func accept(w http.ResponseWriter, r *http.Request, o *Options, l *limits) (*Conn, error) {
	a, refusal := judgeRequest(r, o)
	if refusal != nil {
		refuse(w, r, refusal)
		return nil, refusal
	}
	if isExtendedConnect(r) {
		return acceptStream(w, r, o, l, a)
	}
	return acceptUpgrade(w, r, o, l, a)
}

// refuse answers a request with e. What fails here with 500 is ours to fix, and not the client's to know.
func refuse(w http.ResponseWriter, r *http.Request, e *HandshakeError) {
	text := e.Rule
	if e.Status == http.StatusInternalServerError {
		text = http.StatusText(e.Status)
	}
	answerRefusal(w, r, e, text)
}

// answerRefusal answers a request with e in plain text. A Status that refuses nothing becomes 403.
func answerRefusal(w http.ResponseWriter, r *http.Request, e *HandshakeError, text string) {
	h, status := w.Header(), e.Status
	if status < 300 || status > 599 {
		status = http.StatusForbidden
	}
	switch {
	case status == http.StatusMethodNotAllowed:
		h["Allow"] = []string{http.MethodGet}
	case status == http.StatusUpgradeRequired && r.ProtoMajor < 2: // HTTP/2 has neither field (RFC 9113 section 8.2.2)
		h["Upgrade"] = []string{"websocket"}
		h["Connection"] = []string{"Upgrade"}
		if r.Close {
			h["Connection"][0] = "Upgrade, close" // else net/http would put "close" in the place of it
		}
	}
	if e == errVersion || e == errVersionConnect {
		h["Sec-Websocket-Version"] = []string{"13"} // what we can (RFC 6455 section 4.4)
	}
	http.Error(w, text, status)
}

// acceptUpgrade switches an HTTP/1.1 connection over. It keeps nothing that belongs to net/http: not the request, whose
// header is a kilobyte, and not the bufio.ReadWriter, whose buffers are eight.
func acceptUpgrade(w http.ResponseWriter, r *http.Request, o *Options, l *limits, a agreement) (*Conn, error) {
	conn, buf, refusal := hijack(w)
	if refusal != nil {
		refuse(w, r, refusal)
		return nil, refusal
	}
	var answer []byte
	if buf != nil && buf.Writer != nil {
		answer = buf.AvailableBuffer()
	}
	answer = appendAnswer(answer, a, w.Header(), o.Header)
	c := newConn(config{rwc: conn, ahead: buffered(buf), subprotocol: a.subprotocol, limits: l, deflate: a.deflate})
	if err := sendAnswer(conn, &c.w.raw, answer, l.writeTimeout); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("websocket: answering the opening handshake: %w", err)
	}
	return c, nil
}

// hijack takes the connection over from net/http.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, *HandshakeError) {
	h, ok := hijacker(w)
	if !ok {
		rule := fmt.Sprintf("%T hides the http.Hijacker: it needs a method Unwrap() http.ResponseWriter", h)
		return nil, nil, &HandshakeError{Status: http.StatusInternalServerError, Rule: rule}
	}
	conn, buf, err := h.(http.Hijacker).Hijack()
	if err != nil {
		rule := fmt.Sprintf("%T can't be hijacked: %v", h, err)
		return nil, nil, &HandshakeError{Status: http.StatusInternalServerError, Rule: rule}
	}
	return conn, buf, nil
}

// hijacker looks for the http.Hijacker behind what middleware has wrapped around it, as http.ResponseController does. If
// there is none it gives the writer at which the search ended.
func hijacker(w http.ResponseWriter) (http.ResponseWriter, bool) {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return w, true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return w, false
		}
	}
}

// appendAnswer appends the 101 (RFC 6455 section 4.2.2).
func appendAnswer(b []byte, a agreement, middleware, options http.Header) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = appendAcceptKey(b, a.key)
	b = append(b, "\r\n"...)
	if a.subprotocol != "" {
		b = appendField(b, "Sec-WebSocket-Protocol", a.subprotocol)
	}
	if a.extensions != "" {
		b = appendField(b, "Sec-WebSocket-Extensions", a.extensions)
	}
	b = appendFields(b, middleware, func(name string) bool { return isToken(name) && !isOurs(name) })
	b = appendFields(b, options, func(string) bool { return true })
	return append(b, "\r\n"...)
}

// appendFields appends the fields of h that belong there. Two such loops in appendAnswer itself would need more stack than
// net/http's goroutine has grown so far.
func appendFields(b []byte, h http.Header, belongs func(name string) bool) []byte {
	for name, values := range h {
		if !belongs(name) {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	return b
}

// isOurs reports whether a field that middleware has set has no place in our answer: what it said of a body, or what the
// handshake says itself.
func isOurs(name string) bool {
	return isHopByHop(name) || hasPrefixFold(name, "Sec-WebSocket-")
}

// appendField appends a header line. Control characters in the value become spaces, as in net/http.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	start := len(b)
	b = append(b, value...)
	for i, c := range b[start:] {
		if isCTL(rune(c)) {
			b[start+i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// sendAnswer writes the answer, and clears the deadlines: its own, and those that http.Server has set. What the socket
// takes at once, as a rule all, needs none.
func sendAnswer(conn net.Conn, raw *rawWriter, answer []byte, timeout time.Duration) error {
	n, err := raw.once(answer)
	if err != nil {
		return err
	}
	if answer = answer[n:]; len(answer) > 0 {
		if timeout > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
				return err
			}
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
	return conn.SetDeadline(time.Time{})
}

// buffered copies the octets that came right behind the request.
func buffered(buf *bufio.ReadWriter) []byte {
	if buf == nil || buf.Reader == nil || buf.Reader.Buffered() == 0 {
		return nil
	}
	b, _ := buf.Peek(buf.Reader.Buffered()) // they are there, so it can't fail
	return bytes.Clone(b)
}

// NewServerConn is the server's end of a connection over a stream whose opening handshake was done elsewhere: one end of
// a net.Pipe in a test, or a transport of your own. Where rwc is a net.Conn it must have deadlines; on any other a
// context that ends in the middle of a call closes it. The handshake's fields of opts say what was agreed: the first of
// Subprotocols, and Compression.
func NewServerConn(rwc io.ReadWriteCloser, opts *Options) *Conn {
	o := opts.orDefault()
	cfg := config{rwc: rwc, limits: o.limits(), subprotocol: o.agreedSubprotocol()}
	if o.Compression != nil {
		_, cfg.deflate = acceptOffers([]string{o.Compression.offer()}, o.Compression)
	}
	return newConn(cfg)
}

// NewClientConn is the client's end of such a connection, see NewServerConn.
func NewClientConn(rwc io.ReadWriteCloser, opts *Options) *Conn {
	o := opts.orDefault()
	cfg := config{rwc: rwc, client: true, limits: o.limits(), subprotocol: o.agreedSubprotocol()}
	if o.Compression != nil {
		answer, _ := acceptOffers([]string{o.Compression.offer()}, o.Compression)
		cfg.deflate, _ = checkAnswer([]string{answer}, o.Compression) // an answer of ours to an offer of ours
	}
	return newConn(cfg)
}

func (o *Options) agreedSubprotocol() string {
	if len(o.Subprotocols) == 0 {
		return ""
	}
	return o.Subprotocols[0]
}

// hasToken reports whether a list header (RFC 9110 section 5.6.1), over any number of lines, has token among its
// elements in upper or lower case.
func hasToken(lines []string, token string) bool {
	for element := range listElements(lines) {
		if equalFold(element, token) {
			return true
		}
	}
	return false
}

// isTokenList reports whether a list header has an element and all of them are tokens.
func isTokenList(lines []string) bool {
	some := false
	for element := range listElements(lines) {
		if !isToken(element) {
			return false
		}
		some = true
	}
	return some
}

// listElements iterates over the elements of a list header. Empty ones do not count (RFC 2616 section 2.1).
func listElements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for line != "" {
				var element string
				element, line, _ = strings.Cut(line, ",")
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// isOnly reports whether a header has one line and that is want.
func isOnly(values []string, want string) bool {
	return len(values) == 1 && values[0] == want
}

// isToken reports whether s is a token of HTTP (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !isTokenOctet(c) {
			return false
		}
	}
	return s != ""
}

func isAlphaNumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// equalFold reports whether two strings differ in the case of ASCII letters at most.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// hasPrefixFold reports whether s begins with prefix, in upper or lower case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && equalFold(s[:len(prefix)], prefix)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
