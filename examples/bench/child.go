//go:build linux

package main

// The processes: the program starts itself again for each contender and for the load generator, and talks to them in lines of JSON over
// their standard input and output.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// order is what the program asks of a child; each operation uses the fields that it needs.
type order struct {
	Op        string        `json:"op"`
	Addr      string        `json:"addr,omitempty"`
	PID       int           `json:"pid,omitempty"` // whose processor time counts
	Conns     int           `json:"conns,omitempty"`
	Depth     int           `json:"depth,omitempty"` // messages in flight on each connection
	Size      int           `json:"size,omitempty"`  // octets of a message
	Kind      string        `json:"kind,omitempty"`
	Raw       bool          `json:"raw,omitempty"`
	Accept    bool          `json:"accept,omitempty"`
	Singly    bool          `json:"singly,omitempty"`
	Offer     string        `json:"offer,omitempty"`
	Warm      time.Duration `json:"warm,omitempty"`
	Window    time.Duration `json:"window,omitempty"`
	Times     int           `json:"times,omitempty"`
	ByMessage bool          `json:"byMessage,omitempty"`
	Octets    int64         `json:"octets,omitempty"`
	Takeover  bool          `json:"takeover,omitempty"`
}

// result is what a child answers.
type result struct {
	Error    string        `json:"error,omitempty"`
	Addr     string        `json:"addr,omitempty"`
	Messages float64       `json:"messages,omitempty"`
	Octets   int64         `json:"octets,omitempty"`
	Plain    int64         `json:"plain,omitempty"`
	Elapsed  time.Duration `json:"elapsed,omitempty"`
	CPU      time.Duration `json:"cpu,omitempty"`
	Agreed   string        `json:"agreed,omitempty"`
	Heap     uint64        `json:"heap,omitempty"`  // octets in use, after garbage collection
	Stack    uint64        `json:"stack,omitempty"` // octets in use
	RSS      uint64        `json:"rss,omitempty"`
	Mallocs  uint64        `json:"mallocs,omitempty"`
	Routines int           `json:"routines,omitempty"`
}

type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// start runs this program again in a role, on one processor if cpu is not negative.
func start(cpu, procs int, role ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"-role"}, role...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", procs))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, cpu); err != nil {
		return nil, err
	}
	return &child{name: strings.Join(role, " "), cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}, nil
}

// startOn starts cmd bound to one processor: a process inherits that from the thread that forks it.
func startOn(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return errors.Join(cmd.Start(), unix.SchedSetaffinity(0, &before))
}

// ask sends an order and waits for its answer.
func (c *child) ask(o order) (result, error) {
	if err := c.tell(o); err != nil {
		return result{}, err
	}
	return c.answer(o)
}

func (c *child) tell(o order) error {
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, o.Op, err)
	}
	return nil
}

func (c *child) answer(o order) (result, error) {
	late := time.AfterFunc(2*time.Minute+o.Warm+o.Window, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	var r result
	if err := c.out.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %s: %w", c.name, o.Op, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s: %s", c.name, o.Op, r.Error)
	}
	return r, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process, which may be in the middle of anything.
func (c *child) stop() {
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// obey is a child's loop: it carries out orders until its standard input ends.
func obey(do func(order) (result, error)) error {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var o order
		err := in.Decode(&o)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := do(o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}
