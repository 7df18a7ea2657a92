package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TestAnImportThatFailsKeepsItsFiles: what they were taken of may be gone by then.
func TestAnImportThatFailsKeepsItsFiles(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.breaks("import", errors.New("the disk is full"))
	b.machine.objects["import-1/0001.rdb"] = true
	b.update(func(tx *store.Tx) error {
		s := cache.Snapshot{
			Region: "r", Name: "s", Status: cache.StatusCreating, CreatedAt: time.Now(),
			Import: &cache.Import{Staged: "import-1", Files: []cache.ImportFile{{Name: "0001.rdb", NodeGroupID: "0001"}}},
		}
		return records.Snapshots.Put(tx, s.Key(), s)
	})
	b.run()
	b.eventually("it has failed", snapshotIs("s", cache.StatusFailed))
	b.wantEvent("its files are kept in incoming/r/import-1 until it is deleted")
	for _, s := range b.read().snapshots {
		if !strings.Contains(s.Reason, "incoming/r/import-1") {
			t.Errorf("the reason is %q", s.Reason)
		}
	}
	b.stop()
	b.run() // plans everything once more
	b.update(func(tx *store.Tx) error {
		s := cache.Snapshot{Region: "r", Name: "other", GroupID: "g", Status: cache.StatusAvailable, Deleting: true}
		return records.Snapshots.Put(tx, s.Key(), s)
	})
	b.eventually("another one is deleted", func(w world) bool { return len(w.snapshots) == 1 })
	if !b.has("import-1/0001.rdb") {
		t.Error("the files are gone")
	}
	b.update(func(tx *store.Tx) error {
		return changeSnapshot(tx, "r/s", func(s *cache.Snapshot) { s.Deleting, s.Status = true, cache.StatusDeleting })
	})
	b.eventually("it is deleted", func(w world) bool { return len(w.snapshots) == 0 })
	if b.has("import-1/0001.rdb") {
		t.Error("the files are there still")
	}
}
