package engine_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// counter adds one to a key again and again, at whatever node is said to have it.
type counter struct {
	h     *hive
	work  sync.WaitGroup
	stop  context.CancelFunc
	acked int
	// longest is the longest that one of its writes took.
	longest time.Duration
	err     error
}

func (h *hive) count(at int) *counter {
	ctx, stop := context.WithCancel(h.context())
	c := &counter{h: h, stop: stop}
	conns := map[string]*resp.Conn{}
	lead := addrOf(h.nodes[at].Address)
	for _, n := range h.nodes[2:] {
		conns[addrOf(n.Address)] = h.client(n.Address.Host, n.Address.Port)
	}
	c.work.Go(func() {
		for began := time.Now(); ctx.Err() == nil; {
			_, err := conns[lead].Do(ctx, "INCR", highKey)
			switch {
			case resp.IsServerError(err, "MOVED"):
				lead = err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:]
				if conns[lead] == nil {
					c.err = err
					return
				}
				continue
			case err != nil && ctx.Err() == nil:
				c.err = err
				return
			case err == nil:
				c.acked++
				c.longest = max(c.longest, time.Since(began))
			}
			began = time.Now()
		}
	})
	return c
}

func (c *counter) end() {
	c.h.t.Helper()
	c.stop()
	c.work.Wait()
	if c.err != nil {
		c.h.t.Errorf("a client was told %v", c.err)
	}
}

// A primary hands over to a replica of a later version while it is written to, and gets
// the lead back as one of that version: no client hears an error, and no write is lost.
func TestThePrimaryOfAShardHandsOver(t *testing.T) {
	for _, pair := range [][2]string{
		{"redis-6.0", "redis-7.0"},
		{"redis-6.0", "valkey-8.1"},
		{"redis-6.0", "valkey-9.1"},
		{"redis-7.0", "valkey-8.1"},
		{"redis-7.0", "valkey-9.1"},
		{"valkey-8.1", "valkey-9.1"},
	} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			b := newBench(t)
			h := newHive(b, testkit.Engine(t, pair[0]))
			later := testkit.Engine(t, pair[1])
			h.nodes[3].Build = later.Name
			h.start(0, 2)
			h.start(1, 3)
			h.formed()
			// Of all primaries that of the last shard has the highest epoch to begin with.
			for turn, to := range []int{3, 2} {
				from := h.leads[1]
				old, next := h.spec(from), h.spec(to)
				c := h.count(from)
				eventually(t, "it counts", func() bool { p, err := h.Probe(h.context(), next); return err == nil && p.Offset > 1000 })
				pause, err := h.HandOver(h.context(), old, next)
				if err != nil {
					c.end()
					t.Fatal(err)
				}
				h.leads[1] = to
				// The one that was handed the lead is told again after a crash of the service.
				if again, err := h.HandOver(h.context(), old, next); err != nil || again != 0 {
					t.Errorf("again it takes %s: %v", again, err)
				}
				c.end()
				t.Logf("turn %d: handed over in %s, the longest write took %s, %d writes", turn, pause, c.longest, c.acked)
				got := h.do(h.customer(to), "GET", highKey)
				if n, err := strconv.Atoi(got); err != nil || n < c.acked {
					t.Errorf("%d writes were acknowledged and %s are left: %v", c.acked, got, err)
				}
				if p, err := h.Probe(h.context(), h.spec(from)); err != nil || p.Role != cache.RoleReplica {
					t.Errorf("the former primary is %v: %v", p.Role, err)
				}
				h.do(h.customer(to), "SET", highKey, "0")
				if turn == 0 {
					h.kill(from)
					h.nodes[from].Build = later.Name
					h.start(from)
					h.formed()
				}
			}
		})
	}
}

// Who does not follow a primary, or is dead, does not come to lead, and the primary takes writes.
func TestWhoIsNotInStepIsHandedNothing(t *testing.T) {
	for _, name := range []string{"redis-6.0", "valkey-8.1"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			h := newHive(b, testkit.Engine(t, name))
			h.start(0, 2)
			h.start(1, 3)
			h.formed()
			stranger := h.spec(3)
			if _, err := h.HandOver(h.context(), h.spec(0), stranger); err == nil || errors.Is(err, cache.ErrAmbiguous) {
				t.Errorf("a replica of another shard was handed the lead: %v", err)
			}
			h.kill(1)
			if _, err := h.HandOver(h.context(), h.spec(0), h.spec(1)); !errors.Is(err, cache.ErrAmbiguous) {
				t.Errorf("whether a dead replica leads is known: %v", err)
			}
			h.do(h.customer(0), "SET", lowKey, "x")
		})
	}
}

// The nodes of other shards learn at once who leads one whose primary died for good, and
// send clients there: its claim is newer than that of the dead one, in every shard.
func TestAllLearnWhoTookOver(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		h := newHive(b, build)
		h.start(0, 2)
		h.start(1, 3)
		h.formed()
		for _, i := range []int{2, 0} { // the last shard has the highest epoch to begin with
			h.kill(i)
			h.leads[i/2] = i + 1
			if err := h.Reconfigure(h.context(), h.spec(i+1)); err != nil {
				t.Fatal(err)
			}
			key, teller := []string{lowKey, highKey}[i/2], h.customer([]int{3, 0}[i/2])
			want := addrOf(h.nodes[i+1].Address)
			eventually(t, "the other shard sends clients to the new primary", func() bool {
				_, err := teller.Do(h.context(), "GET", key)
				return resp.IsServerError(err, "MOVED") && strings.HasSuffix(err.Error(), want)
			})
		}
	})
}
