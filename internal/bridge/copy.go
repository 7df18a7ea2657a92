package bridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// generation is the history that began with one copy of everything.
type generation struct {
	replID  string
	journal *journal
	// up is the link that the copy came by, at the first command after it; nil if that is
	// to be made. link is the target's, which is loading; nil if it has to call.
	up   *upstream
	link *sink.Link
}

func (g *generation) close() error {
	var err error
	if g.up != nil {
		err = g.up.close()
	}
	if g.link != nil {
		_ = g.link.Close() // the target calls again
	}
	return errors.Join(err, g.journal.close())
}

// resume goes on with what an earlier bridge left; nil if that cannot be.
func (b *Bridge) resume() *generation {
	if !b.follower.Resumed() {
		return nil
	}
	j, err := openJournal(b.opt.Dir, b.opt.segmentSize, b.opt.JournalLimit)
	if err != nil {
		b.update(func(s *Status) { s.Resyncs = append(s.Resyncs, "the journal is of no use: "+err.Error()) })
		return nil
	}
	b.update(func(s *Status) { s.Resumed = true })
	return &generation{replID: b.state.ReplID, journal: j}
}

// callTimeout is how long the target has to reach us for the first time.
const callTimeout = 20 * time.Second

var errNoCall = errors.New("the target did not call")

// call waits for the target to ask for data.
func (b *Bridge) call(ctx context.Context) (*sink.Link, error) {
	if l := b.waiting; l != nil {
		b.waiting = nil
		return l, nil
	}
	if b.reached || b.follower.Resumed() {
		return b.accept(ctx) // it is away, and was here before
	}
	first, cancel := context.WithTimeoutCause(ctx, callTimeout, errNoCall)
	defer cancel()
	l, err := b.follower.Accept(first)
	undo := context.WithoutCancel(ctx)
	if errors.Is(err, sink.ErrNoReplicaOf) {
		return nil, errors.Join(err, b.follower.Release(undo))
	}
	if errors.Is(err, errNoCall) {
		err = fmt.Errorf("%w: %s was told to follow us and did not come within %s: it cannot reach us", sink.ErrNoReplicaOf, b.opt.Target, callTimeout)
		return nil, errors.Join(err, b.follower.Release(undo))
	}
	b.reached = err == nil
	return l, err
}

// watchPeriod is how often a target that is away is looked for.
const watchPeriod = time.Second

// accept waits for a target that was here before, and was perhaps restarted.
func (b *Bridge) accept(ctx context.Context) (*sink.Link, error) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case l := <-b.follower.Called():
			return l, nil
		case <-tick.C:
			if err := b.mend(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// mend has a target that was restarted follow us again.
func (b *Bridge) mend(ctx context.Context) error {
	b.target.Lock()
	defer b.target.Unlock()
	select {
	case <-b.promoted:
		return errPromoted
	default:
	}
	return b.follower.Mend(ctx)
}

// copyAll gives the target the source's snapshot.
func (b *Bridge) copyAll(ctx context.Context) (_ *generation, err error) {
	b.marks.everything()
	link, err := b.call(ctx)
	if err != nil {
		return nil, err
	}
	g := &generation{replID: randomHex(), link: link}
	defer func() {
		if err == nil {
			return
		}
		if g.up != nil {
			err = errors.Join(err, g.up.close())
		}
		_ = link.Close()
		err = mendable(ctx, err)
	}()
	defer context.AfterFunc(ctx, func() { _ = link.Close() })()
	snap, at, err := b.fetch(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := b.send(link, snap); err != nil {
		return nil, err
	}
	if err := snap.end(); err != nil {
		return nil, err
	}
	g.journal, err = newJournal(b.opt.Dir, b.opt.segmentSize, b.opt.JournalLimit, at)
	return g, err
}

// mendable makes an error of a copy one after which it is tried again, unless it would come again.
func mendable(ctx context.Context, err error) error {
	var lost *rdb.LossError
	if ctx.Err() != nil || errors.As(err, &lost) || errors.Is(err, source.ErrNoReplica) || errors.Is(err, sink.ErrNoReplicaOf) || errors.Is(err, rdb.ErrType) {
		return err
	}
	var anew *beginAnew
	if errors.As(err, &anew) {
		return err
	}
	return &beginAnew{err.Error()}
}

// fetch asks the source for its snapshot, and tells the target that one comes.
func (b *Bridge) fetch(ctx context.Context, g *generation) (*snapshot, mark, error) {
	stop := alive(g.link)
	defer stop()
	var err error
	if g.up, err = dialUpstream(ctx, b.opt.Source); err != nil {
		return nil, mark{}, err
	}
	full, id, off, err := g.up.psync("?", -1)
	if err == nil && !full {
		err = fmt.Errorf("%w: the source goes on with what it was not asked for", errStream)
	}
	if err != nil {
		return nil, mark{}, err
	}
	snap, err := g.up.snapshot()
	if err != nil {
		return nil, mark{}, err
	}
	b.state.ReplID = g.replID
	if err := b.state.save(); err != nil {
		return nil, mark{}, err
	}
	stop()
	_, err = fmt.Fprintf(g.link, "+FULLRESYNC %s %d\r\n", g.replID, off)
	return snap, mark{ReplID: id, A: off, B: off, Up: -1, Down: -1}, err
}

// alivePeriod is well below the time for which a replica waits for its primary to say something.
const alivePeriod = 5 * time.Second

// alive shows the target that we live while the source prepares.
func alive(link io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait(ctx, alivePeriod) == nil {
			if _, err := link.Write([]byte("\n")); err != nil {
				return // whoever writes next learns of it
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// streamAbove is how large a value may be that is held in memory as a whole.
const streamAbove = 4 << 20

// send writes the snapshot as the target reads it.
func (b *Bridge) send(link io.Writer, snap *snapshot) error {
	b.update(func(s *Status) { s.Phase, s.Keys, s.SourceLink, s.TargetLink = PhaseFull, 0, true, true })
	end := randomHex()
	if _, err := fmt.Fprintf(link, "$EOF:%s\r\n", end); err != nil {
		return err
	}
	w, err := rdb.NewTargetWriter(link, targetOf(b.to))
	if err != nil {
		return err
	}
	snap.r.StreamAbove(streamAbove)
	libraries, sent := 0, int64(0)
	for {
		e, err := snap.r.Next()
		for _, f := range snap.r.Functions()[libraries:] {
			libraries++
			if err := w.Function(f); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // a wrapped one would be the input's error, not the good end
			break
		}
		if err != nil {
			return err
		}
		if sink.EmptyCollection(e.Type, e.Value) {
			continue
		}
		if err := w.Write(e); err != nil {
			return fmt.Errorf("cannot carry key %q of database %d: %w", e.Key, e.DB, err)
		}
		if sent++; sent%4096 == 0 {
			b.update(func(s *Status) { s.Keys, s.Reencoded = sent, w.Stats().Reencoded })
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	b.update(func(s *Status) { s.Keys, s.Reencoded = sent, w.Stats().Reencoded })
	_, err = io.WriteString(link, end)
	return err
}

// randomHex is a name, or a mark, of forty hexadecimal digits.
func randomHex() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
