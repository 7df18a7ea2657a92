package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// pair is a primary that holds the endpoint vip, where it can, and a replica.
func (b *bench) pair(build catalog.Build) (primary, replica cache.NodeSpec, vip string) {
	b.t.Helper()
	primary, replica = b.spec(build, "orders-001"), b.spec(build, "orders-002")
	replica.Address.Port = primary.Address.Port
	replica.Primary = primary.Address
	vip = anyHost()
	if build.Rebind {
		primary.Binds = []string{vip}
	}
	return primary, replica, vip
}

// A replica follows; its primary is killed; it is promoted and takes the endpoint.
func TestPromotion(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		primary, replica, vip := b.pair(build)
		p := b.up(primary)
		c := b.client(primary.Address.Host, primary.Address.Port)
		for i := range 1000 {
			b.do(c, "SET", fmt.Sprint("key", i), "v")
		}
		begin := time.Now()
		q := b.up(replica)
		t.Logf("%s: replica start to in step %v", build.Name, time.Since(begin))
		h, err := b.Probe(b.context(), replica)
		if err != nil || h.Role != cache.RoleReplica || !h.LinkUp || h.Keys != 1000 {
			t.Fatalf("replica: %+v, %v", h, err)
		}
		h, err = b.Probe(b.context(), primary)
		want := addrOf(replica.Address)
		if _, ok := h.ReplicaLag[want]; err != nil || !ok || len(h.ReplicaLag) != 1 {
			t.Fatalf("primary does not name its replica %s: %+v, %v", want, h, err)
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "exit", b.Exited(p))
		lead := replica
		lead.Primary, lead.Binds = cache.Address{}, primary.Binds
		begin = time.Now()
		if err := b.Reconfigure(b.context(), lead); err != nil {
			t.Fatal(err)
		}
		at := lead.Address.Host
		if build.Rebind {
			at = vip
		}
		c = b.client(at, lead.Address.Port)
		b.do(c, "SET", "after", "v")
		t.Logf("%s: promote, rebind, connect, first write %v", build.Name, time.Since(begin))
		for range 2 { // idempotent, and the customer's connection stays
			if err := b.Reconfigure(b.context(), lead); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.do(c, "DBSIZE"); n != "1001" {
			t.Fatalf("%s keys at the endpoint", n)
		}
		// The former primary comes back as a replica, with everything.
		back := primary
		back.Primary, back.Binds = lead.Address, nil
		b.up(back)
		if h, err := b.Probe(b.context(), back); err != nil || h.Keys != 1001 {
			t.Fatalf("former primary: %+v, %v", h, err)
		}
		b.down(lead, &q)
	})
}

// What a primary acknowledges once its replica is ready outlives the primary.
func TestReadyReplicaHasTheNextWrite(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		for range 3 {
			primary, replica, _ := b.pair(build)
			primary.Binds = nil
			p := b.up(primary)
			c := b.client(primary.Address.Host, primary.Address.Port)
			q := b.up(replica)
			b.do(c, "SET", "k", "v")
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			closed(t, "exit", b.Exited(p))
			lead := replica
			lead.Primary = cache.Address{}
			if err := b.Reconfigure(b.context(), lead); err != nil {
				t.Fatal(err)
			}
			if v := b.do(b.client(lead.Address.Host, lead.Address.Port), "GET", "k"); v != "v" {
				t.Errorf("the replica holds %q", v)
			}
			b.down(lead, &q)
			b.down(primary, &p)
		}
	})
}

// In a planned exchange the endpoint moves and its clients are cut off.
func TestExchange(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		primary, replica, vip := b.pair(build)
		b.up(primary)
		b.up(replica)
		if !build.Rebind {
			vip = primary.Address.Host
		}
		old := b.client(vip, primary.Address.Port)
		b.do(old, "SET", "k", "v")
		own := b.client(primary.Address.Host, primary.Address.Port)
		b.do(own, "PING")

		lead, follow := replica, primary
		lead.Primary, lead.Binds = cache.Address{}, primary.Binds
		follow.Primary, follow.Binds = replica.Address, nil
		if build.Rebind {
			// The endpoint cannot be had while the old one holds it, but the promotion itself holds.
			if err := b.Reconfigure(b.context(), lead); err == nil {
				t.Fatal("two nodes hold one endpoint")
			}
			if _, err := net.Dial("tcp", addrOf(replica.Address)); err != nil {
				t.Fatalf("a failed rebind cost the node its own address: %v", err)
			}
		}
		for _, s := range []cache.NodeSpec{follow, lead} {
			if err := b.Reconfigure(b.context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if build.Rebind {
			if _, err := old.Do(b.context(), "PING"); err == nil || resp.IsServerError(err) {
				t.Fatalf("the endpoint's old client was not cut off: %v", err)
			}
			b.do(b.client(vip, lead.Address.Port), "SET", "k2", "v")
		}
		if _, err := b.AwaitReady(b.context(), follow); err != nil {
			t.Fatal(err)
		}
		if _, err := own.Do(b.context(), "PING"); err == nil || resp.IsServerError(err) {
			t.Fatalf("a writer of the former primary was not cut off: %v", err)
		}
		own = b.client(primary.Address.Host, primary.Address.Port)
		if _, err := own.Do(b.context(), "SET", "k3", "v"); !resp.IsServerError(err, "READONLY") {
			t.Fatalf("a demoted node accepts writes: %v", err)
		}
	})
}

// A process that hangs goes on holding its endpoint, until it is killed.
func TestFence(t *testing.T) {
	b := newBench(t)
	primary, replica, vip := b.pair(b.builds[1])
	p := b.up(primary)
	b.up(replica)
	if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	lead := replica
	lead.Primary, lead.Binds = cache.Address{}, []string{vip}
	if err := b.Reconfigure(b.context(), lead); err == nil {
		t.Fatal("took the endpoint of a node that may wake up")
	}
	ctx, cancel := contextFor(b, 200*time.Millisecond)
	defer cancel()
	if _, err := b.Probe(ctx, primary); !errors.Is(err, engine.ErrNoAnswer) {
		t.Fatalf("probe of a node that hangs: %v", err)
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	closed(t, "exit", b.Exited(p))
	if err := b.Reconfigure(b.context(), lead); err != nil {
		t.Fatal(err)
	}
	b.do(b.client(vip, lead.Address.Port), "SET", "k", "v")
}

// An address that is taken stops a node before it serves anyone.
func TestTakenAddress(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		l, err := net.Listen("tcp", addrOf(spec.Address))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p, err := b.Start(b.context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.AwaitReady(b.context(), spec)
		if !errors.Is(err, engine.ErrNotRunning) || errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "ddress already in use") {
			t.Fatalf("got %v", err)
		}
		closed(t, "exit", b.Exited(p))
	})
}

// A script that does not end makes a node busy, not dead.
func TestBusy(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Parameters["lua-time-limit"] = "50"
		b.up(spec)
		c := b.client(spec.Address.Host, spec.Address.Port)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.Do(b.context(), "EVAL", "while true do end", "0")
		}()
		eventually(t, "the node is busy", func() bool {
			_, err := b.Probe(b.context(), spec)
			return errors.Is(err, engine.ErrBusy)
		})
		b.do(b.login(spec.Address.Host, spec.Address.Port, "", ""), "SCRIPT", "KILL")
		<-done
		if _, err := b.Probe(b.context(), spec); err != nil {
			t.Fatal(err)
		}
	})
}

// A replica whose primary is not there waits as long as it is let, and then says why.
func TestLonelyReplica(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		primary, replica, _ := b.pair(build)
		if _, err := b.Start(b.context(), replica); err != nil {
			t.Fatal(err)
		}
		var err error
		// It has to be looked at once before time is up, which may take longer on a busy machine.
		for limit := 300 * time.Millisecond; limit < patience; limit *= 4 {
			ctx, cancel := contextFor(b, limit)
			_, err = b.AwaitReady(ctx, replica)
			cancel()
			if err == nil || strings.Contains(err.Error(), "primary's data") {
				break
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) || isPermanent(err) || !strings.Contains(err.Error(), "primary's data") {
			t.Fatalf("got %v", err)
		}
		if _, err := b.AwaitReady(b.context(), primary); !errors.Is(err, engine.ErrNotRunning) {
			t.Fatalf("the primary was never started: %v", err)
		}
		b.up(primary) // and all is well
		if _, err := b.AwaitReady(b.context(), replica); err != nil {
			t.Fatal(err)
		}
		other := replica
		other.Primary = cache.Address{}
		if _, err := b.AwaitReady(b.context(), other); err == nil || !strings.Contains(err.Error(), "told otherwise") {
			t.Fatalf("a replica passes for a primary: %v", err)
		}
	})
}
