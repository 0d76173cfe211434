package main

// This file holds a conversation: lines to messages, messages to lines, and how it ends.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed26cb4e35/websocket"
)

// pongWait is the longest that the end of the input waits for a Pong.
const pongWait = 10 * time.Second

// lineWait is how long the end of a connection waits to learn of a line that has come too late.
const lineWait = 100 * time.Millisecond

// A session is one connection between standard input and output.
type session struct {
	*config
	conn    *websocket.Conn
	typed   bool          // a person types, on the terminal where the lines that arrive are shown
	shown   bool          // a terminal shows the lines that arrive
	arrived chan struct{} // has room for one: something has arrived since it was last empty
	ended   chan error    // has room for one: why nothing is read any more
	sending atomic.Bool   // a line is being sent
}

// run opens the connection and talks until it has ended. It returns nil after a clean close.
func run(ctx context.Context, cfg *config) error {
	conn, resp, err := websocket.Dial(ctx, cfg.url, &cfg.opts)
	if err != nil {
		return explain(err, resp)
	}
	say("open: %s%s", redacted(cfg.url), agreed(conn))
	s := newSession(cfg, conn, os.Stdin, os.Stdout)
	go func() { s.ended <- s.receive(os.Stdout) }()
	if cfg.ping > 0 {
		go s.pings()
	}
	return s.talk(ctx, os.Stdin)
}

func newSession(cfg *config, conn *websocket.Conn, in, out *os.File) *session {
	return &session{
		config:  cfg,
		conn:    conn,
		typed:   isTerminal(in) && isTerminal(out),
		shown:   isTerminal(out),
		arrived: make(chan struct{}, 1),
		ended:   make(chan error, 1),
	}
}

// explain adds what the server wrote to the error of a dial.
func explain(err error, resp *http.Response) error {
	if resp == nil || resp.Body == nil {
		return err
	}
	body, _ := io.ReadAll(resp.Body) // the first KiB, already here
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return err
	}
	return fmt.Errorf("%w\n%s", err, printable(body))
}

// redacted returns address without the password that it may have.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "" // which nobody could dial
	}
	return u.Redacted()
}

func agreed(c *websocket.Conn) string {
	if c.Subprotocol() == "" {
		return ""
	}
	return ", subprotocol " + c.Subprotocol()
}

// say tells the user what is not a message.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// talk sends the lines of in, and closes once they, the connection or ctx have ended.
func (s *session) talk(ctx context.Context, in io.Reader) error {
	sent := make(chan error, 1)
	// Reading from a terminal can't be stopped: this goroutine may outlive talk, until the command ends.
	go func() { sent <- s.sendLines(ctx, in) }()
	var bad error
	select {
	case bad = <-sent:
		if over, err := s.awaitAnswers(ctx); over {
			return errors.Join(bad, s.finish(err))
		}
	case err := <-s.ended:
		return errors.Join(s.lateLine(sent), s.finish(err))
	case <-ctx.Done():
		bad = s.lateLine(sent)
	}
	if err := s.conn.Close(s.code, s.reason); err != nil {
		return errors.Join(bad, err)
	}
	say("closed: %s", outcome(s.code, s.reason))
	return bad
}

// lateLine waits, once the connection is over, for the error of a line that was not sent any more.
func (s *session) lateLine(sent <-chan error) error {
	for {
		select {
		case bad := <-sent:
			return bad
		case <-time.After(lineWait):
			if !s.sending.Load() { // nobody has typed one
				return nil
			}
		}
	}
}

// finish reports how the server, or the network, has ended the connection: nil if cleanly.
func (s *session) finish(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		say("closed by the server: %s", outcome(closed.Code, closed.Reason))
		err = nil
	}
	// The connection is over, but our last Close frame may still be on its way.
	return errors.Join(err, s.conn.Close(s.code, s.reason))
}

// outcome returns a close code and its reason for people to read, in one line: a second could pass for one of ours.
func outcome(code websocket.StatusCode, reason string) string {
	if code == websocket.StatusNoStatusRcvd {
		return "no code"
	}
	shown := strings.ReplaceAll(string(printable([]byte(reason))), "\n", `\x0a`)
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, shown))
}

// sendLines sends each line as a message, up to the first for which there is no connection any more. A line that can't be a
// message is reported and left out. The error tells of the last line that was not sent, and of an input that broke off.
func (s *session) sendLines(ctx context.Context, in io.Reader) error {
	var bad error
	lines := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return errors.Join(bad, fmt.Errorf("line %d was not read: %w", n, err)) // nor is a part of it sent
		}
		if err != nil && len(line) == 0 {
			return bad
		}
		s.sending.Store(true)
		err = s.sendLine(ctx, bytes.TrimRight(line, "\r\n"))
		s.sending.Store(false)
		if err != nil {
			bad = fmt.Errorf("line %d was not sent: %w", n, err)
			if ctx.Err() != nil || s.conn.Context().Err() != nil {
				return bad
			}
			say("%v", bad)
		}
	}
}

func (s *session) sendLine(ctx context.Context, line []byte) error {
	if !s.binary {
		return s.conn.Write(ctx, websocket.Text, line)
	}
	octets, err := hex.DecodeString(strings.ReplaceAll(string(line), " ", ""))
	if err != nil {
		return err
	}
	return s.conn.Write(ctx, websocket.Binary, octets)
}

// awaitAnswers waits until the server has probably answered all, or until ctx ends. It tells whether the
// connection is over by then, and why.
func (s *session) awaitAnswers(ctx context.Context) (over bool, err error) {
	ponged := make(chan struct{})
	go func() {
		defer close(ponged)
		ctx, cancel := context.WithTimeout(ctx, pongWait)
		defer cancel()
		_, _ = s.conn.Ping(ctx) // no Pong, no hint: the pause alone decides
	}()
	select {
	case <-ponged:
	case err := <-s.ended:
		return true, err
	}
	for {
		var pause <-chan time.Time
		if s.wait >= 0 {
			pause = time.After(s.wait)
		}
		select {
		case <-s.arrived:
		case <-pause:
			return false, nil
		case <-ctx.Done():
			return false, nil
		case err := <-s.ended:
			return true, err
		}
	}
}

// receive prints each message that arrives as a line.
func (s *session) receive(out io.Writer) error {
	for msg, err := range s.conn.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if _, err := out.Write(s.line(msg)); err != nil {
			return fmt.Errorf("print a message: %w", err)
		}
		select {
		case s.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

// line returns the line that shows msg.
func (s *session) line(msg websocket.Message) []byte {
	text := msg.Data
	if msg.Type == websocket.Binary {
		text = hex.AppendEncode(nil, msg.Data)
	}
	if s.shown {
		text = printable(text)
	}
	if s.typed {
		text = append([]byte("< "), bytes.ReplaceAll(text, []byte("\n"), []byte("\n< "))...)
	}
	return append(text, '\n')
}

// printable returns text that a terminal shows as it is: control characters, which could move the cursor or do worse, are
// written out, and so is what would have the rest of a line shown in another order.
func printable(text []byte) []byte {
	show := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case unicode.IsControl(r) && r != '\n' && r != '\t':
			show = fmt.Appendf(show, `\x%02x`, r)
		case unicode.Is(unicode.Bidi_Control, r):
			show = fmt.Appendf(show, `\u%04x`, r)
		default:
			show = utf8.AppendRune(show, r)
		}
	}
	return show
}

// pings sends a Ping each interval and prints its round trip, until one fails with the connection.
func (s *session) pings() {
	tick := time.NewTicker(s.ping)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.conn.Context().Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.conn.Context(), pongWait)
		took, err := s.conn.Ping(ctx)
		cancel()
		if err != nil {
			say("no Pong: %v", err)
			continue
		}
		say("Pong after %v", took.Round(time.Microsecond))
	}
}
