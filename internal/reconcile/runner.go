package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Config of a Runner; all fields are needed unless they say otherwise.
type Config struct {
	DB        *store.DB
	Engines   Engines
	Transfers Transfers
	Endpoints Endpoints
	Memory    Memory
	// Memcacheds and Discovery may be nil where there is no Memcached cluster.
	Memcacheds Memcacheds
	Discovery  Discovery
	// Newest is the newest minor of the major version of a cache that is really installed, or
	// that version itself, and the build that serves it. Nil where caches change by nobody's order.
	Newest func(engine, version string) cache.Successor
	Now    func() time.Time
	Log    *slog.Logger
}

// Limits on what runs side by side: moving data costs all there is, and starting
// engines costs processor time. More starts at once than there are processors
// do not come to their end sooner, and the API's callers wait meanwhile.
const (
	maxNodeActions = 16
	maxTransfers   = 2
)

func maxStarts() int { return max(2, runtime.NumCPU()) }

// Runner carries out what Plan says. Make one with New and call Run once.
type Runner struct {
	Config
	poke       chan struct{} // something ended: plan again
	nodeSlots  chan struct{}
	startSlots chan struct{}
	moveSlots  chan struct{}
	// alarm rings once after a while, unless it is stopped; tests have a clock of their own.
	alarm func(time.Duration) (ring <-chan time.Time, stop func())
	idle  time.Duration // how often everything is looked at though nothing has changed

	began time.Time // when Run was called

	// outlook is what pass knows of the records, and track what has changed in them.
	outlook *outlook
	track   *store.Tracker

	mu       sync.Mutex
	flights  map[string]map[string]*flight     // by unit, by action id
	ended    map[string]bool                   // units of which an action has ended since they were planned
	forwards map[cache.Address][]cache.Address // replaced, never changed
	fronts   map[string]*cache.MemcachedFronts // by cluster, replaced, never changed; nil for none
	attended map[cache.Process]bool            // whose end is waited for
	promised int64                             // memory in bytes that running forked saves may copy
	work     sync.WaitGroup
}

// flight is a running action.
type flight struct{ cancel context.CancelFunc }

// New makes a runner that does nothing yet.
func New(c Config) *Runner {
	return &Runner{
		Config:     c,
		poke:       make(chan struct{}, 1),
		nodeSlots:  make(chan struct{}, maxNodeActions),
		startSlots: make(chan struct{}, maxStarts()),
		moveSlots:  make(chan struct{}, maxTransfers),
		alarm:      alarm,
		idle:       idleLook,
		flights:    map[string]map[string]*flight{},
		ended:      map[string]bool{},
		forwards:   map[cache.Address][]cache.Address{},
		fronts:     map[string]*cache.MemcachedFronts{},
		attended:   map[cache.Process]bool{},
	}
}

// Run makes what is asked for true until the context ends, taking over whatever
// an earlier Run left. Engines go on running after it; what was in the middle
// of being done goes on at the next Run.
func (r *Runner) Run(ctx context.Context) error {
	defer r.work.Wait()
	r.began = r.Now()
	watch := r.DB.Watch(records.Groups.Prefix(""), records.Clusters.Prefix(""), records.Snapshots.Prefix(""))
	defer watch.Close()
	defer func() {
		if r.track != nil {
			r.track.Close()
		}
	}()
	ring, stop := r.alarm(0)
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C():
		case <-r.poke:
		case <-ring:
		}
		began := time.Now()
		again, err := r.pass(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot plan: %w", err)
		}
		stop()
		ring, stop = r.alarm(again)
		// However much happens, planning takes half of one processor and no more.
		r.rest(ctx, min(time.Since(began), maxPause))
	}
}

// maxPause bounds how long a pass is put off because the one before took long.
const maxPause = 100 * time.Millisecond

// idleLook is how often everything is looked at though nothing has changed, and so
// how soon it is noticed that the clock was set.
const idleLook = time.Minute

func alarm(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// pass plans every unit for which something has changed, and returns how long it may rest.
func (r *Runner) pass(ctx context.Context) (time.Duration, error) {
	// What has ended is read before what runs, and that before the records: an action
	// that ends in between is still taken for running, and its end asks for another pass.
	l := look{ended: r.takeEnded(), rebind: r.Engines.CanRebind, newest: r.newest}
	l.running, l.forwards = r.inFlight()
	l.fronts = r.allFronts()
	if r.track == nil {
		r.track, r.outlook = r.DB.Track(tables()...), newOutlook(r.idle)
	}
	err := r.DB.View(ctx, func(tx *store.Tx) error { return r.outlook.refresh(tx, r.track) })
	if err != nil {
		return 0, err
	}
	r.attend(ctx, r.outlook.takeArrived())
	l.now = r.Now()
	room := r.outlook.backupRoom(l.running)
	for _, unit := range r.outlook.units(&l) {
		d := r.outlook.plan(unit, &l)
		for _, id := range d.Cancel {
			r.cancel(unit, id)
		}
		for _, a := range d.Do {
			if a.Kind == actBackup && !room.take() {
				r.outlook.touch(unit) // it comes when another backup has ended
				continue
			}
			r.launch(ctx, unit, a)
		}
	}
	return r.outlook.rest(l.now), nil
}

// takeEnded returns the units of which an action has ended since the last call.
func (r *Runner) takeEnded() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.ended
	r.ended = map[string]bool{}
	return out
}

// inFlight returns what runs, by unit, and the forwarders that stand.
func (r *Runner) inFlight() (map[string]map[string]bool, map[cache.Address][]cache.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	running := make(map[string]map[string]bool, len(r.flights))
	for unit, flights := range r.flights {
		running[unit] = make(map[string]bool, len(flights))
		for id := range flights {
			running[unit][id] = true
		}
	}
	return running, r.forwards
}

// allFronts are those of all Memcached clusters.
func (r *Runner) allFronts() map[string]*cache.MemcachedFronts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fronts
}

func (r *Runner) cancel(unit, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[unit][id]; f != nil {
		f.cancel()
	}
}

// launch starts one action in its own goroutine.
func (r *Runner) launch(ctx context.Context, unit string, a Action) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	if r.flights[unit] == nil {
		r.flights[unit] = map[string]*flight{}
	}
	r.flights[unit][a.ID()] = &flight{cancel}
	r.mu.Unlock()
	r.work.Go(func() {
		defer cancel()
		r.perform(ctx, unit, a)
		r.mu.Lock()
		delete(r.flights[unit], a.ID())
		if len(r.flights[unit]) == 0 {
			delete(r.flights, unit)
		}
		r.ended[unit] = true
		r.mu.Unlock()
		r.wake()
	})
}

func (r *Runner) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}
