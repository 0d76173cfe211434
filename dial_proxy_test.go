package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

var discardLog = log.New(io.Discard, "", 0)

// connectProxy is a proxy that knows CONNECT and nothing else. It notes what it is asked.
func connectProxy(t *testing.T, start func(http.Handler) *httptest.Server) (*httptest.Server, <-chan *http.Request) {
	t.Helper()
	asked := make(chan *http.Request, 10)
	s := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
		relay(near, far)
	}))
	s.Config.ErrorLog = discardLog
	t.Cleanup(s.Close)
	return s, asked
}

// relay carries octets both ways until one way ends.
func relay(a, b net.Conn) {
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(a, b); done <- struct{}{} }()
	go func() { _, _ = io.Copy(b, a); done <- struct{}{} }()
	<-done
}

// socksProxy is a socks5 proxy (RFC 1928) that asks for no password.
func socksProxy(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := socksConnect(near)
				if err != nil {
					return
				}
				defer far.Close()
				relay(near, far)
			}()
		}
	}()
	return l.Addr()
}

func socksConnect(near net.Conn) (net.Conn, error) {
	head := make([]byte, 2) // version, number of methods
	if _, err := io.ReadFull(near, head); err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, near, int64(head[1])); err != nil {
		return nil, err
	}
	if _, err := near.Write([]byte{5, 0}); err != nil {
		return nil, err
	}
	request := make([]byte, 4+4+2) // version, command, reserved, type 1, IPv4 address, port
	if _, err := io.ReadFull(near, request); err != nil {
		return nil, err
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte(request[4:8])), binary.BigEndian.Uint16(request[8:]))
	far, err := net.Dial("tcp", addr.String())
	if err != nil {
		return nil, err
	}
	_, err = near.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return far, err
}

// Through every kind of proxy a WebSocket goes by a tunnel, never by a request that the proxy would have to upgrade.
func TestProxies(t *testing.T) {
	plain, askedPlain := connectProxy(t, httptest.NewServer)
	secure, askedSecure := connectProxy(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.EnableHTTP2 = true // it would rather be asked in HTTP/2
		s.StartTLS()
		return s
	})
	socks := socksProxy(t)
	for name, start := range map[string]func(http.Handler) *httptest.Server{"ws": httptest.NewServer, "wss": httptest.NewTLSServer} {
		s := start(echoOnce(nil))
		defer s.Close()
		for _, row := range []struct {
			proxy *url.URL
			asked <-chan *http.Request
		}{
			{&url.URL{Scheme: "http", Host: plain.Listener.Addr().String(), User: url.UserPassword("me", "secret")}, askedPlain},
			{&url.URL{Scheme: "https", Host: secure.Listener.Addr().String(), User: url.UserPassword("me", "secret")}, askedSecure},
			{&url.URL{Scheme: "socks5", Host: socks.String()}, nil},
		} {
			t.Run(name+" through "+row.proxy.Scheme, func(t *testing.T) {
				transport := s.Client().Transport.(*http.Transport).Clone()
				if transport.TLSClientConfig == nil || transport.TLSClientConfig.RootCAs == nil {
					transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				}
				transport.TLSClientConfig.NextProtos = []string{"h2", "http/1.1"}
				transport.Proxy = http.ProxyURL(row.proxy)
				transport.ProxyConnectHeader = http.Header{"X-Tunnel": {"1"}}
				c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Transport: transport}})
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				wantEcho(t, c)
				if row.asked == nil {
					return
				}
				r := <-row.asked
				if want := s.Listener.Addr().String(); r.Method != "CONNECT" || r.Host != want || r.Header.Get("X-Tunnel") != "1" {
					t.Errorf("the proxy was asked %s %s, %v, want CONNECT %s", r.Method, r.Host, r.Header, want)
				}
				if got := r.Header.Get("Proxy-Authorization"); got != "Basic bWU6c2VjcmV0" {
					t.Errorf("the proxy got credentials %q", got)
				}
				if len(row.asked) > 0 {
					t.Errorf("the proxy was asked more than once")
				}
			})
		}
	}
}

func TestProxyThatRefuses(t *testing.T) {
	for _, row := range []struct{ why, answer, want string }{
		{"a password is wanted", "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407"},
		{"no HTTP", "220 mail.example.com ESMTP\r\n\r\n", "malformed"},
		{"nothing", "", "EOF"},
		{"a header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxProxyHeader), "EOF"},
		{"octets that nobody asked for", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n", "behind the answer"},
	} {
		proxy := evilServer(t, func(c net.Conn, _ string) { _, _ = io.WriteString(c, row.answer) })
		u, err := url.Parse(strings.Replace(proxy, "ws://", "http://me:secret@", 1))
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}
		c, _, err := Dial(dialContext(t), "ws://example.com/", &Options{HTTPClient: client})
		if c != nil || err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "proxy") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q and which proxy", row.why, err, row.want)
		}
	}
}

func TestProxyIsLeftWhenTheDialEnds(t *testing.T) {
	gone := make(chan bool)
	proxy := evilServer(t, func(c net.Conn, _ string) {
		untilGone(c)
		close(gone)
	})
	u, err := url.Parse(strings.Replace(proxy, "ws://", "http://", 1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{Proxy: http.ProxyURL(u), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &cancelOnRead{conn, 1, cancel}, err // the first read is that for the answer to CONNECT
	}}
	if c, _, err := Dial(ctx, "ws://example.com/", &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	<-gone
}

// A tunnel that led to no WebSocket is of no use to anybody.
func TestTunnelIsClosedAfterARefusal(t *testing.T) {
	gone := make(chan bool)
	target := evilServer(t, func(c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
		untilGone(c)
		close(gone)
	})
	proxy, _ := connectProxy(t, httptest.NewServer)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}
	_, resp, err := Dial(dialContext(t), target, &Options{HTTPClient: client})
	var refusal *HandshakeError
	if !errors.As(err, &refusal) || refusal.Status != 404 {
		t.Fatalf("got %v, want a *HandshakeError with 404", err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "no" {
		t.Errorf("got body %q and %v, want no", body, err)
	}
	<-gone
}

func TestProxyHooks(t *testing.T) {
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	proxy, asked := connectProxy(t, httptest.NewServer)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("not this proxy")
	transport := &http.Transport{
		Proxy: http.ProxyURL(u),
		GetProxyConnectHeader: func(_ context.Context, proxy *url.URL, target string) (http.Header, error) {
			return http.Header{"X-Target": {target}}, nil
		},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != 200 {
				t.Errorf("got status %d", resp.StatusCode)
			}
			return refused
		},
	}
	if c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
	if r := <-asked; r.Header.Get("X-Target") != s.Listener.Addr().String() {
		t.Errorf("the proxy got header %v", r.Header)
	}
	transport.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return nil, refused }
	if c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
	if len(asked) > 0 {
		t.Error("the proxy was asked without the header that it needs")
	}
	transport.Proxy = func(*http.Request) (*url.URL, error) { return nil, refused }
	if c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}

// A redirect is asked about again: another host may need another proxy, or none.
func TestProxyOfARedirect(t *testing.T) {
	proxy, asked := connectProxy(t, httptest.NewServer)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	target := httptest.NewServer(echoOnce(nil))
	defer target.Close()
	s := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusFound))
	defer s.Close()
	transport := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == target.Listener.Addr().String() {
			return u, nil
		}
		return nil, nil
	}}
	defer transport.CloseIdleConnections()
	c, _, err := Dial(dialContext(t), wsURL(s), &Options{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	wantEcho(t, c)
	if r := <-asked; r.Host != target.Listener.Addr().String() || len(asked) != 0 {
		t.Errorf("the proxy was asked for %s, want only the redirect's target", r.Host)
	}
}

// The connection that comes out of a tunnel is the proxy's own, so that what is known of its type still holds.
func TestTunnelIsNotWrapped(t *testing.T) {
	proxy, _ := connectProxy(t, httptest.NewServer)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(echoOnce(nil))
	defer s.Close()
	conn, err := tunnelling{&http.Transport{}}.connect(dialContext(t), u, s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("got a %T, want a *net.TCPConn", conn)
	}
	if _, err := io.WriteString(conn, sampleText); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 101 {
		t.Errorf("got %v and %v, want 101 through the tunnel", resp, err)
	}
}

func TestDeprecatedDialOfTransportIsUsedForProxy(t *testing.T) {
	proxy, _ := connectProxy(t, httptest.NewServer)
	target := httptest.NewServer(echoOnce(nil))
	defer target.Close()
	pu, _ := url.Parse("http://proxy.invalid:3128")
	//lint:ignore SA1019 http.Transport still uses it
	tr := &http.Transport{Proxy: http.ProxyURL(pu), Dial: func(n, a string) (net.Conn, error) {
		return net.Dial("tcp", strings.TrimPrefix(proxy.URL, "http://"))
	}}
	c, _, err := Dial(dialContext(t), wsURL(target), &Options{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
}

func TestDeprecatedDialTLSOfTransportIsUsedForProxy(t *testing.T) {
	proxy, _ := connectProxy(t, httptest.NewTLSServer)
	target := httptest.NewServer(echoOnce(nil))
	defer target.Close()
	pu, _ := url.Parse("https://proxy.invalid:3128")
	config := proxy.Client().Transport.(*http.Transport).TLSClientConfig
	//lint:ignore SA1019 http.Transport still uses it
	tr := &http.Transport{Proxy: http.ProxyURL(pu), DialTLS: func(n, a string) (net.Conn, error) {
		return tls.Dial(n, proxy.Listener.Addr().String(), config)
	}}
	c, _, err := Dial(dialContext(t), wsURL(target), &Options{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
}

// A proxy whose URL names no port is asked on the one that is its scheme's.
func TestProxyWithoutAPort(t *testing.T) {
	for proxy, want := range map[string]string{
		"http://proxy.invalid":  "proxy.invalid:80",
		"https://proxy.invalid": "proxy.invalid:443",
		"https://[::1]":         "[::1]:443",
	} {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		asked, nobody := make(chan string, 1), errors.New("nobody is there")
		transport := &http.Transport{Proxy: http.ProxyURL(u), DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			asked <- addr
			return nil, nobody
		}}
		if c, _, err := Dial(dialContext(t), "ws://example.com", &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || !errors.Is(err, nobody) {
			t.Fatalf("%s: got %v, want %v", proxy, err, nobody)
		}
		if got := <-asked; got != want {
			t.Errorf("%s: asked %s, want %s", proxy, got, want)
		}
	}
}

// A proxy that says nothing is given up after the Transport's TLSHandshakeTimeout.
func TestHandshakeWithAProxyIsBounded(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	transport := &http.Transport{
		Proxy:               http.ProxyURL(&url.URL{Scheme: "https", Host: "proxy.invalid"}),
		DialContext:         func(context.Context, string, string) (net.Conn, error) { return near, nil },
		TLSHandshakeTimeout: time.Millisecond,
	}
	ctx := dialContext(t)
	if c, _, err := Dial(ctx, "ws://example.com", &Options{HTTPClient: &http.Client{Transport: transport}}); c != nil || err == nil || ctx.Err() != nil {
		t.Errorf("got %v, and the dial's own context %v", err, ctx.Err())
	}
}
