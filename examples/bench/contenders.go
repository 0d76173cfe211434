//go:build linux

package main

// The contenders' side of the orders, and what all of them share. Each has a file of its own, set up as its documentation says it is
// fastest; all without compression except where compression is what is measured.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"
)

// contender is one way of speaking WebSocket, or a bound for it.
type contender struct {
	name string // no spaces: patterns and orders name it
	note string // how it is set up, and what it leaves out
	utf8 bool   // text that is not UTF-8 is refused
	raw  bool   // to it, octets are octets
	ours bool
	// bound: not a library but what a library can't beat without doing something else
	bound     bool
	echo      bool // measured as an echo server
	handshake bool // measured opening connections
	idle      bool
	serve     func(ln net.Listener, s *setup) error // echoes what comes, until the listener ends
	dial      func(addr string, s *setup) error     // connects once; echoes until the connection ends, in the background
}

const (
	deflateOff      = "off"
	deflateFresh    = "no takeover"
	deflateTakeover = "takeover"
)

// setup is what a server is asked for besides echoing.
type setup struct {
	deflate string
	parse   bool // parse each message as JSON before it goes back
	frame   int  // octets of a message on the wire, all of them equally long: for a bound that can't see where one ends
	hub     *hub // not nil: keep the connections, to send to all of them
}

// work is the application's part of the echo.
func (s *setup) work(p []byte) {
	if !s.parse {
		return
	}
	var prices struct {
		Type string
		ID   int
		Rows []struct {
			Symbol   string
			Bid, Ask float64
			Volume   int
		}
	}
	if err := json.Unmarshal(p, &prices); err != nil {
		panic(err)
	}
}

// hub holds the connections of a server, and how the library sends to all of them.
type hub struct {
	mu    sync.Mutex
	conns []any
	send  func(conns []any, p []byte, times int) error // to each connection, times messages that hold p; set by serve
	queue func(conns []any, p []byte) error            // a message to each connection, where more may wait; nil: send; set by serve
}

// sendByMessage sends times messages that hold p, each to all connections before the next.
func (h *hub) sendByMessage(conns []any, p []byte, times int) error {
	for range times {
		var err error
		if h.queue != nil {
			err = h.queue(conns, p)
		} else {
			err = h.send(conns, p, 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) joined(c any) {
	if s.hub == nil {
		return
	}
	s.hub.mu.Lock()
	s.hub.conns = append(s.hub.conns, c)
	s.hub.mu.Unlock()
}

// sendsWith sets how the hub sends, for a library where that is a loop over the connections.
func (s *setup) sendsWith(send func(conns []any, p []byte, times int) error) {
	if s.hub != nil {
		s.hub.send = send
	}
}

// bufs lets a message be read into memory that was used before. A connection that waits for a message holds none.
var bufs = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// serveHTTP runs a handler as anyone would.
func serveHTTP(ln net.Listener, h http.HandlerFunc) error {
	s := http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return s.Serve(ln)
}

func find(name string) (*contender, error) {
	for _, c := range contenders {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no contender %q", name)
}

// asked reads a child's arguments: the contender, then any of deflate=…, parse, hub, frame=….
func asked(args []string) (*contender, *setup, error) {
	c, err := find(args[0])
	if err != nil {
		return nil, nil, err
	}
	s := &setup{deflate: deflateOff}
	for _, a := range args[1:] {
		switch name, value, _ := strings.Cut(a, "="); name {
		case "parse":
			s.parse = true
		case "hub":
			s.hub = new(hub)
		case "deflate":
			s.deflate = value
		case "frame":
			s.frame, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown argument %q", a)
		}
	}
	return c, s, err
}

// serverOrders is a child that serves.
func serverOrders(args []string) error {
	c, s, err := asked(args)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		if err := c.serve(ln, s); err != nil && !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(os.Stderr, c.name+":", err)
			os.Exit(1)
		}
	}()
	return obey(func(o order) (result, error) {
		switch o.Op {
		case "addr":
			return result{Addr: ln.Addr().String()}, nil
		case "broadcast":
			return s.hub.broadcast(o)
		}
		return contenderOrder(o)
	})
}

// clientOrders is a child that dials.
func clientOrders(args []string) error {
	c, s, err := asked(args)
	if err != nil {
		return err
	}
	return obey(func(o order) (result, error) {
		if o.Op != "dial" {
			return contenderOrder(o)
		}
		for range o.Conns {
			if err := c.dial(o.Addr, s); err != nil {
				return result{}, err
			}
		}
		return result{}, nil
	})
}

func contenderOrder(o order) (result, error) {
	switch o.Op {
	case "mallocs":
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
		metrics.Read(sample)
		return result{Mallocs: sample[0].Value.Uint64()}, nil
	case "memory":
		return memory(), nil
	}
	return result{}, fmt.Errorf("unknown order %q", o.Op)
}

// memory collects garbage until nothing more goes, pools included, and says what is in use.
func memory() result {
	for range 4 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond) // finalizers and goroutines that end get their turn
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return result{Heap: m.HeapInuse, Stack: m.StackInuse, RSS: residentSet(), Routines: runtime.NumGoroutine()}
}

// residentSet is what the kernel counts for this process, in octets; 0 where it does not say.
func residentSet() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// broadcast waits until all connections are there and sends to them.
func (h *hub) broadcast(o order) (result, error) {
	for give := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		n := len(h.conns)
		h.mu.Unlock()
		if n >= o.Conns {
			break
		}
		if time.Now().After(give) {
			return result{}, fmt.Errorf("%d connections, not %d", n, o.Conns)
		}
	}
	p := payload(kindJSON, o.Size)
	before, err := cpuTime(os.Getpid())
	if err != nil {
		return result{}, err
	}
	begin := time.Now()
	send := h.send
	if o.ByMessage {
		send = h.sendByMessage
	}
	if err := send(h.conns, p, o.Times); err != nil {
		return result{}, err
	}
	elapsed := time.Since(begin)
	after, err := cpuTime(os.Getpid())
	return result{Elapsed: elapsed, CPU: after - before}, err
}
