package verify

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/flow"
)

// Progress is how far a reading has come.
type Progress struct {
	// End is 0 for the first or only source, 1 for the second of a comparison.
	End int
	// Pass is 1 for the reading of everything, more for looking closer at what differs.
	Pass int
	// Keys read so far in this pass, and the bytes of them as they are serialized.
	Keys, Bytes int64
}

// Options of Compute. The zero value is good.
type Options struct {
	// Workers hash in parallel; 0 means one for each processor.
	Workers int
	// Progress, if set, is called about every thousand keys, one call at a time.
	Progress func(Progress)
}

// Compute reads a source to its end and returns its fingerprint.
func Compute(ctx context.Context, src flow.Source, opt Options) (*Fingerprint, error) {
	f := newFingerprint()
	p := pipeline{workers: opt.Workers, progress: opt.Progress, at: Progress{Pass: 1}, emit: f.addAll}
	if err := p.run(ctx, src); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Fingerprint) addAll(entries []flow.Entry, digests []Digest) error {
	for i := range digests {
		db, err := f.database(entries[i].DB)
		if err != nil {
			return err
		}
		db.add(&digests[i])
	}
	return nil
}

// A batch is what travels from the reading goroutine to a hashing one: enough
// entries that handing over costs nothing, few enough bytes to stay in cache.
const (
	batchEntries = 1024
	batchBytes   = 256 << 10
)

type batch struct {
	entries []flow.Entry
	arena   []byte
	digests []Digest
}

func (b *batch) full(next *flow.Entry) bool {
	return len(b.entries) == batchEntries || len(b.entries) > 0 && len(b.arena)+next.Size() > batchBytes
}

// add copies an entry, its bytes into the arena.
func (b *batch) add(e *flow.Entry) {
	c := *e
	c.Key = b.keep(e.Key)
	c.Value = b.keep(e.Value)
	b.entries = append(b.entries, c)
}

// keep copies bytes to the arena's end. When the arena moves as it grows, what
// was kept before stays where it is.
func (b *batch) keep(p []byte) []byte {
	at := len(b.arena)
	b.arena = append(b.arena, p...)
	return b.arena[at:len(b.arena):len(b.arena)]
}

func (b *batch) reset() {
	b.entries, b.arena, b.digests = b.entries[:0], b.arena[:0], b.digests[:0]
}

// pipeline reads a source in one goroutine and digests its entries in others.
type pipeline struct {
	workers  int
	progress func(Progress)
	at       Progress
	// keep, if set, says in the reading goroutine whether an entry matters.
	keep func(*flow.Entry) bool
	// asOf is the digesters' time, see there.
	asOf int64
	// emit takes digested entries, one call at a time; it keeps none of their bytes.
	emit func([]flow.Entry, []Digest) error
}

func (p *pipeline) run(ctx context.Context, src flow.Source) error {
	n := p.workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	full, free := make(chan *batch, n), make(chan *batch, 2*n+1)
	for range cap(free) {
		free <- new(batch)
	}
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	g.Go(func() error {
		defer close(full)
		return p.read(ctx, src, full, free, &mu)
	})
	for range n {
		g.Go(func() error { return p.work(full, free, &mu) })
	}
	return g.Wait()
}

// read fills batches. A worker that fails cancels the context, and the waits for
// batches here end with it.
func (p *pipeline) read(ctx context.Context, src flow.Source, full chan<- *batch, free <-chan *batch, mu *sync.Mutex) error {
	b := <-free
	large := largeEntries{p: p, mu: mu}
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return fmt.Errorf("cannot read the source: %w", err)
		}
		p.at.Keys++
		p.at.Bytes += int64(e.Size())
		if p.progress != nil && p.at.Keys%batchEntries == 0 {
			p.progress(p.at)
		}
		if p.keep != nil && !p.keep(e) {
			continue
		}
		if e.Body != nil || e.Size() > batchBytes {
			if err := large.digest(e); err != nil {
				return err
			}
			continue
		}
		if b.full(e) {
			if b, err = exchange(ctx, b, full, free); err != nil {
				return err
			}
		}
		b.add(e)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.progress != nil {
		p.progress(p.at)
	}
	select {
	case full <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// largeEntries digests large entries where they are read. Of those that come as a
// Body nothing can be kept, and of the others nothing should: a copy for each batch
// that there is would be much memory where there are many processors.
type largeEntries struct {
	p    *pipeline
	mu   *sync.Mutex
	d    *digester
	read int64
}

func (l *largeEntries) digest(e *flow.Entry) error {
	if l.d == nil {
		l.d = newDigester(l.p.asOf)
	}
	as := *e
	if e.Body != nil {
		as.Body = io.TeeReader(e.Body, l)
	}
	dg, err := l.d.digest(&as)
	if err != nil {
		return err
	}
	as.Body = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.p.emit([]flow.Entry{as}, []Digest{dg})
}

// Write counts what is read of a value, and tells of progress within it.
func (l *largeEntries) Write(b []byte) (int, error) {
	l.p.at.Bytes += int64(len(b))
	if l.read += int64(len(b)); l.p.progress != nil && l.read >= progressBytes {
		l.read = 0
		l.p.progress(l.p.at)
	}
	return len(b), nil
}

// progressBytes of large values are between two reports.
const progressBytes = 16 << 20

func exchange(ctx context.Context, b *batch, full chan<- *batch, free <-chan *batch) (*batch, error) {
	select {
	case full <- b:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case b = <-free:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeline) work(full <-chan *batch, free chan<- *batch, mu *sync.Mutex) error {
	d := newDigester(p.asOf)
	for b := range full {
		for i := range b.entries {
			dg, err := d.digest(&b.entries[i])
			if err != nil {
				return err
			}
			b.digests = append(b.digests, dg)
		}
		mu.Lock()
		err := p.emit(b.entries, b.digests)
		mu.Unlock()
		if err != nil {
			return err
		}
		b.reset()
		free <- b // never blocks: free has room for every batch there is
	}
	return nil
}
