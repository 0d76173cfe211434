package websocket

// permessage-deflate, second half (RFC 7692 sections 6 and 7.2): messages to compressed payloads and back, one deflater
// and one inflater for the two directions of a connection. compress/flate does all of DEFLATE. Nothing here locks: each
// is used by one goroutine at a time.

import (
	"compress/flate"
	"errors"
	"io"
	"math"
	"sync"
)

// maxWindow is the greatest LZ77 window, in octets.
const maxWindow = 1 << maxWindowBits

// flushTail ends every flushed piece of a DEFLATE stream: length and complement of an empty stored block. The one at a
// message's end is not sent (RFC 7692 section 7.2.1).
const flushTail = "\x00\x00\xff\xff"

var (
	errDeflateCorrupt   = violation(StatusInvalidFramePayloadData, "RFC 7692 7.2.2", "compressed message is not valid DEFLATE data")
	errDeflateTruncated = violation(StatusInvalidFramePayloadData, "RFC 7692 7.2.1", "compressed message ends inside a DEFLATE block")

	errNoGain    = errors.New("websocket: compressed form is not shorter")
	errMoreInput = errors.New("websocket: compressed message goes on in octets that are not here")
	errEnded     = errors.New("websocket: compressed message has ended")
	errStopped   = errors.New("websocket: compressed message given up")
)

// deflater compresses the messages that one endpoint sends.
type deflater struct {
	p    *deflateParams
	c    *compressor // with takeover kept from message to message, else only inside one; nil: the window is empty
	used int         // octets compressed since the window was empty; counts where it is smaller than compress/flate's
	idle bool        // nothing was compressed since rest was called
}

// compressor is a flate.Writer and where its output goes.
type compressor struct {
	flate *flate.Writer
	out   []byte
	limit int // longest that out may become
}

// compressors holds idle compressors, for each level from flate.HuffmanOnly on. Level 1 weighs 1.2 MiB, the others 0.8
// MiB.
var compressors [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool

// Write is called by flate.Writer.
func (c *compressor) Write(p []byte) (int, error) {
	if len(p) > c.limit-len(c.out) {
		return 0, errNoGain
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func newDeflater(p *deflateParams) *deflater {
	return &deflater{p: p}
}

// message appends the compressed form of a whole message to dst. It reports false when the message is to be sent as it
// is, because it is shorter than the threshold or did not shrink; then dst is as it was.
func (d *deflater) message(dst, p []byte) ([]byte, bool) {
	if !d.p.compresses(p) {
		return dst, false
	}
	// Of the output flushTail is not sent, and what is sent must be shorter than p.
	out, err := d.compress(dst, p, len(p)-1+len(flushTail))
	if err != nil {
		d.forget()
		return dst, false
	}
	d.endMessage()
	return out[:len(out)-len(flushTail)], true
}

// write appends the compressed form of the next octets of a streamed message to dst. A peer that has got it can inflate
// all of p.
func (d *deflater) write(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	out, err := d.compress(dst, p, math.MaxInt-len(dst))
	if err != nil {
		panic("BUG: compressing without a limit failed: " + err.Error())
	}
	return out
}

// end appends the end of a streamed message to dst: what was written is flushed, so this is an empty block without its
// flushTail (RFC 7692 section 7.2.3.6).
func (d *deflater) end(dst []byte) []byte {
	d.endMessage()
	return append(dst, 0)
}

// forget empties the window. It must follow a message that was compressed and not sent, since the peer's window will
// not hold it.
func (d *deflater) forget() {
	if d.c != nil {
		compressors[d.p.level-flate.HuffmanOnly].Put(d.c)
		d.c = nil
	}
}

// rest empties the window if nothing was compressed since it was called before, even in the middle of a message: a
// sender need not refer to what the peer remembers.
func (d *deflater) rest() {
	if d.idle {
		d.forget()
	}
	d.idle = true
}

// endMessage keeps the window for the next message only if that was agreed.
func (d *deflater) endMessage() {
	if !d.p.sendTakeover {
		d.forget()
	}
}

// compress appends the compressed and flushed form of p to dst, at most limit octets of it, or fails with errNoGain.
func (d *deflater) compress(dst, p []byte, limit int) ([]byte, error) {
	if d.c == nil {
		d.c, d.used = borrowCompressor(d.p.level), 0
	}
	d.c.out, d.c.limit, d.idle = dst, len(dst)+limit, false
	var err error
	for len(p) > 0 && err == nil {
		n := d.fit(len(p))
		if _, err = d.c.flate.Write(p[:n]); err == nil {
			err = d.c.flate.Flush()
		}
		p = p[n:]
	}
	out := d.c.out
	d.c.out = nil
	return out, err
}

// fit returns how many of n octets may be compressed in one go. compress/flate always uses the greatest window; where a
// smaller one was agreed (RFC 7692 section 7.1.2), it is emptied before more octets have gone in than that holds, so
// that no match reaches back further.
func (d *deflater) fit(n int) int {
	window := math.MaxInt
	if d.p.sendBits < maxWindowBits {
		window = 1 << d.p.sendBits
	}
	if d.used > 0 && n > window-d.used {
		d.c.flate.Reset(d.c)
		d.used = 0
	}
	n = min(n, window)
	d.used += n
	return n
}

// borrowCompressor takes a compressor with an empty window.
func borrowCompressor(level int) *compressor {
	c, ok := compressors[level-flate.HuffmanOnly].Get().(*compressor)
	if ok {
		c.flate.Reset(c)
		return c
	}
	c = new(compressor)
	var err error
	if c.flate, err = flate.NewWriter(c, level); err != nil {
		panic("BUG: " + err.Error())
	}
	return c
}

// inflater inflates the messages that one endpoint receives. It is fed a message's payload in any pieces and asked for
// octets of the message; either may end anywhere.
type inflater struct {
	p       *deflateParams
	window  []byte     // with takeover the end of the messages so far, at most what the peer's window holds
	octets  int64      // of the payloads of the message's frames so far
	patient bool       // nobody wants a part of the message: until patience is over its payload is held
	held    []byte     // the payload so far
	m       *inflation // the message that is being inflated; nil between messages and while all of it is held
	turns   *turns     // the goroutine of m, if it has one
}

// patience is how many octets of a payload are held before inflating begins, where that may wait. Inflating takes 120
// KiB, which a peer would get for one octet otherwise; and most messages that come in pieces need no goroutine then.
const patience = 16 << 10

func newInflater(p *deflateParams) *inflater {
	return &inflater{p: p}
}

// feed gives the next octets of a message's compressed payload. p is used until read asks for more. final says that they
// are the last.
func (f *inflater) feed(p []byte, final bool) {
	switch {
	case f.m != nil:
		f.m.src.feed(p, final)
	case !final && (len(p) == 0 || f.patient && len(f.held)+len(p) < patience):
		f.held = append(f.held, p...)
	case len(f.held) > 0:
		f.begin(append(f.held, p...), final)
	default:
		f.begin(p, final)
	}
}

// begin makes p the beginning of a message that is inflated from now on.
func (f *inflater) begin(p []byte, final bool) {
	f.held = nil
	f.m = borrowInflation(f.window)
	f.m.src.feed(p, final)
}

// read gives up to len(p) octets of the message, at least one if p has room. Without any the error says why:
// errMoreInput, and feed must follow; io.EOF, the message is over; a *ProtocolError with 1007, it can't be inflated.
func (f *inflater) read(p []byte) (int, error) {
	if f.m == nil {
		if len(f.held) == 0 || f.patient {
			return 0, errMoreInput
		}
		f.begin(f.held, false)
	}
	for f.m.taken == f.m.end {
		err := f.inflate()
		if err == errMoreInput {
			return 0, err
		}
		if err != nil {
			return 0, f.endMessage(err)
		}
	}
	n := copy(p, f.m.out[f.m.taken:f.m.end])
	f.m.taken += n
	return n, nil
}

// stop gives up a message in its middle, if one is there, and all that it holds. No message can follow.
func (f *inflater) stop() {
	f.held = nil
	if f.m != nil {
		_ = f.endMessage(errStopped)
	}
}

// inflate goes on with the message: here, if all of it was there from the start, else in a goroutine, since
// compress/flate can't be suspended otherwise.
func (f *inflater) inflate() error {
	if f.turns == nil {
		if f.m.src.final {
			return f.m.inflate()
		}
		f.turns = &turns{there: make(chan struct{}), back: make(chan error)}
		f.m.src.turns = f.turns
		go f.m.run(f.turns)
	}
	return f.turns.give()
}

// endMessage frees what the message holds, and keeps its window if that was agreed. It returns its argument.
func (f *inflater) endMessage(err error) error {
	if f.turns != nil {
		f.turns.end()
		f.turns = nil
	}
	if err == io.EOF && f.p.receiveTakeover {
		f.window = slide(f.window[:len(f.m.before)], f.m.out[:f.m.end], 1<<f.p.receiveBits)
	}
	f.m.src, f.m.before, f.m.end, f.m.taken = payloadSource{}, nil, 0, 0
	inflations.Put(f.m)
	f.m = nil
	return err
}

// slide appends p to a window of at most size octets, which loses its beginning. It grows only as it fills.
func slide(window, p []byte, size int) []byte {
	p = p[max(0, len(p)-size):]
	if lost := len(window) + len(p) - size; lost > 0 {
		window = window[:copy(window, window[lost:])]
	}
	if need := len(window) + len(p); need > cap(window) {
		grown := make([]byte, len(window), min(size, max(need, 2*cap(window))))
		copy(grown, window)
		window = grown
	}
	return append(window, p...)
}

// inflation inflates one message.
type inflation struct {
	src    payloadSource
	flate  io.Reader           // also a flate.Resetter
	out    [2 * maxWindow]byte // out[:end] ends with what was inflated last, as much as the greatest window holds or all there was
	end    int
	taken  int    // out[taken:end] was not read yet
	before []byte // the window before this message, as long as out[:end] does not begin with it
}

// inflations holds idle inflations of about 110 KiB.
var inflations sync.Pool

// borrowInflation takes an inflation for a message that begins with window.
func borrowInflation(window []byte) *inflation {
	m, ok := inflations.Get().(*inflation)
	if !ok {
		m = new(inflation)
		m.flate = flate.NewReader(&m.src)
	}
	m.before = window
	m.reset(window)
	return m
}

// reset begins a DEFLATE stream.
func (m *inflation) reset(window []byte) {
	if err := m.flate.(flate.Resetter).Reset(&m.src, window); err != nil {
		panic("BUG: " + err.Error())
	}
}

// inflate adds to out, unless there is an error or nothing came out yet. It must be called only when all of out was
// read.
func (m *inflation) inflate() error {
	if m.end > maxWindow {
		m.end = copy(m.out[:], m.out[m.end-maxWindow:m.end])
		m.taken = m.end
	}
	n, err := m.flate.Read(m.out[m.end:])
	m.end += n
	switch {
	case n > 0 || err == nil: // an error comes again
		return nil
	case err == io.EOF:
		m.restart()
		return nil
	case err == errEnded, err == io.ErrUnexpectedEOF && !asksForLengthByRead() && !m.src.takenByRead():
		return io.EOF
	case err == io.ErrUnexpectedEOF:
		return errDeflateTruncated
	case err == errStopped:
		return err
	default:
		return errDeflateCorrupt
	}
}

// restart goes on behind a block with BFINAL set: a new DEFLATE stream begins, with the same window (RFC 7692 section
// 7.2.3.4).
func (m *inflation) restart() {
	n := min(len(m.before), max(0, maxWindow-m.end))
	copy(m.out[n:], m.out[:m.end])
	copy(m.out[:n], m.before[len(m.before)-n:])
	m.end += n
	m.taken, m.before = m.end, nil
	m.reset(m.out[max(0, m.end-maxWindow):m.end])
}

// run inflates in a goroutine of its own, when it has the turn.
func (m *inflation) run(t *turns) {
	defer close(t.back)
	for range t.there {
		t.back <- m.inflate()
	}
}

// turns lets one goroutine use what another one uses, by turns. It is made for one message, and only where that comes
// in pieces.
type turns struct {
	there chan struct{} // gives the turn to the message's goroutine; closed: it has to end
	back  chan error    // gives it back with the reason; closed: the goroutine has ended
}

// give lets the goroutine inflate, and waits until it has some or needs something.
func (t *turns) give() error {
	t.there <- struct{}{}
	return <-t.back
}

// giveBack asks for more input, from inside the goroutine, and waits for it.
func (t *turns) giveBack() error {
	t.back <- errMoreInput
	if _, ok := <-t.there; !ok {
		return errStopped
	}
	return nil
}

// end waits until the goroutine has ended.
func (t *turns) end() {
	close(t.there)
	for range t.back {
	}
}

// payloadSource is where compress/flate takes a message's compressed octets from, never more than it needs.
//
// It also tells a message that is whole from one that was cut. A sender leaves out length and complement of the empty
// stored block at the end (RFC 7692 section 7.2.1), so a whole message ends where compress/flate, having taken the
// block's type as bits, asks for these four octets. It asks for bits by ReadByte and for lengths and the octets of
// stored blocks by Read.
type payloadSource struct {
	p      []byte
	taken  int    // octets of p
	byRead int    // how many were taken when Read last took some
	final  bool   // nothing comes behind p
	turns  *turns // who brings more, if not final
}

// feed puts p behind what was taken.
func (s *payloadSource) feed(p []byte, final bool) {
	if len(p) > 0 {
		s.p, s.taken, s.byRead = p, 0, 0
	}
	s.final = final
}

// empty reports whether all octets were taken.
func (s *payloadSource) empty() bool {
	return s.taken == len(s.p)
}

// takenByRead reports whether Read took the last octet.
func (s *payloadSource) takenByRead() bool {
	return s.taken > 0 && s.byRead == s.taken
}

func (s *payloadSource) ReadByte() (byte, error) {
	if s.empty() {
		if err := s.wait(); err != nil {
			return 0, err
		}
	}
	c := s.p[s.taken]
	s.taken++
	return c, nil
}

func (s *payloadSource) Read(p []byte) (int, error) {
	if s.empty() {
		err := s.wait()
		if err == io.ErrUnexpectedEOF && !s.takenByRead() {
			return 0, errEnded
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, s.p[s.taken:])
	s.taken += n
	s.byRead = s.taken
	return n, nil
}

// wait returns when there are octets, or why there are none.
func (s *payloadSource) wait() error {
	for s.empty() {
		if s.final {
			return io.ErrUnexpectedEOF
		}
		if err := s.turns.giveBack(); err != nil {
			return err
		}
	}
	return nil
}

// asksForLengthByRead reports whether this compress/flate shows the end of a message as payloadSource expects. All that
// are known do. With one that does not, every message that does not end in a stored block's octets must count as whole.
var asksForLengthByRead = sync.OnceValue(func() bool {
	empty := &payloadSource{p: []byte{0}, final: true}
	_, err := flate.NewReader(empty).Read(make([]byte, 1))
	return err == errEnded
})
