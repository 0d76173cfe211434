package main

// This file holds what is served: the page, the refusals and the echo.

import (
	"context"
	_ "embed"
	"net/http"
	"strings"
	"sync"

	"github.com/seed26cb4e35/websocket"
)

//go:embed page.html
var page []byte

// shuttingDown is the reason of the Close frames at the end.
const shuttingDown = "the server is shutting down"

// keptBuffer is the most octets that a connection keeps from one message for the next.
const keptBuffer = 4 << 20

// handler answers browsers that open the address with the page, and gives everything else to echo.
func handler(echo http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isUpgrade(r):
			echo.ServeHTTP(w, r)
		case isBrowser(r):
			h := w.Header()
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "+
				"script-src 'unsafe-inline'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'")
			h.Set("Vary", "Accept, Upgrade")
			_, _ = w.Write(page) // an error is the browser's, which has gone
		default:
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			http.Error(w, "This is a WebSocket server.", http.StatusUpgradeRequired)
		}
	})
}

// isUpgrade reports whether r asks to leave HTTP, rightly or not: over HTTP/1.1 with a header, over HTTP/2 with CONNECT.
func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// isBrowser reports whether r is from someone who wants to see a page.
func isBrowser(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "text/html")
}

// A server echoes messages, and knows its connections so that it can close them.
type server struct {
	opts websocket.Options

	mu      sync.Mutex
	closing bool                         // Shutdown was called; guarded by mu
	conns   map[*websocket.Conn]struct{} // guarded by mu
	serving sync.WaitGroup               // one for each in conns
}

func newServer(opts websocket.Options) *server {
	return &server{opts: opts, conns: make(map[*websocket.Conn]struct{})}
}

// ServeHTTP echoes until the connection ends.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &s.opts)
	if err != nil {
		return // Accept has answered
	}
	if !s.add(c) {
		_ = c.Close(websocket.StatusGoingAway, shuttingDown)
		return
	}
	defer s.remove(c)
	_ = echo(c) // the peer knows how it ended, and nobody else asks
	// The connection is over, but TCP may not be: in the middle of an upload a client that is cut off never sees why.
	_ = c.Close(websocket.StatusNormalClosure, "")
}

// echo sends every message of c back as it came, until one fails. It allocates only when a message is longer than all
// before it.
func echo(c *websocket.Conn) error {
	ctx := context.Background() // Shutdown ends c, which is enough
	var buf []byte
	for {
		typ, data, err := c.ReadAppend(ctx, buf[:0])
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, data); err != nil {
			return err
		}
		if cap(data) <= keptBuffer {
			buf = data
		}
	}
}

// add counts c in, or returns false: the server is closing.
func (s *server) add(c *websocket.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[c] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *server) remove(c *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.serving.Done()
}

// Shutdown closes all connections at once with 1001 (RFC 6455 section 7.4.1) and waits for them; at ctx's end it cuts
// what is left and returns ctx's error.
func (s *server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	var closing sync.WaitGroup
	for c := range s.conns {
		closing.Go(func() { _ = c.Close(websocket.StatusGoingAway, shuttingDown) })
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		closing.Wait()
		s.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.CloseNow()
	}
	return ctx.Err()
}
