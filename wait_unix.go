//go:build unix

package websocket

// Reading without holding a buffer while nothing is there, and writing without
// waiting. A goroutine that waits for octets on a TCP connection has none of
// our memory: the buffer is taken from a pool in the moment in which the socket
// turns out to be readable.

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// rawConn gives the way to a socket's file descriptor, nil where there is none
// that may be used. Only two types of the standard library are asked: whatever
// embeds one of them may have a Read and a Write of its own.
func rawConn(stream any) syscall.RawConn {
	var raw syscall.RawConn
	switch c := stream.(type) {
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// rawReader reads from a file descriptor, waiting by way of the runtime's
// poller, so that deadlines work. Not safe for concurrent use.
type rawReader struct {
	raw    syscall.RawConn    // nil: there is no file descriptor
	poll   func(uintptr) bool // pollOnce; made once, so that reading allocates nothing
	noWait bool               // answer errWouldBlock instead of waiting
	toEnd  bool               // where noWait is set: read to the end of the stream, past short reads
	dry    bool               // the last read has left nothing
	waited bool               // the last read has found nothing at first
	full   bool               // the last read took all that there was room for: more may be left
	local  bool               // a short read says nothing: those of a Unix socket end at descriptors that came along
	least  int32              // how many octets a read that finds none is to be woken for; 0: for any
	low    int32              // what the system was asked for (SO_RCVLOWAT); 0: nothing

	// What poll is to do and has done.
	into []byte  // where to read to; nil: to a buffer of the pool
	buf  *buffer // the buffer that was taken
	keep int     // octets at the start of buf to leave free
	most int     // where a long buf is to end; 0: take one of the usual length
	n    int
	err  error
}

func (r *rawReader) init(stream any) {
	if r.raw = rawConn(stream); r.raw != nil {
		r.poll = r.pollOnce
		_, r.local = stream.(*net.UnixConn)
	}
}

// isRaw says whether there is a file descriptor to read from.
func (r *rawReader) isRaw() bool { return r.raw != nil }

// fill reads to a buffer of the pool, behind keep octets that are left free: to a
// long one, and there no further than to most, where that is not 0. Where err is not
// nil, n is 0 and there is no buffer.
func (r *rawReader) fill(keep, most int) (buf *buffer, n int, err error) {
	r.into, r.keep, r.most = nil, keep, most
	n, err = r.run()
	buf, r.buf = r.buf, nil
	return buf, n, err
}

// read reads to p. Where err is not nil, n is 0.
func (r *rawReader) read(p []byte) (n int, err error) {
	r.into, r.most = p, 0
	n, err = r.run()
	r.into = nil
	return n, err
}

// isFull says whether the last read has taken all that there was room for.
func (r *rawReader) isFull() bool { return r.full }

// isDry says whether the last read has taken all that was there.
func (r *rawReader) isDry() bool { return r.dry }

// hasWaited says whether the last read has found nothing at first.
func (r *rawReader) hasWaited() bool { return r.waited }

// isQuiet says whether the system was asked to keep quiet about a few octets.
func (r *rawReader) isQuiet() bool { return r.low > 0 }

// rearm says that something may be there again. Only where noWait is set.
func (r *rawReader) rearm() { r.dry = false }

func (r *rawReader) run() (int, error) {
	if r.waited = r.dry && r.noWait && r.least == r.low; r.waited {
		return 0, errWouldBlock
	}
	if err := r.raw.Read(r.poll); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// pollOnce reads without blocking. It returns false where there was nothing to
// read and the caller is to wait.
func (r *rawReader) pollOnce(fd uintptr) bool {
	if r.least < r.low {
		r.low = wakeFor(int(fd), r.least, r.low) // before the look, which finds what the system kept quiet about
	}
	p := r.into
	switch {
	case p != nil:
	case r.most > 0:
		r.buf = longBufferPool.Get().(*buffer)
		p = r.buf.octets[r.keep:r.most]
	default:
		r.buf = takeBuffer()
		p = r.buf.octets[r.keep:]
	}
	r.n, r.err = readFD(int(fd), p)
	if r.n > 0 {
		r.full = r.n == len(p)
		r.dry = !r.full && !r.toEnd && !r.local
		if r.most > 0 {
			r.shorten()
		}
		return true
	}
	r.full, r.most = false, 0
	r.buf.free()
	r.buf = nil
	if r.err != errWouldBlock {
		return true
	}
	r.waited = true
	if r.least > r.low {
		r.low = wakeFor(int(fd), r.least, r.low)
	}
	return r.noWait
}

// shorten moves what was read to a buffer of the usual length, if it fits: a long one
// is not held for that. Inlined, it would be on the stack of everybody who waits.
//
//go:noinline
func (r *rawReader) shorten() {
	long := r.buf
	if r.keep+r.n <= bufferSize {
		r.buf = takeBuffer()
		copy(r.buf.octets[r.keep:], long.octets[r.keep:r.keep+r.n])
		long.free()
	}
}

// maxRead is the most of one read: some systems refuse 2 GiB.
const maxRead = 1 << 30

// readFD is one read without blocking: errWouldBlock where nothing is there,
// io.EOF at the end of the stream.
func readFD(fd int, p []byte) (int, error) {
	p = p[:min(len(p), maxRead)]
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, errWouldBlock
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// rawWriter writes to a file descriptor without waiting. Not safe for
// concurrent use.
type rawWriter struct {
	raw syscall.RawConn    // nil: there is no file descriptor
	try func(uintptr) bool // tryOnce; made on first use

	// What try is to do and has done.
	p   []byte
	n   int // or askSegment
	err error
}

// askSegment has try ask how many octets TCP sends at a time, instead of writing.
const askSegment = -1

// init makes w write to what r reads from.
func (w *rawWriter) init(r *rawReader) { w.raw = r.raw }

// isRaw says whether there is a file descriptor to write to.
func (w *rawWriter) isRaw() bool { return w.raw != nil }

// write writes as much of p as the socket takes at once, which may be nothing;
// that is no error.
func (w *rawWriter) write(p []byte) (int, error) {
	w.p, w.n, w.err = p, 0, nil
	err := w.run()
	w.p = nil
	if err != nil {
		return w.n, err
	}
	return w.n, w.err
}

// onceWriters are for connections that may never write by their own.
var onceWriters = sync.Pool{New: func() any { return new(rawWriter) }}

// once writes as much of p as the socket takes at once, and keeps nothing for the next
// time: nothing where there is no socket. err is that of the socket, which tells it once.
func (w *rawWriter) once(p []byte) (n int, err error) {
	if !w.isRaw() {
		return 0, nil
	}
	o := onceWriters.Get().(*rawWriter)
	o.raw = w.raw
	n, err = o.write(p)
	if o.err == nil { // a deadline that has passed says nothing of a write that does not wait
		err = nil
	}
	o.raw, o.err = nil, nil // o is kept; the socket must not be
	onceWriters.Put(o)
	return n, err
}

// segment is how many octets TCP sends at a time, 1 where that is not known.
func (w *rawWriter) segment() int {
	w.n = askSegment
	_ = w.run() // an error shows again in the next write
	return max(1, w.n)
}

func (w *rawWriter) run() error {
	if w.try == nil {
		w.try = w.tryOnce
	}
	return w.raw.Write(w.try)
}

func (w *rawWriter) tryOnce(fd uintptr) bool {
	if w.n == askSegment {
		w.n = segmentOf(int(fd))
		return true
	}
	for w.n < len(w.p) {
		n, err := syscall.Write(int(fd), w.p[w.n:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			w.err = os.NewSyscallError("write", err)
			return true
		}
		w.n += n
	}
	return true
}
