//go:build !linux

// Command million opens as many idle WebSocket connections as the machine's limits allow. It needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "million: needs Linux: it goes by its limits, its loopback addresses and its /proc")
	os.Exit(1)
}
