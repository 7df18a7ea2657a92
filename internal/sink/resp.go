package sink

import (
	"context"
	"fmt"
	"io"

	"holdfast.dev/internal/flow"
)

// RESP writes the commands that make the entries, for "redis-cli --pipe" and any
// other client of that kind. Strings go as SET and PEXPIREAT, everything else as
// RESTORE, stamped with the oldest version that has the type, so that any server
// which knows the type takes it. There is nothing to undo and nothing to commit:
// what is written is out.
type RESP struct {
	w   io.Writer
	buf []byte
	db  int
	err error
}

// respChunk is how much is written at once.
const respChunk = 256 << 10

// NewRESP writes commands to w.
func NewRESP(w io.Writer) *RESP { return &RESP{w: w} }

// Write appends the commands of a batch.
func (s *RESP) Write(ctx context.Context, batch []flow.Entry) error {
	if s.err != nil {
		return s.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range batch {
		s.add(&batch[i])
		if len(s.buf) >= respChunk {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *RESP) add(e *flow.Entry) {
	if e.DB != s.db {
		s.buf = appendSelect(s.buf, e.DB)
		s.db = e.DB
	}
	text, ok := plainString(e)
	if !ok || e.Idle >= 0 || e.Freq >= 0 {
		s.buf = appendRestore(s.buf, e, oldest(e), true)
		return
	}
	bare := *e
	bare.ExpireAt = 0
	s.buf = appendSet(s.buf, &bare, text)
	if e.HasExpiry() {
		s.buf = appendExpire(s.buf, e)
	}
}

func (s *RESP) flush() error {
	n, err := s.w.Write(s.buf)
	if err == nil && n < len(s.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.err = fmt.Errorf("cannot write commands: %w", err)
		return s.err
	}
	s.buf = s.buf[:0]
	return nil
}

// Commit writes what is left.
func (s *RESP) Commit(context.Context) error {
	if s.err != nil {
		return s.err
	}
	return s.flush()
}

// Close does nothing: what is not committed is not written.
func (s *RESP) Close() error { return nil }
