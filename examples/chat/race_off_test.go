//go:build !race

package main

const crowd = 200 // people in a full room
