//go:build linux

package main

// Messages to many connections: broadcast/1, broadcast/8 for eight messages in a row to each connection, and broadcast/8-by-message for
// eight messages, each to all connections before the next. The processor time runs until the last octet has arrived, whichever goroutine
// sent it; the wall clock runs until the call has returned.

import (
	"fmt"
	"strings"
	"time"
)

const (
	broadcastSize = 128
	byMessageEnd  = "-by-message"
)

func broadcastGroup() group {
	return group{cells: []string{"broadcast/1", "broadcast/8", "broadcast/8" + byMessageEnd}, run: (*bench).broadcastCell}
}

func (b *bench) broadcastCell(cell string) error {
	var times int
	if _, err := fmt.Sscanf(cell, "broadcast/%d", &times); err != nil {
		return err
	}
	begin := func(c *contender) (*serving, error) { return b.serve(c, "hub") }
	b.inTurns(cell, b.chosen(func(c *contender) bool { return c.echo && c != byMessage }), begin, func(s *serving) error {
		load, err := b.startLoad()
		if err != nil {
			return err
		}
		// Connections that the last round has left behind would be sent to as well: a new process each round.
		fresh, err := begin(s.contender)
		if err != nil {
			return err
		}
		defer fresh.child.stop()
		return b.oneBroadcast(cell, times, load, fresh)
	})
	return nil
}

func (b *bench) oneBroadcast(cell string, times int, load *child, s *serving) error {
	if _, err := load.ask(order{Op: "open", Addr: s.addr, Conns: b.many, Raw: s.raw}); err != nil {
		return err
	}
	frame := int64(len(appendFrame(nil, 0, false, payload(kindJSON, broadcastSize))))
	send := order{Op: "broadcast", Conns: b.many, Size: broadcastSize, Times: times, ByMessage: strings.HasSuffix(cell, byMessageEnd)}
	sends := float64(b.many * times)
	const bouts, warming = 24, 4 // the first meet memory and sockets that were not used before
	for bout := range int64(bouts) {
		before, err := cpuTime(s.child.pid())
		if err != nil {
			return err
		}
		r, err := s.child.ask(send)
		if err != nil {
			return err
		}
		if _, err := load.ask(order{Op: "drain", Octets: (bout + 1) * frame * int64(b.many*times)}); err != nil {
			return err
		}
		after, err := cpuTime(s.child.pid())
		if err != nil {
			return err
		}
		if bout < warming {
			continue
		}
		if bout == warming { // a server that has run for a while has collected garbage
			if _, err := s.child.ask(order{Op: "memory"}); err != nil {
				return err
			}
			continue
		}
		b.note(cell, s.contender, cpuPerSend, float64(after-before)/sends)
		b.note(cell, s.contender, timePerSend, float64(r.Elapsed/time.Nanosecond)/sends)
	}
	_, err := load.ask(order{Op: "close"})
	return err
}
