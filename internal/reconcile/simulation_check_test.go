package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// check holds what there is at a quiet moment against what was asked for.
func (s *simulation) check() {
	s.t.Helper()
	var all []cache.Snapshot
	err := s.w.DB.View(context.Background(), func(tx *store.Tx) (err error) {
		all, err = records.Snapshots.List(tx, "")
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	now := s.w.Now()
	newest := map[string]time.Time{}
	objects := map[string]bool{}
	for i := range all {
		n := &all[i]
		objects[fakeTransfers{}.SnapshotObject(*n, cache.NodeGroupID)] = true
		if n.Status == cache.StatusAvailable && n.CreatedAt.After(newest[simSource(n.Name)]) {
			newest[simSource(n.Name)] = n.CreatedAt
		}
	}
	for i := range all {
		n := &all[i]
		c := s.caches[simSource(n.Name)]
		switch {
		case c == nil || n.CreatedAt.Before(c.created):
			s.t.Fatalf("at %v %s is there, of a cache that is gone: %+v\n%s", now, n.Name, *n, s.steps())
		case n.Source != cache.SourceAutomated || n.Name != cache.AutomaticName(n.ClusterID, n.CreatedAt):
			s.t.Fatalf("%s is %s, of %s, begun at %v", n.Name, n.Source, n.ClusterID, n.CreatedAt)
		case c.retention > 0 && n.SnapshotRetention != c.retention:
			s.t.Fatalf("%s is kept for %d days and not %d", n.Name, n.SnapshotRetention, c.retention)
		}
		over := !n.CreatedAt.Add(time.Duration(n.SnapshotRetention) * day).After(now)
		last := c.retention > 0 && n.CreatedAt.Equal(newest[c.id])
		if over && !last && n.Status != cache.StatusCreating && !n.CreatedAt.After(newest[c.id]) {
			s.t.Fatalf("at %v %s of %v is there still, for %d days", now, n.Name, n.CreatedAt, n.SnapshotRetention)
		}
	}
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	for o := range s.machine.objects {
		if !objects[o] {
			s.t.Fatalf("at %v the file %s belongs to no snapshot", now, o)
		}
	}
}

// steps is what the runner has written down of what it does.
func (s *simulation) steps() string {
	var out []string
	err := s.w.DB.View(context.Background(), func(tx *store.Tx) error {
		all, err := records.Steps.List(tx, "")
		for _, step := range all {
			out = append(out, fmt.Sprintf("%+v", step))
		}
		return err
	})
	return fmt.Sprint(strings.Join(out, "\n"), err)
}

// simSource is the cache that an automatic snapshot is named after.
func simSource(name string) string {
	id := strings.TrimPrefix(name[:len(name)-len("-2006-01-02-15-04")], "automatic.")
	id, _, _ = strings.Cut(id, "-")
	return id
}

// verify goes through what was taken: no name twice, and of every cache that is
// there what verifyCache looks for.
func (s *simulation) verify(elapsed int) {
	names := map[string]bool{}
	for _, b := range s.taken {
		if names[b.name] {
			s.t.Errorf("%s was taken twice", b.name)
		}
		names[b.name] = true
	}
	for _, id := range slices.Sorted(maps.Keys(s.caches)) {
		s.verifyCache(s.caches[id])
	}
	s.t.Logf("%d backups were taken, %d were deleted, the service was down %d times; %d undisturbed days were checked",
		len(s.taken), len(s.erased), len(s.trouble), s.checked)
	if s.checked < 60*elapsed {
		s.t.Errorf("only %d days could be checked", s.checked)
	}
}

// verifyCache goes through the days of a cache since its settings are what they
// are: one backup a day, when it was due unless something was in the way.
func (s *simulation) verifyCache(c *simCache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	disturbed := slices.Clone(c.disturbed)
	if s.failing[c.id] {
		disturbed = append(disturbed, simSpan{c.failsFrom, s.w.Now()})
	}
	taken := map[time.Time][]time.Time{} // by due time
	for _, b := range s.taken {
		if b.of == c.id && b.begun.After(c.created) {
			// One that was begun long before it could be taken is that of its own day.
			due := c.dueBefore(b.begun)
			taken[due] = append(taken[due], b.at)
		}
	}
	for due := c.dueBefore(c.created).AddDate(0, 0, 1); ; due = due.AddDate(0, 0, 1) {
		next := due.AddDate(0, 0, 1)
		if next.After(s.w.Now()) {
			return
		}
		if len(touching(disturbed, due, next)) == 0 {
			s.checked++
			s.verifyDay(c, due, next, taken[due])
		}
	}
}

func (s *simulation) verifyDay(c *simCache, due, next time.Time, at []time.Time) {
	down := touching(s.trouble, due, next)
	switch {
	case c.retention == 0:
		if len(at) > 0 {
			s.t.Errorf("%s has no automatic backups, and one was taken at %v", c.id, at)
		}
	case len(at) > 1:
		s.t.Errorf("%s has more than one backup of the day that begins at %v: %v", c.id, due, at)
	case len(at) == 0 && !covered(down, due, next):
		s.t.Errorf("%s has no backup of the day that begins at %v (down %v)", c.id, due, down)
	case len(at) == 1 && len(down) == 0 && (at[0].Before(due) || at[0].After(due.Add(simTick))):
		s.t.Errorf("the backup of %s that was due at %v was taken at %v", c.id, due, at[0])
	}
}

// dueBefore is when the last backup up to a time was due.
func (c *simCache) dueBefore(at time.Time) time.Time {
	into := spread(cache.Key(simRegion, c.id), c.window)
	return c.window.Last(at.Add(-into)).Add(into)
}

func touching(spans []simSpan, from, to time.Time) (out []simSpan) {
	for _, s := range spans {
		if s.from.Before(to) && !s.to.Before(from) {
			out = append(out, s)
		}
	}
	return out
}

// covered tells whether spans leave nothing of the time between two points.
func covered(spans []simSpan, from, to time.Time) bool {
	for _, s := range spans {
		if !s.from.After(from) && s.to.After(from) {
			from = s.to
		}
	}
	return !from.Before(to)
}
