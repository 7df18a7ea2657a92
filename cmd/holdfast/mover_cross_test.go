package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

func at(s *testkit.Server) resp.Options { return resp.Options{Addr: s.Addr()} }

// move carries everything from a source to a sink and closes both.
func move(t *testing.T, src flow.Source, dst flow.Sink) error {
	t.Helper()
	_, err := flow.Run(t.Context(), src, dst, flow.Options{})
	return errors.Join(err, src.Close(), dst.Close())
}

func toServer(t *testing.T, s *testkit.Server) flow.Sink {
	t.Helper()
	dst, err := sink.NewServer(t.Context(), at(s), sink.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

func fillMixed(t *testing.T, s *testkit.Server) {
	t.Helper()
	shape, err := source.Preset("mixed", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = 2000, 2
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	if err := move(t, src, toServer(t, s)); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, a, b verify.End) {
	t.Helper()
	r, err := verify.Compare(t.Context(), a, b, verify.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Equal || r.A.Totals().Keys != 2000 || !r.A.Equal(r.B) {
		t.Errorf("%s: %+v", r.Verdict(), r.Differences)
	}
}

func live(s *testkit.Server) verify.End {
	return verify.End{Name: s.Addr(), Open: func(context.Context) (flow.Source, error) {
		return source.NewScan(at(s), source.ScanOptions{}), nil
	}}
}

// Every engine's data, in its own encodings, arrives whole on every engine, older
// ones and those of the other dialect included.
func TestMoveBetweenEngines(t *testing.T) {
	var targets []*testkit.Server
	for _, b := range testkit.Engines(t) {
		targets = append(targets, testkit.StartServer(t, b))
	}
	for _, b := range testkit.Engines(t) {
		from := testkit.StartServer(t, b)
		fillMixed(t, from)
		for _, to := range targets {
			t.Run(b.Line()+" to "+to.Build.Line(), func(t *testing.T) {
				to.Must("FLUSHALL")
				if err := move(t, source.NewScan(at(from), source.ScanOptions{}), toServer(t, to)); err != nil {
					t.Fatal(err)
				}
				same(t, live(from), live(to))
			})
		}
	}
}

// A snapshot taken as a replica and written to a file is the same as the live data.
func TestSnapshotToFile(t *testing.T) {
	for _, b := range testkit.Engines(t) {
		t.Run(b.Line(), func(t *testing.T) {
			s := testkit.StartServer(t, b, testkit.Config("repl-diskless-sync-delay 0"))
			fillMixed(t, s)
			versions := map[string]int{"redis-6.0": 9, "redis-7.0": 10, "valkey-8.1": 11, "valkey-9.1": rdb.ValkeyVersion}
			path := filepath.Join(t.TempDir(), "dump.rdb")
			f, err := sink.File(path)
			if err != nil {
				t.Fatal(err)
			}
			dst, err := sink.NewRDB(f, rdb.HeaderOf(versions[b.Line()]))
			if err != nil {
				t.Fatal(err)
			}
			if err := move(t, source.NewPSync(at(s)), dst); err != nil {
				t.Fatal(err)
			}
			same(t, live(s), verify.End{Name: path, Open: func(context.Context) (flow.Source, error) {
				return source.NewRDB(source.File(path)), nil
			}})
		})
	}
}

// Hash fields with expiries arrive where there are such, and are refused elsewhere.
func TestMoveFieldExpiries(t *testing.T) {
	from := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	from.Must("HSET", "h", "f", "v", "g", "w")
	from.Must("HPEXPIREAT", "h", 4_000_000_000_123, "FIELDS", 1, "f")
	to := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	if err := move(t, source.NewScan(at(from), source.ScanOptions{}), toServer(t, to)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(to.Must("HPEXPIRETIME", "h", "FIELDS", 2, "f", "g")); got != "[4000000000123 -1]" {
		t.Errorf("the fields expire at %s", got)
	}
	older := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	err := move(t, source.NewScan(at(from), source.ScanOptions{}), toServer(t, older))
	if !errors.Is(err, rdb.ErrType) || !strings.Contains(err.Error(), `key "h" of database 0`) {
		t.Errorf("%v", err)
	}
}
