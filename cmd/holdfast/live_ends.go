package main

import (
	"context"
	"errors"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// liveEnds are both ends of a live migration as comparisons read them.
type liveEnds struct{ src, dst *end }

func (m *liveMove) ends() migrate.Ends { return liveEnds{m.src, m.dst} }

// All reads everything.
func (l liveEnds) All() (a, b verify.End, done func() error) {
	a, doneA := l.src.verifyEnd()
	b, doneB := l.dst.verifyEnd()
	return a, b, func() error { return errors.Join(doneA(), doneB()) }
}

// Some reads the given keys.
func (l liveEnds) Some(keys []migrate.Key) (a, b verify.End, done func() error) {
	a, b, done = l.All()
	a.Open = func(ctx context.Context) (flow.Source, error) { return l.src.someKeys(ctx, keys) }
	b.Open = func(ctx context.Context) (flow.Source, error) { return l.dst.someKeys(ctx, l.renamed(keys)) }
	return a, b, done
}

// someKeys reads given keys of a server or cluster.
func (e *end) someKeys(ctx context.Context, keys []migrate.Key) (flow.Source, error) {
	t, err := clusterOf(ctx, *e.server)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return e.view.over(source.NewClusterKeys(*e.server, keys)), nil
	}
	return e.view.over(source.NewKeys(*e.server, keys)), nil
}

// renamed are keys as the target has them.
func (l liveEnds) renamed(keys []migrate.Key) []migrate.Key {
	if l.src.view == nil || l.src.view.sel.rewrite.Empty() {
		return keys
	}
	r := &l.src.view.sel.rewrite
	out := make([]migrate.Key, len(keys))
	for i, k := range keys {
		name, _ := r.AppendName(nil, []byte(k.Name))
		out[i] = migrate.Key{DB: k.DB, Name: string(name)}
		if k.DB != source.AnyDB {
			out[i].DB = r.DB(k.DB)
		}
	}
	return out
}

// Origin is what a key that a comparison named is at the source: several where
// more than one could have become it.
func (l liveEnds) Origin(k migrate.Key) []migrate.Key {
	if l.src.view == nil || l.src.view.sel.rewrite.Empty() {
		return []migrate.Key{k}
	}
	return l.src.view.sel.rewrite.Origins(k.DB, []byte(k.Name))
}
