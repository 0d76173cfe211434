package main

// This file holds what one sees of the built command: lines in, lines out, close codes, exit status.

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/internal/command"
)

func TestMain(m *testing.M) {
	os.Exit(command.Main(m, ".", "../echo"))
}

// An result is what a run of the command left.
type result struct {
	stdout, stderr string
	status         int
}

// wscat runs the command with an input.
func wscat(t *testing.T, input string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := command.New(t, "wscat", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test where the result differs; said is a part of standard error.
func (o result) want(t *testing.T, stdout, said string, status int) {
	t.Helper()
	if o.stdout != stdout || !strings.Contains(o.stderr, said) || o.status != status {
		t.Errorf("printed %.200q, said %.300q, exit status %d; want %.200q, %q, %d", o.stdout, o.stderr, o.status, stdout, said, status)
	}
}

// serve starts a server that accepts each connection and gives it to f.
func serve(t *testing.T, opts *websocket.Options, f func(ctx context.Context, c *websocket.Conn, r *http.Request)) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		f(r.Context(), c, r)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func echoServer(t *testing.T, args ...string) *command.Server {
	t.Helper()
	return command.Serve(t, "echo", append([]string{"-addr", "127.0.0.1:0"}, args...)...)
}

func TestEachLineIsAMessage(t *testing.T) {
	t.Parallel()
	url := echoServer(t).URL
	long := strings.Repeat("a long line ", 100_000)
	for _, row := range []struct{ why, input, want string }{
		{"two lines", "one\ntwo\n", "one\ntwo\n"},
		{"a last line without its end", "one\ntwo", "one\ntwo\n"},
		{"an empty line", "\n", "\n"},
		{"no line", "", ""},
		{"line ends of another system", "one\r\ntwo\r\n", "one\ntwo\n"},
		{"a line longer than any buffer", long + "\n", long + "\n"},
		{"a thousand lines", strings.Repeat("Zeile äöü\n", 1000), strings.Repeat("Zeile äöü\n", 1000)},
	} {
		t.Run(row.why, func(t *testing.T) {
			t.Parallel()
			wscat(t, row.input, url).want(t, row.want, "closed: 1000", 0)
			wscat(t, row.input, "-compress", url).want(t, row.want, "closed: 1000", 0)
		})
	}
}

func TestBinaryIsHexadecimal(t *testing.T) {
	t.Parallel()
	url := echoServer(t).URL
	wscat(t, "00 ff 0A\ncafe\n\n", "-b", url).want(t, "00ff0a\ncafe\n\n", "closed: 1000", 0)
	wscat(t, "cafe\ncaf\nbabe\n", "-b", url).want(t, "cafe\nbabe\n", "line 2", 1)
}

func TestALineThatIsNotTextIsReported(t *testing.T) {
	t.Parallel()
	wscat(t, "one\n\xff\nthree\n", echoServer(t).URL).want(t, "one\nthree\n", "line 2", 1)
}

func TestCloseCodesOfBothSides(t *testing.T) {
	t.Parallel()
	received := make(chan error, 1)
	url := serve(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_, _, err := c.Read(ctx)
		received <- err
	})
	wscat(t, "", "-code", "4002", "-reason", "bis später", url).want(t, "", "closed: 4002 bis später", 0)
	var closed *websocket.CloseError
	if err := <-received; !errors.As(err, &closed) || closed.Code != 4002 || closed.Reason != "bis später" {
		t.Errorf("the server got %v, want 4002 bis später", err)
	}

	wscat(t, "", "-code", "1005", url).want(t, "", "closed: no code\n", 0)
	if err := <-received; websocket.CloseStatus(err) != websocket.StatusNoStatusRcvd {
		t.Errorf("the server got %v, want a Close frame without a code", err)
	}
	wscat(t, "", "-code", "1006", url).want(t, "", "-code is 1000 to 1003", 2)

	url = serve(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_ = c.Write(ctx, websocket.Text, []byte("so long"))
		_ = c.Close(4003, "and thanks")
	})
	wscat(t, "", "-wait", "-1s", url).want(t, "so long\n", "closed by the server: 4003 and thanks", 0)
}

// A reason is one line, whatever the server puts into it.
func TestAReasonForgesNoLine(t *testing.T) {
	t.Parallel()
	url := serve(t, nil, func(_ context.Context, c *websocket.Conn, _ *http.Request) { _ = c.Close(4000, "x\r\n< forged") })
	wscat(t, "", "-wait", "-1s", url).want(t, "", "closed by the server: 4000 x"+`\x0d\x0a< forged`+"\n", 0)
}

// What can't be sent because the server has closed is no success, though the close was clean.
func TestLinesThatComeTooLate(t *testing.T) {
	t.Parallel()
	url := serve(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_, _, _ = c.Read(ctx)
		_ = c.Close(websocket.StatusNormalClosure, "")
	})
	wscat(t, strings.Repeat(strings.Repeat("x", 1023)+"\n", 30_000), url).want(t, "", "was not sent", 1)
	wscat(t, "one\n", url).want(t, "", "closed by the server: 1000", 0)
}

// An input that can't be read has not ended: not every line was sent.
func TestAnInputThatCannotBeReadIsNoSuccess(t *testing.T) {
	t.Parallel()
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	var stderr bytes.Buffer
	cmd := command.New(t, "wscat", echoServer(t).URL)
	cmd.Stdin, cmd.Stderr = folder, &stderr
	_ = cmd.Run()
	result{"", stderr.String(), cmd.ProcessState.ExitCode()}.want(t, "", "line 1 was not read", 1)
}

func TestEndsWithoutACleanClose(t *testing.T) {
	t.Parallel()
	url := serve(t, nil, func(_ context.Context, c *websocket.Conn, _ *http.Request) { _ = c.CloseNow() })
	wscat(t, "", "-wait", "-1s", url).want(t, "", "wscat: ", 1)

	url = serve(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_ = c.Write(ctx, websocket.Binary, make([]byte, 11))
		_, _, _ = c.Read(ctx)
	})
	wscat(t, "", "-limit", "10", "-wait", "-1s", url).want(t, "", "wscat: ", 1)
	wscat(t, "", "-limit", "11", url).want(t, strings.Repeat("00", 11)+"\n", "closed: 1000", 0)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	opts := &websocket.Options{Subprotocols: []string{"soap"}, Origins: []string{"https://example.com"}}
	url := serve(t, opts, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		seen <- r
		_, _, _ = c.Read(ctx)
	})
	wscat(t, "", "-H", "X-Token: a:b", "-H", "Host: example.org", "-origin", "https://example.com", "-proto", "wamp,soap", url).
		want(t, "", "subprotocol soap", 0)
	r := <-seen
	if r.Header.Get("X-Token") != "a:b" || r.Host != "example.org" || r.Header.Get("Origin") != "https://example.com" {
		t.Errorf("the server got %v, Host %s", r.Header, r.Host)
	}
	wscat(t, "", "-origin", "https://evil.example", url).want(t, "", "403", 1)
}

// The password in a URL goes to the server and to nobody else.
func TestThePasswordIsNotShown(t *testing.T) {
	t.Parallel()
	host := strings.TrimPrefix(echoServer(t).URL, "ws://")
	wscat(t, "", "ws://me:secret@"+host).want(t, "", "open: ws://me:xxxxx@"+host+"\n", 0)
}

func TestTLSIsCheckedUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = c.Write(r.Context(), websocket.Text, []byte("hello"))
		_, _, _ = c.Read(r.Context())
	}))
	defer s.Close()
	url := "wss" + strings.TrimPrefix(s.URL, "https")
	wscat(t, "", "-k", url).want(t, "hello\n", "closed: 1000", 0)
	wscat(t, "", url).want(t, "", "certificate", 1)
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"ws://a", "ws://b"}, {"-nonsense", "ws://a"}, {"-H", "no colon", "ws://a"},
		{"-code", "99999", "ws://a"}, {"-code", "1005", "-reason", "x", "ws://a"}, {"-reason", "\xff", "ws://a"},
		{"-reason", strings.Repeat("é", 62), "ws://a"}} {
		wscat(t, "", args...).want(t, "", "usage: wscat", 2)
	}
	wscat(t, "", "ftp://localhost/").want(t, "", "wscat: ", 1)
	refused := httptest.NewServer(http.NotFoundHandler())
	defer refused.Close()
	wscat(t, "", refused.URL).want(t, "", "404 page not found", 1)
}

// A running is a command whose input stays open, as at a terminal.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *os.File // its reading end
}

// start runs wscat until the test ends it.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	cmd := command.New(t, "wscat", args...)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = r.Close()
	})
	return &running{t, cmd, r}
}

// says waits until the command has said part on standard error.
func (r *running) says(part string) {
	r.t.Helper()
	_ = r.stderr.SetReadDeadline(time.Now().Add(20 * time.Second))
	var said []byte
	octet := make([]byte, 1)
	for !bytes.Contains(said, []byte(part)) {
		if _, err := r.stderr.Read(octet); err != nil {
			r.t.Fatalf("said %q (%v), want %q", said, err, part)
		}
		said = append(said, octet...)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	r := start(t, "-ping", "10ms", echoServer(t).URL)
	r.says("Pong after ")
	r.says("Pong after ")
}

func TestInterruptCloses(t *testing.T) {
	t.Parallel()
	s := echoServer(t)
	r := start(t, s.URL)
	r.says("open: ")
	_ = r.cmd.Process.Signal(os.Interrupt)
	r.says("closed: 1000")
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%v, want exit status 0", err)
	}

	r = start(t, s.URL)
	r.says("open: ")
	s.Signal(syscall.SIGTERM)
	r.says("closed by the server: 1001")
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%v, want exit status 0", err)
	}
	s.End()
}

// Lines that an interrupt has kept from being sent are no success.
func TestInterruptAmongLinesIsNoSuccess(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	begun := make(chan struct{})
	url := serve(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_, _, _ = c.Read(ctx)
		close(begun)
		for range c.Messages(ctx) {
		}
	})
	cmd := command.New(t, "wscat", url)
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	go func() {
		for { // until nobody reads them
			if _, err := w.WriteString("a line\n"); err != nil {
				return
			}
		}
	}()
	<-begun
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 1 {
		t.Errorf("exit status %d, want 1: not every line was sent", got)
	}
}

// Where one types too, every line that arrives is marked: another passes for one's own, or for one of wscat's.
func TestEveryLineThatArrivesIsMarked(t *testing.T) {
	s := &session{config: new(config), typed: true, shown: true}
	msg := websocket.Message{Type: websocket.Text, Data: []byte("hello\nclosed: 1000")}
	if got, want := string(s.line(msg)), "< hello\n< closed: 1000\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// What arrives is shown on a terminal and not obeyed, wherever the input comes from; only who types there sees it marked.
func TestATerminalObeysNothing(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // a device of characters, which is how a terminal is known
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	const octets = "ä\t\x1b[2J\u009b\u202e"
	for _, row := range []struct {
		why     string
		in, out *os.File
		want    string
	}{
		{"typed and read", terminal, terminal, "< ä\t" + `\x1b[2J\x9b\u202e` + "\n"},
		{"piped in and read", r, terminal, "ä\t" + `\x1b[2J\x9b\u202e` + "\n"},
		{"typed and piped on", terminal, w, octets + "\n"},
		{"piped in and on", r, w, octets + "\n"},
	} {
		s := newSession(new(config), nil, row.in, row.out)
		if got := string(s.line(websocket.Message{Type: websocket.Text, Data: []byte(octets)})); got != row.want {
			t.Errorf("%s: printed %q, want %q", row.why, got, row.want)
		}
	}
}
