package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

func (w *world) compareWith(t *testing.T, s *testkit.Server) cache.Comparison {
	t.Helper()
	c, err := w.Compare(t.Context(), cache.CompareJob{From: login(w.server), To: login(s)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write writes to keys of its own, some of them all the time, until the returned
// function is called.
func (w *world) write(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for n := range 3 {
		c, err := resp.Dial(ctx, resp.Options{Addr: w.server.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			defer c.Close()
			for i := 0; ctx.Err() == nil; i++ {
				cmd := [][]string{
					{"INCR", "hot"},
					{"SET", fmt.Sprint("some:", n, ":", i%2000), fmt.Sprint(i), "EX", "600"},
					{"HSET", fmt.Sprint("hash:", i%50), fmt.Sprint(n, i%7), fmt.Sprint(i)},
					{"DEL", fmt.Sprint("some:", n, ":", (i*7)%2000)},
				}[i%4]
				if _, err := c.Do(ctx, cmd...); err != nil && ctx.Err() == nil {
					t.Errorf("cannot write: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); work.Wait() }
}

// upward are pairs of an engine and a newer one that can follow it.
func upward() [][2]string {
	var out [][2]string
	for i, old := range testkit.Lines {
		for _, newer := range testkit.Lines[i:] {
			out = append(out, [2]string{old, newer})
		}
	}
	return out
}

func TestANodeAndTheOneThatFollowsItAreAlike(t *testing.T) {
	for _, pair := range upward() {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, pair[0]))
			replica := testkit.StartServer(t, testkit.Engine(t, pair[1]), testkit.ReplicaOf(w.server))
			replica.WaitLink()
			stop := w.write(t)
			defer stop()
			c := w.compareWith(t, replica)
			if c.Different != 0 || c.AtLeast || c.Keys < testKeys {
				t.Errorf("%+v", c)
			}
			if c.Unsettled > 1 { // "hot" may be
				t.Errorf("%d keys were not seen to agree", c.Unsettled)
			}
		})
	}
}

func TestWhatAFollowerHasNotIsNamed(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	w.server.Must("MSET", "changed", "1", "lost", "1", "same", "1")
	w.server.Must("SET", "expires", "1", "EX", "1000")
	w.server.Must("SELECT", "1")
	w.server.Must("SADD", "other", "a", "b")
	w.server.Must("SELECT", "0")
	other := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.ReplicaOf(w.server))
	other.WaitLink()
	if c := w.compareWith(t, other); c.Different != 0 {
		t.Fatalf("before anything was done: %+v", c)
	}
	other.Must("REPLICAOF", "NO", "ONE")
	other.Must("SET", "changed", "2")
	other.Must("DEL", "lost")
	other.Must("EXPIRE", "expires", "2000")
	other.Must("SET", "more", "1")
	other.Must("SELECT", "1")
	other.Must("SREM", "other", "b")
	other.Must("SET", "more of it", "1")
	stop := w.write(t) // nothing of which arrives
	defer stop()
	c := w.compareWith(t, other)
	all := strings.Join(c.Names, "\n")
	if c.Different < 6 || c.Unsettled != 0 || len(c.Names) > comparedNames {
		t.Errorf("%+v", c)
	}
	stop()
	other.Must("SELECT", "0")
	w.server.Must("DEL", "hot")
	for _, k := range w.server.Must("KEYS", "some:*").([]any) {
		w.server.Must("DEL", k)
	}
	for _, k := range w.server.Must("KEYS", "hash:*").([]any) {
		w.server.Must("DEL", k)
	}
	c = w.compareWith(t, other)
	want := []string{`db0 "changed": value (string)`, `db0 "expires": expiry`, `db0 "lost": missing in B (A: string)`, `db0 "more": missing in A (B: string)`, `db1 "more of it": missing in A`, `db1 "other": value (set)`}
	if c.Different != 6 || c.AtLeast || len(c.Names) != 6 {
		t.Fatalf("%+v; under load %s", c, all)
	}
	for i, name := range want {
		if !strings.HasPrefix(c.Names[i], name) {
			t.Errorf("%q, want %q", c.Names[i], name)
		}
	}
}

// TestAComparisonThatHasFoundEnoughEnds: nothing is held for each key of a node that
// has none of them.
func TestAComparisonThatHasFoundEnoughEnds(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	empty := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	c := w.compareWith(t, empty)
	if !c.AtLeast || c.Different < 1000 || c.Different > testKeys-1 || len(c.Names) != comparedNames {
		t.Errorf("%+v", c)
	}
}

func TestRedisBefore7TellsItsReplicasExpiriesLater(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-6.0"))
	w.server.Must("SET", "k", "1", "PX", "600000")
	other := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.ReplicaOf(w.server))
	other.WaitLink()
	other.Must("REPLICAOF", "NO", "ONE")
	other.Must("PEXPIRE", "k", "630000")
	if c := w.compareWith(t, other); c.Different != 0 || c.Late == 0 {
		t.Errorf("%+v", c)
	}
	other.Must("PEXPIRE", "k", "500000")
	if c := w.compareWith(t, other); c.Different != 1 {
		t.Errorf("a key that expires sooner: %+v", c)
	}
}

// TestAReplicaInClusterModeIsCompared: it answers for keys only when it is asked to.
func TestAReplicaInClusterModeIsCompared(t *testing.T) {
	for _, line := range []string{"redis-6.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, line))
			c := testkit.StartCluster(t, testkit.Engine(t, line), 1, 1)
			w.server = c.Primaries[0]
			for i := range 3000 {
				w.server.Must("SET", fmt.Sprint("k", i), "v")
			}
			i := slices.IndexFunc(c.All(), func(s *testkit.Server) bool { return s != w.server })
			replica := c.All()[i]
			replica.WaitLink()
			if got := w.compareWith(t, replica); got.Different != 0 || got.Keys != 3000 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAComparisonEndsWithItsContext(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	replica := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	// It is not of the same data, so the comparison would look again for seconds.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := w.Compare(ctx, cache.CompareJob{From: login(w.server), To: login(replica)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
