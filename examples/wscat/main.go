// Command wscat talks to a WebSocket server from the command line.
//
//	go run ./examples/wscat [flags] ws://host/path
//
// Each line of standard input is sent as a text message, with -b as a binary message: the line is its octets in
// hexadecimal, spaces allowed. Each message that arrives is a line of standard output: text as it is, binary in
// hexadecimal. On a terminal control characters in them are shown, not obeyed, and where one types there too the lines
// that arrive begin with "< ". All else is on standard error: that the connection is open, the times of Pings, the close
// code and its reason.
//
// At the end of the input, typed (Ctrl-D) or piped, wscat waits for the answers that are under way and then closes with
// -code and -reason. No protocol says what is an answer to what, so wscat sends a Ping: the Pong of a server that handles
// one message after the other follows all that it has answered. From then on it waits for as long as messages arrive with
// pauses shorter than -wait; -wait -1s waits until the server closes. Ctrl-C closes at once, and a second one ends wscat.
//
// Flags:
//
//	-b            send and type binary messages, in hexadecimal
//	-H "N: v"     add a header to the request (may be repeated)
//	-proto a,b    offer subprotocols
//	-origin o     send this Origin
//	-k            accept any TLS certificate
//	-compress     offer compression
//	-limit n      most octets of a message that arrives; negative: no limit
//	-ping 10s     send a Ping this often and print the round trip
//	-wait 500ms   how long a pause must be to mean that no more answers come
//	-code n       close code to end with
//	-reason s     close reason to end with
//
// The exit status is 0 after a clean close, with whatever code: both sides have sent a Close frame, and every line was
// sent (RFC 6455 section 7.1.4). It is 1 where the connection could not be opened, broke off or was failed, or a line
// could not be read or sent, and 2 where the command line makes no sense.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/seed26cb4e35/websocket"
)

// A config is what the command line says.
type config struct {
	url    string
	opts   websocket.Options
	binary bool
	ping   time.Duration // 0: none
	wait   time.Duration // negative: for ever
	code   websocket.StatusCode
	reason string
}

func main() {
	cfg := parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the command at once
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "wscat:", err)
		os.Exit(1)
	}
}

// parse reads the command line. Where it makes no sense it says so and ends the command with status 2.
func parse(args []string) *config {
	cfg := &config{opts: websocket.Options{Header: make(http.Header)}}
	var code int
	var insecure, compress bool
	flags := flag.NewFlagSet("wscat", flag.ExitOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: wscat [flags] ws://host/path")
		flags.PrintDefaults()
	}
	flags.BoolVar(&cfg.binary, "b", false, "send binary messages, typed in hexadecimal")
	flags.Func("H", "add a `header` to the request, \"Name: value\"; may be repeated", cfg.addHeader)
	flags.Func("proto", "offer these `subprotocols`, separated by commas", cfg.addSubprotocols)
	flags.Func("origin", "send this `Origin`", func(s string) error { return cfg.addHeader("Origin:" + s) })
	flags.BoolVar(&insecure, "k", false, "accept any TLS certificate")
	flags.BoolVar(&compress, "compress", false, "offer compression")
	flags.Int64Var(&cfg.opts.ReadLimit, "limit", 32<<20, "most `octets` of a message that arrives; negative: no limit")
	flags.DurationVar(&cfg.ping, "ping", 0, "send a Ping this `often` and print the round trip")
	flags.DurationVar(&cfg.wait, "wait", 500*time.Millisecond, "after the input, close once this `long` nothing has arrived; negative: never")
	flags.IntVar(&code, "code", int(websocket.StatusNormalClosure), "close `code` to end with")
	flags.StringVar(&cfg.reason, "reason", "", "close `reason` to end with")
	_ = flags.Parse(args) // ends the command where it fails

	cfg.url, cfg.code = flags.Arg(0), websocket.StatusCode(code)
	wrong := cfg.wrongEnd()
	if flags.NArg() != 1 {
		wrong = "there is one argument, the URL"
	}
	if wrong != "" {
		fmt.Fprintln(flags.Output(), "wscat:", wrong)
		flags.Usage()
		os.Exit(2)
	}
	if insecure {
		cfg.opts.HTTPClient = trusting()
	}
	if compress {
		cfg.opts.Compression = new(websocket.Compression)
	}
	return cfg
}

// wrongEnd says why no Close frame can carry -code and -reason; "" if one can (RFC 6455 sections 5.5.1 and 7.4).
func (cfg *config) wrongEnd() string {
	c := cfg.code
	switch {
	case c == websocket.StatusNoStatusRcvd && cfg.reason != "":
		return "-code 1005 stands for no code, and has no -reason"
	case (c < 1000 || c > 1003) && c != websocket.StatusNoStatusRcvd && (c < 1007 || c > 1014) && (c < 3000 || c > 4999):
		return "-code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 1005 for none"
	case !utf8.ValidString(cfg.reason):
		return "-reason is not UTF-8"
	case len(cfg.reason) > 123:
		return fmt.Sprintf("-reason has %d octets, and a Close frame room for 123", len(cfg.reason))
	}
	return ""
}

// addHeader takes a line as HTTP has it. Host is no header for net/http.
func (cfg *config) addHeader(line string) error {
	name, value, ok := strings.Cut(line, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" {
		return fmt.Errorf("want \"Name: value\", have %q", line)
	}
	if strings.EqualFold(name, "Host") {
		cfg.opts.Host = value
		return nil
	}
	cfg.opts.Header.Add(name, value)
	return nil
}

func (cfg *config) addSubprotocols(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		cfg.opts.Subprotocols = append(cfg.opts.Subprotocols, strings.TrimSpace(name))
	}
	return nil
}

// trusting returns a client that does not ask who the server is.
func trusting() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	return &http.Client{Transport: transport}
}
