package websocket

// Sending without waiting: the queue of a connection and the goroutine that
// drains it, which lives only while something is queued.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Send queues a message and never waits. Messages leave in the order of Send, and
// a Write or Close waits for what was queued before it. The error is ErrQueueFull
// where more than Options.SendLimit octets would wait; whoever gets it decides
// whether to drop the message or the connection. An error of the network ends the
// connection, and later calls and Context report it.
func (c *Conn) Send(p *Prepared) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayWrite(); err != nil {
		return err
	}
	if !c.queue.put(p, c.limits.sendLimit) {
		return ErrQueueFull
	}
	c.startDrain()
	return nil
}

// BufferedAmount returns how many octets are queued and were not yet given to the
// network, headers included and before compression.
func (c *Conn) BufferedAmount() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.octets
}

// startDrain lines up for sending, before the caller does anything else, and
// starts the goroutine that drains the queue. Called with c.mu held.
func (c *Conn) startDrain() {
	if c.draining {
		return
	}
	c.draining = true
	var turn *waiter
	if c.sending.held {
		turn = c.sending.queue()
	}
	c.sending.held = true
	go c.drainQueue(turn, c.over())
}

// drainQueue writes what is queued until nothing is, with the sending turn.
func (c *Conn) drainQueue(turn *waiter, over <-chan struct{}) {
	if turn != nil {
		select {
		case <-turn.ready:
		case <-over:
			c.mu.Lock()
			c.sending.leave(turn)
			c.draining = false
			c.mu.Unlock()
			return
		}
	}
	for c.ended() == nil && c.lockFrame(context.Background()) == nil {
		c.mu.Lock()
		messages := c.queue.take()
		c.queueWriting = true
		c.mu.Unlock()
		_ = c.writeQueued(messages) // later calls report it
		c.unlockFrame()
		c.mu.Lock()
		c.queueWriting = false
		c.queue.done(messages)
		empty := len(c.queue.messages) == 0
		c.mu.Unlock()
		if empty {
			break
		}
	}
	c.mu.Lock()
	c.draining = false
	if len(c.queue.messages) > 0 && c.cause == nil {
		c.startDrain()
	}
	c.sending.release()
	c.mu.Unlock()
}

// batch is what writing queued messages needs, pooled.
type batch struct {
	frames [][]byte
	bufs   net.Buffers
	octets []byte
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// writeQueued writes messages, with the turns for sending and framing taken: in
// one system call where they can go as they are.
func (c *Conn) writeQueued(messages []*Prepared) error {
	if len(messages) == 0 {
		return nil
	}
	b := batches.Get().(*batch)
	defer func() {
		clear(b.frames)
		b.frames, b.octets = b.frames[:0], b.octets[:0]
		batches.Put(b)
	}()
	if !c.standsAlone() || !c.w.raw.isRaw() {
		return c.writeCopied(b, messages)
	}
	for _, p := range messages {
		b.frames = append(b.frames, p.frame(c.r.deflate))
	}
	b.bufs = b.frames
	n, err := c.w.buffers(&b.bufs)
	b.bufs = nil
	if err == nil {
		return nil
	}
	return c.queueFailed(b.frames, n, err)
}

// standsAlone says whether a Prepared can go to the peer as it is: no masks, and
// no window that goes on from message to message.
func (c *Conn) standsAlone() bool {
	return !c.w.client && (c.r.deflate == nil || !c.r.deflate.sendTakeover)
}

// writeCopied writes messages that have to be made for this connection.
func (c *Conn) writeCopied(b *batch, messages []*Prepared) error {
	for i, p := range messages {
		if i > 0 && c.isDropped() {
			return nil
		}
		h := Header{Fin: true, Opcode: Opcode(p.typ)}
		payload := c.compress(&h, p.payload)
		h.Length = int64(len(payload.octets))
		b.octets = c.w.appendFrame(b.octets[:0], &h, payload.octets)
		payload.free()
		if n, err := c.w.write(b.octets); err != nil {
			return c.queueFailed([][]byte{b.octets}, n, err)
		}
	}
	return nil
}

// isDropped says whether what is queued has become pointless: the connection is
// over, and not by a Close of our own.
func (c *Conn) isDropped() bool {
	cause := c.ended()
	return cause != nil && cause != errClosed
}

// queueFailed is what an error of the writer comes to. Where a slow consumer is
// being dropped, only the frame in progress is finished, for the Close frame has
// to follow it.
func (c *Conn) queueFailed(frames [][]byte, n int64, err error) error {
	if !c.w.halted.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return c.writeLost(err)
	}
	c.w.resume()
	for i, f := range frames {
		if size := int64(len(f)); n >= size {
			n -= size
			continue
		}
		if n == 0 && i > 0 {
			return nil
		}
		if _, err := c.w.write(f[n:]); err != nil {
			return c.writeLost(err)
		}
		return nil
	}
	return nil
}

// sendAtOnce sends p without waiting and, if the peer takes it, without a
// goroutine; else it queues it.
func (c *Conn) sendAtOnce(p *Prepared) error {
	c.mu.Lock()
	if !c.w.raw.isRaw() || !c.standsAlone() || c.sending.held || c.framing.held || c.mayWrite() != nil {
		c.mu.Unlock()
		return c.Send(p)
	}
	c.sending.held, c.framing.held = true, true
	c.mu.Unlock()
	frame := p.frame(c.r.deflate)
	n, err := c.w.tryWrite(frame)
	if n == len(frame) {
		c.unlockMessage()
		return nil
	}
	c.mu.Lock()
	c.queueWriting = true
	c.queue.octets += int64(len(frame) - n)
	c.mu.Unlock()
	go c.finishFrame(frame[n:], err)
	return nil
}

// finishFrame writes the rest of a frame of which the peer did not take all.
func (c *Conn) finishFrame(rest []byte, err error) {
	var n int64
	if err == nil {
		n, err = c.w.write(rest)
	}
	if err != nil {
		_ = c.queueFailed([][]byte{rest}, n, err) // later calls report it
	}
	c.mu.Lock()
	c.queueWriting = false
	c.queue.octets -= int64(len(rest))
	c.mu.Unlock()
	c.unlockMessage()
}

// flushHeld writes the frames that event mode has held back.
func (c *Conn) flushHeld() error {
	if err := c.lockFrame(context.Background()); err != nil {
		return err
	}
	defer c.unlockFrame()
	if _, err := c.w.flush(); err != nil {
		return c.writeFailed(context.Background(), true, err)
	}
	return nil
}

// dropSlow ends a connection whose peer does not keep up: what is queued is
// dropped, and 1013 follows the frame in progress, if the peer takes it within
// CloseTimeout.
func (c *Conn) dropSlow() {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.queue.drop()
	cl := c.beginClosing(fmt.Errorf("websocket: peer does not keep up: %w", ErrQueueFull), StatusTryAgainLater, "")
	cl.own = true
	if c.queueWriting && c.w.raw.isRaw() { // else a write that is cut short can't go on
		c.w.interrupt()
	}
	c.mu.Unlock()
	c.proclaim()
	go c.conclude(cl)
}
