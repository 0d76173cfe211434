package websocket

// The package is a stack of files: each uses only what stands above it. This test
// type-checks the package and names every use of something that is declared
// further down, and every import that a layer must not have.

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layer is one or more files: name.go, name_*.go.
type layer struct {
	name      string
	forbidden string // imports that would say that the layer knows too much
}

// layers stand in their order: a file uses only its own layer and those above.
var layers = []layer{
	{"mask", "io os net net/http time context sync sync/atomic"},
	{"utf8", "io os net net/http time context sync sync/atomic"},
	{"text", "io os net net/http time context sync/atomic"},
	{"close", "io os net net/http time context sync sync/atomic"},
	{"frame", "io os net net/http time context sync sync/atomic"},
	{"message", "io os net net/http time context sync sync/atomic"},
	{"deflate", "os net net/http time context"},
	{"wait", "net/http context"},
	{"reader", "os net net/http time context sync"},
	{"writer", "net/http context"},
	{"queue", "io os net net/http time context"},
	{"conn", "net/http"},
	{"json", "net net/http time"},
	{"netconn", "net/http"},
	{"handshake", ""},
	{"dial", ""},
	{"events", "net/http"},
	{"server", ""},
	{"doc", ""},
}

// maxLines is how long a function may be that is more than one flat switch.
const maxLines = 60

// unwanted files hold what has no better place than its kind.
var unwanted = []string{"errors.go", "util.go", "utils.go", "options.go", "types.go", "helpers.go", "common.go"}

// everywhere are imports that no layer has.
var everywhere = []string{"unsafe", "C", "math/rand", "math/rand/v2"}

// stack is a package as the checker sees it.
type stack struct {
	fset  *token.FileSet
	files map[string]*ast.File // by name
	goMod string
	names []string // of all files in the folder
	lax   bool     // type errors don't count: the files are another system's
}

func TestLayers(t *testing.T) {
	imports := exportData(t)
	for _, system := range []string{build.Default.GOOS, "windows"} {
		s := load(t, system)
		for _, offence := range s.check(t, importer.ForCompiler(s.fset, "gc", imports)) {
			t.Errorf("GOOS=%s: %s", system, offence)
		}
	}
}

// load parses the files that are compiled for a system.
func load(t *testing.T, system string) *stack {
	t.Helper()
	s := &stack{fset: token.NewFileSet(), files: map[string]*ast.File{}, lax: system != build.Default.GOOS}
	context := build.Default
	context.GOOS, context.CgoEnabled = system, false
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		s.names = append(s.names, name)
		if matches, err := context.MatchFile(".", name); err != nil {
			t.Fatal(err)
		} else if !matches || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		s.parse(t, name, nil)
	}
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	s.goMod = string(goMod)
	return s
}

func (s *stack) parse(t *testing.T, name string, source any) {
	t.Helper()
	f, err := parser.ParseFile(s.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s.files[name] = f
}

// exportData finds the compiled form of what the package imports. One run of go
// list is a tenth of what the type checker would spend on the sources.
func exportData(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		paths[path] = file
	}
	return func(path string) (io.ReadCloser, error) {
		if paths[path] == "" {
			return nil, fmt.Errorf("%s is not compiled for this system", path)
		}
		return os.Open(paths[path])
	}
}

// check returns all offences, sorted.
func (s *stack) check(t *testing.T, imports types.Importer) []string {
	t.Helper()
	offences := s.uses(t, imports)
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		offences = append(offences, s.fileOffences(name)...)
	}
	for line := range strings.Lines(s.goMod) {
		if strings.HasPrefix(line, "require") {
			offences = append(offences, "go.mod: "+strings.TrimSpace(line))
		}
	}
	for _, name := range s.names {
		if slices.Contains(unwanted, name) || filepath.Ext(name) == ".s" {
			offences = append(offences, name+": there is no layer of that kind")
		}
	}
	slices.Sort(offences)
	return slices.Compact(offences)
}

// rank is the place of a file's layer in the order, or -1.
func rank(name string) int {
	stem, _, _ := strings.Cut(strings.TrimSuffix(name, ".go"), "_")
	return slices.IndexFunc(layers, func(l layer) bool { return l.name == stem })
}

// uses finds the names, fields and methods that are declared further down than
// they are used.
func (s *stack) uses(t *testing.T, imports types.Importer) []string {
	t.Helper()
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: imports, Error: func(err error) {
		if !s.lax {
			t.Error(err)
		}
	}}
	files := slices.SortedFunc(maps.Values(s.files), func(a, b *ast.File) int { return cmp.Compare(a.Pos(), b.Pos()) })
	pkg, _ := config.Check("websocket", s.fset, files, info) // errors went to Error
	var offences []string
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || object.Parent() == types.Universe {
			continue
		}
		user, declarer := s.fileOf(ident), s.fileOf(object)
		if rank(user) < rank(declarer) {
			at := s.fset.Position(ident.Pos())
			offences = append(offences, fmt.Sprintf("%s:%d: uses %s, which %s declares further down", user, at.Line, object.Name(), declarer))
		}
	}
	return offences
}

func (s *stack) fileOf(at interface{ Pos() token.Pos }) string {
	return filepath.Base(s.fset.Position(at.Pos()).Filename)
}

// fileOffences finds what one file alone does wrong.
func (s *stack) fileOffences(name string) []string {
	at := rank(name)
	if at < 0 {
		return []string{name + ": belongs to no layer"}
	}
	var offences []string
	forbidden := append(strings.Fields(layers[at].forbidden), everywhere...)
	for _, imported := range s.files[name].Imports {
		if path, _ := strconv.Unquote(imported.Path.Value); slices.Contains(forbidden, path) {
			offences = append(offences, fmt.Sprintf("%s: must not import %s", name, path))
		}
	}
	for _, decl := range s.files[name].Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		if n := s.lines(f.Body); n > maxLines && !s.isFlatSwitch(f.Body) {
			offences = append(offences, fmt.Sprintf("%s: func %s has %d lines, more than %d", name, f.Name.Name, n, maxLines))
		}
	}
	return offences
}

// lines is how many lines a node has, its braces' included.
func (s *stack) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// isFlatSwitch says whether a body is one switch, in whose cases nothing is
// nested, and little else.
func (s *stack) isFlatSwitch(body *ast.BlockStmt) bool {
	for _, stmt := range body.List {
		sw, ok := stmt.(*ast.SwitchStmt)
		if !ok || s.lines(body)-s.lines(sw) > maxLines/2 {
			continue
		}
		return !slices.ContainsFunc(sw.Body.List, isNested)
	}
	return false
}

// isNested says whether a case of a switch does more than one thing after another.
func isNested(clause ast.Stmt) bool {
	return slices.ContainsFunc(clause.(*ast.CaseClause).Body, func(s ast.Stmt) bool {
		switch s.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.BlockStmt:
			return true
		}
		return false
	})
}

// The checker is held against a package that breaks every rule.
func TestLayersFindsEveryOffence(t *testing.T) {
	switchOf := func(body string) string {
		return "switch {\n" + strings.Repeat("case true:\n"+body, maxLines) + "}\n"
	}
	s := &stack{
		fset:  token.NewFileSet(),
		files: map[string]*ast.File{},
		goMod: "module x\n\ngo 1.25\n\nrequire example.com/y v1.0.0\n",
		names: []string{"util.go", "mask_amd64.s", "frame.go"},
	}
	for name, source := range map[string]string{
		"mask.go":      "import _ \"unsafe\"\n import _ \"math/rand\"\n func Mask() { _ = Header{} }",
		"frame.go":     "import _ \"time\"\n type Header struct { Length int }\n func (Header) size() int { return 1 }",
		"message.go":   "func accept(h Header) { var r reader\n _ = h.Length + r.pos\n r.fill() }",
		"reader.go":    "import _ \"sync\"\n type reader struct { pos int }\n func (*reader) fill() {}",
		"conn.go":      "func newConn() *Conn { return &Conn{closed: true} }",
		"conn_ping.go": "type Conn struct { closed bool }\n func ping() { newConn() }",
		"errno.go":     "var x = 1",
		"json.go":      "func long() {\n" + strings.Repeat("newConn()\n", maxLines) + "}\nfunc nested() {\n" + switchOf("if true {\n}\n") + "}\nfunc flat() {\n" + switchOf("newConn()\n") + "}",
	} {
		s.parse(t, name, "package websocket\n"+source)
	}
	want := []string{
		"errno.go: belongs to no layer",
		"frame.go: must not import time",
		"go.mod: require example.com/y v1.0.0",
		"json.go: func long has 62 lines, more than 60",
		"json.go: func nested has 184 lines, more than 60",
		"mask.go: must not import math/rand",
		"mask.go: must not import unsafe",
		"mask.go:4: uses Header, which frame.go declares further down",
		"mask_amd64.s: there is no layer of that kind",
		"message.go:2: uses reader, which reader.go declares further down",
		"message.go:3: uses pos, which reader.go declares further down",
		"message.go:4: uses fill, which reader.go declares further down",
		"reader.go: must not import sync",
		"util.go: there is no layer of that kind",
	}
	nothing := importer.ForCompiler(s.fset, "gc", func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil })
	s.lax = true // the imports are made up
	got := s.check(t, nothing)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
