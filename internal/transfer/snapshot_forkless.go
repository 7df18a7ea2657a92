package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// holdLimit bounds for how long writes are held back at the end of a forkless
// snapshot, each of a few times. About a millisecond is needed.
const holdLimit = time.Second

// forkless reads the node with the commands of a client while others write to it,
// and writes a file like that of a replica stream. No engine that can be installed
// has a forkless save of its own. Writes are held back in the last moment alone, for
// holdLimit at most; where that does not do, or cannot be had (Redis 6.0), the last
// changes are read in one transaction. If no instant can be had there is no snapshot.
func (m *Mover) forkless(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	opt := loginOptions(job.Node)
	lacks, err := m.look(ctx, opt, &job)
	if err != nil {
		return cache.Manifest{}, err
	}
	for _, budget := range latencies {
		if err := sameRun(ctx, &job); err != nil {
			return cache.Manifest{}, err
		}
		man, err := m.readForkless(ctx, opt, &job, budget)
		if errors.Is(err, errChasing) {
			continue
		}
		man.Lacks = lacks
		return man, err
	}
	return cache.Manifest{}, fmt.Errorf("%s is written to faster than it can be read: %w", opt, errChasing)
}

// latencies are by how much the slow requests of others may become slower, first
// and, where the writing was too fast for that, then.
var latencies = []time.Duration{source.DefaultLatency, 50 * time.Millisecond}

// errChasing: more is written than is read meanwhile.
var errChasing = errors.New("the changes do not become fewer")

// chasePatience is how long changed keys are read again before that counts as
// chasing, given how long it took to read everything once.
func chasePatience(scan time.Duration) time.Duration { return 20*time.Second + scan }

// chase ends a reading that does not catch up with the writing. The last of the
// latencies is given all the time that it takes.
func (m *Mover) chase(budget time.Duration, stop context.CancelCauseFunc) func(source.LiveProgress) {
	if budget == latencies[len(latencies)-1] {
		return nil
	}
	began := time.Now()
	var drain time.Time
	return func(p source.LiveProgress) {
		switch {
		case p.Phase == "scan" && !drain.IsZero(): // it begins anew
			began, drain = time.Now(), time.Time{}
			return
		case p.Phase != "drain":
			return
		case drain.IsZero():
			drain = time.Now()
		}
		if time.Since(drain) > m.patience(drain.Sub(began)) {
			stop(errChasing)
		}
	}
}

// readForkless makes one attempt.
func (m *Mover) readForkless(ctx context.Context, opt resp.Options, job *cache.SnapshotJob, budget time.Duration) (cache.Manifest, error) {
	// An end of the store must end the reading too, and the other way round.
	whole := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	live := source.NewLive(opt, source.LiveOptions{
		Dir: m.Spool, MaxPause: holdLimit, PointInTime: true, Latency: budget, Progress: m.chase(budget, stop),
	})
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := readLive(ctx, live, w)
		read <- errors.Join(err, w.CloseWithError(err))
	}()
	man, err := m.store(ctx, r, job.Object, objects.PutOptions{})
	stop(err)
	_ = r.CloseWithError(errStored) // unblocks a writer; nobody reads any more
	rerr := <-read
	if errors.Is(context.Cause(ctx), errChasing) {
		return man, errChasing
	}
	if rerr != nil && !errors.Is(rerr, errStored) && !errors.Is(rerr, context.Canceled) {
		return man, rerr // what made the file break off, rather than that it did
	}
	if err != nil {
		return man, err
	}
	rep := live.Report()
	if rep.Consistency != source.PointInTime {
		return man, fmt.Errorf("the data were read as %s and not at one instant: %w", rep.Consistency, cache.ErrPermanent)
	}
	man.Method, man.HeldSeconds = cache.MethodForkless, rep.Pause.Seconds()
	if len(rep.Restarts) > 0 { // whoever answered then
		err = sameRun(whole, job)
	}
	return man, err
}

// errStored ends a pipe that has been read to its end, or as far as it will be.
var errStored = errors.New("the file is not read any further")

// readLive writes what a server holds as an RDB file. What it returns is also what
// the reader of w gets at the end.
func readLive(ctx context.Context, live *source.Live, w io.Writer) (err error) {
	var file *sink.RDB
	defer func() {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	batch := make([]flow.Entry, 1)
	for e, err := range live.Entries(ctx) {
		if err != nil {
			return err
		}
		if file == nil {
			if file, err = beginFile(live.Report(), w); err != nil {
				return err
			}
		}
		batch[0] = *e
		if err := file.Write(ctx, batch); err != nil {
			return err
		}
	}
	if file == nil { // there are no keys
		if file, err = beginFile(live.Report(), w); err != nil {
			return err
		}
	}
	return file.Commit(ctx)
}

// beginFile writes what comes before the first key. The report is complete by then.
func beginFile(rep source.LiveReport, w io.Writer) (*sink.RDB, error) {
	srv := rep.Server
	file, err := sink.NewRDB(through{w}, rdb.HeaderOf(sink.VersionOf(srv)), rdb.Aux{Name: srv.Engine + "-ver", Value: srv.Version})
	if err != nil {
		return nil, err
	}
	for _, f := range rep.Functions {
		if err := file.Function(f); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return file, nil
}

// through hands a file on; who reads it decides whether it counts.
type through struct{ io.Writer }

func (through) Commit(context.Context) error { return nil }
func (through) Abort() error                 { return nil }

// look makes sure that the node has come to where it has to be, notes which process it
// is, and says what of its data commands cannot read.
func (m *Mover) look(ctx context.Context, opt resp.Options, job *cache.SnapshotJob) (lacks []string, err error) {
	c, err := resp.Dial(ctx, opt)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	info := map[string]string{}
	for _, section := range []string{"server", "replication", "memory"} {
		r, err := c.Do(ctx, "INFO", section)
		if err != nil {
			return nil, err
		}
		for name, value := range resp.InfoFields(r.Bytes) {
			info[name] = value
		}
	}
	at := info["master_repl_offset"]
	if behind, ok := info["slave_repl_offset"]; ok {
		at = behind
	}
	offset, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("cannot read the offset of %s: %w", c, err)
	}
	if job.RunID == "" {
		job.RunID = info["run_id"]
	}
	return lacksOf(info), reached(job, offset)
}

// lacksOf names what the engine would have written to its own file besides the
// keys with their values and expiry times, and the functions.
func lacksOf(info map[string]string) []string {
	switch policy := info["maxmemory_policy"]; policy {
	case "allkeys-lru", "volatile-lru":
		return []string{"how long keys were not used (" + policy + ")"}
	case "allkeys-lfu", "volatile-lfu":
		return []string{"how often keys were used (" + policy + ")"}
	}
	return nil
}
