package reconcile

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// strays looks, before a primary is started that may come up empty, for members of its
// shard that run though no record says so: the service was killed between their start
// and its outcome. One of them may have the data by now, and would lose them to
// that primary. They are written down; who leads is planned anew then. Nil means that
// there is none. A group that is being created has nothing to lose.
func (r *Runner) strays(ctx context.Context, v *View, lead *cache.CacheCluster) (outcome, error) {
	if v.Group == nil || v.status() == cache.StatusCreating {
		return nil, nil
	}
	found := map[string]cache.Process{}
	for _, m := range v.shardOf(lead).replicas() {
		if m.Node.Process != nil {
			continue
		}
		p, runs, err := r.Engines.Running(ctx, v.asTold(m))
		if err != nil {
			return nil, fmt.Errorf("cannot tell whether %s runs: %w", m.ID, err)
		}
		if runs {
			found[m.Key()] = p
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return func(tx *store.Tx) error {
		for key, p := range found {
			err := changeCluster(tx, key, func(c *cache.CacheCluster) {
				n := &c.Node
				n.Process, n.Ready, n.StartedAt, n.Role = &p, false, r.Now(), cache.RoleReplica
			})
			if err != nil {
				return err
			}
			// It was told what it should be at a time of which nothing is known.
			region, id := cache.SplitKey(key)
			if err := TellAgain(tx, &cache.CacheCluster{Region: region, ID: id, GroupID: v.Group.ID}); err != nil {
				return err
			}
		}
		return changeCluster(tx, lead.Key(), func(c *cache.CacheCluster) { c.Node.Heirless = false })
	}, nil
}
