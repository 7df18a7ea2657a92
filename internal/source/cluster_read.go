package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// clusterReading is one pass over a cluster.
type clusterReading struct {
	c     *Cluster
	seen  *seen
	yield func(*flow.Entry) bool
}

// pass yields an entry unless its key was yielded before.
func (r *clusterReading) pass(e *flow.Entry) bool {
	return !r.seen.add(r.seen.mark(clusterKey(e))) || r.yield(e)
}

// clusterKey tells keys of different databases apart, which few clusters have.
func clusterKey(e *flow.Entry) []byte {
	if e.DB == 0 {
		return e.Key
	}
	return append(strconv.AppendInt(nil, int64(e.DB), 10), e.Key...)
}

// parcel is what travels from a shard's goroutine to the reader's: copies of
// entries, or one whose value is read while its goroutine waits.
type parcel struct {
	entries []flow.Entry
	arena   []byte
	err     error
	addr    string
	// taken is closed when the one entry has been read.
	taken chan struct{}
}

const (
	parcelEntries = 256
	parcelBytes   = 128 << 10
)

func (p *parcel) full(e *flow.Entry) bool {
	return len(p.entries) == parcelEntries || len(p.entries) > 0 && len(p.arena)+e.Size() > parcelBytes
}

func (p *parcel) add(e *flow.Entry) {
	c := *e
	c.Key, c.Value = p.keep(e.Key), p.keep(e.Value)
	p.entries = append(p.entries, c)
}

func (p *parcel) keep(b []byte) []byte {
	at := len(p.arena)
	p.arena = append(p.arena, b...)
	return p.arena[at:len(p.arena):len(p.arena)]
}

// shards reads all shards at once. It returns the nodes that could not be read to
// their end: if somebody else has their slots by now, nothing is lost.
func (r *clusterReading) shards(ctx context.Context, n *census) (map[string]bool, error) {
	addrs := map[string]bool{}
	for _, o := range n.owner {
		addrs[o.addr] = true
	}
	sources := map[string]flow.Source{}
	for addr := range addrs {
		sources[addr] = r.c.scan(addr)
	}
	return r.merge(ctx, sources)
}

// merge yields what the sources yield, in any order, and returns those that were lost.
func (r *clusterReading) merge(ctx context.Context, sources map[string]flow.Source) (map[string]bool, error) {
	lost := map[string]bool{}
	err := merged(ctx, sources, func(p *parcel) error {
		switch {
		case p.err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.c.isClosed():
			return errClosed
		case resp.IsServerError(p.err) && !resp.IsServerError(p.err, "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "ASK", "TRYAGAIN"):
			return p.err
		default:
			lost[p.addr] = true
		}
		return r.unpack(p)
	})
	return lost, err
}

// merged runs sources side by side and hands on what they yield, until all have
// ended or take returns an error.
func merged(ctx context.Context, sources map[string]flow.Source, take func(*parcel) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	parcels := make(chan *parcel, len(sources))
	var wg sync.WaitGroup
	for addr, s := range sources {
		wg.Go(func() { carry(ctx, addr, s, parcels) })
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(parcels)
		close(done)
	}()
	for p := range parcels {
		if err == nil {
			if err = take(p); err != nil {
				cancel()
			}
		}
		if p.taken != nil {
			close(p.taken) // lets go of the one who waits
		}
	}
	<-done
	cancelled := ctx.Err()
	cancel()
	if err == nil {
		err = cancelled
	}
	return err
}

func (r *clusterReading) unpack(p *parcel) error {
	for i := range p.entries {
		if !r.pass(&p.entries[i]) {
			return errStop
		}
	}
	return nil
}

// carry sends what a source yields in parcels, and its error in the last.
func carry(ctx context.Context, addr string, s flow.Source, out chan<- *parcel) {
	send := func(p *parcel) bool {
		select {
		case out <- p:
		case <-ctx.Done():
			return false
		}
		if p.taken != nil {
			<-p.taken // the receiver closes it in any case
		}
		return true
	}
	p := &parcel{addr: addr}
	for e, err := range s.Entries(ctx) {
		if err != nil {
			p.err = err
			break
		}
		if len(p.entries) > 0 && (e.Body != nil || p.full(e)) {
			if !send(p) {
				return
			}
			p = &parcel{addr: addr}
		}
		if e.Body == nil && e.Size() <= parcelBytes {
			p.add(e)
			continue
		}
		if !send(&parcel{addr: addr, entries: []flow.Entry{*e}, taken: make(chan struct{})}) {
			return
		}
	}
	send(p)
}

// slotsAtOnce are read between two censuses.
const slotsAtOnce = 512

// settle reads slots again that did not stand still, until all have.
func (r *clusterReading) settle(ctx context.Context, open []int, now *census) error {
	r.c.mu.Lock()
	r.c.moved = len(open)
	r.c.mu.Unlock()
	since, d := time.Now(), clusterRest
	for len(open) > 0 {
		var still, next []int
		for _, slot := range open {
			if !now.open[slot] && len(still) < slotsAtOnce {
				still = append(still, slot)
			} else {
				next = append(next, slot)
			}
		}
		lost, err := r.slots(ctx, still, now)
		if err != nil {
			return err
		}
		later, err := r.c.census(ctx)
		if err != nil {
			return err
		}
		settled := len(still)
		for _, slot := range still {
			if !now.steady(later, slot) || lost[now.owner[slot].addr] {
				next = append(next, slot)
				settled--
			}
		}
		open, now = next, later
		if settled > 0 {
			since, d = time.Now(), clusterRest
			continue
		}
		if time.Since(since) > r.c.patience {
			return fmt.Errorf("cannot read slot %d, and %d others: it is on its way from one node to another and does not arrive; finish that (redis-cli --cluster fix) and begin again", open[0], len(open)-1)
		}
		if err := waitFor(ctx, d); err != nil {
			return err
		}
		d = min(2*d, clusterLongRest)
	}
	return nil
}

// slots reads all keys of slots at their owners.
func (r *clusterReading) slots(ctx context.Context, slots []int, n *census) (map[string]bool, error) {
	byAddr := map[string][]int{}
	for _, slot := range slots {
		byAddr[n.owner[slot].addr] = append(byAddr[n.owner[slot].addr], slot)
	}
	lost := map[string]bool{}
	for addr, of := range byAddr {
		gone, err := r.slotsAt(ctx, addr, of)
		if err != nil {
			return nil, err
		}
		if gone {
			lost[addr] = true
		}
	}
	return lost, nil
}

// slotsAt reads slots at one node; true says that it was lost meanwhile.
func (r *clusterReading) slotsAt(ctx context.Context, addr string, slots []int) (bool, error) {
	conn, err := resp.Dial(ctx, r.c.opt.At(addr))
	if err != nil {
		return true, context.Cause(ctx)
	}
	keys, err := r.list(ctx, conn, slots)
	err = errors.Join(err, conn.Close())
	if err != nil {
		if resp.IsServerError(err) || ctx.Err() != nil {
			return true, err
		}
		return true, nil
	}
	s := NewKeys(r.c.opt.At(addr), keys)
	s.shard, s.so.Rate, s.so.BytesRate = true, r.c.so.Rate, r.c.so.BytesRate
	r.c.mu.Lock()
	s.closed = r.c.closed
	r.c.past = append(r.c.past, s.Scan)
	r.c.mu.Unlock()
	lost, err := r.merge(ctx, map[string]flow.Source{addr: s})
	return lost[addr], errors.Join(err, s.Close())
}

// list names the keys of slots, in every database that there is.
func (r *clusterReading) list(ctx context.Context, conn *resp.Conn, slots []int) ([]flow.Key, error) {
	rd, err := newReader(ctx, conn)
	if err != nil {
		return nil, err
	}
	dbs, err := rd.keyspaces(ctx)
	if err != nil {
		return nil, err
	}
	var keys []flow.Key
	for _, db := range dbs {
		if r.c.so.Databases != nil && !slices.Contains(r.c.so.Databases, db.DB) {
			continue
		}
		if _, err := conn.Do(ctx, "SELECT", strconv.Itoa(db.DB)); err != nil {
			return nil, fmt.Errorf("cannot select database %d: %w", db.DB, err)
		}
		for _, slot := range slots {
			if keys, err = r.listSlot(ctx, conn, db.DB, slot, keys); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}

// listSlot appends a slot's keys. Some more than were counted are asked for, for
// keys that are made in between: those may be missed, as everywhere.
func (r *clusterReading) listSlot(ctx context.Context, conn *resp.Conn, db, slot int, keys []flow.Key) ([]flow.Key, error) {
	number := strconv.Itoa(slot)
	count, err := conn.Do(ctx, "CLUSTER", "COUNTKEYSINSLOT", number)
	if err != nil {
		return nil, fmt.Errorf("cannot count the keys of slot %d: %w", slot, err)
	}
	if count.Int == 0 {
		return keys, nil
	}
	list, err := conn.Do(ctx, "CLUSTER", "GETKEYSINSLOT", number, strconv.FormatInt(count.Int+count.Int/8+100, 10))
	if err != nil {
		return nil, fmt.Errorf("cannot list the keys of slot %d: %w", slot, err)
	}
	for i := range list.Elems {
		key := list.Elems[i].Bytes
		if r.c.so.Keep == nil || r.c.so.Keep(db, key) {
			keys = append(keys, flow.Key{DB: db, Name: string(key)})
		}
	}
	return keys, nil
}
