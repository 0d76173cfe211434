// Package conform examines WebSocket endpoints against RFC 6455 and RFC 7692.
//
// It plays the peer: a client for a server under test ([ExamineServer]), a server for a
// client under test ([Listen]). The endpoint under test echoes every message with its
// type until the connection is closed; nothing else is asked of it. The package has
// frames and a handshake of its own, able to write what the RFC forbids, and uses no
// WebSocket library.
//
// A [Case] is one conversation and the sentence that it enforces. Its outcome is right,
// tolerable (the RFC allows it or says SHOULD), or wrong.
package conform

import (
	"fmt"
	"time"
)

// This file holds what the rest is about: cases, verdicts, results.

// Role says which end of a connection the endpoint under test is.
type Role uint8

// The roles of an endpoint under test.
const (
	Server Role = 1 << iota
	Client
	Both = Server | Client
)

// String returns "server", "client" or "both".
func (r Role) String() string {
	switch r {
	case Server:
		return "server"
	case Client:
		return "client"
	}
	return "both"
}

// A Case is one conversation with the endpoint under test.
type Case struct {
	ID       string // section and name: "5.2-rsv1-text"
	Section  string // "5.2"; "7692 7.1" where it is not RFC 6455
	Sentence string // what is enforced, in the RFC's words
	Title    string // what the kit does
	Roles    Role   // whom it examines

	bare   bool   // the steps include the opening handshake
	alone  bool   // nothing else may run meanwhile: memory is measured, or the machine is kept busy
	heavy  bool   // moves megabytes or waits for seconds
	needs  int64  // octets of its biggest message; skipped where the endpoint's limit is known to be smaller
	offer  string // Sec-WebSocket-Extensions of the request to a server under test
	answer string // Sec-WebSocket-Extensions of the response to a client under test
	steps  []step
}

// Steps describes the conversation, a line a step.
func (c *Case) Steps() []string {
	var lines []string
	for _, s := range c.steps {
		lines = append(lines, s.String())
	}
	return lines
}

// Heavy reports whether the case moves megabytes or lasts for seconds.
func (c *Case) Heavy() bool { return c.heavy }

// Alone reports whether nothing else may run meanwhile: the case measures memory, or keeps
// the machine busy.
func (c *Case) Alone() bool { return c.alone }

// A Verdict is the outcome of one case. A larger one is worse.
type Verdict uint8

// The verdicts. Skipped: the endpoint does not have what the case is about (an extension,
// a limit), as it may.
const (
	Skipped Verdict = iota
	Right
	Tolerable
	Wrong
)

var verdictNames = [...]string{"skipped", "right", "tolerable", "wrong"}

// String returns the verdict in lower case.
func (v Verdict) String() string { return verdictNames[v] }

// MarshalText makes a verdict a word in JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (v *Verdict) UnmarshalText(b []byte) error {
	for i, name := range verdictNames {
		if name == string(b) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("conform: no verdict is called %q", b)
}

// A Result is what became of one case.
type Result struct {
	ID       string        `json:"id"`
	Section  string        `json:"section"`
	Sentence string        `json:"sentence"`
	Title    string        `json:"title"`
	Role     string        `json:"role"`
	Verdict  Verdict       `json:"verdict"`
	Why      string        `json:"why,omitempty"`   // for all but Right: what was expected and what came
	Steps    []string      `json:"steps,omitempty"` // the conversation, where it fell short
	Log      []string      `json:"log,omitempty"`   // the wire, where it fell short
	Took     time.Duration `json:"took"`            // nanoseconds
}

// Config says what the kit may know about the endpoint under test. The zero value will do.
type Config struct {
	// Limit is the endpoint's read limit, octets of one message. 0: not known, and cases
	// that need it are skipped.
	Limit int64
	// Patience is how long an answer may take. 0: 5 s. A right endpoint never needs it, so
	// it is the time that a wrong one costs. An eighth of it is the least that something is
	// given that has to happen soon.
	Patience time.Duration
	// Memory tells how many octets the endpoint's process holds. nil: not measured.
	Memory func() int64
	// Parallel is how many cases run at a time against a server. 0: 16.
	Parallel int
	// Match chooses cases by their id. nil: all.
	Match func(c *Case) bool
	// Progress is told each result as it comes, from one goroutine at a time.
	Progress func(Result)
}

// withDefaults returns cfg with its zeros resolved.
func (cfg Config) withDefaults() Config {
	if cfg.Patience == 0 {
		cfg.Patience = 5 * time.Second
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 16
	}
	if cfg.Match == nil {
		cfg.Match = func(*Case) bool { return true }
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Result) {}
	}
	return cfg
}

// selected returns the cases for an endpoint in the given role, in order.
func (cfg Config) selected(role Role) []*Case {
	var list []*Case
	for _, c := range Cases() {
		if c.Roles&role != 0 && cfg.Match(c) {
			list = append(list, c)
		}
	}
	return list
}
