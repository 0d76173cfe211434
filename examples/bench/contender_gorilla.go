//go:build linux

package main

import (
	"bytes"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

var gorilla = &contender{
	name: "gorilla", echo: true, handshake: true, idle: true,
	note: "net/http's buffers kept (ReadBufferSize 0), WriteBufferPool, NextReader into a pooled buffer, WritePreparedMessage to many; text is not checked for UTF-8",
	serve: func(ln net.Listener, s *setup) error {
		up := websocket.Upgrader{WriteBufferPool: gorillaBuffers, EnableCompression: s.deflate != deflateOff}
		s.sendsWith(gorillaSend)
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			s.joined(c)
			gorillaEcho(c, s)
		})
	},
	dial: func(addr string, s *setup) error {
		d := websocket.Dialer{WriteBufferPool: gorillaBuffers, WriteBufferSize: 72 << 10} // a longer message leaves in fragments
		c, _, err := d.Dial("ws://"+addr, nil)
		if err != nil {
			return err
		}
		go gorillaEcho(c, s)
		return nil
	},
}

func gorillaEcho(c *websocket.Conn, s *setup) {
	defer c.Close()
	for {
		typ, r, err := c.NextReader()
		if err != nil {
			return
		}
		b := bufs.Get().(*[]byte)
		buf := bytes.NewBuffer((*b)[:0])
		if _, err := buf.ReadFrom(r); err != nil {
			return
		}
		s.work(buf.Bytes())
		err = c.WriteMessage(typ, buf.Bytes())
		*b = buf.Bytes()
		bufs.Put(b)
		if err != nil {
			return
		}
	}
}

func gorillaSend(conns []any, p []byte, times int) error {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, p)
	if err != nil {
		return err
	}
	for _, c := range conns {
		for range times {
			if err := c.(*websocket.Conn).WritePreparedMessage(m); err != nil {
				return err
			}
		}
	}
	return nil
}

var gorillaBuffers = new(sync.Pool)
