package source

import (
	"context"
	"fmt"

	"holdfast.dev/internal/flow"
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
	// other clients wait for no more than that.
	groupKeys  = 16
	groupBytes = 64 << 10
	// flightKeys keys, or as many as make about flightBytes, are asked for ahead:
	// the server holds their values in memory until they are taken.
	flightKeys  = 1024
	flightBytes = 4 << 20
	// firstSize is what a value is taken for before one has been seen.
	firstSize = 64 << 10
)

// walk reads one database.
type walk struct {
	s     *Scan
	r     *reader
	db    int
	pipe  *resp.Pipe
	limit *limiter
	seen  *seen
	entry flow.Entry

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
	batch   *keyBatch
	from, n int
}

// keyBatch holds the keys of one SCAN.
type keyBatch struct {
	buf  []byte
	ends []int
	// sent keys have been asked for; left ones not been answered.
	sent, left int
	// tries counts how often these keys were read already for want of a clock.
	tries int
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

func newWalk(ctx context.Context, s *Scan, r *reader, ks resp.Keyspace, l *limiter) *walk {
	return &walk{
		s: s, r: r, db: ks.DB, limit: l, pipe: resp.NewPipe(ctx, r.conn, 0),
		seen: newSeen(ks.Keys), size: firstSize, cursor: []byte("0"),
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
func (w *walk) flight() int { return min(max(flightBytes/w.size, 1), flightKeys) }

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
	b := w.batch()
	for i := range r.Elems[1].Elems {
		if k := r.Elems[1].Elems[i].Bytes; w.seen.add(k) {
			b.add(k)
		}
	}
	w.enqueue(b)
	return nil
}

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
	n := min(max(groupBytes/w.size, 1), groupKeys, len(b.ends)-b.sent)
	if w.r.cluster || b.tries > 0 {
		n = 1
	}
	if err := w.limit.wait(ctx, n); err != nil {
		return err
	}
	o := op{batch: b, from: b.sent, n: n}
	cmds := w.r.appendOpen(w.pipe.Begin())
	for i := range n {
		cmds = w.r.appendKey(cmds, b.key(o.from+i))
	}
	w.pipe.EndMany(w.r.appendClose(cmds), w.r.commands(n)+1)
	b.sent += n
	w.queued -= n
	w.flying += n
	if b.sent == len(b.ends) {
		w.keys.pop()
	}
	w.ops.push(o)
	return nil
}

// takeGroup yields the keys of a transaction.
func (w *walk) takeGroup(o op, yield func(*flow.Entry) bool) error {
	a, err := w.receive(o.n)
	if err != nil {
		return w.explain(o, 0, err)
	}
	for i := range o.n {
		key := o.batch.key(o.from + i)
		if !a.sure && a.volatile(i) {
			if w.again(o.batch, key) {
				continue
			}
			w.s.unsure.Add(1)
		}
		e := &w.entry
		there, err := a.fill(e, i)
		if err != nil {
			return w.explain(o, i, err)
		}
		if !there {
			w.s.skipped.Add(1)
			continue
		}
		w.learn(e.Size())
		e.DB, e.Key = w.db, key
		if !yield(e) {
			return errStop
		}
	}
	w.flying -= o.n
	if o.batch.left -= o.n; o.batch.left == 0 {
		w.free = append(w.free, o.batch)
	}
	return nil
}

// receive reads the replies of one transaction over n keys.
func (w *walk) receive(n int) (answer, error) {
	var refused error
	for range w.r.commands(n) {
		q, err := w.pipe.Next()
		if err != nil {
			return answer{}, err
		}
		if err := q.Err(); err != nil && refused == nil {
			refused = err
		}
	}
	exec, err := w.pipe.Next()
	if err != nil {
		return answer{}, err
	}
	if refused != nil {
		return answer{}, refused
	}
	return w.r.open(exec, n)
}

// again asks for a key once more, alone, whose expiry fell on the edge of a
// millisecond. It returns false when that was tried often enough.
func (w *walk) again(b *keyBatch, key []byte) bool {
	if b.tries >= clockTries {
		return false
	}
	nb := w.batch()
	nb.add(key)
	nb.tries = b.tries + 1
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
