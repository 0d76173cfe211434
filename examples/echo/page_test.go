package main

// This file holds what a person sees: a Chromium plays the page.

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

// open starts a server and opens its page.
func open(t *testing.T, b *devtools.Browser, args ...string) (*command.Server, *devtools.Page) {
	t.Helper()
	s := start(t, args...)
	p := b.Open(strings.Replace(s.URL, "ws", "http", 1))
	waitState(p, "open")
	return s, p
}

func waitState(p *devtools.Page, state string) {
	p.Wait(fmt.Sprintf(`document.querySelector("#state").value === %q`, state))
}

// waitSame waits until n messages have come back, each as it was sent.
func waitSame(p *devtools.Page, n int) {
	p.Wait(fmt.Sprintf(`document.querySelectorAll("#log .echo .same").length === %d`, n))
}

// waitNote waits until the last entry of the log has this text.
func waitNote(p *devtools.Page, text string) {
	p.Wait(fmt.Sprintf(`document.querySelector("#log li:last-child.note").textContent === %q`, text))
}

// choose takes an option of the page's list of lengths.
func choose(p *devtools.Page, octets int) {
	p.Eval(fmt.Sprintf(`{
		const list = document.querySelector("#octets");
		list.value = %d;
		list.dispatchEvent(new Event("change"));
	}`, octets), nil)
}

func TestPageSendsEverythingAndGetsItBack(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	_, p := open(t, b)

	for i, n := range []int{0, 125, 65536, 1 << 20} {
		choose(p, n)
		waitSame(p, 1+i)
	}
	file := filepath.Join(t.TempDir(), "holiday.jpg")
	octets := make([]byte, 300_000)
	_, _ = rand.Read(octets)
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	p.SetFiles("#file", file)
	waitSame(p, 5)

	p.Type("#text", "Grüße aus der 茶-Küche 👩‍🚀")
	p.Press("Enter")
	waitSame(p, 6)
	const markup = `<b onclick="throw 1">not bold</b>`
	p.Type("#text", markup)
	p.Click("#send")
	waitSame(p, 7)
	var shown string
	p.Eval(`document.querySelector("#log .echo:last-child .body").textContent`, &shown)
	if shown != markup {
		t.Errorf("the page shows %q, want the text as it is", shown)
	}

	p.Screenshot("echo-desktop")
	p.Phone()
	p.Screenshot("echo-phone")
	if lines := p.Console(); len(lines) > 0 {
		t.Errorf("the console is not empty: %q", lines)
	}
}

func TestPageClosesWithACodeAndConnectsAgain(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	_, p := open(t, b)
	p.Type("#code", "999")
	p.Click("#toggle")
	p.Wait(`document.querySelector("#log .note.bad")`)
	waitState(p, "open")

	// The server echoes the code, not the reason (RFC 6455 section 5.5.1).
	for _, row := range []struct{ code, reason, want string }{
		{"1000", "", "Closed with 1000"},
		{"4001", "bis später", "Closed with 4001"},
		{"", "", "Closed without a code"},
	} {
		p.Type("#code", row.code)
		p.Type("#reason", row.reason)
		p.Click("#toggle")
		waitState(p, "closed")
		waitNote(p, row.want)
		p.Click("#toggle")
		waitState(p, "open")
	}
	p.Type("#text", "still there?")
	p.Press("Enter")
	waitSame(p, 1)
}

func TestPageSeesTheServersCloseCode(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s, p := open(t, b, "-limit", "1000000")
	// The server refuses a message of which most is still on its way. The browser must see 1009, not a reset.
	choose(p, 16<<20)
	waitState(p, "closed")
	p.Wait(`document.querySelector("#log li:last-child.note").textContent.startsWith("Closed with 1009")`)
	p.Screenshot("echo-closed")

	p.Click("#toggle")
	waitState(p, "open")
	s.Signal(syscall.SIGTERM)
	waitNote(p, "Closed with 1001")
	s.End()
}

// Whoever closes and connects by keyboard stays at the button.
func TestPageKeepsTheFocus(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	_, p := open(t, b)
	p.Eval(`document.querySelector("#toggle").focus()`, nil)
	for _, state := range []string{"closed", "open"} {
		p.Press("Enter")
		waitState(p, state)
		// A focus that is lost is lost with the next frame.
		p.Eval(`new Promise(done => requestAnimationFrame(() => setTimeout(done)))`, nil)
		p.Wait(`document.activeElement.id === "toggle"`)
	}
}
