package conform

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// This file holds as much HTTP/1.1 as an opening handshake needs (RFC 6455 section 4), able
// to write any of it wrong.

// crlf ends a line.
const crlf = "\r\n"

// maxHead bounds the head of a request or response, in octets.
const maxHead = 64 << 10

// A head is the head of a request or a response: its first line and its fields, in order.
type head struct {
	line   string
	fields []string // "Name: value"
}

// request is the plain opening handshake of a client, with placeholders for what differs
// from one connection to the next.
var request = head{"GET {target} HTTP/1.1", []string{
	"Host: {host}",
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Key: {key}",
	"Sec-WebSocket-Version: 13",
}}

// response is the plain answer of a server.
var response = head{"HTTP/1.1 101 Switching Protocols", []string{
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Accept: {accept}",
}}

// withLine returns h with another first line.
func (h head) withLine(line string) head { return head{line, h.fields} }

// without returns h without the fields of the given names.
func (h head) without(names ...string) head {
	var kept []string
	for _, f := range h.fields {
		name, _, _ := strings.Cut(f, ":")
		drop := false
		for _, n := range names {
			drop = drop || strings.EqualFold(n, name)
		}
		if !drop {
			kept = append(kept, f)
		}
	}
	return head{h.line, kept}
}

// with returns h with further fields at its end.
func (h head) with(fields ...string) head {
	return head{h.line, append(h.fields[:len(h.fields):len(h.fields)], fields...)}
}

// replaced returns h with its fields of one name replaced by the given ones.
func (h head) replaced(name string, fields ...string) head {
	return h.without(name).with(fields...)
}

// octets returns the head as it goes out.
func (h head) octets(fill *strings.Replacer) []byte {
	lines := append([]string{h.line}, h.fields...)
	return []byte(fill.Replace(strings.Join(lines, crlf) + crlf + crlf))
}

// String returns the head on one line, long fields cut.
func (h head) String() string {
	s := h.line
	for _, f := range h.fields {
		if len(f) > 150 {
			f = fmt.Sprintf("%s… (%d octets)", f[:100], len(f))
		}
		s += " | " + f
	}
	return s
}

// values returns the values of a field, without white space around them.
func (h head) values(name string) []string {
	var list []string
	for _, f := range h.fields {
		n, v, _ := strings.Cut(f, ":")
		if strings.EqualFold(n, name) {
			list = append(list, strings.TrimSpace(v))
		}
	}
	return list
}

// hasToken reports whether a field is a list that holds the token.
func (h head) hasToken(name, token string) bool {
	for _, v := range h.values(name) {
		for _, t := range strings.Split(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// errHead says that what came is no head of HTTP.
var errHead = errors.New("what came is no HTTP/1.1 head")

// readHead reads a head up to its empty line. io.EOF: nothing came at all.
func readHead(r *bufio.Reader) (head, []byte, error) {
	var raw []byte
	for !bytes.HasSuffix(raw, []byte(crlf+crlf)) {
		b, err := r.ReadByte()
		if err == io.EOF && len(raw) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return head{}, raw, err
		}
		if raw = append(raw, b); len(raw) > maxHead {
			return head{}, raw, errHead
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), crlf+crlf), crlf)
	for _, f := range lines[1:] {
		if name, _, ok := strings.Cut(f, ":"); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return head{}, raw, errHead
		}
	}
	return head{lines[0], lines[1:]}, raw, nil
}

// status returns the status code of a response, 0 if its first line is none.
func (h head) status() int {
	var minor, code int
	if n, _ := fmt.Sscanf(h.line, "HTTP/1.%d %d", &minor, &code); n != 2 {
		return 0
	}
	return code
}

// newKey returns a Sec-WebSocket-Key.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// acceptFor returns the Sec-WebSocket-Accept that belongs to a key (RFC 6455 section 4.2.2).
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
