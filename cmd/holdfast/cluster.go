package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// clusterOf is the cluster that a server is a node of, all its slots served; nil
// for a server that is in none.
func clusterOf(ctx context.Context, opt resp.Options) (*resp.Topology, error) {
	t, err := resp.Discover(ctx, opt)
	if err != nil || t == nil {
		return nil, err
	}
	if n := t.Covered(); n != resp.Slots {
		return nil, fmt.Errorf("%s is a node of a cluster that serves only %d of its %d slots; see redis-cli --cluster check", opt, n, resp.Slots)
	}
	return t, nil
}

// shardsOf are the primaries of the cluster that a server is a node of; nil for a
// server that is in none.
func shardsOf(ctx context.Context, opt resp.Options) ([]resp.Options, error) {
	t, err := clusterOf(ctx, opt)
	if err != nil || t == nil {
		return nil, err
	}
	var out []resp.Options
	for i := range t.Shards {
		out = append(out, opt.At(t.Shards[i].Primary.Addr))
	}
	return out, nil
}

// differentClusters refuses to copy a cluster onto itself, by whatever nodes it is named.
func differentClusters(ctx context.Context, a, b resp.Options) error {
	from, err := clusterOf(ctx, a)
	if err != nil || from == nil {
		return err
	}
	to, err := clusterOf(ctx, b)
	if err != nil || to == nil {
		return err
	}
	for i := range from.Shards {
		if slices.ContainsFunc(to.Shards, func(s resp.Shard) bool { return s.Primary == from.Shards[i].Primary }) {
			return usageError{fmt.Errorf("%s and %s are nodes of the same cluster", a, b)}
		}
	}
	return nil
}

// scanner reads a server or cluster key by key, and single keys.
type scanner interface {
	flow.Source
	flow.Sized
	Lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error)
}

// anyServer is the scanner of a server or of a cluster: which, it finds out when it is used.
type anyServer struct {
	opt resp.Options
	so  source.ScanOptions

	mu     sync.Mutex
	closed bool
	found  scanner
}

func (s *anyServer) find(ctx context.Context) (scanner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errors.New("the source is closed")
	case s.found != nil:
		return s.found, nil
	}
	t, err := clusterOf(ctx, s.opt)
	if err != nil {
		return nil, err
	}
	if t == nil {
		s.found = source.NewScan(s.opt, s.so)
	} else {
		s.found = source.NewCluster(s.opt, s.so)
	}
	return s.found, nil
}

// Entries yields every key.
func (s *anyServer) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	found, err := s.find(ctx)
	if err != nil {
		return func(yield func(*flow.Entry, error) bool) { yield(nil, err) }
	}
	return found.Entries(ctx)
}

// Len is about how many keys there are.
func (s *anyServer) Len(ctx context.Context) (int64, error) {
	found, err := s.find(ctx)
	if err != nil {
		return 0, err
	}
	return found.Len(ctx)
}

// Lookup reads one key.
func (s *anyServer) Lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
	found, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	return found.Lookup(ctx, db, key)
}

// Close hangs up.
func (s *anyServer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.found == nil {
		return nil
	}
	return s.found.Close()
}
