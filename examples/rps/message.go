package main

// This file holds what goes over the socket: JSON objects, each with a type. People are known by their IDs.

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A request is what a client sends: its type is move.
type request struct {
	Type string `json:"type"`
	Move move   `json:"move"`
}

// A move is what a player shows.
type move string

const (
	scissors move = "schere"
	rock     move = "stein"
	paper    move = "papier"
)

// beaten is what each move beats.
var beaten = map[move]move{scissors: paper, rock: scissors, paper: rock}

// A standing is a player's place in the game.
type standing struct {
	ID    int  `json:"id"`
	Score int  `json:"score"`
	Open  bool `json:"open"` // has made a move that nobody has answered yet
}

// A welcome is what a connection gets once: how things stand. What came before is in it, and from then on the connection is
// told what happens, in order.
type welcome struct {
	Type    string     `json:"type"`
	ID      int        `json:"id"` // the player behind this connection
	Players []standing `json:"players"`
}

// An event tells of one player: its type is login or logout, or turn when the player has made a move that nobody has
// answered yet. What the move is stays a secret.
type event struct {
	Type string `json:"type"`
	ID   int    `json:"id"`
}

// A score says how a round ended. Its type is score.
type score struct {
	Type    string   `json:"type"`
	Winner  int      `json:"winner"`  // an ID; 0: nobody
	Players [2]shown `json:"players"` // in the order of their moves
}

// A shown is what a player has shown in a round, and the score since.
type shown struct {
	ID    int  `json:"id"`
	Move  move `json:"move"`
	Score int  `json:"score"`
}

// A refusal answers a message that was not taken. Its type is error.
type refusal struct {
	Type    string `json:"type"`
	Code    string `json:"code"`    // for programs
	Message string `json:"message"` // for people
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{"error", code, fmt.Sprintf(format, args...)}
}

// parse reads a client's message, or refuses it.
func parse(data []byte) (move, *refusal) {
	var req request
	err := json.Unmarshal(data, &req)
	switch {
	case err != nil || !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")):
		return "", refuse("bad_json", "Das ist kein JSON-Objekt mit type und move.")
	case req.Type != "move":
		return "", refuse("unknown_type", "Den Typ %.40q gibt es nicht, nur move.", req.Type)
	case beaten[req.Move] == "":
		return "", refuse("unknown_move", "Den Zug %.40q gibt es nicht: schere, stein, papier.", req.Move)
	}
	return req.Move, nil
}
