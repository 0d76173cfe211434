//go:build linux

package main

// Charts: horizontal bars in groups, as SVG that a README can show, on light and on dark paper.

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
)

type chart struct {
	title, below string
	format       string
	groups       []chartGroup
	mark         float64 // a line at this value; 0: none
}

type chartGroup struct {
	name string
	bars []bar
}

type bar struct {
	name  string
	value float64
	class string // ours, peer or bound
}

// Measures of a chart, in its own units.
const (
	chartWidth  = 760
	chartLeft   = 130
	chartRight  = 70
	chartTop    = 54
	barHeight   = 15
	barGap      = 4
	groupGap    = 30
	chartBottom = 34
)

const chartStyle = `text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}.small{fill:#59636e}.group{font-weight:600}
.ours{fill:#0969da}.peer{fill:#a9b3bd}.bound{fill:#e3e7eb}.mark{stroke:#1f2328;stroke-dasharray:3 3;opacity:.55}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.ours{fill:#4493f8}.peer{fill:#656c76}.bound{fill:#30363d}.mark{stroke:#e6edf3}}`

func (c *chart) svg() string {
	most := c.mark
	height := chartTop + chartBottom
	for _, g := range c.groups {
		height += groupGap + len(g.bars)*(barHeight+barGap)
		for _, b := range g.bars {
			most = max(most, b.value)
		}
	}
	scale := (chartWidth - chartLeft - chartRight) / most
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img"><style>%s</style>`+"\n",
		chartWidth, height, chartWidth, height, chartStyle)
	fmt.Fprintf(&s, `<text class="title" x="12" y="24">%s</text><text class="small" x="12" y="43">%s</text>`+"\n", html.EscapeString(c.title), html.EscapeString(c.below))
	y := chartTop
	for _, g := range c.groups {
		fmt.Fprintf(&s, `<text class="group" x="12" y="%d">%s</text>`+"\n", y+20, html.EscapeString(g.name))
		y += groupGap
		for _, b := range g.bars {
			w := b.value * scale
			fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><text class="small" x="%.1f" y="%d">%s</text>`+"\n",
				chartLeft-8, y+12, html.EscapeString(b.name), b.class, chartLeft, y, w, barHeight, chartLeft+w+6, y+12, fmt.Sprintf(c.format, b.value))
			y += barHeight + barGap
		}
	}
	if c.mark > 0 {
		x := chartLeft + c.mark*scale
		fmt.Fprintf(&s, `<line class="mark" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x, chartTop+8, x, y)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func classOf(c *contender) string {
	switch {
	case c.ours:
		return "ours"
	case c.bound:
		return "bound"
	}
	return "peer"
}

// charts writes the report's charts into a folder; one whose cells were not measured is left out.
func (r *report) charts(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, c := range map[string]*chart{
		"echo.svg": r.echoChart("Echo, one message in flight", []string{
			echoCell("echo", 1, 32, kindBinary), echoCell("echo", 1, 512, kindBinary), echoCell("echo", 1, 4<<10, kindBinary), echoCell("echo", 1, 64<<10, kindBinary),
		}),
		"pipelined.svg": r.echoChart("Echo, many messages in flight", []string{
			echoCell("echo", 16, 32, kindBinary), echoCell("echo", 16, 512, kindBinary), echoCell("echo", 64, 512, kindBinary),
		}),
		"idle.svg": r.idleChart(),
	} {
		if len(c.groups) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(c.svg()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) echoChart(title string, cells []string) *chart {
	ch := &chart{title: title, below: "Messages per unit of the server's processor time; raw TCP, message by message = 1.00. Longer is better.", format: "%.2f", mark: 1}
	for _, cell := range cells {
		g := chartGroup{name: strings.Replace(echoRow(cell), " / ", " in flight, ", 1)}
		for _, c := range r.present([]string{cell}, cpuPerMessage) {
			if v, ok := r.ratio(cell, byMessage.name, c.name, cpuPerMessage); ok && c != byMessage {
				g.bars = append(g.bars, bar{c.name, v, classOf(c)})
			}
		}
		if len(g.bars) > 0 {
			ch.groups = append(ch.groups, g)
		}
	}
	return ch
}

func (r *report) idleChart() *chart {
	ch := &chart{title: "Memory of an idle connection", below: "KiB of Go heap and stack. Shorter is better.", format: "%.1f"}
	for _, when := range [][3]string{{"fresh", heapFresh, stackFresh}, {"after JSON traffic", heapUsed, stackUsed}} {
		g := chartGroup{name: when[0]}
		for _, c := range r.present([]string{"idle"}, when[1]) {
			heap, _ := r.median("idle", c.name, when[1])
			stack, _ := r.median("idle", c.name, when[2])
			g.bars = append(g.bars, bar{c.name, max(0, heap+stack) / 1024, classOf(c)})
		}
		if len(g.bars) > 0 {
			ch.groups = append(ch.groups, g)
		}
	}
	return ch
}
