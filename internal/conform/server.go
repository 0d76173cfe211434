package conform

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// This file examines servers: it runs the cases, some at a time, each on a connection of its own.

// ExamineServer runs the cases against the echo server at a ws or wss URL and returns the
// results in the order of the cases. Certificates are not verified.
func ExamineServer(ctx context.Context, address string, cfg Config) ([]Result, error) {
	cfg = cfg.withDefaults()
	peer, err := serverAt(address)
	if err != nil {
		return nil, err
	}
	conn, err := peer.dial()
	if err != nil {
		return nil, fmt.Errorf("conform: no server at %s: %w", address, err)
	}
	_ = conn.Close()
	cases := cfg.selected(Server)
	results := make([]Result, len(cases))
	pool(ctx, cfg, cases, func(i int) {
		results[i] = examineServer(cases[i], cfg, peer)
	}, results)
	return results, ctx.Err()
}

// pool runs each case once: those that want to be alone one by one, the others before them.
func pool(ctx context.Context, cfg Config, cases []*Case, run func(i int), results []Result) {
	var mu sync.Mutex
	one := func(i int) {
		if ctx.Err() != nil {
			return
		}
		run(i)
		mu.Lock()
		defer mu.Unlock()
		cfg.Progress(results[i])
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, cfg.Parallel)
	for i, c := range cases {
		if c.alone {
			continue
		}
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			one(i)
			<-slots
		}()
	}
	wg.Wait()
	for i, c := range cases {
		if c.alone {
			one(i)
		}
	}
}

// serverAt returns how to reach the server under test.
func serverAt(address string) (opening, error) {
	u, err := url.Parse(address)
	if err != nil {
		return opening{}, fmt.Errorf("conform: %w", err)
	}
	ports := map[string]string{"ws": "80", "wss": "443"}
	port, ok := ports[u.Scheme]
	if !ok || u.Hostname() == "" {
		return opening{}, fmt.Errorf("conform: %q is no ws or wss URL", address)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	at := net.JoinHostPort(u.Hostname(), port)
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	dial := func() (net.Conn, error) { return dialer.Dial("tcp", at) }
	if u.Scheme == "wss" {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname()}
		dial = func() (net.Conn, error) { return tls.DialWithDialer(dialer, "tcp", at, config) }
	}
	scheme := strings.Replace(u.Scheme, "ws", "http", 1)
	return opening{dial: dial, host: u.Host, scheme: scheme, target: u.RequestURI()}, nil
}

// examineServer runs one case.
func examineServer(of *Case, cfg Config, peer opening) Result {
	start := time.Now()
	conn, err := peer.dial()
	if err != nil {
		r := of.result(Server, start)
		r.Verdict, r.Why = Wrong, "the server takes no connection: "+plain(err)
		return r
	}
	c := &conversation{cfg: cfg, role: Server, of: of, peer: peer, w: newWire(conn, nil, true, cfg.Patience)}
	return c.hold(start)
}

// examineClient runs one case against the client that has sent the request.
func examineClient(of *Case, cfg Config, conn net.Conn, br *bufio.Reader, peer opening) Result {
	start := time.Now()
	c := &conversation{cfg: cfg, role: Client, of: of, peer: peer, w: newWire(conn, br, false, cfg.Patience)}
	c.w.note("← %s", peer.request)
	return c.hold(start)
}

// result returns a result that says nothing yet.
func (c *Case) result(role Role, start time.Time) Result {
	return Result{ID: c.ID, Section: c.Section, Sentence: c.Sentence, Title: c.Title, Role: role.String(), Took: time.Since(start)}
}

// hold holds the conversation.
func (c *conversation) hold(start time.Time) Result {
	if c.cfg.Limit > 0 && c.of.needs > c.cfg.Limit {
		c.skip("its message is longer than the endpoint's read limit")
	} else if !c.of.bare {
		c.open()
	}
	if !c.over && c.overreaches() {
		c.skip("its references reach back further than the window agreed")
	}
	for _, s := range c.of.steps {
		if _, ok := s.(another); ok && c.role == Client || c.over && (!ok || c.verdict == Wrong) {
			continue
		}
		s.run(c)
	}
	c.goodbye()
	r := c.of.result(c.role, start)
	r.Verdict, r.Why = c.verdict, c.why
	if c.verdict > Right {
		r.Steps, r.Log = c.of.Steps(), c.w.lines()
	}
	return r
}

// goodbye ends a connection that is still open in an orderly way, which is not judged: the
// cases of section 7 are there for that.
func (c *conversation) goodbye() {
	defer c.w.close()
	if c.over || c.w.done == nil {
		return
	}
	if !c.closing && !c.partial {
		c.transmit(closeFrame(1000, ""))
	}
	for until := time.Now().Add(200 * time.Millisecond); ; {
		switch e := c.next(time.Until(until)); e.kind {
		case evClose:
			if c.role == Client {
				c.w.halfClose()
			}
		case evMessage, evPong:
		default:
			return
		}
	}
}
