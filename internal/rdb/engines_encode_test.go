package rdb_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
)

type made struct {
	key   string
	typ   byte
	value []byte
}

// makeValues makes values of every plain encoding, small and large.
func makeValues() []made {
	rng := rand.New(rand.NewPCG(3, 4))
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	distinct := func(n int) [][]byte {
		out := make([][]byte, n)
		for i := range out {
			switch i % 3 {
			case 0:
				out[i] = fmt.Appendf(nil, "%d", i*i*i-1000)
			default:
				out[i] = append(fmt.Appendf(nil, "%d:", i), text(i%50)...)
			}
		}
		return out
	}
	var out []made
	add := func(key string, typ byte, value []byte) { out = append(out, made{key, typ, value}) }
	for _, n := range []int{0, 1, 63, 64, 16383, 16384, 100_000} {
		add(fmt.Sprint("s:", n), rdb.TypeString, rdb.AppendString(nil, text(n)))
	}
	add("s:number", rdb.TypeString, rdb.AppendString(nil, []byte("1234567")))
	for _, n := range []int{1, 10, 500} {
		items := distinct(n)
		add(fmt.Sprint("l:", n), rdb.TypeList, rdb.AppendList(nil, items))
		add(fmt.Sprint("set:", n), rdb.TypeSet, rdb.AppendSet(nil, items))
		var fields []rdb.Field
		var members []rdb.Member
		for i, it := range items {
			fields = append(fields, rdb.Field{Name: it, Value: text(i % 100)})
			members = append(members, rdb.Member{Name: it, Score: []float64{math.Inf(-1), -1.5, 0, 1e-300, 3, math.Pi, 1 << 60, math.Inf(1)}[i*8/n]})
		}
		add(fmt.Sprint("h:", n), rdb.TypeHash, rdb.AppendHash(nil, fields))
		add(fmt.Sprint("z:", n), rdb.TypeZSet2, rdb.AppendZSet2(nil, members))
	}
	for _, n := range []int{0, 1, 99, 100, 101, 1000} {
		add(fmt.Sprint("x:", n), rdb.TypeStream, rdb.AppendStream(nil, makeStream(rng, n, text)))
	}
	return out
}

func makeStream(rng *rand.Rand, n int, text func(int) []byte) *rdb.Stream {
	s := &rdb.Stream{Meta: rdb.StreamMeta{Last: rdb.StreamID{Ms: 1 << 41, Seq: 9}}}
	ms := uint64(1_700_000_000_000)
	var ids []rdb.StreamID
	for i := range n {
		seq := uint64(math.MaxUint64-2000) + uint64(i)
		if i%4 != 0 {
			ms += uint64(rng.IntN(100_000))
			seq = uint64(i)
		} else {
			ms++
		}
		e := rdb.StreamEntry{ID: rdb.StreamID{Ms: ms, Seq: seq}}
		e.Pairs = [][]byte{[]byte("a"), text(i % 90), []byte("bb"), fmt.Append(nil, i*1000)}
		if i%7 == 3 {
			e.Pairs = append(e.Pairs, []byte("17"), text(5000*(i%2)))
		}
		s.Entries = append(s.Entries, e)
		ids = append(ids, e.ID)
	}
	if n < 5 {
		return s
	}
	g := rdb.Group{Name: []byte("workers"), Last: ids[4]}
	g.Consumers = []rdb.Consumer{{Name: []byte("w1"), Seen: 1_700_000_000_000}, {Name: []byte("idle"), Seen: 5}}
	for i, id := range ids[:4] {
		g.Pending = append(g.Pending, rdb.Pending{ID: id, Delivered: 1_700_000_000_000 + int64(i), Deliveries: uint64(i + 1)})
		g.Consumers[0].Pending = append(g.Consumers[0].Pending, id)
	}
	s.Groups = []rdb.Group{g, {Name: []byte("none"), Last: rdb.StreamID{}}}
	return s
}

// TestEncodedValuesRestore hands made values to every engine by RESTORE.
func TestEncodedValuesRestore(t *testing.T) {
	for _, name := range engineLines(t) {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, name)
			if _, err := e.Try("CONFIG", "SET", "sanitize-dump-payload", "yes"); err != nil {
				t.Logf("values are not checked in depth: %v", err) // not in 6.0, nor in Valkey 9
			}
			for _, m := range makeValues() {
				e.Must("RESTORE", m.key, 0, rdb.AppendDump(nil, m.typ, m.value, 9))
				checkMade(t, e, m)
			}
		})
	}
}

func checkMade(t *testing.T, e *engine, m made) {
	t.Helper()
	v, err := rdb.Decode(m.typ, 9, m.value)
	if err != nil {
		t.Fatalf("%s: %v", m.key, err)
	}
	checkValue(t, e, m.key, v)
}

// TestWrittenFilesLoad starts every engine on a file of our own, of every
// version that the engine loads.
func TestWrittenFilesLoad(t *testing.T) {
	loads := map[string][]int{"redis-6.0": {6, 9}, "redis-7.0": {9, 10}, "redis-8.0": {8, 11, 12}, "valkey-8.0": {11}, "valkey-8.1": {9, 11}, "valkey-9.1": {9, 11, 80}}
	for _, name := range engineLines(t) {
		for _, version := range loads[name] {
			t.Run(fmt.Sprint(name, "/", version), func(t *testing.T) {
				file := writeFile(t, version)
				e := startEngine(t, name, testkit.Dir(fileDir(t, "dump.rdb", file)))
				want := 0
				for _, m := range makeValues() {
					if rdb.Supports(version, m.typ) {
						checkMade(t, e, m)
						want++
					}
				}
				if n := e.Must("DBSIZE").(int64); n != int64(want) {
					t.Errorf("%d keys, want %d", n, want)
				}
				e.Must("SELECT", 3)
				if got := e.strings("KEYS", "*"); !slices.Equal(got, []string{"volatile"}) {
					t.Errorf("keys of database 3: %v", got)
				}
				if ttl := e.Must("PTTL", "volatile").(int64); ttl < 1 {
					t.Errorf("volatile has TTL %d", ttl)
				}
			})
		}
	}
}

func fileDir(t *testing.T, name string, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, version int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := rdb.NewWriter(&out, rdb.HeaderOf(version))
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.Aux("ctime", "1700000000"))
	check(w.SelectDB(0, int64(len(makeValues())), 0))
	for _, m := range makeValues() {
		e := rdb.Entry{Key: []byte(m.key), Type: m.typ, Value: m.value, Idle: 77, Freq: -1}
		if rdb.Supports(version, m.typ) {
			check(w.Write(&e))
		} else if err := w.Write(&e); err == nil || !strings.Contains(err.Error(), "type") {
			t.Fatalf("type %d in version %d: %v", m.typ, version, err)
		}
	}
	check(w.Write(&rdb.Entry{DB: 3, Key: []byte("volatile"), Value: rdb.AppendString(nil, []byte("v")), ExpireAt: 4_000_000_000_000, Idle: -1, Freq: 200}))
	check(w.Close())
	if int64(out.Len()) != w.Offset() {
		t.Fatalf("wrote %d bytes, says %d", out.Len(), w.Offset())
	}
	return out.Bytes()
}
