package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// TestClientGoesThroughTheCases plays the fuzzing server: three cases, then the reports.
func TestClientGoesThroughTheCases(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		asked = append(asked, r.URL.RequestURI())
		switch r.URL.Path {
		case "/getCaseCount":
			_ = c.Write(ctx, websocket.Text, []byte("3"))
		case "/runCase":
			want := "message " + r.FormValue("case")
			_ = c.Write(ctx, websocket.Text, []byte(want))
			if _, got, err := c.Read(ctx); err != nil || string(got) != want {
				t.Errorf("case %s: the echo is %q, %v", r.FormValue("case"), got, err)
			}
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	}))
	defer srv.Close()
	if err := runCases(ctx, io.Discard, "ws"+strings.TrimPrefix(srv.URL, "http"), "a b"); err != nil {
		t.Fatal(err)
	}
	want := "[/getCaseCount /runCase?case=1&agent=a+b /runCase?case=2&agent=a+b /runCase?case=3&agent=a+b /updateReports?agent=a+b]"
	if got := fmt.Sprint(asked); got != want {
		t.Errorf("the client asked for %s, want %s", got, want)
	}
}

// TestClientWaitsForTheFuzzingServer whose port is open already, but behind which nobody answers yet.
func TestClientWaitsForTheFuzzingServer(t *testing.T) {
	var asked atomic.Int32
	fuzzer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if r.URL.Path == "/getCaseCount" {
			_ = c.Write(r.Context(), websocket.Text, []byte("0")) // an error is the client's too
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
	}))
	defer fuzzer.Close()
	var out strings.Builder
	if err := runCases(t.Context(), &out, fuzzer.URL, "a"); err != nil || !strings.Contains(out.String(), "waiting for the fuzzing server") {
		t.Errorf("got %v after %q", err, &out)
	}
	if err := runCases(t.Context(), io.Discard, "ftp://127.0.0.1/", "a"); err == nil { // at once
		t.Error("got nil for what is no URL of a WebSocket server")
	}
}

// TestServerEchoes at every path, the biggest message of the suite too.
func TestServerEchoes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws := newServer(nil)
	srv := httptest.NewServer(ws)
	defer srv.Close()
	defer ws.Shutdown(ctx)
	c, _, err := websocket.Dial(ctx, srv.URL+"/any", &options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for _, msg := range []string{"", "text", strings.Repeat("x", 16<<20)} {
		if err := c.Write(ctx, websocket.Text, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != msg {
			t.Fatalf("of %d octets: got %d, %v", len(msg), len(got), err)
		}
	}
}
