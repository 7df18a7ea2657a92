package slots

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func atomically(b catalog.Build) bool { return b.Engine == catalog.Valkey && b.Version >= "9" }

// Every kind of key moves under clients that write all the time, and nothing that was
// acknowledged is missing or there twice.
func TestSlotsMoveUnderWriters(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		t.Parallel()
		g := newRig(t, b, 3, 0)
		slots := cache.EvenSlots(3)[0]
		kept := g.fill(2000)
		const low = "{b}" // slot 3300
		fields := []string{"HSET", low + "hash"}
		for i := range 100_000 {
			fields = append(fields, strconv.Itoa(i), "x")
			if len(fields) == 20_002 {
				g.do(fields...)
				fields = fields[:2]
			}
		}
		for i := range 9000 { // more than are listed at once, in a slot of its own
			kept[fmt.Sprintf("%s%d", low, i)] = "v"
			g.do2("SET", fmt.Sprintf("%s%d", low, i), "v")
		}
		g.do("SET", low+"fading", "v", "PX", "3600000")
		for i := range 50 {
			g.do("SET", fmt.Sprintf("%sgone%d", low, i), "v", "PX", strconv.Itoa(1+i))
		}
		w := g.write(2, 500, "")
		m := g.order(g.Primaries[0], g.Primaries[1], slots)
		m.Atomic = atomically(b)
		var last cache.SlotProgress
		if err := Run(g.ctx, m, func(p cache.SlotProgress) error {
			if p.Done.Count() <= last.Done.Count() {
				t.Errorf("told of %d slots after %d", p.Done.Count(), last.Done.Count())
			}
			last = p
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.check()
		if last.Done.String() != slots.String() || len(last.Kept) > 0 || last.Keys < 9000 {
			t.Errorf("told of slots %s with %d keys, kept %v", last.Done, last.Keys, last.Kept)
		}
		g.settled(slots, g.Primaries[1])
		g.holds(kept)
		if n := g.do("HLEN", low+"hash").Int; n != 100_000 {
			t.Errorf("the hash has %d fields", n)
		}
		if ttl := g.do("PTTL", low+"fading").Int; ttl < 3_000_000 || ttl > 3_600_000 {
			t.Errorf("the key that expires has %d ms left", ttl)
		}
		if n := g.Primaries[0].Must("DBSIZE"); n != int64(0) {
			t.Errorf("%v keys are left at the source", n)
		}
		for _, s := range g.Primaries {
			if users := fmt.Sprint(s.Must("ACL", "LIST")); strings.Contains(users, "holdfast-mover") {
				t.Errorf("%s still knows %s", s.Addr(), users)
			}
		}
	})
}

// do2 is do over one connection that is kept.
func (g *rig) do2(args ...string) {
	g.t.Helper()
	if g.kept == nil {
		g.kept = g.client()
		g.t.Cleanup(g.kept.close)
	}
	if _, err := g.kept.do(g.ctx, args...); err != nil {
		g.t.Fatal(err)
	}
}

// What MIGRATE is told can be watched by any client of an old engine, so that the
// administrator's password must not be in it. A stale copy at the target is replaced.
func TestWhatAServerShowsAndAStaleCopy(t *testing.T) {
	t.Parallel()
	g := newRig(t, testkit.Engine(t, "redis-6.0"), 2, 0)
	const secret = "sEcrEt-of-the-administrator"
	for _, s := range g.Primaries {
		s.Must("ACL", "SETUSER", "boss", "on", ">"+secret, "~*", "+@all")
	}
	g.do("SET", "{b}1", "old")
	m := g.order(g.Primaries[0], g.Primaries[1], cache.SlotsOf(3300))
	m.at = func(step string) error {
		if step == "migrates there" { // a MIGRATE that was cut off leaves a copy, and the source goes on
			to := g.Primaries[1]
			g.Primaries[0].Must("MIGRATE", to.Host, to.Port, "", 0, 60000, "COPY", "KEYS", "{b}1")
			g.Primaries[0].Must("SET", "{b}1", "v")
		}
		return nil
	}
	m.Source.At.Username, m.Source.At.Password = "boss", secret
	m.Target.At.Username, m.Target.At.Password = "boss", secret
	watch, err := resp.Dial(g.ctx, resp.Options{Addr: g.Primaries[0].Addr(), RESP2: true})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	if _, err := watch.Do(g.ctx, "MONITOR"); err != nil {
		t.Fatal(err)
	}
	if err := Run(g.ctx, m, func(cache.SlotProgress) error { return nil }); err != nil {
		t.Fatal(err)
	}
	g.Primaries[0].Must("ECHO", "that is all")
	seen := ""
	for !strings.Contains(seen, "that is all") {
		r, err := watch.Receive()
		if err != nil {
			t.Fatal(err)
		}
		seen += string(r.Bytes) + "\n"
	}
	if !strings.Contains(seen, "AUTH2") || strings.Contains(seen, secret) {
		t.Errorf("the server shows\n%s", seen)
	}
	if got := g.do("GET", "{b}1"); string(got.Bytes) != "v" {
		t.Errorf("the key holds %q", got.Bytes)
	}
}
