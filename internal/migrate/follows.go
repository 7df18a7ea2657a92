package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// FollowsOptions shape a Follows. Follow and Open are needed.
type FollowsOptions struct {
	// Source is the source, or any node of it.
	Source resp.Options
	// Follow makes what reads a shard, from where an earlier one was (nil begins
	// anew). It must write and delete keys of this shard alone: see Shard.Holds.
	Follow func(s Shard, resume *source.FollowState) *source.Follow
	// Open makes a sink into the target; each shard has one of its own.
	Open func(ctx context.Context) (flow.Sink, error)
	// State is that of an earlier Follows into the same target; nil begins anew.
	State json.RawMessage
	// Tell is told when the shards of the source change; nil tells nobody.
	Tell func(what string, args ...any)
	// MaxPause is that of Primaries.
	MaxPause time.Duration
}

// Follows is a Carrier that reads every primary of the source with a
// source.Follow and writes what it reads to a sink of its own. It is the Holder of
// these primaries too.
//
// A source that is a cluster may change on the way: see follows_shards.go.
type Follows struct {
	opt FollowsOptions
	// watch is nil where the source is in no cluster.
	watch *shardWatch
	// earlier are the shards of State.
	earlier []shardState
	wg      sync.WaitGroup
	wake    chan struct{} // told that a follower has ended
	over    chan struct{} // closed when Run has ended

	mu     sync.Mutex
	stop   context.CancelFunc // of Run
	shards []*follower
	// changed: the shards are others than when Mark was called before.
	changed bool
	// uneasy is what was not as it should be at the last look at the cluster; nil
	// says that each shard is followed.
	uneasy error
	// resyncs are those of followers that were replaced, and one for each that
	// could not go on from another.
	resyncs int
}

// NewFollows makes a carrier. It asks the source whether it is a cluster.
func NewFollows(ctx context.Context, o FollowsOptions) (*Follows, error) {
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	f := &Follows{opt: o, wake: make(chan struct{}, 1), over: make(chan struct{})}
	t, err := resp.Discover(ctx, o.Source)
	if err != nil {
		return nil, err
	}
	if f.earlier, err = readState(o.State); err != nil {
		return nil, err
	}
	if t != nil {
		f.watch, f.uneasy = newShardWatch(o.Source), errors.New("they are being asked for")
		return f, nil
	}
	only := Shard{Options: o.Source, Of: 1}
	f.shards = []*follower{f.newFollower(only, f.earlierOf(&only))}
	return f, nil
}

// Run follows all shards until ctx ends, Finish is called, or one cannot go on.
func (f *Follows) Run(ctx context.Context) error {
	defer close(f.over)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f.mu.Lock()
	f.stop = stop
	f.mu.Unlock()
	var err error
	if f.watch == nil {
		err = f.runOne(ctx)
	} else {
		err = f.runCluster(ctx)
	}
	ended := ctx.Err() != nil
	stop()
	f.wg.Wait()
	if ended && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// runOne follows the only shard.
func (f *Follows) runOne(ctx context.Context) error {
	only := f.list()[0]
	f.start(ctx, only)
	<-only.done
	return only.err
}

func (f *Follows) list() []*follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shards
}

// Road says how the source is read.
func (f *Follows) Road() string {
	words := map[string]string{
		source.RoadReplica:  "as a replica, changed keys read again and restored",
		source.RoadCommands: "with commands of ordinary clients, changed keys read again and restored",
	}
	for _, one := range f.list() {
		if w := words[one.follow.Status().Road]; w != "" {
			return w
		}
	}
	return ""
}

// Status is that of all shards together: the sum, or the worst.
func (f *Follows) Status() Status {
	f.mu.Lock()
	list, uneasy := f.shards, f.uneasy
	out := Status{Phase: PhaseCatchUp, Resyncs: f.resyncs}
	f.mu.Unlock()
	if uneasy != nil {
		out.Phase, out.Link = PhaseFull, "waiting for the shards of the source: "+uneasy.Error()
	}
	for _, one := range list {
		s := one.follow.Status()
		out.Keys += s.Keys
		out.Total += s.Total
		out.Dirty += s.Dirty
		out.Bytes += s.Behind
		out.Resyncs += s.Resyncs
		out.Lag = max(out.Lag, s.Lag)
		switch {
		case s.Phase == source.PhaseFull, one.hasEnded():
			out.Phase = PhaseFull
		case !s.Up && out.Link == "":
			out.Link = "the source does not answer"
		}
	}
	return out
}

// Mark is that of all shards together.
func (f *Follows) Mark() (keys []Key, all bool) {
	f.mu.Lock()
	list := f.shards
	all = f.changed || f.uneasy != nil
	f.changed = false
	f.mu.Unlock()
	for _, one := range list {
		k, a := one.follow.Remark()
		keys, all = append(keys, k...), all || a
	}
	return keys, all
}

// Drain drains all shards at once. Before and after it the shards of a cluster must
// be those that are followed: a key that moved in between may be in none of the streams.
func (f *Follows) Drain(ctx context.Context) error {
	list := f.list()
	if err := f.unchanged(ctx, list); err != nil {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	for _, one := range list {
		g.Go(func() error { return one.follow.Drain(inner) })
	}
	if err := g.Wait(); err != nil {
		if f.watch != nil && ctx.Err() == nil {
			return &retry{err} // if it is more than that, the carrier ends
		}
		return err
	}
	return f.unchanged(ctx, list)
}

// unchanged tells whether these are the shards of the source, all of them followed.
func (f *Follows) unchanged(ctx context.Context, list []*follower) error {
	if f.watch == nil {
		return nil
	}
	now, err := f.watch.look(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && !sameShards(now, shardsOf(list)):
		err = errMoving
	}
	for _, one := range list {
		if err == nil && one.hasEnded() {
			err = errMoving
		}
	}
	if err != nil {
		f.worry(err)
		return &retry{err}
	}
	return nil
}

// worry has Status say that the shards are not all followed, until it is seen that they are.
func (f *Follows) worry(err error) {
	f.mu.Lock()
	f.uneasy = err
	f.mu.Unlock()
	f.stir()
}

// Hold holds the primaries that are followed. Drain sees that there are no others.
func (f *Follows) Hold(ctx context.Context, save func(json.RawMessage) error) (Held, error) {
	list := f.list()
	p := Primaries{MaxPause: f.opt.MaxPause, List: func(ctx context.Context) (out []resp.Options, err error) {
		for _, one := range list {
			out = append(out, one.shard.Options)
		}
		return out, f.unchanged(ctx, list)
	}}
	h, err := p.Hold(ctx, save)
	if err != nil && ctx.Err() == nil {
		if changed := f.unchanged(ctx, list); changed != nil {
			err = errors.Join(err, changed)
		}
	}
	return h, err
}

// finishTime bounds how long Finish waits; what it waits for takes milliseconds.
const finishTime = 30 * time.Second

// Finish stops following: what expires at the source from now on must not be
// deleted at the target, where clients may have given it a new life.
func (f *Follows) Finish(ctx context.Context) error {
	f.mu.Lock()
	stop := f.stop
	f.mu.Unlock()
	stop()
	t := time.NewTimer(finishTime)
	defer t.Stop()
	select {
	case <-f.over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return errors.New("following the source does not end")
	}
}

// Notes are what the shards could not have.
func (f *Follows) Notes() string {
	var all []string
	for _, one := range f.list() {
		all = append(all, one.follow.Status().Notes...)
	}
	return strings.Join(all, "; ")
}
