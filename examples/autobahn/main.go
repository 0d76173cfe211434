// Command autobahn is this library in the form that the Autobahn TestSuite expects: an echo
// server for its fuzzing client, and a client that goes through the cases of its fuzzing
// server. README.md has the commands.
//
//	autobahn [-addr 127.0.0.1:8080]                  echo, for wstest -m fuzzingclient
//	autobahn -server ws://127.0.0.1:9001 [-agent A]  be examined by wstest -m fuzzingserver
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
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
	cmd := serve.New("autobahn")
	cmd.Scheme = "ws"
	server := cmd.Flags.String("server", "", "the fuzzing server's `URL`; without it, be a server")
	agent := cmd.Flags.String("agent", "seed26cb4e35/websocket", "the `name` in the reports")
	cmd.Parse()
	if *server == "" {
		ws := newServer(cmd.Origins)
		cmd.Main(ws, ws)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runCases(ctx, os.Stdout, strings.TrimSuffix(*server, "/"), *agent); err != nil {
		log.Fatal(err)
	}
}

// newServer returns an echo server.
func newServer(origins []string) *websocket.Server {
	s := &websocket.Server{Options: options, Handle: func(c *websocket.Conn, _ *http.Request) error { return echo(context.Background(), c) }}
	s.Options.Origins = origins
	return s
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
	c, err := dialFirst(ctx, out, server+"/getCaseCount")
	if err != nil {
		return err
	}
	n, err := caseCount(ctx, c)
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
	if c, _, err = websocket.Dial(ctx, server+"/updateReports?agent="+name, &options); err != nil {
		return err
	}
	for _, err := range c.Messages(ctx) {
		if err != nil && websocket.CloseStatus(err) < 0 {
			return err
		}
	}
	return nil
}

// patience is how long the fuzzing server may take to start.
const patience = time.Minute

// dialFirst connects to a fuzzing server that may still be starting: its image may have to be fetched first.
func dialFirst(ctx context.Context, out io.Writer, url string) (*websocket.Conn, error) {
	for end := time.Now().Add(patience); ; {
		c, _, err := websocket.Dial(ctx, url, &options)
		var refusal *websocket.HandshakeError
		if err == nil || errors.As(err, &refusal) || ctx.Err() != nil || time.Now().After(end) {
			return c, err
		}
		fmt.Fprintf(out, "waiting for the fuzzing server: %v\n", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// caseCount reads the number of the fuzzing server's cases.
func caseCount(ctx context.Context, c *websocket.Conn) (int, error) {
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
