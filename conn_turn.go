package websocket

// Whose turn it is to read and to write, and how contexts end the waiting for it
// and the reading and writing itself.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// turn is a lock that may be held across I/O: a bit, and a queue of those who
// wait, each of whom can give up. Guarded by Conn.mu.
type turn struct {
	held        bool
	first, last *waiter // nil: nobody waits
}

type waiter struct {
	ready chan struct{} // closed when the turn was passed to this waiter, or its offer needs none any more
	next  *waiter
	offer *offer // nil: nobody else can do what the turn is for
}

// lineUp takes the last place among those who wait.
func (t *turn) lineUp() *waiter {
	w := &waiter{ready: make(chan struct{})}
	t.append(w)
	return w
}

func (t *turn) append(w *waiter) {
	if t.last == nil {
		t.first = w
	} else {
		t.last.next = w
	}
	t.last = w
}

// lineUpFirst takes the first place, as control frames do: they may stand
// between the frames of others (RFC 6455 section 5.4).
func (t *turn) lineUpFirst() *waiter {
	w := &waiter{ready: make(chan struct{}), next: t.first}
	t.first = w
	if t.last == nil {
		t.last = w
	}
	return w
}

// release passes the turn to the first of those who wait, if there are any.
func (t *turn) release() {
	w := t.first
	if w == nil {
		t.held = false
		return
	}
	if t.first = w.next; t.first == nil {
		t.last = nil
	}
	close(w.ready)
}

// leave takes w out of the queue, or passes on the turn that w was passed.
func (t *turn) leave(w *waiter) {
	var before *waiter
	for at := t.first; at != w; at = at.next {
		if at == nil {
			t.release()
			return
		}
		before = at
	}
	if before == nil {
		t.first = w.next
	} else {
		before.next = w.next
	}
	if t.last == w {
		t.last = before
	}
}

// wait returns with the turn taken, or with an error if done or over is closed
// first. Called, and returns, with c.mu held.
func (c *Conn) wait(t *turn, ctx context.Context, over <-chan struct{}) error {
	if !t.held {
		t.held = true
		return nil
	}
	w := t.lineUp()
	c.mu.Unlock()
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = contextError("wait for the turn", ctx)
	case <-over:
		err = errClosed
	}
	c.mu.Lock()
	if err != nil {
		t.leave(w)
		c.freeUnused()
	}
	return err
}

// takeTurn takes a turn for closing, which has no context but is over when the
// stream is closed. It says whether the turn was taken.
func (c *Conn) takeTurn(t *turn, cut <-chan struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait(t, context.Background(), cut) == nil
}

func (c *Conn) releaseTurn(t *turn) {
	c.mu.Lock()
	t.release()
	c.freeUnused()
	c.mu.Unlock()
}

// lockRead takes the reading turn for a read under ctx.
func (c *Conn) lockRead(ctx context.Context) error {
	if err := c.checkContext("read", ctx); err != nil {
		return err
	}
	done := ctx.Done() // without c.mu, which the connection's own context takes
	c.mu.Lock()
	if err := c.lock(&c.reading, ctx, c.mayRead); err != nil {
		c.mu.Unlock()
		return err
	}
	done = c.foreign(done)
	watched := c.readWatch.activate(done)
	c.mu.Unlock()
	if !watched {
		c.watch(ctx, done, &c.readWatch, "read from", (*Conn).endRead)
	}
	c.startWaiting()
	return nil
}

// lockEvents takes the reading turn for event mode.
func (c *Conn) lockEvents() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lock(&c.reading, context.Background(), c.tellLocked)
}

// lock takes t unless may, asked before and after the waiting, has an error.
// Called, and returns, with c.mu held.
func (c *Conn) lock(t *turn, ctx context.Context, may func() error) error {
	if err := may(); err != nil {
		return err
	}
	if !t.held {
		t.held = true
		return nil
	}
	if err := c.wait(t, ctx, c.over()); err != nil {
		if ended := c.tellLocked(); ended != nil {
			return ended
		}
		return err
	}
	if err := may(); err != nil {
		t.release()
		c.freeUnused()
		return err
	}
	return nil
}

// mayRead tells why nothing can be read, nil if something can. Called with c.mu
// held.
func (c *Conn) mayRead() error {
	if c.eventMode {
		return ErrEventMode
	}
	if c.readIsClosed && c.cause == nil {
		return errReadClosed
	}
	return c.tellLocked()
}

// unlockRead gives back what a read has no more use for, and passes on the turn.
// It says whether the connection was closed from this side meanwhile: then nothing
// is to be delivered any more.
func (c *Conn) unlockRead() (closed bool) {
	c.r.rest()
	c.strange = 0
	c.mu.Lock()
	stop := c.readWatch.deactivate()
	if c.readStopped {
		c.readStopped = false
		c.clearReadDeadline()
	}
	c.reading.release()
	c.freeUnused()
	closed = c.cause == errClosed || c.closing != nil && c.closing.own
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	return closed
}

// freeUnused gives back all that reading, and writing, have no more use for, once the
// connection is cut off and nobody has that turn. Called with c.mu held, whenever one
// of the two comes to be.
func (c *Conn) freeUnused() {
	if c.cutOff {
		c.freeTurns()
	}
}

// freeTurns is freeUnused where the connection is cut off.
func (c *Conn) freeTurns() {
	if !c.reading.held {
		c.r.release()
	}
	if c.framing.held {
		return
	}
	if c.deflater != nil {
		c.deflater.forget()
	}
	if c.w.expiry != nil {
		c.w.expiry.Stop() // it holds on to c
	}
}

// lockMessage takes the turns for sending a message in one frame: both at once where
// nobody has them. Who waits may find that others have written the message, or begun to:
// then o says so, and is not nil. The turns are not taken where it was written.
func (c *Conn) lockMessage(ctx context.Context, typ MessageType, data []byte) (o *offer, err error) {
	if err := c.checkContext("write", ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	busy := c.sending.held
	if !busy && !c.framing.held && c.cause == nil && c.broken == nil {
		c.sending.held, c.framing.held = true, true
		c.mu.Unlock()
		return nil, nil
	}
	c.mu.Unlock()
	if busy {
		o = c.newOffer(ctx, typ, data)
	}
	if err := c.lockSending(ctx, o); err != nil {
		return nil, err
	}
	if o.isDealtWith() {
		return o, nil
	}
	if err := c.lockFrame(ctx); err != nil {
		c.releaseTurn(&c.sending)
		return nil, err
	}
	return nil, nil
}

// unlockMessage passes on the turns for sending a message. What others wait to send goes
// before that where it can, once for each message, so that nobody writes for others for long.
func (c *Conn) unlockMessage() {
	c.mu.Lock()
	stop := c.endWatch()
	if !c.writeOffers() {
		c.releaseFrame()
		c.sending.release()
	}
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// errSendingTaken is what a Write gets that a MessageWriter keeps from its turn.
var errSendingTaken = errors.New("websocket: waited WriteTimeout for a MessageWriter that wrote nothing meanwhile: close it (its Close ends the message)")

// lockSending takes the turn for sending a message. It waits for a MessageWriter
// as long as that one writes. Where o, which may be nil, is dealt with meanwhile, it takes
// none.
func (c *Conn) lockSending(ctx context.Context, o *offer) error {
	if err := c.checkContext("write", ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayWrite(); err != nil {
		return err
	}
	if !c.sending.held {
		c.sending.held = true
		return nil
	}
	if err := c.waitSending(ctx, o); err != nil || o.isDealtWith() {
		return err
	}
	if err := c.mayWrite(); err != nil {
		c.sending.release()
		return err
	}
	return nil
}

// waitSending is wait for the sending turn, or until o is dealt with. Called, and returns,
// with c.mu held.
func (c *Conn) waitSending(ctx context.Context, o *offer) error {
	w, over, before := c.sending.lineUp(), c.over(), c.sent
	w.offer = o
	for {
		c.mu.Unlock()
		var patience <-chan time.Time
		if c.limits.writeTimeout > 0 {
			patience = time.After(c.limits.writeTimeout)
		}
		var err error
		select {
		case <-w.ready:
			c.mu.Lock()
			return nil
		case <-ctx.Done():
			err = contextError("wait for the turn to write", ctx)
		case <-over:
			err = errClosed
		case <-patience:
			err = errSendingTaken
		}
		c.mu.Lock()
		if err == errSendingTaken && (c.sent != before || c.openWriter == nil || c.framing.held) {
			before = c.sent // and WriteTimeout watches over a frame that is being written
			continue
		}
		if c.withdraw(w) {
			return nil
		}
		if ended := c.tellLocked(); ended != nil {
			return ended
		}
		return err
	}
}

// lockFrame takes the framing turn for a write. The turn is waited for under ctx, and so
// is, by way of heed, the peer.
func (c *Conn) lockFrame(ctx context.Context) error {
	if err := c.checkContext("write", ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lock(&c.framing, ctx, c.mayWrite)
}

// heed has the write that is about to wait for the peer end with ctx. The framing turn
// is taken; unlockFrame ends this too.
func (c *Conn) heed(ctx context.Context) {
	done := ctx.Done() // without c.mu, as in lockRead
	if done == nil {
		return
	}
	c.mu.Lock()
	done = c.foreign(done)
	watched := c.writeWatch.activate(done)
	c.mu.Unlock()
	if !watched {
		c.watch(ctx, done, &c.writeWatch, "write to", (*Conn).endWriting)
	}
}

// mayWrite tells why no frame can be written, nil if one can. Called with c.mu
// held.
func (c *Conn) mayWrite() error {
	if err := c.tellLocked(); err != nil {
		return err
	}
	if c.broken != nil {
		return fmt.Errorf("websocket: write: %w", c.broken)
	}
	return nil
}

func (c *Conn) unlockFrame() {
	c.mu.Lock()
	stop := c.endWrite()
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// endWrite ends a write that may be under a context. The caller calls stop, if it is not
// nil, without c.mu. Called with c.mu held.
func (c *Conn) endWrite() (stop func() bool) {
	stop = c.endWatch()
	c.releaseFrame()
	return stop
}

// endWatch is endWrite without the end of the turn.
func (c *Conn) endWatch() (stop func() bool) {
	stop = c.writeWatch.deactivate()
	if w := c.writeWatch; w != nil && c.cause != nil { // proclaim has left it because a write was going on
		if stop == nil {
			stop = w.stop
		}
		c.writeWatch = nil
	}
	return stop
}

// releaseFrame ends the writing of frames. Called with c.mu held.
func (c *Conn) releaseFrame() {
	c.w.resume()
	c.framing.release()
	c.freeUnused()
}

// contextWatch is a registration with a context, which is known by its Done channel. Where
// reads, or writes, come with the same one a second time, it is kept for as long as they
// do, or do not wait; otherwise it ends with the call: a context made for one call costs a
// goroutine if it ends while something is registered with it. Guarded by Conn.mu.
type contextWatch struct {
	done   <-chan struct{}
	stop   func() bool // nil: nothing is registered
	active bool        // a read, or a write, under this context is going on
	again  bool        // so was one before
	unused uint8       // how many calls in a row have done without
}

// maxUnused is how many calls may do without a registration before it ends.
const maxUnused = 32

// activate says whether done needs no registration but w, and switches w on or
// off accordingly. w may be nil.
func (w *contextWatch) activate(done <-chan struct{}) bool {
	if w != nil {
		w.active = done != nil && w.done == done && w.stop != nil
		return w.active || done == nil
	}
	return done == nil
}

// deactivate switches w off, which may be nil. stop, if it is not nil, is to be called
// without Conn.mu.
func (w *contextWatch) deactivate() (stop func() bool) {
	if w == nil {
		return nil
	}
	if w.unused++; w.active {
		w.unused = 0
	}
	if w.active && !w.again || w.unused == maxUnused {
		stop, w.stop = w.stop, nil
	}
	w.active = false
	return stop
}

// watch registers with ctx, and puts the registration in the place of the one for reads,
// or for writes, that at points to. end, called with c.mu held, ends what goes on under ctx
// when that has ended, for cause, and says whether it can. What comes too late, when another
// read is on or none, finds another watch in its place, or this one inactive. It is called
// without c.mu, because it calls methods of ctx, and these may be anybody's.
func (c *Conn) watch(ctx context.Context, done <-chan struct{}, at **contextWatch, op string, end func(c *Conn, cause error) bool) {
	w := &contextWatch{done: done, active: true}
	c.mu.Lock()
	old := *at
	w.again = old != nil && old.done == done
	*at = w
	c.mu.Unlock()
	if old != nil && old.stop != nil {
		old.stop()
	}
	stop := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		c.mu.Lock()
		current := *at == w
		closes := current && w.active && !end(c, cause)
		if current {
			*at = nil // the next call under ctx, which may have begun already, is told anew
		}
		c.mu.Unlock()
		if closes {
			c.cut(contextError(op+" a stream without deadlines", ctx))
		}
	})
	c.mu.Lock()
	w.stop = stop
	over := c.cause != nil && !(c.writeWatch == w && w.active)
	c.mu.Unlock()
	if over {
		stop()
	}
}

// endRead is watch's end for reads: one of a connection that is over ends anyway.
func (c *Conn) endRead(error) bool { return c.cause != nil || c.stopRead() }

// endWriting is watch's end for writes. Where ctx is of the connection's family, the
// write goes on up to the Close frame.
func (c *Conn) endWriting(cause error) bool {
	return c.cause != nil && c.cause == cause || c.w.interrupt()
}

// stopRead makes the read that is going on end. It says whether it can do that.
// Called with c.mu held.
func (c *Conn) stopRead() bool {
	c.readStopped = true
	return c.conn != nil && endsBy(c.conn.SetReadDeadline(longAgo))
}

// foreign is done, or nil where it is the connection's own: that one ends reads
// and writes anyway. Called with c.mu held.
func (c *Conn) foreign(done <-chan struct{}) <-chan struct{} {
	if c.life != nil && done == c.life.ctx.Done() {
		return nil
	}
	return done
}

// checkContext says why ctx is of no use. One that has ended because the connection
// is over says that.
func (c *Conn) checkContext(op string, ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if ctx.Err() == nil {
		return nil
	}
	if ended := c.tell(); ended != nil {
		return ended
	}
	return contextError(op, ctx) // without c.mu, as in lockRead
}

// contextError is the error of an operation that ctx has ended.
func contextError(op string, ctx context.Context) error {
	return fmt.Errorf("websocket: %s: %w", op, whyEnded(ctx))
}

// whyEnded is the error of ctx, which has ended, and its cause.
func whyEnded(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(ctx.Err(), cause) { // != panics where an error is a list
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

// life is a connection's context, in the standard library's form.
type life struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// over is closed when the connection is over. Called with c.mu held.
func (c *Conn) over() <-chan struct{} { return c.lived().ctx.Done() }

// lived makes the life of c on first use. Called with c.mu held.
func (c *Conn) lived() *life {
	if c.life == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		c.life = &life{ctx, cancel}
		if c.cause != nil {
			cancel(c.cause)
		}
	}
	return c.life
}

// connContext is a Conn as its own context: it costs nothing until it is used.
type connContext Conn

func (x *connContext) standard() context.Context {
	c := (*Conn)(x)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lived().ctx
}

func (x *connContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (x *connContext) Done() <-chan struct{}       { return x.standard().Done() }
func (x *connContext) Err() error                  { return x.standard().Err() }

// Value lets context.Cause and contexts derived from x find the standard context.
func (x *connContext) Value(key any) any { return x.standard().Value(key) }
