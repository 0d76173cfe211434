// Command conform examines any WebSocket endpoint against RFC 6455 and RFC 7692.
//
//	conform [flags] ws://host:port/     play the client: examine an echo server
//	conform [flags] -listen :9001       play the server: examine clients
//
// A server under test echoes every message with its type. A client under test connects to
// /case/ID for each id that /cases lists, echoes until the connection ends, and then looks
// at /report. The exit status is 1 when something is wrong, and 2 when nothing could be examined.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/seed26cb4e35/websocket/internal/conform"
)

// This file holds the command: flags in, verdicts out.

// flags are the command's.
type flags struct {
	listen, cert, key string
	limit             int64
	patience          time.Duration
	pattern           string
	asJSON, list      bool
	html              string
	pid               int
	parallel          int
}

func main() {
	var f flags
	flag.StringVar(&f.listen, "listen", "", "examine clients that connect to this `address`")
	flag.StringVar(&f.cert, "cert", "", "with -listen: serve wss with the certificate in this `file`")
	flag.StringVar(&f.key, "key", "", "with -listen: its key in this `file`")
	flag.Int64Var(&f.limit, "limit", 32<<20, "the endpoint's read limit in `octets`; 0: not known, and the cases that need it are skipped")
	flag.DurationVar(&f.patience, "patience", 5*time.Second, "how long an answer may take")
	flag.StringVar(&f.pattern, "run", "", "run only the cases whose id matches this `pattern`")
	flag.BoolVar(&f.asJSON, "json", false, "print the results as JSON")
	flag.BoolVar(&f.list, "list", false, "print the cases and do nothing")
	flag.StringVar(&f.html, "html", "", "write a report with wire logs to this `file`")
	flag.IntVar(&f.pid, "pid", 0, "the endpoint's process, to watch its memory (Linux)")
	flag.IntVar(&f.parallel, "parallel", 16, "how many cases run at a time")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: conform [flags] ws://host:port/\n       conform [flags] -listen :9001\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	wrong, err := f.run(flag.Args(), os.Stdout, os.Stderr)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case wrong:
		os.Exit(1)
	}
}

// run does what the flags say, and reports whether a case went wrong.
func (f flags) run(args []string, stdout, stderr io.Writer) (wrong bool, err error) {
	pattern, err := regexp.Compile(f.pattern)
	switch {
	case err != nil:
		return false, err
	case f.parallel < 1 || f.patience <= 0:
		return false, errors.New("conform: -parallel and -patience are more than 0")
	case f.limit < 0:
		return false, errors.New("conform: -limit is 0 or more; 0: there is none, or it is not known")
	case (f.cert == "") != (f.key == "") || f.cert != "" && f.listen == "":
		return false, errors.New("conform: -cert and -key go together, and with -listen")
	}
	cfg := conform.Config{Limit: f.limit, Patience: f.patience, Parallel: f.parallel, Match: func(c *conform.Case) bool { return pattern.MatchString(c.ID) }}
	if f.pid != 0 {
		cfg.Memory = func() int64 { return resident(f.pid) }
	}
	if f.list {
		return false, printCases(stdout, cfg.Match)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the command at once
	defer stop()
	var results []conform.Result
	role := "server"
	switch {
	case f.listen != "" && len(args) == 0:
		role = "client"
		results, err = f.examineClients(ctx, cfg, stderr)
	case f.listen == "" && len(args) == 1:
		n := 0
		cfg.Progress = func(r conform.Result) { n++; progress(stderr, n, r) }
		results, err = conform.ExamineServer(ctx, args[0], cfg)
	default:
		return false, errors.New("conform: one URL, or -listen and no URL (see -help)")
	}
	switch {
	case err != nil:
		return false, err
	case len(results) == 0:
		return false, errors.New("conform: no case was examined")
	}
	return conform.Count(results)[conform.Wrong] > 0, f.report(results, role, stdout)
}

// examineClients listens until it is interrupted.
func (f flags) examineClients(ctx context.Context, cfg conform.Config, stderr io.Writer) ([]conform.Result, error) {
	var config *tls.Config
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, err
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	n := 0
	cfg.Progress = func(r conform.Result) { n++; progress(stderr, n, r) }
	exam, err := conform.Listen(f.listen, config, cfg)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(stderr, "listening on %s/: %d cases wait at /case/ID, their ids are at /cases, the report is at /report; Ctrl-C ends\n", exam.URL(), len(exam.IDs()))
	<-ctx.Done()
	results := exam.Results()
	return results, exam.Close()
}

// progress prints a line for a case.
func progress(w io.Writer, n int, r conform.Result) {
	line := fmt.Sprintf("%5d  %-9s  %-34s  %s", n, r.Verdict, r.ID, r.Title)
	if r.Verdict > conform.Right {
		line += ": " + conform.Printable(r.Why)
	}
	fmt.Fprintln(w, line)
}

// report prints the results as the flags want them.
func (f flags) report(results []conform.Result, role string, stdout io.Writer) error {
	if f.html != "" {
		var page strings.Builder
		if err := conform.WriteHTML(&page, role, results); err != nil {
			return err
		}
		if err := os.WriteFile(f.html, []byte(page.String()), 0o644); err != nil {
			return err
		}
	}
	if f.asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	conform.WriteText(stdout, results)
	return nil
}

// printCases prints what there is to run.
func printCases(w io.Writer, match func(*conform.Case) bool) error {
	for _, c := range conform.Cases() {
		if match(c) {
			if _, err := fmt.Fprintf(w, "%-34s  %-6s  %s\n", c.ID, c.Roles, c.Title); err != nil {
				return err
			}
		}
	}
	return nil
}

// resident returns the octets of memory that a process has, 0 where that can't be told.
func resident(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
