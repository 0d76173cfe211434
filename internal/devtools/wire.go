package devtools

// This file holds the protocol: commands, their answers, and events, as JSON messages over one WebSocket.

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/seed26cb4e35/websocket"
)

// params are the parameters of a command.
type params map[string]any

// A command is a message to the browser.
type command struct {
	ID      int64  `json:"id"`
	Session string `json:"sessionId,omitempty"` // the tab; empty for the browser itself
	Method  string `json:"method"`
	Params  any    `json:"params,omitempty"`
}

// An answer is a message from the browser: to a command if it has an ID, else an event.
type answer struct {
	ID      int64           `json:"id"`
	Session string          `json:"sessionId"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// A wire carries commands and answers. Its methods are safe for concurrent use.
type wire struct {
	conn *websocket.Conn
	done chan struct{} // closed once nothing is read any more

	mu       sync.Mutex
	last     int64                          // ID of the last command
	waiting  map[int64]chan answer          // who waits for which answer; each channel has room for it
	handlers map[string]func(event *answer) // by session; called one at a time, and must not call
	err      error                          // why nothing is read any more; nil until then
}

// newWire reads from conn until stop.
func newWire(conn *websocket.Conn) *wire {
	w := &wire{
		conn:     conn,
		done:     make(chan struct{}),
		waiting:  make(map[int64]chan answer),
		handlers: make(map[string]func(*answer)),
	}
	go w.read()
	return w
}

// stop ends the connection; no handler runs once it has returned.
func (w *wire) stop() {
	_ = w.conn.CloseNow()
	<-w.done
}

// handle has f called for each event of a session.
func (w *wire) handle(session string, f func(event *answer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers[session] = f
}

// call sends a command, waits for its answer, and decodes it into result if that is not nil.
func (w *wire) call(ctx context.Context, session, method string, params, result any) error {
	arrived := make(chan answer, 1)
	w.mu.Lock()
	w.last++
	id := w.last
	w.waiting[id] = arrived
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, id)
	}()

	message, err := json.Marshal(command{id, session, method, params})
	if err != nil {
		return err
	}
	if err := w.conn.Write(ctx, websocket.Text, message); err != nil {
		return err
	}
	select {
	case a := <-arrived:
		return a.decode(result)
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// decode stores the result of a command, or returns the browser's error.
func (a *answer) decode(result any) error {
	if a.Error != nil {
		return fmt.Errorf("%s %s", a.Error.Message, a.Error.Data)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}

// read hands answers and events to those who wait for them, until the connection ends.
func (w *wire) read() {
	defer close(w.done)
	for msg, err := range w.conn.Messages(context.Background()) {
		a := new(answer)
		if err == nil {
			err = json.Unmarshal(msg.Data, a)
		}
		if err != nil {
			w.err = fmt.Errorf("the browser is gone: %w", err)
			return
		}
		w.dispatch(a)
	}
}

// dispatch hands one answer or event on.
func (w *wire) dispatch(a *answer) {
	w.mu.Lock()
	arrived, handler := w.waiting[a.ID], w.handlers[a.Session]
	w.mu.Unlock()
	switch {
	case a.ID != 0 && arrived != nil:
		arrived <- *a
	case a.ID == 0 && handler != nil:
		handler(a)
	}
}
