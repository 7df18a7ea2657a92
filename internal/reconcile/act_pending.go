package reconcile

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// hasten has what is pending begin as soon as all nodes are up.
func (r *Runner) hasten(v *View) outcome {
	return func(tx *store.Tx) error {
		u, err := reread(tx, v)
		if err != nil || u == nil || u.settings().Pending.Empty() || u.upgrade() != nil || u.settings().Pending.Now {
			return err
		}
		u.settings().Pending.Now = true
		if err := u.put(tx); err != nil {
			return err
		}
		return r.unitEvent(tx, u, "What was pending is applied before the maintenance window, because a node failed and was started anew")
	}
}

// beginPending makes what is pending an upgrade, or, where that is not possible any more, drops
// it with an event: all rules are applied once more, to how things are now. reason is why
// it cannot be begun at all; "" for nothing.
func (r *Runner) beginPending(ctx context.Context, v *View, reason string) (outcome, error) {
	if v.settings().Pending.Empty() || v.upgrade() != nil {
		return nil, nil
	}
	used, err := r.usedByPrimaries(ctx, v)
	if err != nil && reason == "" {
		return nil, err
	}
	free := r.Memory.Available()
	return func(tx *store.Tx) error {
		u, err := reread(tx, v)
		if err != nil || u == nil || u.deletion() != nil || u.settings().Pending.Empty() || u.upgrade() != nil {
			return err
		}
		if s := u.status(); s != cache.StatusAvailable && s != cache.StatusModifying {
			return nil // a snapshot has come first
		}
		if reason != "" {
			return r.dropPending(tx, u, reason)
		}
		now := u.settings().Kind(u.leader().Node.Build)
		to, err := records.Successor(tx, u.region(), now, u.settings().Pending)
		if err == nil {
			err = cache.CheckUpgrade(now, to, u.builds(), u.Group == nil)
		}
		if err == nil {
			err = u.roomFor(to, used, free)
		}
		fault := (*cache.Fault)(nil)
		if errors.As(err, &fault) {
			return r.dropPending(tx, u, fault.Message)
		}
		if err != nil {
			return err
		}
		return r.beginUpgrade(tx, u, cache.Upgrade{From: now, To: to, StartedAt: r.Now()})
	}, nil
}

// usedByPrimaries is how much memory the data of each primary take, by member.
func (r *Runner) usedByPrimaries(ctx context.Context, v *View) (map[string]int64, error) {
	out := map[string]int64{}
	for _, s := range v.shards() {
		if s.Primary == nil {
			return nil, fmt.Errorf("node group %s has no primary", s.ID)
		}
		h, err := r.Engines.Probe(ctx, v.asTold(s.Primary))
		if err != nil {
			return nil, fmt.Errorf("cannot ask %s how much data it has: %w", s.Primary.ID, err)
		}
		out[s.Primary.ID] = h.UsedMemory
	}
	return out, nil
}

// leader is a primary, of the first shard that has one.
func (v *View) leader() *cache.CacheCluster {
	if m := v.primary(); m != nil {
		return m
	}
	return &v.Members[0]
}

func (v *View) builds() []string {
	var out []string
	for i := range v.Members {
		out = append(out, v.Members[i].Node.Build)
	}
	return out
}

// roomFor refuses what the data do not fit into.
func (v *View) roomFor(to cache.Kind, used map[string]int64, free int64) error {
	var all int64
	replaced := false
	for i := range v.Members {
		m := &v.Members[i]
		all += used[m.ID]
		replaced = replaced || m.Node.Build != to.Build
		if holds := to.Holds(); used[m.ID] > holds {
			return noRoom(m, used[m.ID], to, holds)
		}
	}
	if replaced && all > free {
		return cache.Faultf("InsufficientCacheClusterCapacity",
			"its data take %s of memory once more while nodes are replaced, and this machine has %s free", size(all), size(free))
	}
	return nil
}

func noRoom(m *cache.CacheCluster, used int64, to cache.Kind, holds int64) *cache.Fault {
	return cache.Faultf("InvalidParameterCombination", "the data of %s take %s of memory and a node of type %s holds %s with the parameter group %s",
		m.ID, size(used), to.NodeType, size(holds), to.ParameterGroup)
}

// dropPending ends what was pending without having done anything.
func (r *Runner) dropPending(tx *store.Tx, u *View, reason string) error {
	p := *u.settings().Pending
	u.settings().Pending = nil
	u.available()
	if err := u.put(tx); err != nil {
		return err
	}
	if p.NodeType != "" {
		if err := r.tellEveryone(tx, u, "Failed applying modification to cache node type to "+p.NodeType+"."); err != nil {
			return err
		}
	}
	return r.unitEvent(tx, u, "The modification to %s was not begun, and nothing is changed: %s", p.What(), reason)
}

// available ends a modification.
func (v *View) available() {
	switch {
	case v.Group != nil && v.Group.Status == cache.StatusModifying:
		v.Group.Status = cache.StatusAvailable
	case v.Group == nil && v.Members[0].Status == cache.StatusModifying:
		v.Members[0].Status = cache.StatusAvailable
	}
}

// beginUpgrade writes the upgrade down, with the record of the snapshot that comes first.
func (r *Runner) beginUpgrade(tx *store.Tx, u *View, up cache.Upgrade) error {
	p := *u.settings().Pending
	u.settings().Pending = nil
	for i := range u.Members {
		// What an earlier one failed at says nothing of this one.
		if err := records.Steps.Delete(tx, Action{Kind: actResize, Target: u.Members[i].Key()}.ID()); err != nil {
			return err
		}
	}
	if records.SnapshotsFirst(u.settings(), up.To, u.builds()) {
		s, err := r.snapshotFirst(tx, u)
		if err != nil {
			return err
		}
		up.Snapshot = s
	}
	if u.Group != nil {
		u.Group.Upgrade, u.Group.Status = &up, cache.StatusModifying
	} else {
		u.Members[0].Upgrade, u.Members[0].Status = &up, cache.StatusModifying
	}
	if err := u.put(tx); err != nil {
		return err
	}
	return r.unitEvent(tx, u, "Applying modification to %s", p.What())
}

// snapshotFirst writes down that a snapshot is wanted, like any that somebody asks for:
// it stays until somebody deletes it.
func (r *Runner) snapshotFirst(tx *store.Tx, u *View) (name string, err error) {
	var s cache.Snapshot
	var id string
	if u.Group != nil {
		s, id = cache.SnapshotOfGroup(u.Group), u.Group.ID
	} else {
		s, id = cache.SnapshotOfCluster(&u.Members[0]), u.Members[0].ID
	}
	s.Source, s.Status, s.CreatedAt, s.Tags = cache.SourceManual, cache.StatusCreating, r.Now(), nil
	if s.VpcID, err = records.VpcOf(tx, s.Region, s.SubnetGroup); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		s.Name = id + "-pre-upgrade-" + r.Now().UTC().Format("2006-01-02-15-04-05")
		if n > 1 {
			s.Name += fmt.Sprintf("-%d", n)
		}
		_, taken, err := records.Snapshots.Get(tx, s.Key())
		if err != nil {
			return "", err
		}
		if !taken {
			return s.Name, records.Snapshots.Put(tx, s.Key(), s)
		}
	}
}
