package slots

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast.dev/internal/cache"
)

// DefaultItemLimit is ElastiCache's: a slot with an item whose serialization is
// larger is not moved key by key.
const DefaultItemLimit = 256 << 20

// Move is an order to move slots.
type Move struct {
	Source, Target Node
	// Others are all other nodes of the cluster that run, replicas too.
	Others []Node
	Slots  cache.Slots
	// Atomic asks for the engine's own way, which both ends have to know.
	Atomic bool
	// ItemLimit in bytes; 0 means DefaultItemLimit.
	ItemLimit int64
	// at is called at every step, for tests.
	at func(step string) error
}

// Errors that another attempt with the same nodes does not cure.
var (
	// ErrNotPrimary: one of the two is a replica, as after a failover.
	ErrNotPrimary = errors.New("it is not a primary")
	// ErrElsewhere: a slot belongs to neither of the two.
	ErrElsewhere = errors.New("the slot belongs to another shard")
	// ErrNoRoom: the target refuses keys for want of memory.
	ErrNoRoom = errors.New("the target has no memory left")
)

// run is a Move under way.
type run struct {
	Move
	src, dst *peer
	others   []*peer
	pace     *pace
	told     func(cache.SlotProgress) error
	progress cache.SlotProgress
}

// Run moves the slots and calls told whenever some are settled, with everything since
// its beginning. An error of told ends it.
func Run(ctx context.Context, m Move, told func(cache.SlotProgress) error) (err error) {
	if m.ItemLimit <= 0 {
		m.ItemLimit = DefaultItemLimit
	}
	if m.at == nil {
		m.at = func(string) error { return nil }
	}
	r := &run{Move: m, told: told, progress: cache.SlotProgress{Kept: map[int]string{}}}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.connect(ctx); err != nil {
		return err
	}
	return r.move(ctx)
}

func (r *run) connect(ctx context.Context) (err error) {
	if r.src, err = dial(ctx, r.Source); err != nil {
		return fmt.Errorf("cannot reach the source: %w", err)
	}
	if r.dst, err = dial(ctx, r.Target); err != nil {
		return fmt.Errorf("cannot reach the target: %w", err)
	}
	for _, o := range r.Others {
		p, err := dial(ctx, o)
		if err != nil {
			return fmt.Errorf("cannot reach a node that has to be told: %w", err)
		}
		r.others = append(r.others, p)
	}
	return nil
}

func (r *run) close() error {
	var errs []error
	if r.pace != nil {
		errs = append(errs, r.pace.close())
	}
	for _, p := range append([]*peer{r.src, r.dst}, r.others...) {
		if p != nil {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(errs...)
}

// found is what an earlier attempt left of the slots.
type found struct {
	// given are the target's by its own word; turned were to come home to the source;
	// open are the source's and marked at one end or both; rest are the source's.
	given, turned, open, rest []int
}

// sort looks at both ends and finds out where each slot stands.
func (r *run) sort(ctx context.Context) (f found, err error) {
	src, err := r.primaryView(ctx, r.src)
	if err != nil {
		return f, fmt.Errorf("cannot move slots from %s: %w", r.src.At.Addr, err)
	}
	dst, err := r.primaryView(ctx, r.dst)
	if err != nil {
		return f, fmt.Errorf("cannot move slots to %s: %w", r.dst.At.Addr, err)
	}
	for n := range r.Slots.All() {
		_, dstTo := dst.to[n]
		_, srcTo := src.to[n]
		_, dstFrom := dst.from[n]
		switch {
		case dst.owns(n) && dstTo, src.owner[n] == dst.self && dst.owner[n] == src.self:
			f.turned = append(f.turned, n)
		case dst.owns(n), !src.owns(n) && src.gone[src.owner[n]] && dst.owner[n] == src.self:
			// The second: the one to whom it was given died before its replica, which leads
			// now, had heard of it.
			f.given = append(f.given, n)
		case src.owns(n) && (srcTo || dstFrom):
			f.open = append(f.open, n)
		case src.owns(n):
			f.rest = append(f.rest, n)
		default:
			return f, fmt.Errorf("cannot move slot %d: %w: %s says that it is %q's, %s that it is %q's",
				n, ErrElsewhere, r.src.At.Addr, src.owner[n], r.dst.At.Addr, dst.owner[n])
		}
	}
	return f, nil
}

// primaryView is the view of a node that has to be a primary, and the one it is
// taken for.
func (r *run) primaryView(ctx context.Context, p *peer) (*view, error) {
	v, err := p.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case v.self != p.ID:
		return nil, fmt.Errorf("it is node %s and should be %s", v.self, p.ID)
	case !v.primary:
		return nil, ErrNotPrimary
	}
	return v, nil
}

// move does what is left to be done.
func (r *run) move(ctx context.Context) error {
	f, err := r.sort(ctx)
	if err != nil {
		return err
	}
	if len(f.turned) > 0 {
		if err := r.bringHome(ctx, f.turned); err != nil {
			return err
		}
		f.rest = append(f.rest, f.turned...)
		slices.Sort(f.rest)
	}
	if r.Atomic {
		// An earlier attempt may have begun by hand, on older engines.
		return r.moveWhole(ctx, f)
	}
	if err := r.finish(ctx, f.given); err != nil {
		return err
	}
	return r.moveKeywise(ctx, append(f.open, f.rest...))
}

// finish tells everybody of slots that the target has.
func (r *run) finish(ctx context.Context, slots []int) error {
	if len(slots) == 0 {
		return nil
	}
	if err := r.give(ctx, r.there(), slots); err != nil {
		return err
	}
	return r.settled(ctx, slots)
}

// settled reports slots that are the target's for good.
func (r *run) settled(ctx context.Context, slots []int) error {
	r.progress.Done = r.progress.Done.Plus(cache.SlotsOf(slots...))
	return r.tell(ctx)
}

// kept reports slots that stay.
func (r *run) kept(ctx context.Context, why map[int]string) error {
	maps.Copy(r.progress.Kept, why)
	return r.tell(ctx)
}

func (r *run) tell(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	told := r.progress
	told.Done, told.Kept = slices.Clone(told.Done), maps.Clone(told.Kept)
	return r.told(told)
}
