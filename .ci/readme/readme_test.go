// Package readme holds the project's Markdown against the tree: links, snippets, commands, names of tests.
//
//	go test ./.ci/readme
package readme

import (
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// document is a Markdown file.
type document struct {
	path string // from the root
	text string
}

func documents(t *testing.T) (all []document) {
	t.Helper()
	walk(t, ".md", func(path, text string) { all = append(all, document{path, text}) })
	if len(all) == 0 {
		t.Fatal("no Markdown found")
	}
	return all
}

// walk calls f for each file with that suffix, dot folders and node_modules left out.
func walk(t *testing.T, suffix string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		f(rel, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href|srcset)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	block   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	command = regexp.MustCompile(`(?:go (?:run|test|build)[^\n]*? |cd )\.?/?((?:examples|internal|\.ci)/[\w./-]+)`)
	named   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z0-9]\\w*)`")
	declare = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
)

// anchor is the name that a heading gets in a link.
func anchor(heading string) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r > 127 || '0' <= r && r <= '9' || 'a' <= r && r <= 'z':
			return r
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(strings.TrimSpace(heading)))
}

// TestLinks follows every link that stays in the tree, to its heading too.
func TestLinks(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(d.text, ""), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			t.Run(d.path+" "+target, func(t *testing.T) {
				path, name, _ := strings.Cut(target, "#")
				text := d.text
				if path != "" {
					text = follow(t, filepath.Join(root, filepath.Dir(d.path), path))
				}
				if name != "" && !hasHeading(text, name) {
					t.Errorf("no heading #%s", name)
				}
			})
		}
	}
}

// follow returns the text of what is there; a folder has none.
func follow(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hasHeading(text, name string) bool {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		if anchor(m[1]) == name {
			return true
		}
	}
	return false
}

// TestSnippets compiles every Go program in the documents in a module of its own, made as the README says, and parses what is no
// whole program. All are formatted as gofmt does it.
func TestSnippets(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range block.FindAllStringSubmatchIndex(d.text, -1) {
			if d.text[m[2]:m[3]] != "go" {
				continue
			}
			line := 1 + strings.Count(d.text[:m[0]], "\n")
			source := d.text[m[4]:m[5]]
			t.Run(d.path+":"+strconv.Itoa(line), func(t *testing.T) { checkSnippet(t, source) })
		}
	}
}

func checkSnippet(t *testing.T, source string) {
	formatted, err := format.Source([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if string(formatted) != source {
		t.Errorf("gofmt makes of it:\n%s", formatted)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", source, parser.PackageClauseOnly); err == nil {
		compile(t, source)
	}
}

// compile vets a program that uses the library from a local checkout.
func compile(t *testing.T, source string) {
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	const module = "github.com/seed26cb4e35/websocket"
	for _, args := range []string{
		"mod init snippet",
		"mod edit -require=" + module + "@v0.0.0 -replace=" + module + "=" + checkout,
		"vet .",
	} {
		cmd := exec.Command("go", strings.Fields(args)...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", args, err, out)
		}
	}
}

// TestCommands looks for every folder that a command in the documents names.
func TestCommands(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range command.FindAllStringSubmatch(d.text, -1) {
			t.Run(d.path+" "+m[1], func(t *testing.T) {
				if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(m[1], "/..."))); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestNames looks for every test, benchmark and example that the documents name.
func TestNames(t *testing.T) {
	declared := make(map[string]bool)
	walk(t, "_test.go", func(_, text string) {
		for _, m := range declare.FindAllStringSubmatch(text, -1) {
			declared[m[1]] = true
		}
	})
	for _, d := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(d.text, -1) {
			t.Run(d.path+" "+m[1], func(t *testing.T) {
				if !declared[m[1]] {
					t.Errorf("%s is not in the tree", m[1])
				}
			})
		}
	}
}
