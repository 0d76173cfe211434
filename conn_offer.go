package websocket

// Many who write at once: each has to wait for its turn, and who has it may write
// the short messages of those behind along with its own. To wake a goroutine only
// for a short write costs more than the write, the more so on another processor.

import (
	"context"
	"errors"
	"os"
)

// offer is a short message that waits for its turn to be sent. Guarded by Conn.mu.
type offer struct {
	typ   MessageType
	data  []byte
	done  <-chan struct{} // of the context under which it is offered
	state offerState
	end   int    // of its frame, in what is written together
	rest  []byte // of its frame, where state is offerBegun
	left  bool   // who offers it has given up; only while state is offerTaken
}

type offerState uint8

const (
	offerWaits offerState = iota
	offerTaken            // somebody is about to write it, and waits for nothing
	offerOut              // it was written
	offerBegun            // a part of it was: who offers it has both turns, and writes the rest
)

// offerLimit is up to how many octets a message may have that others write.
const offerLimit = 4 << 10

// newOffer is an offer of a message, or nil where others can't write it.
func (c *Conn) newOffer(ctx context.Context, typ MessageType, data []byte) *offer {
	if len(data) > offerLimit || !c.w.raw.isRaw() || c.r.deflate.compresses(data) {
		return nil
	}
	return &offer{typ: typ, data: data, done: ctx.Done()}
}

// stands says whether o is to be written: one whose context has ended is about to be taken
// back, by a goroutine that may have to wait for a processor. o may be nil.
func (o *offer) stands() bool {
	if o == nil {
		return false
	}
	select {
	case <-o.done:
		return false
	default:
		return true
	}
}

// isDealtWith says whether others have written o, or a part of it. o may be nil.
func (o *offer) isDealtWith() bool { return o != nil && o.state > offerTaken }

// withdraw takes w, which gives up, out of the queue for sending. It says whether that is
// too late: its message was written, or begun. Called, and returns, with c.mu held.
func (c *Conn) withdraw(w *waiter) (late bool) {
	if w.offer == nil || w.offer.state == offerWaits {
		c.sending.leave(w)
		return false
	}
	w.offer.left = true
	c.mu.Unlock()
	<-w.ready // at once, or after a write that does not wait
	c.mu.Lock()
	return w.offer.isDealtWith()
}

// writeRest writes what is left of a frame that was begun, with both turns taken.
func (c *Conn) writeRest(ctx context.Context, rest []byte) error {
	c.heed(ctx)
	if _, err := c.w.write(rest); err != nil {
		return c.writeFailed(ctx, true, err)
	}
	return nil
}

// writeOffers writes what those who wait have offered, as far as the peer takes it at once:
// one system call for all. It says whether the turns were passed to one whose frame is out
// in part. Called, and returns, with c.mu held and both turns taken.
func (c *Conn) writeOffers() (passed bool) {
	if !c.mayWriteOffers() {
		return false
	}
	f := plans.Get().(*plan)
	defer plans.Put(f)
	b, taken := c.takeOffers(f.buf[:0])
	c.w.resume() // an interrupt of the write before says nothing of this one
	c.mu.Unlock()
	n, err := c.w.tryWrite(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // that of a write that does not wait is nobody's
		c.writeLost(err) // the system says once what has become of the socket
	}
	c.mu.Lock()
	begin, w := 0, taken
	for ; w != nil && w.offer.end <= n; w = w.next {
		begin, w.offer.state = w.offer.end, offerOut
		close(w.ready)
	}
	if passed = begin < n; passed {
		w.offer.state, w.offer.rest = offerBegun, append([]byte(nil), b[n:w.offer.end]...)
		close(w.ready)
		w = w.next
	}
	c.sending.putBack(w)
	return passed
}

// mayWriteOffers says whether the first who waits to send has offered a message, and nothing
// goes before it. Called with c.mu held.
func (c *Conn) mayWriteOffers() bool {
	w := c.sending.first
	return w != nil && w.offer.stands() && c.framing.first == nil && c.cause == nil && c.broken == nil &&
		!c.w.corked.Load() && !c.w.holds.Load()
}

// takeOffers takes those who are first in the queue for sending out of it, as many as have
// offered a message, and appends their frames to b, which it does not let grow. The first
// was looked at by mayWriteOffers. Called with c.mu held.
func (c *Conn) takeOffers(b []byte) (frames []byte, first *waiter) {
	t := &c.sending
	first = t.first
	var last *waiter
	for w := first; w != nil && (w == first || w.offer.stands()) && len(b)+maxHeader+len(w.offer.data) <= cap(b); w = w.next {
		b = c.w.appendFrame(b, &Header{Fin: true, Opcode: Opcode(w.offer.typ), Length: int64(len(w.offer.data))}, w.offer.data)
		w.offer.state, w.offer.end, last = offerTaken, len(b), w
	}
	if t.first = last.next; t.first == nil {
		t.last = nil
	}
	last.next = nil
	return b, first
}

// putBack puts those whose offers were taken, and not written, back in front of those who
// wait, in their order, but for who has given up meanwhile.
func (t *turn) putBack(w *waiter) {
	var again turn
	for w != nil {
		next := w.next
		w.next, w.offer.state = nil, offerWaits
		if w.offer.left {
			close(w.ready)
		} else {
			again.append(w)
		}
		w = next
	}
	if again.last == nil {
		return
	}
	if again.last.next = t.first; t.last == nil {
		t.last = again.last
	}
	t.first = again.first
}
