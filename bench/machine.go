package main

import (
	"os"
	"strconv"
	"strings"
)

// loadAverage is that of the last minute, and the text for all three; empty where
// the system does not tell it in a file.
func loadAverage() (minute float64, text string) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, "unknown"
	}
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return 0, "unknown"
	}
	minute, err = strconv.ParseFloat(f[0], 64)
	if err != nil {
		return 0, "unknown"
	}
	return minute, strings.Join(f[:3], " ")
}

// cpuName is what the processor calls itself.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown"
}
