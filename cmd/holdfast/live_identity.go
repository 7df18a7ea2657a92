package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/resp"
)

// identity is by what an end is known again: its name as it was given, or, of a cluster,
// the ids of its nodes, since any of them may name it.
type identity struct {
	name  string
	nodes []string
}

func identityOf(ctx context.Context, e *end) (identity, error) {
	id := identity{name: e.name}
	t, err := resp.Discover(ctx, *e.server)
	if err != nil || t == nil {
		return id, err
	}
	add := func(n resp.ClusterNode) {
		if n.ID != "" {
			id.nodes = append(id.nodes, n.ID)
		}
	}
	for i := range t.Shards {
		add(t.Shards[i].Primary)
		for _, r := range t.Shards[i].Replicas {
			add(r)
		}
	}
	slices.Sort(id.nodes)
	return id, nil
}

// is tells whether it is an end that was noted. Nodes may have come and gone, so one that
// was there before is enough: ids are never given twice.
func (id identity) is(name string, nodes []string) bool {
	return id.name == name || slices.ContainsFunc(id.nodes, func(n string) bool { return slices.Contains(nodes, n) })
}

// same tells whether a record is of a migration between these ends.
func (m *liveMove) same(r *migrate.Record) bool {
	return m.source.is(r.Source, r.SourceNodes) && m.target.is(r.Target, r.TargetNodes)
}

// note writes down between which ends the migration is.
func (m *liveMove) note(r *migrate.Record) {
	r.Source, r.SourceNodes = m.source.name, m.source.nodes
	r.Target, r.TargetNodes = m.target.name, m.target.nodes
}

// place is the directory of a migration: its own, or that of an earlier run which named
// other nodes of the same clusters.
func (m *liveMove) place() (string, error) {
	if m.live.stateDir != "" {
		return m.live.stateDir, nil
	}
	base, err := stateHome()
	if err != nil {
		return "", err
	}
	base = filepath.Join(base, "migrations")
	dir := filepath.Join(base, migrationName(m.src.name, m.dst.name))
	if migrate.HasCheckpoint(dir) {
		return dir, nil
	}
	list, err := os.ReadDir(base)
	if os.IsNotExist(err) {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	for _, e := range list {
		other := filepath.Join(base, e.Name())
		if r, ok := migrate.ReadRecord(other); ok && m.same(r) {
			return other, nil
		}
	}
	return dir, nil
}
