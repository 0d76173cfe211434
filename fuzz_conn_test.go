package websocket

// Whole conversations: any octets at any chunking, read in every way, are held
// against the reference, and whatever is written, in any order, is parsed back by
// it. FuzzConversation drives the reader alone and is fast; FuzzConn has a Conn
// around it; FuzzWriter is about the other direction.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// fuzzSetup is the part of a fuzz input that chooses among settings, bit by bit.
type fuzzSetup uint16

const (
	setServer     fuzzSetup = 1 << iota // the endpoint is a server, so octets are masked
	setDeflate                          // permessage-deflate is agreed
	setTakeover                         // with context takeover
	setTight                            // limits are small
	setAhead                            // some octets came right behind the handshake
	setLate                             // the stream's end comes together with its last octets
	setStyle                            // the first of three bits: how the first message is read
	_                                   //
	_                                   //
	setSameStyle                        // all messages are read like the first
	setEcho                             // messages are sent back
	setCloseAfter                       // the first of two bits: after how many messages Close is called; 0: never
	_                                   //
	setSocket                           // octets come by a socket, so that there are no pauses
)

func (s fuzzSetup) has(bit fuzzSetup) bool { return s&bit != 0 }

// bits is the number in n bits from first on.
func (s fuzzSetup) bits(first fuzzSetup, n uint) int { return int(s/first) & (1<<n - 1) }

// style is how message i is to be read.
func (s fuzzSetup) style(i int) int {
	if s.has(setSameStyle) {
		i = 0
	}
	return (s.bits(setStyle, 3) + i) % 8
}

func (s fuzzSetup) params() *deflateParams {
	if !s.has(setDeflate) {
		return nil
	}
	takeover := s.has(setTakeover)
	return &deflateParams{sendTakeover: takeover, receiveTakeover: takeover, sendBits: 15, receiveBits: 15, level: 1}
}

func (s fuzzSetup) limits() (octets, frames int) {
	if s.has(setTight) {
		return 100, 4
	}
	return 1 << 20, 1 << 17
}

// judge is what the reference makes of octets that come to the endpoint.
func (s fuzzSetup) judge(octets []byte) *reference {
	r := &reference{masked: s.has(setServer), deflate: s.has(setDeflate), takeover: s.has(setTakeover), window: maxWindow}
	r.limit, r.frames = s.limits()
	r.play(octets)
	return r
}

// cutAhead takes the octets that came right behind the handshake.
func (s fuzzSetup) cutAhead(octets []byte) (ahead, rest []byte) {
	n := 0
	if s.has(setAhead) {
		n = min(20, len(octets))
	}
	return octets[:n:n], octets[n:]
}

// bounded cuts octets to what the slow twins can take.
func (s fuzzSetup) bounded(octets []byte) []byte {
	if s.has(setDeflate) {
		return octets[:min(len(octets), 4<<10)]
	}
	return octets[:min(len(octets), 80<<10)]
}

// chunks is a stream that gives octets in chunks, as an octet of cuts says for each:
// its low five bits a length less one, then a flag for 128 times as much, one for a
// pause before it and one for a Read that gives nothing.
type chunks struct {
	octets  []byte
	cuts    []byte
	next    int // in cuts, again and again
	left    int // octets of the chunk
	arrived int
	late    bool         // io.EOF comes together with the last octets
	pause   func() error // what a Read gives that finds nothing
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.octets) == 0 {
		return 0, io.EOF
	}
	if c.left == 0 {
		if again, err := c.cut(); again {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), c.left)], c.octets)
	c.octets = c.octets[n:]
	c.left -= n
	c.arrived += n
	if c.late && len(c.octets) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// cut begins a chunk, and says whether a Read is to give nothing of it yet.
func (c *chunks) cut() (again bool, err error) {
	if len(c.cuts) == 0 {
		c.left = len(c.octets)
		return false, nil
	}
	cut := c.cuts[c.next%len(c.cuts)]
	c.next++
	c.left = int(cut&31) + 1
	if cut&32 != 0 {
		c.left *= 128
	}
	if cut&64 != 0 {
		err = c.pause()
	}
	return err != nil || cut&128 != 0, err
}

// reading is a reader under test.
type reading struct {
	t      *testing.T
	r      reader
	stream *chunks
	setup  fuzzSetup
	got    played
	pauses int
}

func newReading(t *testing.T, octets, cuts []byte, setup fuzzSetup) *reading {
	ahead, rest := setup.cutAhead(octets)
	x := &reading{t: t, setup: setup}
	x.stream = &chunks{octets: rest, cuts: cuts, late: setup.has(setLate), arrived: len(ahead), pause: func() error { return errWouldBlock }}
	x.r.init(x.stream, ahead)
	x.r.control = controlFunc(func(op Opcode, p []byte) error {
		if op == OpClose {
			closed, err := parseClosePayload(p)
			if err == nil {
				err = closed
			}
			return err
		}
		x.got.seen = append(x.got.seen, occurrence{op, string(p)})
		return nil
	})
	limit, frames := setup.limits()
	x.r.limit.Store(int64(limit))
	x.r.frames, x.r.deflate = frames, setup.params()
	x.r.seq = sequence{masked: setup.has(setServer), deflate: setup.has(setDeflate)}
	return x
}

// play reads to the end.
func (x *reading) play() {
	defer x.r.release()
	for i := 0; x.got.end.what == ""; i++ {
		var typ MessageType
		var data []byte
		var err error
		switch x.setup.style(i) {
		case 0, 1:
			typ, data, err = x.whole(nil)
		case 2:
			typ, data, err = x.whole(make([]byte, 0, 50))
		case 3:
			typ, data, err = x.inPieces(1)
		case 4:
			typ, data, err = x.inPieces(7)
		case 5:
			typ, data, err = x.inPieces(5000)
		default:
			typ, data, err = x.asEvent()
		}
		if err != nil {
			x.got.end = outcomeOf(x.t, err)
			return
		}
		x.got.seen = append(x.got.seen, occurrence{Opcode(typ), string(data)})
	}
}

// goesOn says whether err is a pause. Every other pause ends the read, and what
// it has got so far is kept.
func (x *reading) goesOn(err error, b, out []byte) (kept, goesOn bool) {
	if err != errWouldBlock {
		return false, false
	}
	if x.pauses++; x.pauses%2 == 0 {
		return false, true
	}
	if p := out[len(b):]; len(p) > 0 {
		x.r.save(slices.Clone(p))
	}
	x.r.rest()
	return true, true
}

// whole reads as Conn.ReadAppend does, with b to append to.
func (x *reading) whole(b []byte) (MessageType, []byte, error) {
	out := b
	for {
		typ, err := x.r.next()
		if err == nil {
			out, err = x.r.appendMessage(out)
			x.checkMemory(out)
		}
		if err == nil {
			return typ, out, nil
		}
		kept, goesOn := x.goesOn(err, b, out)
		if !goesOn {
			return 0, nil, err
		}
		if kept {
			out = b
		}
	}
}

// checkMemory holds what a message takes against what of it has arrived.
func (x *reading) checkMemory(b []byte) {
	arrived := max(x.stream.arrived, len(b), len(x.r.saved))
	if most := 4*arrived + 2*firstGrowth; cap(b) > most || cap(x.r.saved) > most {
		x.t.Fatalf("%d octets have arrived, and %d and %d are taken for them", arrived, cap(b), cap(x.r.saved))
	}
}

// inPieces reads as MessageReader.Read does.
func (x *reading) inPieces(size int) (typ MessageType, data []byte, err error) {
	p := make([]byte, size)
	for {
		var n int
		if typ, err = x.r.next(); err == nil {
			n, err = x.r.read(p)
			data = append(data, p[:n]...)
		}
		if err == io.EOF {
			return typ, data, nil
		}
		if err == nil && n == 0 {
			x.t.Fatal("a read gave nothing and no error")
		}
		if err == nil {
			continue
		}
		if _, goesOn := x.goesOn(err, nil, nil); !goesOn {
			return 0, nil, err
		}
	}
}

// asEvent reads as eventConn.next does.
func (x *reading) asEvent() (MessageType, []byte, error) {
	var data []byte
	for apart := false; ; {
		has := x.r.hasWhole()
		typ, p, whole, err := x.r.nextInPlace()
		if whole {
			return typ, slices.Clone(p), err
		}
		if err == nil && has && !apart && !x.r.seq.compressed {
			x.t.Fatal("the next message is whole, and is not taken in place")
		}
		if err == nil {
			apart = true
			if data, err = x.r.appendMessage(data); err == nil {
				return typ, data, nil
			}
		}
		if _, goesOn := x.goesOn(err, nil, nil); !goesOn {
			return 0, nil, err
		}
	}
}

// outcomeOf is what an error says about the end of a conversation.
func outcomeOf(t *testing.T, err error) outcome {
	var closed *CloseError
	var broken *ProtocolError
	switch {
	case errors.As(err, &closed):
		return outcome{"close", closed.Code, closed.Reason}
	case errors.As(err, &broken):
		return violates(broken.Code)
	case errors.Is(err, ErrTooBig):
		return tooLong
	case errors.Is(err, io.ErrUnexpectedEOF):
		return streamEnds
	}
	t.Fatalf("ended by %v", err)
	return outcome{}
}

// addTight adds messages that just keep small limits, and that just don't.
func addTight(f *testing.F) {
	d := newDeflater(&deflateParams{sendBits: 15, level: 9})
	for _, n := range []int{100, 101} {
		message := strings.Repeat("x", n)
		deflated := string(d.end(d.write(nil, []byte(message))))
		for _, frames := range [][]frame{
			{binaryOf(message)},
			{binaryOf(message[:60]).more(), ping("?"), cont(message[60:])},
			{text(deflated).rsv(1)},
			{text(deflated[:5]).rsv(1).more(), ping("?"), cont(deflated[5:])},
			slices.Concat([]frame{text("").more()}, slices.Repeat([]frame{cont("").more()}, n-98), []frame{cont("")}), // 4 or 5
		} {
			var octets []byte
			for _, f := range frames {
				octets = f.append(octets, false, [4]byte{})
			}
			f.Add(octets, []byte{}, uint16(setTight|setDeflate))
			f.Add(octets, []byte{0x41}, uint16(setTight|setDeflate|4*setStyle))
			f.Add(octets, []byte{}, uint16(setTight|setDeflate|6*setStyle)) // in place
		}
	}
}

// FuzzConversation: any octets at any chunking, with pauses between them and read
// in any way, come to what the reference says, in the same order: messages, Pings
// and Pongs, and the end.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("\x01\x03\xe2\x82\xac\x89\x01!\x00\x02ab\x80\x00\x88\x02\x03\xe8"), []byte{0x40, 0x81, 3}, uint16(setStyle))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x0f\xff\xff that was the header of a megabyte"), []byte{0x42}, uint16(0))
	addTight(f)
	f.Add([]byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x41\x00\xc1\x05\xf2\x00\x11\x00\x00"), []byte{1}, uint16(setDeflate|setTakeover))
	f.Fuzz(func(t *testing.T, octets, cuts []byte, setup uint16) {
		s := fuzzSetup(setup)
		octets = s.bounded(octets)
		want := s.judge(octets)
		x := newReading(t, slices.Clone(octets), cuts, s)
		x.play()
		want.check(t, x.got)
	})
}

// scriptedConn is a net.Conn that has all that it gives, and keeps all that it is
// given. It waits for nobody, but for the context that a pause ends.
type scriptedConn struct {
	mu       sync.Mutex
	stream   chunks             // guarded by mu
	cancel   context.CancelFunc // ends the read that is going on; nil: it has no context; guarded by mu
	deadline time.Time          // of reads; guarded by mu
	changed  *sync.Cond         // deadline or closed has
	closed   bool               // guarded by mu
	sent     []byte             // guarded by mu
	room     int                // octets that may still be sent, after that writes fail; guarded by mu
}

var errNoRoom = errors.New("no room")

func newScriptedConn(octets, cuts []byte, late bool) *scriptedConn {
	c := &scriptedConn{room: 1 << 30}
	c.changed = sync.NewCond(&c.mu)
	c.stream = chunks{octets: octets, cuts: cuts, late: late, pause: c.pause}
	return c
}

// pause ends the context of the read that is going on, and with it the read.
// Called with c.mu held.
func (c *scriptedConn) pause() error {
	cancel := c.cancel
	if cancel == nil || !c.deadline.IsZero() {
		return nil
	}
	c.cancel = nil
	cancel()
	for c.deadline.IsZero() && !c.closed {
		c.changed.Wait()
	}
	return os.ErrDeadlineExceeded
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.deadline == longAgo:
		return 0, os.ErrDeadlineExceeded
	}
	return c.stream.Read(p)
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	n := min(len(p), c.room)
	c.room -= n
	c.sent = append(c.sent, p[:n]...)
	if n < len(p) {
		return n, errNoRoom
	}
	return n, nil
}

// all is what was sent.
func (c *scriptedConn) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		panic("the stream is still open")
	}
	return c.sent
}

func (c *scriptedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}

func (c *scriptedConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	c.changed.Broadcast()
	return nil
}

func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return nil }
func (c *scriptedConn) RemoteAddr() net.Addr             { return nil }

// talk is a Conn under test and the application that has it.
type talk struct {
	t      *testing.T
	c      *Conn
	conn   *scriptedConn // nil: a socket
	sent   func() []byte // all that was sent, once the connection is over
	setup  fuzzSetup
	got    played // messages only
	closed bool   // we have called Close, with this result:
	err    error
}

// ownClose is what the application closes with.
var ownClose = outcome{"close", StatusGoingAway, "enough"}

func newTalk(t *testing.T, octets, cuts []byte, setup fuzzSetup, sockets net.Listener) *talk {
	ahead, rest := setup.cutAhead(octets)
	x := &talk{t: t, setup: setup}
	limit, frames := setup.limits()
	cfg := config{client: !setup.has(setServer), ahead: ahead, deflate: setup.params(), limits: &limits{
		readLimit: int64(limit), maxFragments: frames, sendLimit: 1 << 20, writeTimeout: time.Minute, closeTimeout: time.Minute}}
	if setup.has(setSocket) {
		cfg.rwc, x.sent = overSocket(t, sockets, chunks{octets: rest, cuts: cuts, pause: func() error { return nil }})
	} else {
		x.conn = newScriptedConn(rest, cuts, setup.has(setLate))
		cfg.rwc, x.sent = x.conn, x.conn.all
	}
	x.c = newConn(cfg)
	return x
}

// overSocket is a socket that a peer writes chunks to, who keeps what is sent.
func overSocket(t *testing.T, l net.Listener, stream chunks) (near net.Conn, sent func() []byte) {
	near, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(struct{ io.Writer }{far}, struct{ io.Reader }{&stream}) // as far as it is taken
		_ = far.(interface{ CloseWrite() error }).CloseWrite()
	}()
	all := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(far) // a reset is an end too
		_ = far.Close()
		all <- b
	}()
	return near, func() []byte { return <-all }
}

// play reads to the end, or as far as the application goes.
func (x *talk) play() {
	if x.setup.style(0) == 7 {
		x.serve()
		return
	}
	for i := 0; !x.closed; i++ {
		typ, data, err := x.read(x.setup.style(i))
		x.noContext()
		if err == nil {
			err = x.handle(typ, data)
		}
		if err != nil && !x.closed {
			x.got.end = outcomeOf(x.t, err)
			return
		}
	}
}

// handle is the application: it sends messages back, and closes when it has had
// enough.
func (x *talk) handle(typ MessageType, data []byte) error {
	x.got.seen = append(x.got.seen, occurrence{Opcode(typ), string(data)})
	if x.setup.has(setEcho) {
		if err := x.c.Write(context.Background(), typ, data); err != nil {
			x.t.Errorf("a message can't be sent back: %v", err)
		}
	}
	if len(x.got.seen) == x.setup.bits(setCloseAfter, 2) {
		x.closed = true
		x.err = x.c.Close(ownClose.code, ownClose.reason)
	}
	return nil
}

// read reads a message, with a new context after each pause.
func (x *talk) read(style int) (typ MessageType, data []byte, err error) {
	var m *MessageReader
	for {
		ctx := x.context()
		err = nil
		switch {
		case style < 2:
			typ, data, err = x.c.Read(ctx)
		case style < 4:
			typ, data, err = x.c.ReadAppend(ctx, make([]byte, 0, 50))
		case m == nil:
			typ, m, err = x.c.Reader(ctx)
		}
		if err == nil && m != nil {
			m.SetContext(ctx)
			err = x.readOn(m, &data)
		}
		if err == io.EOF {
			return typ, data, nil
		}
		if errors.Is(err, context.Canceled) || m != nil && err == nil {
			continue
		}
		return typ, data, err
	}
}

// readOn reads a piece of a message.
func (x *talk) readOn(m *MessageReader, data *[]byte) error {
	p := make([]byte, 9)
	n, err := m.Read(p)
	*data = append(*data, p[:n]...)
	if (err == nil) != (n > 0) {
		x.t.Fatalf("a read gave %d octets and %v", n, err)
	}
	return err
}

// context is a context that the next pause ends.
func (x *talk) context() context.Context {
	if x.conn == nil {
		return context.Background()
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.conn.mu.Lock()
	if old := x.conn.cancel; old != nil {
		defer old()
	}
	x.conn.cancel = cancel
	x.conn.mu.Unlock()
	return ctx
}

// noContext lets octets come without pauses: nothing is there that they could end.
func (x *talk) noContext() {
	if x.conn == nil {
		return
	}
	x.conn.mu.Lock()
	defer x.conn.mu.Unlock()
	if cancel := x.conn.cancel; cancel != nil {
		cancel()
	}
	x.conn.cancel = nil
}

// serve has messages come by event mode.
func (x *talk) serve() {
	over := make(chan error, 1)
	s := &Server{
		Message: func(_ *Conn, msg Message) error { return x.handle(msg.Type, msg.Data) },
		Closed:  func(_ *Conn, err error) { over <- err },
	}
	if err := s.Serve(x.c, nil); err != nil {
		x.t.Fatal(err)
	}
	if err := <-over; !x.closed {
		x.got.end = outcomeOf(x.t, err)
	}
}

// finish ends what is left of the connection, and returns what was sent.
func (x *talk) finish() []byte {
	if _, _, err := x.c.Read(context.Background()); !errors.Is(err, net.ErrClosed) && err != ErrEventMode {
		x.t.Errorf("after the end, Read gives %v", err)
	}
	if err := x.c.Write(context.Background(), Text, nil); !errors.Is(err, net.ErrClosed) {
		x.t.Errorf("after the end, Write gives %v", err)
	}
	_ = x.c.Close(StatusNormalClosure, "") // waits for the end that is under way
	_ = x.c.CloseNow()
	return x.sent()
}

// check holds what was read and what was sent against the reference.
func (x *talk) check(want *reference, sent []byte) {
	answers := &reference{masked: !x.setup.has(setServer), deflate: want.deflate, takeover: want.takeover,
		window: maxWindow, limit: 1 << 30, frames: 1 << 30}
	answers.play(sent)
	messages, pings := only(want.seen, OpText, OpBinary), only(want.seen, OpPing)
	owed := outcome{"close", want.end.code, ""}
	switch {
	case x.closed:
		x.checkPrefix("messages", x.got.seen, messages)
		x.checkPrefix("Pongs", asPings(answers.seen), pings)
		owed = ownClose
		early := want.open != 0 && want.compressed
		if exact := !x.c.eventMode && !x.setup.has(setTight) && !early; exact && (x.err == nil) != (want.end.what == "close") {
			x.t.Errorf("Close has returned %v, and what came ended with %v", x.err, want.end)
		}
	default:
		r := *want
		r.seen, r.earlyFrom = messages, len(only(want.seen[:want.earlyFrom], OpText, OpBinary))
		r.check(x.t, x.got)
		owed.code = x.got.end.code
		x.checkPongs(asPings(answers.seen), pings, x.got.end == want.end && len(want.early) == 0)
	}
	if x.setup.has(setEcho) {
		x.checkEqual("echoes", only(answers.seen, OpText, OpBinary), x.got.seen)
	}
	if x.got.end == streamEnds {
		owed = streamEnds
	}
	got := answers.end
	if owed.reason == "" {
		got.reason = ""
	}
	if got != owed || len(answers.rest) > 0 {
		x.t.Errorf("what was sent ended with %v and %d octets more, want %v and nothing more", got, len(answers.rest), owed)
	}
}

// asPings is the Pongs of a list, as the Pings that they answer.
func asPings(list []occurrence) (pings []occurrence) {
	for _, o := range only(list, OpPong) {
		pings = append(pings, occurrence{OpPing, o.payload})
	}
	return pings
}

// checkPongs holds Pongs against Pings. All have to be there if the connection
// was ended by a Close frame and they were not so many that some were replaced.
func (x *talk) checkPongs(pongs, pings []occurrence, exact bool) {
	octets := 0
	for _, p := range pings {
		octets += 2 + len(p.payload)
	}
	switch {
	case octets > owedLimit:
		return
	case exact && x.got.end != streamEnds:
		x.checkEqual("Pongs", pongs, pings)
	default:
		x.checkPrefix("Pongs", pongs, pings)
	}
}

func (x *talk) checkEqual(what string, got, want []occurrence) {
	if !slices.Equal(got, want) {
		x.t.Errorf("%s: got\n%v\nwant\n%v", what, played{seen: got}, played{seen: want})
	}
}

func (x *talk) checkPrefix(what string, got, want []occurrence) {
	x.checkEqual(what+" at the beginning", got, want[:min(len(got), len(want))])
}

// FuzzConn: FuzzConversation for a whole connection, by each of the ways to read
// and with contexts that end between chunks, over a stream or a socket. What it sends is right too: a Pong for
// each Ping, and at most one Close frame with the code that the end calls for, with
// nothing behind it.
func FuzzConn(f *testing.F) {
	f.Add([]byte("A\x7f00000000"), []byte("0"), uint16(1142)) // compressed, of more octets than can be needed
	f.Add([]byte("\x01\x03\xe2\x82\xac\x89\x01!\x00\x02ab\x80\x00\x88\x02\x03\xe8"), []byte{0x40, 0x81, 3}, uint16(setEcho))
	addTight(f)
	f.Add([]byte("\x81\x01a\x82\x01b\x89\x00\x88\x02\x03\xe8\x89\x00"), []byte{0x40}, uint16(setEcho|2*setCloseAfter))
	sockets, err := net.Listen("unix", filepath.Join(f.TempDir(), "socket"))
	if err != nil {
		f.Skip(err)
	}
	f.Cleanup(func() { _ = sockets.Close() })
	f.Fuzz(func(t *testing.T, octets, cuts []byte, setup uint16) {
		s := fuzzSetup(setup)
		octets = s.bounded(octets)
		want := s.judge(octets)
		x := newTalk(t, slices.Clone(octets), cuts, s, sockets)
		x.play()
		x.check(want, x.finish())
	})
}

// endlessText is n octets of an endless text from octet at on, and endlessOctets
// the same of octets that nothing repeats.
func endlessText(at, n int) []byte {
	const phrase = "a text that compresses, aé日👏; "
	return bytes.Repeat([]byte(phrase), (n+len(phrase)-1)/len(phrase)+1)[at%len(phrase):][:n]
}

func endlessOctets(at, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		v := uint32(at+i) * 2654435761
		p[i] = byte(v>>24) ^ byte(v>>11)
	}
	return p
}

// sending is a Conn under test that writes.
type sending struct {
	t    *testing.T
	c    *Conn
	conn *scriptedConn

	want   []occurrence // messages, in order
	sure   int          // of them were written, by the word of a call that returned nil
	pongs  []occurrence // in order
	octets int          // that may still be written at length

	w       *MessageWriter // that is open; nil: none
	partial occurrence     // its message so far
	queued  []occurrence   // behind it
	failed  bool           // a call has failed
}

// newSending makes a Conn whose peer answers the Close frame, and takes room octets.
func newSending(t *testing.T, setup fuzzSetup, params *deflateParams, room int) *sending {
	server := setup.has(setServer)
	answer := closeFrame(StatusNormalClosure, "").append(nil, server, [4]byte{1, 2, 3, 4})
	conn := newScriptedConn(answer, nil, false)
	if room > 0 {
		conn.room = room
	}
	octets := 1 << 17
	if params != nil {
		octets = 1 << 13 // the twin inflates slowly
	}
	return &sending{t: t, conn: conn, octets: octets, c: newConn(config{rwc: conn, client: !server, deflate: params,
		limits: &limits{readLimit: 1 << 20, maxFragments: 1, sendLimit: 1 << 40, closeTimeout: time.Minute}})}
}

// step does one thing: an octet says what, two how many octets, one of which kind.
func (x *sending) step(op, high, low, kind byte) {
	n := int(high)<<8 | int(low)
	if x.octets -= n; x.octets < 0 {
		n %= 200
	}
	typ, payload := Text, endlessText
	if kind&1 == 1 {
		typ, payload = Binary, endlessOctets
	}
	switch op % 7 {
	case 0, 1:
		x.endWriter()
		x.write(typ, endWhole(typ, payload(int(kind), n)))
	case 2:
		x.send(typ, endWhole(typ, payload(int(kind), n)))
	case 3, 4:
		x.piece(typ, n)
	case 5:
		x.endWriter()
		x.invalid(payload(0, n%100))
	case 6:
		p := payload(0, n%126)
		x.c.sendControl(OpPong, p)
		x.pongs = append(x.pongs, occurrence{OpPong, string(p)})
	}
}

// endWhole cuts off a character that is not whole.
func endWhole(typ MessageType, p []byte) []byte {
	for typ == Text && !utf8.Valid(p) {
		p = p[:len(p)-1]
	}
	return p
}

// failedBy takes note of the result of a call.
func (x *sending) failedBy(err error) bool {
	if x.failed && err == nil {
		x.t.Error("a call has failed, and the next one has not")
	}
	if err != nil && x.conn.roomLeft() {
		x.t.Errorf("failed with %v, but the peer takes octets", err)
	}
	x.failed = err != nil
	return x.failed
}

func (c *scriptedConn) roomLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room > 0
}

func (x *sending) write(typ MessageType, p []byte) {
	before := bytes.Clone(p)
	err := x.c.Write(context.Background(), typ, p)
	if !bytes.Equal(p, before) {
		x.t.Error("Write has changed its argument")
	}
	x.want = append(x.want, occurrence{Opcode(typ), string(p)})
	if !x.failedBy(err) {
		x.sure = len(x.want)
	}
}

func (x *sending) send(typ MessageType, p []byte) {
	prepared, err := Prepare(typ, p)
	if err != nil {
		x.t.Fatal(err)
	}
	err = x.c.Send(prepared)
	clear(p) // it was copied
	if err != nil {
		return // so does the next write
	}
	o := occurrence{Opcode(typ), string(prepared.payload)}
	if x.w != nil {
		x.queued = append(x.queued, o)
		return
	}
	x.want = append(x.want, o)
}

// piece writes a fragment.
func (x *sending) piece(typ MessageType, n int) {
	if x.w == nil {
		w, err := x.c.Writer(context.Background(), typ)
		if err != nil {
			x.failedBy(err)
			return
		}
		x.w, x.partial = w, occurrence{opcode: Opcode(typ)}
	}
	payload := endlessText
	if x.partial.opcode == OpBinary {
		payload = endlessOctets
	}
	x.fragment(payload(len(x.partial.payload), n))
}

func (x *sending) fragment(p []byte) {
	if n, err := x.w.Write(p); err == nil && n == len(p) {
		x.partial.payload += string(p)
	} else if len(p) > 0 {
		x.failedBy(err)
	}
}

// endWriter ends the message of the MessageWriter, if there is one.
func (x *sending) endWriter() {
	if x.w == nil {
		return
	}
	for x.partial.opcode == OpText && !utf8.ValidString(x.partial.payload) && !x.failed {
		x.fragment(endlessText(len(x.partial.payload), 1))
	}
	err := x.w.Close()
	x.w = nil
	x.want = append(x.want, x.partial)
	if !x.failedBy(err) {
		x.sure = len(x.want)
	}
	x.want = append(x.want, x.queued...)
	x.queued = nil
}

// invalid writes what is no message, which changes nothing.
func (x *sending) invalid(p []byte) {
	if err := x.c.Write(context.Background(), Text, append(p, 0xFF)); err != errNotUTF8 {
		x.t.Errorf("writing text that is none gave %v", err)
	}
	if err := x.c.Write(context.Background(), MessageType(OpPing), p); err != errMessageType {
		x.t.Errorf("writing a Ping as a message gave %v", err)
	}
}

// finish ends the connection in one of four ways, and returns how what was sent
// has to end.
func (x *sending) finish(how byte) outcome {
	switch {
	case how%4 == 1 && x.w != nil:
		x.abandon()
		_ = x.w.Abort() // the peer is told, if it takes that
		x.failed = x.failed || !x.conn.roomLeft()
		return outcome{"close", StatusInternalError, ""}
	case how%4 == 2 && x.w != nil:
		_, _ = x.w.Write([]byte{0xFF}) // in a text, that fails at once or at Close
		if x.partial.opcode == OpText {
			x.abandon()
			if x.w.Close() == nil {
				x.t.Error("a text that is none was ended")
			}
			x.failed = x.failed || !x.conn.roomLeft()
			return outcome{"close", StatusInternalError, ""}
		}
	case how%4 != 3:
		x.endWriter()
	}
	reason := strings.Repeat("é", int(how))
	if err := x.c.Close(StatusNormalClosure, reason); err != nil {
		x.failedBy(err)
	}
	return outcome{"close", StatusNormalClosure, reason[:min(len(reason), 122)]}
}

// abandon is for a message that is given up: what is queued behind it follows only
// where nothing of it is out.
func (x *sending) abandon() {
	if !x.c.fragmenting {
		x.want = append(x.want, x.queued...)
	}
	x.queued = nil
}

// check holds what was sent against what was to be sent.
func (x *sending) check(parsed *reference, end outcome) {
	messages, pongs := only(parsed.seen, OpText, OpBinary), only(parsed.seen, OpPong)
	if n := len(messages); n < x.sure || n > len(x.want) || !slices.Equal(messages, x.want[:n]) || !x.failed && n < len(x.want) {
		x.t.Errorf("messages: sent\n%v\nwant\n%v\nof which %d for sure", played{seen: messages}, played{seen: x.want}, x.sure)
	}
	if n := len(pongs); n > len(x.pongs) || !slices.Equal(pongs, x.pongs[:n]) || !x.failed && n < len(x.pongs) {
		x.t.Errorf("Pongs: sent\n%v\nwant\n%v", played{seen: pongs}, played{seen: x.pongs})
	}
	whole := parsed.end == end && len(parsed.rest) == 0
	if !whole && !(x.failed && parsed.end == streamEnds) {
		x.t.Errorf("what was sent ended with %v and %d octets more, want %v", parsed.end, len(parsed.rest), end)
	}
}

// FuzzWriter: whatever is written in whatever order, in one role or the other,
// compressed or not, is by the reference the same messages in the same order; and
// where the network fails in the middle, no message that is not whole.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("\x00\x00\x05\x00\x03\x01\x00\x00\x06\x00\x00\x00\x02\x00\x20\x01\x04\x00\x03\x00"), uint16(setServer), uint32(0))
	f.Add([]byte("\x03\xff\x00\x00\x03\x00\x01\x00\x06\x00\x09\x01\x00\xff\xff\x00"), uint16(setDeflate|setTakeover), uint32(0))
	f.Add([]byte("\x02\x40\x00\x01\x02\x00\x10\x00\x00\x00\x10\x00"), uint16(0), uint32(9000))
	f.Fuzz(func(t *testing.T, steps []byte, setup uint16, room uint32) {
		s := fuzzSetup(setup)
		params := s.params()
		if params != nil {
			params.sendBits = 8 + s.bits(setTight, 3)
			params.level = []int{-2, 1, 2, 9}[s.bits(setStyle, 2)]
			params.threshold = s.bits(setSameStyle, 3) * 50
		}
		x := newSending(t, s, params, int(room%(1<<20)))
		steps = steps[:min(len(steps), 4*40)]
		for ; len(steps) >= 4; steps = steps[4:] {
			x.step(steps[0], steps[1], steps[2], steps[3])
		}
		end := x.finish(byte(setup >> 8))
		parsed := &reference{masked: !s.has(setServer), limit: 1 << 30, frames: 1 << 30}
		if params != nil {
			parsed.deflate, parsed.takeover, parsed.window = true, params.sendTakeover, 1<<params.sendBits
		}
		_ = x.c.CloseNow()
		x.conn.mu.Lock()
		defer x.conn.mu.Unlock()
		parsed.play(x.conn.sent)
		x.check(parsed, end)
	})
}
