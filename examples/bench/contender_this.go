//go:build linux

package main

import (
	"context"
	"net"
	"net/http"

	"github.com/seed26cb4e35/websocket"
)

var thisAccept = &contender{
	name: "this+accept", utf8: true, ours: true, echo: true, handshake: true,
	note: "Accept in a net/http handler, ReadAppend into the memory of the message before",
	serve: func(ln net.Listener, s *setup) error {
		opts := &websocket.Options{Compression: thisCompression(s)}
		s.sendsWith(thisSend)
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, opts)
			if err != nil {
				return
			}
			s.joined(c)
			_ = thisEcho(c, s) // how a connection ends is not what is measured
		})
	},
	dial: func(addr string, s *setup) error {
		c, _, err := websocket.Dial(context.Background(), "ws://"+addr, nil)
		if err != nil {
			return err
		}
		go func() { _ = thisEcho(c, s) }()
		return nil
	},
}

func thisCompression(s *setup) *websocket.Compression {
	if s.deflate == deflateOff {
		return nil
	}
	return &websocket.Compression{ContextTakeover: s.deflate == deflateTakeover}
}

func thisEcho(c *websocket.Conn, s *setup) error {
	defer c.CloseNow()
	var (
		ctx = context.Background()
		typ websocket.MessageType
		b   []byte
		err error
	)
	for {
		if s.parse { // an application that keeps no buffer while it waits
			b = nil
		}
		if typ, b, err = c.ReadAppend(ctx, b[:0]); err != nil {
			return err
		}
		s.work(b)
		if err := c.Write(ctx, typ, b); err != nil {
			return err
		}
	}
}

func thisSend(conns []any, p []byte, times int) error {
	m, err := websocket.Prepare(websocket.Text, p)
	if err != nil {
		return err
	}
	for _, c := range conns {
		for range times {
			if err := c.(*websocket.Conn).Send(m); err != nil {
				return err
			}
		}
	}
	return nil
}
