package reconcile

import (
	"hash/fnv"
	"time"

	"holdfast.dev/internal/cache"
)

const (
	day = 24 * time.Hour
	// backupRest is how long a failed automatic backup rests before it is begun anew.
	backupRest = 10 * time.Minute
)

// timetable decides when the automatic backups of one unit are due. A window is
// named by its beginning, and the day on which it begins is the day that its
// backup belongs to: there is one a day, whatever is done to the window or the clock.
type timetable struct {
	window cache.DailyWindow
	// spread is how far into the window a backup begins, so that the caches of one
	// window do not fork at once.
	spread time.Duration
	// since is when the timetable began: a window that was over by then owes nothing.
	since time.Time
	// done is the last window whose backup was begun, began is when, and failed that
	// it came to nothing.
	done, began time.Time
	failed      bool
	// told is the last window of which was told that it passed without a backup.
	told time.Time
}

// owed is a backup that is to be taken.
type owed struct {
	window time.Time
	// over is when the window ends; a backup that is owed still is taken all the same.
	over time.Time
	// late tells that nobody was told yet that the window has passed.
	late bool
}

// newTimetable makes the timetable of a unit that has a window.
func newTimetable(key string, w cache.DailyWindow, created time.Time, a *cache.AutomaticBackups) timetable {
	t := timetable{window: w, spread: spread(key, w), since: created, done: a.Window, began: a.Began, told: a.Told}
	if a.Since.After(created) {
		t.since = a.Since
	}
	return t
}

// spread draws a minute of the first three quarters of the window, always the
// same for the same key: what is left is for those that have to be begun anew.
func spread(key string, w cache.DailyWindow) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return time.Duration(int(h.Sum32()>>1)%max(1, w.Length*3/4)) * time.Minute
}

// at says what is owed at a time, and when to look again. What was written down
// by a clock that was more than a day ahead of this one is not believed.
func (t *timetable) at(now time.Time) (o owed, due bool, again time.Time) {
	window := t.window.Last(now.Add(-t.spread))
	again = window.AddDate(0, 0, 1).Add(t.spread)
	over := window.Add(time.Duration(t.window.Length) * time.Minute)
	believed := func(at time.Time) bool { return at.Before(now.Add(day)) }
	if !over.After(t.since) && believed(t.since) {
		return o, false, again
	}
	o = owed{window: window, over: over, late: !now.Before(over) && (!believed(t.told) || !sameDayOrAfter(t.told, window))}
	if !believed(t.began) || !sameDayOrAfter(t.done, window) {
		return o, true, again
	}
	if !t.failed || !t.done.Equal(window) {
		return o, false, again
	}
	next := t.began.Add(backupRest)
	switch {
	case !next.Before(over):
		return o, false, again
	case next.After(now):
		return o, false, next
	}
	return o, now.Before(over), again
}

// sameDayOrAfter compares the days on which two windows begin.
func sameDayOrAfter(a, b time.Time) bool {
	return !a.IsZero() && a.UTC().Format(time.DateOnly) >= b.UTC().Format(time.DateOnly)
}
