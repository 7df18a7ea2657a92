package reconcile

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// probing calls then when a node is asked how it is.
type probing struct {
	shelfEngines
	then func()
}

func (p probing) Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	p.then()
	return p.shelfEngines.Probe(ctx, spec)
}

// TestANodeStartedAnewIsChosenAnew: a primary without replicas knows no offset that
// its empty successor would lack, so that its process alone tells them apart.
func TestANodeStartedAnewIsChosenAnew(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		b := still(t, 1)
		s := newShelf(b)
		s.health["g-001"] = cache.Health{RunID: "its name"}
		b.snapshot("s", "g")
		engines := probing{shelfEngines{b.machine, s}, func() {
			if restarts {
				b.update(func(tx *store.Tx) error {
					return changeCluster(tx, "r/g-001", func(c *cache.CacheCluster) {
						c.Node.Process, c.Node.ExitedAt = &cache.Process{PID: 4711}, time.Now()
					})
				})
			}
		}}
		r := New(Config{DB: b.db, Engines: engines, Transfers: s, Memory: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		_, err := r.act(t.Context(), "group r/g", Action{Kind: actSnapshot, Target: "r/s"})
		if restarts {
			if err == nil || !strings.Contains(err.Error(), "g-001 was started anew") || len(s.jobs) != 0 {
				t.Errorf("%v, %d jobs", err, len(s.jobs))
			}
			continue
		}
		if err != nil || len(s.jobs) != 1 || s.jobs[0].RunID != "its name" {
			t.Errorf("%v: %+v", err, s.jobs)
		}
	}
}
