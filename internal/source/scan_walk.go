package source

import (
	"context"
	"fmt"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// How a Scan keeps its server busy without burdening it. The next SCAN goes out
// before the keys of the last are read, so its reply is there when they are
// used up; and enough transactions are in flight that the server never waits.
const (
	// scanCount keys are asked of one SCAN. Fewer cost round trips, more make the
	// server's other clients wait.
	scanCount = 500
	// groupKeys keys, or as many as make about groupBytes, share one transaction:
	// other clients wait for no more than that. On a server that tells only what is
	// left of an expiry it is clockKeys keys, for the clock must not move meanwhile.
	groupKeys  = 64
	groupBytes = 64 << 10
	// infoKeys keys are so many that INFO costs less than asking for the expiry of each.
	infoKeys = 8
	// flightKeys keys, or as many as make about flightBytes, are asked for ahead:
	// the server holds their values in memory until they are taken.
	flightKeys  = 1024
	flightBytes = 4 << 20
	// firstSize is what a value is taken for before one has been seen.
	firstSize = 64 << 10
	// fewStrings is the share of strings, of allStrings, below which MGET costs more
	// than it spares: every key that is none has to be asked for twice.
	allStrings = 1024
	fewStrings = allStrings / 4
)

// walk reads one database.
type walk struct {
	s     *Scan
	r     *reader
	db    int
	pipe  *resp.Pipe
	limit *flow.Limiter
	// calm holds the keys in flight down while the server is slow.
	calm  *throttle
	seen  *seen
	marks []mark
	entry flow.Entry
	text  []byte

	// mortal: keys with an expiry are, or may be, among the database's.
	mortal bool
	// strings is a running average of their share among the keys, of allStrings.
	strings int

	// ops are the requests in flight, oldest first.
	ops  queue[op]
	keys queue[*keyBatch]
	free []*keyBatch
	// queued keys wait to be asked for; flying ones have been.
	queued, flying int
	// size is a running average of a value's bytes that rises fast and falls slowly.
	size     int
	scanning bool
	done     bool
	cursor   []byte
}

// op is a SCAN (batch is nil), or a transaction over n keys of a batch.
type op struct {
	batch             *keyBatch
	from, n, commands int
	way               way
}

// keyBatch holds the keys of one SCAN.
type keyBatch struct {
	buf  []byte
	ends []int
	// sent keys have been asked for; left ones not been answered.
	sent, left int
	// tries counts how often these keys were read already for want of a clock.
	tries int
	// other: these keys are no strings, or gone.
	other bool
	// alone: each of these keys has a transaction of its own.
	alone bool
	// charged: the rate has been paid for these keys.
	charged bool
}

func (b *keyBatch) key(i int) []byte {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.buf[from:b.ends[i]]
}

func (b *keyBatch) add(key []byte) {
	b.buf = append(b.buf, key...)
	b.ends = append(b.ends, len(b.buf))
}

func newWalk(ctx context.Context, s *Scan, r *reader, ks resp.Keyspace, l *flow.Limiter) *walk {
	return &walk{
		s: s, r: r, db: ks.DB, limit: l, pipe: resp.NewPipe(ctx, r.conn, 0),
		seen: newSeen(ks.Keys), size: firstSize, cursor: []byte("0"),
		mortal: r.noInfo || ks.Expires > 0, strings: allStrings,
	}
}

func (w *walk) run(ctx context.Context, yield func(*flow.Entry) bool) error {
	for {
		if !w.scanning && !w.done && w.queued < scanCount {
			w.sendScan()
		}
		for w.queued > 0 && w.flying < w.flight() {
			if err := w.sendGroup(ctx); err != nil {
				return err
			}
		}
		if w.ops.len() == 0 {
			return nil
		}
		o := w.ops.pop()
		if o.batch == nil {
			if err := w.takeScan(); err != nil {
				return fmt.Errorf("cannot list the keys of database %d: %w", w.db, err)
			}
			continue
		}
		if err := w.takeGroup(o, yield); err != nil {
			return err
		}
	}
}

// flight is how many keys may be in flight.
func (w *walk) flight() int {
	window := int64(flightBytes)
	if r := w.s.so.BytesRate; r > 0 {
		window = min(window, r/10) // a tenth of a second: what is in flight can no longer be held back
	}
	return w.calm.flight(min(max(int(window)/w.size, 1), flightKeys))
}

func (w *walk) sendScan() {
	b := resp.AppendArray(w.pipe.Begin(), 4)
	b = resp.AppendString(b, "SCAN")
	b = resp.AppendBulk(b, w.cursor)
	b = resp.AppendString(b, "COUNT")
	b = resp.AppendInt(b, scanCount)
	w.pipe.End(b)
	w.ops.push(op{})
	w.scanning = true
}

func (w *walk) takeScan() error {
	w.scanning = false
	r, err := w.pipe.Next()
	if err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		return err
	}
	if len(r.Elems) != 2 || r.Elems[0].Kind != resp.Bulk || r.Elems[1].Kind != resp.Array {
		return fmt.Errorf("the reply of SCAN is %s", r.Kind)
	}
	w.cursor = append(w.cursor[:0], r.Elems[0].Bytes...)
	w.done = string(w.cursor) == "0"
	keys := r.Elems[1].Elems
	w.marks = w.marks[:0]
	for i := range keys {
		w.marks = append(w.marks, w.seen.mark(keys[i].Bytes))
	}
	w.seen.fetch(w.marks)
	b := w.batch()
	for i := range keys {
		if k := keys[i].Bytes; w.seen.add(w.marks[i]) && w.keep(k) {
			b.add(k)
		}
	}
	w.enqueue(b)
	return nil
}

// keep tells whether a key is to be read.
func (w *walk) keep(key []byte) bool { return w.s.so.Keep == nil || w.s.so.Keep(w.db, key) }

func (w *walk) batch() *keyBatch {
	if n := len(w.free); n > 0 {
		b := w.free[n-1]
		w.free = w.free[:n-1]
		*b = keyBatch{buf: b.buf[:0], ends: b.ends[:0]}
		return b
	}
	return &keyBatch{}
}

func (w *walk) enqueue(b *keyBatch) {
	if len(b.ends) == 0 {
		w.free = append(w.free, b)
		return
	}
	b.left = len(b.ends)
	w.queued += len(b.ends)
	w.keys.push(b)
}

// sendGroup asks for the next keys in one transaction.
func (w *walk) sendGroup(ctx context.Context) error {
	b := *w.keys.front()
	o := op{batch: b, from: b.sent}
	o.n, o.way = w.plan(b)
	if !b.charged {
		if err := w.limit.Wait(ctx, o.n); err != nil {
			return err
		}
	}
	var cmds []byte
	cmds, o.commands = w.r.appendGroup(w.pipe.Begin(), o.group())
	w.pipe.EndMany(cmds, o.commands)
	b.sent += o.n
	w.queued -= o.n
	w.flying += o.n
	if b.sent == len(b.ends) {
		w.keys.pop()
	}
	w.ops.push(o)
	return nil
}

// plan says how many of a batch's next keys are read together, and how.
func (w *walk) plan(b *keyBatch) (int, way) {
	n := min(max(groupBytes/w.size, 1), groupKeys, len(b.ends)-b.sent)
	switch {
	case b.alone:
		n = 1
	case w.r.cluster:
		n = b.sameSlot(n)
	}
	var how way
	if n > 1 && !w.r.plain {
		how = way{strings: !b.other && w.strings >= fewStrings, eternal: !w.mortal && n >= infoKeys}
	}
	if !how.eternal && !w.r.exact {
		n = min(n, clockKeys)
	}
	return n, how
}

// sameSlot is how many of the next n keys are of one slot: keys of different slots
// cannot share a transaction. Servers that keep a table for each slot, as Valkey 8
// and Redis 8 do, list them slot by slot.
func (b *keyBatch) sameSlot(n int) int {
	slot := resp.Slot(b.key(b.sent))
	for i := 1; i < n; i++ {
		if resp.Slot(b.key(b.sent+i)) != slot {
			return i
		}
	}
	return n
}

func (o *op) group() group {
	return group{way: o.way, n: o.n, key: func(i int) []byte { return o.batch.key(o.from + i) }}
}

// takeGroup yields the keys of a transaction.
func (w *walk) takeGroup(o op, yield func(*flow.Entry) bool) error {
	w.r.conn.SpillAbove(spillAbove, "") // values alone: what SCAN answers is held
	a, err := w.r.take(w.pipe.Next, o.commands, o.group(), w.db)
	w.r.conn.SpillAbove(0, "")
	switch {
	case w.r.cluster && o.n > 1 && resp.IsServerError(err):
		// While a slot moves, some of its keys are here and some are not.
		w.reread(o, true)
	case w.s.shard && resp.IsServerError(err, "MOVED", "ASK"):
		w.s.skipped.Add(int64(o.n)) // Cluster reads it where it went
	case resp.IsServerError(err) && o.way != way{}:
		// Not every server lets everyone do what is fastest.
		w.r.plain = true
		w.reread(o, false)
	case err != nil:
		return w.explain(o, 0, err)
	case a.mortal:
		w.mortal = true
		w.reread(o, false)
	default:
		if err := w.yieldGroup(o, &a, yield); err != nil {
			return err
		}
	}
	w.flying -= o.n
	if o.batch.left -= o.n; o.batch.left == 0 {
		w.free = append(w.free, o.batch)
	}
	return nil
}

// reread asks for the keys of a transaction once more, each alone or not.
func (w *walk) reread(o op, alone bool) {
	nb := w.batch()
	nb.other, nb.alone, nb.charged = o.batch.other, alone || o.batch.alone, true
	for i := range o.n {
		nb.add(o.batch.key(o.from + i))
	}
	w.enqueue(nb)
}

func (w *walk) yieldGroup(o op, a *answer, yield func(*flow.Entry) bool) error {
	e := &w.entry
	var rest *keyBatch
	strings := 0
	for i := range o.n {
		key := o.batch.key(o.from + i)
		if !a.sure && a.volatile(i) {
			if w.again(o.batch, key) {
				continue
			}
			w.s.unsure.Add(1)
		}
		found, err := a.fill(e, i, &w.text)
		if err != nil {
			return w.explain(o, i, err)
		}
		switch found {
		case gone:
			w.s.skipped.Add(1)
			continue
		case unread:
			if rest == nil {
				rest = w.batch()
				rest.other, rest.charged = true, true
			}
			rest.add(key)
			continue
		}
		if e.Type == rdb.TypeString {
			strings++
		}
		size := int(sizeOf(e))
		w.learn(size)
		w.limit.Read(size)
		e.DB, e.Key = w.db, key
		if !yield(e) {
			return errStop
		}
	}
	if rest != nil {
		w.enqueue(rest)
	}
	if !o.batch.other {
		w.strings += (strings*allStrings/o.n - w.strings) / 8
	}
	return nil
}

// again asks for a key once more, alone, whose expiry fell on the edge of a
// millisecond. It returns false when that was tried often enough.
func (w *walk) again(b *keyBatch, key []byte) bool {
	if b.tries >= clockTries {
		return false
	}
	nb := w.batch()
	nb.add(key)
	nb.tries, nb.alone, nb.charged = b.tries+1, true, true
	w.enqueue(nb)
	return true
}

func (w *walk) learn(size int) {
	if size > w.size {
		w.size += (size - w.size + 1) / 2
	} else {
		w.size -= (w.size - size) / 16
	}
	w.size = max(w.size, 1)
}

func (w *walk) explain(o op, i int, err error) error {
	return fmt.Errorf("cannot read key %q of database %d: %w", o.batch.key(o.from+i), w.db, err)
}

// queue is a ring that grows.
type queue[T any] struct {
	ring    []T
	head, n int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) push(v T) {
	if q.n == len(q.ring) {
		ring := make([]T, max(2*len(q.ring), 64))
		m := copy(ring, q.ring[q.head:])
		copy(ring[m:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = v
	q.n++
}

func (q *queue[T]) front() *T { return &q.ring[q.head] }

func (q *queue[T]) pop() T {
	v := q.ring[q.head]
	var zero T
	q.ring[q.head] = zero
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return v
}
