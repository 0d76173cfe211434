package conform

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// This file examines clients: it listens, a client under test connects to /case/ID for each
// case and echoes until the connection ends, and /report has what came of it.

// An Exam is a server for clients under test.
type Exam struct {
	cfg   Config
	ln    net.Listener
	cases []*Case
	tls   bool

	turn sync.RWMutex // held for writing by a case that wants to be alone
	wg   sync.WaitGroup

	mu      sync.Mutex
	results map[string]Result // by the case's id
	conns   map[net.Conn]struct{}
	keys    map[string]string // the case that each Sec-WebSocket-Key came with last
	changed *sync.Cond        // results
	running int
}

// Listen starts an exam at a TCP address. A config makes it serve wss.
func Listen(address string, config *tls.Config, cfg Config) (*Exam, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("conform: %w", err)
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	cfg = cfg.withDefaults()
	e := &Exam{cfg: cfg, ln: ln, cases: cfg.selected(Client), tls: config != nil,
		results: make(map[string]Result), conns: make(map[net.Conn]struct{}), keys: make(map[string]string)}
	e.changed = sync.NewCond(&e.mu)
	e.wg.Add(1)
	go e.accept()
	return e, nil
}

// URL returns where to connect: URL()+"/case/"+ID.
func (e *Exam) URL() string {
	if e.tls {
		return "wss://" + e.ln.Addr().String()
	}
	return "ws://" + e.ln.Addr().String()
}

// IDs returns the cases, in order.
func (e *Exam) IDs() []string {
	var list []string
	for _, c := range e.cases {
		list = append(list, c.ID)
	}
	return list
}

// Close ends the exam and its connections.
func (e *Exam) Close() error {
	err := e.ln.Close()
	e.mu.Lock()
	for conn := range e.conns {
		_ = conn.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
	return err
}

// Results waits until no case is under way and returns the results in the order of the
// cases. Cases to which no client has come are missing.
func (e *Exam) Results() []Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.running > 0 {
		e.changed.Wait()
	}
	var list []Result
	for _, c := range e.cases {
		if r, ok := e.results[c.ID]; ok {
			list = append(list, r)
		}
	}
	return list
}

// accept serves connections until the listener is closed.
func (e *Exam) accept() {
	defer e.wg.Done()
	for {
		conn, err := e.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptors left; there will be
			continue
		}
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			e.track(conn, true)
			defer e.track(conn, false)
			e.serve(conn)
		}()
	}
}

// track remembers a connection as long as it is served.
func (e *Exam) track(conn net.Conn, on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if on {
		e.conns[conn] = struct{}{}
		return
	}
	delete(e.conns, conn)
	_ = conn.Close()
}

// requestPatience is the least that a request is waited for: what it takes no verdict depends on.
const requestPatience = 10 * time.Second

// serve answers one request.
func (e *Exam) serve(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(max(e.cfg.Patience, requestPatience)))
	br := bufio.NewReader(conn)
	h, _, err := readHead(br)
	if err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	parts := strings.Fields(h.line + " . .")
	path, _, _ := strings.Cut(parts[1], "?")
	if u, err := url.Parse(path); err == nil && u.IsAbs() { // as section 4.1 allows
		path = u.EscapedPath()
	}
	if id, ok := strings.CutPrefix(path, "/case/"); ok {
		id, _ = url.PathUnescape(id)
		if of := e.find(id); of != nil {
			e.examine(of, conn, br, h, parts[1])
			return
		}
	}
	e.page(conn, path)
}

// find returns the case with an id, nil if there is none.
func (e *Exam) find(id string) *Case {
	for _, c := range e.cases {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// examine runs a case on the connection and records what came of it.
func (e *Exam) examine(of *Case, conn net.Conn, br *bufio.Reader, h head, target string) {
	e.mu.Lock()
	e.running++
	e.mu.Unlock()
	if of.alone {
		e.turn.Lock()
		defer e.turn.Unlock()
	} else {
		e.turn.RLock()
		defer e.turn.RUnlock()
	}
	ws, _, _ := strings.Cut(e.URL(), ":")
	peer := opening{host: conn.LocalAddr().String(), scheme: strings.Replace(ws, "ws", "http", 1), target: target, request: h}
	r := examineClient(of, e.cfg, conn, br, peer)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range h.values("Sec-WebSocket-Key") {
		const fresh = "4.1-key-fresh"
		switch before, again := e.keys[key]; {
		case again && of.ID == fresh:
			r.Verdict, r.Why = Wrong, "the request has a Sec-WebSocket-Key that was used before"
		case again && before == fresh: // clients may run cases side by side, and this one is the first that ends then
			late := e.results[fresh]
			late.Verdict, late.Why = Wrong, "a later request has the same Sec-WebSocket-Key"
			e.record(late)
		}
		e.keys[key] = of.ID
	}
	e.running--
	e.record(r)
}

// record takes note of a result. Called with e.mu held.
func (e *Exam) record(r Result) {
	e.results[r.ID] = r
	e.changed.Broadcast()
	e.cfg.Progress(r)
}

// page answers what is no case: the list, the report, or a word of help.
func (e *Exam) page(conn net.Conn, path string) {
	status, kind, body := "200 OK", "text/plain; charset=utf-8", ""
	switch path {
	case "/cases":
		body = strings.Join(e.IDs(), "\n") + "\n"
	case "/report":
		var b strings.Builder
		WriteText(&b, e.Results())
		body = b.String()
	case "/report.json":
		b, err := json.Marshal(e.Results())
		if err != nil {
			panic("BUG: " + err.Error())
		}
		kind, body = "application/json", string(b)
	case "/report.html":
		var b strings.Builder
		_ = WriteHTML(&b, "client", e.Results()) // a Builder takes everything
		kind, body = "text/html; charset=utf-8", b.String()
	case "/":
		body = help
	default:
		status, body = "404 Not Found", "There is no such page, and no such case.\n"
	}
	_ = conn.SetWriteDeadline(time.Now().Add(e.cfg.Patience))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, kind, len(body), body)
}

const help = `This is a WebSocket conformance kit that waits for a client under test.

  /cases        the ids of the cases, a line each
  /case/ID      connect a WebSocket here, echo every message with its type until the
                connection ends, whatever happens, then go on to the next id
  /report       what came of it (also /report.json and /report.html)
`
