package flow

import (
	"context"
	"fmt"
	"io"
)

// Batch limits: a batch is handed on when it holds this many entries or bytes.
// Measured on loopback, larger batches bring no speed and cost memory.
const (
	batchEntries = 512
	batchBytes   = 1 << 20
)

// Stats counts what went through a Run.
type Stats struct {
	// Keys and Bytes (keys' and values' own bytes) that the sink accepted.
	Keys, Bytes int64
	// Skipped keys: those that a filter left out.
	Skipped int64
}

// Options of a Run. The zero value moves everything silently.
type Options struct {
	// Keep says whether an entry is to be moved; nil keeps all.
	Keep func(*Entry) bool
	// Progress is called after each batch with the running totals, in the goroutine of Run.
	Progress func(Stats)
}

// Run carries every entry of src into dst and commits. On error nothing is
// committed and the totals so far are returned with it.
func Run(ctx context.Context, src Source, dst Sink, opt Options) (Stats, error) {
	r := runner{dst: dst, opt: opt, arena: make([]byte, 0, batchBytes+batchBytes/4)}
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return r.stats, fmt.Errorf("cannot read the source: %w", err)
		}
		if opt.Keep != nil && !opt.Keep(e) {
			r.stats.Skipped++
			continue
		}
		if err := r.add(ctx, e); err != nil {
			return r.stats, err
		}
	}
	if err := r.flush(ctx); err != nil {
		return r.stats, err
	}
	if err := dst.Commit(ctx); err != nil {
		return r.stats, fmt.Errorf("cannot commit the target: %w", err)
	}
	return r.stats, nil
}

// runner collects entries into batches. Their bytes are copied into one arena
// per batch, so that a million small keys cost a handful of allocations.
type runner struct {
	dst   Sink
	opt   Options
	batch []Entry
	arena []byte
	stats Stats
}

func (r *runner) add(ctx context.Context, e *Entry) error {
	if len(r.batch) == batchEntries || len(r.batch) > 0 && len(r.arena)+e.Size() > cap(r.arena) {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if e.Body != nil {
		return r.alone(ctx, e)
	}
	if e.Size() > cap(r.arena) {
		// Larger than a whole batch: it travels alone, without a copy.
		r.batch = append(r.batch, *e)
		return r.flush(ctx)
	}
	c := *e
	c.Key = r.keep(e.Key)
	c.Value = r.keep(e.Value)
	r.batch = append(r.batch, c)
	return nil
}

// alone hands on an entry whose value is read as it is written: its source waits
// meanwhile, so nothing may come before it or with it.
func (r *runner) alone(ctx context.Context, e *Entry) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	body := &measured{r: e.Body}
	c := *e
	c.Body = body
	r.batch = append(r.batch, c)
	if err := r.flush(ctx); err != nil {
		return err
	}
	r.stats.Bytes += body.n
	return nil
}

// measured counts the bytes that are read.
type measured struct {
	r io.Reader
	n int64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	return n, err
}

func (r *runner) keep(b []byte) []byte {
	at := len(r.arena)
	r.arena = append(r.arena, b...)
	return r.arena[at:len(r.arena):len(r.arena)]
}

func (r *runner) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return ctx.Err()
	}
	if err := r.dst.Write(ctx, r.batch); err != nil {
		return fmt.Errorf("cannot write to the target: %w", err)
	}
	for i := range r.batch {
		r.stats.Bytes += int64(r.batch[i].Size())
	}
	r.stats.Keys += int64(len(r.batch))
	r.batch, r.arena = r.batch[:0], r.arena[:0]
	if r.opt.Progress != nil {
		r.opt.Progress(r.stats)
	}
	return ctx.Err()
}
