package flow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/flow"
)

// reused yields entries whose bytes are overwritten when the next is asked for,
// as flow allows sources to do.
type reused struct {
	keys []string
	size int
	fail error
	then func(i int)
}

func (r *reused) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		var e flow.Entry
		for i, k := range r.keys {
			e.Key = append(e.Key[:0], k...)
			e.Value = append(e.Value[:0], bytes.Repeat([]byte(k[:1]), r.size)...)
			e.DB, e.Idle, e.Freq = i%2, -1, -1
			if !yield(&e, nil) {
				return
			}
			if r.then != nil {
				r.then(i)
			}
		}
		if r.fail != nil {
			yield(nil, r.fail)
		}
	}
}

func (r *reused) Close() error { return nil }

// collect keeps copies of what it is given.
type collect struct {
	keys      []string
	batches   []int
	wrong     int
	failAt    int
	failErr   error
	commitErr error
	committed int
}

func (c *collect) Write(_ context.Context, batch []flow.Entry) error {
	for i := range batch {
		if c.failErr != nil && len(c.keys) >= c.failAt {
			return c.failErr
		}
		e := batch[i].Clone()
		c.keys = append(c.keys, string(e.Key))
		if bytes.Count(e.Value, e.Key[:1]) != len(e.Value) {
			c.wrong++
		}
	}
	c.batches = append(c.batches, len(batch))
	return nil
}
func (c *collect) Commit(context.Context) error { c.committed++; return c.commitErr }
func (c *collect) Close() error                 { return nil }

func keys(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%c%d", 'a'+i%26, i))
	}
	return out
}

func TestRunCarriesEverything(t *testing.T) {
	for _, tc := range []struct{ n, size int }{{0, 1}, {1, 1}, {512, 10}, {513, 10}, {3000, 1000}, {40, 100_000}, {5, 3 << 20}} {
		t.Run(fmt.Sprintf("%d of %d bytes", tc.n, tc.size), func(t *testing.T) {
			src, dst := &reused{keys: keys(tc.n), size: tc.size}, &collect{}
			var seen []int64
			stats, err := flow.Run(t.Context(), src, dst, flow.Options{Progress: func(s flow.Stats) { seen = append(seen, s.Keys) }})
			if err != nil {
				t.Fatal(err)
			}
			var bytes int64
			for _, k := range src.keys {
				bytes += int64(len(k) + tc.size)
			}
			if !slices.Equal(dst.keys, src.keys) || dst.wrong > 0 || dst.committed != 1 {
				t.Errorf("%d keys arrived, %d spoiled, %d commits", len(dst.keys), dst.wrong, dst.committed)
			}
			if stats != (flow.Stats{Keys: int64(tc.n), Bytes: bytes}) {
				t.Errorf("the totals are %+v", stats)
			}
			if len(seen) != len(dst.batches) || tc.n > 0 && seen[len(seen)-1] != int64(tc.n) {
				t.Errorf("progress was %v over batches %v", seen, dst.batches)
			}
			if slices.ContainsFunc(dst.batches, func(n int) bool { return n == 0 || n > 512 }) {
				t.Errorf("batches of %v", dst.batches)
			}
		})
	}
}

func TestRunFilters(t *testing.T) {
	src, dst := &reused{keys: keys(1000), size: 5}, &collect{}
	stats, err := flow.Run(t.Context(), src, dst, flow.Options{Keep: func(e *flow.Entry) bool { return e.DB == 1 }})
	if err != nil || stats.Keys != 500 || stats.Skipped != 500 || len(dst.keys) != 500 {
		t.Errorf("%+v, %v, %d keys", stats, err, len(dst.keys))
	}
}

func TestRunCommitsNothingAfterAFailure(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		src  reused
		dst  collect
		keys int64
	}{
		"source": {src: reused{keys: keys(700), size: 1, fail: broken}, keys: 512},
		"sink":   {src: reused{keys: keys(2000), size: 1}, dst: collect{failAt: 1000, failErr: broken}, keys: 512},
	} {
		t.Run(name, func(t *testing.T) {
			stats, err := flow.Run(t.Context(), &tc.src, &tc.dst, flow.Options{})
			if !errors.Is(err, broken) || tc.dst.committed != 0 || stats.Keys != tc.keys {
				t.Errorf("%+v, %v, %d commits", stats, err, tc.dst.committed)
			}
		})
	}
	dst := collect{commitErr: broken}
	if _, err := flow.Run(t.Context(), &reused{keys: keys(3), size: 1}, &dst, flow.Options{}); !errors.Is(err, broken) {
		t.Errorf("a failed Commit gave %v", err)
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dst := &collect{}
	src := &reused{keys: keys(100_000), size: 1, then: func(i int) {
		if i == 600 {
			cancel()
		}
	}}
	stats, err := flow.Run(ctx, src, dst, flow.Options{})
	if !errors.Is(err, context.Canceled) || dst.committed != 0 || stats.Keys > 2000 {
		t.Errorf("%+v, %v, %d commits", stats, err, dst.committed)
	}
}

func BenchmarkRun(b *testing.B) {
	src, dst := &reused{keys: keys(10_000), size: 100}, null{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := flow.Run(b.Context(), src, dst, flow.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "keys/s")
}

type null struct{}

func (null) Write(context.Context, []flow.Entry) error { return nil }
func (null) Commit(context.Context) error              { return nil }
func (null) Close() error                              { return nil }

// streamed yields values that are read as they come; each is gone when the next is asked for.
type streamed struct{ entries []flow.Entry }

func (s *streamed) Entries(context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for _, e := range s.entries {
			if e.Body != nil {
				gone := &fleeting{r: e.Body}
				e.Body = gone
				ok := yield(&e, nil)
				gone.r = nil
				if !ok {
					return
				}
				continue
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}

func (s *streamed) Close() error { return nil }

type fleeting struct{ r io.Reader }

func (f *fleeting) Read(p []byte) (int, error) {
	if f.r == nil {
		return 0, errors.New("read too late")
	}
	return f.r.Read(p)
}

// inOrder notes what comes in which batch.
type inOrder struct{ got []string }

func (o *inOrder) Write(_ context.Context, batch []flow.Entry) error {
	line := ""
	for _, e := range batch {
		value := e.Value
		if e.Body != nil {
			var err error
			if value, err = io.ReadAll(e.Body); err != nil {
				return err
			}
		}
		line += fmt.Sprintf("%s=%s ", e.Key, value)
	}
	o.got = append(o.got, line)
	return nil
}
func (o *inOrder) Commit(context.Context) error { return nil }
func (o *inOrder) Close() error                 { return nil }

// A value that is read as it comes travels alone, in its place, and is counted.
func TestRunCarriesBodiesAlone(t *testing.T) {
	src := &streamed{entries: []flow.Entry{
		{Key: []byte("a"), Value: []byte("1")},
		{Key: []byte("b"), Value: []byte("2")},
		{Key: []byte("large"), Body: strings.NewReader("0123456789")},
		{Key: []byte("c"), Value: []byte("3")},
	}}
	dst := &inOrder{}
	stats, err := flow.Run(t.Context(), src, dst, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a=1 b=2 ", "large=0123456789 ", "c=3 "}; !slices.Equal(dst.got, want) {
		t.Errorf("%q, want %q", dst.got, want)
	}
	if stats != (flow.Stats{Keys: 4, Bytes: 2 + 2 + 15 + 2}) {
		t.Errorf("%+v", stats)
	}
}
