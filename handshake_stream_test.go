package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHTTP2 runs its subtests in a process of their own: extended CONNECT must be allowed before the process starts.
func TestHTTP2(t *testing.T) {
	const allow = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), allow) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHTTP2$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG="+allow)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestHTTP2") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Run("echo", testHTTP2Echo)
	t.Run("a foreign origin is refused", testHTTP2Refusal)
	t.Run("another protocol is refused", testHTTP2Protocol)
	t.Run("a Read that waits ends with Close", testHTTP2CloseEndsRead)
	t.Run("a Write that waits ends with Close", testHTTP2CloseEndsWrite)
	t.Run("a Close is answered before the handler is told", testHTTP2CloseIsAnswered)
}

// Frame types, flags, settings and codes of HTTP/2 (RFC 9113 sections 6 and 7).
const (
	h2Data, h2Headers, h2Reset, h2Settings = 0x0, 0x1, 0x3, 0x4
	h2EndStream, h2EndHeaders, h2Ack       = 0x1, 0x4, 0x1
	h2EnableConnect                        = 0x8
)

// h2Peer is a client that speaks HTTP/2 frames on stream 1.
type h2Peer struct {
	t *testing.T
	*wireConn
}

// serveHTTP2 starts a server for handler and opens a connection to it.
func serveHTTP2(t *testing.T, handler http.HandlerFunc) *h2Peer {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = discardLog
	s.Start()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); s.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	p := &h2Peer{t, newWireConn(conn)}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	p.send(h2Settings, 0, 0, nil)
	allowed := false
	_, payload := p.next(h2Settings)
	for ; len(payload) >= 6; payload = payload[6:] {
		allowed = allowed || binary.BigEndian.Uint16(payload) == h2EnableConnect && binary.BigEndian.Uint32(payload[2:]) == 1
	}
	if !allowed {
		t.Fatal("the server does not announce extended CONNECT")
	}
	return p
}

func (p *h2Peer) send(typ, flags byte, stream uint32, payload []byte) {
	p.t.Helper()
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(typ)), flags)
	b = append(binary.BigEndian.AppendUint32(b, stream), payload...)
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads up to the next frame of a type, and acknowledges settings on the way.
func (p *h2Peer) next(typ byte) (flags byte, payload []byte) {
	p.t.Helper()
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(p, head); err != nil {
			p.t.Fatalf("waiting for a frame of type %d: %v", typ, err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(p, payload); err != nil {
			p.t.Fatal(err)
		}
		if head[3] == h2Settings && head[4]&h2Ack == 0 {
			p.send(h2Settings, h2Ack, 0, nil)
		}
		if head[3] == typ {
			return head[4], payload
		}
		if head[3] == h2Reset {
			p.t.Fatalf("waiting for a frame of type %d: the stream was reset with %x", typ, payload)
		}
	}
}

// connect opens stream 1 and returns the first octet of the answer's header block: 0x88 is :status 200, and what is no
// frequent status is a literal.
func (p *h2Peer) connect(fields ...string) (flags, status byte) {
	p.t.Helper()
	var block []byte
	fields = append([]string{":method", "CONNECT", ":scheme", "http", ":path", "/chat", ":authority", "server.example.com"}, fields...)
	fields = append(fields, "sec-websocket-version", "13")
	for i := 0; i < len(fields); i += 2 {
		block = append(block, 0) // literal without indexing, new name (RFC 7541 section 6.2.2)
		for _, s := range fields[i : i+2] {
			block = append(append(block, byte(len(s))), s...)
		}
	}
	p.send(h2Headers, h2EndHeaders, 1, block)
	flags, block = p.next(h2Headers)
	return flags, block[0]
}

func (p *h2Peer) open() {
	p.t.Helper()
	if flags, status := p.connect(":protocol", "websocket", "sec-websocket-protocol", "chat"); status != 0x88 || flags&h2EndStream != 0 {
		p.t.Fatalf("got flags %x and status %x, want an open stream and 200", flags, status)
	}
}

func testHTTP2Echo(t *testing.T) {
	p := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1") // middleware that knows no better
		c, err := Accept(transparent{w}, r, &Options{Subprotocols: []string{"chat"}})
		if err != nil {
			t.Error(err)
			return
		}
		if c.Subprotocol() != "chat" || c.RemoteAddr().String() != r.RemoteAddr || c.LocalAddr() == nil {
			t.Errorf("got subprotocol %q, addresses %v and %v", c.Subprotocol(), c.RemoteAddr(), c.LocalAddr())
		}
		for range 3 {
			typ, message, err := c.Read(r.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Write(r.Context(), typ, message); err != nil {
				t.Error(err)
			}
		}
	})
	p.open()
	for range 3 {
		p.send(h2Data, 0, 1, []byte(maskedHello))
		if _, got := p.next(h2Data); string(got) != hello {
			t.Errorf("got %q, want %q", got, hello)
		}
	}
	if flags, got := p.next(h2Data); flags&h2EndStream == 0 || len(got) != 0 {
		t.Errorf("got flags %x and %q, want the stream to end in order", flags, got)
	}
}

func testHTTP2Refusal(t *testing.T) {
	p := serveHTTP2(t, echoOnce(nil))
	if _, status := p.connect(":protocol", "websocket", "origin", "https://evil.example"); status == 0x88 {
		t.Error("got 200, want 403")
	}
}

func testHTTP2Protocol(t *testing.T) {
	p := serveHTTP2(t, echoOnce(nil))
	if _, status := p.connect(":protocol", "connect-udp"); status == 0x88 {
		t.Error("got 200, want 501")
	}
}

func testHTTP2CloseEndsRead(t *testing.T) {
	p := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := openStream(w, r, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		started, ended := make(chan bool), make(chan error)
		go func() {
			close(started)
			_, err := s.Read(make([]byte, 1))
			ended <- err
		}()
		<-started
		s.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: got %v, want net.ErrClosed", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: got %v, want net.ErrClosed", err)
		}
	})
	p.open()
	if flags, _ := p.next(h2Data); flags&h2EndStream == 0 {
		t.Error("the stream does not end in order")
	}
}

func testHTTP2CloseEndsWrite(t *testing.T) {
	p := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := openStream(w, r, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		ended := make(chan error)
		go func() {
			_, err := s.Write(make([]byte, 1<<20)) // the peer's window is 64 KiB
			ended <- err
		}()
		_, _ = s.Read(make([]byte, 1)) // the peer has seen the window full
		s.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: got %v, want net.ErrClosed", err)
		}
	})
	p.open()
	for window := 65535; window > 0; {
		_, data := p.next(h2Data)
		window -= len(data)
	}
	p.send(h2Data, 0, 1, []byte("x"))
	p.next(h2Reset)
}

// finished is the ResponseWriter of a handler that has returned.
type finished struct{ *httptest.ResponseRecorder }

func (finished) Write([]byte) (int, error)        { panic("Write called after Handler finished") }
func (finished) SetWriteDeadline(time.Time) error { panic("nil pointer dereference") }

func TestStreamOfAHandlerThatHasReturned(t *testing.T) {
	w := finished{httptest.NewRecorder()}
	s := &stream{body: http.NoBody, w: w, controller: http.NewResponseController(w)}
	if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: got %v, want net.ErrClosed", err)
	}
	s.cutWrite() // does not panic
	if err := s.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
}

// flusher is the ResponseWriter of a stream whose deadlines are noted.
type flusher struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (f *flusher) SetReadDeadline(d time.Time) error  { f.read = append(f.read, d); return nil }
func (f *flusher) SetWriteDeadline(d time.Time) error { f.write = append(f.write, d); return nil }

func TestAnswerOverHTTP2(t *testing.T) {
	w := &flusher{ResponseRecorder: httptest.NewRecorder()}
	w.Header()["X-Middleware"] = []string{"1"}
	for _, name := range []string{"Content-Length", "Connection", "Upgrade", "Sec-Websocket-Accept", "sec-websocket-protocol"} {
		w.Header()[name] = []string{"x"}
	}
	r := connectRequest()
	r.Header["Sec-Websocket-Protocol"] = []string{"mqtt, chat"}
	c, err := Accept(w, r, &Options{Subprotocols: []string{"chat"}, Header: http.Header{"X-Middleware": {"2"}, "X-Ours": {"3"}}, WriteTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	want := http.Header{"X-Middleware": {"1", "2"}, "X-Ours": {"3"}, "Sec-Websocket-Protocol": {"chat"}}
	if w.Code != 200 || !w.Flushed || !reflect.DeepEqual(w.Header(), want) {
		t.Errorf("got %d, flushed %v, %v, want 200, flushed, %v", w.Code, w.Flushed, w.Header(), want)
	}
	if len(w.write) != 2 || time.Until(w.write[0]) < time.Minute || !w.write[1].IsZero() || len(w.read) != 1 || !w.read[0].IsZero() {
		t.Errorf("got write deadlines %v and read deadlines %v, want WriteTimeout's and then none", w.write, w.read)
	}
}

// gathering is middleware with a header of its own, which it hands on with the status.
type gathering struct {
	transparent
	h http.Header
}

func (g gathering) Header() http.Header { return g.h }

func TestAnswerOverHTTP2BehindMiddlewareWithAHeaderOfItsOwn(t *testing.T) {
	inner := httptest.NewRecorder()
	inner.Header()["X-Outer"] = []string{"1"}
	r := connectRequest()
	r.Header["Sec-Websocket-Protocol"] = []string{"chat"}
	w := gathering{transparent{inner}, http.Header{"X-Middleware": {"2"}, "Content-Length": {"0"}}}
	c, err := Accept(w, r, &Options{Subprotocols: []string{"chat"}, Header: http.Header{"X-Ours": {"3"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	want := http.Header{"X-Outer": {"1"}, "X-Middleware": {"2"}, "X-Ours": {"3"}, "Sec-Websocket-Protocol": {"chat"}}
	if got := inner.Result().Header; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// unflushed is middleware that hides how to flush.
type unflushed struct{ http.ResponseWriter }

func TestFlusherBehindMiddleware(t *testing.T) {
	w := httptest.NewRecorder()
	c, err := Accept(transparent{unflushed{w}}, connectRequest(), nil)
	if c != nil || err == nil || !strings.Contains(err.Error(), "websocket.unflushed hides") || w.Code != 500 {
		t.Errorf("got %v and status %d, want an error that names the type, and 500", err, w.Code)
	}
	w = httptest.NewRecorder()
	if c, err = Accept(transparent{transparent{w}}, connectRequest(), nil); err != nil || w.Code != 200 {
		t.Fatalf("got %v and status %d, want 200", err, w.Code)
	}
	c.CloseNow()
}

func TestAddressOfARequest(t *testing.T) {
	for s, want := range map[string]string{"192.0.2.1:1234": "*net.TCPAddr", "[2001:db8::1]:1": "*net.TCPAddr", "@": "websocket.hostAddr", "": "websocket.hostAddr"} {
		a := parseAddr(s)
		if got := reflect.TypeOf(a).String(); got != want || a.String() != s || a.Network() != "tcp" {
			t.Errorf("%q: got a %s %q, want a %s", s, got, a, want)
		}
	}
}

// A handler that returns once the connection is over ends the stream: by then the
// answer to the peer's Close has to be out.
func testHTTP2CloseIsAnswered(t *testing.T) {
	const times = 10
	answered := 0
	for range times {
		p := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := Accept(w, r, &Options{Subprotocols: []string{"chat"}})
			if err != nil {
				t.Error(err)
				return
			}
			c.CloseRead()
			<-c.Context().Done()
		})
		p.open()
		p.send(h2Data, 0, 1, []byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xE8})
		if _, got := p.next(h2Data); string(got) == "\x88\x02\x03\xe8" {
			answered++
		}
	}
	if answered <= times/2 { // a machine that stands still for answerPatience is excused
		t.Errorf("%d Closes of %d were answered", answered, times)
	}
}

// slowH2 is a ResponseWriter whose Write ends some time after its deadline.
type slowH2 struct {
	late   time.Duration
	h      http.Header
	stuck  chan struct{} // closed when a Write is stuck
	woken  chan struct{}
	inside chan struct{} // has one while a Write goes on
}

func (w *slowH2) Header() http.Header             { return w.h }
func (w *slowH2) WriteHeader(int)                 {}
func (w *slowH2) Flush()                          {}
func (w *slowH2) FlushError() error               { return nil }
func (w *slowH2) SetReadDeadline(time.Time) error { return nil }
func (w *slowH2) SetWriteDeadline(at time.Time) error {
	if at.Equal(longAgo) {
		close(w.woken)
	}
	return nil
}
func (w *slowH2) Write(p []byte) (int, error) {
	w.inside <- struct{}{}
	close(w.stuck)
	<-w.woken
	time.Sleep(w.late)
	<-w.inside
	return 0, errors.New("reset")
}

// outlastsWrites checks that s serves a request over HTTP/2, which w answers, for as long as a Write goes on.
func (w *slowH2) outlastsWrites(t *testing.T, s *Server) {
	t.Helper()
	r := connectRequest()
	body, keep := io.Pipe()
	defer keep.Close()
	r.Body = body
	s.ServeHTTP(w, r)
	if len(w.inside) > 0 {
		t.Error("ServeHTTP has returned while a Write of net/http's ResponseWriter goes on")
	}
	time.Sleep(time.Minute)
}

// stuckStream returns a stream that writes to over, which is w or wraps it, and is stuck in that.
func (w *slowH2) stuckStream(t *testing.T, over http.ResponseWriter) *stream {
	t.Helper()
	r := connectRequest()
	body, peer := io.Pipe()
	t.Cleanup(func() { _ = peer.Close() })
	r.Body = body
	s, err := openStream(over, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = s.Write([]byte("x")) }()
	<-w.stuck
	return s
}

// newSlowH2 returns a slowH2 whose Write ends once its goroutine runs again.
func newSlowH2() *slowH2 {
	return &slowH2{late: time.Millisecond, h: http.Header{}, stuck: make(chan struct{}), woken: make(chan struct{}), inside: make(chan struct{}, 1)}
}

// The handler of an HTTP/2 request must not return while a Write goes on, also where TCP takes nothing, so that HTTP/2 can't
// even reset the stream.
func TestHTTP2HandlerOutlastsWrites(t *testing.T) {
	for _, late := range []time.Duration{time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newSlowH2()
			w.late = late
			s := &Server{Options: *quiet(), Handle: func(c *Conn, r *http.Request) error {
				return c.Write(context.Background(), Text, []byte("x"))
			}}
			go func() {
				<-w.stuck
				for c := range s.Conns() {
					_ = c.CloseNow()
				}
			}()
			w.outlastsWrites(t, s)
		})
	}
}

// The same where the connection is cut before anybody waits for its end, whatever Open returns.
func TestHTTP2HandlerOutlastsWritesOfOpen(t *testing.T) {
	for _, result := range []error{nil, errors.New("refused")} {
		synctest.Test(t, func(t *testing.T) {
			w := newSlowH2()
			s := &Server{Options: *quiet(), Handle: func(*Conn, *http.Request) error { return nil }}
			s.Open = func(c *Conn, _ *http.Request) error {
				go func() { _ = c.Write(context.Background(), Text, []byte("x")) }()
				<-w.stuck
				go func() { _ = c.CloseNow() }()
				<-w.woken
				return result
			}
			w.outlastsWrites(t, s)
		})
	}
}

// The request's context says nothing about the connection (Accept), over HTTP/2 too.
func TestRequestContextIsNothingOverHTTP2(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := connectRequest().WithContext(ctx) // of a middleware, such as chi's Timeout
	body, keep := io.Pipe()
	defer keep.Close()
	r.Body = body
	c, err := Accept(&flusher{ResponseRecorder: httptest.NewRecorder()}, r, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	cancel()
	if err := c.Write(context.Background(), Text, []byte("x")); err != nil {
		t.Errorf("Write: %v", err)
	}
}

// broken is the ResponseWriter of a stream that the client has reset.
type broken struct{ *httptest.ResponseRecorder }

func (broken) FlushError() error { return errFull }

// An answer that does not leave opens no connection.
func TestAnswerOverHTTP2ThatDoesNotLeaveIsAnError(t *testing.T) {
	if c, err := Accept(broken{httptest.NewRecorder()}, connectRequest(), nil); c != nil || !errors.Is(err, errFull) {
		t.Errorf("got %v, %v, want no connection and %v", c, err, errFull)
	}
}

// Who only waits for a Write to end does not keep Close from cutting it short.
func TestHTTP2WhoAwaitsAWriteLeavesItToBeCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSlowH2()
		s := w.stuckStream(t, w)
		idle := s.idle()
		go func() { _ = s.Close() }()
		select {
		case <-idle:
		case <-time.After(time.Minute):
			t.Error("the Write was never cut short")
			close(w.woken)
		}
		time.Sleep(time.Minute)
	})
}

// lentH2 is a ResponseWriter that takes its time for a deadline, in which Write ends.
type lentH2 struct {
	*slowH2
	idle <-chan struct{} // closed when the ResponseWriter is net/http's again
	done chan bool       // whether it was before the deadline was set
}

func (w *lentH2) SetWriteDeadline(at time.Time) error {
	if !at.Equal(longAgo) {
		return nil
	}
	close(w.woken)
	select {
	case <-w.idle:
		w.done <- true
	case <-time.After(20 * time.Millisecond):
		w.done <- false
	}
	return nil
}

// A ResponseWriter is not given back while a deadline of it is being set.
func TestHTTP2WriteIsCutBeforeItsWriterIsGivenBack(t *testing.T) {
	w := &lentH2{slowH2: newSlowH2(), done: make(chan bool, 1)}
	w.late = 0
	s := w.stuckStream(t, w)
	w.idle = s.idle()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if <-w.done {
		t.Error("the handler could have returned meanwhile")
	}
}

// Once CloseNow or Close has returned, a handler may, also where what is queued was stuck.
func TestHTTP2NothingIsWrittenAfterCloses(t *testing.T) {
	for name, end := range map[string]func(*Conn) error{
		"CloseNow": (*Conn).CloseNow,
		"Close":    func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
		"Close of a connection that was cut": func(c *Conn) error {
			go func() { _ = c.CloseNow() }()
			synctest.Wait()
			return c.Close(StatusNormalClosure, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r := newSlowH2(), connectRequest()
				w.late = 50 * time.Millisecond
				body, peer := io.Pipe()
				defer peer.Close()
				r.Body = body
				c, err := Accept(w, r, quiet())
				if err != nil {
					t.Fatal(err)
				}
				c.CloseRead()
				if err := c.Send(prepared(t, Text, "x")); err != nil {
					t.Fatal(err)
				}
				<-w.stuck
				if _, err := peer.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xE8}); err != nil {
					t.Fatal(err)
				}
				<-c.Context().Done()
				_ = end(c)
				if len(w.inside) > 0 {
					t.Error("a Write of net/http's ResponseWriter goes on")
				}
				time.Sleep(time.Minute)
			})
		})
	}
}
