package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
)

// follower is a client of a cluster that goes where the nodes send it.
type follower struct {
	known []string // where it may begin
	conns map[string]*resp.Conn
	slots map[int]string
	last  *resp.Conn // that answered last
}

func newFollower(known ...string) *follower {
	return &follower{known: known, conns: map[string]*resp.Conn{}, slots: map[int]string{}}
}

func (f *follower) close() {
	for _, c := range f.conns {
		_ = c.Close() // it has served
	}
}

func (f *follower) conn(ctx context.Context, at string) (*resp.Conn, error) {
	if c := f.conns[at]; c != nil {
		return c, nil
	}
	c, err := resp.Dial(ctx, resp.Options{Addr: at, DialTimeout: 2 * time.Second, Timeout: 5 * time.Second})
	if err == nil {
		f.conns[at] = c
	}
	return c, err
}

func (f *follower) drop(at string) {
	if c := f.conns[at]; c != nil {
		_ = c.Close() // it is of no use any more
		delete(f.conns, at)
	}
}

// do sends a command of one key until it is answered; those that are sent twice must do
// no harm.
func (f *follower) do(ctx context.Context, key string, cmd ...string) (*resp.Reply, error) {
	slot := resp.Slot([]byte(key))
	for turn := 0; ; turn++ {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		at, ok := f.slots[slot]
		if !ok {
			at = f.known[turn%len(f.known)]
		}
		r, err := f.once(ctx, at, slot, cmd)
		if err == nil {
			return r, nil
		}
		tick := time.NewTimer(2 * time.Millisecond)
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
		}
	}
}

// once sends a command to one node, and on to where that sends it.
func (f *follower) once(ctx context.Context, at string, slot int, cmd []string) (*resp.Reply, error) {
	c, err := f.conn(ctx, at)
	if err != nil {
		delete(f.slots, slot)
		return nil, err
	}
	r, err := c.Do(ctx, cmd...)
	to, sent := c.Redirection(err)
	switch {
	case sent && !to.Ask:
		f.slots[slot] = to.Addr
		return nil, err
	case sent:
		return f.asking(ctx, to.Addr, cmd)
	case err != nil && !resp.IsServerError(err):
		f.drop(at)
		delete(f.slots, slot)
	case err != nil && !resp.IsServerError(err, "TRYAGAIN"):
		delete(f.slots, slot)
	case err == nil:
		f.slots[slot], f.last = at, c
	}
	return r, err
}

func (f *follower) asking(ctx context.Context, at string, cmd []string) (*resp.Reply, error) {
	c, err := f.conn(ctx, at)
	if err != nil {
		return nil, err
	}
	if _, err := c.Do(ctx, "ASKING"); err != nil {
		f.drop(at)
		return nil, err
	}
	r, err := c.Do(ctx, cmd...)
	if err != nil && !resp.IsServerError(err) {
		f.drop(at)
	}
	f.last = c
	return r, err
}

// journal writes one key after another, and knows which were acknowledged. With replicas
// only such count as a replica has got, too.
type journal struct {
	t      *testing.T
	at     []string
	safely bool

	mu    sync.Mutex
	acked map[string]string
	stop  func()
}

func keepJournal(t *testing.T, safely bool, at ...string) *journal {
	t.Helper()
	j := &journal{t: t, at: at, safely: safely, acked: map[string]string{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	for w := range 2 {
		work.Go(func() { j.write(ctx, w) })
	}
	j.stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
	})
	t.Cleanup(j.stop)
	return j
}

func (j *journal) write(ctx context.Context, w int) {
	f := newFollower(j.at...)
	defer f.close()
	for n := 0; ctx.Err() == nil; n++ {
		key, value := fmt.Sprintf("journal-%d-%d", w, n), strconv.Itoa(n)
		for ctx.Err() == nil {
			if _, err := f.do(ctx, key, "SET", key, value); err != nil {
				return
			}
			if !j.safely || f.replicated(ctx) {
				j.mu.Lock()
				j.acked[key] = value
				j.mu.Unlock()
				break
			}
		}
	}
}

// replicated tells whether a replica has got what was written last.
func (f *follower) replicated(ctx context.Context) bool {
	r, err := f.last.Do(ctx, "WAIT", "1", "1000")
	return err == nil && r.Int >= 1
}

// count is how many writes were acknowledged so far.
func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.acked)
}

// goesOn waits until more is acknowledged.
func (j *journal) goesOn() {
	j.t.Helper()
	least := j.count() + 20
	eventually(j.t, "writes are acknowledged", func(context.Context) (bool, error) { return j.count() >= least, nil })
}

// check ends the writing, expects every acknowledged write to be there, and deletes
// them all, so that the other data can be compared.
func (j *journal) check() {
	j.t.Helper()
	j.stop()
	f := newFollower(j.at...)
	defer f.close()
	ctx, cancel := context.WithTimeout(j.t.Context(), patience)
	defer cancel()
	lost := 0
	for _, key := range slices.Sorted(maps.Keys(j.acked)) {
		r, err := f.do(ctx, key, "GET", key)
		switch {
		case err != nil:
			j.t.Fatalf("GET %s: %v", key, errors.Join(err, ctx.Err()))
		case string(r.Bytes) != j.acked[key]:
			if lost++; lost <= 5 {
				j.t.Errorf("%s was acknowledged as %q and is %q, in slot %d", key, j.acked[key], r.Bytes, resp.Slot([]byte(key)))
			}
		}
	}
	if lost > 0 {
		j.t.Errorf("%d of %d acknowledged writes are lost", lost, len(j.acked))
	}
	for w := range 2 {
		for n := range len(j.acked) + 1 {
			key := fmt.Sprintf("journal-%d-%d", w, n)
			if r, err := f.do(ctx, key, "DEL", key); err != nil || r.Int == 0 && j.acked[key] == "" {
				break // the first one that never came
			}
		}
	}
	j.t.Logf("%d writes were acknowledged", len(j.acked))
}
