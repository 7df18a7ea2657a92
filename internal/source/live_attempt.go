package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

const (
	// cutRemainder keys that wait to be read again are few enough for the cut:
	// reading them takes a millisecond or two.
	cutRemainder = 500
	// moreRounds are made to come below cutGoal.
	cutGoal    = 32
	moreRounds = 4
	// maxRounds of reading changed keys again, before the cut is tried as it is.
	maxRounds = 40
	// progressEvery so often progress is told.
	progressEvery = 200 * time.Millisecond
)

// errNoCapture: nothing tells what changes. The notes of the report say why.
var errNoCapture = errors.New("changes cannot be seen")

// liveAttempt is one reading from the beginning.
type liveAttempt struct {
	s   *Live
	sp  *spool
	ix  *liveIndex
	rep LiveReport
	// out, if set, gets what is read at once, in place of sp and ix: see Follow. own is
	// the spool that large values are put together in then.
	out *followOut
	own *spool
	// through, if set, hands on what is read, in place of sp and ix too.
	through *through
	// had is what earlier attempts saw of the server.
	had liveSeen
	// keeping waits for who keeps the capture alive meanwhile; unkeep ends that.
	keeping sync.WaitGroup
	unkeep  context.CancelFunc
	// count is how many keys the server had when it was last asked, counted whether it
	// has answered that at all.
	count   int64
	counted bool
	// taken are the changed keys that are being read.
	taken takenKeys
	// moved counts keys that changed while they were read and have to be read again.
	moved int
	// again: what is read was read before.
	again bool
	// strings is how they are read.
	strings liveStrings
	seed    maphash.Seed

	conn  *resp.Conn
	pipe  *resp.Pipe
	r     *reader
	cap   *capture
	probe *probe
	limit *flow.Limiter
	// undo puts back what was set on the server.
	undo func() error

	// db is the one selected on conn; dbs are all that held keys at some time, with
	// whether they hold volatile ones now.
	db  int
	dbs map[int]bool
	// streams are all known ones with the size of their values, and what else
	// changes silently; marks are of large ones; hot are large values that would not
	// stand still, with their sizes in memory; tries counts how often those were begun.
	streams map[touched]int64
	hot     map[touched]int64
	marks   map[touched]*streamMark
	tries   map[touched]int
	begin   liveStats
	id      string
	// blind: INFO commandstats may not be called. guard: MEMORY USAGE may be.
	blind, guard     bool
	bigFrom          int64
	entry            flow.Entry
	ttls             []int64
	version          int
	dumps            int64 // DUMPs answered
	scanned, total   int64
	unsure           int64 // expiries, since it was set to 0
	size             int64 // running average of a value's memory
	phase            string
	told             time.Time
	cutAt            int64 // Unix milliseconds; 0 if it is not known
	canTime, canFunc bool
	canMark          bool
}

func newAttempt(s *Live, sp *spool) *liveAttempt {
	return &liveAttempt{
		s: s, sp: sp, seed: maphash.MakeSeed(), limit: flow.NewLimiter(flow.Rate{Keys: int64(s.lo.Rate), Bytes: s.lo.BytesRate}), undo: func() error { return nil }, unkeep: func() {},
		dbs: map[int]bool{}, streams: map[touched]int64{}, hot: map[touched]int64{}, marks: map[touched]*streamMark{}, tries: map[touched]int{},
		entry: flow.Entry{Idle: -1, Freq: -1}, bigFrom: liveBig, size: 1 << 10, version: 9, db: -1,
		rep: LiveReport{Consistency: PerKey, Capture: CaptureNone, Cut: CutNone},
	}
}

// run reads everything as of one instant, or says why not. After it nothing is
// open any more but the spool.
func (a *liveAttempt) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(ctx); err != nil {
		return err
	}
	a.keepListening(ctx)
	a.enter("scan")
	begun := time.Now()
	if err := a.scan(ctx); err != nil {
		return err
	}
	if err := a.sweepStale(ctx); err != nil {
		return err
	}
	a.rep.Scan = time.Since(begun)
	begun = time.Now()
	for try := 0; ; try++ {
		a.enter("drain")
		if err := a.rounds(ctx); err != nil {
			return err
		}
		a.rep.Drain = time.Since(begun)
		a.enter("cut")
		cutting := time.Now()
		done, err := a.cut(ctx, try)
		a.rep.Cutting += time.Since(cutting)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if a.through != nil {
		a.rep.SpoolBytes, a.rep.Keys = a.through.names.size(), a.count
	} else {
		a.rep.IndexBytes, a.rep.SpoolBytes = a.ix.bytes(), a.sp.size()
	}
	a.rep.BatchMin, a.rep.BatchMax = a.probe.bounds()
	return nil
}

// open connects, begins to listen and takes the counters.
func (a *liveAttempt) open(ctx context.Context) error {
	conn, err := resp.Dial(ctx, a.s.opt.WithDB(0))
	if err != nil {
		return err
	}
	a.conn = conn
	if a.r, err = newReader(ctx, conn); err != nil {
		return err
	}
	a.rep.Server = a.r.srv
	if a.r.cluster {
		// A replica answers then too; a primary does not mind.
		if _, err := conn.Do(ctx, "READONLY"); err != nil && !resp.IsServerError(err) {
			return err
		}
	}
	a.pipe = resp.NewPipe(ctx, conn, 0)
	if err := a.listen(ctx); err != nil {
		return err
	}
	if err := a.abilities(ctx); err != nil {
		return err
	}
	dbs, err := a.keyspaces(ctx)
	if err != nil {
		return err
	}
	for _, db := range dbs {
		a.total += db.Keys
	}
	if a.s.hooks.big > 0 {
		a.bigFrom = a.s.hooks.big
	}
	if err := a.sameServer(); err != nil {
		return err
	}
	if !a.direct() {
		a.ix = newIndex(a.sp, a.total)
	}
	a.probe = startProbe(ctx, a.s.opt, a.s.lo.Latency)
	return nil
}

// direct: what is read goes on at once.
func (a *liveAttempt) direct() bool { return a.out != nil || a.through != nil }

// forget gives up what was read, so that another attempt can begin.
func (a *liveAttempt) forget() error {
	if a.through != nil {
		return a.through.anew()
	}
	return a.sp.reset()
}

// listen opens the capture: the invalidations of client tracking where they can
// be had, else keyspace notifications.
func (a *liveAttempt) listen(ctx context.Context) (err error) {
	if a.cap != nil { // a stream that others keep open
		return nil
	}
	changes := newDirtySet()
	if a.out != nil {
		changes = a.out.changes
	}
	if a.s.hooks.capture != CaptureNotifications {
		a.cap, err = openTracking(ctx, a.s.opt, a.s.lo.Dir, changes)
		if err == nil {
			a.rep.Capture = CaptureTracking
			return nil
		}
		if !resp.IsServerError(err) {
			return err
		}
		a.noteMissing("CLIENT TRACKING ON BCAST", "client|tracking", err)
	}
	marker := "holdfast:cut:" + rand.Text()
	byKey, err := a.notifications(ctx)
	if err != nil || byKey == nil {
		if err == nil {
			err = errNoCapture
		}
		return err
	}
	a.cap, err = openNotifications(ctx, a.s.opt, *byKey, marker, changes)
	if resp.IsServerError(err) {
		a.noteMissing("PSUBSCRIBE", "psubscribe, +subscribe, &__key*, &holdfast:cut:*", err)
		return fmt.Errorf("%w: %w", errNoCapture, err)
	}
	if err == nil {
		a.rep.Capture = CaptureNotifications
	}
	return err
}

// abilities finds out what the user may do, before it matters.
func (a *liveAttempt) abilities(ctx context.Context) (err error) {
	if a.begin, err = a.stats(ctx); err == nil {
		a.id, err = a.identity(ctx)
	}
	if resp.IsServerError(err) {
		a.blind = true
		a.noteMissing("INFO", "info", err)
	} else if err != nil {
		return err
	}
	try := func(may *bool, permission string, args ...string) error {
		_, err := a.call(ctx, args...)
		if resp.IsServerError(err, "MOVED", "ASK") { // another shard has that key's slot; the user may ask
			err = nil
		}
		*may = err == nil
		if resp.IsServerError(err) {
			if permission != "" && !resp.UnknownCommand(err) {
				a.noteMissing(strings.Join(args[:min(len(args), 2)], " "), permission, err)
			}
			err = nil
		}
		return err
	}
	// Of a key that is not there; only the right to ask matters.
	_, err = a.call(ctx, "XINFO", "STREAM", "holdfast:none")
	if a.canMark = !resp.IsServerError(err, "NOPERM") && !resp.UnknownCommand(err); err != nil && !resp.IsServerError(err) {
		return err
	}
	return errors.Join(
		try(&a.guard, "memory|usage", "MEMORY", "USAGE", "holdfast"),
		try(&a.canTime, "time", "TIME"),
		try(&a.canFunc, "function|dump", "FUNCTION", "DUMP"),
	)
}

// noteMissing puts into the report what was refused.
func (a *liveAttempt) noteMissing(command, permission string, err error) {
	note := fmt.Sprintf("%s: %v", command, err)
	if resp.UnknownCommand(err) {
		note = command + " is not known to the server"
	}
	if resp.IsServerError(err, "NOPERM") {
		note = fmt.Sprintf("%s is denied, the user lacks +%s", command, permission)
	}
	if !slices.Contains(a.rep.Notes, note) {
		a.rep.Notes = append(a.rep.Notes, note)
	}
}

func (a *liveAttempt) note(format string, args ...any) {
	a.rep.Notes = append(a.rep.Notes, fmt.Sprintf(format, args...))
}

// close hangs up everywhere. What fails with that no longer matters, but for
// what has to be put back.
func (a *liveAttempt) close() error {
	if a.probe != nil {
		a.probe.Close()
	}
	err := a.undo()
	a.unkeep()
	if a.cap != nil {
		_ = a.cap.Close()
	}
	a.keeping.Wait() // what it asked has ended with the connection
	if a.pipe != nil {
		_ = a.pipe.Close()
	}
	if a.conn != nil {
		_ = a.conn.Close()
	}
	if a.own != nil {
		_ = a.own.Close()
	}
	return err
}

// call sends one command over the connection for data while nothing else is in flight.
func (a *liveAttempt) call(ctx context.Context, args ...string) (*resp.Reply, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	a.pipe.End(resp.AppendCommand(a.pipe.Begin(), args...))
	return good(a.next)
}

// next is the next reply of the connection for data.
func (a *liveAttempt) next() (*resp.Reply, error) {
	r, err := a.pipe.Next()
	if full := (*resp.SpillError)(nil); errors.As(err, &full) {
		return nil, err // of the disk, which reading once more does not cure
	}
	if err != nil {
		return nil, &restartError{err}
	}
	return r, nil
}

func (a *liveAttempt) selectDB(ctx context.Context, db int) error {
	if a.db == db {
		return nil
	}
	if _, err := a.call(ctx, "SELECT", strconv.Itoa(db)); err != nil {
		return fmt.Errorf("cannot select database %d: %w", db, err)
	}
	a.db = db
	return nil
}

// keyspaces asks for the databases that are not empty, and adds them to a.dbs.
func (a *liveAttempt) keyspaces(ctx context.Context) ([]resp.Keyspace, error) {
	var dbs []resp.Keyspace
	if a.r.noInfo || a.blind {
		var err error
		if dbs, err = a.countDatabases(ctx); err != nil {
			return nil, err
		}
	} else {
		r, err := a.call(ctx, "INFO", "keyspace")
		if err != nil {
			return nil, fmt.Errorf("cannot ask for the databases: %w", err)
		}
		if dbs, err = resp.ParseKeyspaces(r.Bytes); err != nil {
			return nil, err
		}
	}
	a.know(dbs)
	return dbs, nil
}

// know notes databases. Those that became empty are kept: what was read of them
// must be seen to be gone.
func (a *liveAttempt) know(dbs []resp.Keyspace) {
	for db := range a.dbs {
		a.dbs[db] = false
	}
	a.count, a.counted = 0, true
	for _, db := range dbs {
		a.dbs[db.DB] = db.Expires > 0
		a.count += db.Keys
	}
}

// countDatabases is for users who may not call INFO.
func (a *liveAttempt) countDatabases(ctx context.Context) ([]resp.Keyspace, error) {
	var out []resp.Keyspace
	for db := range maxDatabases {
		if err := a.selectDB(ctx, db); err != nil {
			if db > 0 && resp.IsServerError(err, "ERR", "NOPERM") {
				break
			}
			return nil, err
		}
		n, err := a.call(ctx, "DBSIZE")
		if err != nil {
			return nil, fmt.Errorf("cannot count the keys of database %d: %w", db, err)
		}
		if n.Int > 0 {
			out = append(out, resp.Keyspace{DB: db, Keys: n.Int, Expires: n.Int})
		}
	}
	return out, nil
}

// known are the databases in ascending order.
func (a *liveAttempt) known() []int { return slices.Sorted(maps.Keys(a.dbs)) }

// batch is how many keys to ask for at once.
func (a *liveAttempt) batch() int {
	return int(min(a.probe.size.Load(), max(batchTarget/a.size, 1)))
}

// learn follows the size of values: up fast, down slowly.
func (a *liveAttempt) learn(size int64) {
	if size > a.size {
		a.size += (size - a.size + 3) / 4
	} else {
		a.size = max(a.size-(a.size-size)/16, 1)
	}
}

// keep stores what was read of a key.
func (a *liveAttempt) keep(e *flow.Entry) error {
	if a.out != nil {
		a.noteSilent(e, true)
		return a.out.keep(e)
	}
	if a.through != nil {
		if a.again {
			a.rep.Reread++
		}
		a.noteSilent(e, true)
		return a.through.keep(e)
	}
	at, err := a.sp.add(e)
	if err != nil {
		return err
	}
	return a.filed(e, at)
}

// filed notes where the spool holds what was read of a key.
func (a *liveAttempt) filed(e *flow.Entry, at int64) error {
	replaced, err := a.ix.put(e.DB, e.Key, at)
	if err != nil {
		return err
	}
	if replaced {
		a.rep.Reread++
	}
	a.noteSilent(e, replaced)
	return nil
}

// noteSilent remembers values that may change without a word.
func (a *liveAttempt) noteSilent(e *flow.Entry, replaced bool) {
	if class := rdb.ClassOf(e.Type); class == rdb.ClassStream || class == rdb.ClassModule && a.cap.kind == CaptureNotifications {
		a.streams[touched{e.DB, string(e.Key)}] = sizeOf(e) - int64(len(e.Key))
	} else if replaced && len(a.streams) > 0 {
		delete(a.streams, touched{e.DB, string(e.Key)})
		delete(a.marks, touched{e.DB, string(e.Key)})
	}
}

// has tells whether a key was read. What goes out at once is not remembered.
func (a *liveAttempt) has(db int, key []byte) (bool, error) {
	if a.direct() {
		return false, nil
	}
	return a.ix.has(db, key)
}

// gone notes that a key does not exist.
func (a *liveAttempt) gone(db int, key []byte) error {
	if a.out != nil {
		delete(a.streams, touched{db, string(key)})
		delete(a.marks, touched{db, string(key)})
		return a.out.gone(db, key)
	}
	if a.through != nil {
		delete(a.streams, touched{db, string(key)})
		delete(a.marks, touched{db, string(key)})
		return a.through.gone(db, key)
	}
	was, err := a.ix.remove(db, key)
	if was {
		delete(a.streams, touched{db, string(key)})
		delete(a.marks, touched{db, string(key)})
	}
	return err
}

func (a *liveAttempt) enter(phase string) {
	a.phase = phase
	if f := a.s.hooks.phase; f != nil {
		f(phase)
	}
	a.told = time.Time{}
}

// tick tells progress, and sees that the capture is well.
func (a *liveAttempt) tick() error {
	now := time.Now()
	if now.Sub(a.told) < progressEvery {
		return nil
	}
	a.told = now
	if a.out != nil {
		a.out.told(a)
	} else if f := a.s.lo.Progress; f != nil {
		p := LiveProgress{Phase: a.phase, Dirty: int64(a.cap.size()), Batch: a.batch(), Through: a.through != nil}
		if p.Through {
			p.Keys = a.through.sent
		} else {
			p.Keys = a.ix.keys
		}
		p.Total = max(a.total, p.Keys)
		f(p)
	}
	return a.cap.keepAlive()
}

// yield hands out the latest version of every key.
func (a *liveAttempt) yield(ctx context.Context, yield func(*flow.Entry) bool) error {
	a.enter("yield")
	n := 0
	err := a.sp.walk(func(at int64, e *flow.Entry) error {
		if n++; n&1023 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		if !a.ix.latest(e.DB, e.Key, at) || a.cutAt > 0 && e.HasExpiry() && e.ExpireAt <= a.cutAt {
			return nil
		}
		a.rep.Keys++
		if !yield(e) {
			return errStop
		}
		return nil
	})
	a.s.setReport(&a.rep)
	return err
}
