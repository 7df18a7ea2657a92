package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func open(t testing.TB, o resp.Options, so ServerOptions) *Server {
	t.Helper()
	s, err := NewServer(t.Context(), o, so)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServerConforms(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		flowtest.Sink(t, func(t *testing.T) flowtest.SinkPlace {
			s.Must("FLUSHALL")
			return flowtest.SinkPlace{
				Open: func(t *testing.T) flow.Sink { return open(t, at(s), ServerOptions{}) },
				Read: func(t *testing.T) flowtest.Content { return contents(t, s, 0, 3) },
			}
		})
	})
}

// Values that are there are replaced, whatever their type, and lose their expiry.
func TestServerReplaces(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		for _, e := range flowtest.Sample() {
			if e.DB == 0 {
				s.Must("RPUSH", e.Key, "another", "value")
				s.Must("EXPIRE", e.Key, 1000)
			}
		}
		dst := open(t, at(s), ServerOptions{})
		if err := errors.Join(dst.Write(t.Context(), flowtest.Sample()), dst.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))

		keep := open(t, at(s), ServerOptions{KeepExisting: true})
		err := errors.Join(keep.Write(t.Context(), flowtest.Sample()[6:7]), keep.Commit(t.Context()))
		if !resp.IsServerError(errors.Unwrap(err), "BUSYKEY") && !strings.Contains(fmt.Sprint(err), "BUSYKEY") {
			t.Errorf("%v", err)
		}
		if err == nil || !strings.Contains(err.Error(), `key "list" of database 0`) {
			t.Errorf("the error does not name the key: %v", err)
		}
	})
}

// Idle times and frequencies arrive.
func TestServerKeepsIdleAndFrequency(t *testing.T) {
	text := rdb.AppendString(nil, []byte("v"))
	for policy, e := range map[string]flow.Entry{
		"allkeys-lru": {Key: []byte("k"), Type: rdb.TypeString, Value: text, Version: 9, Idle: 5000, Freq: -1},
		"allkeys-lfu": {Key: []byte("k"), Type: rdb.TypeString, Value: text, Version: 9, Idle: -1, Freq: 77},
	} {
		s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("maxmemory-policy "+policy, "lfu-decay-time 0"))
		dst := open(t, at(s), ServerOptions{})
		if err := errors.Join(dst.Write(t.Context(), []flow.Entry{e}), dst.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		if e.Idle >= 0 {
			if n := s.Must("OBJECT", "IDLETIME", "k").(int64); n < 4990 || n > 5100 {
				t.Errorf("idle for %d s", n)
			}
		} else if n := s.Must("OBJECT", "FREQ", "k").(int64); n != 77 {
			t.Errorf("frequency %d", n)
		}
	}
}

// Expiries in the past, before 1970 too, make a key that is gone; no error.
func TestServerTakesThePast(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		dst := open(t, at(s), ServerOptions{})
		for i, at := range []int64{1, -5, 1_000_000_000_000, time.Now().UnixMilli() - 1} {
			for _, e := range []flow.Entry{
				{Key: fmt.Appendf(nil, "s%d", i), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("v"))},
				{Key: fmt.Appendf(nil, "l%d", i), Type: rdb.TypeList, Value: rdb.AppendList(nil, [][]byte{[]byte("v")})},
			} {
				e.ExpireAt, e.Version, e.Idle, e.Freq = at, 9, -1, -1
				if err := dst.Write(t.Context(), []flow.Entry{e}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := dst.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			for _, k := range []string{"s", "l"} {
				if n := s.Must("EXISTS", fmt.Sprintf("%s%d", k, i)); n != int64(0) {
					t.Errorf("%s%d lives", k, i)
				}
			}
		}
	})
}

// What a target cannot read is refused before it is sent, and the server lives on.
func TestServerRefusesNewerTypes(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	for _, e := range []flow.Entry{
		{Type: rdb.TypeModule2, Version: 12, Value: []byte{0, 0}},
		{Type: rdb.TypeModule2, Version: 9, Value: []byte{0, 0}},
		{Type: rdb.TypeHashTTLPackedRC, Version: 12, Value: []byte{0}},
		{Type: 200, Version: 12, Value: []byte{0}},
	} {
		dst := open(t, at(s), ServerOptions{})
		e.Key, e.Idle, e.Freq = []byte("newer"), -1, -1
		err := dst.Write(t.Context(), []flow.Entry{e})
		if err == nil || e.Type != rdb.TypeHashTTLPackedRC && !errors.Is(err, rdb.ErrType) || !strings.Contains(err.Error(), `"newer"`) {
			t.Errorf("type %d: %v", e.Type, err)
		}
		if err2 := dst.Commit(t.Context()); !errors.Is(err2, err) {
			t.Errorf("Commit afterwards: %v", err2)
		}
	}
	s.Must("PING")
}

// A payload of the other dialect, or of a newer version, in an encoding that the
// target has too, arrives by the stamp of the target.
func TestServerStampsPayloads(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		dst := open(t, at(s), ServerOptions{})
		all := flowtest.Sample()
		for i := range all {
			all[i].Version = []int{12, rdb.ValkeyVersion}[i%2]
		}
		if err := errors.Join(dst.Write(t.Context(), all), dst.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		flowtest.Same(t, contents(t, s, 0, 3), flowtest.SampleContent(t))
	})
}

func TestServerOutOfMemory(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("maxmemory 4mb"))
	dst := open(t, at(s), ServerOptions{})
	big := flow.Entry{Type: rdb.TypeList, Version: 9, Idle: -1, Freq: -1, Value: rdb.AppendList(nil, [][]byte{bytes.Repeat([]byte("x"), 100_000)})}
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		big.Key = fmt.Appendf(nil, "big:%d", i)
		err = dst.Write(t.Context(), []flow.Entry{big})
	}
	if !resp.IsServerError(err, "OOM") || !strings.Contains(err.Error(), `key "big:`) {
		t.Errorf("%v", err)
	}
	if again := dst.Commit(t.Context()); !errors.Is(again, err) {
		t.Errorf("Commit after the error: %v", again)
	}
}

// Close breaks a Write off that waits for a server which stands still.
func TestServerCloseUnblocks(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	p := testkit.Proxy(t, s.Addr())
	dst, err := NewServer(t.Context(), resp.Options{Addr: p.Addr()}, ServerOptions{Window: 1000})
	if err != nil {
		t.Fatal(err)
	}
	p.Stall()
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = dst.Write(context.Background(), flowtest.Sample())
		}
		done <- err
	}()
	if err := dst.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("it went on")
	}
	p.Resume()
}

func TestVersionOf(t *testing.T) {
	for text, want := range map[string]int{
		"redis 3.0": 6, "redis 5.0": 9, "redis 6.0": 9, "redis 6.2": 9, "redis 7.0": 10, "redis 7.2": 11, "redis 7.4": 12, "redis 8.0": 12, "redis 9.1": 12,
		"valkey 7.2": 11, "valkey 8.0": 11, "valkey 8.1": 11, "valkey 9.0": 80, "valkey 9.1": 80, "valkey 10.0": 80, "redict 7.3": 11,
	} {
		var s resp.Server
		if _, err := fmt.Sscanf(strings.ReplaceAll(text, ".", " "), "%s %d %d", &s.Engine, &s.Major, &s.Minor); err != nil {
			t.Fatal(err)
		}
		if got := versionOf(s); got != want {
			t.Errorf("%s: %d, not %d", text, got, want)
		}
	}
}

// BenchmarkServer compares the ways to fill a server, 100-byte values.
func BenchmarkServer(b *testing.B) {
	for _, line := range []string{"redis-7.0", "valkey-8.1"} {
		s := testkit.StartServer(b, testkit.Engine(b, line))
		for name, idle := range map[string]int64{"SET": -1, "RESTORE": 0} {
			b.Run(line+"/"+name, func(b *testing.B) {
				s.Must("FLUSHALL")
				dst := open(b, at(s), ServerOptions{})
				batch := make([]flow.Entry, 512)
				for i := range batch {
					batch[i] = flow.Entry{
						Type: rdb.TypeString, Version: 9, Idle: idle, Freq: -1, Key: make([]byte, 16),
						Value: rdb.AppendString(nil, bytes.Repeat([]byte{byte(i)}, 100)),
					}
				}
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					for i := range batch {
						batch[i].Key = fmt.Appendf(batch[i].Key[:0], "key:%012d", n%1_000_000)
						n++
					}
					if err := dst.Write(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				if err := dst.Commit(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "keys/s")
			})
		}
	}
}
