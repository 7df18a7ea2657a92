package source_test

import (
	"errors"
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
