package sink

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Target takes the bytes of one file. Exactly one of Commit and Abort takes
// effect; Abort after Commit does nothing.
type Target interface {
	io.Writer
	// Commit makes the file durable and visible under its name.
	Commit(ctx context.Context) error
	// Abort leaves nothing behind.
	Abort() error
}

// Staged is a Target that can be read back before it is committed.
type Staged interface {
	Target
	// Reread opens what was written so far.
	Reread() (*os.File, error)
	// Flush makes what was written so far durable. Commit does so too; what has been
	// flushed it need not wait for. Nothing may be written meanwhile.
	Flush() error
}

// RDB writes an RDB file.
type RDB struct {
	t    Target
	w    *rdb.Writer
	tr   *rdb.Transcoder
	err  error
	done bool
}

// NewRDB begins an RDB file of a version. It says in its fields that it is ours
// and when it was made.
func NewRDB(t Target, h rdb.Header, aux ...rdb.Aux) (*RDB, error) {
	w, err := rdb.NewWriter(t, h)
	if err != nil {
		return nil, errors.Join(err, t.Abort())
	}
	// Who will load the file, and with what modules, is not known here.
	tr, err := rdb.NewTranscoder(rdb.Target{Version: h.Version, Modules: true})
	if err != nil {
		return nil, errors.Join(err, t.Abort())
	}
	fields := append([]rdb.Aux{
		{Name: "redis-bits", Value: "64"},
		{Name: "ctime", Value: strconv.FormatInt(time.Now().Unix(), 10)},
		{Name: "written-by", Value: "holdfast"},
	}, aux...)
	if h.Version >= 7 {
		for _, a := range fields {
			if err := w.Aux(a.Name, a.Value); err != nil {
				return nil, errors.Join(err, t.Abort())
			}
		}
	}
	return &RDB{t: t, w: w, tr: tr}, nil
}

// Function appends a library of functions; they come before the first entry.
func (s *RDB) Function(f rdb.FunctionLibrary) error {
	if s.err == nil {
		s.err = s.w.Function(f)
	}
	return s.err
}

// Write appends a batch.
func (s *RDB) Write(ctx context.Context, batch []flow.Entry) error {
	if s.err != nil {
		return s.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range batch {
		if err := s.write(&batch[i]); err != nil {
			s.err = err
			return err
		}
	}
	return nil
}

func (s *RDB) write(e *flow.Entry) error {
	if e.Body != nil {
		return s.writeBody(e)
	}
	o, err := translate(s.tr, e)
	if err != nil {
		return keyError("write", e, err)
	}
	out := rdb.Entry{DB: o.DB, Key: o.Key, Type: o.Type, Value: o.Value, ExpireAt: o.ExpireAt, Idle: o.Idle, Freq: o.Freq}
	if err := s.w.Write(&out); err != nil {
		return keyError("write", e, err)
	}
	return nil
}

// writeBody writes a value that is read as it is written. When that fails there is
// a part of it in the file, which cannot be committed any more.
func (s *RDB) writeBody(e *flow.Entry) error {
	typ, write, err := s.tr.Body(e.Type, e.Version, e.Body)
	if err != nil {
		return keyError("write", e, err)
	}
	out := rdb.Entry{DB: e.DB, Key: e.Key, ExpireAt: e.ExpireAt, Idle: e.Idle, Freq: e.Freq}
	if err := s.w.WriteFunc(&out, typ, write); err != nil {
		return keyError("write", e, err)
	}
	return nil
}

// Commit ends the file with its checksum and makes it visible.
func (s *RDB) Commit(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	if s.done {
		return nil
	}
	if err := s.w.Close(); err != nil {
		s.err = err
		return err
	}
	if err := s.t.Commit(ctx); err != nil {
		s.err = err
		return err
	}
	s.done = true
	return nil
}

// Transcoded counts what had to be written in another encoding for this file.
func (s *RDB) Transcoded() rdb.TranscodeStats { return s.tr.Stats() }

// Close leaves nothing behind unless the file was committed.
func (s *RDB) Close() error {
	if s.done {
		return nil
	}
	if s.err == nil {
		s.err = errors.New("the sink is closed")
	}
	return s.t.Abort()
}
