//go:build linux

// Command million opens as many idle WebSocket connections as the machine's limits allow, says what each of them costs, and
// sends a message to all.
//
//	go run ./examples/million [-n 0] [-handle] [-clients 4] [-rounds 3] [-keepalive 30s]
//
// The server is this process; the clients are processes that it starts, without a goroutine or a buffer for a connection, so
// that all of them fit on the same machine. Several loopback addresses give each its own range of ports.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A config is what the command line says.
type config struct {
	n         int // connections; 0: as many as the limits allow
	clients   int // processes
	rounds    int // messages to all
	handle    bool
	keepalive time.Duration
}

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	if len(args) > 0 && args[0] == clientRole {
		return runClient(args[1:], w)
	}
	var (
		cfg config
		f   = flag.NewFlagSet("million", flag.ContinueOnError)
	)
	f.IntVar(&cfg.n, "n", 0, "connections; 0: as many as descriptors and memory allow")
	f.IntVar(&cfg.clients, "clients", 4, "processes that the connections come from")
	f.IntVar(&cfg.rounds, "rounds", 3, "messages to all")
	f.BoolVar(&cfg.handle, "handle", false, "a goroutine for each connection, instead of event mode")
	f.DurationVar(&cfg.keepalive, "keepalive", 30*time.Second, "a Ping after this long without an octet from the client")
	if err := f.Parse(args); err != nil {
		return err
	}
	if cfg.clients < 1 || cfg.n < 0 || f.NArg() > 0 {
		return errors.New("-clients is at least 1, -n at least 0, and there are no other arguments")
	}
	return measure(cfg, w)
}

// measure is the whole experiment.
func measure(cfg config, w io.Writer) error {
	descriptors, err := raiseLimit()
	if err != nil {
		return err
	}
	most := min(descriptors-spareDescriptors, int(available()/octetsEach))
	if cfg.n == 0 {
		cfg.n = most
	}
	if cfg.n > descriptors-spareDescriptors {
		return fmt.Errorf("%d connections need as many descriptors, and the limit is %d: ulimit -n, or as root fs.nr_open", cfg.n, descriptors)
	}
	if cfg.n < 1 {
		return fmt.Errorf("no room for a connection: %d descriptors, of which %d are spare, and %d MiB of memory free", descriptors, spareDescriptors, available()>>20)
	}
	cfg.clients = min(cfg.clients, cfg.n) // one without a connection would not notice our end
	fmt.Fprintf(w, "limits: %d descriptors a process, %d MiB of memory free: up to %d connections here\n", descriptors, available()>>20, most)
	s, err := serve(cfg)
	if err != nil {
		return err
	}
	before, slab := memory(), kernel()
	crowd, err := start(cfg, s.addrs)
	if err != nil {
		return err
	}
	defer crowd.stop()
	begin := time.Now()
	if err := crowd.wait(w, "open", cfg.n, func() int { return min(crowd.sum(opened), s.open()) }); err != nil {
		return err
	}
	elapsed := time.Since(begin)
	fmt.Fprintf(w, "%d connections, opened in %v, %.0f a second\n", cfg.n, elapsed.Round(time.Millisecond), float64(cfg.n)/elapsed.Seconds())
	after := memory()
	report(w, cfg.n, before, after, kernel()-slab)
	for round := range cfg.rounds {
		if err := s.tell(w, crowd, cfg.n, round); err != nil {
			return err
		}
	}
	return nil
}

func report(w io.Writer, n int, before, after usage, slab int64) {
	each := func(with, without int64) float64 { return float64(with-without) / float64(n) / 1024 }
	var b strings.Builder
	fmt.Fprintf(&b, "KiB of the server for a connection: %.2f of Go's memory (heap %.2f, stacks %.2f), %.2f resident\n",
		each(after.heap+after.stack, before.heap+before.stack), each(after.heap, before.heap), each(after.stack, before.stack),
		each(after.resident, before.resident))
	fmt.Fprintf(&b, "KiB of the kernel for both ends of a connection: %.2f, if nobody else has opened or closed much meanwhile\n", each(slab, 0))
	fmt.Fprintf(&b, "a million of them: %.2f GiB for the server process\n", each(after.resident, before.resident)*1e6/(1<<20))
	_, _ = io.WriteString(w, b.String())
}
