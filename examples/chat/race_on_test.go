//go:build race

package main

const crowd = 500 // people in a full room
