package main

import (
	"os"
	"strconv"
	"strings"

	"holdfast.dev/internal/metrics"
)

// machineFigures are those of the machine that all nodes run on. On platforms without
// /proc there are none.
func machineFigures() metrics.Host {
	busy, total, ok := procStat("/proc/stat")
	if !ok {
		return metrics.Host{}
	}
	h := metrics.Host{CPUBusy: busy, CPUTotal: total, FreeMemory: float64(machineMemory{}.Available())}
	if all, free := procMeminfo("SwapTotal"), procMeminfo("SwapFree"); all != unknownMemory && free <= all {
		h.Swap = float64(all - free)
	}
	return h
}

// procStat adds up what all processors did, in ticks since boot. Idle are the fourth and the
// fifth column, of which the latter waits for disks; what guests take is in the first two already.
func procStat(path string) (busy, total float64, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, false
	}
	first, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(first)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, false
	}
	var idle float64
	for i, s := range f[1:9] {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, 0, false
		}
		total += n
		if i == 3 || i == 4 {
			idle += n
		}
	}
	return total - idle, total, true
}
