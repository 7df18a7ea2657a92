package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// The roads of a Follow.
const (
	// RoadReplica joins the source as its replica; WAIT and min-replicas-to-write of
	// the source count it as one.
	RoadReplica = "replica"
	// RoadCommands needs commands of ordinary clients alone: client tracking or
	// keyspace notifications, SCAN and DUMP.
	RoadCommands = "commands"
)

// FollowOptions shape a Follow. The zero value is good for a target that is empty.
type FollowOptions struct {
	// Road is RoadReplica, RoadCommands, or "": as a replica if the source lets us, else by commands.
	Road string
	// Dir is where a snapshot, and the names of changed keys when they are very
	// many, are kept for a while; "" is the directory for temporary files.
	Dir string
	// Rate limits the reading to so many keys, BytesRate to so many bytes of keys and
	// values a second; 0 does not. A Drain is not limited.
	Rate      int
	BytesRate int64
	// Latency is by how much other clients' slow requests may become slower; 0 means DefaultLatency.
	Latency time.Duration
	// SetNotifications allows to change notify-keyspace-events by CONFIG SET, and
	// back afterwards, where changes cannot be seen otherwise.
	SetNotifications bool
	// Resume is the State of an earlier Follow of the same source into the same target.
	Resume *FollowState
	// TargetKeys lists what the target holds: it calls the function for every key,
	// by the name and database that the source has it under, until that returns
	// false. Only keys that this Follow may delete are to be listed. It is called from
	// the goroutine of Run after a Commit, and is needed to begin anew and to follow FLUSHDB,
	// FLUSHALL and SWAPDB: without it these end Run with an error.
	TargetKeys func(ctx context.Context, visit func(db int, key []byte) bool) error
	// Keep says whether an entry is written; nil keeps all. It is asked of deleted
	// keys too, of which it sees database and name: a key in scope by these that
	// leaves it by its type or expiry is deleted at the target.
	Keep func(*flow.Entry) bool
	// Progress is called now and then from the goroutine of Run.
	Progress func(FollowStatus)
	// GiveUp is for how long the source may be away before Run ends; 0 means DefaultGiveUp.
	GiveUp time.Duration
}

// DefaultGiveUp is a restart of a source that has much to load.
const DefaultGiveUp = 10 * time.Minute

// The phases of a Follow.
const (
	PhaseFull    = "full"     // everything is read once
	PhaseCatchUp = "catch-up" // what changes is read again
	PhaseHeld    = "held"     // a Drain is under way, or was the last that happened
)

// FollowStatus is how far a Follow has come.
type FollowStatus struct {
	Phase string
	// Road is the one that was taken, Capture how changes are seen.
	Road    string
	Capture Capture
	Server  resp.Server
	// Keys written in the full phase that is under way or was the last, of about Total.
	Keys, Total int64
	// Refreshed keys were read again because they had changed, Deleted ones were
	// gone. Skipped were left out by Keep.
	Refreshed, Deleted, Skipped int64
	// Dirty keys wait to be read again; the oldest change among them is so old.
	Dirty int64
	Lag   time.Duration
	// Behind is how many bytes of the replication stream are not in the target yet.
	Behind int64
	// Received is how many bytes of the stream came, Spooled how large the snapshot is.
	Received, Spooled int64
	// Up: the link that tells of changes stands. Reconnects counts how often it was
	// made anew, Resyncs how often everything had to be read again, with the reasons.
	Up                  bool
	Reconnects, Resyncs int
	Reasons             []string
	// Notes say in words what could not be had.
	Notes []string
	// Inexact counts expiries that may be a millisecond off (before Redis 7.0).
	Inexact int64
}

// ErrSourceEmptied says that the source came back without its keys, or without most of them.
var ErrSourceEmptied = errors.New("the source was restarted and has lost its keys")

// Follow copies a live source into a sink and keeps the copy up to date. It does
// not replay commands: it reads keys that changed again, and writes them whole, or
// as deleted. So it may begin again anywhere, crosses versions, and an expiry
// that is renewed late costs nothing: the value comes with it.
//
// The rules of live_doc.go hold for RoadCommands. Memory is bounded: changed
// keys beyond some 200,000 wait in a file. A large value is read in pieces, one
// that keeps changing is tried again now and then, and for good in Drain.
type Follow struct {
	opt resp.Options
	fo  FollowOptions
	// hooks, forget and memory are for tests.
	hooks          liveHooks
	forget, memory int

	changes *dirtySet
	feed    *replicaFeed
	live    *Live
	// streams and marks are those of the attempts, for they outlive one; begin is
	// what the counters were before the first key was read, and server whose they were.
	streams map[touched]int64
	marks   map[touched]*streamMark
	begin   *liveStats
	server  string
	// refusal is why the source lets no replica join.
	refusal string
	// begun: something was written that the source may not have any more.
	begun  bool
	synced bool // the full phase is over
	// request is the Drain that is due; the rest are when things were last done.
	request                   *drainRequest
	hotTry, markTry, verified time.Time

	requests chan *drainRequest
	ended    chan struct{}

	mu        sync.Mutex
	status    FollowStatus
	state     FollowState
	functions []rdb.FunctionLibrary
	refreshed time.Time // since when the keys wait that are being read
	running   bool
}

// drainRequest waits until everything is in the target.
type drainRequest struct {
	ctx  context.Context // of the caller who waits
	done chan error
}

// NewFollow returns a Follow of the server at opt; opt.DB does not matter.
func NewFollow(opt resp.Options, fo FollowOptions) *Follow {
	if fo.Latency <= 0 {
		fo.Latency = DefaultLatency
	}
	if fo.GiveUp <= 0 {
		fo.GiveUp = DefaultGiveUp
	}
	f := &Follow{
		opt: opt, fo: fo, changes: newDirtySet(), requests: make(chan *drainRequest), ended: make(chan struct{}),
		streams: map[touched]int64{}, marks: map[touched]*streamMark{},
	}
	f.changes.wake = make(chan struct{}, 1)
	f.live = NewLive(opt, LiveOptions{Dir: fo.Dir, Latency: fo.Latency, SetNotifications: fo.SetNotifications, Rate: fo.Rate, BytesRate: fo.BytesRate})
	f.status.Phase = PhaseFull
	return f
}

// Status tells how far it has come. It may be called at any time.
func (f *Follow) Status() FollowStatus {
	f.mu.Lock()
	s := f.status
	s.Reasons = append([]string(nil), s.Reasons...)
	s.Notes = append([]string(nil), s.Notes...)
	since, confirmed := f.refreshed, f.state.Offset
	f.mu.Unlock()
	d := f.changes
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Dirty = int64(len(d.dirty))
	if d.spill != nil {
		s.Dirty += int64(d.spill.keys)
	}
	if since.IsZero() {
		since = d.since
	}
	if !since.IsZero() {
		s.Lag = time.Since(since)
	}
	if s.Road == RoadReplica {
		s.Behind = max(d.pos.Offset-confirmed, 0)
		if f.feed != nil {
			s.Received, s.Up = f.feed.received, f.feed.up
			s.Reconnects = max(f.feed.joins-1, 0)
		}
		if full := d.work.full; full != nil {
			_, s.Spooled = full.whole()
		}
	}
	return s
}

// Functions are the libraries of the source as of the last Drain. They are not
// written: loading them is the caller's.
func (f *Follow) Functions() []rdb.FunctionLibrary {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.functions
}

// Again has a key read again; the next Drain waits for it.
func (f *Follow) Again(db int, key []byte) { f.changes.again(db, key) }

// Mark begins to remember which keys change.
func (f *Follow) Mark() { f.changes.mark() }

// ChangedKey is a key that was written to; DB is -1 where the source does not tell which database.
type ChangedKey struct {
	DB  int
	Key []byte
}

// Marked are the keys that changed since Mark, as far as the source has told:
// after a Drain, all. Too many, and what changes everything, give all.
func (f *Follow) Marked() (keys []ChangedKey, all bool) {
	d := f.changes
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.marked == nil || d.markedAll || d.deaf {
		return nil, true
	}
	for t := range d.marked {
		keys = append(keys, ChangedKey{t.db, []byte(t.key)})
	}
	return keys, false
}

// Drain returns when every write that the source had acknowledged before the
// call is in the target and committed. For that the writes have to be held back
// (HoldWrites): under writes that go on, keys that will not stand still make it
// end with an error. Run has to be running; its end ends Drain too.
func (f *Follow) Drain(ctx context.Context) error {
	r := &drainRequest{ctx: ctx, done: make(chan error, 1)}
	select {
	case f.requests <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.ended:
		return errNotRunning
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the target does not hold everything: %w", context.Cause(ctx))
	case <-f.ended:
		select {
		case err := <-r.done:
			return err
		default:
			return errNotRunning
		}
	}
}

var errNotRunning = errors.New("the source is not followed any more")
