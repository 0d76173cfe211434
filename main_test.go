package websocket

// No goroutine outlives its connection: the last test of all.

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket/internal/command"
)

func TestMain(m *testing.M) {
	command.SideBySide()
	code := m.Run()
	if left := leftOver(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines of this package outlived the tests:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftOver returns the stacks of the goroutines that run code of this package and
// do not end within patience; "" if there are none.
func leftOver(patience time.Duration) string {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left := goroutinesOfPackage()
		if left == "" || time.Since(begun) > patience {
			return left
		}
	}
}

// goroutinesOfPackage returns the stacks of all goroutines but the caller's on
// which a function of this package is, or which such a function started.
func goroutinesOfPackage() string {
	const ours = "github.com/seed26cb4e35/websocket."
	buf := make([]byte, 1<<20)
	stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	var left []string
	for _, stack := range stacks[1:] { // the first is the caller's
		if strings.Contains(stack, ours) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

func TestLeftOverGoroutinesAreFound(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		<-stop
	}()
	if got := leftOver(0); !strings.Contains(got, "TestLeftOverGoroutinesAreFound") {
		t.Errorf("got %q, want the stack of a goroutine of this test", got)
	}
	close(stop)
	<-stopped
}
