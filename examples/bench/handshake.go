//go:build linux

package main

// Opening connections: the cell handshake. The generator opens, waits for the 101 and resets, many at a time.

const handshakesAtOnce = 4 * inRow

func handshakeGroup() group {
	return group{cells: []string{"handshake"}, run: (*bench).handshake}
}

func (b *bench) handshake(cell string) error {
	begin := func(c *contender) (*serving, error) { return b.serve(c) }
	b.inTurns(cell, b.chosen(func(c *contender) bool { return c.handshake }), begin, func(s *serving) error {
		load, err := b.startLoad()
		if err != nil {
			return err
		}
		o := order{Op: "handshakes", Addr: s.addr, PID: s.child.pid(), Conns: handshakesAtOnce, Window: b.window / 4}
		if _, err := load.ask(o); err != nil { // warms up
			return err
		}
		o.Window = b.window
		before, err := s.child.ask(order{Op: "mallocs"})
		if err != nil {
			return err
		}
		r, err := load.ask(o)
		if err != nil {
			return err
		}
		after, err := s.child.ask(order{Op: "mallocs"})
		if err != nil {
			return err
		}
		b.note(cell, s.contender, cpuPerHandshake, micros(r.CPU)/r.Messages)
		b.note(cell, s.contender, handshakeRate, r.Messages/r.Elapsed.Seconds())
		b.note(cell, s.contender, handshakeAllocs, float64(after.Mallocs-before.Mallocs)/r.Messages)
		return nil
	})
	return nil
}
