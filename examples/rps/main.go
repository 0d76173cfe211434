// Command rps is rock, paper, scissors for any number of players, in German: Schere, Stein, Papier. Whoever moves plays
// against the next one who does.
//
//	go run ./examples/rps [-addr 127.0.0.1:8080] [-origin https://example.com] [-cert file -key file]
//
// It prints one line, "listening on http://127.0.0.1:8080/" (https:// with a certificate), once it listens; port 0 picks a
// free one. The page is at /, the socket at /ws; README.md in this folder says what goes over it. SIGINT and SIGTERM close
// every connection with 1001, and the command ends with status 0.
package main

import (
	"embed"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

//go:embed page
var page embed.FS

func main() {
	cmd := serve.New("rps")
	cmd.Parse()
	g := newGame(websocket.Options{Origins: cmd.Origins})
	cmd.Main(serve.Handler(&g.server, page, "page"), &g.server)
}
