package main

// This file holds what the protocol promises, to well-behaved clients and to others.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed26cb4e35/websocket"
	"github.com/seed26cb4e35/websocket/examples/internal/serve"
	"github.com/seed26cb4e35/websocket/examples/internal/servetest"
)

func TestMain(m *testing.M) { os.Exit(servetest.Main(m)) }

// start starts a chat and returns the URL of its socket.
func start(t *testing.T, rate serve.Rate) string {
	r := newRoom(websocket.Options{}, rate)
	return servetest.Start(t, serve.Handler(&r.server, page, "page"), &r.server)
}

var (
	usual  = serve.Rate{PerSecond: 5, Burst: 20}
	rushed = serve.Rate{PerSecond: 1e6, Burst: 1e6}
)

// enter joins and waits until that is known.
func enter(t *testing.T, url, name string) *servetest.Client {
	t.Helper()
	c := servetest.Dial(t, url, nil)
	c.Until("welcome")
	c.Send(fmt.Sprintf(`{"type":"join","name":%q}`, name))
	for c.Until("join")["name"] != name {
	}
	return c
}

func TestConversation(t *testing.T) {
	t.Parallel()
	url := start(t, usual)
	const limits = `"limits":{"name":30,"text":2000,"strength":10}`
	anna := servetest.Dial(t, url, nil)
	anna.Want("the first", `{"type":"welcome","id":1,"present":0,"people":[],"applause":0,"history":[],`+limits+`}`)
	anna.Send(`{"type":"join","name":"  Anna\tB.\u202e\u0007 "}`)
	anna.Want("a name without what can't be seen", `{"type":"join","id":1,"name":"Anna B.","present":1}`)
	anna.Send(`{"type":"chat","text":" <b>Hallo</b> & 👩‍🚀 \n"}`)
	const hello = `{"type":"chat","id":1,"name":"Anna B.","text":"<b>Hallo</b> & 👩‍🚀"}`
	anna.Want("what one writes oneself comes too", hello)
	anna.Send(`{"type":"applause","strength":7}`)
	anna.Want("an applause", `{"type":"applause","id":1,"name":"Anna B.","strength":7,"total":7}`)

	bob := servetest.Dial(t, url, nil)
	welcome := bob.Next()
	history := welcome["history"].([]any)
	if said := history[0].(map[string]any); len(history) != 1 || said["text"] != "<b>Hallo</b> & 👩‍🚀" || said["time"].(float64) < 1e12 {
		t.Errorf("history %v, want what Anna has written", history)
	}
	if welcome["applause"] != 7.0 || welcome["present"] != 1.0 || len(welcome["people"].([]any)) != 1 {
		t.Errorf("welcome %v, want Anna and her applause in it", welcome)
	}
	bob.Send(`{"type":"join","name":"Anna B."}`)
	const twin = `{"type":"join","id":2,"name":"Anna B. 2","present":2}`
	bob.Want("a name that is taken", twin)
	anna.Want("who comes", twin)
	bob.Send(`{"type":"typing"}`)
	bob.Want("typing, also one's own", `{"type":"typing","id":2,"name":"Anna B. 2"}`)
	anna.Want("who is typing", `{"type":"typing","id":2,"name":"Anna B. 2"}`)
	bob.Send(`{"type":"applause","strength":10}`)
	anna.Want("the applause is counted", `{"type":"applause","id":2,"name":"Anna B. 2","strength":10,"total":17}`)
	if err := bob.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	anna.Want("who goes", `{"type":"leave","id":2,"name":"Anna B. 2","present":1}`)
}

// A name can be seen, and told from others; scripts and emoji keep what holds them together or apart.
func TestNamesAreSeenAndDiffer(t *testing.T) {
	t.Parallel()
	url := start(t, rushed)
	join := func(name string) servetest.Object {
		c := servetest.Dial(t, url, nil)
		c.Until("welcome")
		data, _ := json.Marshal(request{Type: "join", Name: name})
		c.Send(string(data))
		return c.Next()
	}
	for _, name := range []string{"\u200d", "\u200c \ufe0f", "\U000e0101", "\u3164", "\u2800", "\u115f\u1160", "\u034f"} {
		if no := join(name); no["code"] != "no_name" {
			t.Errorf("the name %+q, which nobody sees: %v", name, no)
		}
	}
	for _, row := range []struct{ name, want string }{
		{"Anna", "Anna"}, {"An\u3164na", "Anna 2"}, {"Anna\u200d", "Anna\u200d 3"}, {"An\ufe0fna", "An\ufe0fna 4"}, {"\u200c Anna", "\u200c Anna 5"},
		{"José", "José"}, {"فاطمة", "فاطمة"}, {"می\u200cخواهم", "می\u200cخواهم"}, {"ක්\u200dරි", "ක්\u200dරි"},
		{"❤\ufe0f", "❤\ufe0f"}, {"👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"}, {"O’Neil, 3rd", "O’Neil, 3rd"},
	} {
		if got := join(row.name); got["type"] != "join" || got["name"] != row.want {
			t.Errorf("%+q has joined as %v, want %+q", row.name, got, row.want)
		}
	}
}

func TestNewcomersGetTheLast50Messages(t *testing.T) {
	t.Parallel()
	url := start(t, rushed)
	anna := enter(t, url, "Anna")
	for i := range 60 {
		anna.Send(fmt.Sprintf(`{"type":"chat","text":"%d"}`, i))
		anna.Send(`{"type":"applause","strength":1}`)
	}
	for anna.Until("chat")["text"] != "59" {
	}
	history := servetest.Dial(t, url, nil).Until("welcome")["history"].([]any)
	if len(history) != 50 {
		t.Fatalf("%d messages, want 50", len(history))
	}
	for i, said := range history {
		if got, want := said.(map[string]any)["text"], fmt.Sprint(10+i); got != want {
			t.Errorf("message %d of the history is %v, want %s", i, got, want)
		}
	}
}

// Whoever comes while others write gets each message exactly once, and in order: in the welcome, or as news after it. What comes
// before the welcome is in it.
func TestNewcomersMissNothingAndGetNothingTwice(t *testing.T) {
	t.Parallel()
	url := start(t, rushed)
	anna := enter(t, url, "Anna")
	const messages = 300
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range messages {
			_ = anna.Write(context.Background(), websocket.Text, fmt.Appendf(nil, `{"type":"chat","text":"%d"}`, i))
		}
	}()
	for range 20 {
		var texts []any
		c := servetest.Dial(t, url, nil)
		for _, said := range c.Until("welcome")["history"].([]any) {
			texts = append(texts, said.(map[string]any)["text"])
		}
		for len(texts) < 60 && (len(texts) == 0 || texts[len(texts)-1] != fmt.Sprint(messages-1)) {
			texts = append(texts, c.Until("chat")["text"])
		}
		_ = c.CloseNow()
		for i, text := range texts[1:] {
			var before, now int
			_, _ = fmt.Sscan(texts[i].(string), &before)
			if _, _ = fmt.Sscan(text.(string), &now); now != before+1 {
				t.Fatalf("message %d came after message %d", now, before)
			}
		}
	}
	<-sent
}

func TestWhatCannotBeTakenIsAnswered(t *testing.T) {
	t.Parallel()
	url := start(t, rushed)
	witness := enter(t, url, "Witness")
	for _, row := range []struct{ why, message, code, about string }{
		{"no JSON", `{"type":`, "bad_json", ""},
		{"nothing", ``, "bad_json", ""},
		{"two objects", `{"type":"chat","text":"a"}{"type":"chat","text":"b"}`, "bad_json", ""},
		{"null", `null`, "bad_json", ""},
		{"a list", `[1]`, "bad_json", ""},
		{"very deep JSON", strings.Repeat("[", 30000), "bad_json", ""},
		{"no type", `{"text":"a"}`, "no_type", ""},
		{"a type that is a number", `{"type":1}`, "bad_field", ""},
		{"an unknown type", `{"type":"<script>"}`, "unknown_type", "<script>"},
		{"a second join", `{"type":"join","name":"Eve"}`, "joined", "join"},
		{"an empty message", `{"type":"chat","text":" \n"}`, "no_text", "chat"},
		{"a long message", `{"type":"chat","text":"` + strings.Repeat("ä", maxText+1) + `"}`, "too_long", "chat"},
		{"no applause", `{"type":"applause"}`, "bad_strength", "applause"},
		{"a negative applause", `{"type":"applause","strength":-1}`, "bad_strength", "applause"},
		{"a strong applause", `{"type":"applause","strength":11}`, "bad_strength", "applause"},
		{"half an applause", `{"type":"applause","strength":1.5}`, "bad_field", ""},
		{"an endless applause", `{"type":"applause","strength":1e999}`, "bad_field", ""},
	} {
		c := enter(t, url, "Mallory")
		c.Send(row.message)
		no := c.Next()
		if about, _ := no["about"].(string); no["type"] != "error" || no["code"] != row.code || about != row.about || no["message"] == "" {
			t.Errorf("%s: answered with %v, want the error %s about %q", row.why, no, row.code, row.about)
		}
		c.Send(`{"type":"chat","text":"still here"}`)
		if c.Until("chat")["text"] != "still here" {
			t.Errorf("%s: the connection was not kept", row.why)
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: %v", row.why, err)
		}
		for _, want := range []string{"join", "chat", "leave"} {
			if got := witness.Next(); got["type"] != want {
				t.Errorf("%s: others see %v, want nothing but join, chat and leave", row.why, got)
			}
		}
	}
}

func TestWhoHasNotJoinedIsOnlyTold(t *testing.T) {
	t.Parallel()
	url := start(t, rushed)
	witness := enter(t, url, "Witness")
	c := servetest.Dial(t, url, nil)
	c.Until("welcome")
	for _, row := range []struct{ message, code string }{
		{`{"type":"chat","text":"a"}`, "not_joined"},
		{`{"type":"applause","strength":1}`, "not_joined"},
		{`{"type":"typing"}`, "not_joined"},
		{`{"type":"join"}`, "no_name"},
		{`{"type":"join","name":"\u200b\u202e\n"}`, "no_name"},
		{`{"type":"join","name":"` + strings.Repeat("é", maxName+1) + `"}`, "too_long"},
	} {
		c.Send(row.message)
		if no := c.Next(); no["type"] != "error" || no["code"] != row.code {
			t.Errorf("%s: answered with %v, want the error %s", row.message, no, row.code)
		}
	}
	witness.Send(`{"type":"chat","text":"anybody there?"}`)
	if got := c.Next(); got["text"] != "anybody there?" {
		t.Errorf("told %v, want what others write", got)
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	witness.Send(`{"type":"typing"}`)
	witness.Until("chat")
	if got := witness.Next(); got["type"] != "typing" {
		t.Errorf("others see %v of somebody who has not joined", got)
	}
}

func TestWhatCannotBeAnsweredIsClosed(t *testing.T) {
	t.Parallel()
	url := start(t, usual)
	witness := enter(t, url, "Witness")
	for _, row := range []struct {
		why  string
		do   func(c *servetest.Client) error
		want websocket.StatusCode
	}{
		{"binary", func(c *servetest.Client) error {
			return c.Write(t.Context(), websocket.Binary, []byte(`{"type":"typing"}`))
		}, websocket.StatusUnsupportedData},
		{"huge", func(c *servetest.Client) error {
			return c.Write(t.Context(), websocket.Text, make([]byte, 20<<20))
		}, websocket.StatusMessageTooBig},
		{"no UTF-8", func(c *servetest.Client) error {
			frame := websocket.AppendHeader(nil, websocket.Header{Fin: true, Opcode: websocket.OpText, Masked: true, Length: 1})
			_, err := c.Underlying().Write(append(frame, 0xff))
			return err
		}, websocket.StatusInvalidFramePayloadData},
	} {
		c := enter(t, url, "Mallory")
		_ = row.do(c) // may see the end already
		c.WantClose(row.why, row.want)
		for _, want := range []string{"join", "leave"} {
			if got := witness.Next(); got["type"] != want {
				t.Errorf("%s: others see %v, want nothing but join and leave", row.why, got)
			}
		}
	}
}

func TestFloodIsAnsweredThenClosed(t *testing.T) {
	t.Parallel()
	url := start(t, usual)
	witness, c := enter(t, url, "Witness"), enter(t, url, "Flooder")
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for range 3 * maxRefused {
			if c.Write(context.Background(), websocket.Text, []byte(`{"type":"chat","text":"buy!"}`)) != nil {
				return // closed, as it should be
			}
		}
	}()
	passed, refused := 0, 0
	for msg, err := range c.Messages(servetest.Context(t)) {
		var o servetest.Object
		switch {
		case err != nil && websocket.CloseStatus(err) != websocket.StatusPolicyViolation:
			t.Errorf("the flooder: %v, want close code 1008", err)
		case err != nil:
		case json.Unmarshal(msg.Data, &o) == nil && o["code"] == "too_fast" && o["about"] == "chat":
			refused++
		case o["type"] == "chat":
			passed++
		}
	}
	<-flooded
	if refused != maxRefused || passed < usual.Burst-1 {
		t.Errorf("%d messages passed and %d were refused, want about %d and %d", passed, refused, usual.Burst, maxRefused)
	}
	for range passed {
		witness.Until("chat")
	}
	witness.Until("leave")
	witness.Send(`{"type":"chat","text":"at last"}`)
	if got := witness.Next(); got["text"] != "at last" {
		t.Errorf("after the flood: %v", got)
	}
}
