package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// bodies is a source whose values are read as they come, each until the next is asked for.
type bodies struct{ memory }

func (b *bodies) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range b.memory.Entries(ctx) {
			if err == nil {
				r := &once{r: bytes.NewReader(e.Value)}
				e.Value, e.Body = nil, r
				ok := yield(e, nil)
				r.r = nil
				if !ok {
					return
				}
				continue
			}
			yield(nil, err)
		}
	}
}

// once fails the test by a panic where it is read too late.
type once struct{ r *bytes.Reader }

func (o *once) Read(p []byte) (int, error) { return o.r.Read(p) }

func TestBodiesGiveTheSameFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := genItems(t)
		entries := encodeAll(items, picker(t))
		want := compute(t, entries)
		got, err := Compute(context.Background(), &bodies{memory{entries: entries}}, Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() || got.Totals() != want.Totals() {
			t.Fatalf("as they come %s %+v, at once %s %+v", got, got.Totals(), want, want.Totals())
		}
	})
}

// TestRunning: a hash of parts is the hash of the whole, wherever it is cut.
func TestRunning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")
		from := Hash{rapid.Uint64().Draw(t, "lo"), rapid.Uint64().Draw(t, "hi")}
		r := running{h: from}
		for rest := all; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "part")
			r.add(rest[:n])
			rest = rest[n:]
		}
		if got, want := r.sum(), murmur(all, from); got != want {
			t.Fatalf("%x in parts, %x at once", got, want)
		}
	})
}

// longValues hold strings that are too long to be held.
func longValues() map[string]flow.Entry {
	a, b := bytes.Repeat([]byte("abcdefghi"), 150_000), bytes.Repeat([]byte("x"), 1<<20+17)
	out := map[string]flow.Entry{
		"string": {Type: rdb.TypeString, Value: rdb.AppendString(nil, a)},
		"list":   {Type: rdb.TypeList, Value: rdb.AppendList(nil, [][]byte{a, []byte("short"), b, a})},
		"set":    {Type: rdb.TypeSet, Value: rdb.AppendSet(nil, [][]byte{a, []byte("short"), b})},
		"zset":   {Type: rdb.TypeZSet2, Value: rdb.AppendZSet2(nil, []rdb.Member{{Name: a, Score: 1}, {Name: b, Score: 2}})},
		"hash": {Type: rdb.TypeHash, Value: rdb.AppendHash(nil, []rdb.Field{
			{Name: []byte("a"), Value: a}, {Name: []byte("s"), Value: []byte("v")}, {Name: b, Value: b},
		})},
		"fields": {Type: rdb.TypeHashTTL, Version: 12, Value: rdb.AppendHashTTL(nil, []rdb.Field{
			{Name: []byte("a"), Value: a, ExpireAt: 4_000_000_000_000}, {Name: []byte("b"), Value: b},
		})},
	}
	for name, e := range out {
		e.Key, e.Version = []byte(name), max(e.Version, 11)
		out[name] = e
	}
	return out
}

// TestLongStringsGiveTheSameFingerprint: what comes in parts counts as what is held,
// and a byte more or less, or a place, does too.
func TestLongStringsGiveTheSameFingerprint(t *testing.T) {
	for name, e := range longValues() {
		print := func(src flow.Source) string {
			f, err := Compute(t.Context(), src, Options{})
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s %+v", f, f.Totals())
		}
		want := print(&memory{entries: []flow.Entry{e}})
		if got := print(&bodies{memory{entries: []flow.Entry{e}}}); got != want {
			t.Errorf("%s: as it comes %s, at once %s", name, got, want)
		}
		other := e
		other.Value = bytes.Clone(e.Value)
		other.Value[len(other.Value)-100] ^= 1
		if got := print(&bodies{memory{entries: []flow.Entry{other}}}); got == want {
			t.Errorf("%s: a changed byte changes nothing", name)
		}
	}
}

// zeros is so many zero bytes.
type zeros struct{ n int }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(len(p), z.n)
	clear(p[:n])
	z.n -= n
	if n == 0 && len(p) > 0 {
		return 0, fmt.Errorf("more was read than there is")
	}
	return n, nil
}

// oneBody is a source of one list with one huge item.
type oneBody struct{ size int }

func (o oneBody) Close() error { return nil }

func (o oneBody) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		head := rdb.AppendLength(nil, uint64(o.size))
		e := flow.Entry{Key: []byte("k"), Type: rdb.TypeString, Version: 11, Body: &headed{head: head, r: &zeros{o.size}, left: len(head) + o.size}}
		yield(&e, nil)
	}
}

// headed reads head, then r, and ends.
type headed struct {
	head []byte
	r    *zeros
	left int
}

func (h *headed) Read(p []byte) (int, error) {
	if h.left == 0 {
		return 0, io.EOF
	}
	if len(h.head) > 0 {
		n := copy(p, h.head)
		h.head = h.head[n:]
		h.left -= n
		return n, nil
	}
	n, err := h.r.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, err
}

// TestHugeValuesTakeNoMemory: memory does not follow a value's size.
func TestHugeValuesTakeNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const size = 64 << 20
	report, err := Compare(t.Context(),
		End{Name: "A", Open: func(context.Context) (flow.Source, error) { return oneBody{size}, nil }},
		End{Name: "B", Open: func(context.Context) (flow.Source, error) { return oneBody{size + 1}, nil }}, CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Differences) != 1 || report.Differences[0].Kind != ValueDiffers || report.A.Totals().Bytes != size+1 {
		t.Errorf("%+v", report)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d MiB are allocated", got>>20)
	}
}
