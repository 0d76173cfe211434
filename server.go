package websocket

// A server that owns its connections: it opens them, hands them to the
// application in a goroutine of their own or as events, broadcasts to them, and
// ends them all.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Server is an http.Handler whose requests are WebSocket connections. Exactly one
// of Handle and Message is set, else requests are answered with 500. Its fields must
// not be changed once it serves; its methods may be called from any goroutine.
//
// A panic of Open, Handle or Message closes that connection with 1011, and no other.
// log/slog is told of panics, Closed's too, of every error that closes with 1011
// and is no *CloseError with that code, and of requests that have to be answered with 500.
//
// http.Server.Shutdown closes no WebSocket connection, and waits only for those over
// HTTP/2, so call both, this one first: the other waits for connections that browsers
// keep in reserve, and a page should not wait with it.
//
//	_ = ws.Shutdown(ctx) // 503 to new requests, 1001 to all connections; waits for their handlers
//	_ = hs.Shutdown(ctx)
type Server struct {
	// Open is called inside ServeHTTP when the handshake is done, in both modes:
	// take what you need from r here. The connection is among Conns already, and
	// gets what is broadcast. An error closes the connection as Handle's does, and
	// Closed is not called.
	Open func(c *Conn, r *http.Request) error

	// Handle owns the connection, in a goroutine of its own, in which net/http's
	// memory is not kept alive: usually a loop of reads. When it returns, the
	// connection is closed: with 1000 for nil, with the code of a *CloseError, else
	// with 1011. r is a copy for its header, URL and path values, without a body;
	// its context is the connection's, and has none of the values that routers and
	// middleware hung on the request's own: Open takes those, and SetValue keeps them.
	Handle func(c *Conn, r *http.Request) error

	// Message is called for each message, in order for each connection, instead of
	// Handle: an idle connection then has no goroutine (on Linux; elsewhere, and
	// under TLS, one that waits). msg.Data is valid until it returns, and until then
	// nothing is read from the connection: no Ping is answered, and the peer's Close is
	// not seen. Long work belongs in a goroutine of its own, which may use c. An error
	// closes the connection as Handle's does, but nil goes on.
	Message func(c *Conn, msg Message) error

	// Closed is called once for each connection whose Open returned nil, after all
	// other calls. err says why it ended: a *CloseError where the peer closed it,
	// what Handle or Message returned where that did (a *CloseError too, if that is
	// what it returned), net.ErrClosed after a Close of our own, ErrQueueFull where
	// Broadcast dropped it, and so on as errors of Conn.Read; an error of its own
	// where Handle or Message has panicked; nil where the nil of Handle ended it.
	Closed func(c *Conn, err error)

	// Configure may change the Options for one request; o is a copy. The answer to
	// an error is 403, or the Status of a *HandshakeError, with its Rule for a text and
	// the fields that were added to o.Header, such as WWW-Authenticate or Location.
	Configure func(r *http.Request, o *Options) error

	// Options hold for all connections.
	Options Options

	loop   eventLoop
	shared atomic.Pointer[limits] // of Options; nil until they are needed

	mu       sync.Mutex
	sessions []*session    // whose Closed has not returned; guarded by mu
	opening  int           // requests that may become sessions; guarded by mu
	idle     chan struct{} // closed when neither are there any more; nil before Shutdown; guarded by mu
	late     chan struct{} // closed when the context of a Shutdown has ended; made with idle; guarded by mu
}

// ErrServerClosed says that Server.Shutdown was called.
var ErrServerClosed = errors.New("websocket: server is shut down")

var errDown = &HandshakeError{Status: http.StatusServiceUnavailable, Rule: "server is shut down"}

var (
	errServerMode  = errors.New("websocket: exactly one of Server.Handle and Server.Message has to be set")
	errServedTwice = errors.New("websocket: connection is served already")
)

// session is a connection in a Server.
type session struct {
	s      *Server
	c      *Conn
	events *eventConn // nil in the mode of Handle
	at     int        // index in s.sessions; guarded by s.mu
	left   bool       // its connection is over or about to be; guarded by s.mu
}

// ServeHTTP opens a WebSocket connection and returns, once Open has; over HTTP/2,
// when the connection is over. Requests that can't be opened are answered as Accept
// answers them; with 503 after Shutdown.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := s.accept(w, r); c != nil && r.ProtoMajor > 1 {
		<-c.Context().Done()
		c.awaitEnd()
		c.awaitWrite()
	}
}

// accept opens and serves a connection, for which Shutdown waits from the first
// moment: a program that ends with it must not leave a connection behind that has
// its 101 and no Close frame. It returns nil where there is no connection.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) *Conn {
	if !s.beginOpening() {
		refuse(w, r, errDown)
		return nil
	}
	defer s.endOpening()
	o, refusal := s.options(w, r)
	if refusal != nil {
		answerRefusal(w, r, refusal, refusal.Rule) // in the application's words
		return nil
	}
	c, err := accept(w, r, o, s.limits(o))
	if err != nil { // it was answered
		logInternal(r.Context(), err)
		return nil
	}
	if r.ProtoMajor > 1 {
		c.Context().Done() // made before anybody else has c, it ends no earlier than the stream, where that is cut
	}
	c.claim() // nobody else has it
	if s.serve(c, r) != nil {
		c.awaitWrite()
		return nil // it was closed
	}
	return c
}

// logInternal logs an error of the opening handshake of which the client is not told.
func logInternal(ctx context.Context, err error) {
	var refusal *HandshakeError
	if errors.As(err, &refusal) && refusal.Status == http.StatusInternalServerError {
		slog.ErrorContext(ctx, refusal.Error())
	}
}

// options are those of one request.
func (s *Server) options(w http.ResponseWriter, r *http.Request) (*Options, *HandshakeError) {
	if (s.Handle == nil) == (s.Message == nil) {
		slog.ErrorContext(r.Context(), errServerMode.Error())
		return nil, &HandshakeError{Status: http.StatusInternalServerError, Rule: http.StatusText(http.StatusInternalServerError)}
	}
	if s.Configure == nil {
		return &s.Options, nil
	}
	o := s.Options.copy()
	err := s.Configure(r, o)
	if err == nil {
		return o, nil
	}
	var refusal *HandshakeError
	if !errors.As(err, &refusal) || refusal == nil { // a nil pointer in an error is an error all the same
		refusal = &HandshakeError{Status: http.StatusForbidden, Rule: "refused"} // what err says may not be the client's to know
	}
	s.addRefusalFields(w.Header(), o.Header)
	return nil, refusal
}

// addRefusalFields puts into the header of a refusal what Configure has added for it: a 401
// must have WWW-Authenticate (RFC 9110 section 15.5.2), and a redirect needs Location.
func (s *Server) addRefusalFields(h, configured http.Header) {
	if judgeHeader(configured) != "" {
		return
	}
	for name, values := range configured {
		always := s.Options.Header[name]
		switch n := len(always); {
		case slices.Equal(values, always):
		case len(values) > n && slices.Equal(values[:n], always):
			h[name] = append(h[name], values[n:]...)
		default:
			h[name] = append(h[name], values...)
		}
	}
}

// copy is a copy that shares nothing that can be changed, and whose Header can be
// added to.
func (o *Options) copy() *Options {
	own := *o
	if own.Header = o.Header.Clone(); own.Header == nil {
		own.Header = make(http.Header)
	}
	own.Subprotocols, own.Origins = slices.Clone(o.Subprotocols), slices.Clone(o.Origins)
	if o.Compression != nil {
		compression := *o.Compression
		own.Compression = &compression
	}
	return &own
}

// limits are those of o; one for all connections that have the Server's own.
func (s *Server) limits(o *Options) *limits {
	if o != &s.Options {
		return o.limits()
	}
	l := s.shared.Load()
	if l == nil {
		l = o.limits()
		s.shared.Store(l)
	}
	return l
}

// beginOpening counts a request that may become a session; none may once the server
// is shut down.
func (s *Server) beginOpening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		return false
	}
	s.opening++
	return true
}

// endOpening says that such a request has become a session, or never will.
func (s *Server) endOpening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	s.checkIdle()
}

// checkIdle tells Shutdown once nothing is left, which happens once: nothing comes
// after Shutdown. Called with s.mu held.
func (s *Server) checkIdle() {
	if s.idle != nil && s.opening == 0 && len(s.sessions) == 0 {
		close(s.idle)
	}
}

// Serve takes over a connection that was opened elsewhere, as if its request had
// come to ServeHTTP: it calls Open, returns, and the connection is handled, among
// Conns, broadcast to and shut down. r may be nil. The error is that of Open, or
// ErrServerClosed, or that not exactly one of Handle and Message is set; then the
// connection was closed. One that a Server has already stays as it is, and that is an
// error too. A read that is under way goes on; events begin when it has returned.
func (s *Server) Serve(c *Conn, r *http.Request) error {
	if !c.claim() {
		return errServedTwice
	}
	if (s.Handle == nil) == (s.Message == nil) {
		_ = c.Close(StatusInternalError, "")
		return errServerMode
	}
	if r == nil {
		r = &http.Request{Method: http.MethodGet, URL: new(url.URL), Header: make(http.Header)}
	}
	return s.serve(c, r)
}

// serve is Serve for a connection that is claimed.
func (s *Server) serve(c *Conn, r *http.Request) error {
	e := s.newSession(c)
	if !s.join(e) {
		s.turnAway(c)
		return ErrServerClosed
	}
	if s.Open != nil {
		if err := e.admit(r); err != nil {
			return err
		}
	}
	if s.Handle != nil {
		e.setDeadline()
		go e.handle(withoutServer(r, c))
	} else {
		e.events.start()
	}
	return nil
}

// claim says whether c is the first Server's that asks.
func (c *Conn) claim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.served
	c.served = true
	return first
}

// newSession makes the session of c, in event mode together with what that needs.
func (s *Server) newSession(c *Conn) *session {
	if s.Message == nil {
		return &session{s: s, c: c}
	}
	both := &struct {
		session
		eventConn
	}{session: session{s: s, c: c}}
	e := &both.session
	both.eventConn.c, both.eventConn.loop, both.eventConn.owner = c, &s.loop, e
	e.events = &both.eventConn
	c.mu.Lock()
	c.eventMode = true
	c.mu.Unlock()
	return e
}

// withoutServer is a copy of r that keeps nothing of net/http's connection alive.
func withoutServer(r *http.Request, c *Conn) *http.Request {
	r = r.WithContext(c.Context())
	r.Body = http.NoBody
	return r
}

// setDeadline sets the deadline of the first read, unless somebody reads already:
// in Handle's goroutine that would need a larger stack than waiting does.
func (e *session) setDeadline() {
	c := e.c
	c.mu.Lock()
	free := !c.reading.held
	c.reading.held = true
	c.mu.Unlock()
	if free {
		c.startWaiting()
		c.releaseTurn(&c.reading)
	}
}

// handle runs Handle. Its frame, and those below it up to the wait for octets and the
// end that a reset is, have to fit the smallest stack there is.
func (e *session) handle(r *http.Request) {
	err := errGoexit
	defer func() {
		defer func() { e.end(err) }() // also where a panic's Error method ends the goroutine
		if p := recover(); p != nil {
			err = e.panicked(p)
		}
	}()
	err = e.s.Handle(e.c, r)
}

// message runs Message. Who calls it recovers from a panic.
func (e *session) message(msg Message) error { return e.s.Message(e.c, msg) }

// admit runs Open, and ends the session if that refuses it.
func (e *session) admit(r *http.Request) (err error) {
	err = errGoexit
	defer func() {
		if err != nil {
			e.s.leave(e)
			e.close(err)
			e.s.gone(e)
		}
	}()
	return e.open(r)
}

func (e *session) open(r *http.Request) (err error) {
	defer e.recovered(&err)
	return e.s.Open(e.c, r)
}

func (e *session) closed(cause error) {
	var err error // a panic was logged
	defer e.recovered(&err)
	e.s.Closed(e.c, cause)
}

// errPanicked stands for a panic, which was logged.
var errPanicked = errors.New("websocket: handler panicked")

// recovered, deferred, turns a panic of the application into an error.
func (e *session) recovered(err *error) {
	if p := recover(); p != nil {
		*err = e.panicked(p)
	}
}

// panicked logs a panic of the application, where it is recovered.
func (e *session) panicked(p any) error {
	slog.Error("websocket: handler panicked", "panic", fmt.Sprint(p), "remote", e.c.RemoteAddr(), "stack", string(debug.Stack()))
	return errPanicked
}

// end closes the connection for what Handle or Message has returned, and tells
// Closed. It is the last that happens to a session.
func (e *session) end(err error) {
	s := e.s
	s.leave(e)
	err = e.close(err)
	defer s.gone(e)
	if s.Closed != nil {
		e.closed(err)
	}
}

// close closes the connection for err. It returns why the connection ended, which
// is something else where it was over before.
func (e *session) close(err error) error {
	over := e.c.endedOrBroken()
	switch {
	case over != nil:
		err = over
		e.c.awaitEnd()
	case err == nil:
		_ = e.c.Close(StatusNormalClosure, "") // the peer's part in it is nobody's concern
	default:
		_ = e.c.Close(e.codeFor(err))
	}
	return err
}

// codeFor is what the Close frame says of an error of the application, whose methods
// are the application's too: they may panic, or end a goroutine, which is not ours.
func (e *session) codeFor(err error) (code StatusCode, reason string) {
	code = StatusInternalError
	over := make(chan struct{})
	go func() {
		defer close(over)
		var failed error // a panic was logged
		defer e.recovered(&failed)
		var closed *CloseError
		if errors.As(err, &closed) && closed != nil && checkClose(closed.Code, closed.Reason) == nil {
			code, reason = closed.Code, closed.Reason
		} else if !errors.Is(err, errPanicked) {
			slog.Error("websocket: connection closed with 1011", "err", err, "remote", e.c.RemoteAddr())
		}
	}()
	<-over
	return code, reason
}

// join takes e among the sessions, unless the server is shut down.
func (s *Server) join(e *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		return false
	}
	e.at = len(s.sessions)
	s.sessions = append(s.sessions, e)
	return true
}

// turnAway closes a connection that comes after Shutdown. At the end of Shutdown's
// context it is cut like all others that are left.
func (s *Server) turnAway(c *Conn) {
	s.mu.Lock()
	late := s.late
	s.mu.Unlock()
	closed := make(chan struct{})
	go func() { defer close(closed); _ = c.Close(StatusGoingAway, "") }()
	select {
	case <-closed:
	case <-late:
		c.cut(errClosed)
	}
}

// expire notes that the context of a Shutdown has ended.
func (s *Server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.late: // of one before
	default:
		close(s.late)
	}
}

// leave hides e from Conns and Broadcast.
func (s *Server) leave(e *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.left = true
}

// gone takes e, for which nothing more will happen, out of the sessions.
func (s *Server) gone(e *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.sessions) - 1
	moved := s.sessions[last]
	s.sessions[e.at], moved.at = moved, e.at
	s.sessions[last] = nil
	s.sessions = s.sessions[:last]
	s.checkIdle()
}

// conns is the connections of those sessions, as they are now, that are wanted.
func (s *Server) conns(wanted func(*session) bool) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.sessions))
	for _, e := range s.sessions {
		if wanted(e) {
			conns = append(conns, e.c)
		}
	}
	return conns
}

func everyone(*session) bool       { return true }
func (e *session) isPresent() bool { return !e.left }

// Conns iterates over the connections that were open when it began, and are when it
// comes to them. Those whose Open has not returned are among them: a Value that Open
// sets may not be there yet.
func (s *Server) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range s.conns((*session).isPresent) {
			if c.ended() == nil && !yield(c) {
				return
			}
		}
	}
}

// Broadcast sends p to all connections: to those whose network takes it at once
// directly, else by their queues. A connection for which more than
// Options.SendLimit octets would wait is dropped with 1013, and slow counts those;
// not so one for which nothing waits, however long the message is. That waits for no peer.
// But over TLS and HTTP/2, or with context takeover, goroutines have to write, and a full
// queue may be their fault: before it drops such a connection, Broadcast gives them some
// milliseconds, once until nothing waits for it any more. Messages of one
// goroutine arrive in the order in which it broadcast them. A nil p is sent to nobody.
func (s *Server) Broadcast(p *Prepared) (slow int) {
	return broadcast(p, s.conns((*session).isPresent))
}

// Broadcast is Server.Broadcast to some connections, such as those of a room, whether they
// are a Server's or not. It iterates over them before anything is sent. To those that are
// over, and to a nil *Conn, nothing is; nor is anything where to is nil.
func Broadcast(p *Prepared, to iter.Seq[*Conn]) (slow int) {
	if to == nil {
		return 0
	}
	var conns []*Conn
	for c := range to {
		if c != nil {
			conns = append(conns, c)
		}
	}
	return broadcast(p, conns)
}

func broadcast(p *Prepared, conns []*Conn) (slow int) {
	if p == nil || len(p.plain) == 0 {
		return 0
	}
	behind := false
	var full []laggard
	for some := range slices.Chunk(conns, fetchedAtOnce) {
		for _, c := range some {
			c.fetch()
		}
		for _, c := range some {
			late, err := c.sendAtOnce(p)
			behind = behind || late
			if err != ErrQueueFull {
				continue
			}
			if l := (laggard{c: c}); l.spare() {
				full = append(full, l)
			} else if c.dropSlow() {
				slow++
			}
		}
	}
	if behind {
		runtime.Gosched() // else who broadcasts much outruns the goroutines that write
	}
	return slow + sendOrDrop(full, p)
}

// writersPause is what Broadcast waits before it looks again whether goroutines that write
// have made room. (The system's clock may make it a millisecond.)
const writersPause = 100 * time.Microsecond

// sendOrDrop sends p to connections whose queues are full, as soon as those who write
// have made room. Where they don't, it drops the connection.
func sendOrDrop(full []laggard, p *Prepared) (slow int) {
	for len(full) > 0 {
		time.Sleep(writersPause) // to yield is not enough: they may wait for another processor
		rest := full[:0]
		for _, l := range full {
			switch _, err := l.c.sendAtOnce(p); {
			case err != ErrQueueFull:
			case l.spare():
				rest = append(rest, l)
			case l.c.dropSlow():
				slow++
			}
		}
		full = rest
	}
	return slow
}

// Shutdown ends the server: requests are answered with 503 from now on, all
// connections are closed with 1001 at the same time, and Shutdown waits for their
// handlers and Closed to return. When ctx ends, it cuts the connections that are
// left and returns ctx's error. A second Shutdown waits as well.
func (s *Server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	s.mu.Lock()
	if s.idle == nil {
		s.idle, s.late = make(chan struct{}), make(chan struct{})
		s.checkIdle()
	}
	idle := s.idle
	s.mu.Unlock()
	for _, c := range s.conns(everyone) {
		_, _ = c.startClose(StatusGoingAway, "") // the peer's part in it is nobody's concern
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-idle: // as well
		return nil
	default:
	}
	s.expire()
	var slow sync.WaitGroup
	for _, c := range s.conns(everyone) {
		if c.w.raw.isRaw() {
			c.cut(errClosed)
		} else {
			slow.Go(func() { c.cut(errClosed) })
		}
	}
	slow.Wait()
	return contextError("shutdown", ctx)
}
