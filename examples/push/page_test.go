package main

// This file holds what a viewer sees: a Chromium shows the page.

import (
	"fmt"
	"testing"

	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

func TestPageDraws(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "push", "-addr", "127.0.0.1:0", "-every", "20ms")
	p := b.Open(s.URL)
	p.Wait(`Number(document.querySelector("#n").textContent.replaceAll(",", "")) > 100`)
	p.Wait(`document.querySelector("#viewers").textContent === "1"`)
	p.Wait(`document.querySelector("#gap").value.endsWith(" ms")`)
	p.Screenshot("push-desktop")
	p.Phone()
	p.Screenshot("push-phone")
	if lines := p.Console(); len(lines) > 0 {
		t.Errorf("the console is not empty: %q", lines)
	}
	for _, plot := range []string{"cpu-plot", "gap-plot"} {
		p.Wait(fmt.Sprintf(drawn, plot))
	}
}

// What changes many times a second is not read out.
func TestPageDoesNotTalkAllTheTime(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "push", "-addr", "127.0.0.1:0", "-every", "20ms")
	p := b.Open(s.URL)
	p.Wait(`document.querySelector("#gap").value.endsWith(" ms")`)
	var talking []string
	p.Eval(`new Promise(done => {
		const ids = new Set(), all = {childList: true, characterData: true, subtree: true};
		for (const e of document.querySelectorAll("output, [role=status], [role=log], [aria-live]"))
			if (e.ariaLive !== "off") new MutationObserver(() => ids.add(e.id)).observe(e, all);
		let values = 0;
		new MutationObserver(() => ++values === 20 && done([...ids])).observe(document.querySelector("#n"), all);
	})`, &talking)
	if len(talking) > 0 {
		t.Errorf("live regions that change with each value: %q", talking)
	}
}

// drawn is whether a canvas has as many points in the colour of its line as a line of some length has.
const drawn = `(() => {
	const canvas = document.querySelector("#%s"), probe = document.querySelector("body > i");
	const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
	probe.style.color = "var(--accent)";
	const [r, g, b] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
	let n = 0;
	for (let i = 0; i < data.length; i += 4) n += data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255;
	return n > 30;
})()`

func TestPageFitsASmallPhone(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "push", "-addr", "127.0.0.1:0")
	p := b.Open(s.URL)
	p.Phone()
	p.Wait(`document.querySelector("#n").textContent !== "–"`)
	p.Eval(`document.querySelector("#time").textContent = "10:53:49 PM"`, nil)
	p.Wait(`[...document.querySelectorAll("dd")].every(e => e.scrollWidth <= e.clientWidth)`)
}
