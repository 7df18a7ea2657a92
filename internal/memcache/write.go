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
	gone int // deletions in out
	// Stored, Left (was there already, with Add) and Refused are how items have fared;
	// Expired ones have not been written.
	Stored, Left, Refused, Expired int64
	// Deleted is what Delete was asked for, whether it was there or not; what had another number by then
	// is in Left.
	Deleted int64
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
func (w *Writer) Write(ctx context.Context, i *Item) error { return w.put(ctx, i, 0) }

// Replace is Write where the server has the version of this CAS number and no other; what is not so is in Left.
func (w *Writer) Replace(ctx context.Context, i *Item, cas uint64) error { return w.put(ctx, i, cas) }

// Delete removes a key, where cas is not 0 only the version of that number.
func (w *Writer) Delete(ctx context.Context, key []byte, cas uint64) error {
	w.out.WriteString("md ")
	coded := writeKey(&w.out, key)
	w.out.WriteString(" q")
	if cas > 0 {
		w.out.WriteString(" C")
		w.number(cas)
	}
	if coded {
		w.out.WriteString(" b")
	}
	w.out.WriteString("\r\n")
	w.gone++
	return w.full(ctx)
}

// nearlyFull tells whether the next deletion may be the one at which everything is sent.
func (w *Writer) nearlyFull() bool { return w.out.Len() > batchBytes-2*usualLine }

// full flushes what has become enough.
func (w *Writer) full(ctx context.Context) error {
	if w.out.Len() < batchBytes {
		return nil
	}
	return w.Flush(ctx)
}

func (w *Writer) put(ctx context.Context, i *Item, cas uint64) error {
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
	switch {
	case cas > 0:
		w.out.WriteString(" C")
		w.number(cas)
	case w.mode == Add:
		w.out.WriteString(" ME")
	}
	if coded {
		w.out.WriteString(" b")
	}
	w.out.WriteString("\r\n")
	w.out.Write(i.Value)
	w.out.WriteString("\r\n")
	w.sent++
	return w.full(ctx)
}

func (w *Writer) number(n uint64) { w.out.Write(strconv.AppendUint(w.out.AvailableBuffer(), n, 10)) }

// Flush returns once the server has taken or refused everything that was written.
func (w *Writer) Flush(ctx context.Context) error {
	if w.sent+w.gone == 0 {
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
	// Of deletions that fail there are only those in Left.
	w.Stored += int64(max(w.sent-failed, 0))
	w.Deleted += int64(w.gone)
	w.sent, w.gone = 0, 0
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
			if failed > w.sent+w.gone {
				return failed, fmt.Errorf("%w: %d failures of %d writes", ErrReply, failed, w.sent+w.gone)
			}
			return failed, nil
		}
		failed++
		// There already; or of another number, or not there, where a number was asked for.
		if w.mode == Add && strings.HasPrefix(line, "NS") || strings.HasPrefix(line, "EX") || strings.HasPrefix(line, "NF") {
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
