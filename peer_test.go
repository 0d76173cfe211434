package websocket

// The scripted peer: it plays the far side of a connection in frames, also in
// frames that no endpoint may send, and says what it expects in sentences. It
// always has a goroutine that reads, for a net.Pipe has no buffer.

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// frame is a frame as the peer sends it or has seen it. Masked and Key are the
// peer's to fill in.
type frame struct {
	Header
	payload []byte

	form     int    // octets of the extended length, 2 or 8, where they are too many; 0: the shortest form
	length   uint64 // what the header says instead of len(payload); 0: the truth
	misplace bool   // masked where it must not be, and not where it must
	raw      []byte // octets that are sent as they are, instead of all that
	anyText  bool   // the reason of a Close frame may be any
}

func dataFrame(op Opcode, payload string) frame {
	return frame{Header: Header{Fin: true, Opcode: op}, payload: []byte(payload)}
}

func text(payload string) frame     { return dataFrame(OpText, payload) }
func binaryOf(payload string) frame { return dataFrame(OpBinary, payload) }
func cont(payload string) frame     { return dataFrame(OpContinuation, payload) }
func ping(payload string) frame     { return dataFrame(OpPing, payload) }
func pong(payload string) frame     { return dataFrame(OpPong, payload) }

// closeFrame is a Close frame with a code and a reason.
func closeFrame(code StatusCode, reason string) frame {
	return dataFrame(OpClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// emptyClose is a Close frame without a code.
func emptyClose() frame { return dataFrame(OpClose, "") }

// anyClose is a Close frame that may have any reason.
func anyClose(code StatusCode) frame {
	f := closeFrame(code, "")
	f.anyText = true
	return f
}

// octets is what has no form of its own, in hexadecimal; spaces don't count.
func octets(digits string) frame {
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return frame{raw: raw}
}

// more is f with the FIN bit clear.
func (f frame) more() frame { f.Fin = false; return f }

// rsv is f with the reserved bits 1 to 3 set that are named.
func (f frame) rsv(bits ...int) frame {
	for _, bit := range bits {
		switch bit {
		case 1:
			f.Rsv1 = true
		case 2:
			f.Rsv2 = true
		case 3:
			f.Rsv3 = true
		}
	}
	return f
}

// lengthIn is f with its length in a form of 2 or 8 octets.
func (f frame) lengthIn(octets int) frame { f.form = octets; return f }

// claims is f with a header that claims a length in 8 octets, whatever follows.
func (f frame) claims(length uint64) frame { f.form, f.length = 8, length; return f }

// wronglyMasked is f masked by a server, or not masked by a client.
func (f frame) wronglyMasked() frame { f.misplace = true; return f }

// append appends the octets of f as an endpoint sends them that masks, or not.
func (f frame) append(b []byte, masks bool, key [4]byte) []byte {
	if f.raw != nil {
		return append(b, f.raw...)
	}
	f.Masked = masks != f.misplace
	if f.Masked {
		f.Key = key
	}
	f.Length = int64(len(f.payload))
	start := len(b)
	switch b = AppendHeader(b, f.Header); f.form {
	case 2:
		b = binary.BigEndian.AppendUint16(append(b[:start+1], b[start+1]&maskBit|length16), uint16(f.Length))
	case 8:
		length := f.length
		if length == 0 {
			length = uint64(f.Length)
		}
		b = binary.BigEndian.AppendUint64(append(b[:start+1], b[start+1]&maskBit|length64), length)
	}
	if f.form > 0 && f.Masked {
		b = append(b, f.Key[:]...)
	}
	b = append(b, f.payload...)
	if f.Masked {
		Mask(b[len(b)-len(f.payload):], f.Key, 0)
	}
	return b
}

// String says all of f that an endpoint may see or expect.
func (f frame) String() string {
	if f.raw != nil {
		return "octets " + fmt.Sprintf("% x", f.raw)
	}
	parts := []string{f.Opcode.String()}
	if f.Opcode.String() == "reserved" {
		parts[0] = fmt.Sprintf("opcode %#x", uint8(f.Opcode))
	}
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{!f.Fin, "without FIN"}, {f.Rsv1, "RSV1"}, {f.Rsv2, "RSV2"}, {f.Rsv3, "RSV3"},
		{f.misplace, "WRONGLY MASKED"}, {f.form > 0, fmt.Sprintf("length in %d octets", f.form)},
		{f.length > 0, fmt.Sprintf("claiming %d octets", f.length)},
	} {
		if flag.set {
			parts = append(parts, flag.name)
		}
	}
	return strings.Join(append(parts, f.content()), " ")
}

// content describes the payload: a Close frame's as code and reason.
func (f frame) content() string {
	p := f.payload
	switch {
	case f.Opcode == OpClose && f.anyText:
		return fmt.Sprint(binary.BigEndian.Uint16(p))
	case f.Opcode == OpClose && len(p) == 0:
		return "without a code"
	case f.Opcode == OpClose && len(p) > 1:
		return fmt.Sprintf("%d %q", binary.BigEndian.Uint16(p), p[2:])
	}
	return abridged(p)
}

// abridged is p, or where that would be long, its length, checksum and beginning.
func abridged(p []byte) string {
	if len(p) <= 80 {
		return fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf("%d octets, checksum %08x, %q…", len(p), crc32.ChecksumIEEE(p), p[:20])
}

// describe is what got comes to where want is expected.
func describe(got, want frame) string {
	if want.anyText && got.Opcode == OpClose && len(got.payload) > 1 {
		got.anyText = true
	}
	return got.String()
}

// errNothing says that nothing has come that was waited for.
var errNothing = errors.New("nothing")

// peer is the far side of a connection under test.
type peer struct {
	t      testing.TB
	conn   io.ReadWriteCloser
	client bool // it plays the client, so it masks
	bubble bool // time is synctest's

	piece    int           // octets that are written at a time; 0: all at once
	patience time.Duration // longest that something expected may take

	todo    chan func() // what the writing goroutine has to do
	arrived chan struct{}
	stopped chan struct{}

	mu    sync.Mutex
	seen  []frame       // that have arrived and were not asked for yet; guarded by mu
	end   error         // why no more will arrive; guarded by mu
	keys  [][4]byte     // masking keys of all frames that have arrived; guarded by mu
	deaf  chan struct{} // reading waits until it is closed; nil: it does not wait; guarded by mu
	count uint32        // of frames sent, for masking keys
}

// newPeer makes a peer of a stream whose opening handshake is over.
func newPeer(t testing.TB, conn io.ReadWriteCloser, client bool) *peer {
	p := &peer{
		t: t, conn: conn, client: client, patience: 20 * time.Second,
		todo: make(chan func(), 1024), arrived: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	var running sync.WaitGroup
	running.Go(p.read)
	running.Go(func() {
		for {
			select {
			case do := <-p.todo:
				do()
			case <-p.stopped:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(p.stopped)
		p.listens()
		_ = conn.Close()
		running.Wait()
	})
	return p
}

// read collects the frames that arrive.
func (p *peer) read() {
	var b []byte
	for {
		if cap(b)-len(b) < 4<<10 {
			b = slices.Grow(b, 64<<10)
		}
		n, err := p.conn.Read(b[len(b):min(cap(b), len(b)+64<<10)])
		b = p.parse(b[:len(b)+n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if wait := p.isDeaf(); wait != nil {
				<-wait
			}
			continue
		}
		if err == nil {
			continue
		}
		if len(b) > 0 {
			err = fmt.Errorf("stream ended inside a frame: % x", b[:min(len(b), 40)])
		}
		p.mu.Lock()
		p.end = err
		p.mu.Unlock()
		p.signal()
		return
	}
}

// parse takes the whole frames that b begins with and returns the rest.
func (p *peer) parse(b []byte) []byte {
	for {
		h, n, err := ParseHeader(b)
		if err != nil {
			p.t.Errorf("header that does not parse: %v: % x", err, b[:min(len(b), maxHeader)])
			return nil
		}
		if n == 0 || int64(len(b)-n) < h.Length {
			return slices.Grow(b, max(0, n+int(min(h.Length, 64<<20))-len(b))) // once, not each time that a part of it comes
		}
		end := n + int(h.Length)
		payload := b[n:end:end]
		b = b[end:]
		f := frame{Header: h, payload: payload, misplace: h.Masked == p.client}
		p.mu.Lock()
		if h.Masked {
			Mask(payload, h.Key, 0)
			p.keys = append(p.keys, h.Key)
		}
		p.seen = append(p.seen, f)
		p.mu.Unlock()
		p.signal()
	}
}

func (p *peer) signal() {
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

func (p *peer) isDeaf() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}

// stopsListening makes the peer read nothing until listens is called.
func (p *peer) stopsListening() {
	p.mu.Lock()
	p.deaf = make(chan struct{})
	p.mu.Unlock()
	if err := p.conn.(net.Conn).SetReadDeadline(longAgo); err != nil {
		p.t.Error(err)
	}
}

// listens makes the peer read again.
func (p *peer) listens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf == nil {
		return
	}
	_ = p.conn.(net.Conn).SetReadDeadline(time.Time{}) // an error shows when it reads
	close(p.deaf)
	p.deaf = nil
}

// sends sends frames one after the other, behind what it is still sending. It
// waits for nothing; an endpoint that does not take them is no failure of the
// peer's.
func (p *peer) sends(frames ...frame) {
	var b []byte
	for _, f := range frames {
		p.count++
		b = f.append(b, p.client, [4]byte{0xA5, byte(p.count >> 8), byte(p.count), 0x5A})
	}
	p.writes(b)
}

// writes sends octets as they are.
func (p *peer) writes(b []byte) {
	piece := p.piece
	switch {
	case piece == 0:
		piece = len(b)
	case len(b) > 4<<10:
		piece = max(piece, 1<<10) // octet by octet would take its time
	}
	p.todo <- func() {
		for len(b) > 0 {
			n, err := p.conn.Write(b[:min(len(b), piece)])
			if err != nil {
				return
			}
			b = b[n:]
		}
	}
}

// hasSent waits until all that was to be sent is: over loopback it has arrived then.
func (p *peer) hasSent() {
	sent := make(chan struct{})
	p.todo <- func() { close(sent) }
	<-sent
}

// hangsUp closes the stream once all is sent.
func (p *peer) hangsUp() { p.todo <- func() { _ = p.conn.Close() } }

// stopsTalking ends the peer's direction of the stream once all is sent.
func (p *peer) stopsTalking() {
	half, ok := p.conn.(interface{ CloseWrite() error })
	if !ok {
		p.t.Fatal("BUG: a stream that can't be half-closed")
	}
	p.todo <- func() { _ = half.CloseWrite() }
}

// next takes the next frame that arrives, or what happens instead: errNothing
// for as long as the peer's patience, io.EOF at the end of the stream.
func (p *peer) next() (frame, error) {
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	for {
		if f, err := p.take(); err != errNothing {
			return f, err
		}
		select {
		case <-p.arrived:
		case <-timer.C:
			return p.take()
		}
	}
}

// take takes what has arrived.
func (p *peer) take() (frame, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) > 0 {
		f := p.seen[0]
		p.seen = p.seen[1:]
		return f, nil
	}
	if p.end != nil {
		return frame{}, p.end
	}
	return frame{}, errNothing
}

// expect takes what comes next and compares it to a frame.
func (p *peer) expect(want frame) (got string, ok bool) {
	f, err := p.next()
	if err != nil {
		return endOf(err), false
	}
	got = describe(f, want)
	return got, got == want.String()
}

// endOf says what came instead of a frame.
func endOf(err error) string {
	if err == io.EOF {
		return "end of stream"
	}
	return err.Error()
}

// expectEOF takes the end of the stream, which must be in order: no reset.
func (p *peer) expectEOF() (got string, ok bool) {
	f, err := p.next()
	if err != nil {
		return endOf(err), err == io.EOF
	}
	return f.String(), false
}

// expectIdle looks that nothing has arrived: where time is not synctest's, not
// yet; what comes later is not what is expected next.
func (p *peer) expectIdle() (got string, ok bool) {
	if p.bubble {
		synctest.Wait()
	}
	f, err := p.take()
	switch err {
	case errNothing:
		return "nothing", true
	case nil:
		return f.String(), false
	}
	return endOf(err), false
}

// want takes the frames that come next.
func (p *peer) want(why string, frames ...frame) {
	p.t.Helper()
	for _, want := range frames {
		if got, ok := p.expect(want); !ok {
			p.t.Fatalf("%s\n got: %s\nwant: %s", why, got, want)
		}
	}
}

// wantIdle wants nothing to come now.
func (p *peer) wantIdle(why string) {
	p.t.Helper()
	if got, ok := p.expectIdle(); !ok {
		p.t.Fatalf("%s\n got: %s\nwant: nothing", why, got)
	}
}

// wantEOF wants the stream to end in order, with nothing before the end.
func (p *peer) wantEOF(why string) {
	p.t.Helper()
	if got, ok := p.expectEOF(); !ok {
		p.t.Fatalf("%s\n got: %s\nwant: end of stream", why, got)
	}
}

// maskingKeys are the keys of all frames that have arrived.
func (p *peer) maskingKeys() [][4]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][4]byte(nil), p.keys...)
}

// quiet are Options under which nothing is sent that the test has no part in.
func quiet() *Options { return &Options{KeepAlive: -1} }

// overPipe connects an endpoint under test to a peer by a net.Pipe. In a bubble
// of synctest only.
func overPipe(t *testing.T, o *Options, client bool) (*Conn, *peer) {
	near, far := net.Pipe()
	p := newPeer(t, far, !client)
	p.bubble, p.patience = true, time.Second
	return endpointOver(t, near, o, client), p
}

// overTCP connects an endpoint under test to a peer by loopback TCP.
func overTCP(t *testing.T, o *Options, client bool) (*Conn, *peer) {
	t.Helper()
	near, far := tcpPair(t)
	p := newPeer(t, far, !client)
	return endpointOver(t, near, o, client), p
}

// endpointOver is the endpoint under test, which has no opening handshake.
func endpointOver(t *testing.T, near net.Conn, o *Options, client bool) *Conn {
	open := NewServerConn
	if client {
		open = NewClientConn
	}
	c := open(near, o)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// bothSides runs f with a server and with a client under test, each over a
// net.Pipe in a bubble of synctest.
func bothSides(t *testing.T, f func(t *testing.T, c *Conn, p *peer)) {
	t.Helper()
	bothSidesWith(t, quiet(), f)
}

// bothSidesWith is bothSides under Options.
func bothSidesWith(t *testing.T, o *Options, f func(t *testing.T, c *Conn, p *peer)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		t.Run(side(client), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := overPipe(t, o, client)
				f(t, c, p)
			})
		})
	}
}

func side(client bool) string {
	if client {
		return "client"
	}
	return "server"
}

// The peer is held against octets of RFC 6455 section 5.7 and against forms that
// AppendHeader does not make.
func TestPeerSpeaksOctets(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for _, row := range []struct {
		f     frame
		masks bool
		want  string
	}{
		{text("Hello"), false, "81 05 48 65 6c 6c 6f"},
		{text("Hello"), true, "81 85 37 fa 21 3d 7f 9f 4d 51 58"},
		{text("Hel").more(), false, "01 03 48 65 6c"},
		{cont("lo"), false, "80 02 6c 6f"},
		{ping("Hello"), false, "89 05 48 65 6c 6c 6f"},
		{text("H").wronglyMasked(), false, "81 81 37 fa 21 3d 7f"},
		{text("H").wronglyMasked(), true, "81 01 48"},
		{text("H").lengthIn(2), false, "81 7e 00 01 48"},
		{text("H").lengthIn(8), true, "81 ff 00 00 00 00 00 00 00 01 37 fa 21 3d 7f"},
		{binaryOf("").claims(1 << 63), false, "82 7f 80 00 00 00 00 00 00 00"},
		{ping("").rsv(1, 2, 3).more(), false, "79 00"},
		{dataFrame(0xB, ""), false, "8b 00"},
		{closeFrame(1000, "ok"), false, "88 04 03 e8 6f 6b"},
		{emptyClose(), false, "88 00"},
		{octets("00 ff"), true, "00 ff"},
	} {
		if got := fmt.Sprintf("% x", row.f.append(nil, row.masks, key)); got != row.want {
			t.Errorf("%v: got %s, want %s", row.f, got, row.want)
		}
	}
}

// Two peers talk to each other, so that what one sends can be seen to be what the
// other takes it for.
func TestPeerSeesWhatPeerSends(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000)
	frames := []frame{
		text("Hel").more(), ping("1"), cont("lo"), binaryOf(long), pong(""), text(long[:126]).rsv(1),
		dataFrame(0x3, "x"), text("H").wronglyMasked(), closeFrame(4000, "bye"), emptyClose(),
	}
	for _, piece := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			client, server := newPeer(t, near, true), newPeer(t, far, false)
			client.piece, server.piece, client.bubble = piece, piece, true
			client.wantIdle("nothing was sent yet")
			client.sends(frames...)
			server.want("what the client sent", frames...)
			server.sends(frames...)
			client.want("what the server sent", frames...)
			server.sends(closeFrame(1002, "some reason"), closeFrame(1002, "some reason"))
			client.want("a Close frame with any reason", anyClose(1002))
			if got, ok := client.expect(closeFrame(1002, "")); ok {
				t.Errorf("got %s for a Close frame without a reason", got)
			}
			server.stopsListening()
			client.sends(text("later"))
			server.bubble = true
			server.wantIdle("it does not listen")
			server.listens()
			server.want("what waited", text("later"))
			client.hangsUp()
			server.wantEOF("the client hung up")
		})
	}
}

func TestBothSidesEcho(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text("Hello"))
		typ, data, err := c.Read(t.Context())
		if typ != Text || string(data) != "Hello" || err != nil {
			t.Fatalf("got %v %q %v", typ, data, err)
		}
		if err := c.Write(t.Context(), typ, data); err != nil {
			t.Fatal(err)
		}
		p.want("the echo", text("Hello"))
	})
}
