package main

import (
	"context"
	"errors"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/memcache"
)

// memcachedHits measures what clients find of everything that was there, at the moment at which they use other servers:
// with the items moved beforehand, and plain, as memcached is.
func (l *lab) memcachedHits(ctx context.Context, b catalog.Build) error {
	for _, x := range []struct {
		what     string
		from, to []int
	}{
		{"a fourth node is added", []int{0, 1, 2}, []int{0, 1, 2, 3}},
		{"one of three is removed", []int{0, 1, 2}, []int{0, 1}},
		{"one of three is replaced", []int{0, 1, 2}, []int{0, 1, 3}},
	} {
		if err := l.memcachedStep(ctx, b, x.what, x.from, x.to); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) memcachedStep(ctx context.Context, b catalog.Build, what string, from, to []int) (err error) {
	n, err := l.memcached(ctx, b, 4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	pick := func(of []int) []*memcache.Server {
		var out []*memcache.Server
		for _, i := range of {
			out = append(out, n.as[i])
		}
		return out
	}
	items := l.keys() / 4
	if err := fillMemcached(ctx, pick(from), items); err != nil {
		return err
	}
	plain, err := hitRate(ctx, pick(to), items)
	if err != nil {
		return err
	}
	var moved float64
	var did *memcache.Rebalanced
	took, err := elapsed(func() error {
		did, err = memcache.Rebalance(ctx, pick(from), pick(to), memcache.RebalanceOptions{Distribution: memcache.Ketama, Switch: func(ctx context.Context) error {
			var err error
			moved, err = hitRate(ctx, pick(to), items)
			return err
		}})
		return err
	})()
	if err != nil {
		return err
	}
	l.report.note("%s, %d items, ketama: hit rate %.2f %% plain, %.2f %% with the items moved: %d of them, %.2f s in all",
		what, items, 100*plain, 100*moved, did.Moved, took.Seconds())
	return nil
}

func fillMemcached(ctx context.Context, servers []*memcache.Server, items int64) (err error) {
	to, err := memcache.NewSpread(ctx, memcache.Ketama, servers, memcache.Set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for i := range items {
		item := memcachedItem(i)
		if err := to.Write(ctx, &item); err != nil {
			return err
		}
	}
	return to.Flush(ctx)
}

// hitRate is the part of all items that clients find at these servers, each asked for once.
func hitRate(ctx context.Context, servers []*memcache.Server, items int64) (float64, error) {
	ring, err := memcache.RingOf(memcache.Ketama, servers)
	if err != nil {
		return 0, err
	}
	asked := make([][][]byte, len(servers))
	for i := range items {
		key := memcachedItem(i).Key
		owner := ring.Pick(key)
		asked[owner] = append(asked[owner], key)
	}
	hits := 0
	for n, s := range servers {
		err := memcache.Lookup(ctx, s, asked[n], func(*memcache.Item) error {
			hits++
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(hits) / float64(items), nil
}
