package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// Shard is a primary of the source. A server that is in no cluster is a shard too,
// the only one, with no ID and no Slots.
type Shard struct {
	Options resp.Options
	// ID is the node's name in the cluster.
	ID string
	// Epoch rises when the node takes slots from another one, so that slots that
	// went and came back are told from slots that stayed.
	Epoch int64
	// Slots that it holds, in ascending order; nil means every key.
	Slots []resp.SlotRange
	// Of so many shards.
	Of int
}

// Holds tells whether a key is the shard's.
func (s *Shard) Holds(key []byte) bool {
	if s.Slots == nil {
		return true
	}
	slot := resp.Slot(key)
	i, found := slices.BinarySearchFunc(s.Slots, slot, func(r resp.SlotRange, slot int) int { return r.First - slot })
	return found || i > 0 && slot <= s.Slots[i-1].Last
}

// same tells whether nothing has happened between two looks at a shard. Its
// address does not count: nodes may tell different ones of another.
func (s *Shard) same(t *Shard) bool {
	return s.ID == t.ID && s.Epoch == t.Epoch && slices.Equal(s.Slots, t.Slots)
}

// continues tells whether t goes on with the history of s: it is the same node with the
// same slots all the time, or another one that took over all of them and no others.
func (s *Shard) continues(t *Shard) bool {
	return slices.Equal(s.Slots, t.Slots) && (s.ID != t.ID || s.Epoch == t.Epoch)
}

// errMoving says that slots are on their way, or that nodes do not agree about them.
var errMoving = errors.New("slots of the source are on their way from node to node, or a node is being replaced")

// lookTime bounds one look at all shards; a node may stand still for a while.
const lookTime = 30 * time.Second

// shardWatch asks a cluster for its shards, over connections that it keeps.
type shardWatch struct {
	opt resp.Options

	mu    sync.Mutex
	conns map[string]*resp.Conn
	// known are addresses of nodes, the next one to be asked first. The empty
	// one is the node that the user named.
	known []string
}

func newShardWatch(opt resp.Options) *shardWatch {
	return &shardWatch{opt: opt.WithDB(0), conns: map[string]*resp.Conn{}, known: []string{""}}
}

// look returns the shards by their lowest slots, if each slot has one owner by
// the owners' own words and none is on its way.
func (w *shardWatch) look(ctx context.Context) ([]Shard, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	t, err := w.topology(ctx)
	if err != nil {
		return nil, err
	}
	var owned [resp.Slots]bool
	shards := make([]Shard, 0, len(t.Shards))
	for i := range t.Shards {
		s, err := w.shard(ctx, t.Shards[i].Primary.Addr, &owned)
		if err != nil {
			return nil, err
		}
		s.Of = len(t.Shards)
		shards = append(shards, s)
	}
	if at := slices.Index(owned[:], false); at >= 0 {
		return nil, fmt.Errorf("%w: nobody serves slot %d", errMoving, at)
	}
	return shards, nil
}

// topology asks one node after the other, beginning with another one each time: what
// only one of them believes is not believed twice.
func (w *shardWatch) topology(ctx context.Context) (*resp.Topology, error) {
	var all error
	for range len(w.known) {
		addr := w.known[0]
		w.known = append(w.known[1:], addr)
		t, err := ask(ctx, w, addr, (*resp.Conn).Topology)
		if err == nil && len(t.Shards) > 0 {
			w.learn(t)
			return t, nil
		}
		if all = errors.Join(all, err); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, fmt.Errorf("no node of the source's cluster tells its shards: %w", all)
}

// learn adds nodes that were not known, and forgets those that have gone, but the
// one that the user named.
func (w *shardWatch) learn(t *resp.Topology) {
	now := t.Addrs()
	w.known = slices.DeleteFunc(w.known, func(addr string) bool { return addr != "" && !slices.Contains(now, addr) })
	for _, addr := range now {
		if !slices.Contains(w.known, addr) {
			w.known = append(w.known, addr)
		}
	}
	for addr := range w.conns {
		if !slices.Contains(w.known, addr) {
			w.drop(addr)
		}
	}
}

// shard asks a primary what it holds, and notes its slots.
func (w *shardWatch) shard(ctx context.Context, addr string, owned *[resp.Slots]bool) (Shard, error) {
	c, err := ask(ctx, w, addr, (*resp.Conn).Claims)
	if err != nil {
		return Shard{}, err
	}
	if !c.Primary {
		return Shard{}, fmt.Errorf("%w: %s is a replica now", errMoving, addr)
	}
	for _, open := range []map[int]string{c.Leaving, c.Arriving} {
		if len(open) > 0 {
			return Shard{}, fmt.Errorf("%w: slot %d is being moved", errMoving, slices.Min(slices.Collect(maps.Keys(open))))
		}
	}
	for _, r := range c.Slots {
		for slot := r.First; slot <= r.Last; slot++ {
			if owned[slot] {
				return Shard{}, fmt.Errorf("%w: two nodes take slot %d for theirs", errMoving, slot)
			}
			owned[slot] = true
		}
	}
	slices.SortFunc(c.Slots, func(a, b resp.SlotRange) int { return a.First - b.First })
	return Shard{Options: w.opt.At(addr), ID: c.ID, Epoch: c.Epoch, Slots: c.Slots}, nil
}

// ask asks a node over the connection to it, which is made if there is none.
func ask[T any](ctx context.Context, w *shardWatch, addr string, question func(*resp.Conn, context.Context) (T, error)) (T, error) {
	c := w.conns[addr]
	if c == nil {
		opt := w.opt
		if addr != "" {
			opt = opt.At(addr)
		}
		var err error
		if c, err = resp.Dial(ctx, opt); err != nil {
			var none T
			return none, err
		}
		w.conns[addr] = c
	}
	answer, err := question(c, ctx)
	if err != nil {
		w.drop(addr) // it may be dead, and is soon made again
	}
	return answer, err
}

func (w *shardWatch) drop(addr string) {
	if c := w.conns[addr]; c != nil {
		_ = c.Close() // only questions went over it
		delete(w.conns, addr)
	}
}

// close hangs up.
func (w *shardWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr := range w.conns {
		w.drop(addr)
	}
}

// sameShards tells whether two looks saw the same.
func sameShards(a, b []Shard) bool {
	return slices.EqualFunc(a, b, func(a, b Shard) bool { return a.same(&b) })
}
