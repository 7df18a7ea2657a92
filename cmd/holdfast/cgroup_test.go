package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// tree writes files, path to content, below a new directory.
func tree(t *testing.T, files map[string]string) controlGroups {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return controlGroups{proc: filepath.Join(root, "proc"), sys: filepath.Join(root, "sys")}
}

func TestTheMemoryOfControlGroups(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name        string
		files       map[string]string
		limit, free int64
	}{
		{"none", nil, math.MaxInt64, math.MaxInt64},
		{"version 2, a service of its own", map[string]string{
			"proc/self/cgroup": "0::/system.slice/holdfast.service\n",
			"sys/system.slice/holdfast.service/memory.max":     "104857600\n",
			"sys/system.slice/holdfast.service/memory.current": "52428800\n",
			"sys/system.slice/holdfast.service/memory.stat":    "anon 1\ninactive_file 10485760\nactive_file 5\n",
		}, 100 * mib, 60 * mib},
		{"version 2, the slice above is tighter", map[string]string{
			"proc/self/cgroup":               "0::/tight/loose\n",
			"sys/tight/memory.max":           "52428800\n",
			"sys/tight/memory.current":       "41943040\n",
			"sys/tight/loose/memory.max":     "104857600\n",
			"sys/tight/loose/memory.current": "1048576\n",
		}, 50 * mib, 10 * mib},
		{"version 2, no limit", map[string]string{
			"proc/self/cgroup":        "0::/free\n",
			"sys/free/memory.max":     "max\n",
			"sys/free/memory.current": "52428800\n",
		}, math.MaxInt64, math.MaxInt64},
		{"version 2, a container that sees itself as the root", map[string]string{
			"proc/self/cgroup":   "0::/docker/0123\n",
			"sys/memory.max":     "104857600\n",
			"sys/memory.current": "94371840\n",
		}, 100 * mib, 10 * mib},
		{"version 1 beside an empty version 2", map[string]string{
			"proc/self/cgroup":                           "4:cpu,memory:/box\n0::/\n",
			"sys/memory/box/memory.limit_in_bytes":       "104857600\n",
			"sys/memory/box/memory.usage_in_bytes":       "104857600\n",
			"sys/memory/box/memory.stat":                 "inactive_file 1\ntotal_inactive_file 20971520\n",
			"sys/memory/memory.limit_in_bytes":           "9223372036854771712\n",
			"sys/memory/memory.usage_in_bytes":           "209715200\n",
			"sys/memory/elsewhere/memory.limit_in_bytes": "1\n",
		}, 100 * mib, 20 * mib},
		{"more used than allowed", map[string]string{
			"proc/self/cgroup":     "0::/a\n",
			"sys/a/memory.max":     "1000\n",
			"sys/a/memory.current": "2000\n",
		}, 1000, 0},
	} {
		limit, free := tree(t, c.files).memory()
		if limit != c.limit || free != c.free {
			t.Errorf("%s: limit %d, free %d; want %d and %d", c.name, limit, free, c.limit, c.free)
		}
	}
}

func TestThisMachineHasMemory(t *testing.T) {
	m := machineMemory{}
	if a, total := m.Available(), m.Total(); a <= 0 || a > total {
		t.Errorf("%d bytes of %d are free", a, total)
	}
}
