package reconcile

import (
	"context"
	"fmt"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// act does one action and returns what is to be written down of it.
func (r *Runner) act(ctx context.Context, unit string, a Action) (outcome, error) {
	switch a.Kind {
	case actCopy, actExport, actImport, actUnstage, actScrub, actErase, actExpire:
		return r.actOnSnapshot(ctx, a)
	case actSnapshot:
		return r.snapshot(ctx, unit, a)
	}
	if a.Kind == actAbandon && unit == snapshotUnit(a.Target) {
		return r.abandonTransfer(ctx, a), nil
	}
	if m, err := r.memcachedView(ctx, unit); err != nil || m != nil {
		if err != nil {
			return nil, err
		}
		return r.actOnMemcached(ctx, unit, m, a)
	}
	v, err := r.view(ctx, unit)
	if err != nil {
		return nil, err
	}
	if out, done, err := r.actOnUpgrade(ctx, v, a); done {
		return out, err
	}
	switch a.Kind {
	case actAbandon:
		return r.abandonSnapshot(ctx, v, a), nil
	case actSeed:
		return r.seed(ctx, v)
	case actBackup:
		return r.backup(v, a), nil
	case actMissed:
		return r.missed(v, a), nil
	case actForward:
		return nil, r.forward(ctx, v, a)
	case actUnforward:
		return nil, r.unforward(ctx, a)
	case actPromote:
		return r.promote(ctx, unit, v, a.Target)
	case actFinish:
		return r.finish(ctx, v)
	case actGiveUp:
		return r.giveUp(unit, v, a.Reason), nil
	case actEncrypt:
		return r.encrypted(v), nil
	case actKeep:
		return r.keep(v), nil
	case actDrop:
		return r.drop(unit, v), nil
	case actBegin:
		return r.beginPending(ctx, v, a.Reason)
	case actHasten:
		return r.hasten(v), nil
	case actMinor:
		return r.beginMinor(v), nil
	case actJoin, actCallOff, actLeave, actPart, actDemote, actSettle, actTest:
		return r.actOnMembers(ctx, v, a)
	case actRecruit, actProve, actExchange, actHandOver, actDismiss:
		return r.actOnClusterUpgrade(ctx, v, a)
	case actReshard, actMove, actConclude:
		return r.actOnShards(ctx, unit, v, a)
	}
	_, id := cache.SplitKey(a.Target)
	m := v.member(id)
	if m == nil {
		return nil, fmt.Errorf("%s is no member of %s any more", id, unit)
	}
	return r.actOnNode(ctx, a.Kind, v, m)
}

func (r *Runner) actOnNode(ctx context.Context, k Kind, v *View, m *cache.CacheCluster) (outcome, error) {
	w := v.attainable(m, v.wants(v.endpoints())[m.ID])
	spec := v.spec(m, w)
	if v.Group != nil && (k == actStart || k == actConfigure) && !v.turn(v.shardOf(m), m, v.wants(v.endpoints())) {
		return nil, errNotYet
	}
	switch k {
	case actStart:
		return r.start(ctx, v, m, spec, w)
	case actReady:
		return r.ready(ctx, m, spec)
	case actConfigure:
		return r.configure(ctx, v, m, spec, w)
	case actVerify:
		return r.verify(ctx, v, m, spec)
	case actRemove:
		return r.remove(ctx, m, spec)
	case actParameters:
		return r.giveParameters(ctx, v, m)
	case actAccess:
		return r.grant(ctx, v, m)
	case actReboot:
		return r.reboot(ctx, v, m)
	case actRebooted:
		return r.rebooted(v, m), nil
	case actResize:
		return r.resizeNode(ctx, v, m)
	}
	return nil, fmt.Errorf("there is no action %q", k)
}

// view reads one unit afresh: what an action does is decided by the records as
// they are when it runs.
func (r *Runner) view(ctx context.Context, name string) (*View, error) {
	kind, key, _ := strings.Cut(name, " ")
	_, forwards := r.inFlight()
	v := &View{CanRebind: map[string]bool{}, Steps: map[string]cache.Step{}, Forwards: forwards}
	err := r.DB.View(ctx, func(tx *store.Tx) error {
		if kind == "cluster" {
			c, ok, err := records.Clusters.Get(tx, key)
			if ok {
				v.Members = []cache.CacheCluster{c}
			}
			if err != nil {
				return err
			}
			return v.readSteps(tx, key)
		}
		g, ok, err := records.Groups.Get(tx, key)
		if err != nil || !ok {
			return err
		}
		v.Group = &g
		for _, id := range g.Nodes() {
			c, ok, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
			if err != nil {
				return err
			}
			if ok {
				v.Members = append(v.Members, c)
			}
			if err := v.readSteps(tx, c.Key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if v.Group == nil && len(v.Members) == 0 {
		return nil, fmt.Errorf("%s is not there any more", name)
	}
	for _, b := range v.allBuilds() {
		v.CanRebind[b] = r.Engines.CanRebind(b)
	}
	return v, nil
}

// readSteps reads the steps by which planning tells what a node knows, and whether it
// can be started.
func (v *View) readSteps(tx *store.Tx, key string) error {
	for _, k := range []Kind{actConfigure, actStart, actReady} {
		id := Action{Kind: k, Target: key}.ID()
		step, open, err := records.Steps.Get(tx, id)
		if err != nil {
			return err
		}
		if open {
			v.Steps[id] = step
		}
	}
	return nil
}

// changeCluster changes one cluster's record; one that is gone is left gone.
func changeCluster(tx *store.Tx, key string, change func(*cache.CacheCluster)) error {
	c, ok, err := records.Clusters.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	change(&c)
	return records.Clusters.Put(tx, key, c)
}

func changeGroup(tx *store.Tx, key string, change func(*cache.ReplicationGroup)) error {
	g, ok, err := records.Groups.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	change(&g)
	return records.Groups.Put(tx, key, g)
}

func changeSnapshot(tx *store.Tx, key string, change func(*cache.Snapshot)) error {
	s, ok, err := records.Snapshots.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	change(&s)
	return records.Snapshots.Put(tx, key, s)
}

// changeSeed changes the seed of the unit that a member belongs to.
func changeSeed(tx *store.Tx, v *View, change func(*cache.Seed)) error {
	if v.Group != nil {
		return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
			if g.Seed != nil {
				change(g.Seed)
			}
		})
	}
	return changeCluster(tx, v.Members[0].Key(), func(c *cache.CacheCluster) {
		if c.Seed != nil {
			change(c.Seed)
		}
	})
}

// event adds a line to DescribeEvents.
func (r *Runner) event(tx *store.Tx, region, sourceType, id, format string, args ...any) error {
	return records.AddEvent(tx, region, sourceType, id, fmt.Sprintf(format, args...), r.Now())
}

// unitEvent adds a line about the group, or the cluster that stands alone.
func (r *Runner) unitEvent(tx *store.Tx, v *View, format string, args ...any) error {
	if v.Group != nil {
		return r.event(tx, v.Group.Region, cache.EventGroup, v.Group.ID, format, args...)
	}
	return r.event(tx, v.Members[0].Region, cache.EventCluster, v.Members[0].ID, format, args...)
}
