package mover

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/testkit"
)

const (
	threeMB = 3 << 20
	// farOff is beyond what 32 bits of seconds hold.
	farOff = 7_258_118_400_123
)

// fill gives a server keys of every type in every encoding that it can be made to
// use, in databases 0, 1, 5 and 12, and function libraries where it has such. No
// key has anything that some engine cannot hold.
func fill(t *testing.T, s *testkit.Server) { t.Helper(); fillDatabases(t, s, 0, 1, 5, 12) }

// fillOne does so in database 0, which is all that clusters have.
func fillOne(t *testing.T, s *testkit.Server) { t.Helper(); fillDatabases(t, s, 0) }

func fillDatabases(t *testing.T, s *testkit.Server, dbs ...int) {
	t.Helper()
	f := &filler{s: s, now: time.Now().UnixMilli()}
	f.seed()
	for _, db := range dbs {
		s.Must("SELECT", db)
		f.many("MSET", nil, 400, func(i int) []any { return []any{fmt.Sprintf("many:%d:%d", db, i), f.noise(20)} })
	}
	last := dbs[len(dbs)-1]
	f.strings() // these in the last one
	f.lists()
	f.sets()
	s.Must("SELECT", 0)
	f.hashes()
	f.zsets()
	f.streams()
	f.expiries(dbs)
	f.functions()
	for key, encoding := range f.encodings() {
		s.Must("SELECT", 0)
		if s.Must("EXISTS", key) == int64(0) {
			s.Must("SELECT", last)
		}
		if got := s.Must("OBJECT", "ENCODING", key); got != encoding {
			t.Errorf("%s of %s is %v, not %s", key, s.Build.Name, got, encoding)
		}
	}
	s.Must("SELECT", 0)
}

type filler struct {
	s   *testkit.Server
	rnd *rand.Rand
	now int64
	// vars are what some words stand for.
	vars map[string]any
}

// seed makes the noise the same every time.
func (f *filler) seed() { f.rnd = rand.New(rand.NewPCG(1, 2)) }

// noise is bytes that cannot be compressed.
func (f *filler) noise(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, f.rnd.Uint64())
	}
	return b[:n]
}

// many gives one command of many arguments; a key of nil is none.
func (f *filler) many(command string, key any, n int, args func(i int) []any) {
	all := []any{command}
	if key != nil {
		all = append(all, key)
	}
	for i := range n {
		all = append(all, args(i)...)
	}
	f.s.Must(all...)
}

// large is a value that is read in pieces.
func (f *filler) large() []byte { return []byte(strings.Repeat("large ", 300_000)) }

// words gives a command whose words have no spaces in them.
func (f *filler) words(command string) {
	var args []any
	for _, w := range strings.Fields(command) {
		if v, ok := f.vars[w]; ok {
			args = append(args, v)
			continue
		}
		args = append(args, w)
	}
	f.s.Must(args...)
}

func (f *filler) strings() {
	s := f.s
	for i, v := range []any{
		"", 0, -1, 127, -128, 128, 32767, -32768, 32768, math.MaxInt32, math.MinInt32, int64(math.MaxInt64), int64(math.MinInt64),
		"-0", "007", "1e5", " 1", "9223372036854775808", strings.Repeat("e", 44), strings.Repeat("r", 45), strings.Repeat("lzf", 1000),
		"\x00\xff\r\n\x80$5\r\n", f.noise(64), f.noise(16384),
	} {
		s.Must("SET", fmt.Sprintf("string:%d", i), v)
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, key := range []any{"", " ", 12345, -1, "{tag}", "a{b}c", "\xff\xfe\x00", every, "ключ", strings.Repeat("k", 300), strings.Repeat("k", 70000)} {
		s.Must("SET", key, "of an odd key")
	}
	s.Must("SET", "large:noise", f.noise(threeMB))
	s.Must("SET", "large:lzf", strings.Repeat("compressible ", threeMB/13))
	s.Must("SETBIT", "bits", 40000, 1)
	f.many("PFADD", "hyperloglog", 300, func(i int) []any { return []any{i} })
}

func (f *filler) lists() {
	s := f.s
	s.Must("RPUSH", "list:small", "a", "", 1, -1, f.noise(10))
	f.many("RPUSH", "list:long", 3000, func(i int) []any { return []any{fmt.Sprintf("item:%d", i), i*1000 - 1_500_000} })
	s.Must("RPUSH", "list:wide", f.noise(20000), "small", strings.Repeat("z", 9000), int64(1)<<40, -(int64(1) << 60))
	s.Must("RPUSH", "list:large", f.noise(threeMB/2), "between", f.noise(threeMB/2))
	s.Must("RPUSH", "list:same", "a", "a", "b", "a")
}

func (f *filler) sets() {
	s := f.s
	s.Must("SADD", "set:int16", 1, 2, -300)
	s.Must("SADD", "set:int32", 1, 70000)
	s.Must("SADD", "set:int64", 1, int64(1)<<40, int64(math.MinInt64))
	s.Must("SADD", "set:small", "a", "", 3, f.noise(10))
	f.many("SADD", "set:table", 1000, func(i int) []any { return []any{fmt.Sprintf("member:%d", i), i} })
	f.many("SADD", "set:ints", 1000, func(i int) []any { return []any{i * i} })
	s.Must("SADD", "set:large", f.noise(threeMB/2), f.noise(threeMB/2))
}

func (f *filler) hashes() {
	s := f.s
	s.Must("HSET", "hash:small", "f", "v", 1, -2, "", "empty field", "empty", "", f.noise(8), f.noise(8))
	s.Must("HSET", "hash:longvalue", "f", strings.Repeat("v", 3000))
	f.many("HSET", "hash:table", 1500, func(i int) []any { return []any{fmt.Sprintf("field:%d", i), f.noise(12), i, -i} })
	s.Must("HSET", "hash:large", "f", f.noise(threeMB))
}

func (f *filler) zsets() {
	s := f.s
	s.Must("ZADD", "zset:small", 1, "one", 2.5, "two and a half", "-inf", "lowest", "+inf", "highest", 1e300, "huge", -0.1, 7)
	s.Must("ZADD", "zset:exact", "0.1", "a", "0.30000000000000004", "b", "5e-324", "c", "-2.2250738585072014e-308", "d", "1.7976931348623157e308", "e",
		"9007199254740993", "f", "-0", "g", 0, f.noise(9), 0, "same", 0, "scores")
	f.many("ZADD", "zset:table", 1000, func(i int) []any { return []any{float64(i) / 3, fmt.Sprintf("member:%d", i), -i, i} })
	s.Must("ZADD", "zset:large", 1, f.noise(threeMB/2), 2, f.noise(threeMB/2))
	s.Must("GEOADD", "zset:geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
}

func (f *filler) streams() {
	s := f.s
	for i := range 400 {
		s.Must("XADD", "stream:long", fmt.Sprintf("%d-%d", 1000+i/3, i%3*10+1), "temperature", i, "note", fmt.Sprintf("n%d", i))
		if i%10 == 0 { // of other fields, which are stored in full
			s.Must("XADD", "stream:long", fmt.Sprintf("%d-%d", 1000+i/3, i%3*10+2), "other", "fields", 12, 34, "", i*7919-900_000)
		}
	}
	for _, c := range []string{
		"XDEL stream:long 1000-2 1010-11",
		"XGROUP CREATE stream:long g 0",
		"XGROUP CREATE stream:long idle 1020-0",
		"XREADGROUP GROUP g alice COUNT 9 STREAMS stream:long >",
		"XREADGROUP GROUP g bob COUNT 3 STREAMS stream:long >",
		"XREADGROUP GROUP g bob COUNT 1 STREAMS stream:long 0",
		"XACK stream:long g 1000-1",
		"XDEL stream:long 1000-11", // pending, and no longer there
		"XCLAIM stream:long g carol 0 1001-1 TIME 1600000000123 RETRYCOUNT 17 JUSTID",
		"XADD stream:empty 7-7 f v", "XDEL stream:empty 7-7", // which is the last identifier
		"XGROUP CREATE stream:empty g $",
		"XREADGROUP GROUP g waits STREAMS stream:empty >", // a consumer with nothing pending, where the engine makes one
		"XADD stream:max 18446744073709551615-18446744073709551614 f v",
	} {
		f.words(c)
	}
	s.Must("XADD", "stream:large", "5-1", "f", f.noise(threeMB), "", "")
}

func (f *filler) expiries(dbs []int) {
	s := f.s
	for i, db := range dbs {
		s.Must("SELECT", db)
		s.Must("SET", "expires:string", "v")
		s.Must("RPUSH", "expires:list", "v")
		s.Must("XADD", "expires:stream", "1-1", "f", "v")
		for j, key := range []string{"string", "list", "stream"} {
			at := []int64{f.now + 86_400_123, f.now + 604_800_999, 4_000_000_000_001, farOff}[(i+j)%4]
			s.Must("PEXPIREAT", "expires:"+key, at)
		}
	}
	s.Must("SELECT", 0)
}

func (f *filler) functions() {
	if !f.s.Build.Functions {
		return
	}
	for _, name := range []string{"first", "second"} {
		f.s.Must("FUNCTION", "LOAD", fmt.Sprintf("#!lua name=%s\nredis.register_function('%s_f', function() return '%s' end)", name, name, name))
	}
}

// encodings are those that keys must have, so that a change of the engines' limits
// does not make the data poor.
func (f *filler) encodings() map[string]string {
	small := "listpack"
	if !f.s.Build.ExpireTime { // before 7.0
		small = "ziplist"
	}
	return map[string]string{
		"hash:small": small, "hash:longvalue": "hashtable", "hash:table": "hashtable",
		"zset:small": small, "zset:table": "skiplist", "stream:long": "stream",
		"string:1": "int", "string:11": "int", "string:20": "raw", "list:long": "quicklist",
		"set:int16": "intset", "set:int64": "intset", "set:ints": "hashtable", "set:table": "hashtable",
	}
}
