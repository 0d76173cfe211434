// Command autobahn is this library in the form that the Autobahn TestSuite expects: an echo
// server for its fuzzing client, and a client that goes through the cases of its fuzzing
// server. README.md has the commands.
//
//	autobahn [-listen :9001]                         echo, for wstest -m fuzzingclient
//	autobahn -server ws://127.0.0.1:9001 [-agent A]  be examined by wstest -m fuzzingserver
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// This file holds both ends.

// options are those of both ends: room for the suite's biggest message (16 MiB), and
// compression in every form that its groups 12 and 13 negotiate.
var options = websocket.Options{
	ReadLimit:    32 << 20,
	WriteTimeout: time.Minute,
	Compression:  &websocket.Compression{ContextTakeover: true, Threshold: 1},
}

func main() {
	listen := flag.String("listen", ":9001", "echo at this `address`")
	server := flag.String("server", "", "the fuzzing server's `URL`; without it, be a server")
	agent := flag.String("agent", "seed26cb4e35/websocket", "the `name` in the reports")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *server != "" {
		err = runCases(ctx, os.Stdout, strings.TrimSuffix(*server, "/"), *agent)
	} else {
		log.Printf("echoing at %s", *listen)
		err = serve(ctx, *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve echoes until ctx ends.
func serve(ctx context.Context, address string) error {
	handler := &websocket.Server{Handle: func(c *websocket.Conn, _ *http.Request) error { return echo(context.Background(), c) }, Options: options}
	srv := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		shut, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(shut) // what is left after that ends with the process
		_ = handler.Shutdown(shut)
	})
	defer stop()
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// echo sends every message back until the connection ends.
func echo(ctx context.Context, c *websocket.Conn) error {
	var buf []byte
	for {
		typ, msg, err := c.ReadAppend(ctx, buf[:0])
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, msg); err != nil {
			return err
		}
		buf = msg
	}
}

// runCases asks the fuzzing server for the number of its cases, runs each, and has it write
// its reports.
func runCases(ctx context.Context, out io.Writer, server, agent string) error {
	n, err := caseCount(ctx, server)
	if err != nil {
		return err
	}
	name := url.QueryEscape(agent)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(out, "\rcase %d of %d", i, n)
		c, _, err := websocket.Dial(ctx, fmt.Sprintf("%s/runCase?case=%d&agent=%s", server, i, name), &options)
		if err != nil {
			return fmt.Errorf("case %d: %w", i, err)
		}
		_ = echo(ctx, c) // how it ends is the fuzzing server's to judge
		if err := c.CloseNow(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	c, _, err := websocket.Dial(ctx, server+"/updateReports?agent="+name, &options)
	if err != nil {
		return err
	}
	for _, err := range c.Messages(ctx) {
		if err != nil && websocket.CloseStatus(err) < 0 {
			return err
		}
	}
	return nil
}

// caseCount asks the fuzzing server for the number of its cases.
func caseCount(ctx context.Context, server string) (int, error) {
	c, _, err := websocket.Dial(ctx, server+"/getCaseCount", &options)
	if err != nil {
		return 0, err
	}
	defer c.CloseNow()
	_, msg, err := c.Read(ctx)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(msg))
	if err != nil {
		return 0, fmt.Errorf("number of cases: %w", err)
	}
	return n, nil
}
