package control_test

import (
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TestAnImportIsRegisteredOnce, however often it is asked for; another of its name is refused.
func TestAnImportIsRegisteredOnce(t *testing.T) {
	w := controltest.New(t, nil)
	ask := func(staged string) (*cache.Snapshot, error) {
		return w.Control.ImportSnapshot(t.Context(), region, control.NewImport{Name: "S", Engine: cache.Valkey, Version: "8.1.0", Import: cache.Import{
			Staged: staged, Files: []cache.ImportFile{{Name: "0001.rdb", NodeGroupID: "0001", Fingerprint: "f"}},
		}})
	}
	change := func(change func(*cache.Snapshot)) {
		t.Helper()
		err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
			s, _, err := records.Snapshots.Get(tx, cache.Key(region, "s"))
			if err != nil {
				return err
			}
			change(&s)
			return records.Snapshots.Put(tx, s.Key(), s)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(when string, status cache.Status) {
		t.Helper()
		if s, err := ask("import-1"); err != nil || s.Name != "s" || s.Status != status {
			t.Errorf("%s: %+v, %v", when, s, err)
		}
		if _, err := ask("import-2"); !cache.IsFault(err, "SnapshotAlreadyExistsFault") {
			t.Errorf("another, %s: %v", when, err)
		}
	}
	if _, err := ask("import-1"); err != nil {
		t.Fatal(err)
	}
	same("before its files are read", cache.StatusCreating)
	change(func(s *cache.Snapshot) { s.Status, s.Import = cache.StatusAvailable, nil })
	same("when it is done", cache.StatusAvailable)
	change(func(s *cache.Snapshot) { s.Status, s.Deleting = cache.StatusDeleting, true })
	if _, err := ask("import-1"); !cache.IsFault(err, "SnapshotAlreadyExistsFault") {
		t.Errorf("while it is deleted: %v", err)
	}
	change(func(s *cache.Snapshot) { s.Status, s.Deleting, s.Imported = cache.StatusAvailable, false, "" })
	if _, err := ask("import-1"); !cache.IsFault(err, "SnapshotAlreadyExistsFault") {
		t.Errorf("one that was not imported: %v", err)
	}
}
