//go:build linux

package main

// What a connection costs that says nothing: the cell idle. Fresh, and after it has sent some JSON messages that the server parsed and
// sent back. Heap and stack are octets in use after garbage collection, so fragmentation counts; resident is what the kernel holds for
// the process, and its own buffers for sockets are in neither.

const (
	idleMessages = 20
	idleSize     = 1024
)

func idleGroup() group {
	return group{cells: []string{"idle"}, run: (*bench).idleCell}
}

func (b *bench) idleCell(cell string) error {
	begin := func(c *contender) (*serving, error) { return b.serve(c, "parse") }
	for range b.rounds { // each round in new processes: what a process has used once shows for ever in what is resident
		once := *b
		once.rounds = 1
		once.inTurns(cell, b.chosen(func(c *contender) bool { return c.idle }), begin, func(s *serving) error {
			return b.oneIdle(cell, s)
		})
		b.load = once.load
	}
	return nil
}

func (b *bench) oneIdle(cell string, s *serving) error {
	load, err := b.startLoad()
	if err != nil {
		return err
	}
	steps := []struct {
		order            order
		heap, stack, rss string
	}{
		// One connection that comes and goes makes what is made once.
		{order: order{Op: "open", Addr: s.addr, Conns: 1}},
		{order: order{Op: "talk", Times: 1, Size: idleSize, Kind: kindJSON, Depth: 1}},
		{order: order{Op: "close"}},
		{order: order{Op: "open", Addr: s.addr, Conns: b.idle}, heap: heapFresh, stack: stackFresh, rss: rssFresh},
		{order: order{Op: "talk", Times: idleMessages, Size: idleSize, Kind: kindJSON, Depth: 1}, heap: heapUsed, stack: stackUsed, rss: rssUsed},
		{order: order{Op: "close"}},
	}
	var empty result
	for _, step := range steps {
		if _, err := load.ask(step.order); err != nil {
			return err
		}
		m, err := s.child.ask(order{Op: "memory"})
		if err != nil {
			return err
		}
		if step.heap == "" {
			empty = m
			continue
		}
		b.note(cell, s.contender, step.heap, each(m.Heap, empty.Heap, b.idle))
		b.note(cell, s.contender, step.stack, each(m.Stack, empty.Stack, b.idle))
		b.note(cell, s.contender, step.rss, each(m.RSS, empty.RSS, b.idle))
	}
	return nil
}

func each(with, without uint64, n int) float64 {
	return (float64(with) - float64(without)) / float64(n)
}
