package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func TestSecondOpenIsRefused(t *testing.T) {
	db := tempDB(t)
	_, err := Open(t.Context(), db.Path())
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), db.Path()) {
		t.Fatalf("second Open: %v", err)
	}
	mustClose(t, db)
	mustClose(t, openTest(t, db.Path()))
}

func TestFileIsPrivateAndDraftsGo(t *testing.T) {
	t.Chdir(t.TempDir())
	path := "[state].db" // relative, and special to patterns
	draft := path + ".draft-1"
	if err := os.WriteFile(draft, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openTest(t, path)
	mustClose(t, db)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openTest(t, path)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Errorf("left in the directory: %v, %v", names, err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	garbage := []byte(strings.Repeat("not a database ", 2000))
	if err := os.WriteFile(path, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("Open: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(garbage) {
		t.Error("the file was changed")
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "no", "state.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "state.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCopiesAreTheCallers changes every part of what was read and reads again.
func TestCopiesAreTheCallers(t *testing.T) {
	db := tempDB(t)
	fresh := func() thing {
		return thing{
			Name: "n", At: time.Unix(1e9, 5).UTC(), Tags: []tag{{"k", "v"}}, Sub: &sub{7, []string{"o"}},
			Counts: map[string]int64{"a": 1}, Nested: map[string][]string{"l": {"x"}}, Pointer: []*sub{{1, nil}, nil},
		}
	}
	put(t, db, "k", fresh())
	for range 3 {
		v, _ := get(t, db, "k")
		if diff := cmp.Diff(fresh(), v); diff != "" {
			t.Fatal(diff)
		}
		v.Tags[0].Value = "!"
		v.Sub.Of[0] = "!"
		v.Sub.Bytes = 0
		v.Counts["a"] = 0
		v.Nested["l"][0] = "!"
		v.Nested["m"] = nil
		v.Pointer[0].Bytes = 0
	}
	if !copyable[thing]() {
		t.Error("such records are not cached")
	}
}

// TestNotCopyable reads records that are decoded each time.
func TestNotCopyable(t *testing.T) {
	type loose struct{ Any any }
	table := NewTable[loose]("loose")
	db := tempDB(t)
	want := loose{map[string]any{"a": []any{1.0}}}
	if err := db.Update(t.Context(), func(tx *Tx) error { return table.Put(tx, "k", want) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := db.View(t.Context(), func(tx *Tx) error {
			got, ok, err := table.Get(tx, "k")
			if !ok || !cmp.Equal(got, want) {
				t.Errorf("got %v, %v", got, ok)
			}
			got.Any.(map[string]any)["a"] = nil
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if copyable[loose]() {
		t.Error("an interface cannot be copied safely")
	}
}

// TestTwoTypesOfOneTable reads the same records as another type.
func TestTwoTypesOfOneTable(t *testing.T) {
	db := tempDB(t)
	put(t, db, "k", thing{Name: "n", N: 3})
	get(t, db, "k")
	type part struct{ N int }
	err := db.View(t.Context(), func(tx *Tx) error {
		v, _, err := NewTable[part]("things").Get(tx, "k")
		if v.N != 3 {
			t.Errorf("got %v", v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := get(t, db, "k"); v.Name != "n" {
		t.Errorf("got %v", v)
	}
}

func TestWrongUse(t *testing.T) {
	db := tempDB(t)
	var kept *Tx
	err := db.View(t.Context(), func(tx *Tx) error {
		kept = tx
		if err := things.Put(tx, "k", thing{}); !errors.Is(err, errReadOnly) {
			t.Errorf("Put in View: %v", err)
		}
		if err := things.Delete(tx, "k"); !errors.Is(err, errReadOnly) {
			t.Errorf("Delete in View: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := things.List(kept, ""); !errors.Is(err, errTxOver) {
		t.Errorf("List after the end: %v", err)
	}
	err = db.Update(t.Context(), func(tx *Tx) error {
		for _, name := range []string{"", "a/b"} {
			if err := NewTable[int](name).Put(tx, "k", 1); err == nil {
				t.Errorf("table name %q was taken", name)
			}
		}
		if err := things.Put(tx, "", thing{}); err == nil {
			t.Error("an empty key was taken")
		}
		if err := things.Put(tx, strings.Repeat("k", 40000), thing{}); err == nil {
			t.Error("an overlong key was taken")
		}
		if err := NewTable[func()]("f").Put(tx, "k", func() {}); err == nil {
			t.Error("a function was taken")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	if err := db.View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("View after Close: %v", err)
	}
	if err := db.Update(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}

func TestChangeWhileScanning(t *testing.T) {
	db := tempDB(t)
	for i := range 300 {
		put(t, db, fmt.Sprintf("k%03d", i), thing{N: i})
	}
	var seen []string
	err := db.Update(t.Context(), func(tx *Tx) error {
		for item, err := range things.Scan(tx, "k", "") {
			if err != nil {
				return err
			}
			seen = append(seen, item.Key)
			if err := things.Delete(tx, item.Key); err != nil {
				return err
			}
			if item.Value.N%10 == 0 {
				if err := things.Put(tx, "z"+item.Key, item.Value); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 300 || !slices.IsSorted(seen) {
		t.Errorf("saw %d", len(seen))
	}
	err = db.View(t.Context(), func(tx *Tx) error {
		n, err := things.Count(tx, "")
		if n != 30 {
			t.Errorf("%d left", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPanicTakesBack: a panic in a closure reaches the caller, changes nothing and
// leaves the store usable.
func TestPanicTakesBack(t *testing.T) {
	db := tempDB(t)
	put(t, db, "k", thing{N: 1})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Update(t.Context(), func(tx *Tx) error {
			if err := things.Put(tx, "k", thing{N: 2}); err != nil {
				t.Error(err)
			}
			panic("oh")
		})
	}()
	if v, _ := get(t, db, "k"); v.N != 1 {
		t.Errorf("got %v", v)
	}
	put(t, db, "k", thing{N: 3})
}

// TestConcurrentUpdates: many share commits, some fail, some panic, some are
// cancelled; each counts exactly once or not at all, and revisions are gapless.
func TestConcurrentUpdates(t *testing.T) {
	db := tempDB(t)
	counter := NewTable[int]("counter")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	add := func(ctx context.Context, end func() error) (err error) {
		defer func() {
			if recover() != nil {
				err = errTest
			}
		}()
		return db.Update(ctx, func(tx *Tx) error {
			n, _, err := counter.Get(tx, "n")
			if err != nil {
				return err
			}
			return errors.Join(counter.Put(tx, "n", n+1), end())
		})
	}
	var mu sync.Mutex
	good := 0
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 20 {
				ctx, end := t.Context(), func() error { return nil }
				switch (i + j) % 5 {
				case 1:
					end = func() error { return errTest }
				case 2:
					end = func() error { panic("oh") }
				case 3:
					ctx = cancelled
				}
				err := add(ctx, end)
				if ok := (i+j)%5 == 0 || (i+j)%5 == 4; ok != (err == nil) {
					t.Errorf("%d: %v", (i+j)%5, err)
				}
				if err == nil {
					mu.Lock()
					good++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	err := db.View(t.Context(), func(tx *Tx) error {
		n, _, err := counter.Get(tx, "n")
		if n != good || tx.Revision() != uint64(good) {
			t.Errorf("counted %d, revision %d, want %d", n, tx.Revision(), good)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	db := tempDB(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ; j++ {
				err := db.Update(t.Context(), func(tx *Tx) error { return things.Put(tx, fmt.Sprint(i), thing{N: j}) })
				if err == nil {
					err = db.View(t.Context(), func(tx *Tx) error {
						v, _, err := things.Get(tx, fmt.Sprint(i))
						if v.N != j {
							t.Errorf("read %d after writing %d", v.N, j)
						}
						return err
					})
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	eventually(t, "some updates", func() bool {
		seen := uint64(0)
		if err := db.View(t.Context(), func(tx *Tx) error { seen = tx.Revision(); return nil }); err != nil {
			t.Fatal(err)
		}
		return seen > 20
	})
	mustClose(t, db)
	wg.Wait()
}

// TestUncertain: a commit has failed although its revision can be read.
func TestUncertain(t *testing.T) {
	db := tempDB(t)
	put(t, db, "k", thing{N: 1})
	before := &batch{base: revision(t, db) - 1}
	db.writer.mu.Lock()
	err := db.writer.failed(before, errTest)
	db.writer.mu.Unlock()
	if !errors.Is(err, ErrUncertain) || !errors.Is(err, errTest) {
		t.Fatalf("the failure: %v", err)
	}
	err = db.Update(t.Context(), func(tx *Tx) error { return things.Put(tx, "k", thing{N: 2}) })
	if !errors.Is(err, ErrUncertain) {
		t.Errorf("Update: %v", err)
	}
	if v, _ := get(t, db, "k"); v.N != 1 {
		t.Errorf("read %v", v)
	}
	mustClose(t, db)
	put(t, openTest(t, db.Path()), "k", thing{N: 3})
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openTest(t, path)
	put(t, db, "k", thing{N: 1})
	mustClose(t, db)

	runs := 0
	broken := append(slices.Clone(migrations),
		func(tx *bolt.Tx) error { runs++; return nil },
		func(tx *bolt.Tx) error {
			if err := tx.DeleteBucket(bucketRecords); err != nil {
				return err
			}
			return errTest
		})
	if _, err := open(t.Context(), path, broken); !errors.Is(err, errTest) || !strings.Contains(err.Error(), "from format 2 to 3") {
		t.Fatalf("a migration that fails: %v", err)
	}
	// The first of the two is done for good, nothing of the second is.
	mended := append(slices.Clone(broken[:2]), func(tx *bolt.Tx) error { runs += 10; return nil })
	db, err := open(t.Context(), path, mended)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := get(t, db, "k"); !ok || v.N != 1 || runs != 11 {
		t.Errorf("after the migrations: %v %v, runs %d", v, ok, runs)
	}
	mustClose(t, db)

	_, err = Open(t.Context(), path)
	if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "format 3") ||
		!strings.Contains(err.Error(), fmt.Sprintf("up to %d", len(migrations))) {
		t.Fatalf("opened by an older release: %v", err)
	}
}

func TestWatch(t *testing.T) {
	db := tempDB(t)
	all, us, other := db.Watch(), db.Watch(things.Prefix("us-east-1/")), db.Watch("others/", things.Prefix("zz"))
	defer all.Close()
	defer us.Close()
	fired := func(w *Watcher) bool {
		select {
		case <-w.C():
			return true
		default:
			return false
		}
	}
	expect := func(what string, a, u, o bool) {
		t.Helper()
		if ga, gu, gz := fired(all), fired(us), fired(other); ga != a || gu != u || gz != o {
			t.Errorf("%s: got %v %v %v, want %v %v %v", what, ga, gu, gz, a, u, o)
		}
	}
	expect("nothing yet", false, false, false)
	put(t, db, "us-east-1/a", thing{})
	put(t, db, "us-east-1/b", thing{})
	expect("two at once are one", true, true, false)
	expect("and are over", false, false, false)
	put(t, db, "eu-west-1/a", thing{})
	expect("another region", true, false, false)
	if err := db.Update(t.Context(), func(tx *Tx) error { return things.Delete(tx, "us-east-1/a") }); err != nil {
		t.Fatal(err)
	}
	expect("deleted", true, true, false)
	if err := db.Update(t.Context(), func(tx *Tx) error { return things.Delete(tx, "us-east-1/a") }); err != nil {
		t.Fatal(err)
	}
	_ = db.Update(t.Context(), func(tx *Tx) error { _ = things.Put(tx, "us-east-1/c", thing{}); return errTest })
	expect("nothing was changed", false, false, false)
	put(t, db, "zz", thing{})
	expect("second prefix", true, false, true)
	other.Close()
	put(t, db, "zz", thing{})
	expect("closed", true, false, false)
}

// TestWatchSeesTheChange: whoever is woken reads what woke him.
func TestWatchSeesTheChange(t *testing.T) {
	db := tempDB(t)
	w := db.Watch(things.Prefix(""))
	defer w.Close()
	const last = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i <= last; i++ {
			put(t, db, "k", thing{N: i})
		}
	})
	for seen := 0; seen < last; {
		<-w.C()
		v, _ := get(t, db, "k")
		if v.N < seen {
			t.Fatalf("went back from %d to %d", seen, v.N)
		}
		seen = v.N
	}
	wg.Wait()
}
