// Command hello is a first server, and what a browser makes of it: it answers a name with "Hallo vom Server, NAME!", waits
// for five seconds, and closes with 1000 and a reason. Its page logs every event of a WebSocket, and shows bufferedAmount
// while a big file goes to a server that reads slowly.
//
//	go run ./examples/hello [-addr 127.0.0.1:8080] [-origin https://example.com] [-cert file -key file] [-pause 5s]
//	    [-speed 4194304]
//
// It prints one line, "listening on http://127.0.0.1:8080/" (https:// with a certificate), once it listens; port 0 picks a
// free one. The page is at /, the greeting at /ws, the upload at /ws?upload. SIGINT and SIGTERM close every connection with
// 1001, and the command ends with status 0.
package main

import (
	"embed"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

//go:embed page
var page embed.FS

func main() {
	cmd := serve.New("hello")
	h := new(hello)
	cmd.Flags.DurationVar(&h.pause, "pause", 5*time.Second, "`time` from the greeting to the end")
	cmd.Flags.IntVar(&h.speed, "speed", 4<<20, "`octets` a second that are read of an upload")
	cmd.Parse()
	cmd.Require(h.speed > 0, "-speed is more than 0")
	ws := newServer(h, websocket.Options{Origins: cmd.Origins})
	cmd.Main(serve.Handler(ws, page, "page"), ws)
}
