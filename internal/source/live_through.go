package source

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// through hands entries on as they are read, in place of spool and index. What was
// handed on last of a key is what was read last of it, so that whoever does the
// same to a target has there, in the end, what the server held at the instant.
//
// Whatever is handed on is noted by name in a file without a name. When reading
// begins anew, that tells what an abandoned attempt wrote and the server does not have any
// more: nothing else is ever deleted for that.
type through struct {
	yield func(*flow.Entry) bool
	names *keyLog
	// stale is where the names end that were handed on before this attempt.
	stale int64
	// held keeps what is read while others wait for the cut, for as long as holding says:
	// the target may be slow.
	held    *spool
	holding bool
	sent    int64
	id      string // of the server that was read first
}

// heldBytes are enough to be handed on between two tries of a cut.
const heldBytes = 4 << 20

func newThrough(dir string, yield func(*flow.Entry) bool) (*through, error) {
	held, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	names, err := newKeyLog(dir)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return &through{yield: yield, names: names, held: held}, nil
}

// Close gives the files back.
func (t *through) Close() error { return errors.Join(t.held.Close(), t.names.f.Close()) }

// anew begins another attempt.
func (t *through) anew() error {
	t.stale, t.holding, t.sent = t.names.size(), false, 0
	return t.held.reset()
}

func (t *through) keep(e *flow.Entry) error {
	if t.holding {
		_, err := t.held.add(e)
		return err
	}
	return t.hand(e)
}

// hand hands an entry on.
func (t *through) hand(e *flow.Entry) error {
	if !e.Deleted {
		t.sent++
		if err := t.names.add(e.DB, e.Key); err != nil {
			return err
		}
	}
	if !t.yield(e) {
		return errStop
	}
	return nil
}

// typeGone is the type, in what is held, of keys that do not exist. No value has it.
const typeGone = 0xff

func (t *through) gone(db int, key []byte) error {
	e := flow.Entry{DB: db, Key: key, Idle: -1, Freq: -1}
	if t.holding {
		e.Type = typeGone
		_, err := t.held.add(&e)
		return err
	}
	e.Deleted = true
	return t.hand(&e)
}

// letGo hands on what was held, in the order in which it was read.
func (t *through) letGo() error {
	if err := t.held.walk(func(_ int64, e *flow.Entry) error {
		if e.Type == typeGone {
			e = &flow.Entry{DB: e.DB, Key: e.Key, Deleted: true, Idle: -1, Freq: -1}
		}
		return t.hand(e)
	}); err != nil {
		return err
	}
	return t.held.reset()
}

// holdBack keeps to itself what is read while others wait; what it returns ends that.
func (a *liveAttempt) holdBack() (letGo func(error) error) {
	if a.through == nil {
		return func(err error) error { return err }
	}
	a.through.holding = true
	return func(err error) error {
		a.through.holding = false
		if err != nil {
			return err // everything is read again, or given up
		}
		return a.through.letGo()
	}
}

// keepListening sees that the connection that tells of changes is not taken for dead while
// whoever takes the entries makes us wait, as for a target that is started anew.
func (a *liveAttempt) keepListening(ctx context.Context) {
	if a.through == nil {
		return
	}
	ctx, a.unkeep = context.WithCancel(ctx)
	a.keeping.Go(func() {
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if a.cap.keepAlive() != nil {
				return // whoever reads will be told
			}
		}
	})
}

// relieve hands on what is held if it is much, while nobody waits.
func (a *liveAttempt) relieve() error {
	if a.through == nil || a.through.held.size() < heldBytes {
		return nil
	}
	return a.through.letGo()
}

// sweepStale deletes what earlier attempts handed on and the server has not any more. What
// is born afterwards is told of.
func (a *liveAttempt) sweepStale(ctx context.Context) error {
	t := a.through
	if t == nil || t.stale == 0 {
		return nil
	}
	s := &sweeper{a: a, keys: &liveKeys{}}
	err := t.names.walk(t.stale, func(db int, key []byte) error { return s.add(ctx, db, key) })
	if err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	return a.verify(ctx)
}

// liveSeen is a server that had keys, and how many it had when it was last asked.
type liveSeen struct {
	id   string // "" if none had any
	keys int64
}

// learn takes in what an attempt has seen.
func (h *liveSeen) learn(a *liveAttempt) {
	if a.id != "" && a.counted && (a.total > 0 || a.count > 0 || a.id == h.id) {
		h.id, h.keys = a.id, a.count
	}
}

// lostBy tells whether a server with other keys in number has lost them. One that was
// restarted may have lost what it wrote last, and clients may have written to it since
// it came back with nothing: fewer than half are taken for those.
func (h *liveSeen) lostBy(a *liveAttempt) bool {
	return h.id != "" && a.id != h.id && (a.total == 0 || a.total < h.keys-a.total)
}

// sameServer refuses to take a source that came back without its keys for one that has
// none, or few: a backup would be of nothing, a target would be emptied.
func (a *liveAttempt) sameServer() error {
	t := a.through
	switch {
	case a.blind:
		return nil
	case a.had.lostBy(a):
		return fmt.Errorf("%w: it had %d keys (%s) and has %d (%s). What was written of them is left as it is; have the source load its data again, or, if that was meant, begin anew with an empty target",
			ErrSourceEmptied, a.had.keys, a.had.id, a.total, a.id)
	case t == nil:
		return nil
	}
	if t.stale > 0 && a.total == 0 && a.id != t.id {
		return fmt.Errorf("%w: what was written of them is left as it is", ErrSourceEmptied)
	}
	if t.stale == 0 {
		t.id = a.id
	}
	return nil
}

// mayPause tells whether writes can be held back for a cut, as far as that can be known without
// doing so: a pause of no time at all holds nobody back.
func (s *Live) mayPause(ctx context.Context) (may bool, err error) {
	conn, err := resp.Dial(ctx, s.opt.WithDB(0))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, cmd := range [][]string{{"CLIENT", "PAUSE", "0", "WRITE"}, {"INFO", "commandstats"}} {
		if _, err := conn.Do(ctx, cmd...); err != nil {
			if resp.IsServerError(err) {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// keyLog is a file of names. A record: database, length of key (uvarint each), key.
type keyLog struct {
	f    *os.File
	buf  []byte
	done int64
}

func newKeyLog(dir string) (*keyLog, error) {
	f, err := namelessFile(dir)
	if err != nil {
		return nil, err
	}
	return &keyLog{f: f, buf: make([]byte, 0, spoolBuffer)}, nil
}

func (l *keyLog) size() int64 { return l.done + int64(len(l.buf)) }

func (l *keyLog) add(db int, key []byte) error {
	if len(l.buf)+len(key)+2*binary.MaxVarintLen64 > cap(l.buf) && len(l.buf) > 0 {
		if err := l.flush(); err != nil {
			return err
		}
	}
	l.buf = binary.AppendUvarint(l.buf, uint64(db))
	l.buf = binary.AppendUvarint(l.buf, uint64(len(key)))
	l.buf = append(l.buf, key...)
	return nil
}

func (l *keyLog) flush() error {
	if _, err := l.f.WriteAt(l.buf, l.done); err != nil {
		return fmt.Errorf("cannot note which keys were written: %w", err)
	}
	l.done += int64(len(l.buf))
	if l.buf = l.buf[:0]; cap(l.buf) > 2*spoolBuffer {
		l.buf = make([]byte, 0, spoolBuffer) // a name was huge
	}
	return nil
}

// walk visits the names up to an offset. What is visited may be added to meanwhile.
func (l *keyLog) walk(to int64, visit func(db int, key []byte) error) error {
	if l.done < to {
		if err := l.flush(); err != nil {
			return err
		}
	}
	in := bufio.NewReaderSize(io.NewSectionReader(l.f, 0, to), spoolBuffer)
	var key []byte
	for {
		db, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var n uint64
		if err == nil {
			n, err = binary.ReadUvarint(in)
		}
		if err == nil {
			if uint64(cap(key)) < n {
				key = make([]byte, n)
			}
			key = key[:n]
			_, err = io.ReadFull(in, key)
		}
		if err != nil {
			return fmt.Errorf("cannot read back which keys were written: %w", err)
		}
		if err := visit(int(db), key); err != nil {
			return err
		}
	}
}
