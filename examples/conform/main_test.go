package main

// This file holds what the command makes of flags and verdicts. What the kit finds is tested where it is.

import (
	"bytes"
	"cmp"
	"fmt"
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

// Success means that something was examined. In this process, as it takes a while to make the cases.
func TestNothingExaminedIsNoSuccess(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	for _, row := range []struct {
		why, pattern, url string
		wrong             bool
		said              string // by the error
	}{
		{"a case that goes right", "^5.4-octets-0$", echoServer(t), false, ""},
		{"a case that goes wrong", "^5.4-octets-0$", "ws" + strings.TrimPrefix(refusing.URL, "http"), true, ""},
		{"a pattern that matches nothing", "typo", echoServer(t), false, "conform: no case was examined"},
	} {
		f := flags{pattern: row.pattern, parallel: 1, patience: time.Second}
		wrong, err := f.run([]string{row.url}, io.Discard, io.Discard)
		if wrong != row.wrong || fmt.Sprint(err) != cmp.Or(row.said, "<nil>") {
			t.Errorf("%s: wrong %v, error %v; want %v, %q", row.why, wrong, err, row.wrong, row.said)
		}
	}
}

// Who was interrupted before a client came has examined none.
func TestNoClientIsNoSuccess(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		_, _ = r.Read(make([]byte, 1)) // "listening on …": from here on it is interrupted, and not the test
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, r)
	}()
	f := flags{listen: "127.0.0.1:0", parallel: 1, patience: time.Second}
	_, err := f.run(nil, io.Discard, w)
	_ = w.Close()
	if err == nil {
		t.Error("nothing was examined, and that is no error")
	}
}

// What can't be done ends the command with status 2, and it says why.
func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for said, args := range map[string][]string{
		"one URL, or":             nil,
		"no server at":            {"ws://127.0.0.1:1"},
		"-parallel and":           {"-run", "^5.4-octets-0$", "-parallel", "-1", echoServer(t)},
		"-patience are more than": {"-run", "^5.4-octets-0$", "-patience", "-1s", echoServer(t)},
		"-limit is 0":             {"-run", "^10.4", "-limit", "-1", echoServer(t)},
		"-cert and -key":          {"-listen", "127.0.0.1:1", "-key", "key.pem"},
		"-key go together":        {"-cert", "cert.pem", echoServer(t)},
	} {
		var stderr bytes.Buffer
		cmd := command.New(t, "conform", args...)
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != 2 || !strings.Contains(stderr.String(), said) {
			t.Errorf("%q: exit status %d, said %q; want status 2 and %q", args, got, &stderr, said)
		}
	}
}

// What an endpoint answers is shown on a terminal and not obeyed.
func TestATerminalObeysNoEndpoint(t *testing.T) {
	t.Parallel()
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 \x1b]0;EVIL\x07\u202eRED\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
	}))
	defer hs.Close()
	var stdout, stderr bytes.Buffer
	cmd := command.New(t, "conform", "-run", "^4.2.2", "ws"+strings.TrimPrefix(hs.URL, "http"))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	for _, out := range []string{stdout.String(), stderr.String()} {
		if strings.ContainsAny(out, "\x1b\x07\u202e") || !strings.Contains(out, "EVIL") {
			t.Errorf("printed %.300q", out)
		}
	}
}
