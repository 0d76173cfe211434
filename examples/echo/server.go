package main

// This file holds what is served: the page, the refusals and the echo.

import (
	"context"
	_ "embed"
	"net/http"
	"strings"

	"github.com/seed26cb4e35/websocket"
)

//go:embed page.html
var page []byte

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

// newServer returns a server that echoes: each connection in a goroutine of its own, or by events.
func newServer(opts websocket.Options, events bool) *websocket.Server {
	if events {
		return &websocket.Server{Options: opts, Message: func(c *websocket.Conn, msg websocket.Message) error {
			return c.Write(context.Background(), msg.Type, msg.Data)
		}}
	}
	return &websocket.Server{Options: opts, Handle: echo}
}

// echo sends every message of c back as it came, until one fails. It allocates only when a message is longer than all
// before it.
func echo(c *websocket.Conn, _ *http.Request) error {
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
