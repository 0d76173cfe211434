package websocket

// The opening handshake of a client (RFC 6455 section 4.1). The request is made and the response judged by functions that
// touch no connection; between the two stands http.Client, with its proxies, cookies, redirects and TLS. After a 101 the
// connection is taken over from it. What a frame is, this file does not know.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	maxErrorBody  = 1 << 10         // octets of the body of a response that is no 101
	errorBodyTime = 3 * time.Second // longest that it may take to arrive
	maxAhead      = 1 << 20         // octets that may have been buffered behind the 101
	maxRedirects  = 10              // as http.Client has it
)

// Dial opens a connection to a ws, wss, http or https URL (RFC 6455 section 4.1). ctx bounds the dial, not the
// connection; without a deadline a server that says nothing is waited for without end. The URL may carry a user name and
// a password, and no fragment. Redirects are followed, but never from wss to ws.
//
// The response is also there when the server answered with something else than a WebSocket: then the error is a
// *HandshakeError with its status, and up to the first KiB of its body can be read. The error of a redirect that can't be
// followed is http.Client's, and without a response where its Location is no URL. An error of ctx is errors.Is ctx.Err()
// and its cause. Do not forward the response's Content-Length with what is left of its body.
//
// Octets are exchanged on the connection that http.Client has opened, which must keep deadlines or refuse to set them.
// A RoundTripper that reports none (httptrace.ClientTrace.GotConn) has to answer with a Body that is an io.Writer too.
func Dial(ctx context.Context, rawURL string, opts *Options) (*Conn, *http.Response, error) {
	if ctx == nil {
		return nil, nil, errNilContext
	}
	o := opts.orDefault()
	d := &dialing{options: o, key: newKey()}
	req, refusal := makeRequest(rawURL, d.key, o)
	if refusal != nil {
		return nil, nil, refusal
	}
	d.host = req.URL.Host
	client, timeout := d.client()
	if timeout > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, timeout, errClientTimeout)
		defer cancel()
		ctx = bounded
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, dialError(ctx, rawURL, err)
	}
	// A RoundTripper may tie the connection to the request's context, which therefore outlives ctx.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.cancel = cancel
	stop := context.AfterFunc(ctx, cancel)
	cfg, resp, err := d.dial(inner, client, req)
	if !stop() && err == nil {
		_ = cfg.rwc.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, resp, dialError(ctx, rawURL, err)
	}
	return newConn(cfg), resp, nil
}

var errClientTimeout = errors.New("the Timeout of Options.HTTPClient is over")

// dialError is err in the caller's words.
func dialError(ctx context.Context, rawURL string, err error) error {
	var refusal *HandshakeError
	if errors.As(err, &refusal) && refusal != nil {
		return refusal
	}
	var inner *url.Error // says what http.Client did, of which the caller knows nothing
	if errors.As(err, &inner) {
		err = inner.Err
	}
	if ctx.Err() != nil {
		err = whyEnded(ctx)
	}
	u, _ := url.Parse(rawURL) // it has been parsed before
	return fmt.Errorf("websocket: dial %s: %w", u.Redacted(), err)
}

// newKey makes a Sec-WebSocket-Key: 16 octets that nobody can foresee, in base64.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand ends the program instead
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// makeRequest makes the opening handshake's request (RFC 6455 section 4.1).
func makeRequest(rawURL, key string, o *Options) (*http.Request, *HandshakeError) {
	u, refusal := parseURL(rawURL)
	if refusal != nil {
		return nil, refusal
	}
	if rule := judgeHeader(o.Header); rule != "" {
		return nil, &HandshakeError{Rule: rule}
	}
	if !isHost(o.Host) {
		return nil, &HandshakeError{Section: "4.1", Rule: fmt.Sprintf("Options.Host: %.100q is not a host", o.Host)}
	}
	if rule := judgeSubprotocols(o.Subprotocols); rule != "" {
		return nil, &HandshakeError{Section: "4.1", Rule: rule}
	}
	h := o.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h["Sec-Websocket-Key"] = []string{key}
	h["Sec-Websocket-Version"] = []string{"13"}
	if len(o.Subprotocols) > 0 {
		h["Sec-Websocket-Protocol"] = []string{strings.Join(o.Subprotocols, ", ")}
	}
	if o.Compression != nil {
		h["Sec-Websocket-Extensions"] = []string{o.Compression.offer()}
	}
	host := o.Host
	if host == "" {
		host = withoutZone(u)
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// isHost reports whether net/http sends host in a Host header; of anything else it would make an empty one.
func isHost(host string) bool {
	return !strings.ContainsFunc(host, isCTL) && !strings.ContainsAny(host, "\t \"#/<>?@\\^`{|}")
}

// hostOf is u's host without a zone, which may have any name and does not leave this machine.
func hostOf(u *url.URL) string {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") { // elsewhere a % is the host's own
		host, _, _ = strings.Cut(host, "%")
	}
	return host
}

// withoutZone is the Host header of a URL whose host has a zone, else "". net/http leaves zones out too, but the whole
// host first where a zone's name could not stand in the header, as that of "Ethernet 2".
func withoutZone(u *url.URL) string {
	before, zone, ok := strings.Cut(u.Host, "%")
	if !ok || !strings.HasPrefix(before, "[") {
		return ""
	}
	return before + zone[max(0, strings.LastIndexByte(zone, ']')):]
}

// parseURL parses a WebSocket URI (RFC 6455 section 3) into the URL that HTTP has for it.
func parseURL(rawURL string) (*url.URL, *HandshakeError) {
	u, err := url.Parse(rawURL)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which may hold a password
		}
		reason := err.Error()
		if strings.Contains(rawURL, "@") {
			reason, _, _ = strings.Cut(reason, `"`) // what net/url quotes, as a port say, may be the password
			reason = strings.TrimRight(reason, " (")
		}
		return nil, &HandshakeError{Section: "3", Rule: "URL: " + reason}
	}
	host := hostOf(u)
	switch {
	case strings.Contains(rawURL, "#"):
		return nil, &HandshakeError{Section: "3", Rule: "URL with a fragment"}
	case host == "":
		return nil, &HandshakeError{Section: "3", Rule: "URL without a host"}
	case !isHost(host):
		return nil, &HandshakeError{Section: "3", Rule: fmt.Sprintf("URL: %.100q is not a host", host)}
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
		asHTTP(u)
		return u, nil
	}
	return nil, &HandshakeError{Section: "3", Rule: fmt.Sprintf("URL with scheme %q: want ws, wss, http or https", u.Scheme)}
}

// asciiQuery percent-encodes what is not ASCII in a query (RFC 6455 section 11.1.1), and blanks, which would end the
// request's target. For the host and the path net/http does what it takes.
func asciiQuery(query string) string {
	var b []byte
	for i := range len(query) {
		if c := query[i]; c > ' ' && c < utf8.RuneSelf {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return string(b)
}

// asHTTP gives a WebSocket URI the scheme that HTTP calls it by, and a query that HTTP can carry. A port that is the
// default one or empty has no place in the Host header (RFC 6455 section 4.1).
func asHTTP(u *url.URL) {
	u.RawQuery = asciiQuery(u.RawQuery)
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	if port := u.Port(); port == "" || port == defaultPort(u.Scheme) {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
}

// judgeSubprotocols says what is wrong with the subprotocols that a client wants to offer, or "".
func judgeSubprotocols(protocols []string) string {
	for i, p := range protocols {
		if !isToken(p) {
			return fmt.Sprintf("Options.Subprotocols: %q is not a token", p)
		}
		if slices.Contains(protocols[:i], p) {
			return fmt.Sprintf("Options.Subprotocols: %q twice", p)
		}
	}
	return ""
}

var (
	errOldAnswer        = &HandshakeError{http.StatusSwitchingProtocols, "4.1", "answer is older than HTTP/1.1"}
	errAnswerUpgrade    = &HandshakeError{http.StatusSwitchingProtocols, "4.1", "Upgrade header of the answer is not \"websocket\""}
	errAnswerConnection = &HandshakeError{http.StatusSwitchingProtocols, "4.1", "no \"Upgrade\" in the answer's Connection header"}
	errAnswerKey        = &HandshakeError{http.StatusSwitchingProtocols, "4.1", "Sec-WebSocket-Accept does not answer our key"}
	errTwoExtensions    = &HandshakeError{http.StatusSwitchingProtocols, "11.3.2", "several Sec-WebSocket-Extensions headers"}
	errTwoSubprotocols  = &HandshakeError{http.StatusSwitchingProtocols, "11.3.4", "several Sec-WebSocket-Protocol headers"}
	errNotWritable      = &HandshakeError{http.StatusSwitchingProtocols, "", "RoundTripper gave neither its connection nor a Body that is an io.Writer"}
)

// judgeResponse says what the answer to a request with key agrees to, or why the connection fails.
func judgeResponse(resp *http.Response, key string, o *Options) (agreement, *HandshakeError) {
	h := resp.Header
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return agreement{}, &HandshakeError{resp.StatusCode, "4.1", "server does not switch protocols: " + http.StatusText(resp.StatusCode)}
	case resp.ProtoMajor < 1 && resp.Proto != "" || resp.ProtoMajor == 1 && resp.ProtoMinor == 0:
		return agreement{}, errOldAnswer
	case len(h["Upgrade"]) != 1 || !equalFold(h["Upgrade"][0], "websocket"):
		return agreement{}, errAnswerUpgrade
	case !hasToken(h["Connection"], "upgrade"):
		return agreement{}, errAnswerConnection
	case !isOnly(h["Sec-Websocket-Accept"], AcceptKey(key)):
		return agreement{}, errAnswerKey
	case len(h["Sec-Websocket-Extensions"]) > 1:
		return agreement{}, errTwoExtensions
	case len(h["Sec-Websocket-Protocol"]) > 1:
		return agreement{}, errTwoSubprotocols
	}
	a := agreement{}
	if chosen := h["Sec-Websocket-Protocol"]; len(chosen) == 1 {
		i := slices.Index(o.Subprotocols, chosen[0])
		if i < 0 {
			return a, &HandshakeError{resp.StatusCode, "4.1", fmt.Sprintf("subprotocol %.100q was not offered", chosen[0])}
		}
		a.subprotocol = o.Subprotocols[i] // does not keep the response's header alive
	}
	var err error
	if a.deflate, err = checkAnswer(h["Sec-Websocket-Extensions"], o.Compression); err != nil {
		return agreement{}, extensionRefusal(resp.StatusCode, err)
	}
	return a, nil
}

// dialing is one call of Dial.
type dialing struct {
	options *Options
	cancel  context.CancelFunc       // ends the request
	key     string                   // of the request that was sent last: each connection has its own (RFC 6455 section 4.1)
	host    string                   // of the URL that it was sent to
	conn    atomic.Pointer[net.Conn] // that the request was sent on last; nil if the RoundTripper did not say
}

// client is a copy of the Options' http.Client for this dial, and its Timeout. In the client the Timeout would wrap the
// body of the response, which could then not be written to.
func (d *dialing) client() (*http.Client, time.Duration) {
	c := *http.DefaultClient
	if d.options.HTTPClient != nil {
		c = *d.options.HTTPClient
	}
	timeout := c.Timeout
	c.Timeout = 0
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if t, ok := c.Transport.(*http.Transport); ok {
		c.Transport = tunnelling{t}
	}
	check := c.CheckRedirect
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		return d.redirect(check, req, via)
	}
	return &c, timeout
}

// redirect prepares the next request of a dial that was redirected, and asks the caller's check.
func (d *dialing) redirect(check func(*http.Request, []*http.Request) error, req *http.Request, via []*http.Request) error {
	asHTTP(req.URL)
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &HandshakeError{req.Response.StatusCode, "4.1", "redirect from wss to " + req.URL.Redacted()}
	}
	if host := hostOf(req.URL); host == "" || !isHost(host) {
		return &HandshakeError{req.Response.StatusCode, "4.1", fmt.Sprintf("redirect to %.100q, which is not a host", host)}
	}
	if req.Host == "" {
		req.Host = withoutZone(req.URL)
	}
	d.key, d.host = newKey(), req.URL.Host
	d.conn.Store(nil) // the RoundTripper may not name the next one
	req.Header["Sec-Websocket-Key"] = []string{d.key}
	if check != nil {
		return check(req, via)
	}
	if len(via) >= maxRedirects {
		return &HandshakeError{req.Response.StatusCode, "", fmt.Sprintf("stopped after %d redirects", maxRedirects)}
	}
	return nil
}

// dial sends the request and judges the response.
func (d *dialing) dial(ctx context.Context, client *http.Client, req *http.Request) (config, *http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { d.conn.Store(&info.Conn) }}
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		if resp != nil {
			resp.Body, resp.ContentLength = http.NoBody, 0 // it is closed
		}
		return config{}, resp, err
	}
	a, refusal := judgeResponse(resp, d.key, d.options)
	if refusal != nil {
		d.keepBody(resp)
		return config{}, resp, refusal
	}
	cfg := config{client: true, subprotocol: a.subprotocol, limits: d.options.limits(), deflate: a.deflate}
	if err := d.takeOver(ctx, resp, &cfg); err != nil {
		_ = resp.Body.Close()
		resp.Body = http.NoBody
		return config{}, resp, err
	}
	resp.Body = http.NoBody // the connection is the Conn's alone
	return cfg, resp, nil
}

// keepBody replaces the body of a response by its first octets, so that nobody has to close it.
func (d *dialing) keepBody(resp *http.Response) {
	body := resp.Body
	defer body.Close()
	resp.Body = http.NoBody
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return // what follows is no body
	}
	timer := time.AfterFunc(errorBodyTime, d.cancel)
	defer timer.Stop()
	b, _ := io.ReadAll(io.LimitReader(body, maxErrorBody)) // what arrived is better than nothing
	resp.Body = io.NopCloser(bytes.NewReader(b))
	resp.ContentLength = min(resp.ContentLength, int64(len(b))) // or Response.Write would fail
}

// takeOver gives cfg the connection that resp came on, and the octets behind it that http.Client has buffered. Those can
// be had from the body alone, and the body can't say where they end; but a deadline in the past makes it.
func (d *dialing) takeOver(ctx context.Context, resp *http.Response, cfg *config) error {
	got := d.conn.Load()
	if got == nil {
		cfg.remote = hostAddr(d.host)
		return takeBody(resp, cfg)
	}
	conn := *got
	cfg.remote, cfg.local = conn.RemoteAddr(), conn.LocalAddr()
	if conn.SetReadDeadline(longAgo) != nil {
		return takeBody(resp, cfg)
	}
	body := resp.Body
	// For a connection whose deadlines do nothing, or that is not the body's.
	stop := context.AfterFunc(ctx, func() { _, _ = conn.Close(), body.Close() })
	defer stop()
	ahead, err := readAhead(body)
	if err != nil {
		return err
	}
	cfg.rwc, cfg.ahead = conn, ahead
	return conn.SetReadDeadline(time.Time{})
}

// readAhead reads what can be read without waiting, from a body whose deadline has passed.
func readAhead(body io.Reader) ([]byte, error) {
	var ahead []byte
	for {
		ahead = slices.Grow(ahead, 1<<10)
		n, err := body.Read(ahead[len(ahead):cap(ahead)])
		ahead = ahead[:len(ahead)+n]
		switch {
		// Networks in user space have errors of their own for a deadline. An end of the stream is left to the
		// Conn, which meets it again behind these octets.
		case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err), err == io.EOF:
			return bytes.Clone(ahead), nil
		case err != nil:
			return nil, err
		case len(ahead) > maxAhead:
			return nil, errors.New("deadlines of the connection do nothing")
		}
	}
}

// takeBody gives cfg the body of a response whose connection is not known, or has no deadlines.
func takeBody(resp *http.Response, cfg *config) error {
	rwc, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return errNotWritable
	}
	cfg.rwc = rwc
	return nil
}
