package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

// setMemory is a machine whose free memory the test sets.
type setMemory struct{ free atomic.Int64 }

func (m *setMemory) Available() int64 { return m.free.Load() }
func (m *setMemory) Total() int64     { return 8 << 30 }

// manyAccounts hold the same sum after every transaction.
const manyAccounts = 2000

// dial connects to an address as somebody.
func (h *host) dial(at cache.Address, user, password string) *resp.Conn {
	h.t.Helper()
	c, err := resp.Dial(h.t.Context(), resp.Options{Addr: net.JoinHostPort(at.Host, strconv.Itoa(at.Port)), Username: user, Password: password})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (h *host) do(c *resp.Conn, args ...string) string {
	h.t.Helper()
	r, err := c.Do(h.t.Context(), args...)
	if err != nil {
		h.t.Fatalf("%v: %v", args, err)
	}
	return string(r.Bytes)
}

// admin is the administrator's connection to a member.
func (h *host) admin(n int) *resp.Conn {
	h.t.Helper()
	g, members := h.read()
	return h.dial(members[n].Node.Address, engine.AdminUser, g.Secret)
}

// move writes to the group until the returned function is called.
func (h *host) move() (done func()) {
	h.t.Helper()
	g, _ := h.read()
	c := h.dial(g.PrimaryEndpoint, "", "")
	for i := range manyAccounts {
		h.do(c, "SET", fmt.Sprint("account:", i), "1000")
	}
	ctx, stop := context.WithCancel(h.t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			from, to := fmt.Sprint("account:", i%manyAccounts), fmt.Sprint("account:", (i*31+7)%manyAccounts)
			for _, cmd := range [][]string{{"MULTI"}, {"DECRBY", from, "5"}, {"INCRBY", to, "5"}, {"EXEC"}} {
				if _, err := c.Do(h.t.Context(), cmd...); err != nil {
					h.t.Errorf("%v: %v", cmd, err)
					return
				}
			}
		}
	})
	return func() {
		stop()
		work.Wait()
	}
}

func (h *host) snapshot(name string) {
	h.t.Helper()
	c, err := control.New(h.t.Context(), control.Config{
		DB: h.in.db, Catalogue: catalogue{h.in.catalog}, Buckets: bucketLooker{}, Memory: machineMemory{},
		Now: time.Now, Addresses: loopback(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := c.CreateSnapshot(h.t.Context(), testRegion, control.NewSnapshot{Name: name, GroupID: "g"}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) awaitSnapshot(name string, status cache.Status) cache.Snapshot {
	h.t.Helper()
	var s cache.Snapshot
	testkit.Wait(h.t, 90*time.Second, func() bool {
		err := h.in.db.View(h.t.Context(), func(tx *store.Tx) (err error) {
			s, _, err = records.Snapshots.Get(tx, cache.Key(testRegion, name))
			return err
		})
		if err != nil {
			h.t.Fatal(err)
		}
		if s.Status == cache.StatusFailed && status != s.Status {
			h.t.Fatalf("the snapshot failed: %s", s.Reason)
		}
		return s.Status == status
	}, "snapshot %s is %s", name, status)
	return s
}

func (h *host) events() string {
	h.t.Helper()
	var out strings.Builder
	err := h.in.db.View(h.t.Context(), func(tx *store.Tx) error {
		all, err := records.Events.List(tx, "")
		for _, e := range all {
			fmt.Fprintln(&out, e.Message)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.String()
}

// wantSum loads a snapshot and adds up what it holds.
func (h *host) wantSum(s cache.Snapshot) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir.snapshots(), filepath.FromSlash(s.Shards[0].Object)))
	if err != nil {
		h.t.Fatal(err)
	}
	dir := h.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), b, 0o600); err != nil {
		h.t.Fatal(err)
	}
	server := testkit.StartServer(h.t, testkit.Engine(h.t, "valkey-8.1"), testkit.Dir(dir))
	sum := int64(0)
	for i := range manyAccounts {
		n, err := strconv.ParseInt(fmt.Sprint(server.Must("GET", fmt.Sprint("account:", i))), 10, 64)
		if err != nil {
			h.t.Fatal(err)
		}
		sum += n
	}
	if sum != 1000*manyAccounts {
		h.t.Errorf("the accounts of snapshot %s hold %d in all, want %d", s.Name, sum, 1000*manyAccounts)
	}
}

// TestAForkThatTakesTheMachinesMemoryIsStopped: an engine that is written to forks
// for a snapshot, the memory runs short meanwhile, and the snapshot is taken
// without a fork, and right.
func TestAForkThatTakesTheMachinesMemoryIsStopped(t *testing.T) {
	h := newHost(t)
	memory := &setMemory{}
	memory.free.Store(1 << 40)
	h.memory = memory
	h.serve()
	h.create(1)
	done := h.move()
	defer done()
	admin := h.admin(0)
	h.do(admin, "CONFIG", "SET", "rdb-key-save-delay", "100000") // the child would be at it for minutes
	h.snapshot("s")
	persistence := func() string { return h.do(admin, "INFO", "persistence") }
	testkit.Wait(t, time.Minute, func() bool { return strings.Contains(persistence(), "rdb_bgsave_in_progress:1") }, "the engine has forked")
	memory.free.Store(10 << 20)
	s := h.awaitSnapshot("s", cache.StatusAvailable)
	if !strings.Contains(persistence(), "rdb_bgsave_in_progress:0") {
		t.Error("the child is at it still")
	}
	man := s.Shards[0].Manifest
	if man.Method != cache.MethodForkless || !strings.Contains(man.MethodReason, "when the machine had 10.0 MiB of memory free") {
		t.Errorf("the manifest says %s: %s", man.Method, man.MethodReason)
	}
	if said := h.events(); strings.Count(said, "is backed up without a fork: the forked save was stopped") != 1 {
		t.Errorf("the events are\n%s", said)
	}
	h.wantSum(s)
	h.eventually("the group is available again", func(g cache.ReplicationGroup, _ []cache.CacheCluster) bool {
		return g.Status == cache.StatusAvailable
	})
	// With memory again the next one forks.
	memory.free.Store(1 << 40)
	h.do(admin, "CONFIG", "SET", "rdb-key-save-delay", "0")
	h.snapshot("next")
	if s = h.awaitSnapshot("next", cache.StatusAvailable); s.Shards[0].Manifest.Method != cache.MethodForked {
		t.Errorf("the next was taken by %s", s.Shards[0].Manifest.Method)
	}
	h.wantSum(s)
}

// TestAMachineWithoutMemoryIsBackedUpWithoutAFork from the beginning.
func TestAMachineWithoutMemoryIsBackedUpWithoutAFork(t *testing.T) {
	h := newHost(t)
	memory := &setMemory{}
	h.memory = memory
	h.serve()
	h.create(2)
	done := h.move()
	defer done()
	h.snapshot("s")
	s := h.awaitSnapshot("s", cache.StatusAvailable)
	if man := s.Shards[0].Manifest; man.Method != cache.MethodForkless || s.Shards[0].ClusterID != "g-002" {
		t.Errorf("%s was read by %s: %s", s.Shards[0].ClusterID, man.Method, man.MethodReason)
	}
	if forks := h.do(h.admin(1), "INFO", "stats"); !strings.Contains(forks, "total_forks:0") {
		t.Error("the replica has forked")
	}
	h.wantSum(s)
}

// TestAReplicaThatDiesWhileItIsBackedUpIsReplaced by another source.
func TestAReplicaThatDiesWhileItIsBackedUp(t *testing.T) {
	h := newHost(t)
	h.serve()
	h.create(3)
	done := h.move()
	defer done()
	for n := 1; n <= 2; n++ {
		h.do(h.admin(n), "CONFIG", "SET", "rdb-key-save-delay", "100000")
	}
	h.snapshot("s")
	read := 0
	testkit.Wait(t, time.Minute, func() bool {
		for read = 1; read <= 2; read++ {
			if strings.Contains(h.do(h.admin(read), "INFO", "persistence"), "rdb_bgsave_in_progress:1") {
				return true
			}
		}
		return false
	}, "a replica is read")
	for n := 1; n <= 2; n++ { // the child that is at it stays as slow
		h.do(h.admin(n), "CONFIG", "SET", "rdb-key-save-delay", "0")
	}
	_, members := h.read()
	kill(t, members[read].Node.Process.PID)
	s := h.awaitSnapshot("s", cache.StatusAvailable)
	h.wantSum(s)
	h.eventually("the group is whole and available", func(g cache.ReplicationGroup, all []cache.CacheCluster) bool {
		return g.Status == cache.StatusAvailable && all[read].Node.Ready
	})
}

// TestAPrimaryThatDiesWhileItIsBackedUp takes what was to be saved with it.
func TestAPrimaryThatDiesWhileItIsBackedUp(t *testing.T) {
	h := newHost(t)
	h.serve()
	h.create(1)
	h.move()()
	h.do(h.admin(0), "CONFIG", "SET", "rdb-key-save-delay", "100000")
	h.snapshot("s")
	admin := h.admin(0)
	testkit.Wait(t, time.Minute, func() bool {
		return strings.Contains(h.do(admin, "INFO", "persistence"), "rdb_bgsave_in_progress:1")
	}, "it is read")
	_, members := h.read()
	kill(t, members[0].Node.Process.PID)
	s := h.awaitSnapshot("s", cache.StatusFailed)
	if !strings.Contains(s.Reason, "g-001 failed and lost its data") {
		t.Errorf("the snapshot failed because %s", s.Reason)
	}
	if left, err := os.ReadDir(filepath.Join(h.dir.snapshots(), testRegion)); err == nil && len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	h.eventually("the group is available again", func(g cache.ReplicationGroup, all []cache.CacheCluster) bool {
		return g.Status == cache.StatusAvailable && all[0].Node.Ready
	})
}

// TestAFailoverInTheMiddleOfABackup: the primary dies while its replica is read.
func TestAFailoverInTheMiddleOfABackup(t *testing.T) {
	h := newHost(t)
	h.serve()
	h.create(2)
	h.move()()
	replica := h.admin(1)
	h.do(replica, "CONFIG", "SET", "rdb-key-save-delay", "100000")
	h.snapshot("s")
	testkit.Wait(t, time.Minute, func() bool {
		return strings.Contains(h.do(replica, "INFO", "persistence"), "rdb_bgsave_in_progress:1")
	}, "the replica is read")
	h.do(replica, "CONFIG", "SET", "rdb-key-save-delay", "0") // the child that is at it stays as slow
	_, members := h.read()
	kill(t, members[0].Node.Process.PID)
	h.eventually("the replica leads", func(g cache.ReplicationGroup, _ []cache.CacheCluster) bool { return g.Primary == "g-002" })
	h.wantSum(h.awaitSnapshot("s", cache.StatusAvailable))
	h.eventually("the group is whole and available", func(g cache.ReplicationGroup, all []cache.CacheCluster) bool {
		return g.Status == cache.StatusAvailable && all[0].Node.Ready && all[0].Node.Role == cache.RoleReplica
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}
