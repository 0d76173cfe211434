package serve

// This file holds sending in order, and the limit on how often one may speak.

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// listen joins a client to ws and counts what comes, in order, into a channel that is closed with the connection.
func listen(t *testing.T, ws *websocket.Server) <-chan string {
	t.Helper()
	near, far := net.Pipe()
	if err := ws.Serve(websocket.NewServerConn(near, nil), nil); err != nil {
		t.Fatal(err)
	}
	client := websocket.NewClientConn(far, nil)
	came := make(chan string, 10000)
	go func() {
		defer close(came)
		for msg, err := range client.Messages(context.Background()) {
			if err == nil {
				came <- string(msg.Data)
			}
		}
	}()
	return came
}

func TestAllGetEverythingInTheOrderOfPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			o  Outbox
			mu sync.Mutex
			n  int
		)
		ws := &websocket.Server{Handle: func(c *websocket.Conn, _ *http.Request) error {
			_, _, err := c.Read(context.Background())
			return err
		}}
		listeners := []<-chan string{listen(t, ws), listen(t, ws), listen(t, ws)}
		const senders, each = 8, 500
		var group sync.WaitGroup
		for range senders {
			group.Go(func() {
				for range each {
					mu.Lock()
					o.Put(nil, n)
					n++
					mu.Unlock()
					o.Flush(ws)
				}
			})
		}
		group.Wait()
		_ = ws.Shutdown(t.Context())
		for i, came := range listeners {
			want := 0
			for got := range came {
				if got != fmt.Sprint(want) {
					t.Fatalf("listener %d: got %s, want %d", i, got, want)
				}
				want++
			}
			if want != senders*each {
				t.Errorf("listener %d: got %d messages, want %d", i, want, senders*each)
			}
		}
	})
}

func TestWhoPutsInTooMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o Outbox
		o.Put(nil, "first")
		if parcels := o.begin(); len(parcels) != 1 {
			t.Fatalf("began with %d messages, want 1", len(parcels))
		}
		for range maxWaiting {
			o.Put(nil, "further")
		}
		o.Flush(nil) // returns at once: another sends
		o.Put(nil, "one too many")
		done := false
		go func() {
			o.Flush(nil)
			done = true
		}()
		synctest.Wait()
		if done {
			t.Error("Flush returned with more than maxWaiting messages waiting")
		}
		if parcels := o.next(); len(parcels) != maxWaiting+1 {
			t.Errorf("%d messages waited, want %d", len(parcels), maxWaiting+1)
		}
		synctest.Wait()
		if !done {
			t.Error("Flush still waits though there is room")
		}
		if parcels := o.next(); len(parcels) != 0 || o.sending {
			t.Error("somebody sends though nothing is there")
		}
	})
}

func TestBucket(t *testing.T) {
	rate := Rate{PerSecond: 2, Burst: 3}
	var b Bucket
	at := time.Unix(1000, 0)
	for i, row := range []struct {
		after   time.Duration
		ok      bool
		refused int
	}{
		{0, true, 0}, {0, true, 0}, {0, true, 0}, // the burst
		{0, false, 1}, {499 * time.Millisecond, false, 2},
		{time.Millisecond, true, 0}, {0, false, 3}, // one came back
		{time.Hour, true, 0}, {0, true, 0}, {0, true, 0}, {0, false, 1}, // all did, and no more
	} {
		at = at.Add(row.after)
		if ok, refused := b.Take(rate, at); ok != row.ok || refused != row.refused {
			t.Errorf("turn %d: %v, %d refused, want %v, %d", i, ok, refused, row.ok, row.refused)
		}
	}
}
