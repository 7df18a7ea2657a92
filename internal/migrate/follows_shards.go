package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// How a cluster is followed whose slots move and whose nodes fail:
//
//   - Each slot is written to the target by one Follow at a time: that of the shard
//     that held the slot when the Follow began. It writes and deletes nothing else,
//     whatever its server holds for a while.
//   - Who holds what is believed when all primaries say so themselves, no slot is on
//     its way, and it was the same a moment before.
//   - If it is not what is followed, all shards that have changed are stopped, and what they sent
//     is carried out, before any of them is followed anew. Otherwise what the old
//     owner of a slot sent last could come after what the new one sent, and an old
//     version of a key would stand in the target.
//   - A shard with other slots is read from the beginning, and keys of its slots
//     that it does not have are deleted in the target. A primary that took over the very
//     same slots goes on where the old one was, if it can.
//   - While a slot moves its keys cannot be read at either end: the server sends
//     whoever asks elsewhere, and never says that they do not exist. So a Follow ends then
//     with an error, and with what it had confirmed still true.
//   - After any such change every key may have changed.

const (
	// lookEvery so often a cluster is asked for its shards, and lookSoon while it is not at rest.
	lookEvery = time.Second
	lookSoon  = 200 * time.Millisecond
	// steadyFor so long the shards must have been the same to be followed anew.
	steadyFor = time.Second
	// tellAfter so long the operator is told that there is something to wait for.
	tellAfter = 5 * time.Second
	// provenFor so long a follower must have gone on for earlier trouble to be forgotten.
	provenFor = 30 * time.Second
)

// clusterLook is what is known of the cluster over several looks.
type clusterLook struct {
	shards []Shard
	since  time.Time // of shards
	err    error
	// trouble is since when not all shards are followed and nothing moves; zero if
	// they are. told: the operator knows.
	trouble time.Time
	told    bool
}

// runCluster follows the shards as they are at any time.
func (f *Follows) runCluster(ctx context.Context) error {
	defer f.watch.close()
	l := &clusterLook{}
	for {
		if err := f.look(ctx, l); err != nil {
			return err
		}
		wait := lookEvery
		if f.mayLook() {
			wait = lookSoon
		}
		t := time.NewTimer(wait)
		select {
		case <-f.wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// mayLook tells whether the cluster is to be looked at soon.
func (f *Follows) mayLook() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.uneasy != nil
}

func (f *Follows) stir() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// look looks once at the cluster and does what follows from it.
func (f *Follows) look(ctx context.Context, l *clusterLook) error {
	now, err := f.watch.look(ctx)
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	again := err == nil && l.err == nil && sameShards(now, l.shards)
	if !again {
		l.since = time.Now()
	}
	if l.moves(now, err) && !l.trouble.IsZero() {
		l.trouble = time.Now()
	}
	l.shards, l.err = now, err
	if err := f.broken(l); err != nil {
		return err
	}
	rested := again && (f.list() == nil || time.Since(l.since) >= steadyFor)
	switch {
	case err == nil && f.asFollowed(now):
		f.atRest(l)
		return nil
	case err == nil && rested:
		if err := f.arrange(ctx, now); err != nil {
			return err
		}
		l.told = false
		return nil
	case err == nil:
		err = errMoving
	}
	f.mu.Lock()
	f.uneasy = err
	f.mu.Unlock()
	return f.outOfPatience(l, err)
}

// moves tells whether a look saw something else than the one before: slots that go
// one after the other may take hours.
func (l *clusterLook) moves(now []Shard, err error) bool {
	switch {
	case errors.Is(err, errMoving) && errors.Is(l.err, errMoving):
		return err.Error() != l.err.Error()
	case err == nil && l.err == nil:
		return !sameShards(now, l.shards)
	}
	return errors.Is(err, errMoving) || errors.Is(l.err, errMoving)
}

// asFollowed tells whether the shards are those that are followed.
func (f *Follows) asFollowed(now []Shard) bool {
	list := f.list()
	if len(list) != len(now) {
		return false
	}
	for i := range now {
		if find(list, &now[i]) == nil {
			return false
		}
	}
	return true
}

// find is the follower that follows a shard as it is. One whose server answers no
// more, and is told to be at another address, does not.
func find(list []*follower, s *Shard) *follower {
	for _, one := range list {
		moved := one.shard.Options.Addr != s.Options.Addr && !one.follow.Status().Up
		if one.shard.same(s) && !one.hasEnded() && !moved {
			return one
		}
	}
	return nil
}

// atRest notes that all is well.
func (f *Follows) atRest(l *clusterLook) {
	f.mu.Lock()
	f.uneasy = nil
	list := f.shards
	f.mu.Unlock()
	for _, one := range list {
		if s := one.follow.Status(); s.Phase == source.PhaseFull && time.Since(one.began) < provenFor {
			return
		}
	}
	l.trouble = time.Time{}
}

// broken is the error of a follower that nothing cures: of the target, or of a
// shard that is as it was.
func (f *Follows) broken(l *clusterLook) error {
	for _, one := range f.list() {
		if !one.hasEnded() {
			continue
		}
		if one.final {
			return one.err
		}
		for i := range l.shards {
			if one.shard.same(&l.shards[i]) && !passing(one.err) {
				return fmt.Errorf("cannot follow %s: %w", one.shard.Options, one.err)
			}
		}
	}
	if resp.IsServerError(l.err, "NOPERM", "NOAUTH", "WRONGPASS") {
		return l.err
	}
	return nil
}

// outOfPatience ends the waiting when a shard has not been followed for long.
func (f *Follows) outOfPatience(l *clusterLook, why error) error {
	if l.trouble.IsZero() {
		l.trouble = time.Now()
	}
	if !l.told && time.Since(l.trouble) > tellAfter {
		l.told = true
		f.opt.Tell("waiting for the shards of the source", "because", why)
	}
	if time.Since(l.trouble) < source.DefaultGiveUp {
		return nil
	}
	list := f.list()
	for _, one := range list {
		if one.hasEnded() {
			return fmt.Errorf("%s could not be followed for %s: %w", one.shard.Options, source.DefaultGiveUp, errors.Join(one.err, why))
		}
	}
	if list == nil {
		return fmt.Errorf("the source could not be read for %s: %w", source.DefaultGiveUp, why)
	}
	return nil
}

// passing tells whether an error of a follower may be gone when it begins again.
func passing(err error) bool {
	if resp.IsServerError(err) {
		return resp.IsServerError(err, "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOMASTERLINK", "READONLY", "UNBLOCKED", "BUSY")
	}
	var op net.Error
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// arrange has the shards followed as they are now.
func (f *Follows) arrange(ctx context.Context, now []Shard) error {
	was := f.list()
	next := make([]*follower, len(now))
	kept := map[*follower]bool{}
	for i := range now {
		if one := find(was, &now[i]); one != nil {
			next[i], kept[one] = one, true
		}
	}
	f.mu.Lock()
	f.changed, f.uneasy = true, errMoving
	f.mu.Unlock()
	if err := f.part(ctx, was, kept); err != nil {
		return err
	}
	var begun []*follower
	for i := range now {
		if next[i] == nil {
			next[i] = f.newFollower(now[i], f.resumeOf(&now[i], was))
			begun = append(begun, next[i])
		}
	}
	f.mu.Lock()
	f.shards, f.changed, f.uneasy = next, true, nil
	for _, one := range was {
		if !kept[one] {
			f.resyncs += one.follow.Status().Resyncs
		}
	}
	anew := 0
	for _, one := range begun {
		if was != nil && one.resume == nil {
			anew++
		}
	}
	f.resyncs += anew
	f.mu.Unlock()
	if was != nil {
		f.opt.Tell("the shards of the source have changed", "shards", len(now), "read again", anew, "taken over", len(begun)-anew)
	}
	for _, one := range begun {
		f.start(ctx, one)
	}
	return nil
}

// part stops all followers but those that are kept, and returns when what they sent is
// carried out.
func (f *Follows) part(ctx context.Context, was []*follower, kept map[*follower]bool) error {
	for _, one := range was {
		if !kept[one] {
			one.stop()
		}
	}
	for _, one := range was {
		if kept[one] {
			continue
		}
		<-one.done
		if one.final && ctx.Err() == nil {
			return one.err
		}
	}
	return ctx.Err()
}

// resumeOf is where to go on with a shard; nil begins anew.
func (f *Follows) resumeOf(s *Shard, was []*follower) *source.FollowState {
	if was == nil {
		return f.earlierOf(s)
	}
	for _, one := range was {
		if !one.shard.continues(s) {
			continue
		}
		state := one.state()
		if state.Source == "" {
			return nil // it never began
		}
		if one.follow.Status().Total == 0 {
			state.Server = "" // it had no keys: nothing to wonder about if the new one has none
		}
		return goOn(state, s)
	}
	return nil
}
