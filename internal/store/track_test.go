package store

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// catchUp reads again what the tracker names, or everything below a prefix.
func catchUp(tx *Tx, track *Tracker, have *map[string]thing, prefix string) error {
	refs, ok := track.Changed(tx)
	if !ok {
		*have = map[string]thing{}
		for item, err := range things.Scan(tx, prefix, "") {
			if err != nil {
				return err
			}
			(*have)[item.Key] = item.Value
		}
		return nil
	}
	for _, ref := range refs {
		v, there, err := things.Get(tx, ref.Key)
		if err != nil {
			return err
		}
		if !there {
			delete(*have, ref.Key)
			continue
		}
		(*have)[ref.Key] = v
	}
	return nil
}

// TestATrackerGivesTheStateOfItsTransaction reads while others write pairs of records:
// what was put together from changes is what a full reading gives, at every moment.
func TestATrackerGivesTheStateOfItsTransaction(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	track := db.Track(things.Prefix(""))
	defer track.Close()
	const writers, rounds = 4, 150
	done := make(chan error, writers)
	for w := range writers {
		go func() {
			for i := range rounds {
				err := db.Update(context.Background(), func(tx *Tx) error {
					a, b := fmt.Sprint(w, "/", i%7), fmt.Sprint(w, "/", i%5)
					if err := things.Put(tx, a, thing{N: i}); err != nil || i%3 == 0 {
						return err
					}
					return things.Delete(tx, b)
				})
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	have := map[string]thing{}
	look := func() {
		err := db.View(t.Context(), func(tx *Tx) error {
			all := map[string]thing{}
			for item, err := range things.Scan(tx, "", "") {
				if err != nil {
					return err
				}
				all[item.Key] = item.Value
			}
			if err := catchUp(tx, track, &have, ""); err != nil {
				return err
			}
			if diff := cmp.Diff(all, have); diff != "" {
				t.Errorf("at revision %d:\n%s", tx.Revision(), diff)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for running := writers; running > 0 && !t.Failed(); {
		select {
		case err := <-done:
			running--
			if err != nil {
				t.Error(err)
			}
		default:
			look()
		}
	}
	look()
}

// TestATrackerMadeDuringACommit knows that what was being committed then is not read yet.
func TestATrackerMadeDuringACommit(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	for i := range 100 {
		done := make(chan error, 1)
		go func() {
			done <- db.Update(context.Background(), func(tx *Tx) error { return things.Put(tx, "a", thing{N: i}) })
		}()
		have, want := map[string]thing{}, thing{N: i}
		var track *Tracker
		look := func() {
			if err := db.View(t.Context(), func(tx *Tx) error { return catchUp(tx, track, &have, "") }); err != nil {
				t.Fatal(err)
			}
		}
		for range i * 20 {
			runtime.Gosched()
		}
		track = db.Track()
		look()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		look()
		track.Close()
		if diff := cmp.Diff(want, have["a"]); diff != "" {
			t.Fatalf("change %d was missed:\n%s", i, diff)
		}
	}
}

// TestATrackerThatNobodyAsksForgets: its memory is bounded, and it says that it forgot.
func TestATrackerThatNobodyAsksForgets(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	track := db.Track()
	defer track.Close()
	ask := func() (refs []Ref, ok bool) {
		err := db.View(t.Context(), func(tx *Tx) error {
			refs, ok = track.Changed(tx)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return refs, ok
	}
	put := func(n int) {
		err := db.Update(t.Context(), func(tx *Tx) error {
			for range n {
				if err := things.Put(tx, "one", thing{}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := ask(); ok {
		t.Error("the first time there is everything to read")
	}
	put(2)
	if refs, ok := ask(); !ok || !cmp.Equal(refs, []Ref{{"things", "one"}}) {
		t.Errorf("%v %v", refs, ok)
	}
	put(maxTracked + 1)
	if _, ok := ask(); ok || len(track.seen) > 0 {
		t.Errorf("too much has changed, and %d changes are kept", len(track.seen))
	}
	if refs, ok := ask(); !ok || len(refs) > 0 {
		t.Errorf("after that: %v %v", refs, ok)
	}
}
