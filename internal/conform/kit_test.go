package conform

import (
	"net/url"
	"strings"
	"testing"
)

// This file holds what must be true of the list of cases itself.

func TestCasesAreTold(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range Cases() {
		switch {
		case seen[c.ID]:
			t.Errorf("two cases are called %s", c.ID)
		case url.PathEscape(c.ID) != c.ID:
			t.Errorf("%s does not fit into a path", c.ID)
		case titles[c.Section] == "":
			t.Errorf("%s: section %s has no title", c.ID, c.Section)
		case c.Sentence == "" || c.Title == "" || c.Roles == 0 || len(c.steps) == 0:
			t.Errorf("%s is not whole", c.ID)
		case c.bare && (c.offer != "" || c.answer != ""):
			t.Errorf("%s has an opening handshake of its own, and an extension", c.ID)
		}
		seen[c.ID] = true
		for _, line := range c.Steps() {
			if len(line) > 2000 || strings.Contains(line, "%!") {
				t.Errorf("%s has a step that nobody would read: %.200s", c.ID, line)
			}
		}
	}
	t.Log(len(seen), "cases")
}
