package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

const future = 4_000_000_000_000

// fill writes content of every type and size class that is the same on every
// engine: whatever an engine would take from its clock is given.
func fill(s *testkit.Server) {
	for i := range 300 {
		s.Must("SET", fmt.Sprint("s:", i), strings.Repeat("v", i*3))
		s.Must("SET", fmt.Sprint("n:", i), i*i*i-1_000_000)
		s.Must("RPUSH", "list:big", i, strings.Repeat("x", i))
		s.Must("SADD", "set:ints", i*1000)
		s.Must("SADD", "set:big", fmt.Sprint("member", i))
		s.Must("HSET", "hash:big", fmt.Sprint("field", i), strings.Repeat("y", i%80))
		s.Must("ZADD", "zset:big", float64(i)/7, fmt.Sprint("member", i))
		s.Must("XADD", "stream:big", fmt.Sprintf("%d-%d", 1000+i/2, i%2+1), "f", i, "g", fmt.Sprint("v", i))
		if i%3 == 0 {
			s.Must("PEXPIREAT", fmt.Sprint("s:", i), future+i)
		}
	}
	s.Must("RPUSH", "list:small", "b", "a", 3)
	s.Must("SADD", "set:small", "b", "a", 3)
	s.Must("SADD", "set:int16", 1, 2, 3)
	s.Must("HSET", "hash:small", "b", "a", "1", "2")
	s.Must("ZADD", "zset:small", 1, "one", "-inf", "low", "+inf", "high", 2.5, "x", "-0.0", "zero")
	s.Must("XDEL", "stream:big", "1000-1", "1020-2")
	s.Must("XGROUP", "CREATE", "stream:big", "g1", "1010-1")
	for i := range 5 {
		s.Must("XCLAIM", "stream:big", "g1", fmt.Sprint("consumer", i%2), 0, fmt.Sprintf("%d-1", 1001+i),
			"TIME", 1_700_000_000_000+i, "RETRYCOUNT", i+1, "FORCE")
	}
	s.Must("XGROUP", "CREATE", "stream:big", "g2", "0")
	s.Must("SELECT", 9)
	s.Must("SET", "s:1", "in another database")
	s.Must("SELECT", 0)
}

// dumped is a live engine read by KEYS, DUMP and PEXPIRETIME.
type dumped struct{ s *testkit.Server }

func (d dumped) Close() error { return nil }

func (d dumped) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for _, db := range []int{0, 1, 9} {
			d.s.Must("SELECT", db)
			keys, _ := d.s.Must("KEYS", "*").([]any)
			for _, k := range keys {
				e, err := d.get(db, k.(string))
				if e == nil && err == nil {
					continue
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		d.s.Must("SELECT", 0)
	}
}

func (d dumped) get(db int, key string) (*flow.Entry, error) {
	payload, ok := d.s.Must("DUMP", key).(string)
	if !ok {
		return nil, nil
	}
	dump, err := rdb.ParseDump([]byte(payload))
	if err != nil {
		return nil, err
	}
	e := &flow.Entry{DB: db, Key: []byte(key), Type: dump.Type, Value: dump.Value, Version: dump.Version, Idle: -1, Freq: -1}
	switch {
	case d.s.Build.ExpireTime:
		e.ExpireAt = max(d.s.Must("PEXPIRETIME", key).(int64), 0)
	case d.s.Must("PTTL", key).(int64) >= 0: // such engines do not tell; the test knows
		if _, err := fmt.Sscanf(key, "s:%d", &e.ExpireAt); err != nil {
			return nil, err
		}
		e.ExpireAt += future
	}
	return e, nil
}

// saved is the file that an engine saves.
func saved(t *testing.T, s *testkit.Server) flow.Source {
	t.Helper()
	s.Must("SAVE")
	b, err := os.ReadFile(filepath.Join(s.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return file{b}
}

type file struct{ b []byte }

func (f file) Close() error { return nil }

func (f file) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		r := rdb.NewReader(bytes.NewReader(f.b))
		for e, err := range r.Entries() {
			if err != nil {
				yield(nil, err)
				return
			}
			h, _ := r.Header()
			if !yield(&flow.Entry{DB: e.DB, Key: e.Key, Type: e.Type, Value: e.Value, Version: h.Version, ExpireAt: e.ExpireAt}, nil) {
				return
			}
		}
	}
}

func fingerprint(t *testing.T, src flow.Source) *verify.Fingerprint {
	t.Helper()
	f, err := verify.Compute(context.Background(), src, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestEnginesAgree makes the same content on every engine: live or saved, its
// fingerprint is the same.
func TestEnginesAgree(t *testing.T) {
	var want *verify.Fingerprint
	var first string
	check := func(t *testing.T, name string, f *verify.Fingerprint) {
		t.Helper()
		if want == nil {
			want, first = f, name
			t.Logf("%s %v", f, f.Databases())
			return
		}
		if !f.Equal(want) || f.Totals() != want.Totals() {
			t.Errorf("%s: %s %v\n%s: %s %v", first, want, want.Totals(), name, f, f.Totals())
		}
	}
	for _, line := range lines(t) {
		t.Run(line, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, line))
			fill(s)
			check(t, line+" live", fingerprint(t, dumped{s}))
			check(t, line+" saved", fingerprint(t, saved(t, s)))
		})
	}
}

// lines are the engines that all tests use and some that happen to be installed.
func lines(t *testing.T) []string {
	out := append([]string(nil), testkit.Lines...)
	for _, extra := range []string{"redis-8.0", "valkey-8.0"} {
		if installed(t, extra) {
			out = append(out, extra)
		} else {
			t.Logf("ENGINE MISSING: %s is not installed and not tested here", extra)
		}
	}
	return out
}

func installed(t *testing.T, line string) bool {
	for _, b := range testkit.Catalog(t).Builds() {
		if strings.HasPrefix(b.Name, line+".") {
			return true
		}
	}
	return false
}

// TestFieldTTLsAgree compares hashes with field TTLs, which Redis 8 and Valkey 9
// serialize in different ways under the same commands.
func TestFieldTTLsAgree(t *testing.T) {
	if !installed(t, "redis-8.0") {
		t.Skip("ENGINE MISSING: redis-8.0; run scripts/engines install redis-8.0")
	}
	var prints []string
	for _, line := range []string{"redis-8.0", "valkey-9.1"} {
		s := testkit.StartServer(t, testkit.Engine(t, line))
		for i := range 700 {
			for _, key := range []string{"big", fmt.Sprint("small", i%50)} {
				s.Must("HSET", key, fmt.Sprint("f", i), i)
				if i%3 == 0 {
					s.Must("HPEXPIREAT", key, future+i, "FIELDS", 1, fmt.Sprint("f", i))
				}
			}
		}
		prints = append(prints, fingerprint(t, dumped{s}).String(), fingerprint(t, saved(t, s)).String())
		s.Must("HPERSIST", "big", "FIELDS", 1, "f0")
		if changed := fingerprint(t, dumped{s}).String(); changed == prints[0] {
			t.Errorf("%s: a field that lost its TTL is not seen", line)
		}
	}
	for _, p := range prints {
		if p != prints[0] {
			t.Fatalf("fingerprints differ: %q", prints)
		}
	}
}

// TestCompareLiveEngines compares two live engines of different makes, one of
// which then loses, gains and changes keys.
func TestCompareLiveEngines(t *testing.T) {
	a := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	b := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	fill(a)
	fill(b)
	end := func(s *testkit.Server) verify.End {
		return verify.End{
			Name: s.Build.Name,
			Open: func(context.Context) (flow.Source, error) { return dumped{s}, nil },
			Recheck: func(_ context.Context, db int, key []byte) (*flow.Entry, error) {
				s.Must("SELECT", db)
				defer s.Must("SELECT", 0)
				return dumped{s}.get(db, string(key))
			},
		}
	}
	compare := func() *verify.Report {
		t.Helper()
		r, err := verify.Compare(context.Background(), end(a), end(b), verify.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := compare(); !r.Equal || len(r.Differences) > 0 {
		t.Fatalf("alike, reported %+v", r)
	}
	b.Must("DEL", "s:1")
	b.Must("SET", "s:4", "x")
	b.Must("PEXPIREAT", "s:3", future+4)
	b.Must("XACK", "stream:big", "g1", "1001-1")
	b.Must("LSET", "list:big", 5, "changed")
	b.Must("SADD", "new", "m")
	var out strings.Builder
	r := compare()
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`db0 "s:1": missing in B (A: string)`, `db0 "s:4": value (string)`,
		`db0 "s:3": expiry (A: 2096-10-02T07:06:40.003Z, B: 2096-10-02T07:06:40.004Z)`,
		`db0 "stream:big": value (stream)`, `db0 "list:big": value (list)`, `db0 "new": missing in A (B: set)`, "different: 6 keys",
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
