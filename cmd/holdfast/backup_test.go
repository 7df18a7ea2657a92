package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
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
			if name == roadCommands {
				p.print = newFingerprinter(t.Context(), 0, nil)
				defer p.print.abort()
			}
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
	p := &passing{target: nowhere{}, print: newFingerprinter(t.Context(), 0, nil)}
	defer p.print.abort()
	if _, err := p.Write(file); err != nil {
		t.Fatal(err)
	}
	if c, err := p.found(); err != nil || c.print.Totals().Keys != 1 || c.info.Checksummed {
		t.Errorf("%+v, %v", c, err)
	}
	read := func(b []byte) error {
		return p.readBack(t.Context(), func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}, func(int64) {})
	}
	if err := read(file); err != nil {
		t.Error(err)
	}
	for what, b := range map[string][]byte{
		"changed":           bytes.Replace(file, []byte("value"), []byte("valve"), 1),
		"cut":               file[:len(file)-9],
		"with a hole":       append(make([]byte, 5), file[5:]...),
		"with zeros behind": append(bytes.Clone(file), 0),
		"empty":             nil,
	} {
		if err := read(b); err == nil || !strings.Contains(err.Error(), "is not what was written") {
			t.Errorf("a file %s: %v", what, err)
		}
	}
}

// A file that ends in its own checksum has, over everything, the same CRC-64 as any other such
// file, and as nothing but zeros: that is what a disk returns that has stored nothing.
func TestReadBackOfAChecksummedFile(t *testing.T) {
	whole := func(value string) []byte {
		b := []byte("REDIS0009\x00\x01k\x05" + value + "\xff")
		return binary.LittleEndian.AppendUint64(b, rdb.CRC64(0, b))
	}
	file := whole("value")
	p := &passing{target: nowhere{}}
	for i := range file { // by whatever pieces
		if _, err := p.Write(file[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for cut := range file {
		var one, two fileSum
		one.add(file)
		two.add(file[:cut])
		two.add(file[cut:])
		if one != two || one != p.sum {
			t.Errorf("in two parts, of %d bytes the first: %v, want %v", cut, two, one)
		}
	}
	for what, b := range map[string][]byte{"as it was": file, "of zeros": make([]byte, len(file)), "of another value": whole("other")} {
		err := p.readBack(t.Context(), func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}, func(int64) {})
		if good := what == "as it was"; (err == nil) != good {
			t.Errorf("a file %s: %v", what, err)
		}
	}
}

// spoiled is a file in which something else stands than was written, when it is
// looked at again: as where a disk or another program changes it.
type spoiled struct {
	sink.Staged
	path string
	by   func(f *os.File, size int64) error
}

func (s *spoiled) Reread() (*os.File, error) {
	parts, err := filepath.Glob(filepath.Join(filepath.Dir(s.path), ".*"))
	if err != nil || len(parts) != 1 {
		return nil, fmt.Errorf("%v, %w", parts, err)
	}
	f, err := os.OpenFile(parts[0], os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = s.by(f, st.Size())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return s.Staged.Reread()
}

// A file that is not what was written never gets its name, by whichever road it came.
func TestBackupOfWhatChanges(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("repl-diskless-sync-delay 0"))
	s.Must("DEBUG", "POPULATE", 20_000, "k", 100)
	for what, by := range map[string]func(f *os.File, size int64) error{
		"nothing": func(*os.File, int64) error { return nil },
		"a byte in its middle": func(f *os.File, size int64) error {
			b := make([]byte, 1)
			_, err := f.ReadAt(b, size/2)
			b[0] ^= 4
			_, werr := f.WriteAt(b, size/2)
			return errors.Join(err, werr)
		},
		"a hole": func(f *os.File, size int64) error {
			_, err := f.WriteAt(make([]byte, 4096), size/2)
			return err
		},
		"its end missing": func(f *os.File, size int64) error { return f.Truncate(size - 1) },
		"more at its end": func(f *os.File, size int64) error { return f.Truncate(size + 1) },
	} {
		for _, name := range []string{roadReplica, roadCommands} {
			t.Run(what+" "+name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.rdb")
				err := backupInto(t, &road{name: name}, at(s), path, by)
				if what == "nothing" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), "is not what was written") {
					t.Errorf("it ended with %v", err)
				}
				if names := left(t, filepath.Dir(path)); len(names) > 0 {
					t.Errorf("left behind: %v", names)
				}
			})
		}
	}
}

// backupInto does what backup does, with a file that is changed before it is read back.
func backupInto(t *testing.T, r *road, opt resp.Options, path string, by func(*os.File, int64) error) (err error) {
	t.Helper()
	steps := &phases{group: newProgressGroup(io.Discard)}
	defer steps.done()
	e := &end{name: "s", server: &opt, db: -1}
	from, err := r.openServer(t.Context(), e, steps)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	target, err := sink.File(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, target.Abort()) }()
	p := &passing{target: &spoiled{Staged: target.(sink.Staged), path: path, by: by}}
	if r.name == roadCommands {
		p.print = newFingerprinter(t.Context(), 0, nil)
		defer p.print.abort()
	}
	if _, err := writeBackup(t.Context(), from, e, p, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	c, err := p.check(t.Context(), rdbFile{path: path}, func(int64) {})
	if err == nil && c.print.Totals().Keys != 20_000 {
		t.Errorf("it holds %d keys", c.print.Totals().Keys)
	}
	return err
}
