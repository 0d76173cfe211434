// Command peers runs the conformance kit against this library and others, as servers and as
// clients, and prints what came of it as a table in Markdown.
//
// Each endpoint runs in a process of its own, which is started again when it dies. What went
// wrong is repeated alone, so that no case is blamed for another.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/seed26cb4e35/websocket/internal/conform"
)

// This file holds the command: processes, runs, repetitions.

func main() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	only := flag.String("only", "", "examine only the libraries whose name matches this `pattern`")
	run := flag.String("run", "", "run only the cases whose id matches this `pattern`")
	html := flag.String("html", "", "write reports with wire logs to this `folder`")
	child := flag.String("child", "", "")
	flag.Parse()
	if err := start(*child, *only, *run, *html, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start does what the flags say, in the parent or in a child.
func start(child, only, run, html string, args []string) error {
	switch child {
	case "serve":
		ln, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			return err
		}
		return serve(named(args[0]), ln)
	case "drive":
		drive(named(args[0]), os.Stdin)
		return nil
	}
	which, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	cases, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	var columns []column
	for _, p := range peers {
		if !which.MatchString(p.name) {
			continue
		}
		for _, role := range []conform.Role{conform.Server, conform.Client} {
			c, err := examine(p, role, cases)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s as %s: %v\n", p.name, role, conform.Count(c.results))
			columns = append(columns, c)
			if html != "" {
				if err := c.save(html); err != nil {
					return err
				}
			}
		}
	}
	writeTable(os.Stdout, columns)
	return nil
}

// named returns the peer with a name.
func named(name string) peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	panic("BUG: no peer is called " + name)
}

// examine runs the kit, and then what went wrong once more, case by case.
func examine(p peer, role conform.Role, cases *regexp.Regexp) (column, error) {
	run := examineServer
	if role == conform.Client {
		run = examineClient
	}
	match := func(c *conform.Case) bool { return cases.MatchString(c.ID) }
	results, deaths, err := run(p, match, 16)
	if err != nil {
		return column{}, err
	}
	again := make(map[string]bool)
	at := make(map[string]int)
	for i, r := range results {
		at[r.ID] = i
		again[r.ID] = r.Verdict == conform.Wrong
	}
	parallel := 8
	if deaths > 0 {
		parallel = 1
	}
	second, _, err := run(p, func(c *conform.Case) bool { return again[c.ID] }, parallel)
	if err != nil {
		return column{}, err
	}
	for _, r := range second {
		if i, ok := at[r.ID]; ok {
			results[i] = r
		}
	}
	return column{p.name, role, results}, nil
}

// config is what the kit knows of a peer.
func config(p peer, match func(*conform.Case) bool, parallel int) conform.Config {
	cfg := conform.Config{Match: match, Parallel: parallel, Patience: 5 * time.Second}
	if p.limited {
		cfg.Limit = limit
	}
	return cfg
}

// examineServer starts a peer's server and runs the kit against it. It tells how often the
// server has died.
func examineServer(p peer, match func(*conform.Case) bool, parallel int) (results []conform.Result, deaths int, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for ctx.Err() == nil { // a server that has died is started again
			cmd := exec.CommandContext(ctx, os.Args[0], "-child", "serve", p.name)
			cmd.ExtraFiles = []*os.File{file}
			if _ = cmd.Run(); ctx.Err() == nil {
				deaths++
			}
		}
	}()
	results, err = conform.ExamineServer(ctx, "ws://"+ln.Addr().String()+"/", config(p, match, parallel))
	stop()
	wg.Wait()
	return results, deaths, err
}

// examineClient starts an exam and sends a peer's client through it. A client that has died
// goes on behind the case at which it died.
func examineClient(p peer, match func(*conform.Case) bool, parallel int) (results []conform.Result, deaths int, err error) {
	exam, err := conform.Listen("127.0.0.1:0", nil, config(p, match, parallel))
	if err != nil {
		return nil, 0, err
	}
	defer exam.Close()
	left := exam.IDs()
	for len(left) > 0 {
		cmd := exec.Command(os.Args[0], "-child", "drive", p.name)
		var in strings.Builder
		fmt.Fprintln(&in, parallel)
		for _, id := range left {
			fmt.Fprintln(&in, exam.URL()+"/case/"+id)
		}
		cmd.Stdin = strings.NewReader(in.String())
		if cmd.Run() != nil {
			deaths++
		}
		done := make(map[string]bool)
		for _, r := range exam.Results() {
			done[r.ID] = true
		}
		n := len(left)
		var rest []string
		for _, id := range left {
			if !done[id] {
				rest = append(rest, id)
			}
		}
		if left = rest; len(left) == n {
			return nil, deaths, fmt.Errorf("the client of %s does not come for %s", p.name, left[0])
		}
	}
	return exam.Results(), deaths, nil
}

// drive goes through the URLs that the parent names.
func drive(p peer, in io.Reader) {
	lines := bufio.NewScanner(in)
	lines.Scan()
	var parallel int
	_, _ = fmt.Sscan(lines.Text(), &parallel)
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for lines.Scan() {
		url := lines.Text()
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.drive(url)
			<-slots
		}()
	}
	wg.Wait()
}
