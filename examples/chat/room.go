package main

// This file holds the room: who is there, what was said, and what each message does.

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
)

const (
	maxHistory = 50   // messages that newcomers get
	maxRefused = 1000 // messages over the rate, after which the connection is closed
)

// A room is a chat room. What happens is a change under mu and a message to all in the outbox, whose order is that of the
// changes: all see the same, and a newcomer finds in its welcome all that it does not get after it as news.
type room struct {
	server websocket.Server
	rate   serve.Rate
	outbox serve.Outbox

	mu      sync.Mutex
	lastID  int               // guarded by mu
	people  map[string]*guest // who has joined, by the look of the name; guarded by mu
	history []chat            // the last maxHistory, the oldest first; guarded by mu
	claps   int               // guarded by mu
}

// A guest is who is behind a connection.
type guest struct {
	person              // without a name, it has not joined; the name is guarded by room.mu
	bucket serve.Bucket // of the connection's messages, which are handled one after the other
}

func newRoom(opts websocket.Options, rate serve.Rate) *room {
	opts.ReadLimit = maxMessage
	opts.Compression = &websocket.Compression{} // for the welcome; what is short goes as it is
	r := &room{rate: rate, people: make(map[string]*guest)}
	r.server = websocket.Server{Options: opts, Open: r.open, Message: r.message, Closed: r.closed}
	return r
}

// open welcomes a connection, which is told all that happens from here on.
func (r *room) open(c *websocket.Conn, _ *http.Request) error {
	r.mu.Lock()
	r.lastID++
	g := &guest{person: person{ID: r.lastID}}
	c.SetValue(g)
	people := make([]person, 0, len(r.people))
	for _, other := range r.people {
		people = append(people, other.person)
	}
	slices.SortFunc(people, func(a, b person) int { return a.ID - b.ID })
	r.outbox.Put(c, welcome{
		Type: "welcome", ID: g.ID, Present: len(people), People: people, Applause: r.claps,
		History: append([]chat{}, r.history...), Limits: limits{maxName, maxText, maxStrength},
	})
	r.mu.Unlock()
	r.outbox.Flush(&r.server)
	return nil
}

// closed says goodbye for whoever had joined.
func (r *room) closed(c *websocket.Conn, _ error) {
	g := c.Value().(*guest)
	r.mu.Lock()
	if g.Name != "" {
		delete(r.people, look(g.Name))
		r.outbox.Put(nil, presence{"leave", g.person, len(r.people)})
	}
	r.mu.Unlock()
	r.outbox.Flush(&r.server)
}

// message handles a client's message. What can't be taken is answered with the reason, and the connection stays; only a
// client that must be mistaken about what this is, or does not listen, is closed.
func (r *room) message(c *websocket.Conn, msg websocket.Message) error {
	g := c.Value().(*guest)
	if msg.Type != websocket.Text {
		return &websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: "messages are JSON, in text"}
	}
	req, no := parse(msg.Data)
	switch ok, refused := g.bucket.Take(r.rate, time.Now()); {
	case refused > maxRefused:
		return &websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: "too many messages"}
	case !ok:
		no = refuse("too_fast", "Slow down, please: %g messages a second.", r.rate.PerSecond)
	case no == nil:
		no = r.do(g, req)
	}
	if no != nil {
		no.About = req.Type
		return answer(c, no)
	}
	r.outbox.Flush(&r.server)
	return nil
}

// answer sends a refusal to whom it concerns. One who takes no answers is closed.
func answer(c *websocket.Conn, no *refusal) error {
	if c.Send(serve.Prepare(no)) == websocket.ErrQueueFull {
		return &websocket.CloseError{Code: websocket.StatusTryAgainLater, Reason: "answers are not read"}
	}
	return nil
}

// do does what g asks for, or refuses it and changes nothing.
func (r *room) do(g *guest, req request) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case req.Type == "join":
		return r.join(g, req.Name)
	case req.Type != "chat" && req.Type != "applause" && req.Type != "typing":
		return refuse("unknown_type", "There is no type %.40q: join, chat, applause, typing.", req.Type)
	case g.Name == "":
		return refuse("not_joined", "Please join first.")
	case req.Type == "chat":
		return r.chat(g.person, req.Text)
	case req.Type == "applause":
		return r.applaud(g.person, req.Strength)
	}
	r.outbox.Put(nil, typing{"typing", g.person})
	return nil
}

// join lets g in, under a name that looks like nobody else's. Called with mu held.
func (r *room) join(g *guest, name string) *refusal {
	if g.Name != "" {
		return refuse("joined", "You have joined already.")
	}
	name, no := cleanName(name)
	if no != nil {
		return no
	}
	g.Name = name
	for n := 2; r.people[look(g.Name)] != nil; n++ {
		g.Name = fmt.Sprintf("%s %d", name, n)
	}
	r.people[look(g.Name)] = g
	r.outbox.Put(nil, presence{"join", g.person, len(r.people)})
	return nil
}

// chat passes on what someone has written. Called with mu held.
func (r *room) chat(me person, text string) *refusal {
	text, no := cleanText(text)
	if no != nil {
		return no
	}
	said := chat{"chat", me, text, time.Now().UnixMilli()}
	if len(r.history) == maxHistory {
		r.history = r.history[1:]
	}
	r.history = append(r.history, said)
	r.outbox.Put(nil, said)
	return nil
}

// applaud passes on that someone claps. Called with mu held.
func (r *room) applaud(me person, strength int) *refusal {
	if strength < 1 || strength > maxStrength {
		return refuse("bad_strength", "The strength of an applause is from 1 to %d.", maxStrength)
	}
	r.claps += strength
	r.outbox.Put(nil, applause{"applause", me, strength, r.claps})
	return nil
}
