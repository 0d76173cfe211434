//go:build linux

package main

// The bounds: what no library beats without doing something else.

import (
	"io"
	"net"
	"net/http"
)

// rawBuffer is read at once, whatever lies in it is written back.
const rawBuffer = 64 << 10

var rawTCP = &contender{
	name: "tcp", note: "raw TCP echo: a goroutine a connection reads into 64 KiB and writes back what it read, be it half a message or twenty",
	raw: true, bound: true, echo: true,
	serve: rawServe, dial: rawDial,
}

// byMessage is the base of the ratios. It needs to be told how long a message is.
var byMessage = &contender{
	name: "tcp/message", note: "raw TCP echo, message by message: one read for a message (more if it has not come whole), one write for its answer",
	raw: true, bound: true, echo: true,
	serve: rawServe, dial: rawDial,
}

func rawServe(ln net.Listener, s *setup) error {
	s.sendsWith(rawSend)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		s.joined(c)
		go echoOctets(c, s)
	}
}

func rawDial(addr string, s *setup) error {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	go echoOctets(c, s)
	return nil
}

func rawSend(conns []any, p []byte, times int) error {
	frame := appendFrame(nil, 0x80|opText, false, p)
	for _, c := range conns {
		for range times {
			if _, err := c.(net.Conn).Write(frame); err != nil {
				return err
			}
		}
	}
	return nil
}

func echoOctets(c net.Conn, s *setup) {
	defer c.Close()
	buf, read := make([]byte, rawBuffer), c.Read
	if s.frame > 0 {
		buf, read = make([]byte, s.frame), func(p []byte) (int, error) { return io.ReadFull(c, p) }
	}
	for {
		n, err := read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// netHTTP answers every request with the same 101 and waits: what net/http itself costs before any library has done a thing.
var netHTTP = &contender{
	name: "net/http", note: "net/http, Hijack and a fixed 101, no check of anything, no connection object",
	bound: true, handshake: true,
	serve: func(ln net.Listener, _ *setup) error {
		answer := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		return serveHTTP(ln, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			if _, err := c.Write(answer); err == nil {
				_, _ = io.ReadFull(c, make([]byte, 1))
			}
		})
	},
}
