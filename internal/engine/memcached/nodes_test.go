package memcached

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type builds []catalog.Build

func (all builds) Build(name string) (catalog.Build, bool) {
	for _, b := range all {
		if b.Name == name {
			return b, true
		}
	}
	return catalog.Build{}, false
}

// world has every build of memcached that tests need, and a data directory.
func world(t *testing.T) (*Nodes, *proc.Supervisor, builds) {
	t.Helper()
	dir := t.TempDir()
	sup, err := proc.New(proc.Options{Dir: filepath.Join(dir, "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sup.Close(); err != nil {
			t.Error(err)
		}
	})
	var all builds
	for _, line := range testkit.MemcachedLines {
		all = append(all, testkit.Engine(t, line))
	}
	return New(Config{DataDir: dir, MemoryDir: filepath.Join(dir, "memory"), Supervisor: sup, Catalog: all}), sup, all
}

func spec(b catalog.Build) cache.MemcachedSpec {
	return cache.MemcachedSpec{
		Cluster: "us-east-1/web", Node: "0001", Build: b.Name,
		Parameters: cache.EffectiveParameters("default.memcached1.6", "cache.t3.micro", b.Version),
	}
}

// start starts a node, which is stopped when the test ends, and waits for it.
func start(t *testing.T, n *Nodes, s cache.MemcachedSpec) cache.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := n.Start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background(), s, nil); err != nil {
			t.Error(err)
		}
	})
	if err := n.AwaitReady(ctx, s, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// say sends a text and returns as many lines.
func say(t *testing.T, n *Nodes, s cache.MemcachedSpec, text string, lines int) string {
	t.Helper()
	c, err := n.Dial(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	in := bufio.NewReader(c)
	for range lines {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", out.String(), err)
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestNode(t *testing.T) {
	for i, line := range testkit.MemcachedLines {
		t.Run(line, func(t *testing.T) {
			n, _, all := world(t)
			s := spec(all[i])
			p := start(t, n, s)
			if again := start(t, n, s); again != p {
				t.Errorf("a second start gave %v and not %v", again, p)
			}
			st, err := n.Stats(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			kind, _ := cache.FindNodeType("cache.t3.micro")
			if want := fmt.Sprint((kind.MemcachedMB - 100) << 20); st["limit_maxbytes"] != want || st["threads"] != s.Parameters["num_threads"] {
				t.Errorf("it has %s bytes and %s threads, wanted %s and %s", st["limit_maxbytes"], st["threads"], want, s.Parameters["num_threads"])
			}
			// An item is in a slab of about its size: nothing that was said has upset those.
			say(t, n, s, "set a 0 0 3\r\nabc\r\n", 1)
			if got := say(t, n, s, "stats slabs\r\n", 1); got != "STAT 1:chunk_size 96\r\n" {
				t.Errorf("the smallest slab: %q", got)
			}
			if names := n.Unapplied(s); len(names) > 0 && openFiles() > 70000 {
				t.Errorf("not applied: %v", names)
			}
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			select {
			case <-n.Exited(p):
			case <-time.After(time.Minute):
				t.Fatal("its end is not seen")
			}
			if next := start(t, n, s); next == p {
				t.Error("it was not started again")
			}
			if err := n.Stop(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			if err := n.Remove(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(n.cfg.DataDir, "nodes", "us-east-1", "web")); !os.IsNotExist(err) {
				t.Errorf("its directory: %v", err)
			}
		})
	}
}

// TestParameters: what a parameter says is what memcached says of its settings.
func TestParameters(t *testing.T) {
	n, _, all := world(t)
	for i, c := range []struct{ name, value, setting, want string }{
		{"max_item_size", "2097152", "item_size_max", "2097152"},
		{"chunk_size", "96", "chunk_size", "96"},
		{"cas_disabled", "1", "cas_enabled", "no"},
		{"error_on_memory_exhausted", "1", "evictions", "off"},
		{"disable_flush_all", "1", "flush_enabled", "no"},
		{"hash_algorithm", "murmur3", "hash_algorithm", "murmur3"},
		{"idle_timeout", "30", "idle_timeout", "30"},
		{"lru_crawler", "1", "lru_crawler", "yes"},
		{"slab_reassign", "1", "slab_reassign", "yes"},
		{"track_sizes", "1", "track_sizes", "yes"},
		{"maxconns_fast", "1", "maxconns_fast", "yes"},
		{"binding_protocol", "ascii", "binding_protocol", "ascii"},
	} {
		s := spec(all[i%len(all)])
		s.Node = fmt.Sprintf("%04d", i+1)
		before := setting(t, n, s, c.setting)
		if err := n.Stop(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
		s.Parameters[c.name] = c.value
		if after := setting(t, n, s, c.setting); after != c.want || before == c.want {
			t.Errorf("%s %s: %s is %q, before it was %q", c.name, c.value, c.setting, after, before)
		}
	}
}

func setting(t *testing.T, n *Nodes, s cache.MemcachedSpec, name string) string {
	t.Helper()
	start(t, n, s)
	lines, err := n.ask(t.Context(), s, "stats settings\r\n", func(l string) bool { return !strings.HasPrefix(l, "STAT ") })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "STAT "+name+" "); ok {
			return v
		}
	}
	t.Fatalf("it has no setting %s: %v", name, lines)
	return ""
}

// TestKeep: items outlive a planned stop, into a newer version too, at once; a kill they do not.
func TestKeep(t *testing.T) {
	n, _, all := world(t)
	s := spec(all[0])
	s.Keep = true
	start(t, n, s)
	for i := range 1000 {
		if got := say(t, n, s, fmt.Sprintf("set k%d 7 0 5\r\nv%04d\r\n", i, i), 1); got != "STORED\r\n" {
			t.Fatalf("set: %q", got)
		}
	}
	for _, b := range []catalog.Build{all[0], all[1]} { // the same, and then the newer
		if kept, err := n.StopKeeping(t.Context(), s); err != nil || !kept {
			t.Fatalf("kept: %v, %v", kept, err)
		}
		s.Build = b.Name
		start(t, n, s)
		st, err := n.Stats(t.Context(), s)
		if err != nil || st["curr_items"] != "1000" || st["version"] != b.Version {
			t.Fatalf("%s items in %s, %v", st["curr_items"], st["version"], err)
		}
		if got := say(t, n, s, "get k77\r\n", 3); got != "VALUE k77 7 5\r\nv0077\r\nEND\r\n" {
			t.Errorf("got %q", got)
		}
	}
	p := start(t, n, s)
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-n.Exited(p)
	start(t, n, s)
	if st, err := n.Stats(t.Context(), s); err != nil || st["curr_items"] != "0" {
		t.Errorf("after a kill: %s items, %v", st["curr_items"], err)
	}
}

// TestLongPath: a socket's path is longer than the kernel takes one.
func TestLongPath(t *testing.T) {
	n, _, all := world(t)
	s := spec(all[0])
	n.cfg.DataDir = filepath.Join(n.cfg.DataDir, strings.Repeat("long/", 30))
	start(t, n, s)
	if got := say(t, n, s, "get a\r\n", 1); got != "END\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestDiesAtOnce: what it said last is told.
func TestDiesAtOnce(t *testing.T) {
	n, _, all := world(t)
	s := spec(all[0])
	s.Parameters["max_item_size"] = "9000000000"
	p, err := n.Start(t.Context(), s)
	if err == nil {
		err = n.AwaitReady(t.Context(), s, p)
	}
	if err == nil || !strings.Contains(err.Error(), "item") && !strings.Contains(err.Error(), "Item") {
		t.Errorf("it says %v", err)
	}
}
