package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/verify"
)

// seedPart is the file of one node group as it is written, beside a witness of
// what gets into it. One without a path is for the witness alone.
type seedPart struct {
	want cache.SeedPart
	file *os.File
	seen *witness

	mu sync.Mutex // several files are read at a time
	w  *rdb.Writer

	finished, placed bool
}

func newSeedPart(ctx context.Context, want cache.SeedPart, target rdb.Target) (p *seedPart, err error) {
	p = &seedPart{want: want}
	out := io.Discard
	if want.Path != "" {
		if err := os.MkdirAll(filepath.Dir(want.Path), 0o700); err != nil {
			return nil, fmt.Errorf("cannot create the node's directory: %w", err)
		}
		p.file, err = os.OpenFile(p.name(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("cannot create the seed file: %w", err)
		}
		out = p.file
	}
	p.seen = newWitness(ctx, "the seed of node group "+want.NodeGroupID)
	p.w, err = rdb.NewTargetWriter(io.MultiWriter(out, p.seen), target)
	if err == nil {
		err = p.w.Aux("written-by", "holdfast")
	}
	if err != nil {
		return nil, errors.Join(err, p.abort())
	}
	return p, nil
}

// name is what the file is called until it is whole.
func (p *seedPart) name() string { return p.want.Path + ".part" }

func (p *seedPart) write(e *rdb.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(e)
}

// finish ends the file, which is on disk then, and says what it holds.
func (p *seedPart) finish() (*verify.Fingerprint, cache.Manifest, error) {
	if err := p.w.Close(); err != nil {
		return nil, cache.Manifest{}, err
	}
	p.finished = true
	print, man, err := p.seen.finish()
	if err == nil && p.file != nil {
		err = p.file.Sync()
	}
	return print, man, err
}

// place gives a finished file its name.
func (p *seedPart) place() error {
	if p.file == nil {
		return nil
	}
	if err := p.file.Close(); err != nil {
		return err
	}
	p.placed = true
	return rename(p.name(), p.want.Path)
}

// abort leaves nothing behind of a part that was not placed.
func (p *seedPart) abort() error {
	if !p.finished {
		p.finished = true
		p.seen.abort()
	}
	if p.file == nil || p.placed {
		return nil
	}
	p.placed = true
	// That it cannot be closed changes nothing: it goes.
	_ = p.file.Close()
	return gone(os.Remove(p.name()))
}
