package main

// This file holds the exit status of the built command. What the kit finds is tested where it is.

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/internal/command"
)

func TestMain(m *testing.M) { os.Exit(command.Main(m, ".")) }

// echoServer starts a server that can be examined, and returns its URL.
func echoServer(t *testing.T) string {
	hs := httptest.NewServer(&websocket.Server{
		Options: websocket.Options{ReadLimit: 32 << 20},
		Message: func(c *websocket.Conn, msg websocket.Message) error { return c.Write(c.Context(), msg.Type, msg.Data) },
	})
	t.Cleanup(hs.Close)
	return "ws" + strings.TrimPrefix(hs.URL, "http")
}

// Success means that something was examined.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	const one = "^5.4-octets-0$"
	url := echoServer(t)
	hs := httptest.NewServer(http.NotFoundHandler())
	defer hs.Close()
	for _, row := range []struct {
		why, said string
		args      []string
		want      int
	}{
		{"one case", "", []string{"-run", one, url}, 0},
		{"a case that goes wrong", "", []string{"-run", one, "ws" + strings.TrimPrefix(hs.URL, "http")}, 1},
		{"no URL", "one URL", nil, 2},
		{"no server", "no server at", []string{"ws://127.0.0.1:1"}, 2},
		{"a pattern that matches nothing", "no case was examined", []string{"-run", "typo", url}, 2},
		{"nothing at a time", "more than 0", []string{"-run", one, "-parallel", "-1", url}, 2},
		{"no patience", "more than 0", []string{"-run", one, "-patience", "-1s", url}, 2},
	} {
		var stderr bytes.Buffer
		cmd := command.New(t, "conform", row.args...)
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != row.want || !strings.Contains(stderr.String(), row.said) {
			t.Errorf("%s: exit status %d, said %q; want status %d and %q", row.why, got, &stderr, row.want, row.said)
		}
	}
}

// Who was interrupted before a client came has examined none.
func TestExitStatusWithoutAClient(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cmd := command.New(t, "conform", "-listen", "127.0.0.1:0")
	cmd.Stderr = w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
	said := make([]byte, 1)
	if _, err := r.Read(said); err != nil { // "listening on …"
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	rest, _ := io.ReadAll(r)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 2 || !bytes.Contains(rest, []byte("no case was examined")) {
		t.Errorf("exit status %d, said %q; want status 2 and that there was no case", got, rest)
	}
}
