//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

var gobwas = &contender{
	name: "gobwas", utf8: true, echo: true, handshake: true, idle: true,
	note:  "zero-copy ws.Upgrade on the bare connection, a wsutil.Reader kept, header and payload of an answer in one write",
	serve: gobwasServe(func(c net.Conn) io.Reader { return c }),
	dial:  gobwasDial(func(c net.Conn) io.Reader { return c }),
}

var gobwasBuffered = &contender{
	name: "gobwas+bufio", utf8: true, echo: true, idle: true,
	note:  "the same behind a bufio.Reader of 4 KiB: fewer system calls, more memory",
	serve: gobwasServe(func(c net.Conn) io.Reader { return bufio.NewReader(c) }),
	dial:  gobwasDial(func(c net.Conn) io.Reader { return bufio.NewReader(c) }),
}

var gobwasHTTP = &contender{
	name: "gobwas+http", handshake: true,
	note: "ws.UpgradeHTTP behind net/http",
	serve: func(ln net.Listener, s *setup) error {
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return
			}
			gobwasEcho(c, c, ws.StateServerSide, s)
		})
	},
}

func gobwasServe(reader func(net.Conn) io.Reader) func(net.Listener, *setup) error {
	return func(ln net.Listener, s *setup) error {
		s.sendsWith(gobwasSend)
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go func() {
				if !gobwasUpgrade(c, s) {
					_ = c.Close()
					return
				}
				s.joined(c)
				if s.deflate != deflateOff {
					gobwasEchoDeflate(c, s)
					return
				}
				gobwasEcho(c, reader(c), ws.StateServerSide, s)
			}()
		}
	}
}

func gobwasUpgrade(c net.Conn, s *setup) bool {
	var up ws.Upgrader
	if s.deflate != deflateOff {
		e := wsflate.Extension{Parameters: wsflate.DefaultParameters}
		up.Negotiate = func(o httphead.Option) (httphead.Option, error) { return e.Negotiate(o) }
	}
	_, err := up.Upgrade(c)
	return err == nil
}

func gobwasDial(reader func(net.Conn) io.Reader) func(string, *setup) error {
	return func(addr string, s *setup) error {
		c, ahead, _, err := ws.Dial(context.Background(), "ws://"+addr)
		if err != nil {
			return err
		}
		r := reader(c)
		if ahead != nil { // octets that came right behind the handshake
			r = ahead
		}
		go gobwasEcho(c, r, ws.StateClientSide, s)
		return nil
	}
}

func gobwasEcho(c net.Conn, r io.Reader, side ws.State, s *setup) {
	defer c.Close()
	rd := wsutil.Reader{Source: r, State: side, CheckUTF8: true, OnIntermediate: wsutil.ControlFrameHandler(c, side)}
	for {
		h, err := rd.NextFrame()
		if err != nil {
			return
		}
		if h.OpCode.IsControl() {
			err = rd.OnIntermediate(h, &rd)
		} else {
			err = gobwasAnswer(c, &rd, h, side, s)
		}
		if err != nil {
			return
		}
	}
}

// gobwasAnswer leaves room for the answer's header in front of the payload, so that one write takes both. Messages come in one frame here.
func gobwasAnswer(c net.Conn, rd *wsutil.Reader, h ws.Header, side ws.State, s *setup) error {
	b := bufs.Get().(*[]byte)
	defer bufs.Put(b)
	end := ws.MaxHeaderSize + int(h.Length)
	if cap(*b) <= end {
		*b = make([]byte, 0, end+1)
	}
	p := (*b)[ws.MaxHeaderSize : end+1]
	n, err := io.ReadFull(rd, p) // one octet too many: a Reader checks the end of a text when it is read to io.EOF
	if err != io.ErrUnexpectedEOF && (err != io.EOF || h.Length > 0) || n != int(h.Length) {
		return fmt.Errorf("%d octets of %d: %w", n, h.Length, err)
	}
	s.work(p[:n])
	return gobwasWrite(c, *b, h, p[:n], side)
}

func gobwasWrite(c net.Conn, b []byte, h ws.Header, p []byte, side ws.State) error {
	h.Fin, h.Masked = true, side.ClientSide()
	if h.Masked {
		h.Mask = ws.NewMask()
		ws.Cipher(p, h.Mask, 0)
	}
	var head bytes.Buffer
	head.Grow(ws.MaxHeaderSize)
	if err := ws.WriteHeader(&head, h); err != nil {
		return err
	}
	at := ws.MaxHeaderSize - head.Len()
	copy(b[at:ws.MaxHeaderSize], head.Bytes())
	_, err := c.Write(b[at : ws.MaxHeaderSize+len(p)])
	return err
}

func gobwasSend(conns []any, p []byte, times int) error {
	frame, err := ws.CompileFrame(ws.NewTextFrame(p))
	if err != nil {
		return err
	}
	for _, c := range conns {
		for range times {
			if _, err := c.(net.Conn).Write(frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// gobwasEchoDeflate follows the example of package wsflate.
func gobwasEchoDeflate(c net.Conn, s *setup) {
	defer c.Close()
	for {
		f, err := ws.ReadFrame(c)
		if err != nil {
			return
		}
		f = ws.UnmaskFrameInPlace(f)
		if compressed, err := wsflate.IsCompressed(f.Header); err == nil && compressed {
			if f, err = wsflate.DecompressFrame(f); err != nil {
				return
			}
		}
		s.work(f.Payload)
		if f, err = wsflate.CompressFrame(ws.NewTextFrame(f.Payload)); err != nil {
			return
		}
		if err := ws.WriteFrame(c, f); err != nil {
			return
		}
	}
}
