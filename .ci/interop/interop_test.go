// Package interop holds conversations with two libraries that are not ours, Python's websockets and node's ws,
// each as the client of our server and as the server of our client.
//
//	apt-get install python3-websockets && npm install ws     (NODE_PATH names the folder node_modules)
//	go test ./.ci/interop
//
// `go test ./...` does not come here, because the folder's name begins with a dot: nothing is skipped, and nothing needs to be.
package interop

// The peers, peer.py and peer.js, do the same things under the same names. Every server, ours too, knows these paths:
//
//	/echo                  each message goes back with its type
//	/fragments             each message goes back in fragments with a Ping before each
//	/ping                  pings, and sends the text "pong" once it is answered
//	/close?code=&reason=   closes; without a code by an empty Close frame
//	/raw?octets=&padding=  sends these octets (hex, then that many zeros); only the peers' servers do
//
// OPTIONS is JSON: "deflate" is absent or {"takeover": bool, "serverBits": 8–15, "clientBits": 8–15}, and "groups" names the
// methods that a peer's client plays. raw.json holds what is sent raw, with the clause that it breaks and the code that must come back.

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// peers are the other libraries; each is run as command plus "client" or "server" and its options.
var peers = []struct {
	name    string
	command []string
	minBits int // the smallest window with which it can compress
	install string
}{
	{"websockets", []string{"/usr/bin/python3", "peer.py"}, 9, "apt-get install python3-websockets"},
	{"ws", []string{"node", "peer.js"}, 8, "npm install ws in some folder, and NODE_PATH=that folder/node_modules"},
}

// deflate is what a peer is told about permessage-deflate; nil: off.
type deflate struct {
	Takeover   bool `json:"takeover,omitempty"`
	ServerBits int  `json:"serverBits,omitempty"`
	ClientBits int  `json:"clientBits,omitempty"`
}

type options struct {
	Deflate *deflate `json:"deflate,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

func (d *deflate) String() string {
	if d == nil {
		return "plain"
	}
	name := "deflate"
	if d.Takeover {
		name = "takeover"
	}
	if d.ServerBits != 0 {
		name += fmt.Sprintf("-%d-%d", d.ServerBits, d.ClientBits)
	}
	return name
}

// ours is the same as an Options.
func (d *deflate) ours() *websocket.Options {
	o := &websocket.Options{Subprotocols: []string{"chat.v2", "chat.v1"}, ReadLimit: 1 << 25}
	if d != nil {
		o.Compression = &websocket.Compression{ContextTakeover: d.Takeover, ServerMaxWindowBits: d.ServerBits, ClientMaxWindowBits: d.ClientBits}
	}
	return o
}

// windows are all sizes of window that the peer can use, with takeover, which is where a window too large is noticed.
func windows(minBits int) (all []*deflate) {
	for bits := minBits; bits <= 15; bits++ {
		all = append(all, &deflate{Takeover: true, ServerBits: bits, ClientBits: minBits + 15 - bits})
	}
	return all
}

// start runs a peer as role until the test ends; its stdout comes line by line.
func start(t *testing.T, command []string, install, role string, o options, args ...string) <-chan string {
	t.Helper()
	said, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	args = append(append(command[1:len(command):len(command)], role, string(said)), args...)
	cmd := exec.Command(command[0], args...)
	stdin, err := cmd.StdinPipe() // a server ends when its stdin does
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (%s)", err, install)
	}
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		for range lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v (%s)", command[1], err, install)
		}
	})
	return lines
}

// next is the next line with that prefix, without it; other lines and silence are failures.
func next(t *testing.T, lines <-chan string, prefix string) string {
	t.Helper()
	select {
	case line, ok := <-lines:
		rest, found := strings.CutPrefix(line, prefix)
		if !ok || !found {
			t.Fatalf("the peer printed %q, want %q", line, prefix)
		}
		return rest
	case <-time.After(20 * time.Second):
		t.Fatalf("the peer printed nothing, want %q", prefix)
		return ""
	}
}

// play runs a peer's client against base; each of its checks is a subtest.
func play(t *testing.T, command []string, install, base string, o options) {
	t.Helper()
	lines := start(t, command, install, "client", o, base)
	checks := 0
	for line := range lines {
		if n, ok := strings.CutPrefix(line, "done "); ok {
			if n != strconv.Itoa(checks) || checks == 0 {
				t.Errorf("%s checks, %d reported", n, checks)
			}
			return
		}
		checks++
		verdict, rest, _ := strings.Cut(line, " ")
		name, why, _ := strings.Cut(rest, ": ")
		t.Run(name, func(t *testing.T) {
			if verdict != "ok" {
				t.Error(why)
			}
		})
	}
	t.Errorf("the peer ended after %d checks", checks)
}

// Our server.

// serve is our server with the paths of all servers.
func serve(o *websocket.Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		ctx := context.Background()
		switch r.URL.Path {
		case "/close":
			code, err := strconv.Atoi(r.FormValue("code"))
			if err != nil {
				code = int(websocket.StatusNoStatusRcvd)
			}
			_ = c.Close(websocket.StatusCode(code), r.FormValue("reason"))
		case "/ping":
			go func() {
				if _, err := c.Ping(ctx); err == nil {
					_ = c.Write(ctx, websocket.Text, []byte("pong"))
				}
			}()
		}
		for msg, err := range c.Messages(ctx) {
			if err != nil || answer(c, msg, r.URL.Path == "/fragments") != nil {
				return
			}
		}
	})
}

func answer(c *websocket.Conn, msg websocket.Message, inFragments bool) error {
	if !inFragments {
		return c.Write(context.Background(), msg.Type, msg.Data)
	}
	return writeFragments(c, msg.Type, msg.Data)
}

// writeFragments sends a message in five fragments, cut where the octets fall.
func writeFragments(c *websocket.Conn, typ websocket.MessageType, data []byte) error {
	w, err := c.Writer(context.Background(), typ)
	if err != nil {
		return err
	}
	for size := len(data)/5 + 1; len(data) > 0; data = data[min(size, len(data)):] {
		if _, err := w.Write(data[:min(size, len(data))]); err != nil {
			return err
		}
	}
	return w.Close()
}

var allGroups = []string{"echo", "fragments", "ping", "pinged", "close", "closed", "raw", "subprotocol"}

// TestOurServer has the peers' clients talk to a server that uses Accept.
func TestOurServer(t *testing.T) {
	for _, peer := range peers {
		for _, d := range append(windows(peer.minBits), nil, &deflate{}, &deflate{Takeover: true}) {
			t.Run(peer.name+"/"+d.String(), func(t *testing.T) {
				s := httptest.NewServer(serve(d.ours()))
				defer s.Close()
				o := options{Deflate: d, Groups: allGroups}
				if d != nil && d.ServerBits != 0 {
					o.Groups = []string{"echo", "fragments"}
				}
				play(t, peer.command, peer.install, "ws"+strings.TrimPrefix(s.URL, "http"), o)
			})
		}
	}
}

// TestServer has them talk to a Server with a goroutine for each connection, and with events; compression is on, as are all checks.
func TestServer(t *testing.T) {
	takeover := &deflate{Takeover: true}
	modes := map[string]*websocket.Server{
		"Handle": {Handle: func(c *websocket.Conn, r *http.Request) error {
			for msg, err := range c.Messages(r.Context()) {
				if err != nil {
					return err
				}
				if err := answer(c, msg, r.URL.Path == "/fragments"); err != nil {
					return err
				}
			}
			return nil
		}},
		"Message": {Message: func(c *websocket.Conn, msg websocket.Message) error { return answer(c, msg, false) }},
	}
	for name, ws := range modes {
		ws.Options = *takeover.ours()
		hs := httptest.NewServer(ws)
		defer hs.Close()
		for _, peer := range peers {
			for _, d := range []*deflate{nil, takeover} {
				t.Run(name+"/"+peer.name+"/"+d.String(), func(t *testing.T) {
					o := options{Deflate: d, Groups: []string{"echo", "fragments", "ping", "close", "raw", "subprotocol"}}
					play(t, peer.command, peer.install, "ws"+strings.TrimPrefix(hs.URL, "http"), o)
				})
			}
		}
		if err := ws.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: Shutdown: %v", name, err)
		}
	}
}

// TestOurServerOverTLS does it with wss, where the end of TCP takes another path.
func TestOurServerOverTLS(t *testing.T) {
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			s := httptest.NewTLSServer(serve((*deflate)(nil).ours()))
			defer s.Close()
			play(t, peer.command, peer.install, "wss"+strings.TrimPrefix(s.URL, "https"), options{Groups: allGroups})
		})
	}
}

// TestEchoExample has them talk to the example as a user starts it.
func TestEchoExample(t *testing.T) {
	echo := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.Command("go", "build", "-o", echo, "../../examples/echo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, run := range []struct {
		flags string
		d     *deflate
	}{
		{"-compress=false", nil},
		{"-compress", &deflate{}},
		{"-takeover", &deflate{Takeover: true}},
		{"-events -takeover", &deflate{Takeover: true}},
	} {
		t.Run(run.flags, func(t *testing.T) {
			base := startEcho(t, echo, strings.Fields(run.flags))
			for _, peer := range peers {
				o := options{Deflate: run.d, Groups: []string{"echo", "fragments", "ping", "close", "raw"}}
				t.Run(peer.name, func(t *testing.T) { play(t, peer.command, peer.install, base, o) })
			}
		})
	}
}

// startEcho starts the example until the test ends, and returns its URL without a path.
func startEcho(t *testing.T, echo string, flags []string) string {
	t.Helper()
	cmd := exec.Command(echo, append(flags, "-addr", "127.0.0.1:0")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the echo server ended with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	base, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("the echo server printed %q, %v", line, err)
	}
	return strings.TrimSuffix(base, "/")
}

// Our client.

// server is a peer's server and what it prints.
type server struct {
	url   string
	lines <-chan string
	d     *deflate
}

// dial connects to a path; the connection is cut when the test ends.
func (s *server) dial(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.Dial(t.Context(), s.url+path, s.d.ours())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	agreed := resp.Header.Get("Sec-WebSocket-Extensions")
	alone := strings.Contains(agreed, "server_no_context_takeover") && strings.Contains(agreed, "client_no_context_takeover")
	if (agreed != "") != (s.d != nil) || s.d != nil && alone == s.d.Takeover {
		t.Errorf("agreed on %q, want %v", agreed, s.d)
	}
	return c
}

// closes ends a connection in the usual way and waits until the peer has said so.
func (s *server) closes(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := next(t, s.lines, "closed "); got != "1000 " {
		t.Errorf("the peer saw %q, want 1000", got)
	}
}

// TestOurClient talks to the peers' servers.
func TestOurClient(t *testing.T) {
	for _, peer := range peers {
		for _, d := range append(windows(peer.minBits), nil, &deflate{}, &deflate{Takeover: true}) {
			t.Run(peer.name+"/"+d.String(), func(t *testing.T) {
				lines := start(t, peer.command, peer.install, "server", options{Deflate: d})
				s := &server{"ws://127.0.0.1:" + next(t, lines, "listening on "), lines, d}
				t.Run("echo", s.echo)
				t.Run("fragments", s.fragments)
				if d != nil && d.ServerBits != 0 {
					return
				}
				t.Run("ping", s.ping)
				t.Run("close", s.close)
				t.Run("closed", s.closed)
				t.Run("subprotocol", s.subprotocol)
				t.Run("raw", func(t *testing.T) { s.raw(t, d != nil) })
			})
		}
	}
}

var sizes = []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20}

// text is a text of exactly n octets, with characters of one to four octets.
func text(n int) []byte {
	const letters = "Grüße, 世界 👏\n"
	s := strings.Repeat(letters, n/len(letters))
	return []byte(s + strings.Repeat(".", n-len(s)))
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// answers sends data with send and wants it back.
func answers(t *testing.T, c *websocket.Conn, typ websocket.MessageType, data []byte, send func() error) {
	t.Helper()
	if err := send(); err != nil {
		t.Fatal(err)
	}
	got, back, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != typ || string(back) != string(data) {
		t.Errorf("got %v of %d octets, sent %v of %d", got, len(back), typ, len(data))
	}
}

// farRepeats is noise that comes again after each distance from 2^8 to 2^15 octets: an inflater with a smaller window refuses a match from there.
func farRepeats() []byte {
	mark := noise(64)
	all := mark
	for bits := 8; bits <= 15; bits++ {
		all = append(append(all, noise(1<<bits-len(mark))...), mark...)
	}
	return all
}

// messages are texts and noise of every class of size, noise that repeats, and JSON that repeats from one to the next.
func messages() (all []websocket.Message) {
	for _, n := range sizes {
		all = append(all, websocket.Message{Type: websocket.Text, Data: text(n)}, websocket.Message{Type: websocket.Binary, Data: noise(n)})
	}
	all = append(all, websocket.Message{Type: websocket.Binary, Data: farRepeats()})
	for i := range 20 {
		all = append(all, websocket.Message{Type: websocket.Text, Data: fmt.Appendf(nil, `{"id":%d,"text":%q}`, i, text(i*40))})
	}
	return all
}

func (s *server) echo(t *testing.T) {
	c := s.dial(t, "/echo")
	for _, m := range messages() {
		answers(t, c, m.Type, m.Data, func() error { return c.Write(t.Context(), m.Type, m.Data) })
	}
	s.closes(t, c)
}

func (s *server) fragments(t *testing.T) {
	c := s.dial(t, "/fragments")
	for _, m := range messages() {
		answers(t, c, m.Type, m.Data, func() error { return writeFragments(c, m.Type, m.Data) })
	}
	s.closes(t, c)
}

func (s *server) ping(t *testing.T) {
	c := s.dial(t, "/ping")
	if _, pong, err := c.Read(t.Context()); err != nil || string(pong) != "pong" {
		t.Fatalf("%q, %v", pong, err)
	}
	pinged := make(chan error, 1)
	go func() {
		_, err := c.Ping(t.Context())
		if err == nil {
			err = c.Write(t.Context(), websocket.Text, []byte("answered"))
		}
		pinged <- err
	}()
	if _, _, err := c.Read(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-pinged; err != nil {
		t.Error(err)
	}
	s.closes(t, c)
}

var codes = []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}

func (s *server) close(t *testing.T) {
	for _, code := range codes {
		reason := fmt.Sprintf("Grund %d 👏", code)
		c := s.dial(t, "/echo")
		if err := c.Close(websocket.StatusCode(code), reason); err != nil {
			t.Errorf("Close(%d): %v", code, err)
		}
		if got, want := next(t, s.lines, "closed "), fmt.Sprintf("%d %s", code, reason); got != want {
			t.Errorf("the peer saw %q, want %q", got, want)
		}
		if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	}
}

func (s *server) closed(t *testing.T) {
	for _, code := range codes {
		reason := fmt.Sprintf("Grund %d 👏", code)
		c := s.dial(t, "/close?"+url.Values{"code": {strconv.Itoa(code)}, "reason": {reason}}.Encode())
		_, _, err := c.Read(t.Context())
		var got *websocket.CloseError
		if !errors.As(err, &got) || got.Code != websocket.StatusCode(code) || got.Reason != reason {
			t.Errorf("Read: %v, want code %d and its reason", err, code)
		}
		next(t, s.lines, "closed ")
	}
}

func (s *server) subprotocol(t *testing.T) {
	c := s.dial(t, "/echo")
	if got := c.Subprotocol(); got != "chat.v2" {
		t.Errorf("subprotocol %q, want chat.v2", got)
	}
	s.closes(t, c)
}

// raw has the server send what breaks a rule: Read says which, and the server sees our code.
func (s *server) raw(t *testing.T, compressed bool) {
	for _, row := range rawRows(t) {
		if row.ToClient == "" || compressed && row.PlainOnly {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			c := s.dial(t, fmt.Sprintf("/raw?octets=%s&padding=%d", row.ToClient, row.Padding))
			_, _, err := c.Read(t.Context())
			var broken *websocket.ProtocolError
			if row.Code == int(websocket.StatusMessageTooBig) {
				if !errors.Is(err, websocket.ErrTooBig) {
					t.Errorf("Read: %v, want ErrTooBig", err)
				}
			} else if !errors.As(err, &broken) || broken.Code != websocket.StatusCode(row.Code) {
				t.Errorf("Read: %v, want a ProtocolError with %d (%s)", err, row.Code, row.Section)
			}
			if got := next(t, s.lines, "closed "); !strings.HasPrefix(got, strconv.Itoa(row.Code)+" ") {
				t.Errorf("the peer saw %q, want %d", got, row.Code)
			}
		})
	}
}

// rawRow is a line of raw.json.
type rawRow struct {
	Name, Section      string
	ToServer, ToClient string // hex; a masked frame has the key zero
	Padding            int    // zeros that follow
	Code               int
	PlainOnly          bool // wrong only without permessage-deflate
}

func rawRows(t *testing.T) (rows []rawRow) {
	t.Helper()
	b, err := os.ReadFile("raw.json")
	if err == nil {
		err = json.Unmarshal(b, &rows)
	}
	if err != nil || len(rows) == 0 {
		t.Fatalf("raw.json: %d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		if _, err := hex.DecodeString(row.ToServer + row.ToClient); err != nil {
			t.Fatalf("%s: %v", row.Name, err)
		}
	}
	return rows
}
