package conform

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// This file holds an echo server and an echo client that are right, and can be made wrong in
// one respect. They are as plain as can be: what is broken here must be broken on purpose.

// mutableLimit is the read limit of the endpoints, in octets.
const mutableLimit = 1 << 20

// A mutable is an endpoint: a connection after its opening handshake.
type mutable struct {
	conn   net.Conn
	br     *bufio.Reader
	server bool
	wrong  string        // what is wrong with it; "": nothing
	terms  *deflateTerms // nil: no compression

	in, out []byte // the windows of both directions
	open    byte   // opcode of the open message; 0: none
	zipped  bool   // the open message is compressed
	pieces  int    // frames of the open message
	body    []byte // of the open message
	tail    []byte // of body: the octets of a character that is not whole
	owed    [][]byte
	later   []frame // to be sent when there is nothing to be read
	buf     [4096]byte
	closed  bool
}

// is reports whether the endpoint is wrong in the given respect.
func (e *mutable) is(wrong string) bool { return e.wrong == wrong }

// errOver ends an endpoint.
var errOver = errors.New("over")

// run echoes until the end.
func (e *mutable) run() {
	defer e.conn.Close()
	for e.frame() == nil {
	}
	e.flush()
}

// send sends a frame, at once or later.
func (e *mutable) send(f frame) error {
	data := f.opcode < opClose
	switch {
	case data && e.is("sends Pongs that nobody has asked for"):
		_ = e.write(frame{opcode: opPong, payload: []byte("alive")})
	case f.opcode == opPong && e.is("answers only the latest Ping"):
		e.later = []frame{f}
		return nil
	case data && (e.is("lets Pongs overtake echoes") || e.is("answers Close before messages") || e.is("fails before it answers messages")),
		e.is("answers Close at once, and empty") && f.opcode == opPong:
		e.later = append(e.later, f)
		return nil
	}
	if f.opcode != opPong {
		e.flush()
	}
	return e.write(f)
}

// flush sends what was left for later.
func (e *mutable) flush() {
	for _, f := range e.later {
		_ = e.write(f) // who is gone is met when reading
	}
	e.later = nil
}

// write writes a frame.
func (e *mutable) write(f frame) error {
	key := [4]byte{1, 2, 3, 4}
	if e.is("same key for all frames") {
		f.key = &key
	}
	masks := !e.server
	if e.is("server masks") && e.server || e.is("client does not mask") && !e.server {
		masks = !masks
	}
	if e.is("lengths in 64 bits") {
		f.bits = 64
	}
	_, err := e.conn.Write(f.appendTo(nil, masks))
	return err
}

// fail fails the connection.
func (e *mutable) fail(code int) error {
	switch {
	case e.is("fails with 1000"):
		code = 1000
	case e.is("fails with 1011 where 1007 is right") && code == 1007:
		code = 1011
	case e.is("fails with 1002 where 1009 is right") && code == 1009:
		code = 1002
	}
	if e.is("fails before it answers messages") {
		e.later = nil
	}
	if !e.is("fails without Close") {
		_ = e.send(*closeFrame(code, ""))
	}
	if e.is("goes on after failing") {
		e.open, e.body = 0, nil
		return nil
	}
	return e.end(!e.is("leaves TCP open after failing"))
}

// end ends TCP.
func (e *mutable) end(half bool) error {
	if e.is("closes TCP with octets unread") {
		_ = e.conn.Close()
		return errOver
	}
	if half {
		_ = e.conn.(*net.TCPConn).CloseWrite()
	}
	_ = e.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, _ = io.Copy(io.Discard, e.br)
	return errOver
}

// header is a frame's header.
type mutableHeader struct {
	fin    bool
	rsv    byte
	op     byte
	masked bool
	bits   int
	n      uint64
	key    [4]byte
}

// frame reads a frame and does what it asks for.
func (e *mutable) frame() error {
	if e.br.Buffered() == 0 {
		e.flush()
	}
	h, err := e.header()
	if err != nil {
		return e.lost(err)
	}
	if code := e.refuses(h); code != 0 {
		return e.fail(code)
	}
	if h.masked {
		if _, err := io.ReadFull(e.br, h.key[:]); err != nil {
			return e.lost(err)
		}
	}
	if h.op >= opClose {
		p := make([]byte, h.n)
		if _, err := io.ReadFull(e.br, p); err != nil {
			return err
		}
		applyMask(p, h.key)
		return e.control(h.op, p)
	}
	return e.data(h)
}

// lost is the end of the stream inside a message.
func (e *mutable) lost(err error) error {
	if e.is("delivers short messages") && e.open != 0 && !e.zipped {
		_ = e.send(frame{opcode: e.open, payload: e.body})
	}
	return err
}

// header reads a header up to its key.
func (e *mutable) header() (h mutableHeader, err error) {
	var b [8]byte
	if _, err := io.ReadFull(e.br, b[:2]); err != nil {
		return h, err
	}
	h.fin, h.rsv, h.op = b[0]&0x80 != 0, b[0]>>4&7, b[0]&15
	h.masked, h.n, h.bits = b[1]&0x80 != 0, uint64(b[1]&0x7F), 7
	if h.n >= 126 {
		h.bits = 16
		if h.n == 127 {
			h.bits = 64
		}
		clear(b[:])
		if _, err := io.ReadFull(e.br, b[8-h.bits/8:]); err != nil {
			return h, err
		}
		h.n = binary.BigEndian.Uint64(b[:])
	}
	return h, nil
}

// refuses returns the code with which a header is refused, 0 if it is not.
func (e *mutable) refuses(h mutableHeader) int {
	known := h.op <= opBinary || h.op >= opClose && h.op <= opPong
	first := h.op == opText || h.op == opBinary
	control := h.op >= opClose
	sum := uint64(len(e.body)) + h.n
	if e.is("limit for each frame only") {
		sum = h.n
	}
	switch {
	case e.server && !h.masked && !e.is("takes unmasked frames"):
		return 1002
	case !e.server && h.masked && !e.is("takes masked frames"):
		return 1002
	case h.rsv&(rsv2|rsv3) != 0 && !e.is("takes reserved bits"):
		return 1002
	case h.rsv&rsv1 != 0 && !e.mayRsv1(first, control):
		return 1002
	case !known && !e.is("takes unknown opcodes"):
		return 1002
	case control && h.n > 125 && !e.is("takes long control frames"):
		return 1002
	case control && !h.fin && !e.is("takes fragmented control frames"):
		return 1002
	case h.n>>63 != 0 && !e.is("takes lengths with the top bit"):
		return 1002
	case (h.bits == 16 && h.n < 126 || h.bits == 64 && h.n < 1<<16) && !e.is("takes lengths not in shortest form"):
		return 1002
	case h.op == opContinuation && e.open == 0 && !e.is("takes a continuation of nothing"):
		return 1002
	case first && e.open != 0 && !e.is("takes interleaved messages"):
		return 1002
	case h.n>>63 != 0: // a length that is taken without its top bit: none of it will come
		return 1009
	case !control && !e.is("no limit") && (sum > uint64(e.limit()) || sum < h.n):
		return 1009
	}
	return 0
}

// limit is the endpoint's read limit.
func (e *mutable) limit() int {
	if e.is("limit too small by one") {
		return mutableLimit - 1
	}
	if e.is("limit too big by one") {
		return mutableLimit + 1
	}
	return mutableLimit
}

// mayRsv1 reports whether RSV1 is allowed on a frame.
func (e *mutable) mayRsv1(first, control bool) bool {
	return e.is("takes reserved bits") ||
		e.terms != nil && (first || e.is("takes RSV1 on continuations") && !control || e.is("takes RSV1 on control frames") && control)
}

// control does what a control frame asks for.
func (e *mutable) control(op byte, p []byte) error {
	switch {
	case op == opPong && e.is("answers Pongs"):
		return e.send(frame{opcode: opPong, payload: p})
	case op == opPong:
		return nil
	case op == opPing && (e.is("does not answer Pings") || e.closed):
		return nil
	case op == opPing && e.is("answers with empty Pongs"):
		return e.send(frame{opcode: opPong})
	case op == opPing && e.is("answers with Pongs of 8 octets"):
		return e.send(frame{opcode: opPong, payload: p[:min(8, len(p))]})
	case op == opPing && e.is("answers Pings after the message") && e.open != 0:
		e.owed = append(e.owed, p)
		return nil
	case op == opPing:
		return e.send(frame{opcode: opPong, payload: p[:min(len(p), 125)]})
	case op == opClose:
		return e.closing(p)
	}
	return nil
}

// closing answers a Close frame.
func (e *mutable) closing(p []byte) error {
	if e.closed {
		return errOver
	}
	code := noStatus
	switch {
	case len(p) == 1 && !e.is("takes a Close of one octet"):
		return e.fail(1002)
	case len(p) >= 2:
		code = int(binary.BigEndian.Uint16(p))
		if !maySend(code) && !e.is("takes any close code") {
			return e.fail(1002)
		}
		if !utf8.Valid(p[2:]) && !e.is("takes any reason") {
			return e.fail(1007)
		}
	}
	switch {
	case e.is("answers Close with 1000"):
		code = 1000
	case e.is("answers Close with 1005") && code == noStatus:
		_ = e.send(rawClose(1005, ""))
		return e.end(true)
	case e.is("takes any close code") && !maySend(code):
		code = 1000
	}
	if e.is("answers Close before messages") {
		e.later = nil
	}
	if e.is("answers Close at once, and empty") {
		e.later, code = nil, noStatus
	}
	if e.is("does not answer Close") {
		return e.end(e.server)
	}
	if e.is("answers a Ping before Close") && e.br.Buffered() > 0 {
		if h, err := e.header(); err == nil && h.op == opPing && h.fin && h.rsv == 0 && h.masked == e.server {
			if h.masked {
				_, _ = io.ReadFull(e.br, h.key[:])
			}
			late := make([]byte, h.n)
			_, _ = io.ReadFull(e.br, late)
			applyMask(late, h.key)
			_ = e.send(frame{opcode: opPong, payload: late})
		}
	}
	_ = e.send(*closeFrame(code, ""))
	if e.is("goes on after Close") {
		e.closed = true
		return nil
	}
	return e.end(e.server && !e.is("leaves TCP to the client"))
}

// data takes a data frame.
func (e *mutable) data(h mutableHeader) error {
	if h.op != opContinuation || e.open == 0 {
		e.open, e.zipped, e.pieces, e.body, e.tail = h.op, h.rsv&rsv1 != 0 && e.terms != nil, 0, nil, nil
		if h.op != opText {
			e.open = opBinary
		}
	}
	e.pieces++
	if e.is("preallocates") {
		e.body = append(make([]byte, 0, len(e.body)+int(h.n)), e.body...)
		for i := range e.body[len(e.body):cap(e.body)] { // so that it is there
			e.body[:cap(e.body)][len(e.body)+i] = 1
		}
	}
	if e.is("UTF-8 of each frame alone") && len(e.tail) > 0 && e.open == opText {
		return e.fail(1007)
	}
	if e.is("forgets UTF-8 between frames") {
		e.tail = nil
	}
	buf := &e.buf
	for at := uint64(0); at < h.n; {
		n, err := e.br.Read(buf[:min(uint64(len(buf)), h.n-at)])
		for i := range buf[:n] {
			k := at + uint64(i)
			if e.is("restarts the key every 4095 octets") {
				k %= 4095
			}
			buf[i] ^= h.key[k%4]
		}
		at += uint64(n)
		e.body = append(e.body, buf[:n]...)
		if !e.zipped && !e.text(buf[:n]) {
			return e.fail(1007)
		}
		if err != nil {
			return e.lost(err)
		}
	}
	if !h.fin {
		return nil
	}
	return e.message()
}

// text checks octets of a text, and reports whether they may be one.
func (e *mutable) text(p []byte) bool {
	if e.open != opText || e.is("does not check UTF-8") || e.is("checks UTF-8 only at the end") {
		return true
	}
	b := append(e.tail, p...)
	for len(b) > 0 && utf8.FullRune(b) {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			if n = e.leniency(b); n == 0 {
				return false
			}
		}
		b = b[min(n, len(b)):]
	}
	e.tail = bytes.Clone(b)
	return true
}

// leniency returns how many octets of an invalid sequence a wrong endpoint takes for a character.
func (e *mutable) leniency(b []byte) int {
	switch {
	case e.is("takes surrogates") && b[0] == 0xED:
		return 3
	case e.is("takes overlong forms") && (b[0] == 0xC0 || b[0] == 0xC1):
		return 2
	case e.is("takes overlong forms") && b[0] == 0xE0:
		return 3
	case e.is("takes code points above 10FFFF") && (b[0] == 0xF4 || b[0] == 0xF5 || b[0] == 0xF7):
		return 4
	}
	return 0
}

// message echoes a whole message.
func (e *mutable) message() error {
	op := e.open
	e.open = 0
	if e.is("keeps uncompressed messages in the window") && !e.zipped {
		e.in = tail(append(e.in, e.body...), 32768)
	}
	if e.zipped {
		if code := e.inflate(); code != 0 {
			return e.fail(code)
		}
	}
	switch {
	case op != opText, e.is("does not check UTF-8"):
	case e.zipped && !e.inflatedText():
		return e.fail(1007)
	case !e.zipped && e.is("checks UTF-8 only at the end") && !utf8.Valid(e.body):
		return e.fail(1007)
	case !e.zipped && len(e.tail) > 0 && !e.is("forgets UTF-8 at the end") && !e.is("forgets UTF-8 between frames"):
		return e.fail(1007)
	}
	if err := e.echo(op, e.body); err != nil {
		return err
	}
	for _, p := range e.owed {
		_ = e.send(frame{opcode: opPong, payload: p})
	}
	e.owed, e.body = nil, nil
	return nil
}

// inflatedText reports whether what a compressed message inflates to may be a text.
func (e *mutable) inflatedText() bool {
	const piece = 32 << 10
	switch first := e.body[:min(len(e.body), piece)]; {
	case e.is("does not check UTF-8 of compressed messages"), e.is("does not check UTF-8 of compressed fragments") && e.pieces > 1:
		return true
	case e.is("checks UTF-8 of 32 KiB inflated") && len(e.body) > piece:
		return true
	case e.is("checks UTF-8 of each 32 KiB inflated alone") && !utf8.Valid(first):
		return false
	}
	return utf8.Valid(e.body)
}

// echo sends a message.
func (e *mutable) echo(op byte, p []byte) error {
	switch {
	case e.is("echoes everything as Binary"):
		op = opBinary
	case e.is("drops empty messages") && len(p) == 0:
		return nil
	case e.is("drops an octet of messages over 65535") && len(p) > 65535:
		p = p[:len(p)-1]
	case e.is("echoes in fragments without end"):
		return e.send(frame{opcode: op, payload: p, more: true})
	}
	f := frame{opcode: op, payload: p}
	if e.terms != nil && len(p) > 0 && len(p) < 1<<16 {
		f.rsv, f.payload = rsv1, e.deflated(p)
	}
	if e.is("sets RSV1 without compression") {
		f.rsv = rsv1
	}
	return e.send(f)
}

// mine are the terms for what the endpoint sends, theirs for what it receives: whether each
// message stands alone, and the bits of the window.
func (e *mutable) mine() (fresh bool, bits int) {
	if e.server {
		return e.terms.serverFresh, e.terms.serverBits
	}
	return e.terms.clientFresh, e.terms.clientBits
}

func (e *mutable) theirs() (fresh bool) {
	if e.server {
		return e.terms.clientFresh
	}
	return e.terms.serverFresh
}

// deflated compresses a message.
func (e *mutable) deflated(p []byte) []byte {
	fresh, bits := e.mine()
	level := 6
	if bits > 0 && bits < 15 && !e.is("exceeds the window agreed") {
		level = flate.NoCompression // refers to nothing
	}
	if fresh && !e.is("takes over a context that it must not") {
		e.out = nil
	}
	b := deflate(p, e.out, level)
	e.out = tail(append(e.out, p...), 32768)
	if e.is("sends the last four octets of the stream") {
		b = append(b, 0, 0, 0xFF) // one short, so that it does not inflate
	}
	return b
}

// inflate inflates the open message; it returns a close code where that fails.
func (e *mutable) inflate() int {
	window := e.in
	if e.theirs() && !e.is("keeps a window that it must not") || e.is("forgets the context") {
		window = nil
	}
	out, err := e.inflated(window)
	switch {
	case len(out) > mutableLimit && !e.is("no limit after decompression"):
		return 1009
	case err != nil && !e.is("delivers corrupt messages"):
		return 1007
	}
	e.in, e.body = tail(append(window, out...), 32768), out
	return 0
}

// inflated inflates stream after stream (RFC 7692 section 7.2.3.4), to no more than one octet
// above the limit.
func (e *mutable) inflated(window []byte) ([]byte, error) {
	limit := mutableLimit + 1
	if e.is("no limit after decompression") {
		limit *= 32
	}
	if e.is("takes a message without its end") {
		out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(append(e.body, 0, 0, 0xFF, 0xFF)), window), int64(limit)))
		if err == io.ErrUnexpectedEOF {
			err = nil
		}
		return out, err
	}
	if len(e.body) < 900 && !e.is("ends at BFINAL") && !e.is("begins anew after a final block") { // can't inflate to more
		return inflate(e.body, window, 32768, 5<<20)
	}
	if e.is("begins anew after a final block") {
		return inflatedAnew(e.body, window)
	}
	in := bytes.NewReader(append(e.body, 0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF))
	return io.ReadAll(io.LimitReader(flate.NewReaderDict(in, window), int64(limit)))
}

// inflatedAnew inflates each stream of a message by itself: only the first has the window.
func inflatedAnew(p, window []byte) (out []byte, err error) {
	in := bytes.NewReader(append(bytes.Clone(p), 0, 0, 0xFF, 0xFF))
	for err == nil && in.Len() > 0 {
		var part []byte
		part, err = io.ReadAll(io.LimitReader(flate.NewReaderDict(in, window), mutableLimit+1))
		out, window = append(out, part...), nil
	}
	if err == io.ErrUnexpectedEOF && in.Len() == 0 { // there is no final block at the end
		err = nil
	}
	return out, err
}

// mutableServer serves until the listener is closed.
func mutableServer(ln net.Listener, wrong string, wg *sync.WaitGroup) {
	defer wg.Done()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			e := &mutable{conn: conn, br: bufio.NewReader(conn), server: true, wrong: wrong}
			if e.accept() {
				e.run()
			}
			_ = conn.Close()
		}()
	}
}

// accept does the opening handshake of a server.
func (e *mutable) accept() bool {
	h, raw, err := readHead(e.br)
	if err != nil && err != errHead {
		return false
	}
	status := "400 Bad Request"
	if err == nil && !bytes.ContainsRune(raw, 0) {
		status = e.judge(h)
	}
	asks := h.hasToken("Upgrade", "websocket") && h.hasToken("Connection", "Upgrade")
	if strings.HasPrefix(status, "426") && !asks && e.is("has a page for who asks for no WebSocket") {
		status = "200 OK"
	}
	answer := "HTTP/1.1 " + status + crlf
	if status[:3] != "101" {
		if strings.HasPrefix(status, "426") && !e.is("does not name its version") {
			answer += "Sec-WebSocket-Version: 13" + crlf
		}
		_, _ = e.conn.Write([]byte(answer + "Content-Length: 0" + crlf + crlf))
		_ = e.conn.(*net.TCPConn).CloseWrite()
		_ = e.conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, e.br, 1<<20)
		return false
	}
	accept := acceptFor(strings.Join(h.values("Sec-WebSocket-Key"), ""))
	if e.is("answers a wrong accept value") {
		accept = acceptFor(accept)
	}
	answer += "Upgrade: websocket" + crlf + "Connection: Upgrade" + crlf + "Sec-WebSocket-Accept: " + accept + crlf
	answer += e.extension(h)
	if p := h.values("Sec-WebSocket-Protocol"); len(p) > 0 && e.is("repeats the subprotocols") {
		answer += "Sec-WebSocket-Protocol: " + p[0] + crlf
	}
	if e.is("loses what comes behind the handshake") {
		e.br = bufio.NewReader(e.conn)
	}
	_, _ = e.conn.Write([]byte(answer + crlf))
	return true
}

// judge returns the status of the answer to a request.
func (e *mutable) judge(h head) string {
	line := strings.Fields(h.line)
	contains := func(name, token string) bool {
		if e.is("finds tokens as substrings") {
			return strings.Contains(strings.ToLower(strings.Join(h.values(name), ",")), strings.ToLower(token))
		}
		if e.is("tokens in lower case only") {
			return slices.Contains(strings.Split(strings.ReplaceAll(strings.Join(h.values(name), ","), " ", ""), ","), token)
		}
		return h.hasToken(name, token)
	}
	keys, origins, hosts := h.values("Sec-WebSocket-Key"), h.values("Origin"), h.values("Host")
	switch {
	case len(line) != 3 || !strings.HasPrefix(line[2], "HTTP/1."):
		return "400 Bad Request"
	case line[2] != "HTTP/1.1" && !e.is("takes HTTP/1.0"):
		return "505 HTTP Version Not Supported"
	case line[0] != "GET" && !e.is("takes any method"):
		return "405 Method Not Allowed"
	case len(hosts) != 1 && !e.is("does not look at Host"):
		return "400 Bad Request"
	case !contains("Upgrade", "websocket") && !e.is("does not look at Upgrade"):
		return "426 Upgrade Required"
	case !contains("Connection", "Upgrade") && !e.is("does not look at Connection"):
		return "426 Upgrade Required"
	case !slices.Equal(h.values("Sec-WebSocket-Version"), []string{"13"}) && !e.is("takes any version"):
		return "426 Upgrade Required"
	case (len(keys) != 1 || !validKey(keys[0])) && !e.is("takes any key"):
		return "400 Bad Request"
	case len(h.values("Content-Length")) > 0 && !e.is("takes a body"):
		return "400 Bad Request"
	case len(origins) > 0 && (len(origins) > 1 || origins[0] != "http://"+strings.Join(hosts, "")) && !e.is("takes any origin"):
		return "403 Forbidden"
	}
	return "101 Switching Protocols"
}

// extension returns the answer's line for the first offer that can be taken.
func (e *mutable) extension(h head) string {
	values := h.values("Sec-WebSocket-Extensions")
	if len(values) > 0 && e.is("repeats the extensions") {
		return "Sec-WebSocket-Extensions: " + values[0] + crlf
	}
	list, err := parseExtensions(values)
	if err != nil || len(values) == 0 {
		return ""
	}
	for _, x := range list {
		for i, p := range x.params {
			if e.is("reads names of parameters in any case") {
				x.params[i].name = strings.ToLower(p.name)
			}
		}
		terms, err := x.terms()
		if x.name != deflateName || err != nil && !e.is("takes bad offers") {
			continue
		}
		answer := deflateName
		if terms.serverFresh && !e.is("forgets server_no_context_takeover") {
			answer += "; " + serverNoTakeover
		}
		if terms.serverBits > 0 {
			answer += fmt.Sprintf("; %s=%d", serverMaxBits, terms.serverBits)
		}
		if terms.clientBits > 0 && e.is("answers a larger client_max_window_bits than was offered") {
			answer += "; " + clientMaxBits + "=15"
		}
		if e.is("answers client_max_window_bits unasked") {
			answer += "; " + clientMaxBits + "=15"
		}
		terms.clientFresh = false
		e.terms = &terms
		return "Sec-WebSocket-Extensions: " + e.written(answer) + crlf
	}
	return ""
}

// written is how an endpoint writes an element of an extension header.
func (e *mutable) written(element string) string {
	if e.is("writes lists as RFC 2616 has them") {
		return ", " + regexp.MustCompile(`=(\d+)`).ReplaceAllString(element, ` = "\$1"`) + " ,"
	}
	return element
}

// mutableClient goes through the cases of an exam.
func mutableClient(exam *Exam, wrong string) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, id := range exam.IDs() {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			conn, err := net.Dial("tcp", exam.ln.Addr().String())
			if err != nil {
				return
			}
			defer conn.Close()
			e := &mutable{conn: conn, br: bufio.NewReader(conn), wrong: wrong}
			if e.dial(exam.ln.Addr().String(), "/case/"+id) {
				e.run()
			}
		}()
	}
	wg.Wait()
}

// dial does the opening handshake of a client.
func (e *mutable) dial(host, target string) bool {
	key, version := newKey(), "13"
	switch {
	case e.is("the same key always"):
		key = "dGhlIHNhbXBsZSBub25jZQ=="
	case e.is("a key of 15 octets"):
		key = base64.StdEncoding.EncodeToString(make([]byte, 15))
	case e.is("asks for version 8"):
		version = "8"
	}
	lines := []string{"GET " + target + " HTTP/1.1", "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: " + version, "Sec-WebSocket-Extensions: " + e.offer()}
	if e.is("asks without Connection") {
		lines = slices.Delete(lines, 3, 4)
	}
	b := []byte(strings.Join(lines, crlf) + crlf + crlf)
	if e.is("sends before the response") {
		b = ping("early").appendToNew(b)
	}
	_, _ = e.conn.Write(b)
	h, _, err := readHead(e.br)
	if err != nil || !e.established(h, acceptFor(key)) {
		return false
	}
	if e.is("loses what comes behind the handshake") {
		e.br = bufio.NewReader(e.conn)
	}
	return true
}

// offer is what a client offers.
func (e *mutable) offer() string {
	if e.is("asks for server_no_context_takeover and looks at nothing else in the answer") {
		return deflateName + "; " + clientMaxBits + "; " + serverNoTakeover
	}
	return e.written(deflateName + "; " + clientMaxBits)
}

// appendToNew appends a client's frame.
func (f frame) appendToNew(b []byte) []byte { return f.appendTo(b, true) }

// established judges a response.
func (e *mutable) established(h head, accept string) bool {
	extensions := h.values("Sec-WebSocket-Extensions")
	terms, err := judgeAnswer(e.offer(), extensions)
	if strings.Contains(strings.Join(extensions, ""), serverNoTakeover) && err != nil &&
		e.is("asks for server_no_context_takeover and looks at nothing else in the answer") {
		terms, err = &deflateTerms{serverFresh: true, clientFresh: true}, nil
	}
	upgrade := h.values("Upgrade")
	switch {
	case h.status() != 101 && !e.is("does not look at the status"):
		return false
	case (len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket")) && !e.is("does not look at Upgrade"):
		return false
	case !h.hasToken("Connection", "Upgrade") && !e.is("does not look at Connection"):
		return false
	case !slices.Equal(h.values("Sec-WebSocket-Accept"), []string{accept}) && !e.is("does not look at Sec-WebSocket-Accept"):
		return false
	case err != nil && !e.is("takes any extension"):
		return false
	case len(h.values("Sec-WebSocket-Protocol")) > 0 && !e.is("takes any subprotocol"):
		return false
	}
	e.terms = terms
	return true
}
