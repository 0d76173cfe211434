// Command echo is a WebSocket server that sends every message back as it came, on every path. A browser that opens its
// address gets a page to try it with.
//
//	go run ./examples/echo [-addr 127.0.0.1:8080] [-limit 33554432] [-compress=false] [-takeover] [-events]
//	    [-cert file -key file]
//
// It prints one line, "listening on ws://127.0.0.1:8080/" (wss:// with a certificate), once it listens; port 0 picks a
// free one. SIGINT and SIGTERM close every connection with 1001, and the command ends with status 0.
package main

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
	"syscall"
	"time"

	"github.com/seed26cb4e35/websocket"
)

const (
	headerTimeout = 10 * time.Second // for a client to send its request
	// Once a signal has come:
	requestTimeout = 1 * time.Second // for requests to end
	closeTimeout   = 5 * time.Second // for all to end
)

// A config is what the command line says.
type config struct {
	addr      string
	cert, key string // files; without them there is no TLS
	events    bool
	opts      websocket.Options
}

func main() {
	cfg := parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the command at once
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// parse reads the command line. Where it makes no sense it says so and ends the command with status 2.
func parse(args []string) *config {
	cfg := new(config)
	var compress, takeover bool
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	flags.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flags.StringVar(&cfg.cert, "cert", "", "`file` with the TLS certificate, PEM")
	flags.StringVar(&cfg.key, "key", "", "`file` with the TLS certificate's key, PEM")
	flags.Int64Var(&cfg.opts.ReadLimit, "limit", 32<<20, "most `octets` of a message; negative: no limit")
	flags.BoolVar(&compress, "compress", true, "compress messages where the client can")
	flags.BoolVar(&takeover, "takeover", false, "compress with context takeover: better, for 0.8 MiB a connection")
	flags.BoolVar(&cfg.events, "events", false, "serve by events: an idle connection has no goroutine")
	_ = flags.Parse(args) // ends the command where it fails
	if flags.NArg() > 0 || (cfg.cert == "") != (cfg.key == "") {
		fmt.Fprintln(os.Stderr, "echo takes no arguments but flags, and -cert only together with -key")
		flags.Usage()
		os.Exit(2)
	}
	if compress {
		cfg.opts.Compression = &websocket.Compression{ContextTakeover: takeover}
	}
	return cfg
}

// run listens, says so on stdout, and serves until ctx ends; then it closes all connections.
func run(ctx context.Context, cfg *config, stdout io.Writer) error {
	ws := newServer(cfg.opts, cfg.events)
	hs := &http.Server{Handler: handler(ws), ReadHeaderTimeout: headerTimeout}
	serve, scheme := hs.Serve, "ws"
	if cfg.cert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.cert, cfg.key)
		if err != nil {
			return err
		}
		hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		serve, scheme = func(ln net.Listener) error { return hs.ServeTLS(ln, "", "") }, "wss"
	}
	ln, err := net.Listen("tcp", cfg.addr)
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
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
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
