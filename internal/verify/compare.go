package verify

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/flow"
)

// End is one of the two sides of a comparison.
type End struct {
	// Name is used in messages: a file's name, a server's address.
	Name string
	// Open begins reading the end from its beginning. It is called once, and
	// again for each closer look.
	Open func(ctx context.Context) (flow.Source, error)
	// Recheck reads one key as it is now, nil where it does not exist. It is set
	// for ends that may change while they are compared, and only for them. It is
	// called by one goroutine at a time.
	Recheck func(ctx context.Context, db int, key []byte) (*flow.Entry, error)
}

// CompareOptions of Compare. The zero value is good.
type CompareOptions struct {
	// Limit is how many differing keys are listed; 0 means 100.
	Limit int
	// Tolerance is by how much expiries may differ; for ends of which one does
	// not tell the exact expiry.
	Tolerance time.Duration
	// MaxHeld is how many keys a closer look may hold in memory at once, each
	// taking about 200 bytes and its name; 0 means 150,000, so that a comparison stays
	// below 64 MiB. More differing slots take further readings.
	MaxHeld int64
	// Workers hash in parallel for each end; 0 means one for each processor.
	Workers int
	// Progress, if set, is called about every thousand keys of each end, one call at a time.
	Progress func(Progress)
	// Now is the clock by which keys have expired; nil means time.Now.
	Now func() time.Time
}

// errUnsteady is what two ends that do not change, differ in their sums and agree key by key are.
var errUnsteady = errors.New("the sums differ but no key does: an end does not read the same twice, or yields a key twice")

// Compare reads two ends and says whether they hold the same, and if not, what
// differs. An error means that there is no verdict.
func Compare(ctx context.Context, a, b End, opt CompareOptions) (*Report, error) {
	c := &comparison{ends: [2]End{a, b}, opt: opt, report: &Report{Names: [2]string{a.Name, b.Name}}}
	if c.opt.Limit <= 0 {
		c.opt.Limit = 100
	}
	if c.opt.MaxHeld <= 0 {
		c.opt.MaxHeld = 150_000
	}
	if c.opt.Now == nil {
		c.opt.Now = time.Now
	}
	if err := c.first(ctx); err != nil {
		return nil, err
	}
	if err := c.closer(ctx); err != nil {
		return nil, err
	}
	r := c.report
	r.Equal = len(r.Differences) == 0 && r.Unchecked == 0 && r.UnreadSlots == 0
	if r.Equal && !r.explained() && !r.A.Equal(r.B) && a.Recheck == nil && b.Recheck == nil {
		return nil, fmt.Errorf("cannot compare %s and %s: %w", a.Name, b.Name, errUnsteady)
	}
	return r, nil
}

type comparison struct {
	ends   [2]End
	opt    CompareOptions
	report *Report
	mu     sync.Mutex // holds Progress to one call at a time
}

// both runs a pipeline over each end at the same time.
func (c *comparison) both(ctx context.Context, pass int, set func(end int, p *pipeline)) error {
	// Both ends are about to make tables of some bytes for each key, and those of the
	// movement or the reading before are garbage of the same size.
	debug.FreeOSMemory()
	g, ctx := errgroup.WithContext(ctx)
	for i := range c.ends {
		g.Go(func() error {
			end := &c.ends[i]
			p := pipeline{workers: c.opt.Workers, at: Progress{End: i, Pass: pass}}
			if c.opt.Progress != nil {
				p.progress = func(at Progress) {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.opt.Progress(at)
				}
			}
			set(i, &p)
			src, err := end.Open(ctx)
			if err != nil {
				return fmt.Errorf("cannot open %s: %w", end.Name, err)
			}
			if err := errors.Join(p.run(ctx, src), src.Close()); err != nil {
				return fmt.Errorf("cannot compare %s: %w", end.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// first takes both fingerprints.
func (c *comparison) first(ctx context.Context) error {
	prints := [2]*Fingerprint{newFingerprint(), newFingerprint()}
	err := c.both(ctx, 1, func(i int, p *pipeline) { p.emit = prints[i].addAll })
	c.report.A, c.report.B = prints[0], prints[1]
	return err
}

// suspect is a slot whose sums differ.
type suspect struct {
	db, slot int
	// volatileOnly: only expiries differ, so only keys that have one matter.
	volatileOnly bool
	// keys is how many there are to hold, if most are at both ends; at worst twice as many.
	keys int64
}

// suspects lists the slots that differ, in order.
func (c *comparison) suspects() []suspect {
	a, b := c.report.A, c.report.B
	all := newFingerprint() // only for its numbers
	for n, db := range a.dbs {
		all.dbs[n] = db
	}
	for n, db := range b.dbs {
		if all.dbs[n] == nil || all.dbs[n].totals.Keys == 0 {
			all.dbs[n] = db
		}
	}
	var out []suspect
	for _, n := range all.numbers() {
		da, db := a.dbs[n], b.dbs[n]
		for slot := range Slots {
			x, y := da.peek(slot), db.peek(slot)
			switch {
			case x == y:
			case x.data == y.data && x.keys == y.keys && x.volatile == y.volatile:
				out = append(out, suspect{n, slot, true, x.volatile})
			default:
				out = append(out, suspect{n, slot, false, max(x.keys, y.keys)})
			}
		}
	}
	return out
}

// closer compares the slots that differ key by key, as many at a time as may be
// held, until enough differing keys are found.
func (c *comparison) closer(ctx context.Context) error {
	left := c.suspects()
	for pass := 2; len(left) > 0; pass++ {
		if len(c.report.Differences) >= c.opt.Limit {
			c.report.UnreadSlots = len(left)
			return nil
		}
		n, held := 0, int64(0)
		for n < len(left) && (n == 0 || held+left[n].keys <= c.opt.MaxHeld) {
			held += left[n].keys
			n++
		}
		l := newLook(c, left[:n])
		if err := c.both(ctx, pass, l.set); err != nil {
			return err
		}
		if err := l.judge(ctx); err != nil {
			return err
		}
		left = left[n:]
	}
	return nil
}
