package conform

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// This file holds a connection to the endpoint under test: octets out, events in, and the
// log of both. Whatever the endpoint sends is held to the RFC, in every case.

// eventKind says what came from the endpoint.
type eventKind uint8

const (
	evMessage   eventKind = iota // a whole message, inflated
	evPing                       //
	evPong                       //
	evClose                      // code 1005 for an empty one
	evEnd                        // the stream's orderly end
	evReset                      // its end by a reset
	evViolation                  // the endpoint broke a rule: text says which
	evSilence                    // nothing came in time
)

// An event is what came from the endpoint under test.
type event struct {
	kind       eventKind
	op         byte // of a message
	payload    []byte
	code       int
	text       string
	compressed bool
}

// String returns the event in words.
func (e event) String() string {
	switch e.kind {
	case evMessage:
		return fmt.Sprintf("a %s message, %s", opcodeName(e.op), excerpt(e.payload))
	case evPing, evPong:
		return fmt.Sprintf("a P%cng, %s", "io"[e.kind-evPing], excerpt(e.payload))
	case evClose:
		if e.code == noStatus {
			return "an empty Close"
		}
		return fmt.Sprintf("Close %d %q", e.code, e.payload)
	case evEnd:
		return "the end of the stream without Close"
	case evReset:
		return "the end of the connection without Close: " + e.text
	case evViolation:
		return e.text
	}
	return "nothing"
}

// noStatus stands for an empty Close frame.
const noStatus = 1005

// A wire is one connection to the endpoint under test.
type wire struct {
	conn     net.Conn
	br       *bufio.Reader
	masks    bool // the kit is the client here
	start    time.Time
	patience time.Duration
	incoming *incoming // nil: no compression agreed

	arrived atomic.Int64 // when octets last came, since start

	mu     sync.Mutex
	log    []logLine          // the first lines
	ends   [keptLines]logLine // the last of the others, by noted
	noted  int
	events []event
	keys   [][4]byte     // masking keys of the endpoint's data frames
	wake   chan struct{} // holds one token while events is not empty
	stall  chan struct{} // not nil: the reader waits until it is closed

	closed bool // a Close frame of the endpoint has passed; the reader's
	done   chan struct{}
}

// newWire starts no reading: the opening handshake comes first.
func newWire(conn net.Conn, br *bufio.Reader, masks bool, patience time.Duration) *wire {
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &wire{conn: conn, br: br, masks: masks, start: time.Now(), patience: patience, wake: make(chan struct{}, 1)}
}

// A logLine is a line of the log, put into words only when someone wants to read it.
type logLine struct {
	at     time.Duration
	format string
	args   []any
}

// String returns the line.
func (l logLine) String() string {
	return fmt.Sprintf("%8.3f ms  ", float64(l.at.Microseconds())/1000) + fmt.Sprintf(l.format, l.args...)
}

// keptLines bounds the log of one case: so many lines of its beginning, and of its end.
const keptLines = 60

// note adds a line to the log. What is in args must not change afterwards.
func (w *wire) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := logLine{time.Since(w.start), format, args}
	if len(w.log) < keptLines {
		w.log = append(w.log, line)
		return
	}
	w.ends[w.noted%keptLines] = line
	w.noted++
}

// lines returns the log.
func (w *wire) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, l := range w.log {
		lines = append(lines, l.String())
	}
	if w.noted > keptLines {
		lines = append(lines, fmt.Sprintf("   … %d more …", w.noted-keptLines))
	}
	for i := max(0, w.noted-keptLines); i < w.noted; i++ {
		lines = append(lines, w.ends[i%keptLines].String())
	}
	return lines
}

// write sends octets in segments of the given size (0: as few as possible), with a pause
// after each. An endpoint that takes nothing for as long as patience lasts is an error.
func (w *wire) write(b []byte, segment int, pause time.Duration) error {
	const chunk = 64 << 10
	if segment == 0 {
		segment = chunk
	}
	for len(b) > 0 {
		n := min(segment, len(b))
		_ = w.conn.SetWriteDeadline(time.Now().Add(w.patience)) // fails only on a closed connection, and then Write does
		if _, err := w.conn.Write(b[:n]); err != nil {
			w.note("→ write fails: %s", plain(err))
			return err
		}
		if b = b[n:]; pause > 0 {
			time.Sleep(pause)
		}
	}
	return nil
}

// plain returns an error without the addresses in it.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// halfClose ends the kit's direction of the stream.
func (w *wire) halfClose() {
	w.note("→ end of stream")
	if c, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// reset ends the connection by a reset.
func (w *wire) reset() {
	w.note("→ reset")
	conn := w.conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// close ends the connection and waits for its reader.
func (w *wire) close() {
	w.setStall(false)
	_ = w.conn.Close()
	if w.done != nil {
		<-w.done
	}
}

// setStall makes the reader stop reading, or go on.
func (w *wire) setStall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case on && w.stall == nil:
		w.stall = make(chan struct{})
	case !on && w.stall != nil:
		close(w.stall)
		w.stall = nil
	}
}

// stalled is the connection as its reader sees it.
type stalled struct{ w *wire }

// Read waits while the wire is stalled.
func (s stalled) Read(p []byte) (int, error) {
	s.w.mu.Lock()
	gate := s.w.stall
	s.w.mu.Unlock()
	if gate != nil {
		<-gate
	}
	n, err := s.w.conn.Read(p)
	s.w.arrived.Store(int64(time.Since(s.w.start)))
	return n, err
}

// listen starts the goroutine that turns octets into events.
func (w *wire) listen() {
	ahead, _ := w.br.Peek(w.br.Buffered())
	r := bufio.NewReaderSize(io.MultiReader(strings.NewReader(string(ahead)), stalled{w}), 16<<10)
	_ = w.conn.SetReadDeadline(time.Time{})
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		for w.push(w.event(r)) {
		}
	}()
}

// maskingKeys returns the masking keys that the endpoint has used for data frames.
func (w *wire) maskingKeys() [][4]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][4]byte(nil), w.keys...)
}

// push queues an event and reports whether more can come.
func (w *wire) push(e event) bool {
	w.mu.Lock()
	w.events = append(w.events, e)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return e.kind < evEnd
}

// next returns the next event, or evSilence where for d no octet has come.
func (w *wire) next(d time.Duration) event {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		w.mu.Lock()
		if len(w.events) > 0 {
			e := w.events[0]
			w.events = w.events[1:]
			w.mu.Unlock()
			return e
		}
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-timer.C:
			quiet := time.Since(w.start) - time.Duration(w.arrived.Load())
			if quiet >= d {
				return event{kind: evSilence}
			}
			timer.Reset(d - quiet)
		}
	}
}

// violation is the event of a rule that the endpoint broke.
func violation(format string, args ...any) event {
	return event{kind: evViolation, text: "the endpoint sent " + fmt.Sprintf(format, args...)}
}

// event reads frames up to the next thing worth telling.
func (w *wire) event(r io.Reader) event {
	var msg event
	var body []byte
	begun := false
	for {
		f, err := readFrame(r)
		if err != nil {
			return w.ended(err)
		}
		w.note("← %s", f)
		if e := w.illegal(f, begun); e != nil {
			return *e
		}
		if f.masked && f.opcode < opClose {
			w.mu.Lock()
			w.keys = append(w.keys, f.maskBy)
			w.mu.Unlock()
		}
		if f.opcode >= opClose {
			e := control(f)
			w.closed = w.closed || e.kind == evClose
			if !begun || e.kind == evViolation {
				return e
			}
			w.push(e) // told at once; the message goes on after it
			continue
		}
		if !begun {
			msg, begun = event{kind: evMessage, op: f.opcode, compressed: f.rsv == rsv1}, true
		}
		body = append(body, f.payload...)
		if !f.more {
			return w.message(msg, body)
		}
	}
}

// ended is the event of a stream that is over.
func (w *wire) ended(err error) event {
	switch {
	case err == io.EOF:
		w.note("← end of stream")
		return event{kind: evEnd}
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.note("← end of stream inside a frame")
		return event{kind: evEnd, text: "inside a frame"}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return event{kind: evReset, text: "closed by the kit"}
	}
	w.note("← %s", plain(err))
	var op *net.OpError
	if errors.As(err, &op) {
		return event{kind: evReset, text: plain(err)}
	}
	return violation("%s", plain(err))
}

// illegal returns the event of a frame that breaks a rule of section 5.
func (w *wire) illegal(f *received, begun bool) *event {
	var e event
	switch {
	case w.closed:
		e = violation("a %s frame after its Close frame (5.5.1)", opcodeName(f.opcode))
	case w.masks && f.masked:
		e = violation("a masked frame as a server (5.1)")
	case !w.masks && !f.masked:
		e = violation("a frame without mask as a client (5.1)")
	case f.bits == 16 && f.claim < 126, f.bits == 64 && f.claim < 1<<16:
		e = violation("a length of %d in %d bits, not the shortest form (5.2)", f.claim, f.bits)
	case f.opcode > opPong, f.opcode > opBinary && f.opcode < opClose:
		e = violation("the reserved opcode 0x%X (5.2)", f.opcode)
	case f.opcode >= opClose && (f.more || f.claim > 125):
		e = violation("a control frame of %d octets, FIN %t (5.5)", f.claim, !f.more)
	case f.rsv != 0 && (f.rsv != rsv1 || w.incoming == nil || f.opcode == opContinuation || f.opcode >= opClose):
		e = violation("a %s frame with reserved bits %03b (5.2)", opcodeName(f.opcode), f.rsv)
	case f.opcode == opContinuation && !begun:
		e = violation("a continuation of nothing (5.4)")
	case f.opcode < opClose && f.opcode != opContinuation && begun:
		e = violation("a new message inside a fragmented one (5.4)")
	default:
		return nil
	}
	return &e
}

// control is the event of a control frame.
func control(f *received) event {
	switch f.opcode {
	case opPing:
		return event{kind: evPing, payload: f.payload}
	case opPong:
		return event{kind: evPong, payload: f.payload}
	}
	switch {
	case len(f.payload) == 0:
		return event{kind: evClose, code: noStatus}
	case len(f.payload) == 1:
		return violation("a Close frame of one octet (5.5.1)")
	}
	code := int(binary.BigEndian.Uint16(f.payload))
	if !maySend(code) {
		return violation("Close %d, a code that must not be sent (7.4)", code)
	}
	if !utf8.Valid(f.payload[2:]) {
		return violation("a Close reason that is not UTF-8: %x (5.5.1)", f.payload[2:])
	}
	return event{kind: evClose, code: code, payload: f.payload[2:]}
}

// maySend reports whether a Close frame may carry the code (RFC 6455 section 7.4 and IANA's registry).
func maySend(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// message is the event of a whole message.
func (w *wire) message(e event, body []byte) event {
	e.payload = body
	if e.compressed {
		out, err := w.incoming.message(body)
		if err != nil {
			return violation("a compressed message that does not inflate: %v (RFC 7692 7.2)", err)
		}
		e.payload = out
	}
	if e.op == opText && !utf8.Valid(e.payload) {
		return violation("a Text message that is not UTF-8: %s (5.6)", excerpt(e.payload))
	}
	return e
}
