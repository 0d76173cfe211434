//go:build linux

package main

// This file starts the clients' processes and listens to what they say.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// clientRole as the first argument makes this command a client.
const clientRole = "-client"

// What a client's process counts.
const (
	opened = iota
	received
	lost
	counters
)

// patience is how long nothing may change before the experiment has failed.
const patience = 60 * time.Second

// A crowd is all client processes.
type crowd struct {
	cmds []*exec.Cmd

	mu     sync.Mutex
	counts [][counters]int // of each process; guarded by mu
	err    error           // what went wrong first; guarded by mu
}

// start shares out the connections: each process gets its part of each address. On an error none is left.
func start(cfg config, addrs []string) (*crowd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crowd{counts: make([][counters]int, cfg.clients)}
	for i := range cfg.clients {
		args := []string{clientRole}
		for j, addr := range addrs {
			here := share(cfg.n, len(addrs), j)
			args = append(args, addr, strconv.Itoa(share(here, cfg.clients, i)))
		}
		cmd := exec.Command(self, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			c.stop()
			return nil, err
		}
		c.cmds = append(c.cmds, cmd)
		go c.listen(i, out)
	}
	return c, nil
}

// share is the part of n that the i-th of parts gets.
func share(n, parts, i int) int { return n*(i+1)/parts - n*i/parts }

// listen reads the lines of a process: its counters, as they stand.
func (c *crowd) listen(i int, out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var now [counters]int
		_, err := fmt.Sscan(lines.Text(), &now[opened], &now[received], &now[lost])
		c.mu.Lock()
		if err != nil {
			c.fail(fmt.Errorf("a client said %q", lines.Text()))
		}
		if now[lost] > 0 {
			c.fail(fmt.Errorf("%d connections of a client have ended", now[lost]))
		}
		c.counts[i] = now
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.fail(fmt.Errorf("a client has ended after %d connections", c.counts[i][opened]))
	c.mu.Unlock()
}

// fail is called with mu held.
func (c *crowd) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *crowd) sum(counter int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for _, counts := range c.counts {
		total += counts[counter]
	}
	return total
}

func (c *crowd) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// wait waits until count is n and shows how it grows.
func (c *crowd) wait(w io.Writer, what string, n int, count func() int) error {
	last, since, shown := -1, time.Now(), time.Now()
	for {
		have := count()
		if have >= n {
			return nil
		}
		if err := c.failed(); err != nil {
			return err
		}
		if have != last {
			last, since = have, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("%d of %d %s, and no more for %v", have, n, what, patience)
		}
		if time.Since(shown) > 5*time.Second {
			fmt.Fprintf(w, "%d of %d %s\n", have, n, what)
			shown = time.Now()
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *crowd) stop() {
	for _, cmd := range c.cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
