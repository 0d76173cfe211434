package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This file holds what a long message that does not come at once is waited for with: SO_RCVLOWAT.

// lowEnd is one end of a TCP connection whose other end reads whole messages.
type lowEnd struct {
	t    *testing.T
	c    *Conn
	far  net.Conn
	got  chan []byte // messages
	over chan error  // what has ended the reading
	stop func()      // ends the calls of Read; nil: there are none
	msg  []byte      // that was begun last
	left []byte      // its octets that were not sent yet
}

// lowEnds runs f with an end in event mode and with one that calls Read. TCP's buffer is as long as it takes.
func lowEnds(t *testing.T, o Options, f func(*lowEnd)) {
	for _, mode := range []string{"events", "Read"} {
		t.Run(mode, func(t *testing.T) {
			near, far := tcpPair(t)
			l := &lowEnd{t: t, far: far, got: make(chan []byte, 1), over: make(chan error, 1)}
			if mode == "events" {
				s := &Server{Options: o}
				s.Message = func(_ *Conn, msg Message) error { l.got <- bytes.Clone(msg.Data); return nil }
				s.Closed = func(_ *Conn, err error) { l.over <- err }
				l.c = serveEvents(t, s, near)
			} else {
				l.c = NewServerConn(near, &o)
				ctx, stop := context.WithCancel(context.Background())
				l.stop = stop
				t.Cleanup(func() { stop(); _ = l.c.CloseNow() })
				go func() {
					for {
						_, b, err := l.c.Read(ctx)
						if err != nil {
							l.over <- err
							return
						}
						l.got <- b
					}
				}()
			}
			l.growBuffer()
			f(l)
		})
	}
}

// growBuffer gives TCP a buffer of which maxLow is a small part: Linux makes it as long as what is to be waited for takes.
func (l *lowEnd) growBuffer() {
	l.t.Helper()
	if !wakesInTime() {
		l.t.Skip("before Linux 5.12 a reader is woken for any octets")
	}
	for _, n := range []int{lowShare * maxLow, 1} {
		l.control(func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n) })
	}
	if room := l.option(syscall.SO_RCVBUF); room < lowShare*maxLow {
		if os.Getenv("CI") != "" {
			l.t.Fatalf("TCP's buffer stays at %d octets", room)
		}
		l.t.Skipf("TCP's buffer stays at %d octets: this system lets it have no more", room)
	}
}

// begins begins a message of 1 MiB and sends n octets of it.
func (l *lowEnd) begins(n int) {
	l.msg = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	l.left = binaryOf(string(l.msg)).append(nil, true, [4]byte{1, 2, 3, 4})
	l.sends(n)
}

// sends sends n octets more.
func (l *lowEnd) sends(n int) {
	l.t.Helper()
	if _, err := l.far.Write(l.left[:n]); err != nil {
		l.t.Fatal(err)
	}
	l.left = l.left[n:]
}

// wants waits for the message.
func (l *lowEnd) wants() {
	l.t.Helper()
	select {
	case b := <-l.got:
		if !bytes.Equal(b, l.msg) {
			l.t.Fatalf("another message, of %d octets", len(b))
		}
	case err := <-l.over:
		l.t.Fatalf("it is over: %v", err)
	case <-time.After(10 * time.Second):
		l.t.Fatalf("the message does not come; %d octets are waited for", l.option(syscall.SO_RCVLOWAT))
	}
}

func (l *lowEnd) option(name int) (v int) {
	l.t.Helper()
	l.control(func(fd int) (err error) {
		v, err = syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, name)
		return err
	})
	return v
}

func (l *lowEnd) control(f func(fd int) error) {
	l.t.Helper()
	raw, err := l.c.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		l.t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	if err = errors.Join(err, failed); err != nil {
		l.t.Fatal(err)
	}
}

// waitsFor waits until n octets are waited for.
func (l *lowEnd) waitsFor(n int) {
	l.t.Helper()
	for begun := time.Now(); l.option(syscall.SO_RCVLOWAT) != n; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			l.t.Fatalf("%d octets are waited for, want %d", l.option(syscall.SO_RCVLOWAT), n)
		}
	}
}

// arrived is how many octets wait to be read.
func (l *lowEnd) arrived() (n int) {
	l.t.Helper()
	p := make([]byte, 1<<20)
	l.control(func(fd int) error {
		n, _, _ = syscall.Recvfrom(fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT) // an error: none
		return nil
	})
	return max(0, n)
}

// waitsForAll waits until all of the message that was not read yet is waited for, be it on its way or not.
func (l *lowEnd) waitsForAll() {
	l.t.Helper()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		low, n := l.option(syscall.SO_RCVLOWAT), len(l.left)+l.arrived()
		if low == n {
			return
		}
		if time.Since(begun) > 5*time.Second {
			l.t.Fatalf("%d octets are waited for, want %d", low, n)
		}
	}
}

// A long message that does not come at once is waited for many octets at a time, but never for more than are to come.
func TestLongMessageIsWaitedForInFewPieces(t *testing.T) {
	lowEnds(t, *quiet(), func(l *lowEnd) {
		l.begins(300 << 10)
		l.waitsFor(maxLow)
		l.sends(100 << 10) // of which nobody takes notice
		l.waitsFor(maxLow)
		l.sends(450 << 10)
		l.waitsForAll()
		l.sends(len(l.left) - 1)
		select {
		case b := <-l.got:
			l.t.Fatalf("a message of %d octets came before its last one", len(b))
		case <-time.After(20 * time.Millisecond):
		}
		l.sends(1)
		l.wants()
		l.waitsFor(1)
		l.msg, l.left = []byte("short"), binaryOf("short").append(nil, true, [4]byte{5, 6, 7, 8})
		l.sends(7)
		l.waitsFor(1)
		l.sends(len(l.left))
		l.wants()
	})
}

// A rest that is not worth it is waited for octet by octet, as is what is compressed.
func TestWhatIsWorthBeingWaitedFor(t *testing.T) {
	for _, row := range []struct {
		left       int64
		compressed bool
		want       int32
	}{{0, false, 0}, {minLow, false, 0}, {minLow + 1, false, minLow + 1}, {2*maxLow - 1, false, 2*maxLow - 1}, {2 * maxLow, false, maxLow},
		{math.MaxInt64, false, maxLow}, {maxLow, true, 0}} {
		r := reader{left: row.left, seq: sequence{compressed: row.compressed}}
		if got := r.least(); got != row.want {
			t.Errorf("%+v: got %d", row, got)
		}
	}
}

// Behind a frame of a compressed message that is inflated at one go, since it comes to nothing, a much shorter one may
// follow.
func TestShortFrameBehindALongCompressedOne(t *testing.T) {
	lowEnds(t, Options{Compression: &Compression{}, KeepAlive: -1}, func(l *lowEnd) {
		l.msg = []byte("short")
		empty := strings.Repeat("\x00\x00\x00\xff\xff", 20<<10) // blocks that are stored (RFC 1951 section 3.2.4)
		l.left = binaryOf(empty).more().rsv(1).append(nil, true, [4]byte{1, 2, 3, 4})
		l.sends(maxHeader)
		time.Sleep(20 * time.Millisecond) // for the header to be read
		l.sends(len(l.left))
		time.Sleep(20 * time.Millisecond) // and for the frame
		l.left = cont(string(deflated(l.c.r.deflate, string(l.msg)))).append(nil, true, [4]byte{5, 6, 7, 8})
		l.sends(len(l.left))
		l.wants()
	})
}

// The end of the stream is heard of, however many octets are waited for.
func TestEndInsideALongMessageIsHeardOf(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn) error{
		"FIN": (*net.TCPConn).CloseWrite,
		"RST": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			lowEnds(t, *quiet(), func(l *lowEnd) {
				l.begins(300 << 10)
				l.waitsFor(maxLow)
				l.sends(10)
				if err := end(l.far.(*net.TCPConn)); err != nil {
					l.t.Fatal(err)
				}
				select {
				case err := <-l.over:
					if name == "FIN" && !errors.Is(err, io.ErrUnexpectedEOF) {
						l.t.Errorf("got %v", err)
					}
				case <-time.After(5 * time.Second):
					l.t.Error("nobody notices")
				}
			})
		})
	}
}

// Who closes inside a long message hears the peer's Close frame behind the rest of it (7.1.2).
func TestCloseInsideALongMessageHearsTheAnswer(t *testing.T) {
	lowEnds(t, Options{KeepAlive: -1, CloseTimeout: 10 * time.Second}, func(l *lowEnd) {
		l.begins(300 << 10)
		l.waitsFor(maxLow)
		closed := make(chan error, 1)
		go func() { closed <- l.c.Close(StatusGoingAway, "") }()
		if _, err := io.ReadFull(l.far, make([]byte, 4)); err != nil {
			l.t.Fatal(err)
		}
		l.sends(len(l.left) - 1)
		time.Sleep(20 * time.Millisecond) // for that to be read
		l.left = closeFrame(StatusGoingAway, "").append(l.left, true, [4]byte{1, 2, 3, 4})
		l.sends(len(l.left))
		go func() {
			_, _ = io.Copy(io.Discard, l.far)
			_ = l.far.Close() // the server ends TCP first (7.1.1)
		}()
		select {
		case err := <-closed:
			if err != nil {
				l.t.Error(err)
			}
		case <-time.After(5 * time.Second):
			l.t.Error("the answer is not heard")
		}
	})
}

// Octets of which the system says nothing are a sign of life all the same.
func TestSlowOctetsOfALongMessageAreASignOfLife(t *testing.T) {
	lowEnds(t, Options{KeepAlive: 100 * time.Millisecond, PongTimeout: time.Second}, func(l *lowEnd) {
		l.begins(300 << 10)
		l.waitsFor(maxLow)
		for begun := time.Now(); time.Since(begun) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
			l.sends(1)
			select {
			case err := <-l.over:
				l.t.Fatalf("a peer that sends was given up: %v", err)
			default:
			}
		}
		l.sends(len(l.left))
		l.wants()
	})
}

// Who wants to read as it comes gets each octet at once, also of a message that was to be read as a whole before.
func TestReaderGetsWhatComesOfALongMessage(t *testing.T) {
	lowEnds(t, *quiet(), func(l *lowEnd) {
		if l.stop == nil {
			return // in event mode nobody else reads
		}
		l.begins(300 << 10)
		l.waitsFor(maxLow)
		l.stop()
		if err := <-l.over; !errors.Is(err, context.Canceled) {
			l.t.Fatalf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, r, err := l.c.Reader(ctx)
		if err != nil {
			l.t.Fatal(err)
		}
		got := make([]byte, len(l.msg)-len(l.left))
		for part, i := got, 0; i < 20; part, i = make([]byte, 1), i+1 {
			if _, err := io.ReadFull(r, part); err != nil || !bytes.HasPrefix(l.msg, part) {
				l.t.Fatalf("octet %d, %d of them: other ones, or %v", i, len(part), err)
			}
			l.msg = l.msg[len(part):]
			l.sends(1)
		}
	})
}

// What is waited for leaves room in TCP's buffer and is worth it; less can be asked for at any time.
func TestWhatIsWaitedForFitsTCP(t *testing.T) {
	for _, row := range []struct {
		room             int // of TCP's buffer, about
		least, now, want int32
	}{
		{4 << 10, maxLow, 0, 0},
		{1, minLow - 1, minLow, minLow - 1},
		{1, 0, minLow, 0},
	} {
		near, _ := tcpPair(t)
		if err := near.(*net.TCPConn).SetReadBuffer(row.room); err != nil {
			t.Fatal(err)
		}
		raw, err := near.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if got := wakeFor(int(fd), row.least, row.now); got != row.want {
				t.Errorf("%+v: got %d", row, got)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// MPTCP, which net.Listen accepts, wakes for SO_RCVLOWAT only: not where its buffer or its window is full before that.
func TestLongMessageOverMPTCP(t *testing.T) {
	for name, row := range map[string]struct {
		room, piece int
		shrinks     bool
	}{"small segments": {256 << 10, 1, false}, "shrinking buffer": {2 << 20, 1400, true}} {
		for _, mode := range []string{"Read", "events"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				var d net.Dialer
				d.SetMultipathTCP(true)
				far, err := d.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer far.Close()
				near, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				tcp := near.(*net.TCPConn)
				if is, _ := tcp.MultipathTCP(); !is {
					t.Skip("this system has no MPTCP")
				}
				if err := tcp.SetReadBuffer(row.room); err != nil {
					t.Fatal(err)
				}
				got := make(chan error, 1)
				if mode == "events" {
					s := &Server{Options: *quiet(), Message: func(*Conn, Message) error { got <- nil; return nil }}
					serveEvents(t, s, near)
				} else {
					c := NewServerConn(near, quiet())
					defer c.CloseNow()
					go func() {
						_, _, err := c.Read(context.Background())
						got <- err
					}()
				}
				wire := binaryOf(string(make([]byte, 600<<10))).append(nil, true, [4]byte{1, 2, 3, 4})
				begun := 300 << 10
				if _, err := far.Write(wire[:begun]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond) // for that to be read, and the rest to be waited for
				if row.shrinks {
					if err := tcp.SetReadBuffer(32 << 10); err != nil {
						t.Fatal(err)
					}
				}
				go func() {
					for b := wire[begun:]; len(b) > 0; b = b[min(row.piece, len(b)):] {
						if _, err := far.Write(b[:min(row.piece, len(b))]); err != nil {
							return
						}
					}
				}()
				select {
				case err := <-got:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Error("the message does not come")
				}
			})
		}
	}
}

// Kernels are told by their numbers.
func TestReleasesOfLinux(t *testing.T) {
	for release, want := range map[string]bool{"5.12.0\x00\x00": true, "5.11.22": false, "6.1.0-13-amd64": true, "4.19.0": false, "10.0": true, "3.2": false,
		"5.120": true, "5.9-rc1": false, "": false, "x": false} {
		if got := isSince(release, 5, 12); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
}

// TestEventsAfterAReadThatAskedForMuch: what TCP was asked for by a read before event mode keeps no short message back.
func TestEventsAfterAReadThatAskedForMuch(t *testing.T) {
	asked := 0
	for range 10 { // it may ask for less where not all comes at once
		near, far := tcpPair(t)
		l := &lowEnd{t: t, c: NewServerConn(near, nil), far: far, got: make(chan []byte, 1), over: make(chan error, 1)}
		t.Cleanup(func() { _ = l.c.CloseNow() })
		l.growBuffer()
		ctx, stop := context.WithCancel(context.Background())
		gone := make(chan error, 1)
		go func() {
			_, _, err := l.c.Read(ctx)
			gone <- err
		}()
		l.begins(800 << 10)
		l.waitsFor(len(l.left))
		stop()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatalf("the read that was given up: %v", err)
		}
		l.sends(len(l.left))
		if _, b, err := l.c.Read(context.Background()); err != nil || !bytes.Equal(b, l.msg) {
			t.Fatalf("the message: %d octets, %v", len(b), err)
		}
		if l.option(syscall.SO_RCVLOWAT) > minLow {
			asked++
		}
		s := &Server{Message: func(_ *Conn, msg Message) error { l.got <- bytes.Clone(msg.Data); return nil }}
		s.Closed = func(_ *Conn, err error) { l.over <- err }
		if err := s.Serve(l.c, nil); err != nil {
			t.Fatal(err)
		}
		l.msg = []byte("short")
		l.left = binaryOf("short").append(nil, true, [4]byte{1, 2, 3, 4})
		l.sends(len(l.left))
		l.wants()
		_ = l.c.CloseNow()
		<-l.over
	}
	if asked == 0 {
		t.Error("no read has asked for much")
	}
}

// A text fails at its first impossible octet, without waiting for more.
func TestLongTextIsCheckedAsItComes(t *testing.T) {
	lowEnds(t, Options{KeepAlive: -1, CloseTimeout: 100 * time.Millisecond}, func(l *lowEnd) {
		l.msg = bytes.Repeat([]byte("a"), 1<<20)
		l.msg[2000] = 0xFF
		l.left = text(string(l.msg)).append(nil, true, [4]byte{1, 2, 3, 4})
		l.sends(1000)
		time.Sleep(50 * time.Millisecond) // so that it is waited for
		l.sends(10_000)
		_ = l.far.SetReadDeadline(time.Now().Add(10 * time.Second))
		var p [4]byte
		if _, err := io.ReadFull(l.far, p[:]); err != nil || p[0] != 0x88 || int(p[2])<<8|int(p[3]) != int(StatusInvalidFramePayloadData) {
			t.Errorf("got %x, %v, want a Close frame with 1007", p, err)
		}
	})
}
