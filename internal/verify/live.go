package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/flow"
)

// LiveEnd is one of two ends of which the second follows the first while both are
// compared. Its functions are called by one goroutine at a time.
type LiveEnd struct {
	// Name is used in messages.
	Name string
	// Open begins reading everything; of the second end it is not needed.
	Open func(ctx context.Context) (flow.Source, error)
	// Read hands those of some keys that exist to yield.
	Read func(ctx context.Context, db int, keys [][]byte, yield func(*flow.Entry) bool) error
	// Missing are those of some keys that do not exist; of the second end it is not needed.
	Missing func(ctx context.Context, db int, keys [][]byte) ([][]byte, error)
	// List hands over the names of all keys; of the first end it is not needed.
	List func(ctx context.Context, yield func(db int, key []byte) bool) error
}

// LiveReport is the outcome of CompareLive.
type LiveReport struct {
	// Keys is how many were compared.
	Keys int64
	// Different keys were not alike however often they were looked at; Differences
	// lists the first of them. Cut: there were so many that the rest was not looked at.
	Different   int64
	Differences []Difference
	Cut         bool
	// Expired and Tolerated as in Report; Settled keys differed once and then no
	// more. Unsettled ones changed at both ends whenever they were looked at, and were
	// never seen alike.
	Expired, Tolerated, Settled, Unsettled int64
	// Late keys expire later at the second end, by no more than the option allows.
	Late int64
}

// LiveOptions of CompareLive.
type LiveOptions struct {
	// Limit is how many differing keys are listed; 0 means 10.
	Limit int
	// Tolerance is by how much expiries may differ.
	Tolerance time.Duration
	// Late is by how much later keys may expire at the second end: Redis before 7.0
	// tells its replicas how long a key has left, and they count from when they hear it.
	Late time.Duration
	// Now is the clock by which keys have expired; nil means time.Now.
	Now func() time.Time
}

const (
	// liveBatch keys are read at the first end, and then at once at the second, so
	// that few are written to in between.
	liveBatch = 1024
	// liveOpen keys that differed wait to be looked at again together.
	liveOpen = 1024
	// liveCut differing keys are enough to know.
	liveCut = 1000
)

// CompareLive compares two ends in one pass over each, while they are written to and
// the second follows the first. It holds the names of a few thousand keys and no
// values, however large the ends are.
//
// A fingerprint of either is of no use here: thousands of writes a second change every
// slot between the two readings. So keys are read at both ends within some milliseconds, and
// those that differ are looked at again; see live_settle.go for when they do not count.
func CompareLive(ctx context.Context, first, second LiveEnd, opt LiveOptions) (*LiveReport, error) {
	if opt.Limit <= 0 {
		opt.Limit = 10
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	c := &liveComparison{
		ends: [2]LiveEnd{first, second}, opt: opt, report: &LiveReport{},
		judge: look{c: &comparison{opt: CompareOptions{Tolerance: opt.Tolerance, Now: opt.Now}, report: &Report{}}},
		d:     newDigester(0), open: map[keyID]struct{}{},
	}
	err := c.forth(ctx)
	if err == nil {
		err = c.back(ctx)
	}
	if err == nil {
		err = c.settle(ctx)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("cannot compare %s and %s: %w", first.Name, second.Name, err)
	}
	c.report.Cut = err != nil
	c.report.Expired, c.report.Tolerated = c.judge.c.report.Expired, c.judge.c.report.Tolerated
	slices.SortFunc(c.report.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.DB, b.DB), slices.Compare(a.Key, b.Key))
	})
	return c.report, nil
}

// errEnough ends a comparison that has found enough.
var errEnough = errors.New("enough keys differ")

type liveComparison struct {
	ends   [2]LiveEnd
	opt    LiveOptions
	report *LiveReport
	d      *digester // of all but the one reading of everything
	judge  look      // for its verdicts, and what it counts

	// open keys differed, and wait to be looked at again.
	open map[keyID]struct{}
}

// liveKeys are keys of one database that have been read at the first end. Hash fields
// that have expired by then do not count at either.
type liveKeys struct {
	db   int
	asOf int64
	keys map[string]*[2]side
}

func (c *liveComparison) now() int64 { return c.judge.c.opt.Now().UnixMilli() }

// forth reads the first end, and all that it has at the second: some keys there while the
// next are read here.
func (c *liveComparison) forth(ctx context.Context) (err error) {
	src, err := c.ends[0].Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	work, ctx := errgroup.WithContext(ctx)
	read := make(chan *liveKeys)
	work.Go(func() error {
		defer close(read)
		return c.readFirst(ctx, src, read)
	})
	work.Go(func() error {
		for k := range read {
			if err := c.flush(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
	return work.Wait()
}

// readFirst reads everything of the first end.
func (c *liveComparison) readFirst(ctx context.Context, src flow.Source, to chan<- *liveKeys) error {
	d := newDigester(c.now())
	k := &liveKeys{asOf: d.asOf, keys: map[string]*[2]side{}}
	hand := func(db int) error {
		select {
		case to <- k:
		case <-ctx.Done():
			return ctx.Err()
		}
		d.asOf = c.now()
		k = &liveKeys{db: db, asOf: d.asOf, keys: map[string]*[2]side{}}
		return nil
	}
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return err
		}
		if e.DB != k.db || len(k.keys) >= liveBatch {
			if err := hand(e.DB); err != nil {
				return err
			}
		}
		digest, err := d.digest(e)
		if err != nil {
			return err
		}
		k.keys[string(e.Key)] = &[2]side{sideOf(&digest)}
	}
	return hand(0)
}

// flush compares what has been read at the first end with the second.
func (c *liveComparison) flush(ctx context.Context, k *liveKeys) error {
	names := make([][]byte, 0, len(k.keys))
	for key := range k.keys {
		names = append(names, []byte(key))
	}
	c.d.asOf = k.asOf
	if err := c.read(ctx, 1, k.db, names, func(key []byte) *[2]side { return k.keys[string(key)] }); err != nil {
		return err
	}
	c.report.Keys += int64(len(k.keys))
	for key, s := range k.keys {
		if !c.count(c.verdict(s)) {
			c.open[keyID{k.db, key}] = struct{}{}
		}
	}
	if len(c.open) < liveOpen {
		return nil
	}
	return c.settle(ctx)
}

// read reads some keys of one end into where they are remembered; those that
// do not exist stay as they are.
func (c *liveComparison) read(ctx context.Context, end, db int, names [][]byte, of func(key []byte) *[2]side) error {
	if len(names) == 0 {
		return nil
	}
	var failed error
	err := c.ends[end].Read(ctx, db, names, func(e *flow.Entry) bool {
		var d Digest
		if d, failed = c.d.digest(e); failed != nil {
			return false
		}
		if s := of(e.Key); s != nil {
			s[end] = sideOf(&d)
		}
		return true
	})
	return cmp.Or(failed, err)
}

// back lists the second end and looks for keys that the first does not have. Between
// two questions it rests for as long as the first end took to answer.
func (c *liveComparison) back(ctx context.Context) error {
	var names [][]byte
	var failed error
	ask := func(db int) error {
		begun := time.Now()
		gone, err := c.ends[0].Missing(ctx, db, names)
		if err != nil {
			return err
		}
		for _, k := range gone {
			c.open[keyID{db, string(k)}] = struct{}{}
		}
		names = names[:0]
		if len(c.open) >= liveOpen {
			err = c.settle(ctx)
		}
		return errors.Join(err, pause(ctx, time.Since(begun)))
	}
	at := 0
	err := c.ends[1].List(ctx, func(db int, key []byte) bool {
		if len(names) > 0 && (db != at || len(names) >= liveBatch) {
			failed = ask(at)
		}
		at = db
		names = append(names, slices.Clone(key))
		return failed == nil
	})
	if failed == nil && err == nil && len(names) > 0 {
		failed = ask(at)
	}
	return cmp.Or(failed, err)
}
