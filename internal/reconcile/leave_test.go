package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// A replica that is to go has the only data when its primary dies, or is about to be
// started from a file, just before that is written down.
func TestAReplicaDoesNotLeaveWhileItMayHaveTheOnlyData(t *testing.T) {
	for name, strikes := range map[string]func(*cache.CacheCluster){
		"it serves":          func(*cache.CacheCluster) {},
		"it dies":            func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false },
		"it is put aside":    func(c *cache.CacheCluster) { c.Node.Parked, c.Node.Ready = true, false },
		"and started anew":   func(c *cache.CacheCluster) { c.Node.Process, c.Node.Parked = nil, true },
		"it follows by hand": nil,
	} {
		b := serving(t, 2)
		b.stop()
		b.change("g", func(tx *store.Tx, _ *cache.ReplicationGroup) error { return goes(tx, "g-002") })
		r := New(Config{DB: b.db, Engines: b.machine, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		v, err := r.view(context.Background(), "group r/g")
		if err != nil {
			t.Fatal(err)
		}
		leave := r.leave(v, v.member("g-002"))
		b.update(func(tx *store.Tx) error {
			if strikes == nil {
				return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Primary = "g-002" })
			}
			return changeCluster(tx, "r/g-001", strikes)
		})
		b.update(leave)
		if got, want := b.read().clusters["r/g-002"].Departed, name == "it serves"; got != want {
			t.Errorf("its primary, %s: it has left: %v, want %v", name, got, want)
		}
	}
}
