package reconcile

import (
	"context"
	"fmt"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// giveParameters tells a node the values of its parameter group and what it made of them.
func (r *Runner) giveParameters(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if !isReady(m) || !m.CommandsTold() || !untold(m) {
		return nil, nil
	}
	unapplied, err := r.Engines.Apply(ctx, v.asTold(m))
	if err != nil {
		return nil, fmt.Errorf("cannot apply the parameter group %s: %w", m.ParameterGroup, err)
	}
	live, _ := m.SplitParameters()
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // it ended meanwhile and is told again
		}
		before := c.Node.Parameters.Told
		c.Node.Parameters.Told, c.Node.Parameters.Refused, c.Node.Parameters.Unsure = live, refused(live, unapplied), false
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		return r.tellParameters(tx, m, before, live, unapplied)
	}, nil
}

func refused(values map[string]string, names []string) map[string]string {
	var out map[string]string
	for _, name := range names {
		if v, ok := values[name]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

// tellParameters says which parameters have changed at a node, and which have not
// though they were to.
func (r *Runner) tellParameters(tx *store.Tx, m *cache.CacheCluster, before, live map[string]string, unapplied []string) error {
	family, _ := cache.FamilyOf(m.Engine, m.EngineVersion)
	group := cache.ParameterGroup{Family: family, Values: live}
	for _, name := range cache.ChangedParameters(family, before, live) {
		said := fmt.Sprintf("Updated parameter %s to %s", name, group.Value(name))
		if slices.Contains(unapplied, name) {
			said = fmt.Sprintf("Parameter %s of %s could not be set to %s: the installed build %s does not take it",
				name, m.ParameterGroup, group.Value(name), m.Node.Build)
		}
		if err := r.event(tx, m.Region, cache.EventCluster, m.ID, "%s", said); err != nil {
			return err
		}
	}
	return nil
}
