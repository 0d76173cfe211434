package websocket

// A connection: what it consists of, and whole messages, read and written. Messages in
// pieces are in conn_stream.go, queued ones in conn_queue.go, turns and contexts in
// conn_turn.go, Ping, Pong and keepalive in conn_ping.go, and what ends a connection is
// in conn_close.go.

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a WebSocket connection (RFC 6455). Every method may be called from any
// goroutine at any time: readers take turns, and each message goes to one of
// them; writers take turns, and each message leaves whole.
//
// Someone has to read, or Pings are not answered and the peer's Close is not
// seen: where no data is expected, CloseRead does that. A connection must be
// ended by Close or CloseNow, unless a Read has reported its end. A Write that has
// failed may leave it to be read: what has arrived is not lost. The zero Conn is none.
type Conn struct {
	// mu guards facts and is never held across I/O. What is held across I/O are
	// turns: reading (of octets), sending (of a message) and framing (writing
	// frames), which are taken in that order, each for as long as it is needed:
	// a Ping is answered between two fragments, by taking framing only. The
	// reader never waits for framing. Facts are stored (Close was sent, the
	// cause of the end), phases are derived from them. Fields without a guard
	// are constant or atomic; so are some of r and w, whoever has the turn.
	mu      sync.Mutex
	calling atomic.Bool // in event mode: the function runs; next to mu for fetch
	reading turn
	sending turn
	framing turn

	rwc    io.ReadWriteCloser
	conn   net.Conn // rwc, if it has deadlines; else nil
	limits *limits
	r      reader // guarded by reading
	w      writer // guarded by framing; where nobody has it, by mu

	cause     error    // why the connection is over; nil while it is not; guarded by mu
	broken    error    // why nothing can be written any more; nil while it can; guarded by mu
	closing   *closing // nil until the end has begun; guarded by mu
	told      bool     // a call has returned cause; guarded by mu
	closeSent bool     // nothing may be written any more; guarded by mu
	closeRcvd bool     // nothing may be read any more; guarded by mu
	cutOff    bool     // rwc was closed; guarded by mu

	proclaimed   bool          // all who wait were told that it is over, or are being told; guarded by mu
	life         *life         // made on first use; guarded by mu
	readWatch    *contextWatch // the context of the last read that had one; guarded by mu
	writeWatch   *contextWatch // the same of writes; guarded by mu
	readStopped  bool          // the read deadline was set to end a read; guarded by mu
	readIsClosed bool          // CloseRead was called; guarded by mu

	readDeadline time.Duration  // that wakes a read for keepalive, by monotonic; 0: none; guarded by reading
	openReader   *MessageReader // that has the open message; guarded by reading
	unheard      bool           // whoever reads is no call, and can't be told what it comes to: the next call is; guarded by reading
	strange      uint8          // reads in a row that have ended at a deadline that is none of ours; guarded by reading

	ping pingState // guarded by mu

	queue        queue      // guarded by mu
	drains       drainState // of queue; guarded by mu
	queueWriting bool       // the frames being written are of queue; guarded by mu
	spared       uint8      // how often Broadcast has spared it since nothing waited, see mostSpared; guarded by mu
	deflater     *deflater  // made on first use; guarded by framing
	fragmenting  bool       // a MessageWriter has begun a message; guarded by framing

	served    bool  // a Server has it; guarded by mu
	eventMode bool  // messages go to a function; guarded by mu
	woken     waker // is told when the connection is over, perhaps twice, or somebody else has read; nil: nobody is; guarded by mu

	openWriter  *MessageWriter // that has the turn for sending; nil: none; guarded by mu
	sent        uint32         // counts what MessageWriters have written; guarded by mu
	subprotocol string
	ends        *ends // where conn is nil; else nil
	value       any   // guarded by mu
}

// waker is who wants to know what happens to a connection. An interface holds it, as it
// does the controlHandler, without the allocation that a method as a function costs.
type waker interface{ wake() }

// ends are the addresses of a stream that does not know them.
type ends struct{ remote, local net.Addr }

// limits are what a connection may cost: Options, resolved. Shared by
// connections, so constant.
type limits struct {
	readLimit    int64         // octets of a message
	maxFragments int           // frames of a message
	writeTimeout time.Duration // 0: none; so for all that follow
	closeTimeout time.Duration
	keepAlive    time.Duration
	pongTimeout  time.Duration
	sendLimit    int64 // octets that may be queued
}

// config is what a connection is made of.
type config struct {
	rwc         io.ReadWriteCloser // after the opening handshake; a net.Conn where there is one
	client      bool
	ahead       []byte // octets that came right behind the handshake
	subprotocol string
	limits      *limits
	deflate     *deflateParams // nil: no compression was agreed
	remote      net.Addr       // where rwc is no net.Conn
	local       net.Addr
}

func newConn(cfg config) *Conn {
	c := &Conn{
		rwc:         cfg.rwc,
		limits:      cfg.limits,
		subprotocol: cfg.subprotocol,
	}
	if c.conn, _ = cfg.rwc.(net.Conn); c.conn == nil {
		c.ends = &ends{cfg.remote, cfg.local}
	}
	c.r.init(cfg.rwc, cfg.ahead)
	if !c.r.src.raw.isRaw() {
		c.r.src.stream = below{c.r.src.stream}
	}
	c.r.control = c
	c.r.limit.Store(cfg.limits.readLimit)
	c.r.frames, c.r.deflate = cfg.limits.maxFragments, cfg.deflate
	c.r.seq = sequence{masked: !cfg.client, deflate: cfg.deflate != nil}
	c.r.src.last.Store(int64(monotonic()))
	c.w.init(cfg.rwc, &c.r.src.raw)
	c.w.client, c.w.timeout = cfg.client, cfg.limits.writeTimeout
	c.startTimers()
	return c
}

var (
	// ErrReaderOpen says that a MessageReader has delivered octets of a message
	// whose end it has not reached: the message can be finished only by it. Read
	// it to io.EOF, or call its Discard.
	ErrReaderOpen = errors.New("websocket: a MessageReader has begun this message: read it to io.EOF or call its Discard")

	// ErrEventMode says that the connection's messages go to Server.Message, so that
	// they can't be read otherwise; and that, while Message runs, there can be no
	// waiting for the connection, such as Ping does.
	ErrEventMode = errors.New("websocket: messages of this connection go to Server.Message")

	errReadClosed = errors.New("websocket: CloseRead was called, so nothing can be read")
	errNilContext = errors.New("websocket: nil context: pass context.Background()")
)

// Message is a whole message.
type Message struct {
	Type MessageType
	Data []byte
}

// Read returns the next message whole, in a slice of its own. It answers Pings
// and the peer's Close on the way (RFC 6455 section 6.2).
//
// If ctx ends first, the error is errors.Is(err, ctx.Err()), and nothing is lost:
// the next read goes on in the middle of the message. (Only a stream without
// deadlines, such as HTTP/2, is closed by that.) Every other error means that the
// connection is over: a *CloseError where the peer has closed it, a *ProtocolError
// where it broke a rule, ErrTooBig, io.ErrUnexpectedEOF where the stream ended
// without a Close frame, os.ErrDeadlineExceeded where the peer was silent for too
// long, and net.ErrClosed after a Close of our own. The exceptions say that this is
// not the way to read it: ErrReaderOpen, ErrEventMode, a nil context, and what a read
// gets after CloseRead.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.ReadAppend(ctx, nil)
}

// ReadAppend is Read, but appends the message to b. It allocates nothing where the
// message fits behind len(b), unless it is compressed and comes in pieces. On error it
// returns b as it was.
func (c *Conn) ReadAppend(ctx context.Context, b []byte) (MessageType, []byte, error) {
	if err := c.lockRead(ctx); err != nil {
		return 0, b, err
	}
	if err := c.await(ctx); err != nil {
		c.unlockRead()
		return 0, b, err
	}
	typ, out, err := c.readMessage(ctx, b)
	if closed := c.unlockRead(); closed && err == nil {
		return 0, b, c.tell()
	}
	return typ, out, err
}

// await makes the open message, if there is one, the caller's, and waits until
// there is something to be parsed. Reading would wait as well, but deeper down: a
// goroutine that has done nothing but wait here has the smallest stack there is.
func (c *Conn) await(ctx context.Context) error {
	if err := c.takeOver(); err != nil {
		return err
	}
	for {
		err := c.r.await()
		if err == nil {
			return nil
		}
		if err = c.readPaused(ctx, err); err != nil {
			return err
		}
	}
}

// readMessage reads a message with the reading turn taken.
func (c *Conn) readMessage(ctx context.Context, b []byte) (MessageType, []byte, error) {
	out := b
	for {
		typ, err := c.r.next()
		if err == nil {
			out, err = c.r.appendMessage(out)
		}
		if err == nil {
			return typ, out, nil
		}
		if err = c.readPaused(ctx, err); err != nil {
			c.keep(b, out)
			return 0, b, err
		}
	}
}

// keep keeps the octets that an interrupted read has put behind b for the next
// read. Where b has no memory of its own, they stay where they are.
func (c *Conn) keep(b, out []byte) {
	switch p := out[len(b):]; {
	case len(p) == 0:
	case cap(b) == 0:
		c.r.save(p)
	default:
		c.r.save(slices.Clone(p))
	}
}

// takeOver makes the open message, if there is one, the caller's. Of a message
// of which its MessageReader has delivered nothing yet, nothing would be missing.
func (c *Conn) takeOver() error {
	if m := c.openReader; m != nil {
		if m.delivered {
			return ErrReaderOpen
		}
		c.openReader = nil
	}
	return nil
}

// Messages iterates over the messages that arrive, each in a slice of its own.
// The last pair has an error, as Read would return it, and no message. Leaving
// the loop early leaves the connection open.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			typ, data, err := c.Read(ctx)
			if !yield(Message{typ, data}, err) || err != nil {
				return
			}
		}
	}
}

// readPaused is what an error of the reader comes to: nil to go on reading.
func (c *Conn) readPaused(ctx context.Context, err error) error {
	waited := c.isLate(err)
	if !waited && err != errWouldBlock {
		return c.readFailed(err)
	}
	c.mu.Lock()
	stopped := c.readStopped
	ended := c.tellReader()
	c.mu.Unlock()
	switch {
	case ended != nil:
		return ended
	case stopped:
		return contextError("read", ctx)
	}
	if waited && c.isStuck() {
		return c.readFailed(err)
	}
	if err := c.keepAlive(!waited); err != nil {
		return c.readFailed(err)
	}
	return nil
}

// isStuck says whether reads end again and again at a deadline that is none of ours, or
// was taken off: not all streams get over one that has passed, as TLS does not before the
// end of its handshake. The reading turn is taken.
func (c *Conn) isStuck() bool {
	if c.w.raw.isRaw() || c.readDeadline > 0 && c.readDeadline <= monotonic() {
		c.strange = 0
		return false
	}
	c.strange++
	return c.strange > maxEmptyReads
}

// isLate says whether err of a read is that of a deadline of ours. Some net.Conns have
// an error of their own for that; so has a network that has given up, and then no
// deadline has passed.
func (c *Conn) isLate(err error) bool {
	switch {
	case c.conn == nil:
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case c.w.raw.isRaw() || !isTimeout(err):
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readStopped || c.readDeadline > 0 && c.readDeadline <= monotonic()
}

// Write sends data as one message in one frame (RFC 6455 section 5.6). It returns
// once all of it was given to the network; data is not kept and not changed. What
// was queued by Send before goes first.
//
// If ctx ends while Write waits for its turn, or on TCP before the first octet is
// out, the error is errors.Is(err, ctx.Err()) and the connection is as it was;
// later, the connection ends. A peer that takes nothing for Options.WriteTimeout
// ends it too, with os.ErrDeadlineExceeded. A Write that has waited as long for a
// MessageWriter that wrote nothing meanwhile fails, and the connection is as it was.
// Text that is not UTF-8 is an error, and nothing is sent.
//
// While Server.Message is called, nil may mean only that data, or the end of it, is to
// leave with the answers to the messages that came together with this one: if it can't,
// Server.Closed is told.
func (c *Conn) Write(ctx context.Context, typ MessageType, data []byte) error {
	if err := checkMessage(typ, data); err != nil {
		return err
	}
	if c.w.corked.Load() && c.holdBack(ctx, typ, data) {
		return nil
	}
	o, err := c.lockMessage(ctx, typ, data)
	switch {
	case err != nil:
		return err
	case o == nil:
		err = c.writeMessage(ctx, typ, data)
	case o.state == offerOut:
		return nil
	default:
		err = c.writeRest(ctx, o.rest)
	}
	c.unlockMessage()
	return err
}

// writeMessage writes a message in one frame with the framing turn taken.
func (c *Conn) writeMessage(ctx context.Context, typ MessageType, data []byte) error {
	h := Header{Fin: true, Opcode: Opcode(typ)}
	out := c.compress(&h, data)
	err := c.writeFrame(ctx, &h, out.octets)
	if err != nil && h.Rsv1 {
		c.deflater.forget() // the peer did not get what the window is made of
	}
	out.free()
	return err
}

// writeFrame writes a frame with the framing turn taken. What leaves at once leaves before
// anything is registered with ctx, which costs a good part of a short write.
func (c *Conn) writeFrame(ctx context.Context, h *Header, p []byte) error {
	h.Length = int64(len(p))
	if n, err := c.w.frame(h, p, func() { c.heed(ctx) }); err != nil {
		return c.writeFailed(ctx, n > 0, err)
	}
	return nil
}

// outgoing is a payload as it leaves.
type outgoing struct {
	octets []byte
	buf    *[]byte // of the pool, where octets were compressed; else nil
}

var outputs = sync.Pool{New: func() any { return new([]byte) }}

// maxPooledOutput is how many octets a buffer may have that is kept for others.
const maxPooledOutput = 1 << 20

func (o outgoing) free() {
	if o.buf != nil && cap(*o.buf) <= maxPooledOutput {
		outputs.Put(o.buf)
	}
}

// compress makes the payload of a message's only frame, compressed where that was
// agreed and pays. The framing turn is taken, so that messages are compressed in
// the order in which they leave (RFC 7692 section 7.2.1), those of Close too.
func (c *Conn) compress(h *Header, p []byte) outgoing {
	if !c.r.deflate.compresses(p) {
		return outgoing{octets: p}
	}
	buf := outputs.Get().(*[]byte)
	b, ok := c.ownDeflater().message((*buf)[:0], p)
	*buf = b[:0]
	if !ok {
		outgoing{buf: buf}.free()
		return outgoing{octets: p}
	}
	h.Rsv1 = true
	return outgoing{b, buf}
}

// ownDeflater makes the deflater on first use. The framing turn is taken.
func (c *Conn) ownDeflater() *deflater {
	if c.deflater == nil {
		c.deflater = newDeflater(c.r.deflate)
	}
	return c.deflater
}

// Context returns a context that ends when the connection is over, which may be a moment
// after calls have failed; context.Cause then says why. The closing handshake may still go
// on: Close waits for that. Where nobody reads, or Server.Message has not returned, a peer
// that went away is not noticed. It has no values and no deadline.
func (c *Conn) Context() context.Context { return (*connContext)(c) }

// SetReadLimit sets how many octets a message may have after decompression, from
// the next frame on that is read; a compressed message that is being read heeds it at
// once. n <= 0 means no limit. The default is Options.ReadLimit.
func (c *Conn) SetReadLimit(n int64) {
	if n <= 0 {
		n = math.MaxInt
	}
	n = min(n, math.MaxInt) // what a slice can hold, where int has 32 bits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil { // else what still comes is discarded, whatever its size
		c.r.limit.Store(n)
	}
}

// Subprotocol returns the subprotocol that was agreed, or "" (RFC 6455 section 1.9).
func (c *Conn) Subprotocol() string { return c.subprotocol }

// RemoteAddr returns the peer's address, or nil where it is not known.
func (c *Conn) RemoteAddr() net.Addr {
	if c.conn != nil {
		return c.conn.RemoteAddr()
	}
	return c.ends.remote
}

// LocalAddr returns our own address, or nil where it is not known.
func (c *Conn) LocalAddr() net.Addr {
	if c.conn != nil {
		return c.conn.LocalAddr()
	}
	return c.ends.local
}

// Underlying returns the connection below, for its TLS state and socket options.
// Reading, writing, deadlines, closing and SO_RCVLOWAT are ours. It is nil where there
// is no net.Conn, as over HTTP/2.
func (c *Conn) Underlying() net.Conn { return c.conn }

// SetValue keeps v with the connection, for the application.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	c.value = v
	c.mu.Unlock()
}

// Value returns what SetValue was last given, or nil.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}
