package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// actOnUpgrade does what concerns the replacement of nodes; false if that is something else.
func (r *Runner) actOnUpgrade(ctx context.Context, v *View, a Action) (outcome, bool, error) {
	switch a.Kind {
	case actStopShort:
		return r.stopShort(v, a.Reason), true, nil
	case actUpgraded:
		return r.upgraded(v), true, nil
	case actPrepare, actLaunch, actCatchUp, actCompare, actTakeOver, actDiscard, actConvert, actRevert:
	default:
		return nil, false, nil
	}
	_, id := cache.SplitKey(a.Target)
	m := v.member(id)
	if m == nil {
		return nil, true, nil
	}
	out, err := r.replace(ctx, v, m, a)
	return out, true, err
}

func (r *Runner) replace(ctx context.Context, v *View, m *cache.CacheCluster, a Action) (outcome, error) {
	switch a.Kind {
	case actDiscard:
		return r.discard(ctx, m)
	case actConvert:
		return r.convert(ctx, v, m)
	case actRevert:
		return r.revert(ctx, v, m)
	case actPrepare:
		return r.prepare(v, m), nil
	}
	if m.Node.Next == nil {
		return nil, nil
	}
	switch a.Kind {
	case actLaunch:
		return r.launchNext(ctx, v, m)
	case actCatchUp:
		return r.catchUp(ctx, v, m)
	case actCompare:
		return r.compare(ctx, v, m)
	}
	return r.takeOver(ctx, v, m, a.Reason)
}

// stopShort writes down that nothing more is replaced.
func (r *Runner) stopShort(v *View, reason string) outcome {
	return func(tx *store.Tx) error {
		return changeUpgrade(tx, v, func(u *cache.Upgrade) {
			if u.Failed == "" {
				u.Failed = reason
			}
		})
	}
}

// changeUpgrade changes the upgrade of a unit, if there is one.
func changeUpgrade(tx *store.Tx, v *View, change func(*cache.Upgrade)) error {
	if v.Group != nil {
		return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
			if g.Upgrade != nil {
				change(g.Upgrade)
			}
		})
	}
	return changeCluster(tx, v.key(), func(c *cache.CacheCluster) {
		if c.Upgrade != nil {
			change(c.Upgrade)
		}
	})
}

// upgraded ends an upgrade, which has come to its end when all members are what they
// were to become, and failed otherwise.
func (r *Runner) upgraded(v *View) outcome {
	return func(tx *store.Tx) error {
		now, err := v.reread(tx)
		if err != nil || now == nil || now.upgrade() == nil {
			return err
		}
		u := *now.upgrade()
		var left []string
		for i := range now.Members {
			m := &now.Members[i]
			if m.Node.Next != nil {
				return nil // planned again
			}
			if !m.Kind(m.Node.Build).Same(u.To) {
				left = append(left, m.ID)
			}
		}
		if len(left) > 0 && u.Failed == "" {
			return nil
		}
		if err := endUpgrade(tx, now, u, len(left) == 0); err != nil {
			return err
		}
		region, id := cache.SplitKey(v.key())
		if err := records.EndReport(tx, region, v.Group != nil, id, &u, r.Now()); err != nil {
			return err
		}
		if err := records.EndUpdate(tx, now.updateAction(), &u, len(left) == 0, r.Now()); err != nil {
			return err
		}
		if len(left) == 0 {
			return r.tellUpgraded(tx, now, u)
		}
		return r.tellNotUpgraded(tx, now, u, left)
	}
}

// reread is a unit as it is now; nil if it is gone.
func (v *View) reread(tx *store.Tx) (*View, error) {
	if v.Group != nil {
		return v.afresh(tx)
	}
	c, ok, err := records.Clusters.Get(tx, v.key())
	if err != nil || !ok {
		return nil, err
	}
	now := *v
	now.Members = []cache.CacheCluster{c}
	return &now, nil
}

// endUpgrade gives the unit its new settings, or leaves it the former ones, and lets
// others change it again.
func endUpgrade(tx *store.Tx, v *View, u cache.Upgrade, whole bool) error {
	for i := range v.Members {
		m := &v.Members[i]
		_, told, err := records.Steps.Get(tx, Action{Kind: actResize, Target: m.Key()}.ID())
		if err != nil {
			return err
		}
		err = changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			c.Upgrade = nil
			// It may have taken what it was told in vain.
			c.Node.Parameters.Unsure = c.Node.Parameters.Unsure || told
			if c.Status == cache.StatusModifying {
				c.Status = cache.StatusAvailable
			}
		})
		if err != nil {
			return err
		}
		if err := forgetReplacing(tx, m.Key()); err != nil {
			return err
		}
	}
	if v.Group == nil {
		return nil
	}
	for _, s := range v.shards() { // what was cut short when somebody stopped it
		for _, a := range []Action{(&planner{v: v}).recruitOf(s), (&planner{v: v}).handOverOf(s)} {
			if err := records.Steps.Delete(tx, a.ID()); err != nil {
				return err
			}
		}
	}
	return changeGroup(tx, v.Group.Key(), func(g *cache.ReplicationGroup) {
		if g.Upgrade = nil; whole {
			g.Become(u.To)
		}
		if g.Status == cache.StatusModifying {
			g.Status = cache.StatusAvailable
		}
	})
}

// forgetReplacing deletes what is written down of attempts to replace a member: they do
// not count for the next one.
func forgetReplacing(tx *store.Tx, key string) error {
	for _, k := range []Kind{actPrepare, actLaunch, actCatchUp, actCompare, actTakeOver, actConvert, actRevert, actResize, actProve, actExchange} {
		if err := records.Steps.Delete(tx, Action{Kind: k, Target: key}.ID()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) tellUpgraded(tx *store.Tx, v *View, u cache.Upgrade) error {
	if u.From.NodeType != u.To.NodeType {
		if err := r.tellEveryone(tx, v, "Succeeded applying modification to cache node type to "+u.To.NodeType+"."); err != nil {
			return err
		}
	}
	if was, is := engineName(u.From), engineName(u.To); was != is || u.From.Build != u.To.Build {
		said := fmt.Sprintf("Upgraded from %s to %s, served by the installed build %s", was, is, u.To.Build)
		if u.Compared > 0 {
			said += fmt.Sprintf("; %d keys were compared", u.Compared)
		}
		if len(u.Pauses) > 0 {
			said += fmt.Sprintf("; writes waited for %s", slices.Max(u.Pauses).Round(100*time.Microsecond))
		}
		return r.unitEvent(tx, v, "%s", said)
	}
	return nil
}

func (r *Runner) tellNotUpgraded(tx *store.Tx, v *View, u cache.Upgrade, left []string) error {
	if u.From.NodeType != u.To.NodeType {
		if err := r.tellEveryone(tx, v, "Failed applying modification to cache node type to "+u.To.NodeType+"."); err != nil {
			return err
		}
	}
	said := fmt.Sprintf("Failed to upgrade from %s to %s: %s", engineName(u.From), engineName(u.To), u.Failed)
	if u.From.Build == u.To.Build {
		said = "The modification failed: " + u.Failed
	}
	if u.Stopped {
		said = fmt.Sprintf("The service update to the installed build %s was stopped", u.To.Build)
	}
	if len(left) < len(v.Members) {
		said += "; " + strings.Join(left, ", ") + " stay what they were, the other nodes have been replaced"
	}
	return r.unitEvent(tx, v, "%s", said)
}

// tellEveryone adds an event to the unit and, of a group, to its members.
func (r *Runner) tellEveryone(tx *store.Tx, v *View, said string) error {
	if err := r.unitEvent(tx, v, "%s", said); err != nil || v.Group == nil {
		return err
	}
	for i := range v.Members {
		m := &v.Members[i]
		if err := r.event(tx, m.Region, cache.EventCluster, m.ID, "%s", said); err != nil {
			return err
		}
	}
	return nil
}

func engineName(k cache.Kind) string { return k.Engine + " " + k.EngineVersion }

// discard ends the processes that have been replaced, or have not come to replace, and
// deletes their directories. It is killing, for none of them has anything that is needed.
func (r *Runner) discard(ctx context.Context, m *cache.CacheCluster) (outcome, error) {
	gone := m.Node.Discard
	for _, key := range m.DiscardKeys() {
		if err := r.endOf(ctx, cache.NodeSpec{Key: key, Build: m.Node.Build, Address: m.Node.Address}); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok {
			return err
		}
		c.Node.Discard = slices.DeleteFunc(c.Node.Discard, func(g int) bool { return slices.Contains(gone, g) })
		if len(c.Node.Discard) == 0 && c.Node.Next == nil {
			if err := records.ReleaseAddresses(tx, records.NextOwner(c.Key())); err != nil {
				return err
			}
		}
		return records.Clusters.Put(tx, c.Key(), c)
	}, nil
}

// endOf kills what runs as a node and deletes its directory.
func (r *Runner) endOf(ctx context.Context, spec cache.NodeSpec) error {
	if err := r.Engines.Fence(ctx, spec, nil); err != nil {
		return fmt.Errorf("cannot end %s: %w", spec.Key, err)
	}
	if err := r.Engines.Remove(ctx, spec); err != nil {
		return fmt.Errorf("cannot delete the directory of %s: %w", spec.Key, err)
	}
	return nil
}

// removeNext ends all that runs for a member besides its node.
func (r *Runner) removeNext(ctx context.Context, m *cache.CacheCluster) error {
	var keys []string
	if m.Node.Next != nil {
		next := m.Replacement()
		keys = append(keys, next.NodeKey())
	}
	for _, key := range append(keys, m.DiscardKeys()...) {
		if err := r.endOf(ctx, cache.NodeSpec{Key: key, Build: m.Node.Build, Address: m.Node.Address}); err != nil {
			return err
		}
	}
	return nil
}

// convert has a replica that does not run be another kind when it is started. One of which
// nobody knows that it runs would be taken for that, and ends first.
func (r *Runner) convert(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	p := planner{v: v, now: r.Now()}
	to, due := p.becomes(v.shardOf(m), m)
	if !due {
		return nil, nil
	}
	if err := r.Engines.Stop(ctx, v.asTold(m), nil); err != nil {
		return nil, fmt.Errorf("cannot stop %s: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || c.Node.Process != nil || c.Node.Next != nil {
			return err
		}
		c.Become(to)
		c.Node.Build, c.Node.Failures = to.Build, 0
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		for _, k := range []Kind{actStart, actReady} { // of what it was
			if err := records.Steps.Delete(tx, Action{Kind: k, Target: c.Key()}.ID()); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// revert has the replacement of a node go, or, if there is none, stops a replica that is
// to be started as what its primary is.
func (r *Runner) revert(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if n := m.Node.Next; n != nil {
		if n.TakingOver {
			if err := r.mustLive(ctx, v, m); err != nil {
				return nil, err
			}
		}
		return func(tx *store.Tx) error {
			return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
				if c.Node.Next != nil && c.Node.Next.Generation == n.Generation && (!c.Node.Next.TakingOver || sameProcess(c.Node.Process, m.Node.Process)) {
					c.GiveUpNext()
				}
			})
		}, nil
	}
	s := v.shardOf(m)
	if s.Primary == nil || s.leads(m) || m.Node.Build == s.Primary.Node.Build {
		return nil, nil
	}
	if err := r.Engines.Stop(ctx, v.asTold(m), m.Node.Process); err != nil {
		return nil, fmt.Errorf("cannot stop %s: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		return changeCluster(tx, m.Key(), func(c *cache.CacheCluster) {
			if sameProcess(c.Node.Process, m.Node.Process) {
				c.Node.Process, c.Node.Ready, c.Node.Failures = nil, false, 0
			}
		})
	}, nil
}

// mustLive makes sure that the node of a member lives, so that its replacement has not
// become the node. That it does not is soon written down.
func (r *Runner) mustLive(ctx context.Context, v *View, m *cache.CacheCluster) error {
	if m.Node.Process == nil {
		return errNotYet
	}
	alive, err := r.Engines.Adopt(ctx, v.asTold(m), *m.Node.Process)
	if err == nil && !alive {
		err = errNotYet
	}
	if err != nil || m.Node.Next == nil || !m.Node.Next.TakingOver || !v.shardOf(m).leads(m) {
		return err
	}
	// One that was cut short in its end lives, and serves nobody any more.
	gone, err := r.Engines.Released(ctx, v.asTold(m), *m.Node.Process)
	if err != nil || !gone {
		return err
	}
	return errors.Join(r.Engines.Fence(ctx, v.asTold(m), m.Node.Process), errNotYet)
}

// allBuilds are those that serve the unit, or are about to.
func (v *View) allBuilds() []string {
	out := make([]string, 0, 2)
	for i := range v.Members {
		out = append(out, v.Members[i].Node.Build)
	}
	if u := v.upgrade(); u != nil {
		out = append(out, u.To.Build)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var errDiffers = errors.New("what the new node holds is not what its primary holds")
