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

// Available is how many bytes are free, or can be freed at once.
func (machineMemory) Available() int64 {
	free := procMeminfo("MemAvailable")
	if limit, used, ok := cgroupMemory(); ok {
		free = min(free, max(limit-used, 0))
	}
	return free
}

// Total is how many bytes there are.
func (machineMemory) Total() int64 {
	total := procMeminfo("MemTotal")
	if limit, _, ok := cgroupMemory(); ok {
		total = min(total, limit)
	}
	return total
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

// cgroupMemory reads the limit of the control group that a container is in, of
// either version. A group without a limit counts as none.
func cgroupMemory() (limit, used int64, ok bool) {
	for _, files := range [][2]string{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, ok1 := readNumber(files[0])
		used, ok2 := readNumber(files[1])
		if ok1 && ok2 {
			return limit, used, true
		}
	}
	return 0, 0, false
}

func readNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no number
}
