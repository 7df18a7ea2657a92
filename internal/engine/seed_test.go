package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
)

// rdb is a file that the build wrote, with count keys.
func (b *bench) rdb(build catalog.Build, count int) []byte {
	b.t.Helper()
	spec := b.spec(build, "source")
	p := b.up(spec)
	c := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
	for i := range count {
		b.do(c, "SET", fmt.Sprint("key", i), strings.Repeat("v", 50))
		b.do(c, "RPUSH", "list", fmt.Sprint(i))
	}
	b.do(c, "SAVE")
	data, err := os.ReadFile(filepath.Join(filepath.Dir(b.SeedPath(spec)), "dump.rdb"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.down(spec, &p)
	return data
}

func (b *bench) plant(spec cache.NodeSpec, data []byte) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.SeedPath(spec)), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.SeedPath(spec), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func TestSeed(t *testing.T) {
	for _, persist := range []string{"no", "yes"} {
		t.Run("appendonly="+persist, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench, build catalog.Build) {
				spec := b.spec(build, "orders-001")
				spec.Parameters["appendonly"] = persist
				spec.Seeded = true
				b.plant(spec, b.rdb(build, 500))
				p := b.up(spec)
				if err := b.Reconfigure(b.context(), spec); err != nil {
					t.Fatal(err)
				}
				// Cut short before the seed was verified: it is loaded again.
				if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				closed(t, "exit", b.Exited(p))
				p = b.up(spec)
				if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != 501 {
					t.Fatalf("after seeding: %+v, %v", h, err)
				}
				for range 2 {
					if err := b.ClearSeed(b.context(), spec); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := os.Stat(b.SeedPath(spec)); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("the seed is still there: %v", err)
				}
				b.down(spec, &p)
				spec.Seeded = false
				b.up(spec)
				want := int64(0)
				if persist == "yes" {
					want = 501
				}
				if h, err := b.Probe(b.context(), spec); err != nil || h.Keys != want {
					t.Fatalf("after a restart without seed: %+v, %v; want %d keys", h, err, want)
				}
			})
		})
	}
}

// A seed that cannot be loaded ends at once, for good, and with the engine's words.
func TestBadSeed(t *testing.T) {
	spoils := []struct {
		name  string
		spoil func(data []byte) []byte
		says  string // what all engines say, if they say the same
	}{
		{"truncated", func(d []byte) []byte { return d[:len(d)/2] }, ""},
		{"a few bytes", func(d []byte) []byte { return d[:5] }, ""},
		{"flipped bit", func(d []byte) []byte { d[len(d)/2] ^= 0x40; return d }, ""},
		{"flipped checksum", func(d []byte) []byte { d[len(d)-1] ^= 1; return d }, "checksum"},
		{"too new", func(d []byte) []byte { return append([]byte("REDIS0099"), d[9:]...) }, "RDB format version"},
		{"not one", func(d []byte) []byte { return bytes.Repeat([]byte("hello"), 100) }, "Wrong signature"},
	}
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		good := b.rdb(build, 500)
		for i, s := range spoils {
			t.Run(s.name, func(t *testing.T) {
				spec := b.spec(build, fmt.Sprintf("orders-%03d", i))
				spec.Seeded = true
				b.plant(spec, s.spoil(bytes.Clone(good)))
				p, err := b.Start(b.context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				_, err = b.AwaitReady(b.context(), spec)
				t.Logf("%v", err)
				if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "it said: ") || !strings.Contains(err.Error(), s.says) {
					t.Fatalf("got %v", err)
				}
				closed(t, "exit", b.Exited(p))
				if refs, err := b.sup.List(b.context()); err != nil || len(refs) != 0 {
					t.Fatalf("left running: %v, %v", refs, err)
				}
			})
			b.down(cache.NodeSpec{Key: fmt.Sprintf("us-east-1/orders-%03d", i)}, nil)
		}
	})
}

// A replica whose primary writes what it cannot read says so instead of trying for ever.
func TestUnreadablePrimary(t *testing.T) {
	b := newBench(t)
	old, recent := b.builds[0], b.builds[3]
	primary, replica := b.spec(recent, "orders-001"), b.spec(old, "orders-002")
	replica.Primary = primary.Address
	b.up(primary)
	b.do(b.client(primary.Address.Host, primary.Address.Port), "SET", "k", "v")
	if _, err := b.Start(b.context(), replica); err != nil {
		t.Fatal(err)
	}
	_, err := b.AwaitReady(b.context(), replica)
	t.Logf("%v", err)
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "RDB format version") {
		t.Fatalf("got %v", err)
	}
}

// A node with an append-only file is seeded anew: the seed counts and not the file.
func TestSeedOverLog(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Parameters["appendonly"] = "yes"
		seed := b.rdb(build, 10)
		p := b.up(spec)
		b.do(b.client(spec.Address.Host, spec.Address.Port), "SET", "in the log", "v")
		b.down(spec, &p)
		b.plant(spec, seed)
		spec.Seeded = true
		p = b.up(spec)
		c := b.client(spec.Address.Host, spec.Address.Port)
		if n, found := b.do(c, "DBSIZE"), b.do(c, "EXISTS", "in the log"); n != "11" || found != "0" {
			t.Fatalf("%s keys, from the log: %s", n, found)
		}
		if err := b.ClearSeed(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		b.do(c, "SET", "later", "v")
		b.down(spec, &p)
		spec.Seeded = false
		b.up(spec)
		c = b.client(spec.Address.Host, spec.Address.Port)
		if n, found := b.do(c, "DBSIZE"), b.do(c, "EXISTS", "in the log"); n != "12" || found != "0" {
			t.Fatalf("after a restart: %s keys, from the log: %s", n, found)
		}
	})
}
