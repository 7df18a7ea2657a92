package reconcile

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// TestAProofIsOfTheSnapshotThatWasRead and of no other that has got its name since.
func TestAProofIsOfTheSnapshotThatWasRead(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	old := cache.Snapshot{Region: "r", Name: "s", GroupID: "g", Status: cache.StatusAvailable, CreatedAt: time.Now().AddDate(0, -1, 0)}
	anew := cache.Snapshot{Region: "r", Name: "s", GroupID: "g", Status: cache.StatusCreating, CreatedAt: time.Now()}
	put := func(s cache.Snapshot) {
		b.update(func(tx *store.Tx) error { return records.Snapshots.Put(tx, s.Key(), s) })
	}
	put(old)
	b.machine.hook = func(_ int, name string) {
		if name == "prove" { // which does not find its file
			put(anew)
		}
	}
	b.carryOut(scrubUnit, Action{Kind: actScrub, Target: "r/s"})
	if s := b.read().snapshots[0]; s.Status != cache.StatusCreating || s.Rotten != "" || !s.ProvedAt.IsZero() {
		t.Errorf("the other one is %+v", s)
	}
}

// TestWhatCannotBeReadIsNotTakenForDamaged, however often it is tried, and whatever it was before.
func TestWhatCannotBeReadIsNotTakenForDamaged(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	proved := time.Now().AddDate(0, 0, -7).UTC().Round(0)
	whole := cache.Snapshot{Region: "r", Name: "whole", GroupID: "g", Status: cache.StatusAvailable, ProvedAt: proved}
	rotten := cache.Snapshot{Region: "r", Name: "rotten", GroupID: "g", Status: cache.StatusFailed, Rotten: "a bit", Reason: "it is damaged: a bit", ProvedAt: proved}
	scrub := func(reason string) []cache.Snapshot {
		t.Helper()
		b.carryOut(scrubUnit, Action{Kind: actScrub, Target: "r/whole", Reason: reason})
		b.carryOut(scrubUnit, Action{Kind: actScrub, Target: "r/rotten", Reason: reason})
		all := b.read().snapshots // by name
		return []cache.Snapshot{all[1], all[0]}
	}
	b.update(func(tx *store.Tx) error {
		return errors.Join(records.Snapshots.Put(tx, whole.Key(), whole), records.Snapshots.Put(tx, rotten.Key(), rotten))
	})
	b.machine.broken["prove"] = errors.New("EIO")
	for _, reason := range []string{"several EIO", "", ""} { // at first that of the step, then each time what was found
		before := time.Now()
		both := scrub(reason)
		for _, s := range both {
			if s.Unread == "" || s.UnreadAt.Before(before) || !s.ProvedAt.Equal(proved) {
				t.Errorf("it is not written down: %+v", s)
			}
		}
		if s, bad := both[0], both[1]; s.Status != cache.StatusAvailable || s.Rotten != "" || bad.Status != cache.StatusFailed || bad.Rotten != "a bit" {
			t.Errorf("the status has changed: %+v, %+v", s, bad)
		}
	}
	delete(b.machine.broken, "prove")
	b.machine.objects["r/whole/0001"], b.machine.objects["r/rotten/0001"] = true, true
	for _, s := range scrub("") {
		if s.Unread != "" || !s.UnreadAt.IsZero() || s.Rotten != "" || s.Status != cache.StatusAvailable || s.ProvedAt.Equal(proved) {
			t.Errorf("once it can be read: %+v", s)
		}
	}
	var told []string
	err := b.db.View(t.Context(), func(tx *store.Tx) error {
		all, err := records.Events.List(tx, "")
		for _, e := range all {
			told = append(told, e.Message)
		}
		return err
	})
	const unread = "could not be read to prove that it is whole; it is tried again every hour: several EIO"
	want := []string{"Snapshot whole " + unread, "Snapshot rotten " + unread, "Snapshot whole can be read again, and is whole", "Snapshot rotten is whole again"}
	if err != nil || !slices.Equal(told, want) {
		t.Errorf("told: %q, %v", told, err)
	}
}

// TestWhatWasDeletedLeavesNoFailedProof: the next of its name would be taken for
// unreadable at its first failure.
func TestWhatWasDeletedLeavesNoFailedProof(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.update(func(tx *store.Tx) error {
		s := cache.Snapshot{Region: "r", Name: "s", GroupID: "g", Status: cache.StatusDeleting, Deleting: true}
		step := cache.Step{ID: "scrub r/s", Unit: scrubUnit, Kind: "scrub", Target: "r/s", State: cache.StepFailed, Attempts: 3}
		return errors.Join(records.Snapshots.Put(tx, s.Key(), s), records.Steps.Put(tx, step.ID, step))
	})
	b.carryOut(snapshotUnit("r/s"), Action{Kind: actErase, Target: "r/s"})
	if w := b.read(); len(w.snapshots)+len(w.steps) != 0 {
		t.Errorf("there are left %v, %v", w.snapshots, w.steps)
	}
}

// TestAProofOfWhatGoesIsBrokenOff, which would else put its manifest back.
func TestAProofOfWhatGoesIsBrokenOff(t *testing.T) {
	goes := stored("a", 9*24*time.Hour)
	goes.Deleting = true
	inFlight := map[string]bool{"scrub r/a": true}
	for name, all := range map[string][]cache.Snapshot{"it goes": {goes, stored("b", 0)}, "it is gone": {stored("b", 0)}, "nothing is left": nil} {
		if got := decided(PlanScrub(all, nil, inFlight, false, scrubNow)); got != "cancel scrub r/a" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := decided(PlanScrub([]cache.Snapshot{stored("a", 0)}, nil, inFlight, false, scrubNow)); got != "" {
		t.Errorf("one that stays: %q", got)
	}
}

// carryOut does one action, and writes down what came of it.
func (b *bench) carryOut(unit string, a Action) {
	b.t.Helper()
	r := New(Config{
		DB: b.db, Engines: b.machine, Transfers: fakeTransfers{b.machine}, Endpoints: fakeEndpoints{b.machine}, Memory: b.machine,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	out, err := r.act(b.t.Context(), unit, a)
	if err != nil {
		b.t.Fatal(err)
	}
	b.update(out)
}
