package main

// This file holds what viewers get, quick ones and slow ones.

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
)

func TestMain(m *testing.M) { os.Exit(servetest.Main(m)) }

// run runs a feed until the test ends.
func run(t *testing.T, f *feed) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// start starts a feed and returns the URL of its socket.
func start(t *testing.T, every time.Duration) string {
	f := newFeed(websocket.Options{}, every)
	url := servetest.Start(t, serve.Handler(&f.server, page, "page"), &f.server)
	run(t, f)
	return url
}

func TestViewersMissNothing(t *testing.T) {
	t.Parallel()
	url := start(t, time.Millisecond)
	for range 20 {
		c := servetest.Dial(t, url, nil)
		welcome := c.Until("welcome")
		if welcome["every"] != 1.0 {
			t.Errorf("a value every %v ms, want 1", welcome["every"])
		}
		last := 0.0
		see := func(o map[string]any) {
			if n := o["n"].(float64); last > 0 && n != last+1 {
				t.Fatalf("value %v came after value %v", n, last)
			}
			last = o["n"].(float64)
		}
		for _, v := range welcome["recent"].([]any) {
			see(v.(map[string]any))
		}
		for range 5 {
			see(c.Next())
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestNewcomersGetTheLastValues(t *testing.T) {
	t.Parallel()
	f := newFeed(websocket.Options{}, time.Hour)
	url := servetest.Start(t, serve.Handler(&f.server, page, "page"), &f.server)
	for range maxRecent + 10 {
		f.send(time.Now(), reading{})
	}
	recent := servetest.Dial(t, url, nil).Next()["recent"].([]any)
	first, last := recent[0].(map[string]any), recent[len(recent)-1].(map[string]any)
	if len(recent) != maxRecent || first["n"] != 11.0 || last["n"] != float64(maxRecent+10) || last["cpu"] != nil {
		t.Errorf("%d values from %v to %v, want the last %d", len(recent), first, last, maxRecent)
	}
}

func TestNothingIsExpected(t *testing.T) {
	t.Parallel()
	c := servetest.Dial(t, start(t, time.Millisecond), nil)
	c.Send("hello?")
	c.WantClose("a message", websocket.StatusPolicyViolation)
}

// A viewer that takes nothing is dropped. Another one gets every value meanwhile, and hears of it.
func TestSlowViewersAreDropped(t *testing.T) {
	t.Parallel()
	f := newFeed(websocket.Options{CloseTimeout: 100 * time.Millisecond}, time.Hour)
	hs := httptest.NewUnstartedServer(serve.Handler(&f.server, page, "page"))
	hs.Config.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		_ = nc.(*net.TCPConn).SetWriteBuffer(4 << 10) // or thousands of values would fit into it
		return ctx
	}
	hs.Start()
	defer hs.Close()
	url := "ws" + strings.TrimPrefix(hs.URL, "http") + "/ws"
	servetest.Dial(t, url, nil) // reads nothing
	c := servetest.Dial(t, url, nil)
	c.Until("welcome")
	f.send(time.Now(), reading{})
	v := c.Next()
	for patience := servetest.Context(t); v["dropped"] == 0.0 && patience.Err() == nil; {
		f.send(time.Now(), reading{}) // waits for nobody
		next := c.Next()
		if next["n"] != v["n"].(float64)+1 {
			t.Fatalf("value %v came after value %v", next["n"], v["n"])
		}
		v = next
	}
	if v["viewers"] != 1.0 || v["dropped"] != 1.0 {
		t.Errorf("%v viewers, %v dropped, want 1 and 1", v["viewers"], v["dropped"])
	}
	if err := f.server.Shutdown(servetest.Context(t)); err != nil {
		t.Error(err)
	}
}

func TestProcessorTime(t *testing.T) {
	t.Parallel()
	const stat = "cpu  10 20 30 400 50 1 2 3 0 0\ncpu0 5 10 15 200 25 1 1 2 0 0\n"
	if busy, all, ok := processorTime([]byte(stat)); busy != 66 || all != 516 || !ok {
		t.Errorf("%v of %v busy, %v, want 66 of 516", busy, all, ok)
	}
	for _, stat := range []string{"", "cpu 1 2 3", "cpu a b c d e f g h"} {
		if _, _, ok := processorTime([]byte(stat)); ok {
			t.Errorf("%q tells of a time", stat)
		}
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	var m machine
	first := m.look()
	if _, err := os.Stat("/proc/stat"); err != nil {
		if first.cpu != nil || first.load != nil {
			t.Errorf("%v, want nothing known without /proc", first)
		}
		return
	}
	if first.cpu == nil || *first.cpu <= 0 || *first.cpu > 100 || first.load == nil || *first.load < 0 {
		t.Errorf("since the start %v, want percentages", first)
	}
}
