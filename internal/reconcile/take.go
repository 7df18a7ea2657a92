package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// shardsAtOnce is how many shards of one snapshot are read side by side.
const shardsAtOnce = 2

// takenShard is a shard that was backed up, and how, in words.
type takenShard struct {
	cache.ShardSnapshot
	how string
}

// takeShards backs every shard of a unit up. If one fails none counts.
func (r *Runner) takeShards(ctx context.Context, v *View, s *cache.Snapshot) ([]takenShard, error) {
	shards := v.shards()
	out := make([]takenShard, len(shards))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(shardsAtOnce)
	for i, sh := range shards {
		work.Go(func() (err error) {
			out[i], err = r.takeShard(ctx, v, s, sh)
			if err != nil && len(shards) > 1 {
				err = fmt.Errorf("node group %s: %w", sh.ID, err)
			}
			return err
		})
	}
	return out, work.Wait()
}

// takeShard backs one shard up: forked where there is memory for it, and without a
// fork where there is not or where the forked save had to be stopped.
func (r *Runner) takeShard(ctx context.Context, v *View, s *cache.Snapshot, sh shard) (takenShard, error) {
	from, err := r.source(ctx, v, s, sh)
	if err != nil {
		return takenShard{}, err
	}
	e, err := r.gather(ctx, v, s, sh, from.m)
	if err != nil {
		return takenShard{}, fmt.Errorf("cannot ask %s for its memory: %w", from.m.ID, err)
	}
	if err := r.unchanged(ctx, from.m); err != nil {
		return takenShard{}, err
	}
	t := takenShard{ShardSnapshot: cache.ShardSnapshot{
		NodeGroupID: sh.ID, ClusterID: from.m.ID, Object: r.Transfers.SnapshotObject(*s, sh.ID), TakenAt: r.Now(),
	}}
	if v.clustered() {
		t.Slots = sh.Slots
	}
	c, man, err := r.take(ctx, v, from, &e, t.Object)
	if stop := (*stopError)(nil); errors.As(err, &stop) {
		e.Stopped = stop.Error()
		if err := r.noteStopped(ctx, s, sh.ID, from.m, e.Stopped); err != nil {
			return t, err
		}
		c, man, err = r.take(ctx, v, from, &e, t.Object)
	}
	if err != nil {
		return t, fmt.Errorf("cannot back up %s: %w", from.m.ID, err)
	}
	t.Manifest, t.how = &man, c.told(from.m.ID)
	return t, nil
}

// take makes one attempt, in the way that the evidence asks for.
func (r *Runner) take(ctx context.Context, v *View, from chosen, e *evidence, object string) (choice, cache.Manifest, error) {
	c, release := r.choose(*e)
	defer release()
	spec := v.asTold(from.m)
	job := cache.SnapshotJob{
		Region: from.m.Region, Object: object, Build: from.m.Node.Build, Node: r.Engines.Admin(spec), MinOffset: from.offset,
		Forkless: c.Forkless, Reason: c.Reason, Memory: e.Used, RunID: e.Run,
	}
	if c.Forkless {
		man, err := r.Transfers.Snapshot(ctx, job)
		return c, man, err
	}
	man, err := r.forked(ctx, spec, c, job)
	return c, man, err
}

// choose decides, and sets the memory aside that a forked save may copy, so that
// two of them are not promised the same.
func (r *Runner) choose(e evidence) (choice, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Free, e.Keep = r.Memory.Available()-r.promised, keepFree(r.Memory.Total())
	c := chooseMethod(e)
	if c.Forkless {
		return c, func() {}
	}
	r.promised += c.Copies
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.promised -= c.Copies
	}
}

// rateSpan is for how long the writes are counted.
const rateSpan = 250 * time.Millisecond

// gather asks a node for what the choice rests on. How much is written to it is
// only asked where that decides.
func (r *Runner) gather(ctx context.Context, v *View, s *cache.Snapshot, sh shard, m *cache.CacheCluster) (evidence, error) {
	spec := v.asTold(m)
	began := time.Now()
	h, err := r.Engines.Probe(ctx, spec)
	if err != nil {
		return evidence{}, err
	}
	kind, _ := cache.FindNodeType(m.NodeType) // control lets no other in; its zero sets no limit
	e := evidence{
		Run: h.RunID, Used: h.UsedMemory, Node: kind.MaxMemory, Tiered: kind.DataTiering, Changes: -1, Stopped: s.Stopped[sh.ID],
		Free: r.Memory.Available(), Keep: keepFree(r.Memory.Total()),
	}
	if e.Tiered || e.Stopped != "" || e.fitsAnyway() {
		return e, nil
	}
	r.rest(ctx, rateSpan)
	later, err := r.Engines.Probe(ctx, spec)
	if err != nil {
		return evidence{}, err
	}
	if n := later.Changes - h.Changes; n >= 0 { // less after a save to disk, which begins to count anew
		e.Changes = float64(n) / time.Since(began).Seconds()
	}
	e.Speed, err = r.measuredSpeed(ctx, s, sh)
	return e, err
}

// measuredSpeed is how many bytes of memory a second the last forked save of the
// same shard got done; 0 if there was none.
func (r *Runner) measuredSpeed(ctx context.Context, s *cache.Snapshot, sh shard) (float64, error) {
	var all []cache.Snapshot
	err := r.DB.View(ctx, func(tx *store.Tx) (err error) {
		all, err = records.Snapshots.List(tx, records.InRegion(s.Region))
		return err
	})
	var speed float64
	var at time.Time
	for i := range all {
		o := &all[i]
		if o.GroupID != s.GroupID || o.GroupID == "" && o.ClusterID != s.ClusterID {
			continue
		}
		for _, part := range o.Shards {
			man := part.Manifest
			if part.NodeGroupID == sh.ID && man != nil && man.Method == cache.MethodForked && man.Seconds > 0 && man.Memory > 0 && part.TakenAt.After(at) {
				speed, at = float64(man.Memory)/man.Seconds, part.TakenAt
			}
		}
	}
	return speed, err
}

// noteStopped writes down, once, that a forked save had to be stopped: whoever goes
// on with the snapshot, after a crash too, does it without a fork.
func (r *Runner) noteStopped(ctx context.Context, s *cache.Snapshot, nodeGroup string, m *cache.CacheCluster, reason string) error {
	err := r.DB.Update(ctx, func(tx *store.Tx) error {
		now, ok, err := records.Snapshots.Get(tx, s.Key())
		if err != nil || !ok || now.Stopped[nodeGroup] != "" {
			return err
		}
		if now.Stopped == nil {
			now.Stopped = map[string]string{}
		}
		now.Stopped[nodeGroup] = reason
		if err := records.Snapshots.Put(tx, now.Key(), now); err != nil {
			return err
		}
		source, id, _ := about(&now)
		return r.event(tx, now.Region, source, id, "Snapshot %s: %s is backed up without a fork: %s", now.Name, m.ID, reason)
	})
	if err != nil {
		return fmt.Errorf("cannot write down that a save was stopped: %w", err)
	}
	return nil
}
