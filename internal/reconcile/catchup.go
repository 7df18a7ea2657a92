package reconcile

import (
	"context"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
)

// How long a replica may stand still before its primary is read instead, and
// how often one looks.
const (
	catchUpPatience = 10 * time.Second
	catchUpLook     = 20 * time.Millisecond
)

// caughtUp makes sure that a snapshot holds every write that had been
// acknowledged when it began. Replicas follow a little later than the primary
// acknowledges, so one is read only once it has come to where its primary was; one
// that does not get there is passed over for the primary. It returns the node to
// read and the offset that it must have reached; 0 where the primary cannot be asked.
func (r *Runner) caughtUp(ctx context.Context, v *View, m *cache.CacheCluster) (*cache.CacheCluster, int64, error) {
	lead := v.primary()
	if lead == nil || lead.Node.Process == nil {
		return m, 0, nil
	}
	h, err := r.Engines.Probe(ctx, v.asTold(lead))
	if err != nil {
		return nil, 0, fmt.Errorf("cannot ask the primary %s how far it is: %w", lead.ID, err)
	}
	if m.ID == lead.ID {
		return m, h.Offset, nil
	}
	if r.reaches(ctx, v, m, h.Offset) {
		return m, h.Offset, nil
	}
	return lead, h.Offset, ctx.Err()
}

// reaches waits for a replica to come to an offset, as long as it gets nearer.
func (r *Runner) reaches(ctx context.Context, v *View, m *cache.CacheCluster, offset int64) bool {
	tick := time.NewTicker(catchUpLook)
	defer tick.Stop()
	furthest, since := int64(-1), time.Now()
	for {
		h, err := r.Engines.Probe(ctx, v.asTold(m))
		switch {
		case err == nil && h.Offset >= offset:
			return true
		case err == nil && h.Offset > furthest:
			furthest, since = h.Offset, time.Now()
		case time.Since(since) > catchUpPatience:
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
