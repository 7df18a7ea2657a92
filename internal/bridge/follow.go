package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/resp"
)

// follower is what a generation needs to follow the source.
type following struct {
	b *Bridge
	g *generation
	w *rewriter
	// chunks of the source's stream, and buffers for them.
	chunks, free chan []byte
	want         chan []keyID
	got          chan []*value
	asked        chan struct{}

	buf  []byte
	args [][]byte
	// safe is the last place between two transactions: how much of the rewriter's output,
	// and the changes of dirty, belong before it.
	safe        mark
	safeOut     int
	plus, minus int
	idleSince   time.Time

	// mu guards the name of the source's history, which a failover changes.
	mu     sync.Mutex
	replID string
}

// follow carries the stream until something breaks that cannot be resumed.
func (b *Bridge) follow(ctx context.Context, g *generation, good func()) error {
	at := g.journal.mark()
	f := &following{
		b: b, g: g, w: newRewriter(b.words, at, g.journal.waiting(), &b.marks), safe: at, replID: at.ReplID, idleSince: time.Now(),
		chunks: make(chan []byte), free: make(chan []byte, 2), want: make(chan []keyID), got: make(chan []*value), asked: make(chan struct{}, 1),
	}
	for range cap(f.free) {
		f.free <- make([]byte, upstreamBuffer)
	}
	read, err := newRefresher(b.opt.Source, b.from, b.to)
	if err != nil {
		return err
	}
	b.update(func(s *Status) { s.SourceOffset, s.JournalEnd, s.Acked = at.A, at.B, at.B })
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.upstream(ctx, at.A) })
	group.Go(func() error { return f.rewrite(ctx) })
	group.Go(func() error { return read.run(ctx, f.want, f.got) })
	group.Go(func() error { return f.serve(ctx, good) })
	group.Go(func() error {
		select {
		case <-b.promoted:
			return errPromoted
		case <-ctx.Done():
			return nil
		}
	})
	err = group.Wait()
	b.update(func(s *Status) { s.SourceLink, s.TargetLink = false, false })
	return err
}

// upstream receives the source's stream from an offset on, over as many links as it takes.
func (f *following) upstream(ctx context.Context, at int64) error {
	u, fresh := f.g.up, f.g.up != nil
	f.g.up = nil
	for {
		if u == nil {
			var err error
			if u, err = f.rejoin(ctx, at); err != nil {
				return err
			}
		}
		f.b.update(func(s *Status) { s.SourceLink = true })
		n, err := f.pump(ctx, u, fresh)
		at += n
		err = errors.Join(err, u.close())
		u, fresh = nil, false
		f.b.update(func(s *Status) { s.SourceLink = false })
		if ctx.Err() != nil || errors.Is(err, errStream) {
			return err
		}
	}
}

// rejoin asks a source again, until it answers, to go on where its stream broke off.
func (f *following) rejoin(ctx context.Context, at int64) (*upstream, error) {
	for {
		u, err := dialUpstream(ctx, f.b.opt.Source)
		if err == nil {
			var full bool
			var id string
			full, id, _, err = u.psync(f.id(), at+1)
			switch {
			case err == nil && full:
				return nil, errors.Join(&beginAnew{fmt.Sprintf("the source has no longer what follows offset %d", at)}, u.close())
			case err == nil:
				f.setID(id)
				return u, nil
			}
			_ = u.close() // the error says more
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if resp.IsServerError(err, "NOPERM", "NOAUTH", "WRONGPASS") {
			return nil, err
		}
		if err := wait(ctx, retryAfter); err != nil {
			return nil, err
		}
	}
}

func (f *following) id() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replID
}

func (f *following) setID(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replID = id
}

// pump hands on what one link brings, acknowledges what was journaled, and returns how much came.
func (f *following) pump(ctx context.Context, u *upstream, fresh bool) (n int64, err error) {
	defer u.conn.Guard(ctx)()
	stop, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f.acknowledge(stop, u) })
	defer wg.Wait()
	defer cancel()
	if fresh {
		if err := u.skipNewlines(); err != nil {
			return 0, err
		}
	}
	for {
		got, err := u.receive(ctx, f.chunks, f.free)
		n += int64(got)
		if err != nil {
			return n, err
		}
	}
}

// acknowledge tells the source, every second and when it asks, what was written down.
func (f *following) acknowledge(ctx context.Context, u *upstream) {
	tick := time.NewTicker(ackPeriod)
	defer tick.Stop()
	for {
		if u.ack(f.g.journal.mark().A) != nil {
			return // the connection is cut, which the receiver sees
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.asked:
		}
	}
}

// idlePeriod is how long the target is told nothing at most.
const idlePeriod = 10 * time.Second

// rewrite turns the source's stream into the target's and writes it down.
func (f *following) rewrite(ctx context.Context) error {
	idle := time.NewTicker(f.b.opt.idle / 10)
	defer idle.Stop()
	for {
		tasks := f.b.tasks
		if f.w.inTx {
			tasks = nil
		}
		var want chan []keyID
		if len(f.w.want) > 0 {
			want = f.want
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case chunk := <-f.chunks:
			f.buf = append(f.buf, chunk...)
			f.free <- chunk
			if err := f.digest(); err != nil {
				return err
			}
		case values := <-f.got:
			f.w.take(f.id(), values)
		case want <- f.w.want:
			f.w.want = nil
		case task := <-tasks:
			task(f)
		case <-idle.C:
			if !f.w.inTx && time.Since(f.idleSince) >= f.b.opt.idle {
				f.w.out = resp.AppendCommand(f.w.out, "PING")
			}
		}
		f.boundary()
		if err := f.commit(); err != nil {
			return err
		}
	}
}

// digest takes in all whole commands that were received.
func (f *following) digest() error {
	rest := f.buf
	for {
		var n int
		var err error
		if f.args, n, err = frame(rest, f.args); err != nil {
			return err
		}
		if n == 0 {
			break
		}
		f.boundary()
		if err := f.w.command(rest[:n], f.args); err != nil {
			return err
		}
		rest = rest[n:]
	}
	n := copy(f.buf, rest)
	f.buf = f.buf[:n]
	if cap(f.buf) > 64*upstreamBuffer && n < upstreamBuffer {
		f.buf = append(make([]byte, 0, 2*upstreamBuffer), f.buf...) // a large command has passed
	}
	return nil
}

// boundary sends the refreshes whose offset has come, and notes the place if it is
// one at which both sides can be resumed.
func (f *following) boundary() {
	w := f.w
	if w.inTx {
		return
	}
	w.refresh()
	f.safe = mark{A: w.a, Up: w.up, Down: w.down}
	f.safeOut, f.plus, f.minus = len(w.out), len(w.plus), len(w.minus)
}

// commit writes down everything up to the last boundary.
func (f *following) commit() error {
	w, last := f.w, f.g.journal.mark()
	if w.asked {
		w.asked = false
		select {
		case f.asked <- struct{}{}:
		default:
		}
	}
	if f.safeOut == 0 && f.safe.A == last.A && f.plus == 0 && f.minus == 0 {
		return nil
	}
	m := f.safe
	m.ReplID, m.Dirty, m.Clean = f.id(), w.plus[:f.plus], w.minus[:f.minus]
	if err := f.g.journal.append(w.out[:f.safeOut], m); err != nil {
		if errors.Is(err, errFull) {
			return &beginAnew{fmt.Sprintf("the journal holds %d bytes that the target has not taken, and may not hold more", f.g.journal.bytes())}
		}
		return err
	}
	if f.safeOut > 0 {
		f.idleSince = time.Now()
	}
	w.out = append(w.out[:0], w.out[f.safeOut:]...)
	w.plus = append(w.plus[:0], w.plus[f.plus:]...)
	w.minus = append(w.minus[:0], w.minus[f.minus:]...)
	f.safeOut, f.plus, f.minus = 0, 0, 0
	f.report()
	return nil
}

// report updates the status.
func (f *following) report() {
	j := f.g.journal
	m, bytes := j.mark(), j.bytes()
	f.b.update(func(s *Status) {
		s.SourceOffset, s.JournalEnd, s.JournalBytes = m.A, m.B, bytes
		s.Dirty, s.Refreshed = len(f.w.dirty), f.w.refreshed
	})
}
