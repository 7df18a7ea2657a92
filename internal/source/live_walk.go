package source

import (
	"context"
	"fmt"
	"strconv"

	"holdfast.dev/internal/resp"
)

// How a Live reads in bulk: while the values of some keys are on their way, the
// sizes of the next and the SCAN after them are too. Two batches are in flight,
// so that the server need not wait; how large they are follows the latency probe.
// Where most keys are strings no sizes are asked for: see liveStrings.
const (
	// liveBig is from where on a value is copied in pieces, in bytes of memory:
	// DUMP of a megabyte keeps a server busy for up to ten milliseconds.
	liveBig = 1 << 20
	// batchTarget bytes of values are about the most that one batch asks for.
	batchTarget = 256 << 10
	// maxDirty keys wait to be read again before the scan is interrupted for them:
	// they take about a hundred bytes each.
	maxDirty = 200_000
)

// liveWalk reads keys: all that SCAN finds in a database, or those given.
type liveWalk struct {
	a     *liveAttempt
	db    int // of SCAN
	ops   queue[liveOp]
	new   queue[*liveKeys] // their sizes are to be asked for
	sized queue[*liveKeys] // to be read
	big   []largeKey
	found liveKeys // by the last SCAN
	is    []bool
	// asked and flying count the keys whose sizes and values are on their way, waiting
	// all whose values have not been asked for.
	asked, flying, waiting int
	cursor                 []byte
	scanning               bool
	done                   bool // nothing more to SCAN
}

// liveOp is what replies are due for: a group, the sizes of keys, or a SCAN.
type liveOp struct {
	group *liveGroup
	sizes *liveKeys
	sel   bool // the reply of a SELECT comes first
}

// run goes on until nothing is in flight: to the end, or until hold.
func (w *liveWalk) run(ctx context.Context, hold func() bool) error {
	for {
		if err := w.fill(ctx, hold); err != nil {
			return err
		}
		if w.ops.len() == 0 {
			return nil
		}
		o := w.ops.pop()
		var err error
		if o.sel {
			if _, err := good(w.a.next); err != nil {
				return fmt.Errorf("cannot select a database: %w", err)
			}
		}
		switch {
		case o.group != nil:
			err = w.takeGroup(o.group)
		case o.sizes != nil:
			err = w.takeSizes(o.sizes)
		default:
			err = w.takeScan()
		}
		if err != nil {
			return err
		}
		if err := w.a.tick(); err != nil {
			return err
		}
	}
}

// fill sends what may be sent.
func (w *liveWalk) fill(ctx context.Context, hold func() bool) error {
	b := w.a.batch()
	p := w.a.pipe
	before := p.Len()
	if !w.done && !w.scanning && w.waiting < b && !hold() {
		sel := w.use(w.db)
		cmd := resp.AppendString(resp.AppendArray(p.Begin(), 4), "SCAN")
		cmd = resp.AppendString(resp.AppendBulk(cmd, w.cursor), "COUNT")
		p.End(resp.AppendInt(cmd, int64(b)))
		w.ops.push(liveOp{sel: sel})
		w.scanning = true
	}
	for w.new.len() > 0 && w.asked < b {
		w.sendSizes(w.new.pop())
	}
	for w.sized.len() > 0 && w.flying < 2*b {
		keys := w.sized.pop()
		w.waiting -= keys.len()
		if !keys.rest { // of which the limit knows
			if err := w.a.limit.Wait(ctx, keys.len()); err != nil {
				return err
			}
		}
		w.a.groups(keys.db, keys, w.a.dbs[keys.db], func(g *liveGroup) {
			sel := w.use(g.db)
			cmds, n := w.a.appendGroup(p.Begin(), g)
			p.EndMany(cmds, n)
			w.flying += g.weight()
			w.ops.push(liveOp{group: g, sel: sel})
		})
	}
	if p.Len() > before {
		p.Flush()
	}
	return nil
}

// use has the following commands go to a database, and tells whether that took one.
func (w *liveWalk) use(db int) bool {
	if w.a.db == db {
		return false
	}
	w.a.pipe.End(resp.AppendCommand(w.a.pipe.Begin(), "SELECT", strconv.Itoa(db)))
	w.a.db = db
	return true
}

func (w *liveWalk) sendSizes(keys *liveKeys) {
	keys.text = !keys.rest && w.a.strings.worth()
	if keys.text || !w.a.guard {
		w.sized.push(keys)
		return
	}
	sel := w.use(keys.db)
	cmds := w.a.pipe.Begin()
	for i := range keys.len() {
		cmds = append(cmds, "*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n"...)
		cmds = resp.AppendBulk(cmds, keys.key(i))
	}
	w.a.pipe.EndMany(cmds, keys.len())
	w.asked += keys.len()
	w.ops.push(liveOp{sizes: keys, sel: sel})
}

func (w *liveWalk) takeSizes(keys *liveKeys) error {
	small := &liveKeys{db: keys.db, rest: keys.rest, buf: make([]byte, 0, len(keys.buf)), ends: make([]int, 0, len(keys.ends))}
	for i := range keys.len() {
		r, err := good(w.a.next)
		if err != nil {
			return fmt.Errorf("cannot ask for the size of key %q of database %d: %w", keys.key(i), keys.db, err)
		}
		if r.Int > w.a.bigFrom {
			w.big = append(w.big, largeKey{touched{keys.db, string(keys.key(i))}, r.Int})
			w.waiting--
			continue
		}
		w.a.learn(r.Int)
		small.add(keys.key(i))
	}
	w.asked -= keys.len()
	if small.len() > 0 {
		w.sized.push(small)
	}
	return nil
}

// takeScan keeps the keys that have to be read: those that wait to be read again
// will be anyway, and those read already came again.
func (w *liveWalk) takeScan() error {
	w.scanning = false
	r, err := good(w.a.next)
	if err == nil && (len(r.Elems) != 2 || r.Elems[1].Kind != resp.Array) {
		err = fmt.Errorf("the reply is %s", r.Kind)
	}
	if err != nil {
		return fmt.Errorf("cannot list the keys of database %d: %w", w.db, err)
	}
	w.cursor = append(w.cursor[:0], r.Elems[0].Bytes...)
	w.done = string(w.cursor) == "0"
	found := &w.found
	found.buf, found.ends = found.buf[:0], found.ends[:0]
	for i := range r.Elems[1].Elems {
		found.add(r.Elems[1].Elems[i].Bytes)
	}
	w.is = w.a.cap.isDirty(w.db, found, w.is)
	if w.a.ix != nil {
		w.a.ix.fetch(w.db, found)
	}
	keys := &liveKeys{db: w.db, buf: make([]byte, 0, len(found.buf)), ends: make([]int, 0, len(found.ends))}
	for i := range found.len() {
		if w.is[i] {
			continue
		}
		had, err := w.a.has(w.db, found.key(i))
		if err != nil {
			return err
		}
		if !had {
			keys.add(found.key(i))
		}
	}
	w.a.scanned += int64(found.len())
	w.add(keys)
	return nil
}

// takeGroup stores the values of a group.
func (w *liveWalk) takeGroup(g *liveGroup) error {
	w.flying -= g.weight()
	if !g.text {
		err := w.a.takeGroup(g, w.a.next)
		if !g.keys.rest { // of which the strings were taken out
			w.a.strings.learn(g.strings, g.n)
		}
		return err
	}
	rest, err := w.a.takeStrings(g, w.a.next)
	if rest != nil {
		w.add(rest)
	}
	return err
}

// add makes the walk read these keys.
func (w *liveWalk) add(keys *liveKeys) {
	if keys.len() > 0 {
		w.new.push(keys)
		w.waiting += keys.len()
	}
}

// give makes the walk read these keys.
func (w *liveWalk) give(db int, keys []string, batch int) {
	for len(keys) > 0 {
		n := min(batch, len(keys))
		k := &liveKeys{db: db}
		for _, key := range keys[:n] {
			k.addString(key)
		}
		keys = keys[n:]
		w.add(k)
	}
}
