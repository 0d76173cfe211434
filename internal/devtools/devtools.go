// Package devtools drives a headless Chromium through its DevTools protocol, over a WebSocket of this library, so that
// the tests of the examples can play their pages as a person would.
//
// Every method of a [Browser] and a [Page] fails the test where it can't do what it says, and so must be called from the
// test's own goroutine.
package devtools

// This file holds the browser as a process: found, started, ended.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
)

const (
	startTimeout = 60 * time.Second // a first start on a slow, busy machine
	callTimeout  = 30 * time.Second // one command, and one wait for a condition
	endTimeout   = 5 * time.Second  // for Chromium to end by itself, before it is made to
	answerLimit  = 256 << 20        // octets of one answer: screenshots and large values
)

// names are the commands under which distributions install Chromium, in order of preference.
var names = []string{"chromium", "chromium-browser", "google-chrome"}

var flags = []string{
	"--headless=new",
	"--no-sandbox", // refuses to start as root, as containers do, with one
	"--disable-gpu",
	"--disable-quic",
	"--disable-dev-shm-usage", // containers often have a /dev/shm too small for it
	"--no-first-run",
	"--disable-background-networking",
	"--disable-component-update",
	"--disable-sync",
	"--disable-breakpad",
	// Tabs in the background keep their timers, or a test of several tabs would wait for seconds.
	"--disable-background-timer-throttling",
	"--disable-backgrounding-occluded-windows",
	"--disable-renderer-backgrounding",
	"--hide-scrollbars",
	"--lang=en",
	"--remote-debugging-port=0",
}

// A Browser is a running Chromium with a fresh profile.
type Browser struct {
	t    testing.TB
	wire *wire
}

// Start starts a Chromium that ends with the test. Where none is installed the test is skipped, but fails when the
// environment has CI set: there Chromium is a requirement.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, err := find()
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("devtools: %v, and CI is set", err)
	}
	if err != nil {
		t.Skipf("devtools: %v: this test needs one", err)
	}
	b, err := start(t, path)
	if err != nil {
		t.Fatalf("devtools: start %s: %v", path, err)
	}
	return b
}

// find returns the path of an installed Chromium.
func find() (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium on PATH (looked for %s)", strings.Join(names, ", "))
}

// start runs the Chromium at path and connects to it. What it started ends with the test, also on an error.
func start(t testing.TB, path string) (*Browser, error) {
	// Not t.TempDir: a process that is just being ended may still write there, which must not fail the test.
	profile, err := os.MkdirTemp("", "devtools")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })

	var said bytes.Buffer
	ended, kill, err := run(exec.Command(path, append(flags, "--user-data-dir="+profile, "about:blank")...), &said)
	if err != nil {
		return nil, err
	}
	t.Cleanup(kill)
	url, err := address(profile, ended)
	if err != nil {
		kill()
		return nil, fmt.Errorf("%w; it said:\n%s", err, said.Bytes())
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, &websocket.Options{ReadLimit: answerLimit})
	if err != nil {
		return nil, err
	}
	b := &Browser{t: t, wire: newWire(c)}
	t.Cleanup(func() { b.end(ended) })
	return b, nil
}

// run starts cmd in a process group of its own. ended is closed once it has ended, and all that it said is in said; kill
// makes it end, and all of its group, and waits for that.
func run(cmd *exec.Cmd, said *bytes.Buffer) (ended <-chan struct{}, kill func(), err error) {
	cmd.Stderr = said
	cmd.WaitDelay = time.Second // a child that survives would hold standard error open: don't wait for its end
	inGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is nobody's concern
		close(done)
	}()
	return done, func() { endGroup(cmd); <-done }, nil
}

// address waits until Chromium listens and returns the URL of its DevTools endpoint, from the file that it writes into
// its profile: the port, and the path behind it.
func address(profile string, ended <-chan struct{}) (string, error) {
	deadline := time.After(startTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b, _ := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if port, path, ok := strings.Cut(string(b), "\n"); ok && strings.HasPrefix(path, "/devtools/") {
			return "ws://127.0.0.1:" + port + strings.TrimSpace(path), nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return "", fmt.Errorf("it ended at once")
		case <-deadline:
			return "", fmt.Errorf("it does not listen after %v", startTimeout)
		}
	}
}

// end asks Chromium to end, which ends its other processes too, and waits for that, but not for ever.
func (b *Browser) end(ended <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	// It may end before it answers; whether it has ended is what counts.
	_ = b.wire.call(ctx, "", "Browser.close", nil, nil)
	select {
	case <-ended:
	case <-ctx.Done():
	}
	b.wire.stop()
}

// call sends a command and waits for its answer; it fails the test where there is none or an error.
func (b *Browser) call(session, method string, params, result any) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := b.wire.call(ctx, session, method, params, result); err != nil {
		b.t.Fatalf("devtools: %s: %v", method, err)
	}
}
