//go:build linux

package main

// This file is the server, and the sending to all.

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// portsEach is how many connections one loopback address gets: fewer than there are ports for outgoing ones (ip_local_port_range).
const portsEach = 25000

type server struct {
	ws     websocket.Server
	addrs  []string
	joined atomic.Int64
	left   atomic.Int64
}

// serve listens on as many loopback addresses as the connections need.
func serve(cfg config) (*server, error) {
	s := new(server)
	s.ws.Options.KeepAlive = cfg.keepalive
	s.ws.Open = func(*websocket.Conn, *http.Request) error {
		s.joined.Add(1)
		return nil
	}
	s.ws.Closed = func(*websocket.Conn, error) { s.left.Add(1) }
	if cfg.handle {
		s.ws.Handle = func(c *websocket.Conn, _ *http.Request) error {
			_, _, err := c.Read(context.Background())
			return err
		}
	} else {
		s.ws.Message = func(*websocket.Conn, websocket.Message) error { return nil }
	}
	hs := http.Server{Handler: &s.ws, ReadHeaderTimeout: 10 * time.Second}
	for i := range (cfg.n + portsEach - 1) / portsEach {
		ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.%d.%d:0", i/200, 1+i%200))
		if err != nil {
			return nil, err
		}
		s.addrs = append(s.addrs, ln.Addr().String())
		go func() { _ = hs.Serve(ln) }() // ends with the process
	}
	return s, nil
}

func (s *server) open() int { return int(s.joined.Load() - s.left.Load()) }

// tell sends one message to all and waits until the clients have it.
func (s *server) tell(w io.Writer, crowd *crowd, n, round int) error {
	p, err := websocket.Prepare(websocket.Text, []byte(strings.Repeat("Hello, all of you! ", 7)))
	if err != nil {
		return err
	}
	begin := time.Now()
	slow := s.ws.Broadcast(p)
	called := time.Since(begin)
	if slow > 0 {
		return fmt.Errorf("%d connections were too slow", slow)
	}
	if err := crowd.wait(w, "have the message", n, func() int { return crowd.sum(received) - round*n }); err != nil {
		return err
	}
	arrived := time.Since(begin)
	fmt.Fprintf(w, "sent to all: Broadcast returned after %v, %.2f µs for a connection; all had it after %v\n",
		called.Round(time.Millisecond), float64(called.Nanoseconds())/1e3/float64(n), arrived.Round(time.Millisecond))
	return nil
}
