package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticks a second in which the kernel counts; the same on every Linux that Go runs on.
const ticks = 100

// busy is what the process has used of the processors, in seconds.
func (s *server) busy() float64 { return processBusy(s.cmd.Process.Pid) }

// processBusy is what a process has used of the processors, in seconds; 0 of one that has ended.
func processBusy(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return float64(user+system) / ticks
}

// peakMemory is the most memory that a process has had so far, in bytes; 0 of one that has ended.
func peakMemory(pid int) int64 { return memoryOf(pid, "VmHWM:") }

// residentMemory is what memory a process has, in bytes; 0 of one that has ended.
func residentMemory(pid int) int64 { return memoryOf(pid, "VmRSS:") }

func memoryOf(pid int, field string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), field)
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}
