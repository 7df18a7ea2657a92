package reconcile

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
)

func clockTime(t testing.TB, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	at, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestTimetable goes through what can have happened by a time. The backup begins
// 20 minutes into the window.
func TestTimetable(t *testing.T) {
	const nothing = "nothing"
	for name, c := range map[string]struct {
		window, since, done, began, told, now string
		failed                                bool
		want                                  string // "<window owed> [late]" or nothing, then when to look again
	}{
		"before its minute": {
			window: "03:00-04:00", done: "2026-03-09 03:00", began: "2026-03-09 03:20", now: "2026-03-10 03:19",
			want: nothing + ", again 2026-03-10 03:20",
		},
		"at its minute": {
			window: "03:00-04:00", done: "2026-03-09 03:00", began: "2026-03-09 03:20", now: "2026-03-10 03:20",
			want: "2026-03-10 03:00, again 2026-03-11 03:20",
		},
		"taken": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", now: "2026-03-10 03:21",
			want: nothing + ", again 2026-03-11 03:20",
		},
		"over midnight, before it": {
			window: "23:30-00:30", done: "2026-03-09 23:30", began: "2026-03-09 23:50", now: "2026-03-10 23:50",
			want: "2026-03-10 23:30, again 2026-03-11 23:50",
		},
		"over midnight, after it": {
			window: "23:30-00:30", done: "2026-03-09 23:30", began: "2026-03-09 23:50", now: "2026-03-11 00:10",
			want: "2026-03-10 23:30, again 2026-03-11 23:50",
		},
		"over midnight, its minute after it": {
			window: "23:45-00:45", done: "2026-03-09 23:45", began: "2026-03-10 00:05", now: "2026-03-11 00:04",
			want: nothing + ", again 2026-03-11 00:05",
		},
		"over midnight, taken": {
			window: "23:45-00:45", done: "2026-03-10 23:45", began: "2026-03-11 00:05", now: "2026-03-11 00:06",
			want: nothing + ", again 2026-03-12 00:05",
		},
		"the 29th of February": {
			window: "03:00-04:00", done: "2028-02-28 03:00", began: "2028-02-28 03:20", now: "2028-02-29 03:20",
			want: "2028-02-29 03:00, again 2028-03-01 03:20",
		},
		"the window is over": {
			window: "03:00-04:00", done: "2026-03-09 03:00", began: "2026-03-09 03:20", now: "2026-03-10 04:00",
			want: "2026-03-10 03:00 late, again 2026-03-11 03:20",
		},
		"the window is over and that was told": {
			window: "03:00-04:00", done: "2026-03-09 03:00", began: "2026-03-09 03:20", told: "2026-03-10 03:00", now: "2026-03-10 09:00",
			want: "2026-03-10 03:00, again 2026-03-11 03:20",
		},
		"a week of downtime owes one": {
			window: "03:00-04:00", done: "2026-03-02 03:00", began: "2026-03-02 03:20", now: "2026-03-10 12:00",
			want: "2026-03-10 03:00 late, again 2026-03-11 03:20",
		},
		"turned on after the window": {
			window: "03:00-04:00", since: "2026-03-10 04:00", now: "2026-03-10 04:00",
			want: nothing + ", again 2026-03-11 03:20",
		},
		"turned on within the window": {
			window: "03:00-04:00", since: "2026-03-10 03:40", now: "2026-03-10 03:41",
			want: "2026-03-10 03:00, again 2026-03-11 03:20",
		},
		"the window was moved to later on the same day": {
			window: "15:00-16:00", since: "2026-03-10 12:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", now: "2026-03-10 15:20",
			want: nothing + ", again 2026-03-11 15:20",
		},
		"the window was moved to before now": {
			window: "03:00-04:00", since: "2026-03-10 12:00", done: "2026-03-09 15:00", began: "2026-03-09 15:20", now: "2026-03-10 12:00",
			want: nothing + ", again 2026-03-11 03:20",
		},
		"failed a moment ago": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", failed: true, now: "2026-03-10 03:25",
			want: nothing + ", again 2026-03-10 03:30",
		},
		"failed ten minutes ago": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", failed: true, now: "2026-03-10 03:30",
			want: "2026-03-10 03:00, again 2026-03-11 03:20",
		},
		"failed, and the window ends before it may be begun anew": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:55", failed: true, now: "2026-03-10 03:56",
			want: nothing + ", again 2026-03-11 03:20",
		},
		"failed, and the window is over": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", failed: true, now: "2026-03-10 05:00",
			want: nothing + ", again 2026-03-11 03:20",
		},
		"the clock was put back within the day": {
			window: "03:00-04:00", done: "2026-03-10 03:00", began: "2026-03-10 03:20", now: "2026-03-09 22:00",
			want: nothing + ", again 2026-03-10 03:20",
		},
		"the clock was put back by a year": {
			window: "03:00-04:00", done: "2027-03-10 03:00", began: "2027-03-10 03:20", now: "2026-03-10 12:00",
			want: "2026-03-10 03:00 late, again 2026-03-11 03:20",
		},
		"turned on by a clock that was a year ahead": {
			window: "03:00-04:00", since: "2027-03-10 12:00", now: "2026-03-10 03:20",
			want: "2026-03-10 03:00, again 2026-03-11 03:20",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, ok := cache.ParseDailyWindow(c.window)
			if !ok {
				t.Fatal(c.window)
			}
			tt := timetable{
				window: w, spread: 20 * time.Minute, since: clockTime(t, c.since), done: clockTime(t, c.done),
				began: clockTime(t, c.began), told: clockTime(t, c.told), failed: c.failed,
			}
			got := nothing
			o, due, again := tt.at(clockTime(t, c.now))
			if due {
				got = o.window.Format("2006-01-02 15:04")
				if o.late {
					got += " late"
				}
			}
			if got += ", again " + again.Format("2006-01-02 15:04"); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestOneBackupADay walks through a month by steps of any length, backwards at
// times, with a window that is moved now and then.
func TestOneBackupADay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() cache.DailyWindow {
			return cache.DailyWindow{From: rapid.IntRange(0, 1439).Draw(t, "from"), Length: rapid.IntRange(60, 1380).Draw(t, "length")}
		}
		now := epoch
		var auto cache.AutomaticBackups
		w := draw()
		taken := map[string]int{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			step := rapid.IntRange(-90, 12*60).Draw(t, "minutes")
			now = now.Add(time.Duration(step) * time.Minute)
			if rapid.IntRange(0, 9).Draw(t, "move") == 0 {
				w, auto.Since = draw(), now
			}
			tt := newTimetable("r/g", w, epoch, &auto)
			o, due, again := tt.at(now)
			if !again.After(now) {
				t.Fatalf("at %v one is to look again at %v", now, again)
			}
			if !due {
				continue
			}
			if o.window.After(now) || now.Sub(o.window) > 2*day {
				t.Fatalf("at %v the window of %v is owed", now, o.window)
			}
			d := o.window.Format(time.DateOnly)
			if taken[d]++; taken[d] > 1 {
				t.Fatalf("a second backup of %s at %v", d, now)
			}
			auto.Window, auto.Began = o.window, now
			tt = newTimetable("r/g", w, epoch, &auto)
			if _, due, _ := tt.at(now); due {
				t.Fatalf("owed at %v although it was taken that very moment", now)
			}
		}
	})
}

// TestNoDayIsLeftOut looks whenever it was told to, and finds a backup due every day.
func TestNoDayIsLeftOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := cache.DailyWindow{From: rapid.IntRange(0, 1439).Draw(t, "from"), Length: rapid.IntRange(60, 1439).Draw(t, "length")}
		key := rapid.StringMatching("r/[a-z]{1,10}").Draw(t, "key")
		var auto cache.AutomaticBackups
		now, end := epoch, epoch.AddDate(0, 0, 30)
		n := 0
		for now.Before(end) {
			tt := newTimetable(key, w, epoch, &auto)
			o, due, again := tt.at(now)
			if due {
				if o.late {
					t.Fatalf("one that looked in time is late at %v", now)
				}
				if at := now.Sub(o.window); n > 0 && (at < 0 || at > time.Duration(w.Length)*time.Minute*3/4) {
					t.Fatalf("it begins %v into a window of %d minutes", at, w.Length)
				}
				n++
				auto.Window, auto.Began = o.window, now
			}
			now = again
		}
		if n < 29 || n > 31 {
			t.Fatalf("%d backups in 30 days", n)
		}
	})
}

func TestStartsAreSpread(t *testing.T) {
	w := cache.DailyWindow{From: 180, Length: 60}
	minutes := map[time.Duration]int{}
	for i := range 100 {
		s := spread(fmt.Sprintf("r/group-%d", i), w)
		if s < 0 || s >= 45*time.Minute {
			t.Errorf("a backup begins %v into a window of an hour", s)
		}
		minutes[s]++
	}
	for at, n := range minutes {
		if n > 10 {
			t.Errorf("%d of 100 backups begin %v into their window", n, at)
		}
	}
}

func TestExpiry(t *testing.T) {
	const kept, gone = "kept", "gone"
	base := cache.Snapshot{
		Region: "r", Name: "s", Source: cache.SourceAutomated, Status: cache.StatusAvailable, CreatedAt: epoch.Add(-3 * day),
		Settings: cache.Settings{SnapshotRetention: 3},
	}
	for name, c := range map[string]struct {
		change func(*cache.Snapshot, *keeping)
		want   string
	}{
		"its days are over":          {func(*cache.Snapshot, *keeping) {}, gone},
		"its days are not over":      {func(s *cache.Snapshot, _ *keeping) { s.SnapshotRetention = 4 }, kept + " 24h0m0s"},
		"it is the last one":         {func(_ *cache.Snapshot, k *keeping) { k.Last = true }, kept},
		"it was taken by hand":       {func(s *cache.Snapshot, _ *keeping) { s.Source = cache.SourceManual }, kept},
		"it goes already":            {func(s *cache.Snapshot, _ *keeping) { s.Deleting = true }, kept},
		"a cache is created from it": {func(s *cache.Snapshot, _ *keeping) { s.Restores = []string{"r/g"} }, kept},
		"it is exported":             {func(s *cache.Snapshot, _ *keeping) { s.Exports = []cache.Export{{}} }, kept},
		"it is copied":               {func(_ *cache.Snapshot, k *keeping) { k.Copied = true }, kept},
		"it is being taken":          {func(s *cache.Snapshot, _ *keeping) { s.Status = cache.StatusCreating }, kept},
		"its source is gone":         {func(s *cache.Snapshot, k *keeping) { s.SnapshotRetention, k.Orphan = 30, true }, gone},
		"an orphan that is restored": {func(s *cache.Snapshot, k *keeping) { s.Restores, k.Orphan = []string{"r/g"}, true }, kept},
		"it failed":                  {func(s *cache.Snapshot, _ *keeping) { s.Status, s.SnapshotRetention = cache.StatusFailed, 4 }, kept + " 24h0m0s"},
		"it failed and the next did not": {func(s *cache.Snapshot, k *keeping) {
			s.Status, s.SnapshotRetention, k.Superseded = cache.StatusFailed, 4, true
		}, gone},
		"it was found damaged": {func(s *cache.Snapshot, k *keeping) {
			s.Status, s.SnapshotRetention, k.Superseded, s.Shards = cache.StatusFailed, 4, true, []cache.ShardSnapshot{{}}
		}, kept + " 24h0m0s"},
		"one that is in step": {func(s *cache.Snapshot, k *keeping) { s.SnapshotRetention, k.Superseded = 4, true }, kept + " 24h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			s, k := base, keeping{}
			c.change(&s, &k)
			d := PlanExpiry(s, k, nil, nil, epoch)
			got := kept
			if len(d.Do) > 0 {
				got = gone
			} else if !d.Again.IsZero() {
				got += " " + d.Again.Sub(epoch).String()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
