//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/seed26cb4e35/websocket"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == clientRole {
		if err := run(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestOpensAllAndTellsAll(t *testing.T) {
	for _, mode := range []string{"-handle=false", "-handle"} {
		t.Run(mode, func(t *testing.T) {
			var out bytes.Buffer
			if err := run([]string{"-n", "300", "-clients", "3", "-rounds", "2", mode}, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.Bytes())
			}
			if got := strings.Count(out.String(), "sent to all:"); got != 2 {
				t.Errorf("%d messages to all, want 2\n%s", got, out.Bytes())
			}
			if !strings.Contains(out.String(), "\n300 connections, opened in ") {
				t.Errorf("no word of 300 connections:\n%s", out.Bytes())
			}
		})
	}
}

func TestRefusesWhatCannotBe(t *testing.T) {
	for _, args := range [][]string{{"-n", "-1"}, {"-clients", "0"}, {"-n", "2000000000"}, {"more"}} {
		if err := run(args, new(bytes.Buffer)); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// Where not all clients can be started, those that were are ended.
func TestAFailedStartLeavesNoProcess(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = 30
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	_, err := start(config{clients: 100}, nil)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Fatal("100 clients with 30 descriptors: no error")
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("clients are left: %v, want %v", err, syscall.ECHILD)
	}
}

func TestSharesAddUp(t *testing.T) {
	for _, n := range []int{0, 1, 7, 25000, 1 << 20} {
		for parts := 1; parts < 9; parts++ {
			total := 0
			for i := range parts {
				total += share(n, parts, i)
			}
			if total != n {
				t.Errorf("%d shared by %d gives %d", n, parts, total)
			}
		}
	}
}

// A message that comes in two reads is one message.
func TestFramesKeepsWhatIsLeft(t *testing.T) {
	message := websocket.AppendHeader(nil, websocket.Header{Fin: true, Opcode: websocket.OpText, Length: 3})
	message = append(message, "abc"...)
	all := bytes.Repeat(message, 4)
	for cut := range len(all) {
		var c client
		rest, err := c.frames(-1, all[:cut])
		if err != nil || c.counts[received] != cut/len(message) || !bytes.Equal(rest, all[cut/len(message)*len(message):cut]) {
			t.Errorf("%d octets: %d messages, %d octets left, %v", cut, c.counts[received], len(rest), err)
		}
	}
	closing := websocket.AppendHeader(nil, websocket.Header{Fin: true, Opcode: websocket.OpClose})
	if _, err := new(client).frames(-1, closing); err == nil {
		t.Error("a Close frame is no error")
	}
}

// A client that did not answer Pings would not stay connected.
func TestPingIsAnswered(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		t.Cleanup(func() { _ = syscall.Close(fd) })
	}
	ping := websocket.AppendHeader(nil, websocket.Header{Fin: true, Opcode: websocket.OpPing, Length: 2})
	if _, err := new(client).frames(pair[0], append(ping, "hi"...)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64)
	n, err := syscall.Read(pair[1], got)
	if err != nil {
		t.Fatal(err)
	}
	h, head, err := websocket.ParseHeader(got[:n])
	payload := got[head:n]
	websocket.Mask(payload, h.Key, 0)
	if err != nil || h.Opcode != websocket.OpPong || !h.Fin || !h.Masked || string(payload) != "hi" {
		t.Errorf("answered by %+v %q (%v), want a masked Pong with \"hi\"", h, payload, err)
	}
}
