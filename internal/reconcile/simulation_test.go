package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const (
	simRegion = "us-east-1"
	// simTick is how far the clock is moved at least, so that what is due within it
	// happens at once: fewer looks at everything.
	simTick = time.Hour
	// simRoom in bytes is more than the store of a simulation grows to.
	simRoom = 32 << 20
)

// simulation runs the real control, store and runner over weeks of a clock that
// it sets itself. Only the engines and the transfers are made up.
type simulation struct {
	t       *testing.T
	rng     *rand.Rand
	w       *controltest.World
	machine *fakeMachine
	runner  *Runner
	stop    func()
	tower   tower
	// cut asks for the service to be stopped in the middle of a backup.
	cut chan struct{}

	mu sync.Mutex
	// failing are the caches whose backups fail at present.
	failing map[string]bool
	caches  map[string]*simCache
	taken   []simBackup
	erased  map[string]bool
	cuts    int
	lives   int // how often the service was stopped
	checked int // days that were verified
	// trouble are the spans in which the service was down.
	trouble []simSpan
}

// simCache is what the simulation asked of a group or a lone cluster.
type simCache struct {
	id        string
	alone     bool
	window    cache.DailyWindow
	retention int
	// disturbed are the spans in which backups failed or settings were changed.
	disturbed []simSpan
	failsFrom time.Time
	created   time.Time
}

type simSpan struct{ from, to time.Time }

// simBackup is a backup that was stored: begun, by its record, and stored the last time.
type simBackup struct {
	name, of  string
	begun, at time.Time
	life      int // how often the service had been down by then
}

// tower is the clock tower: it rings when the simulation has moved the clock so far.
type tower struct {
	mu   sync.Mutex
	now  func() time.Time
	due  time.Time
	ring chan time.Time
	rung chan struct{} // an alarm was set
	// look tells whether anything is under way, and the revision of the records. It is
	// asked after each pass: what one pass after another finds idle and unchanged is at rest.
	look     func() (idle bool, revision uint64)
	idle     bool
	revision uint64
	rest     bool
}

// forget has the runner prove anew that it is at rest.
func (c *tower) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle, c.rest = false, false
}

func (c *tower) atRest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest
}

func (c *tower) alarm(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle, revision := c.look()
	c.rest = idle && c.idle && revision == c.revision
	c.idle, c.revision = idle, revision
	c.due, c.ring = c.now().Add(d), make(chan time.Time, 1)
	if d <= 0 {
		c.ring <- c.now()
	}
	select {
	case c.rung <- struct{}{}:
	default:
	}
	return c.ring, func() {}
}

// next is when the runner wants to be woken.
func (c *tower) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.due
}

// strike wakes the runner if its time has come.
func (c *tower) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring != nil && !c.due.After(c.now()) {
		select {
		case c.ring <- c.now():
		default:
		}
	}
}

// simTransfers takes backups at once, unless they are to fail or to be cut short.
type simTransfers struct {
	fakeTransfers
	s *simulation
}

func (f simTransfers) Snapshot(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	s := f.s
	name := strings.Split(job.Object, "/")[1]
	of := simSource(name)
	s.mu.Lock()
	fails, c := s.failing[of], s.cuts > 0
	if c {
		s.cuts--
	}
	s.mu.Unlock()
	if c { // the power is cut while it runs
		s.cut <- struct{}{}
		<-ctx.Done()
		return cache.Manifest{}, ctx.Err()
	}
	if fails {
		return cache.Manifest{}, errors.New("the disk is full")
	}
	m, err := f.fakeTransfers.Snapshot(ctx, job)
	if err == nil {
		s.note(name, of)
	}
	return m, err
}

// note adds a backup to what was taken. One whose end was cut short, so that it could not
// be written down, is stored once more when the service is back, and is no other for it.
func (s *simulation) note(name, of string) {
	var record cache.Snapshot
	err := s.w.DB.View(context.Background(), func(tx *store.Tx) (err error) {
		record, _, err = records.Snapshots.Get(tx, cache.Key(simRegion, name))
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := simBackup{name: name, of: of, begun: record.CreatedAt, at: s.w.Now(), life: s.lives}
	s.taken = slices.DeleteFunc(s.taken, func(o simBackup) bool {
		return o.name == b.name && o.begun.Equal(b.begun) && o.life < b.life
	})
	s.taken = append(s.taken, b)
}

func (f simTransfers) Erase(ctx context.Context, snap cache.Snapshot) error {
	f.s.mu.Lock()
	f.s.erased[snap.Name] = true
	f.s.mu.Unlock()
	return f.fakeTransfers.Erase(ctx, snap)
}

// simMachine has engines that hold their addresses themselves.
type simMachine struct{ *fakeMachine }

func (simMachine) CanRebind(string) bool { return true }

func newSimulation(t *testing.T, seed uint64) *simulation {
	// Thousands of transactions that wait for a disk take minutes.
	if at, err := os.MkdirTemp("/dev/shm", "holdfast-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(at) })
		if f, err := os.Create(filepath.Join(at, "room")); err == nil {
			_, err = f.Write(make([]byte, simRoom))
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
			if err == nil {
				t.Setenv("TMPDIR", at)
			}
		}
	}
	s := &simulation{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), machine: newMachine(), cut: make(chan struct{}, 16),
		failing: map[string]bool{}, caches: map[string]*simCache{}, erased: map[string]bool{},
	}
	s.w = controltest.New(t, nil)
	s.tower = tower{now: s.w.Now, rung: make(chan struct{}, 1)}
	return s
}

// start starts the service.
func (s *simulation) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.runner = New(Config{
		DB: s.w.DB, Engines: simMachine{s.machine}, Transfers: simTransfers{fakeTransfers{s.machine}, s},
		Endpoints: fakeEndpoints{s.machine}, Memory: s.machine, Now: s.w.Now, Log: slog.New(slog.DiscardHandler),
	})
	r := s.runner
	s.tower.look = func() (bool, uint64) { return s.look(r) }
	r.alarm, r.idle = s.tower.alarm, day
	done := make(chan error, 1)
	go func() { done <- s.runner.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
		s.stop = func() {}
	}
}

// settle waits until the runner has nothing to do before its next alarm.
func (s *simulation) settle() {
	s.t.Helper()
	s.tower.forget()
	deadline := time.After(5 * time.Minute)
	for !s.tower.atRest() {
		s.runner.wake()
		select {
		case <-s.tower.rung:
		case <-s.cut:
			s.down(time.Duration(s.rng.IntN(180)) * time.Minute)
			s.tower.forget()
		case <-deadline:
			s.t.Fatalf("at %v the runner does not come to rest", s.w.Now())
		}
	}
}

// quiet gives what failed by chance, by a power cut perhaps, the minute in which it is
// tried anew; a minute in which the service was not down.
func (s *simulation) quiet() {
	for before := -1; before != len(s.trouble); {
		before = len(s.trouble)
		s.until(s.w.Now().Add(time.Minute))
		s.settle()
	}
}

// look is asked by the runner's own goroutine.
func (s *simulation) look(r *Runner) (idle bool, revision uint64) {
	err := s.w.DB.View(context.Background(), func(tx *store.Tx) error {
		revision = tx.Revision()
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
	running, _ := r.inFlight()
	return len(running) == 0, revision
}

// until lets time pass to a point, the runner waking whenever it wants to.
func (s *simulation) until(end time.Time) {
	for {
		s.settle()
		now, next := s.w.Now(), s.tower.next()
		if !next.Before(end) {
			if end.After(now) {
				s.w.Pass(end.Sub(now))
			}
			return
		}
		// Nothing but an attempt that is made anew is looked at to the minute.
		if pause := next.Sub(now); pause > time.Minute {
			s.w.Pass(max(pause, simTick))
		} else if pause > 0 {
			s.w.Pass(pause)
		}
		s.tower.strike()
	}
}

// down stops the service, in the middle of whatever it does, and starts it later.
func (s *simulation) down(d time.Duration) {
	from := s.w.Now()
	s.stop()
	for len(s.cut) > 0 { // two backups may have asked for the same power cut
		<-s.cut
	}
	s.mu.Lock()
	s.lives++
	s.mu.Unlock()
	s.w.Pass(d)
	s.trouble = append(s.trouble, simSpan{from, s.w.Now()})
	s.start()
}

func (s *simulation) window() (string, cache.DailyWindow) {
	from := []int{30, 11*60 + 15, 22 * 60}
	w := cache.DailyWindow{From: from[s.rng.IntN(len(from))], Length: 240 + s.rng.IntN(3)*20}
	end := (w.From + w.Length) % (24 * 60)
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.From/60, w.From%60, end/60, end%60), w
}

// days draws for how many days backups are kept: few, mostly, which is less to look at.
func (s *simulation) days() int { return []int{0, 1, 1, 2, 2, 3, 7, 35}[s.rng.IntN(8)] }

// create asks for a new cache; one in ten stands alone.
func (s *simulation) create(id string) {
	c := &simCache{id: id, alone: strings.HasSuffix(id, "0"), retention: s.days(), created: s.w.Now()}
	text, w := s.window()
	c.window = w
	asked := control.Asked{Engine: "valkey", NodeType: "cache.t3.micro", SnapshotRetention: &c.retention, SnapshotWindow: text}
	var err error
	if c.alone {
		_, err = s.w.Control.CreateCacheCluster(s.t.Context(), simRegion, control.NewCluster{ID: id, Asked: asked})
	} else {
		nodes := 1 + s.rng.IntN(2)
		_, err = s.w.Control.CreateReplicationGroup(s.t.Context(), simRegion, control.NewGroup{ID: id, Nodes: &nodes, Asked: asked})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.caches[id] = c
}

func (s *simulation) some() *simCache {
	ids := slices.Sorted(maps.Keys(s.caches))
	return s.caches[ids[s.rng.IntN(len(ids))]]
}

// change asks for another retention, and now and then for another window.
func (s *simulation) change(c *simCache) {
	s.verifyCache(c)
	in := control.GroupChange{SnapshottingCluster: c.id + "-001"}
	if s.rng.IntN(3) == 0 {
		in.SnapshotWindow, c.window = s.window()
	}
	c.retention = s.days()
	in.SnapshotRetention = &c.retention
	if c.retention == 0 {
		in.SnapshottingCluster = ""
	}
	c.disturbed = append(c.disturbed, simSpan{c.created, s.w.Now().Add(day)}) // what was before has been verified
	var err error
	for range 50 { // another window, if it meets the maintenance window
		if c.alone {
			_, err = s.w.Control.ModifyCacheCluster(s.t.Context(), simRegion, c.id, in.Change)
		} else {
			_, err = s.w.Control.ModifyReplicationGroup(s.t.Context(), simRegion, c.id, in)
		}
		if !cache.IsFault(err, "InvalidParameterValue") {
			break
		}
		in.SnapshotWindow, c.window = s.window()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// remove deletes a cache, and makes another of the same name.
func (s *simulation) remove(c *simCache) {
	s.verifyCache(c)
	var err error
	if c.alone {
		_, err = s.w.Control.DeleteCacheCluster(s.t.Context(), simRegion, c.id, "")
	} else {
		_, err = s.w.Control.DeleteReplicationGroup(s.t.Context(), simRegion, c.id, "")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	delete(s.caches, c.id)
	s.mu.Lock()
	delete(s.failing, c.id)
	s.mu.Unlock()
	s.quiet()
	s.check()
	s.create(c.id)
}

// fail makes the backups of a cache fail, or succeed again.
func (s *simulation) fail(c *simCache, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing[c.id] == on {
		return
	}
	if on {
		s.failing[c.id] = true
		c.failsFrom = s.w.Now()
	} else {
		delete(s.failing, c.id)
		c.disturbed = append(c.disturbed, simSpan{c.failsFrom, s.w.Now()})
	}
}

// failAnother has the backups of one cache fail, or those of the one that does succeed again.
func (s *simulation) failAnother() {
	for id := range s.failing {
		s.fail(s.caches[id], false)
		return
	}
	s.fail(s.some(), true)
}

// TestFiveWeeksOfBackups runs a hundred caches for five weeks and a few days.
// Settings change, caches are deleted and made anew, backups fail, the clock is
// put back, and the service is down at times, or killed in the middle of a backup.
func TestFiveWeeksOfBackups(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	s := newSimulation(t, 7)
	t.Cleanup(func() { s.stop() })
	s.start()
	for i := range 100 {
		s.create(fmt.Sprintf("g%d", i))
	}
	days := 38
	if testing.Short() {
		days = 8
	}
	for quarter := range 4 * days {
		s.until(s.w.Now().Add(6 * time.Hour))
		s.quiet()
		s.check()
		switch s.rng.IntN(8) {
		case 0:
			s.change(s.some())
		case 1:
			s.remove(s.some())
		case 2, 3:
			s.failAnother()
		case 4:
			s.down(time.Duration(1+s.rng.IntN(30*60)) * time.Minute)
		case 5:
			s.mu.Lock()
			s.cuts++
			s.mu.Unlock()
		case 6:
			if quarter%4 == 0 {
				at := s.w.Now()
				s.w.Pass(-time.Duration(1+s.rng.IntN(120)) * time.Minute)
				s.trouble = append(s.trouble, simSpan{s.w.Now(), at})
			}
		}
	}
	s.quiet()
	s.check()
	s.stop()
	s.verify(days)
}
