package sink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// stream makes the commands for a stream: first it is there with its groups and
// without entries, then the entries come, last what it knows of itself. In the other
// order a group's pending entries that were deleted since could not be made.
//
// The groups come last in a value, so it is read twice.
func (p *pieces) stream(e *flow.Entry, value io.Reader) (err error) {
	twice, ok := value.(io.ReadSeeker)
	if !ok {
		s, err := newSpool(value)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		twice = s.f
	}
	skeleton := *e
	skeleton.Key, skeleton.Body, skeleton.ExpireAt, skeleton.Idle, skeleton.Freq = p.key, nil, 0, -1, -1
	if skeleton.Value, err = rdb.StreamSkeleton(e.Type, twice); err != nil {
		return err
	}
	if _, err := twice.Seek(0, io.SeekStart); err != nil {
		return err
	}
	cmd, err := p.restore(&skeleton)
	if err != nil {
		return err
	}
	if err := p.out.commands(cmd, 1); err != nil {
		return err
	}
	var d rdb.Decoder
	if err := d.WalkBody(e.Type, e.Version, twice, p.streamElement); err != nil {
		return err
	}
	return p.flush()
}

// spool is a value on disk, in the directory for temporary files (TMPDIR).
type spool struct{ f *os.File }

func newSpool(value io.Reader) (*spool, error) {
	f, err := os.CreateTemp("", "holdfast-stream-*")
	if err != nil {
		return nil, fmt.Errorf("cannot put a large stream aside: %w", err)
	}
	s := &spool{f}
	// Nobody else needs its name, and so it is gone with us, whatever happens.
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if _, err = io.Copy(f, value); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot put a large stream aside: %w", err), s.close())
	}
	return s, nil
}

func (s *spool) close() error { return s.f.Close() }

func (p *pieces) streamElement(e *rdb.Element) error {
	switch e.Kind {
	case rdb.KindEntry:
		return p.entry(e)
	case rdb.KindStream:
		return p.streamMeta(&e.Meta)
	}
	return nil // the groups are there
}

func streamID(id rdb.StreamID) string {
	b := strconv.AppendUint(make([]byte, 0, 42), id.Ms, 10)
	return string(strconv.AppendUint(append(b, '-'), id.Seq, 10))
}

func (p *pieces) entry(e *rdb.Element) error {
	p.count++
	cmd := resp.AppendString(p.head(p.one[:0], "XADD", 1+len(e.Pairs)), streamID(e.ID))
	for _, a := range e.Pairs {
		if err := p.fits(int64(len(a))); err != nil {
			return err
		}
		cmd = resp.AppendBulk(cmd, a)
	}
	p.one = cmd
	return p.follow(cmd)
}

// streamMeta sets the last id, and on servers since Redis 7.0 how many entries were
// ever added and the greatest deleted id.
func (p *pieces) streamMeta(m *rdb.StreamMeta) error {
	args := []string{streamID(m.Last)}
	if m.Full && p.to.Version >= 10 {
		args = append(args, "ENTRIESADDED", strconv.FormatUint(m.Added, 10), "MAXDELETEDID", streamID(m.MaxDeleted))
	}
	cmd := p.head(nil, "XSETID", len(args))
	for _, a := range args {
		cmd = resp.AppendString(cmd, a)
	}
	return p.follow(cmd)
}
