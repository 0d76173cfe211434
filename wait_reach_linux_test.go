package websocket

import (
	"context"
	"errors"
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
