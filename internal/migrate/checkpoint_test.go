package migrate

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T, dir string) *Checkpoint {
	t.Helper()
	c, err := OpenCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCheckpointSurvives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := open(t, dir)
	if c.Found {
		t.Fatal("a new checkpoint was found")
	}
	c.Record.Source, c.Record.Carrier = "redis://a", json.RawMessage(`{"offset":7}`)
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	var carrier struct{ Offset int }
	if err := json.Unmarshal(again.Record.Carrier, &carrier); err != nil || !again.Found || again.Record.Source != "redis://a" || carrier.Offset != 7 {
		t.Errorf("found %t: %+v, %v", again.Found, again.Record, err)
	}
	info, err := os.Stat(filepath.Join(dir, recordName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestCheckpointIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := OpenCheckpoint(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second process got %v", err)
	}
}

func TestCheckpointForgets(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	if err := errors.Join(c.Save(), os.WriteFile(filepath.Join(dir, "journal"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != "lock" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := OpenCheckpoint(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("forgetting gave the lock away: %v", err)
	}
}

// A crash while it is written leaves the one before; a torn one is refused, not taken for a new beginning.
func TestCheckpointTorn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte(`{"source":"redis`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(dir); err == nil {
		t.Error("a torn checkpoint was taken")
	}
}
