package serve

// This file holds sending in order.

import (
	"encoding/json"
	"sync"

	"github.com/seed26cb4e35/websocket"
)

// maxWaiting is how many messages may wait in an Outbox before those who put in more have to wait too.
const maxWaiting = 1000

// An Outbox sends what happens to all connections in the order in which it happened, and to single ones at their place in
// that order. It needs no goroutine and holds no lock while it sends: whoever finds it not sending sends what there is, also
// what others put in meanwhile. Broadcast and Send never wait, so this goes on as fast as the machine can; only where it
// can't keep up with what is put in do those who put it in wait for it.
//
// The zero value is ready.
type Outbox struct {
	mu      sync.Mutex
	waiting []parcel      // guarded by mu
	sending bool          // somebody is; guarded by mu
	taken   chan struct{} // closed when what waits now is taken; nil: nobody wants to know; guarded by mu
}

// A parcel is a message on its way.
type parcel struct {
	to *websocket.Conn // nil: all
	v  any
}

// Put puts v, which is sent as JSON and must not change any more, behind what is there. It goes to the connection to, or to
// all where that is nil. Put it in while holding the lock of whatever v tells of, so that the orders agree, and call Flush
// without that lock.
func (o *Outbox) Put(to *websocket.Conn, v any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, parcel{to, v})
}

// Flush sees to it that what was put in is sent, by itself or by somebody who sends already. Who does not keep up is
// dropped.
func (o *Outbox) Flush(ws *websocket.Server) {
	for parcels := o.begin(); len(parcels) > 0; parcels = o.next() {
		for _, p := range parcels {
			p.send(ws)
		}
	}
}

// begin takes what waits. Where another is sending it returns nothing, but not before there is room.
func (o *Outbox) begin() []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.sending {
		return o.take()
	}
	if len(o.waiting) > maxWaiting {
		o.awaitRoom()
	}
	return nil
}

// next takes what has been put in since begin, for the one who sends.
func (o *Outbox) next() []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.take()
}

// take takes what waits; whoever gets something is the one who sends. Called with mu held.
func (o *Outbox) take() []parcel {
	parcels := o.waiting
	o.waiting, o.sending = nil, len(parcels) > 0
	if o.taken != nil {
		close(o.taken)
		o.taken = nil
	}
	return parcels
}

// awaitRoom waits until what waits now is taken. Called with mu held, which it gives up meanwhile.
func (o *Outbox) awaitRoom() {
	if o.taken == nil {
		o.taken = make(chan struct{})
	}
	taken := o.taken
	o.mu.Unlock()
	<-taken
	o.mu.Lock()
}

func (p parcel) send(ws *websocket.Server) {
	message := Prepare(p.v)
	if p.to == nil {
		ws.Broadcast(message)
		return
	}
	if p.to.Send(message) == websocket.ErrQueueFull {
		_ = p.to.CloseNow() // with a message missing it is of no use
	}
}

// Prepare makes a text message of v's JSON. A v that has none is a mistake of the caller's.
func Prepare(v any) *websocket.Prepared {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	message, err := websocket.Prepare(websocket.Text, data)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return message
}
