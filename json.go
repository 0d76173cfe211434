package websocket

// Messages that hold one JSON value each.

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// ReadJSON reads the next message whole, as Read does, and stores the JSON value
// that it holds in what v points to, as json.Unmarshal does. The message may be
// of either type, and has exactly one value: anything behind it is an error.
//
// A message that is not such JSON is an error of encoding/json's (errors.As finds
// a *json.SyntaxError or *json.UnmarshalTypeError) or of a type in v that decodes
// itself, as a *time.ParseError; it is read, and the connection goes on. So it does
// where v is no pointer, before anything is read. All other errors are Read's; a
// program whose own types have errors that could be those calls Read and json.Unmarshal.
// Returned from Server.Handle it would be the server's fault, 1011, and logged: what
// blames the peer is a *CloseError, as with StatusInvalidFramePayloadData.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	// Found out after reading, the caller's mistake would cost a message.
	if p := reflect.ValueOf(v); p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("websocket: read JSON: %w", &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)})
	}
	_, data, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("websocket: read JSON: %w", err)
	}
	return nil
}

// WriteJSON sends v, encoded as json.Marshal does, as one Text message. If v can't
// be encoded, nothing is sent. Errors of the connection are Write's.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	b := jsonBuffers.Get().(*jsonBuffer)
	defer b.free()
	if err := b.encoder.Encode(v); err != nil {
		return fmt.Errorf("websocket: write JSON: %w", err)
	}
	return c.Write(ctx, Text, b.octets[:len(b.octets)-1]) // Encode ends it with a line feed
}

// maxPooledJSON is how many octets a buffer may have that is kept for others.
const maxPooledJSON = 256 << 10

// jsonBuffer is what an encoder of its own writes to.
type jsonBuffer struct {
	octets  []byte
	encoder *json.Encoder
}

var jsonBuffers = sync.Pool{New: func() any {
	b := new(jsonBuffer)
	b.encoder = json.NewEncoder(b)
	return b
}}

// Write is for the encoder, and never fails: the encoder would keep the error.
func (b *jsonBuffer) Write(p []byte) (int, error) {
	b.octets = append(b.octets, p...)
	return len(p), nil
}

func (b *jsonBuffer) free() {
	if cap(b.octets) <= maxPooledJSON {
		b.octets = b.octets[:0]
		jsonBuffers.Put(b)
	}
}
