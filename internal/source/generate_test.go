package source_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"regexp"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func shape(t testing.TB, preset string, keys int64) source.Shape {
	t.Helper()
	s, err := source.Preset(preset, noon)
	if err != nil {
		t.Fatal(err)
	}
	s.Keys = keys
	return s
}

func generate(t testing.TB, s source.Shape) *source.Generate {
	t.Helper()
	g, err := source.NewGenerate(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// digest hashes everything that a source yields, in order.
func digest(t testing.TB, s flow.Source) [32]byte {
	h := sha256.New()
	for e, err := range s.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%d %q %d %q %d %d\n", e.DB, e.Key, e.Type, e.Value, e.ExpireAt, e.Version)
	}
	return [32]byte(h.Sum(nil))
}

func TestGenerateIsRepeatable(t *testing.T) {
	s := shape(t, "mixed", 5000)
	first := digest(t, generate(t, s))
	if first != digest(t, generate(t, s)) {
		t.Error("the same shape gave other data")
	}
	later, err := source.Preset("mixed", noon.Add(6*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	later.Keys = 5000
	if first != digest(t, generate(t, later)) {
		t.Error("later on the same day the same flags gave other data")
	}
	s.Seed = 2
	if first == digest(t, generate(t, s)) {
		t.Error("another seed gave the same data")
	}
}

func TestGenerateMixed(t *testing.T) {
	s := shape(t, "mixed", 40_000)
	s.Databases = 3
	got := read(t, generate(t, s)) // no key twice, every value whole
	if len(got) != 40_000 {
		t.Fatalf("%d keys", len(got))
	}
	types, dbs, volatile, groups := map[string]int{}, map[byte]int{}, 0, 0
	lo, hi := noon.Truncate(24*time.Hour).Add(s.TTLMin).UnixMilli(), noon.Truncate(24*time.Hour).Add(s.TTLMax).UnixMilli()
	for name, it := range got {
		types[it.Value.Class.String()]++
		dbs[name[0]]++
		if it.ExpireAt != 0 {
			volatile++
			if it.ExpireAt < lo || it.ExpireAt > hi {
				t.Fatalf("%s expires at %d", name, it.ExpireAt)
			}
		}
		if it.Value.Stream != nil && len(it.Value.Stream.Groups) > 0 {
			groups++
		}
	}
	near := func(what string, got, want int) {
		if math.Abs(float64(got-want)) > 5*math.Sqrt(float64(want)) {
			t.Errorf("%d %s, not about %d", got, what, want)
		}
	}
	for name, share := range map[string]int{"string": 50, "hash": 15, "list": 10, "set": 10, "zset": 10, "stream": 5} {
		near(name, types[name], 400*share)
	}
	near("volatile keys", volatile, 8000)
	near("streams with a group", groups, 500)
	for db := byte('0'); db < '3'; db++ {
		if n := dbs[db]; n < 13_332 || n > 13_334 {
			t.Errorf("%d keys in database %c", n, db)
		}
	}
}

func TestGeneratePlayground(t *testing.T) {
	key, value := regexp.MustCompile(`^0/"[0-9a-f]{32}"$`), regexp.MustCompile(`^[a-zA-Z]{256}$`)
	for name, it := range read(t, generate(t, shape(t, "playground", 3000))) {
		if !key.MatchString(name) || it.Value.Class != rdb.ClassString || !value.Match(it.Value.Text) || it.ExpireAt != 0 {
			t.Fatalf("%s: %q", name, it.Value.Text)
		}
	}
}

func TestGenerateSizes(t *testing.T) {
	for _, size := range []int{1, 10, 1000, 20_000} {
		s := shape(t, "mixed", 500)
		s.ValueBytes = size
		s.Types = []source.Share{{Class: rdb.ClassString, Weight: 1}}
		sum := 0
		for name, it := range read(t, generate(t, s)) {
			n := len(it.Value.Text)
			sum += n
			if n < max(size/2, 1) || n > size+size/2+1 {
				t.Fatalf("%s has %d bytes where %d is the mean", name, n, size)
			}
		}
		if mean := sum / 500; mean < size*9/10 || mean > size*11/10+1 {
			t.Errorf("the mean is %d, not %d", mean, size)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*source.Shape){
		"keys":      func(s *source.Shape) { s.Keys = -1 },
		"databases": func(s *source.Shape) { s.Databases = 0 },
		"values of": func(s *source.Shape) { s.ValueBytes = 0 },
		"TTL":       func(s *source.Shape) { s.TTLShare = math.NaN() },
		"TTLs":      func(s *source.Shape) { s.TTLMin = 0 },
		"no type":   func(s *source.Shape) { s.Types = nil },
		"module":    func(s *source.Shape) { s.Types = []source.Share{{Class: rdb.ClassModule, Weight: 1}} },
	} {
		s := shape(t, "mixed", 10)
		spoil(&s)
		_, err := source.NewGenerate(s)
		says(t, err, name)
	}
	_, err := source.Preset("bogus", noon)
	says(t, err, "bogus")
}

func TestGenerateStops(t *testing.T) {
	g := generate(t, shape(t, "mixed", 1<<40))
	n := 0
	for _, err := range g.Entries(t.Context()) {
		if n++; n == 10 {
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			return
		}
	}
	t.Error("it ended without an error")
}

func BenchmarkGenerate(b *testing.B) {
	for _, preset := range source.Presets() {
		b.Run(preset, func(b *testing.B) {
			s := shape(b, preset, int64(b.N))
			g := generate(b, s)
			var bytes int64
			b.ResetTimer()
			b.ReportAllocs()
			for e, err := range g.Entries(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
				bytes += int64(e.Size())
			}
			b.SetBytes(bytes / int64(b.N))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
