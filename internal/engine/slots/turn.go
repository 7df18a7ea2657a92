package slots

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// restore makes slots of the source wholly its own again, whatever has left of them.
func (r *run) restore(ctx context.Context, slots []int) error {
	there, err := r.dst.count(ctx, slots)
	if err != nil {
		return err
	}
	var gone, here []int
	for i, n := range slots {
		if there[i] > 0 {
			gone = append(gone, n)
		} else {
			here = append(here, n)
		}
	}
	if err := r.calm(ctx, here); err != nil {
		return err
	}
	if len(gone) == 0 {
		return nil
	}
	if err := r.startMoving(ctx); err != nil {
		return err
	}
	// Both marks have to stand: only then every client is sent to where its key is.
	if err := r.open(ctx, r.there(), gone); err != nil {
		return err
	}
	for _, n := range gone {
		if err := r.dropCopies(ctx, n); err != nil {
			return err
		}
		if err := r.turn(ctx, n); err != nil {
			return err
		}
	}
	return r.bringHome(ctx, gone)
}

// calm takes the marks from slots of which nothing has left. The target first: clients
// that are sent there are sent back until the source has done the same, and what
// they left there before is seen when it is looked at once more.
func (r *run) calm(ctx context.Context, slots []int) error {
	if len(slots) == 0 {
		return nil
	}
	if err := r.dst.setSlot(ctx, slots, "STABLE"); err != nil {
		return err
	}
	there, err := r.dst.count(ctx, slots)
	if err != nil {
		return err
	}
	var late, quiet []int
	for i, n := range slots {
		if there[i] > 0 {
			late = append(late, n)
		} else {
			quiet = append(quiet, n)
		}
	}
	if err := r.src.setSlot(ctx, quiet, "STABLE"); err != nil || len(late) == 0 {
		return err
	}
	return r.restore(ctx, late)
}

// dropCopies removes keys from the target that the source has as well: they are what
// an interrupted MIGRATE left, and the source's count as long as it is the owner.
func (r *run) dropCopies(ctx context.Context, slot int) error {
	for {
		keys, err := r.dst.keys(ctx, slot)
		if err != nil {
			return err
		}
		var copies [][]string
		for _, k := range keys {
			n, err := r.src.exists(ctx, k)
			if err != nil {
				return err
			}
			if n {
				copies = append(copies, []string{"ASKING"}, []string{"DEL", k})
			}
		}
		if err := r.dst.all(ctx, copies); err != nil {
			return fmt.Errorf("cannot remove stale copies of slot %d: %w", slot, err)
		}
		if len(copies) == 0 {
			return nil
		}
	}
}

// keys are those of a slot, all of them.
func (p *peer) keys(ctx context.Context, slot int) ([]string, error) {
	n, err := p.count(ctx, []int{slot})
	if err != nil {
		return nil, err
	}
	reply, err := p.c.Do(ctx, "CLUSTER", "GETKEYSINSLOT", strconv.Itoa(slot), strconv.Itoa(n[0]+chunk))
	if err != nil {
		return nil, err
	}
	out := make([]string, len(reply.Elems))
	for i := range out {
		out[i] = string(reply.Elems[i].Bytes)
	}
	return out, nil
}

// exists asks an owner that migrates: for what it has not got it redirects.
func (p *peer) exists(ctx context.Context, key string) (bool, error) {
	reply, err := p.c.Do(ctx, "EXISTS", key)
	if err == nil {
		return reply.Int > 0, nil
	}
	if to, ok := p.c.Redirection(err); ok && to.Ask {
		return false, nil
	}
	return false, err
}

// turn makes source and target of an open slot change places, step by step, so that
// clients are sent to and fro for a moment and never to where a key is missing. First
// neither takes what it has not got; then the source gives the slot up, keys and all; then
// the target takes it and at once sends clients to the source for what it lacks.
// A source that still held itself for the owner would delete its keys when it heard of the
// target's newer claim; an importing target of Valkey 8 takes by itself what the source gives up.
func (r *run) turn(ctx context.Context, slot int) error {
	if err := r.dst.setSlot(ctx, []int{slot}, "STABLE"); err != nil {
		return err
	}
	n := strconv.Itoa(slot)
	err := r.src.exec(ctx, [][]string{
		{"CLUSTER", "DELSLOTS", n},
		{"CLUSTER", "SETSLOT", n, "NODE", r.dst.ID},
		{"CLUSTER", "SETSLOT", n, "STABLE"}, // for the mark of migration stays with the keys
	})
	if err != nil {
		return fmt.Errorf("cannot turn slot %d round at %s: %w", slot, r.src.At.Addr, err)
	}
	if err := r.at("turned source"); err != nil {
		return err
	}
	return r.turnTarget(ctx, slot)
}

func (r *run) turnTarget(ctx context.Context, slot int) error {
	n := strconv.Itoa(slot)
	err := r.dst.exec(ctx, [][]string{
		{"CLUSTER", "SETSLOT", n, "NODE", r.dst.ID},
		{"CLUSTER", "SETSLOT", n, "MIGRATING", r.src.ID},
		{"CLUSTER", "BUMPEPOCH"},
	})
	if err != nil {
		return fmt.Errorf("cannot turn slot %d round at %s: %w", slot, r.dst.At.Addr, err)
	}
	return r.at("turned target")
}

// heard waits until the source has had a message that the target sent since its last
// claim. Only then the source may import: Valkey 8 takes a slot back if the one from
// which it is imported does not claim it, as in a message that is late.
func (r *run) heard(ctx context.Context) error {
	give := time.Now().Add(patience)
	for wait := tick; ; wait = min(2*wait, slowTick) {
		own, err := r.dst.look(ctx)
		if err != nil {
			return err
		}
		seen, err := r.src.look(ctx)
		if err != nil {
			return err
		}
		if seen.epochs[r.dst.ID] >= own.epochs[r.dst.ID] {
			// What came before on another connection lies there, and is read before these.
			return r.src.all(ctx, [][]string{{"PING"}, {"PING"}})
		}
		if time.Now().After(give) {
			return fmt.Errorf("%s does not hear from %s", r.src.At.Addr, r.dst.At.Addr)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// bringHome ends what turn began, for slots that are on their way back to the source.
func (r *run) bringHome(ctx context.Context, slots []int) error {
	if err := r.startMoving(ctx); err != nil {
		return err
	}
	src, err := r.src.look(ctx)
	if err != nil {
		return err
	}
	dst, err := r.dst.look(ctx)
	if err != nil {
		return err
	}
	var away []int
	for _, n := range slots {
		if !src.owns(n) { // else all that is left is to tell
			away = append(away, n)
		}
		if !dst.owns(n) && !src.owns(n) {
			if err := r.turnTarget(ctx, n); err != nil {
				return err
			}
		}
	}
	if err := r.heard(ctx); err != nil {
		return err
	}
	w := r.home()
	if len(away) > 0 {
		if err := r.open(ctx, w, away); err != nil {
			return err
		}
		if _, err := r.carry(ctx, w, away, nil); err != nil {
			return err
		}
	}
	return r.give(ctx, w, slots)
}
