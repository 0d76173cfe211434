package conform

import (
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// This file holds what people read: lines, the summary by section, and the HTML report.

// A Tally counts verdicts.
type Tally [Wrong + 1]int

// Count returns how many results have which verdict.
func Count(results []Result) Tally {
	var t Tally
	for _, r := range results {
		t[r.Verdict]++
	}
	return t
}

// String returns "1204 right, 3 tolerable, 1 wrong".
func (t Tally) String() string {
	s := fmt.Sprintf("%d right, %d tolerable, %d wrong", t[Right], t[Tolerable], t[Wrong])
	if t[Skipped] > 0 {
		s += fmt.Sprintf(", %d skipped", t[Skipped])
	}
	return s
}

// A SectionResults is what came of the cases of one section.
type SectionResults struct {
	Section string
	Results []Result
}

// BySection groups results, in the order in which sections first appear.
func BySection(results []Result) []SectionResults {
	var list []SectionResults
	at := make(map[string]int)
	for _, r := range results {
		i, ok := at[r.Section]
		if !ok {
			i = len(list)
			at[r.Section] = i
			list = append(list, SectionResults{Section: r.Section})
		}
		list[i].Results = append(list[i].Results, r)
	}
	return list
}

// titles are the headings of the sections.
var titles = map[string]string{
	"4.1": "Client requirements", "4.2.1": "Reading the client's opening handshake", "4.2.2": "Sending the server's opening handshake",
	"4.4": "Supporting multiple versions", "5.1": "Masking: who masks", "5.2": "Base framing protocol", "5.3": "Client-to-server masking",
	"5.4": "Fragmentation", "5.5": "Control frames", "5.5.1": "Close", "5.5.2": "Ping", "5.5.3": "Pong", "5.6": "Data frames", "6.1": "Sending data",
	"6.2": "Receiving data", "7.1.1": "Closing TCP", "7.1.5": "The close code", "7.1.7": "Failing the connection", "7.2.1": "Client-initiated closure", "7.4": "Status codes", "7.4.1": "Defined status codes",
	"7.4.2": "Reserved status code ranges", "8.1": "Errors in UTF-8", "9.1": "Negotiating extensions", "10.2": "Origin considerations",
	"10.4": "Implementation-specific limits", "10.7": "Handling of invalid data", "7692 5": "Extension negotiation", "7692 6": "Framing",
	"7692 7.1": "Parameters", "7692 7.2": "Payloads", "7692 8": "Compression and security",
}

// WriteText writes the cases that fell short, the summary by section, and the sum.
func WriteText(w io.Writer, results []Result) {
	for _, r := range results {
		if r.Verdict > Right {
			fmt.Fprintf(w, "%-9s  %s  %s\n           %s\n", r.Verdict, r.ID, r.Title, Printable(r.Why))
		}
	}
	fmt.Fprintf(w, "\n%-10s %6s %10s %6s %8s\n", "section", "right", "tolerable", "wrong", "skipped")
	for _, s := range BySection(results) {
		t := Count(s.Results)
		fmt.Fprintf(w, "%-10s %6d %10d %6d %8d  %s\n", s.Section, t[Right], t[Tolerable], t[Wrong], t[Skipped], titles[s.Section])
	}
	fmt.Fprintf(w, "\n%v\n", Count(results))
}

// Printable returns s as a terminal may see it: what the endpoint has sent may hold characters that steer one.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// WriteHTML writes a page with the summary, and the wire log of every case that fell short.
func WriteHTML(w io.Writer, role string, results []Result) error {
	return page.Execute(w, map[string]any{
		"Role": role, "Sum": Count(results), "Sections": BySection(results), "At": time.Now().Format(time.DateTime),
	})
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"count": Count,
	"title": func(section string) string { return titles[section] },
	"lines": func(l []string) string { return strings.Join(l, "\n") },
	"bad":   func(r Result) bool { return r.Verdict > Right },
	"n":     func(t Tally, v int) int { return t[v] },
	"ms":    func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) },
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>WebSocket conformance: {{.Sum}}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } pre { background: #f5f5f2; padding: .7rem; overflow-x: auto; font-size: 12.5px }
.right { color: #14713a } .tolerable { color: #8a6100 } .wrong { color: #b3161b; font-weight: 600 } .skipped { color: #777 }
q { font-style: italic } summary { cursor: pointer; padding: .15rem 0 } code { font-size: 13px }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #252525 } td, th { border-color: #3a3a3a }
.right { color: #6cc98a } .tolerable { color: #e0b44a } .wrong { color: #ff7d7d } }
</style>
<h1>WebSocket conformance of a {{.Role}}</h1>
<p>{{.At}}: {{.Sum}}</p>
<table><tr><th>Section<th><th>right<th>tolerable<th>wrong<th>skipped</tr>
{{range .Sections}}{{$t := count .Results}}<tr><td><a href="#s{{.Section}}">{{.Section}}</a><td>{{title .Section}}<td class="n">{{n $t 1}}<td class="n">{{n $t 2}}<td class="n">{{n $t 3}}<td class="n">{{n $t 0}}</tr>
{{end}}</table>
{{range .Sections}}<h2 id="s{{.Section}}">{{.Section}} {{title .Section}}</h2>
{{range .Results}}{{if bad .}}<details open><summary><span class="{{.Verdict}}">{{.Verdict}}</span> <code>{{.ID}}</code> {{.Title}}</summary>
<p>{{.Why}}</p><p><q>{{.Sentence}}</q></p>
<pre>{{lines .Steps}}</pre><pre>{{lines .Log}}</pre></details>
{{else}}<details><summary><span class="{{.Verdict}}">{{.Verdict}}</span> <code>{{.ID}}</code> {{.Title}} <small>{{ms .Took}} ms</small></summary>
{{with .Why}}<p>{{.}}</p>{{end}}<p><q>{{.Sentence}}</q></p></details>
{{end}}{{end}}{{end}}</html>
`))
