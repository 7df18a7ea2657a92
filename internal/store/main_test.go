package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain also plays the child processes of the crash tests.
func TestMain(m *testing.M) {
	if role := os.Getenv("STORE_TEST_CHILD"); role != "" {
		if err := children[role](os.Getenv("STORE_TEST_PATH")); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// thing has one field of every shape that records have.
type thing struct {
	Name    string
	N       int
	At      time.Time
	Tags    []tag
	Sub     *sub
	Counts  map[string]int64
	Nested  map[string][]string
	Pointer []*sub
}

type tag struct{ Key, Value string }

type sub struct {
	Bytes int64
	Of    []string
}

var things = NewTable[thing]("things")

func openTest(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, db) })
	return db
}

func mustClose(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func tempDB(t *testing.T) *DB {
	t.Helper()
	return openTest(t, filepath.Join(t.TempDir(), "state.db"))
}

func put(t *testing.T, db *DB, key string, v thing) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *Tx) error { return things.Put(tx, key, v) })
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, db *DB, key string) (v thing, ok bool) {
	t.Helper()
	err := db.View(t.Context(), func(tx *Tx) (err error) {
		v, ok, err = things.Get(tx, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, ok
}

func revision(t *testing.T, db *DB) (rev uint64) {
	t.Helper()
	err := db.View(t.Context(), func(tx *Tx) error { rev = tx.Revision(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

var errTest = errors.New("not today")

// eventually looks until ok says true, up to a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}
