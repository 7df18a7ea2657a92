package controltest

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Start is where the clock of a World begins.
var Start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// World is a Control and all that it works with. Its fields may be changed
// between calls.
type World struct {
	DB      *store.DB
	Control *control.Control
	Engines Engines
	Buckets *Buckets
	Memory  Memory
	// Taken are addresses that somebody else on the machine holds.
	Taken map[cache.Address]bool

	mu  sync.Mutex
	now time.Time
}

// New makes a World. change may alter the configuration first.
func New(t testing.TB, change func(*control.Config)) *World {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &World{
		DB: db, Engines: DefaultEngines(), Buckets: NewBuckets(), Taken: map[cache.Address]bool{}, now: Start,
		Memory: Memory{Free: 8 << 30, All: 1 << 50},
	}
	free := func(host string, port int) bool { return !w.Taken[cache.Address{Host: host, Port: port}] }
	c := control.Config{
		DB: db, Catalogue: &w.Engines, Buckets: w.Buckets, Memory: &w.Memory, Now: w.Now,
		Addresses: control.Addresses{Range: true, Free: free},
	}
	if change != nil {
		change(&c)
	}
	if c.Addresses.Range {
		// Always the same addresses, so that replies can be written down.
		err = db.Update(ctx, func(tx *store.Tx) error {
			return records.Pools.Put(tx, records.PoolKey, records.Pool{Base: "127.77"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if w.Control, err = control.New(ctx, c); err != nil {
		t.Fatal(err)
	}
	return w
}

// Now is the clock.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Pass lets time pass.
func (w *World) Pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Memory is a machine of that size.
type Memory struct{ Free, All int64 }

// Available returns Free.
func (m *Memory) Available() int64 { return m.Free }

// Total returns All.
func (m *Memory) Total() int64 { return m.All }

// Engines is a catalogue of these versions.
type Engines []control.Version

// DefaultEngines are a few of each kind.
func DefaultEngines() Engines {
	return Engines{
		version(cache.Redis, "5.0.6", "redis-6.0.16", false),
		version(cache.Redis, "6.0", "redis-6.0.16", true),
		version(cache.Redis, "6.2", "redis-7.0.15", false),
		version(cache.Redis, "7.0", "redis-7.0.15", true),
		version(cache.Redis, "7.1", "redis-7.0.15", false),
		version(cache.Valkey, "7.2", "valkey-8.0.1", false),
		version(cache.Valkey, "8.1", "valkey-8.1.1", true),
		version(cache.Memcached, "1.4.34", "memcached-1.6.18", false),
		version(cache.Memcached, "1.6.17", "memcached-1.6.18", false),
		version(cache.Memcached, "1.6.22", "memcached-1.6.38", false),
	}
}

func version(engine, asked, build string, exact bool) control.Version {
	family, _ := cache.FamilyOf(engine, asked)
	_, full, _ := strings.Cut(build, "-")
	return control.Version{
		Engine: engine, Description: engine + " version " + full,
		Choice: control.Choice{Asked: asked, Build: build, FullVersion: full, Exact: exact, Family: family},
	}
}

// Resolve finds a version; "" is the last of the engine, "6.x" the last 6.
func (e *Engines) Resolve(engine, asked string) (control.Choice, error) {
	prefix, line := strings.CutSuffix(asked, "x")
	for _, v := range slices.Backward(*e) {
		if v.Engine == engine && (v.Asked == asked || asked == "" || line && strings.HasPrefix(v.Asked, prefix)) {
			return v.Choice, nil
		}
	}
	return control.Choice{}, cache.Faultf("InvalidParameterValue", "nothing installed serves %s %s", engine, asked)
}

// Versions are all of them.
func (e *Engines) Versions() []control.Version { return *e }

// Buckets is object storage in memory.
type Buckets struct {
	mu      sync.Mutex
	regions map[string]string
	faults  map[string]error
	objects map[string]int64
}

// NewBuckets has none.
func NewBuckets() *Buckets {
	return &Buckets{regions: map[string]string{}, faults: map[string]error{}, objects: map[string]int64{}}
}

// Add makes a bucket; fault is what Check or Granted says of it.
func (b *Buckets) Add(bucket, region string, fault error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.regions[bucket], b.faults[bucket] = region, fault
}

// Put makes an object of that size.
func (b *Buckets) Put(bucket, key string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[bucket+"/"+key] = size
}

// Check implements control.Buckets.
func (b *Buckets) Check(_ context.Context, region, bucket string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r, ok := b.regions[bucket]; {
	case !ok:
		return control.ErrNoBucket
	case b.faults[bucket] != nil && !slices.Contains(lacking, b.faults[bucket]):
		return b.faults[bucket]
	case r != region:
		return control.ErrOtherRegion
	}
	return nil
}

// lacking are the faults of a bucket that only Granted tells.
var lacking = []error{control.ErrNoRead, control.ErrNoWrite, control.ErrNoReadACP}

// Granted implements control.Buckets.
func (b *Buckets) Granted(_ context.Context, _, bucket string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault := b.faults[bucket]; slices.Contains(lacking, fault) {
		return fault
	}
	return nil
}

// Size implements control.Buckets.
func (b *Buckets) Size(_ context.Context, _, bucket, key string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.objects[bucket+"/"+key]
	if !ok {
		return 0, control.ErrNoObject
	}
	return n, nil
}

// Exists implements control.Buckets.
func (b *Buckets) Exists(_ context.Context, _, bucket, key string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.objects[bucket+"/"+key]
	return ok, nil
}
