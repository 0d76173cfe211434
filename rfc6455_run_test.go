package websocket

// How the rows of rfc6455_test.go run: each is a conversation between an endpoint
// under test, the application on top of it, and the scripted peer. It runs over
// every transport that the row can use, in both roles.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// row is a sentence of the RFC and a conversation that would go wrong if an
// endpoint did not keep to it. Unless the conversation ends the connection, it is
// followed by a closing handshake that the peer begins.
type row struct {
	id   string // "5.4-4": the fourth sentence of section 5.4 with a MUST, SHOULD or MAY; a letter for others
	says string // the sentence
	on   where
	opts *Options // nil: quiet
	talk []step
}

// where says what a row needs.
type where struct {
	role  string // "server" or "client" is under test; empty: both, one after the other
	half  bool   // a stream that can be half-closed
	fresh bool   // an endpoint without an opening handshake: the octets or the Options would not survive one
	timed bool   // time that is synctest's
}

var (
	atServer = where{role: "server"}
	atClient = where{role: "client"}
)

// step is one thing that the peer or the application does, or expects. Both
// results are the same where it went as expected.
type step struct {
	name string
	run  func(x *exchange) (got, want string)
}

// exchange is a row while it runs.
type exchange struct {
	*peer
	c      *Conn
	client bool // under test
	half   bool // the stream can be half-closed

	messages chan Message          // that the application has got
	over     chan error            // what ended the connection for the application
	results  map[string]chan error // of calls that wait
	writer   *MessageWriter
	ended    bool // the stream has ended
	told     bool // over was taken
}

// transport is a way to connect an endpoint to a peer.
type transport struct {
	name string
	has  where
	open func(t *testing.T, o *Options, has where) *exchange
}

// transports are all ways, those with synctest's time first. One that is added here
// runs all rows.
func transports() []transport {
	both := func(name string, has where, open func(*testing.T, *Options, where) *exchange) []transport {
		server, client := has, has
		server.role, client.role = "server", "client"
		return []transport{{name, server, open}, {name, client, open}}
	}
	return slices.Concat(
		both("pipe", where{fresh: true, timed: true}, openPipe),
		both("half-closing pipe", where{fresh: true, timed: true, half: true}, openPipe),
		both("TCP", where{fresh: true, half: true}, openTCP),
		[]transport{
			{"Accept", where{role: "server", half: true}, openAccept},
			{"Server.Handle", where{role: "server", half: true}, openHandle},
			{"Server.Message", where{role: "server", half: true}, openMessage},
			{"Dial", where{role: "client", half: true}, openDial},
		})
}

// takes says whether a row can run over a transport.
func (has where) takes(needs where) bool {
	return (needs.role == "" || needs.role == has.role) &&
		(!needs.half || has.half) && (!needs.fresh || has.fresh) && (!needs.timed || has.timed)
}

// run runs rows over all transports, whole and one octet at a time.
func run(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			for _, tr := range transports() {
				if !tr.has.takes(r.on) || t.Failed() && !tr.has.timed {
					continue // what fails in a bubble would fail elsewhere too, and take its time
				}
				t.Run(tr.has.role+" over "+tr.name, func(t *testing.T) { tr.run(t, r, 0) })
				t.Run(tr.has.role+" over "+tr.name+", octet by octet", func(t *testing.T) { tr.run(t, r, 1) })
			}
		})
	}
}

// run runs one row once.
func (tr transport) run(t *testing.T, r row, piece int) {
	opts := r.opts
	if opts == nil {
		opts = quiet()
	}
	talk := func(t *testing.T) {
		x := tr.open(t, opts, tr.has)
		x.client, x.half, x.piece = tr.has.role == "client", tr.has.half, piece
		x.results = map[string]chan error{}
		x.follow(t, r)
	}
	if tr.has.timed {
		synctest.Test(t, talk)
		return
	}
	talk(t)
}

// follow goes through the steps of a row, and then ends the connection.
func (x *exchange) follow(t *testing.T, r row) {
	for i, s := range append(slices.Clip(r.talk), x.ending()) {
		if got, want := s.run(x); got != want {
			t.Fatalf("%s %q\n step %d: %s\n  got: %s\n want: %s", r.id, r.says, i+1, s.name, got, want)
		}
	}
}

// ending is the last step of every row.
func (x *exchange) ending() step {
	return step{"the end", func(x *exchange) (got, want string) {
		if !x.ended {
			if got, want := closes(1000, "").run(x); got != want {
				return got, want
			}
		}
		if !x.told {
			if got := x.howItEnded(); got == errNothing.Error() {
				return "application was not told", "an error"
			}
		}
		select {
		case msg := <-x.messages:
			return "one more message: " + describeMessage(msg), "none"
		default:
			return "", ""
		}
	}}
}

// Steps of the peer.

func sends(frames ...frame) step {
	return step{fmt.Sprint("peer sends ", frames), func(x *exchange) (got, want string) {
		x.sends(frames...)
		return "", ""
	}}
}

func hangsUp() step {
	return step{"peer closes TCP", func(x *exchange) (got, want string) {
		x.hangsUp()
		x.ended = true
		return "", ""
	}}
}

// wants takes the frames that come next.
func wants(why string, frames ...frame) step {
	return step{why, func(x *exchange) (got, want string) {
		for _, f := range frames {
			if got, ok := x.expect(f); !ok {
				return got, f.String()
			}
		}
		return "", ""
	}}
}

// idle wants nothing to have come, and nothing that the application was told.
func idle(why string) step {
	return step{why, func(x *exchange) (got, want string) {
		if got, ok := x.expectIdle(); !ok {
			return got, "nothing"
		}
		if len(x.messages) > 0 {
			return describeMessage(<-x.messages), "no message"
		}
		if len(x.over) > 0 {
			return describeEnd(<-x.over), "no end"
		}
		return "", ""
	}}
}

// eof wants the endpoint to end the stream in order. Then the peer does, too.
func eof(why string) step {
	return step{why, func(x *exchange) (got, want string) {
		x.ended = true
		got, _ = x.expectEOF()
		x.hangsUp()
		return got, endOf(io.EOF)
	}}
}

// closes has the peer close, and the endpoint answer and end TCP in its turn: a
// server at once, a client when the server has (section 7.1.1).
func closes(code StatusCode, reason string) step {
	return step{fmt.Sprintf("peer closes with %d", code), func(x *exchange) (got, want string) {
		x.sends(closeFrame(code, reason))
		if got, want := wants("", anyClose(code)).run(x); got != want {
			return got, want
		}
		if got, want := parts().run(x); got != want {
			return got, want
		}
		return endsWith(closeFrame(code, reason).String()).run(x)
	}}
}

// parts has both ends end TCP when the Close frames have passed.
func parts() step {
	return step{"both end TCP", func(x *exchange) (got, want string) {
		if x.client && x.half {
			x.stopsTalking()
		}
		return eof("").run(x)
	}}
}

// fails wants the endpoint to fail the connection (section 7.1.7): a Close frame
// with the code, the end of the stream, and an error that names the section.
func fails(code StatusCode, section string) step {
	return failsWith(code, fmt.Sprintf("protocol error %d (%s)", code, section))
}

func failsWith(code StatusCode, end string) step {
	return step{fmt.Sprintf("endpoint fails the connection with %d", code), func(x *exchange) (got, want string) {
		if got, want := wants("", anyClose(code)).run(x); got != want {
			return got, want
		}
		if got, want := eof("").run(x); got != want {
			return got, want
		}
		return endsWith(end).run(x)
	}}
}

// passes lets synctest's time pass.
func passes(d time.Duration) step {
	return step{d.String() + " pass", func(x *exchange) (got, want string) {
		time.Sleep(d)
		return "", ""
	}}
}

// Steps of the application.

// delivers wants the application to get a message.
func delivers(typ MessageType, data string) step {
	return step{"application gets a message", func(x *exchange) (got, want string) {
		want = describeMessage(Message{typ, []byte(data)})
		timer := time.NewTimer(x.patience)
		defer timer.Stop()
		select {
		case msg := <-x.messages:
			return describeMessage(msg), want
		case err := <-x.over:
			if len(x.messages) > 0 { // both were there, and a message comes before the end
				x.over <- err
				return describeMessage(<-x.messages), want
			}
			return describeEnd(err), want
		case <-timer.C:
			return "nothing", want
		}
	}}
}

// endsWith wants the application to be told why the connection ended.
func endsWith(want string) step {
	return step{"application is told the end", func(x *exchange) (string, string) { return x.howItEnded(), want }}
}

// howItEnded is what the application was told.
func (x *exchange) howItEnded() string {
	x.told = true
	timer := time.NewTimer(x.patience)
	defer timer.Stop()
	select {
	case err := <-x.over:
		return describeEnd(err)
	case <-timer.C:
		return errNothing.Error()
	}
}

// writes has the application send messages.
func writes(typ MessageType, data ...string) step {
	return step{fmt.Sprintf("application writes %v", typ), func(x *exchange) (got, want string) {
		for _, d := range data {
			if err := x.c.Write(context.Background(), typ, []byte(d)); err != nil {
				return describeEnd(err), ""
			}
		}
		return "", ""
	}}
}

// refuses wants an error of a call of the application's.
func refuses(why string, call func(c *Conn) error) step {
	return step{why, func(x *exchange) (got, want string) {
		if call(x.c) == nil {
			return "no error", "an error"
		}
		return "", ""
	}}
}

// refusesMessages wants nothing to be sent any more.
func refusesMessages() step {
	return refuses("application can't write", func(c *Conn) error { return c.Write(context.Background(), Text, nil) })
}

// begins, continues and finishes have the application write a message in
// fragments.
func begins(typ MessageType, data string) step {
	return step{"application begins a message", func(x *exchange) (got, want string) {
		var err error
		if x.writer, err = x.c.Writer(context.Background(), typ); err != nil {
			return err.Error(), ""
		}
		return continues(data).run(x)
	}}
}

// loses wants an error when the application goes on with a message.
func loses(data string) step {
	return step{"application goes on with a message that can't be sent", func(x *exchange) (got, want string) {
		if _, err := x.writer.Write([]byte(data)); err == nil {
			return "no error", "an error"
		}
		if err := x.writer.Close(); err == nil {
			return "no error of Close", "an error"
		}
		return "", ""
	}}
}

func continues(data string) step {
	return step{"application goes on with its message", func(x *exchange) (got, want string) {
		if _, err := x.writer.Write([]byte(data)); err != nil {
			return err.Error(), ""
		}
		return "", ""
	}}
}

func finishes() step {
	return step{"application ends its message", func(x *exchange) (got, want string) {
		if err := x.writer.Close(); err != nil {
			return err.Error(), ""
		}
		return "", ""
	}}
}

// calls has the application call what may wait; returns looks at the result.
func calls(name string, call func(c *Conn) error) step {
	return step{"application calls " + name, func(x *exchange) (got, want string) {
		result := make(chan error, 1)
		x.results[name] = result
		go func() { result <- call(x.c) }()
		return "", ""
	}}
}

// callsClose has the application close the connection.
func callsClose(code StatusCode, reason string) step {
	return calls("Close", func(c *Conn) error { return c.Close(code, reason) })
}

// returns wants a call to have returned with an error, or "nil".
func returns(name, want string) step {
	return step{name + " returns", func(x *exchange) (string, string) {
		timer := time.NewTimer(x.patience)
		defer timer.Stop()
		select {
		case err := <-x.results[name]:
			return describeEnd(err), want
		case <-timer.C:
			return "it waits", want
		}
	}}
}

// cutsOff has the application end the connection without a closing handshake.
func cutsOff() step {
	return step{"application calls CloseNow", func(x *exchange) (got, want string) {
		_ = x.c.CloseNow()
		return "", ""
	}}
}

// sees looks at all that has come.
func sees(why string, look func(x *exchange) (got, want string)) step { return step{why, look} }

func describeMessage(msg Message) string {
	return fmt.Sprintf("%v %s", msg.Type, abridged(msg.Data))
}

// describeEnd says what an error tells the application, in few words.
func describeEnd(err error) string {
	var closed *CloseError
	var broken *ProtocolError
	switch {
	case err == nil:
		return "nil"
	case errors.As(err, &closed) && closed.Code == StatusNoStatusRcvd:
		return emptyClose().String()
	case errors.As(err, &closed):
		return closeFrame(closed.Code, closed.Reason).String()
	case errors.As(err, &broken):
		return fmt.Sprintf("protocol error %d (%s)", broken.Code, broken.Section)
	case errors.Is(err, ErrTooBig):
		return "too big"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected end"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return err.Error()
}

// newExchange is an exchange whose application reads by itself.
func newExchange(c *Conn, p *peer) *exchange {
	x := newQuietExchange(c, p)
	go x.reads(c)
	return x
}

// newQuietExchange is one whose application is told by somebody else.
func newQuietExchange(c *Conn, p *peer) *exchange {
	return &exchange{peer: p, c: c, messages: make(chan Message, 1024), over: make(chan error, 1)}
}

// reads is the application's loop.
func (x *exchange) reads(c *Conn) error {
	for msg, err := range c.Messages(context.Background()) {
		if err != nil {
			x.over <- err
			return err
		}
		x.messages <- msg
	}
	return nil
}

// halfPipe is one end of a stream in memory whose directions end separately.
type halfPipe struct {
	net.Conn          // that is read from
	out      net.Conn // that is written to
}

// newHalfPipe makes both ends.
func newHalfPipe() (near, far net.Conn) {
	nearIn, farOut := net.Pipe()
	farIn, nearOut := net.Pipe()
	return halfPipe{nearIn, nearOut}, halfPipe{farIn, farOut}
}

func (h halfPipe) Write(p []byte) (int, error)         { return h.out.Write(p) }
func (h halfPipe) CloseWrite() error                   { return h.out.Close() }
func (h halfPipe) Close() error                        { return errors.Join(h.Conn.Close(), h.out.Close()) }
func (h halfPipe) SetWriteDeadline(at time.Time) error { return h.out.SetWriteDeadline(at) }

func openPipe(t *testing.T, o *Options, has where) *exchange {
	near, far := net.Pipe()
	if has.half {
		near, far = newHalfPipe()
	}
	client := has.role == "client"
	p := newPeer(t, far, !client)
	p.bubble, p.patience = true, time.Second
	return newExchange(endpointOver(t, near, o, client), p)
}

func openTCP(t *testing.T, o *Options, has where) *exchange {
	c, p := overTCP(t, o, has.role == "client")
	return newExchange(c, p)
}

// behindHandshake is a stream of which octets were read ahead.
type behindHandshake struct {
	*net.TCPConn
	ahead *bufio.Reader
}

func (s behindHandshake) Read(p []byte) (int, error) { return s.ahead.Read(p) }

const sampleHandshake = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// connectTo opens a connection to a server under test, as a peer.
func connectTo(t *testing.T, handler http.Handler) *peer {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	stream := behindHandshake{conn.(*net.TCPConn), bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, sampleHandshake); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(stream.ahead, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, want 101", resp.StatusCode)
	}
	return newPeer(t, stream, true)
}

func openAccept(t *testing.T, o *Options, _ where) *exchange {
	conns := make(chan *Conn, 1)
	p := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, o)
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}))
	c := <-conns
	t.Cleanup(func() { _ = c.CloseNow() })
	return newExchange(c, p)
}

func openHandle(t *testing.T, o *Options, _ where) *exchange {
	x := newQuietExchange(nil, nil)
	s := &Server{Options: *o, Handle: func(c *Conn, _ *http.Request) error { return x.reads(c) }}
	return openServer(t, s, x)
}

func openMessage(t *testing.T, o *Options, _ where) *exchange {
	x := newQuietExchange(nil, nil)
	s := &Server{
		Options: *o,
		Message: func(_ *Conn, msg Message) error {
			x.messages <- Message{msg.Type, append([]byte(nil), msg.Data...)}
			return nil
		},
		Closed: func(_ *Conn, err error) { x.over <- err },
	}
	return openServer(t, s, x)
}

// openServer connects x to a Server.
func openServer(t *testing.T, s *Server, x *exchange) *exchange {
	conns := make(chan *Conn, 1)
	s.Open = func(c *Conn, _ *http.Request) error {
		conns <- c
		return nil
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // cuts what a failed row has left
		_ = s.Shutdown(ctx)
	})
	x.peer = connectTo(t, s)
	x.c = <-conns
	return x
}

func openDial(t *testing.T, o *Options, _ where) *exchange {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	streams := make(chan net.Conn, 1)
	go func() {
		defer close(streams)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		stream := behindHandshake{conn.(*net.TCPConn), bufio.NewReader(conn)}
		req, err := http.ReadRequest(stream.ahead)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", AcceptKey(req.Header.Get("Sec-WebSocket-Key")))
		streams <- stream
	}()
	c, _, err := Dial(t.Context(), "ws://"+l.Addr().String()+"/chat", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return newExchange(c, newPeer(t, <-streams, false))
}
