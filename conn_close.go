package websocket

// How a connection ends (RFC 6455 section 7): by a Close of our own, by the
// peer's, by failing, or by being cut off.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"time"
)

const (
	// discardLimit is how many octets are read and discarded, at most, of a peer
	// that goes on sending after our Close frame.
	discardLimit = 64 << 20
	// discardPause is how long a peer may pause there on a stream that can't be
	// half-closed: it is not told that we are done, so it may never end.
	discardPause = 250 * time.Millisecond
	// answerPatience is how long a read waits for the Close frame that it owes,
	// where it can't write without waiting: else a program that ends with the
	// read's error would often end before the frame is out. A failed write
	// waits as long for a reader that is about to find out why.
	answerPatience = 100 * time.Millisecond
)

var errCloseTimeout = errors.New("websocket: the closing handshake took longer than CloseTimeout")

// errClosed is what calls get after a Close or CloseNow of our own.
var errClosed error = &closedError{}

// closedError says that the connection was over before the call.
type closedError struct{ cause error } // nil: we have closed it

func (e *closedError) Error() string {
	if e.cause == nil {
		return "websocket: use of closed connection"
	}
	return "websocket: use of closed connection: " + e.cause.Error()
}

func (e *closedError) Unwrap() []error {
	if e.cause == nil {
		return []error{net.ErrClosed}
	}
	return []error{net.ErrClosed, e.cause}
}

// closing is the end of a connection while it lasts.
type closing struct {
	own   bool          // this side began, so the peer's Close is still to come
	frame []byte        // our Close frame, or what is left of it to be written; guarded by framing
	timer *time.Timer   // cuts the connection off after CloseTimeout; nil: never
	sent  chan struct{} // closed when our Close frame is out, or can't be
	cut   chan struct{} // closed when the stream is
	done  chan struct{} // closed when all is over

	tried   bool  // our Close frame is out, or can't be: sent is closed, or is about to be; guarded by Conn.mu
	failure error // what kept an own closing from its end; nil: nothing; guarded by Conn.mu
	sendErr error // why our Close frame is not out; constant once sent is closed
	err     error // the result of Close; constant once done is closed
}

// Close performs the closing handshake (RFC 6455 section 7.1.2): it sends what is
// queued and a Close frame with code and reason, waits for the peer's, discarding
// messages, and ends the TCP connection. All of it together takes at most
// Options.CloseTimeout, and three tenths of a second more where a stream that is no
// socket does not let itself be closed. Where a MessageWriter has begun a message, what
// is queued has no place behind it and is dropped. Close returns nil once both Close
// frames have passed, also where it was the peer who began, or Abort; else an error says
// why they have not, and the connection is over all the same. A second Close waits for
// the first and returns its result. While Server.Message runs, it returns as soon as the
// frame is sent, and Server.Closed reports the end.
//
// code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 1005 for a Close frame
// without a code (section 7.4). reason is UTF-8; what is over 123 octets is cut
// off. Anything else is an error and changes nothing.
func (c *Conn) Close(code StatusCode, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	cl, err := c.startClose(code, reason)
	if cl == nil {
		c.giveBack()
		return err
	}
	if c.calling.Load() { // the end waits for the one who calls
		select {
		case <-cl.sent:
		case <-cl.cut:
		}
		return nil
	}
	err = c.concluded(cl)
	c.giveBack()
	return err
}

// startClose begins a closing of our own, or finds the one that goes on. Where there is
// none, and can be none any more, the error is what Close is told. It waits for nothing.
func (c *Conn) startClose(code StatusCode, reason string) (*closing, error) {
	c.mu.Lock()
	switch {
	case c.closing != nil:
		defer c.mu.Unlock()
		return c.closing, nil
	case c.cause != nil:
		defer c.mu.Unlock()
		return nil, c.tellLocked()
	}
	cl := c.beginOwnClosing(errClosed, code, reason)
	c.mu.Unlock()
	go func() {
		c.proclaim() // which calls functions of others' contexts
		c.conclude(cl)
	}()
	return cl, nil
}

// lent is a stream that ends with a handler of net/http, which gives what is written to to
// another request then.
type lent interface {
	// idle lets no Write begin any more. What it returns is closed when none goes on.
	idle() <-chan struct{}
}

// giveBack sees to it that a stream that is lent is written no more, where it is over. Where
// TCP takes nothing, a Write may go on for long: that is not waited for.
func (c *Conn) giveBack() {
	if l, ok := c.rwc.(lent); ok {
		select {
		case <-l.idle():
		case <-time.After(answerPatience):
		}
	}
}

// awaitWrite waits until nothing is written to a stream of HTTP/2, which is over: where
// TCP takes nothing, that may be long after, and net/http would wait as long.
func (c *Conn) awaitWrite() {
	if l, ok := c.rwc.(lent); ok {
		<-l.idle()
	}
}

// concluded waits for the end of a closing and returns the result of Close. A
// stream may go on reading or writing after it was closed: that is not waited for.
func (c *Conn) concluded(cl *closing) error {
	select {
	case <-cl.done:
		return cl.err
	case <-cl.cut:
	}
	select {
	case <-cl.done:
		return cl.err
	case <-time.After(answerPatience):
		return c.closeResult(cl)
	}
}

// ended is why the connection is over, nil while it is not.
func (c *Conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// isBroken says whether nothing can be written any more.
func (c *Conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken != nil
}

// endedOrBroken is why the connection is over. One that can't be written any more,
// and of which nothing will be read, is cut for that.
func (c *Conn) endedOrBroken() error {
	c.mu.Lock()
	cause, broken := c.cause, c.broken
	c.mu.Unlock()
	if cause != nil || broken == nil {
		return cause
	}
	c.cut(&streamEnded{broken})
	return c.ended()
}

// awaitEnd waits until the closing of a connection that is over has come to its
// end.
func (c *Conn) awaitEnd() {
	c.mu.Lock()
	cl, proclaimed := c.closing, c.proclaimed
	c.mu.Unlock()
	switch {
	case cl != nil:
		_ = c.concluded(cl)
	case !proclaimed: // the stream may still be about to be closed
		<-c.Context().Done()
	}
}

// CloseNow ends the connection without a closing handshake: the peer sees an
// abnormal closure (1006, RFC 6455 section 7.1.5). It waits for no peer, and cuts short
// what this side has begun: a Close that is under way, or a drop by Server.Broadcast.
// Where the connection is over otherwise it does nothing: if a Close frame is on its way
// that answers the peer's or says what the peer did wrong, that takes at most
// Options.CloseTimeout, and goes on; but over HTTP/2, where nothing may go on once the
// handler has returned, it is given a tenth of a second. It returns nil.
func (c *Conn) CloseNow() error {
	c.mu.Lock()
	cl := c.closing
	ending := cl != nil && !cl.own && cl.timer != nil
	c.mu.Unlock()
	if ending {
		if _, isLent := c.rwc.(lent); !isLent {
			return nil
		}
		select {
		case <-cl.done:
		case <-time.After(answerPatience):
		}
	}
	c.cut(errClosed)
	c.giveBack()
	return nil
}

// beginClosing makes the connection be over with cause, makes the Close frame and
// starts the one clock that everything up to TCP's end has to keep to. Called
// with c.mu held, where the connection is not over yet.
func (c *Conn) beginClosing(cause error, code StatusCode, reason string) *closing {
	payload := appendClosePayload(nil, code, reason)
	h := Header{Fin: true, Opcode: OpClose, Length: int64(len(payload))}
	cl := &closing{
		frame: c.w.appendFrame(nil, &h, payload),
		sent:  make(chan struct{}),
		cut:   make(chan struct{}),
		done:  make(chan struct{}),
	}
	if c.limits.closeTimeout > 0 {
		cl.timer = time.AfterFunc(c.limits.closeTimeout, func() { c.cut(errCloseTimeout) })
	}
	c.cause, c.closing = cause, cl
	return cl
}

// beginOwnClosing is beginClosing for an end that this side wants: the peer's Close is
// still to come.
func (c *Conn) beginOwnClosing(cause error, code StatusCode, reason string) *closing {
	cl := c.beginClosing(cause, code, reason)
	cl.own = true
	if c.reading.held && !c.calling.Load() {
		c.stopRead() // what it waits for would be a message after our Close
	}
	return cl
}

// conclude carries a closing through to the end.
//
// While our Close frame waits to leave, what comes is read: the peer may be sending,
// or closing at the same time, and take nothing before that is taken.
func (c *Conn) conclude(cl *closing) {
	if cl.own {
		c.answerAtOnce(cl)
	}
	waits := (cl.own || c.conn != nil) && (len(cl.frame) > 0 || c.w.holds.Load())
	if waits {
		go c.deliverClose(cl)
	} else {
		c.deliverClose(cl)
	}
	if c.takeTurn(&c.reading, cl.cut) {
		if cl.own {
			c.awaitClose(cl)
		} else if waits {
			c.makeWay(cl)
		}
		if cl.awaitSent() {
			c.endStream()
		}
		c.releaseTurn(&c.reading)
	}
	<-cl.sent
	c.cut(errClosed)
	cl.err = c.closeResult(cl)
	close(cl.done)
}

// deliverClose sends our Close frame. Where that fails, nothing is waited for.
func (c *Conn) deliverClose(cl *closing) {
	cl.sendErr = c.sendClose(cl)
	c.mu.Lock()
	cl.tried = true
	if !cl.own && c.conn != nil {
		c.stopRead() // that of makeWay
	}
	c.mu.Unlock()
	close(cl.sent)
	if cl.sendErr != nil {
		c.cut(fmt.Errorf("websocket: close: %w", cl.sendErr))
	}
}

// makeWay discards what comes until our Close frame is out. The reading turn is taken.
func (c *Conn) makeWay(cl *closing) {
	c.mu.Lock()
	over := cl.tried || c.cutOff
	if !over {
		c.clearReadDeadline()
	}
	c.mu.Unlock()
	if !over {
		c.discard(0)
	}
}

// awaitSent waits until our Close frame is out, or can't be, and says which.
func (cl *closing) awaitSent() bool {
	select {
	case <-cl.sent:
		return cl.sendErr == nil
	case <-cl.cut:
		return false
	}
}

// closeResult is what Close returns: nil once both Close frames have passed.
func (c *Conn) closeResult(cl *closing) error {
	sendErr := errCloseTimeout
	select {
	case <-cl.sent:
		sendErr = cl.sendErr
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closeRcvd && sendErr == nil:
		return nil
	case !cl.own: // it was over before, and the call says why
		return &closedError{c.cause}
	case cl.failure != nil:
		return cl.failure
	case sendErr != nil:
		return fmt.Errorf("websocket: close: %w", sendErr)
	}
	return &closedError{c.cause}
}

// sendClose writes our Close frame, behind the frame that is being written and
// what is queued. After it nothing is written (RFC 6455 section 5.5.1).
func (c *Conn) sendClose(cl *closing) error {
	c.mu.Lock()
	// Where closeSent is set, answerAtOnce has left the framing turn to us.
	if !c.closeSent && c.wait(&c.framing, context.Background(), cl.cut) != nil {
		defer c.mu.Unlock()
		return c.cause
	}
	c.closeSent = true
	err := c.broken
	c.mu.Unlock()
	defer c.releaseTurn(&c.framing)
	if err == nil {
		_, err = c.w.flush() // what event mode has held back, and the Close frame if answerAtOnce put it there
	}
	if err == nil {
		err = c.flushQueue()
	}
	if err == nil && len(cl.frame) > 0 {
		_, err = c.w.write(cl.frame)
	}
	return err
}

// flushQueue writes what was queued before a Close of our own, with the framing
// turn taken. Inside a fragmented message there is no place for it.
func (c *Conn) flushQueue() error {
	c.mu.Lock()
	messages := c.queue.take()
	lost := c.cause != errClosed || c.fragmenting
	c.mu.Unlock()
	if lost {
		c.noLonger(messages)
		return nil
	}
	return c.writeQueued(messages)
}

// answerAtOnce writes the Close frame where that needs no waiting, and nothing is
// queued that goes before it. Where it takes the framing turn, it sets closeSent, and
// sendClose, which writes the rest, gives the turn back.
func (c *Conn) answerAtOnce(cl *closing) {
	c.mu.Lock()
	free := c.w.raw.isRaw() && !c.framing.held && c.broken == nil && !(cl.own && len(c.queue.messages) > 0)
	if free {
		c.framing.held, c.closeSent = true, true
	}
	c.mu.Unlock()
	if free {
		n, _ := c.w.tryWrite(cl.frame) // an error shows again when the rest is written
		cl.frame = cl.frame[n:]
	}
}

// awaitClose reads up to the peer's Close frame with the reading turn taken.
// Messages are discarded, whatever their size.
func (c *Conn) awaitClose(cl *closing) {
	c.mu.Lock()
	over := c.closeRcvd || cl.failure != nil || c.cutOff
	if !over {
		c.clearReadDeadline()
	}
	c.mu.Unlock()
	if over {
		return
	}
	c.unheard = true
	c.r.src.raw.noWait = false
	c.r.limit.Store(math.MaxInt64)
	c.r.frames = math.MaxInt
	_, err := c.r.next()
	for err == nil {
		if err = c.discardMessage(); err == nil {
			_, err = c.r.next()
		}
	}
	_ = cl.awaitSent() // before the stream is closed for err
	_ = c.readFailed(err)
}

// discardMessage reads to the end of the open message. The reading turn is taken.
func (c *Conn) discardMessage() (err error) {
	c.r.forgo()
	for err == nil {
		err = c.r.skip()
	}
	if err == io.EOF { // of the message, never of the stream
		return nil
	}
	return err
}

// endStream ends TCP in such a way that the peer sees our Close frame: closing a
// socket with unread octets would send a reset that destroys it. The server ends
// first, the client waits for that (RFC 6455 section 7.1.1). The reading turn is
// taken.
func (c *Conn) endStream() {
	c.mu.Lock()
	clean := c.closeRcvd
	over := c.cutOff
	if !over {
		c.clearReadDeadline()
	}
	c.mu.Unlock()
	half, ok := c.rwc.(interface{ CloseWrite() error })
	switch {
	case over, clean && !ok:
		return
	case !ok: // the peer does not know that it is to end
		c.discard(discardPause)
		return
	case !(c.w.client && clean) && half.CloseWrite() != nil:
		return
	}
	c.discard(0)
}

// discard reads to the end of the stream, or until nothing comes for longest, and
// discards what comes. 0: however long.
func (c *Conn) discard(longest time.Duration) {
	c.r.release()
	c.r.src.raw.noWait = false
	var pause *time.Timer // where there are no deadlines: closing the stream ends the read
	if longest > 0 && c.conn == nil {
		pause = time.AfterFunc(longest, func() { c.cut(errClosed) })
		defer pause.Stop()
	}
	for n := 0; n < discardLimit; {
		if pause != nil {
			pause.Reset(longest)
		} else if longest > 0 && c.conn.SetReadDeadline(time.Now().Add(longest)) != nil {
			return
		}
		buf, some, err := c.r.src.fill(0, 0)
		if err != nil {
			return
		}
		buf.free()
		n += some
	}
}

// readFailed ends the connection for an error of the reader, and returns what the
// call gets that has met it. The reading turn is taken.
func (c *Conn) readFailed(err error) error {
	switch e := err.(type) {
	case *CloseError:
		return c.fail(err, e.Code, "")
	case *ProtocolError:
		return c.fail(err, e.Code, e.Rule)
	}
	switch {
	case errors.Is(err, ErrTooBig):
		return c.fail(err, StatusMessageTooBig, "")
	case !errors.Is(err, errSilent):
		err = &streamEnded{err}
	}
	if c.unheard {
		c.cut(err)
		return err
	}
	return c.end(err)
}

// streamEnded is what an error of the stream means to those who read. Many connections
// end by one, and few of these errors are printed.
type streamEnded struct{ err error }

func (e *streamEnded) Error() string {
	const text = "websocket: stream ended without a Close frame: "
	if e.err == io.ErrUnexpectedEOF {
		return text + e.err.Error()
	}
	return text + io.ErrUnexpectedEOF.Error() + ": " + e.err.Error()
}

func (e *streamEnded) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.err} }

// below reads from a stream that may be anything, the NetConn of a connection too.
type below struct{ stream io.Reader }

func (b below) Read(p []byte) (int, error) {
	n, err := b.stream.Read(p)
	if err != nil {
		err = ofStream(err)
	}
	return n, err
}

// ofStream is an error of the stream. Where a connection of this package is below, what
// has ended it, be it a Close frame, is not what ends the connection above it.
func ofStream(err error) error {
	var closed *CloseError
	var broken *ProtocolError
	if errors.As(err, &closed) || errors.As(err, &broken) || errors.Is(err, ErrTooBig) || errors.Is(err, errSilent) {
		return errors.New(err.Error())
	}
	return err
}

// fail fails the connection (RFC 6455 section 7.1.7) or answers the peer's Close:
// both send a Close frame, and a goroutine that lives as long as TCP does sees to
// the rest. It returns what the caller's caller gets.
func (c *Conn) fail(err error, code StatusCode, reason string) error {
	c.mu.Lock()
	if c.cause != nil {
		defer c.mu.Unlock()
		if cl := c.closing; cl != nil && cl.failure == nil && !c.closeRcvd && !errors.Is(err, ErrTooBig) { // awaitClose goes on behind that
			cl.failure = err
		}
		return c.tellReader()
	}
	cl := c.beginClosing(err, code, reason)
	c.told = !c.unheard
	waits := c.broken == nil && !c.w.raw.isRaw() // for the frame to leave: who is told may end the stream, as a handler of HTTP/2 does
	c.mu.Unlock()
	c.answerAtOnce(cl)
	go c.conclude(cl)
	if waits {
		select {
		case <-cl.sent:
		case <-time.After(answerPatience):
		}
	}
	c.proclaim()
	return err
}

// end cuts the connection off for err and returns what the call gets that has met
// it.
func (c *Conn) end(err error) error {
	c.mu.Lock()
	if c.cause == nil {
		c.cause, c.told = err, true
	} else {
		if cl := c.closing; cl != nil && cl.failure == nil {
			cl.failure = err
		}
		err = c.tellLocked()
	}
	c.mu.Unlock()
	c.cut(err)
	return err
}

// cut closes the stream; the connection is over, with cause if it was not before.
// It waits for nothing but, for answerPatience, the stream's Close.
func (c *Conn) cut(cause error) {
	c.mu.Lock()
	if c.cutOff {
		c.mu.Unlock()
		return
	}
	c.cutOff = true
	c.queue.drop()
	cl := c.closing
	switch {
	case c.cause == nil:
		c.cause = cause
	case cl != nil && cl.failure == nil:
		cl.failure = cause
	}
	c.freeTurns()
	c.mu.Unlock()
	c.closeStream()
	if cl != nil {
		if cl.timer != nil {
			cl.timer.Stop()
		}
		close(cl.cut)
	}
	c.proclaim()
}

// closeStream closes the stream at once.
func (c *Conn) closeStream() {
	if c.w.raw.isRaw() {
		_ = c.rwc.Close() // nobody is left whom an error would help
	} else {
		c.closeOther()
	}
}

// closeOther closes a stream that is no socket, and may take its time. TLS would wait
// for up to five seconds until the peer takes its alert, so the connection below goes
// first; after an orderly end, CloseWrite has sent the alert already.
func (c *Conn) closeOther() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if t, ok := c.rwc.(interface{ NetConn() net.Conn }); ok && t.NetConn() != nil {
			_ = t.NetConn().Close()
		}
		_ = c.rwc.Close()
	}()
	select {
	case <-closed:
	case <-time.After(answerPatience):
	}
}

// proclaim tells all who wait that the connection is over, and drops what was
// registered with others' contexts.
func (c *Conn) proclaim() {
	c.mu.Lock()
	c.proclaimed = true
	cause, l, timer, woken := c.cause, c.life, c.ping.timer, c.woken
	var stops [2]func() bool
	for i, w := range [...]**contextWatch{&c.readWatch, &c.writeWatch} {
		if *w != nil && (i == 0 || !(*w).active) { // a write that goes on keeps its own until releaseFrame
			stops[i], *w = (*w).stop, nil // nil where watch is still at it, which then stops it
		}
	}
	c.mu.Unlock()
	if l != nil {
		l.cancel(cause)
	}
	if timer != nil {
		timer.Stop()
	}
	if woken != nil {
		woken.wake()
	}
	for _, stop := range stops {
		if stop != nil {
			stop()
		}
	}
}

// writeFailed is what an error of the writer comes to. sent says whether octets
// of the frame are out: then it can't be taken back. The framing turn is taken.
func (c *Conn) writeFailed(ctx context.Context, sent bool, err error) error {
	stopped := c.w.halted.Load()
	if stopped && !sent && c.w.raw.isRaw() {
		return contextError("write", ctx)
	}
	var cause error // nil: it has to be found out
	switch {
	case stopped: // whose deadline it was is nobody else's concern
		err = fmt.Errorf("a write ended in the middle of a frame: %w", whyEnded(ctx))
		cause = fmt.Errorf("websocket: write ended in the middle of a frame, and with it the connection: %w", whyEnded(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause = tookNothing(err)
	}
	c.mu.Lock()
	c.breakOff(err)
	ended := c.tellLocked()
	if ended == nil && cause != nil {
		c.cause, c.told = cause, true
	}
	c.mu.Unlock()
	switch {
	case ended != nil:
		return ended
	case cause != nil:
		c.cut(cause)
		return cause
	}
	c.findReason()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mayWrite()
}

// breakOff notes that nothing can be written any more, for err, unless that is known.
// Called with c.mu held.
func (c *Conn) breakOff(err error) {
	if c.broken == nil {
		c.broken = ofStream(err)
	}
}

// writeLost is writeFailed for what is written by no call: the next call gets the
// cause.
func (c *Conn) writeLost(err error) {
	c.mu.Lock()
	c.breakOff(err)
	over, late := c.cause != nil, errors.Is(err, os.ErrDeadlineExceeded)
	if late && !over {
		c.cause = tookNothing(err)
	}
	cause := c.cause
	c.mu.Unlock()
	switch {
	case over:
	case late:
		c.cut(cause)
	default:
		c.findReason()
	}
}

func tookNothing(err error) error {
	return fmt.Errorf("websocket: peer took nothing for WriteTimeout: %w", err)
}

// findReason looks why nothing can be written any more: the reason may be a Close
// frame of the peer that waits to be read. Messages that wait there are left to
// those who read.
func (c *Conn) findReason() {
	c.mu.Lock()
	over, woken := c.over(), c.woken
	look := !c.reading.held
	c.reading.held = true
	c.mu.Unlock()
	if look {
		c.lookForClose()
		c.unlockRead()
		if woken != nil { // no event may tell of what was read
			woken.wake()
		}
	} else if !c.calling.Load() { // else it is the one who reads that has written
		select {
		case <-over:
		case <-time.After(answerPatience):
		}
	}
}

// lookForClose reads control frames that have arrived, with the reading turn
// taken.
func (c *Conn) lookForClose() {
	raw := &c.r.src.raw
	noWait := raw.noWait
	switch {
	case raw.isRaw():
		raw.noWait = true
		raw.rearm()
		c.dropReadDeadline() // keepalive's may have passed: then nothing would be read
	case c.conn == nil || c.conn.SetReadDeadline(time.Now().Add(lookPause)) != nil:
		return // reading would wait
	default:
		c.readDeadline = monotonic() + lookPause
	}
	_, err := c.r.next()
	raw.noWait = noWait
	if late := c.isLate(err); late || err == nil || err == errWouldBlock {
		if !raw.isRaw() {
			c.dropReadDeadline()
		}
		return
	}
	c.unheard = true
	_ = c.readFailed(err)
}

// tellLocked is what a call on a connection that is over is told, else nil: the first one
// the cause, and no other, for told is set; then what says that it was over before the
// call. Called with c.mu held.
func (c *Conn) tellLocked() error {
	switch {
	case c.cause == nil:
		return nil
	case c.cause == errClosed:
		return errClosed
	case !c.told:
		c.told = true
		return c.cause
	}
	return &closedError{c.cause}
}

// tellReader is tellLocked for what reading comes to, where there may be no call to tell:
// then the cause is left to the next one. Called with c.mu held and the reading turn taken.
func (c *Conn) tellReader() error {
	if c.unheard {
		return c.cause
	}
	return c.tellLocked()
}

// tell is tellLocked for those who don't hold c.mu.
func (c *Conn) tell() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tellLocked()
}

// CloseRead says that no data is expected from the peer: one goroutine, which
// lives as long as the connection, answers control frames, and a data message
// ends the connection with 1008. Reads fail from then on. Context tells when the
// connection is over. In event mode, where reads fail anyway, it does nothing:
// Message gets what arrives.
func (c *Conn) CloseRead() {
	c.mu.Lock()
	done := c.readIsClosed || c.cause != nil || c.eventMode
	c.readIsClosed = true
	over := c.over()
	c.mu.Unlock()
	if !done {
		go c.refuseMessages(over)
	}
}

// refuseMessages reads control frames until a message or the end comes.
func (c *Conn) refuseMessages(over <-chan struct{}) {
	if !c.takeTurn(&c.reading, over) {
		return
	}
	c.unheard = true
	c.startWaiting()
	err := c.takeOver()
	for err == nil {
		_, next := c.r.next()
		if next == nil {
			break
		}
		err = c.readPaused(context.Background(), next)
	}
	c.unlockRead()
	if err == nil || err == ErrReaderOpen {
		_ = c.Close(StatusPolicyViolation, "no messages are expected") // Context tells how it ended
	}
}
