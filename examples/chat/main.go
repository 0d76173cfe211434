// Command chat is a chat room: one page, one socket, everybody who opens it. People join with a name, write, clap, see who is
// there and who is typing, and whoever comes later sees the last 50 messages.
//
//	go run ./examples/chat [-addr 127.0.0.1:8080] [-origin https://example.com] [-cert file -key file] [-rate 5] [-burst 20]
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
	var rate serve.Rate
	cmd := serve.New("chat")
	cmd.Flags.Float64Var(&rate.PerSecond, "rate", 5, "messages a `second` that each person may send in the long run")
	cmd.Flags.IntVar(&rate.Burst, "burst", 20, "`messages` that each person may send at once")
	cmd.Parse()
	cmd.Require(rate.PerSecond > 0 && rate.Burst > 0, "-rate and -burst are more than 0")
	r := newRoom(websocket.Options{Origins: cmd.Origins}, rate)
	cmd.Main(serve.Handler(&r.server, page, "page"), &r.server)
}
