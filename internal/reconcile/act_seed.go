package reconcile

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// seed writes the files that the primaries of a unit start from: one, or in cluster
// mode, in one reading of the data, those of all shards that have none yet.
func (r *Runner) seed(ctx context.Context, v *View) (outcome, error) {
	s := v.seed()
	if s == nil {
		return nil, nil
	}
	job := cache.SeedJob{Region: v.region(), ObjectARNs: s.ObjectARNs, Clustered: v.clustered(), Progress: r.seedProgress(ctx, v)}
	if s.SnapshotName != "" {
		from, err := r.snapshotRecord(ctx, cache.Key(v.region(), s.SnapshotName))
		if err != nil {
			return nil, err
		}
		job.From = &from
	}
	for _, sh := range v.shards() {
		if sh.Primary == nil || !v.unseeded(sh) {
			continue
		}
		job.Build = sh.Primary.Node.Build
		job.Databases = databases(sh.Primary)
		job.Parts = append(job.Parts, cache.SeedPart{
			NodeGroupID: sh.ID, Slots: sh.Slots, Path: r.Engines.SeedPath(v.asTold(sh.Primary)),
		})
	}
	if len(job.Parts) == 0 {
		return nil, nil
	}
	made, err := r.Transfers.Seed(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("cannot restore %s: %w", s.Origin(), err)
	}
	return func(tx *store.Tx) error {
		return changeSeed(tx, v, func(s *cache.Seed) { place(s, job, made) })
	}, nil
}

// databases is how many a node has in cluster mode; 0 is for one.
func databases(m *cache.CacheCluster) int {
	n, err := strconv.Atoi(m.RunningParameters()[cache.ParamClusterDatabases])
	if err != nil {
		return 0 // its family has no such parameter
	}
	return n
}

// place writes down which parts of a seed are where their engines load them.
func place(s *cache.Seed, job cache.SeedJob, made cache.Seeded) {
	s.Manifest, s.Percent = &made.Whole, 100
	if !job.Clustered {
		return
	}
	if s.Shards == nil {
		s.Shards = map[string]cache.SeedShard{}
	}
	for id, m := range made.Parts {
		s.Shards[id] = cache.SeedShard{Manifest: m}
	}
}

// How often a restore tells how far it is: at steps of so many percent, and not
// more often than that.
const (
	progressStep  = 10
	progressPause = 5 * time.Second
)

// seedProgress writes down how much of a seed has been read, and tells it now and
// then. That it cannot be written down is no reason to stop: nothing depends on it.
func (r *Runner) seedProgress(ctx context.Context, v *View) func(read, total int64) {
	told, at := 0, r.Now()
	return func(read, total int64) {
		percent := 100
		if total > 0 {
			percent = int(min(read, total) * 100 / total)
		}
		now := r.Now()
		if percent/progressStep == told/progressStep || percent == 100 || now.Sub(at) < progressPause {
			return
		}
		told, at = percent, now
		err := r.DB.Update(ctx, func(tx *store.Tx) error {
			if err := changeSeed(tx, v, func(s *cache.Seed) { s.Percent = percent }); err != nil {
				return err
			}
			return r.unitEvent(tx, v, "Restoring %s: %d %% of the data has been read", v.seed().Origin(), percent)
		})
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("cannot write down how far a restore is", "unit", v.key(), "error", err)
		}
	}
}

// verify compares a primary with the file that it was seeded from.
func (r *Runner) verify(ctx context.Context, v *View, m *cache.CacheCluster, spec cache.NodeSpec) (outcome, error) {
	if v.clustered() {
		// Before the cluster has formed its nodes refuse to read keys.
		if err := r.Engines.AwaitFormed(ctx, spec); err != nil {
			return nil, err
		}
	}
	if err := r.holdsSeed(ctx, m, spec); err != nil {
		return nil, err
	}
	job := cache.VerifyJob{Path: r.Engines.SeedPath(spec), Node: r.Engines.Admin(spec)}
	if err := r.Transfers.Verify(ctx, job); err != nil {
		return nil, fmt.Errorf("the data of %s is not what %s holds: %w", m.ID, v.seed().Origin(), err)
	}
	// The file stays until the creation is finished: were this cut short before it
	// is written down, it would be compared once more.
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // what was compared has died with its process
		}
		var all bool
		var s cache.Seed
		err = changeSeed(tx, v, func(seed *cache.Seed) {
			prove(seed, v, m)
			all, s = seed.Verified, *seed
		})
		if err != nil || !all {
			return err
		}
		return r.unitEvent(tx, v, "Restored %d keys from %s; fingerprint %s verified on the running node%s",
			s.Manifest.Keys, s.Origin(), s.Manifest.Fingerprint, plural(len(v.shards())))
	}, nil
}

// holdsSeed makes sure that a node may hold what it has loaded. It was started
// without a limit, so everything is there still.
func (r *Runner) holdsSeed(ctx context.Context, m *cache.CacheCluster, spec cache.NodeSpec) error {
	_, limit := limits(m)
	h, err := r.Engines.Probe(ctx, spec)
	if err != nil {
		return fmt.Errorf("cannot ask %s how much memory its data takes: %w", m.ID, err)
	}
	if limit > 0 && h.UsedMemory > limit {
		return fmt.Errorf("the data takes %s of memory on %s, and a node of type %s holds %s of data: %w",
			size(h.UsedMemory), m.ID, m.NodeType, size(limit), cache.ErrPermanent)
	}
	return nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// prove writes down that a primary holds its part of a seed; with the last of them
// the seed is verified as a whole.
func prove(s *cache.Seed, v *View, m *cache.CacheCluster) {
	if !v.clustered() {
		s.Verified = true
		return
	}
	part, ok := s.Shards[m.ShardID()]
	if !ok {
		return // it has to be loaded once more
	}
	part.Verified = true
	s.Shards[m.ShardID()] = part
	for _, sh := range v.shards() {
		if !s.Shards[sh.ID].Verified {
			return
		}
	}
	s.Verified = true
}

// seedAgain makes a unit that lost a primary while it was being created begin
// with that one's seed once more: what had been loaded died with the process.
func seedAgain(tx *store.Tx, c *cache.CacheCluster) error {
	if c.GroupID == "" {
		return changeCluster(tx, c.Key(), func(c *cache.CacheCluster) { unprove(c.Seed) })
	}
	return changeGroup(tx, cache.Key(c.Region, c.GroupID), func(g *cache.ReplicationGroup) {
		switch {
		case !g.Leads(c.ID) || g.Seed == nil || g.Status != cache.StatusCreating:
		case !g.ClusterEnabled:
			unprove(g.Seed)
		case g.Seed.Shards[c.ShardID()].Verified:
			delete(g.Seed.Shards, c.ShardID())
			g.Seed.Verified = false
		}
	})
}

func unprove(s *cache.Seed) {
	if s != nil && s.Verified {
		s.Manifest, s.Verified = nil, false
	}
}
