package slots

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/resp"
)

// way is the direction in which keys go: from the owner of a slot to the one that imports it.
type way struct {
	from, to *peer
	// step names the way in the steps that tests stop at.
	step string
}

func (r *run) there() way { return way{from: r.src, to: r.dst, step: "there"} }
func (r *run) home() way  { return way{from: r.dst, to: r.src, step: "home"} }

const (
	// patience is how long nodes may take to agree; gossip reaches everybody well within.
	patience = 60 * time.Second
	tick     = 2 * time.Millisecond
	slowTick = 100 * time.Millisecond
)

// setSlot sends CLUSTER SETSLOT for many slots. Nodes that wait for their replicas
// (Valkey 8) may find that none answers in time, and are asked again.
func (p *peer) setSlot(ctx context.Context, slots []int, what ...string) error {
	left := slots
	give := time.Now().Add(patience)
	for wait := tick; ; wait = min(2*wait, slowTick) {
		cmds := make([][]string, len(left))
		for i, n := range left {
			cmds[i] = append([]string{"CLUSTER", "SETSLOT", strconv.Itoa(n)}, what...)
		}
		var again []int
		var why error
		err := p.spread(ctx, cmds, func(i int, reply *resp.Reply) error {
			err := reply.Err()
			if resp.IsServerError(err, "NOREPLICAS") || err != nil && strings.Contains(err.Error(), "nknown node") {
				again, why = append(again, left[i]), err
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s refuses SETSLOT %s: %w", p.At.Addr, what[0], err)
		}
		if left = again; len(left) == 0 {
			return nil
		}
		if time.Now().After(give) {
			return fmt.Errorf("%s refuses SETSLOT %s: %w", p.At.Addr, what[0], why)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// open marks slots at both ends. It may be done again.
func (r *run) open(ctx context.Context, w way, slots []int) error {
	if err := w.to.setSlot(ctx, slots, "IMPORTING", w.from.ID); err != nil {
		return err
	}
	if err := r.at("imports " + w.step); err != nil {
		return err
	}
	if err := w.from.setSlot(ctx, slots, "MIGRATING", w.to.ID); err != nil {
		return err
	}
	return r.at("migrates " + w.step)
}

// give makes empty slots the other one's, tells everybody, and returns once all know.
func (r *run) give(ctx context.Context, w way, slots []int) error {
	// A node that hears of a newer claim deletes its keys, so this is looked at once more.
	left, err := w.from.count(ctx, slots)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(left, func(n int) bool { return n > 0 }); i >= 0 {
		return fmt.Errorf("slot %d cannot be given away: %s has %d keys in it still", slots[i], w.from.At.Addr, left[i])
	}
	if err := w.to.take(ctx, slots); err != nil {
		return err
	}
	if err := r.at("given " + w.step); err != nil {
		return err
	}
	if err := w.from.setSlot(ctx, slots, "NODE", w.to.ID); err != nil {
		return err
	}
	if err := r.at("taken " + w.step); err != nil {
		return err
	}
	for _, o := range r.others {
		err := o.setSlot(ctx, slots, "NODE", w.to.ID)
		if err != nil && !isReplica(err) {
			return err
		}
	}
	if err := r.agree(ctx, w, slots); err != nil {
		return err
	}
	return r.at("agreed " + w.step)
}

// take makes slots a node's own. SETSLOT would do, but since Redis 7 each one makes the
// node shout, and all who hear it write their tables to disk, slot by slot: they
// stand still for a tenth of a second. So all are taken at once, and the others told by
// whoever calls. Where SETSLOT is replicated, that counts for more.
func (p *peer) take(ctx context.Context, slots []int) error {
	if p.replicates {
		fed, err := p.hasReplica(ctx)
		if err != nil {
			return err
		}
		if fed {
			return p.setSlot(ctx, slots, "NODE", p.ID)
		}
	}
	v, err := p.look(ctx)
	if err != nil {
		return err
	}
	drop, add := []string{"CLUSTER", "DELSLOTS"}, []string{"CLUSTER", "ADDSLOTS"}
	for _, n := range slots {
		if v.owns(n) {
			continue
		}
		if v.owner[n] != "" {
			drop = append(drop, strconv.Itoa(n))
		}
		add = append(add, strconv.Itoa(n))
	}
	var cmds [][]string
	for _, cmd := range [][]string{drop, add} {
		if len(cmd) > 2 {
			cmds = append(cmds, cmd)
		}
	}
	if len(cmds) > 0 {
		// The newest claim of all, so that everybody believes it.
		if err := p.exec(ctx, append(cmds, []string{"CLUSTER", "BUMPEPOCH"})); err != nil {
			return fmt.Errorf("%s cannot take slots: %w", p.At.Addr, err)
		}
	}
	// What was its own already may have a mark still.
	var marked []int
	for _, n := range slots {
		if _, ok := v.to[n]; ok && v.owns(n) {
			marked = append(marked, n)
		}
	}
	return p.setSlot(ctx, marked, "NODE", p.ID)
}

// isReplica: a replica takes no orders on slots, it listens to its primary.
func isReplica(err error) bool {
	return resp.IsServerError(err, "ERR") && strings.Contains(err.Error(), "only with master") ||
		strings.Contains(err.Error(), "only with primar")
}

// agree waits until every node sees slots where they are now. One that lags is
// introduced to the owner once more, which makes the owner speak to it at once.
func (r *run) agree(ctx context.Context, w way, slots []int) error {
	give := time.Now().Add(patience)
	for _, p := range append([]*peer{w.to, w.from}, r.others...) {
		nudged := time.Now()
		for wait := tick; ; wait = min(2*wait, slowTick) {
			v, err := p.look(ctx)
			if err != nil {
				return err
			}
			lags := 0
			for _, n := range slots {
				if v.owner[n] != w.to.ID {
					lags++
				}
			}
			if lags == 0 {
				break
			}
			if time.Now().After(give) {
				return fmt.Errorf("%s does not learn that %d slots belong to %s now", p.At.Addr, lags, w.to.At.Addr)
			}
			if p != w.to && time.Since(nudged) > 10*tick {
				nudged = time.Now().Add(slowTick)
				if err := w.to.do(ctx, append([]string{"CLUSTER", "MEET", p.host, p.port}, p.bus(v)...)...); err != nil {
					return fmt.Errorf("%s cannot speak to %s: %w", w.to.At.Addr, p.At.Addr, err)
				}
			}
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// bus is the bus port of a node, as it sees it itself, for MEET.
func (p *peer) bus(v *view) []string {
	if v.bus == "" {
		return nil
	}
	return []string{v.bus}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// inOneGo gives a node the commands that it gets, word by word. A transaction would not
// do: a node without memory refuses to queue its commands.
const inOneGo = `
for _, line in ipairs(ARGV) do
	local words = {}
	for word in string.gmatch(line, '%S+') do words[#words+1] = word end
	redis.call(unpack(words))
end
return 'done'`

// exec runs commands with nothing else between them. No word of them has a space in it.
func (p *peer) exec(ctx context.Context, cmds [][]string) error {
	script := []string{"EVAL", inOneGo, "0"}
	waits := false
	for _, cmd := range cmds {
		script = append(script, strings.Join(cmd, " "))
		waits = waits || p.replicates && cmd[1] == "SETSLOT"
	}
	all := [][]string{script}
	if waits {
		// A node that waits for its replicas would do so within the script, and lose its
		// way. Without their links it does not; they come back by themselves a second
		// later and catch up.
		all = [][]string{{"CLIENT", "KILL", "TYPE", "replica"}, script}
	}
	return p.all(ctx, all)
}
