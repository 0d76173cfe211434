//go:build linux

package main

// The tables of the report.

import (
	"fmt"
	"io"
	"strings"
)

const missing = "–"

// echo prints four tables of one group of echo cells: ratios, times, rates, allocations.
func (r *report) echo(w io.Writer, title string, cells []string) {
	if len(cells) == 0 {
		return
	}
	in := r.present(cells, cpuPerMessage)
	fmt.Fprintf(w, "### %s\n\nCPU per message, `%s` = 1.00, higher is better", title, byMessage.name)
	text := !strings.HasSuffix(cells[0], kindBinary)
	if text {
		fmt.Fprint(w, "; `*` checks that text is UTF-8, and only those are in the last column")
	}
	fmt.Fprint(w, ":\n\n")
	t := table{head: append([]string{"in flight / octets"}, names(in)...)}
	t.head = append(t.head, "best peer", "this ÷ best peer")
	if text {
		t.head[len(t.head)-2] = "best peer*"
		for i, c := range in {
			if c.utf8 {
				t.head[i+1] += "*"
			}
		}
	}
	for _, cell := range cells {
		row := []string{echoRow(cell)}
		for _, c := range in {
			row = append(row, number("%.2f", first(r.ratio(cell, byMessage.name, c.name, cpuPerMessage))))
		}
		t.add(append(row, r.againstBest(cell, in, text)...)...)
	}
	t.write(w)
	fmt.Fprint(w, "CPU per message in µs, median ± half the range of the rounds:\n\n")
	r.plain(cells, in, cpuPerMessage, 1, "%.2f").write(w)
	fmt.Fprint(w, "Messages per second, in thousands:\n\n")
	r.plain(cells, in, rate, 1e-3, "%.1f").write(w)
	fmt.Fprint(w, "Allocations per message:\n\n")
	r.plain(cells, in, mallocs, 1, "%.2f").write(w)
	fmt.Fprint(w, "Per cent of the time in which the contender worked; where that is much less than 100, the load generator was what limited the rate:\n\n")
	r.plain(cells, in, busy, 1, "%.0f").write(w)
}

func (r *report) againstBest(cell string, in []*contender, checked bool) []string {
	peer, _ := r.best(cell, cpuPerMessage, checked)
	if peer == "" {
		return []string{missing, missing}
	}
	var ours []string
	for _, c := range in {
		if c.ours {
			ours = append(ours, number("%.2f", first(r.ratio(cell, peer, c.name, cpuPerMessage))))
		}
	}
	return []string{peer, strings.Join(ours, ", ")}
}

// plain is a table of medians.
func (r *report) plain(cells []string, in []*contender, metric string, scale float64, format string) *table {
	t := &table{head: append([]string{"in flight / octets"}, names(in)...)}
	for _, cell := range cells {
		row := []string{echoRow(cell)}
		for _, c := range in {
			m, ok := r.median(cell, c.name, metric)
			v := number(format, optional{m * scale, ok})
			if ok && metric == cpuPerMessage {
				v += fmt.Sprintf(" ±%.0f %%", 100*spread(r.values(cell, c.name, metric)))
			}
			row = append(row, v)
		}
		t.add(row...)
	}
	return t
}

func echoRow(cell string) string {
	o, err := parseEchoCell(cell)
	if err != nil {
		return cell
	}
	row := fmt.Sprintf("%d / %s", o.Depth, octets(o.Size))
	switch o.Kind {
	case kindASCII:
		row += " ASCII"
	case kindUTF8:
		row += " not ASCII"
	}
	return row
}

func octets(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func names(in []*contender) []string {
	var all []string
	for _, c := range in {
		all = append(all, c.name)
	}
	return all
}

// optional is a figure that may be missing.
type optional struct {
	value float64
	known bool
}

func first(v float64, ok bool) optional { return optional{v, ok} }

func number(format string, o optional) string {
	if !o.known {
		return missing
	}
	return fmt.Sprintf(format, o.value)
}

func (r *report) idle(w io.Writer) {
	const cell = "idle"
	in := r.present([]string{cell}, heapFresh)
	if len(in) == 0 {
		return
	}
	fmt.Fprintf(w, "### Idle connections\n\nKiB per connection, %d of them: fresh, and after each has sent %d JSON messages of %d octets that the server parsed and echoed.\n\n",
		r.Idle, idleMessages, idleSize)
	t := table{head: []string{"", "heap", "stacks", "**both, fresh**", "resident", "heap, after", "stacks, after", "**both, after**", "resident, after"}}
	for _, c := range in {
		row := []string{c.name}
		for _, m := range [][3]string{{heapFresh, stackFresh, rssFresh}, {heapUsed, stackUsed, rssUsed}} {
			heap, _ := r.median(cell, c.name, m[0])
			stack, _ := r.median(cell, c.name, m[1])
			rss, _ := r.median(cell, c.name, m[2])
			row = append(row, kib(heap), kib(stack), "**"+kib(heap+stack)+"**", kib(rss))
		}
		t.add(row...)
	}
	t.write(w)
}

func kib(octets float64) string { return fmt.Sprintf("%.1f", octets/1024) }

func (r *report) handshakes(w io.Writer) {
	const cell = "handshake"
	in := r.present([]string{cell}, cpuPerHandshake)
	if len(in) == 0 {
		return
	}
	fmt.Fprintf(w, "### Opening handshakes\n\nOpened, answered and reset, %d at a time; accepting and closing TCP is part of all of them. What each adds to `%s` is in brackets.\n\n",
		handshakesAtOnce, netHTTP.name)
	t := table{head: []string{"", "µs of CPU", "handshakes/s", "allocations"}}
	for _, c := range in {
		row := []string{c.name}
		for _, m := range []string{cpuPerHandshake, handshakeRate, handshakeAllocs} {
			v, _ := r.median(cell, c.name, m)
			text := fmt.Sprintf("%.1f", v)
			if base, ok := r.median(cell, netHTTP.name, m); ok && m != handshakeRate && c != netHTTP {
				text += fmt.Sprintf(" (%+.1f)", v-base)
			}
			if m != handshakeAllocs {
				text += fmt.Sprintf(" ±%.0f %%", 100*spread(r.values(cell, c.name, m)))
			}
			row = append(row, text)
		}
		t.add(row...)
	}
	t.write(w)
}

func (r *report) broadcast(w io.Writer) {
	cells := r.cells(func(c string) bool { return strings.HasPrefix(c, "broadcast/") })
	in := r.present(cells, cpuPerSend)
	if len(in) == 0 {
		return
	}
	fmt.Fprintf(w, "### Broadcast\n\nA message of %d octets to %d connections, once, eight times in a row to each, and eight times to all (by message). Against a bare write system call (`%s`, one for each message), lower is better.\n\n",
		broadcastSize, r.Many, rawTCP.name)
	t := table{head: []string{""}}
	for _, cell := range cells {
		n := strings.TrimPrefix(cell, "broadcast/")
		t.head = append(t.head, "× "+n+": ns of CPU per send", "÷ bare write", "ns until the call returns, per send")
	}
	for _, c := range in {
		row := []string{c.name}
		for _, cell := range cells {
			v, ok := r.median(cell, c.name, cpuPerSend)
			base, known := r.median(cell, rawTCP.name, cpuPerSend)
			row = append(row, fmt.Sprintf("%s ±%.0f %%", number("%.0f", optional{v, ok}), 100*spread(r.values(cell, c.name, cpuPerSend))),
				number("%.2f", optional{v / base, ok && known}), number("%.0f", first(r.median(cell, c.name, timePerSend))))
		}
		t.add(row...)
	}
	t.write(w)
}

func (r *report) deflate(w io.Writer) {
	cells := r.cells(func(c string) bool { return strings.HasPrefix(c, "deflate/") })
	in := r.present(cells, cpuPerMessage)
	if len(in) == 0 {
		return
	}
	fmt.Fprintf(w, "### Compression\n\nJSON documents, compressed in both directions: octets saved on the answers · µs of CPU to inflate one and to send it back compressed · "+
		"KiB of heap and stack of a connection that is idle again (%d of them).\n\n", deflateConns)
	t := table{head: []string{""}}
	for _, cell := range cells {
		f := strings.Split(cell, "/")
		t.head = append(t.head, f[1]+" B, "+f[2])
	}
	for _, c := range in {
		row := []string{c.name}
		for _, cell := range cells {
			s, ok := r.median(cell, c.name, saved)
			cpu, _ := r.median(cell, c.name, cpuPerMessage)
			mem, _ := r.median(cell, c.name, heapDeflate)
			if !ok {
				row = append(row, missing)
				continue
			}
			row = append(row, fmt.Sprintf("%.0f %% · %.0f · %s", s, cpu, kib(mem)))
		}
		t.add(row...)
	}
	t.write(w)
}
