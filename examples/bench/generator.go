//go:build linux

package main

// The load generator's side of the orders.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func generate() error {
	l, err := newLoad()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	return obey(l.do)
}

func (l *load) do(o order) (result, error) {
	switch o.Op {
	case "listen":
		addr, err := l.listen()
		return result{Addr: addr}, err
	case "echo":
		return l.echo(o)
	case "window":
		return l.measure(o)
	case "open":
		agreed, err := l.dial(o, nil)
		return result{Agreed: agreed}, err
	case "talk":
		s, err := scriptFor(o, o.Offer)
		if err != nil {
			return result{}, err
		}
		err = l.talk(o.Times, s)
		_, octets, plain := l.total()
		return result{Octets: octets, Plain: plain}, err
	case "hush":
		l.hush()
		return result{}, nil
	case "drain":
		begin := time.Now()
		err := l.drain(o.Octets)
		return result{Elapsed: time.Since(begin)}, err
	case "handshakes":
		return handshakes(o)
	case "close":
		return result{}, l.close()
	}
	return result{}, fmt.Errorf("unknown order %q", o.Op)
}

// scriptFor makes the script of an order; agreed is what was negotiated, where messages are to be compressed.
func scriptFor(o order, agreed string) (*script, error) {
	if o.Offer == "" {
		return echoScript(o.Kind, o.Size, o.Depth, o.Accept, o.Raw), nil
	}
	if !strings.Contains(agreed, "permessage-deflate") {
		return nil, fmt.Errorf("compression was not agreed: %q", agreed)
	}
	client := !strings.Contains(agreed, "client_no_context_takeover")
	server := !strings.Contains(agreed, "server_no_context_takeover")
	return deflateScript(o.Size, client, server)
}

// echo opens connections, starts with depth messages in flight on each, and goes on until all is warm.
func (l *load) echo(o order) (r result, err error) {
	l.singly = o.Singly
	if r.Agreed, err = l.open(o); err != nil {
		return r, err
	}
	if err := l.start(o.Depth); err != nil {
		return r, err
	}
	err = l.warm(o.Warm)
	if _, octets, plain := l.total(); o.Offer != "" {
		r.Octets, r.Plain = octets, plain
	}
	return r, err
}

func (l *load) open(o order) (agreed string, err error) {
	if o.Accept {
		s, err := scriptFor(o, "")
		if err != nil {
			return "", err
		}
		return "", l.accept(o.Conns, s)
	}
	if o.Offer == "" {
		s, err := scriptFor(o, "")
		if err != nil {
			return "", err
		}
		return l.dial(o, s)
	}
	if agreed, err = l.dial(o, nil); err != nil {
		return agreed, err
	}
	if l.script, err = scriptFor(o, agreed); err != nil {
		return agreed, err
	}
	for _, c := range l.conns {
		c.use(l.script)
	}
	return agreed, nil
}

// fewestMessages make a window longer where messages are large or the machine does other work meanwhile.
const fewestMessages = 200

func (l *load) since(first float64) float64 {
	m, _, _ := l.total()
	return m - first
}

// measure goes on with the echo for the window's length.
func (l *load) measure(o order) (r result, err error) {
	before, err := cpuTime(o.PID)
	if err != nil {
		return r, err
	}
	begin := time.Now()
	first, _, _ := l.total()
	end := begin.Add(o.Window)
	if err := l.spin(func(now time.Time) bool { return now.After(end) && l.since(first) >= fewestMessages }); err != nil {
		return r, err
	}
	after, err := cpuTime(o.PID)
	return result{Elapsed: time.Since(begin), CPU: after - before, Messages: l.since(first)}, err
}

// handshakes opens and resets connections for the window's length, inRow at a time from each of some goroutines. A
// contender that is handed one at a time falls asleep in between, the more often the faster it is, and what that and being
// woken costs would hide what a handshake does.
func handshakes(o order) (result, error) {
	before, err := cpuTime(o.PID)
	if err != nil {
		return result{}, err
	}
	sa, err := ipv4(o.Addr)
	if err != nil {
		return result{}, err
	}
	var (
		count  atomic.Int64
		failed atomic.Pointer[error]
		all    sync.WaitGroup
		begin  = time.Now()
	)
	for range o.Conns / inRow {
		all.Go(func() {
			for time.Since(begin) < o.Window {
				if err := someHandshakes(sa, o.Addr); err != nil {
					failed.Store(&err)
					return
				}
				count.Add(inRow)
			}
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	after, err := cpuTime(o.PID)
	if e := failed.Load(); e != nil {
		err = *e
	}
	return result{Messages: float64(count.Load()), Elapsed: elapsed, CPU: after - before}, err
}

// inRow is how many connections are opened before their answers are waited for.
const inRow = 16

func someHandshakes(sa syscall.Sockaddr, addr string) (err error) {
	fds := make([]int, 0, inRow)
	defer func() {
		for _, fd := range fds {
			err = errors.Join(err, os.NewSyscallError("close", abort(fd)))
		}
	}()
	for range inRow {
		fd, err := connect(sa)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		if err := writeAll(fd, request(addr, "")); err != nil {
			return err
		}
	}
	for _, fd := range fds {
		if _, err := readAnswer(fd); err != nil {
			return err
		}
	}
	return nil
}
