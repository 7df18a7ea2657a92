package source_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// A server that comes back without its keys while it is read is not read as an empty
// one: its backup would take the place of a good one.
func TestLiveSourceComesBackEmpty(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fill(t, s, 3000)
	var once sync.Once
	src := source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir(), PointInTime: true, Rate: 1000, Progress: func(p source.LiveProgress) {
		if p.Keys > 0 {
			once.Do(func() {
				s.Kill()
				s.Restart()
			})
		}
	}})
	keys := 0
	var failed error
	for _, err := range src.Entries(t.Context()) {
		if failed = err; err == nil {
			keys++
		}
	}
	if !errors.Is(failed, source.ErrSourceEmptied) {
		t.Errorf("%d keys, %v, begun anew because of %q", keys, failed, src.Report().Restarts)
	}
	// One that is empty from the beginning has nothing to lose.
	empty := source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir(), PointInTime: true})
	for _, err := range empty.Entries(t.Context()) {
		t.Errorf("an empty server: %v", err)
	}
}

// One that comes back with a few keys, which clients have written since, has lost them
// as well; one that comes back with its data goes on.
func TestLiveSourceComesBackWithFewKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		through, saved bool
		kept           int // new keys
		flush          bool
		emptied        bool
	}{
		"through, few":             {through: true, kept: 5, emptied: true},
		"spooled, few":             {kept: 5, emptied: true},
		"through, just under half": {through: true, kept: 1499, emptied: true},
		"through, half":            {through: true, kept: 1500},
		"through, its data":        {through: true, saved: true},
		"spooled, its data":        {saved: true},
		"through, emptied by hand": {through: true, flush: true, kept: 5},
		"spooled, emptied by hand": {flush: true, kept: 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
			fill(t, s, 3000)
			act := func() {
				if tc.flush {
					s.Must("FLUSHALL")
				} else {
					if tc.saved {
						s.Must("SAVE")
					}
					s.Kill()
					s.Restart()
				}
				for i := range tc.kept {
					s.Must("SET", fmt.Sprint("new", i), i)
				}
			}
			var once sync.Once
			src := source.NewLive(at(s), source.LiveOptions{Dir: t.TempDir(), Through: tc.through, Rate: 2000, Progress: func(p source.LiveProgress) {
				if p.Keys > 0 {
					once.Do(act)
				}
			}})
			target := obeyed{}
			var failed error
			for e, err := range src.Entries(t.Context()) {
				if failed = err; err == nil {
					target.take(t, e)
				}
			}
			if tc.emptied {
				if !errors.Is(failed, source.ErrSourceEmptied) || !strings.Contains(failed.Error(), "it had 3000 keys") || !strings.Contains(failed.Error(), fmt.Sprint(" has ", tc.kept, " ")) {
					t.Errorf("%d keys, %v, begun anew because of %q", len(target), failed, src.Report().Restarts)
				}
				return
			}
			if failed != nil || len(src.Report().Restarts) == 0 {
				t.Errorf("%v, begun anew because of %q", failed, src.Report().Restarts)
			}
			if d := compare(target, content(t, s)); len(d) > 0 {
				t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 5)])
			}
		})
	}
}
