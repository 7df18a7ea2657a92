package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// ClusterKeys reads given keys of a cluster as Keys reads those of a server, at all
// shards at the same time. Keys that move meanwhile are looked for one by one until
// they have arrived.
type ClusterKeys struct {
	look  *Cluster
	keys  []flow.Key
	parts map[string]*Keys
}

// NewClusterKeys returns a source of the keys in the cluster that the server at opt
// is a node of; AnyDB stands for every database.
func NewClusterKeys(opt resp.Options, keys []flow.Key) *ClusterKeys {
	return &ClusterKeys{look: NewCluster(opt, ScanOptions{}), keys: keys}
}

// Len is how many keys are asked for.
func (s *ClusterKeys) Len(context.Context) (int64, error) { return int64(len(s.keys)), nil }

// Entries yields the keys that exist, each once.
func (s *ClusterKeys) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		if len(s.keys) == 0 {
			return nil
		}
		byAddr, err := s.spread(ctx)
		if err != nil {
			return err
		}
		s.parts = map[string]*Keys{}
		sources := map[string]flow.Source{}
		for addr, keys := range byAddr {
			part := NewKeys(s.look.opt.At(addr), keys)
			s.parts[addr], sources[addr] = part, part
		}
		got := map[flow.Key]struct{}{}
		var lost []string
		err = merged(ctx, sources, func(p *parcel) error {
			for i := range p.entries {
				e := &p.entries[i]
				got[flow.Key{DB: e.DB, Name: string(e.Key)}] = struct{}{}
				if !yield(e) {
					return errStop
				}
			}
			if p.err != nil && ctx.Err() == nil && movedAway(p.err) {
				lost = append(lost, p.addr)
				return nil
			}
			return p.err
		})
		if err != nil {
			return err
		}
		for _, addr := range lost {
			if err := s.oneByOne(ctx, byAddr[addr], got, yield); err != nil {
				return err
			}
		}
		return nil
	})
}

// movedAway tells whether an error comes of a cluster that changes.
func movedAway(err error) bool {
	return isNetwork(err) || resp.IsServerError(err, "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN")
}

// spread tells which node to ask for which keys.
func (s *ClusterKeys) spread(ctx context.Context) (map[string][]flow.Key, error) {
	t, err := s.look.topology(ctx)
	if err != nil {
		return nil, err
	}
	owners := t.Owners()
	out := map[string][]flow.Key{}
	for _, k := range s.keys {
		slot := resp.Slot([]byte(k.Name))
		if owners[slot] < 0 {
			return nil, fmt.Errorf("cannot read key %q: no node serves slot %d", k.Name, slot)
		}
		addr := t.Shards[owners[slot]].Primary.Addr
		out[addr] = append(out[addr], k)
	}
	return out, nil
}

// oneByOne looks for keys that were not got.
func (s *ClusterKeys) oneByOne(ctx context.Context, keys []flow.Key, got map[flow.Key]struct{}, yield func(*flow.Entry) bool) error {
	for _, k := range keys {
		dbs := []int{k.DB}
		if k.DB == AnyDB {
			var err error
			if dbs, err = s.databases(ctx, k.Name); err != nil {
				return err
			}
		}
		for _, db := range dbs {
			id := flow.Key{DB: db, Name: k.Name}
			if _, had := got[id]; had {
				continue
			}
			got[id] = struct{}{}
			e, err := s.look.Lookup(ctx, db, []byte(k.Name))
			if err != nil {
				return err
			}
			if e != nil && !yield(e) {
				return errStop
			}
		}
	}
	return nil
}

// databases are those of the node that has a key: of most clusters 0 alone.
func (s *ClusterKeys) databases(ctx context.Context, key string) ([]int, error) {
	t, err := s.look.topology(ctx)
	if err != nil {
		return nil, err
	}
	i := t.Owners()[resp.Slot([]byte(key))]
	if i < 0 {
		return []int{0}, nil // Lookup waits for an owner, or says that there is none
	}
	conn, err := resp.Dial(ctx, s.look.opt.At(t.Shards[i].Primary.Addr))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r, err := newReader(ctx, conn)
	if err != nil {
		return nil, err
	}
	dbs, err := r.keyspaces(ctx)
	if err != nil {
		return nil, err
	}
	out := []int{0}
	for _, db := range dbs {
		if db.DB != 0 {
			out = append(out, db.DB)
		}
	}
	return out, nil
}

// Close hangs up.
func (s *ClusterKeys) Close() error {
	err := s.look.Close()
	for _, p := range s.parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// ListKeys hands each key of a live server, or of all shards of a cluster, to yield
// until that says false; a key may come twice, and keys that are made or deleted
// meanwhile may be missing. A key that exists all the time is never missing, though
// the cluster's slots move.
func ListKeys(ctx context.Context, opt resp.Options, yield func(db int, key []byte) bool) error {
	t, err := resp.Discover(ctx, opt)
	if err != nil {
		return err
	}
	if t == nil {
		_, err := listServer(ctx, opt, yield)
		return err
	}
	c := NewCluster(opt, ScanOptions{})
	defer func() { _ = c.Close() }() // only questions went over it
	since, d := time.Now(), clusterRest
	for {
		more, err := c.list(ctx, yield)
		switch {
		case err == nil, !more && errors.Is(err, errStop):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, ErrUnsteady) && !movedAway(err), time.Since(since) > c.patience:
			return err
		}
		if err := waitFor(ctx, d); err != nil {
			return err
		}
		d = min(2*d, clusterLongRest)
	}
}

// list lists all shards once; ErrUnsteady says that keys may be missing because slots moved.
func (c *Cluster) list(ctx context.Context, yield func(db int, key []byte) bool) (more bool, err error) {
	stayed, err := c.Steady(ctx)
	if err != nil {
		return true, err
	}
	t, err := c.topology(ctx)
	if err != nil {
		return true, err
	}
	for i := range t.Shards {
		more, err := listServer(ctx, c.opt.At(t.Shards[i].Primary.Addr), yield)
		if err != nil {
			return true, err
		}
		if !more {
			return false, errStop
		}
	}
	return true, stayed(ctx)
}
