package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// sources are the nodes of a shard that a snapshot may read now, all equally good:
// the one that is meant, where it is ready, else every replica that is, to spare
// the primary, else the primary.
func (v *View) sources(s *cache.Snapshot, sh shard) []*cache.CacheCluster {
	if m := v.meant(s, sh); m != nil && (v.bound(s) || !sh.leads(m)) {
		if isReady(m) {
			return []*cache.CacheCluster{m}
		}
		if v.bound(s) {
			return nil
		}
	}
	if replicas := sh.readyReplicas(); len(replicas) > 0 {
		return replicas
	}
	if sh.Primary != nil && isReady(sh.Primary) {
		return []*cache.CacheCluster{sh.Primary}
	}
	return nil
}

// meant is the node that a snapshot is to read, ready or not: the primary, which
// has the last write, for the final snapshot of a deletion; the one that was asked
// for by name; the one that the group's automatic backups are taken of. Otherwise
// it is the primary, for which a snapshot waits when nothing is ready.
func (v *View) meant(s *cache.Snapshot, sh shard) *cache.CacheCluster {
	name := s.ClusterID
	if s.Source == cache.SourceAutomated && v.Group != nil && v.Group.SnapshottingCluster != "" {
		name = v.Group.SnapshottingCluster
	}
	m := v.member(name)
	if v.final(s) || m == nil || !sh.has(m) {
		return sh.Primary
	}
	return m
}

// bound tells that no other node will do than the one that is meant.
func (v *View) bound(s *cache.Snapshot) bool {
	return v.final(s) || s.Source != cache.SourceAutomated && v.member(s.ClusterID) != nil
}

// final tells whether a deletion waits for the snapshot.
func (v *View) final(s *cache.Snapshot) bool {
	d := v.deletion()
	return d != nil && d.FinalSnapshot == s.Name
}

func isReady(m *cache.CacheCluster) bool { return m.Node.Process != nil && m.Node.Ready }

// How long a replica may stand still before its primary is read instead, and
// how often one looks.
const (
	catchUpPatience = 10 * time.Second
	catchUpLook     = 20 * time.Millisecond
)

// chosen is the node of a shard that is read, and the offset of the replication
// stream that it has to have reached; 0 where the primary cannot be asked.
type chosen struct {
	m      *cache.CacheCluster
	offset int64
}

// source chooses the node to read, and makes sure that a snapshot holds every
// write that had been acknowledged when it began. Replicas follow a little later
// than the primary acknowledges, so the one that is furthest is read once it has
// come to where its primary was; if it does not get there the primary is.
func (r *Runner) source(ctx context.Context, v *View, s *cache.Snapshot, sh shard) (chosen, error) {
	if err := keptData(v, s, sh); err != nil {
		return chosen{}, err
	}
	among := v.sources(s, sh)
	if len(among) == 0 {
		return chosen{}, fmt.Errorf("no node of node group %s is ready", sh.ID)
	}
	lead := sh.Primary
	if lead == nil || lead.Node.Process == nil {
		return chosen{m: r.furthest(ctx, v, among)}, nil
	}
	h, err := r.Engines.Probe(ctx, v.asTold(lead))
	if err != nil {
		return chosen{}, fmt.Errorf("cannot ask the primary %s how far it is: %w", lead.ID, err)
	}
	if slices.ContainsFunc(among, sh.leads) {
		return chosen{lead, h.Offset}, nil
	}
	m := r.furthest(ctx, v, among)
	if r.reaches(ctx, v, m, h.Offset) {
		return chosen{m, h.Offset}, nil
	}
	return chosen{lead, h.Offset}, ctx.Err()
}

// keptData refuses to back up a primary that died and came back empty after the
// snapshot was asked for: what was to be saved is lost, and a file of nothing must
// not look like it.
func keptData(v *View, s *cache.Snapshot, sh shard) error {
	lead := sh.Primary
	if lead == nil || !lead.Node.ExitedAt.After(s.CreatedAt) || v.orphaned(sh) {
		return nil // an orphaned shard has its data in a replica
	}
	if lead.Node.Parked || v.asTold(lead).Parameters["appendonly"] == "yes" {
		return nil
	}
	return fmt.Errorf("%s failed and lost its data before they were saved: %w", lead.ID, cache.ErrPermanent)
}

// furthest is the node that has seen the most of the replication stream; the first
// where none answers, for then whoever reads it finds out.
func (r *Runner) furthest(ctx context.Context, v *View, among []*cache.CacheCluster) *cache.CacheCluster {
	best, offset := among[0], int64(-1)
	if len(among) == 1 {
		return best
	}
	for _, m := range among {
		h, err := r.Engines.Probe(ctx, v.asTold(m))
		if err == nil && h.LinkUp && h.Offset > offset {
			best, offset = m, h.Offset
		}
	}
	return best
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

// unchanged makes sure that a node is still the process that was chosen. One that was
// started anew since may have no data, and knows no writes that it could lack. From
// here on the engine's own name of the process is what counts.
func (r *Runner) unchanged(ctx context.Context, m *cache.CacheCluster) error {
	var now cache.CacheCluster
	err := r.DB.View(ctx, func(tx *store.Tx) (err error) {
		now, _, err = records.Clusters.Get(tx, m.Key())
		return err
	})
	if err == nil && !sameProcess(now.Node.Process, m.Node.Process) {
		err = fmt.Errorf("%s was started anew before it could be backed up", m.ID)
	}
	return err
}
