package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// A peer whose network is gone is found dead by keepalive, also where the program
// goes on writing, which the kernel takes for minutes.
func TestPeerOutOfReachIsFoundThoughWeWrite(t *testing.T) {
	t.Parallel()
	o := &Options{KeepAlive: 200 * time.Millisecond, PongTimeout: 400 * time.Millisecond}
	bothSidesTCP(t, o, func(t *testing.T, c *Conn, p *peer) {
		t.Parallel()
		got := readAsync(t.Context(), c)
		if f, err := p.next(); err != nil || f.Opcode != OpPing {
			t.Fatalf("got %v %v, want a Ping", f, err)
		}
		p.sends(pong("")) // any octet is a sign of life
		unplug(t, p.conn.(*net.TCPConn))
		tick, stop := time.NewTicker(50*time.Millisecond), time.After(p.patience)
		defer tick.Stop()
		for {
			select {
			case r := <-got:
				if !errors.Is(r.err, errSilent) {
					t.Errorf("got %v, want that the peer is silent", r.err)
				}
				return
			case <-tick.C:
				_ = c.Write(context.Background(), Text, []byte("tick")) // the error is the reader's too
			case <-stop:
				t.Fatal("the peer is not found dead")
			}
		}
	})
}

// Nobody is out of reach where there is no socket, or one that is well.
func TestWhoIsNotOutOfReach(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	well, _ := tcpPair(t)
	for _, stream := range []any{nil, near, well} {
		if isOutOfReach(stream) {
			t.Errorf("%T is out of reach", stream)
		}
	}
}

// takesSlowly reads n octets from conn every pause.
func takesSlowly(conn net.Conn, n int, pause time.Duration) {
	buf := make([]byte, n)
	for {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// While a peer takes octets it is neither silent nor does WriteTimeout pass, though few of
// what is on its way have arrived, and the system has no room for more: over TLS too.
func TestPeerThatTakesOctetsSlowlyIsThere(t *testing.T) {
	const limit, whole = 600 * time.Millisecond, 5 * time.Second
	for name, ends := range map[string]func(testing.TB) (near, far net.Conn){
		"TCP": tcpPair,
		"TLS": func(t testing.TB) (near, far net.Conn) { return tlsPair(t) },
	} {
		for _, o := range []*Options{
			{KeepAlive: limit, PongTimeout: limit, WriteTimeout: -1},
			{KeepAlive: -1, WriteTimeout: limit},
		} {
			t.Run(fmt.Sprintf("%s/%v", name, o.WriteTimeout > 0), func(t *testing.T) {
				t.Parallel()
				near, far := ends(t)
				c := endpointOver(t, near, o, false)
				go takesSlowly(far, 20_000, 30*time.Millisecond) // a third of 4 MiB in two seconds
				ended := make(chan error, 2)
				go func() {
					_, _, err := c.Read(t.Context())
					ended <- err
				}()
				go func() {
					for {
						if err := c.Write(t.Context(), Binary, make([]byte, 1_000_000)); err != nil {
							ended <- err
							return
						}
					}
				}()
				select {
				case err := <-ended:
					t.Error(err)
				case <-time.After(whole):
				}
			})
		}
	}
}

// deadlines takes note of the deadlines for writing to a connection below, as TLS has one.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) NetConn() net.Conn { return d.Conn }
func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.last = at
	return nil
}

// The deadline of a write that waits is set anew at the first look at it, for the peer may
// have taken octets before, and whenever it has since; not for what was before that write.
func TestDeadlineOfAWriteHeedsWhatThePeerTakes(t *testing.T) {
	near, far := tcpPair(t)
	for n, err := 1, error(nil); n > 0; { // full, and nobody reads
		r, w := new(rawReader), new(rawWriter)
		r.init(near)
		w.init(r)
		if n, err = w.write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	d := &deadlines{Conn: near}
	c := endpointOver(t, d, &Options{KeepAlive: -1, WriteTimeout: time.Hour}, false)
	if backlog(c.conn) == 0 {
		t.Skip("the system does not tell what is not acknowledged")
	}
	if !c.takeTurn(&c.framing, nil) {
		t.Fatal("no turn")
	}
	var seen backlogSeen
	look := func(what string, extends bool) {
		t.Helper()
		d.last = time.Time{}
		c.lookAtWrite(&seen)
		if got := time.Until(d.last) > time.Hour; got != extends {
			t.Errorf("%s: the deadline is set anew: %t, want %t", what, got, extends)
		}
	}
	look("the first look", true)
	look("nothing has moved", false)
	before := backlog(c.conn)
	if _, err := io.CopyN(io.Discard, far, 500_000); err != nil {
		t.Fatal(err)
	}
	within(t, "octets are acknowledged", func() bool { return backlog(c.conn) < before })
	look("the peer has taken some", true)
	c.w.progress.Add(1)
	look("a write has ended, and another waits", true)
	c.releaseTurn(&c.framing)
	look("nobody writes", false)
	if !c.takeTurn(&c.framing, nil) {
		t.Fatal("no turn")
	}
	look("the first look at the next", true)
	c.releaseTurn(&c.framing)
}

// unplug has the kernel throw away all that comes for conn from now on.
func unplug(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K}}
	failed := raw.Control(func(fd uintptr) {
		//lint:ignore SA1019 what it names instead is no part of the standard library
		err = syscall.AttachLsf(int(fd), nothing)
	})
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}

// What TCP sends at a time is known of a TCP connection, and of no other.
func TestSegmentOfTCP(t *testing.T) {
	well, _ := tcpPair(t)
	over, _ := tcpPair(t)
	_ = over.Close()
	local, _ := overUnix(t)
	for _, row := range []struct {
		what     string
		conn     net.Conn
		from, to int
	}{{"TCP", well, 500, 1 << 16}, {"TCP that is over", over, 1, 1}, {"a Unix socket", local.conn, 1, 1}} {
		r, w := new(rawReader), new(rawWriter)
		r.init(row.conn)
		w.init(r)
		if got := w.segment(); got < row.from || got > row.to {
			t.Errorf("%s: %d octets, want %d to %d", row.what, got, row.from, row.to)
		}
	}
}
