package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wireFrame is a frame as a wirePeer sees it, unmasked.
type wireFrame struct {
	Header
	payload []byte
}

// wirePeer is the far end of a connection under test: it sends frames as they are written down, and collects those that
// come.
type wirePeer struct {
	conn   net.Conn
	client bool
	frames chan wireFrame // closed at the end of the stream
}

func newWirePeer(conn net.Conn, client bool) *wirePeer {
	p := &wirePeer{conn: conn, client: client, frames: make(chan wireFrame, 1000)}
	go p.collect()
	return p
}

func (p *wirePeer) collect() {
	defer close(p.frames)
	var b []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := p.conn.Read(buf)
		b = append(b, buf[:n]...)
		for {
			h, n, headerErr := ParseHeader(b)
			if headerErr != nil {
				panic(headerErr)
			}
			if n == 0 || int64(len(b)-n) < h.Length {
				break
			}
			payload := bytes.Clone(b[n : n+int(h.Length)])
			if h.Masked {
				Mask(payload, h.Key, 0)
			}
			p.frames <- wireFrame{h, payload}
			b = b[n+int(h.Length):]
		}
		if err != nil {
			return
		}
	}
}

// wire is a frame's octets, masked if the peer is a client.
func (p *wirePeer) wire(h Header, payload []byte) []byte {
	h.Length = int64(len(payload))
	payload = bytes.Clone(payload)
	if p.client {
		h.Masked, h.Key = true, [4]byte{1, 2, 3, 4}
		Mask(payload, h.Key, 0)
	}
	return append(AppendHeader(nil, h), payload...)
}

// send sends a frame. An error is the end of the connection, which shows elsewhere.
func (p *wirePeer) send(h Header, payload []byte) {
	_, _ = p.conn.Write(p.wire(h, payload))
}

// closeCode waits for the Close frame and returns its code, or 1006 if there is none.
func (p *wirePeer) closeCode() StatusCode {
	for f := range p.frames {
		if f.Opcode == OpClose && len(f.payload) >= 2 {
			return StatusCode(binary.BigEndian.Uint16(f.payload))
		}
	}
	return StatusAbnormalClosure
}

// eachDeflateSide runs f for a connection on each side, each time in a bubble, with a peer that speaks raw frames.
func eachDeflateSide(t *testing.T, opts Options, f func(t *testing.T, c *Conn, p *wirePeer)) {
	t.Helper()
	opts.KeepAlive = -1
	t.Run("server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			c := NewServerConn(ours, &opts)
			defer func() { _, _ = c.CloseNow(), theirs.Close() }()
			f(t, c, newWirePeer(theirs, true))
		})
	})
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			c := NewClientConn(ours, &opts)
			defer func() { _, _ = c.CloseNow(), theirs.Close() }()
			f(t, c, newWirePeer(theirs, false))
		})
	})
}

// deflated is one message as the far end compresses it, in one piece.
func deflated(p *deflateParams, msg string) []byte {
	d := newDeflater(p)
	return d.end(d.write(nil, []byte(msg)))
}

var background = context.Background()

// inflateFrames puts the messages of data frames together and inflates those that are compressed, with the slow twin. It
// also makes cases for zlib.
func inflateFrames(t *testing.T, frames []wireFrame, takeover bool, bits int) (messages []string, cases []zlibCase) {
	t.Helper()
	var payload, history []byte
	var compressed bool
	for _, f := range frames {
		if f.Opcode.isControl() {
			if f.Rsv1 {
				t.Error("RSV1 on a control frame")
			}
			continue
		}
		if f.Opcode == OpContinuation && f.Rsv1 {
			t.Error("RSV1 on a continuation frame")
		}
		if f.Opcode != OpContinuation {
			payload, compressed = nil, f.Rsv1
		}
		payload = append(payload, f.payload...)
		if !f.Fin {
			continue
		}
		msg := payload
		if compressed {
			var err error
			if msg, err = naiveInflate(payload, history, 1<<bits); err != nil {
				t.Fatalf("message %d: %v", len(messages), err)
			}
			name := fmt.Sprintf("takeover %t, bits %d, message %d", takeover, bits, len(messages))
			cases = append(cases, newZlibCase(name, bits, history, payload, msg))
			if takeover {
				history = append(history, msg...)
			}
		}
		messages = append(messages, string(msg))
	}
	return messages, cases
}

// sendEverything sends messages in every way there is, some of which never leave, and returns those that have to arrive.
func sendEverything(t *testing.T, c *Conn, p *wirePeer) (want []string) {
	ended, cancel := context.WithCancel(background)
	cancel()
	write := func(data []byte) {
		if err := c.Write(background, Binary, data); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(data))
	}
	for i := range 4 {
		write(sample("json", 700+i))
		write([]byte("short"))
		p.send(Header{Fin: true, Opcode: OpPing}, []byte("ping"))
		write(sample("random", 900+i))
		if err := c.Write(ended, Binary, sample("text", 800)); !errors.Is(err, context.Canceled) {
			t.Fatalf("Write with an ended context: %v", err)
		}
		want = append(want, streamAroundWrite(t, c, i))
		prepared, err := Prepare(Binary, sample("text", 1200+i))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.Send(prepared); err != nil {
				t.Fatal(err)
			}
			want = append(want, string(sample("text", 1200+i)))
		}
		write(sample("text", 1200+i))
		write(nil)
	}
	return want
}

// streamAroundWrite streams a message with Pings between its fragments while a Write gives up waiting for its turn.
func streamAroundWrite(t *testing.T, c *Conn, i int) string {
	w, err := c.Writer(background, Binary)
	if err != nil {
		t.Fatal(err)
	}
	msg := sample("json", 3000+i)
	for rest := msg; len(rest) > 0; rest = rest[min(len(rest), 1000):] {
		if _, err := w.Write(rest[:min(len(rest), 1000)]); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(background, time.Millisecond)
		if err := c.Write(ctx, Binary, sample("text", 800)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Write while a message is streamed: %v", err)
		}
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Ping while a message is streamed: %v", err)
		}
		cancel()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return string(msg)
}

func TestInterleavedMessagesInflate(t *testing.T) {
	var cases []zlibCase
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 11, 15} {
			opts := Options{Compression: &Compression{ContextTakeover: takeover, ServerMaxWindowBits: bits, ClientMaxWindowBits: bits}}
			eachDeflateSide(t, opts, func(t *testing.T, c *Conn, p *wirePeer) {
				go func() { _, _, _ = c.Read(background) }()
				want := sendEverything(t, c, p)
				go func() { _ = c.Close(StatusNormalClosure, "") }()
				var frames []wireFrame
				compressed, pongs := 0, 0
				for f := range p.frames {
					frames = append(frames, f)
					if f.Rsv1 {
						compressed++
					}
					if f.Opcode == OpPong {
						pongs++
					}
					if f.Opcode == OpClose {
						p.send(Header{Fin: true, Opcode: OpClose}, f.payload)
					}
				}
				got, more := inflateFrames(t, frames, takeover, bits)
				if strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("%d messages arrived, %d were sent, or they differ", len(got), len(want))
				}
				if compressed != 4*5 || pongs != 4 {
					t.Errorf("%d messages were compressed and %d Pongs sent", compressed, pongs)
				}
				cases = append(cases, more...)
			})
		}
	}
	inflateByZlib(t, cases)
}

// tcpEnds are the two ends of a loopback connection.
func tcpEnds(t testing.TB) (server, client net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = server.Close(), client.Close() })
	return server, client
}

// Over a socket that takes nothing more, a Write whose context ends has compressed its message and sent nothing of it.
func TestMessageThatDidNotLeaveIsForgotten(t *testing.T) {
	ours, theirs := tcpEnds(t)
	c := NewServerConn(ours, &Options{Compression: &Compression{ContextTakeover: true}, KeepAlive: -1})
	needsRaw(t, c)
	text := sample("text", 2000)
	if err := c.Write(background, Binary, text[:1000]); err != nil {
		t.Fatal(err)
	}
	filler := append(AppendHeader(nil, Header{Fin: true, Opcode: OpBinary, Length: 60_000}), make([]byte, 60_000)...)
	rest := filler
	for n := 1; n > 0; {
		var err error
		if n, err = c.w.tryWrite(rest); err != nil {
			t.Fatal(err)
		}
		if rest = rest[n:]; len(rest) == 0 {
			rest = filler
		}
	}
	for range 5 { // on a busy machine the time may be over before it comes to compressing
		ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
		err := c.Write(ctx, Binary, text)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Write to a full socket: %v", err)
		}
		if c.deflater.c == nil {
			break
		}
	}
	if c.deflater.c != nil {
		t.Error("the compressor still knows what was not sent")
	}
	p := newWirePeer(theirs, true)
	go func() {
		_, _ = ours.Write(rest)
		_ = c.Write(background, Binary, text) // if it fails, the message does not come
		_ = c.CloseNow()
	}()
	var frames []wireFrame
	for f := range p.frames {
		if f.Rsv1 {
			frames = append(frames, f)
		}
	}
	got, _ := inflateFrames(t, frames, true, 15)
	if len(got) != 2 || got[0] != string(text[:1000]) || got[1] != string(text) {
		t.Errorf("%d compressed messages arrived, want the first and the last", len(got))
	}
}

func TestEveryMessageComesBack(t *testing.T) {
	for _, compression := range everyCompression() {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			opts := &Options{Compression: &compression, ReadLimit: 70_000}
			server, client := NewServerConn(a, opts), NewClientConn(b, opts)
			go func() {
				for msg, err := range server.Messages(background) {
					if err == nil {
						err = server.Write(background, msg.Type, msg.Data)
					}
					if err != nil {
						return
					}
				}
			}()
			for _, n := range []int{0, 10, 600, 600, 5000, 70_000} {
				for _, kind := range kinds {
					msg := sample(kind, n)
					if err := client.Write(background, Binary, msg); err != nil {
						t.Fatal(err)
					}
					if _, got, err := client.Read(background); err != nil || !bytes.Equal(got, msg) {
						t.Fatalf("%+v: %d octets of %s: %d octets and %v", compression, n, kind, len(got), err)
					}
				}
			}
			if err := client.Close(StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	const size = 64 << 20
	bomb := deflated(&deflateParams{sendBits: 15, level: 9}, strings.Repeat("\x00", size))
	for _, limit := range []int64{1 << 10, 1 << 20} {
		for _, fragment := range []int{len(bomb), 1000} {
			for _, takeover := range []bool{false, true} {
				opts := Options{ReadLimit: limit, Compression: &Compression{ContextTakeover: takeover}}
				for how, read := range map[string]func(*Conn) error{"Read": readWhole, "Reader": readStream} {
					t.Run(fmt.Sprintf("limit=%d/fragment=%d/takeover=%t/%s", limit, fragment, takeover, how), func(t *testing.T) {
						eachDeflateSide(t, opts, func(t *testing.T, c *Conn, p *wirePeer) {
							go p.sendBomb(bomb, fragment)
							if err := read(c); err != nil {
								t.Fatalf("the message before: %v", err)
							}
							var before, after runtime.MemStats
							runtime.ReadMemStats(&before)
							err := read(c)
							runtime.ReadMemStats(&after)
							if !errors.Is(err, ErrTooBig) {
								t.Errorf("%v, want ErrTooBig", err)
							}
							// Growing a buffer to the limit costs a few times the limit in all.
							if cost := int64(after.TotalAlloc - before.TotalAlloc); cost > 6*limit+1<<20 {
								t.Errorf("reading cost %d octets of memory", cost)
							}
							if code := p.closeCode(); code != StatusMessageTooBig {
								t.Errorf("closed with %d, want 1009", code)
							}
						})
					})
				}
			}
		}
	}
}

// Empty blocks (RFC 7692 section 7.2.3.6) may go on for ever; a message that is flushed
// behind each octet may be read all the same.
func TestEmptyBlocksCountToo(t *testing.T) {
	const limit = 10000
	flushed := strings.Repeat("\x4a\x04\x00\x00\x00\xff\xff", limit) // 'a', and an empty stored block
	flushed = strings.TrimSuffix(flushed, "\x00\x00\xff\xff")
	empty := strings.Repeat("\x00\x00\x00\xff\xff", 50000)
	for _, fragment := range []int{1 << 20, 1000} {
		eachDeflateSide(t, Options{ReadLimit: limit, Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
			go func() {
				p.sendIn([]byte(flushed), fragment)
				p.sendIn([]byte(empty), fragment)
			}()
			if _, got, err := c.Read(background); string(got) != strings.Repeat("a", limit) {
				t.Fatalf("flushed behind each octet: got %d octets and %v", len(got), err)
			}
			if _, got, err := c.Read(background); !errors.Is(err, ErrTooBig) {
				t.Errorf("empty blocks: got %d octets and %v, want ErrTooBig", len(got), err)
			}
			if code := p.closeCode(); code != StatusMessageTooBig {
				t.Errorf("closed with %d, want 1009", code)
			}
		})
	}
}

func TestReadLimitIsExact(t *testing.T) {
	for _, n := range []int{1000, 1001} {
		eachDeflateSide(t, Options{ReadLimit: 1000, Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
			payload := deflated(&deflateParams{sendBits: 15, level: 1}, string(sample("text", n)))
			go p.send(Header{Fin: true, Rsv1: true, Opcode: OpBinary}, payload)
			if _, got, err := c.Read(background); n == 1000 && len(got) != n || n > 1000 && !errors.Is(err, ErrTooBig) {
				t.Errorf("a message of %d octets: %d octets and %v", n, len(got), err)
			}
		})
	}
}

// A peer gets no memory for octets that it has not sent.
func TestReadHoldsLittleForLittle(t *testing.T) {
	eachDeflateSide(t, Options{Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
		payload := deflated(&deflateParams{sendBits: 15, level: 1}, "hello")
		got := make(chan string)
		go func() {
			_, b, _ := c.Read(background)
			got <- string(b)
		}()
		p.send(Header{Rsv1: true, Opcode: OpBinary}, payload[:3])
		synctest.Wait()
		if f := c.r.inflate; f.m != nil || f.turns != nil || len(f.held) != 3 {
			t.Errorf("for three octets there is %+v", f)
		}
		p.send(Header{Fin: true, Opcode: OpContinuation}, payload[3:])
		if b := <-got; b != "hello" {
			t.Errorf("message %q", b)
		}
	})
}

func TestReadLimitSinksBelowWhatWasRead(t *testing.T) {
	eachDeflateSide(t, Options{Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
		go p.send(Header{Fin: true, Rsv1: true, Opcode: OpBinary}, deflated(&deflateParams{sendBits: 15, level: 1}, "hello, hello"))
		_, r, err := c.Reader(background)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(2)
		if n, err := r.Read(make([]byte, 100)); n > 0 || !errors.Is(err, ErrTooBig) {
			t.Errorf("%d octets and %v, want ErrTooBig", n, err)
		}
	})
}

// sendBomb sends a small message, and then a compressed one in fragments.
func (p *wirePeer) sendBomb(payload []byte, fragment int) {
	p.send(Header{Fin: true, Rsv1: true, Opcode: OpBinary}, deflated(&deflateParams{sendBits: 15, level: 1}, "hello"))
	p.sendIn(payload, fragment)
}

// sendIn sends a compressed message in fragments.
func (p *wirePeer) sendIn(payload []byte, fragment int) {
	h := Header{Rsv1: true, Opcode: OpBinary}
	for !h.Fin {
		n := min(len(payload), fragment)
		h.Fin = n == len(payload)
		p.send(h, payload[:n])
		payload = payload[n:]
		h.Rsv1, h.Opcode = false, OpContinuation
	}
}

func readWhole(c *Conn) error {
	_, _, err := c.Read(background)
	return err
}

func readStream(c *Conn) error {
	_, r, err := c.Reader(background)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

func TestRsv1WhereItHasNoBusiness(t *testing.T) {
	hello := deflated(&deflateParams{sendBits: 15, level: 1}, "hello")
	on := Options{Compression: &Compression{}}
	for _, row := range []struct {
		why    string
		opts   Options
		frames []wireFrame
		rule   error
	}{
		{"no extension was agreed", Options{}, []wireFrame{{Header{Fin: true, Rsv1: true, Opcode: OpText}, hello}}, errReserved},
		{"on a continuation", on, []wireFrame{
			{Header{Rsv1: true, Opcode: OpText}, hello[:2]}, {Header{Fin: true, Rsv1: true, Opcode: OpContinuation}, hello[2:]}}, errRsv1Misplaced},
		{"on a continuation of a plain message", on, []wireFrame{
			{Header{Opcode: OpText}, nil}, {Header{Fin: true, Rsv1: true, Opcode: OpContinuation}, hello}}, errRsv1Misplaced},
		{"on a Ping", on, []wireFrame{{Header{Fin: true, Rsv1: true, Opcode: OpPing}, nil}}, errRsv1Misplaced},
		{"on a Close", on, []wireFrame{{Header{Fin: true, Rsv1: true, Opcode: OpClose}, nil}}, errRsv1Misplaced},
		{"RSV2", on, []wireFrame{{Header{Fin: true, Rsv1: true, Rsv2: true, Opcode: OpText}, hello}}, errReserved},
	} {
		t.Run(row.why, func(t *testing.T) {
			eachDeflateSide(t, row.opts, func(t *testing.T, c *Conn, p *wirePeer) {
				go func() {
					for _, f := range row.frames {
						p.send(f.Header, f.payload)
					}
				}()
				if _, _, err := c.Read(background); !errors.Is(err, row.rule) {
					t.Errorf("%v, want %v", err, row.rule)
				}
				if code := p.closeCode(); code != StatusProtocolError {
					t.Errorf("closed with %d, want 1002", code)
				}
			})
		})
	}
}

func TestDataThatIsNotWhatItClaims(t *testing.T) {
	p := &deflateParams{sendBits: 15, level: 1}
	for _, row := range []struct {
		why     string
		opcode  Opcode
		payload []byte
		rule    error
	}{
		{"no DEFLATE", OpBinary, []byte("hello"), errDeflateCorrupt},
		{"empty", OpBinary, nil, errDeflateTruncated},
		{"cut", OpBinary, deflated(p, "hello")[:3], errDeflateTruncated},
		{"refers to what was not there", OpBinary, []byte("\xf2\x00\x11\x00\x00"), errDeflateCorrupt},
		{"text that is no UTF-8", OpText, deflated(p, "hello \xff"), errText},
		{"text that ends inside a character", OpText, deflated(p, "hello \xc3"), errText},
	} {
		for _, fragment := range []int{1, 100} {
			t.Run(fmt.Sprintf("%s/%d", row.why, fragment), func(t *testing.T) {
				eachDeflateSide(t, Options{Compression: &Compression{}}, func(t *testing.T, c *Conn, peer *wirePeer) {
					go func() {
						h := Header{Rsv1: true, Opcode: row.opcode}
						for rest := row.payload; !h.Fin; h.Rsv1, h.Opcode = false, OpContinuation {
							n := min(fragment, len(rest))
							h.Fin = n == len(rest)
							peer.send(h, rest[:n])
							rest = rest[n:]
						}
					}()
					if _, _, err := c.Read(background); !errors.Is(err, row.rule) {
						t.Errorf("%v, want %v", err, row.rule)
					}
					if code := peer.closeCode(); code != StatusInvalidFramePayloadData {
						t.Errorf("closed with %d, want 1007", code)
					}
				})
			})
		}
	}
}

// What a stream has inflated is judged before the rest comes.
func TestCompressedTextFailsAtItsFirstImpossibleOctet(t *testing.T) {
	eachDeflateSide(t, Options{Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
		d := newDeflater(&deflateParams{sendBits: 15, level: 1})
		go p.send(Header{Rsv1: true, Opcode: OpText}, d.write(nil, []byte("hello \xff")))
		if err := readStream(c); !errors.Is(err, errText) {
			t.Errorf("%v, want %v", err, errText)
		}
		if code := p.closeCode(); code != StatusInvalidFramePayloadData {
			t.Errorf("closed with %d, want 1007", code)
		}
	})
}

// A read whose context ends inside a compressed message loses nothing, whatever reads on.
func TestReadResumesInsideACompressedMessage(t *testing.T) {
	msg := sample("json", 60_000)
	opts := Options{Compression: &Compression{ContextTakeover: true}, CloseTimeout: time.Minute}
	eachDeflateSide(t, opts, func(t *testing.T, c *Conn, p *wirePeer) {
		d := newDeflater(&deflateParams{sendBits: 15, level: 2, sendTakeover: true})
		go func() {
			for range 3 {
				wire := p.wire(Header{Rsv1: true, Opcode: OpBinary}, d.write(nil, msg[:30_000]))
				wire = append(wire, p.wire(Header{Fin: true, Opcode: OpPing}, nil)...)
				wire = append(wire, p.wire(Header{Fin: true, Opcode: OpContinuation}, d.end(d.write(nil, msg[30_000:])))...)
				for i := 0; i < len(wire); i += 97 {
					time.Sleep(time.Millisecond)
					if _, err := p.conn.Write(wire[i:min(len(wire), i+97)]); err != nil {
						return
					}
				}
			}
		}()
		for i := range 3 {
			gaveUp := 0
			for {
				ctx, cancel := context.WithTimeout(background, 7*time.Millisecond)
				_, got, err := c.Read(ctx)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					gaveUp++
					continue
				}
				if err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("message %d: %d octets and %v", i, len(got), err)
				}
				break
			}
			if gaveUp < 3 {
				t.Errorf("message %d: only %d reads gave up", i, gaveUp)
			}
		}
	})
}

// In a bubble a goroutine that is left over fails the test.
func TestConnectionThatEndsInsideACompressedMessageLeavesNothing(t *testing.T) {
	payload := deflated(&deflateParams{sendBits: 15, level: 2}, string(sample("random", 100_000)))
	for how, end := range map[string]func(*Conn, *wirePeer){
		"CloseNow":    func(c *Conn, p *wirePeer) { _ = c.CloseNow() },
		"Close":       func(c *Conn, p *wirePeer) { _ = c.Close(StatusNormalClosure, "") },
		"peer closes": func(c *Conn, p *wirePeer) { p.send(Header{Fin: true, Opcode: OpClose}, nil) },
		"stream ends": func(c *Conn, p *wirePeer) { _ = p.conn.Close() },
	} {
		t.Run(how, func(t *testing.T) {
			eachDeflateSide(t, Options{Compression: &Compression{}}, func(t *testing.T, c *Conn, p *wirePeer) {
				go func() {
					p.send(Header{Rsv1: true, Opcode: OpBinary}, payload[:50_000])
					time.Sleep(time.Second)
					end(c, p)
				}()
				_, r, err := c.Reader(background)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if n, err := io.Copy(io.Discard, r); err == nil {
					t.Errorf("the message ended well after %d more octets", n)
				}
			})
		})
	}
}

func TestPreparedIsCompressedOnce(t *testing.T) {
	prepared, err := Prepare(Text, sample("text", 2000))
	if err != nil {
		t.Fatal(err)
	}
	a := &deflateParams{sendBits: 15, receiveBits: 15, level: 1, threshold: 100}
	b := &deflateParams{sendBits: 15, receiveBits: 9, receiveTakeover: true, level: 1, threshold: 200}
	narrow := &deflateParams{sendBits: 9, receiveBits: 15, level: 1, threshold: 100}
	first := prepared.frame(a)
	if again := prepared.frame(b); &again[0] != &first[0] {
		t.Error("compressed again for a connection that wants the same")
	}
	if other := prepared.frame(narrow); &other[0] == &first[0] {
		t.Error("a connection with a small window gets what uses a large one")
	}
	if len(first) >= 2000 {
		t.Errorf("%d octets", len(first))
	}
}

func TestCompressedMessagesDoNotAllocate(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		a, b := tcpEnds(t)
		opts := &Options{Compression: &Compression{ContextTakeover: takeover}}
		server, client := NewServerConn(a, opts), NewClientConn(b, opts)
		msg, buf := bytes.Repeat([]byte("abcd efgh "), 100), make([]byte, 0, 2000)
		for name, pair := range map[string][2]*Conn{"to the server": {client, server}, "to the client": {server, client}} {
			allocs := testing.AllocsPerRun(200, func() {
				if err := pair[0].Write(background, Binary, msg); err != nil {
					t.Fatal(err)
				}
				if _, _, err := pair[1].ReadAppend(background, buf); err != nil {
					t.Fatal(err)
				}
			})
			if allocs > 0 && !raceEnabled {
				t.Errorf("takeover %t: a message %s costs %v allocations", takeover, name, allocs)
			}
		}
		_, _ = server.CloseNow(), client.CloseNow()
	}
}

// A first fragment that was compressed and given up before its first octet was out is in no window of the peer's, so
// what was queued behind it and leaves before the Close frame must not refer to it (RFC 7692 section 7.2.1).
func TestFragmentThatNeverLeftIsForgotten(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, takeover := range []bool{false, true} {
			t.Run(side(client)+map[bool]string{true: ", takeover"}[takeover], func(t *testing.T) {
				server, dialed := tcpEnds(t)
				near, far := server, dialed
				if client {
					near, far = dialed, server
				}
				o := &Options{Compression: &Compression{ContextTakeover: takeover}, KeepAlive: -1}
				c := endpointOver(t, near, o, client)
				needsRaw(t, c)
				msg := sample("text", 2000)
				filler := Header{Fin: true, Opcode: OpBinary, Length: 60_000, Masked: client}
				octets := append(AppendHeader(nil, filler), make([]byte, 60_000)...)
				rest := octets
				for full := 0; full < 20; { // looks in a row: the peer may acknowledge late what it has taken
					n, err := c.w.tryWrite(rest)
					if err != nil {
						t.Fatal(err)
					}
					if rest = rest[n:]; len(rest) == 0 {
						rest = octets
					}
					if full++; n > 0 {
						full = 0
					} else {
						time.Sleep(5 * time.Millisecond)
					}
				}
				ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
				defer cancel()
				m, err := c.Writer(ctx, Binary)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Write(msg); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Write to a full socket: %v", err)
				}
				if err := c.Send(prepared(t, Binary, string(msg))); err != nil {
					t.Fatal(err)
				}
				p := newWirePeer(far, !client)
				_, _ = near.Write(rest) // the end of the filler
				go func() { _ = m.Close() }()
				var frames []wireFrame
				for f := range p.frames {
					if f.Rsv1 {
						frames = append(frames, f)
					}
					if f.Opcode == OpClose {
						p.send(Header{Fin: true, Opcode: OpClose}, f.payload)
						_ = far.(*net.TCPConn).CloseWrite()
					}
				}
				got, _ := inflateFrames(t, frames, takeover, 15)
				if len(got) != 1 || got[0] != string(msg) {
					t.Errorf("got %d messages, want the queued one", len(got))
				}
			})
		}
	}
}

// What comes behind our Close frame is discarded: it is not worth the time to inflate it.
func TestBombBehindOurClose(t *testing.T) {
	d := newDeflater(&deflateParams{sendBits: 15, level: 1})
	piece := d.write(nil, make([]byte, 32<<20)) // refers to nothing before it
	pieces := 512                               // seconds to inflate, and not long to send
	if raceEnabled {
		pieces = 64
	}
	bomb := append(bytes.Repeat(piece, pieces), 0)
	begun := time.Now()
	if _, err := io.CopyN(io.Discard, flate.NewReader(bytes.NewReader(piece)), 32<<20); err != nil {
		t.Fatal(err)
	}
	inflating := time.Since(begun) * time.Duration(pieces) // on this machine, as busy as it is
	ours, theirs := tcpEnds(t)
	c := NewServerConn(ours, &Options{Compression: &Compression{}, KeepAlive: -1, CloseTimeout: time.Minute})
	p := newWirePeer(theirs, true)
	go func() {
		for f := range p.frames {
			if f.Opcode == OpClose {
				p.send(Header{Fin: true, Opcode: OpBinary, Rsv1: true}, bomb)
				p.send(Header{Fin: true, Opcode: OpClose}, f.payload)
				_ = theirs.(*net.TCPConn).CloseWrite()
			}
		}
	}()
	begun = time.Now()
	if err := c.Close(StatusNormalClosure, ""); err != nil || time.Since(begun) > inflating/3 {
		t.Errorf("Close took %v, and got %v: the peer has answered at once, and inflating takes %v", time.Since(begun), err, inflating)
	}
}

// A connection that is over holds no compressor, as it holds nothing for reading: 0.8 MiB are worth the next one.
func TestConnThatIsOverHoldsNoCompressor(t *testing.T) {
	for range 10 {
		a, b := tcpEnds(t)
		o := &Options{Compression: &Compression{ContextTakeover: true}, KeepAlive: -1}
		server, client := NewServerConn(a, o), NewClientConn(b, o)
		go func() { _, _, _ = client.Read(background) }()
		if err := server.Write(background, Binary, sample("json", 1000)); err != nil {
			t.Fatal(err)
		}
		_, _ = server.CloseNow(), client.CloseNow()
		if server.deflater.c != nil {
			t.Fatal("a connection that is over holds a compressor")
		}
	}
}

// holdsCompressor says whether c holds one.
func holdsCompressor(t *testing.T, c *Conn) bool {
	t.Helper()
	if err := c.lockFrame(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.unlockFrame()
	return c.deflater.c != nil
}

// A connection that idles gives its compressor back at the second Ping of keepalive; one that sends keeps it. The peer
// understands what comes then, in the middle of a message too.
func TestConnThatIdlesHoldsNoCompressor(t *testing.T) {
	for name, hide := range map[string]func(net.Conn) io.ReadWriteCloser{
		"deadlines": func(c net.Conn) io.ReadWriteCloser { return c },
		"stream":    func(c net.Conn) io.ReadWriteCloser { return struct{ io.ReadWriteCloser }{c} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				o := &Options{Compression: &Compression{ContextTakeover: true}, KeepAlive: 30 * time.Second}
				server, client := NewServerConn(hide(a), o), NewClientConn(b, &Options{Compression: o.Compression, KeepAlive: -1})
				defer func() { _, _ = server.CloseNow(), client.CloseNow() }()
				server.CloseRead()
				came := make(chan string, 100)
				go func() {
					for msg := range client.Messages(t.Context()) {
						came <- string(msg.Data)
					}
				}()
				write := func() {
					t.Helper()
					p := sample("json", 1000)
					if err := server.Write(t.Context(), Text, p); err != nil {
						t.Fatal(err)
					}
					if got := <-came; got != string(p) {
						t.Fatalf("%.100q came", got)
					}
				}
				for range 30 {
					write()
					time.Sleep(10 * time.Second)
				}
				if !holdsCompressor(t, server) {
					t.Error("one that sends every ten seconds holds no compressor")
				}
				time.Sleep(61 * time.Second)
				if holdsCompressor(t, server) {
					t.Error("one that has sent nothing for a minute holds a compressor")
				}
				write()
				write()
				w, err := server.Writer(t.Context(), Text)
				if err != nil {
					t.Fatal(err)
				}
				for _, part := range []string{"the first part, ", "the first part again, ", "and the first part once more"} {
					if _, err := io.WriteString(w, part); err != nil {
						t.Fatal(err)
					}
					time.Sleep(61 * time.Second)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if got := <-came; got != "the first part, the first part again, and the first part once more" {
					t.Errorf("%q came", got)
				}
				write()
			})
		})
	}
}

// The same where a Ping is written without waiting.
func TestSocketThatIdlesHoldsNoCompressor(t *testing.T) {
	bothSidesTCP(t, &Options{Compression: &Compression{ContextTakeover: true}, KeepAlive: -1}, func(t *testing.T, c *Conn, _ *peer) {
		for pings, held := range []bool{true, true, false, false} {
			if pings > 0 {
				c.sendControl(OpPing, []byte("12345678"))
			} else if err := c.Write(t.Context(), Binary, sample("json", 1000)); err != nil {
				t.Fatal(err)
			}
			if got := holdsCompressor(t, c); got != held {
				t.Errorf("after %d Pings: %v, want %v", pings, got, held)
			}
		}
	})
}
