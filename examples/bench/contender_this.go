//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/seed26cb4e35/websocket"
)

var thisEvents = &contender{
	name: "this+events", utf8: true, ours: true, echo: true, handshake: true, idle: true,
	note: "Server with Message, which writes the view that it is given; Broadcast to many, eight in a row by Send",
	serve: func(ln net.Listener, s *setup) error {
		return serveHTTP(ln, thisServer(s, &websocket.Server{
			Message: func(c *websocket.Conn, msg websocket.Message) error {
				s.work(msg.Data)
				return c.Write(context.Background(), msg.Type, msg.Data)
			},
		}).ServeHTTP)
	},
}

var thisHandle = &contender{
	name: "this+handle", utf8: true, ours: true, echo: true, handshake: true, idle: true,
	note: "Server with Handle, ReadAppend into the memory of the message before (idle: into none); as client Dial and the same loop; " +
		"Broadcast to many, eight in a row by Send",
	serve: func(ln net.Listener, s *setup) error {
		return serveHTTP(ln, thisServer(s, &websocket.Server{
			Handle: func(c *websocket.Conn, _ *http.Request) error { return thisEcho(c, s) },
		}).ServeHTTP)
	},
	dial: func(addr string, s *setup) error {
		c, _, err := websocket.Dial(context.Background(), "ws://"+addr, nil)
		if err != nil {
			return err
		}
		go func() { _ = thisEcho(c, s) }() // how a connection ends is not what is measured
		return nil
	},
}

var thisAccept = &contender{
	name: "this+accept", utf8: true, ours: true, handshake: true, idle: true,
	note: "Accept in a net/http handler that stays, as gorilla and coder are used",
	serve: func(ln net.Listener, s *setup) error {
		opts := &websocket.Options{Compression: thisCompression(s)}
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, opts)
			if err != nil {
				return
			}
			_ = thisEcho(c, s)
		})
	},
}

func thisServer(s *setup, ws *websocket.Server) *websocket.Server {
	ws.Options.Compression = thisCompression(s)
	ws.Open = func(c *websocket.Conn, _ *http.Request) error {
		s.joined(c)
		return nil
	}
	s.sendsWith(func(conns []any, p []byte, times int) error {
		if times > 1 {
			return thisSend(conns, p, times)
		}
		m, err := websocket.Prepare(websocket.Text, p)
		if err != nil {
			return err
		}
		if slow := ws.Broadcast(m); slow > 0 {
			return fmt.Errorf("%d connections were too slow", slow)
		}
		return nil
	})
	if s.hub != nil {
		s.hub.queue = func(conns []any, p []byte) error { return thisSend(conns, p, 1) }
	}
	return ws
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
