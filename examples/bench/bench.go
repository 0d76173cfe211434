//go:build linux

package main

// What is measured, cell by cell. In a cell all contenders run side by side, in processes that are started for it, and take turns.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"time"
)

// series is what was measured of one contender in one cell, a value a round.
type series struct {
	Cell      string    `json:"cell"`
	Contender string    `json:"contender"`
	Metric    string    `json:"metric"` // with its unit
	Values    []float64 `json:"values"`
}

// The metrics.
const (
	cpuPerMessage   = "µs of CPU per message"
	rate            = "messages/s"
	mallocs         = "allocations per message"
	busy            = "processor time, per cent"
	cpuPerHandshake = "µs of CPU per handshake"
	handshakeRate   = "handshakes/s"
	handshakeAllocs = "allocations per handshake"
	cpuPerSend      = "ns of CPU per send"
	timePerSend     = "ns per send"
	heapFresh       = "octets of heap per connection, fresh"
	stackFresh      = "octets of stack per connection, fresh"
	rssFresh        = "octets resident per connection, fresh"
	heapUsed        = "octets of heap per connection, after traffic"
	stackUsed       = "octets of stack per connection, after traffic"
	rssUsed         = "octets resident per connection, after traffic"
	saved           = "octets saved, per cent"
	heapDeflate     = "octets of heap and stack per connection, after traffic"
)

type bench struct {
	run        *regexp.Regexp // which cells
	who        *regexp.Regexp // which contenders
	rounds     int
	window     time.Duration
	warm       time.Duration
	conns      int // of an echo cell
	idle       int // connections of the idle cells
	many       int // connections of the broadcast cells
	singly     bool
	serverCPU  int // processors that the children are bound to; -1: not bound
	loadCPU    int
	procs      int // GOMAXPROCS of the contenders
	load       *child
	all        []*series
	cells, did int
}

// group is a set of cells of one kind.
type group struct {
	cells []string
	run   func(b *bench, cell string) error
}

func (b *bench) everything() []group {
	return []group{echoGroup(), clientGroup(), handshakeGroup(), idleGroup(), broadcastGroup(), deflateGroup()}
}

// measure goes through all cells that were asked for. A contender that fails is reported and leaves a gap; the others go on.
func (b *bench) measure() error {
	groups := b.everything()
	for i := range groups {
		groups[i].cells = slices.DeleteFunc(groups[i].cells, func(c string) bool { return !b.run.MatchString(c) })
		b.cells += len(groups[i].cells)
	}
	for _, g := range groups {
		for _, cell := range g.cells {
			b.did++
			if err := g.run(b, cell); err != nil {
				return fmt.Errorf("%s: %w", cell, err)
			}
		}
	}
	b.stopLoad()
	fmt.Fprint(os.Stderr, "\r\033[K")
	return nil
}

func (b *bench) startLoad() (*child, error) {
	if b.load != nil {
		return b.load, nil
	}
	l, err := start(b.loadCPU, 1, "load")
	b.load = l
	return l, err
}

// stopLoad ends the load generator: after an error it may be in any state.
func (b *bench) stopLoad() {
	if b.load != nil {
		b.load.stop()
		b.load = nil
	}
}

// serving is a contender's process that listens.
type serving struct {
	*contender
	child *child
	addr  string
}

func (b *bench) start(role string, c *contender, args ...string) (*child, error) {
	return start(b.serverCPU, b.procs, append([]string{role, c.name}, args...)...)
}

func (b *bench) serve(c *contender, args ...string) (*serving, error) {
	ch, err := b.start("server", c, args...)
	if err != nil {
		return nil, err
	}
	r, err := ch.ask(order{Op: "addr"})
	if err != nil {
		ch.stop()
		return nil, err
	}
	return &serving{contender: c, child: ch, addr: r.Addr}, nil
}

// inTurns starts a process for each contender, and calls one for each of them, round after round, each time in another order: what a
// contender leaves behind in the kernel's memory changes what the next one costs. The contender that fails is out.
func (b *bench) inTurns(cell string, in []*contender, begin func(*contender) (*serving, error), one func(*serving) error) {
	var running []*serving
	for _, c := range in {
		s, err := begin(c)
		if err != nil {
			b.complain(cell, c, err)
			continue
		}
		running = append(running, s)
	}
	for round := range b.rounds {
		rand.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
		for i := 0; i < len(running); i++ {
			s := running[i]
			b.progress(cell, round, s.name)
			if err := one(s); err != nil {
				b.complain(cell, s.contender, err)
				b.stopLoad()
				s.child.stop()
				running = slices.Delete(running, i, i+1)
				i--
			}
		}
	}
	for _, s := range running {
		s.child.stop()
	}
}

func (b *bench) chosen(keep func(*contender) bool) []*contender {
	var in []*contender
	for _, c := range contenders {
		if keep(c) && (c.bound || b.who.MatchString(c.name)) {
			in = append(in, c)
		}
	}
	return in
}

// note keeps a value.
func (b *bench) note(cell string, c *contender, metric string, v float64) {
	for _, s := range b.all {
		if s.Cell == cell && s.Contender == c.name && s.Metric == metric {
			s.Values = append(s.Values, v)
			return
		}
	}
	b.all = append(b.all, &series{Cell: cell, Contender: c.name, Metric: metric, Values: []float64{v}})
}

// values of a series; none if it was not measured.
func (b *bench) values(cell, contender, metric string) []float64 {
	for _, s := range b.all {
		if s.Cell == cell && s.Contender == contender && s.Metric == metric {
			return s.Values
		}
	}
	return nil
}

func (b *bench) complain(cell string, c *contender, err error) {
	fmt.Fprintf(os.Stderr, "\r\033[K%s: %s: %v\n", cell, c.name, err)
}

func (b *bench) progress(cell string, round int, name string) {
	fmt.Fprintf(os.Stderr, "\r\033[K[%d/%d] %s, round %d of %d: %s", b.did, b.cells, cell, round+1, b.rounds, name)
}

// place binds contenders and generator to processors of their own, where there are two.
func (b *bench) place(pin bool) {
	b.serverCPU, b.loadCPU = -1, -1
	if n := runtime.NumCPU(); pin && n >= 2 && b.procs == 1 {
		b.serverCPU, b.loadCPU = n-1, n-2
	}
}
