// Package serve is what the example servers have in common: the command line, listening, the page's files, sending in order,
// a limit on how often one may speak, and the end.
package serve

// This file holds the command line, listening and the end.

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed26cb4e35/websocket"
)

const (
	headerTimeout = 10 * time.Second // for a client to send its request
	idleTimeout   = 2 * time.Minute  // for it to send another
	// Once a signal has come:
	requestTimeout = 1 * time.Second // for requests to end
	CloseTimeout   = 5 * time.Second // for all to end
)

// A Command is an example server's command line. All have -addr, -cert, -key and -origin; further flags go into Flags.
type Command struct {
	Flags   *flag.FlagSet
	Origins []string // of -origin, for [websocket.Options]
	Scheme  string   // of the URL that is printed: http, or ws; with a certificate, https or wss

	addr      string
	cert, key string // files; without them there is no TLS
}

// New returns the command line of the command name.
func New(name string) *Command {
	cmd := &Command{Scheme: "http", Flags: flag.NewFlagSet(name, flag.ExitOnError)}
	cmd.Flags.StringVar(&cmd.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free one")
	cmd.Flags.StringVar(&cmd.cert, "cert", "", "`file` with the TLS certificate, PEM")
	cmd.Flags.StringVar(&cmd.key, "key", "", "`file` with the TLS certificate's key, PEM")
	cmd.Flags.Func("origin", "`origin` whose pages may connect besides our own, as https://*.example.com (may be repeated)", func(s string) error {
		if s = strings.TrimSpace(s); s == "" {
			return errors.New("is empty")
		}
		cmd.Origins = append(cmd.Origins, s)
		return nil
	})
	return cmd
}

// Parse reads the command line. Where it makes no sense it says so and ends the command with status 2.
func (cmd *Command) Parse() {
	_ = cmd.Flags.Parse(os.Args[1:]) // ends the command where it fails
	cmd.Require(cmd.Flags.NArg() == 0, "there are no arguments but flags")
	cmd.Require((cmd.cert == "") == (cmd.key == ""), "-cert and -key go together")
}

// Require ends the command with status 2 unless ok, and says on standard error what the rule is.
func (cmd *Command) Require(ok bool, rule string) {
	if ok {
		return
	}
	fmt.Fprintf(cmd.Flags.Output(), "%s: %s\n", cmd.Flags.Name(), rule)
	cmd.Flags.Usage()
	os.Exit(2)
}

// Main listens, prints "listening on http://HOST:PORT/" (with Scheme instead of http), and serves until SIGINT or SIGTERM
// comes; then it closes all connections of ws with 1001. Where that is not to be had, it says why and ends the command with
// status 1.
func (cmd *Command) Main(handler http.Handler, ws *websocket.Server) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the command at once
	if err := cmd.run(ctx, handler, ws, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Flags.Name(), err)
		os.Exit(1)
	}
}

// run listens, says so on stdout, and serves until ctx ends; then it closes all connections.
func (cmd *Command) run(ctx context.Context, handler http.Handler, ws *websocket.Server, stdout io.Writer) error {
	hs := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}
	serve, scheme := hs.Serve, cmd.Scheme
	if cmd.cert != "" {
		cert, err := tls.LoadX509KeyPair(cmd.cert, cmd.key)
		if err != nil {
			return err
		}
		hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		serve, scheme = func(ln net.Listener) error { return hs.ServeTLS(ln, "", "") }, cmd.Scheme+"s"
	}
	ln, err := net.Listen("tcp", cmd.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on %s://%s/\n", scheme, ln.Addr())

	failed := make(chan error, 1)
	go func() { failed <- serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return shutdown(hs, ws)
}

// shutdown ends the HTTP server, which knows nothing of its WebSockets, and these, both at once: a browser opens
// connections in advance, for whose requests the HTTP server would wait while the pages wait for their Close frames.
func shutdown(hs *http.Server, ws *websocket.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- ws.Shutdown(ctx) }()

	requests, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := errors.Join(hs.Shutdown(requests), hs.Close(), <-closed)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // who did not answer in time has been cut, which is no failure of ours
	}
	return err
}
