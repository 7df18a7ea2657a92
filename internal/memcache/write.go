package memcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Mode of writing.
type Mode byte

const (
	// Set replaces what is there.
	Set Mode = iota
	// Add leaves what is there: it may be newer.
	Add
)

const (
	// batchBytes is how much is written before the server is asked how it went.
	batchBytes = 256 << 10
	// mostSaid of one batch's failures is told.
	mostSaid = 3
)

// Writer writes items to one server. It is not for several goroutines.
type Writer struct {
	s    *Server
	c    *conn
	mode Mode
	keep bool // the server lets the number of a version be given
	out  bytes.Buffer
	sent int // items in out
	// Stored, Left (was there already, with Add) and Refused are how items have fared;
	// Expired ones have not been written.
	Stored, Left, Refused, Expired int64
	// KeepsCAS tells whether the server takes the items' CAS numbers.
	KeepsCAS bool
	said     []string
}

// NewWriter connects to a server.
func NewWriter(ctx context.Context, s *Server, mode Mode) (*Writer, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	keep := c.since(1, 6, 21)
	return &Writer{s: s, c: c, mode: mode, keep: keep, KeepsCAS: keep}, nil
}

// Write takes an item; what has become of it is known after Flush.
func (w *Writer) Write(ctx context.Context, i *Item) error {
	now := time.Now()
	if i.Expired(now) {
		w.Expired++
		return nil
	}
	if len(i.Key) == 0 || len(i.Key) > longestKey {
		w.refuse(fmt.Sprintf("a key of %d bytes", len(i.Key)))
		return nil
	}
	w.out.WriteString("ms ")
	coded := writeKey(&w.out, i.Key)
	w.out.WriteByte(' ')
	w.number(uint64(len(i.Value)))
	w.out.WriteString(" q F")
	w.number(uint64(i.Flags))
	if !i.ExpireAt.IsZero() {
		// As a time of the calendar: how long the way takes does not matter.
		w.out.WriteString(" T")
		w.number(uint64(max(i.ExpireAt.Unix(), 1)))
	}
	if w.keep && i.CAS > 0 {
		w.out.WriteString(" E")
		w.number(i.CAS)
	}
	if w.mode == Add {
		w.out.WriteString(" ME")
	}
	if coded {
		w.out.WriteString(" b")
	}
	w.out.WriteString("\r\n")
	w.out.Write(i.Value)
	w.out.WriteString("\r\n")
	w.sent++
	if w.out.Len() < batchBytes {
		return nil
	}
	return w.Flush(ctx)
}

func (w *Writer) number(n uint64) { w.out.Write(strconv.AppendUint(w.out.AvailableBuffer(), n, 10)) }

// Flush returns once the server has taken or refused everything that was written.
func (w *Writer) Flush(ctx context.Context) error {
	if w.sent == 0 {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return fmt.Errorf("cannot write to %s: %w", w.s.Addr, err)
	}
	return nil
}

func (w *Writer) flush(ctx context.Context) error {
	w.out.WriteString("mn\r\n")
	if err := w.c.alive(ctx); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := w.c.Write(w.out.Bytes())
		wrote <- err
	}()
	failed, err := w.replies(ctx)
	if err != nil {
		_ = w.c.Close()
		return errors.Join(err, ignoreClosed(<-wrote))
	}
	if err := <-wrote; err != nil {
		return err
	}
	w.Stored += int64(w.sent - failed)
	w.sent = 0
	w.out.Reset()
	return nil
}

// replies reads what the quiet ones say after all, up to the no-op.
func (w *Writer) replies(ctx context.Context) (failed int, err error) {
	for {
		if err := w.c.alive(ctx); err != nil {
			return failed, err
		}
		line, err := w.c.line()
		if err != nil {
			return failed, err
		}
		if line == "MN" {
			if failed > w.sent {
				return failed, fmt.Errorf("%w: %d failures of %d writes", ErrReply, failed, w.sent)
			}
			return failed, nil
		}
		failed++
		if w.mode == Add && strings.HasPrefix(line, "NS") {
			w.Left++
			continue
		}
		w.refuse(line)
	}
}

func (w *Writer) refuse(why string) {
	w.Refused++
	if len(w.said) < mostSaid {
		w.said = append(w.said, why)
	}
}

// Refusals are the first few reasons of those that were refused.
func (w *Writer) Refusals() []string { return w.said }

// Close ends the connection; what was not flushed is not written.
func (w *Writer) Close() error { return w.c.close() }
