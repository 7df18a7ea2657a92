package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

func (w *world) job(forkless bool) cache.SnapshotJob {
	return cache.SnapshotJob{
		Region: "here", Object: "here/s/0001.rdb", Node: login(w.server), Build: w.server.Build.Name,
		Forkless: forkless, Reason: "it was asked for", Memory: 77,
	}
}

// loaded starts another engine of the same build from an object of the store.
func (w *world) loaded(t *testing.T, object string) *testkit.Server {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), read(t, w.Snapshots, object), 0o600); err != nil {
		t.Fatal(err)
	}
	return testkit.StartServer(t, w.server.Build, testkit.Dir(dir))
}

func TestAForklessSnapshotIsWhatTheNodeHolds(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		w := newWorld(t, b)
		functions := b.RDBVersion >= 10
		if functions {
			w.server.Must("FUNCTION", "LOAD", "#!lua name=kept\nredis.register_function('f', function() return 7 end)")
		}
		w.server.Must("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
		man, err := w.Snapshot(t.Context(), w.job(true))
		if err != nil {
			t.Fatal(err)
		}
		if live := w.live(t); man.Fingerprint != live && (b.ExpireTime || !verify.SameData(man.Fingerprint, live)) {
			t.Errorf("the snapshot has fingerprint %s, the node %s", man.Fingerprint, live)
		}
		if man.Keys != testKeys || man.KeysByType["stream"] == 0 || man.Volatile == 0 || man.Version != b.Version || man.RDBVersion != b.RDBVersion {
			t.Errorf("the manifest says %+v", man)
		}
		if man.Method != cache.MethodForkless || man.Consistency != cache.ConsistencyPoint || man.MethodReason != "it was asked for" || man.Memory != 77 {
			t.Errorf("the manifest tells of its making %+v", man)
		}
		if len(man.Lacks) != 1 || !strings.Contains(man.Lacks[0], "volatile-lru") {
			t.Errorf("the manifest says that %q is missing", man.Lacks)
		}
		again := w.loaded(t, "here/s/0001.rdb")
		if functions && again.Must("FCALL", "f", "0") != int64(7) {
			t.Error("the function is lost")
		}
		forked, err := w.Snapshot(t.Context(), w.job(false))
		if err != nil {
			t.Fatal(err)
		}
		if forked.Fingerprint != man.Fingerprint && (b.ExpireTime || !verify.SameData(forked.Fingerprint, man.Fingerprint)) {
			t.Errorf("a forked snapshot has fingerprint %s, a forkless one %s", forked.Fingerprint, man.Fingerprint)
		}
	})
}

func TestAnEmptyNodeIsBackedUpForkless(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	w.server.Must("FLUSHALL")
	man, err := w.Snapshot(t.Context(), w.job(true))
	if err != nil || man.Keys != 0 || man.Bytes == 0 {
		t.Fatalf("%v: %+v", err, man)
	}
	if n := w.loaded(t, "here/s/0001.rdb").Must("DBSIZE"); n != int64(0) {
		t.Errorf("the file holds %v keys", n)
	}
}

// accounts is how many keys the writers of TestASnapshotIsOfOneInstant move amounts between.
const accounts = 400

// TestASnapshotIsOfOneInstant: the sum over all keys is the same after each
// transaction, and in a file that mixes two instants it is not.
func TestASnapshotIsOfOneInstant(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		for _, forkless := range []bool{false, true} {
			w := newWorld(t, b)
			for i := range accounts {
				w.server.Must("SET", account(i), "1000")
			}
			done := w.transfer(t)
			man, err := w.Snapshot(t.Context(), w.job(forkless))
			moved := done()
			if err != nil {
				t.Fatalf("forkless %t: %v", forkless, err)
			}
			if moved == 0 {
				t.Error("nothing was written meanwhile")
			}
			sum := int64(0)
			again := w.loaded(t, "here/s/0001.rdb")
			for i := range accounts {
				n, err := strconv.ParseInt(fmt.Sprint(again.Must("GET", account(i))), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			if sum != 1000*accounts {
				t.Errorf("forkless %t: the accounts hold %d in all, want %d; %d keys, writes held for %.3f s", forkless, sum, 1000*accounts, man.Keys, man.HeldSeconds)
			}
		}
	})
}

func account(i int) string { return fmt.Sprintf("account:%d", i) }

// transfer moves amounts until the returned function is called, which tells how often.
func (w *world) transfer(t *testing.T) (done func() int64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var moved atomic.Int64
	for n := range 3 {
		c, err := resp.Dial(t.Context(), resp.Options{Addr: w.server.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			defer c.Close()
			for i := n; ctx.Err() == nil; i += 7 {
				from, to := account(i%accounts), account((i*31+n+1)%accounts)
				for _, cmd := range [][]string{{"MULTI"}, {"DECRBY", from, "5"}, {"INCRBY", to, "5"}, {"EXEC"}} {
					if _, err := c.Do(t.Context(), cmd...); err != nil {
						t.Errorf("%v: %v", cmd, err)
						return
					}
				}
				moved.Add(1)
			}
		})
	}
	testkit.Wait(t, time.Minute, func() bool { return moved.Load() > 0 }, "the first amount is moved")
	return func() int64 {
		stop()
		work.Wait()
		return moved.Load()
	}
}

// TestAReadingThatDoesNotCatchUpIsBegunAgain, with less regard for others, and then
// has the time that it needs.
func TestAReadingThatDoesNotCatchUpIsBegunAgain(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	w.patience = func(time.Duration) time.Duration { return -1 }
	c, err := resp.Dial(t.Context(), resp.Options{Addr: w.server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		defer c.Close()
		for n := 0; ctx.Err() == nil; n++ {
			const burst = "for i = 1, 1000 do redis.call('SET', 'burst:' .. i, ARGV[1]) end"
			if _, err := c.Do(t.Context(), "EVAL", burst, "0", strconv.Itoa(n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	man, err := w.Snapshot(t.Context(), w.job(true))
	stop()
	work.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if listened := w.server.Info("commandstats")["cmdstat_client|tracking"]; !strings.HasPrefix(listened, "calls=2,") {
		t.Errorf("it was begun so often: %s", listened)
	}
	if man.Keys != testKeys+1000 {
		t.Errorf("%d keys, want %d", man.Keys, testKeys+1000)
	}
	again := w.loaded(t, "here/s/0001.rdb")
	first := again.Must("GET", "burst:1")
	for i := 2; i <= 1000; i++ {
		if got := again.Must("GET", fmt.Sprint("burst:", i)); got != first {
			t.Fatalf("burst:%d is %v and burst:1 is %v: two instants", i, got, first)
		}
	}
}

// tight is a store with room for so many bytes, or whose writers hang.
type tight struct {
	objects.Store
	room  int64
	hangs bool
}

var errTight = errors.New("no space left on device")

func (s *tight) Create(ctx context.Context, key string, opt objects.PutOptions) (objects.Writer, error) {
	w, err := s.Store.Create(ctx, key, opt)
	return &tightWriter{Writer: w, s: s, ctx: ctx}, err
}

type tightWriter struct {
	objects.Writer
	s   *tight
	ctx context.Context
	n   int64
}

func (w *tightWriter) Write(p []byte) (int, error) {
	if w.n += int64(len(p)); w.n <= w.s.room {
		return w.Writer.Write(p)
	}
	if w.s.hangs {
		<-w.ctx.Done()
		return 0, w.ctx.Err()
	}
	return 0, errTight
}

// bothWays runs a test for either method.
func bothWays(t *testing.T, f func(t *testing.T, w *world, job cache.SnapshotJob)) {
	for _, forkless := range []bool{false, true} {
		t.Run(fmt.Sprintf("forkless %t", forkless), func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
			f(t, w, w.job(forkless))
		})
	}
}

// wantNothingLeft: no file, no child, nobody connected, and writes are taken.
func (w *world) wantNothingLeft(t *testing.T) {
	t.Helper()
	w.wantNoFiles(t)
	partials, err := filepath.Glob(filepath.Join(w.dir, "snapshots", ".partial", "*"))
	if err != nil || len(partials) > 0 {
		t.Errorf("left: %v %v", partials, err)
	}
	testkit.Wait(t, time.Minute, func() bool {
		return strings.Contains(fmt.Sprint(w.server.Must("INFO", "persistence")), "rdb_bgsave_in_progress:0")
	}, "the child has ended")
	testkit.Wait(t, time.Minute, func() bool {
		return strings.Count(fmt.Sprint(w.server.Must("CLIENT", "LIST")), " addr=") <= 1
	}, "nobody but this test is connected")
	w.server.Must("SET", "still", "writable")
}

func TestAFullStoreFailsASnapshotAndLeavesNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world, job cache.SnapshotJob) {
		store := w.Mover.Snapshots
		w.Mover.Snapshots = &tight{Store: store, room: 100_000}
		_, err := w.Snapshot(t.Context(), job)
		if !errors.Is(err, errTight) || errors.Is(err, cache.ErrPermanent) {
			t.Errorf("a full disk, which may have room later: %v", err)
		}
		w.Mover.Snapshots = store
		w.wantNothingLeft(t)
		if _, err := w.Snapshot(t.Context(), job); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestASnapshotIntoAStoreThatHangsCanBeStopped(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world, job cache.SnapshotJob) {
		w.Mover.Snapshots = &tight{Store: w.Mover.Snapshots, room: 100_000, hangs: true}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, stop)
		if _, err := w.Snapshot(ctx, job); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		w.wantNothingLeft(t)
	})
}

func TestANodeThatDiesIsNotBackedUp(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world, job cache.SnapshotJob) {
		dying := &dyingStore{Store: w.Mover.Snapshots, kill: sync.OnceFunc(w.server.Kill)}
		w.Mover.Snapshots = dying
		_, err := w.Snapshot(t.Context(), job)
		if job.Forkless && err == nil {
			// All had been read when the first byte was written.
			if man, err := dying.Stat(t.Context(), job.Object); err != nil || man.Size == 0 {
				t.Errorf("a snapshot that was done: %v", err)
			}
			return
		}
		if err == nil || errors.Is(err, cache.ErrPermanent) {
			t.Errorf("a stream whose server died: %v", err)
		}
		w.wantNoFiles(t)
	})
}

// dyingStore kills the server when the first bytes are to be stored.
type dyingStore struct {
	objects.Store
	kill func()
}

func (s *dyingStore) Create(ctx context.Context, key string, opt objects.PutOptions) (objects.Writer, error) {
	w, err := s.Store.Create(ctx, key, opt)
	return killingWriter{w, s.kill}, err
}

type killingWriter struct {
	objects.Writer
	kill func()
}

func (w killingWriter) Write(p []byte) (int, error) {
	w.kill()
	return w.Writer.Write(p)
}

func TestASpoolWithoutRoomFailsASnapshot(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	w.Spool = filepath.Join(w.dir, "no", "such", "place")
	if _, err := w.Snapshot(t.Context(), w.job(true)); err == nil {
		t.Error("there is nowhere to keep the data, and nothing is said")
	}
	w.wantNothingLeft(t)
}

func TestANodeThatIsBehindIsNotReadForkless(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	job := w.job(true)
	job.MinOffset = 1 << 60
	if _, err := w.Snapshot(t.Context(), job); err == nil || !strings.Contains(err.Error(), "offset") {
		t.Errorf("a snapshot from before the offset: %v", err)
	}
	w.wantNothingLeft(t)
}

// A node that may not take more data is one of those that a backup is for.
func TestAFullNodeIsBackedUp(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world, job cache.SnapshotJob) {
		w.server.Must("CONFIG", "SET", "maxmemory", "1mb")
		if _, err := w.server.Try("SET", "one", "more"); err == nil {
			t.Fatal("the node is not full")
		}
		man, err := w.Snapshot(t.Context(), job)
		if err != nil || man.Keys != testKeys {
			t.Errorf("%d keys of %d: %v", man.Keys, testKeys, err)
		}
	})
}

// TestANodeOfAClusterIsBackedUp: there writes can be held back, and nothing else
// fixes the instant.
func TestANodeOfAClusterIsBackedUp(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world, job cache.SnapshotJob) {
		w.server = testkit.StartServer(t, w.server.Build, testkit.Cluster(), testkit.Config("repl-diskless-sync yes", "repl-diskless-sync-delay 0"))
		job.Node = login(w.server)
		w.server.Must("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
		testkit.Wait(t, time.Minute, func() bool {
			return strings.Contains(fmt.Sprint(w.server.Must("CLUSTER", "INFO")), "cluster_state:ok")
		}, "the cluster is formed")
		for i := range 1000 {
			w.server.Must("SET", fmt.Sprint("key:", i), i)
		}
		man, err := w.Snapshot(t.Context(), job)
		if err != nil || man.Keys != 1000 || man.Consistency != cache.ConsistencyPoint {
			t.Errorf("%d keys, %s: %v", man.Keys, man.Consistency, err)
		}
	})
}
