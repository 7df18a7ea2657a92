package reconcile

import (
	"context"
	"fmt"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// grant tells a node who may log in, and ends the connections of those who may not any more.
func (r *Runner) grant(ctx context.Context, v *View, m *cache.CacheCluster) (outcome, error) {
	if m.Node.Process == nil {
		return nil, nil // it is started with it
	}
	if err := r.Engines.Grant(ctx, v.asTold(m), ended(m)); err != nil {
		return nil, fmt.Errorf("%s does not know who may log in: %w", m.ID, err)
	}
	return func(tx *store.Tx) error {
		c, ok, err := records.Clusters.Get(tx, m.Key())
		if err != nil || !ok || !sameProcess(c.Node.Process, m.Node.Process) {
			return err // it ended meanwhile, and what is started has it from its file
		}
		c.Node.Access, c.Node.Logins, c.Node.Blocked = m.Settings.Access.Digest(), m.Settings.Access.Logins(), m.Blocked()
		if err := records.Clusters.Put(tx, c.Key(), c); err != nil {
			return err
		}
		if m.Node.Access == cache.AccessUnsure || m.Node.Access == m.Settings.Access.Digest() {
			return nil // nothing was changed, as far as anybody is concerned
		}
		return r.tellAccess(tx, &c)
	}, nil
}

// ended are the users whose connections to a node are to end. Where it is not known
// what the node was told, the default user's do unless there is to be one.
func ended(m *cache.CacheCluster) []string {
	out := m.Settings.Access.Ended(m.Node.Logins)
	if m.Node.Access == cache.AccessUnsure && !m.Settings.Access.Has(cache.BuiltInUser) {
		out = append(out, cache.BuiltInUser)
	}
	return out
}

// tellAccess tells of a change of a group's tokens or users once its last node has it.
func (r *Runner) tellAccess(tx *store.Tx, last *cache.CacheCluster) error {
	if last.GroupID == "" {
		return nil
	}
	g, ok, err := records.Groups.Get(tx, cache.Key(last.Region, last.GroupID))
	if err != nil || !ok {
		return err
	}
	for _, id := range g.Members {
		c, ok, err := records.Clusters.Get(tx, cache.Key(g.Region, id))
		if err != nil || ok && !c.Departed && !c.AccessTold() {
			return err
		}
	}
	said := "All nodes know the users of replication group %s"
	if len(g.AuthTokens) > 0 {
		said = "All nodes know the AUTH token of replication group %s"
	}
	return r.event(tx, g.Region, cache.EventGroup, g.ID, said, g.ID)
}

// noteAccess notes what a node knows that was started with an Access, or, if it was found
// running, has an older one.
func noteAccess(n *cache.Node, spec cache.NodeSpec, found bool) {
	n.Access, n.Logins = spec.Access.Digest(), spec.Access.Logins()
	n.Blocked = strings.Join(cache.BlockedCommands(spec.Parameters[cache.ParamRenameCommands]), " ")
	if found {
		n.Access = cache.AccessUnsure
	}
}
