package main

// This file holds the greeting and the upload, as clients see them that are no browsers.

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
)

func TestMain(m *testing.M) { os.Exit(servetest.Main(m)) }

// start starts a server and returns the URL of its greeting.
func start(t *testing.T, h *hello) string {
	ws := newServer(h, websocket.Options{})
	return servetest.Start(t, serve.Handler(ws, page, "page"), ws)
}

func TestGreeting(t *testing.T) {
	t.Parallel()
	const pause = 200 * time.Millisecond
	url := start(t, &hello{pause: pause})
	c := servetest.Dial(t, url, &websocket.Options{Subprotocols: []string{"wamp", "soap"}})
	if c.Subprotocol() != "soap" {
		t.Errorf("subprotocol %q, want soap", c.Subprotocol())
	}
	began := time.Now()
	c.Send(" Jürgen <b>\n")
	if _, data, err := c.Read(servetest.Context(t)); string(data) != "Hallo vom Server, Jürgen <b>!" || err != nil {
		t.Errorf("%q, %v, want a greeting", data, err)
	}
	_, _, err := c.Read(servetest.Context(t))
	var end *websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.StatusNormalClosure || end.Reason == "" {
		t.Errorf("the end is %v, want 1000 and a reason", err)
	}
	if took := time.Since(began); took < pause {
		t.Errorf("closed after %v, want %v", took, pause)
	}
}

func TestWithoutAKnownSubprotocolThereIsNone(t *testing.T) {
	t.Parallel()
	if c := servetest.Dial(t, start(t, &hello{}), &websocket.Options{Subprotocols: []string{"wamp"}}); c.Subprotocol() != "" {
		t.Errorf("subprotocol %q, want none", c.Subprotocol())
	}
}

func TestWhatIsNoNameIsClosed(t *testing.T) {
	t.Parallel()
	url := start(t, &hello{pause: time.Hour})
	for _, row := range []struct {
		why      string
		typ      websocket.MessageType
		messages []string
		want     websocket.StatusCode
	}{
		{"nothing but spaces", websocket.Text, []string{" \n"}, websocket.StatusPolicyViolation},
		{"a second name", websocket.Text, []string{"Anna", "Bob"}, websocket.StatusPolicyViolation},
		{"binary", websocket.Binary, []string{"Anna"}, websocket.StatusUnsupportedData},
		{"a novel", websocket.Text, []string{strings.Repeat("a", maxName+1)}, websocket.StatusMessageTooBig},
	} {
		c := servetest.Dial(t, url, nil)
		for _, m := range row.messages {
			if err := c.Write(servetest.Context(t), row.typ, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		c.WantClose(row.why, row.want)
	}
}

func TestClientMayCloseFirst(t *testing.T) {
	t.Parallel()
	c := servetest.Dial(t, start(t, &hello{pause: time.Hour}), nil)
	c.Send("Anna")
	if err := c.Close(4000, "enough"); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestUploadIsReadSlowly(t *testing.T) {
	t.Parallel()
	const octets, speed = 1 << 20, 4 << 20
	c := servetest.Dial(t, start(t, &hello{speed: speed})+"?upload", nil)
	began := time.Now()
	if err := c.Write(servetest.Context(t), websocket.Binary, bytes.Repeat([]byte("x"), octets)); err != nil {
		t.Fatal(err)
	}
	_, data, err := c.Read(servetest.Context(t))
	if string(data) != "1048576 Oktette sind angekommen." || err != nil {
		t.Errorf("%q, %v, want the length", data, err)
	}
	if took, least := time.Since(began), 200*time.Millisecond; took < least {
		t.Errorf("%d octets at %d a second took %v, want at least %v", octets, speed, took, least)
	}
	c.WantClose("after an upload", websocket.StatusNormalClosure)
}

// Shutdown must not wait for an upload that would take hours: the test's end does it.
func TestUploadEndsWithTheServer(t *testing.T) {
	t.Parallel()
	c := servetest.Dial(t, start(t, &hello{speed: 1})+"?upload", nil)
	c.Send(strings.Repeat("x", 10000))
}
