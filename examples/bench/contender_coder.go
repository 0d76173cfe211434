//go:build linux

package main

import (
	"bytes"
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

var coder = &contender{
	name: "coder", echo: true, handshake: true, idle: true,
	note: "Reader into a pooled buffer, context.Background(), no read limit; no prepared messages; text is not checked for UTF-8",
	serve: func(ln net.Listener, s *setup) error {
		opts := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
		switch s.deflate {
		case deflateFresh:
			opts.CompressionMode = websocket.CompressionNoContextTakeover
		case deflateTakeover:
			opts.CompressionMode = websocket.CompressionContextTakeover
		}
		s.sendsWith(func(conns []any, p []byte, times int) error {
			for _, c := range conns {
				for range times {
					if err := c.(*websocket.Conn).Write(context.Background(), websocket.MessageText, p); err != nil {
						return err
					}
				}
			}
			return nil
		})
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, opts)
			if err != nil {
				return
			}
			s.joined(c)
			coderEcho(c, s)
		})
	},
	dial: func(addr string, s *setup) error {
		c, _, err := websocket.Dial(context.Background(), "ws://"+addr, nil)
		if err != nil {
			return err
		}
		go coderEcho(c, s)
		return nil
	},
}

func coderEcho(c *websocket.Conn, s *setup) {
	defer c.CloseNow()
	c.SetReadLimit(-1)
	ctx := context.Background()
	for {
		typ, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		b := bufs.Get().(*[]byte)
		buf := bytes.NewBuffer((*b)[:0])
		if _, err := buf.ReadFrom(r); err != nil {
			return
		}
		s.work(buf.Bytes())
		err = c.Write(ctx, typ, buf.Bytes())
		*b = buf.Bytes()
		bufs.Put(b)
		if err != nil {
			return
		}
	}
}
