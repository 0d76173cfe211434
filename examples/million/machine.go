//go:build linux

package main

// This file asks the machine: limits, memory.

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

const (
	spareDescriptors = 200      // for listeners, pipes, epoll, and what the runtime opens
	octetsEach       = 12 << 10 // of memory that the machine needs for both ends of a connection, estimated on the safe side
)

// raiseLimit raises the number of descriptors that this process and those that it starts may open, as far as it may, and returns it.
func raiseLimit() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if most := uint64(number("/proc/sys/fs/nr_open", "")); most > limit.Max {
		higher := syscall.Rlimit{Cur: most, Max: most}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil { // only root may
			return int(most), nil
		}
	}
	limit.Cur = limit.Max
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(limit.Cur), os.NewSyscallError("setrlimit", err)
}

// number reads the number that follows a name in a file of /proc; 0 if it is not there.
func number(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut("\n"+string(bytes.TrimSpace(b)), "\n"+name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// available is the memory that the machine has left, in octets.
func available() uint64 { return uint64(number("/proc/meminfo", "MemAvailable:")) << 10 }

// kernel is the memory that the kernel has for its own objects, sockets among them, in octets.
func kernel() int64 { return number("/proc/meminfo", "Slab:") << 10 }

// usage is the memory of this process, in octets.
type usage struct{ heap, stack, resident int64 }

// memory collects garbage and gives what is free back to the system before it looks.
func memory() usage {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what pools held goes in the second round
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{heap: int64(m.HeapInuse), stack: int64(m.StackInuse), resident: number("/proc/self/status", "VmRSS:") << 10}
}
