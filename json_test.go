package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

type move struct {
	Player string `json:"player"`
	Score  int    `json:"score,omitempty"`
}

func TestReadJSON(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		for _, row := range []struct {
			why    string
			frames []frame
			want   string // the value, or what is in the error
		}{
			{"a Text message", []frame{text(`{"player":"Ada","score":3}`)}, "{Ada 3}"},
			{"a Binary message", []frame{binaryOf(`{"player":"Bob"}`)}, "{Bob 0}"},
			{"blanks around the value", []frame{text(" \n{\"player\":\"Eve\"}\n ")}, "{Eve 0}"},
			{"a fragmented message", []frame{text(`{"player":"Zo`).more(), ping("1"), cont(`ë"}`)}, "{Zoë 0}"},
			{"null leaves the value as it is", []frame{text("null")}, "{ 0}"},
			{"no JSON", []frame{text("hello")}, "websocket: read JSON: invalid character 'h'"},
			{"an empty message", []frame{text("")}, "websocket: read JSON: unexpected end of JSON input"},
			{"a value that breaks off", []frame{text(`{"player":`)}, "websocket: read JSON: unexpected end of JSON input"},
			{"a second value", []frame{text(`{"player":"Ada"} {}`)}, "websocket: read JSON: invalid character '{' after top-level value"},
			{"something behind the value", []frame{text(`{"player":"Ada"};`)}, "websocket: read JSON: invalid character ';' after top-level value"},
			{"another type", []frame{text(`{"score":"high"}`)}, "cannot unmarshal string into Go struct field move.score"},
			{"the connection goes on after all that", []frame{text(`{"score":9}`)}, "{ 9}"},
		} {
			p.sends(row.frames...)
			var got move
			err := c.ReadJSON(t.Context(), &got)
			if text := fmt.Sprint(got); text != row.want && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("%s: got %s and %v, want %s", row.why, text, err, row.want)
			}
			if len(row.frames) > 1 {
				p.want("the Pong", pong("1"))
			}
		}
		p.wantIdle("nothing was closed")
	})
}

// A pointer that can't be stored to is found out before a message is read.
func TestReadJSONIntoNothingCostsNoMessage(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text(`{"score":1}`))
		for _, v := range []any{nil, move{}, (*move)(nil), 7} {
			var invalid *json.InvalidUnmarshalError
			if err := c.ReadJSON(t.Context(), v); !errors.As(err, &invalid) {
				t.Errorf("into %#v: got %v, want a *json.InvalidUnmarshalError", v, err)
			}
		}
		var got map[string]any
		if err := c.ReadJSON(t.Context(), &got); err != nil || got["score"] != 1.0 {
			t.Errorf("got %v and %v, want the message", got, err)
		}
	})
}

func TestReadJSONErrorsOfTheConnection(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		var v any
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.sends(text(`{"scor`).more())
		if err := c.ReadJSON(ctx, &v); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the context ended inside a message: got %v, want its error", err)
		}
		p.sends(cont(`e":1}`))
		if err := c.ReadJSON(t.Context(), &v); err != nil {
			t.Errorf("the message goes on after that: got %v", err)
		}
		p.sends(closeFrame(4000, "bye"))
		if err := c.ReadJSON(t.Context(), &v); CloseStatus(err) != 4000 {
			t.Errorf("the peer has closed: got %v, want 4000", err)
		}
	})
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		p.sends(text(`{"score":1`).more())
		p.hangsUp()
		var v any
		if err := c.ReadJSON(t.Context(), &v); !errors.Is(err, io.ErrUnexpectedEOF) || v != nil {
			t.Errorf("the stream ended inside a message: got %v and %v", v, err)
		}
	})
}

// brokenText encodes itself as JSON that is not UTF-8.
type brokenText struct{}

func (brokenText) MarshalJSON() ([]byte, error) { return []byte("\"\xff\""), nil }

func TestWriteJSON(t *testing.T) {
	bothSides(t, func(t *testing.T, c *Conn, p *peer) {
		big := strings.Repeat("é", 2*maxPooledJSON)
		for _, row := range []struct {
			v    any
			want string // the message, or what is in the error
		}{
			{move{"Ada", 3}, `{"player":"Ada","score":3}`},
			{&move{Player: "<Bob> & \u2028"}, `{"player":"\u003cBob\u003e \u0026 \u2028"}`},
			{nil, "null"},
			{[]int{}, "[]"},
			{"caf\xc3", `"caf\ufffd"`},
			{big, `"` + big + `"`},
			{"after a big one", `"after a big one"`},
			{json.RawMessage(" [1,\n 2] "), "[1,2]"},
		} {
			if err := c.WriteJSON(t.Context(), row.v); err != nil {
				t.Errorf("%.40v: %v", row.v, err)
				continue
			}
			p.want("the value as json.Marshal encodes it", text(row.want))
		}
		for _, row := range []struct {
			v    any
			want string
		}{
			{func() {}, "websocket: write JSON: json: unsupported type: func()"},
			{map[string]any{"a": 1, "b": make(chan int)}, "websocket: write JSON: json: unsupported type: chan int"},
			{json.RawMessage("{"), "websocket: write JSON: json: error calling MarshalJSON"},
			{brokenText{}, "not UTF-8"},
		} {
			if err := c.WriteJSON(t.Context(), row.v); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%T: got %v, want an error with %s", row.v, err, row.want)
			}
		}
		p.wantIdle("what can't be encoded is not sent")
		if err := c.WriteJSON(t.Context(), 1); err != nil {
			t.Errorf("after all that: %v", err)
		}
		p.want("a value after those that can't be encoded", text("1"))
	})
}

// What WriteJSON needs again and again it keeps, but not what is huge.
func TestWriteJSONBuffers(t *testing.T) {
	b := jsonBuffers.New().(*jsonBuffer)
	if err := b.encoder.Encode("some text"); err != nil || string(b.octets) != "\"some text\"\n" {
		t.Errorf("got %q and %v", b.octets, err)
	}
	if b.free(); len(b.octets) != 0 || cap(b.octets) == 0 {
		t.Errorf("a small buffer has %d octets of %d, want it empty and kept", len(b.octets), cap(b.octets))
	}
	b = jsonBuffers.New().(*jsonBuffer) // the other one is the pool's now
	if err := b.encoder.Encode(strings.Repeat("x", maxPooledJSON)); err != nil {
		t.Fatal(err)
	}
	if b.free(); len(b.octets) <= maxPooledJSON {
		t.Errorf("a buffer of %d octets was kept", cap(b.octets))
	}
}
