package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
)

// clusterOfTwo is a bench whose cluster g, of two shards with a replica each, is available.
func clusterOfTwo(t *testing.T) *bench {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.run()
	b.cluster("g", nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.eventually("whole", b.wholeCluster)
	return b
}

func (b *bench) startsOf(key string) int {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	return b.machine.starts[key]
}

// TestNobodyIsStartedBelowANodeThatWasNotToldToLead holds the telling of a chosen
// replica back, and sees that its predecessor waits while others are started.
func TestNobodyIsStartedBelowANodeThatWasNotToldToLead(t *testing.T) {
	b := clusterOfTwo(t)
	telling, goOn := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(telling); <-goOn })
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		if name == "configure" {
			hold()
		}
	}
	b.machine.mu.Unlock()
	b.machine.kill("r/g-0002-001")
	select {
	case <-telling:
	case <-time.After(patience):
		t.Fatal("nobody is told")
	}
	b.machine.kill("r/g-0001-002")
	b.eventually("a node of the other shard is back", func(w world) bool { return w.clusters["r/g-0001-002"].Node.Ready })
	if n := b.startsOf("r/g-0002-001"); n != 1 {
		t.Errorf("the former primary was started %d times before its successor was told", n)
	}
	close(goOn)
	b.eventually("whole again", b.wholeCluster)
	if n := b.startsOf("r/g-0002-001"); n != 2 {
		t.Errorf("the former primary was started %d times", n)
	}
}

// TestATornNodeIsStartedAnewWithItsData: it cannot be told, so its data are put aside
// and it is started from them, though it is the only one that has them.
func TestATornNodeIsStartedAnewWithItsData(t *testing.T) {
	b := clusterOfTwo(t)
	t.Chdir(t.TempDir())
	seed := b.machine.SeedPath(cache.NodeSpec{Key: "r/g-0002-002"}) // whether there is one is asked of the disk
	if err := errors.Join(os.MkdirAll(filepath.Dir(seed), 0o700), os.WriteFile(seed, []byte("data"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b.breaks("configure", cache.ErrTorn)
	b.machine.mu.Lock()
	b.machine.hook = func(_ int, name string) {
		if name == "shelve" {
			b.breaks("configure", nil)
		}
	}
	b.machine.mu.Unlock()
	b.machine.kill("r/g-0002-001")
	b.eventually("whole again", b.wholeCluster)
	if p := b.machine.process("r/g-0002-002"); !p.loaded || b.read().groups[0].NodeGroups[1].Primary != "g-0002-002" {
		t.Errorf("the shard is led by %s, which came back without its data", b.read().groups[0].NodeGroups[1].Primary)
	}
	if b.read().clusters["r/g-0002-002"].Node.Parked {
		t.Error("its seed file is to be loaded once more")
	}
	b.wantEvent("g-0002-002: Cache node 0001 is started again with its data")
	b.wantEvent("g-0002-001: Finished recovery")
}
