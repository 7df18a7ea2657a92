package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loadedKeys make a file of some 80 MB: engines look at their clients after every 2 MB.
const loadedKeys = 200_000

// While it reads its data a node answers, and says so.
func TestLoading(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		source := testkit.StartServer(t, build, testkit.Config("rdbcompression no"))
		source.Must("DEBUG", "POPULATE", loadedKeys, "key", 400)
		source.Must("SAVE")
		data, err := os.ReadFile(filepath.Join(source.Dir, "dump.rdb"))
		if err != nil {
			t.Fatal(err)
		}
		source.Kill()
		spec := b.spec(build, "orders-001")
		spec.Seeded = true
		b.plant(spec, data)
		// On a busy machine all may be loaded before the test has its turn.
		for range 5 {
			if seen := b.seenLoading(spec); seen > 0 {
				t.Logf("%s: %d probes while it was loading", build.Name, seen)
				return
			}
		}
		t.Fatal("it was never seen loading")
	})
}

// seenLoading starts a node and stops it when it is ready. It returns how often the
// node answered that it was loading.
func (b *bench) seenLoading(spec cache.NodeSpec) int {
	b.t.Helper()
	p, err := b.Start(b.context(), spec)
	if err != nil {
		b.t.Fatal(err)
	}
	var ready sync.WaitGroup
	ready.Go(func() {
		h, err := b.AwaitReady(b.context(), spec)
		if err != nil || h.Keys != loadedKeys || h.Loading {
			b.t.Errorf("ready: %+v, %v", h, err)
		}
	})
	defer b.down(spec, &p)
	defer ready.Wait()
	for seen := 0; ; seen++ {
		var h cache.Health
		eventually(b.t, "it listens", func() bool {
			h, err = b.Probe(b.context(), spec)
			return !errors.Is(err, engine.ErrRefused)
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if !h.Loading {
			return seen
		}
	}
}

// A child that saves outlives its server; it must not come in the way of the next.
func TestOrphanOfASave(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		b.saveSlowly(admin)
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "exit", b.Exited(p))
		refs, err := b.sup.List(b.context())
		if err != nil || len(refs) != 1 || refs[0].PID != 0 {
			t.Fatalf("the child did not outlive its parent, so this tests nothing: %v, %v", refs, err)
		}
		p = b.up(spec)
		if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 0 {
			t.Fatalf("%+v, %v", h, err)
		}
		// The same at a stop, with the server alive.
		admin = b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		b.saveSlowly(admin)
		begin := time.Now()
		b.down(spec, &p)
		if refs, err := b.sup.List(b.context()); err != nil || len(refs) != 0 {
			t.Fatalf("left: %v, %v", refs, err)
		}
		t.Logf("%s: stopped in %v", build.Name, time.Since(begin))
		files, err := filepath.Glob(filepath.Join(filepath.Dir(b.SeedPath(spec)), "*.rdb"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			t.Logf("left behind, to be removed at the next start: %s", filepath.Base(f))
		}
	})
}

// saveSlowly has a child save for a minute, and returns when it is at work.
func (b *bench) saveSlowly(admin *resp.Conn) {
	b.t.Helper()
	for i := range 600 {
		b.do(admin, "SET", fmt.Sprint("k", i), "v")
	}
	b.do(admin, "CONFIG", "SET", "rdb-key-save-delay", "100000")
	b.do(admin, "BGSAVE")
	// From 7.0 on a child reports its first key, and ends when nobody listens then.
	eventually(b.t, "the child has reported", func() bool {
		info := b.do(admin, "INFO", "persistence")
		return !strings.Contains(info, keysSaved) || !strings.Contains(info, keysSaved+"0\r")
	})
}

// keysSaved is how many keys a child that saves has reported.
const keysSaved = "current_save_keys_processed:"

// Calls for one node from everywhere at once end in one process.
func TestConcurrentStarts(t *testing.T) {
	b := newBench(t)
	spec := b.spec(b.builds[2], "orders-001")
	var all sync.WaitGroup
	got := make([]cache.Process, 20)
	for i := range got {
		all.Go(func() {
			p, err := b.Start(b.context(), spec)
			if err == nil {
				_, err = b.AwaitReady(b.context(), spec)
			}
			if err == nil {
				err = b.Reconfigure(b.context(), spec)
			}
			if err != nil {
				t.Error(err)
			}
			got[i] = p
		})
	}
	all.Wait()
	for _, p := range got {
		if p != got[0] {
			t.Fatalf("two processes: %v and %v", p, got[0])
		}
	}
}

// Many nodes at once become ready.
func TestManyNodes(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range 24 {
		spec := b.spec(b.builds[i%len(b.builds)], fmt.Sprintf("n-%03d", i))
		all.Go(func() {
			if _, err := b.Start(b.context(), spec); err != nil {
				t.Error(err)
				return
			}
			if _, err := b.AwaitReady(b.context(), spec); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Logf("24 nodes ready in %v", time.Since(begin))
}
