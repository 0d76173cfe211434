// Command push only sends: the time, a counter and the machine's load, several times a second, to everybody who looks. Its
// page draws them as they come. Who does not keep up is dropped, and nobody else notices.
//
//	go run ./examples/push [-addr 127.0.0.1:8080] [-origin https://example.com] [-cert file -key file] [-every 200ms]
//
// It prints one line, "listening on http://127.0.0.1:8080/" (https:// with a certificate), once it listens; port 0 picks a
// free one. The page is at /, the socket at /ws; README.md in this folder says what goes over it. SIGINT and SIGTERM close
// every connection with 1001, and the command ends with status 0.
package main

import (
	"context"
	"embed"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

//go:embed page
var page embed.FS

func main() {
	cmd := serve.New("push")
	every := cmd.Flags.Duration("every", 200*time.Millisecond, "`time` from one value to the next")
	cmd.Parse()
	cmd.Require(*every >= time.Millisecond, "-every is a millisecond or more")
	f := newFeed(websocket.Options{Origins: cmd.Origins}, *every)
	go f.run(context.Background()) // ends with the command
	cmd.Main(serve.Handler(&f.server, page, "page"), &f.server)
}
