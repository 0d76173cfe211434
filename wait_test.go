package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// This file holds what the end of a stream is to a reader: never the end of a message.

// tcpPair is two ends of a stream over TCP, whose reads go to the file descriptor.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// wrapped hides the type of a connection, so that it is read by its methods.
type wrapped struct{ net.Conn }

func TestEndOfStreamIsNotTheEndOfAMessage(t *testing.T) {
	frames := AppendHeader(nil, Header{Opcode: OpText, Length: 3})
	frames = append(frames, "one"...)
	frames = AppendHeader(frames, Header{Fin: true, Length: 5000})
	frames = append(frames, make([]byte, 5000)...)
	for _, keep := range []int{0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 100, 4106, 5008} {
		for _, raw := range []bool{true, false} {
			peer, ours := tcpPair(t)
			if !raw {
				ours = wrapped{ours}
			}
			if _, err := peer.Write(frames[:keep]); err != nil {
				t.Fatal(err)
			}
			_ = peer.Close()
			c := NewClientConn(ours, &Options{CloseTimeout: time.Second})
			_, msg, err := c.Read(context.Background())
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || msg != nil {
				t.Errorf("stream ends after %d octets, raw %t: Read returned %d octets, %v; want io.ErrUnexpectedEOF", keep, raw, len(msg), err)
			}
			_ = c.CloseNow()
		}
	}
}
