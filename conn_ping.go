package websocket

// Pings, Pongs and keepalive (RFC 6455 sections 5.5.2 and 5.5.3).

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

const (
	// owedLimit is how many octets of control frames may wait for a peer that
	// takes nothing, or for a frame that is being written.
	owedLimit = 16 << 10
	// owedPause is how long reading makes way for a goroutine that has yet to write
	// as much, before Pongs are replaced, and owedLook is how often it looks.
	owedPause = 100 * time.Millisecond
	owedLook  = time.Millisecond
	// lookPause is how long a stream is waited for that can't be asked whether
	// octets are there.
	lookPause = 10 * time.Millisecond
)

var errSilent = fmt.Errorf("websocket: peer is silent: no octet for KeepAlive, nor for PongTimeout after a Ping: %w", os.ErrDeadlineExceeded)

// pingState is what Pings and Pongs leave behind. Guarded by Conn.mu.
type pingState struct {
	number  uint64    // of the last Ping that we have sent
	waiting *pingWait // calls of Ping, the latest first

	owed     []byte // control frames to be written: opcode, length and payload of each
	lastOwed int    // where the last Pong of them begins
	paying   bool   // a goroutine is there that writes them
	madeWay  bool   // reading has waited for room as long as it may since owed was last taken
	asking   bool   // keepalive's Ping is not written whole yet

	began    time.Duration // when keepalive's last Ping began to be written, by monotonic
	asked    time.Duration // when it was written whole; 0: none was, or octets have come meanwhile
	progress uint32        // Conn.w.progress at that time
	backlog  uint32        // what the peer had yet to acknowledge when it was judged last
	timer    *time.Timer   // for keepalive, where reads have no deadlines; else nil
	due      time.Duration // when timer fires
	late     bool          // it did so too late, and looks again
}

// pingWait is a call of Ping.
type pingWait struct {
	number uint64
	pong   chan struct{}
	at     time.Duration // when the Pong came; constant once pong is closed
	next   *pingWait
}

// Ping sends a Ping and returns the time until the Pong (RFC 6455 section 5.5.2).
// Someone has to be reading, or the Pong is never seen. If ctx ends first, the
// connection is as it was, unless the Ping could not be written whole: then that is as
// with Write. While Server.Message runs it fails with ErrEventMode, for
// the Pong could not be read.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	if c.calling.Load() {
		return 0, ErrEventMode
	}
	if err := c.lockFrame(ctx); err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.ping.number++
	w := &pingWait{number: c.ping.number, pong: make(chan struct{}), next: c.ping.waiting}
	c.ping.waiting = w
	over := c.over()
	c.mu.Unlock()
	begun := monotonic()
	p := binary.BigEndian.AppendUint64(nil, w.number)
	err := c.writeFrame(ctx, &Header{Fin: true, Opcode: OpPing}, p)
	c.unlockFrame()
	failed := err != nil
	if !failed {
		select {
		case <-w.pong:
			return w.at - begun, nil
		case <-ctx.Done():
			err = contextError("ping", ctx)
		case <-over:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping.forget(w)
	if !failed {
		if ended := c.tellLocked(); ended != nil {
			return 0, ended
		}
	}
	return 0, err
}

func (p *pingState) forget(w *pingWait) {
	for at := &p.waiting; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			return
		}
	}
}

// controlFrame handles a control frame of the peer, in the middle of a read. It
// waits for nothing, except for room among the Pongs that are owed.
func (c *Conn) controlFrame(op Opcode, payload []byte) error {
	switch op {
	case OpPing:
		c.sendControl(OpPong, payload)
	case OpPong:
		c.ponged(payload)
	case OpClose:
		closed, err := parseClosePayload(payload)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.closeRcvd = true
		c.mu.Unlock()
		return closed
	}
	return nil
}

// ponged wakes the calls of Ping that a Pong answers: that one, and those before
// it, whose Pongs the peer may have left out (RFC 6455 section 5.5.3). A Pong that
// was not asked for answers none.
func (c *Conn) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	number, now := binary.BigEndian.Uint64(payload), monotonic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if number > c.ping.number {
		return
	}
	at := &c.ping.waiting
	for *at != nil && (*at).number > number {
		at = &(*at).next
	}
	for w := *at; w != nil; w = w.next {
		w.at = now
		close(w.pong)
	}
	*at = nil
}

// sendControl writes a Ping or a Pong without waiting for the peer: at once if that is
// possible, else by a goroutine that lives until it is written.
func (c *Conn) sendControl(op Opcode, payload []byte) {
	c.mu.Lock()
	if op == OpPong && c.ping.isFull(payload) {
		c.makeWayForPongs(payload)
	}
	if c.closeSent || c.broken != nil {
		c.mu.Unlock()
		return
	}
	if op == OpPing {
		c.ping.asking, c.ping.began = true, monotonic()
	}
	if c.w.raw.isRaw() && !c.framing.held {
		c.framing.held = true
		c.mu.Unlock()
		c.tryControl(op, payload)
		return
	}
	c.ping.owe(op, payload)
	if !c.ping.paying {
		c.ping.paying = true
		var turn *waiter
		if c.framing.held {
			turn = c.framing.lineUpFirst()
		}
		c.framing.held = true
		go c.pay(turn, c.over())
	}
	c.mu.Unlock()
}

// isFull says whether a Pong with payload has no room beside those that are owed.
func (p *pingState) isFull(payload []byte) bool {
	return len(p.owed)+2+len(payload) > owedLimit
}

// makeWayForPongs waits until there is room for one with payload: a peer that takes all has
// a right to each (RFC 6455 section 5.5.2), but sends Pings faster than the goroutine comes
// to run that writes. Where that takes too long, nothing is waited for before it has. Called
// with c.mu held, which it lets go meanwhile.
func (c *Conn) makeWayForPongs(payload []byte) {
	p, begun := &c.ping, monotonic()
	for !p.madeWay && p.isFull(payload) && c.cause == nil && c.broken == nil {
		c.mu.Unlock()
		time.Sleep(owedLook)
		c.mu.Lock()
		p.madeWay = monotonic()-begun >= owedPause
	}
}

// takeOwed takes what is owed to be written.
func (p *pingState) takeOwed() (owed []byte) {
	owed, p.owed = p.owed, nil
	p.paying = len(owed) > 0
	p.madeWay = false
	return owed
}

// owe puts a control frame to those that are to be written. Where Pongs are too
// many, because the peer takes nothing, the latest is replaced (RFC 6455 section
// 5.5.3). Keepalive's Ping, of which there is one at most, goes before them.
func (p *pingState) owe(op Opcode, payload []byte) {
	at, size := len(p.owed), 2+len(payload)
	switch {
	case op == OpPing:
		at = 0
		p.lastOwed += size
	case at+size > owedLimit:
		at = p.lastOwed
		p.owed = p.owed[:at]
	default:
		p.lastOwed = at
	}
	p.owed = slices.Insert(p.owed, at, byte(op), byte(len(payload)))
	p.owed = slices.Insert(p.owed, at+2, payload...)
}

// tryControl writes a control frame with the framing turn taken. What does not
// leave at once is left, with the turn, to a goroutine.
func (c *Conn) tryControl(op Opcode, payload []byte) {
	f := plans.Get().(*plan)
	b := c.w.appendFrame(f.buf[:0], &Header{Fin: true, Opcode: op, Length: int64(len(payload))}, payload)
	n, err := c.w.tryWrite(b)
	if n == len(b) {
		if op == OpPing {
			c.asked()
		}
		c.unlockFrame()
	} else {
		rest := append([]byte(nil), b[n:]...)
		c.mu.Lock()
		c.ping.paying = true
		c.mu.Unlock()
		go func(err error) { // its own, else every Pong would allocate one
			if err == nil {
				_, err = c.w.write(rest)
			}
			c.payRest(op == OpPing, err)
		}(err)
	}
	plans.Put(f)
}

// pay waits for the framing turn, where it has to, and writes what is owed.
func (c *Conn) pay(turn *waiter, over <-chan struct{}) {
	if turn != nil && !c.awaitTurn(turn, over) {
		c.mu.Lock()
		c.framing.leave(turn)
		c.freeUnused()
		c.mu.Unlock()
		return
	}
	c.payRest(false, nil)
}

// awaitTurn waits for turn and says whether it came. Where a Close frame is about
// to leave, it does: a Ping that came before has a right to its Pong (RFC 6455
// section 5.5.2).
func (c *Conn) awaitTurn(turn *waiter, over <-chan struct{}) bool {
	select {
	case <-turn.ready:
		return true
	case <-over:
	}
	c.mu.Lock()
	cl := c.closing
	c.mu.Unlock()
	if cl == nil {
		return false
	}
	select {
	case <-turn.ready:
		return true
	case <-cl.cut:
		return false
	}
}

// payRest writes what is owed until nothing is, with the framing turn taken. err
// is that of a write before, and asked says whether that was keepalive's Ping.
func (c *Conn) payRest(asked bool, err error) {
	var b []byte
	for err == nil {
		if asked {
			c.asked()
		}
		c.mu.Lock()
		owed := c.ping.takeOwed()
		over := c.closeSent || c.broken != nil
		c.mu.Unlock()
		if len(owed) == 0 || over {
			break
		}
		b, asked = c.appendOwed(b[:0], owed)
		_, err = c.w.write(b)
	}
	if err != nil {
		c.writeLost(err)
	}
	c.unlockFrame()
}

// appendOwed appends the frames that are owed to b, and says whether keepalive's
// Ping is among them.
func (c *Conn) appendOwed(b, owed []byte) (frames []byte, asked bool) {
	for len(owed) > 0 {
		op, n := Opcode(owed[0]), int(owed[1])
		b = c.w.appendFrame(b, &Header{Fin: true, Opcode: op, Length: int64(n)}, owed[2:2+n])
		asked = asked || op == OpPing
		owed = owed[2+n:]
	}
	return b, asked
}

// asked takes note that keepalive's Ping was written whole. The framing turn is taken.
func (c *Conn) asked() {
	if c.deflater != nil {
		c.deflater.rest()
	}
	c.mu.Lock()
	c.ping.asking, c.ping.asked, c.ping.progress = false, monotonic(), c.w.progress.Load()
	if c.r.src.lastOctet() >= c.ping.began { // that may be the Pong already, so wait for nothing
		c.ping.asked = 0
	}
	c.mu.Unlock()
}

// startTimers makes the timers that a stream needs which is no socket, or has no
// deadlines at all.
func (c *Conn) startTimers() {
	if c.limits.writeTimeout > 0 && !c.w.raw.isRaw() {
		expire := func() { c.cut(tookNothing(os.ErrDeadlineExceeded)) }
		if c.conn != nil {
			var seen backlogSeen
			expire = func() { c.lookAtWrite(&seen) }
		}
		c.w.expiry = time.AfterFunc(math.MaxInt64, expire)
		c.w.expiry.Stop() // until something is written
	}
	if c.conn == nil && c.limits.keepAlive > 0 {
		c.mu.Lock()
		c.ping.due = monotonic() + c.limits.keepAlive
		c.ping.timer = time.AfterFunc(c.limits.keepAlive, c.tick)
		c.mu.Unlock()
	}
}

// backlogSeen is what a look at a write that waits has found. Guarded by Conn.mu.
type backlogSeen struct {
	progress uint32 // Conn.w.progress
	octets   uint32 // that the peer had yet to acknowledge; 0: not known
}

// lookAtWrite is called when timeout/2 is left of the deadline for writing, and then while
// something is written every timeout/8. If the peer has acknowledged octets since the last
// look, or may have before the first, the deadline is set anew: TLS can't go on from one
// that has passed, and a writer is not woken for few octets. Nor is a deadline left behind
// that would pass while a Read may write as well: crypto/tls answers a KeyUpdate there
// (RFC 8446 section 4.6.3), and after a deadline nothing can be written. Before and after
// each write that would cost much.
func (c *Conn) lookAtWrite(seen *backlogSeen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cutOff:
	case c.framing.held:
		now := backlogSeen{c.w.progress.Load(), backlog(c.conn)}
		first := seen.octets == 0 || seen.progress != now.progress
		if now.octets > 0 && (first || now.octets < seen.octets) && !isOutOfReach(c.conn) {
			c.w.extend()
		}
		*seen = now
		c.w.expiry.Reset(c.w.timeout / 8)
	default:
		*seen = backlogSeen{}
		c.w.clear()
	}
}

// tick is keepalive where a read can't be woken: it takes the time of the last
// octet for the whole truth.
func (c *Conn) tick() {
	now := monotonic()
	c.mu.Lock()
	waiting, over := c.reading.held && !c.calling.Load(), c.cause != nil // while Message runs, nobody reads
	late := now-c.ping.due > lookPause && !c.ping.late                   // this process did not run: octets may be there by now
	c.ping.late = late
	c.mu.Unlock()
	if over {
		return
	}
	next := now + c.limits.keepAlive
	switch {
	case !waiting:
	case late:
		next = now + lookPause
	default:
		var err error
		if next, err = c.probe(now); err != nil {
			if err != errSilent {
				err = &streamEnded{err}
			}
			c.cut(err) // the read that waits gets it
			return
		}
	}
	c.mu.Lock()
	if c.cause == nil {
		c.ping.due = next
		c.ping.timer.Reset(next - now)
	}
	c.mu.Unlock()
}

// startWaiting makes a read wake up when keepalive is due, by its deadline. It
// costs nothing as long as a deadline of an earlier read is set.
func (c *Conn) startWaiting() {
	if c.limits.keepAlive <= 0 || c.conn == nil {
		return
	}
	c.r.src.raw.noWait = false // keepAlive's look at the socket is over, whatever it has found
	if c.readDeadline == 0 {
		c.wakeAt(c.r.src.lastOctet() + c.limits.keepAlive)
	}
}

// wakeAt sets the read deadline, unless the read has been stopped.
func (c *Conn) wakeAt(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = at
	if !c.readStopped {
		_ = c.conn.SetReadDeadline(time.Now().Add(at - monotonic())) // if that fails, so does reading
	}
}

// clearReadDeadline lets reads wait for ever. Called with c.mu held and the
// reading turn taken.
func (c *Conn) clearReadDeadline() {
	c.readStopped, c.readDeadline = false, 0
	if c.conn != nil {
		_ = c.conn.SetReadDeadline(time.Time{}) // if that fails, so does reading
	}
}

// dropReadDeadline is clearReadDeadline, unless the read has been stopped: then
// unlockRead does it. Called without c.mu.
func (c *Conn) dropReadDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readStopped {
		c.clearReadDeadline()
	}
}

// keepAlive is called by a read whose deadline has passed, or that has seen that
// nothing is there. It sends a Ping if one is due, and has errSilent if the peer
// has not answered one. A deadline may have passed long before the read began, or
// before it was noticed, with octets waiting, so only an empty stream counts.
func (c *Conn) keepAlive(empty bool) error {
	now := monotonic()
	switch {
	case c.limits.keepAlive <= 0: // somebody else has set a deadline
		c.dropReadDeadline()
		return nil
	case empty:
		c.r.src.raw.noWait = false
	case c.r.src.raw.isRaw():
		c.r.src.raw.noWait = true
		c.r.src.raw.rearm()
		c.wakeAt(now + c.limits.keepAlive)
		return nil
	case c.readDeadline <= c.r.src.began,
		now-c.readDeadline > lookPause && c.readDeadline-c.r.src.began > lookPause: // this process did not run when it passed
		c.r.src.began = now
		c.wakeAt(now + lookPause)
		return nil
	}
	next, err := c.probe(now)
	if err == nil {
		c.wakeAt(next)
	}
	return err
}

// probe judges a peer from whom nothing is there to be read, and sends it a Ping if one
// is due. It returns when to look again.
func (c *Conn) probe(now time.Duration) (next time.Duration, err error) {
	number, next, err := c.judgePeer(now)
	if number > 0 {
		c.sendControl(OpPing, binary.BigEndian.AppendUint64(nil, number))
	}
	return next, err
}

// judgePeer has errSilent if the peer has not answered a Ping in time, else it says when
// to look again. number is that of the Ping to be sent, 0 where none is due.
func (c *Conn) judgePeer(now time.Duration) (number uint64, next time.Duration, err error) {
	last, outOfReach, behind := c.r.src.lastOctet(), isOutOfReach(c.conn), backlog(c.conn)
	pause, patience := c.limits.keepAlive, c.limits.pongTimeout
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.ping
	progress := c.w.progress.Load()
	// Octets that came while the Ping was being written may be its Pong: they are
	// noted a little later than they come, and so may be asked.
	unanswered := p.asked > 0 && p.began > last
	if unanswered && (p.progress != progress || behind < p.backlog) && !outOfReach {
		p.asked, p.progress = now, progress // the peer takes octets, so it is there
	}
	p.backlog = behind
	switch {
	case now < last+pause:
		return 0, last + pause, nil
	case c.broken != nil: // and nobody has found out why
		return 0, 0, c.broken
	case p.asking: // WriteTimeout watches over that
		return 0, now + pause, nil
	case unanswered && patience > 0 && now < p.asked+patience:
		return 0, min(p.asked+patience, now+pause), nil // the Pong may come late, and the next Ping be due
	case unanswered && patience > 0:
		return 0, 0, errSilent
	case unanswered && now < p.asked+pause:
		return 0, p.asked + pause, nil
	}
	p.number++
	if patience > 0 { // but if the Pong comes, the next Ping may be due before that
		return p.number, now + min(patience, pause), nil
	}
	return p.number, now + pause, nil
}
