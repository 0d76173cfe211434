package main

// This file holds how busy the machine is, as Linux tells it. Elsewhere nothing is known.

import (
	"fmt"
	"os"
)

// A reading is what is known of the machine at one time; nil is not known.
type reading struct {
	cpu  *float64 // percent of all processors that were busy since the last reading
	load *float64 // processes that ran or wanted to, averaged over a minute
}

// A machine remembers the last reading. The zero value has none.
type machine struct {
	busy, all float64  // time of all processors since the start, in units that only /proc/stat knows
	cpu       *float64 // of the last reading
}

// look reads how busy the machine is.
func (m *machine) look() reading {
	stat, _ := os.ReadFile("/proc/stat") // without it nothing is known
	if busy, all, ok := processorTime(stat); ok && all > m.all {
		percent := 100 * (busy - m.busy) / (all - m.all)
		m.busy, m.all, m.cpu = busy, all, &percent
	} // else no time has passed in those units
	r := reading{cpu: m.cpu}
	loads, _ := os.ReadFile("/proc/loadavg")
	var load float64
	if _, err := fmt.Sscan(string(loads), &load); err == nil {
		r.load = &load
	}
	return r
}

// processorTime reads /proc/stat: "cpu", then the time spent on user, nice, system, idle, waiting for devices, interrupts,
// their later parts, and other systems of the same machine.
func processorTime(stat []byte) (busy, all float64, ok bool) {
	var name string
	var user, nice, system, idle, wait, irq, soft, steal float64
	_, err := fmt.Sscan(string(stat), &name, &user, &nice, &system, &idle, &wait, &irq, &soft, &steal)
	busy = user + nice + system + irq + soft + steal
	return busy, busy + idle + wait, err == nil
}
