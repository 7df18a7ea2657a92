package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(s *testkit.Server) resp.Options { return resp.Options{Addr: s.Addr()} }

// load gives a server entries, by RESTORE.
func load(t testing.TB, s *testkit.Server, entries []flow.Entry) {
	t.Helper()
	c, err := resp.Dial(t.Context(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	db := -1
	for i := range entries {
		e := &entries[i]
		if e.DB != db {
			db = e.DB
			if _, err := c.Do(t.Context(), "SELECT", fmt.Sprint(db)); err != nil {
				t.Fatal(err)
			}
		}
		payload := rdb.AppendDump(nil, e.Type, e.Value, 9)
		if _, err := c.Do(t.Context(), "RESTORE", string(e.Key), fmt.Sprint(e.ExpireAt), string(payload), "ABSTTL", "REPLACE"); err != nil {
			t.Fatalf("key %q: %v", e.Key, err)
		}
	}
}

// fill gives a server n small strings of one database by pipelined SET.
func fill(t testing.TB, s *testkit.Server, n int, args ...string) {
	t.Helper()
	c, err := resp.Dial(t.Context(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := resp.NewPipe(t.Context(), c, 0)
	take := func() {
		r, err := p.Next()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		for p.Full() {
			take()
		}
		p.End(resp.AppendCommand(p.Begin(), append([]string{"SET", fmt.Sprintf("key:%08d", i), fmt.Sprintf("value %d", i)}, args...)...))
	}
	for p.Len() > 0 {
		take()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// file makes an RDB file of entries.
func file(t testing.TB, version int, entries []flow.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := rdb.NewWriter(&b, rdb.HeaderOf(version))
	if err != nil {
		t.Fatal(err)
	}
	db := -1
	for i := range entries {
		e := &entries[i]
		if e.DB != db {
			db = e.DB
			keys := int64(0)
			for j := range entries {
				if entries[j].DB == db {
					keys++
				}
			}
			if err := w.SelectDB(db, keys, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(&rdb.Entry{DB: e.DB, Key: e.Key, Type: e.Type, Value: e.Value, ExpireAt: e.ExpireAt, Idle: e.Idle, Freq: e.Freq}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func input(name string, b []byte) source.Input {
	return source.Input{Name: name, Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

// read collects what a source yields and closes it.
func read(t testing.TB, s flow.Source) flowtest.Content {
	t.Helper()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	return flowtest.Read(t, s.Entries(t.Context()))
}

// failure returns the error that a source ends with, and how many keys came before.
func failure(ctx context.Context, s flow.Source) (keys int, err error) {
	for e, err := range s.Entries(ctx) {
		if err != nil {
			return keys, err
		}
		if e != nil {
			keys++
		}
	}
	return keys, nil
}

func says(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("the error %v does not say %q", err, text)
	}
}
