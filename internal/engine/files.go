package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"holdfast.dev/internal/cache"
)

// The files of a node's directory.
const (
	confFile = "engine.conf"
	logFile  = "engine.log"
	dumpFile = "dump.rdb"
	// seedFile has a name of its own, so that nothing an engine writes by itself
	// can be taken for a seed.
	seedFile = "seed.rdb"
	aofFile  = "appendonly.aof" // before 7.0, and the prefix of what is in aofDir
	aofDir   = "appendonlydir"
)

// SeedPath is the file that a Seeded node loads. It has to be complete before Start.
func (e *Engines) SeedPath(spec cache.NodeSpec) string {
	region, id := cache.SplitKey(spec.Key)
	return filepath.Join(e.cfg.DataDir, "nodes", region, id, seedFile)
}

// makeDir makes the node's directory, or makes an existing one private again.
func (n *node) makeDir() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the node's directory: %w", err)
	}
	if err := os.Chmod(n.dir, 0o700); err != nil {
		return fmt.Errorf("cannot close the node's directory to others: %w", err)
	}
	return nil
}

// sweep removes the data that earlier runs left and that the coming one must not
// load: a node without persistence starts empty. Nothing may run in the directory.
func (n *node) sweep(spec cache.NodeSpec) error {
	// With a seed the append-only file of an earlier run is not read, and not lost
	// either before the data of the seed has taken its place.
	keepsLog := spec.Parameters["appendonly"] == "yes"
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return fmt.Errorf("cannot look into the node's directory: %w", err)
	}
	for _, f := range entries {
		name := f.Name()
		stale := name == dumpFile || strings.HasPrefix(name, "temp-") || strings.HasPrefix(name, confFile+".") || strings.HasPrefix(name, nodesFile+".")
		stale = stale || !keepsLog && (name == aofFile || name == aofDir)
		if !stale {
			continue
		}
		if err := os.RemoveAll(filepath.Join(n.dir, name)); err != nil {
			return fmt.Errorf("cannot remove what an earlier run left: %w", err)
		}
	}
	return nil
}

// writeConf writes the configuration file.
func (n *node) writeConf(lines []directive) error {
	var b strings.Builder
	b.WriteString("# Written by Holdfast at every start; changes made here are lost.\n")
	for _, l := range lines {
		fmt.Fprintln(&b, l)
	}
	return n.writeWhole(confFile, b.String())
}

// writeWhole writes a file of the node's directory, whole or not at all.
func (n *node) writeWhole(name, text string) (err error) {
	f, err := os.CreateTemp(n.dir, name+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(n.dir, name))
}

// checkSeed makes sure that there is something to load: an engine that does not
// find the file would start empty, as if all were well.
func (n *node) checkSeed() error {
	fi, err := os.Stat(filepath.Join(n.dir, seedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: its seed file is missing", cache.ErrPermanent)
	}
	if err != nil {
		return fmt.Errorf("cannot look at the seed file: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() == 0 {
		return fmt.Errorf("%w: its seed file is empty", cache.ErrPermanent)
	}
	return nil
}

// remove deletes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
