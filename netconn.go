package websocket

// A connection as a stream of octets: a net.Conn for protocols that know nothing
// of messages.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// NetConn returns a net.Conn whose octets are the payloads of c's messages of
// type typ, one after the other. Its methods may be called from any goroutine. c
// must not be read in other ways. It sets c's read limit to none: the octets pass
// as they come, and none are gathered. Options.MaxFragments still holds. In event mode
// messages go to Server.Message: the limit stays, and Read fails with ErrEventMode.
//
// Each Write is one message; with Text it must be UTF-8 by itself. Read returns
// io.EOF once the peer has closed with 1000, 1001 or without a status code (1005),
// and its *CloseError where it has closed with another, or inside a message; a
// stream that ends without a Close frame is never io.EOF, but io.ErrUnexpectedEOF, and
// so is a connection that keepalive or Options.WriteTimeout has ended. A message of the
// other type closes with 1003. Close closes with 1000, as Conn.Close does: it takes up to
// Options.CloseTimeout, and so do Reads and Writes that wait at that time.
//
// A Read whose deadline passes loses nothing, and later ones go on. A Write whose
// deadline passes in the middle of its message ends the connection, as such a
// context does for Conn.Write. Both return os.ErrDeadlineExceeded. Where the stream
// below has no deadlines, as over HTTP/2, either ends the connection.
//
// There is no half-close: who closes one direction of a tunnel because the other end
// has sent all it has, loses the answer.
func NetConn(c *Conn, typ MessageType) net.Conn {
	c.mu.Lock()
	events := c.eventMode
	c.mu.Unlock()
	if !events {
		c.SetReadLimit(-1)
	}
	n := &netConn{c: c, typ: typ}
	n.readDeadline.set(time.Time{})
	n.writeDeadline.set(time.Time{})
	return n
}

type netConn struct {
	c             *Conn
	typ           MessageType
	readDeadline  deadline
	writeDeadline deadline

	reading sync.Mutex     // held across I/O: readers take turns
	message *MessageReader // the rest of the message being read; nil between two; guarded by reading
}

// Read implements net.Conn. Messages without octets are passed over.
func (n *netConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n.reading.Lock()
	defer n.reading.Unlock()
	ctx := n.readDeadline.context()
	for {
		if err := n.open(ctx); err != nil {
			return 0, readEnded(ctx, err)
		}
		got, err := n.message.Read(p)
		if err == nil {
			return got, nil
		}
		if err != io.EOF { // also where the peer has closed in order, but inside the message
			return 0, ended(ctx, err)
		}
		n.message = nil
	}
}

// open begins the next message, unless one is open.
func (n *netConn) open(ctx context.Context) error {
	if n.message != nil {
		n.message.SetContext(ctx)
		return nil
	}
	typ, message, err := n.c.Reader(ctx)
	if err != nil {
		return err
	}
	if typ != n.typ {
		err := fmt.Errorf("websocket: NetConn of %v messages got a %v message", n.typ, typ)
		_ = n.c.Close(StatusUnsupportedData, fmt.Sprintf("only %v messages are expected", n.typ)) // err says what went wrong
		return err
	}
	n.message = message
	return nil
}

// Write implements net.Conn: p is one message, or none if it is empty.
func (n *netConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	ctx := n.writeDeadline.context()
	if err := n.c.Write(ctx, n.typ, p); err != nil {
		return 0, ended(ctx, err)
	}
	return len(p), nil
}

// ended is err, or os.ErrDeadlineExceeded where it comes from a deadline: also
// where the other direction's has ended the connection at the same time.
func ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return os.ErrDeadlineExceeded
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &goneError{err}
	}
	return err
}

// goneError is why a connection is over whose peer was silent for PongTimeout, or took
// nothing for WriteTimeout. To users of a net.Conn, os.ErrDeadlineExceeded would say
// that a deadline of theirs has passed, and that they may try again.
type goneError struct{ cause error }

func (e *goneError) Error() string { return e.cause.Error() }

func (e *goneError) Is(target error) bool {
	return target == io.ErrUnexpectedEOF || target == net.ErrClosed && errors.Is(e.cause, net.ErrClosed)
}

// readEnded is ended, or io.EOF where the peer has closed in order.
func readEnded(ctx context.Context, err error) error {
	switch CloseStatus(err) {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd:
		return io.EOF
	}
	return ended(ctx, err)
}

// Close implements net.Conn.
func (n *netConn) Close() error {
	n.readDeadline.set(time.Time{})
	n.writeDeadline.set(time.Time{})
	return n.c.Close(StatusNormalClosure, "")
}

// LocalAddr implements net.Conn. It is never nil.
func (n *netConn) LocalAddr() net.Addr { return knownAddr(n.c.LocalAddr()) }

// RemoteAddr implements net.Conn. It is never nil.
func (n *netConn) RemoteAddr() net.Addr { return knownAddr(n.c.RemoteAddr()) }

// SetDeadline implements net.Conn.
func (n *netConn) SetDeadline(t time.Time) error {
	n.readDeadline.set(t)
	n.writeDeadline.set(t)
	return nil
}

// SetReadDeadline implements net.Conn. It holds for a Read that waits, too.
func (n *netConn) SetReadDeadline(t time.Time) error {
	n.readDeadline.set(t)
	return nil
}

// SetWriteDeadline implements net.Conn. It holds for a Write that waits, too.
func (n *netConn) SetWriteDeadline(t time.Time) error {
	n.writeDeadline.set(t)
	return nil
}

// unknownAddr stands for an address that a stream does not tell: users of a
// net.Conn call its methods unasked.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "websocket" }
func (unknownAddr) String() string  { return "websocket/unknown" }

func knownAddr(a net.Addr) net.Addr {
	if a == nil {
		return unknownAddr{}
	}
	return a
}

// deadline is a time as a context, which may be moved while someone waits. All who
// wait until the same time share the context, so that it is registered once.
type deadline struct {
	mu    sync.Mutex
	ctx   context.Context    // ends when the time has come; replaced when it is moved after that; guarded by mu
	pass  context.CancelFunc // ends ctx; guarded by mu
	timer *time.Timer        // calls pass; nil where there is none; guarded by mu
}

// context ends when the deadline passes, wherever it is moved until then.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx
}

// set moves the deadline to t; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.ctx.Done() // the timer is at it
	}
	d.timer = nil
	if d.ctx == nil || d.ctx.Err() != nil {
		d.ctx, d.pass = context.WithCancel(context.Background())
	}
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, d.pass)
	} else {
		d.pass()
	}
}
