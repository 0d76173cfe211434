package websocket

// Sending without waiting: the queue of a connection and the goroutine that
// drains it, which lives only while something is queued.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
)

// Send queues a message and never waits. Messages leave in the order of Send, and
// a Write or Close waits for what was queued before it. The error is ErrQueueFull
// where more than Options.SendLimit octets would wait; whoever gets it decides
// whether to drop the message or the connection. After an error of the network
// nothing can be sent any more: later calls report it, and so does Context once
// somebody reads or has called CloseRead, for what has arrived is still to be read.
func (c *Conn) Send(p *Prepared) error {
	if p == nil || len(p.plain) == 0 {
		return errNilPrepared
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayWrite(); err != nil {
		return err
	}
	return c.enqueue(p, c.limits.sendLimit)
}

// enqueue queues p, up to limit octets. Called with c.mu held, where something can be
// written.
func (c *Conn) enqueue(p *Prepared, limit int64) error {
	if !c.queue.put(p, limit) {
		return ErrQueueFull
	}
	c.startDrain()
	return nil
}

// BufferedAmount returns how many octets are queued and were not yet given to the
// network, headers included, without masking keys and before compression. A message
// counts until all of it was given.
func (c *Conn) BufferedAmount() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.octets
}

// drainState says who will write what is queued.
type drainState uint8

const (
	drainNone   drainState = iota // nobody: nothing is queued
	drainWaits                    // a goroutine that waits for its turn to send, or is about to take what is queued
	drainWrites                   // nobody yet: a drain has taken what was queued, and writes
	drainGoesOn                   // the drain that writes
)

// startDrain sees to it that what is queued will be written, before anything that
// the caller may do next. A drain goes on where nobody waits for its turn; else a
// new one lines up, so that a Write never waits for messages queued after it for
// longer than it takes to write once. Called with c.mu held.
func (c *Conn) startDrain() {
	switch {
	case c.drains == drainWaits || c.drains == drainGoesOn:
		return
	case c.drains == drainWrites && c.sending.first == nil:
		c.drains = drainGoesOn
		return
	}
	c.drains = drainWaits
	var turn *waiter
	if c.sending.held {
		turn = c.sending.lineUp()
	}
	c.sending.held = true
	if turn == nil && c.writesAtOnce() {
		drains.add(c)
		return
	}
	go c.drainQueue(turn, c.over())
}

// maxDrainers is how many goroutines write to peers that take what they are sent.
const maxDrainers = 16

// drainers write what is queued, for one connection after the other, and wait for
// no peer: a burst to many takes a few goroutines, instead of one for each whose
// stack would have to grow first. The zero value is ready.
type drainers struct {
	mu      sync.Mutex
	conns   []*Conn // whose turn to send is taken; guarded by mu
	running int     // goroutines; guarded by mu
}

var drains drainers

// add lines c up. Called with c.mu held and the turn to send taken.
func (d *drainers) add(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, c)
	if d.running < maxDrainers {
		d.running++
		go d.work()
	}
}

func (d *drainers) work() {
	for c := d.next(); c != nil; c = d.next() {
		c.drainAtOnce()
	}
}

// next returns the connection that has waited longest, or nil where there is none
// and the goroutine has to end.
func (d *drainers) next() *Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.conns) == 0 {
		d.conns = nil
		d.running--
		return nil
	}
	c := d.conns[0]
	d.conns[0] = nil
	d.conns = d.conns[1:]
	return c
}

// drainAtOnce writes what is queued, with the turn to send taken. Where that would
// have to wait, a goroutine goes on.
func (c *Conn) drainAtOnce() {
	c.mu.Lock()
	if c.framing.held || c.w.holds.Load() || c.cause != nil || c.broken != nil {
		go c.drainQueue(nil, c.over())
		c.mu.Unlock()
		return
	}
	c.framing.held, c.drains = true, drainWrites
	messages := c.queue.take()
	c.mu.Unlock()
	sent, n, err := c.tryQueued(messages)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.done(messages[:sent])
	if sent < len(messages) {
		go c.finishQueued(messages[sent:], n, err)
		return
	}
	if c.drained() {
		c.drains = drainWaits
		drains.add(c)
	}
}

// maxAtOnce is how many octets a connection is written before the next has its turn.
const maxAtOnce = 64 << 10

// tryQueued writes of messages what the peer takes at once. It returns how many are
// out, which is all of them only if err is nil, and how many octets of the next.
// Messages that are long, and may have to be compressed yet, are left to others.
func (c *Conn) tryQueued(messages []*Prepared) (sent, n int, err error) {
	b := batches.Get().(*batch)
	defer b.free()
	for _, p := range messages {
		if len(p.plain) > maxAtOnce-len(b.octets) {
			break
		}
		frame := p.frame(c.r.deflate) // no longer than p.plain
		b.frames, b.octets = append(b.frames, frame), append(b.octets, frame...)
	}
	if len(b.octets) == 0 {
		return 0, 0, nil
	}
	n, err = c.w.tryWrite(b.octets)
	for _, frame := range b.frames {
		if n < len(frame) {
			break
		}
		n -= len(frame)
		sent++
	}
	return sent, n, err
}

// drainQueue writes what is queued, in its turn.
func (c *Conn) drainQueue(turn *waiter, over <-chan struct{}) {
	if turn != nil {
		select {
		case <-turn.ready:
		case <-over:
			c.mu.Lock()
			c.drains = drainNone
			c.sending.leave(turn)
			c.mu.Unlock()
			return
		}
	}
	for c.drainOnce(over) {
	}
}

// drainOnce writes all that is queued and says whether to go on; if not, the turn
// was passed on.
func (c *Conn) drainOnce(over <-chan struct{}) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait(&c.framing, context.Background(), over) != nil {
		c.drains = drainNone
		c.sending.release()
		return false
	}
	if messages := c.takeQueued(); len(messages) > 0 {
		c.mu.Unlock()
		if err := c.writeQueued(messages); err != nil {
			c.writeLost(err) // later calls report it
		}
		c.mu.Lock()
	}
	return c.drained()
}

// drained ends a write of what was queued, and says whether the drain goes on.
// Called with c.mu held.
func (c *Conn) drained() (more bool) {
	c.queueWriting = false // with the turn, so that nobody else's writing is interrupted
	c.releaseFrame()
	if c.drains == drainGoesOn {
		return true
	}
	if c.drains == drainWrites {
		c.drains = drainNone
	}
	c.sending.release()
	return false
}

// takeQueued takes what is queued, to write it. What was held back goes before,
// and must not be cut short. Called, and returns, with c.mu held and the framing
// turn taken.
func (c *Conn) takeQueued() []*Prepared {
	c.mu.Unlock()
	_, err := c.w.flush()
	if err != nil {
		c.writeLost(err)
	}
	c.mu.Lock()
	c.drains = drainNone
	if c.cause != nil || c.broken != nil {
		return nil
	}
	c.drains, c.queueWriting = drainWrites, true
	return c.queue.take()
}

// batch is what writing queued messages needs, pooled.
type batch struct {
	frames [][]byte
	bufs   net.Buffers
	octets []byte
	ends   []int // of frames in octets
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// maxPooledBatch is how many octets a batch may have that is kept for others.
const maxPooledBatch = 1 << 20

func (b *batch) free() {
	clear(b.frames)
	b.frames, b.bufs, b.octets = b.frames[:0], nil, b.octets[:0]
	if cap(b.octets) <= maxPooledBatch {
		batches.Put(b)
	}
}

// writeQueued writes messages, with the turns for sending and framing taken. Those that
// are out wait no longer, and in the end none do.
func (c *Conn) writeQueued(messages []*Prepared) error {
	if len(messages) == 0 {
		return nil
	}
	b := batches.Get().(*batch)
	defer b.free()
	write := c.writeTogether
	if !c.writesAtOnce() {
		write = c.writeCopied
	}
	for goesOn := true; goesOn && len(messages) > 0; {
		n, err := write(b, messages)
		goesOn = err == nil
		if err == errCutShort {
			err = nil
		}
		c.noLonger(messages[:n])
		if messages = messages[n:]; err != nil {
			c.noLonger(messages)
			return err
		}
	}
	c.noLonger(messages)
	return nil
}

// errCutShort says that what is queued has become pointless, as dropSlow makes it.
var errCutShort = errors.New("websocket: what was queued is dropped")

// noLonger says that messages wait no longer, and holds them no longer.
func (c *Conn) noLonger(messages []*Prepared) {
	if len(messages) == 0 {
		return
	}
	c.mu.Lock()
	c.queue.done(messages)
	c.mu.Unlock()
	clear(messages)
}

// writeTogether writes the first of messages as they are: as many as leave in one
// system call.
func (c *Conn) writeTogether(b *batch, messages []*Prepared) (n int, err error) {
	clear(b.frames)
	b.frames = b.frames[:0]
	for size := 0; n < len(messages); n++ {
		frame := messages[n].frame(c.r.deflate)
		if size += len(frame); n > 0 && size > writeChunk+maxHeader {
			break
		}
		b.frames = append(b.frames, frame)
	}
	b.bufs = b.frames
	if _, err = c.w.buffers(&b.bufs); err == nil {
		return n, nil
	}
	var rest []byte // of the frame in progress
	if at := n - len(b.bufs); len(b.bufs) > 0 && len(b.bufs[0]) < len(messages[at].frame(c.r.deflate)) {
		rest = b.bufs[0]
	}
	return n, c.queueFailed(rest, err)
}

// standsAlone says whether a Prepared can go to the peer as it is: no masks, and
// no window that goes on from message to message.
func (c *Conn) standsAlone() bool {
	return !c.w.client && (c.r.deflate == nil || !c.r.deflate.sendTakeover)
}

// writesAtOnce says whether a Prepared can be written as it is, and without waiting.
func (c *Conn) writesAtOnce() bool { return c.w.raw.isRaw() && c.standsAlone() }

// writeCopied writes the first of messages where frames have to be made, or one system call
// can't take several: as many as copyLimit octets have room for, which is a record of TLS.
func (c *Conn) writeCopied(b *batch, messages []*Prepared) (n int, err error) {
	b.octets, b.ends = b.octets[:0], b.ends[:0]
	var octets []byte
	if c.standsAlone() && (len(messages) == 1 || len(messages[0].plain) > copyLimit) {
		octets, n = messages[0].frame(c.r.deflate), 1
	} else {
		const masking = 4 // octets that plain has not
		for ; n == 0 || n < len(messages) && len(b.octets)+len(messages[n].plain)+masking <= copyLimit; n++ {
			b.octets = c.appendMade(b.octets, messages[n])
			b.ends = append(b.ends, len(b.octets))
		}
		octets = b.octets
	}
	out, err := c.w.write(octets)
	switch {
	case err != nil:
		return n, c.queueFailed(inProgress(octets, b.ends, int(out)), err)
	case n < len(messages) && c.isDropped():
		return n, errCutShort
	}
	return n, nil
}

// inProgress is the rest of the frame of which the first out octets of frames have a part,
// nil if they have whole ones alone. ends are where they end; without, they are one.
func inProgress(frames []byte, ends []int, out int) []byte {
	begin, end := 0, len(frames)
	for _, at := range ends {
		if at > out {
			end = at
			break
		}
		begin = at
	}
	if out == begin {
		return nil
	}
	return frames[out:end]
}

// appendMade appends p's frame for this connection, which others can't have the same where
// a window goes on from message to message, or a mask makes it one of its own.
func (c *Conn) appendMade(b []byte, p *Prepared) []byte {
	if c.standsAlone() {
		return append(b, p.frame(c.r.deflate)...)
	}
	var h Header
	if c.r.deflate != nil && c.r.deflate.sendTakeover {
		h = Header{Fin: true, Opcode: Opcode(p.typ)}
		payload := c.compress(&h, p.payload)
		h.Length = int64(len(payload.octets))
		b = c.w.appendFrame(b, &h, payload.octets)
		payload.free()
		return b
	}
	frame := p.frame(c.r.deflate)
	n, _ := h.parse(frame) // our own
	return c.w.appendFrame(b, &h, frame[n:])
}

// isDropped says whether what is queued has become pointless: the connection is
// over, and not by a Close of our own.
func (c *Conn) isDropped() bool {
	cause := c.ended()
	return cause != nil && cause != errClosed
}

// queueFailed is what an error of the writer comes to. Where a slow consumer is
// being dropped, that is errCutShort, behind the end of the frame in progress, of which
// rest is not out yet, for the Close frame has to follow it.
func (c *Conn) queueFailed(rest []byte, err error) error {
	if !c.w.halted.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.mu.Lock()
	c.w.resume() // not while dropSlow is about it
	c.mu.Unlock()
	if len(rest) > 0 {
		if _, err = c.w.write(rest); err != nil {
			return err
		}
	}
	return errCutShort
}

// fetchedAtOnce is how many connections Broadcast fetches before it sends to them.
const fetchedAtOnce = 16

// fetch brings what sendAtOnce looks at into the processor's cache: the processor waits
// for many such loads at a time, but for locks one by one.
func (c *Conn) fetch() {
	if c.w.raw.isRaw() {
		_ = c.calling.Load()
		_ = c.r.src.last.Load()
		_ = c.w.halted.Load()
		_ = c.w.progress.Load()
	}
}

// sendAtOnce sends p without waiting and, if the peer takes it, without a
// goroutine; else it queues it, whatever its size if nothing waits yet. late says that
// half of what may wait does, and a goroutine has to write it. The error is ErrQueueFull;
// a connection that is over is told to those who read or write it.
func (c *Conn) sendAtOnce(p *Prepared) (late bool, err error) {
	c.mu.Lock()
	if c.cause != nil || c.broken != nil {
		c.mu.Unlock()
		return false, nil
	}
	if !c.writesAtOnce() || c.sending.held || c.framing.held {
		defer c.mu.Unlock()
		limit := c.limits.sendLimit
		if c.queue.octets == 0 {
			limit, c.spared = math.MaxInt64, 0
		}
		err := c.enqueue(p, limit)
		return !c.writesAtOnce() && c.queue.octets > c.limits.sendLimit/2, err
	}
	c.sending.held, c.framing.held = true, true
	c.mu.Unlock()
	frame := p.frame(c.r.deflate)
	n, err := c.w.tryWrite(frame)
	if n == len(frame) {
		c.unlockMessage()
		return false, nil
	}
	c.mu.Lock()
	c.queue.octets += int64(len(p.plain))
	c.drains = drainWrites
	c.mu.Unlock()
	go c.finishQueued([]*Prepared{p}, n, err)
	return false, nil
}

// A laggard is a connection whose queue is full. Where goroutines have to write to it, that
// may be their fault, and not the peer's.
type laggard struct {
	c        *Conn
	progress uint32 // of its writer, when it was looked at last
}

// mostSpared is how often a connection is spared between two moments at which nothing
// waits for it. A time in which nothing has left counts as idleSpared times.
const (
	mostSpared = 10
	idleSpared = 4
)

// spare says whether the writers get more time.
func (l *laggard) spare() bool {
	cost := uint8(idleSpared)
	if now := l.c.w.progress.Load(); now != l.progress {
		l.progress, cost = now, 1
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.c.writesAtOnce() || l.c.spared+cost > mostSpared {
		return false
	}
	l.c.spared += cost
	return true
}

// finishQueued writes messages, of which the peer has taken n octets of the first,
// and what is queued meanwhile. The turns for sending and framing are taken.
func (c *Conn) finishQueued(messages []*Prepared, n int, err error) {
	rest := messages[0].frame(c.r.deflate)[n:]
	if err == nil {
		_, err = c.w.flush() // before queueWriting, as in takeQueued
	}
	c.mu.Lock()
	if n == 0 && c.cause != nil && c.cause != errClosed {
		rest = nil
	}
	c.queueWriting = true
	c.mu.Unlock()
	if err == nil && len(rest) > 0 {
		var some int64
		if some, err = c.w.write(rest); err != nil {
			if n == 0 && some == 0 {
				rest = nil // it is not in progress
			}
			err = c.queueFailed(rest[some:], err)
		}
	}
	c.noLonger(messages[:1])
	if messages = messages[1:]; err == nil && !c.isDropped() {
		err = c.writeQueued(messages)
	} else {
		c.noLonger(messages)
	}
	if err != nil && err != errCutShort {
		c.writeLost(err)
	}
	c.mu.Lock()
	more := c.drained()
	c.mu.Unlock()
	if more {
		c.drainQueue(nil, c.Context().Done())
	}
}

// holdBack is Write where event mode holds frames back and this one can join them:
// that waits for nothing, so c.mu does instead of the turns. It says whether it did.
func (c *Conn) holdBack(ctx context.Context, typ MessageType, data []byte) (done bool) {
	if ctx == nil || ctx.Err() != nil || c.w.client {
		return false
	}
	h := Header{Fin: true, Opcode: Opcode(typ), Length: int64(len(data))}
	c.mu.Lock()
	if !c.sending.held && !c.framing.held && c.cause == nil && c.broken == nil && !c.r.deflate.compresses(data) {
		done = c.w.keep(&h, data)
	}
	c.mu.Unlock()
	if done && !c.w.corked.Load() { // who uncorked may have flushed before
		go func() { _ = c.flushHeld() }() // later calls report an error, as for all that is held back
	}
	return done
}

// flushHeld writes the frames that event mode has held back.
func (c *Conn) flushHeld() error {
	c.mu.Lock()
	err := c.wait(&c.framing, context.Background(), c.over())
	c.mu.Unlock()
	if err != nil {
		return nil // sendClose writes them, if they can be written
	}
	defer c.unlockFrame()
	if _, err = c.w.flush(); err != nil {
		c.writeLost(err)
	}
	return err
}

// dropSlow ends a connection whose peer does not keep up: what is queued is
// dropped, and 1013 follows the frame in progress, if the peer takes it within
// CloseTimeout. It says whether it did, which it does not where the connection is
// over already.
func (c *Conn) dropSlow() (dropped bool) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return false
	}
	c.queue.drop()
	cl := c.beginOwnClosing(fmt.Errorf("websocket: peer does not keep up: %w", ErrQueueFull), StatusTryAgainLater, "")
	if c.queueWriting && c.w.raw.isRaw() { // else a write that is cut short can't go on
		c.w.interrupt()
	}
	c.mu.Unlock()
	c.proclaim()
	go c.conclude(cl)
	return true
}
