package flowtest

import (
	"fmt"
	"io"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Content is what a keyspace holds, by database and key, in a form that does not
// depend on encodings.
type Content map[string]Item

// Item is one key's value. Value is decoded.
type Item struct {
	Value    *rdb.Value
	ExpireAt int64
}

// Value is an entry's value, from its Body if it has one.
func Value(e *flow.Entry) ([]byte, error) {
	if e.Body == nil {
		return e.Value, nil
	}
	return io.ReadAll(e.Body)
}

// Put adds an entry, decoded, and tells whether its key is new.
func (c Content) Put(e *flow.Entry) (bool, error) {
	name := fmt.Sprintf("%d/%q", e.DB, e.Key)
	value, err := Value(e)
	if err != nil {
		return false, fmt.Errorf("the value of %s: %w", name, err)
	}
	if err := rdb.CheckValue(e.Type, e.Version, value); err != nil {
		return false, fmt.Errorf("the value of %s is not whole: %w", name, err)
	}
	v, err := rdb.Decode(e.Type, e.Version, value)
	if err != nil {
		return false, fmt.Errorf("the value of %s: %w", name, err)
	}
	_, had := c[name]
	c[name] = Item{v, e.ExpireAt}
	return !had, nil
}

// Read collects what a source yields and fails the test on an error or when a
// key comes twice.
func Read(t testing.TB, entries iter.Seq2[*flow.Entry, error]) Content {
	t.Helper()
	c := Content{}
	for e, err := range entries {
		if err != nil {
			t.Fatalf("the source failed after %d keys: %v", len(c), err)
		}
		fresh, err := c.Put(e)
		if err != nil {
			t.Fatal(err)
		}
		if !fresh {
			t.Fatalf("key %q of database %d came twice", e.Key, e.DB)
		}
	}
	return c
}

// Same fails the test where two contents differ. Sets, hashes and sorted sets
// are compared without their order, and of streams their entries.
func Same(t testing.TB, got, want Content) {
	t.Helper()
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if d := cmp.Diff(canonical(w), canonical(g)); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, d)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s should not be there", name)
		}
	}
}

// canonical makes items comparable across encodings.
func canonical(it Item) any {
	v := it.Value
	out := map[string]any{"type": v.Class.String(), "expires": it.ExpireAt, "text": string(v.Text)}
	switch v.Class {
	case rdb.ClassList:
		var l []string
		for _, i := range v.Items {
			l = append(l, string(i))
		}
		out["list"] = l
	case rdb.ClassStream:
		var l []string
		for _, e := range v.Stream.Entries {
			l = append(l, fmt.Sprintf("%d-%d %q", e.ID.Ms, e.ID.Seq, e.Pairs))
		}
		out["stream"], out["groups"] = l, len(v.Stream.Groups)
	default:
		for _, i := range v.Items {
			out["i "+string(i)] = true
		}
		for _, f := range v.Fields {
			out["f "+string(f.Name)] = fmt.Sprintf("%q %d", f.Value, f.ExpireAt)
		}
		for _, m := range v.Members {
			out["m "+string(m.Name)] = m.Score
		}
	}
	return out
}

// Sample is a small keyspace: every type, two databases, expiries, odd keys, a
// long value. Expiries are in the far future. Every engine since Redis 5 holds it.
func Sample() []flow.Entry {
	far := int64(4_000_000_000_123)
	long := make([]byte, 300_000)
	for i := range long {
		long[i] = byte(i * i)
	}
	b := func(s ...string) (out [][]byte) {
		for _, x := range s {
			out = append(out, []byte(x))
		}
		return out
	}
	stream := &rdb.Stream{Entries: []rdb.StreamEntry{
		{ID: rdb.StreamID{Ms: 1, Seq: 1}, Pairs: b("f", "1")}, {ID: rdb.StreamID{Ms: 2}, Pairs: b("g", "2", "h", "3")},
	}}
	e := []flow.Entry{
		{Key: []byte("string"), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("text"))},
		{Key: []byte("empty"), Type: rdb.TypeString, Value: rdb.AppendString(nil, nil)},
		{Key: []byte("number"), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("12345"))},
		{Key: []byte("long"), Type: rdb.TypeString, Value: rdb.AppendString(nil, long), ExpireAt: far},
		{Key: []byte("bytes\x00\r\n\xff"), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("\x00\r\n$1\r\n")), ExpireAt: far + 1},
		{Key: []byte(""), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("of the empty key"))},
		{Key: []byte("list"), Type: rdb.TypeList, Value: rdb.AppendList(nil, b("b", "a", "b", "")), ExpireAt: far + 2},
		{Key: []byte("set"), Type: rdb.TypeSet, Value: rdb.AppendSet(nil, b("x", "y", "z"))},
		{Key: []byte("intset"), Type: rdb.TypeSet, Value: rdb.AppendSet(nil, b("1", "-5", "70000"))},
		{Key: []byte("hash"), Type: rdb.TypeHash, Value: rdb.AppendHash(nil, []rdb.Field{{Name: []byte("f"), Value: []byte("v")}, {Name: []byte("g"), Value: long[:5000]}})},
		{Key: []byte("zset"), Type: rdb.TypeZSet2, Value: rdb.AppendZSet2(nil, []rdb.Member{{Name: []byte("m"), Score: -1.5}, {Name: []byte("n"), Score: 1e300}})},
		{Key: []byte("stream"), Type: rdb.TypeStream, Value: rdb.AppendStream(nil, stream)},
		{DB: 3, Key: []byte("string"), Type: rdb.TypeString, Value: rdb.AppendString(nil, []byte("of database 3")), ExpireAt: far},
		{DB: 3, Key: []byte("list"), Type: rdb.TypeList, Value: rdb.AppendList(nil, b("only"))},
	}
	for i := range e {
		e[i].Version, e[i].Idle, e[i].Freq = 9, -1, -1
	}
	return e
}

// SampleContent is Sample as a Content.
func SampleContent(t testing.TB) Content {
	t.Helper()
	c := Content{}
	for _, e := range Sample() {
		if _, err := c.Put(&e); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
