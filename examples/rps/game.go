package main

// This file holds the game: who plays, and what a move does.

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

const (
	maxMessage = 1 << 10 // octets
	maxRefused = 1000    // messages over the rate, after which the connection is closed
)

// rate is how often each player may move.
var rate = serve.Rate{PerSecond: 5, Burst: 20}

// A game pairs players in the order of their moves. What happens is a change under mu and a message to all in the outbox,
// whose order is that of the changes.
type game struct {
	server websocket.Server
	outbox serve.Outbox

	mu      sync.Mutex
	lastID  int       // guarded by mu
	players []*player // in the order of their IDs; guarded by mu
	open    *player   // the one whose move waits for another's; nil: none; guarded by mu
}

// A player is who is behind a connection, for as long as that lasts.
type player struct {
	id     int
	score  int          // rounds won; guarded by game.mu
	move   move         // the one that waits for another's; "": none; guarded by game.mu
	bucket serve.Bucket // of the connection's messages, which are handled one after the other
}

func newGame(opts websocket.Options) *game {
	g := new(game)
	opts.ReadLimit = maxMessage
	g.server = websocket.Server{Options: opts, Open: g.login, Message: g.message, Closed: g.logout}
	return g
}

func (g *game) login(c *websocket.Conn, _ *http.Request) error {
	g.mu.Lock()
	g.lastID++
	p := &player{id: g.lastID}
	c.SetValue(p)
	g.players = append(g.players, p)
	standings := make([]standing, 0, len(g.players))
	for _, p := range g.players {
		standings = append(standings, standing{p.id, p.score, p.move != ""})
	}
	g.outbox.Put(c, welcome{"welcome", p.id, standings})
	g.outbox.Put(nil, event{"login", p.id})
	g.mu.Unlock()
	g.outbox.Flush(&g.server)
	return nil
}

// logout forgets a player, and the move that nobody has answered.
func (g *game) logout(c *websocket.Conn, _ error) {
	p := c.Value().(*player)
	g.mu.Lock()
	if g.open == p {
		g.open = nil
	}
	g.players = slices.DeleteFunc(g.players, func(q *player) bool { return q == p })
	g.outbox.Put(nil, event{"logout", p.id})
	g.mu.Unlock()
	g.outbox.Flush(&g.server)
}

// message handles a client's message. What can't be taken is answered with the reason, and the connection stays; only a
// client that must be mistaken about what this is, or does not listen, is closed.
func (g *game) message(c *websocket.Conn, msg websocket.Message) error {
	p := c.Value().(*player)
	if msg.Type != websocket.Text {
		return &websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: "nur JSON, als Text"}
	}
	ok, refused := p.bucket.Take(rate, time.Now())
	switch {
	case refused > maxRefused:
		return &websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: "zu viele Nachrichten"}
	case !ok:
		return answer(c, refuse("too_fast", "Nicht so schnell: höchstens %g Züge in der Sekunde.", rate.PerSecond))
	}
	m, no := parse(msg.Data)
	if no == nil {
		no = g.turn(p, m)
	}
	if no != nil {
		return answer(c, no)
	}
	g.outbox.Flush(&g.server)
	return nil
}

// answer sends a refusal to whom it concerns. One who takes no answers is closed.
func answer(c *websocket.Conn, no *refusal) error {
	if c.Send(serve.Prepare(no)) == websocket.ErrQueueFull {
		return &websocket.CloseError{Code: websocket.StatusTryAgainLater, Reason: "Antworten werden nicht gelesen"}
	}
	return nil
}

// turn makes p's move: the answer to the open one, or one that others may answer.
func (g *game) turn(p *player, m move) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.open
	switch {
	case first == p:
		return refuse("not_your_turn", "Dein Zug steht schon: Jetzt ist jemand anderes dran.")
	case first == nil:
		p.move, g.open = m, p
		g.outbox.Put(nil, event{"turn", p.id})
		return nil
	}
	result := score{Type: "score"}
	switch {
	case beaten[first.move] == m:
		first.score++
		result.Winner = first.id
	case beaten[m] == first.move:
		p.score++
		result.Winner = p.id
	}
	result.Players = [2]shown{{first.id, first.move, first.score}, {p.id, m, p.score}}
	first.move, g.open = "", nil
	g.outbox.Put(nil, result)
	return nil
}
