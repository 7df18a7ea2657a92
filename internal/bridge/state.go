package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// state is what a bridge knows of itself besides the journal.
type state struct {
	dir string
	// ReplID is the name of the history that the target was given; empty before it was.
	ReplID string `json:"replId"`
	// Undo is what has to be put back at the target.
	Undo map[string]string `json:"undo"`
}

const stateName = "bridge.json"

// loadState reads what an earlier bridge left, nothing if there was none.
func loadState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the journal's directory: %w", err)
	}
	s := &state{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what an earlier run left in %s: %w", dir, err)
	}
	return s, nil
}

// save writes it down; it is there whole or as it was before.
func (s *state) save() error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("cannot write down the state of the bridge: %w", err)
	}
	path := filepath.Join(s.dir, stateName)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("cannot write down the state of the bridge: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("cannot write down the state of the bridge: %w", err)
	}
	return nil
}

// remove forgets everything: there is nothing to go on with.
func (s *state) remove() error {
	err := os.Remove(filepath.Join(s.dir, stateName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, clearJournal(s.dir))
}
