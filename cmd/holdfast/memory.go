package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// machineMemory is the memory that this process and its children may use: the
// machine's, or less in a container.
type machineMemory struct{}

// unknownMemory stands where the platform does not tell.
const unknownMemory = 1 << 62

// thisMachine is where its control groups stand.
var thisMachine = controlGroups{proc: "/proc", sys: "/sys/fs/cgroup"}

// Available is how many bytes are free, or can be freed at once.
func (machineMemory) Available() int64 {
	_, free := thisMachine.memory()
	return min(procMeminfo("MemAvailable"), free)
}

// Total is how many bytes there are.
func (machineMemory) Total() int64 {
	limit, _ := thisMachine.memory()
	return min(procMeminfo("MemTotal"), limit)
}

// procMeminfo reads a line of /proc/meminfo, which is in KiB.
func procMeminfo(name string) int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return unknownMemory
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name+":")
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64); err == nil {
			return n << 10
		}
	}
	return unknownMemory
}
