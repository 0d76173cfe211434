package websocket

// From frames to octets (RFC 6455 sections 5.2 and 6.1): header and payload
// leave together, masked if the endpoint is a client (section 5.3). Deadlines
// say how long the peer may take nothing.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// copyLimit is up to how many octets a payload is copied behind its header. A longer
	// one of a server is written from where it is, except for an end of up to as many
	// octets that may be held back.
	copyLimit = 16 << 10
	// writeChunk is the most that one write which may wait is given, so that progress
	// shows. Up to maxFront octets more may go in front: what was held back, and a header.
	writeChunk = 64 << 10
	maxFront   = heldLimit + maxHeader
	// writeAtOnce is the most that is written without a look at whether to go on.
	writeAtOnce = 4 << 20
	// streamChunk is writeChunk where a write that has timed out can't go on, as on TLS:
	// what one record holds. One octet more would take a second record and system call.
	streamChunk = 16 << 10
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// writer writes frames to a stream. Not safe for concurrent use, but for
// interrupt.
type writer struct {
	stream  io.Writer
	conn    net.Conn      // stream, if it has deadlines; else nil
	raw     rawWriter     // for writing without waiting
	client  bool          // frames are masked
	segment uint16        // octets that TCP sends at a time, when it was asked last; 1: not known; 0: never
	timeout time.Duration // longest that the peer may take nothing; 0: no limit
	expiry  *time.Timer   // of a write where there is no raw: see startTimers; nil: not needed

	deadline time.Duration // that is set on conn, by monotonic; 0: none that counts
	halted   atomic.Bool   // interrupt was called
	corked   atomic.Bool   // frames are held back, for more are about to follow
	holds    atomic.Bool   // held is not nil
	held     *heldBuffer   // frames that were held back, or the end of one; nil: none
	progress atomic.Uint32 // counts writes that the peer has taken something of
}

// init sets a writer up for stream, which r reads from.
func (w *writer) init(stream io.Writer, r *rawReader) {
	w.stream = stream
	w.conn, _ = stream.(net.Conn)
	w.raw.init(r)
}

// plan is what one write needs, pooled.
type plan struct {
	buf   [copyLimit + maxHeader]byte
	parts [3][]byte
	bufs  net.Buffers
}

var plans = sync.Pool{New: func() any { return new(plan) }}

// frame writes one frame. h.Length is p's. It calls heed before it may wait for the peer.
// n is how many octets have left, also where err is not nil; so for all that write. (Of a
// frame that joins what is held back, and is written with it, n only says that it can't
// be taken back any more.)
func (w *writer) frame(h *Header, p []byte, heed func()) (n int64, err error) {
	if w.client {
		h.Masked, h.Key = true, newMaskingKey()
	}
	if w.corked.Load() || w.holds.Load() {
		heed()
		if done, err := w.hold(h, p); done || err != nil {
			return maxHeader, err // what was held back before can't be taken back
		}
	}
	f := plans.Get().(*plan)
	defer plans.Put(f)
	b := h.append(f.buf[:0])
	if len(p) <= copyLimit {
		b = append(b, p...)
		w.mask(b[len(b)-len(p):], h.Key)
		return w.copied(b, heed)
	}
	heed()
	switch {
	case w.gathers(p):
		return w.gather(f, b, p)
	case w.client:
		return w.masked(b, h.Key, p)
	}
	return w.pieces(b, p)
}

// copied writes a frame that lies in one piece: as a rule all of it leaves at once.
func (w *writer) copied(b []byte, heed func()) (n int64, err error) {
	some, err := w.raw.once(b)
	if n = int64(some); n > 0 {
		w.progress.Add(1)
	}
	if err != nil {
		return n, w.ofSocket(err)
	}
	if n == int64(len(b)) {
		return n, nil
	}
	heed()
	more, err := w.write(b[n:])
	return n + more, err
}

// ofSocket is an error of the socket, as the standard library tells it.
func (w *writer) ofSocket(err error) error {
	e := &net.OpError{Op: "write", Source: w.conn.LocalAddr(), Addr: w.conn.RemoteAddr(), Err: err}
	if e.Source != nil { // some systems don't know it where the peer has gone already
		e.Net = e.Source.Network()
	}
	return e
}

// gathers says whether a payload is written from where it is.
func (w *writer) gathers(p []byte) bool {
	return len(p) > copyLimit && !w.client && w.raw.isRaw()
}

// mask masks a whole payload if w is a client's.
func (w *writer) mask(p []byte, key [4]byte) {
	if w.client {
		Mask(p, key, 0)
	}
}

// masked writes a long frame of a client: the payload is masked in a buffer,
// piece by piece, never where it is. Pieces as long as that take no more system
// calls than the network has use for.
func (w *writer) masked(header []byte, key [4]byte, p []byte) (n int64, err error) {
	pool := &bufferPool
	if w.raw.isRaw() && len(p) > longBufferSize/2 {
		pool = &longBufferPool
	}
	buf := pool.Get().(*buffer)
	defer buf.free()
	b, offset, room := append(buf.octets[:0], header...), 0, cap(buf.octets)
	if !w.raw.isRaw() {
		room -= room % streamChunk
	}
	for len(p) > 0 {
		some := min(len(p), room-len(b))
		b = b[:len(b)+some]
		offset = maskTo(b[len(b)-some:], p[:some], key, offset)
		written, err := w.write(b)
		if n += written; err != nil {
			return n, err
		}
		b, p = b[:0], p[some:]
	}
	return n, nil
}

// pieces writes a long frame of a server where no write is longer than streamChunk.
// header has room for copyLimit octets.
func (w *writer) pieces(header, p []byte) (n int64, err error) {
	some := min(len(p), streamChunk-len(header))
	n, err = w.write(append(header, p[:some]...))
	if err != nil || some == len(p) {
		return n, err
	}
	more, err := w.write(p[some:])
	return n + more, err
}

// gather writes a long frame of a server from where it is, behind what was held back.
// While more is about to follow, the end that fills no segment of TCP is held back for
// that: by itself it would cost as much as a full one, and wait for a timer where TCP
// paces what it sends, as with BBR. Only where w.raw.isRaw.
func (w *writer) gather(f *plan, header, p []byte) (n int64, err error) {
	front := len(header)
	if w.held != nil {
		front += w.held.n
	}
	now := w.dueOf(front+len(p)) - front
	some := now
	if now > writeChunk {
		some = writeChunk - unfilled(front+writeChunk, int(w.segment))
	}
	n, err = w.behindHeld(f, header, p[:some])
	if err == nil && some < now {
		var more int64
		more, err = w.write(p[some:now])
		n += more
	}
	if err == nil && now < len(p) {
		w.held = heldBuffers.Get().(*heldBuffer)
		w.held.n = copy(w.held.octets[:], p[now:])
		w.holds.Store(true)
		if !w.corked.Load() { // who uncorked, while this was written, may have flushed before
			_, err = w.flush()
		}
	}
	return n, err
}

// behindHeld writes what was held back, a header and a payload together.
func (w *writer) behindHeld(f *plan, header, p []byte) (n int64, err error) {
	f.parts = [...][]byte{nil, header, p}
	f.bufs = f.parts[1:]
	held := w.takeHeld()
	if held != nil {
		f.parts[0], f.bufs = held.octets[:held.n], f.parts[:]
		n = maxHeader // as in frame
	}
	left, err := w.buffers(&f.bufs)
	f.parts, f.bufs = [3][]byte{}, nil
	held.free()
	return n + left, err
}

// dueOf is how many of n octets are to be written now.
func (w *writer) dueOf(n int) int {
	if !w.corked.Load() {
		return n
	}
	if w.held == nil || w.segment == 0 { // it grows with what the peer has room for
		w.segment = uint16(min(w.raw.segment(), math.MaxUint16))
	}
	if end := unfilled(n, int(w.segment)); end <= copyLimit {
		return n - end
	}
	return n
}

// unfilled is how many of n octets are behind the last segment that they fill: none
// where they fill none, or it is not known how many do.
func unfilled(n, segment int) int {
	if n < segment || segment == 0 {
		return 0
	}
	return n % segment
}

// heldLimit is how many octets are held back at most.
const heldLimit = 64 << 10

// heldBuffer is where frames, and the ends of long ones, are held back.
type heldBuffer struct {
	octets [heldLimit]byte
	n      int
}

var heldBuffers = sync.Pool{New: func() any { return new(heldBuffer) }}

// hold puts a frame behind those that are held back, and writes them all unless
// more are about to follow. done is false for a frame for which there is no room: it
// has to be written after them.
func (w *writer) hold(h *Header, p []byte) (done bool, err error) {
	if w.held != nil && maxHeader+len(p) > heldLimit-w.held.n && !w.gathers(p) {
		if _, err := w.flush(); err != nil {
			return false, err
		}
	}
	if done = w.keep(h, p); done && !w.corked.Load() {
		_, err = w.flush()
	}
	return done, err
}

// keep puts a frame behind those that are held back, if there is room for it.
func (w *writer) keep(h *Header, p []byte) bool {
	switch size := maxHeader + len(p); {
	case w.held != nil && size > heldLimit-w.held.n, w.held == nil && size > copyLimit:
		return false
	case w.held == nil:
		w.held = heldBuffers.Get().(*heldBuffer)
		w.holds.Store(true)
	}
	b := append(h.append(w.held.octets[:w.held.n]), p...)
	w.mask(b[len(b)-len(p):], h.Key)
	w.held.n = len(b)
	return true
}

// flush writes what was held back. It counts as sent, so after an error nothing can
// follow.
func (w *writer) flush() (n int64, err error) {
	f := w.takeHeld()
	if f == nil {
		return 0, nil
	}
	n, err = w.write(f.octets[:f.n])
	f.free()
	return n, err
}

// takeHeld takes what is held back, to write it; nil if nothing is.
func (w *writer) takeHeld() *heldBuffer {
	f := w.held
	if f != nil {
		w.held = nil
		w.holds.Store(false)
	}
	return f
}

// free gives f, if it is not nil, back to its pool.
func (f *heldBuffer) free() {
	if f != nil {
		f.n = 0
		heldBuffers.Put(f)
	}
}

// appendFrame appends a whole frame to b, masked if w is a client's.
func (w *writer) appendFrame(b []byte, h *Header, p []byte) []byte {
	if w.client {
		h.Masked, h.Key = true, newMaskingKey()
	}
	b = append(h.append(b), p...)
	w.mask(b[len(b)-len(p):], h.Key)
	return b
}

// buffers writes all of v, which is used up and has no empty parts.
func (w *writer) buffers(v *net.Buffers) (n int64, err error) {
	if n, err := w.flush(); err != nil {
		return n, err
	}
	for {
		if err := w.renew(); err != nil {
			return n, err
		}
		some, err := w.putBuffers(v)
		n += some
		if some == 0 && err == nil && len(*v) > 0 {
			err = io.ErrShortWrite // against io.Writer's contract; asking again would not end
		}
		if again := w.wrote(some, err); !again && (err != nil || len(*v) == 0) {
			return n, err
		}
	}
}

// putBuffers writes some of v: as many of its parts as writeChunk and what belongs in
// front of it have room for, or some of the first.
func (w *writer) putBuffers(v *net.Buffers) (n int64, err error) {
	all, count, size := *v, 0, 0
	for count < len(all) && size+len(all[count]) <= writeChunk+maxFront {
		size += len(all[count])
		count++
	}
	var some int
	if count > 0 {
		*v = all[:count]
		n, err = v.WriteTo(w.conn)
		*v = all[count-len(*v):]
		if n > 0 || !w.isLate(err) {
			return n, err
		}
		some, err = w.lastTry(all[0], err)
	} else {
		some, err = w.put(all[0])
	}
	if (*v)[0] = all[0][some:]; len((*v)[0]) == 0 {
		*v = all[1:]
	}
	return int64(some), err
}

// write writes all of p.
func (w *writer) write(p []byte) (n int64, err error) {
	if n, err := w.flush(); err != nil {
		return n, err
	}
	for {
		if err := w.renew(); err != nil {
			return n, err
		}
		some, err := w.put(p)
		n += int64(some)
		if some == 0 && err == nil && len(p) > 0 {
			err = io.ErrShortWrite // as in buffers
		}
		p = p[some:]
		if again := w.wrote(int64(some), err); !again && (err != nil || len(p) == 0) {
			return n, err
		}
	}
}

// clear takes the deadline off where nobody writes.
func (w *writer) clear() {
	if w.deadline > 0 && !w.halted.Load() {
		w.deadline = 0
		_ = w.conn.SetWriteDeadline(time.Time{}) // if that fails, so does the next write
	}
}

// put writes some of p: as much as leaves at once, or else the next chunk. Few long
// system calls cost less than many.
func (w *writer) put(p []byte) (int, error) {
	if w.raw.isRaw() {
		if len(p) > writeChunk {
			if n, err := w.attempt(p[:min(len(p), writeAtOnce)]); n > 0 || err != nil {
				return n, err
			}
		}
		p = p[:min(len(p), writeChunk)]
		n, err := w.stream.Write(p)
		if n == 0 && w.isLate(err) {
			return w.lastTry(p, err)
		}
		return n, err
	}
	if len(p) > streamChunk+maxHeader { // else it is a message that was copied behind its header
		p = p[:streamChunk]
	}
	if w.conn != nil || w.expiry == nil {
		n, err := w.stream.Write(p)
		return n, w.named(err)
	}
	w.expiry.Reset(w.timeout)
	defer w.expiry.Stop()
	return w.stream.Write(p)
}

// named is err, by the name that a passed deadline has in the standard library: some
// net.Conns have an error of their own for it.
func (w *writer) named(err error) error {
	if err == nil {
		return nil // and nothing is allocated
	}
	if !isTimeout(err) || errors.Is(err, os.ErrDeadlineExceeded) || w.deadline == 0 || w.deadline > monotonic() {
		return err
	}
	return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
}

// isLate says whether err is that of a deadline, and not of interrupt.
func (w *writer) isLate(err error) bool {
	return w.raw.isRaw() && errors.Is(err, os.ErrDeadlineExceeded) && !w.halted.Load()
}

// lastTry writes what there is room for of p, though err says that a deadline has
// passed: the system wakes a writer only when a good part of the socket's buffer is
// free, and the peer may have taken less than that.
func (w *writer) lastTry(p []byte, err error) (int, error) {
	w.deadline = 0
	if w.renew() != nil {
		return 0, err
	}
	n, failed := w.raw.write(p)
	if n == 0 {
		return 0, err
	}
	return n, failed
}

// wrote takes note of a write. It says whether to go on in spite of err: the
// deadline has passed, but the peer has taken something since it was set, and a
// TCP connection can go on from there.
func (w *writer) wrote(n int64, err error) (again bool) {
	if n > 0 {
		w.progress.Add(1)
	}
	if err == nil {
		return false
	}
	w.deadline = 0
	return n > 0 && w.isLate(err)
}

// tryWrite writes as much of p as leaves at once. Only where w.raw.isRaw.
func (w *writer) tryWrite(p []byte) (int, error) {
	if f := w.held; f != nil {
		if len(p) > heldLimit-f.n {
			return 0, nil
		}
		f.n += copy(f.octets[f.n:], p) // whoever holds frames back will write them
		return len(p), nil
	}
	n, err := w.attempt(p)
	if n > 0 {
		w.progress.Add(1)
	}
	return n, err
}

// attempt writes as much of p as leaves at once. Only where w.raw.isRaw. The deadline
// says nothing of a write that does not wait; one that has passed is set anew, and the
// clock is not looked at before.
func (w *writer) attempt(p []byte) (int, error) {
	n, err := w.raw.write(p)
	if n > 0 || !w.isLate(err) {
		return n, err
	}
	w.deadline = 0
	if err := w.renew(); err != nil {
		return 0, err
	}
	return w.raw.write(p)
}

// renew sets the deadline for the next write. It does so only where less than
// timeout is left, so that a connection that writes often pays for it rarely,
// and the deadline never comes early.
func (w *writer) renew() error {
	if w.conn == nil {
		return nil
	}
	if w.timeout > 0 {
		now := monotonic()
		if w.deadline-now >= w.timeout {
			return nil
		}
		long := w.timeout + w.timeout/2
		w.deadline = now + long
		if err := w.conn.SetWriteDeadline(time.Now().Add(long)); err != nil {
			return err
		}
		if w.expiry != nil {
			w.expiry.Reset(w.timeout)
		}
	}
	if w.halted.Load() { // between the two, the deadline of interrupt was lost
		return w.conn.SetWriteDeadline(longAgo)
	}
	return nil
}

// extend sets the deadline of a write that waits anew, from any goroutine. What deadline
// says, which is the writer's, stays: that is only earlier.
func (w *writer) extend() {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout + w.timeout/2)) // if that fails, so does the write
	if w.halted.Load() {                                                 // as in renew
		_ = w.conn.SetWriteDeadline(longAgo)
	}
}

// interrupt makes a write that waits end with os.ErrDeadlineExceeded, from any
// goroutine, until resume is called. It says whether it can do that.
func (w *writer) interrupt() bool {
	w.halted.Store(true)
	return w.conn != nil && endsBy(w.conn.SetWriteDeadline(longAgo))
}

// endsBy says whether a read or a write that goes on ends by the deadline that err is of, or
// by itself, as on a stream that is closed.
func endsBy(err error) bool {
	return err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// resume takes back an interrupt.
func (w *writer) resume() {
	if !w.halted.Load() {
		return
	}
	w.halted.Store(false)
	w.deadline = 0
	if w.conn != nil {
		_ = w.conn.SetWriteDeadline(time.Time{}) // if that fails, so does the next write
	}
}

// keyStock is how many masking keys are drawn from crypto/rand at a time.
const keyStock = 256

// keys are masking keys that were not used yet.
type keys struct {
	octets [4 * keyStock]byte
	used   int // octets
}

var keyPool = sync.Pool{New: func() any { return &keys{used: 4 * keyStock} }}

// newMaskingKey returns a key that the peer and those who make us send something
// can't predict (RFC 6455 sections 5.3 and 10.3).
func newMaskingKey() (key [4]byte) {
	k := keyPool.Get().(*keys)
	if k.used == len(k.octets) {
		_, _ = rand.Read(k.octets[:]) // never fails
		k.used = 0
	}
	key = [4]byte(k.octets[k.used:])
	k.used += 4
	keyPool.Put(k)
	return key
}
