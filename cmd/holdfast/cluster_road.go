package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// shardAt is one of so many shards of the cluster that an end is.
func (e *end) shardAt(opt resp.Options, shards int) *end {
	s := *e
	if s.rate.Keys > 0 {
		s.rate.Keys = max(s.rate.Keys/int64(shards), 1)
	}
	if s.rate.Bytes > 0 {
		s.rate.Bytes = max(s.rate.Bytes/int64(shards), 1)
	}
	s.server, s.name, s.shard = &opt, opt.String(), true
	return &s
}

// openShards begins to read all shards of a cluster, each as of one instant of its own.
func (r *road) openShards(ctx context.Context, e *end, shards []resp.Options) (_ serverSource, err error) {
	look := source.NewCluster(*e.server, source.ScanOptions{})
	all := &shardsSource{look: look}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.Close())
		}
	}()
	if all.stayed, err = look.Steady(ctx); err != nil {
		return nil, err
	}
	for _, opt := range shards {
		// What each does is not shown: they do it at the same time.
		s, err := r.openOne(ctx, e.shardAt(opt, len(shards)), nil)
		if err != nil {
			return nil, err
		}
		all.parts = append(all.parts, s)
	}
	return all, nil
}

// shardsSource is a cluster, each shard as of one instant.
type shardsSource struct {
	parts  []serverSource
	look   *source.Cluster
	stayed func(context.Context) error
}

// Entries yields all keys of all shards, if no slot moved meanwhile.
func (s *shardsSource) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	parts := map[string]flow.Source{}
	for i, p := range s.parts {
		parts[fmt.Sprintf("shard %d", i+1)] = p
	}
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range source.NewMerge(parts).Entries(ctx) {
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := s.stayed(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// Functions are those of one shard: a cluster's shards have the same.
func (s *shardsSource) Functions() []rdb.FunctionLibrary { return s.parts[0].Functions() }

// Close leaves all shards.
func (s *shardsSource) Close() error {
	err := s.look.Close()
	for _, p := range s.parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// report puts the shards' reports together: what is true of each, and sums.
func (s *shardsSource) report() readReport {
	all := s.parts[0].report()
	first, last := all.At, all.At
	for _, p := range s.parts[1:] {
		r := p.report()
		all.WritePauseMs = max(all.WritePauseMs, r.WritePauseMs)
		all.Pauses, all.Rounds = all.Pauses+r.Pauses, all.Rounds+r.Rounds
		all.Reread, all.Inexact = all.Reread+r.Reread, all.Inexact+r.Inexact
		all.Restarts = append(all.Restarts, r.Restarts...)
		for _, n := range r.Notes {
			if !slices.Contains(all.Notes, n) {
				all.Notes = append(all.Notes, n)
			}
		}
		if r.Consistency == string(source.PerKey) {
			all.Consistency = r.Consistency
		}
		if first != nil && r.At != nil {
			first, last = earlier(first, r.At), later(last, r.At)
		}
	}
	all.ReplicationID, all.Offset, all.At = "", 0, nil
	note := fmt.Sprintf("the cluster has %d shards, and each was read as of an instant of its own", len(s.parts))
	if first != nil {
		note += fmt.Sprintf("; by the shards' clocks these lie within %s", last.Sub(*first).Round(time.Millisecond))
	}
	if all.Consistency == string(source.PointInTime) {
		all.Consistency = "point-in-time per shard"
		all.Notes = append(all.Notes, note)
	}
	return all
}

func earlier(a, b *time.Time) *time.Time {
	if b.Before(*a) {
		return b
	}
	return a
}

func later(a, b *time.Time) *time.Time {
	if b.After(*a) {
		return b
	}
	return a
}
