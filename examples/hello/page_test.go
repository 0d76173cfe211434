package main

// This file holds what a person sees: a Chromium plays the page.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

// waitLog waits until the table of events is this, a line each, without the times.
func waitLog(p *devtools.Page, lines ...string) {
	p.Wait(fmt.Sprintf(`[...document.querySelector("#log").rows].map(row => [...row.cells].slice(1).map(
		cell => [...cell.querySelectorAll(".event, dl div")].map(e => [...e.childNodes].map(n => n.textContent).join(" ")).join(", ")
	).join(": ")).join("\n") === %q`, strings.Join(lines, "\n")))
}

func TestPageLogsEveryEvent(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0", "-pause", "300ms")
	p := b.Open(s.URL)
	p.Type("#name", "Jürgen <b>")
	p.Click("#go")
	waitLog(p,
		"open: protocol „soap“, extensions „“",
		"send: data „Jürgen <b>“",
		"message: data „Hallo vom Server, Jürgen <b>!“",
		"close: code 1000, reason „Bis zum nächsten Mal!“, wasClean true")
	p.Screenshot("hello-desktop")
	p.Phone()
	p.Screenshot("hello-phone")
	p.Desktop()
	if lines := p.Console(); len(lines) > 0 {
		t.Errorf("the console is not empty: %q", lines)
	}
	p.Click("#nowhere")
	waitLog(p, "error: readyState 3", "close: code 1006, reason „“, wasClean false")
}

func TestPageClosesFirst(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0", "-pause", "1h")
	p := b.Open(s.URL)
	p.Click("#go")
	p.Wait(`document.querySelector("#log .message")`)
	p.Click("#close")
	// The server echoes the code, not the reason (RFC 6455 section 5.5.1).
	p.Wait(`document.querySelector("#log").rows[3].textContent.endsWith("closecode1000reason„“wasCleantrue")`)
}

func TestPageShowsBufferedAmount(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0", "-speed", "8388608")
	p := b.Open(s.URL)
	amount := `Number(document.querySelector("#buffered").value.replaceAll(".", ""))`
	p.Click("#random")
	p.Wait(amount + ` > 1e6`)
	p.Wait(`document.querySelector("#whole").textContent === "33.554.432"`)
	p.Wait(amount + ` < 16e6 && ` + amount + ` > 0`)
	p.Screenshot("hello-upload")
	p.Wait(`document.querySelector("#log").textContent.includes("„33554432 Oktette sind angekommen.“")`)
	p.Wait(`document.querySelector("#log").textContent.endsWith("code1000reason„Alles ist da.“wasCleantrue")`)
}

// The button says what it does: the Close frame follows all that waits. Meanwhile nothing is read out with each number.
func TestPageClosesBehindAnUpload(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0", "-speed", "134217728")
	p := b.Open(s.URL)
	p.Click("#random")
	p.Wait(`!document.querySelector("#abort").disabled`)
	p.Click("#abort")
	p.Wait(`document.querySelector("#log").textContent.endsWith("wasCleantrue")`)
	var button, live string
	p.Eval(`document.querySelector("#abort").textContent`, &button)
	p.Eval(`document.querySelector("#buffered").ariaLive ?? ""`, &live)
	if button != "Schließen" {
		t.Errorf("the button that closes behind the upload says %q", button)
	}
	if live != "off" {
		t.Errorf("the number that changes all the time has aria-live %q", live)
	}
}

func TestPageFitsAPhoneBeforeAnythingHappens(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0")
	p := b.Open(s.URL)
	p.Phone()
	p.Screenshot("hello-empty")
	p.Wait(`(box => box.scrollWidth <= box.clientWidth)(document.querySelector(".scroll"))`)
}

// Whoever greets by keyboard can do so again; a long number stays one on a phone.
func TestPageKeepsTheFocus(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "hello", "-addr", "127.0.0.1:0", "-pause", "300ms")
	p := b.Open(s.URL)
	p.Eval(`document.querySelector("#go").focus()`, nil)
	p.Press("Enter")
	p.Wait(`document.querySelector("#log .close") && document.activeElement.id === "go"`)
	p.Phone()
	p.Click("#random")
	p.Wait(`document.querySelector("#log .send")`)
	p.Wait(`[...document.querySelectorAll("#log .send")].at(-1).closest("tr").querySelector("dl div:last-child dd").getClientRects()[0].height < 40`)
}
