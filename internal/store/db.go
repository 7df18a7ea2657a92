package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrLocked: another process (or another DB of this one) has the file open.
	ErrLocked = errors.New("the store is in use by another process")
	// ErrNewerFormat: the file was written by a newer release.
	ErrNewerFormat = errors.New("the store has a newer format")
	// ErrClosed: the DB was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrUncertain: the disk failed at the very end of a commit, so the change may
	// or may not be there after the next start. The DB takes no further changes
	// until it is opened again, which settles it.
	ErrUncertain = errors.New("whether the change was stored is uncertain")
)

const (
	// lockTimeout is how long a file that is locked is tried again. It covers the
	// moment in which a process forked by a killed holder has not called exec yet.
	lockTimeout = 500 * time.Millisecond
	// mapSize is the address space reserved for the file. Below it a growing file
	// needs no remapping, so a commit never waits for readers.
	mapSize = 64 << 20
	// draftMark stands in the names of files that are being made.
	draftMark = ".draft-"
)

// DB is an open store. Its methods may be called from any goroutine.
type DB struct {
	path     string
	bolt     *bolt.DB
	cache    cache
	watchers watchers
	trackers trackers
	writer   writer
	closed   atomic.Bool
	once     sync.Once
	closeErr error
}

// Open opens the store in the file at path, makes it if there is none, and brings
// an older format up to date. The directory must exist. The file is readable by
// its owner alone. Errors: [ErrLocked], [ErrNewerFormat], or what the disk says.
func Open(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, migrations)
}

func open(ctx context.Context, path string, migrations []migration) (*DB, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot open the store %s: %w", path, err)
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("cannot create the store %s: %w", path, err)
	}
	b, err := openBolt(path)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("cannot open %s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the store %s: %w", path, err)
	}
	if err := prepare(b, path, migrations); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	db := &DB{path: path, bolt: b}
	db.writer.db = db
	return db, nil
}

func openBolt(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true,
	})
}

// prepare does what the holder of the lock does before anybody uses the file.
func prepare(b *bolt.DB, path string, migrations []migration) error {
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("cannot protect the store: %w", err)
	}
	if err := removeDrafts(path); err != nil {
		return err
	}
	return migrate(b, path, migrations)
}

// create makes an empty database at path if there is nothing. It is made beside
// it, synced and linked, so that whatever stands at path is complete.
func create(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+draftMark+"*")
	if err != nil {
		return err
	}
	draft := f.Name()
	if err := f.Close(); err != nil {
		return err
	}
	if err := publish(draft, path); err != nil {
		return errors.Join(err, ignoreGone(os.Remove(draft)))
	}
	return errors.Join(ignoreGone(os.Remove(draft)), syncDir(dir))
}

// publish makes an empty database of the file draft and links it to path.
func publish(draft, path string) error {
	b, err := openBolt(draft)
	if err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	if err := os.Link(draft, path); err != nil {
		// Another process may have been faster, and have cleared our draft away too.
		if _, statErr := os.Stat(path); statErr != nil {
			return err
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeDrafts clears away what creations that were killed have left.
func removeDrafts(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot list drafts of the store: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(path)+draftMark) {
			continue
		}
		if err := ignoreGone(os.Remove(filepath.Join(dir, e.Name()))); err != nil {
			return fmt.Errorf("cannot remove a draft of the store: %w", err)
		}
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Path is the file that the store is in.
func (db *DB) Path() string { return db.path }

// Close waits for the transactions that are under way, then lets go of the file.
// Calling it again gives the same result.
func (db *DB) Close() error {
	db.once.Do(func() {
		db.writer.mu.Lock()
		db.closed.Store(true)
		db.writer.mu.Unlock()
		if err := db.bolt.Close(); err != nil {
			db.closeErr = fmt.Errorf("cannot close the store %s: %w", db.path, err)
		}
	})
	return db.closeErr
}

// View runs fn on one consistent, committed state. It never waits for an Update.
// The Tx is good until fn returns.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot read the store: %w", err)
	}
	if db.closed.Load() {
		return ErrClosed
	}
	btx, err := db.bolt.Begin(false)
	if err != nil {
		return fmt.Errorf("cannot read the store: %w", closedOr(err))
	}
	defer func() { _ = btx.Rollback() }() // a read has nothing to lose
	k := newBoltTx(btx, false)
	tx := &Tx{kv: k, cache: &db.cache, base: k.rev}
	defer tx.end()
	return fn(tx)
}

func closedOr(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
