package rdb_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
)

// TestMovedValuesTakeCommands runs the same commands at the source and at the
// target after everything was moved: what was written anew must not only read
// well but also stand being changed, at both ends and in the middle.
func TestMovedValuesTakeCommands(t *testing.T) {
	for _, c := range [][2]string{{"valkey-8.1", "redis-6.0"}, {"redis-7.0", "redis-6.0"}, {"valkey-9.1", "redis-8.0"}, {"redis-8.0", "valkey-9.1"}} {
		t.Run(c[0]+"/"+c[1], func(t *testing.T) {
			from, to := startEngine(t, c[0]), startEngine(t, c[1])
			fill(t, from)
			fillMore(from)
			restoreAll(t, from, to)
			change(from)
			change(to)
			skip := func(lines []string) []string {
				if to.Build.ExpireTime {
					return lines
				}
				return slices.DeleteFunc(lines, func(l string) bool {
					return strings.HasPrefix(l, since10) || strings.HasPrefix(l, since11) || strings.HasPrefix(l, ofFields)
				})
			}
			want, got := contentOf(t, from), contentOf(t, to)
			for id, lines := range want {
				if id.key == "vector" {
					continue
				}
				if d := cmp.Diff(skip(lines), skip(got[id])); d != "" {
					t.Errorf("%v (-%s +%s): %s", id, c[0], c[1], d)
				}
			}
		})
	}
}

func restoreAll(t *testing.T, from, to *engine) {
	t.Helper()
	tr, err := rdb.NewTranscoder(rdb.Target{Version: to.Build.RDBVersion})
	if err != nil {
		t.Fatal(err)
	}
	for entry, err := range rdb.NewReader(bytes.NewReader(saveFile(t, from))).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Type == rdb.TypeModule2 {
			continue
		}
		payload, err := tr.AppendDump(nil, entry.Type, entry.Version, entry.Value)
		if err != nil {
			t.Fatalf("%q: %v", entry.Key, err)
		}
		to.Must("SELECT", entry.DB)
		to.Must("RESTORE", string(entry.Key), entry.ExpireAt, payload, "ABSTTL")
	}
	to.Must("SELECT", 0)
}

// change changes values of every type. What would take the engine's clock is left out.
func change(e *engine) {
	for _, line := range []string{
		"APPEND str:lzf more", "INCRBY 12345x 5", "SETRANGE str:plain 2 XX",
		"RPUSH list:small tail 77", "LPUSH list:small head", "LINSERT list:small BEFORE item3 between", "LREM list:small 1 2", "RPOP list:small",
		"LPUSH list:long new", "LSET list:long 700 " + strings.Repeat("w", 400), "LTRIM list:long 1 -30", "RPOP list:big", "LPOP list:big", "LPUSH list:big " + strings.Repeat("u", 300),
		"LREM list:squeezed -5 nothing", "LINSERT list:squeezed AFTER " + "nothing here", "RPOPLPUSH list:squeezed list:long",
		"SADD set:small new 5", "SREM set:small a 3", "SADD set:ints16 90000", "SREM set:big member:7 8",
		"HSET hash:small f " + strings.Repeat("v", 50) + " new 1", "HDEL hash:small 1", "HINCRBY hash:small n 300", "HSET hash:big field:1 x", "HDEL hash:big field:2",
		"ZADD zset:small 3 one 9 new", "ZINCRBY zset:small 0.5 new", "ZREM zset:small huge", "ZREM zset:signs zero", "ZADD zset:big 1 member:900", "ZREMRANGEBYRANK zset:big 0 5",
		"XADD stream:big 9000-1 f v", "XDEL stream:big 1003-1", "XACK stream:big g1 1000-1 1001-1", "XGROUP CREATE stream:big g9 1005-0", "XTRIM stream:big MAXLEN 200", "XGROUP DELCONSUMER stream:big g1 bob",
		"XADD stream:small 6-0 f w other x", "XADD stream:empty 8-0 a b",
	} {
		e.words(line)
	}
	if e.Build.FieldTTL {
		e.words("HPEXPIREAT httl:small 1950000000000 FIELDS 2 b c")
		e.words("HPERSIST httl:small FIELDS 1 a")
		e.words("HSET httl:big field:3 again")
		e.words("HPEXPIREAT httl:big 1950000000000 FIELDS 2 field:1 field:6")
		e.words("HDEL httl:big field:9 field:10")
	}
}

// TestMovedFieldsExpire moves a hash one of whose fields expires soon, both ways:
// the target lets it expire, and that one alone.
func TestMovedFieldsExpire(t *testing.T) {
	fields := func(n int, soon int64) []rdb.Field {
		var all []rdb.Field
		for i := range n {
			all = append(all, rdb.Field{Name: fmt.Append(nil, "f", i), Value: []byte("v"), ExpireAt: int64(i%3) * 1_500_000_000_000})
		}
		all[n/2].ExpireAt = soon
		return all
	}
	for _, c := range []struct {
		to      string
		version int
	}{{"redis-8.0", 12}, {"valkey-9.1", rdb.ValkeyVersion}} {
		t.Run(c.to, func(t *testing.T) {
			e := startEngine(t, c.to)
			tr, err := rdb.NewTranscoder(rdb.Target{Version: c.version})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{5, 2000} { // packed at the target, or not
				soon := time.Now().Add(200 * time.Millisecond).UnixMilli()
				typ, version, value := byte(rdb.TypeHash2), rdb.ValkeyVersion, rdb.AppendHash2(nil, fields(n, soon))
				if c.version == rdb.ValkeyVersion {
					typ, version, value = rdb.TypeHashTTL, 12, rdb.AppendHashTTL(nil, fields(n, soon))
				}
				payload, err := tr.AppendDump(nil, typ, version, value)
				if err != nil {
					t.Fatal(err)
				}
				e.Must("RESTORE", "h", 0, payload, "REPLACE")
				testkit.Wait(t, 20*time.Second, func() bool { return e.Must("HLEN", "h") == int64(n-expired(n)) },
					"%d of %d fields are left", n-expired(n), n)
				if got := e.Must("HEXISTS", "h", fmt.Sprint("f", n/2)); got != int64(0) {
					t.Errorf("the field that was to expire is there")
				}
			}
		})
	}
}

// expired is how many of the n fields have expired in the end: those of 2017, and the one of now.
func expired(n int) int {
	count := 0
	for i := range n {
		if i%3 == 1 || i == n/2 {
			count++
		}
	}
	return count
}
