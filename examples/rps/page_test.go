package main

// This file holds what players see: a Chromium plays the page.

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

func waitText(p *devtools.Page, selector, text string) {
	p.Wait(fmt.Sprintf(`document.querySelector(%q).textContent === %q`, selector, text))
}

func TestThreeTabsPlay(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "rps", "-addr", "127.0.0.1:0")
	var p [4]*devtools.Page // by their IDs
	for id := 1; id <= 3; id++ {
		p[id] = b.Open(s.URL)
		waitText(p[id], "#me", fmt.Sprintf("Du bist Spieler %d", id))
	}
	p[1].Click("#schere")
	waitText(p[1], "#result", "Wer hält dagegen?")
	waitText(p[2], "#result", "Spieler 1 hat gezogen. Halte dagegen!")
	p[2].Click("#stein")
	waitText(p[1], "#result", "Verloren – Schere gegen Stein")
	waitText(p[2], "#result", "Gewonnen! Stein gegen Schere")
	waitText(p[3], "#log li", "Spieler 2 gewinnt gegen Spieler 1: Stein schlägt Schere")
	waitText(p[3], "#result", "Dein Zug!")

	p[3].Click("#papier")
	waitText(p[1], "#result", "Spieler 3 hat gezogen. Halte dagegen!")
	p[1].Click("#papier")
	waitText(p[3], "#result", "Unentschieden – Papier gegen Papier")
	waitText(p[2], "#log li", "Spieler 3 und Spieler 1: unentschieden mit Papier")

	p[3].Click("#stein")
	waitText(p[2], "#result", "Spieler 3 hat gezogen. Halte dagegen!")
	p[1].Screenshot("rps-open")
	p[2].Click("#papier")
	waitText(p[2], "#result", "Gewonnen! Papier gegen Stein")
	waitText(p[2], "#players li .score", "2")
	p[2].Screenshot("rps-desktop")
	p[3].Phone()
	p[3].Screenshot("rps-phone")

	waitText(p[3], "#result", "Verloren – Stein gegen Papier")
	p[3].Click("#schere")
	waitText(p[1], "#result", "Spieler 3 hat gezogen. Halte dagegen!")
	p[3].Close()
	waitText(p[1], "#result", "Dein Zug!")
	waitText(p[1], "#log li", "Spieler 3 ist gegangen")
	for _, p := range p[1:3] {
		if lines := p.Console(); !slices.Equal(lines, nil) {
			t.Errorf("the console is not empty: %q", lines)
		}
	}
}

// What others have done before the welcome is in it.
func TestPageTakesNoNewsBeforeItsWelcome(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	g := newGame(websocket.Options{})
	login := g.server.Open
	g.server.Open = func(c *websocket.Conn, r *http.Request) error {
		for _, v := range []any{event{"login", 77}, event{"turn", 78}} {
			if err := c.Send(serve.Prepare(v)); err != nil {
				t.Error(err)
			}
		}
		return login(c, r)
	}
	url := servetest.Start(t, serve.Handler(&g.server, page, "page"), &g.server)
	p := b.Open("http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), "ws"))
	waitText(p, "#log li", "Du bist da")
	p.Wait(`document.querySelectorAll("#log li").length === 1 && document.querySelectorAll("#players li").length === 1`)
}

// Others may end their round just before one's move arrives: it is in the next, and to be seen.
func TestPageShowsAMoveThatMissedTheRound(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	send := func(c *websocket.Conn, messages ...string) error {
		for _, m := range messages {
			if err := c.Write(c.Context(), websocket.Text, []byte(m)); err != nil {
				return err
			}
		}
		return nil
	}
	ws := &websocket.Server{
		Open: func(c *websocket.Conn, _ *http.Request) error {
			return send(c, `{"type":"welcome","id":3,"players":[{"id":1,"score":0,"open":true},{"id":2,"score":0,"open":false},{"id":3,"score":0,"open":false}]}`)
		},
		Message: func(c *websocket.Conn, _ websocket.Message) error {
			return send(c, `{"type":"score","winner":1,"players":[{"id":1,"move":"stein","score":1},{"id":2,"move":"schere","score":0}]}`,
				`{"type":"turn","id":3}`)
		},
	}
	url := servetest.Start(t, serve.Handler(ws, page, "page"), ws)
	p := b.Open("http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), "ws"))
	waitText(p, "#me", "Du bist Spieler 3")
	p.Click("#papier")
	waitText(p, "#result", "Wer hält dagegen?")
	waitText(p, "#mine", "✋")
}

// Whoever plays by keyboard is, after the round, where the last move was.
func TestPageKeepsTheFocus(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "rps", "-addr", "127.0.0.1:0")
	p := b.Open(s.URL)
	waitText(p, "#me", "Du bist Spieler 1")
	q := b.Open(s.URL)
	waitText(q, "#me", "Du bist Spieler 2")
	p.Eval(`document.querySelector("#stein").focus()`, nil)
	p.Press("Enter")
	waitText(p, "#result", "Wer hält dagegen?")
	p.Wait(`document.activeElement === document.body`)
	q.Eval(`document.querySelector("#schere").click()`, nil)
	waitText(p, "#result", "Gewonnen! Stein gegen Schere")
	p.Wait(`document.activeElement.id === "stein"`)
}

// A move that was refused is not shown as made; who waits alone is told what to do.
func TestPageTakesBackWhatWasRefused(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	ws := &websocket.Server{
		Open: func(c *websocket.Conn, _ *http.Request) error {
			return c.Write(c.Context(), websocket.Text, []byte(`{"type":"welcome","id":1,"players":[{"id":1,"score":0,"open":false}]}`))
		},
		Message: func(c *websocket.Conn, _ websocket.Message) error {
			return c.Write(c.Context(), websocket.Text, []byte(`{"type":"error","code":"too_fast","message":"Nicht so schnell"}`))
		},
	}
	url := servetest.Start(t, serve.Handler(ws, page, "page"), ws)
	p := b.Open("http" + strings.TrimSuffix(strings.TrimPrefix(url, "ws"), "ws"))
	waitText(p, "#me", "Du bist Spieler 1")
	p.Click("#papier")
	waitText(p, "#error", "Nicht so schnell")
	waitText(p, "#result", "Dein Zug!")
	waitText(p, "#mine", "❔")
}

func TestPageTellsWhoIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "rps", "-addr", "127.0.0.1:0")
	p, q := b.Open(s.URL), b.Open(s.URL)
	waitText(q, "#me", "Du bist Spieler 2")
	p.Click("#papier")
	waitText(p, "#result", "Wer hält dagegen?")
	q.Close()
	waitText(p, "#result", "Wer hält dagegen? Öffne die Seite noch einmal.")
}
