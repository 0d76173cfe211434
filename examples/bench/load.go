//go:build linux

package main

// The load generator: one thread, epoll, frames made beforehand, no WebSocket library. It is a process of its own, so that what it costs
// is not counted; and it is cheap, so that the server is what limits the rate. Each answer that has come lets one more message go out;
// the messages that are due leave in one system call. It plays the server as well, for contenders that are clients.

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the generator waits for an octet before it says that the contender hangs.
const patience = 20 * time.Second

type peerConn struct {
	fd      int
	out     frames // what is being sent: the script's first, then its loop
	next    int    // message of out that goes out next
	off     int    // octets of out that are on their way
	owed    int    // messages that may go out now
	blocked bool   // the socket took no more: epoll says when it does
	in      answers
	counted int64 // messages of in that have been answered by a new one
}

type load struct {
	epoll    int
	listener int // -1, or what clients dial
	conns    []*peerConn
	script   *script
	singly   bool // one message, one system call
	events   []syscall.EpollEvent
	buf      []byte
}

func newLoad() (*load, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &load{epoll: ep, listener: -1, events: make([]syscall.EpollEvent, 128), buf: make([]byte, 1<<20)}, nil
}

func ipv4(addr string) (*syscall.SockaddrInet4, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	return &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}, nil
}

// listen opens the socket that a contender in the role of the client will dial.
func (l *load) listen() (addr string, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	if err := syscall.Listen(fd, 1024); err != nil {
		return "", err
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	l.listener = fd
	return fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port), nil
}

// accept takes n clients and answers their handshakes.
func (l *load) accept(n int, s *script) error {
	l.script = s
	for range n {
		fd, _, err := syscall.Accept4(l.listener, syscall.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		if !s.raw {
			if err := answerHandshake(fd); err != nil {
				return err
			}
		}
		if err := l.add(fd); err != nil {
			return err
		}
	}
	return nil
}

func answerHandshake(fd int) error {
	request, err := readHead(fd)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(request, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Sec-WebSocket-Key") {
			continue
		}
		sum := sha1.Sum([]byte(strings.TrimSpace(value) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		return writeAll(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	}
	return errors.New("a request without Sec-WebSocket-Key")
}

// dial connects n times, with a handshake unless the octets are only octets to the contender.
func (l *load) dial(o order, s *script) (agreed string, err error) {
	l.script = s
	sa, err := ipv4(o.Addr)
	if err != nil {
		return "", err
	}
	for range o.Conns {
		fd, err := connect(sa)
		if err != nil {
			return "", err
		}
		if !o.Raw {
			if agreed, err = handshake(fd, o.Addr, o.Offer); err != nil {
				return "", err
			}
		}
		if err := l.add(fd); err != nil {
			return "", err
		}
	}
	return agreed, nil
}

func connect(sa syscall.Sockaddr) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := syscall.Connect(fd, sa); err != nil {
		return -1, errors.Join(os.NewSyscallError("connect", err), syscall.Close(fd))
	}
	return fd, nil
}

func request(addr, extensions string) string {
	if extensions != "" {
		extensions = "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	return "GET / HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + extensions + "\r\n"
}

// handshake returns the extensions that were agreed.
func handshake(fd int, addr, extensions string) (string, error) {
	if err := writeAll(fd, request(addr, extensions)); err != nil {
		return "", err
	}
	return readAnswer(fd)
}

// readAnswer reads the 101 and returns the extensions that were agreed.
func readAnswer(fd int) (string, error) {
	head, err := readHead(fd)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		return "", fmt.Errorf("the handshake was answered by %.200q", head)
	}
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Sec-WebSocket-Extensions") {
			return strings.TrimSpace(value), nil
		}
	}
	return "", nil
}

func writeAll(fd int, s string) error {
	_, err := syscall.Write(fd, []byte(s)) // blocking, and shorter than any socket's buffer
	return err
}

// readHead reads up to the empty line, from a blocking socket.
func readHead(fd int) (string, error) {
	timeout := syscall.NsecToTimeval(patience.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
		return "", err
	}
	head, buf := []byte(nil), make([]byte, 4096)
	for {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue // with SO_RCVTIMEO the system doesn't go on by itself
		}
		if err != nil {
			return "", os.NewSyscallError("reading a handshake", err)
		}
		if n == 0 {
			return "", fmt.Errorf("the stream ended inside a handshake: %.200q", head)
		}
		head = append(head, buf[:n]...)
		if end := bytes.Index(head, []byte("\r\n\r\n")); end >= 0 {
			if end+4 != len(head) {
				return "", errors.New("octets behind a handshake, before anything was sent")
			}
			return string(head), nil
		}
	}
}

func (l *load) add(fd int) error {
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	c := &peerConn{fd: fd}
	c.use(l.script)
	l.conns = append(l.conns, c)
	return l.watch(syscall.EPOLL_CTL_ADD, len(l.conns)-1, false)
}

// use starts a script on a connection where nothing is outstanding.
func (c *peerConn) use(s *script) {
	c.in = answers{script: s}
	c.counted, c.owed, c.next, c.off = 0, 0, 0, 0
	if s == nil {
		return
	}
	c.in.verify = true
	c.out = s.loop
	if len(s.first.ends) > 0 {
		c.out = s.first
	}
}

func (l *load) watch(op, i int, writable bool) error {
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
	if writable {
		e.Events |= syscall.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.epoll, op, l.conns[i].fd, &e))
}

// start lets depth messages go out on every connection.
func (l *load) start(depth int) error {
	for i, c := range l.conns {
		c.owed += depth
		if err := l.send(i, c); err != nil {
			return err
		}
	}
	return nil
}

// spin serves the connections until done says so.
func (l *load) spin(done func(now time.Time) bool) error {
	last := time.Now()
	for now := last; !done(now); now = time.Now() {
		n, err := syscall.EpollWait(l.epoll, l.events, 50)
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		if n > 0 {
			last = now
		} else if now.Sub(last) > patience {
			return errors.New("nothing comes back any more")
		}
		for _, e := range l.events[:max(n, 0)] {
			if err := l.serve(int(e.Fd), e.Events); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *load) serve(i int, events uint32) error {
	c := l.conns[i]
	if events&^syscall.EPOLLOUT != 0 {
		if err := l.receive(c); err != nil {
			return err
		}
	}
	if c.owed == 0 || c.blocked && events&syscall.EPOLLOUT == 0 {
		return nil
	}
	return l.send(i, c)
}

// receive takes what is there. Octets that nobody looks at are not even copied out of the kernel (MSG_TRUNC, see tcp(7)).
func (l *load) receive(c *peerConn) error {
	flags := 0
	if c.in.script == nil || !c.in.needsOctets() {
		flags = syscall.MSG_TRUNC
	}
	n, _, err := syscall.Recvfrom(c.fd, l.buf, flags)
	if err == syscall.EAGAIN {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("recv", err)
	}
	if n == 0 {
		return errors.New("the contender ended the connection")
	}
	if c.in.script == nil {
		c.in.octets += int64(n)
		return nil
	}
	if err := c.in.write(l.buf[:n]); err != nil {
		return err
	}
	if m := c.in.messages(); m > c.counted {
		c.owed += int(m - c.counted)
		c.counted = m
	}
	return nil
}

func (l *load) send(i int, c *peerConn) error {
	for c.owed > 0 {
		last := min(c.next+c.owed, len(c.out.ends))
		if l.singly {
			last = c.next + 1
		}
		n, err := syscall.Write(c.fd, c.out.octets[c.off:c.out.ends[last-1]])
		if err == syscall.EAGAIN {
			return l.block(i, c, true)
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		c.sent(n, l.script)
	}
	return l.block(i, c, false)
}

func (c *peerConn) sent(n int, s *script) {
	c.off += n
	for c.next < len(c.out.ends) && c.off >= c.out.ends[c.next] {
		c.next++
		c.owed--
	}
	if c.next == len(c.out.ends) {
		c.out, c.next, c.off = s.loop, 0, 0
	}
}

func (l *load) block(i int, c *peerConn, blocked bool) error {
	if c.blocked == blocked {
		return nil
	}
	c.blocked = blocked
	return l.watch(syscall.EPOLL_CTL_MOD, i, blocked)
}

// total adds up the messages, and the octets, that have come back on all connections.
func (l *load) total() (messages float64, octets, plain int64) {
	for _, c := range l.conns {
		octets += c.in.octets
		plain += c.in.plain
		if c.in.script != nil && c.in.script.answer == 0 {
			messages += float64(c.in.count)
		}
	}
	if l.script != nil && l.script.answer > 0 {
		messages = float64(octets) / float64(l.script.answer)
	}
	return messages, octets, plain
}

// warm runs until every connection has had two answers verified and the time is over, and then stops looking at the octets.
func (l *load) warm(d time.Duration) error {
	begin := time.Now()
	late := false
	if err := l.spin(func(now time.Time) bool {
		late = now.Sub(begin) > d+patience
		return late || now.Sub(begin) > d && l.fewest() >= 2
	}); err != nil {
		return err
	}
	if late {
		return errors.New("a connection gives no answers while others do")
	}
	for _, c := range l.conns {
		c.in.verify = false
	}
	return nil
}

func (l *load) fewest() int64 {
	least := int64(1 << 62)
	for _, c := range l.conns {
		least = min(least, c.in.messages())
	}
	return least
}

// talk sends n messages on every connection and waits for all answers, so that the connections are idle again.
func (l *load) talk(n int, s *script) error {
	l.script = s
	for _, c := range l.conns {
		c.use(s)
	}
	var want int64
	for range n {
		for i, c := range l.conns {
			c.owed = 1
			if err := l.send(i, c); err != nil {
				return err
			}
			c.counted++ // its answer calls for no further message
		}
		want++
		if err := l.spin(func(time.Time) bool { return l.fewest() >= want }); err != nil {
			return err
		}
	}
	return nil
}

// drain reads until octets have come in all, since the connections were opened or counted anew.
func (l *load) drain(octets int64) error {
	return l.spin(func(time.Time) bool {
		_, have, _ := l.total()
		return have >= octets
	})
}

// hush makes the connections count octets only.
func (l *load) hush() {
	l.script = nil
	for _, c := range l.conns {
		c.use(nil)
	}
}

// close resets the connections: thousands that linger in TIME_WAIT would use up the ports.
func (l *load) close() error {
	var errs []error
	for _, c := range l.conns {
		errs = append(errs, abort(c.fd))
	}
	l.conns = nil
	if l.listener >= 0 {
		errs = append(errs, syscall.Close(l.listener))
		l.listener = -1
	}
	return errors.Join(errs...)
}

func abort(fd int) error {
	linger := syscall.Linger{Onoff: 1}
	return errors.Join(syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &linger), syscall.Close(fd))
}

// cpuTime is the processor time that a process has used, to the nanosecond. Linux makes the clock's id from the process's (clock_getcpuclockid).
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}
