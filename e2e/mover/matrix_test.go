package mover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// origin is a server with data, which many tests read.
type origin struct {
	*testkit.Server
	content *testkit.Content
	digest  string
	dir     string

	// reading is held while a command reads the server: reading it with commands
	// goes by what the server counts, which others would count up too.
	reading sync.Mutex
	backups map[string]string // file by road
}

// newOrigin starts a server and fills it.
func newOrigin(t *testing.T, b catalog.Build, fill func(*testing.T, *testkit.Server)) *origin {
	t.Helper()
	s := testkit.StartServer(t, b)
	fill(t, s)
	return &origin{Server: s, content: testkit.ReadContent(t, s), digest: s.Digest(), dir: t.TempDir(), backups: map[string]string{}}
}

// backup is a file with what the origin holds, made once for each road.
func (o *origin) backup(t *testing.T, by string) string {
	t.Helper()
	o.reading.Lock()
	defer o.reading.Unlock()
	if o.backups[by] == "" {
		file := filepath.Join(o.dir, by+".rdb")
		runs(t, done, "backup", url(o.Server), file, "--from", by).says("point-in-time")
		o.backups[by] = file
	}
	return o.backups[by]
}

// road is a way of moving everything from one server to another.
type road struct {
	name string
	// by is how the source is read.
	by string
	// move runs the commands; the last one, which fills the target, has the flags and
	// must end with the code.
	move func(t *testing.T, from *origin, to *testkit.Server, by string, code int, flags ...string) *command
}

// roads are all of them; a new one is a line here.
var roads = []road{
	{"backup by replica and restore", "replica", backupAndRestore},
	{"migrate by commands", "commands", migrate},
	{"backup by commands and restore", "commands", backupAndRestore},
	{"migrate by replica", "replica", migrate},
}

// liveRoads follow the source until a cut-over.
var liveRoads = []road{
	{"migrate live by commands", "commands", migrateLive},
	{"migrate live by replica", "replica", migrateLive},
}

func backupAndRestore(t *testing.T, from *origin, to *testkit.Server, by string, code int, flags ...string) *command {
	t.Helper()
	return runs(t, code, append([]string{"restore", from.backup(t, by), url(to), "-o", "json"}, flags...)...)
}

func migrate(t *testing.T, from *origin, to *testkit.Server, by string, code int, flags ...string) *command {
	t.Helper()
	from.reading.Lock()
	defer from.reading.Unlock()
	return runs(t, code, append([]string{"migrate", url(from.Server), url(to), "--from", by, "-o", "json"}, flags...)...)
}

// tolerance is how far expiries may be off: an engine that tells only what is left of
// a lifetime tells commands of whole milliseconds, of which one may just have passed.
func tolerance(from *testkit.Server, r road) time.Duration {
	if from.Build.ExpireTime || r.by != "commands" {
		return 0
	}
	return time.Millisecond
}

// engines are all that are installed and keep keys by Redis' protocol.
func engines(t *testing.T) []catalog.Build {
	t.Helper()
	for _, name := range []string{"redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) { testkit.Engine(t, name) }) // missing is told by name
	}
	var all []catalog.Build
	for _, b := range testkit.Catalog(t).Builds() {
		if b.Engine != catalog.Memcached {
			all = append(all, b)
		}
	}
	return all
}

// everything tells whether nothing is to be left out to save time.
func everything() bool { return os.Getenv("HOLDFAST_MATRIX") == "full" }

// chosen are the roads for the pair of engines i and j of n. The sparse choice still
// has every engine at both ends of every road, and of a live one.
func chosen(i, j, n int) []road {
	if everything() {
		return append(slices.Clone(roads), liveRoads...)
	}
	k := (i + j) % len(roads)
	some := slices.Clone(roads[k : k+1])
	if j == (i+1)%n {
		some = append(some, liveRoads[i%2])
	}
	return some
}

// TestMatrix moves everything from every engine to every engine.
func TestMatrix(t *testing.T) {
	builds := engines(t)
	var origins []*origin
	for _, b := range builds {
		origins = append(origins, newOrigin(t, b, fill))
	}
	for j, b := range builds {
		t.Run("to "+b.Name, func(t *testing.T) {
			t.Parallel()
			to := testkit.StartServer(t, b)
			for i, from := range origins {
				for _, r := range chosen(i, j, len(builds)) {
					t.Run(fmt.Sprintf("from %s by %s", from.Build.Name, r.name), func(t *testing.T) { moveAll(t, from, to, r) })
				}
			}
		})
	}
}

// moveAll goes one road and judges what arrives.
func moveAll(t *testing.T, from *origin, to *testkit.Server, r road) {
	emptied(to)
	wanted := *from.content
	var flags []string
	if len(wanted.Functions) > 0 && !to.Build.Functions {
		r.move(t, from, to, r.by, failed).says("functions")
		if n := keys(t, to); n > 0 {
			t.Errorf("a movement that is refused has moved %d keys", n)
		}
		flags, wanted.Functions = append(flags, "--without-functions"), nil
	}
	if got := r.move(t, from, to, r.by, done, flags...).report(); !got.proven(len(wanted.Keys)) {
		t.Errorf("the report says %+v of %d keys", got, len(wanted.Keys))
	}
	want(t, &wanted, tolerance(from.Server, r), to)
	if digest := to.Digest(); from.Build.Name == to.Build.Name && digest != from.digest {
		t.Errorf("the engine's own digest of what arrived is %s, not %s", digest, from.digest)
	}
}
