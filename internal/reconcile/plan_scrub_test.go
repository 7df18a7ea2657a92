package reconcile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

var scrubNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func stored(name string, provedAgo time.Duration) cache.Snapshot {
	return cache.Snapshot{Region: "r", Name: name, Status: cache.StatusAvailable, CreatedAt: scrubNow.Add(-90 * 24 * time.Hour), ProvedAt: scrubNow.Add(-provedAgo)}
}

func TestPlanScrub(t *testing.T) {
	const d = 24 * time.Hour
	changed := func(s cache.Snapshot, change func(*cache.Snapshot)) cache.Snapshot {
		change(&s)
		return s
	}
	for _, tc := range []struct {
		name     string
		all      []cache.Snapshot
		inFlight string
		moving   bool
		failed   int
		want     string
	}{
		{name: "nothing", want: ""},
		{name: "all fresh", all: []cache.Snapshot{stored("a", d), stored("b", 2*d)}, want: "again in 96h0m0s"},
		{name: "the oldest first", all: []cache.Snapshot{stored("a", 6*d), stored("b", 8*d), stored("c", 7*d)}, want: "do scrub r/b"},
		{name: "never proved: since it was taken", all: []cache.Snapshot{changed(stored("a", 0), func(s *cache.Snapshot) {
			s.ProvedAt, s.CreatedAt = time.Time{}, scrubNow.Add(-2*d)
		})}, want: "again in 96h0m0s"},
		{name: "one at a time", all: []cache.Snapshot{stored("a", 6*d), stored("b", 8*d)}, inFlight: "scrub r/b", want: ""},
		{name: "it waits for transfers", all: []cache.Snapshot{stored("a", 6*d)}, moving: true, want: "again in 1m0s"},
		{name: "it gives way", all: []cache.Snapshot{stored("a", 6*d)}, inFlight: "scrub r/a", moving: true, want: "cancel scrub r/a"},
		{name: "not for ever", all: []cache.Snapshot{stored("a", 7*d+time.Second)}, moving: true, want: "do scrub r/a"},
		{name: "and then it goes on", all: []cache.Snapshot{stored("a", 7*d+time.Second)}, inFlight: "scrub r/a", moving: true, want: ""},
		{name: "those in use are read anyway", all: []cache.Snapshot{
			changed(stored("a", 9*d), func(s *cache.Snapshot) { s.Restores = []string{"r/g"} }),
			changed(stored("b", 9*d), func(s *cache.Snapshot) { s.Exports = []cache.Export{{}} }),
			changed(stored("c", 9*d), func(s *cache.Snapshot) { s.Deleting = true }),
			changed(stored("d", 9*d), func(s *cache.Snapshot) { s.Status = cache.StatusCreating }),
			changed(stored("e", 9*d), func(s *cache.Snapshot) { s.Status = cache.StatusFailed }),
		}, want: ""},
		{name: "a damaged one daily", all: []cache.Snapshot{stored("b", 5*d), changed(stored("a", d), func(s *cache.Snapshot) {
			s.Status, s.Rotten = cache.StatusFailed, "r"
		})}, want: "do scrub r/a"},
		{name: "after a failure it rests", all: []cache.Snapshot{stored("a", 6*d)}, failed: 1, want: "again in 10s"},
		{name: "after several it is written down", all: []cache.Snapshot{stored("a", 6*d)}, failed: 10, want: "again in 10s"},
		{name: "and not before", all: []cache.Snapshot{stored("a", 6*d)}, failed: 4, want: "again in 10s"},
		{name: "one that could not be read, hourly", all: []cache.Snapshot{stored("b", 5*d), changed(stored("a", 7*d), func(s *cache.Snapshot) {
			s.Unread, s.UnreadAt = "EIO", scrubNow.Add(-20*time.Minute)
		})}, want: "again in 40m0s"},
		{name: "and others meanwhile", all: []cache.Snapshot{stored("b", 6*d), changed(stored("a", 7*d), func(s *cache.Snapshot) {
			s.Unread, s.UnreadAt = "EIO", scrubNow.Add(-20*time.Minute)
		})}, want: "do scrub r/b"},
		{name: "the hour is over", all: []cache.Snapshot{changed(stored("a", 7*d), func(s *cache.Snapshot) {
			s.Unread, s.UnreadAt = "EIO", scrubNow.Add(-time.Hour)
		})}, want: "do scrub r/a"},
	} {
		inFlight, steps := map[string]bool{}, map[string]cache.Step{}
		if tc.inFlight != "" {
			inFlight[tc.inFlight] = true
		}
		if tc.failed > 0 {
			steps["scrub r/a"] = cache.Step{State: cache.StepFailed, Attempts: tc.failed, Error: "EIO", NotBefore: scrubNow.Add(10 * time.Second)}
		}
		if got := decided(PlanScrub(tc.all, steps, inFlight, tc.moving, scrubNow)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		later := PlanScrub(tc.all, steps, inFlight, tc.moving, scrubNow.Add(time.Minute))
		if tc.failed == 4 && (len(later.Do) != 1 || later.Do[0].Reason != "") || tc.failed == 10 && (len(later.Do) != 1 || later.Do[0].Reason != "EIO") {
			t.Errorf("%s: %+v", tc.name, later)
		}
	}
}

func decided(d Decision) string {
	var out []string
	for _, a := range d.Do {
		out = append(out, "do "+a.ID())
	}
	for _, id := range d.Cancel {
		out = append(out, "cancel "+id)
	}
	if !d.Again.IsZero() {
		out = append(out, fmt.Sprint("again in ", d.Again.Sub(scrubNow)))
	}
	return strings.Join(out, ", ")
}

// Over ten weeks in which transfers come and go, each of a hundred snapshots is proved
// every week, one at a time.
func TestEverySnapshotIsProvedEveryWeek(t *testing.T) {
	all := make([]cache.Snapshot, 100)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range all {
		all[i] = stored(fmt.Sprint("s", i), time.Duration(random.IntN(144))*time.Hour)
	}
	const step, lasts = 5 * time.Minute, 2
	inFlight, left := map[string]bool{}, 0
	for now := scrubNow; now.Before(scrubNow.Add(70 * 24 * time.Hour)); now = now.Add(step) {
		if left--; left == 0 {
			for i := range all {
				if inFlight["scrub "+all[i].Key()] {
					all[i].ProvedAt = now
				}
			}
			clear(inFlight)
		}
		d := PlanScrub(all, nil, inFlight, now.Unix()/int64(step.Seconds())%3 == 0, now)
		if len(d.Cancel) > 0 {
			clear(inFlight)
		}
		for _, a := range d.Do {
			inFlight[a.ID()], left = true, lasts
		}
		if len(inFlight) > 1 {
			t.Fatalf("at %s there run %v", now, inFlight)
		}
		for i := range all {
			if age := now.Sub(all[i].ProvedAt); age > scrubAtMost+12*time.Hour {
				t.Fatalf("%s was last proved %s ago", all[i].Name, age)
			}
		}
	}
}

// One that has rotted fails, once, and becomes available when it is whole again.
func TestARottenSnapshotFails(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.machine.objects["r/good/0001"] = true
	b.machine.broken["prove"] = errors.New("the disk is busy")
	for _, name := range []string{"good", "bad"} {
		b.update(func(tx *store.Tx) error {
			s := cache.Snapshot{Region: "r", Name: name, GroupID: "g", Status: cache.StatusAvailable}
			return records.Snapshots.Put(tx, s.Key(), s)
		})
	}
	b.run()
	read := func(name string) (out cache.Snapshot) {
		for _, s := range b.read().snapshots {
			if s.Name == name {
				out = s
			}
		}
		return out
	}
	testkit.Wait(t, time.Minute, func() bool { return len(b.read().steps[scrubUnit]) > 0 }, "it is tried")
	if s := read("bad"); s.Rotten != "" {
		t.Errorf("a disk that is busy is taken for rot: %+v", s)
	}
	b.machine.mu.Lock()
	delete(b.machine.broken, "prove")
	b.machine.mu.Unlock()
	testkit.Wait(t, time.Minute, func() bool { return !read("good").ProvedAt.IsZero() && !read("bad").ProvedAt.IsZero() }, "both are read")
	if s := read("bad"); s.Status != cache.StatusFailed || s.Rotten != "its file is gone" || !strings.Contains(s.Reason, "its file is gone") {
		t.Errorf("the bad one: %+v", s)
	}
	if s := read("good"); s.Status != cache.StatusAvailable || s.Rotten != "" {
		t.Errorf("the good one: %+v", s)
	}
	again := func() {
		b.machine.mu.Lock()
		before := b.machine.calls
		b.machine.mu.Unlock()
		b.update(func(tx *store.Tx) error {
			return changeSnapshot(tx, "r/bad", func(s *cache.Snapshot) { s.ProvedAt = time.Now().Add(-48 * time.Hour) })
		})
		testkit.Wait(t, time.Minute, func() bool {
			b.machine.mu.Lock()
			defer b.machine.mu.Unlock()
			return b.machine.calls > before && time.Since(read("bad").ProvedAt) < 24*time.Hour
		}, "it is read again")
	}
	again()
	b.machine.mu.Lock()
	b.machine.objects["r/bad/0001"] = true
	b.machine.mu.Unlock()
	again()
	if s := read("bad"); s.Status != cache.StatusAvailable || s.Rotten != "" || s.Reason != "" {
		t.Errorf("once it is whole again: %+v", s)
	}
	var told []string
	err := b.db.View(t.Context(), func(tx *store.Tx) error {
		all, err := records.Events.List(tx, "")
		for _, e := range all {
			told = append(told, e.SourceID+": "+e.Message)
		}
		return err
	})
	want := "[g: Snapshot bad is damaged and cannot be restored: its file is gone g: Snapshot bad is whole again]"
	if err != nil || fmt.Sprint(told) != want {
		t.Errorf("told: %v, %v", told, err)
	}
}
