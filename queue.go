package websocket

// Messages that were framed once for many connections, and the queue in which
// they wait for one of them.

import (
	"errors"
	"sync"
)

// ErrQueueFull says that more than Options.SendLimit octets would wait to be sent.
// Where Send returns it itself (err == ErrQueueFull), the connection is as it was, and
// what was queued before is still sent. Where errors.Is finds it in another error, the
// connection is over: Server.Broadcast has dropped it.
var ErrQueueFull = errors.New("websocket: send queue is full")

var (
	errMessageType = errors.New("websocket: message type is neither Text nor Binary")
	errNilPrepared = errors.New("websocket: nil Prepared: Prepare has returned an error")
	errNotUTF8     = errors.New("websocket: text to be sent is not UTF-8: send it as Binary (RFC 6455 section 5.6)")
)

// Prepared is a message that can be sent to any number of connections: it is
// framed once, and compressed at most once for each set of parameters. Only where
// ContextTakeover was agreed for the sending direction it is compressed for each
// connection, whose window is its own; and a client frames it anew, with a mask. It
// never changes, so it may be used from any goroutine.
type Prepared struct {
	typ     MessageType
	plain   []byte // the whole frame of a server, not compressed
	payload []byte // the end of plain

	mu       sync.Mutex
	deflated map[deflateForm][]byte // whole frames; nil where compressing gained nothing; guarded by mu
}

// Prepare makes a Prepared of a message; data is copied. Text that is not UTF-8 is
// an error.
func Prepare(typ MessageType, data []byte) (*Prepared, error) {
	if err := checkMessage(typ, data); err != nil {
		return nil, err
	}
	b := make([]byte, 0, maxHeader+len(data))
	b = AppendHeader(b, Header{Fin: true, Opcode: Opcode(typ), Length: int64(len(data))})
	b = append(b, data...)
	return &Prepared{typ: typ, plain: b, payload: b[len(b)-len(data):]}, nil
}

// checkMessage says why something can't be sent as a message.
func checkMessage(typ MessageType, data []byte) error {
	switch {
	case !typ.isValid():
		return errMessageType
	case typ == Text && !isText(data):
		return errNotUTF8
	}
	return nil
}

// frame returns the whole frame that a server sends where params were agreed; nil
// params mean no compression. It stands alone, so it must not be used where the
// peer's window goes on from message to message.
func (p *Prepared) frame(params *deflateParams) []byte {
	if !params.compresses(p.payload) {
		return p.plain
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	form := params.form()
	frame, ok := p.deflated[form]
	if !ok {
		frame = p.deflate(params)
		if p.deflated == nil {
			p.deflated = make(map[deflateForm][]byte)
		}
		p.deflated[form] = frame
	}
	if frame == nil {
		return p.plain
	}
	return frame
}

// deflate compresses the frame, or returns nil where that gains nothing.
func (p *Prepared) deflate(params *deflateParams) []byte {
	b, ok := newDeflater(params).message(nil, p.payload)
	if !ok {
		return nil
	}
	h := Header{Fin: true, Rsv1: true, Opcode: Opcode(p.typ), Length: int64(len(b))}
	return append(AppendHeader(make([]byte, 0, maxHeader+len(b)), h), b...)
}

// queue is a bounded first-in-first-out of messages. The zero value is empty.
type queue struct {
	messages []*Prepared
	octets   int64 // of messages, and of those that were taken and are not done
}

// put appends p unless more than limit octets would wait.
func (q *queue) put(p *Prepared, limit int64) bool {
	if int64(len(p.plain)) > limit-q.octets {
		return false
	}
	if q.messages == nil {
		q.messages = make([]*Prepared, 0, 8) // where one waits, more often follow; growing from one costs several times that
	}
	q.messages = append(q.messages, p)
	q.octets += int64(len(p.plain))
	return true
}

// take takes all that waits. Its octets count until they are done.
func (q *queue) take() []*Prepared {
	messages := q.messages
	q.messages = nil
	return messages
}

// done says that messages that were taken wait no longer.
func (q *queue) done(messages []*Prepared) {
	for _, p := range messages {
		q.octets -= int64(len(p.plain))
	}
}

// drop forgets what waits.
func (q *queue) drop() { q.done(q.take()) }
