package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// Cluster reads all shards of a cluster as Scan reads a server, each at its primary
// and all at the same time.
//
// It is exact while slots move. What each primary says of itself is asked before
// and after the reading; a slot that another primary has then, or had in between, or
// that is on its way, is read again where it is, until it stood still meanwhile. A
// key that was yielded before is not yielded again: eight bytes of each key are
// remembered for that. So each key that exists all the time is yielded once, with a
// value that it had at some instant.
//
// A slot that stays half moved ends the reading: its keys are at two nodes, and a
// reader cannot tell which of them are to count.
type Cluster struct {
	opt resp.Options
	so  ScanOptions

	mu     sync.Mutex
	closed bool
	// scans are the readers of single nodes, by address.
	scans map[string]*Scan
	past  []*Scan
	// known are the addresses of nodes.
	known []string
	topo  *resp.Topology
	moved int
	// patience is clusterPatience, but in tests.
	patience time.Duration
}

const (
	// clusterPatience is how long slots may stay on their way with no key moving, and
	// how long nodes may be lost.
	clusterPatience = time.Minute
	clusterRest     = 20 * time.Millisecond
	clusterLongRest = time.Second
)

// NewCluster returns a source that reads the cluster which the server at opt is a
// node of. so.Rate and so.BytesRate are for all shards together. so.Keep is called by
// one goroutine after the other, and again for keys of slots that moved.
func NewCluster(opt resp.Options, so ScanOptions) *Cluster {
	if keep := so.Keep; keep != nil {
		var one sync.Mutex // shards are read side by side
		so.Keep = func(db int, key []byte) bool {
			one.Lock()
			defer one.Unlock()
			return keep(db, key)
		}
	}
	return &Cluster{opt: opt.WithDB(0), so: so, scans: map[string]*Scan{}, known: []string{opt.Addr}, patience: clusterPatience}
}

// Entries yields every key of every shard.
func (c *Cluster) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		before, err := c.census(ctx)
		if err != nil {
			return err
		}
		total, err := c.Len(ctx)
		if err != nil {
			return err
		}
		r := &clusterReading{c: c, seen: newSeen(total), yield: yield}
		lost, err := r.shards(ctx, before)
		if err != nil {
			return err
		}
		after, err := c.census(ctx)
		if err != nil {
			return err
		}
		return r.settle(ctx, before.unsteady(after, lost), after)
	})
}

// Len is the number of keys of all shards as their primaries count them.
func (c *Cluster) Len(ctx context.Context) (int64, error) {
	t, err := c.topology(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	for i := range t.Shards {
		m, err := c.scan(t.Shards[i].Primary.Addr).Len(ctx)
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}

// Vanished counts the keys that were listed and gone when they were to be read;
// those that had moved were read where they went.
func (c *Cluster) Vanished() int64 { return c.sum((*Scan).Vanished) }

// Inexact counts expiries that may be a millisecond early, as Scan does.
func (c *Cluster) Inexact() int64 { return c.sum((*Scan).Inexact) }

// Moved counts the slots that had to be read again because they moved.
func (c *Cluster) Moved() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

func (c *Cluster) sum(of func(*Scan) int64) (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.scans {
		n += of(s)
	}
	for _, s := range c.past {
		n += of(s)
	}
	return n
}

// Lookup reads one key now, where its slot is; nil means that it does not exist.
// The entry is the caller's to keep.
func (c *Cluster) Lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
	since, d := time.Now(), clusterRest
	for {
		e, err := c.lookup(ctx, db, key)
		switch {
		case err == nil:
			return e, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case resp.IsServerError(err) && !resp.IsServerError(err, "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING"):
			return nil, err
		case c.isClosed():
			return nil, errClosed
		case time.Since(since) > c.patience:
			return nil, fmt.Errorf("%w; it was tried for %s", err, c.patience)
		}
		if err := waitFor(ctx, d); err != nil {
			return nil, err
		}
		d = min(2*d, clusterLongRest)
		c.forget()
	}
}

func (c *Cluster) lookup(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
	t, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	slot := resp.Slot(key)
	for i := range t.Shards {
		for _, r := range t.Shards[i].Slots {
			if r.First <= slot && slot <= r.Last {
				return c.scan(t.Shards[i].Primary.Addr).Lookup(ctx, db, key)
			}
		}
	}
	return nil, fmt.Errorf("cannot read key %q: no node serves slot %d", key, slot)
}

// topology is what is known, or asked for now.
func (c *Cluster) topology(ctx context.Context) (*resp.Topology, error) {
	c.mu.Lock()
	t, known := c.topo, slices.Clone(c.known)
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	var err error
	if c.opt.Network == "unix" {
		t, err = resp.Discover(ctx, c.opt)
	} else {
		t, err = resp.Refresh(ctx, c.opt, known)
	}
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("%s is in no cluster", c.opt)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topo = t
	for _, addr := range t.Addrs() {
		if !slices.Contains(c.known, addr) {
			c.known = append(c.known, addr)
		}
	}
	return t, nil
}

// forget makes the topology be asked for anew.
func (c *Cluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topo = nil
}

// scan is the reader of a node.
func (c *Cluster) scan(addr string) *Scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scans[addr]
	if s == nil {
		s = NewScan(c.opt.At(addr), c.share())
		s.shard, s.closed = true, c.closed
		c.scans[addr] = s
	}
	return s
}

// share is what one shard of all may be burdened with.
func (c *Cluster) share() ScanOptions {
	so := c.so
	if c.topo != nil && len(c.topo.Shards) > 1 {
		n := len(c.topo.Shards)
		if so.Rate > 0 {
			so.Rate = max(so.Rate/n, 1)
		}
		if so.BytesRate > 0 {
			so.BytesRate = max(so.BytesRate/int64(n), 1)
		}
	}
	return so
}

func (c *Cluster) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close hangs up; a reading that is under way ends with an error.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var err error
	for _, s := range c.scans {
		err = errors.Join(err, s.Close())
	}
	for _, s := range c.past {
		err = errors.Join(err, s.Close())
	}
	return err
}

func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
