package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The states of a Record.
const (
	StateRunning   = "running"
	StateHeld      = "held"      // writes at the source may be held back
	StateSwitching = "switching" // clients may be at the target already
	StateSwitched  = "switched"  // it is over
)

// Record is what a Checkpoint keeps.
type Record struct {
	// Source, Target and Road are what the migration was begun with.
	Source string `json:"source"`
	Target string `json:"target"`
	Road   string `json:"road"`
	// SourceNodes and TargetNodes are the ids of the clusters' nodes, where these are clusters.
	SourceNodes []string `json:"sourceNodes,omitempty"`
	TargetNodes []string `json:"targetNodes,omitempty"`
	// Settings are all else that must not change on the way.
	Settings string    `json:"settings"`
	Began    time.Time `json:"began"`
	Saved    time.Time `json:"saved"`
	State    string    `json:"state"`
	// TargetID is what Options.Target said; another one has other data.
	TargetID string `json:"targetId"`
	// Written is what Options.Written said when StateSwitching began.
	Written string `json:"written,omitempty"`
	// Undo is what has to be put back at the source.
	Undo json.RawMessage `json:"undo,omitempty"`
	// Carrier is the carrier's own.
	Carrier json.RawMessage `json:"carrier,omitempty"`
}

// Checkpoint is a directory in which a migration keeps what it needs to go on.
// One process at a time has it.
type Checkpoint struct {
	dir  string
	lock *os.File
	// Record is what was found, or the beginning of a new one.
	Record Record
	// Found: there was one.
	Found bool
}

const recordName = "migration.json"

// ErrBusy says that another process works on the same migration.
var ErrBusy = errors.New("another process works on this migration")

// OpenCheckpoint opens or makes the directory. Its files are for the user alone.
func OpenCheckpoint(dir string) (*Checkpoint, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the checkpoint's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the checkpoint: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%w (%s)", ErrBusy, dir)
	}
	c := &Checkpoint{dir: dir, lock: lock}
	if err := c.load(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) load() error {
	b, err := os.ReadFile(filepath.Join(c.dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the checkpoint: %w", err)
	}
	if err := json.Unmarshal(b, &c.Record); err != nil {
		return fmt.Errorf("cannot read the checkpoint %s: %w; delete the directory to begin anew", c.dir, err)
	}
	c.Found = true
	return nil
}

// HasCheckpoint tells whether a migration has noted anything in a directory.
func HasCheckpoint(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, recordName))
	return err == nil
}

// ReadRecord reads what a migration noted in a directory, which it may be working in;
// false where there is nothing that can be read.
func ReadRecord(dir string) (*Record, bool) {
	c := Checkpoint{dir: dir}
	err := c.load()
	return &c.Record, err == nil && c.Found
}

// Dir is the directory; a carrier may keep files of its own there.
func (c *Checkpoint) Dir() string { return c.dir }

// Save writes the record such that a crash leaves the old or the new one.
func (c *Checkpoint) Save() error {
	c.Record.Saved = time.Now().UTC()
	b, err := json.MarshalIndent(&c.Record, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save the checkpoint: %w", err)
	}
	path := filepath.Join(c.dir, recordName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot save the checkpoint: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("cannot save the checkpoint: %w", err)
	}
	return nil
}

// Forget deletes everything in the directory but the lock.
func (c *Checkpoint) Forget() error {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("cannot forget the checkpoint: %w", err)
	}
	for _, e := range list {
		if e.Name() != "lock" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir, e.Name())))
		}
	}
	c.Record, c.Found = Record{}, false
	return err
}

// Close lets others have it.
func (c *Checkpoint) Close() error { return c.lock.Close() }
