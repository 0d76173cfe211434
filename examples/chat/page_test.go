package main

// This file holds what people see: a Chromium plays the page.

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

// come opens the page in a new tab and joins.
func come(b *devtools.Browser, url, name string) *devtools.Page {
	p := b.Open(url)
	p.Wait(`!document.querySelector("#enter").disabled`)
	p.Type("#name", name)
	p.Click("#enter")
	p.Wait(`!document.querySelector("#door").open && !document.querySelector("#send").disabled`)
	return p
}

func say(p *devtools.Page, text string) {
	p.Type("#text", text)
	p.Press("Enter")
}

// waitLast waits until the last entry of the log that a selector finds has this text.
func waitLast(p *devtools.Page, selector, text string) {
	p.Wait(fmt.Sprintf(`[...document.querySelectorAll("#log %s")].at(-1).textContent === %q`, selector, text))
}

func waitText(p *devtools.Page, selector, text string) {
	p.Wait(fmt.Sprintf(`document.querySelector(%q).textContent === %q`, selector, text))
}

func TestTwoTabsChatAndApplaud(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	anna := come(b, s.URL, "Anna")
	say(anna, "Is this thing on?")
	bob := come(b, s.URL, "Bob")
	waitLast(anna, ".news", "Bob has joined")
	waitLast(bob, ".text", "Is this thing on?")

	bob.Type("#text", "It is")
	waitText(anna, "#typing", "Bob is typing …")
	bob.Press("Enter")
	waitLast(anna, ".text", "It is")
	waitText(anna, "#typing", "")
	const markup = `<img src=x onerror="throw 1"><script>throw 2</script>&lt;b&gt;`
	say(bob, markup)
	waitLast(anna, ".text", markup)

	bob.Eval(`{
		const range = document.querySelector("#strength");
		range.value = 7;
		range.dispatchEvent(new Event("input"));
	}`, nil)
	bob.Click("#applaud")
	waitLast(anna, ".hands", strings.Repeat("👏", 7))
	waitText(anna, "#claps", "7 👏")
	anna.Click("#applaud")
	waitText(bob, "#claps", "10 👏")
	waitText(bob, "#present", "2 people")

	say(anna, "And this is what a longer message looks like: it goes over more than one line where there is no room for it, "+
		"and a line break stays one.\nhttps://www.rfc-editor.org/rfc/rfc6455")
	say(bob, "👍")
	waitLast(anna, ".text", "👍")
	carla := come(b, s.URL, "Carla")
	carla.Type("#text", "H")
	for _, p := range []*devtools.Page{anna, bob} {
		waitText(p, "#typing", "Carla is typing …")
	}
	anna.Screenshot("chat-desktop")
	bob.Phone()
	bob.Screenshot("chat-phone")
	carla.Close()
	waitLast(anna, ".news", "Carla has left")
	for _, p := range []*devtools.Page{anna, bob} {
		if lines := p.Console(); len(lines) > 0 {
			t.Errorf("the console is not empty: %q", lines)
		}
	}
}

func TestPageTellsWhatWasRefused(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0", "-burst", "3", "-rate", "0.01")
	p := b.Open(s.URL)
	p.Wait(`!document.querySelector("#enter").disabled`)
	p.Screenshot("chat-door")
	p.Type("#name", "\u202e")
	p.Click("#enter")
	waitText(p, "#refused", "Please give a name.")
	p.Type("#name", "Anna")
	p.Click("#enter")
	p.Wait(`!document.querySelector("#door").open && !document.querySelector("#send").disabled`)
	p.Click("#applaud")
	p.Wait(`document.querySelector("#log .applause")`)
	say(p, "too much")
	p.Wait(`document.querySelector("#error").textContent.startsWith("Slow down")`)
	p.Wait(`document.querySelector("#text").value === "too much"`)
}

// Nobody is told that a name is taken which was only tidied up, and a blank one gets an answer.
func TestPageTellsOneNameFromAnother(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := b.Open(s.URL)
	p.Wait(`!document.querySelector("#enter").disabled`)
	p.Type("#name", "   ")
	p.Click("#enter")
	var said string
	p.Eval(`document.querySelector("#refused").textContent`, &said)
	if said != "Please give a name." {
		t.Errorf("to a blank name the page says %q", said)
	}
	p = come(b, s.URL, "Anna  Maria")
	p.Eval(`document.querySelector("#log .news:last-child").textContent`, &said)
	if said != "You have joined as Anna Maria" {
		t.Errorf("the only person here is told %q", said)
	}
}

// Whoever types faster than may be said finds all that was refused in the field again.
func TestPageKeepsWhatWasRefused(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0", "-burst", "2", "-rate", "0.01")
	p := come(b, s.URL, "Anna")
	p.Eval(`for (const text of ["one", "two", "three"]) {
		document.querySelector("#text").value = text;
		document.querySelector("#write").requestSubmit();
	}`, nil)
	waitLast(p, ".text", "one")
	p.Wait(`document.querySelector("#text").value === "two\nthree"`)
}

// The server goes away and comes back: the page says so, tries again, and joins under the same name.
func TestPageComesBack(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := come(b, s.URL, "Anna")
	addr := strings.Trim(strings.TrimPrefix(s.URL, "http://"), "/")
	s.Signal(syscall.SIGTERM)
	s.End()
	p.Wait(`document.querySelector("#state").value.startsWith("offline, again in")`)
	p.Wait(`document.querySelector("#send").disabled`)
	p.Phone()
	p.Screenshot("chat-offline")
	command.Serve(t, "chat", "-addr", addr)
	p.Wait(`document.querySelector("#state").value === "online" && !document.querySelector("#send").disabled`)
	say(p, "back again")
	waitLast(p, ".text", "back again")
	waitText(p, "#people", "Anna (you)")
}

// Whoever clicks twice before the answer has come is in, and not asked again.
func TestPageJoinsOnce(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := b.Open(s.URL)
	p.Wait(`!document.querySelector("#enter").disabled`)
	p.Type("#name", "Anna")
	p.Eval(`for (const _ of "twice") document.querySelector("#enter").click()`, nil)
	p.Wait(`!document.querySelector("#send").disabled`)
	say(p, "in") // what comes before the answer to this has come
	waitLast(p, ".text", "in")
	p.Wait(`!document.querySelector("#door").open && sessionStorage.getItem("name") === "Anna"`)
}

// The same may have been said before: that is not what was lost.
func TestPageKeepsWhatItSaysAgain(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := come(b, s.URL, "Anna")
	say(p, "ok")
	waitLast(p, ".text", "ok")
	for _, row := range []struct{ lose, want string }{{"true", "ok"}, {"false", ""}} {
		// The connection ends behind the next text, or just before it.
		p.Eval(`{
			const send = WebSocket.prototype.send;
			WebSocket.prototype.send = function (data) {
				if (!data.includes('"chat"')) return send.call(this, data);
				WebSocket.prototype.send = send;
				if (!`+row.lose+`) send.call(this, data);
				this.onmessage = null;
				this.close();
			};
			document.querySelector("#text").value = "ok";
			document.querySelector("#write").requestSubmit();
		}`, nil)
		p.Wait(`document.querySelector("#send").disabled`)
		p.Wait(`!document.querySelector("#send").disabled`)
		var text string
		p.Eval(`document.querySelector("#text").value`, &text)
		if text != row.want {
			t.Errorf("lost: %s: the field holds %q, want %q", row.lose, text, row.want)
		}
		p.Type("#text", "")
	}
}

// That the connection is gone is read out, but not each second of the pause.
func TestPageDoesNotReadOutTheCountdown(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := come(b, s.URL, "Anna")
	p.Eval(`{
		window.read = [];
		const state = document.querySelector("#state");
		new MutationObserver(() => { if (state.ariaLive !== "off") read.push(state.value); }).observe(state, {childList: true});
	}`, nil)
	s.Signal(syscall.SIGKILL)
	p.Wait(`read.filter(text => text === "connecting").length === 3`)
	var read []string
	p.Eval(`read`, &read)
	for i, text := range read[1:] {
		if text != "connecting" && read[i] != "connecting" {
			t.Errorf("reads out %q after %q", text, read[i])
		}
	}
}

func TestPageFitsASmallPhone(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := come(b, s.URL, "Anna")
	p.Phone()
	p.Wait(`(e => e.querySelector("#applaud").getBoundingClientRect().right <= e.querySelector("#send").getBoundingClientRect().right + .5)(document)`)
}
