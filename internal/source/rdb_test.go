package source_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
)

func TestRDBConforms(t *testing.T) {
	sample := flowtest.Sample()
	t.Run("one file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "dump.rdb")
		if err := os.WriteFile(path, file(t, 9, sample), 0o600); err != nil {
			t.Fatal(err)
		}
		flowtest.Source(t, func(*testing.T) flow.Source { return source.NewRDB(source.File(path)) })
	})
	t.Run("several", func(t *testing.T) {
		a, b := file(t, 9, sample[:4]), file(t, 11, sample[4:])
		flowtest.Source(t, func(*testing.T) flow.Source { return source.NewRDB(input("a", a), input("b", b)) })
	})
}

func TestRDBTellsAboutItsFiles(t *testing.T) {
	sample := flowtest.Sample()
	a, b := file(t, 9, sample[:4]), file(t, rdb.ValkeyVersion, sample[4:])
	s := source.NewRDB(input("a", a), input("b", b))
	versions := map[int]int{}
	for e, err := range s.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		versions[e.Version]++
	}
	if versions[9] != 4 || versions[rdb.ValkeyVersion] != len(sample)-4 {
		t.Errorf("versions %v", versions)
	}
	f := s.Files()
	if len(f) != 2 || f[0].Name != "a" || f[1].Header.String() != "VALKEY080" || !f[0].Complete || !f[1].Checksummed || f[1].Bytes != int64(len(b)) {
		t.Errorf("%+v", f)
	}
	if n, err := s.Len(t.Context()); err != nil || n != int64(len(sample)) {
		t.Errorf("Len is %d, %v", n, err)
	}
	if done, total := s.Bytes(); done != total || total != int64(len(a)+len(b)) {
		t.Errorf("%d of %d bytes", done, total)
	}
}

func TestRDBFailures(t *testing.T) {
	whole := file(t, 9, flowtest.Sample())
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)-30] ^= 1
	for name, tc := range map[string]struct {
		b  []byte
		is error
	}{
		"truncated": {whole[:len(whole)-1], rdb.ErrTruncated},
		"flipped":   {flipped, rdb.ErrChecksum},
		"no RDB":    {[]byte("{\"json\": true}"), rdb.ErrMagic},
		"empty":     {nil, rdb.ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			s := source.NewRDB(input("good", whole), input("bad", tc.b))
			_, err := failure(t.Context(), s)
			if !errors.Is(err, tc.is) {
				t.Errorf("%v", err)
			}
			says(t, err, "bad: ")
			if f := s.Files(); len(f) != 2 || f[1].Complete {
				t.Errorf("%+v", f)
			}
		})
	}
	_, err := failure(t.Context(), source.NewRDB(source.File(filepath.Join(t.TempDir(), "none.rdb"))))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A reading that hangs, as of a pipe, ends with its context.
func TestRDBUnblocks(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("tired of waiting")
	go func() {
		// What the reader does not take is cut off by its Close.
		_, _ = w.Write(file(t, 9, flowtest.Sample()[:3])[:20])
		cancel(why)
	}()
	_, err := failure(ctx, source.NewRDB(source.Input{Name: "pipe", Open: func(ctx context.Context) (io.ReadCloser, error) {
		return source.CloseOnDone(ctx, r), nil
	}}))
	if !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

// Values too large for memory come as bodies, the others as they were, in one file.
func TestRDBStreamsLargeValues(t *testing.T) {
	large := rdb.AppendString(nil, bytes.Repeat([]byte("0123456789"), 600_000))
	all := append(flowtest.Sample()[:3:3], flow.Entry{Key: []byte("large"), Type: rdb.TypeString, Value: large, Version: 9, Idle: -1, Freq: -1})
	all = append(all, flow.Entry{Key: []byte("last"), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("v")), Version: 9, Idle: -1, Freq: -1})
	for _, readIt := range []bool{true, false} {
		s := source.NewRDB(input("file", file(t, 9, all)))
		n := 0
		for e, err := range s.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if string(e.Key) != "large" {
				if e.Body != nil {
					t.Errorf("%q comes as a body", e.Key)
				}
				continue
			}
			if e.Body == nil || e.Value != nil {
				t.Fatal("the large value is held in memory")
			}
			if !readIt {
				continue
			}
			if got, err := io.ReadAll(e.Body); err != nil || !bytes.Equal(got, large) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		if f := s.Files(); n != len(all) || len(f) != 1 || !f[0].Complete || !f[0].Checksummed {
			t.Errorf("%d entries, %+v", n, f)
		}
	}
}
