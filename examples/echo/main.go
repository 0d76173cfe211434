// Command echo is a WebSocket server that sends every message back as it came, on every path. A browser that opens its
// address gets a page to try it with.
//
//	go run ./examples/echo [-addr 127.0.0.1:8080] [-limit 33554432] [-compress=false] [-takeover] [-events]
//	    [-origin https://example.com] [-cert file -key file]
//
// It prints one line, "listening on ws://127.0.0.1:8080/" (wss:// with a certificate), once it listens; port 0 picks a
// free one. SIGINT and SIGTERM close every connection with 1001, and the command ends with status 0.
package main

import (
	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

func main() {
	var (
		opts                       websocket.Options
		compress, takeover, events bool
	)
	cmd := serve.New("echo")
	cmd.Scheme = "ws"
	cmd.Flags.Int64Var(&opts.ReadLimit, "limit", 32<<20, "most `octets` of a message; negative: no limit")
	cmd.Flags.BoolVar(&compress, "compress", true, "compress messages where the client can")
	cmd.Flags.BoolVar(&takeover, "takeover", false, "compress with context takeover: better, for 0.8 MiB a connection")
	cmd.Flags.BoolVar(&events, "events", false, "serve by events: an idle connection has no goroutine")
	cmd.Parse()
	opts.Origins = cmd.Origins
	if compress {
		opts.Compression = &websocket.Compression{ContextTakeover: takeover}
	}
	ws := newServer(opts, events)
	cmd.Main(handler(ws), ws)
}
