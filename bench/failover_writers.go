package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

const (
	// plainWriters share the rate; each keeps its commands in flight.
	plainWriters = 4
	// carefulWriters wait, after each write, until a replica has it. They write
	// only where there is a rate at all, and on top of it.
	carefulWriters = 2
	carefulEvery   = 2 * time.Millisecond
	writersTick    = 500 * time.Microsecond
	// ring is how many of its last writes a connection can be asked for afterwards.
	ring = 8192
	// writeValue is the least size of a value.
	writeValue = 64
)

// writers write to whoever is the primary, come what may, and remember what was
// acknowledged: to each connection, since those before the loss are what may be lost.
type writers struct {
	k     *keeper
	round int
	began time.Time
	stop  context.CancelFunc
	done  sync.WaitGroup
	all   []*writer
}

// writer is one client, which connects again and again. Its fields are its own
// goroutine's until it has ended, but for acked.
type writer struct {
	w       *writers
	id      int
	careful bool
	each    time.Duration
	terms   []term

	mu    sync.Mutex
	acked int64
}

// term is one connection: its writes are numbered from 1, and the last of them
// that was acknowledged, and that a replica was known to have, stand here.
type term struct{ acked, held int64 }

func startWriters(ctx context.Context, k *keeper, rate, round int) *writers {
	ctx, stop := context.WithCancel(ctx)
	w := &writers{k: k, round: round, began: time.Now(), stop: stop}
	if rate == 0 {
		return w
	}
	for i := range plainWriters + carefulWriters {
		one := &writer{w: w, id: i, careful: i >= plainWriters, each: time.Second * plainWriters / time.Duration(rate)}
		w.all = append(w.all, one)
		w.done.Go(func() { one.run(ctx) })
	}
	return w
}

// pace is how many writes a second were acknowledged up to now, but for the careful ones.
func (w *writers) pace() float64 {
	sum := int64(0)
	for _, one := range w.all {
		if one.careful {
			continue
		}
		one.mu.Lock()
		sum += one.acked
		one.mu.Unlock()
	}
	return float64(sum) / time.Since(w.began).Seconds()
}

// end stops them; what they had in flight is not waited for.
func (w *writers) end() error {
	w.stop()
	w.done.Wait()
	return nil
}

func (o *writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		t := term{}
		if at, err := o.w.k.find(ctx); err == nil {
			t, _ = o.serve(ctx, at) // every connection ends badly here
		}
		if t.acked > 0 {
			o.terms = append(o.terms, t)
		}
		if pause(ctx, tryEvery) != nil {
			return
		}
	}
}

// key of a write. Keys come round again within a term, never in another.
func (o *writer) key(term int, seq int64) string {
	return "w" + o.w.k.tag + ":" + strconv.Itoa(o.id) + ":" + strconv.Itoa(term) + ":" + strconv.FormatInt(seq%ring, 10)
}

// value names the round and the number of a write.
func (o *writer) value(seq int64) string {
	return fmt.Sprintf("%d %d %*s", o.w.round, seq, writeValue, "")
}

func (o *writer) serve(ctx context.Context, at string) (t term, err error) {
	c, err := brisk(ctx, at, brief)
	if err != nil {
		return t, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return t, err
	}
	r := resp.NewReader(c)
	if o.careful {
		err = o.carefully(ctx, c.Write, r, &t)
		return t, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer cancel()
		for o.okay(r) == nil {
			t.acked++
		}
	})
	err = o.send(ctx, c.Write)
	_ = c.Close() // the receiver has to end
	receiving.Wait()
	return t, err
}

// okay reads one reply, which has to be OK.
func (o *writer) okay(r *resp.Reader) error {
	reply, err := r.Next()
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.acked++
	o.mu.Unlock()
	return nil
}

// send sends what is due, whether or not what was sent is answered.
func (o *writer) send(ctx context.Context, write func([]byte) (int, error)) error {
	tick := time.NewTicker(writersTick)
	defer tick.Stop()
	var buf []byte
	var seq int64
	for next := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		buf = buf[:0]
		for now := time.Now(); !next.After(now); next = next.Add(o.each) {
			seq++
			buf = resp.AppendCommand(buf, "SET", o.key(len(o.terms), seq), o.value(seq))
		}
		if len(buf) == 0 {
			continue
		}
		if _, err := write(buf); err != nil {
			return err
		}
	}
}

// carefully writes one at a time, and waits until a replica has it.
func (o *writer) carefully(ctx context.Context, write func([]byte) (int, error), r *resp.Reader, t *term) error {
	var buf []byte
	for seq := int64(1); ; seq++ {
		buf = resp.AppendCommand(buf[:0], "SET", o.key(len(o.terms), seq), o.value(seq))
		if _, err := write(resp.AppendCommand(buf, "WAIT", "1", "1000")); err != nil {
			return err
		}
		if err := o.okay(r); err != nil {
			return err
		}
		t.acked = seq
		reply, err := r.Next()
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			return err
		}
		if reply.Int > 0 {
			t.held = seq
		}
		if err := pause(ctx, carefulEvery); err != nil {
			return err
		}
	}
}

// tally is what became of acknowledged writes.
type tally struct {
	// asked were looked for, lost are not there, and lostHeld are those of them that
	// a replica was known to have.
	asked, lost, lostHeld int64
}

// check looks for the last acknowledged writes of every connection. A new primary
// may cut its clients off once more, and roles may not have come to rest.
func (w *writers) check(ctx context.Context) (sum tally, err error) {
	if len(w.all) == 0 {
		return sum, nil
	}
	var last error
	err = poll(ctx, look, func() (bool, error) {
		sum, last = w.count(ctx)
		return last == nil, nil
	})
	if err != nil {
		err = errors.Join(err, last)
	}
	return sum, err
}

func (w *writers) count(ctx context.Context) (sum tally, err error) {
	at, err := w.k.find(ctx)
	if err != nil {
		return sum, err
	}
	c, err := resp.Dial(ctx, resp.Options{Addr: at})
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, o := range w.all {
		for n, t := range o.terms {
			if err := o.look(ctx, c, n, t, &sum); err != nil {
				return sum, fmt.Errorf("cannot look for what was written: %w", err)
			}
		}
	}
	return sum, nil
}

// look asks for many at once. A later write of the same connection in place of
// the one that is looked for is as good: commands are carried out in order.
func (o *writer) look(ctx context.Context, c *resp.Conn, n int, t term, sum *tally) error {
	const batch = 512
	for from := max(t.acked-ring, 0) + 1; from <= t.acked; from += batch {
		to := min(from+batch-1, t.acked)
		args := []string{"MGET"}
		for seq := from; seq <= to; seq++ {
			args = append(args, o.key(n, seq))
		}
		reply, err := c.Do(ctx, args...)
		if err != nil {
			return err
		}
		for i := range reply.Elems {
			var round int
			var seq int64
			_, _ = fmt.Sscan(string(reply.Elems[i].Bytes), &round, &seq) // nothing there is nothing found
			sum.asked++
			if want := from + int64(i); round != o.w.round || seq < want {
				sum.lost++
				if want <= t.held {
					sum.lostHeld++
				}
			}
		}
	}
	return nil
}
