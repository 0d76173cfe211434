package devtools

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A recorder is a test that keeps its failures.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	errors []string // guarded by mu
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.Errorf("skipped: "+format, args...)
	runtime.Goexit()
}

// failures returns what f failed its test with.
func (r *recorder) failures(f func()) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	failures := strings.Join(r.errors, "\n")
	r.errors = nil
	return failures
}

// site serves one page.
func site(t *testing.T, page string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestStartWithoutChromium(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for ci, want := range map[string]string{"": "skipped: devtools: no Chromium on PATH", "true": "devtools: no Chromium on PATH"} {
		t.Setenv("CI", ci)
		r := &recorder{TB: t}
		if got := r.failures(func() { Start(r) }); !strings.HasPrefix(got, want) {
			t.Errorf("CI=%q: %q, want %q", ci, got, want)
		}
	}
}

func TestStartOfSomethingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chromium")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho out of order >&2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	r := &recorder{TB: t}
	if got := r.failures(func() { Start(r) }); !strings.Contains(got, "out of order") {
		t.Errorf("failed with %q, want what the command said", got)
	}
}

func TestPageDoesWhatAPersonDoes(t *testing.T) {
	b := Start(t)
	url := site(t, `<!DOCTYPE html><meta name="viewport" content="width=device-width">
		<link rel="icon" href="data:,">
		<input id="name" value="old"><button id="go">Go</button>
		<input id="key" onkeydown="if (event.key === 'Enter') window.pressed = true"><input id="files" type="file">
		<script>
			const name_ = document.querySelector("#name");
			document.querySelector("#go").onclick = () => console.log("hello", name_.value, 1, null, undefined, {});
		</script>`)
	p, q := b.Open(url), b.Open(url)

	p.Type("#name", "Jürgen")
	p.Click("#go")
	p.Wait(`document.activeElement.id === "go"`)
	q.Type("#name", "")
	q.Click("#go")
	for page, want := range map[*Page]string{p: "log: hello Jürgen 1 null undefined Object", q: "log: hello  1 null undefined Object"} {
		var sync bool
		page.Eval(`new Promise(done => setTimeout(done, 1, true))`, &sync)
		if got := page.Console(); !sync || !slices.Equal(got, []string{want}) {
			t.Errorf("console %q, want %q", got, want)
		}
	}

	p.Click("#key")
	p.Press("Enter")
	p.Wait(`window.pressed`)
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.SetFiles("#files", file)
	var content string
	p.Eval(`document.querySelector("#files").files[0].text()`, &content)
	if content != "content" {
		t.Errorf("the chosen file holds %q, want content", content)
	}
	q.Close()
	p.Wait(`true`)
}

func TestPageFailsTheTest(t *testing.T) {
	r := &recorder{TB: t}
	var b *Browser
	url := site(t, `<!DOCTYPE html><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
		<button id="off" disabled>Off</button> <button id="covered">Covered</button>
		<div style="position: fixed; inset: 0"></div>`)
	if r.failures(func() { b = Start(t) }); b == nil {
		t.SkipNow()
	}
	b.t = r
	p := b.Open(url)
	for _, row := range []struct {
		want string
		do   func()
	}{
		{"Error: boom", func() { p.Eval(`(() => { throw new Error("boom") })()`, nil) }},
		{"Uncaught (in promise) 7", func() { p.Eval(`Promise.reject(7)`, nil) }},
		{"no such element", func() { p.Click("#nowhere") }},
		{"disabled", func() { p.Click("#off") }},
		{"covered by <div", func() { p.Click("#covered") }},
		{"no such key", func() { p.Press("Any") }},
		{"uncaught in the page: Uncaught Error: later", func() {
			p.Eval(`new Promise(done => {
				addEventListener("error", () => setTimeout(done, 1));
				setTimeout(() => { throw new Error("later") });
			})`, nil)
		}},
		{"net::ERR_", func() { p.Navigate("http://127.0.0.1:1/") }}, // the last: what replaces the page may do so a little later
	} {
		if got := r.failures(row.do); !strings.Contains(got, row.want) {
			t.Errorf("failed with %q, want %q", got, row.want)
		}
	}
}

func TestScreenshot(t *testing.T) {
	r := &recorder{TB: t}
	t.Setenv("SCREENSHOTS", t.TempDir())
	b := Start(t)
	b.t = r
	p := b.Open(site(t, `<!DOCTYPE html><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
		<p style="width: 600px">wider than a phone</p>`))
	for _, row := range []struct {
		resize func()
		name   string
		want   string
	}{
		{p.Desktop, "desktop", ""},
		{p.Phone, "phone", "wider than the screen"},
	} {
		row.resize()
		if got := r.failures(func() { p.Screenshot(row.name) }); !strings.Contains(got, row.want) || row.want == "" && got != "" {
			t.Errorf("%s: failed with %q, want %q", row.name, got, row.want)
		}
		if info, err := os.Stat(filepath.Join(os.Getenv("SCREENSHOTS"), row.name+".png")); err != nil || info.Size() == 0 {
			t.Errorf("%s: no picture: %v", row.name, err)
		}
	}
}
