package websocket

// From octets to messages (RFC 6455 sections 5 and 6.2). A reader can be
// interrupted at any octet: an error of the stream that is not the end of it
// changes nothing, and the next call goes on where the last one stopped.

import (
	"errors"
	"io"
	"math"
	"slices"
	"sync/atomic"
)

// ErrTooBig says that a message is longer than Options.ReadLimit, came in more
// frames than Options.MaxFragments, or was compressed to many times ReadLimit. The
// peer was sent the close code 1009 (RFC 6455 section 7.4.1).
var ErrTooBig = errors.New("websocket: message is longer than the read limit")

var (
	errTooManyFragments = tooBig("websocket: message has more frames than MaxFragments allows")
	errTooManyOctets    = tooBig("websocket: compressed message has more octets than the read limit can need")
)

// tooBig is an ErrTooBig with a text of its own.
type tooBig string

func (e tooBig) Error() string        { return string(e) }
func (e tooBig) Is(target error) bool { return target == ErrTooBig }

// errText is what fails a text message that is not UTF-8 (RFC 6455 section 8.1).
var errText = violation(StatusInvalidFramePayloadData, "8.1", "text message is not UTF-8")

const (
	// firstGrowth is the most that a message buffer grows at first, whatever
	// length a header declares. After that it doubles with what has arrived.
	firstGrowth = 64 << 10
	// minGrowth is the least, in octets, where the length is not known.
	minGrowth = 512
	// maxDeflated is how many octets a compressed message may have for each that it may
	// inflate to: one that is flushed behind each octet has seven, and one of empty
	// blocks, which never ends, any number.
	maxDeflated = 16
	// minDeflated is how many it may have in any case.
	minDeflated = 64 << 10
	// directRead is from how many octets on a payload is read straight to where
	// it is wanted, and not by way of a pooled buffer.
	directRead = 4 << 10
	// longCopied is up to how many octets payloads are read many at a time, where more
	// is waiting, though each has to be copied from there to where it is wanted. Longer
	// ones are read straight to it, for the better part.
	longCopied = 32 << 10
	// maxLow is how many octets of a long message are waited for at once where more than
	// twice as many are to come.
	maxLow = 256 << 10
)

// reader turns the octets of a stream into messages. Not safe for concurrent
// use.
type reader struct {
	src     source
	control controlHandler // told of each control frame
	limit   atomic.Int64   // octets of one message after decompression
	frames  int            // frames of one message
	deflate *deflateParams // nil: no compression

	buf      *buffer // octets that have arrived: buf[pos:end]; nil: none
	pos, end int
	cut      [maxHeader]byte // the part of a header that has arrived, where buf is nil
	cutLen   uint8           // octets of it; here for size
	ahead    Header          // of the frame that was begun last, or of the next
	aheadLen int             // octets of the latter, where look or hasWhole has parsed it; else 0

	seq     sequence
	left    int64 // octets of the data frame's payload that were not taken yet
	key     [4]byte
	inPlace bool      // messages are taken by nextInPlace; here for size
	offset  int       // where in the masking key the next octet is
	ctl     *ctlFrame // a control frame of which only a part has arrived; nil: none
	size    int64     // octets of the open message that were taken, after decompression
	text    utf8Check // of the open message
	inflate *inflater // made on first use
	fed     int       // octets of buf that inflate looks at
	saved   []byte    // octets of the open message that were taken for a read that was interrupted
}

// controlHandler is told of control frames. payload is valid until controlFrame returns.
type controlHandler interface {
	controlFrame(op Opcode, payload []byte) error
}

// ctlFrame is a control frame that arrives in pieces.
type ctlFrame struct {
	header  Header
	payload []byte
}

// init sets a reader up. ahead are octets that were read from the stream
// already; they are kept.
func (r *reader) init(stream io.Reader, ahead []byte) {
	switch n := len(ahead); {
	case n > bufferSize:
		stream = &aheadReader{ahead, stream}
	case n > 0:
		r.buf = takeBuffer()
		r.end = copy(r.buf.octets, ahead)
	}
	r.src.init(stream)
}

// next goes on to the next message and returns its type; where one is open, it
// is that one. Control frames on the way go to r.control, whose errors are
// returned.
func (r *reader) next() (MessageType, error) {
	for !r.seq.isOpen() {
		if err := r.nextFrame(); err != nil {
			return 0, err
		}
	}
	return MessageType(r.seq.opcode), nil
}

// nextFrame takes the header of the next frame, and if it is a control frame,
// all of it.
func (r *reader) nextFrame() error {
	if r.ctl != nil {
		return r.restOfControl()
	}
	if err := r.look(); err != nil {
		return err
	}
	r.pos += r.aheadLen
	r.aheadLen = 0
	h := &r.ahead
	if err := r.seq.accept(h); err != nil {
		return err
	}
	if h.Opcode.isControl() {
		return r.controlFrame(h)
	}
	return r.dataFrame(h)
}

// look waits for the next header, and parses it to r.ahead. The octets of a header
// that is cut stay where they are, or go to r.cut, so that no buffer is held for them.
func (r *reader) look() error {
	for r.aheadLen == 0 {
		if r.pos < r.end {
			if err := r.parse(); r.aheadLen > 0 || err != nil {
				return err
			}
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
	return nil
}

// parse parses the next header, of which octets have arrived, unless that was done.
func (r *reader) parse() (err error) {
	if r.aheadLen == 0 {
		r.aheadLen, err = r.ahead.parse(r.buf.octets[r.pos:r.end])
	}
	return err
}

// fill waits for octets and puts them behind those that are there, of which
// there must be fewer than a header has.
func (r *reader) fill() error {
	if r.buf != nil {
		r.cutLen = uint8(copy(r.cut[:], r.buf.octets[r.pos:r.end]))
		r.buf.free()
		r.buf, r.pos, r.end = nil, 0, 0
	}
	cut := int(r.cutLen)
	buf, n, err := r.src.fill(cut, r.most())
	if err != nil {
		return err
	}
	copy(buf.octets, r.cut[:cut])
	r.buf, r.end, r.cutLen = buf, cut+n, 0
	return nil
}

// most is where the next buffer is to end, 0 where one of the usual length does. Behind
// a read that was filled to the brim, a long one ends where a message like the last
// would: then all that are in it are there whole. A declared length may be anything.
func (r *reader) most() int {
	if !r.src.raw.isFull() || r.ahead.Length > longBufferSize-maxHeader || !r.inPlace && r.ahead.Length > longCopied {
		return 0
	}
	var header [maxHeader]byte
	frame := len(r.ahead.append(header[:0])) + int(r.ahead.Length)
	most := longBufferSize - (longBufferSize-int(r.left))%frame
	if most <= bufferSize {
		return 0
	}
	return most
}

// await waits for octets where none are there and no message is open: of one that
// is, nothing more may be to come.
func (r *reader) await() (err error) {
	if r.buf == nil && r.cutLen == 0 && !r.seq.isOpen() {
		r.src.yield()
		r.buf, r.end, err = r.src.fill(0, r.most())
	}
	return err
}

// rest gives the buffer back if all that is in it was parsed.
func (r *reader) rest() {
	if r.buf != nil && r.pos == r.end && r.fed == 0 {
		r.buf.free()
		r.buf, r.pos, r.end = nil, 0, 0
	}
}

// release gives back all that the reader holds. It can't be used after that.
func (r *reader) release() {
	if r.inflate != nil {
		r.inflate.stop()
	}
	r.buf.free()
	r.inflate, r.buf, r.pos, r.end, r.fed, r.saved, r.ctl, r.aheadLen = nil, nil, 0, 0, 0, nil, nil, 0
}

// buffered is how many octets have arrived and were not parsed yet.
func (r *reader) buffered() int { return r.end - r.pos }

// dataFrame begins a frame of a message.
func (r *reader) dataFrame(h *Header) error {
	if r.seq.fragments == 1 {
		r.size, r.text = 0, 0
		if r.seq.compressed {
			if r.inflate == nil {
				r.inflate = newInflater(r.deflate)
			}
			r.inflate.octets = 0
		}
	}
	r.left, r.key, r.offset = h.Length, h.Key, 0 // also where that is too much: who awaits a Close frame reads past it
	if r.seq.fragments > r.frames {
		return errTooManyFragments
	}
	limit := r.limit.Load()
	if !r.seq.compressed {
		if h.Length > limit-r.size {
			return ErrTooBig
		}
		return nil
	}
	// What is compressed can only be measured as it is inflated; but it has to give something.
	if limit < math.MaxInt64/(2*maxDeflated) && h.Length > limit*maxDeflated+minDeflated-r.inflate.octets {
		return errTooManyOctets
	}
	r.inflate.octets += h.Length
	return nil
}

// controlFrame takes the payload of a control frame and hands it on.
func (r *reader) controlFrame(h *Header) error {
	n := int(h.Length)
	if r.buffered() < n {
		r.ctl = &ctlFrame{header: *h}
		return r.restOfControl()
	}
	p := r.buf.slice(r.pos, n)
	r.pos += n
	if h.Masked {
		Mask(p, h.Key, 0)
	}
	return r.control.controlFrame(h.Opcode, p)
}

// restOfControl takes the payload of a control frame that arrives in pieces.
func (r *reader) restOfControl() error {
	f := r.ctl
	for {
		n := min(int(f.header.Length)-len(f.payload), r.buffered())
		f.payload = append(f.payload, r.buf.slice(r.pos, n)...)
		r.pos += n
		if len(f.payload) == int(f.header.Length) {
			break
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
	r.ctl = nil
	if f.header.Masked {
		Mask(f.payload, f.header.Key, 0)
	}
	return r.control.controlFrame(f.header.Opcode, f.payload)
}

// read takes octets of the open message, at least one unless p is empty: then it
// only finds out whether there are more. After the last one it returns io.EOF,
// once, and the message is no longer open.
func (r *reader) read(p []byte) (int, error) {
	switch {
	case len(r.saved) > 0:
		n := copy(p, r.saved)
		if r.saved = r.saved[n:]; len(r.saved) == 0 {
			r.saved = nil // an empty slice would hold them all the same
		}
		return n, nil
	case r.seq.compressed:
		return r.readInflated(p)
	}
	if err := r.frameWithPayload(); err != nil || len(p) == 0 {
		return 0, err
	}
	n, err := r.payload(p[:min(int64(len(p)), r.left)])
	if err != nil {
		return 0, err
	}
	if err := r.taken(p[:n]); err != nil {
		return 0, err
	}
	return n, nil
}

// skip reads past octets of the open message as read does, but holds no memory while
// none come, or little where they have to be inflated.
func (r *reader) skip() error {
	switch {
	case len(r.saved) > 0:
		r.saved = nil
		return nil
	case r.seq.compressed:
		buf := streamBufferPool.Get().(*buffer)
		defer buf.free()
		_, err := r.readInflated(buf.octets)
		return err
	}
	if err := r.frameWithPayload(); err != nil {
		return err
	}
	if r.buffered() == 0 {
		if err := r.fill(); err != nil {
			return err
		}
	}
	p := r.buf.slice(r.pos, int(min(r.left, int64(r.buffered()))))
	r.pos += len(p)
	r.unmask(p)
	return r.taken(p)
}

// frameWithPayload goes on to a frame of the open message of which octets are
// left, or ends the message with io.EOF.
func (r *reader) frameWithPayload() error {
	for r.left == 0 {
		if r.seq.final {
			if err := r.endMessage(); err != nil {
				return err
			}
			return io.EOF
		}
		if err := r.nextFrame(); err != nil {
			return err
		}
	}
	return nil
}

// payload takes octets of the frame's payload to p, which is neither empty nor
// longer than what is left, and unmasks them.
func (r *reader) payload(p []byte) (int, error) {
	if r.buffered() == 0 && len(p) >= directRead {
		r.rest() // nothing is held while nothing comes
		n, err := r.src.read(p)
		if err != nil {
			return 0, err
		}
		r.unmask(p[:n])
		return n, nil
	}
	if r.buffered() == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := min(len(p), r.buffered())
	r.copied(p[:n])
	return n, nil
}

// copied copies the next octets of the frame's payload, which have arrived, to p,
// unmasks them and counts them off.
func (r *reader) copied(p []byte) {
	from := r.buf.slice(r.pos, len(p))
	if r.seq.masked {
		r.offset = maskTo(p, from, r.key, r.offset)
	} else {
		copy(p, from)
	}
	r.pos += len(p)
	r.left -= int64(len(p))
}

// unmask unmasks the next octets of the frame's payload and counts them off.
func (r *reader) unmask(p []byte) {
	if r.seq.masked {
		r.offset = Mask(p, r.key, r.offset)
	}
	r.left -= int64(len(p))
}

// taken checks octets of the open message.
func (r *reader) taken(p []byte) error {
	r.size += int64(len(p))
	if r.seq.opcode == OpText && !r.text.write(p) {
		return errText
	}
	return nil
}

// endMessage ends the open message, of which nothing is left, if it is whole.
func (r *reader) endMessage() error {
	if r.seq.opcode == OpText && !r.text.atBoundary() {
		return errText
	}
	r.seq.end()
	return nil
}

// readInflated is read for a compressed message (RFC 7692 section 7.2.2).
func (r *reader) readInflated(p []byte) (int, error) {
	room := max(0, r.limit.Load()-r.size) // less than 0 where SetReadLimit came in between
	if room < math.MaxInt64 {
		room++ // one more than is allowed, to see that there is more
	}
	p = p[:min(int64(len(p)), room)]
	for {
		n, err := r.inflate.read(p)
		switch {
		case err == nil && r.size+int64(n) > r.limit.Load():
			return 0, ErrTooBig
		case err == nil:
			if err := r.taken(p[:n]); err != nil {
				return 0, err
			}
			return n, nil
		case err == io.EOF:
			r.unfeed()
			if err := r.endMessage(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		case err != errMoreInput:
			return 0, err
		}
		if err := r.feed(); err != nil {
			return 0, err
		}
	}
}

// feed gives the next octets of a compressed message to the inflater.
func (r *reader) feed() error {
	r.unfeed()
	for r.left == 0 && !r.seq.final {
		if err := r.nextFrame(); err != nil {
			return err
		}
	}
	if r.left > 0 && r.buffered() == 0 {
		if err := r.fill(); err != nil {
			return err
		}
	}
	n := int(min(r.left, int64(r.buffered())))
	p := r.buf.slice(r.pos, n)
	r.unmask(p)
	r.fed = n
	r.inflate.feed(p, r.seq.final && r.left == 0)
	return nil
}

// unfeed counts off the octets that the inflater has looked at.
func (r *reader) unfeed() {
	r.pos += r.fed
	r.fed = 0
}

// forgo gives up the content of the open message, which is then only read past: what
// is compressed is worth no time to inflate it. No message can be read after it.
func (r *reader) forgo() {
	if !r.seq.compressed {
		return
	}
	r.unfeed()
	r.inflate.stop()
	r.seq.compressed, r.seq.opcode = false, OpBinary
}

// appendMessage appends the rest of the open message to b. If it returns an
// error, b holds what was taken so far.
func (r *reader) appendMessage(b []byte) ([]byte, error) {
	if r.seq.compressed {
		r.inflate.patient = true
		defer func() { r.inflate.patient = false }()
	}
	text := r.seq.opcode == OpText
	for {
		if room := cap(b) - len(b); !r.seq.compressed && r.left > int64(room) && (room == 0 || r.size == 0) {
			if r.size == 0 && r.buffered() == 0 && len(r.saved) == 0 {
				if err := r.fill(); err != nil { // a header alone is worth no memory
					return b, err
				}
			}
			b = r.grow(b, r.left)
		}
		r.src.raw.least = r.least()
		n, err := r.read(b[len(b):cap(b)])
		r.src.raw.least = 0
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			if text && !r.text.isASCII() {
				rememberText(b[len(b)-int(r.size):])
			}
			return b, nil
		case err != nil:
			return b, err
		case n == 0:
			b = r.grow(b, max(minGrowth, int64(len(r.saved))))
		}
	}
}

// least is how many octets are worth being woken for, where the message is wanted as a
// whole; 0 where any are, as of a text, which fails at its first wrong octet. As many are
// to come in any case.
func (r *reader) least() int32 {
	switch {
	case r.seq.compressed || r.seq.opcode == OpText || r.left <= minLow:
		return 0
	case r.left < 2*maxLow:
		return int32(r.left)
	}
	return maxLow
}

// grow makes room for n octets that are to follow, but not for more than twice
// what has arrived of the message.
func (r *reader) grow(b []byte, n int64) []byte {
	room := int(min(n, max(firstGrowth, r.size)))
	if room <= cap(b)-len(b) || len(b)+room <= longFrom {
		return slices.Grow(b, room)
	}
	return append(longOctets(max(len(b)+room, cap(b)+cap(b)/4)), b...)
}

// save keeps octets that were taken of the open message for the next read.
func (r *reader) save(p []byte) {
	if len(r.saved) == 0 {
		r.saved = p
		return
	}
	r.saved = append(p, r.saved...)
}

// nextInPlace goes on to the next message, and takes it where it lies if it was not
// compressed, came in one frame, has arrived whole, and was not begun before. Then it is
// over, and its octets are valid until something is read again. Where whole is false
// and err nil, it is as after next.
func (r *reader) nextInPlace() (typ MessageType, p []byte, whole bool, err error) {
	for !r.seq.isOpen() {
		if r.ctl == nil {
			if err = r.look(); err != nil {
				return 0, nil, false, err
			}
			if r.isWhole() && !r.ahead.Rsv1 && r.ahead.Length <= r.limit.Load() {
				p, err = r.takeWhole()
				return MessageType(r.ahead.Opcode), p, err == nil, err
			}
		}
		if err = r.nextFrame(); err != nil {
			return 0, nil, false, err
		}
	}
	return MessageType(r.seq.opcode), nil, false, nil
}

// hasWhole says whether the next frame is a whole message that has arrived. No
// message is open.
func (r *reader) hasWhole() bool {
	return r.pos < r.end && !r.seq.isOpen() && r.parse() == nil && r.isWhole()
}

// isWhole is hasWhole where parse has looked at the header, all of which need not have
// arrived.
func (r *reader) isWhole() bool {
	h := &r.ahead
	return r.aheadLen > 0 && h.Fin && !h.Opcode.isControl() && h.Length <= int64(r.buffered()-r.aheadLen)
}

// takeWhole takes the next frame where it lies, all of which has arrived, as a message
// that is neither compressed nor too long. The frame is taken also where there is an
// error.
func (r *reader) takeWhole() ([]byte, error) {
	h := &r.ahead
	p := r.buf.slice(r.pos+r.aheadLen, int(h.Length))
	r.pos += r.aheadLen + len(p)
	r.aheadLen = 0
	if err := r.seq.accept(h); err != nil {
		return nil, err
	}
	r.seq.end()
	if h.Masked {
		Mask(p, h.Key, 0)
	}
	if h.Opcode == OpText {
		var text utf8Check
		if !text.write(p) || !text.atBoundary() {
			return nil, errText
		}
		if !text.isASCII() {
			rememberText(p)
		}
	}
	return p, nil
}

// hasFilled says whether the last message has arrived in a buffer that was filled to the
// brim: then more is waiting, as a rule.
func (r *reader) hasFilled() bool { return r.buf != nil && r.src.raw.isFull() }

// aheadReader gives octets that came before the reader was there, and then
// those of the stream.
type aheadReader struct {
	ahead  []byte
	stream io.Reader
}

func (r *aheadReader) Read(p []byte) (int, error) {
	if len(r.ahead) > 0 {
		n := copy(p, r.ahead)
		if r.ahead = r.ahead[n:]; len(r.ahead) == 0 {
			r.ahead = nil // an empty slice would hold them all the same
		}
		return n, nil
	}
	return r.stream.Read(p)
}
