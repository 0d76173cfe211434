package websocket

// ws URLs through an http or https proxy, by CONNECT (RFC 6455 section 4.1, Proxy Usage).

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	tunnelTime     = time.Minute // for a proxy to answer CONNECT, as http.Transport has it
	maxProxyHeader = 256 << 10   // octets of that answer where the Transport does not say
)

// tunnelling is an http.Transport that reaches ws URLs through an http or https proxy by CONNECT, as it reaches wss URLs
// itself (RFC 6455 section 4.1, Proxy Usage). Left alone it would send the proxy a GET, which few of them upgrade.
type tunnelling struct{ transport *http.Transport }

func (t tunnelling) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := t.proxy(r)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return t.transport.RoundTrip(r)
	}
	via := t.transport.Clone()
	via.Proxy = nil
	via.DisableKeepAlives = true // nobody else can use this Transport
	via.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		conn, err := t.connect(r.Context(), proxy, addr) // the context given would outlive the request
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
		}
		return conn, nil
	}
	return via.RoundTrip(r)
}

// proxy is the proxy that r needs a CONNECT to, or nil.
func (t tunnelling) proxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "http" || t.transport.Proxy == nil {
		return nil, nil
	}
	proxy, err := t.transport.Proxy(r)
	if err != nil || proxy == nil {
		return nil, err
	}
	switch proxy.Scheme {
	case "http", "https", "": // as http.Transport has it, "" is http
		return proxy, nil
	}
	return nil, nil
}

// connect opens a connection to addr through proxy.
func (t tunnelling) connect(ctx context.Context, proxy *url.URL, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelTime)
	defer cancel()
	conn, err := t.dial(ctx, proxy)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = t.tunnel(ctx, conn, proxy, addr)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// dial opens a connection to the proxy itself, with the dialers and the TLS of the Transport.
func (t tunnelling) dial(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	port := proxy.Port()
	switch {
	case port != "":
	case proxy.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	addr := net.JoinHostPort(proxy.Hostname(), port)
	if proxy.Scheme == "https" && t.transport.DialTLSContext != nil {
		return t.transport.DialTLSContext(ctx, "tcp", addr)
	}
	//lint:ignore SA1019 http.Transport still uses it
	if old := t.transport.DialTLS; proxy.Scheme == "https" && old != nil {
		return old("tcp", addr)
	}
	dial := t.transport.DialContext
	//lint:ignore SA1019 http.Transport still uses it
	if old := t.transport.Dial; dial == nil && old != nil {
		dial = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", addr)
	if err != nil || proxy.Scheme != "https" {
		return conn, err
	}
	return t.handshake(ctx, conn, proxy.Hostname())
}

// handshake puts TLS on the connection to a proxy.
func (t tunnelling) handshake(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	cfg := &tls.Config{}
	if t.transport.TLSClientConfig != nil {
		cfg = t.transport.TLSClientConfig.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = name
	}
	cfg.NextProtos = nil // CONNECT is said in HTTP/1.1
	if limit := t.transport.TLSHandshakeTimeout; limit > 0 {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// tunnel asks the proxy behind conn for a tunnel to addr (RFC 9110 section 9.3.6).
func (t tunnelling) tunnel(ctx context.Context, conn net.Conn, proxy *url.URL, addr string) error {
	h, err := t.connectHeader(ctx, proxy, addr)
	if err != nil {
		return err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: h}
	if err := req.Write(conn); err != nil {
		return err
	}
	limit := t.transport.MaxResponseHeaderBytes
	if limit <= 0 {
		limit = maxProxyHeader
	}
	r := bufio.NewReader(io.LimitReader(conn, limit))
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return err
	}
	if check := t.transport.OnProxyConnectResponse; check != nil {
		if err := check(ctx, proxy, req, resp); err != nil {
			return err
		}
	}
	switch {
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("CONNECT was answered with %.100q", resp.Status)
	case r.Buffered() > 0: // no server speaks before it is spoken to
		return errors.New("octets behind the answer to CONNECT")
	}
	return nil
}

// connectHeader is the header of a CONNECT: what the Transport says, and the credentials of the proxy's URL.
func (t tunnelling) connectHeader(ctx context.Context, proxy *url.URL, addr string) (http.Header, error) {
	h := t.transport.ProxyConnectHeader
	if t.transport.GetProxyConnectHeader != nil {
		var err error
		if h, err = t.transport.GetProxyConnectHeader(ctx, proxy, addr); err != nil {
			return nil, err
		}
	}
	if h = h.Clone(); h == nil {
		h = make(http.Header)
	}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		h.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	return h, nil
}
