package main

// This file holds a full room.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
)

const (
	phrases = 2        // messages of each
	limit   = 64 << 10 // octets that may wait for each; all messages together are several times more
)

// A member is one of the crowd.
type member struct {
	c      *websocket.Conn
	number int

	chats int    // that have come
	sum   uint64 // of all of them, in order
	last  []int  // what each has said last, where this member looks that closely; else nil
}

// Everybody gets every message, once, in one order that is the same for all, while one takes nothing at all and is dropped.
func TestEveryoneGetsEverythingInOneOrder(t *testing.T) {
	r := newRoom(websocket.Options{SendLimit: limit, CloseTimeout: time.Second}, rushed)
	hs := httptest.NewUnstartedServer(serve.Handler(&r.server, page, "page"))
	first := true
	hs.Config.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if first { // the stalled one: its messages must not fit into the socket
			_ = nc.(*net.TCPConn).SetWriteBuffer(4 << 10)
		}
		first = false
		return ctx
	}
	hs.Start()
	defer hs.Close()
	url := "ws" + strings.TrimPrefix(hs.URL, "http") + "/ws"

	stall(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	members := gather(ctx, t, url)
	began := time.Now()
	everyone(t, members, func(m *member) error { return m.talk(ctx) })
	t.Logf("%d people said %d things each: %v", crowd, phrases, time.Since(began))
	for _, m := range members {
		if m.sum != members[0].sum {
			t.Fatalf("member %d has seen another conversation than member 0", m.number)
		}
	}
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	everyone(t, members, func(m *member) error { return m.wantClose(ctx) })
	if len(r.people) > 0 {
		t.Errorf("after Shutdown %d people are left", len(r.people))
	}
}

// stall joins, and then reads nothing.
func stall(t *testing.T, url string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			err = nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return nc, err
	}}
	c := servetest.Dial(t, url, &websocket.Options{HTTPClient: &http.Client{Transport: transport}})
	c.Send(`{"type":"join","name":"Stalled"}`)
}

// gather lets everybody join, and waits until all know of all.
func gather(ctx context.Context, t *testing.T, url string) []*member {
	members := make([]*member, crowd)
	for i := range members {
		members[i] = &member{c: servetest.Dial(t, url, nil).Conn, number: i}
	}
	members[0].last = make([]int, crowd)
	everyone(t, members, func(m *member) error {
		if err := m.c.Write(ctx, websocket.Text, fmt.Appendf(nil, `{"type":"join","name":"member %d"}`, m.number)); err != nil {
			return err
		}
		full := fmt.Appendf(nil, `"present":%d}`, crowd+1)
		for msg, err := range m.c.Messages(ctx) {
			if err != nil {
				return err
			}
			if bytes.HasPrefix(msg.Data, []byte(`{"type":"join"`)) && bytes.HasSuffix(msg.Data, full) {
				break
			}
		}
		return nil
	})
	return members
}

// everyone lets all members do something at the same time.
func everyone(t *testing.T, members []*member, do func(*member) error) {
	t.Helper()
	var group sync.WaitGroup
	failed := make(chan error, len(members))
	for _, m := range members {
		group.Go(func() {
			if err := do(m); err != nil {
				failed <- fmt.Errorf("member %d: %w", m.number, err)
			}
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
}

var seed = maphash.MakeSeed()

// talk says what there is to say, and listens until all have, and the stalled one has gone.
func (m *member) talk(ctx context.Context) error {
	said := make(chan error, 1)
	go func() { said <- m.say(ctx) }()
	var sum maphash.Hash
	sum.SetSeed(seed)
	var buf []byte
	for gone := false; m.chats < crowd*phrases || !gone; {
		var err error
		if _, buf, err = m.c.ReadAppend(ctx, buf[:0]); err != nil {
			return err
		}
		if !bytes.HasPrefix(buf, []byte(`{"type":"chat"`)) {
			gone = true // nobody else does anything but talk
			continue
		}
		m.chats++
		_, _ = sum.Write(buf)
		if m.last != nil {
			if err := m.look(buf); err != nil {
				return err
			}
		}
	}
	m.sum = sum.Sum64()
	return <-said
}

func (m *member) say(ctx context.Context) error {
	for i := range phrases {
		text := fmt.Sprintf("%d %d %s", m.number, i+1, strings.Repeat("la ", 200))
		if err := m.c.Write(ctx, websocket.Text, fmt.Appendf(nil, `{"type":"chat","text":"%s"}`, text)); err != nil {
			return err
		}
	}
	return nil
}

// look checks that a message is the next of its sender's.
func (m *member) look(data []byte) error {
	_, text, _ := bytes.Cut(data, []byte(`"text":"`))
	var number, phrase int
	if _, err := fmt.Sscan(string(text), &number, &phrase); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	if phrase != m.last[number]+1 {
		return fmt.Errorf("phrase %d of member %d came after its phrase %d", phrase, number, m.last[number])
	}
	m.last[number] = phrase
	return nil
}

// wantClose reads on to the end, which has to be 1001, and wants nobody to say anything twice.
func (m *member) wantClose(ctx context.Context) error {
	for msg, err := range m.c.Messages(ctx) {
		switch {
		case err != nil && websocket.CloseStatus(err) != websocket.StatusGoingAway:
			return fmt.Errorf("%w, want close code 1001", err)
		case bytes.HasPrefix(msg.Data, []byte(`{"type":"chat"`)):
			return errors.New("a message came twice")
		}
	}
	return nil
}
