package websocket

// Event mode: messages are handed to a function, and no goroutine waits for them
// where the system lets us (events_linux.go). While a connection has something to
// be read, a goroutine of its own reads it; where waiting needs one, it stays.

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// heldTime is how long frames are held back at most while further messages that have
	// arrived, or can be expected to have, wait to be handled.
	heldTime = time.Millisecond

	// maxKeptMessage is the most octets that mostKept allows, whatever ReadLimit is.
	maxKeptMessage = 32 << 20

	// maxSpare is how many times as long as what has arrived of a message its buffer
	// may be while it does not go on.
	maxSpare = 2
	// stallTime is how long nothing has come of a message that does not go on.
	stallTime = 500 * time.Millisecond
)

// eventConn is a connection in event mode.
type eventConn struct {
	c     *Conn
	loop  *eventLoop
	owner eventOwner

	state  atomic.Int32 // one of those below
	spare  atomic.Bool  // msg has much more room than it needs so far
	ending atomic.Bool  // the peer has ended the stream, or set an urgent mark, which a short read does not show
	listed atomic.Bool  // among loop.holders
	slot   uint32       // guarded by loop.watcher.mu
	seen   uint32       // c.w.progress when flushHolders looked last; guarded by loop.mu
	waits  bool         // a goroutine waits; constant once started
	due    atomic.Int64 // when keepalive looks after the connection, by monotonic; 0: never; or dueNow
	msg    *[]byte      // a message of which only a part has arrived; nil: none; guarded by c.reading
	behind *eventConn   // that waits for a worker after this one; guarded by loop.watcher.workers.mu
}

// States of an eventConn: whether a goroutine works for it.
const (
	eventIdle  = iota
	eventBusy  // a goroutine works, or is about to
	eventAgain // and has to look again before it ends
	eventOver  // nothing will happen any more
)

// eventOwner is who is told what happens to a connection.
type eventOwner interface {
	// message is called for each message.
	message(msg Message) error
	// panicked is called where message has panicked, with what recover returned. The error
	// stands for that.
	panicked(p any) error
	// end is called once, last, with what ended the connection or the error of message.
	end(err error)
}

// eventLoop is what the connections of a server in event mode share. The zero value is
// ready.
type eventLoop struct {
	watcher watcher

	mu      sync.Mutex
	holders []*eventConn // whose frames are held back, or were a moment ago; guarded by mu
	ticker  *time.Timer  // looks after holders; runs while there are any; made on first use; guarded by mu
}

// workers are goroutines that work for one connection after the other. While a
// connection waits, a worker is on its way to it: whatever the application does in a
// call, it delays no other connection. Who comes back from a call goes on with the
// next: waking a goroutine for each would cost more than handling a short message.
// Those who have nothing to do wait for a while, with the stacks they have grown. The
// zero value is ready.
type workers struct {
	mu          sync.Mutex
	first, last *eventConn  // that wait; nil: none does; guarded by mu
	coming      bool        // a worker is on its way to first; guarded by mu
	idle        []chan bool // of those with nothing to do, who has worked last is last: true says that there is work, false that there will be none; guarded by mu
	low         int         // the fewest that were idle since prune; guarded by mu
	stay        bool        // workers wait for work; guarded by mu
}

// run has e worked for.
func (w *workers) run(e *eventConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.first = e
	} else {
		w.last.behind = e
	}
	w.last = e
	w.call()
}

// call sees to it that a worker comes, if a connection waits. Called with mu held.
func (w *workers) call() {
	if w.coming || w.first == nil {
		return
	}
	w.coming = true
	last := len(w.idle) - 1
	if last < 0 {
		go w.work()
		return
	}
	w.idle[last] <- true
	w.idle = w.idle[:last]
	w.low = min(w.low, last)
}

// work works for what waits, and lines up when nothing does.
func (w *workers) work() {
	called := make(chan bool, 1)
	for {
		for e := w.come(); e != nil; e = w.take() {
			e.work()
		}
		if !w.rest(called) || !<-called {
			return
		}
	}
}

// come is take for a worker that was on its way.
func (w *workers) come() *eventConn {
	w.mu.Lock()
	w.coming = false
	w.mu.Unlock()
	return w.take()
}

// take returns the connection that has waited longest, nil if none does. For the
// next one, somebody is on the way.
func (w *workers) take() *eventConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.first
	if e == nil {
		return nil
	}
	if w.first, e.behind = e.behind, nil; w.first == nil {
		w.last = nil
	}
	w.call()
	return e
}

// rest lines up for work, and says whether there can be some.
func (w *workers) rest(called chan bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stay {
		w.idle = append(w.idle, called)
	}
	return w.stay
}

// open lets workers wait for work.
func (w *workers) open() {
	w.mu.Lock()
	w.stay = true
	w.mu.Unlock()
}

// close ends the workers that wait for work, and lets no more do so.
func (w *workers) close() {
	w.mu.Lock()
	w.stay = false
	w.mu.Unlock()
	w.prune(0)
}

// prune ends the workers that had nothing to do since the last prune, or all but
// most.
func (w *workers) prune(most int) {
	w.mu.Lock()
	n := max(w.low, len(w.idle)-most)
	gone := slices.Clone(w.idle[:n])
	w.idle = slices.Delete(w.idle, 0, n)
	w.low = len(w.idle)
	w.mu.Unlock()
	for _, called := range gone {
		called <- false
	}
}

// messageBuffers are for messages that do not arrive at once.
var messageBuffers = sync.Pool{New: func() any { return new([]byte) }}

// start makes messages come. c is in event mode already. The application has c
// already too, and may close it meanwhile, or be reading: that is not waited for.
func (e *eventConn) start() {
	c := e.c
	e.state.Store(eventBusy) // who wakes it before all is set up makes it work then
	e.waits = true
	c.mu.Lock()
	c.woken = e
	isRead := c.reading.held
	c.mu.Unlock()
	if isRead {
		go func() {
			e.begin()
			e.work()
		}()
		return
	}
	if e.begin() || !e.state.CompareAndSwap(eventBusy, eventIdle) {
		go e.work()
	}
}

// begin takes the reading of c over from others. It says whether there is work of which
// no event tells: where a goroutine is to wait, an end that came before, what has
// been read already, such as what came behind the handshake or an empty message that
// was begun, and what the system keeps quiet about, for a read before has asked for more.
func (e *eventConn) begin() bool {
	c := e.c
	c.mu.Lock()
	over := c.lock(&c.reading, context.Background(), func() error { return c.cause }) != nil
	c.mu.Unlock()
	if over {
		return true
	}
	defer c.unlockRead()
	if err := c.takeOver(); err != nil {
		_ = c.fail(err, StatusInternalError, "")
		return true
	}
	c.r.inPlace = true
	e.watch()
	return e.waits || c.r.buffered() > 0 || c.r.seq.isOpen() || c.r.src.raw.isQuiet()
}

// watch has events wake e, where that is possible. The reading turn is taken.
func (e *eventConn) watch() {
	raw := &e.c.r.src.raw
	if raw.isRaw() {
		raw.noWait = true
		e.waits = !e.loop.watcher.add(e)
		raw.noWait = !e.waits
	}
	if !e.waits {
		e.c.mu.Lock()
		e.c.clearReadDeadline() // of a read before
		e.c.mu.Unlock()
		e.scheduleKeepAlive(e.c.r.src.lastOctet() + e.c.limits.keepAlive)
	}
}

// wake makes a goroutine look after the connection, if none does. It waits for
// nothing and may be called by anyone at any time.
func (e *eventConn) wake() {
	for {
		switch s := e.state.Load(); s {
		case eventIdle:
			if e.state.CompareAndSwap(s, eventBusy) {
				e.loop.watcher.workers.run(e)
				return
			}
		case eventBusy:
			if e.state.CompareAndSwap(s, eventAgain) {
				return
			}
		default:
			return
		}
	}
}

// errGoexit stands for a call of the application that never returned.
var errGoexit = errors.New("websocket: handler called runtime.Goexit")

// work handles what has arrived, until nothing is there or the connection is over.
func (e *eventConn) work() {
	ended := false
	defer func() {
		switch bug := recover(); {
		case bug != nil: // the application's panics are recovered where it is called
			panic(bug)
		case !ended:
			e.unlock()
			e.finish(errGoexit)
		}
	}()
	for {
		// What comes from here on has to be looked for again.
		e.state.CompareAndSwap(eventAgain, eventBusy)
		if err := e.handleAll(); err != nil {
			ended = true
			e.finish(err)
			return
		}
		if e.state.CompareAndSwap(eventBusy, eventIdle) {
			ended = true
			return
		}
	}
}

// finish is the last that happens.
func (e *eventConn) finish(err error) {
	e.state.Store(eventOver)
	if !e.waits {
		e.loop.watcher.remove(e)
	}
	if e.msg != nil {
		e.drop()
	}
	e.owner.end(err)
}

// handleAll handles messages until nothing more is there to be read, then
// keepalive if it is due. The error is what ends the connection.
func (e *eventConn) handleAll() error {
	c := e.c
	if err := c.lockEvents(); err != nil {
		return err
	}
	look := e.due.Load() == dueNow // what is read from now on counts
	c.r.src.raw.toEnd = e.ending.Load()
	c.r.src.raw.rearm()
	err := e.readAll()
	if err != errWouldBlock && c.isBroken() && c.ended() == nil {
		c.lookForClose() // a write in a callback has left that to us
	}
	e.shrink()
	switch {
	case err == errWouldBlock && look:
		err = e.keepAlive()
	case err == errWouldBlock:
		err = nil
	}
	e.unlock()
	return err
}

// unlock ends what lockEvents has begun.
func (e *eventConn) unlock() {
	e.c.calling.Store(false)
	e.c.w.corked.Store(false)
	e.c.unlockRead()
}

// readAll handles messages until an error comes; that is errWouldBlock where
// nothing more is there.
func (e *eventConn) readAll() (err error) {
	c := e.c
	called := false // while it is true, what panics is the application's
	defer func() {
		if !called {
			return
		}
		err = errGoexit // also for panic(nil), where GODEBUG allows that
		if p := recover(); p != nil {
			err = e.owner.panicked(p)
		}
		if !c.w.corked.Load() {
			_ = e.flush() // as behind each message that is the last; a write that fails says so to Closed
		}
	}()
	for {
		msg, err := e.await()
		if err != nil {
			return err
		}
		more := c.r.hasWhole() || !e.waits && c.r.hasFilled()
		if !c.calling.Load() { // a load costs next to nothing, and a store what a lock does
			c.calling.Store(true)
		}
		if err := e.ended(); err != nil { // Close waits for us unless it sees calling
			return err
		}
		if c.w.corked.Load() != more {
			c.w.corked.Store(more)
		}
		if more && !e.listed.Load() {
			e.loop.hold(e)
		}
		called = true // one defer for all messages: one for each would be a twentieth of the time for a short one
		err = e.owner.message(msg)
		called = false
		if e.msg != nil {
			e.drop()
		}
		if !more {
			if lost := e.flush(); err == nil {
				err = lost
			}
		}
		if err == nil {
			err = e.ended()
		}
		if err != nil {
			return err
		}
		if e.waits {
			c.calling.Store(false)
		}
	}
}

// ended is why nothing more is delivered, nil where more may be. Who ends a connection
// wakes it; a read that waits is not always woken by that.
func (e *eventConn) ended() error {
	if e.waits || e.state.Load() == eventAgain {
		return e.c.ended()
	}
	return nil
}

// await returns the next message. Where a goroutine may wait, it does, and wakes for
// keepalive; elsewhere errWouldBlock says that nothing more is there.
func (e *eventConn) await() (Message, error) {
	c := e.c
	if e.waits {
		c.startWaiting() // once: it would end the look at the socket that keepAlive asks for
	}
	for {
		msg, err := e.next()
		if err == nil {
			return msg, nil
		}
		if err == errWouldBlock || err == io.ErrUnexpectedEOF { // else our Close frame takes it along
			if lost := e.uncork(); lost != nil && err == errWouldBlock {
				return Message{}, lost
			}
		}
		if err == errWouldBlock && !e.waits {
			return Message{}, err
		}
		if err = c.readPaused(context.Background(), err); err != nil {
			return Message{}, err
		}
		e.shrink() // in a pause that keepalive has ended
	}
}

// next reads the next message: where it lies in the buffer, or put together.
func (e *eventConn) next() (Message, error) {
	r := &e.c.r
	typ, data, whole, err := r.nextInPlace()
	if whole || err != nil {
		return Message{typ, data}, err
	}
	if e.msg == nil {
		e.msg = messageBuffers.Get().(*[]byte)
	}
	*e.msg, err = r.appendMessage(*e.msg)
	return Message{typ, *e.msg}, err
}

// mostKept is how many octets a buffer may have that is kept for other messages: as many
// as growing for one of ReadLimit may take.
func (e *eventConn) mostKept() int64 { return 2 * min(e.c.r.limit.Load(), maxKeptMessage/2) }

// drop forgets a message that was put together.
func (e *eventConn) drop() {
	if int64(cap(*e.msg)) <= e.mostKept() {
		*e.msg = (*e.msg)[:0]
		messageBuffers.Put(e.msg)
	}
	e.msg = nil
}

// shrink puts the little that has arrived of a message into memory of its own, if it
// came into a buffer that a much longer message has grown, and nothing has followed
// for stallTime: to do so at once would cost those who send long messages.
func (e *eventConn) shrink() {
	if has := e.msg != nil && cap(*e.msg) > max(firstGrowth, maxSpare*len(*e.msg)); has != e.spare.Load() {
		e.spare.Store(has)
	}
	if !e.hasStalled() {
		return
	}
	few := slices.Clone(*e.msg)
	e.drop()
	e.msg = &few
	e.spare.Store(false)
}

// hasStalled says whether shrink has something to do.
func (e *eventConn) hasStalled() bool {
	return e.spare.Load() && monotonic()-e.c.r.src.lastOctet() > stallTime
}

// uncork writes what was held back for messages that did not come.
func (e *eventConn) uncork() error {
	if e.c.w.corked.Load() {
		e.c.w.corked.Store(false)
	}
	return e.flush()
}

// flush writes what is held back.
func (e *eventConn) flush() error {
	if !e.c.w.holds.Load() {
		return nil
	}
	return e.c.flushHeld()
}

// hold sees to it that what e holds back leaves in heldTime, also where Message
// takes its time.
func (l *eventLoop) hold(e *eventConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.listed.Store(true)
	e.seen = e.c.w.progress.Load()
	l.holders = append(l.holders, e)
	switch {
	case l.ticker == nil:
		l.ticker = time.AfterFunc(heldTime/2, l.flushHolders)
	case len(l.holders) == 1:
		l.ticker.Reset(heldTime / 2)
	}
}

// flushHolders writes what was held back when it looked last, unless something has
// left since: then that was part of it.
func (l *eventLoop) flushHolders() {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.holders
	l.holders = all[:0]
	for _, e := range all {
		e.listed.Store(false)                            // before corked is looked at: who sets that now looks at listed
		if !e.c.w.corked.Load() && !e.c.w.holds.Load() { // behind a last message whose call takes its time, frames wait too
			continue
		}
		e.listed.Store(true)
		l.holders = append(l.holders, e)
		progress := e.c.w.progress.Load()
		if progress == e.seen && e.c.w.holds.Load() {
			go func() { _ = e.flush() }() // it may have to wait for its turn; later calls report an error
		}
		e.seen = progress
	}
	clear(all[len(l.holders):])
	if len(l.holders) > 0 {
		l.ticker.Reset(heldTime / 2)
	}
}

// dueNow is a time that has passed. It is told from others without the clock.
const dueNow = -1

// keepAlive sends a Ping if one is due, and has an error if the peer has not
// answered one. Nothing is there to be read.
func (e *eventConn) keepAlive() error {
	next, err := e.c.probe(monotonic())
	if err != nil {
		return e.c.readFailed(err)
	}
	e.scheduleKeepAlive(next)
	return nil
}

func (e *eventConn) scheduleKeepAlive(next time.Duration) {
	if e.c.limits.keepAlive > 0 {
		e.due.Store(int64(next))
	}
}
