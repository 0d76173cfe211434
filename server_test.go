package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// This file holds what Server promises in both modes. What only event mode
// promises is in events_test.go.

// handshake is a request for a connection, as a client sends it.
const handshake = "GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// served is a server under test behind net/http, on loopback.
type served struct {
	t    testing.TB
	s    *Server
	addr string
	tls  bool
}

// serving starts an http.Server with h, and shuts s down when the test ends.
func serving(t testing.TB, s *Server, h http.Handler) *served {
	t.Helper()
	return servingOn(t, s, h, listen(t))
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func servingOn(t testing.TB, s *Server, h http.Handler, ln net.Listener) *served {
	hs := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = hs.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown at the end of the test: %v", err)
		}
		_ = hs.Close()
		<-ended
	})
	return &served{t: t, s: s, addr: ln.Addr().String()}
}

// ask sends a request and returns the answer.
func (v *served) ask(request string) (net.Conn, *bufio.Reader, *http.Response) {
	v.t.Helper()
	conn, err := net.Dial("tcp", v.addr)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = conn.Close() })
	if v.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(conn, request); err != nil {
		v.t.Fatal(err)
	}
	br := bufio.NewReaderSize(conn, 1) // 16 octets at least, so that frames are not taken with the answer
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return conn, br, resp
}

// openRaw opens a connection whose client is a socket.
func (v *served) openRaw() net.Conn {
	v.t.Helper()
	conn, br, resp := v.ask(handshake)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		v.t.Fatalf("status %d", resp.StatusCode)
	}
	if n := br.Buffered(); n > 0 {
		ahead, _ := br.Peek(n)
		conn = &aheadConn{conn, bytes.Clone(ahead)}
	}
	return conn
}

// aheadConn gives octets that were read already.
type aheadConn struct {
	net.Conn
	ahead []byte
}

func (r *aheadConn) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(p, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

func (r *aheadConn) CloseWrite() error {
	return r.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// open opens a connection whose client is a scripted peer.
func (v *served) open() *peer {
	v.t.Helper()
	return newPeer(v.t, v.openRaw(), true)
}

// modes are both ways to serve. f gets a Server whose messages go to on, one after
// the other for each connection.
func bothModes(t *testing.T, f func(t *testing.T, serve func(s *Server, on func(*Conn, Message) error) *Server)) {
	t.Run("Handle", func(t *testing.T) {
		f(t, func(s *Server, on func(*Conn, Message) error) *Server {
			s.Handle = func(c *Conn, r *http.Request) error {
				for msg, err := range c.Messages(context.Background()) {
					if err != nil {
						return err
					}
					if err := on(c, msg); err != nil {
						return err
					}
				}
				return nil
			}
			return s
		})
	})
	t.Run("Message", func(t *testing.T) {
		f(t, func(s *Server, on func(*Conn, Message) error) *Server {
			s.Message = on
			return s
		})
	})
}

// bye ends a connection that the server has closed: a client answers, sees the end
// of the stream, and closes it.
func bye(p *peer, answer frame) {
	p.t.Helper()
	p.sends(answer)
	p.wantEOF("the end")
	p.hangsUp()
}

func writeBack(c *Conn, msg Message) error { return c.Write(context.Background(), msg.Type, msg.Data) }

// ignore is for messages that the test has no use for.
func ignore(*Conn, Message) error { return nil }

// logged collects what is logged while the test runs.
func logged(t *testing.T) *lockedBuffer {
	b := new(lockedBuffer)
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return b
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (v *served) wantConns(n int) {
	v.t.Helper()
	within(v.t, fmt.Sprintf("the server has %d connections", n), func() bool {
		count := 0
		for range v.s.Conns() {
			count++
		}
		return count == n
	})
}

func TestServerEchoes(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet()}, writeBack)
		p := serving(t, s, s).open()
		p.sends(text("one"), binaryOf("two"), text("th").more(), ping("x"), cont("ree"))
		p.want("the echo", text("one"), binaryOf("two"), pong("x"), text("three"))
		p.sends(closeFrame(1000, "bye"))
		p.want("the answer", closeFrame(1000, ""))
		p.wantEOF("the end")
	})
}

func TestExactlyOneOfHandleAndMessage(t *testing.T) {
	handle := func(*Conn, *http.Request) error { return nil }
	for _, s := range []*Server{{}, {Handle: handle, Message: ignore}} {
		log := logged(t)
		_, _, resp := serving(t, s, s).ask(handshake)
		if resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("status %d, want 500", resp.StatusCode)
		}
		if !strings.Contains(log.String(), "exactly one of Server.Handle and Server.Message") {
			t.Errorf("logged %q", log)
		}
		c, p := overTCP(t, quiet(), false)
		served := make(chan error)
		go func() { served <- s.Serve(c, nil) }()
		p.want("the end of a connection that can't be served", closeFrame(1011, ""))
		bye(p, closeFrame(1011, ""))
		if err := <-served; err != errServerMode {
			t.Errorf("Serve returned %v", err)
		}
	}
}

// The code that a connection is closed with, for what Handle and Message return.
func TestErrorsBecomeCloseCodes(t *testing.T) {
	private := errors.New("private: the database said no")
	for _, row := range []struct {
		name string
		err  error
		want frame
		log  string // a part of it; "": nothing is logged
	}{
		{"a code", &CloseError{Code: 4001, Reason: "go away"}, closeFrame(4001, "go away"), ""},
		{"a wrapped code", fmt.Errorf("x: %w", &CloseError{Code: StatusPolicyViolation}), closeFrame(1008, ""), ""},
		{"an empty Close", &CloseError{Code: StatusNoStatusRcvd}, emptyClose(), ""},
		{"a code that must not be sent", &CloseError{Code: StatusAbnormalClosure}, closeFrame(1011, ""), "1006"},
		{"a reason that is no text", &CloseError{Code: 4000, Reason: "\xff"}, closeFrame(1011, ""), "1011"},
		{"another error", private, closeFrame(1011, ""), "database"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
				log := logged(t)
				over := make(chan error, 1)
				s := serve(&Server{Options: *quiet(), Closed: func(_ *Conn, err error) { over <- err }},
					func(*Conn, Message) error { return row.err })
				p := serving(t, s, s).open()
				p.sends(text("go"))
				p.want("the code", row.want)
				bye(p, row.want)
				if err := <-over; err != row.err {
					t.Errorf("Closed got %v, want %v", err, row.err)
				}
				if got := log.String(); (row.log == "") != (got == "") || !strings.Contains(got, row.log) {
					t.Errorf("logged %q, want %q", got, row.log)
				}
			})
		})
	}
}

func TestHandleThatReturnsNilCloses(t *testing.T) {
	over := make(chan error, 1)
	s := &Server{
		Handle: func(*Conn, *http.Request) error { return nil },
		Closed: func(_ *Conn, err error) { over <- err },
	}
	p := serving(t, s, s).open()
	p.want("a normal closure", closeFrame(1000, ""))
	bye(p, closeFrame(1000, ""))
	if err := <-over; err != nil {
		t.Errorf("Closed got %v", err)
	}
}

// What Handle or Message returns when the connection is over already changes and
// logs nothing; Closed learns why the connection ended.
func TestErrorsOfAConnectionThatIsOverChangeNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		ends func(p *peer)
		want func(error) bool
	}{
		{"closed by the peer", func(p *peer) { p.sends(closeFrame(4000, "why")) }, func(err error) bool {
			var e *CloseError
			return errors.As(err, &e) && *e == CloseError{4000, "why"}
		}},
		{"end of the stream", func(p *peer) { p.hangsUp() }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"a violation", func(p *peer) { p.sends(text("x").rsv(2)) }, func(err error) bool {
			var e *ProtocolError
			return errors.As(err, &e) && e.Code == StatusProtocolError
		}},
		{"too big", func(p *peer) { p.sends(binaryOf(strings.Repeat("x", 2000))) }, func(err error) bool { return errors.Is(err, ErrTooBig) }},
		{"closed by us", func(p *peer) { p.sends(text("close")) }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"cut by us", func(p *peer) { p.sends(text("cut")) }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
				log := logged(t)
				over := make(chan error, 1)
				s := serve(&Server{
					Options: Options{KeepAlive: -1, ReadLimit: 1000, CloseTimeout: 100 * time.Millisecond},
					Closed:  func(_ *Conn, err error) { over <- err },
				}, func(c *Conn, msg Message) error {
					switch string(msg.Data) {
					case "close":
						_ = c.Close(4444, "")
						return errors.New("late")
					case "cut":
						_ = c.CloseNow()
						return errors.New("late")
					}
					return nil
				})
				p := serving(t, s, s).open()
				row.ends(p)
				if err := <-over; !row.want(err) {
					t.Errorf("Closed got %v", err)
				}
				if log.String() != "" {
					t.Errorf("logged %q", log)
				}
			})
		})
	}
}

func TestPanicsAreLoggedAndOthersLiveOn(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		log := logged(t)
		over := make(chan error, 1)
		s := serve(&Server{Options: *quiet(), Closed: func(_ *Conn, err error) {
			over <- err
			panic("in Closed")
		}}, func(c *Conn, msg Message) error {
			if string(msg.Data) == "panic" {
				panic("oh no")
			}
			return writeBack(c, msg)
		})
		v := serving(t, s, s)
		other, p := v.open(), v.open()
		p.sends(text("panic"))
		p.want("the code of a panic, and no text", closeFrame(1011, ""))
		bye(p, closeFrame(1011, ""))
		if err := <-over; err != errPanicked {
			t.Errorf("Closed got %v", err)
		}
		within(t, "both panics are logged", func() bool { return strings.Contains(log.String(), "in Closed") })
		if got := log.String(); !strings.Contains(got, "oh no") || !strings.Contains(got, "server_test.go") {
			t.Errorf("logged %q, want the panic with its stack", got)
		}
		other.sends(text("alive"))
		other.want("the echo of another connection", text("alive"))
		other.hangsUp()
		<-over
		v.wantConns(0)
	})
}

func TestPanicInOpenIsAnError(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		log := logged(t)
		s := serve(&Server{
			Open:   func(*Conn, *http.Request) error { panic("in Open") },
			Closed: func(*Conn, error) { t.Error("Closed was called though Open failed") },
		}, ignore)
		p := serving(t, s, s).open()
		p.want("the code of a panic", closeFrame(1011, ""))
		bye(p, closeFrame(1011, ""))
		if !strings.Contains(log.String(), "in Open") {
			t.Errorf("logged %q", log)
		}
	})
}

// A test's FailNow, or runtime.Goexit, ends the goroutine that calls Handle or
// Message: the connection must not be lost by that.
func TestGoexitEndsTheConnection(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		logged(t)
		over := make(chan error, 1)
		s := serve(&Server{Options: *quiet(), Closed: func(_ *Conn, err error) { over <- err }},
			func(*Conn, Message) error { runtime.Goexit(); return nil })
		p := serving(t, s, s).open()
		p.sends(text("go"))
		p.want("the code", closeFrame(1011, ""))
		bye(p, closeFrame(1011, ""))
		if err := <-over; err != errGoexit {
			t.Errorf("Closed got %v", err)
		}
	})
}

func TestGoexitInOpenEndsTheConnection(t *testing.T) {
	logged(t)
	s := &Server{Options: *quiet(), Message: ignore, Open: func(*Conn, *http.Request) error { runtime.Goexit(); return nil }}
	v := serving(t, s, s)
	p := v.open()
	p.want("the code", closeFrame(1011, ""))
	bye(p, closeFrame(1011, ""))
	v.wantConns(0)
	if err := <-v.shutdown(20 * time.Second); err != nil {
		t.Error("Shutdown:", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		refusal := &CloseError{Code: StatusPolicyViolation, Reason: "no"}
		s := serve(&Server{
			Open:   func(*Conn, *http.Request) error { return refusal },
			Closed: func(*Conn, error) { t.Error("Closed was called though Open failed") },
		}, func(*Conn, Message) error { t.Error("a message was delivered though Open failed"); return nil })
		v := serving(t, s, s)
		p := v.open()
		p.sends(text("too early"))
		p.want("the refusal", closeFrame(1008, "no"))
		bye(p, closeFrame(1008, ""))
		v.wantConns(0)
		c, q := overTCP(t, quiet(), false)
		q.sends(closeFrame(1008, ""))
		q.hangsUp()
		if err := s.Serve(c, nil); err != error(refusal) {
			t.Errorf("Serve returned %v, want what Open did", err)
		}
	})
}

func TestOpenGetsTheRequestAndMayWrite(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet(), Open: func(c *Conn, r *http.Request) error {
			if r.URL.Query().Get("q") != "1" || r.PathValue("name") != "path" {
				t.Errorf("request %v with name %q", r.URL, r.PathValue("name"))
			}
			c.SetValue("a value")
			return c.Write(r.Context(), Text, []byte("welcome"))
		}}, func(c *Conn, msg Message) error {
			return c.Write(context.Background(), Text, []byte(c.Value().(string)))
		})
		mux := http.NewServeMux()
		mux.Handle("GET /{name}", s)
		p := serving(t, s, mux).open()
		p.sends(text("x"))
		p.want("what Open wrote, then the echo", text("welcome"), text("a value"))
	})
}

func TestConfigure(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		var deny error
		s := serve(&Server{
			Options: Options{
				KeepAlive: -1, Header: http.Header{"X-Given": {"1"}}, Subprotocols: make([]string, 1, 8),
				Origins: make([]string, 1, 8), Compression: &Compression{},
			},
			Configure: func(r *http.Request, o *Options) error {
				o.Header.Add("X-Given", "2")
				o.Header.Set("X-More", r.URL.Path)
				o.Subprotocols = append(o.Subprotocols, r.URL.Path)
				o.Origins = append(o.Origins, r.URL.Path)
				o.Compression.Level = 9
				o.ReadLimit = 10
				return deny
			},
		}, writeBack)
		s.Options.Subprotocols[0], s.Options.Origins[0] = "a", "https://example.com"
		v := serving(t, s, s)
		_, _, resp := v.ask(handshake)
		if got := resp.Header; resp.StatusCode != 101 || len(got["X-Given"]) != 2 || got.Get("X-More") != "/path" {
			t.Errorf("status %d, header %v", resp.StatusCode, got)
		}
		o := &s.Options
		if len(o.Header) != 1 || len(o.Header["X-Given"]) != 1 || o.Subprotocols[:2][1] != "" || o.Origins[:2][1] != "" || o.Compression.Level != 0 {
			t.Errorf("the Server's own Options were changed: %+v %+v", o, o.Compression)
		}
		p := v.open()
		p.sends(text("longer than ten"))
		p.want("the limit of this request", anyClose(1009))
		for _, row := range []struct {
			err    error
			status int
		}{
			{errors.New("no"), 403},
			{&HandshakeError{Status: 401, Rule: "who are you?"}, 401},
			{fmt.Errorf("x: %w", &HandshakeError{Status: 429}), 429},
			{&HandshakeError{Status: 200}, 403},
			{(*HandshakeError)(nil), 403},
		} {
			deny = row.err
			_, _, resp := v.ask(handshake)
			if resp.StatusCode != row.status {
				t.Errorf("%v: status %d, want %d", row.err, resp.StatusCode, row.status)
			}
		}
	})
}

func TestMiddlewareThatHidesTheHijackerIsNamed(t *testing.T) {
	log := logged(t)
	s := &Server{Message: ignore, Open: func(*Conn, *http.Request) error { t.Error("Open was called"); return nil }}
	v := serving(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	}))
	if _, _, resp := v.ask(handshake); resp.StatusCode != 500 {
		t.Errorf("status %d", resp.StatusCode)
	}
	v.wantConns(0)
	if !strings.Contains(log.String(), "hides the http.Hijacker") {
		t.Errorf("the log says %q, and nobody is told of the wrapper", log.String())
	}
}

// unwrapping is middleware that has been told of http.ResponseController.
type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestMiddlewareThatUnwraps(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet()}, writeBack)
		p := serving(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(unwrapping{unwrapping{w}}, r)
		})).open()
		p.sends(text("x"))
		p.want("the echo", text("x"))
	})
}

// A router that recycles what it hung on the request's context, as chi does, while
// Handle runs.
func TestRouterThatRecyclesItsContext(t *testing.T) {
	type routeContext struct{ name string }
	type key struct{}
	recycled := sync.Pool{New: func() any { return new(routeContext) }}
	s := &Server{Options: *quiet()}
	s.Open = func(c *Conn, r *http.Request) error {
		c.SetValue(r.Context().Value(key{}).(*routeContext).name)
		return nil
	}
	s.Handle = func(c *Conn, r *http.Request) error {
		for msg, err := range c.Messages(r.Context()) {
			if err != nil {
				return err
			}
			if r.Context().Value(key{}) != nil {
				t.Error("Handle sees what was recycled")
			}
			answer := c.Value().(string) + r.URL.Path + r.PathValue("name") + r.Header.Get("Host")
			if err := c.Write(r.Context(), msg.Type, []byte(answer)); err != nil {
				return err
			}
		}
		return nil
	}
	v := serving(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := recycled.Get().(*routeContext)
		rc.name = "mine"
		r = r.WithContext(context.WithValue(r.Context(), key{}, rc))
		r.SetPathValue("name", "value")
		s.ServeHTTP(w, r)
		rc.name = "another's"
		recycled.Put(rc)
	}))
	for range 3 {
		p := v.open()
		for range 3 {
			p.sends(text("x"))
			p.want("what Open took", text("mine/pathvalue"))
		}
	}
}

func TestRequestContextLivesAsLongAsTheConnection(t *testing.T) {
	causes := make(chan error, 1)
	s := &Server{Options: *quiet(), Handle: func(c *Conn, r *http.Request) error {
		if _, _, err := c.Read(context.Background()); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		if c.life != nil {
			t.Error("a context was made though nobody has asked for one")
		}
		c.mu.Unlock()
		if err := r.Context().Err(); err != nil {
			t.Errorf("the context has ended before the connection: %v", err)
		}
		if err := c.Write(r.Context(), Text, nil); err != nil {
			t.Error(err)
		}
		_, _, err := c.Read(r.Context())
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
		return err
	}}
	p := serving(t, s, s).open()
	p.sends(text("x"))
	p.want("an answer", text(""))
	p.sends(closeFrame(4321, "why"))
	var closed *CloseError
	if err := <-causes; !errors.As(err, &closed) || closed.Code != 4321 {
		t.Errorf("cause %v", err)
	}
}

// wrappedListener accepts connections that embed a *net.TCPConn and change every
// octet: whoever bypasses their Read or Write gets nonsense.
type wrappedListener struct{ net.Listener }

func (l wrappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &flipped{TCPConn: c.(*net.TCPConn)}, nil
}

type flipped struct{ *net.TCPConn }

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.TCPConn.Read(p)
	for i := range p[:n] {
		p[i] ^= 0x55
	}
	return n, err
}

func (f *flipped) Write(p []byte) (int, error) {
	q := bytes.Clone(p)
	for i := range q {
		q[i] ^= 0x55
	}
	return f.TCPConn.Write(q)
}

func (f *flipped) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{f}, r) }

func TestListenerThatWrapsConnections(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet()}, func(c *Conn, msg Message) error {
			if err := writeBack(c, msg); err != nil {
				return err
			}
			c.conn.(*flipped).mustBe(t)
			return c.Send(prepared(t, Text, "queued"))
		})
		v := servingOn(t, s, s, wrappedListener{listen(t)})
		conn, err := net.Dial("tcp", v.addr)
		if err != nil {
			t.Fatal(err)
		}
		client := &flipped{conn.(*net.TCPConn)}
		if _, err := io.WriteString(client, handshake); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReaderSize(client, 1), nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v %v", resp, err)
		}
		p := newPeer(t, client, true)
		for _, n := range []int{1, 1000, 100_000} {
			p.sends(binaryOf(strings.Repeat("x", n)))
			p.want("the echo, and what was queued", binaryOf(strings.Repeat("x", n)), text("queued"))
		}
		s.Broadcast(prepared(t, Text, "to all"))
		p.want("what was broadcast", text("to all"))
		p.sends(closeFrame(1000, ""))
		p.want("the answer", closeFrame(1000, ""))
		p.wantEOF("the end")
	})
}

func (f *flipped) mustBe(t *testing.T) {
	if f == nil {
		t.Error("not the listener's connection")
	}
}

func TestServerOverTLS(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: *quiet()}, writeBack)
		v := servingTLS(t, s)
		a, b := v.open(), v.open()
		v.wantConns(2)
		for _, n := range []int{1, 1000, 100_000} {
			a.sends(binaryOf(strings.Repeat("x", n)))
			a.want("the echo", binaryOf(strings.Repeat("x", n)))
		}
		s.Broadcast(prepared(t, Text, "to all"))
		a.want("what was broadcast", text("to all"))
		b.want("what was broadcast", text("to all"))
		a.sends(closeFrame(1000, ""))
		a.want("the answer", closeFrame(1000, ""))
		a.wantEOF("the end")
		b.hangsUp()
		v.wantConns(0)
	})
}

// servingTLS is serving over TLS.
func servingTLS(t *testing.T, s *Server) *served {
	ts := httptest.NewUnstartedServer(s)
	ts.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	ts.StartTLS()
	t.Cleanup(ts.Close)
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &served{t: t, s: s, addr: ts.Listener.Addr().String(), tls: true}
}

// CloseRead in Open, and goroutines that Open starts, read while Handle begins.
func TestReadersThatOpenHasStarted(t *testing.T) {
	s := &Server{
		Options: Options{KeepAlive: 10 * time.Second},
		Open:    func(c *Conn, r *http.Request) error { c.CloseRead(); return nil },
		Handle: func(c *Conn, r *http.Request) error {
			<-r.Context().Done()
			return context.Cause(r.Context())
		},
	}
	v := serving(t, s, s)
	for range 20 {
		p := v.open()
		p.sends(ping("x"))
		p.want("the Pong", pong("x"))
		p.sends(closeFrame(1000, ""))
		p.want("the answer", closeFrame(1000, ""))
	}
}

func TestServeOverAPipe(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		over := make(chan error, 1)
		s := serve(&Server{Closed: func(_ *Conn, err error) { over <- err }}, writeBack)
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		if err := s.Serve(NewServerConn(near, quiet()), nil); err != nil {
			t.Fatal(err)
		}
		p.sends(text("one"), text("two"))
		p.want("the echo", text("one"), text("two"))
		s.Broadcast(prepared(t, Text, "to all"))
		p.want("what was broadcast", text("to all"))
		shut := make(chan error, 1)
		go func() { shut <- s.Shutdown(context.Background()) }()
		p.want("the end", closeFrame(1001, ""))
		p.sends(closeFrame(1001, ""))
		if err := <-shut; err != nil {
			t.Error(err)
		}
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Closed got %v", err)
		}
		near, far = net.Pipe()
		p = newPeer(t, far, true)
		p.sends(closeFrame(1001, ""))
		if err := s.Serve(NewServerConn(near, quiet()), nil); err != ErrServerClosed {
			t.Errorf("Serve after Shutdown: %v", err)
		}
		p.want("the end", closeFrame(1001, ""))
	})
}

// A connection that two Servers have, or one has twice, would be read by both.
func TestConnectionIsServedOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s, other := serve(&Server{Options: *quiet()}, writeBack), serve(&Server{Options: *quiet()}, writeBack)
		near, far := net.Pipe()
		p := newPeer(t, far, true)
		c := NewServerConn(near, quiet())
		if err := s.Serve(c, nil); err != nil {
			t.Fatal(err)
		}
		for _, again := range []*Server{s, other} {
			if err := again.Serve(c, nil); err != errServedTwice {
				t.Errorf("got %v, want that it is served already", err)
			}
		}
		p.sends(text("still there?"))
		p.want("the echo", text("still there?"))
		if s, other := len(slices.Collect(s.Conns())), len(slices.Collect(other.Conns())); s != 1 || other != 0 {
			t.Errorf("%d and %d connections, want 1 and none", s, other)
		}
		p.sends(closeFrame(1000, ""))
		p.want("the answer", closeFrame(1000, ""))
	})
}

func TestConnsAndBroadcastWhileOpenRuns(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		inOpen, goOn := make(chan struct{}), make(chan struct{})
		s := serve(&Server{Options: *quiet(), Open: func(c *Conn, r *http.Request) error {
			close(inOpen)
			<-goOn
			return c.Write(context.Background(), Text, []byte("welcome"))
		}}, writeBack)
		v := serving(t, s, s)
		p := v.open()
		<-inOpen
		v.wantConns(1)
		if n := s.Broadcast(prepared(t, Text, "news")); n != 0 {
			t.Errorf("%d are slow", n)
		}
		p.want("what was broadcast while Open ran", text("news"))
		close(goOn)
		p.want("what Open wrote", text("welcome"))
	})
}

func TestConnsMayStopEarly(t *testing.T) {
	s := &Server{Message: ignore, Options: *quiet()}
	v := serving(t, s, s)
	v.open()
	v.open()
	v.wantConns(2)
	for range s.Conns() {
		break
	}
}

func TestBroadcastFromInsideCallbacks(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := new(Server)
		all := func(text string) { s.Broadcast(prepared(t, Text, text)) }
		s.Options = *quiet()
		s.Open = func(*Conn, *http.Request) error { all("opened"); return nil }
		s.Closed = func(*Conn, error) { all("closed") }
		serve(s, func(_ *Conn, msg Message) error { all(string(msg.Data)); return nil })
		v := serving(t, s, s)
		a := v.open()
		a.want("its own opening", text("opened"))
		b := v.open()
		b.want("its own opening", text("opened"))
		a.want("the other's opening", text("opened"))
		var want []frame
		for i := range 50 {
			want = append(want, text(fmt.Sprint(i)))
		}
		b.sends(want...)
		a.want("what the other has sent, in order", want...)
		b.want("what it has sent itself", want...)
		b.hangsUp()
		a.want("the other's end", text("closed"))
	})
}

func TestBroadcastsOfOneGoroutineKeepTheirOrder(t *testing.T) {
	s := &Server{Message: ignore, Options: Options{KeepAlive: -1, SendLimit: 64 << 20}}
	v := serving(t, s, s)
	p := v.open()
	v.wantConns(1)
	p.stopsListening()
	for i := range 200 { // some find the socket full, and the turn taken
		s.Broadcast(prepared(t, Binary, strings.Repeat(string(rune('a'+i%26)), 100_000)))
		if i == 100 {
			p.listens()
		}
	}
	for i := range 200 {
		if f, err := p.next(); err != nil || string(f.payload) != strings.Repeat(string(rune('a'+i%26)), 100_000) {
			t.Fatalf("message %d: got %s %v", i, f, err)
		}
	}
	for c := range s.Conns() {
		within(t, "nothing is buffered any more", func() bool { return c.BufferedAmount() == 0 })
	}
}

// A burst to peers that take everything drops nobody, though goroutines have to write to
// each: without letting them go first all would be dropped.
func TestBroadcastDoesNotOutrunItsWriters(t *testing.T) {
	o := Options{KeepAlive: -1, SendLimit: 128 << 10, CloseTimeout: 100 * time.Millisecond}
	takeover := o
	takeover.Compression = &Compression{ContextTakeover: true, Threshold: 1 << 20}
	for name, row := range map[string]struct {
		o    Options
		wrap func(net.Conn) net.Conn
	}{
		"no socket": {o, func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }},
		"takeover":  {takeover, func(c net.Conn) net.Conn { return c }},
	} {
		t.Run(name, func(t *testing.T) {
			slow := 1
			for try := 0; try < 5 && slow > 0; try++ { // on a busy machine the writers may be later than they are waited for
				slow = droppedByBurst(t, &Server{Options: row.o, Message: func(*Conn, Message) error { return nil }}, row.wrap)
			}
			if slow > 0 {
				t.Errorf("%d peers that take everything are dropped", slow)
			}
		})
	}
}

// queueFull is a server with a connection over a stream whose queue is full with the message,
// for somebody has the turn to send.
func queueFull(t *testing.T) (*Server, *Conn, *Prepared) {
	t.Helper()
	s := &Server{Options: Options{KeepAlive: -1, SendLimit: 1000, CloseTimeout: 100 * time.Millisecond}, Message: func(*Conn, Message) error { return nil }}
	c, _ := eventsOverStream(t, s)
	if !c.takeTurn(&c.sending, nil) {
		t.Fatal("no turn")
	}
	msg := prepared(t, Text, strings.Repeat("x", 900))
	if slow := s.Broadcast(msg); slow > 0 {
		t.Fatal("dropped with nothing in its queue")
	}
	return s, c, msg
}

func sparedOf(c *Conn) uint8 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spared
}

// A full queue is given time where a goroutine has to write it.
func TestBroadcastSparesWhoseWriterIsLate(t *testing.T) {
	for try := range 20 { // on a busy machine the writer may be later than it is waited for
		s, c, msg := queueFull(t)
		go func() {
			for sparedOf(c) == 0 {
				runtime.Gosched()
			}
			c.releaseTurn(&c.sending)
		}()
		if slow := s.Broadcast(msg); slow > 0 {
			t.Logf("try %d: dropped, though its queue was taken at last", try)
			continue
		}
		within(t, "nothing waits", func() bool { return c.BufferedAmount() == 0 })
		if slow := s.Broadcast(msg); slow > 0 || sparedOf(c) > 0 {
			t.Errorf("%d dropped, spared %d, with nothing in its queue", slow, sparedOf(c))
		}
		return
	}
	t.Error("it is never spared")
}

// It is not given time for ever.
func TestBroadcastDoesNotSpareAWriterForEver(t *testing.T) {
	s, c, msg := queueFull(t)
	began := time.Now()
	slow := s.Broadcast(msg)
	if slow != 1 || !errors.Is(context.Cause(c.Context()), ErrQueueFull) || sparedOf(c) > mostSpared {
		t.Errorf("%d dropped after %v, spared %d, cause %v; want it dropped", slow, time.Since(began), sparedOf(c), context.Cause(c.Context()))
	}
	c.releaseTurn(&c.sending)
}

// Where nobody but the peer can be late, it is not spared.
func TestBroadcastSparesNoSocketThatIsFull(t *testing.T) {
	s := &Server{Options: Options{KeepAlive: -1, SendLimit: 1000, CloseTimeout: 100 * time.Millisecond}, Message: func(*Conn, Message) error { return nil }}
	c, _ := eventsOver(t, s)
	needsRaw(t, c)
	if !c.takeTurn(&c.sending, nil) {
		t.Fatal("no turn")
	}
	msg := prepared(t, Text, strings.Repeat("x", 900))
	if first, second := s.Broadcast(msg), s.Broadcast(msg); first != 0 || second != 1 || c.spared > 0 {
		t.Errorf("dropped %d and %d, spared %d; want it dropped at once by the second", first, second, c.spared)
	}
	c.releaseTurn(&c.sending)
}

func droppedByBurst(t *testing.T, s *Server, wrap func(net.Conn) net.Conn) (slow int) {
	for range 100 {
		near, far := tcpPair(t)
		defer func() { _, _ = near.Close(), far.Close() }() // there may be more tries
		go func() { _, _ = io.Copy(io.Discard, far) }()
		serveEvents(t, s, wrap(near))
	}
	msg := prepared(t, Text, strings.Repeat("x", 100))
	for range 4000 {
		slow += s.Broadcast(msg)
	}
	return slow
}

// A room's connections may be a Server's or not. Those that are over get nothing.
func TestBroadcastToSomeReachesNoOthers(t *testing.T) {
	opened := make(chan *Conn, 2)
	s := &Server{Options: *quiet(), Open: func(c *Conn, _ *http.Request) error { opened <- c; return nil }, Message: ignore}
	v := serving(t, s, s)
	member := v.open()
	room := []*Conn{nil, <-opened}
	other := v.open()
	<-opened
	gone, _ := overTCP(t, quiet(), false)
	_ = gone.CloseNow()
	guest, guestPeer := overTCP(t, quiet(), true)
	room = append(room, gone, guest)
	if slow := Broadcast(prepared(t, Text, "to the room"), slices.Values(room)); slow != 0 {
		t.Errorf("%d were slow", slow)
	}
	if slow := Broadcast(nil, slices.Values(room)) + Broadcast(prepared(t, Text, "to nobody"), nil); slow != 0 {
		t.Errorf("of nothing, %d were slow", slow)
	}
	s.Broadcast(prepared(t, Text, "to all"))
	member.want("what the room got and all", text("to the room"), text("to all"))
	guestPeer.want("what the room got", text("to the room"))
	other.want("what all got", text("to all"))
}

func TestBroadcastToSomeDropsThoseWhoDoNotKeepUp(t *testing.T) {
	slow, p := overTCP(t, &Options{KeepAlive: -1, SendLimit: 1 << 20, CloseTimeout: 100 * time.Millisecond}, false)
	fast, fastPeer := overTCP(t, quiet(), false)
	p.stopsListening()
	msg, room := prepared(t, Binary, strings.Repeat("x", 300_000)), map[*Conn]bool{slow: true, fast: true}
	for range 100 {
		dropped := Broadcast(msg, maps.Keys(room))
		fastPeer.want("what was broadcast", binaryOf(string(msg.payload)))
		if dropped > 0 {
			break
		}
	}
	if dropped := Broadcast(msg, maps.Keys(room)); dropped != 0 {
		t.Errorf("counted again, %d times", dropped)
	}
	if _, _, err := slow.Read(t.Context()); !errors.Is(err, ErrQueueFull) {
		t.Errorf("Read got %v, want ErrQueueFull", err)
	}
}

func TestBroadcastDropsThoseWhoDoNotKeepUp(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		over := make(chan error, 2)
		s := serve(&Server{
			Options: Options{KeepAlive: -1, SendLimit: 1 << 20},
			Closed:  func(_ *Conn, err error) { over <- err },
		}, ignore)
		v := serving(t, s, s)
		slow, fast := v.open(), v.open()
		slow.stopsListening()
		v.wantConns(2)
		msg := prepared(t, Binary, strings.Repeat("x", 300_000))
		sent, dropped := 0, 0
		for dropped == 0 {
			dropped += s.Broadcast(msg)
			sent++
			fast.want("what was broadcast", binaryOf(string(msg.payload)))
			for c := range s.Conns() {
				if n := c.BufferedAmount(); n > 1<<20 {
					t.Errorf("%d octets wait", n)
				}
			}
		}
		if dropped != 1 {
			t.Errorf("%d were dropped", dropped)
		}
		slow.listens()
		for {
			f, err := slow.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.Opcode == OpClose {
				if f.String() != closeFrame(1013, "").String() {
					t.Errorf("got %s, want 1013", f)
				}
				break
			}
			if string(f.payload) != string(msg.payload) {
				t.Fatalf("got %s, want only whole messages", f)
			}
			sent--
		}
		if sent <= 0 {
			t.Error("the dropped one got all messages")
		}
		slow.sends(closeFrame(1013, ""))
		slow.hangsUp()
		if err := <-over; !errors.Is(err, ErrQueueFull) {
			t.Errorf("Closed got %v, want ErrQueueFull", err)
		}
	})
}

// stopped is a Server, the peer, and the Server's end.
func (v *served) shutdown(limit time.Duration) <-chan error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	go func() {
		defer cancel()
		done <- v.s.Shutdown(ctx)
	}()
	return done
}

func TestShutdownWithoutAContext(t *testing.T) {
	var none context.Context
	if err := new(Server).Shutdown(none); !errors.Is(err, errNilContext) {
		t.Errorf("got %v, want errNilContext", err)
	}
}

func TestShutdownClosesWith1001AndRefuses(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		var over atomic.Int32
		s := serve(&Server{Options: *quiet(), Closed: func(*Conn, error) { over.Add(1) }}, writeBack)
		v := serving(t, s, s)
		a, b := v.open(), v.open()
		v.wantConns(2)
		first, second := v.shutdown(20*time.Second), v.shutdown(20*time.Second)
		for _, p := range []*peer{a, b} {
			p.want("the Server's end", closeFrame(1001, ""))
			select {
			case err := <-first:
				t.Fatalf("Shutdown has not waited: %v", err)
			default:
			}
			bye(p, closeFrame(1001, ""))
		}
		if err := errors.Join(<-first, <-second, <-v.shutdown(20*time.Second)); err != nil || over.Load() != 2 {
			t.Errorf("Shutdown returned %v after %d of 2 connections were told", err, over.Load())
		}
		if _, _, resp := v.ask(handshake); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d after Shutdown, want 503", resp.StatusCode)
		}
	})
}

func TestShutdownSendsWhatIsQueuedFirst(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		s := serve(&Server{Options: Options{KeepAlive: -1, CloseTimeout: time.Minute, SendLimit: 64 << 20}}, ignore)
		v := serving(t, s, s)
		p := v.open()
		p.stopsListening()
		v.wantConns(1)
		const messages = 12 // more than the sockets take
		for range messages {
			s.Broadcast(prepared(t, Binary, strings.Repeat("x", 1<<20)))
		}
		s.Broadcast(prepared(t, Text, "last"))
		done := v.shutdown(time.Minute)
		p.listens()
		for range messages {
			p.want("what was queued", binaryOf(strings.Repeat("x", 1<<20)))
		}
		p.want("the last words", text("last"), closeFrame(1001, ""))
		bye(p, closeFrame(1001, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Shutdown ends in bounded time, whatever handlers and peers do.
func TestShutdownWhileHandlersAreBusy(t *testing.T) {
	t.Parallel()
	big := make([]byte, 32<<20)
	for _, row := range []struct {
		name    string
		on      func(c *Conn, release <-chan struct{}) error
		cut     bool // by the context's end
		answers bool // the peer answers the Close
	}{
		{"in Read, the peer answers", nil, false, true},
		{"in Read, the peer never answers", nil, false, false},
		{"in Write", func(c *Conn, _ <-chan struct{}) error { return c.Write(context.Background(), Binary, big) }, false, false},
		{"in user code that ends with the context", func(c *Conn, _ <-chan struct{}) error { <-c.Context().Done(); return nil }, false, true},
		{"in user code that does not end", func(c *Conn, release <-chan struct{}) error { <-release; return nil }, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
				release, entered, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
				s := serve(&Server{
					Options: Options{KeepAlive: -1, CloseTimeout: 200 * time.Millisecond},
					Closed:  func(_ *Conn, err error) { over <- err },
				}, func(c *Conn, msg Message) error {
					close(entered)
					if row.on == nil {
						return nil
					}
					return row.on(c, release)
				})
				v := serving(t, s, s)
				p := v.open()
				p.sends(text("x"))
				<-entered
				if !row.answers {
					p.stopsListening()
				}
				limit := 20 * time.Second
				if row.cut {
					limit = time.Second
				}
				begun := time.Now()
				done := v.shutdown(limit)
				if row.answers {
					p.want("the Server's end", closeFrame(1001, ""))
					p.sends(closeFrame(1001, ""))
				}
				err := <-done
				if row.cut != errors.Is(err, context.DeadlineExceeded) || !row.cut && err != nil {
					t.Errorf("Shutdown returned %v", err)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("Shutdown took %v", took)
				}
				close(release)
				if err := <-over; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Closed got %v", err)
				}
			})
		})
	}
}

func TestShutdownWhileOpenRuns(t *testing.T) {
	bothModes(t, func(t *testing.T, serve func(*Server, func(*Conn, Message) error) *Server) {
		inOpen, goOn, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		s := serve(&Server{Options: *quiet(), Open: func(*Conn, *http.Request) error {
			close(inOpen)
			<-goOn
			return nil
		}, Closed: func(_ *Conn, err error) { over <- err }}, writeBack)
		v := serving(t, s, s)
		p := v.open()
		<-inOpen
		done := v.shutdown(20 * time.Second)
		p.want("the Server's end", closeFrame(1001, ""))
		bye(p, closeFrame(1001, ""))
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned %v while Open ran", err)
		default:
		}
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Closed got %v", err)
		}
	})
}

func TestShutdownOfAnIdleServerUnderAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		s := &Server{Handle: func(*Conn, *http.Request) error { return nil }}
		if err := s.Shutdown(ctx); err != nil {
			t.Fatalf("%v, though nothing was left to be waited for", err)
		}
	}
}

// badError is an error whose methods panic.
type badError struct{}

func (badError) Error() string { return "bad" }
func (badError) As(any) bool   { panic("As") }

// A nil pointer in an error is an error all the same, and neither that nor a method
// of an error ends the process.
func TestBadErrorsOfTheApplication(t *testing.T) {
	fail := func() error { var e *CloseError; return e }
	for _, s := range []*Server{
		{Message: func(*Conn, Message) error { return badError{} }},
		{Handle: func(*Conn, *http.Request) error { return fail() }},
		{Message: func(*Conn, Message) error { return fail() }},
		{Message: ignore, Open: func(*Conn, *http.Request) error { return fail() }},
	} {
		logged(t)
		s.Options = *quiet()
		p := serving(t, s, s).open()
		p.sends(text("x"))
		p.want("a Close", anyClose(StatusInternalError))
		bye(p, closeFrame(StatusInternalError, ""))
	}
	if got := CloseStatus(fail()); got != -1 {
		t.Errorf("CloseStatus: %d", got)
	}
}

// goexitError is an error whose methods end the goroutine that calls them.
type goexitError struct{}

func (goexitError) Error() string { runtime.Goexit(); return "" }
func (goexitError) As(any) bool   { runtime.Goexit(); return false }

// A method of an error that never returns, for its goroutine ends, keeps no connection
// from its end.
func TestErrorWhoseMethodsEndTheGoroutine(t *testing.T) {
	fail := func() error { return goexitError{} }
	over := make(chan error, 1)
	for _, row := range []struct {
		s    *Server
		over error
	}{
		{&Server{Message: func(*Conn, Message) error { return fail() }}, fail()},
		{&Server{Handle: func(*Conn, *http.Request) error { return fail() }}, fail()},
		{&Server{Message: ignore, Open: func(*Conn, *http.Request) error { return fail() }}, nil},
		{&Server{Message: func(*Conn, Message) error { panic(fail()) }}, errGoexit}, // in the middle of logging that
		{&Server{Handle: func(*Conn, *http.Request) error { panic(fail()) }}, errGoexit},
		{&Server{Message: ignore, Open: func(*Conn, *http.Request) error { panic(fail()) }}, nil},
	} {
		s := row.s
		s.Options, s.Closed = *quiet(), func(_ *Conn, err error) { over <- err }
		v := serving(t, s, s)
		p := v.open()
		p.sends(text("x"))
		p.want("a Close", closeFrame(StatusInternalError, ""))
		bye(p, closeFrame(StatusInternalError, ""))
		if s.Open == nil {
			if err := <-over; err != row.over {
				t.Errorf("Closed got %T, want %T", err, row.over)
			}
		}
		v.wantConns(0)
	}
}

// A request that was being answered when Shutdown began is closed, and cut when the context ends.
func TestShutdownCutsAConnectionThatCameTooLate(t *testing.T) {
	in, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{Message: ignore, Options: *quiet(), Configure: func(*http.Request, *Options) error { close(in); <-goOn; return nil }}
	s.Options.CloseTimeout = -1
	hs := httptest.NewServer(s)
	defer hs.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(hs.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, handshake); err != nil {
		t.Fatal(err)
	}
	<-in
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	go func() { time.Sleep(200 * time.Millisecond); close(goOn) }()
	_ = s.Shutdown(ctx)
	_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err = io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) { // a cut is the end, or a reset
		t.Errorf("not cut: %v", err)
	}
}

// Whoever a connection is handed to by Conns may count on it, as far as that is known.
func TestConnsLeavesOutThoseThatAreOver(t *testing.T) {
	counted := make(chan int, 1)
	s := new(Server)
	s.Handle = func(c *Conn, r *http.Request) error {
		_, _, err := c.Read(r.Context())
		counted <- len(slices.Collect(s.Conns()))
		return err
	}
	near, far := tcpPair(t)
	p := newPeer(t, far, true)
	if err := s.Serve(NewServerConn(near, quiet()), nil); err != nil {
		t.Fatal(err)
	}
	p.sends(closeFrame(1000, ""))
	p.want("the answer", closeFrame(1000, ""))
	if n := <-counted; n != 0 {
		t.Errorf("%d connections, want none: its peer has closed it", n)
	}
}

func TestConfigureTellsTheClientNothing(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
		text string
	}{
		{errors.New("password of admin has expired"), 403, "refused\n"},
		{&HandshakeError{Status: 401, Rule: "log in first"}, 401, "log in first\n"},
		{fmt.Errorf("user 17: %w", &HandshakeError{Status: 429, Rule: "too many"}), 429, "too many\n"},
		{&HandshakeError{Status: 500, Rule: "try again tomorrow"}, 500, "try again tomorrow\n"}, // the application's words
	} {
		s := &Server{Message: ignore, Configure: func(*http.Request, *Options) error { return row.err }}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != row.code || w.Body.String() != row.text {
			t.Errorf("%v: got %d %q, want %d %q", row.err, w.Code, w.Body, row.code, row.text)
		}
	}
}

// A 401 must have WWW-Authenticate (RFC 9110 section 15.5.2), and a redirect is none without Location. What all
// connections get with the 101 is not for those who are refused.
func TestConfigureMayAskForCredentialsAndRedirect(t *testing.T) {
	for status, field := range map[int]string{401: "WWW-Authenticate", 307: "Location", 503: "Retry-After", 426: "Upgrade"} {
		s := &Server{
			Message: ignore,
			Options: Options{Header: http.Header{"Set-Cookie": {"a=b"}}},
			Configure: func(_ *http.Request, o *Options) error {
				if status != 426 {
					o.Header.Set(field, "websocket")
				}
				return &HandshakeError{Status: status, Rule: "no"}
			},
		}
		for _, major := range []int{1, 2} {
			w, r := httptest.NewRecorder(), sampleRequest()
			r.ProtoMajor = major
			s.ServeHTTP(w, r)
			want := "websocket"
			if status == 426 && major == 2 {
				want = "" // HTTP/2 has no such field (RFC 9113 section 8.2.2)
			}
			if got := w.Result(); got.StatusCode != status || got.Header.Get(field) != want || got.Header.Get("Set-Cookie") != "" {
				t.Errorf("%d by HTTP/%d: got %d with %v, want %s: %s", status, major, got.StatusCode, got.Header, field, want)
			}
		}
	}
}

// What Configure has added to the header goes out with its refusal, beside what middleware has put there, and also where
// all connections get a field of that name.
func TestRefusalAddsToTheHeader(t *testing.T) {
	s := &Server{
		Message: ignore,
		Options: Options{Header: http.Header{"Server": {"s"}, "Set-Cookie": {"a=b"}, "Cache-Control": {"private"}}},
		Configure: func(_ *http.Request, o *Options) error {
			o.Header.Add("Set-Cookie", "login=failed")
			o.Header.Add("Vary", "Cookie")
			o.Header.Set("Cache-Control", "no-store")
			return &HandshakeError{Status: 401, Rule: "no"}
		},
	}
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "csrf=1")
	w.Header().Add("Vary", "Origin")
	s.ServeHTTP(w, sampleRequest())
	got := w.Result().Header
	want := http.Header{"Set-Cookie": {"csrf=1", "login=failed"}, "Vary": {"Origin", "Cookie"}, "Cache-Control": {"no-store"}, "Server": nil}
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
	}
}

// A sender of Upgrade must also send the connection option of that name (RFC 9110 section 7.8).
func TestRefusalOfARequestThatCloses(t *testing.T) {
	hs := httptest.NewServer(&Server{Message: ignore})
	defer hs.Close()
	for _, connection := range []string{"close", "keep-alive"} {
		conn, err := net.Dial("tcp", hs.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: "+connection+"\r\n\r\n")
		answer := make([]byte, 1000) // http.ReadResponse would leave the field out
		n, err := conn.Read(answer)
		if answer = answer[:n]; err != nil || !regexp.MustCompile("(?m)^Connection: .*Upgrade").Match(answer) || !bytes.Contains(answer, []byte("\nUpgrade: websocket")) {
			t.Errorf("Connection: %s is answered with %v\n%s", connection, err, answer)
		}
		if connection == "close" {
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Error(err)
			}
		}
	}
}

// A connection that a Server has already stays as it is, also where a Server that is not set up is asked to serve it.
func TestServerThatIsNotSetUpLeavesAnothersConnection(t *testing.T) {
	near, far := tcpPair(t)
	c := NewServerConn(near, quiet())
	s := &Server{Message: writeBack}
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	if err := new(Server).Serve(c, nil); err != errServedTwice {
		t.Errorf("got %v, want errServedTwice", err)
	}
	p := newPeer(t, far, true)
	p.sends(text("still there"))
	p.want("the answer of the first", text("still there"))
	_ = c.CloseNow()
}

// A reset is the end of the stream for Closed too, where only a write has met it.
func TestClosedIsToldOfAResetThatAWriteHasMet(t *testing.T) {
	closed := make(chan error, 1)
	s := &Server{
		Options: *quiet(),
		Handle: func(c *Conn, _ *http.Request) error {
			_, _, _ = c.Read(context.Background())
			for c.Write(context.Background(), Binary, make([]byte, 1000)) == nil {
				time.Sleep(time.Millisecond)
			}
			return errors.New("of the application")
		},
		Closed: func(_ *Conn, err error) { closed <- err },
	}
	v := serving(t, s, s)
	p := v.open()
	p.sends(text("read"), text("never read"), text("nor this"))
	time.Sleep(20 * time.Millisecond)
	conn := p.conn.(*net.TCPConn)
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := <-closed; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Closed got %v, want io.ErrUnexpectedEOF", err)
	}
}

// stopsLate is a context from which nothing can be taken back before free is closed.
type stopsLate struct {
	context.Context
	free chan struct{}
}

func (stopsLate) Value(any) any { return nil }

func (s stopsLate) AfterFunc(f func()) func() bool {
	stop := context.AfterFunc(s.Context, f)
	return func() bool { <-s.free; return stop() }
}

// Shutdown waits for no functions of others, longer than its context lasts.
func TestShutdownDoesNotWaitForContextsOfReads(t *testing.T) {
	reads := stopsLate{t.Context(), make(chan struct{})}
	waits := make(chan struct{})
	s := &Server{Options: *quiet(), Handle: func(c *Conn, _ *http.Request) error {
		close(waits)
		_, _, err := c.Read(reads)
		return err
	}}
	near, _ := tcpPair(t)
	c := NewServerConn(near, quiet())
	if err := s.Serve(c, nil); err != nil {
		t.Fatal(err)
	}
	<-waits
	within(t, "the read has registered", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.readWatch != nil && c.readWatch.stop != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Shutdown waits for the context of a read")
	}
	close(reads.free)
}
