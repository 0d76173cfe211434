package websocket

// Where octets come from: a file descriptor where there is one, else any
// io.Reader; and the pooled buffers that they come in.

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// start is when the clock of this package began: so long ago that its time is
// positive in synctest's bubbles too, where the year is 2000.
var start = time.Now().Add(-100 * 365 * 24 * time.Hour)

// monotonic is the time since start. It is half the price of time.Now.
func monotonic() time.Duration { return time.Since(start) }

const (
	// bufferSize is how many octets a buffer has that is held only while some are in it:
	// enough for one system call to take many pipelined messages, and for a message of
	// 64 KiB and its header to be in it as a whole.
	bufferSize = 72<<10 - pageSkew
	// longBufferSize is the same where the last read has filled its buffer, so that more
	// is waiting: each read makes TCP acknowledge, and that costs much.
	longBufferSize = 264<<10 - pageSkew
	// streamBufferSize is how many a buffer has that is held while nothing is there: with
	// fewer, pipelined messages suffer. Where none of the last longReads reads has filled
	// waitBufferSize, that many are enough.
	streamBufferSize = 16 << 10
	waitBufferSize   = 4 << 10
	longReads        = 4
	// minLow is the fewest octets that it pays to wait for at once.
	minLow = 64 << 10
)

// pageSkew is how far behind the start of a page long buffers begin. Linux copies to
// and from sockets by one instruction for all (rep movsb), and some processors (AMD's
// Zen 4) take five to eight times as long for it where each octet lands 1 to 15 octets
// further into its page than it came from. A frame's header does just that to a payload
// that begins with a page, as long allocations do: it moves it by 4 or 10 octets. Half a
// page is far more than a few headers add up to.
const pageSkew = 2 << 10

// longFrom is up to how many octets memory for a message needs no pageSkew: as short a
// payload is copied behind its header before it is sent, and as short an allocation may
// begin anywhere in a page.
const longFrom = 16 << 10

// longOctets makes room for n octets, more than longFrom, pageSkew behind the start of
// a page.
func longOctets(n int) []byte { return make([]byte, pageSkew, pageSkew+n)[pageSkew:] }

// buffer holds octets that have arrived and were not parsed yet.
type buffer struct{ octets []byte }

func newBuffer(n int) *buffer { return &buffer{longOctets(n)[:n]} }

var (
	bufferPool       = sync.Pool{New: func() any { return newBuffer(bufferSize) }}
	longBufferPool   = sync.Pool{New: func() any { return newBuffer(longBufferSize) }}
	streamBufferPool = sync.Pool{New: func() any { return &buffer{make([]byte, streamBufferSize)} }}
	waitBufferPool   = sync.Pool{New: func() any { return &buffer{make([]byte, waitBufferSize)} }}
)

func takeBuffer() *buffer { return bufferPool.Get().(*buffer) }

// free gives b, if it is not nil, back to its pool.
func (b *buffer) free() {
	switch {
	case b == nil:
	case len(b.octets) == bufferSize:
		bufferPool.Put(b)
	case len(b.octets) == longBufferSize:
		longBufferPool.Put(b)
	case len(b.octets) == streamBufferSize:
		streamBufferPool.Put(b)
	default:
		waitBufferPool.Put(b)
	}
}

// slice is n octets from pos on, also where b is nil and n is 0. It has room for no
// more: who appends to a message must not write into the next.
func (b *buffer) slice(pos, n int) []byte {
	if n == 0 {
		return nil
	}
	return b.octets[pos : pos+n : pos+n]
}

// errWouldBlock says that nothing can be read now. The stream is as it was.
var errWouldBlock = errors.New("websocket: would block")

// isTimeout says whether err is a timeout, whoever's it is and by whatever name.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// maxEmptyReads is how often a stream may give nothing and no error in a row.
const maxEmptyReads = 100

// source reads from a stream. Not safe for concurrent use.
type source struct {
	raw    rawReader
	stream io.Reader
	late   error        // came with octets; due at the next read
	last   atomic.Int64 // when the last octets came, by monotonic

	// Only where there is no raw.
	began time.Duration // when the last read began, by monotonic
	long  uint8         // how many more are into a long buffer

	// Only where there is a raw, see yield.
	yielded bool  // the next read is behind a yield
	vain    uint8 // how many yields in a row were of no use; from vainYields on also those that were skipped
}

func (s *source) init(stream io.Reader) {
	s.stream = stream
	s.raw.init(stream)
}

// fill waits for octets and reads them to a buffer of the pool, behind keep
// octets that are left free. most, if it is not 0, is where a long buffer is to end.
// Where err is not nil, n is 0 and there is no buffer. The end of the stream is
// io.ErrUnexpectedEOF: it is never the end of a message, and only that is io.EOF.
func (s *source) fill(keep, most int) (buf *buffer, n int, err error) {
	if s.raw.isRaw() {
		buf, n, err = s.raw.fill(keep, most)
		s.noteYield()
	} else {
		pool := &waitBufferPool
		if s.long > 0 {
			pool = &streamBufferPool
			s.long--
		}
		buf = pool.Get().(*buffer)
		n, err = s.readStream(buf.octets[keep:])
		if keep+n >= waitBufferSize {
			s.long = longReads
		}
	}
	if err != nil {
		buf.free()
		return nil, 0, endOfStream(err)
	}
	s.last.Store(int64(monotonic()))
	return buf, n, nil
}

// read waits for octets and reads them to p, which must not be empty. Where err
// is not nil, n is 0. The end of the stream is io.ErrUnexpectedEOF.
func (s *source) read(p []byte) (n int, err error) {
	if s.raw.isRaw() {
		n, err = s.raw.read(p)
	} else {
		n, err = s.readStream(p)
	}
	if err != nil {
		return 0, endOfStream(err)
	}
	s.last.Store(int64(monotonic()))
	return n, nil
}

// endOfStream is err, with another name for io.EOF.
func endOfStream(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readStream reads by the stream's own Read. An error that comes with octets is
// kept for the next call.
func (s *source) readStream(p []byte) (int, error) {
	if err := s.late; err != nil {
		s.late = nil
		return 0, err
	}
	s.began = monotonic()
	for range maxEmptyReads {
		n, err := s.stream.Read(p)
		if n > 0 {
			s.late = err
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// vainYields is how many yields in a row may be of no use before skippedYields are skipped.
const vainYields, skippedYields = 16, 64

// yield lets others go first where all that had come was just read. Meanwhile more
// may come; a read that finds nothing, and waiting, cost a multiple of that. But where
// another processor has nothing to do it is woken for it, so if nothing ever comes
// meanwhile it is done now and then only.
func (s *source) yield() {
	if !s.raw.isDry() {
		return
	}
	if s.vain >= vainYields {
		if s.vain++; s.vain < vainYields+skippedYields {
			return
		}
		s.vain = vainYields - 1
	}
	runtime.Gosched()
	s.yielded = true
}

// noteYield takes note of whether the yield before a read was of use.
func (s *source) noteYield() {
	switch {
	case !s.yielded:
		return
	case s.raw.hasWaited():
		s.vain++
	case s.vain > 0:
		s.vain--
	}
	s.yielded = false
	if s.vain == vainYields && runtime.GOMAXPROCS(0) == 1 {
		s.vain = 0 // there is no other processor, and it costs next to nothing
	}
}

// lastOctet is when the last octets came, by monotonic. Safe for concurrent use.
func (s *source) lastOctet() time.Duration { return time.Duration(s.last.Load()) }
