package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
)

// contents is what has to be known of data before they are moved.
type contents struct {
	keys, volatile, bytes int64
	// largest is the longest thing that has to be sent in one piece, in bytes: an entry,
	// or a string in a value that is too large for one command.
	largest   int64
	dec       rdb.Decoder
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

// surveyFiles reads files to their end and asks of every entry that is meant
// whether the target can hold it.
func surveyFiles(ctx context.Context, src *source.RDB, meant flow.Source, target rdb.Target, progress func(int64)) (*contents, error) {
	tr, err := rdb.NewTranscoder(target)
	if err != nil {
		return nil, err
	}
	s := &contents{dbs: map[int]bool{}, losses: map[string]*loss{}, modules: map[string]int64{}}
	for e, err := range meant.Entries(ctx) {
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

// value asks whether the target can hold a value.
func (s *contents) value(tr *rdb.Transcoder, e *flow.Entry) error {
	if e.Body != nil {
		return s.large(tr, e)
	}
	if e.Type == rdb.TypeModule2 {
		s.module(e.Value)
	}
	_, _, err := tr.Transcode(e.Type, e.Version, e.Value)
	return err
}

func (s *contents) module(head []byte) {
	if name, err := rdb.ModuleName(head); err == nil {
		s.modules[name]++
	}
}

// large asks of a value that is read as it comes. What a server may find too long
// of it is one string in it, since it is written in pieces; a module's value is not.
func (s *contents) large(tr *rdb.Transcoder, e *flow.Entry) error {
	body := &sized{r: e.Body}
	from := bufio.NewReaderSize(body, 64<<10)
	err := s.longest(tr, e, from)
	if _, rest := io.Copy(io.Discard, from); rest != nil {
		return rest // it is broken, whatever the target holds
	}
	s.bytes += body.n
	if e.Type == rdb.TypeModule2 {
		s.largest = max(s.largest, body.n)
	}
	return err
}

func (s *contents) longest(tr *rdb.Transcoder, e *flow.Entry, from *bufio.Reader) error {
	if e.Type == rdb.TypeModule2 {
		head, err := from.Peek(9)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		s.module(head)
	} else if tr.Target().Reads(e.Type, e.Version, nil) {
		return s.dec.WalkBody(e.Type, e.Version, from, func(el *rdb.Element) error {
			s.largest = max(s.largest, int64(el.Whole), int64(len(el.A)), int64(len(el.B)))
			return nil
		})
	}
	_, write, err := tr.Body(e.Type, e.Version, from)
	if err == nil {
		err = write(io.Discard)
	}
	return err
}

// sized counts what is read.
type sized struct {
	r io.Reader
	n int64
}

// Read counts.
func (s *sized) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	return n, err
}

func (s *contents) add(tr *rdb.Transcoder, e *flow.Entry) error {
	s.keys++
	s.bytes += int64(e.Size())
	s.largest = max(s.largest, int64(e.Size()))
	s.dbs[e.DB] = true
	if e.HasExpiry() {
		s.volatile++
	}
	err := s.value(tr, e)
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
