package engine_test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// replacements are the builds that a node can be replaced by while it serves.
func replacements(t *testing.T, f func(t *testing.T, b *bench, old, next catalog.Build)) {
	all := builds(t)
	for i, old := range all {
		for _, next := range all[i:] {
			if next.Rebind {
				t.Run(old.Name+" by "+next.Name, func(t *testing.T) { f(t, newBench(t), old, next) })
			}
		}
	}
}

// beside is a node that is to take the place of another one, which it follows.
func (b *bench) beside(spec cache.NodeSpec, build catalog.Build, id string) (at, after cache.NodeSpec) {
	at = spec
	at.Key, at.Build, at.Primary = "us-east-1/"+id, build.Name, spec.Address
	at.Address = cache.Address{Host: anyHost(), Port: spec.Address.Port}
	at.Binds = nil
	after = at
	after.Address, after.Primary, after.Binds = spec.Address, spec.Primary, spec.Binds
	return at, after
}

// TestAPrimaryIsReplaced: what was acknowledged is at the node that takes over, which
// answers at the address of the former one and at its endpoint, and a replica of that
// goes on following that address without reading everything anew.
func TestAPrimaryIsReplaced(t *testing.T) {
	replacements(t, func(t *testing.T, b *bench, old, next catalog.Build) {
		spec := b.spec(old, "orders-001")
		vip := anyHost()
		if old.Rebind {
			spec.Binds = []string{vip}
		}
		process := b.up(spec)
		at, after := b.beside(spec, next, "orders-001.1")
		after.Binds = []string{vip}
		b.up(at)
		follower := b.spec(next, "orders-002")
		follower.Primary, follower.Address.Port = spec.Address, spec.Address.Port
		b.up(follower)
		acked, stop := b.writer(spec.Address.Host, spec.Address.Port)
		eventually(t, "it writes", func() bool { return acked.Load() > 50 })
		offset, err := b.Freeze(b.context(), spec, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new one has everything", func() bool {
			h, err := b.Probe(b.context(), at)
			return err == nil && h.Offset >= offset
		})
		if err := b.Fence(b.context(), spec, &process); err != nil {
			t.Fatal(err)
		}
		n := stop()
		full := b.infoOf(follower, "stats", "sync_full")
		for range 2 { // another run of the service finds that it has happened
			if _, err := b.TakeOver(b.context(), after, at.Address); err != nil {
				t.Fatal(err)
			}
			b.again()
		}
		for _, host := range []string{spec.Address.Host, vip} {
			c := b.client(host, spec.Address.Port)
			for i := range n {
				if got := b.do(c, "GET", "n:"+strconv.Itoa(i)); got != strconv.Itoa(i) {
					t.Fatalf("at %s number %d of %d acknowledged writes is %q", host, i, n, got)
				}
			}
			b.do(c, "SET", "after", host)
		}
		if got := b.configOf(after)["bind"]; got != joined(spec.Address.Host, []string{vip}) {
			t.Errorf("it listens at %s", got)
		}
		if _, err := resp.Dial(b.context(), resp.Options{Addr: addrOf(at.Address)}); err == nil {
			t.Error("it answers at its former address still")
		}
		eventually(t, "the replica follows", func() bool {
			h, err := b.Probe(b.context(), follower)
			return err == nil && h.LinkUp && b.do(b.client(follower.Address.Host, follower.Address.Port), "GET", "after") == vip
		})
		if now := b.infoOf(after, "stats", "sync_full"); now != "0" {
			t.Errorf("the replica was sent everything anew (%s, %s)", full, now)
		}
	})
}

// TestAReplicaIsReplaced: the new one has the address of the former one, to which its
// primary sends its writes without beginning anew.
func TestAReplicaIsReplaced(t *testing.T) {
	replacements(t, func(t *testing.T, b *bench, old, next catalog.Build) {
		lead := b.spec(old, "orders-001")
		b.up(lead)
		b.do(b.client(lead.Address.Host, lead.Address.Port), "SET", "key", "1")
		spec := b.spec(old, "orders-002")
		spec.Primary, spec.Address.Port = lead.Address, lead.Address.Port
		process := b.up(spec)
		at, after := b.beside(spec, next, "orders-002.1")
		at.Primary, after.Primary = lead.Address, lead.Address
		b.up(at)
		full := b.infoOf(lead, "stats", "sync_full")
		if err := b.Stop(b.context(), spec, &process); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := b.TakeOver(b.context(), after, at.Address); err != nil {
				t.Fatal(err)
			}
			b.again()
		}
		if _, err := b.AwaitReady(b.context(), after); err != nil {
			t.Fatal(err)
		}
		h, err := b.Probe(b.context(), lead)
		if err != nil {
			t.Fatal(err)
		}
		if _, known := h.ReplicaLag[addrOf(spec.Address)]; !known {
			t.Errorf("the primary knows %v and not %s", h.ReplicaLag, addrOf(spec.Address))
		}
		if now := b.infoOf(lead, "stats", "sync_full"); now != full {
			t.Errorf("the primary sent everything anew: %s, %s before", now, full)
		}
		b.do(b.client(lead.Address.Host, lead.Address.Port), "SET", "key", "2")
		eventually(t, "the write arrives", func() bool {
			return b.do(b.client(spec.Address.Host, spec.Address.Port), "GET", "key") == "2"
		})
	})
}

// TestTwoNeverAnswer: a node cannot take over from one that lives.
func TestTwoNeverAnswer(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		if !build.Rebind {
			t.Skip("cannot rebind")
		}
		spec := b.spec(build, "orders-001")
		b.up(spec)
		at, after := b.beside(spec, build, "orders-001.1")
		b.up(at)
		ctx, cancel := context.WithTimeout(b.context(), 2*time.Second)
		defer cancel()
		if _, err := b.TakeOver(ctx, after, at.Address); err == nil {
			t.Fatal("it took over from one that lives")
		}
		if got := b.do(b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret), "CONFIG", "GET", "dir"); strings.Contains(got, "001.1") {
			t.Fatal("it answers in the place of one that lives")
		}
	})
}

// TestFreezeEndsByItself: nobody has to be there to end it.
func TestFreezeEndsByItself(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		b.up(spec)
		c := b.client(spec.Address.Host, spec.Address.Port)
		began := time.Now()
		const hold = 300 * time.Millisecond
		if _, err := b.Freeze(b.context(), spec, hold); err != nil {
			t.Fatal(err)
		}
		b.do(c, "SET", "key", "1")
		if took := time.Since(began); took < hold/2 {
			t.Errorf("a write was taken after %s of %s", took, hold)
		}
	})
}

// writer writes numbered keys, one at a time, until it is cut off; stop returns how
// many were acknowledged.
func (b *bench) writer(host string, port int) (acked *atomic.Int64, stop func() int) {
	c := b.client(host, port)
	acked, done := &atomic.Int64{}, make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			if _, err := c.Do(context.Background(), "SET", "n:"+strconv.Itoa(n), strconv.Itoa(n)); err != nil {
				return
			}
			acked.Add(1)
		}
	}()
	return acked, func() int { closed(b.t, "it is cut off", done); return int(acked.Load()) }
}

// infoOf is a field of INFO.
func (b *bench) infoOf(spec cache.NodeSpec, section, name string) string {
	b.t.Helper()
	text := b.do(b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret), "INFO", section)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	b.t.Fatalf("INFO %s has no %s", section, name)
	return ""
}
