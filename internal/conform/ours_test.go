package conform_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/internal/conform"
)

// This file holds the kit's verdict on this module's endpoints: right, in every case, in
// every way of serving and dialling.

// limit is the read limit of the endpoints, in octets: room for the biggest message of the cases.
const limit = 16 << 20

// patience is long, for a busy machine and the race detector; what is right never needs it.
const patience = time.Minute

// The options of the endpoints.
var (
	plain    = &websocket.Options{ReadLimit: limit}
	fresh    = &websocket.Options{ReadLimit: limit, Compression: &websocket.Compression{Threshold: 1}}
	narrow   = &websocket.Options{ReadLimit: limit, Compression: &websocket.Compression{ContextTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 10, Threshold: 1}}
	takeover = &websocket.Options{ReadLimit: limit, Compression: &websocket.Compression{ContextTakeover: true, Threshold: 1}}
)

// echo sends every message back until the connection ends.
func echo(c *websocket.Conn) error {
	var buf []byte
	for {
		typ, msg, err := c.ReadAppend(context.Background(), buf[:0])
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), typ, msg); err != nil {
			return err
		}
		if buf = msg; cap(buf) > 1<<20 {
			buf = nil
		}
	}
}

// held is the octets that the test's process holds.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// together and inPeace divide the cases by whether others may run meanwhile.
func together(c *conform.Case) bool { return !c.Alone() }
func inPeace(c *conform.Case) bool  { return c.Alone() }

// light chooses the cases that neither move megabytes nor wait.
func light(c *conform.Case) bool { return together(c) && !c.Heavy() }

// flooded chooses the light cases, and those that flood or stall.
func flooded(c *conform.Case) bool { return light(c) || together(c) && c.Section == "10.7" }

// overTLS chooses light cases in which it can matter what the stream is.
func overTLS(c *conform.Case) bool {
	return light(c) && strings.Contains(" 4.2.1 5.2 5.5.1 5.5.2 5.5.3 6.1 6.2 7.1.1 7.1.5 7.1.7 7.2.1 10.7 ", " "+c.Section+" ")
}

// compressed chooses the light cases that have to do with RFC 7692.
func compressed(c *conform.Case) bool {
	return light(c) && (strings.HasPrefix(c.Section, "7692") || strings.Contains(c.ID, "compressed"))
}

// judge fails the test for every result that is not right.
func judge(t *testing.T, results []conform.Result, maySkip bool) {
	t.Helper()
	const shown = 10
	bad := 0
	for _, r := range results {
		if r.Verdict == conform.Right || r.Verdict == conform.Skipped && maySkip {
			continue
		}
		if bad++; bad <= shown {
			t.Errorf("%s: %s (%s): %s\n%s", r.Verdict, r.ID, r.Title, r.Why, strings.Join(r.Log, "\n"))
		}
	}
	if bad > shown {
		t.Errorf("and %d more", bad-shown)
	}
	if len(results) == 0 {
		t.Error("no case has run")
	}
	t.Log(conform.Count(results))
}

// echoHandler serves echoes by Accept.
func echoHandler(opts *websocket.Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			return
		}
		_ = echo(c) // has met the end
	})
}

// A way of serving.
type serving struct {
	name    string
	handler http.Handler
	tls     bool
	match   func(*conform.Case) bool
	maySkip bool // there is no compression, or no takeover of contexts
}

// byMessage is a server in event mode.
func byMessage() *websocket.Server {
	return &websocket.Server{Options: *takeover, Message: func(c *websocket.Conn, msg websocket.Message) error {
		return c.Write(context.Background(), msg.Type, msg.Data)
	}}
}

// TestServersAreRight runs the kit against every way of serving.
func TestServersAreRight(t *testing.T) {
	t.Parallel()
	handle := func(c *websocket.Conn, _ *http.Request) error { return echo(c) }
	for _, way := range []serving{
		{"accept", echoHandler(takeover), false, together, false},
		{"accept without compression", echoHandler(plain), false, light, true},
		{"accept without takeover", echoHandler(fresh), false, compressed, true},
		{"accept with small windows", echoHandler(narrow), false, compressed, true},
		{"accept over TLS", echoHandler(takeover), true, overTLS, false},
		{"handle", &websocket.Server{Handle: handle, Options: *takeover}, false, light, false},
		{"events", byMessage(), false, flooded, false},
		{"events over TLS", byMessage(), true, overTLS, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			way.examine(t)
		})
	}
}

// TestServersAreRightInPeace is the rest of it: nothing else runs meanwhile.
func TestServersAreRightInPeace(t *testing.T) {
	for _, way := range []serving{
		{"accept", echoHandler(takeover), false, inPeace, false},
		{"events", byMessage(), false, inPeace, false},
	} {
		t.Run(way.name, way.examine)
	}
}

// examine runs the kit against a server.
func (way serving) examine(t *testing.T) {
	srv := httptest.NewUnstartedServer(way.handler)
	srv.Config.ErrorLog = quiet
	start := srv.Start
	if way.tls {
		start = srv.StartTLS
	}
	start()
	if s, ok := way.handler.(*websocket.Server); ok {
		defer func() { _ = s.Shutdown(t.Context()) }()
	}
	defer srv.Close()
	results, err := conform.ExamineServer(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/",
		conform.Config{Limit: limit, Memory: held, Match: way.match, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	judge(t, results, way.maySkip)
}

// A way of dialling.
type dialling struct {
	name  string
	opts  *websocket.Options
	tls   bool
	match func(*conform.Case) bool
}

// TestClientsAreRight runs the kit against Dial.
func TestClientsAreRight(t *testing.T) {
	t.Parallel()
	for _, way := range []dialling{
		{"dial", takeover, false, together},
		{"dial without compression", plain, false, light},
		{"dial without takeover", fresh, false, compressed},
		{"dial with small windows", narrow, false, compressed},
		{"dial over TLS", takeover, true, overTLS},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			way.examine(t)
		})
	}
}

// TestClientsAreRightInPeace is the rest of it.
func TestClientsAreRightInPeace(t *testing.T) {
	dialling{"dial", takeover, false, inPeace}.examine(t)
}

// examine runs the kit against a client. It may skip answers that need more than the client offers.
func (way dialling) examine(t *testing.T) {
	opts := *way.opts
	var config *tls.Config
	if way.tls {
		srv := httptest.NewUnstartedServer(nil)
		srv.StartTLS()
		config = srv.TLS
		opts.HTTPClient = srv.Client()
		srv.Close()
		config.NextProtos = nil
	}
	exam, err := conform.Listen("127.0.0.1:0", config, conform.Config{Limit: limit, Memory: held, Match: way.match, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer exam.Close()
	drive(exam, &opts)
	results := exam.Results()
	judge(t, results, true)
	if len(results) != len(exam.IDs()) {
		t.Errorf("the client came for %d of %d cases", len(results), len(exam.IDs()))
	}
}

// drive connects for each case, a few at a time.
func drive(exam *conform.Exam, opts *websocket.Options) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, id := range exam.IDs() {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			c, _, err := websocket.Dial(context.Background(), exam.URL()+"/case/"+id, opts)
			if err != nil {
				return
			}
			_ = echo(c) // has met the end
		}()
	}
	wg.Wait()
}

// quiet swallows what net/http says about bad requests.
var quiet = log.New(io.Discard, "", 0)
