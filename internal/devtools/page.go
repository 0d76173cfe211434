package devtools

// This file holds a tab: what a person does with it, and what a test wants to know of it.

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// pollInterval is the pause between two looks at a condition.
const pollInterval = 20 * time.Millisecond

// A Page is a tab. An exception that its scripts don't catch fails the test.
type Page struct {
	b       *Browser
	session string

	mu      sync.Mutex
	console []string // what its scripts and the browser wrote to the console; guarded by mu
}

// Open opens a new tab, as wide as a desktop's, and loads url in it.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", params{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &Page{b: b, session: attached.SessionID}
	b.wire.handle(p.session, p.event)
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.call(domain+".enable", nil, nil)
	}
	p.Desktop()
	p.Navigate(url)
	return p
}

// Close closes the tab, as a person does: its connections end without a closing handshake of its scripts.
func (p *Page) Close() {
	p.b.t.Helper()
	p.call("Page.close", nil, nil)
}

// Navigate loads url and waits until the page and all that belongs to it are there.
func (p *Page) Navigate(url string) {
	p.b.t.Helper()
	var committed struct{ ErrorText string }
	p.call("Page.navigate", params{"url": url}, &committed)
	if committed.ErrorText != "" {
		p.b.t.Fatalf("devtools: open %s: %s", url, committed.ErrorText)
	}
	p.Wait(`document.readyState === "complete" && location.href !== "about:blank"`)
}

// Eval evaluates a JavaScript expression, awaits it if it is a promise, and decodes its JSON into result if that is not
// nil. An exception fails the test.
func (p *Page) Eval(expression string, result any) {
	p.b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	value, err := p.eval(ctx, expression)
	if err == nil && result != nil {
		err = json.Unmarshal(value, result)
	}
	if err != nil {
		p.fatalf("eval %s: %v", expression, err)
	}
}

// Wait waits until a JavaScript expression, awaited if it is a promise, is true; an exception counts as not yet.
func (p *Page) Wait(condition string) {
	p.b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		value, err := p.eval(ctx, "(async () => Boolean(await ("+condition+")))()")
		if string(value) == "true" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.fatalf("%s is not true after %v (last error: %v)", condition, callTimeout, err)
		}
	}
}

// eval returns the JSON of an expression's value; null where it has none.
func (p *Page) eval(ctx context.Context, expression string) (json.RawMessage, error) {
	var outcome struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *exception
	}
	err := p.b.wire.call(ctx, p.session, "Runtime.evaluate", params{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &outcome)
	if err != nil {
		return nil, err
	}
	if outcome.ExceptionDetails != nil {
		return nil, outcome.ExceptionDetails
	}
	if outcome.Result.Value == nil {
		return json.RawMessage("null"), nil
	}
	return outcome.Result.Value, nil
}

// Click clicks in the middle of the element that a CSS selector finds, with a mouse. An element that is hidden, disabled
// or covered by another fails the test, since nobody could click it.
func (p *Page) Click(selector string) {
	p.b.t.Helper()
	var at struct{ X, Y float64 }
	p.Eval(`(() => {
		const e = document.querySelector(`+quote(selector)+`);
		if (!e) throw new Error("no such element");
		if (e.disabled) throw new Error("it is disabled");
		e.scrollIntoView({block: "nearest", behavior: "instant"});
		const r = e.getBoundingClientRect(), at = {x: r.left + r.width / 2, y: r.top + r.height / 2};
		const top = document.elementFromPoint(at.x, at.y);
		if (!top || !(e.contains(top) || top.closest("label")?.control === e))
			throw new Error("it is hidden, or covered by " + (top?.outerHTML.slice(0, 80) ?? "the edge"));
		return at;
	})()`, &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", params{
			"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1,
		}, nil)
	}
}

// Type clicks the element that a CSS selector finds, empties it, and types text.
func (p *Page) Type(selector, text string) {
	p.b.t.Helper()
	p.Click(selector)
	p.Eval(`document.querySelector(`+quote(selector)+`).select()`, nil)
	if text == "" {
		p.Press("Delete")
		return
	}
	p.call("Input.insertText", params{"text": text}, nil)
}

// keys are the keys that Press knows, with the code that the protocol wants and the text that they make.
var keys = map[string]struct {
	code int
	text string
}{
	"Enter": {13, "\r"}, "Escape": {27, ""}, "Tab": {9, ""}, "Delete": {46, ""},
}

// Press presses and releases a key: Enter, Escape, Tab or Delete.
func (p *Page) Press(name string) {
	p.b.t.Helper()
	key, ok := keys[name]
	if !ok {
		p.b.t.Fatalf("devtools: no such key: %s", name)
	}
	event := params{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": key.code}
	if key.text != "" {
		event["text"] = key.text
	}
	p.call("Input.dispatchKeyEvent", event, nil)
	p.call("Input.dispatchKeyEvent", params{
		"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": key.code,
	}, nil)
}

// SetFiles chooses files in the file input that a CSS selector finds, as the browser's own dialog would.
func (p *Page) SetFiles(selector string, paths ...string) {
	p.b.t.Helper()
	var found struct{ Result struct{ ObjectID string } }
	p.call("Runtime.evaluate", params{"expression": `document.querySelector(` + quote(selector) + `)`}, &found)
	p.call("DOM.setFileInputFiles", params{"files": paths, "objectId": found.Result.ObjectID}, nil)
}

// Desktop gives the page the width of a desktop's window: 1280 by 800 pixels.
func (p *Page) Desktop() {
	p.b.t.Helper()
	p.resize(1280, 800, params{"deviceScaleFactor": 1, "mobile": false})
}

// Phone gives the page the width of a small phone, 360 by 740 pixels, and a touch screen.
func (p *Page) Phone() {
	p.b.t.Helper()
	p.resize(360, 740, params{"deviceScaleFactor": 2, "mobile": true})
}

func (p *Page) resize(width, height int, metrics params) {
	p.b.t.Helper()
	metrics["width"], metrics["height"] = width, height
	metrics["screenWidth"], metrics["screenHeight"] = width, height
	p.call("Emulation.setDeviceMetricsOverride", metrics, nil)
	p.call("Emulation.setTouchEmulationEnabled", params{"enabled": metrics["mobile"]}, nil)
	// A page that is too wide for a phone is laid out wider than the screen: the screen's width is what was asked for.
	p.Wait(fmt.Sprintf("screen.width === %d", width))
}

// Screenshot writes what the page shows to the file name.png, into the folder that the environment's SCREENSHOTS names,
// else into one that ends with the test. It fails the test if anything is wider than the screen, so that one would have
// to scroll sideways.
func (p *Page) Screenshot(name string) {
	p.b.t.Helper()
	p.call("Page.bringToFront", nil, nil) // a tab behind another draws nothing, and would be waited for
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", params{"format": "png"}, &shot)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = p.b.t.TempDir()
	}
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		_, err = png.DecodeConfig(bytes.NewReader(image))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), image, 0o644)
	}
	if err != nil {
		p.b.t.Fatalf("devtools: screenshot %s: %v", name, err)
	}
	var excess int
	p.Eval(`document.documentElement.scrollWidth - screen.width`, &excess)
	if excess > 0 {
		p.b.t.Errorf("devtools: %s: the page is %d pixels wider than the screen", name, excess)
	}
}

// Console returns what the page's scripts wrote to the console, and what the browser did for them, a line each.
func (p *Page) Console() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.console...)
}

// call sends a command to the tab; see [Browser.call].
func (p *Page) call(method string, params, result any) {
	p.b.t.Helper()
	p.b.call(p.session, method, params, result)
}

// fatalf fails the test with what the page shows and its console's lines, which often say why.
func (p *Page) fatalf(format string, args ...any) {
	p.b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	shows, _ := p.eval(ctx, `document.body.innerText`)
	p.b.t.Fatalf("devtools: %s\nthe page shows %s\nits console: %q", fmt.Sprintf(format, args...), shows, p.Console())
}

// A value is a JavaScript value as the protocol describes it.
type value struct {
	Type        string
	Value       json.RawMessage // of a string, number, boolean or null
	Description string          // of all else; of an Error, its text and stack
}

// String returns the value as the console shows it.
func (v value) String() string {
	var s string
	switch {
	case v.Value == nil && v.Description == "":
		return v.Type
	case v.Value == nil:
		return v.Description
	case json.Unmarshal(v.Value, &s) == nil && v.Type == "string":
		return s
	}
	return string(v.Value)
}

// An exception is what a script has thrown.
type exception struct {
	Text      string
	Exception value
}

// Error returns what was thrown, of an Error with its stack.
func (e *exception) Error() string {
	return e.Text + " " + e.Exception.String()
}

// event takes the page's events, one at a time.
func (p *Page) event(event *answer) {
	switch event.Method {
	case "Runtime.exceptionThrown":
		var thrown struct{ ExceptionDetails exception }
		_ = json.Unmarshal(event.Params, &thrown)
		p.b.t.Errorf("devtools: uncaught in the page: %v", &thrown.ExceptionDetails)
	case "Runtime.consoleAPICalled":
		var called struct {
			Type string
			Args []value
		}
		_ = json.Unmarshal(event.Params, &called)
		line := called.Type + ":"
		for _, arg := range called.Args {
			line += " " + arg.String()
		}
		p.log(line)
	case "Log.entryAdded":
		var added struct {
			Entry struct{ Level, Text, URL string }
		}
		_ = json.Unmarshal(event.Params, &added)
		p.log(strings.TrimSpace(added.Entry.Level + ": " + added.Entry.Text + " " + added.Entry.URL))
	}
}

func (p *Page) log(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console = append(p.console, line)
}

// quote returns s as a JavaScript string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string that JSON can't hold")
	}
	return string(b)
}
