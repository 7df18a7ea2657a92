package sink

import (
	"context"
	"fmt"
	"io"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
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
		if e := &batch[i]; e.Body != nil && rdb.ClassOf(e.Type) != rdb.ClassModule {
			if err := s.addPieces(e); err != nil {
				return keyError("write", e, err)
			}
			continue
		}
		if err := s.add(&batch[i]); err != nil {
			return keyError("write", &batch[i], err)
		}
		if len(s.buf) >= respChunk {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *RESP) selectDB(e *flow.Entry) {
	if e.DB != s.db {
		s.buf = appendSelect(s.buf, e.DB)
		s.db = e.DB
	}
}

func (s *RESP) add(e *flow.Entry) error {
	s.selectDB(e)
	if e.Body != nil { // a module's
		value, err := rdb.ReadHeld(e.Body)
		if err != nil {
			return err
		}
		held := *e
		held.Value, held.Body = value, nil
		e = &held
	}
	text, ok := plainString(e)
	if !ok || e.Idle >= 0 || e.Freq >= 0 {
		s.buf = appendRestore(s.buf, e, oldest(e), true)
		return nil
	}
	bare := *e
	bare.ExpireAt = 0
	s.buf = appendSet(s.buf, &bare, text)
	if e.HasExpiry() {
		s.buf = appendExpire(s.buf, e)
	}
	return nil
}

// addPieces writes the commands that make a large value, for a server as new as the
// one that it comes from. The key gets its expiry last; before, it is there in part.
func (s *RESP) addPieces(e *flow.Entry) error {
	s.selectDB(e)
	s.buf = appendUnlink(s.buf, e.Key)
	p := &pieces{out: respPieces{s}, key: e.Key, to: pieceTarget{Target: rdb.Target{Version: max(e.Version, 9)}}}
	p.restore = func(e *flow.Entry) ([]byte, error) { return appendRestore(nil, e, oldest(e), true), nil }
	if err := p.write(e, e.Body); err != nil {
		return err
	}
	if e.HasExpiry() {
		s.buf = appendExpire(s.buf, e)
	}
	return nil
}

// respPieces writes the commands of a large value.
type respPieces struct{ s *RESP }

func (o respPieces) commands(b []byte, _ int) error { return o.part(b) }
func (o respPieces) begin(b []byte) error           { return o.part(b) }
func (o respPieces) end(b []byte) error             { return o.part(b) }

func (o respPieces) part(b []byte) error {
	o.s.buf = append(o.s.buf, b...)
	if len(o.s.buf) < respChunk {
		return nil
	}
	return o.s.flush()
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
