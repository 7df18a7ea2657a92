package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// controlGroups are where the kernel shows them: its two trees, "/proc" and
// "/sys/fs/cgroup" but in tests.
type controlGroups struct{ proc, sys string }

// memoryFiles are those of one version of control groups. What the page cache
// holds of files that nobody has read for a while counts as used, and is given back
// as soon as it is needed: cache tells how much that is.
type memoryFiles struct {
	dir          string
	limit, usage string
	cache        []string
}

var memoryVersions = map[string]memoryFiles{
	"1": {"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", []string{"total_inactive_file", "inactive_file"}},
	"2": {"", "memory.max", "memory.current", []string{"inactive_file"}},
	// Both at once: the files of version 2 may stand below.
	"both": {"unified", "memory.max", "memory.current", []string{"inactive_file"}},
}

// memory is the least of what the group that this process is in, and every group
// above it, may have, and may still have. Both are math.MaxInt64 where there is no limit.
func (g controlGroups) memory() (limit, free int64) {
	limit, free = math.MaxInt64, math.MaxInt64
	for version, f := range memoryVersions {
		at, ok := g.path(version)
		if !ok {
			continue
		}
		// In a container the path may be one that only the host sees. The group that
		// is shown as the root is then ours, and is looked at in any case.
		for ; ; at = filepath.Dir(at) {
			l, u, ok := f.read(filepath.Join(g.sys, f.dir, at))
			if ok {
				limit, free = min(limit, l), min(free, max(l-u, 0))
			}
			if at == "/" || at == "." {
				break
			}
		}
	}
	return limit, free
}

// path of the group that this process is in.
func (g controlGroups) path(version string) (string, bool) {
	b, err := os.ReadFile(filepath.Join(g.proc, "self", "cgroup"))
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		controllers := strings.Split(f[1], ",")
		if version == "1" && slices.Contains(controllers, "memory") || version != "1" && f[1] == "" {
			return filepath.Clean("/" + f[2]), true
		}
	}
	return "", false
}

// read returns the limit and the use of one group; false if it has no limit.
func (f memoryFiles) read(dir string) (limit, used int64, ok bool) {
	limit, ok1 := readNumber(filepath.Join(dir, f.limit))
	used, ok2 := readNumber(filepath.Join(dir, f.usage))
	if !ok1 || !ok2 {
		return 0, 0, false
	}
	return limit, max(used-f.reclaimable(dir), 0), true
}

func (f memoryFiles) reclaimable(dir string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				values[name] = n
			}
		}
	}
	for _, name := range f.cache {
		if n, ok := values[name]; ok {
			return n
		}
	}
	return 0
}

func readNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no number
}
