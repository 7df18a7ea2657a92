package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"holdfast.dev/internal/api/query"
)

const (
	// replayFor is how long a reply can be given again.
	replayFor = 5 * time.Minute
	// maxReplays and maxReplayBytes bound what is kept; the oldest go first.
	maxReplays     = 4096
	maxReplayBytes = 16 << 20
	// maxInvocation is the longest invocation id that is minded, in bytes.
	maxInvocation = 128
)

// replayKey is what makes two requests the same call. body is as sayingOf makes it.
type replayKey struct{ accessKey, service, region, invocation, action, body string }

// sayingOf is a digest of all that a request says: there are passwords in bodies, and in
// query strings, which are not to stay in memory for as long as replies do.
func sayingOf(bodyHash, rawQuery string) string {
	sum := sha256.Sum256([]byte(bodyHash + "?" + rawQuery))
	return string(sum[:])
}

// replay is a call's reply, or the promise of one.
type replay struct {
	done    chan struct{} // closed once reply is there
	reply   query.Reply
	expires time.Time
}

// replays keeps successful replies. Safe for concurrent use.
type replays struct {
	now func() time.Time

	mu    sync.Mutex
	calls map[replayKey]*replay // running ones as well
	kept  []replayKey           // finished ones, oldest first
	bytes int
}

func newReplays(now func() time.Time) *replays {
	return &replays{now: now, calls: map[replayKey]*replay{}}
}

// do returns the reply of an earlier call of that key, waiting for it if it is
// still running, or runs the call.
func (s *replays) do(ctx context.Context, key replayKey, run func() query.Reply) query.Reply {
	for {
		mine, other := s.enter(key)
		if other == nil {
			return s.lead(key, mine, run)
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return query.Fail(ctx.Err(), query.InfoFrom(ctx).RequestID)
		}
		// A failure of ours is no answer: this retry is there to try again.
		if other.reply.Status != 0 && other.reply.Status < http.StatusInternalServerError {
			return other.reply
		}
	}
}

// lead runs the call. It is settled even when run panics: nobody waits for ever.
func (s *replays) lead(key replayKey, r *replay, run func() query.Reply) query.Reply {
	defer s.settle(key, r)
	r.reply = run()
	return r.reply
}

// enter finds the call of that key, or begins it.
func (s *replays) enter(key replayKey) (mine, other *replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(maxReplays, maxReplayBytes)
	if other = s.calls[key]; other != nil {
		return nil, other
	}
	mine = &replay{done: make(chan struct{})}
	s.calls[key] = mine
	return mine, nil
}

// settle keeps a success, forgets a failure, and wakes who waits.
func (s *replays) settle(key replayKey, r *replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(r.done)
	if r.reply.Status != http.StatusOK || len(r.reply.Body) > maxReplayBytes/16 {
		delete(s.calls, key)
		return
	}
	r.expires = s.now().Add(replayFor)
	s.kept = append(s.kept, key)
	s.bytes += len(r.reply.Body)
	s.evict(maxReplays, maxReplayBytes)
}

// evict drops what is too old or too much.
func (s *replays) evict(count, bytes int) {
	now := s.now()
	for len(s.kept) > 0 {
		r := s.calls[s.kept[0]]
		if len(s.kept) <= count && s.bytes <= bytes && now.Before(r.expires) {
			return
		}
		s.bytes -= len(r.reply.Body)
		delete(s.calls, s.kept[0])
		s.kept = s.kept[1:]
	}
}
