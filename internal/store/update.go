package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// maxBatch bounds how many Updates share a commit, and so how long the first of
// them waits.
const maxBatch = 256

// writer serialises Updates and lets those that arrive while another one is being
// synced share the next sync: each runs its closure in turn in the same
// transaction, and whoever sees nobody waiting behind it commits for all. A
// single Update waits for nobody; fifty at once cost about as much as two.
type writer struct {
	db      *DB
	waiting atomic.Int64
	mu      sync.Mutex // held while a closure runs and during the commit
	batch   *batch     // under mu: the transaction that others have left open
	broken  error      // under mu: wraps ErrUncertain once that has happened
}

// batch is one transaction of the backend with the changes of several Updates.
type batch struct {
	kv      *boltTx
	base    uint64 // the last committed revision before it
	n       int
	changes []change
	done    chan struct{} // closed after the commit
	err     error         // of the commit; read after done
}

// Update runs fn and commits what it did, durably, before it returns. Updates
// happen one after the other. If fn returns an error nothing is changed and the
// error is returned as it is. fn may be run again (see the package comment).
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	w := &db.writer
	w.waiting.Add(1)
	w.mu.Lock()
	last := w.waiting.Add(-1) == 0
	b, err := w.run(ctx, fn)
	if w.batch != nil && (last || w.batch.n >= maxBatch) {
		w.commit()
	}
	w.mu.Unlock()
	if err != nil || b == nil {
		return err
	}
	<-b.done
	return b.err
}

// run executes fn in the open batch. It returns the batch to wait for, nil if fn
// changed nothing. A panic of fn takes its changes back and goes on to the caller;
// what others have done is committed first, as nobody may be waiting behind.
func (w *writer) run(ctx context.Context, fn func(*Tx) error) (*batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot change the store: %w", err)
	}
	b, err := w.begin()
	if err != nil {
		return nil, err
	}
	returned := false
	defer func() {
		if !returned {
			b.takeBack()
			w.commit()
			w.mu.Unlock()
		}
	}()
	tx := &Tx{kv: b.kv, cache: &w.db.cache, base: b.base}
	err = fn(tx)
	tx.end()
	returned = true
	if err != nil {
		b.takeBack()
		return nil, err
	}
	return b, w.keep(b)
}

// keep adds what the closure did to the batch. A closure that only read still
// waits for the batch when there are changes in it, since it may have seen them.
func (w *writer) keep(b *batch) error {
	b.n++
	changes, err := b.kv.keep()
	if err != nil {
		b.takeBack()
		return fmt.Errorf("cannot change the store: %w", err)
	}
	b.changes = append(b.changes, changes...)
	return nil
}

// begin returns the open batch, or opens one.
func (w *writer) begin() (*batch, error) {
	if w.db.closed.Load() {
		return nil, ErrClosed
	}
	if w.broken != nil {
		return nil, w.broken
	}
	if w.batch != nil {
		return w.batch, nil
	}
	btx, err := w.db.bolt.Begin(true)
	if err != nil {
		return nil, fmt.Errorf("cannot change the store: %w", closedOr(err))
	}
	k := newBoltTx(btx, true)
	w.batch = &batch{kv: k, base: k.rev, done: make(chan struct{})}
	return w.batch, nil
}

// takeBack removes the changes of the closure that ran last. If even that fails
// the whole batch is lost, and its commit says so.
func (b *batch) takeBack() {
	if err := b.kv.undo(); err != nil {
		b.err = errors.Join(b.err, err)
	}
}

// commit ends the open batch and tells all who wait for it.
func (w *writer) commit() {
	b := w.batch
	w.batch = nil
	if b == nil {
		return
	}
	defer close(b.done)
	if b.err != nil || len(b.changes) == 0 {
		if err := b.kv.tx.Rollback(); err != nil {
			b.err = errors.Join(b.err, fmt.Errorf("cannot roll back: %w", err))
		}
		return
	}
	w.db.trackers.expect(b.changes, b.kv.rev)
	if err := b.kv.tx.Commit(); err != nil {
		b.err = w.failed(b, err)
		return
	}
	w.db.cache.forget(b.changes)
	w.db.watchers.notify(b.changes)
}

// failed finds out what a commit that ended with err has done. Nearly always
// nothing. If the new revision can be read though, only its last sync has failed:
// what a power cut would leave is unknown then, and building further on it would
// hide that.
func (w *writer) failed(b *batch, err error) error {
	seen := b.base
	readErr := w.db.View(context.Background(), func(tx *Tx) error {
		seen = tx.Revision()
		return nil
	})
	if readErr == nil && seen == b.base {
		return fmt.Errorf("cannot store the change: %w", err)
	}
	w.broken = fmt.Errorf("%w: %w", ErrUncertain, errors.Join(err, readErr))
	return w.broken
}
