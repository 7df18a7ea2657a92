package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/testkit"
)

// fullOnce is a target that has no room once, after so many bytes, and then some again.
type fullOnce struct {
	sink.Target
	left int
}

func (f *fullOnce) Write(b []byte) (int, error) {
	if f.left > 0 && f.left <= len(b) {
		f.left = 0
		return 0, syscall.ENOSPC
	}
	f.left -= len(b)
	return f.Target.Write(b)
}

// A write that fails in the middle fails the backup, though the next would not.
func TestBackupWithoutRoom(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.Config("repl-diskless-sync-delay 0"))
	s.Must("DEBUG", "POPULATE", 50_000, "k", 100)
	for _, name := range []string{roadReplica, roadCommands} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target, err := sink.File(filepath.Join(dir, "x.rdb"))
			if err != nil {
				t.Fatal(err)
			}
			steps := &phases{group: newProgressGroup(io.Discard)}
			opt := at(s)
			r := road{name: name}
			src, err := r.openServer(t.Context(), &end{name: "s", server: &opt, db: -1}, steps)
			if err != nil {
				t.Fatal(err)
			}
			p := &passing{target: &fullOnce{target, 512 << 10}}
			_, err = writeBackup(t.Context(), src, &end{server: &opt}, p, func(int64) {})
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("it ended with %v", err)
			}
			steps.done()
			if err := errors.Join(src.Close(), target.Abort()); err != nil {
				t.Error(err)
			}
			if names := left(t, dir); len(names) > 0 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// What is read back is what was written, also where the file itself has no checksum.
func TestReadBack(t *testing.T) {
	file := []byte("REDIS0009\xfa\x04name\x05value\x00\x01k\x01v\xff\x00\x00\x00\x00\x00\x00\x00\x00")
	changed := bytes.Replace(file, []byte("value"), []byte("valve"), 1)
	p := &passing{target: nowhere{}}
	if _, err := p.Write(file); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (*checked, error) {
		return p.readBack(t.Context(), func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}, func(int64) {})
	}
	c, err := read(file)
	if err != nil || c.print.Totals().Keys != 1 || c.info.Checksummed {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := read(changed); err == nil || !strings.Contains(err.Error(), "is not what was written") {
		t.Errorf("a changed file: %v", err)
	}
	if _, err := read(file[:len(file)-9]); err == nil || !strings.Contains(err.Error(), "at byte") {
		t.Errorf("a cut file: %v", err)
	}
}
