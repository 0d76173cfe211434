//go:build linux

// Command bench measures this library and others side by side on one machine, and prints what it found as Markdown, JSON and charts.
// Run it in its own folder: go run .
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 && args[0] == "-role" {
		return role(args[1], args[2:])
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.list {
		o.bench.list(os.Stdout)
		return nil
	}
	r, err := o.bench.result(o.from)
	if err != nil {
		return err
	}
	if o.charts != "" {
		if err := r.charts(o.charts); err != nil {
			return err
		}
	}
	if o.save != "" {
		if err := r.save(o.save); err != nil {
			return err
		}
	}
	r.markdown(os.Stdout)
	return nil
}

type options struct {
	bench              bench
	list               bool
	save, from, charts string
}

func parse(args []string) (*options, error) {
	var (
		o     options
		b     = &o.bench
		f     = flag.NewFlagSet("bench", flag.ContinueOnError)
		quick = f.Bool("quick", false, "short windows, two rounds, few idle connections: shows that all works, and little more")
		cells = f.String("run", ".", "measure the `cells` that match: echo/16/512/binary, client/1/32/binary, idle, handshake, broadcast/1, deflate/1024/takeover")
		who   = f.String("peers", ".", "measure the `contenders` that match; the bounds always run")
		pin   = f.Bool("pin", true, "bind contender and load generator to a processor each (with -procs 1)")
	)
	f.BoolVar(&o.list, "list", false, "list the cells and the contenders and end")
	f.StringVar(&o.save, "json", "", "write all that was measured to this `file`")
	f.StringVar(&o.from, "from", "", "measure nothing: report what -json wrote to this `file`")
	f.StringVar(&o.charts, "svg", "", "draw charts into this `folder`")
	f.IntVar(&b.rounds, "rounds", 5, "turns that each contender gets in each cell")
	f.DurationVar(&b.window, "window", time.Second/2, "length of one measurement")
	f.IntVar(&b.conns, "conns", 32, "connections of an echo cell")
	f.IntVar(&b.idle, "idle", 4000, "connections of the cell idle")
	f.IntVar(&b.many, "many", 2000, "connections of the broadcast cells")
	f.IntVar(&b.procs, "procs", 1, "GOMAXPROCS of the contenders")
	f.BoolVar(&b.singly, "singly", false, "the generator sends each message with a system call of its own")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *quick {
		b.rounds, b.window, b.idle, b.many = 2, 200*time.Millisecond, 500, 500
	}
	b.warm = b.window / 4
	b.place(*pin)
	var err1, err2 error
	b.run, err1 = regexp.Compile(*cells)
	b.who, err2 = regexp.Compile(*who)
	return &o, errors.Join(err1, err2)
}

// result measures, or reads what was measured before.
func (b *bench) result(from string) (*report, error) {
	if from != "" {
		return loadReport(from)
	}
	if err := b.measure(); err != nil {
		return nil, err
	}
	return b.report(), nil
}

func (b *bench) list(w io.Writer) {
	for _, g := range b.everything() {
		fmt.Fprintln(w, strings.Join(g.cells, "\n"))
	}
	for _, c := range contenders {
		fmt.Fprintf(w, "%-14s %s\n", c.name, c.note)
	}
}

// role is what a process does that this program has started.
func role(name string, args []string) error {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the generator ends connections by a reset, and some contenders log that
	switch name {
	case "load":
		return generate()
	case "server":
		return serverOrders(args)
	case "client":
		return clientOrders(args)
	}
	return fmt.Errorf("no role %q", name)
}
