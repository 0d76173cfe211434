package main

// This file holds the rules of the game, for well-behaved players and for others.

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
)

func TestMain(m *testing.M) { os.Exit(servetest.Main(m)) }

// start starts a game and returns the URL of its socket.
func start(t *testing.T) string {
	g := newGame(websocket.Options{})
	return servetest.Start(t, serve.Handler(&g.server, page, "page"), &g.server)
}

// login adds a player to those who are there, and waits until all know.
func login(t *testing.T, url string, others ...*servetest.Client) *servetest.Client {
	t.Helper()
	p := servetest.Dial(t, url, nil)
	for _, c := range append(others, p) {
		c.Until("login")
	}
	return p
}

func show(c *servetest.Client, m move) { c.Send(fmt.Sprintf(`{"type":"move","move":%q}`, m)) }

func leave(t *testing.T, c *servetest.Client) {
	t.Helper()
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

// wantAll fails the test if not all get the message next.
func wantAll(why, want string, players ...*servetest.Client) {
	for _, p := range players {
		p.Want(why, want)
	}
}

func TestGame(t *testing.T) {
	t.Parallel()
	url := start(t)
	one := servetest.Dial(t, url, nil)
	one.Want("the first", `{"type":"welcome","id":1,"players":[{"id":1,"score":0,"open":false}]}`)
	one.Want("everybody hears of a login", `{"type":"login","id":1}`)
	two := servetest.Dial(t, url, nil)
	two.Want("the second", `{"type":"welcome","id":2,"players":[{"id":1,"score":0,"open":false},{"id":2,"score":0,"open":false}]}`)
	wantAll("everybody hears of a login", `{"type":"login","id":2}`, one, two)

	show(one, scissors)
	wantAll("a turn is known, the move is not", `{"type":"turn","id":1}`, one, two)
	three := servetest.Dial(t, url, nil)
	three.Want("an open move is known to newcomers", `{"type":"welcome","id":3,"players":[`+
		`{"id":1,"score":0,"open":true},{"id":2,"score":0,"open":false},{"id":3,"score":0,"open":false}]}`)
	wantAll("everybody hears of a login", `{"type":"login","id":3}`, one, two, three)
	show(two, rock)
	wantAll("the second move decides", `{"type":"score","winner":2,"players":[`+
		`{"id":1,"move":"schere","score":0},{"id":2,"move":"stein","score":1}]}`, one, two, three)

	show(three, paper)
	wantAll("a new round", `{"type":"turn","id":3}`, one, two, three)
	show(two, paper)
	wantAll("a draw", `{"type":"score","winner":0,"players":[`+
		`{"id":3,"move":"papier","score":0},{"id":2,"move":"papier","score":1}]}`, one, two, three)
	leave(t, two)
	wantAll("everybody hears of a logout", `{"type":"logout","id":2}`, one, three)
	four := servetest.Dial(t, url, nil)
	four.Want("a score goes with its connection", `{"type":"welcome","id":4,"players":[`+
		`{"id":1,"score":0,"open":false},{"id":3,"score":0,"open":false},{"id":4,"score":0,"open":false}]}`)
}

func TestEveryMoveBeatsOneOther(t *testing.T) {
	t.Parallel()
	url := start(t)
	one := login(t, url)
	two := login(t, url, one)
	for _, row := range []struct {
		first, second move
		winner        int
	}{
		{scissors, scissors, 0}, {scissors, rock, 2}, {scissors, paper, 1},
		{rock, scissors, 1}, {rock, rock, 0}, {rock, paper, 2},
		{paper, scissors, 2}, {paper, rock, 1}, {paper, paper, 0},
	} {
		show(one, row.first)
		two.Until("turn")
		show(two, row.second)
		if got := one.Until("score")["winner"]; got != float64(row.winner) {
			t.Errorf("%s against %s: winner %v, want %d", row.first, row.second, got, row.winner)
		}
	}
}

func TestNobodyPlaysAgainstThemselves(t *testing.T) {
	t.Parallel()
	url := start(t)
	one := login(t, url)
	show(one, rock)
	one.Until("turn")
	show(one, paper)
	if no := one.Next(); no["type"] != "error" || no["code"] != "not_your_turn" {
		t.Errorf("a second move: %v, want the error not_your_turn", no)
	}
	two := login(t, url, one)
	show(two, scissors)
	two.Want("the first move holds", `{"type":"score","winner":1,"players":[`+
		`{"id":1,"move":"stein","score":1},{"id":2,"move":"schere","score":0}]}`)
}

func TestTheOpenMoveGoesWithItsPlayer(t *testing.T) {
	t.Parallel()
	url := start(t)
	one := login(t, url)
	two := login(t, url, one)
	for _, end := range []func(*servetest.Client){
		func(c *servetest.Client) { leave(t, c) },
		func(c *servetest.Client) { _ = c.CloseNow() },
	} {
		show(one, rock)
		two.Until("turn")
		end(one)
		two.Until("logout")
		show(two, paper)
		if got := two.Next(); got["type"] != "turn" {
			t.Errorf("after the other has left: %v, want a turn", got)
		}
		one = login(t, url, two)
		show(one, paper)
		two.Until("score")
	}
}

func TestWhatIsNoMoveIsAnswered(t *testing.T) {
	t.Parallel()
	url := start(t)
	c := login(t, url)
	witness := login(t, url, c)
	for _, row := range []struct{ message, code string }{
		{`{"type":"move","move":"brunnen"}`, "unknown_move"},
		{`{"type":"move","move":""}`, "unknown_move"},
		{`{"type":"move"}`, "unknown_move"},
		{`{"type":"move","move":"Stein"}`, "unknown_move"},
		{`{"type":"move","move":1}`, "bad_json"},
		{`{"type":"score"}`, "unknown_type"},
		{`{}`, "unknown_type"},
		{`[]`, "bad_json"},
		{`null`, "bad_json"},
		{`{"type":"move","move":"stein"`, "bad_json"},
		{``, "bad_json"},
	} {
		c.Send(row.message)
		if no := c.Next(); no["type"] != "error" || no["code"] != row.code || no["message"] == "" {
			t.Errorf("%s: answered with %v, want the error %s", row.message, no, row.code)
		}
	}
	show(c, rock)
	witness.Want("others notice nothing", `{"type":"turn","id":1}`)
}

func TestWhatCannotBeAnsweredIsClosed(t *testing.T) {
	t.Parallel()
	url := start(t)
	witness := login(t, url)
	for _, row := range []struct {
		why  string
		do   func(c *servetest.Client)
		want websocket.StatusCode
	}{
		{"binary", func(c *servetest.Client) { _ = c.Write(t.Context(), websocket.Binary, []byte("stein")) }, websocket.StatusUnsupportedData},
		{"huge", func(c *servetest.Client) { _ = c.Write(t.Context(), websocket.Text, make([]byte, 20<<20)) }, websocket.StatusMessageTooBig},
		{"a flood", func(c *servetest.Client) {
			ctx := t.Context()
			go func() {
				for c.Write(ctx, websocket.Text, []byte(strings.Repeat(" ", 100))) == nil {
				}
			}()
		}, websocket.StatusPolicyViolation},
	} {
		c := login(t, url, witness)
		row.do(c)
		c.WantClose(row.why, row.want)
		if got := witness.Next(); got["type"] != "logout" {
			t.Errorf("%s: others see %v, want nothing but login and logout", row.why, got)
		}
	}
}

// Many players at once: all see the same rounds, in the same order, with two players in each.
func TestManyPlayAtOnce(t *testing.T) {
	t.Parallel()
	url := start(t)
	var players []*servetest.Client
	for range 20 {
		players = append(players, login(t, url, players...))
	}
	seen := make([]string, len(players))
	var group sync.WaitGroup
	for i, p := range players {
		group.Go(func() { seen[i] = play(t, p, float64(i+1)) })
	}
	group.Wait()
	for i, rounds := range seen {
		if rounds != seen[0] || rounds == "" {
			t.Errorf("player %d has seen the rounds\n%splayer 1\n%s", i+1, rounds, seen[0])
		}
	}
}

// play makes moves, each as soon as the last one is decided, until some rounds are over, and returns these. They are so
// few that somebody always may move: the rate stops each player only after more moves than its part of all.
func play(t *testing.T, p *servetest.Client, id float64) string {
	const rounds = 60
	var seen strings.Builder
	next := func(n int) {
		m := []move{rock, paper, scissors}[(int(id)+n)%3]
		_ = p.Write(t.Context(), websocket.Text, fmt.Appendf(nil, `{"type":"move","move":%q}`, m))
	}
	next(0)
	for n := range rounds {
		o := p.Until("score")
		players := o["players"].([]any)
		first, second := players[0].(map[string]any), players[1].(map[string]any)
		if first["id"] == second["id"] {
			t.Errorf("player %v played against themselves", first["id"])
		}
		if first["id"] == id || second["id"] == id {
			next(n)
		}
		fmt.Fprintln(&seen, first, second, o["winner"])
	}
	return seen.String()
}
