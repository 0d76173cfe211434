package main

// This file holds what goes over the socket: JSON objects, each with a type.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName     = 30   // characters
	maxText     = 2000 // characters
	maxStrength = 10
	maxMessage  = 32 << 10 // octets of a message, which maxText characters fit into however they are written
)

// A request is what a client sends: join with a name, chat with a text, applause with a strength, typing.
type request struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Text     string `json:"text"`
	Strength int    `json:"strength"`
}

// A person is someone who has joined.
type person struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// A welcome is what a connection gets once: all that happened before, also what it was told already. From then on it is told
// what happens, in order.
type welcome struct {
	Type     string   `json:"type"`
	ID       int      `json:"id"` // whoever is behind this connection will have this ID
	Present  int      `json:"present"`
	People   []person `json:"people"`
	Applause int      `json:"applause"`
	History  []chat   `json:"history"`
	Limits   limits   `json:"limits"`
}

// limits tell a page what it need not try.
type limits struct {
	Name     int `json:"name"`
	Text     int `json:"text"`
	Strength int `json:"strength"`
}

// A presence says who has come or gone: its type is join or leave.
type presence struct {
	Type string `json:"type"`
	person
	Present int `json:"present"` // people, from now on
}

// A chat is what someone has written.
type chat struct {
	Type string `json:"type"`
	person
	Text string `json:"text"`
	Time int64  `json:"time"` // milliseconds since 1970
}

// An applause says who claps, and how much.
type applause struct {
	Type string `json:"type"`
	person
	Strength int `json:"strength"`
	Total    int `json:"total"` // of all, from now on
}

// A typing says who is writing something.
type typing struct {
	Type string `json:"type"`
	person
}

// A refusal answers a message that was not taken. Its type is error.
type refusal struct {
	Type    string `json:"type"`
	Code    string `json:"code"`            // for programs
	Message string `json:"message"`         // for people
	About   string `json:"about,omitempty"` // the type of what was refused, where it has one
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{Type: "error", Code: code, Message: fmt.Sprintf(format, args...)}
}

// parse reads a client's message. It refuses what is no request at all.
func parse(data []byte) (request, *refusal) {
	var req request
	err := json.Unmarshal(data, &req)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return request{}, refuse("bad_field", "%s must not be a %s.", wrong.Field, wrong.Value)
	case err != nil || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")):
		return request{}, refuse("bad_json", "That is no JSON object.")
	case req.Type == "":
		return request{}, refuse("no_type", "The object has no type.")
	}
	return req, nil
}

// cleanName returns name as others will see it: in one line, without what can't be seen or turns the line around.
func cleanName(name string) (string, *refusal) {
	name = inWords(strings.Map(visible, name))
	switch {
	case look(name) == "":
		return "", refuse("no_name", "Please give a name.")
	case utf8.RuneCountInString(name) > maxName:
		return "", refuse("too_long", "A name has at most %d characters.", maxName)
	}
	return name, nil
}

// look is what can be seen of a name: two of the same look differ only in what shapes its neighbours, if anything.
func look(name string) string {
	return inWords(strings.Map(func(r rune) rune {
		if shapes(r) {
			return -1
		}
		return r
	}, name))
}

func inWords(name string) string { return strings.Join(strings.Fields(name), " ") }

// visible keeps a character of a name, or drops it.
func visible(r rune) rune {
	switch {
	case shapes(r):
		return r
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || r == '\u2800': // letters and a symbol that are blank
		return -1
	case unicode.IsPrint(r):
		return r
	case unicode.IsSpace(r):
		return ' '
	}
	return -1
}

// shapes reports whether r is seen only by what it does to its neighbours: it holds emoji together, or letters apart.
func shapes(r rune) bool {
	return unicode.Is(unicode.Join_Control, r) || unicode.Is(unicode.Variation_Selector, r)
}

// cleanText returns text as others will see it. HTML stays as it is: it is text, and the page shows it as such.
func cleanText(text string) (string, *refusal) {
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "", refuse("no_text", "The message is empty.")
	case n > maxText:
		return "", refuse("too_long", "A message has at most %d characters; this one has %d.", maxText, n)
	}
	return text, nil
}
