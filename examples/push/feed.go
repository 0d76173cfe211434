package main

// This file holds what is sent, to whom, and when.

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

const (
	maxRecent = 300      // values that newcomers get
	sendLimit = 64 << 10 // octets that may wait for someone who does not keep up: old values are worth nothing
)

// A value is what is sent at one time.
type value struct {
	Type    string   `json:"type"`
	N       int      `json:"n"`       // counts the values
	Time    int64    `json:"time"`    // milliseconds since 1970
	Viewers int      `json:"viewers"` // connections
	Dropped int      `json:"dropped"` // connections that did not keep up, so far
	CPU     *float64 `json:"cpu"`     // percent of all processors that were busy since the last value; null: not known here
	Load    *float64 `json:"load"`    // processes that ran or wanted to, averaged over a minute; null: not known here
}

// A welcome is what a connection gets once: the last values, also one that came before. From then on it gets every new one.
type welcome struct {
	Type   string  `json:"type"`
	Every  int64   `json:"every"` // milliseconds from one value to the next
	Recent []value `json:"recent"`
}

// A feed sends values to all who are connected.
type feed struct {
	server websocket.Server
	outbox serve.Outbox
	every  time.Duration // from one value to the next

	mu      sync.Mutex
	n       int     // guarded by mu
	viewers int     // guarded by mu
	dropped int     // guarded by mu
	recent  []value // the last maxRecent, the oldest first; guarded by mu
}

func newFeed(opts websocket.Options, every time.Duration) *feed {
	f := &feed{every: every}
	opts.SendLimit = sendLimit
	opts.Compression = &websocket.Compression{} // for the welcome; what is short goes as it is
	f.server = websocket.Server{Options: opts, Open: f.open, Handle: handle, Closed: f.closed}
	return f
}

func (f *feed) open(c *websocket.Conn, _ *http.Request) error {
	f.mu.Lock()
	f.viewers++
	f.outbox.Put(c, welcome{"welcome", f.every.Milliseconds(), append([]value{}, f.recent...)})
	f.mu.Unlock()
	f.outbox.Flush(&f.server)
	return nil
}

func (f *feed) closed(_ *websocket.Conn, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.viewers--
	if errors.Is(err, websocket.ErrQueueFull) {
		f.dropped++
	}
}

// handle waits for the end of a connection on which nothing is expected: a message is answered with 1008.
func handle(c *websocket.Conn, _ *http.Request) error {
	c.CloseRead()
	<-c.Context().Done()
	return nil
}

// run sends a value each time that is due, until ctx ends.
func (f *feed) run(ctx context.Context) {
	var m machine
	m.look() // from here on busy means since then
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			f.send(now, m.look())
		case <-ctx.Done():
			return
		}
	}
}

// send sends a value to all, and waits for nobody.
func (f *feed) send(now time.Time, r reading) {
	f.mu.Lock()
	f.n++
	v := value{"value", f.n, now.UnixMilli(), f.viewers, f.dropped, r.cpu, r.load}
	if len(f.recent) == maxRecent {
		f.recent = slices.Delete(f.recent, 0, 1)
	}
	f.recent = append(f.recent, v)
	f.outbox.Put(nil, v)
	f.mu.Unlock()
	f.outbox.Flush(&f.server)
}
