package reconcile

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// View is all that is known about one replication group or one cache cluster
// that stands alone. Plan reads it and nothing else.
type View struct {
	// Group is nil for a cluster that stands alone.
	Group *cache.ReplicationGroup
	// Members in the order of their numbers; exactly one without a group.
	Members []cache.CacheCluster
	// Snapshots of this unit that are still being taken, and the final one of a
	// deletion whatever its status.
	Snapshots []cache.Snapshot
	// Steps of this unit by action id: those that failed wait here.
	Steps map[string]cache.Step
	// InFlight are the ids of the actions that are running right now.
	InFlight map[string]bool
	// CanRebind tells, by build, whether the engine can change its addresses while it runs.
	CanRebind map[string]bool
	// Newest is what a unit of this version may become by itself; zero for nothing.
	Newest cache.Successor
	// Forwards are the forwarders that stand at present.
	Forwards map[cache.Address][]cache.Address
}

func (v *View) key() string {
	if v.Group != nil {
		return v.Group.Key()
	}
	return v.Members[0].Key()
}

func (v *View) region() string {
	if v.Group != nil {
		return v.Group.Region
	}
	return v.Members[0].Region
}

func (v *View) status() cache.Status {
	if v.Group != nil {
		return v.Group.Status
	}
	return v.Members[0].Status
}

func (v *View) deletion() *cache.Deletion {
	if v.Group != nil {
		return v.Group.Deletion
	}
	return v.Members[0].Deletion
}

func (v *View) seed() *cache.Seed {
	if v.Group != nil {
		return v.Group.Seed
	}
	return v.Members[0].Seed
}

func (v *View) secret() string {
	if v.Group != nil {
		return v.Group.Secret
	}
	return v.Members[0].Secret
}

func (v *View) member(id string) *cache.CacheCluster {
	i := slices.IndexFunc(v.Members, func(m cache.CacheCluster) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return &v.Members[i]
}

func (v *View) isPrimary(m *cache.CacheCluster) bool {
	return v.Group == nil || v.Group.Leads(m.ID)
}

// orphaned tells whether a shard's primary is gone and a replica may have the data. A
// primary that came back empty would empty its replicas too, so one of them has
// to lead before anything is started. A group that is still being created has
// nothing to lose and starts its primary again, as does one whose primary has its data
// in its seed file and has not failed to come up with them.
func (v *View) orphaned(s shard) bool {
	if v.Group == nil || v.status() == cache.StatusCreating {
		return false
	}
	if x := v.Group.Resharding; x != nil && slices.Contains(x.Going, s.ID) {
		return false // it has no slots and is about to be taken away
	}
	if s.Primary != nil && s.Primary.Node.Parked && !v.stumbled(s.Primary) {
		return false
	}
	if s.Primary != nil && s.Primary.Node.Next != nil && s.Primary.Node.Next.TakingOver {
		return false // it has all that was acknowledged, and may have taken writes since
	}
	return (s.Primary == nil || s.Primary.Node.Process == nil) && len(s.heirs()) > 0
}

// stumbled tells whether a node could not be started lately.
func (v *View) stumbled(m *cache.CacheCluster) bool {
	for _, k := range []Kind{actStart, actReady} {
		if s, ok := v.Steps[Action{Kind: k, Target: m.Key()}.ID()]; ok && s.State == cache.StepFailed {
			return true
		}
	}
	return false
}

func (v *View) snapshot(name string) *cache.Snapshot {
	i := slices.IndexFunc(v.Snapshots, func(s cache.Snapshot) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &v.Snapshots[i]
}

// exhausted tells whether an action has failed so that it is not to be tried again, and why.
func exhausted(steps map[string]cache.Step, a Action) (string, bool) {
	s, ok := steps[a.ID()]
	if !ok || s.State != cache.StepFailed {
		return "", false
	}
	limit := attemptsFor[a.Kind]
	return s.Error, s.Permanent || limit > 0 && s.Attempts >= limit
}
