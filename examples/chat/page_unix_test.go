//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/seed26cb4e35/websocket/internal/command"
	"github.com/seed26cb4e35/websocket/internal/devtools"
)

// What was sent when the server went away, and did not get there, is in the field again.
func TestPageKeepsWhatDidNotArrive(t *testing.T) {
	t.Parallel()
	b := devtools.Start(t)
	s := command.Serve(t, "chat", "-addr", "127.0.0.1:0")
	p := come(b, s.URL, "Anna")
	addr := strings.Trim(strings.TrimPrefix(s.URL, "http://"), "/")
	say(p, "arrives")
	waitLast(p, ".text", "arrives")
	s.Signal(syscall.SIGSTOP)
	say(p, "does not")
	s.Signal(syscall.SIGKILL)
	p.Wait(`document.querySelector("#state").value.startsWith("offline, again in")`)
	command.Serve(t, "chat", "-addr", addr)
	p.Wait(`document.querySelector("#state").value === "online" && document.querySelector("#text").value === "does not"`)
}
