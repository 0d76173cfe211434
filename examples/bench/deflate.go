//go:build linux

package main

// permessage-deflate: deflate/OCTETS/MODE. JSON documents come compressed, are inflated, compressed again and sent back; the time is for
// both. What is saved is counted on the answers. Each side keeps to what was agreed; a contender that can't do what was asked is left out.

import (
	"errors"
	"fmt"
	"strings"
)

const (
	deflateConns  = 200 // idle connections whose memory is measured
	offerTakeover = "permessage-deflate"
	offerFresh    = offerTakeover + "; server_no_context_takeover; client_no_context_takeover"
)

func deflateGroup() group {
	var cells []string
	for _, mode := range []string{deflateFresh, deflateTakeover} {
		for _, size := range []int{128, 1024, 16 << 10} {
			cells = append(cells, fmt.Sprintf("deflate/%d/%s", size, mode))
		}
	}
	return group{cells: cells, run: (*bench).deflateCell}
}

func (b *bench) deflateCell(cell string) error {
	fields := strings.Split(cell, "/")
	o := order{Op: "echo", Depth: 1, Kind: kindJSON, Offer: offerTakeover}
	if _, err := fmt.Sscan(fields[1], &o.Size); err != nil {
		return err
	}
	if fields[2] == deflateFresh {
		o.Offer = offerFresh
	}
	begin := func(c *contender) (*serving, error) { return b.serve(c, "deflate="+fields[2]) }
	b.inTurns(cell, b.chosen(func(c *contender) bool { return c.echo && !c.raw }), begin, func(s *serving) error {
		return b.oneDeflate(cell, s, o)
	})
	return nil
}

var errNoTakeover = errors.New("knows no context takeover")

func (b *bench) oneDeflate(cell string, s *serving, o order) error {
	load, err := b.startLoad()
	if err != nil {
		return err
	}
	if len(b.values(cell, s.name, heapDeflate)) == 0 { // in the first round: later ones would measure the echo's leavings too
		if err := b.deflateMemory(cell, s, load, o); err != nil {
			return err
		}
	}
	o = b.fill(o, s)
	o.Addr = s.addr
	return b.oneEcho(cell, s, load, func() (result, error) { return load.ask(o) })
}

// deflateMemory measures connections that are idle again after a few compressed messages in both directions.
func (b *bench) deflateMemory(cell string, s *serving, load *child, o order) error {
	for _, conns := range []int{1, deflateConns} { // the first one makes what is made once
		empty, err := s.child.ask(order{Op: "memory"})
		if err != nil {
			return err
		}
		agreed, err := load.ask(order{Op: "open", Addr: s.addr, Conns: conns, Offer: o.Offer})
		if err != nil {
			return err
		}
		if o.Offer == offerTakeover && strings.Contains(agreed.Agreed, "server_no_context_takeover") {
			return errNoTakeover
		}
		if _, err := load.ask(order{Op: "talk", Times: 4, Size: o.Size, Kind: o.Kind, Offer: agreed.Agreed}); err != nil {
			return err
		}
		full, err := s.child.ask(order{Op: "memory"})
		if err != nil {
			return err
		}
		if conns == deflateConns {
			b.note(cell, s.contender, heapDeflate, each(full.Heap+full.Stack, empty.Heap+empty.Stack, deflateConns))
		}
		if _, err := load.ask(order{Op: "close"}); err != nil {
			return err
		}
	}
	return nil
}
