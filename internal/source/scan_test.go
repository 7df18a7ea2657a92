package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

func TestScanConforms(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		load(t, s, flowtest.Sample())
		flowtest.Source(t, func(*testing.T) flow.Source { return source.NewScan(at(s), source.ScanOptions{}) })
	})
}

func TestScanChoosesDatabases(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	load(t, s, flowtest.Sample())
	got := read(t, source.NewScan(at(s), source.ScanOptions{Databases: []int{3, 7}}))
	if len(got) != 2 || got[`3/"list"`].Value == nil {
		t.Errorf("%d keys", len(got))
	}
	if got := read(t, source.NewScan(at(s), source.ScanOptions{Databases: []int{}})); len(got) != 0 {
		t.Errorf("of no database %d keys", len(got))
	}
}

// Expiries are exact to the millisecond, on versions that tell only what is left too.
func TestScanExpiriesAreExact(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		const n = 5000
		fill(t, s, n)
		base := time.Now().Add(time.Hour).UnixMilli()
		for i := range n {
			if i%3 > 0 {
				s.Must("PEXPIREAT", fmt.Sprintf("key:%08d", i), base+int64(i))
			}
		}
		src := source.NewScan(at(s), source.ScanOptions{})
		got := read(t, src)
		for i := range n {
			want := int64(0)
			if i%3 > 0 {
				want = base + int64(i)
			}
			if it := got[fmt.Sprintf(`0/"key:%08d"`, i)]; it.ExpireAt != want {
				t.Fatalf("key %d expires at %d, not %d", i, it.ExpireAt, want)
			}
		}
		if src.Inexact() > 0 || src.Vanished() > 0 {
			t.Errorf("%d inexact, %d vanished", src.Inexact(), src.Vanished())
		}
	})
}

// While a table shrinks, SCAN returns keys again; they are yielded once. Keys
// that are there all the time are not missed.
func TestScanWhileTheTableChanges(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		const n, kept = 60_000, 1000
		fill(t, s, n)
		src := source.NewScan(at(s), source.ScanOptions{})
		defer src.Close()
		seen := map[string]bool{}
		for e, err := range src.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(e.Key)] {
				t.Fatalf("%q came twice", e.Key)
			}
			seen[string(e.Key)] = true
			switch len(seen) {
			case 2000, 3000, 4000:
				// Deletes all but the keys that end in 00 piece by piece, so that the table is rehashed.
				lo := (len(seen) - 2000) / 1000 * 20_000
				s.Must("EVAL", fmt.Sprintf(`for i=%d,%d do if i %% %d ~= 0 then redis.call('DEL', string.format('key:%%08d', i)) end end`,
					lo, lo+19_999, n/kept), "0")
			}
		}
		for i := 0; i < n; i += n / kept {
			if !seen[fmt.Sprintf("key:%08d", i)] {
				t.Errorf("key %d was there all the time and did not come", i)
			}
		}
		t.Logf("%d keys came, %d were gone when they were read", len(seen), src.Vanished())
	})
}

func TestScanLargeValues(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	var want int
	for i := range 40 {
		size := 1 << (i % 23)
		s.Must("EVAL", fmt.Sprintf(`redis.call('SET', 'k%d', string.rep('%c', %d))`, i, 'a'+i%26, size), "0")
		want += size
	}
	got := 0
	for _, it := range read(t, source.NewScan(at(s), source.ScanOptions{})) {
		got += len(it.Value.Text)
	}
	if got != want {
		t.Errorf("%d of %d bytes", got, want)
	}
}

// A user with no more rights than reading takes: no INFO, no CONFIG, no CLIENT.
func TestScanWithFewRights(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		load(t, s, flowtest.Sample())
		s.Must("ACL", "SETUSER", "reader", "on", ">pw", "~*", "-@all", "+hello", "+auth", "+ping", "+select", "+dbsize", "+scan",
			"+dump", "+pttl", "+multi", "+exec", "+time")
		if b.Line() != "redis-6.0" {
			s.Must("ACL", "SETUSER", "reader", "+pexpiretime")
		}
		o := at(s)
		o.Username, o.Password = "reader", "pw"
		flowtest.Same(t, read(t, source.NewScan(o, source.ScanOptions{})), flowtest.SampleContent(t))
		s.Must("ACL", "SETUSER", "reader", "-dump")
		_, err := failure(t.Context(), source.NewScan(o, source.ScanOptions{}))
		if !resp.IsServerError(err, "NOPERM") {
			t.Errorf("%v", err)
		}
		s.Must("ACL", "SETUSER", "reader", "+dump", "resetkeys", "~list*")
		_, err = failure(t.Context(), source.NewScan(o, source.ScanOptions{}))
		if !resp.IsServerError(err, "NOPERM") {
			t.Errorf("%v", err)
		}
		says(t, err, "cannot read key ")
	})
}

// In cluster mode keys of different slots cannot share a transaction.
func TestScanInClusterMode(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Cluster())
	s.Must("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	testkit.Wait(t, 10*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(s.Do("CLUSTER", "INFO")), "cluster_state:ok")
	}, "the cluster")
	fill(t, s, 5000, "EX", "1000")
	if got := read(t, source.NewScan(at(s), source.ScanOptions{})); len(got) != 5000 {
		t.Errorf("%d keys", len(got))
	}
}

func TestScanDoesNotTouch(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("maxmemory-policy allkeys-lfu", "lfu-decay-time 0"))
	s.Must("SET", "k", "v")
	before := s.Must("OBJECT", "FREQ", "k")
	for range 30 {
		read(t, source.NewScan(at(s), source.ScanOptions{}))
	}
	if after := s.Must("OBJECT", "FREQ", "k"); after != before {
		t.Errorf("the frequency went from %v to %v", before, after)
	}
}

func TestLookup(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		sample := flowtest.Sample()
		load(t, s, sample)
		src := source.NewScan(at(s), source.ScanOptions{})
		defer src.Close()
		got := flowtest.Content{}
		for i := range sample {
			e, err := src.Lookup(t.Context(), sample[i].DB, sample[i].Key)
			if err != nil || e == nil {
				t.Fatalf("%q: %v, %v", sample[i].Key, e, err)
			}
			if _, err := got.Put(e); err != nil {
				t.Fatal(err)
			}
		}
		flowtest.Same(t, got, flowtest.SampleContent(t))
		if e, err := src.Lookup(t.Context(), 0, []byte("no such key")); e != nil || err != nil {
			t.Errorf("%v, %v", e, err)
		}
		if _, err := src.Lookup(t.Context(), 99, []byte("list")); !resp.IsServerError(err) {
			t.Errorf("%v", err)
		}
		if e, err := src.Lookup(t.Context(), 3, []byte("list")); e == nil || err != nil {
			t.Errorf("after an error reply: %v, %v", e, err)
		}
	})
}

func TestScanRate(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	fill(t, s, 1000)
	begun := time.Now()
	if got := read(t, source.NewScan(at(s), source.ScanOptions{Rate: 4000})); len(got) != 1000 {
		t.Errorf("%d keys", len(got))
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("1000 keys at 4000 a second took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := failure(ctx, source.NewScan(at(s), source.ScanOptions{Rate: 1})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestScanLosesItsServer(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	fill(t, s, 50_000)
	p := testkit.Proxy(t, s.Addr())
	p.CutAfter(testkit.ToClient, 1_000_000)
	keys, err := failure(t.Context(), source.NewScan(resp.Options{Addr: p.Addr()}, source.ScanOptions{}))
	if err == nil || keys == 0 || keys == 50_000 {
		t.Errorf("%d keys, %v", keys, err)
	}
	src := source.NewScan(resp.Options{Addr: p.Addr(), Timeout: 2 * time.Second}, source.ScanOptions{})
	n := 0
	for _, err = range src.Entries(t.Context()) {
		if n++; n == 100 {
			p.Stall()
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a server that stands still: %v", err)
	}
	p.Resume()
}

// bareScan reads a server with SCAN and DUMP and nothing else, not even TTLs:
// what no correct reading can beat.
func bareScan(b *testing.B, c *resp.Conn) int {
	p := resp.NewPipe(b.Context(), c, 0)
	scan := func(cursor []byte) {
		cmd := resp.AppendString(resp.AppendArray(p.Begin(), 4), "SCAN")
		p.End(resp.AppendInt(resp.AppendString(resp.AppendBulk(cmd, cursor), "COUNT"), 500))
	}
	next := func() *resp.Reply {
		r, err := p.Next()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	keys := 0
	const aScan = -1
	ops := []int{aScan} // a SCAN, or so many DUMPs
	scan([]byte("0"))
	for len(ops) > 0 {
		n := ops[0]
		ops = ops[1:]
		if n != aScan {
			for range n {
				next()
			}
			continue
		}
		r := next()
		if cursor := r.Elems[0].Bytes; string(cursor) != "0" {
			scan(cursor)
			ops = append(ops, aScan)
		}
		found := r.Elems[1].Elems
		for i := range found {
			p.End(resp.AppendBulk(resp.AppendString(resp.AppendArray(p.Begin(), 2), "DUMP"), found[i].Bytes))
		}
		p.Flush()
		ops = append(ops, len(found))
		keys += len(found)
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	return keys
}

// BenchmarkScan compares a Scan with the bare commands, a million mixed keys of one database.
func BenchmarkScan(b *testing.B) {
	for _, line := range []string{"redis-7.0", "valkey-8.1"} {
		s := testkit.StartServer(b, testkit.Engine(b, line), testkit.Config("repl-diskless-sync-delay 0"))
		fillMixed(b, s, 1_000_000)
		rate := func(b *testing.B, keys int) {
			b.ReportMetric(float64(keys)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		}
		b.Run(line+"/bare", func(b *testing.B) {
			c, err := resp.Dial(b.Context(), at(s))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			n := 0
			for b.Loop() {
				n = bareScan(b, c)
			}
			rate(b, n)
		})
		for name, open := range map[string]func() flow.Source{
			"scan":  func() flow.Source { return source.NewScan(at(s), source.ScanOptions{}) },
			"psync": func() flow.Source { return source.NewPSync(at(s)) },
		} {
			b.Run(line+"/"+name, func(b *testing.B) {
				n := 0
				for b.Loop() {
					src := open()
					var err error
					if n, err = failure(b.Context(), src); err != nil {
						b.Fatal(err)
					}
					src.Close()
				}
				rate(b, n)
			})
		}
	}
}

// fillMixed gives a server generated data by pipelined RESTORE.
func fillMixed(b *testing.B, s *testkit.Server, keys int64) {
	shape, err := source.Preset("mixed", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	shape.Keys = keys
	src, err := source.NewGenerate(shape)
	if err != nil {
		b.Fatal(err)
	}
	c, err := resp.Dial(b.Context(), at(s))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	p := resp.NewPipe(b.Context(), c, 0)
	take := func() {
		r, err := p.Next()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	var payload []byte
	for e, err := range src.Entries(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		for p.Full() {
			take()
		}
		payload = rdb.AppendDump(payload[:0], e.Type, e.Value, 9)
		cmd := resp.AppendString(resp.AppendArray(p.Begin(), 5), "RESTORE")
		cmd = resp.AppendInt(resp.AppendBulk(cmd, e.Key), e.ExpireAt)
		p.End(resp.AppendString(resp.AppendBulk(cmd, payload), "ABSTTL"))
	}
	for p.Len() > 0 {
		take()
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
