package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

const (
	// pauseTries is how often writes are held back when the bound is not kept.
	pauseTries = 3
	// execTries and execTime bound the cuts that wait for a moment in which nothing
	// else is written to.
	execTries = 2000
	execTime  = time.Minute
	// execBytes bound what a transaction reads besides what changed: nobody is
	// served meanwhile, and it is tried many times.
	execBytes = 32 << 20
)

// cut fixes the instant. False means that the remainder did not fit, and that
// another round and another try are due.
func (a *liveAttempt) cut(ctx context.Context, try int) (bool, error) {
	if a.blind {
		a.note("without INFO commandstats nothing tells of SWAPDB and FLUSHDB")
		return true, a.settle(ctx)
	}
	if err := a.mark(ctx); err != nil {
		return false, err
	}
	if err := a.rounds(ctx); err != nil {
		return false, err
	}
	if a.s.hooks.cut == "" || a.s.hooks.cut == CutPause {
		letGo := a.holdBack()
		done, possible, err := a.pauseCut(ctx)
		if err = letGo(err); done || err != nil {
			return done, err
		}
		if possible && try+1 < pauseTries {
			return false, nil
		}
		if possible {
			a.note("the remainder could not be read while writes were held back for %s", a.s.lo.MaxPause)
		}
	}
	if a.r.cluster {
		a.note("in cluster mode keys of different slots cannot be read in one transaction")
		return true, a.settle(ctx)
	}
	if c := a.newCut(nil, true, false); c.bytes > execBytes {
		a.note("streams and large values of %d bytes that change are too many for one transaction", c.bytes)
		return true, a.settle(ctx)
	}
	letGo := a.holdBack()
	done, err := a.execCut(ctx)
	if err = letGo(err); err != nil || done {
		return done, err
	}
	return true, a.settle(ctx)
}

// settle ends without a cut: what changed is read once more, and each key is
// right by itself.
func (a *liveAttempt) settle(ctx context.Context) error {
	if a.s.lo.PointInTime {
		return fmt.Errorf("cannot read %s at one instant: %w", a.s.opt, notesError(a.rep.Notes))
	}
	// Keys whose expiry fell on the edge of a millisecond are read again, which is rare.
	for try, streams := 0, true; streams || try < clockTries && a.unsure > 0; try, streams = try+1, false {
		a.unsure = 0
		taken := a.cap.take(nil)
		if _, err := a.keyspaces(ctx); err != nil {
			return err
		}
		c := a.newCut(taken, streams, false)
		if err := errors.Join(a.readCut(c), a.readCut(a.cutOf(c.moved))); err != nil {
			return err
		}
	}
	a.rep.Inexact = a.unsure
	if err := a.cap.lost(); err != nil {
		return err
	}
	a.rep.Consistency, a.rep.Cut = PerKey, CutNone
	return nil
}

// ErrNoInstant is in the errors of a Live that was asked for one instant, on a
// server that offers no way to fix one.
var ErrNoInstant = errors.New("the server offers no way to fix one instant")

// notesError is the notes as an error. It is an ErrNoInstant.
type notesError []string

// Is tells that.
func (n notesError) Is(target error) bool { return target == ErrNoInstant }

func (n notesError) Error() string {
	if len(n) == 0 {
		return "the server offers no way"
	}
	var b bytes.Buffer
	for i, s := range n {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s)
	}
	return b.String()
}

// liveCut is what is read at the instant.
type liveCut struct {
	groups    []*liveGroup
	taken     map[touched]struct{}
	extra     map[touched]struct{} // read besides
	marked    []touched            // streams only looked at
	moved     []touched            // those of them that have changed
	bytes     int64                // about how much is read besides
	streams   bool
	functions bool
	time      bool
}

// newCut makes the requests: keys that changed, large ones that would not stand
// still, and every stream, unless no command was called that changes one silently.
// Everywhere: the besides are read in every database, because a message about a
// key does not say in which it changed.
func (a *liveAttempt) newCut(taken map[touched]struct{}, streams, everywhere bool) *liveCut {
	c := &liveCut{taken: taken, streams: streams && !a.s.hooks.noStreams, functions: a.canFunc, time: a.canTime}
	c.extra = map[touched]struct{}{}
	by := byDB{}
	for db, keys := range a.spread(taken) {
		for _, key := range keys {
			by.add(db, key)
		}
	}
	besides := func(id touched, size int64) {
		c.bytes += size
		if !everywhere {
			by.add(id.db, id.key)
			c.extra[id] = struct{}{}
			return
		}
		if all := (touched{anyDB, id.key}); !inSet(c.extra, all) {
			c.extra[all] = struct{}{}
			for db := range a.dbs {
				by.add(db, id.key)
			}
		}
	}
	covered := func(id touched) bool {
		_, one := taken[id]
		_, all := taken[touched{anyDB, id.key}]
		return one || all
	}
	for id, size := range a.hot {
		if !covered(id) {
			besides(id, size)
		}
	}
	if c.streams {
		for id, size := range a.streams {
			if _, hot := a.hot[id]; hot || covered(id) {
				continue
			}
			if a.marks[id] != nil {
				c.marked = append(c.marked, id)
				continue
			}
			besides(id, size)
		}
	}
	c.groups = a.grouped(by)
	return c
}

// byDB are keys by database.
type byDB map[int]*liveKeys

func (by byDB) add(db int, key string) {
	if by[db] == nil {
		by[db] = &liveKeys{db: db}
	}
	by[db].addString(key)
}

// cutOf makes requests for these keys alone.
func (a *liveAttempt) cutOf(ids []touched) *liveCut {
	by := byDB{}
	for _, id := range ids {
		by.add(id.db, id.key)
	}
	return &liveCut{groups: a.grouped(by)}
}

// grouped makes requests that select their databases.
func (a *liveAttempt) grouped(by byDB) (out []*liveGroup) {
	dbs := make([]int, 0, len(by))
	for db := range by {
		dbs = append(dbs, db)
	}
	slices.Sort(dbs)
	for _, db := range dbs {
		first := true
		a.groups(db, by[db], a.dbs[db], func(g *liveGroup) {
			g.sel, first = first, false
			out = append(out, g)
		})
	}
	return out
}

// covers tells whether a key that was written to is read.
func (c *liveCut) covers(id touched) bool { return inSet(c.taken, id) || inSet(c.extra, id) }

// appendCut appends the commands of a cut and says how many they are.
func (a *liveAttempt) appendCut(dst []byte, c *liveCut) ([]byte, int) {
	cmds := 0
	for _, g := range c.groups {
		var n int
		dst, n = a.appendGroup(dst, g)
		cmds += n
	}
	dst, n := a.appendMarks(dst, c)
	cmds += n
	if c.functions {
		dst = resp.AppendCommand(dst, "FUNCTION", "DUMP")
		cmds++
	}
	if c.time {
		dst = resp.AppendCommand(dst, "TIME")
		cmds++
	}
	return dst, cmds
}

// takeCut stores the answers.
func (a *liveAttempt) takeCut(c *liveCut, next func() (*resp.Reply, error)) error {
	for _, g := range c.groups {
		for i := range g.n {
			if size := a.hot[touched{g.db, string(g.keys.key(g.from + i))}]; size > 0 {
				a.rep.Large++
				a.rep.LargeBytes = max(a.rep.LargeBytes, size)
			}
		}
		if err := a.takeGroup(g, next); err != nil {
			return err
		}
	}
	if err := a.takeMarks(c, next); err != nil {
		return err
	}
	if c.functions {
		r, err := good(next)
		if err != nil {
			return fmt.Errorf("cannot read the functions: %w", err)
		}
		payload, err := text(r)
		if err != nil {
			return err
		}
		if a.rep.Functions, err = parseFunctions(payload); err != nil {
			return fmt.Errorf("cannot read the functions: %w", err)
		}
	}
	if c.time {
		now, err := a.takeTime(next)
		if err != nil {
			return err
		}
		a.cutAt = now
	}
	return nil
}

func inSet(m map[touched]struct{}, id touched) bool {
	_, is := m[id]
	return is
}

// readCut reads it over the connection for data.
func (a *liveAttempt) readCut(c *liveCut) error {
	cmds, n := a.appendCut(a.pipe.Begin(), c)
	if n == 0 {
		return nil
	}
	a.pipe.EndMany(cmds, n)
	a.pipe.Flush()
	a.db = -1
	return a.takeCut(c, a.next)
}

// parseFunctions reads the payload of FUNCTION DUMP, which is a part of an RDB
// file and a footer like DUMP's.
func parseFunctions(payload []byte) ([]rdb.FunctionLibrary, error) {
	const footer = 10
	if len(payload) < footer {
		return nil, io.ErrUnexpectedEOF
	}
	body := payload[:len(payload)-footer]
	file := append([]byte("REDIS0012"), body...)
	file = append(file, 0xff, 0, 0, 0, 0, 0, 0, 0, 0) // the end, and no checksum
	r := rdb.NewReader(bytes.NewReader(file))
	for {
		_, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one would not be the good end
			return r.Functions(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// fixed notes that the instant is had.
func (a *liveAttempt) fixed(cut Cut, c *liveCut) {
	a.rep.Consistency, a.rep.Cut = PointInTime, cut
	a.rep.At = time.Now()
	if a.cutAt > 0 {
		a.rep.At = time.UnixMilli(a.cutAt)
	}
	if c.streams {
		a.rep.Streams = int64(len(a.streams) - len(c.marked) + len(c.moved))
	}
	a.rep.Inexact = a.unsure
}

// settled sees that nothing happened of which nobody is told.
func (a *liveAttempt) settled(ctx context.Context, now liveStats) error {
	if err := a.cap.lost(); err != nil {
		return err
	}
	if err := now.check(a.begin); err != nil {
		return err
	}
	id, err := a.identity(ctx)
	if err == nil && id != a.id {
		err = restart("the server changed its role while it was read: it was %s and is %s", a.id, id)
	}
	return err
}

// pauseCut holds writes back and reads the remainder. possible tells whether the
// server lets us.
func (a *liveAttempt) pauseCut(ctx context.Context) (done, possible bool, err error) {
	// Before writes are held back it must be certain that they can be let go.
	if _, err := a.call(ctx, "CLIENT", "UNPAUSE"); err != nil {
		return false, false, a.refusedCut("CLIENT UNPAUSE", "client|unpause", err)
	}
	a.rep.Pauses++
	begun := time.Now()
	if !a.s.hooks.noPause {
		a.pipe.End(resp.AppendCommand(a.pipe.Begin(), "CLIENT", "PAUSE", strconv.FormatInt(a.s.lo.MaxPause.Milliseconds(), 10), "WRITE"))
	} else {
		a.pipe.End(resp.AppendCommand(a.pipe.Begin(), "PING"))
	}
	a.pipe.End(resp.AppendCommand(a.pipe.Begin(), "INFO", "keyspace"))
	a.pipe.End(resp.AppendCommand(a.pipe.Begin(), "INFO", "commandstats"))
	a.pipe.Flush()
	c, now, perr := a.paused()
	still := true
	if perr == nil && !a.s.hooks.noPause {
		still, perr = a.still(ctx, now)
	}
	held := time.Since(begun)
	if uerr := a.unpause(); uerr == nil {
		held = time.Since(begun)
	}
	a.rep.Pause += held
	if resp.IsServerError(perr) && c == nil {
		a.rep.Pauses--
		a.rep.Pause -= held
		return false, false, a.refusedCut("CLIENT PAUSE WRITE", "client|pause", perr)
	}
	if perr != nil {
		return false, true, perr
	}
	if held >= a.s.lo.MaxPause || !still { // counted from before it began
		a.cap.putBack(c.taken)
		return false, true, nil
	}
	if err := a.settled(ctx, now); err != nil {
		return false, true, err
	}
	a.fixed(CutPause, c)
	return true, true, nil
}

// paused reads the replies to the pause and then the remainder. A nil cut means
// that the pause was refused.
func (a *liveAttempt) paused() (*liveCut, liveStats, error) {
	var now liveStats
	if _, err := good(a.next); err != nil {
		for range 2 {
			if _, err := a.next(); err != nil {
				return nil, now, err
			}
		}
		return nil, now, err
	}
	if err := a.cap.sync(); err != nil {
		return nil, now, err
	}
	r, err := good(a.next)
	if err != nil {
		return nil, now, err
	}
	dbs, err := resp.ParseKeyspaces(r.Bytes)
	if err != nil {
		return nil, now, err
	}
	a.know(dbs)
	if r, err = good(a.next); err != nil {
		return nil, now, err
	}
	if now, err = a.parseStats(r.Bytes); err != nil {
		return nil, now, err
	}
	a.unsure = 0
	c := a.newCut(a.cap.take(nil), now.groups != a.begin.groups || a.s.hooks.noSkip, false)
	if err := a.readCut(c); err != nil {
		return c, now, err
	}
	if err := a.readCut(a.cutOf(c.moved)); err != nil {
		return c, now, err
	}
	return c, now, a.clocks(c)
}

// still tells whether nothing was written while the remainder was read: somebody
// else may have let writes go, by ending a pause of their own.
func (a *liveAttempt) still(ctx context.Context, now liveStats) (bool, error) {
	then, err := a.stats(ctx)
	if err != nil {
		return false, err
	}
	if err := a.cap.sync(); err != nil {
		return false, err
	}
	// Expiries that fell on the edge of a millisecond are among those to be read again.
	return (a.cap.size() == 0 || a.unsure > 0) && then.groups == now.groups, nil
}

// clocks asks again for expiries that fell on the edge of a millisecond. Only
// servers that know PAUSE WRITE and not PEXPIRETIME need it: Redis 6.2.
func (a *liveAttempt) clocks(*liveCut) error {
	for range clockTries {
		if a.unsure == 0 {
			return nil
		}
		a.unsure = 0
		if err := a.readCut(a.newCut(a.cap.take(nil), false, false)); err != nil {
			return err
		}
	}
	return nil
}

// unpause lets writes go, over another connection where ours is dead. Where that
// fails too they are let go when the bound is reached.
func (a *liveAttempt) unpause() error {
	a.pipe.End(resp.AppendCommand(a.pipe.Begin(), "CLIENT", "UNPAUSE"))
	for a.pipe.Len() > 1 { // of an error in between
		if _, err := a.next(); err != nil {
			break
		}
	}
	if _, err := a.next(); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.s.lo.MaxPause)
	defer cancel()
	conn, err := resp.Dial(ctx, a.s.opt.WithDB(0))
	if err != nil {
		return err
	}
	_, err = conn.Do(ctx, "CLIENT", "UNPAUSE")
	return errors.Join(err, conn.Close())
}

// refusedCut notes why a way to cut cannot be had; other errors are returned.
func (a *liveAttempt) refusedCut(command, permission string, err error) error {
	if !resp.IsServerError(err) {
		return err
	}
	a.noteMissing(command, permission, err)
	return nil
}
