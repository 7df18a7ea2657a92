package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// shelf is an outside whose nodes say what the test wants of their memory and
// offsets, and which notes what is asked of it.
type shelf struct {
	fakeTransfers
	free  atomic.Int64
	total int64
	// health is what nodes answer, by host.
	health map[string]cache.Health
	// save, if set, is in place of what stores a shard.
	save func(ctx context.Context, job cache.SnapshotJob) error

	mu    sync.Mutex
	jobs  []cache.SnapshotJob
	ended []string
}

func newShelf(b *bench) *shelf {
	s := &shelf{fakeTransfers: fakeTransfers{b.machine}, total: 64 << 30, health: map[string]cache.Health{}}
	s.free.Store(32 << 30)
	return s
}

func (s *shelf) Available() int64 { return s.free.Load() }
func (s *shelf) Total() int64     { return s.total }

func (s *shelf) Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.health[spec.Address.Host]
	if !ok {
		return cache.Health{}, errors.New("nobody answers")
	}
	h.Changes = h.Changes * time.Now().UnixMilli() / 1000 // so many a second
	return h, ctx.Err()
}

func (s *shelf) EndSave(_ context.Context, spec cache.NodeSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, spec.Address.Host)
	return nil
}

func (s *shelf) Snapshot(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	s.mu.Lock()
	s.jobs = append(s.jobs, job)
	s.mu.Unlock()
	if s.save != nil {
		if err := s.save(ctx, job); err != nil {
			return cache.Manifest{}, err
		}
	}
	man, err := s.fakeTransfers.Snapshot(ctx, job)
	man.Method, man.MethodReason = cache.MethodForked, job.Reason
	if job.Forkless {
		man.Method = cache.MethodForkless
	}
	return man, err
}

// backUp writes a snapshot of the group g down and takes it, once.
func (b *bench) backUp(s *shelf, name string) (cache.Snapshot, error) {
	b.t.Helper()
	b.snapshot(name, "g")
	return b.backUpAgain(s, name)
}

func (b *bench) backUpAgain(s *shelf, name string) (cache.Snapshot, error) {
	b.t.Helper()
	r := New(Config{
		DB: b.db, Engines: shelfEngines{b.machine, s}, Transfers: s, Memory: s, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	out, err := r.act(context.Background(), "group r/g", Action{Kind: actSnapshot, Target: "r/" + name})
	if err == nil {
		b.update(out)
	}
	if r.promised != 0 {
		b.t.Errorf("%d bytes are promised to nobody", r.promised)
	}
	var got cache.Snapshot
	verr := b.db.View(context.Background(), func(tx *store.Tx) (err error) {
		got, _, err = records.Snapshots.Get(tx, "r/"+name)
		return err
	})
	if verr != nil {
		b.t.Fatal(verr)
	}
	return got, err
}

// shelfEngines are the nodes of a shelf.
type shelfEngines struct {
	*fakeMachine
	s *shelf
}

func (e shelfEngines) Probe(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	return e.s.Probe(ctx, spec)
}

func (e shelfEngines) EndSave(ctx context.Context, spec cache.NodeSpec) error {
	return e.s.EndSave(ctx, spec)
}

// still is a group of so many nodes that nobody works on.
func still(t *testing.T, nodes int) *bench {
	b := serving(t, nodes)
	b.stop()
	b.update(func(tx *store.Tx) error {
		for n := 1; n <= nodes; n++ {
			err := changeCluster(tx, cache.Key("r", cache.MemberID("g", n)), func(c *cache.CacheCluster) { c.NodeType = "cache.t3.small" })
			if err != nil {
				return err
			}
		}
		return nil
	})
	return b
}

func TestTheMethodStandsInTheSnapshotAndInAnEvent(t *testing.T) {
	for _, c := range []struct {
		free    int64
		changes int64
		method  string
		says    string
	}{
		{32 << 30, 100, cache.MethodForked, "g-001 was backed up by a forked save"},
		{32 << 30, 20_000, cache.MethodForkless, "g-001 was backed up without a fork: a fork might copy"},
		{513 << 20, 100, cache.MethodForkless, "g-001 was backed up without a fork: a fork might copy"},
	} {
		b := still(t, 1)
		s := newShelf(b)
		s.free.Store(c.free)
		s.health["g-001"] = cache.Health{UsedMemory: 1 << 30, Changes: c.changes}
		got, err := b.backUp(s, "s")
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != cache.StatusAvailable || len(got.Shards) != 1 || got.Shards[0].Manifest.Method != c.method || got.Shards[0].Manifest.MethodReason == "" {
			t.Errorf("the record says %+v", got)
		}
		if job := s.jobs[0]; job.Forkless != (c.method == cache.MethodForkless) || job.Memory != 1<<30 {
			t.Errorf("the job was %+v", job)
		}
		b.wantEvent(c.says)
	}
}

// TestAForkThatEatsTheReserveIsStopped: by the machine's memory, or by the node's.
func TestAForkThatEatsTheReserveIsStopped(t *testing.T) {
	for _, c := range []struct {
		name, says string
		eat        func(s *shelf)
	}{
		{"machine", "when the machine had 100.0 MiB of memory free", func(s *shelf) { s.free.Store(100 << 20) }},
		{"node", "when it had copied 900.0 MiB and the node had", func(s *shelf) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.health["g-001"] = cache.Health{UsedMemory: 600 << 20, Saving: true, Copied: 900 << 20}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := still(t, 1)
			s := newShelf(b)
			s.health["g-001"] = cache.Health{UsedMemory: 600 << 20}
			s.save = func(ctx context.Context, job cache.SnapshotJob) error {
				if job.Forkless {
					return nil
				}
				c.eat(s)
				<-ctx.Done()
				return fmt.Errorf("the stream broke off: %w", ctx.Err())
			}
			got, err := b.backUp(s, "s")
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != cache.StatusAvailable || got.Shards[0].Manifest.Method != cache.MethodForkless || got.Stopped != nil {
				t.Errorf("the record says %+v", got)
			}
			if !slices.Equal(s.ended, []string{"g-001"}) {
				t.Errorf("the saves of %v were ended", s.ended)
			}
			if len(s.jobs) != 2 || s.jobs[0].Forkless || !s.jobs[1].Forkless {
				t.Errorf("the jobs were %+v", s.jobs)
			}
			b.wantEvent(c.says)
			n := 0
			for _, e := range b.events() {
				n += strings.Count(e, "is backed up without a fork")
			}
			if n != 1 {
				t.Errorf("it was told %d times that the save was stopped", n)
			}
		})
	}
}

// TestAStoppedSaveStaysStopped: whoever goes on after a crash does not fork again.
func TestAStoppedSaveStaysStopped(t *testing.T) {
	b := still(t, 1)
	s := newShelf(b)
	s.health["g-001"] = cache.Health{UsedMemory: 600 << 20}
	broken := errors.New("the store is full")
	s.save = func(ctx context.Context, job cache.SnapshotJob) error {
		if job.Forkless {
			return broken
		}
		s.free.Store(100 << 20)
		<-ctx.Done()
		return ctx.Err()
	}
	got, err := b.backUp(s, "s")
	if !errors.Is(err, broken) || got.Status != cache.StatusCreating || got.Stopped["0001"] == "" {
		t.Fatalf("%v: %+v", err, got)
	}
	s.free.Store(32 << 30)
	s.save = nil
	if got, err = b.backUpAgain(s, "s"); err != nil || got.Shards[0].Manifest.Method != cache.MethodForkless {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestAnEngineThatCannotForkIsReadWithout(t *testing.T) {
	b := still(t, 1)
	s := newShelf(b)
	s.health["g-001"] = cache.Health{UsedMemory: 1 << 20}
	s.save = func(_ context.Context, job cache.SnapshotJob) error {
		if !job.Forkless {
			return errors.New("cannot take the snapshot: BGSAVE failed, replication can't continue")
		}
		return nil
	}
	got, err := b.backUp(s, "s")
	if err != nil || got.Shards[0].Manifest.Method != cache.MethodForkless {
		t.Errorf("%v: %+v", err, got)
	}
	b.wantEvent("the engine could not fork")
}

// TestASaveThatFailsOtherwiseIsNoReasonToDoWithoutAFork, nor is the end of the service.
func TestASaveThatFailsOtherwiseIsNoReasonToDoWithoutAFork(t *testing.T) {
	b := still(t, 1)
	s := newShelf(b)
	s.health["g-001"] = cache.Health{UsedMemory: 1 << 20}
	s.save = func(context.Context, cache.SnapshotJob) error { return errors.New("the line broke") }
	got, err := b.backUp(s, "s")
	if err == nil || !strings.Contains(err.Error(), "cannot back up g-001: the line broke") || len(s.jobs) != 1 || got.Stopped != nil {
		t.Errorf("%v, %d jobs: %+v", err, len(s.jobs), got)
	}
}

func TestTheReplicaThatIsFurthestIsRead(t *testing.T) {
	b := still(t, 4)
	s := newShelf(b)
	s.health["g-001"] = cache.Health{Offset: 90}
	s.health["g-002"] = cache.Health{Offset: 80, LinkUp: true}
	s.health["g-003"] = cache.Health{Offset: 95, LinkUp: true}
	s.health["g-004"] = cache.Health{Offset: 97} // of another history: its link is down
	got, err := b.backUp(s, "s")
	if err != nil || got.Shards[0].ClusterID != "g-003" {
		t.Fatalf("%v: %+v", err, got.Shards)
	}
	if at := s.jobs[0].MinOffset; at != 90 {
		t.Errorf("the snapshot has to hold the stream up to %d, want what the primary had, 90", at)
	}
}

// TestWhatIsLostIsNotBackedUp: a node that died after it was asked for has come
// back with nothing, and a snapshot of nothing would be taken for the data.
func TestWhatIsLostIsNotBackedUp(t *testing.T) {
	b := still(t, 2)
	s := newShelf(b)
	s.health["g-001"], s.health["g-002"] = cache.Health{}, cache.Health{LinkUp: true}
	b.snapshot("s", "g")
	die := func(c *cache.CacheCluster) { c.Node.ExitedAt = time.Now().Add(time.Second) }
	b.update(func(tx *store.Tx) error { return changeCluster(tx, "r/g-001", die) })
	_, err := b.backUpAgain(s, "s")
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "g-001 failed and lost its data") || len(s.jobs) != 0 {
		t.Errorf("%v, %d jobs", err, len(s.jobs))
	}
	// A replica has the data as long as nothing was started in the primary's place.
	b.update(func(tx *store.Tx) error {
		return changeCluster(tx, "r/g-001", func(c *cache.CacheCluster) { c.Node.Process, c.Node.Ready = nil, false })
	})
	if got, err := b.backUpAgain(s, "s"); err != nil || got.Shards[0].ClusterID != "g-002" {
		t.Errorf("%v: %+v", err, got)
	}
}

// sharded makes g a group of two node groups with a primary and a replica each.
func sharded(t *testing.T) *bench {
	b := still(t, 4)
	b.update(func(tx *store.Tx) error {
		for _, key := range []string{"r/g-003", "r/g-004"} {
			if err := changeCluster(tx, key, func(c *cache.CacheCluster) { c.NodeGroupID = "0002" }); err != nil {
				return err
			}
		}
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			slots := cache.EvenSlots(2)
			g.ClusterEnabled, g.Primary = true, ""
			g.NodeGroups = []cache.NodeGroup{
				{ID: "0001", Slots: slots[0], Members: []string{"g-001", "g-002"}, Primary: "g-001"},
				{ID: "0002", Slots: slots[1], Members: []string{"g-003", "g-004"}, Primary: "g-003"},
			}
		})
	})
	return b
}

func TestEveryShardHasItsFile(t *testing.T) {
	b := sharded(t)
	s := newShelf(b)
	for _, id := range []string{"g-001", "g-002", "g-003", "g-004"} {
		s.health[id] = cache.Health{UsedMemory: 1 << 20, LinkUp: true}
	}
	got, err := b.backUp(s, "s")
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, sh := range got.Shards {
		what = append(what, fmt.Sprint(sh.NodeGroupID, " of ", sh.ClusterID, " with ", sh.Slots, " in ", sh.Object))
	}
	want := []string{"0001 of g-002 with 0-8191 in r/s/0001", "0002 of g-004 with 8192-16383 in r/s/0002"}
	if !slices.Equal(what, want) {
		t.Errorf("the files are %q, want %q", what, want)
	}
}

func TestOneShardThatFailsFailsAll(t *testing.T) {
	b := sharded(t)
	s := newShelf(b)
	for _, id := range []string{"g-001", "g-002", "g-003", "g-004"} {
		s.health[id] = cache.Health{UsedMemory: 1 << 20, LinkUp: true}
	}
	s.save = func(_ context.Context, job cache.SnapshotJob) error {
		if !strings.HasSuffix(job.Object, "0002") {
			return nil
		}
		b.eventually("the first file is there", func(world) bool { return b.has("r/s/0001") })
		return errors.New("the disk is full")
	}
	got, err := b.backUp(s, "s")
	if err == nil || !strings.Contains(err.Error(), "node group 0002") || got.Status != cache.StatusCreating || len(got.Shards) != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	// Given up for good, its files go.
	r := New(Config{DB: b.db, Engines: b.machine, Transfers: s, Memory: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	out, err := r.act(context.Background(), "group r/g", Action{Kind: actAbandon, Target: "r/s", Reason: "the disk is full"})
	if err != nil {
		t.Fatal(err)
	}
	b.update(out)
	if b.has("r/s/0001") {
		t.Error("a failed snapshot has left a file")
	}
}

func (b *bench) has(object string) bool {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	return b.machine.objects[object]
}
