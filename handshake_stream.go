package websocket

// The opening handshake over HTTP/2 (RFC 8441), and the stream that it opens as an io.ReadWriteCloser.

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// acceptStream answers an extended CONNECT (RFC 8441 section 5).
func acceptStream(w http.ResponseWriter, r *http.Request, o *Options, l *limits, a agreement) (*Conn, error) {
	inner := innermost(w)
	if _, ok := inner.(http.Flusher); !ok {
		e := &HandshakeError{Status: http.StatusInternalServerError, Rule: fmt.Sprintf("%T hides the http.Flusher: it needs a method Unwrap() http.ResponseWriter", inner)}
		refuse(w, r, e)
		return nil, e
	}
	h := inner.Header()
	maps.Copy(h, w.Header()) // of middleware that has a map of its own; else they are the same
	for name := range h {
		if isOurs(name) {
			delete(h, name)
		}
	}
	if a.subprotocol != "" {
		h["Sec-Websocket-Protocol"] = []string{a.subprotocol}
	}
	if a.extensions != "" {
		h["Sec-Websocket-Extensions"] = []string{a.extensions}
	}
	for name, values := range o.Header {
		h[name] = append(h[name], values...)
	}
	s, err := openStream(inner, r, l.writeTimeout)
	if err != nil {
		return nil, fmt.Errorf("websocket: answering the opening handshake: %w", err)
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return newConn(config{rwc: s, subprotocol: a.subprotocol, limits: l, deflate: a.deflate, remote: parseAddr(r.RemoteAddr), local: local}), nil
}

// innermost is what middleware has wrapped: what it would do to a body must not be done to frames.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// stream is an HTTP/2 stream as an io.ReadWriteCloser. It ends when the handler returns.
type stream struct {
	body       io.ReadCloser
	w          http.ResponseWriter
	controller *http.ResponseController

	mu      sync.Mutex
	closed  bool          // no Write may begin; guarded by mu
	writing bool          // a Write is under way; guarded by mu
	written chan struct{} // closed when none is any more; made with closed; guarded by mu
}

// openStream sends the 200 and clears the deadlines that http.Server has put on the stream.
func openStream(w http.ResponseWriter, r *http.Request, timeout time.Duration) (*stream, error) {
	s := &stream{body: r.Body, w: w, controller: http.NewResponseController(w)}
	if timeout > 0 {
		_ = s.controller.SetWriteDeadline(time.Now().Add(timeout)) // a writer without deadlines may still flush
	}
	w.WriteHeader(http.StatusOK)
	if err := s.controller.Flush(); err != nil {
		return nil, err
	}
	_ = s.controller.SetReadDeadline(time.Time{})
	_ = s.controller.SetWriteDeadline(time.Time{})
	return s, nil
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && s.isClosed() {
		err = net.ErrClosed
	}
	return n, err
}

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Write writes p and flushes it.
func (s *stream) Write(p []byte) (n int, err error) {
	if !s.begin() {
		return 0, net.ErrClosed
	}
	defer func() {
		if recover() != nil {
			n, err = 0, net.ErrClosed // net/http panics when the handler has returned against what Accept says
		}
		if s.end() {
			err = net.ErrClosed
		}
	}()
	if n, err = s.w.Write(p); err != nil {
		return n, err
	}
	return n, s.controller.Flush()
}

// begin reports whether a Write may begin.
func (s *stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = !s.closed
	return s.writing
}

// end ends a Write and reports whether Close was called meanwhile.
func (s *stream) end() (closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if s.closed { // meanwhile, for begin refuses what comes after
		close(s.written)
	}
	return s.closed
}

// Close ends reads and writes that wait, and returns when a Write has ended: the handler must not return before, because
// net/http gives what Write writes to to another request then. The stream itself ends in order when the handler returns,
// unless a Write had to be cut short: then it is reset.
func (s *stream) Close() error {
	written := s.idle()
	s.cutWrite()
	err := s.body.Close()
	<-written
	return err
}

// idle lets no Write begin any more. What it returns is closed when none goes on.
func (s *stream) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.written == nil {
		s.written = make(chan struct{})
		if !s.writing {
			close(s.written)
		}
	}
	return s.written
}

// cutWrite cuts the Write short that is under way, if one is. It does not end meanwhile, for that takes s.mu: who waits for
// its end may let net/http have the ResponseWriter back.
func (s *stream) cutWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writing {
		return
	}
	defer func() { _ = recover() }() // as in Write
	_ = s.controller.SetWriteDeadline(longAgo)
}

// parseAddr is the address that net/http has written into a request.
func parseAddr(s string) net.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return hostAddr(s)
}

// hostAddr is an address of which only the text is known.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }
