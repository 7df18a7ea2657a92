package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// dataset is one shape of data: A are strings, B collections, C as many strings as
// a cache of 2 GB has, M is what the demonstration fills.
type dataset struct {
	name, what string
	dbs        int
	// scale is how many keys there are for each thousand of the lab's; 0 means 1000.
	scale int64
	// conf changes how the engine writes its file.
	conf []string
}

var (
	setA = dataset{name: "A", what: "16-byte keys, 100 random bytes each", dbs: 1}
	setB = dataset{name: "B", what: "collections of ten, one in five with a TTL", dbs: 1, scale: 200}
	setC = dataset{name: "C", what: "16-byte keys, 450 random bytes each", dbs: 1, scale: 4000}
	setM = dataset{name: "M", what: "every type, two databases, one in five with a TTL", dbs: 2}
	setZ = dataset{name: "Z", what: "A with values that repeat themselves, compressed in the file", dbs: 1, conf: []string{"rdbcompression yes"}}
)

// source makes the data anew; it is the same each time.
func (d dataset) source(keys int64) (flow.Source, error) {
	switch d.name {
	case setB.name:
		return &tens{keys: keys}, nil
	case setC.name:
		return &plain{keys: keys, size: 450}, nil
	case setA.name, setZ.name:
		return &plain{keys: keys, size: plainValue, repeats: d.name == setZ.name}, nil
	}
	shape, err := source.Preset("mixed", time.Now())
	if err != nil {
		return nil, err
	}
	shape.Keys, shape.Databases = keys, d.dbs
	return source.NewGenerate(shape)
}

// plain yields strings of 100 random bytes under keys of 16: those that the
// engines' own benchmark programs use.
type plain struct {
	keys int64
	size int
	// repeats makes values compressible: a fifth of each is random.
	repeats bool
}

const plainValue = 100

// Entries implements flow.Source.
func (p *plain) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		rng := rand.NewChaCha8([32]byte{1})
		raw := make([]byte, p.size)
		e := flow.Entry{Type: rdb.TypeString, Version: 9, Idle: -1, Freq: -1}
		for i := range p.keys {
			if i&1023 == 0 && ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			_, _ = rng.Read(raw) // it never fails
			if p.repeats {
				for at := 20; at < len(raw); at += 20 {
					copy(raw[at:], raw[:20])
				}
			}
			e.Key = fmt.Appendf(e.Key[:0], "key:%012d", i)
			e.Value = rdb.AppendString(e.Value[:0], raw)
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// Close implements flow.Source.
func (p *plain) Close() error { return nil }

// keysOf is how many keys a data set has.
func (l *lab) keysOf(d dataset) int64 {
	if d.scale == 0 {
		return l.keys()
	}
	return l.keys() * d.scale / 1000
}

// dataFile is an RDB file that an engine wrote itself.
type dataFile struct {
	path        string
	keys, bytes int64
}

// file returns the data set as a file of the build's own making.
func (l *lab) file(ctx context.Context, b catalog.Build, d dataset) (dataFile, error) {
	name := b.Name + "/" + d.name
	if f, ok := l.files[name]; ok {
		return f, nil
	}
	f, err := l.makeFile(ctx, b, d)
	if err != nil {
		return f, fmt.Errorf("cannot prepare %s for %s: %w", d.name, b.Name, err)
	}
	l.files[name] = f
	return f, nil
}

func (l *lab) makeFile(ctx context.Context, b catalog.Build, d dataset) (f dataFile, err error) {
	dir, err := l.mkdir("data")
	if err != nil {
		return f, err
	}
	f.path = filepath.Join(dir, "dump.rdb")
	if f.keys, err = l.writeFile(ctx, d, f.path); err != nil {
		return f, err
	}
	s, err := l.start(ctx, b, dir, d.conf...)
	if err != nil {
		return f, err
	}
	_, err = s.do(ctx, "SAVE")
	if err := errors.Join(err, s.stop()); err != nil {
		return f, err
	}
	st, err := os.Stat(f.path)
	if err != nil {
		return f, err
	}
	f.bytes = st.Size()
	return f, warm(f.path)
}

// writeFile writes the data set in the plain form that every engine loads.
func (l *lab) writeFile(ctx context.Context, d dataset, path string) (int64, error) {
	src, err := d.source(l.keysOf(d))
	if err != nil {
		return 0, err
	}
	defer src.Close()
	t, err := sink.File(path)
	if err != nil {
		return 0, err
	}
	dst, err := sink.NewRDB(t, rdb.HeaderOf(9))
	if err != nil {
		return 0, err
	}
	stats, err := flow.Run(ctx, src, dst, flow.Options{})
	return stats.Keys, errors.Join(err, dst.Close())
}

// warm reads a file, so that it is in the page cache.
func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

// loaded starts an engine with the data set in memory.
func (l *lab) loaded(ctx context.Context, b catalog.Build, d dataset) (*server, dataFile, error) {
	f, err := l.file(ctx, b, d)
	if err != nil {
		return nil, f, err
	}
	dir, err := l.mkdir("loaded")
	if err != nil {
		return nil, f, err
	}
	if err := os.Link(f.path, filepath.Join(dir, "dump.rdb")); err != nil {
		return nil, f, err
	}
	s, err := l.start(ctx, b, dir)
	return s, f, err
}
