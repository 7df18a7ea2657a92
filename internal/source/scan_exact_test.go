package source_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// flips are scripts that set a key to a value that names its expiry: as a string
// and as a list, with an expiry and without. ARGV[1] is a time in the future.
var flips = []string{
	`redis.call('SET', KEYS[1], 'never')`,
	`redis.call('SET', KEYS[1], ARGV[1]); redis.call('PEXPIREAT', KEYS[1], ARGV[1])`,
	`redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'never')`,
	`redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], ARGV[1]); redis.call('PEXPIREAT', KEYS[1], ARGV[1])`,
}

// Value and expiry of a key belong to one instant, and no key is left out, while
// keys change their type and their expiry all the time; also where none had an
// expiry when the reading began.
func TestScanReadsAKeyAtOneInstant(t *testing.T) {
	const keys = 1000
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		for i := range keys {
			s.Must("SET", fmt.Sprint("k", i), "never")
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		flipped := make(chan error, 1)
		go func() { flipped <- flip(ctx, at(s), keys) }()
		states := map[string]int{}
		deadline := time.Now().Add(time.Minute)
		for round := 0; round < 20 || !enough(states); round++ {
			if time.Now().After(deadline) {
				t.Fatalf("only these states were seen: %v", states)
			}
			got := read(t, source.NewScan(at(s), source.ScanOptions{}))
			if len(got) != keys {
				t.Errorf("%d of %d keys came", len(got), keys)
			}
			for name, it := range got {
				text, want := it.Value.Text, "never"
				if it.Value.Class == rdb.ClassList {
					text = it.Value.Items[0]
				}
				if it.ExpireAt != 0 {
					want = fmt.Sprint(it.ExpireAt)
				}
				if string(text) != want {
					t.Fatalf("%s has the value %q and the expiry %d", name, text, it.ExpireAt)
				}
				states[fmt.Sprintf("%s expires: %t", it.Value.Class, it.ExpireAt != 0)]++
			}
		}
		stop()
		if err := <-flipped; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		t.Logf("%v", states)
	})
}

// enough tells whether keys were met often in each state that flips make.
func enough(states map[string]int) bool {
	for _, n := range states {
		if n < 50 {
			return false
		}
	}
	return len(states) == len(flips)
}

// flip changes keys until ctx ends: all of them in turn to have no expiry, then some at random.
func flip(ctx context.Context, o resp.Options, keys int) error {
	c, err := resp.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; ; n++ {
		how, key := rng.IntN(len(flips)), rng.IntN(keys)
		if n%(3*keys/2) < keys {
			how, key = how&^1, n%keys // after so many no key has an expiry
		}
		if _, err := c.Do(ctx, "EVAL", flips[how], "1", fmt.Sprint("k", key), fmt.Sprint(4_000_000_000_000+n)); err != nil {
			return err
		}
	}
}

// Strings are read by fewer commands where that is allowed, and by DUMP where not.
func TestScanReadsStringsTogether(t *testing.T) {
	for name, tc := range map[string]struct {
		user, ttl string
		calls     map[string]bool
	}{
		"no expiry":  {"", "", map[string]bool{"mget": true, "dump": false, "pexpiretime": false}},
		"expiries":   {"", "EX", map[string]bool{"mget": true, "dump": false, "pexpiretime": true}},
		"no MGET":    {"-mget", "", map[string]bool{"mget": false, "dump": true, "pexpiretime": true}},
		"no INFO":    {"-info", "", map[string]bool{"mget": true, "dump": false, "pexpiretime": true}},
		"only reads": {"-mget -info", "EX", map[string]bool{"mget": false, "dump": true, "pexpiretime": true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
			var ttl []string
			if tc.ttl != "" {
				ttl = []string{tc.ttl, "1000"}
			}
			fill(t, s, 5000, ttl...)
			o := at(s)
			if tc.user != "" {
				rules := []any{"ACL", "SETUSER", "u", "on", ">pw", "~*", "+@all"}
				for rule := range strings.FieldsSeq(tc.user) {
					rules = append(rules, rule)
				}
				s.Must(rules...)
				o.Username, o.Password = "u", "pw"
			}
			s.Must("CONFIG", "RESETSTAT")
			got := read(t, source.NewScan(o, source.ScanOptions{}))
			if len(got) != 5000 || string(got[`0/"key:00000007"`].Value.Text) != "value 7" {
				t.Errorf("%d keys", len(got))
			}
			stats := s.Info("commandstats")
			for cmd, want := range tc.calls {
				var n int
				if text, called := stats["cmdstat_"+cmd]; called {
					if _, err := fmt.Sscanf(text, "calls=%d,", &n); err != nil {
						t.Fatalf("%q: %v", text, err)
					}
				}
				// The first keys are read one by one: they might have been large.
				if cmd != "mget" && want != (n > 4000) || cmd == "mget" && want != (n > 0) {
					t.Errorf("%s was called %d times", cmd, n)
				}
			}
		})
	}
}

// On a server in cluster mode keys of one slot are read together, of whatever type.
func TestScanReadsSlotsTogether(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Cluster())
	s.Must("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	testkit.Wait(t, 30*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(s.Do("CLUSTER", "INFO")), "cluster_state:ok")
	}, "the cluster")
	want := flowtest.Content{}
	var keys []flow.Entry
	for _, e := range flowtest.Sample() {
		if e.DB != 0 {
			continue
		}
		for i := range 200 {
			c := e.Clone()
			c.Key = fmt.Appendf(nil, "{%d}%s:%d", i%10, e.Key, i)
			keys = append(keys, c)
			if _, err := want.Put(&c); err != nil {
				t.Fatal(err)
			}
		}
	}
	load(t, s, keys)
	s.Must("CONFIG", "RESETSTAT")
	flowtest.Same(t, read(t, source.NewScan(at(s), source.ScanOptions{})), want)
	var groups int
	if _, err := fmt.Sscanf(s.Info("commandstats")["cmdstat_exec"], "calls=%d,", &groups); err != nil {
		t.Fatal(err)
	}
	if groups > len(keys)/2 {
		t.Errorf("%d transactions for %d keys", groups, len(keys))
	}

	// While a slot is on its way to another server, its keys that are here are read.
	other := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Cluster())
	slot := s.Must("CLUSTER", "KEYSLOT", "{3}")
	s.Must("CLUSTER", "MEET", "127.0.0.1", other.Port)
	id := fmt.Sprint(other.Must("CLUSTER", "MYID"))
	testkit.Wait(t, 30*time.Second, func() bool { return strings.Contains(fmt.Sprint(s.Do("CLUSTER", "NODES")), id) }, "the other server")
	s.Must("CLUSTER", "SETSLOT", slot, "MIGRATING", id)
	flowtest.Same(t, read(t, source.NewScan(at(s), source.ScanOptions{})), want)
}

// A large value takes the server long to serialize; that must not move its expiry,
// on a server that tells only what is left of it.
func TestScanExpiriesOfLargeValues(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	const at0 = 4_000_000_000_123
	for i := range 4 {
		// A list, for strings are not serialized to be read.
		s.Must("EVAL", `local v = {} for i = 1, 100 do v[i] = tostring(math.random()) .. i end
			local text = table.concat(v) for i = 1, 2000 do redis.call('RPUSH', KEYS[1], text .. i) end
			redis.call('PEXPIREAT', KEYS[1], ARGV[1])`, 1, fmt.Sprint("large", i), fmt.Sprint(at0+i))
	}
	src := source.NewScan(at(s), source.ScanOptions{})
	got := read(t, src)
	for i := range 4 {
		if it := got[fmt.Sprintf(`0/"large%d"`, i)]; it.ExpireAt != int64(at0+i) || len(it.Value.Items) != 2000 {
			t.Errorf("large%d expires at %d, not %d; %d items", i, it.ExpireAt, at0+i, len(it.Value.Items))
		}
	}
	if n := src.Inexact(); n > 0 {
		t.Errorf("%d expiries are not exact", n)
	}
}
