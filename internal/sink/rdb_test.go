package sink

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
)

func TestRDBConforms(t *testing.T) {
	for _, version := range []int{9, 10, 11, 12, rdb.ValkeyVersion} {
		flowtest.Sink(t, func(t *testing.T) flowtest.SinkPlace {
			dir := t.TempDir()
			path := filepath.Join(dir, "dump.rdb")
			return flowtest.SinkPlace{
				Atomic: true,
				Open: func(t *testing.T) flow.Sink {
					f, err := File(path)
					if err != nil {
						t.Fatal(err)
					}
					s, err := NewRDB(f, rdb.HeaderOf(version))
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Read: func(t *testing.T) flowtest.Content {
					names, err := os.ReadDir(dir)
					if err != nil {
						t.Fatal(err)
					}
					if len(names) == 0 {
						return flowtest.Content{}
					}
					if len(names) > 1 || names[0].Name() != "dump.rdb" {
						t.Errorf("left behind: %v", names)
					}
					b, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					return parse(t, b)
				},
			}
		})
	}
}

// A file that stood there stays until the new one is whole.
func TestRDBReplacesAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dump.rdb")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewRDB(f, rdb.HeaderOf(9))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), flowtest.Sample()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "before" {
		t.Errorf("before Commit it holds %q, %v", b, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "before" {
		t.Errorf("after a failed Commit it holds %q, %v", b, err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// Engines load what is written.
func TestRDBIsLoaded(t *testing.T) {
	for _, b := range testkit.Engines(t) {
		dir := t.TempDir()
		f, err := File(filepath.Join(dir, "dump.rdb"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewRDB(f, rdb.HeaderOf(9), rdb.Aux{Name: "extra", Value: "field"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Write(t.Context(), flowtest.Sample()), s.Commit(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		server := testkit.StartServer(t, b, testkit.Dir(dir))
		flowtest.Same(t, contents(t, server, 0, 3), flowtest.SampleContent(t))
	}
}

type failing struct {
	after   int
	aborted int
}

var errFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}
func (f *failing) Commit(context.Context) error { return errFull }
func (f *failing) Abort() error                 { f.aborted++; return nil }

func TestRDBFullDisk(t *testing.T) {
	for _, room := range []int{0, 10_000, 1 << 30} {
		f := &failing{after: room}
		s, err := NewRDB(f, rdb.HeaderOf(9))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(s.Write(t.Context(), flowtest.Sample()), s.Commit(t.Context()))
		if !errors.Is(err, errFull) {
			t.Errorf("%v", err)
		}
		if err := s.Commit(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("a second Commit: %v", err)
		}
		if err := s.Close(); err != nil || f.aborted == 0 {
			t.Errorf("%v, %d aborts", err, f.aborted)
		}
	}
}

func TestRDBRefusesNewerTypes(t *testing.T) {
	var out bytes.Buffer
	s, err := NewRDB(plainTarget{&out}, rdb.HeaderOf(9))
	if err != nil {
		t.Fatal(err)
	}
	e := flow.Entry{Key: []byte("newer"), Type: 200, Version: 11, Value: []byte{0}}
	if err := s.Write(t.Context(), []flow.Entry{e}); !errors.Is(err, rdb.ErrType) || !strings.Contains(err.Error(), `"newer"`) {
		t.Errorf("%v", err)
	}
}

type plainTarget struct{ *bytes.Buffer }

func (plainTarget) Commit(context.Context) error { return nil }
func (plainTarget) Abort() error                 { return nil }

func TestDiscardConforms(t *testing.T) {
	flowtest.Sink(t, func(t *testing.T) flowtest.SinkPlace {
		return flowtest.SinkPlace{Forgets: true, Open: func(*testing.T) flow.Sink { return &Discard{} }}
	})
	d := &Discard{}
	if err := d.Write(t.Context(), flowtest.Sample()); err != nil || d.Keys != int64(len(flowtest.Sample())) || d.Bytes < 300_000 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestPlainString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "text"), rapid.IntRange(0, 300).Draw(t, "times"))
		e := flow.Entry{Type: rdb.TypeString, Value: rdb.AppendString(nil, text)}
		if got, ok := plainString(&e); !ok || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes are read as %d, %v", len(text), len(got), ok)
		}
	})
	// A number, and LZF: they go as RESTORE.
	for _, v := range [][]byte{{0xc0, 5}, {0xc1, 0, 1}, {0xc3, 3, 5, 0, 1, 2}, {}, {5, 'a'}, {0x41}, {0x80, 0, 0}, {0x81, 0, 0, 0, 0, 0, 0, 0, 1, 'x'}} {
		e := flow.Entry{Type: rdb.TypeString, Value: v}
		if text, ok := plainString(&e); ok {
			t.Errorf("%x is read as %q", v, text)
		}
	}
	list := flow.Entry{Type: rdb.TypeList, Value: []byte{1, 1, 'x'}}
	if _, ok := plainString(&list); ok {
		t.Error("a list is read as a string")
	}
}
