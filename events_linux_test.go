package websocket

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This file holds what many connections cost, and what epoll leaves behind.

// raiseDescriptors lets the process have n descriptors, or skips the test.
func raiseDescriptors(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= uint64(n) {
		return
	}
	limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("%d descriptors: %v", n, err)
	}
}

// A broadcast to 5,000 of whom 50 read nothing: nobody else waits for them, they
// cost no more than SendLimit, and none gets a goroutine whose network takes what
// comes.
func TestBroadcastToManyOfWhomSomeAreStalled(t *testing.T) {
	many, lame, rounds := 5000, 50, 12
	if testing.Short() || raceEnabled {
		many, lame = 500, 10
	}
	raiseDescriptors(t, 2*many+500)
	s := &Server{Message: ignore, Options: Options{KeepAlive: -1, SendLimit: 256 << 10, CloseTimeout: 200 * time.Millisecond}}
	ln := listen(t)
	defer ln.Close()
	clients := make([]net.Conn, many)
	for i := range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		near, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i < lame {
			_ = near.(*net.TCPConn).SetWriteBuffer(4 << 10)
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		if err := s.Serve(NewServerConn(near, &s.Options), nil); err != nil {
			t.Fatal(err)
		}
		clients[i] = conn
	}
	msg := prepared(t, Binary, strings.Repeat("x", 32<<10))
	buf := make([]byte, len(msg.plain))
	slow, before := 0, runtime.NumGoroutine()
	var longest time.Duration
	for range rounds {
		begun := time.Now()
		slow += s.Broadcast(msg)
		longest = max(longest, time.Since(begun))
		if n := runtime.NumGoroutine() - before; n > 4*lame { // one sends, or three end it
			t.Errorf("%d goroutines send or end, of %d connections that are stalled", n, lame)
		}
		for _, conn := range clients[lame:] {
			if _, err := io.ReadFull(conn, buf); err != nil || !bytes.Equal(buf, msg.plain) {
				t.Fatalf("a peer that reads got something else: %v", err)
			}
		}
	}
	t.Logf("broadcast of %d octets to %d: %v at most", len(buf), many, longest)
	if slow != lame {
		t.Errorf("%d were dropped, want the %d that are stalled", slow, lame)
	}
	count := 0
	for c := range s.Conns() {
		if c.ended() == nil {
			count++
		}
	}
	if count != many-lame {
		t.Errorf("%d connections live on", count)
	}
	for _, conn := range clients {
		_ = conn.Close()
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
