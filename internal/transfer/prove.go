package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
)

// proveRate bounds the proof of what is stored, in bytes per second: a terabyte takes
// six hours, and a disk is not kept from its other work.
const proveRate = 48 << 20

// Prove reads the files of a stored snapshot to their ends, at a bounded rate, and
// holds them against the manifest in its record. A manifest beside a file that is
// missing or another is written anew.
//
// An error is ErrPermanent only if it is proved that the files are not what was stored:
// what was read is something else, or is missing from a store that is there. All
// others, such as that of a disk that is away, say nothing about the files.
func (m *Mover) Prove(ctx context.Context, s cache.Snapshot) error {
	for _, shard := range s.Shards {
		if shard.Manifest == nil {
			return same(nil, cache.Manifest{})
		}
		if err := m.proveShard(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mover) proveShard(ctx context.Context, shard cache.ShardSnapshot) error {
	if err := m.proveFile(ctx, shard); err != nil {
		return m.proven(ctx, err)
	}
	beside, err := readManifest(ctx, m.Snapshots, shard.Object)
	if err == nil && same(shard.Manifest, beside) == nil {
		return nil
	}
	if err := m.writeManifest(ctx, shard.Object, *shard.Manifest); err != nil {
		return fmt.Errorf("%s is whole, and the manifest beside it cannot be written anew: %w", shard.Object, err)
	}
	return nil
}

func (m *Mover) proveFile(ctx context.Context, shard cache.ShardSnapshot) error {
	f := &Stored{Object: shard.Object, Manifest: *shard.Manifest, store: m.Snapshots}
	in, err := f.Open(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, &paced{wait: waiting(ctx), in: in, began: time.Now()})
	return errors.Join(err, in.Close())
}

// proven marks an error that proves that a file is not what was stored.
func (m *Mover) proven(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrRotten), errors.Is(err, seal.ErrDamaged), errors.Is(err, seal.ErrWrongKey):
		return fmt.Errorf("%w: %w", err, cache.ErrPermanent)
	case !errors.Is(err, objects.ErrNotExist):
		return err
	}
	// Where a store is not mounted there is an empty directory, or none.
	for _, look := range m.Snapshots.List(ctx, "") {
		if look != nil {
			return fmt.Errorf("%w; whether the snapshot store is there cannot be told: %w", err, look)
		}
		return fmt.Errorf("%w: %w", err, cache.ErrPermanent)
	}
	return fmt.Errorf("%w; the snapshot store holds nothing at all: see that it is mounted", err)
}

// paced reads slowly.
type paced struct {
	wait  func(time.Duration) error
	in    io.Reader
	began time.Time
	n     int64
}

// waiting waits for a time, or until the context ends.
func waiting(ctx context.Context) func(time.Duration) error {
	return func(d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the proof was broken off: %w", ctx.Err())
		}
	}
}

// Read waits until its bytes are due.
func (p *paced) Read(b []byte) (int, error) {
	ahead := time.Duration(float64(p.n)/proveRate*float64(time.Second)) - time.Since(p.began)
	if ahead > time.Millisecond {
		if err := p.wait(ahead); err != nil {
			return 0, err
		}
	}
	n, err := p.in.Read(b)
	p.n += int64(n)
	return n, err
}
