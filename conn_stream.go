package websocket

// Messages as streams: one that is read or written in pieces.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

var errReaderLost = errors.New("websocket: the message of this MessageReader went to another read, or its connection is over")

// MessageReader reads one message as a stream. Its methods may be called from any
// goroutine.
type MessageReader struct {
	c         *Conn
	ctx       context.Context // guarded by c.mu
	delivered bool            // Read has given octets; guarded by c.reading
	ended     bool            // it has come to the end of the message; guarded by c.mu
}

// Reader returns the type of the next message and a stream of its octets. ctx
// holds for the Reads of the stream too; SetContext changes that.
//
// Once the stream has delivered octets, the message can be finished only by it:
// other reads fail with ErrReaderOpen until it has returned io.EOF or was
// discarded. Until then another read may take the message over. Errors are those
// of Conn.Read.
func (c *Conn) Reader(ctx context.Context) (MessageType, *MessageReader, error) {
	if err := c.lockRead(ctx); err != nil {
		return 0, nil, err
	}
	typ, m, err := c.openMessage(ctx)
	if closed := c.unlockRead(); closed && err == nil {
		return 0, nil, c.tell()
	}
	return typ, m, err
}

// openMessage is Reader with the reading turn taken.
func (c *Conn) openMessage(ctx context.Context) (MessageType, *MessageReader, error) {
	if err := c.await(ctx); err != nil {
		return 0, nil, err
	}
	for {
		typ, err := c.r.next()
		if err == nil {
			c.openReader = &MessageReader{c: c, ctx: ctx}
			return typ, c.openReader, nil
		}
		if err := c.readPaused(ctx, err); err != nil {
			return 0, nil, err
		}
	}
}

// SetContext sets the context of the Reads that follow.
func (m *MessageReader) SetContext(ctx context.Context) {
	m.c.mu.Lock()
	m.ctx = ctx
	m.c.mu.Unlock()
}

// Read reads up to len(p) octets of the message. It returns io.EOF only at the end
// of a whole message; a message that breaks off is an error of Conn.Read's, and
// the octets before were delivered. If the context ends, nothing is lost, and the
// next Read goes on.
func (m *MessageReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return m.take(p)
}

// take is Read, and for a nil p reads past some octets.
func (m *MessageReader) take(p []byte) (int, error) {
	c := m.c
	ctx, ended := m.state()
	if ended {
		return 0, io.EOF
	}
	if err := c.lockRead(ctx); err != nil {
		return 0, err
	}
	n, err := m.read(ctx, p)
	if closed := c.unlockRead(); closed && n > 0 {
		return 0, c.tell()
	}
	return n, err
}

// state is the context of the next Read, and whether m has come to its end.
func (m *MessageReader) state() (ctx context.Context, ended bool) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.ctx, m.ended
}

// read is take with the reading turn taken.
func (m *MessageReader) read(ctx context.Context, p []byte) (int, error) {
	c := m.c
	for {
		if c.openReader != m {
			return 0, m.lost()
		}
		var n int
		var err error
		if p != nil {
			n, err = c.r.read(p)
		} else {
			err = c.r.skip()
		}
		switch {
		case err == nil:
			m.delivered = true
			return n, nil
		case err == io.EOF:
			c.openReader = nil
			c.mu.Lock()
			m.ended = true
			c.mu.Unlock()
			return 0, io.EOF
		}
		if err := c.readPaused(ctx, err); err != nil {
			return 0, err
		}
	}
}

// lost is why m has no message any more.
func (m *MessageReader) lost() error {
	if _, ended := m.state(); ended { // while this Read waited for its turn
		return io.EOF
	}
	return errReaderLost
}

// Discard reads the rest of the message and forgets it, so that the next one can
// be read. After the end of the message it does nothing.
func (m *MessageReader) Discard() (err error) {
	for err == nil {
		_, err = m.take(nil)
	}
	if err == io.EOF {
		return nil
	}
	return err
}

var (
	errWriterClosed = errors.New("websocket: MessageWriter was closed")
	errReadTooMuch  = errors.New("websocket: io.Reader claims to have read more than it was given room for")
	errTextCut      = errors.New("websocket: text to be sent ends inside a character")
)

// MessageWriter writes one message as a stream, in one fragment or more (RFC 6455
// section 5.4). It keeps other messages waiting until it is closed; but where it writes
// nothing for Options.WriteTimeout, a Conn.Write or Conn.Writer that has waited as long
// fails. Its methods may be called from any goroutine. After Close or Abort all of them
// fail.
type MessageWriter struct {
	c      *Conn
	ctx    context.Context
	opcode Opcode    // of the next fragment; guarded by c.framing
	text   bool      // constant
	check  utf8Check // guarded by c.framing
	err    error     // what ended the message, or keeps it from its end; set with c.framing taken where that is to be had; guarded by c.mu
}

// Writer begins a message of any length. It waits for other messages to be sent.
// ctx holds for the Writes and the Close of the stream too. The stream must be
// ended by Close or Abort, or by Conn.Close, whose code then stands in the middle of
// the message.
//
// Close says that the message is whole. Where the rest of it could not be had, as when
// a template or an encoder has failed, call Abort: a deferred Close would make a short
// message of it. Without compression each Write is a frame: a bufio.Writer gathers small
// ones, and is flushed before Close.
//
// Where compression was agreed, a long message leaves in several compressed frames
// (RFC 7692 section 7.2.1). Some versions of Safari take only one: to them, use Write.
func (c *Conn) Writer(ctx context.Context, typ MessageType) (*MessageWriter, error) {
	if !typ.isValid() {
		return nil, errMessageType
	}
	if err := c.lockSending(ctx, nil); err != nil {
		return nil, err
	}
	m := &MessageWriter{c: c, ctx: ctx, opcode: Opcode(typ), text: typ == Text}
	c.mu.Lock()
	c.openWriter = m
	c.mu.Unlock()
	return m, nil
}

// Write sends p as a fragment; an empty p sends nothing. A character of a text may
// be split between two Writes. After an error the message can't be finished:
// Close then ends the connection.
func (m *MessageWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, m.failed()
	}
	if err := m.fragment(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// copyBuffers are what ReadFrom reads to. As everywhere, r must not keep them (io.Reader).
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// ReadFrom sends what r gives until its io.EOF, in fragments of up to 32 KiB. After
// any other error of r the message can't be finished, for the rest of it is not to be
// had: Close then ends the connection, and what broke off does not look whole to the
// peer. io.Copy calls ReadFrom, but not where r has a WriteTo, of whose error we learn
// nothing: call ReadFrom for that, or Abort when io.Copy has failed.
func (m *MessageWriter) ReadFrom(r io.Reader) (sent int64, err error) {
	if err := m.failed(); err != nil { // before octets of r are lost
		return 0, err
	}
	pooled := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(pooled)
	buf := *pooled
	for {
		n, err := r.Read(buf)
		if n > len(buf) {
			return sent, m.wrote(errReadTooMuch)
		}
		if n > 0 {
			if _, err := m.Write(buf[:n]); err != nil {
				return sent, err
			}
			sent += int64(n)
		}
		switch err {
		case nil:
		case io.EOF:
			return sent, m.failed()
		case errWriterClosed: // of another MessageWriter, passed on: this one is not closed
			return sent, m.wrote(fmt.Errorf("websocket: the rest of a message can't be had: %w", err))
		default:
			return sent, m.wrote(err)
		}
	}
}

// Close ends the message. If a Write or ReadFrom has failed, the context of Writer has
// ended, or a text ends inside a character, the message can't be ended: then Close ends
// the connection with 1011 and returns that error, also where nothing was written yet.
func (m *MessageWriter) Close() error {
	err := m.fragment(nil, true)
	if err == errWriterClosed {
		return err
	}
	if err != nil {
		m.abandon()
		return err
	}
	m.done()
	return nil
}

// Abort ends the connection with 1011 instead of ending the message, because the
// rest of it is not to be had. The peer never takes what it got for a message.
func (m *MessageWriter) Abort() error {
	if m.failed() == errWriterClosed {
		return errWriterClosed
	}
	m.abandon()
	return nil
}

// abandon gives up the message, and with it the connection.
func (m *MessageWriter) abandon() {
	_ = m.c.Close(StatusInternalError, "") // what went wrong is known
	m.done()
}

// failed is what has ended the message, nil if nothing has.
func (m *MessageWriter) failed() error {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.err
}

// done lets the next message be sent, once.
func (m *MessageWriter) done() {
	c := m.c
	c.mu.Lock()
	defer c.mu.Unlock()
	m.err = errWriterClosed
	if c.openWriter == m {
		c.openWriter = nil
		c.sending.release()
	}
}

// fragment sends a fragment. Of calls from several goroutines, those that come
// after the last fragment, or after one that failed, get what those before came
// to.
func (m *MessageWriter) fragment(p []byte, fin bool) error {
	c := m.c
	if err := m.failed(); err != nil {
		return err
	}
	if err := c.lockFrame(m.ctx); err != nil {
		return m.wrote(err)
	}
	defer c.unlockFrame()
	if err := m.failed(); err != nil { // another call's, while this one waited
		return err
	}
	err := m.checkText(p, fin)
	if err == nil {
		err = m.writeFragment(p, fin)
	}
	if err == nil && fin {
		_ = m.wrote(errWriterClosed)
		return nil
	}
	return m.wrote(err)
}

// wrote takes note of what a fragment came to, and returns it.
func (m *MessageWriter) wrote(err error) error {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.sent++
	if m.err == nil {
		m.err = err
	}
	return err
}

// writeFragment writes a fragment with the framing turn taken; of a compressed
// message, as much as the compressor gives.
func (m *MessageWriter) writeFragment(p []byte, fin bool) error {
	c := m.c
	h := Header{Fin: fin, Opcode: m.opcode}
	if c.r.deflate != nil {
		h.Rsv1 = m.opcode != OpContinuation
		buf := outputs.Get().(*[]byte)
		defer func() { outgoing{buf: buf}.free() }()
		*buf = c.ownDeflater().write((*buf)[:0], p)
		if fin {
			*buf = c.ownDeflater().end(*buf)
		}
		if p = *buf; len(p) == 0 && !fin {
			return nil
		}
	}
	inside := c.fragmenting
	m.opcode, c.fragmenting = OpContinuation, !fin
	err := c.writeFrame(m.ctx, &h, p)
	if err != nil && !c.isBroken() { // no octet of it is out
		c.fragmenting = inside
		if c.deflater != nil {
			c.deflater.forget() // as in writeMessage: what is queued may still leave before Close
		}
	}
	return err
}

// checkText checks that what was written so far can be text.
func (m *MessageWriter) checkText(p []byte, fin bool) error {
	switch {
	case m.text && !m.check.write(p):
		return errNotUTF8
	case m.text && fin && !m.check.atBoundary():
		return errTextCut
	}
	return nil
}
