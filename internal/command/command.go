// Package command runs the examples as a stranger would: built, started, spoken to from outside, and ended by a signal.
package command

// This file holds building, starting and ending.

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a command may take to start, and to end.
const patience = 20 * time.Second

// dir holds the commands that Main has built.
var dir string

// SideBySide has four tests run at a time, unless the command line says otherwise: they wait more than they work. It is for
// TestMain.
func SideBySide() {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", "4") // a number, as it wants one
	}
}

// Main builds packages, runs the tests of m, and returns their exit status, for TestMain to end with.
func Main(m *testing.M, packages ...string) int {
	var err error
	if dir, err = os.MkdirTemp("", "command"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build %v: %v\n%s", packages, err, out)
		return 1
	}
	SideBySide()
	return m.Run()
}

// New returns a command that Main has built, not started yet. It ends with the test at the latest.
func New(t testing.TB, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, name), args...)
	cmd.WaitDelay = patience
	return cmd
}

// A Server is a command that listens.
type Server struct {
	URL string // as the command has printed it

	t      testing.TB
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// Serve starts a command that Main has built and waits for its line "listening on URL".
func Serve(t testing.TB, name string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, cmd: New(t, name, args...)}
	s.cmd.Stderr = &s.stderr
	// A pipe of our own: StdoutPipe's must not be waited for before all is read.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.stdout = w, bufio.NewReader(r)
	err = s.cmd.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // an error also where End has waited
		_ = r.Close()
	})
	_ = r.SetReadDeadline(time.Now().Add(patience))
	line, err := s.stdout.ReadString('\n')
	_ = r.SetReadDeadline(time.Time{})
	url, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%s %v printed %q (%v), want \"listening on …\"\n%s", name, args, line, err, s.stderr.Bytes())
	}
	s.URL = url
	return s
}

// Signal sends the command a signal.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// End waits until the command has ended, and fails the test if its exit status is not 0, or if it has printed more than
// its one line.
func (s *Server) End() {
	s.t.Helper()
	late := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	rest, err := io.ReadAll(s.stdout)
	if err != nil || len(rest) > 0 {
		s.t.Errorf("%s printed more than one line: %q (%v)", s.cmd.Path, rest, err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%s: %v, want exit status 0\n%s", s.cmd.Path, err, s.stderr.Bytes())
	}
	if !late.Stop() {
		s.t.Errorf("%s did not end within %v", s.cmd.Path, patience)
	}
}
