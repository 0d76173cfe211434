package main

// This file holds what a foreign client sees of the built command: echo, refusals, limits, TLS, shutdown.

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
	"github.com/seed26cb4e35/websocket/internal/command"
)

func TestMain(m *testing.M) {
	os.Exit(command.Main(m, "."))
}

// start starts the echo server on a free port.
func start(t *testing.T, args ...string) *command.Server {
	t.Helper()
	return command.Serve(t, "echo", append([]string{"-addr", "127.0.0.1:0"}, args...)...)
}

// bothModes runs a test against a server with a goroutine for each connection, and against one with events.
func bothModes(t *testing.T, f func(t *testing.T, s *command.Server), args ...string) {
	t.Parallel()
	for name, mode := range map[string]string{"goroutines": "-events=false", "events": "-events"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, start(t, append(args, mode)...))
		})
	}
}

// dial connects to url, and gives up all with the test.
func dial(t *testing.T, url string, opts *websocket.Options) (*websocket.Conn, *http.Response) {
	t.Helper()
	if opts == nil {
		opts = new(websocket.Options)
	}
	opts.ReadLimit = -1
	c, resp, err := websocket.Dial(patience(t), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c, resp
}

// patience returns a context that ends long after all should be over.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wantEcho sends a message and fails the test if it does not come back as it was.
func wantEcho(t *testing.T, c *websocket.Conn, typ websocket.MessageType, data []byte) {
	t.Helper()
	ctx := patience(t)
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, typ, data) }()
	gotType, got, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("read the echo of %d octets: %v", len(data), err)
	}
	if gotType != typ || !bytes.Equal(got, data) {
		t.Fatalf("sent a message of type %v and %d octets, got another one back: type %v, %d octets", typ, len(data), gotType, len(got))
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestEveryMessageComesBackAsItWas(t *testing.T) {
	bothModes(t, func(t *testing.T, s *command.Server) {
		random := make([]byte, 16<<20)
		_, _ = rand.Read(random)
		text := []byte(strings.Repeat("Ein Täßchen 茶 für 👩‍🚀? ", 16<<20/32))
		for name, compression := range map[string]*websocket.Compression{
			"plain": nil, "compressed": {}, "takeover": {ContextTakeover: true},
		} {
			t.Run(name, func(t *testing.T) {
				c, _ := dial(t, s.URL+"any/path?and=query", &websocket.Options{Compression: compression})
				for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20, 16 << 20} {
					wantEcho(t, c, websocket.Binary, random[:n])
					wantEcho(t, c, websocket.Text, bytes.ToValidUTF8(text[:min(n, len(text))], []byte("?")))
				}
				if err := c.Close(3000, "done"); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
	})
}

func TestFragmentsComeBackAsOneMessage(t *testing.T) {
	bothModes(t, func(t *testing.T, s *command.Server) {
		c, _ := dial(t, s.URL, nil)
		ctx := patience(t)
		w, err := c.Writer(ctx, websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"a", "", "b", "\xc3", "\xa4"} {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); string(got) != "abä" || err != nil {
			t.Errorf("got %q, %v, want abä", got, err)
		}
	})
}

func TestCompressionIsOnUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	const none, compressed = "", "permessage-deflate"
	for _, row := range []struct {
		args     []string
		want     string
		takeover bool
	}{
		{nil, compressed, false},
		{[]string{"-takeover"}, compressed, true},
		{[]string{"-compress=false"}, none, false},
	} {
		offer := &websocket.Options{Compression: &websocket.Compression{ContextTakeover: true}}
		c, resp := dial(t, start(t, row.args...).URL, offer)
		got := resp.Header.Get("Sec-WebSocket-Extensions")
		name, _, _ := strings.Cut(got, ";")
		if name != row.want || row.want == compressed && strings.Contains(got, "server_no_context_takeover") == row.takeover {
			t.Errorf("%v: agreed on %q", row.args, got)
		}
		wantEcho(t, c, websocket.Text, bytes.Repeat([]byte("compress me "), 1000))
	}
}

func TestLimit(t *testing.T) {
	bothModes(t, func(t *testing.T, s *command.Server) {
		c, _ := dial(t, s.URL, nil)
		wantEcho(t, c, websocket.Binary, make([]byte, 1000))
		if err := c.Write(patience(t), websocket.Binary, make([]byte, 1001)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(patience(t)); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("one octet more than the limit: %v, want close code 1009", err)
		}
	}, "-limit", "1000")
}

func TestWhoGetsThePage(t *testing.T) {
	t.Parallel()
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	url := strings.Replace(start(t).URL, "ws", "http", 1)
	for _, row := range []struct {
		why, method, path, accept, upgrade string
		want                               int
	}{
		{"a browser", "GET", "", browser, "", http.StatusOK},
		{"a browser, any path", "GET", "a/b?c", browser, "", http.StatusOK},
		{"a browser that only asks", "HEAD", "", browser, "", http.StatusOK},
		{"curl", "GET", "", "*/*", "", http.StatusUpgradeRequired},
		{"no Accept at all", "GET", "", "", "", http.StatusUpgradeRequired},
		{"a page's picture", "GET", "favicon.ico", "image/avif,image/*,*/*;q=0.8", "", http.StatusUpgradeRequired},
		{"a form", "POST", "", browser, "", http.StatusUpgradeRequired},
		{"an upgrade to something else", "GET", "", browser, "h2c", http.StatusUpgradeRequired},
		{"an upgrade without a key", "GET", "", browser, "websocket", http.StatusBadRequest},
	} {
		req, err := http.NewRequestWithContext(patience(t), row.method, url+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", row.accept)
		if row.upgrade != "" {
			req.Header.Set("Upgrade", row.upgrade)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Sec-WebSocket-Version", "13")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", row.why, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode != row.want:
			t.Errorf("%s: status %d, want %d", row.why, resp.StatusCode, row.want)
		case row.want == http.StatusUpgradeRequired && resp.Header.Get("Upgrade") != "websocket":
			t.Errorf("%s: 426 without Upgrade: websocket (RFC 9110 section 15.5.22)", row.why)
		case row.want == http.StatusOK && row.method == "GET" && !bytes.Equal(body, page):
			t.Errorf("%s: got no page", row.why)
		}
	}
}

func TestSignalClosesAllWith1001(t *testing.T) {
	bothModes(t, func(t *testing.T, s *command.Server) {
		var conns []*websocket.Conn
		for range 20 {
			c, _ := dial(t, s.URL, nil)
			wantEcho(t, c, websocket.Text, []byte("here"))
			conns = append(conns, c)
		}
		s.Signal(syscall.SIGTERM)
		for _, c := range conns {
			if _, _, err := c.Read(patience(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("%v, want close code 1001", err)
			}
		}
		s.End()
	})
}

func TestInterruptIsASignalToo(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, _ := dial(t, s.URL, nil)
	s.Signal(os.Interrupt)
	if _, _, err := c.Read(patience(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("%v, want close code 1001", err)
	}
	s.End()
}

// A client that has vanished, or stays silent, or never sends its request, must not keep the server from ending.
func TestSignalDoesNotWaitForTheSilent(t *testing.T) {
	bothModes(t, func(t *testing.T, s *command.Server) {
		addr := strings.Trim(strings.TrimPrefix(s.URL, "ws://"), "/")
		for _, request := range []string{"", "GET / HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"} {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = nc.Close() }()
			if _, err := io.WriteString(nc, request); err != nil {
				t.Fatal(err)
			}
			if request == "" {
				continue
			}
			status := make([]byte, len("HTTP/1.1 101"))
			if _, err := io.ReadFull(nc, status); string(status) != "HTTP/1.1 101" {
				t.Fatalf("got %q, %v, want 101", status, err)
			}
		}
		began := time.Now()
		s.Signal(syscall.SIGTERM)
		s.End()
		if took := time.Since(began); took > serve.CloseTimeout+4*time.Second {
			t.Errorf("ended after %v, want at most %v", took, serve.CloseTimeout)
		}
	})
}

func TestTLS(t *testing.T) {
	cert, key, roots := servetest.Certificate(t)
	bothModes(t, func(t *testing.T, s *command.Server) {
		if !strings.HasPrefix(s.URL, "wss://127.0.0.1:") {
			t.Fatalf("listens on %s, want wss://", s.URL)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		c, _ := dial(t, s.URL, &websocket.Options{HTTPClient: &http.Client{Transport: transport}})
		wantEcho(t, c, websocket.Binary, make([]byte, 1<<20))
		s.Signal(syscall.SIGTERM)
		if _, _, err := c.Read(patience(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("%v, want close code 1001", err)
		}
		s.End()
	}, "-cert", cert, "-key", key)
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, row := range []struct {
		why  string
		args []string
		want int // exit status
	}{
		{"an unknown flag", []string{"-nonsense"}, 2},
		{"an argument", []string{"ws://localhost"}, 2},
		{"a certificate without its key", []string{"-cert", "a"}, 2},
		{"files that are not there", []string{"-addr", "127.0.0.1:0", "-cert", "no/cert", "-key", "no/key"}, 1},
		{"an address that is taken", []string{"-addr", taken.Addr().String()}, 1},
	} {
		var stderr bytes.Buffer
		cmd := command.New(t, "echo", row.args...)
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != row.want || stderr.Len() == 0 || len(out) > 0 {
			t.Errorf("%s: exit status %d, printed %q, said %q; want status %d, nothing, a reason", row.why, got, out, &stderr, row.want)
		}
	}
}
