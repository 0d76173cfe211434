package serve_test

// This file holds what all example servers promise on the command line: foreign clients speak to the built commands.

import (
	"bytes"
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
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
	"github.com/seed26cb4e35/websocket/internal/command"
)

var commands = []string{"chat", "rps", "hello", "push"}

func TestMain(m *testing.M) {
	var packages []string
	for _, name := range commands {
		packages = append(packages, "../../"+name)
	}
	os.Exit(command.Main(m, packages...))
}

// each runs a test for all commands.
func each(t *testing.T, f func(t *testing.T, name string)) {
	t.Parallel()
	for _, name := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, name)
		})
	}
}

func serve(t *testing.T, name string, args ...string) *command.Server {
	t.Helper()
	return command.Serve(t, name, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
}

func TestSignalsCloseWith1001(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
			s := serve(t, name)
			if !strings.HasPrefix(s.URL, "http://127.0.0.1:") || !strings.HasSuffix(s.URL, "/") {
				t.Errorf("listens on %q", s.URL)
			}
			var clients []*servetest.Client
			for range 5 {
				clients = append(clients, servetest.Dial(t, s.URL+"ws", nil))
			}
			s.Signal(sig)
			for _, c := range clients {
				c.WantClose(sig.String(), websocket.StatusGoingAway)
			}
			s.End()
		}
	})
}

// A client that has vanished, or stays silent, or never sends its request, must not keep a server from ending.
func TestSignalDoesNotWaitForTheSilent(t *testing.T) {
	t.Parallel()
	s := serve(t, "chat")
	addr := strings.Trim(strings.TrimPrefix(s.URL, "http://"), "/")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	servetest.Dial(t, s.URL+"ws", nil) // nobody reads, so nobody answers the Close
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	s.End()
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("ended after %v, want 5 s", took)
	}
}

func TestTLS(t *testing.T) {
	cert, key, roots := servetest.Certificate(t)
	each(t, func(t *testing.T, name string) {
		s := serve(t, name, "-cert", cert, "-key", key)
		if !strings.HasPrefix(s.URL, "https://127.0.0.1:") {
			t.Fatalf("listens on %s, want https://", s.URL)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		defer transport.CloseIdleConnections()
		c := servetest.Dial(t, s.URL+"ws", &websocket.Options{HTTPClient: &http.Client{Transport: transport}})
		s.Signal(syscall.SIGTERM)
		c.WantClose("over TLS", websocket.StatusGoingAway)
		s.End()
	})
}

func TestOnlyOurOwnPagesMayConnect(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		s := serve(t, name, "-origin", "https://*.example.com", "-origin", "null")
		for origin, ok := range map[string]bool{
			strings.TrimSuffix(s.URL, "/"): true,
			"https://www.example.com":      true,
			"null":                         true,
			"https://evil.example":         false,
			"http://127.0.0.1:1":           false,
		} {
			c, resp, err := websocket.Dial(servetest.Context(t), s.URL+"ws", &websocket.Options{Header: http.Header{"Origin": {origin}}})
			switch {
			case ok && err != nil:
				t.Errorf("a page of %s: %v, want it let in", origin, err)
			case ok:
				_ = c.CloseNow()
			case err == nil || resp == nil || resp.StatusCode != http.StatusForbidden:
				t.Errorf("a page of %s: %v, want it refused with 403", origin, err)
			}
		}
	})
}

func TestWhatIsServed(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		s := serve(t, name)
		for _, row := range []struct {
			method, path string
			status       int
			kind         string
		}{
			{"GET", "", http.StatusOK, "text/html"},
			{"HEAD", "", http.StatusOK, "text/html"},
			{"GET", "style.css", http.StatusOK, "text/css"},
			{"GET", "page.css", http.StatusOK, "text/css"},
			{"GET", "page.js", http.StatusOK, "text/javascript"},
			{"GET", "socket.js", http.StatusOK, "text/javascript"},
			{"GET", "main.go", http.StatusNotFound, ""},
			{"GET", "favicon.ico", http.StatusNotFound, ""},
			{"POST", "", http.StatusMethodNotAllowed, ""},
			{"GET", "ws", http.StatusUpgradeRequired, ""},
		} {
			req, err := http.NewRequestWithContext(servetest.Context(t), row.method, s.URL+row.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != row.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), row.kind) {
				t.Errorf("%s /%s: %s, %s, want %d and %s", row.method, row.path, resp.Status, resp.Header.Get("Content-Type"), row.status, row.kind)
			}
			if row.kind != "" && !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
				t.Errorf("/%s may run scripts that are not ours: %q", row.path, resp.Header.Get("Content-Security-Policy"))
			}
		}
	})
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, row := range []struct {
		why, name string
		args      []string
		want      int // exit status
	}{
		{"an unknown flag", "chat", []string{"-nonsense"}, 2},
		{"an argument", "chat", []string{"http://localhost"}, 2},
		{"a certificate without its key", "chat", []string{"-cert", "a"}, 2},
		{"an empty origin", "chat", []string{"-origin", ""}, 2},
		{"no messages at all", "chat", []string{"-rate", "0"}, 2},
		{"no pause at all", "push", []string{"-every", "0s"}, 2},
		{"a pause that no message can say", "push", []string{"-every", "999us"}, 2},
		{"no speed at all", "hello", []string{"-speed", "0"}, 2},
		{"files that are not there", "rps", []string{"-addr", "127.0.0.1:0", "-cert", "no/cert", "-key", "no/key"}, 1},
		{"an address that is taken", "rps", []string{"-addr", taken.Addr().String()}, 1},
	} {
		var stderr bytes.Buffer
		cmd := command.New(t, row.name, row.args...)
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != row.want || stderr.Len() == 0 || len(out) > 0 {
			t.Errorf("%s: exit status %d, printed %q, said %q; want status %d, nothing, a reason", row.why, got, out, &stderr, row.want)
		}
	}
}
