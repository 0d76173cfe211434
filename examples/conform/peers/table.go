package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/seed26cb4e35/websocket/internal/conform"
)

// This file holds the table: sections by columns, and then each case that someone fell short of.

// A column is what came of one library in one role.
type column struct {
	name    string
	role    conform.Role
	results []conform.Result
}

// save writes the column's report.
func (c column) save(folder string) error {
	f, err := os.Create(filepath.Join(folder, strings.ReplaceAll(c.name, "/", "-")+"-"+c.role.String()+".html"))
	if err != nil {
		return err
	}
	if err := conform.WriteHTML(f, c.name+" as "+c.role.String(), c.results); err != nil {
		return err
	}
	return f.Close()
}

// writeTable writes the summary and the deviations.
func writeTable(w io.Writer, columns []column) {
	fmt.Fprintln(w, "| library | role | right | tolerable | wrong | skipped |\n|---|---|--:|--:|--:|--:|")
	for _, c := range columns {
		t := conform.Count(c.results)
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %d |\n", c.name, c.role, t[conform.Right], t[conform.Tolerable], t[conform.Wrong], t[conform.Skipped])
	}
	for _, role := range []conform.Role{conform.Server, conform.Client} {
		writeRole(w, columns, role)
	}
}

// writeRole writes a line for each case that not all libraries do right in a role.
func writeRole(w io.Writer, all []column, role conform.Role) {
	var columns []column
	for _, c := range all {
		if c.role == role {
			columns = append(columns, c)
		}
	}
	verdicts := make(map[string][]string)
	order := make(map[string]int)
	titles := make(map[string]string)
	short := make(map[string]bool)
	for i, c := range columns {
		for n, r := range c.results {
			if verdicts[r.ID] == nil {
				verdicts[r.ID] = make([]string, len(columns))
				order[r.ID] = n
				titles[r.ID] = r.Title
			}
			verdicts[r.ID][i] = marks[r.Verdict]
			short[r.ID] = short[r.ID] || r.Verdict > conform.Right
		}
	}
	var ids []string
	for id := range short {
		if short[id] {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return order[ids[i]] < order[ids[j]] })
	fmt.Fprintf(w, "\n### As %ss: %d of %d cases that someone falls short of\n\n| case |", role, len(ids), len(short))
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprintf(w, " what the kit does |\n|---|%s---|\n", strings.Repeat("---|", len(columns)))
	for _, id := range ids {
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", id, strings.Join(verdicts[id], " | "), strings.ReplaceAll(titles[id], "|", "\\|"))
	}
}

// marks are the verdicts as the table shows them.
var marks = map[conform.Verdict]string{conform.Right: "", conform.Tolerable: "tolerable", conform.Wrong: "**wrong**", conform.Skipped: "–"}
