package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// side is what a closer look remembers of a key at one end.
type side struct {
	data, live Hash
	expireAt   int64
	present    bool
	emptied    bool
	class      rdb.Class
}

func sideOf(d *Digest) side {
	return side{data: d.Data, live: d.Live, expireAt: d.ExpireAt, present: true, emptied: d.Emptied, class: d.Class}
}

func (s *side) report() *Side {
	if !s.present {
		return nil
	}
	return &Side{Class: s.class, ExpireAt: s.expireAt}
}

type keyID struct {
	db  int
	key string
}

// look is one closer look: the keys of some slots at which the ends, so far as
// they were read, do not agree.
type look struct {
	c     *comparison
	slots map[int]*[Slots]uint8 // by database: 0 ignored, 1 expiries only, 2 all keys
	now   int64
	mu    sync.Mutex
	keys  map[keyID]*[2]side
}

func newLook(c *comparison, slots []suspect) *look {
	l := &look{c: c, slots: map[int]*[Slots]uint8{}, now: c.opt.Now().UnixMilli(), keys: map[keyID]*[2]side{}}
	for _, s := range slots {
		m := l.slots[s.db]
		if m == nil {
			m = new([Slots]uint8)
			l.slots[s.db] = m
		}
		m[s.slot] = 2
		if s.volatileOnly {
			m[s.slot] = 1
		}
	}
	return l
}

func (l *look) set(end int, p *pipeline) {
	p.asOf = l.now
	p.keep = func(e *flow.Entry) bool {
		m := l.slots[e.DB]
		if m == nil {
			return false
		}
		mode := m[Slot(e.Key)]
		return mode == 2 || mode == 1 && e.ExpireAt != 0
	}
	p.emit = func(entries []flow.Entry, digests []Digest) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range entries {
			l.add(end, &entries[i], &digests[i])
		}
		return nil
	}
}

// add notes an entry; a key that both ends have and that does not differ is
// counted and forgotten.
func (l *look) add(end int, e *flow.Entry, d *Digest) {
	id := keyID{e.DB, string(e.Key)}
	k := l.keys[id]
	if k == nil {
		k = new([2]side)
		l.keys[id] = k
	}
	k[end] = sideOf(d)
	if k[0].present && k[1].present && l.count(l.verdict(k)) {
		delete(l.keys, id)
	}
}

// judge looks at every key that is left, in order.
func (l *look) judge(ctx context.Context) error {
	ids := make([]keyID, 0, len(l.keys))
	for id := range l.keys {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b keyID) int {
		return cmp.Or(cmp.Compare(a.db, b.db), cmp.Compare(a.key, b.key))
	})
	r := l.c.report
	for len(ids) > 0 {
		room := l.c.opt.Limit - len(r.Differences)
		if room == 0 {
			r.Unchecked += int64(len(ids))
			return nil
		}
		part := ids[:min(room, len(ids))]
		ids = ids[len(part):]
		if err := l.judgePart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// How often and in what distance differences on live ends are looked at again:
// replication and a pair of writes take milliseconds.
const (
	rechecks     = 3
	recheckPause = 50 * time.Millisecond
)

// judgePart reports those of some keys that differ, and differ still when they
// are looked at again.
func (l *look) judgePart(ctx context.Context, ids []keyID) error {
	open := l.settle(ids, verdictSame)
	live := l.c.ends[0].Recheck != nil || l.c.ends[1].Recheck != nil
	for try := 0; live && len(open) > 0 && try < rechecks; try++ {
		if try > 0 {
			if err := pause(ctx, recheckPause); err != nil {
				return err
			}
		}
		for _, id := range open {
			for end := range l.c.ends {
				if err := l.again(ctx, end, id, l.keys[id]); err != nil {
					return err
				}
			}
		}
		open = l.settle(open, verdictSettled)
	}
	r := l.c.report
	for _, id := range open {
		k := l.keys[id]
		r.Differences = append(r.Differences, Difference{
			DB: id.db, Key: []byte(id.key),
			Kind: Kind(l.verdict(k)), A: k[0].report(), B: k[1].report(),
		})
	}
	return nil
}

// settle counts the keys that do not differ, those that agree as alike, and
// returns the others.
func (l *look) settle(ids []keyID, alike verdict) (open []keyID) {
	for _, id := range ids {
		v := l.verdict(l.keys[id])
		if v == verdictSame {
			v = alike
		}
		if !l.count(v) {
			open = append(open, id)
		}
	}
	return open
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again reads a key as it is now at an end that can tell.
func (l *look) again(ctx context.Context, end int, id keyID, k *[2]side) error {
	e := &l.c.ends[end]
	if e.Recheck == nil {
		return nil
	}
	entry, err := e.Recheck(ctx, id.db, []byte(id.key))
	if err != nil {
		return fmt.Errorf("cannot look again at key %q of database %d at %s: %w", id.key, id.db, e.Name, err)
	}
	if entry == nil {
		k[end] = side{}
		return nil
	}
	d, err := newDigester(l.now).digest(entry)
	if err != nil {
		return err
	}
	k[end] = sideOf(&d)
	return nil
}
