package e2e

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// read opens the records of an installation whose service does not run.
func (s *service) read(fn func(tx *store.Tx) error) {
	s.t.Helper()
	ctx := context.Background() // it is also called by cleanups
	db, err := store.Open(ctx, filepath.Join(s.dir, "holdfast.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(ctx, fn); err != nil {
		s.t.Fatal(err)
	}
}

// nothingLeft stops the service, whose groups and clusters are all deleted, and
// fails the test if a process, a node's directory, an address or a step is left.
func (s *service) nothingLeft() {
	s.t.Helper()
	s.stop()
	noProcessIn(s.t, s.dir)
	err := filepath.WalkDir(filepath.Join(s.dir, "nodes"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || depth(s.dir, path) == 3) {
			s.t.Errorf("a node left %s behind", path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	s.read(func(tx *store.Tx) error {
		noRecords(s.t, tx, records.Groups)
		noRecords(s.t, tx, records.Clusters)
		noRecords(s.t, tx, records.Addresses)
		noRecords(s.t, tx, records.Steps)
		return nil
	})
}

// depth is how many names a path has below dir: nodes/<region>/<id> has 3.
func depth(dir, path string) int {
	n := 0
	for ; path != dir; path = filepath.Dir(path) {
		n++
	}
	return n
}

func noRecords[T any](t *testing.T, tx *store.Tx, table store.Table[T]) {
	t.Helper()
	for item, err := range table.Scan(tx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("a record is left: %s%s", table.Prefix(""), item.Key)
	}
}
