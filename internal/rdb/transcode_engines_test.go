package rdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

// origin is what one engine held: as a file, as payloads, and as its own
// commands tell it.
type origin struct {
	line      string
	version   int
	fieldTTL  bool
	functions bool
	file      []byte
	payloads  map[keyID][]byte
	content   map[keyID][]string
}

type keyID struct {
	db  int
	key string
}

// fillMore adds what the other tests have no use for.
func fillMore(e *engine) {
	e.words("ZADD zset:signs -0.0 minus 0 zero 3.0000000000000004 near 1e-320 tiny -1.7976931348623157e308 least")
	e.words("XREADGROUP GROUP g lurker COUNT 1 STREAMS stream:empty >") // a consumer with nothing
	e.words("XREADGROUP GROUP g2 dave COUNT 5 STREAMS stream:big >")
	e.words("XDEL stream:big 1021-1 1021-2 1022-11") // pending and gone
	for i := range 300 {
		e.Must("RPUSH", "list:squeezed", strings.Repeat(fmt.Sprint("again and again ", i%3), 40))
		e.Must("HSET", "hash:squeezed", fmt.Sprint("f", i), strings.Repeat("same ", 50+i))
	}
	e.Must("SELECT", 5)
	e.words("ZADD zset:small 1 other 2 database")
	e.words("SADD set:small x y z 17")
	e.words("RPUSH list:small one 2 three")
	e.words("SET ttl:other v PX 100000000")
	if e.Build.FieldTTL {
		e.words("HSET httl:small other database")
		e.words("HPEXPIREAT httl:small 4000000000000 FIELDS 1 other")
	}
	e.Must("SELECT", 0)
}

func makeOrigin(t *testing.T, line string) *origin {
	e := startEngine(t, line)
	fill(t, e)
	fillMore(e)
	o := &origin{line: line, version: e.Build.RDBVersion, fieldTTL: e.Build.FieldTTL, functions: e.Build.Functions, payloads: map[keyID][]byte{}}
	o.content = contentOf(t, e)
	for id := range o.content {
		e.Must("SELECT", id.db)
		o.payloads[id] = []byte(e.Must("DUMP", id.key).(string))
	}
	o.file = saveFile(t, e)
	e.Stop()
	return o
}

func saveFile(t *testing.T, e *engine) []byte {
	t.Helper()
	e.Must("SAVE")
	b, err := os.ReadFile(filepath.Join(e.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTranscodeMatrix moves everything from every engine to every engine, as a
// file that it loads when it starts and as payloads for RESTORE, and compares by
// fingerprint and by what plain commands return.
func TestTranscodeMatrix(t *testing.T) {
	lines := engineLines(t)
	origins := map[string]*origin{}
	for _, line := range lines {
		t.Run("fill/"+line, func(t *testing.T) { origins[line] = makeOrigin(t, line) })
	}
	for _, to := range lines {
		t.Run("to/"+to, func(t *testing.T) {
			live := startEngine(t, to)
			for _, from := range lines {
				o := origins[from]
				if o == nil {
					continue // missing or failed, which was said
				}
				t.Run("from/"+from+"/file", func(t *testing.T) { o.byFile(t, to) })
				t.Run("from/"+from+"/restore", func(t *testing.T) {
					live.t = t
					live.Must("FLUSHALL")
					o.byRestore(t, live)
				})
			}
		})
	}
}

// lacks tells what of a key the target cannot hold.
func (o *origin) lacks(e *engine, key string) rdb.Loss {
	switch {
	case strings.HasPrefix(key, "httl:") && !e.Build.FieldTTL:
		return rdb.LossFieldTTL
	case key == "vector" && e.Build.RDBVersion != 12:
		return rdb.LossVectorSet
	}
	return ""
}

func wantLoss(t *testing.T, key string, err error, want rdb.Loss) {
	t.Helper()
	var loss *rdb.LossError
	if errors.As(err, &loss); want == "" && err != nil || want != "" && (loss == nil || loss.What != want) {
		t.Fatalf("%q: %v, want a loss of %q", key, err, want)
	}
}

func (o *origin) byFile(t *testing.T, line string) {
	build := testkit.Engine(t, line)
	probe := &engine{&testkit.Server{Build: build}, t} // not started: for what it can hold
	target := rdb.Target{Version: build.RDBVersion}
	dropping := rdb.Target{Version: build.RDBVersion, DropFieldTTL: true}
	var out bytes.Buffer
	strict, err := rdb.NewTargetWriter(new(bytes.Buffer), target)
	if err != nil {
		t.Fatal(err)
	}
	w, err := rdb.NewTargetWriter(&out, dropping)
	if err != nil {
		t.Fatal(err)
	}
	r := rdb.NewReader(bytes.NewReader(o.file))
	first := true
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Functions() {
			if !first {
				break
			}
			if err := w.Function(f); build.Functions != (err == nil) {
				t.Fatalf("functions: %v", err)
			} else if err != nil {
				wantLoss(t, "functions", err, rdb.LossFunctions)
			}
		}
		first = false
		lacks := o.lacks(probe, string(e.Key))
		wantLoss(t, string(e.Key), strict.Write(e), lacks)
		if lacks == rdb.LossFieldTTL {
			lacks = ""
		}
		wantLoss(t, string(e.Key), w.Write(e), lacks)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e := startEngine(t, line, testkit.Dir(fileDir(t, "dump.rdb", out.Bytes())))
	o.compare(t, e)
	if o.functions && build.Functions {
		if got := e.Must("FUNCTION", "LIST").([]any); len(got) != 1 {
			t.Errorf("functions: %v", got)
		}
	}
	t.Logf("%d of %d keys written anew, %d field TTLs dropped", w.Stats().Reencoded, len(o.content), w.Stats().DroppedFieldTTLs)
	e.Stop()
}

func (o *origin) byRestore(t *testing.T, e *engine) {
	_, _ = e.Try("CONFIG", "SET", "sanitize-dump-payload", "yes") // not every engine has it
	strict, err := rdb.NewTranscoder(rdb.Target{Version: e.Build.RDBVersion})
	if err != nil {
		t.Fatal(err)
	}
	dropping, err := rdb.NewTranscoder(rdb.Target{Version: e.Build.RDBVersion, DropFieldTTL: true})
	if err != nil {
		t.Fatal(err)
	}
	expires := map[keyID]int64{}
	for entry, err := range rdb.NewReader(bytes.NewReader(o.file)).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		expires[keyID{entry.DB, string(entry.Key)}] = entry.ExpireAt
	}
	for id, payload := range o.payloads {
		d, err := rdb.ParseDump(payload)
		if err != nil {
			t.Fatal(err)
		}
		lacks := o.lacks(e, id.key)
		out, err := strict.AppendDump(nil, d.Type, d.Version, d.Value)
		wantLoss(t, id.key, err, lacks)
		if lacks == rdb.LossFieldTTL {
			out, err = dropping.AppendDump(nil, d.Type, d.Version, d.Value)
			wantLoss(t, id.key, err, "")
		}
		if lacks == rdb.LossVectorSet {
			continue
		}
		e.Must("SELECT", id.db)
		e.Must("RESTORE", id.key, expires[id], out, "ABSTTL")
	}
	o.compare(t, e)
}

// compare checks an engine's content against the origin's, less what it cannot hold.
func (o *origin) compare(t *testing.T, e *engine) {
	t.Helper()
	both := min(o.version, e.Build.RDBVersion)
	bothTTL := o.fieldTTL && e.Build.FieldTTL
	adapt := func(all map[keyID][]string) map[keyID][]string {
		out := map[keyID][]string{}
		for id, lines := range all {
			if o.lacks(e, id.key) == rdb.LossVectorSet {
				continue
			}
			out[id] = slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
				return both < 10 && strings.HasPrefix(l, since10) || both < 11 && strings.HasPrefix(l, since11) ||
					!bothTTL && strings.HasPrefix(l, ofFields)
			})
		}
		return out
	}
	want := adapt(o.content)
	if d := cmp.Diff(want, adapt(contentOf(t, e))); d != "" {
		t.Errorf("(-%s +%s): %s", o.line, e.Build.Name, d)
	}
	// A vector set's serialization changes when it is loaded: the engine turns the order of its nodes around.
	keep := func(e2 *rdb.Entry) bool { return o.lacks(e, string(e2.Key)) == "" && string(e2.Key) != "vector" }
	from, to := fingerprintOf(t, o.file, keep), fingerprintOf(t, saveFile(t, e), keep)
	if from.String() != to.String() {
		t.Errorf("fingerprints: %s %v\n%s %v", from, from.Totals(), to, to.Totals())
	}
	if n := from.Totals().Keys; n < 40 {
		t.Errorf("%d keys are compared", n)
	}
}

// kept is a file as a source, less the keys that are not to be compared.
type kept struct {
	file []byte
	keep func(*rdb.Entry) bool
}

func (k kept) Close() error { return nil }

func (k kept) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range rdb.NewReader(bytes.NewReader(k.file)).Entries() {
			if err != nil {
				yield(nil, err)
				return
			}
			out := flow.Entry{DB: e.DB, Key: e.Key, Type: e.Type, Version: e.Version, Value: e.Value, ExpireAt: e.ExpireAt}
			if k.keep(e) && !yield(&out, nil) {
				return
			}
		}
	}
}

func fingerprintOf(t *testing.T, file []byte, keep func(*rdb.Entry) bool) *verify.Fingerprint {
	t.Helper()
	f, err := verify.Compute(t.Context(), kept{file, keep}, verify.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestOldEncodingsPassDeepCheck hands what is written for Redis 6 to engines that
// check packed lists element by element, which Redis 6 does not.
func TestOldEncodingsPassDeepCheck(t *testing.T) {
	o := makeOrigin(t, "valkey-8.1")
	for _, line := range []string{"redis-7.0", "valkey-8.1"} {
		t.Run(line, func(t *testing.T) {
			e := startEngine(t, line)
			e.Must("CONFIG", "SET", "sanitize-dump-payload", "yes")
			tr, err := rdb.NewTranscoder(rdb.Target{Version: 9})
			if err != nil {
				t.Fatal(err)
			}
			types := map[byte]int{}
			for id, payload := range o.payloads {
				d, err := rdb.ParseDump(payload)
				if err != nil {
					t.Fatal(err)
				}
				out, err := tr.AppendDump(nil, d.Type, d.Version, d.Value)
				if err != nil {
					t.Fatalf("%q: %v", id.key, err)
				}
				types[out[0]]++
				e.Must("SELECT", id.db)
				e.Must("RESTORE", id.key, 0, out, "REPLACE")
				if d := cmp.Diff(withoutExpiry(o.content[id]), withoutExpiry(contentOfKey(t, e, id.key))); d != "" {
					t.Errorf("%q: %s", id.key, d)
				}
			}
			for _, typ := range []byte{rdb.TypeHashZiplist, rdb.TypeZSetZiplist, rdb.TypeQuicklist, rdb.TypeStream} {
				if types[typ] == 0 {
					t.Errorf("no value of type %d was made: %v", typ, types)
				}
			}
		})
	}
}

// withoutExpiry leaves out what payloads, and streams of Redis 6, do not carry.
func withoutExpiry(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return l == "volatile" || strings.HasPrefix(l, since10) || strings.HasPrefix(l, since11)
	})
}

// TestFieldExpiryLimits asks the engines for the limits that the transcoder keeps.
func TestFieldExpiryLimits(t *testing.T) {
	fields := func(at int64) []rdb.Field {
		return []rdb.Field{{Name: []byte("never"), Value: []byte("1")}, {Name: []byte("f"), Value: []byte("v"), ExpireAt: at}}
	}
	valkey := startEngine(t, "valkey-9.1")
	for _, at := range []int64{4_000_000_000_000, 1<<48 - 1, 1 << 48, 1 << 62} {
		valkey.Must("RESTORE", "h", 0, rdb.AppendDump(nil, rdb.TypeHash2, rdb.AppendHash2(nil, fields(at)), 80), "REPLACE")
		if got := valkey.Must("HPEXPIRETIME", "h", "FIELDS", 2, "f", "never"); fmt.Sprint(got) != fmt.Sprintf("[%d -1]", at) {
			t.Errorf("Valkey: expiry %d is %v", at, got)
		}
	}
	if _, err := valkey.Try("RESTORE", "h", 0, rdb.AppendDump(nil, rdb.TypeHash2, rdb.AppendHash2(nil, fields(-5)), 80), "REPLACE"); err == nil {
		t.Error("Valkey takes an expiry before 1970")
	}
	redis := startEngine(t, "redis-8.0")
	for _, at := range []int64{4_000_000_000_000, 1<<48 - 1, 1 << 48} {
		payload := rdb.AppendDump(nil, rdb.TypeHashTTL, rdb.AppendHashTTL(nil, fields(at)), 12)
		if _, err := redis.Try("RESTORE", "h", 0, payload, "REPLACE"); (err != nil) != (at >= 1<<48) {
			t.Errorf("Redis: expiry %d: %v", at, err)
		}
		if got := redis.Must("HPEXPIRETIME", "h", "FIELDS", 2, "f", "never"); fmt.Sprint(got) != fmt.Sprintf("[%d -1]", min(at, 1<<48-1)) {
			t.Errorf("Redis: expiry %d is %v", at, got)
		}
	}
}
