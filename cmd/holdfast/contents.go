package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
)

// contents is what has to be known of data before they are moved.
type contents struct {
	keys, volatile, bytes int64
	// largest is the size of the largest entry, in bytes.
	largest   int64
	dbs       map[int]bool
	losses    map[string]*loss
	modules   map[string]int64
	functions []rdb.FunctionLibrary
	moduleAux int
	imports   int
	// memory is about what the data take on a server; see estimate.
	memory int64
}

// loss is content of a kind that the target does not hold.
type loss struct {
	keys  int64
	first error // names the first key
}

// What a server needs for a key besides the key's and value's own bytes, as
// measured on Redis 6.0 and 7.0 and Valkey 8.1 and 9.1 with a million mixed keys:
// there the estimate was between a quarter too low and a twentieth too high. It is
// too low where values are compressed in the file.
const (
	keyOverhead    = 80
	expiryOverhead = 40
)

func (s *contents) estimate() int64 {
	return s.bytes + s.keys*keyOverhead + s.volatile*expiryOverhead
}

// highest is the highest number of a database, -1 without keys.
func (s *contents) highest() int {
	all := slices.Sorted(maps.Keys(s.dbs))
	if len(all) == 0 {
		return -1
	}
	return all[len(all)-1]
}

// surveyFiles reads files to their end and asks of every entry whether the target
// can hold it.
func surveyFiles(ctx context.Context, src *source.RDB, target rdb.Target, progress func(int64)) (*contents, error) {
	tr, err := rdb.NewTranscoder(target)
	if err != nil {
		return nil, err
	}
	s := &contents{dbs: map[int]bool{}, losses: map[string]*loss{}, modules: map[string]int64{}}
	for e, err := range src.Entries(ctx) {
		if err == nil {
			err = s.add(tr, e)
		}
		if err != nil {
			return nil, err
		}
		if s.keys&4095 == 0 {
			progress(s.keys)
		}
	}
	progress(s.keys)
	for _, f := range src.Files() {
		s.functions = append(s.functions, f.Functions...)
		s.moduleAux += len(f.ModuleAux)
		s.imports += f.SlotImports
	}
	s.memory = s.estimate()
	return s, nil
}

func (s *contents) add(tr *rdb.Transcoder, e *flow.Entry) error {
	s.keys++
	s.bytes += int64(e.Size())
	s.largest = max(s.largest, int64(e.Size()))
	s.dbs[e.DB] = true
	if e.HasExpiry() {
		s.volatile++
	}
	if e.Type == rdb.TypeModule2 {
		if name, err := rdb.ModuleName(e.Value); err == nil {
			s.modules[name]++
		}
	}
	_, _, err := tr.Transcode(e.Type, e.Version, e.Value)
	var lost *rdb.LossError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &lost):
		return fmt.Errorf("cannot read the value of key %q of database %d: %w", e.Key, e.DB, err)
	}
	kind := string(lost.What)
	if lost.Detail != "" {
		kind += " (" + lost.Detail + ")"
	}
	l := s.losses[kind]
	if l == nil {
		l = &loss{first: fmt.Errorf("the first is key %q of database %d", e.Key, e.DB)}
		s.losses[kind] = l
	}
	l.keys++
	return nil
}
