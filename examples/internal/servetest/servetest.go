// Package servetest tests the example servers: in their own process, by clients that speak JSON.
//
// Every method of a [Client] but Dial fails the test where it can't do what it says, and so must be called from the test's
// own goroutine.
package servetest

// This file holds the server, the clients, and the search for what was left behind.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/internal/command"
)

// patience is how long anything may take.
const patience = 30 * time.Second

// Main builds the command in the current folder for the package command, runs the tests of m, and returns their exit
// status, for TestMain to end with: not 0 where a goroutine has outlived them.
func Main(m *testing.M) int {
	code := command.Main(m, ".")
	if left := leftOver(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines outlived the tests:\n\n%s\n", left)
		return 1
	}
	return code
}

// leftOver returns the stacks of the goroutines but the caller's that run code of this module and do not end within
// patience; "" if there are none.
func leftOver(patience time.Duration) string {
	const ours = "github.com/seed26cb4e35/websocket"
	buf := make([]byte, 1<<20)
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		for i, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && strings.Contains(stack, ours) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Since(begun) > patience {
			return strings.Join(left, "\n\n")
		}
	}
}

// Start serves handler, whose WebSockets are ws's, until the test ends, and returns the URL of /ws.
func Start(t testing.TB, handler http.Handler, ws *websocket.Server) string {
	hs := httptest.NewServer(handler)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		hs.Close()
		if err := ws.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return "ws" + strings.TrimPrefix(hs.URL, "http") + "/ws"
}

// Context returns a context that ends long after all should be over.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A Client is a connection of a test.
type Client struct {
	*websocket.Conn
	t testing.TB
}

// An Object is a JSON object that has come.
type Object map[string]any

// Dial opens a connection that ends with the test.
func Dial(t testing.TB, url string, opts *websocket.Options) *Client {
	t.Helper()
	c, _, err := websocket.Dial(Context(t), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &Client{c, t}
}

// Send sends a text message.
func (c *Client) Send(text string) {
	c.t.Helper()
	if err := c.Write(Context(c.t), websocket.Text, []byte(text)); err != nil {
		c.t.Fatalf("send %.100s: %v", text, err)
	}
}

// Next returns the next message, which has to be a JSON object in a text message.
func (c *Client) Next() Object {
	c.t.Helper()
	typ, data, err := c.Read(Context(c.t))
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	var o Object
	if err := json.Unmarshal(data, &o); err != nil || typ != websocket.Text {
		c.t.Fatalf("got the message %q of type %v, want a JSON object in a text message", data, typ)
	}
	return o
}

// Until returns the next message of one type, and forgets those before it.
func (c *Client) Until(typ string) Object {
	c.t.Helper()
	for {
		if o := c.Next(); o["type"] == typ {
			return o
		}
	}
}

// Want fails the test if the next message is not, apart from its time, the JSON object want.
func (c *Client) Want(why, want string) {
	c.t.Helper()
	o := c.Next()
	delete(o, "time")
	got, err := json.Marshal(o)
	if err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(got, compact(c.t, want)) {
		c.t.Fatalf("%s: got %s, want %s", why, got, want)
	}
}

// compact returns a JSON object as Marshal writes it.
func compact(t testing.TB, object string) []byte {
	t.Helper()
	var o Object
	err := json.Unmarshal([]byte(object), &o)
	if err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// WantClose fails the test if the server does not close with code, after whatever it has sent before.
func (c *Client) WantClose(why string, code websocket.StatusCode) {
	c.t.Helper()
	for _, err := range c.Messages(Context(c.t)) {
		if err != nil && websocket.CloseStatus(err) != code {
			c.t.Errorf("%s: %v, want close code %d", why, err, code)
		}
	}
}
