package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/rdb"
)

// TestEngineFiles reads what each engine saves: every entry must be what DUMP
// says of it, and must decode to what the engine's own commands say.
func TestEngineFiles(t *testing.T) {
	for _, name := range engineLines(t) {
		t.Run(name, func(t *testing.T) {
			e := startEngine(t, name)
			fill(t, e)
			e.Must("SAVE")
			file, err := os.ReadFile(filepath.Join(e.Dir, "dump.rdb"))
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, e, file)
			checkDamage(t, file)
		})
	}
}

func checkFile(t *testing.T, e *engine, file []byte) {
	r := rdb.NewReader(bytes.NewReader(file))
	h, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, db := range []int{0, 5} {
		e.Must("SELECT", db)
		for _, k := range e.strings("KEYS", "*") {
			left[fmt.Sprint(db, "/", k)] = true
		}
	}
	types := map[byte]int{}
	for entry, err := range r.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprint(entry.DB, "/", string(entry.Key))
		if !left[id] {
			t.Errorf("%q is not a key of the engine, or came twice", id)
		}
		delete(left, id)
		types[entry.Type]++
		e.Must("SELECT", entry.DB)
		checkEntry(t, e, entry, h.Version)
	}
	if len(left) > 0 {
		t.Errorf("not in the file: %v", left)
	}
	if !r.Checksummed() || r.Offset() != int64(len(file)) {
		t.Errorf("checksummed %v, %d of %d bytes", r.Checksummed(), r.Offset(), len(file))
	}
	t.Logf("%s: types %v, aux %v", h, types, r.Aux())
	if e.Build.Functions {
		code, err := r.Functions()[0].Code()
		if err != nil || len(r.Functions()) != 1 || code[:17] != "#!lua name=mylib\n" {
			t.Errorf("functions %v, %v", r.Functions(), err)
		}
	}
}

func checkEntry(t *testing.T, e *engine, entry *rdb.Entry, version int) {
	t.Helper()
	key := string(entry.Key)
	dump, err := rdb.ParseDump([]byte(e.Must("DUMP", key).(string)))
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	if dump.Version != version || dump.Type != entry.Type {
		t.Errorf("%q: file has version %d type %d, DUMP has %d and %d", key, version, entry.Type, dump.Version, dump.Type)
	}
	if !bytes.Equal(dump.Value, entry.Value) {
		t.Errorf("%q: the file's value is not DUMP's", key)
	}
	payload := []byte(e.Must("DUMP", key).(string))
	if got := rdb.AppendDump(nil, entry.Type, entry.Value, version); !bytes.Equal(got, payload) {
		t.Errorf("%q: AppendDump is not DUMP", key)
	}
	if err := rdb.CheckValue(entry.Type, version, entry.Value); err != nil {
		t.Errorf("%q: %v", key, err)
	}
	v, err := rdb.Decode(entry.Type, version, entry.Value)
	if err != nil {
		t.Fatalf("%q type %d: %v", key, entry.Type, err)
	}
	checkValue(t, e, key, v)
	if (entry.ExpireAt != 0) != (key[0] == 't') {
		t.Errorf("%q expires at %d", key, entry.ExpireAt)
	}
	if left := e.Must("PTTL", key).(int64); entry.ExpireAt != 0 && e.Build.ExpireTime {
		if at := e.Must("PEXPIRETIME", key).(int64); at != entry.ExpireAt || left < 0 {
			t.Errorf("%q expires at %d, the file says %d", key, at, entry.ExpireAt)
		}
	}
}

// checkValue compares a decoded value with what the engine's commands return.
func checkValue(t *testing.T, e *engine, key string, v *rdb.Value) {
	t.Helper()
	if v.Class == rdb.ClassModule {
		return // opaque; that it is whole was checked
	}
	if typ := e.Must("TYPE", key); typ != v.Class.String() {
		t.Errorf("%q is a %s, decoded as %s", key, typ, v.Class)
		return
	}
	var want, got []string
	switch v.Class {
	case rdb.ClassString:
		want, got = []string{e.Must("GET", key).(string)}, []string{string(v.Text)}
	case rdb.ClassList:
		want, got = e.strings("LRANGE", key, 0, -1), texts(v.Items)
	case rdb.ClassSet:
		want, got = e.strings("SMEMBERS", key), texts(v.Items)
		slices.Sort(want)
		slices.Sort(got)
	case rdb.ClassHash:
		want, got = wantHash(e, key), gotHash(v)
	case rdb.ClassZSet:
		want, got = wantZSet(t, e, key), gotZSet(v)
	case rdb.ClassStream:
		want, got = wantStream(e, key), gotStream(v.Stream)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%q (-engine +decoded): %s", key, d)
	}
}

func texts(b [][]byte) []string {
	out := make([]string, len(b))
	for i := range b {
		out[i] = string(b[i])
	}
	return out
}

func wantHash(e *engine, key string) []string {
	var out []string
	all := e.strings("HGETALL", key)
	for i := 0; i < len(all); i += 2 {
		at := "-1"
		if key[:2] == "ht" {
			at = e.strings("HPEXPIRETIME", key, "FIELDS", 1, all[i])[0]
		}
		out = append(out, fmt.Sprintf("%q=%q until %s", all[i], all[i+1], at))
	}
	slices.Sort(out)
	return out
}

func gotHash(v *rdb.Value) []string {
	var out []string
	for _, f := range v.Fields {
		at := f.ExpireAt
		if at == 0 {
			at = -1
		}
		out = append(out, fmt.Sprintf("%q=%q until %d", f.Name, f.Value, at))
	}
	slices.Sort(out)
	return out
}

func wantZSet(t *testing.T, e *engine, key string) []string {
	var out []string
	all := e.strings("ZRANGE", key, 0, -1, "WITHSCORES")
	for i := 0; i < len(all); i += 2 {
		f, err := strconv.ParseFloat(all[i+1], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%q %x", all[i], math.Float64bits(f)))
	}
	slices.Sort(out)
	return out
}

func gotZSet(v *rdb.Value) []string {
	var out []string
	for _, m := range v.Members {
		out = append(out, fmt.Sprintf("%q %x", m.Name, math.Float64bits(m.Score)))
	}
	slices.Sort(out)
	return out
}

func fullID(id rdb.StreamID) string { return fmt.Sprintf("%d-%d", id.Ms, id.Seq) }

func wantStream(e *engine, key string) []string {
	var out []string
	for _, it := range e.Must("XRANGE", key, "-", "+").([]any) {
		out = append(out, fmt.Sprint(it))
	}
	info := e.Must("XINFO", "STREAM", key).([]any)
	for i := 0; i < len(info); i += 2 {
		if info[i] == "last-generated-id" || info[i] == "length" {
			out = append(out, fmt.Sprint(info[i], " ", info[i+1]))
		}
	}
	for _, g := range e.Must("XINFO", "GROUPS", key).([]any) {
		name := g.([]any)[1].(string)
		out = append(out, "group "+name)
		for _, p := range e.Must("XPENDING", key, name, "-", "+", 100).([]any) {
			p := p.([]any)
			out = append(out, fmt.Sprintf("pending %s %s %d", p[0], p[1], p[3]))
		}
		for _, c := range e.Must("XINFO", "CONSUMERS", key, name).([]any) {
			out = append(out, fmt.Sprint("consumer ", c.([]any)[1]))
		}
	}
	slices.Sort(out)
	return out
}

func gotStream(s *rdb.Stream) []string {
	var out []string
	for _, it := range s.Entries {
		out = append(out, fmt.Sprintf("[%s %v]", fullID(it.ID), texts(it.Pairs)))
	}
	out = append(out, "last-generated-id "+fullID(s.Meta.Last), fmt.Sprint("length ", s.Meta.Length))
	for _, g := range s.Groups {
		out = append(out, "group "+string(g.Name))
		owner := map[rdb.StreamID]string{}
		for _, c := range g.Consumers {
			out = append(out, "consumer "+string(c.Name))
			for _, id := range c.Pending {
				owner[id] = string(c.Name)
			}
		}
		for _, p := range g.Pending {
			out = append(out, fmt.Sprintf("pending %s %s %d", fullID(p.ID), owner[p.ID], p.Deliveries))
		}
	}
	slices.Sort(out)
	return out
}

// checkDamage cuts and flips a file at many places: always an error, with an offset in the file.
func checkDamage(t *testing.T, file []byte) {
	t.Helper()
	drain := func(b []byte) error {
		r := rdb.NewReader(bytes.NewReader(b))
		for {
			if _, err := r.Next(); err != nil {
				return err
			}
		}
	}
	if err := drain(file); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	step := max(1, len(file)/150)
	for at := 0; at < len(file); at += step {
		var e *rdb.Error
		err := drain(file[:at])
		if !errors.As(err, &e) || !errors.Is(err, rdb.ErrTruncated) || e.Offset != int64(at) {
			t.Fatalf("cut at %d: %v", at, err)
		}
		flipped := bytes.Clone(file)
		flipped[at] ^= 1 << (at % 8)
		if err := drain(flipped); !errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(file)) {
			t.Fatalf("flipped at %d: %v", at, err)
		}
	}
}
