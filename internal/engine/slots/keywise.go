package slots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"holdfast.dev/internal/resp"
)

const (
	// A batch is open at one time: so many slots, with so many keys, or one slot that
	// has more.
	batchSlots = 512
	batchKeys  = 4096
	// listKeys of a slot are asked for at once.
	listKeys = 1024
)

// moveKeywise moves slots of the source, batch after batch.
func (r *run) moveKeywise(ctx context.Context, slots []int) error {
	if len(slots) == 0 {
		return nil
	}
	if err := r.startMoving(ctx); err != nil {
		return err
	}
	counts, err := r.src.count(ctx, slots)
	if err != nil {
		return err
	}
	for len(slots) > 0 {
		n, keys := 0, 0
		for n < len(slots) && n < batchSlots && (n == 0 || keys+counts[n] <= batchKeys) {
			keys += counts[n]
			n++
		}
		if err := r.moveBatch(ctx, slots[:n], keys); err != nil {
			return err
		}
		slots, counts = slots[n:], counts[n:]
	}
	return nil
}

func (r *run) startMoving(ctx context.Context) (err error) {
	if r.pace == nil {
		if r.pace, err = startPace(ctx, r.src.At); err != nil {
			return err
		}
	}
	return nil
}

// count is how many keys each slot has.
func (p *peer) count(ctx context.Context, slots []int) ([]int, error) {
	cmds := make([][]string, len(slots))
	for i, n := range slots {
		cmds[i] = []string{"CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(n)}
	}
	out := make([]int, len(slots))
	return out, p.each(ctx, cmds, func(i int, reply *resp.Reply) error {
		out[i] = int(reply.Int)
		return reply.Err()
	})
}

// moveBatch moves slots that are open together.
func (r *run) moveBatch(ctx context.Context, slots []int, keys int) error {
	var items []item
	if keys <= batchKeys {
		// What is too large is better found before anything is opened.
		var why map[int]string
		var err error
		if items, why, err = r.list(ctx, r.src, slots); err != nil {
			return err
		}
		if slots, items, err = r.leave(ctx, slots, items, why); err != nil || len(slots) == 0 {
			return err
		}
	}
	w := r.there()
	if err := calmly(ctx, func() error { return r.open(ctx, w, slots) }); err != nil {
		return err
	}
	why, err := r.carry(ctx, w, slots, items)
	if err != nil {
		return r.giveUp(ctx, w, slots, err)
	}
	if slots, _, err = r.leave(ctx, slots, nil, why); err != nil || len(slots) == 0 {
		return err
	}
	if err := calmly(ctx, func() error { return r.give(ctx, w, slots) }); err != nil {
		return err
	}
	return r.settled(ctx, slots)
}

// calmly does something for which nodes write their tables to disk, and stand still
// until the disk has them; then it leaves them alone for as long, for their clients.
func calmly(ctx context.Context, do func() error) error {
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	return pause(ctx, min(time.Since(began), mostRest))
}

// leave takes slots out that are to stay, and brings back what may have left of them.
func (r *run) leave(ctx context.Context, slots []int, items []item, why map[int]string) ([]int, []item, error) {
	if len(why) == 0 {
		return slots, items, nil
	}
	stays := func(n int) bool { _, ok := why[n]; return ok }
	var back []int
	for n := range why {
		back = append(back, n)
	}
	slices.Sort(back)
	if err := r.restore(ctx, back); err != nil {
		return nil, nil, err
	}
	slots = slices.DeleteFunc(slices.Clone(slots), stays)
	items = slices.DeleteFunc(items, func(it item) bool { return stays(it.slot) })
	return slots, items, r.kept(ctx, why)
}

// giveUp restores what is open where the target has no room for it; after other
// errors slots stay open, for whoever goes on.
func (r *run) giveUp(ctx context.Context, w way, slots []int, why error) error {
	if !errors.Is(why, ErrNoRoom) || w.to != r.dst {
		return why
	}
	if err := r.restore(ctx, slots); err != nil {
		return errors.Join(why, fmt.Errorf("cannot bring back what had gone: %w", err))
	}
	return why
}

// carry moves all keys of open slots, until there are none. Slots with an item that is
// too large are left with their reasons, whatever of them has moved.
func (r *run) carry(ctx context.Context, w way, slots []int, items []item) (why map[int]string, err error) {
	why = map[int]string{}
	m := mover{run: r, way: w, replace: map[int]bool{}}
	if err := m.admit(ctx); err != nil {
		return nil, err
	}
	for {
		if err := m.send(ctx, items); err != nil {
			return nil, errors.Join(err, m.dismiss(ctx))
		}
		var more map[int]string
		if items, more, err = r.list(ctx, w.from, slots); err != nil {
			return nil, errors.Join(err, m.dismiss(ctx))
		}
		for n, text := range more {
			why[n] = text
		}
		slots = slices.DeleteFunc(slices.Clone(slots), func(n int) bool { return why[n] != "" })
		items = slices.DeleteFunc(items, func(it item) bool { return why[it.slot] != "" })
		if len(items) == 0 {
			return why, m.dismiss(ctx)
		}
	}
}

// item is a key that is to be moved.
type item struct {
	slot  int
	key   string
	bytes int64
}

// list asks for keys of slots, at most listKeys of each, and how much memory they take.
// Slots with an item that is too large are named, with the reason.
func (r *run) list(ctx context.Context, p *peer, slots []int) (items []item, why map[int]string, err error) {
	cmds := make([][]string, len(slots))
	for i, n := range slots {
		cmds[i] = []string{"CLUSTER", "GETKEYSINSLOT", strconv.Itoa(n), strconv.Itoa(listKeys)}
	}
	err = p.each(ctx, cmds, func(i int, reply *resp.Reply) error {
		for j := range reply.Elems {
			items = append(items, item{slot: slots[i], key: string(reply.Elems[j].Bytes)})
		}
		return reply.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s cannot list keys: %w", p.At.Addr, err)
	}
	why, err = r.weigh(ctx, p, items)
	return items, why, err
}

// mover sends keys one way.
type mover struct {
	*run
	way
	user, password string
	// replace names slots in which copies were found that an interrupted MIGRATE left.
	replace map[int]bool
	// copies tells whether the two have replicas that can acknowledge.
	copies [2]bool
	failed int
}

// send moves items in bursts. What cannot be moved yet is found again by whoever lists next.
func (m *mover) send(ctx context.Context, items []item) error {
	for len(items) > 0 {
		n, units := 0, 0
		for n < len(items) && (n == 0 || units < m.pace.burst) {
			units += 1 + int(items[n].bytes/unitBytes)
			n++
		}
		began := time.Now()
		if err := m.burst(ctx, items[:n]); err != nil {
			return err
		}
		rest := m.pace.after(time.Since(began))
		items = items[n:]
		if err := m.acknowledged(ctx); err != nil {
			return err
		}
		if err := m.at("moved " + m.step); err != nil {
			return err
		}
		if rest > 0 {
			if err := pause(ctx, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// acknowledged waits for a replica of either end to have what the last burst changed:
// keys must not be gone here before they are safe there. PING is there because WAIT
// asks for what the connection's last command had seen.
func (m *mover) acknowledged(ctx context.Context) error {
	for i, p := range []*peer{m.to, m.from} {
		if !m.copies[i] {
			continue
		}
		got := int64(0)
		err := p.each(ctx, [][]string{{"PING"}, {"WAIT", "1", ackTime}}, func(_ int, reply *resp.Reply) error {
			got = reply.Int
			return reply.Err()
		})
		if err != nil {
			return err
		}
		if got == 0 { // it has gone, or is too slow to be waited for
			if m.copies[i], err = p.hasReplica(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// ackTime in milliseconds is how long a burst waits for a replica.
const ackTime = "1000"
