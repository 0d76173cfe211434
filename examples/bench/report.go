//go:build linux

package main

// What was measured, as Markdown. A ratio is the median of the ratios of the rounds: the two windows that it compares lay next to each other.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report is the program's whole result; it can be written as JSON and read again.
type report struct {
	Machine string    `json:"machine"`
	Go      string    `json:"go"`
	When    time.Time `json:"when"`
	Load    string    `json:"load"` // the load average when all was done
	Peers   []string  `json:"peers"`
	Setting string    `json:"setting"`
	Idle    int       `json:"idle"`
	Many    int       `json:"many"`
	Series  []*series `json:"series"`
}

func (b *bench) report() *report {
	r := &report{
		Machine: processor(), Go: runtime.Version(), When: time.Now(), Idle: b.idle, Many: b.many, Series: b.all,
		Setting: fmt.Sprintf("%d connections in echo cells, %d rounds of %v, GOMAXPROCS=%d", b.conns, b.rounds, b.window, b.procs),
	}
	if b.serverCPU >= 0 {
		r.Setting += ", contender and load generator bound to a processor each"
	}
	if line, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(line))[:3], " ")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			r.Peers = append(r.Peers, m.Path+" "+m.Version)
		}
	}
	return r
}

func processor() string {
	name := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := ""
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = ", Linux " + strings.TrimSpace(string(b))
	}
	congestion := "" // control; one that paces what TCP sends shows in long messages
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		congestion = ", TCP with " + strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d × %s%s%s", runtime.NumCPU(), name, kernel, congestion)
}

func (r *report) save(name string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

func loadReport(name string) (*report, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(report)
	return r, json.Unmarshal(b, r)
}

func (r *report) values(cell, contender, metric string) []float64 {
	for _, s := range r.Series {
		if s.Cell == cell && s.Contender == contender && s.Metric == metric {
			return s.Values
		}
	}
	return nil
}

// median of a series; false if there is none.
func (r *report) median(cell, contender, metric string) (float64, bool) {
	return median(r.values(cell, contender, metric))
}

func median(v []float64) (float64, bool) {
	if len(v) == 0 {
		return 0, false
	}
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2, true
}

// spread is half the distance between the smallest and the largest value, relative to the median.
func spread(v []float64) float64 {
	m, ok := median(v)
	if !ok || m == 0 {
		return 0
	}
	return (slices.Max(v) - slices.Min(v)) / 2 / m
}

// ratio says how many times cheaper than base the contender was.
func (r *report) ratio(cell, base, contender, metric string) (float64, bool) {
	b, c := r.values(cell, base, metric), r.values(cell, contender, metric)
	var rounds []float64
	for i := range min(len(b), len(c)) {
		if c[i] > 0 {
			rounds = append(rounds, b[i]/c[i])
		}
	}
	return median(rounds)
}

// cells that begin so, in the order in which they were measured.
func (r *report) cells(keep func(cell string) bool) []string {
	var cells []string
	for _, s := range r.Series {
		if keep(s.Cell) && !slices.Contains(cells, s.Cell) {
			cells = append(cells, s.Cell)
		}
	}
	return cells
}

// present are the contenders that were measured in any of the cells, in the order of the tables; metric "" is any.
func (r *report) present(cells []string, metric string) []*contender {
	return slices.DeleteFunc(slices.Clone(contenders), func(c *contender) bool {
		return !slices.ContainsFunc(r.Series, func(s *series) bool {
			return s.Contender == c.name && slices.Contains(cells, s.Cell) && (metric == "" || s.Metric == metric)
		})
	})
}

// best is the peer with the smallest median, of all or of those that check text.
func (r *report) best(cell, metric string, checked bool) (name string, value float64) {
	for _, c := range contenders {
		if c.ours || c.bound || checked && !c.utf8 {
			continue
		}
		if v, ok := r.median(cell, c.name, metric); ok && (name == "" || v < value) {
			name, value = c.name, v
		}
	}
	return name, value
}

type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}

// markdown prints all of it.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %s; load average at the end %s. %s.\n\n", r.Machine, r.Go, r.When.Format("2 January 2006"), r.Load, r.Setting)
	of := func(name, kinds string) []string {
		return r.cells(func(c string) bool {
			kind := c[strings.LastIndexByte(c, '/')+1:]
			return strings.HasPrefix(c, name+"/") && strings.Contains(kinds, kind)
		})
	}
	r.echo(w, "Echo server, binary", of("echo", kindBinary))
	r.echo(w, "Echo server, text", of("echo", kindASCII+kindUTF8))
	r.echo(w, "Echo client, binary", of("client", kindBinary))
	r.echo(w, "Echo client, text", of("client", kindASCII+kindUTF8))
	r.idle(w)
	r.handshakes(w)
	r.broadcast(w)
	r.deflate(w)
	fmt.Fprint(w, "Contenders:\n\n")
	for _, c := range r.present(r.cells(func(string) bool { return true }), "") {
		fmt.Fprintf(w, "- `%s`: %s\n", c.name, c.note)
	}
	fmt.Fprintf(w, "\nVersions: %s.\n", strings.Join(r.Peers, ", "))
}
