package rdb_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/rdb"
)

var update = flag.Bool("update", false, "make testdata's files anew with the engines that are installed")

// fillSmall writes every encoding with few elements, so that the file is small.
func fillSmall(e *engine) {
	for _, setting := range []string{
		"list-max-ziplist-size 3", "hash-max-ziplist-entries 2", "set-max-intset-entries 3",
		"zset-max-ziplist-entries 2", "set-max-listpack-entries 2", "stream-node-max-entries 3",
	} {
		_, _ = e.Try("CONFIG", "SET", strings.Fields(setting)[0], strings.Fields(setting)[1]) // not every engine has every one
	}
	for _, line := range []string{
		"SET str:plain hello", "SET str:int -12345", "SET 77 number", "SET ttl:ms v PXAT 4000000000123",
		"SET str:lzf " + strings.Repeat("abc", 60),
		"RPUSH list:small a -1", "RPUSH list:nodes a 1 b 2 c 3 d 4000000000",
		"SADD set:int 1 2 70000", "SADD set:small a 2", "SADD set:big a b c d e 6",
		"HSET hash:small f v", "HSET hash:big a 1 b 2 c 3 d 4",
		"ZADD zset:small 1.5 a -inf 2", "ZADD zset:big 1 a 2 b 3 c inf d",
		"XADD stream:s 1-1 f v", "XADD stream:s 1-2 f w", "XADD stream:s 2-1 g 1 h 2", "XADD stream:s 3-1 f x", "XADD stream:s 4-1 f y",
		"XDEL stream:s 1-2", "XGROUP CREATE stream:s grp 0",
		"XCLAIM stream:s grp bob 0 1-1 TIME 1700000000000 RETRYCOUNT 3 FORCE", "XCLAIM stream:s grp amy 0 2-1 TIME 1700000000001 FORCE",
		"SELECT 5", "SET other v", "SELECT 0",
	} {
		if strings.Contains(line, " PXAT ") && !e.Build.ExpireTime {
			e.words("SET ttl:ms v")
			line = "PEXPIREAT ttl:ms 4000000000123"
		}
		e.words(line)
	}
	if e.Build.FieldTTL {
		e.words("HSET httl:small a 1")
		e.words("HPEXPIREAT httl:small 4000000000123 FIELDS 1 a")
		e.words("HSET httl:big a 1 b 2 c 3 d 4")
		e.words("HPEXPIREAT httl:big 4000000000123 FIELDS 1 a")
		e.words("HPEXPIREAT httl:big 4000000000200 FIELDS 1 c")
	}
	if e.Build.Functions {
		e.Must("FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() return 1 end)")
	}
}

// TestSmallEngineFiles checks small files of the installed engines; with -update
// it keeps them, and what they decode to, as testdata.
func TestSmallEngineFiles(t *testing.T) {
	for _, line := range engineLines(t) {
		t.Run(line, func(t *testing.T) {
			e := startEngine(t, line)
			fillSmall(e)
			e.Must("SAVE")
			file, err := os.ReadFile(filepath.Join(e.Dir, "dump.rdb"))
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, e, file)
			if *update && !t.Failed() {
				keep(t, filepath.Join("testdata", line+".rdb"), file)
				keep(t, filepath.Join("testdata", line+".txt"), []byte(describe(t, file)))
			}
		})
	}
}

func keep(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe gives a file's entries in words.
func describe(t *testing.T, file []byte) string {
	t.Helper()
	var b strings.Builder
	r := rdb.NewReader(bytes.NewReader(file))
	h, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, h)
	for e, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		v, err := rdb.Decode(e.Type, h.Version, e.Value)
		if err != nil {
			t.Fatalf("%q: %v", e.Key, err)
		}
		fmt.Fprintf(&b, "db%d %q type %d expires %d: %s %q", e.DB, e.Key, e.Type, e.ExpireAt, v.Class, v.Text)
		for _, it := range v.Items {
			fmt.Fprintf(&b, " %q", it)
		}
		for _, f := range v.Fields {
			fmt.Fprintf(&b, " %q=%q@%d", f.Name, f.Value, f.ExpireAt)
		}
		for _, m := range v.Members {
			fmt.Fprintf(&b, " %q:%g", m.Name, m.Score)
		}
		if s := v.Stream; s != nil {
			describeStream(&b, s)
		}
		b.WriteByte('\n')
	}
	for _, f := range r.Functions() {
		code, err := f.Code()
		fmt.Fprintf(&b, "function %q %v\n", code, err)
	}
	return b.String()
}

func describeStream(b *strings.Builder, s *rdb.Stream) {
	for _, it := range s.Entries {
		fmt.Fprintf(b, " %d-%d%q", it.ID.Ms, it.ID.Seq, it.Pairs)
	}
	fmt.Fprintf(b, " %+v", s.Meta)
	for _, g := range s.Groups {
		fmt.Fprintf(b, " group %q %v read %d pending %v", g.Name, g.Last, g.Read, g.Pending)
		for _, c := range g.Consumers {
			fmt.Fprintf(b, " consumer %q %v", c.Name, c.Pending)
		}
	}
}

// TestKeptFiles needs no engine: the kept files decode to what they did when
// engines confirmed it.
func TestKeptFiles(t *testing.T) {
	files := keptFiles(t)
	if len(files) < 4 {
		t.Fatalf("%d files in testdata", len(files))
	}
	for name, file := range files {
		want, err := os.ReadFile(filepath.Join("testdata", strings.TrimSuffix(name, ".rdb")+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), describe(t, file)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		checkDamage(t, file)
	}
}

func keptFiles(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.rdb")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(p)] = b
	}
	return out
}
