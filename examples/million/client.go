//go:build linux

package main

// This file is a client's process: thousands of connections on one epoll, with nothing kept for a connection but its
// descriptor. It knows as much of the protocol as an idle client needs: open, answer a Ping, count messages.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/seed26cb4e35/websocket"
)

const (
	openAtOnce = 64                    // connections opened between two looks at the others
	sayEvery   = 20 * time.Millisecond // a line of counters at most this often
	headLimit  = 4096                  // octets of an answer to a handshake
)

type client struct {
	epoll  int
	events []syscall.EpollEvent
	buf    []byte
	rest   map[int32][]byte // frames that have come in part, by descriptor
	counts [counters]int
	said   [counters]int
	when   time.Time // of said
	out    io.Writer
}

// runClient takes pairs of an address and a number of connections. It ends only by an error: its parent kills it.
func runClient(args []string, out io.Writer) error {
	if _, err := raiseLimit(); err != nil {
		return err
	}
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	c := &client{epoll: ep, events: make([]syscall.EpollEvent, 256), buf: make([]byte, 64<<10), rest: make(map[int32][]byte), out: out}
	for ; len(args) >= 2; args = args[2:] {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if err := c.openAll(args[0], n); err != nil {
			return fmt.Errorf("connection %d, to %s: %w", c.counts[opened]+1, args[0], err)
		}
	}
	for {
		wait := 1000
		if c.counts != c.said {
			wait = 1
		}
		if err := c.serve(wait); err != nil {
			return err
		}
	}
}

func (c *client) openAll(addr string, n int) error {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return err
	}
	to := &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	for i := range n {
		if err := c.open(to, addr); err != nil {
			return err
		}
		if i%openAtOnce == 0 {
			if err := c.serve(0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *client) open(to syscall.Sockaddr, addr string) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if err := c.handshake(fd, addr); err != nil {
		return err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(c.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	c.counts[opened]++
	return nil
}

// handshake opens with the key of the RFC's example (RFC 6455 section 1.3). The server sends nothing on its own at first, so
// that the answer ends what there is to read.
func (c *client) handshake(fd int, addr string) error {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	request := "GET / HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := syscall.Write(fd, []byte(request)); err != nil {
		return os.NewSyscallError("write", err)
	}
	head := c.buf[:0]
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		n, err := syscall.Read(fd, head[len(head):headLimit])
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 0 {
			return fmt.Errorf("the handshake was answered by %q", head)
		}
		head = head[:len(head)+n]
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte(websocket.AcceptKey(key))) {
		return fmt.Errorf("the handshake was answered by %q", head)
	}
	return nil
}

// serve looks at the connections that have something to say, and waits for one up to so many milliseconds.
func (c *client) serve(wait int) error {
	n, err := syscall.EpollWait(c.epoll, c.events, wait)
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, e := range c.events[:max(n, 0)] {
		if err := c.read(e.Fd); err != nil {
			c.counts[lost]++
			_ = syscall.Close(int(e.Fd))
		}
	}
	if c.counts != c.said && (n <= 0 || time.Since(c.when) > sayEvery) {
		c.said, c.when = c.counts, time.Now()
		_, err = fmt.Fprintln(c.out, c.counts[opened], c.counts[received], c.counts[lost])
		return err
	}
	return nil
}

var errEnded = errors.New("the server has ended the connection")

func (c *client) read(fd int32) error {
	n := copy(c.buf, c.rest[fd])
	m, err := syscall.Read(int(fd), c.buf[n:])
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	if err != nil {
		return err
	}
	if m == 0 {
		return errEnded
	}
	rest, err := c.frames(int(fd), c.buf[:n+m])
	if err != nil {
		return err
	}
	delete(c.rest, fd)
	if len(rest) > 0 {
		c.rest[fd] = bytes.Clone(rest)
	}
	return nil
}

// frames takes whole frames and returns what is left.
func (c *client) frames(fd int, p []byte) ([]byte, error) {
	for {
		h, n, err := websocket.ParseHeader(p)
		if err != nil || n == 0 || h.Length > int64(len(p)-n) {
			return p, err
		}
		payload := p[n : n+int(h.Length)]
		switch h.Opcode {
		case websocket.OpText:
			c.counts[received]++
		case websocket.OpPing:
			if err := pong(fd, payload); err != nil {
				return p, err
			}
		default:
			return p, errEnded
		}
		p = p[n+len(payload):]
	}
}

// pong masks with zeros: a key must be unpredictable where a proxy could be fooled (RFC 6455 section 10.3), and here is none.
func pong(fd int, payload []byte) error {
	b := websocket.AppendHeader(nil, websocket.Header{Fin: true, Opcode: websocket.OpPong, Masked: true, Length: int64(len(payload))})
	_, err := syscall.Write(fd, append(b, payload...))
	return err
}
