package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/memcache"
	"holdfast.dev/internal/testkit"
)

// memcachedURL is the address of servers that a test has started.
func memcachedURL(servers ...*testkit.Memcached) string {
	var sockets []string
	for _, m := range servers {
		sockets = append(sockets, m.Socket)
	}
	return memcache.Scheme + strings.Join(sockets, ",")
}

// startMemcached starts one of each line, in turn.
func startMemcached(t *testing.T, n int, args ...string) []*testkit.Memcached {
	t.Helper()
	var out []*testkit.Memcached
	for i := range n {
		b := testkit.Engine(t, testkit.MemcachedLines[i%len(testkit.MemcachedLines)])
		out = append(out, testkit.StartMemcached(t, b, append([]string{"-m", "256"}, args...)...))
	}
	return out
}

// putItems writes items to a server as clients do.
func putItems(t *testing.T, m *testkit.Memcached, items ...memcache.Item) {
	t.Helper()
	w, err := memcache.NewWriter(t.Context(), &memcache.Server{Network: "unix", Addr: m.Socket}, memcache.Set)
	if err != nil {
		t.Fatal(err)
	}
	for n := range items {
		if err := w.Write(t.Context(), &items[n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Refused > 0 {
		t.Fatalf("refused: %q", w.Refusals())
	}
}

// itemsOf are the items of servers by key, as clients read them.
func itemsOf(t *testing.T, servers ...*testkit.Memcached) map[string]memcache.Item {
	t.Helper()
	out := map[string]memcache.Item{}
	for _, m := range servers {
		for i, err := range memcache.Read(t.Context(), &memcache.Server{Network: "unix", Addr: m.Socket}) {
			if err != nil {
				t.Fatal(err)
			}
			k := *i
			k.Value = bytes.Clone(i.Value)
			out[string(i.Key)] = k
		}
	}
	return out
}

const plainItems = 20000

// someItems are items of every kind.
func someItems() []memcache.Item {
	at := time.Now().Truncate(time.Second)
	out := []memcache.Item{
		{Key: []byte("empty")},
		{Key: []byte("flags"), Value: []byte("x"), Flags: 1<<32 - 1},
		{Key: []byte("hour"), Value: []byte("x"), ExpireAt: at.Add(time.Hour)},
		{Key: []byte("quarter"), Value: []byte("x"), ExpireAt: at.AddDate(0, 3, 0)},
		{Key: []byte("a b\x00\n\xff"), Value: []byte("\r\nEND\r\n")},
		{Key: bytes.Repeat([]byte("k"), 250), Value: []byte("x")},
		{Key: []byte("large"), Value: bytes.Repeat([]byte("0123456789abcdef"), 65000)}, // just below a mebibyte
	}
	for i := range plainItems {
		out = append(out, memcache.Item{Key: fmt.Appendf(nil, "key:%d", i), Value: fmt.Appendf(nil, "value %d", i), Flags: uint32(i)})
	}
	return out
}

// sameItems compares what is there with what should be.
func sameItems(t *testing.T, want []memcache.Item, got map[string]memcache.Item) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d items, wanted %d", len(got), len(want))
	}
	for _, w := range want {
		g, ok := got[string(w.Key)]
		if d := g.ExpireAt.Sub(w.ExpireAt).Abs(); !ok || !bytes.Equal(g.Value, w.Value) || g.Flags != w.Flags || d > time.Second {
			t.Fatalf("%q: there %v, %.40q, flags %d, expires %v; wanted %.40q, %d, %v", w.Key, ok, g.Value, g.Flags, g.ExpireAt, w.Value, w.Flags, w.ExpireAt)
		}
	}
}

// memcachedTold is what the commands' JSON has.
type memcachedTold struct {
	Items, Stored, Left, Refused, Expired, Evicted, Volatile int64
	ReadBack, KeepsCAS, Equal                                bool
	Consistency, Error, Verdict                              string
	Different                                                int64
	Differences                                              []memcache.Difference
	Verified                                                 *struct{ Equal bool }
}

func tells(t *testing.T, code int, args ...string) memcachedTold {
	t.Helper()
	out, _ := runs(t, code, append(args, "-o", "json")...)
	var r memcachedTold
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return r
}

// TestMemcached: what a server holds goes to a file, to another version and to several servers, and stays what it was;
// what had expired meanwhile is told.
func TestMemcached(t *testing.T) {
	t.Parallel()
	m := startMemcached(t, 5)
	a, b, c, d, e := m[0], m[1], m[2], m[3], m[4]
	want := someItems()
	putItems(t, a, want...)
	file := filepath.Join(t.TempDir(), "all.items")
	all := int64(len(want))

	r := tells(t, 0, "backup", memcachedURL(a), file)
	if r.Items != all || r.Volatile != 2 || !r.ReadBack || !strings.Contains(r.Consistency, "each item by itself") {
		t.Errorf("backed up: %+v", r)
	}
	if r = tells(t, 0, "restore", file, memcachedURL(b)); r.Stored != all || r.Expired != 0 || r.Refused != 0 || !r.KeepsCAS || !r.Verified.Equal {
		t.Errorf("restored: %+v", r)
	}
	sameItems(t, want, itemsOf(t, b))
	if r = tells(t, 1, "restore", file, memcachedURL(b)); !strings.Contains(r.Error, "--add") || r.Stored != 0 {
		t.Errorf("into one that holds items: %+v", r)
	}

	putItems(t, b, memcache.Item{Key: []byte("key:1"), Value: []byte("newer")})
	r = tells(t, 3, "verify", memcachedURL(a), memcachedURL(b))
	if r.Equal || r.Different != 1 || len(r.Differences) != 1 || r.Differences[0].Key != "key:1" {
		t.Errorf("compared: %+v", r)
	}
	if r = tells(t, 0, "restore", file, memcachedURL(b), "--add"); r.Left != all || r.Stored != 0 || string(itemsOf(t, b)["key:1"].Value) != "newer" {
		t.Errorf("with --add: %+v", r)
	}
	if r = tells(t, 0, "restore", file, memcachedURL(b), "--replace"); r.Stored != all {
		t.Errorf("with --replace: %+v", r)
	}
	sameItems(t, want, itemsOf(t, b))
	if r = tells(t, 0, "restore", oldFile(t), memcachedURL(b), "--add"); r.Items != 2 || r.Expired != 1 || r.Left != 1 || !r.Verified.Equal {
		t.Errorf("of a file that has grown old: %+v", r)
	}

	r = tells(t, 0, "migrate", memcachedURL(b), memcachedURL(c, d, e), "--distribution", "ketama")
	if r.Stored != all || r.KeepsCAS || !r.Verified.Equal || r.Consistency == "" {
		t.Errorf("migrated: %+v", r)
	}
	sameItems(t, want, itemsOf(t, c, d, e))
	spread(t, c, d, e)
	again := filepath.Join(t.TempDir(), "again.items")
	if r = tells(t, 0, "backup", memcachedURL(c, d, e), again, "--source-distribution", "ketama"); r.Items != all {
		t.Errorf("backed up from three: %+v", r)
	}
	if r = tells(t, 0, "verify", again, memcachedURL(a)); !r.Equal {
		t.Errorf("compared with a file: %+v", r)
	}
	if r = tells(t, 0, "verify", file, again); !r.Equal || r.Verdict != "identical" {
		t.Errorf("two files compared: %+v", r)
	}
}

// oldFile is one of whose items one has expired.
func oldFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	f, err := memcache.NewFileWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []memcache.Item{{Key: []byte("gone"), ExpireAt: time.Now().Add(-time.Hour)}, {Key: []byte("key:7"), Value: []byte("old")}} {
		if err := f.Write(&i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "old.items")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMemcachedObject: a backup goes to S3 and comes from there.
func TestMemcachedObject(t *testing.T) {
	m := startMemcached(t, 2)
	want := someItems()
	putItems(t, m[0], want...)
	env := map[string]string{}
	serveS3(t, env)
	for name, value := range env {
		t.Setenv(name, value)
	}
	if r := tells(t, 0, "backup", memcachedURL(m[0]), "s3://backups/all.items"); !r.ReadBack {
		t.Errorf("%+v", r)
	}
	if r := tells(t, 0, "restore", "s3://backups/all.items", memcachedURL(m[1])); !r.Verified.Equal {
		t.Errorf("%+v", r)
	}
	sameItems(t, want, itemsOf(t, m[1]))
}

// spread checks that each server has what clients look for there, which modula would have put elsewhere.
func spread(t *testing.T, servers ...*testkit.Memcached) {
	t.Helper()
	var names []string
	for _, m := range servers {
		names = append(names, m.Socket)
	}
	ring, err := memcache.NewRing(memcache.Ketama, names)
	if err != nil {
		t.Fatal(err)
	}
	for n, m := range servers {
		for key := range itemsOf(t, m) {
			if ring.Pick([]byte(key)) != n {
				t.Fatalf("%q is on server %d", key, n)
			}
		}
	}
}

// TestMemcachedDamage: of a damaged file nothing is restored, and of one that comes by standard input, which cannot be
// looked at beforehand, it is told how much.
func TestMemcachedDamage(t *testing.T) {
	t.Parallel()
	m := startMemcached(t, 2)
	putItems(t, m[0], someItems()...)
	dir := t.TempDir()
	file := filepath.Join(dir, "all.items")
	runs(t, 0, "backup", memcachedURL(m[0]), file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-40] ^= 1
	for name, b := range map[string][]byte{"cut": whole[:len(whole)/2], "flipped": flipped, "empty": nil, "rdb": []byte("REDIS0011")} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r := tells(t, 1, "restore", bad, memcachedURL(m[1]))
		if !strings.Contains(r.Error, "at byte") || !strings.Contains(r.Error, "nothing was moved") || len(itemsOf(t, m[1])) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	c := newCommand(t, "restore", "-", memcachedURL(m[1]), "-o", "json")
	c.Stdin = bytes.NewReader(whole[:len(whole)/2])
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.ends(t, 1)
	var r memcachedTold
	if err := json.Unmarshal([]byte(c.out.String()), &r); err != nil {
		t.Fatal(err)
	}
	there := int64(len(itemsOf(t, m[1])))
	if there == 0 || r.Stored != there || !strings.Contains(r.Error, "at byte") || !strings.Contains(r.Error, "holds a part") {
		t.Errorf("of half a file %d items are there, and it says %+v", there, r)
	}
	c = newCommand(t, "restore", "-", memcachedURL(m[1]), "--add")
	c.Stdin = bytes.NewReader(whole)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.ends(t, 0)
	sameItems(t, someItemsAsOf(t, m[0]), itemsOf(t, m[1]))
}

// someItemsAsOf are the items of a server as a list.
func someItemsAsOf(t *testing.T, m *testkit.Memcached) []memcache.Item {
	t.Helper()
	var out []memcache.Item
	for _, i := range itemsOf(t, m) {
		out = append(out, i)
	}
	return out
}

// TestMemcachedLost: a server that dies in the middle, at either end, is a failure that says how far it came; a
// signal ends with 130; and neither leaves a file.
func TestMemcachedLost(t *testing.T) {
	t.Parallel()
	m := startMemcached(t, 2)
	var items []memcache.Item
	for i := range plainItems {
		items = append(items, memcache.Item{Key: fmt.Appendf(nil, "key:%d", i), Value: bytes.Repeat([]byte("x"), 1000)})
	}
	putItems(t, m[0], items...)
	dir := t.TempDir()
	slow := []string{"--max-keys-per-second", "1000", "-o", "json"}
	begin := func(begun func() bool, args ...string) *command {
		c := newCommand(t, append(args, slow...)...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		testkit.Wait(t, time.Minute, begun, "it to begin")
		return c
	}
	written := func() bool {
		parts, _ := filepath.Glob(filepath.Join(dir, ".*.part"))
		for _, p := range parts {
			if st, err := os.Stat(p); err == nil && st.Size() > 0 {
				return true
			}
		}
		return false
	}
	arrived := func() bool { return len(itemsOf(t, m[1])) > 0 }

	c := begin(written, "backup", memcachedURL(m[0]), filepath.Join(dir, "a.items"))
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.ends(t, exitInterrupted)

	c = begin(arrived, "migrate", memcachedURL(m[0]), memcachedURL(m[1]))
	m[1].Kill()
	c.ends(t, 1)
	var r memcachedTold
	if err := json.Unmarshal([]byte(c.out.String()), &r); err != nil || r.Stored == 0 || r.Stored >= plainItems || !strings.Contains(r.Error, "holds a part") {
		t.Errorf("%v: %s", err, &c.out)
	}

	c = begin(written, "backup", memcachedURL(m[0]), filepath.Join(dir, "b.items"))
	m[0].Kill()
	c.ends(t, 1)
	if got := left(t, dir); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
}

// TestMemcachedRefused: what a server does not take is named, and is no success.
func TestMemcachedRefused(t *testing.T) {
	t.Parallel()
	a, b := startMemcached(t, 1, "-I", "2m")[0], startMemcached(t, 1)[0]
	putItems(t, a, append(someItems(), memcache.Item{Key: []byte("larger"), Value: make([]byte, 1500<<10)})...)
	r := tells(t, 1, "migrate", memcachedURL(a), memcachedURL(b))
	if r.Refused != 1 || r.Stored != plainItems+7 || r.Verified == nil || r.Verified.Equal || !strings.Contains(r.Error, "too large") {
		t.Errorf("%+v", r)
	}
}

// TestMemcachedPassword: it comes from a file or the environment, and is told to nobody.
func TestMemcachedPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users, good, bad := filepath.Join(dir, "users"), filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	for name, text := range map[string]string{users: "ann:sesame\n", good: "sesame\n", bad: "parsley\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := testkit.StartMemcached(t, testkit.Engine(t, testkit.MemcachedLines[1]), "-Y", users)
	as := "memcached://ann@" + m.Socket
	tells(t, 0, "backup", as, filepath.Join(dir, "items"), "--password-file", good)
	c := newCommand(t, "backup", as, filepath.Join(dir, "again"))
	c.Env = append(os.Environ(), "MEMCACHED_PASSWORD=sesame")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.ends(t, 0)
	for _, args := range [][]string{{as, "--password-file", bad}, {memcachedURL(m)}, {"memcached://ann:parsley@" + m.Socket}} {
		out, said := runs(t, 1, append([]string{"backup", args[0], filepath.Join(dir, "no")}, args[1:]...)...)
		if strings.Contains(out+said, "parsley") || !strings.Contains(said, "does not let this user in") {
			t.Errorf("%q: %s%s", args, out, said)
		}
	}
	if _, said := runs(t, 2, "backup", as, filepath.Join(dir, "no")); !strings.Contains(said, "MEMCACHED_PASSWORD") {
		t.Error(said)
	}
}

// TestMemcachedUsage: what cannot be is refused by name, before anybody is asked anything.
func TestMemcachedUsage(t *testing.T) {
	t.Parallel()
	const one, two = "memcached://a", "memcached://b,c"
	for text, want := range map[string]string{
		"backup " + one + " " + two:                                          "holdfast migrate",
		"backup x.items " + one:                                              "holdfast restore",
		"backup " + one + " snapshot:x":                                      "none of memcached",
		"backup " + one + " redis://x":                                       "different kinds",
		"backup " + one + " x --match y":                                     "--match is not for memcached",
		"backup " + one + " x --from replica":                                "--from is not for memcached",
		"backup " + one + " x --source-distribution ketama":                  "several servers",
		"backup " + one + " x --source-distribution fair":                    "must be one of",
		"backup " + one + " x --max-keys-per-second -1":                      "negative",
		"backup redis://x y --source-distribution ketama":                    "for memcached:// alone",
		"restore " + one + " " + two:                                         "holdfast migrate",
		"restore x.items " + two:                                             "--distribution ketama|",
		"restore x.items " + one + " --distribution ketama":                  "is one",
		"restore x.items " + one + " --add --replace":                        "one of them",
		"restore x.items redis://x --add":                                    "for memcached:// alone",
		"restore redis://x " + one:                                           "different kinds",
		"restore x,y " + one:                                                 "several files",
		"migrate x.items " + one:                                             "holdfast restore",
		"migrate " + one + " x.items":                                        "holdfast backup",
		"migrate " + one + " " + one:                                         "both ends",
		"migrate " + one + " memcached://b:99999":                            "host:port",
		"migrate " + one + " " + two + " --distribution ketama --live":       "--live is not for memcached",
		"migrate memcached://b,d " + two + " --distribution modula --data x": "--data is not for memcached",
		"verify " + one + " -":                                               "cannot be read twice",
		"verify " + one + " redis://x":                                       "different kinds",
	} {
		if _, said := runs(t, 2, strings.Fields(text)...); !strings.Contains(said, want) {
			t.Errorf("%s: %q, wanted %q", text, said, want)
		}
	}
}
