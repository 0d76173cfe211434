//go:build linux

package main

// Echo cells: echo/DEPTH/OCTETS/KIND, and client/DEPTH/OCTETS/KIND where the contender is the client.

import (
	"fmt"
	"strings"
	"time"
)

var (
	depths = []int{1, 16, 64}
	sizes  = []int{32, 512, 4 << 10, 64 << 10, 1 << 20}
)

func echoGroup() group {
	return group{cells: echoCells("echo", sizes), run: (*bench).echo}
}

func clientGroup() group {
	return group{cells: echoCells("client", []int{32, 512, 4 << 10, 64 << 10}), run: (*bench).client}
}

func echoCells(name string, sizes []int) []string {
	var cells []string
	for _, depth := range depths {
		for _, size := range sizes {
			cells = append(cells, echoCell(name, depth, size, kindBinary))
		}
	}
	for _, kind := range []string{kindASCII, kindUTF8} {
		for _, size := range []int{512, 4 << 10, 64 << 10} {
			cells = append(cells, echoCell(name, 1, size, kind))
		}
	}
	return cells
}

func echoCell(name string, depth, size int, kind string) string {
	return fmt.Sprintf("%s/%d/%d/%s", name, depth, size, kind)
}

func parseEchoCell(cell string) (o order, err error) {
	o.Op = "echo"
	fields := strings.ReplaceAll(cell, "/", " ")
	var name string
	_, err = fmt.Sscan(fields, &name, &o.Depth, &o.Size, &o.Kind)
	return o, err
}

func (b *bench) echo(cell string) error {
	o, err := parseEchoCell(cell)
	if err != nil {
		return err
	}
	begin := func(c *contender) (*serving, error) { return b.serve(c, frameArgs(c, o)...) }
	b.inTurns(cell, b.chosen(func(c *contender) bool { return c.echo }), begin, func(s *serving) error {
		load, err := b.startLoad()
		if err != nil {
			return err
		}
		o := b.fill(o, s)
		o.Addr = s.addr
		return b.oneEcho(cell, s, load, func() (result, error) { return load.ask(o) })
	})
	return nil
}

func (b *bench) fill(o order, s *serving) order {
	o.Conns, o.Raw, o.Singly, o.Warm = b.conns, s.raw, b.singly, b.warm
	return o
}

// A window says what a message costs only where the contender is what limits the rate: else it goes to sleep and is woken for each few
// messages, and the faster it is, the more often. leastBusy is for what part of a window it must have worked; where it has not, another one is
// measured, up to mostWindows in all, and the busiest counts.
const (
	leastBusy   = 0.9
	mostWindows = 4
)

// oneEcho measures one window and keeps what it gave; warm starts the echo.
func (b *bench) oneEcho(cell string, s *serving, load *child, warm func() (result, error)) error {
	w, err := warm()
	if err != nil {
		return err
	}
	r, allocated, err := b.busyWindow(s, load)
	if err != nil {
		return err
	}
	if _, err := load.ask(order{Op: "close"}); err != nil {
		return err
	}
	b.note(cell, s.contender, cpuPerMessage, micros(r.CPU)/r.Messages)
	b.note(cell, s.contender, rate, r.Messages/r.Elapsed.Seconds())
	b.note(cell, s.contender, mallocs, allocated/r.Messages)
	b.note(cell, s.contender, busy, 100*busyPart(r))
	if w.Plain > 0 {
		b.note(cell, s.contender, saved, 100*(1-float64(w.Octets)/float64(w.Plain)))
	}
	return nil
}

// busyWindow measures a window in which the contender was busy, and what it allocated meanwhile.
func (b *bench) busyWindow(s *serving, load *child) (best result, allocated float64, err error) {
	for range mostWindows {
		before, err := s.child.ask(order{Op: "mallocs"}) // messages that have come wait meanwhile
		if err != nil {
			return best, 0, err
		}
		r, err := load.ask(order{Op: "window", PID: s.child.pid(), Window: b.window})
		if err != nil {
			return best, 0, err
		}
		after, err := s.child.ask(order{Op: "mallocs"})
		if err != nil {
			return best, 0, err
		}
		if busyPart(r) > busyPart(best) {
			best, allocated = r, float64(after.Mallocs-before.Mallocs)
		}
		if b.serverCPU < 0 || busyPart(best) >= leastBusy { // where they share processors, nobody has one to be busy on
			break
		}
	}
	return best, allocated, nil
}

// busyPart is the processor time of a window's contender for each second of it.
func busyPart(r result) float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return r.CPU.Seconds() / r.Elapsed.Seconds()
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// client measures a contender that dials: the generator plays the server and opens with depth messages, the contender echoes.
func (b *bench) client(cell string) error {
	o, err := parseEchoCell(cell)
	if err != nil {
		return err
	}
	o.Accept = true
	begin := func(c *contender) (*serving, error) {
		ch, err := b.start("client", c, frameArgs(c, o)...)
		return &serving{contender: c, child: ch}, err
	}
	b.inTurns(cell, b.chosen(func(c *contender) bool { return c.echo && c.dial != nil }), begin, func(s *serving) error {
		load, err := b.startLoad()
		if err != nil {
			return err
		}
		listening, err := load.ask(order{Op: "listen"})
		if err != nil {
			return err
		}
		return b.oneEcho(cell, s, load, func() (result, error) {
			o := b.fill(o, s)
			if err := load.tell(o); err != nil {
				return result{}, err
			}
			if _, err := s.child.ask(order{Op: "dial", Addr: listening.Addr, Conns: o.Conns}); err != nil {
				return result{}, err
			}
			return load.answer(o)
		})
	})
	return nil
}

// frameArgs tells the bound that goes by messages how long one is.
func frameArgs(c *contender, o order) []string {
	if c != byMessage {
		return nil
	}
	return []string{fmt.Sprintf("frame=%d", echoScript(o.Kind, o.Size, 1, o.Accept, true).answer)}
}
