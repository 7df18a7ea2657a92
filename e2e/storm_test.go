package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
)

// storm is many commands a second at one cache, half of them writes, of several clients
// that send many at once. It knows each write that was acknowledged.
type storm struct {
	t       *testing.T
	clients []*stormClient
	began   time.Time
	took    time.Duration
	stop    func()
}

// stormClient is one of them. All its keys are in one slot, so that in cluster mode one
// node has them all.
type stormClient struct {
	opt      resp.Options
	tag      string
	at, home string
	rate     int // commands a second
	done     atomic.Int64

	// fresh are writes that were acknowledged to keys that are written once, held those to
	// keys that are written over and over, of which tried has what came to no answer since.
	next         int
	fresh        []int
	held         map[int]int
	tried        map[int][]int
	moved, stale int
	errors       map[string]int
	longest      time.Duration
	last         time.Time
}

// The keys that are written over and over, of each client; and the most commands that it
// sends at once.
const (
	heldKeys  = 500
	stormMost = 200
)

func stormAt(t *testing.T, opt resp.Options, at string) *storm {
	t.Helper()
	const clients = 4
	st := &storm{t: t, began: time.Now()}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	for i := range clients {
		c := &stormClient{
			opt: opt, at: at, home: at, rate: asked / clients, tag: tagIn(i*16384/clients, (i+1)*16384/clients),
			held: map[int]int{}, tried: map[int][]int{}, errors: map[string]int{},
		}
		st.clients = append(st.clients, c)
		work.Go(func() { c.run(ctx) })
	}
	st.stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
		st.took = time.Since(st.began)
	})
	t.Cleanup(st.stop)
	return st
}

// tagIn is a hash tag of a slot from first on, before end.
func tagIn(first, end int) string {
	for n := 0; ; n++ {
		tag := "{s" + strconv.Itoa(n) + "}"
		if s := resp.Slot([]byte(tag)); s >= first && s < end {
			return tag
		}
	}
}

// goesOn waits until every client has had some more answers.
func (st *storm) goesOn() {
	st.t.Helper()
	for _, c := range st.clients {
		least := c.done.Load() + int64(c.rate/2)
		eventually(st.t, "commands are answered", func(context.Context) (bool, error) { return c.done.Load() >= least, nil })
	}
}

func (c *stormClient) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := resp.Dial(context.WithoutCancel(ctx), c.opt.At(c.at))
		if err == nil {
			err = c.talk(ctx, conn)
			_ = conn.Close() // it has failed, or served
		}
		if to := (*elsewhere)(nil); errors.As(err, &to) {
			c.at = to.addr
		} else if err != nil {
			c.errors[kindOf(err)]++
			c.at = c.home
			pause(ctx, 2*time.Millisecond)
		}
	}
}

// elsewhere says that another node has the keys.
type elsewhere struct{ addr string }

func (e *elsewhere) Error() string { return "moved to " + e.addr }

// kindOf is what an error says, without whom it is about.
func kindOf(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e
	}
	return err.Error()
}

// talk sends what is due on a connection until it fails, or the end. What is overdue for
// longer than a tenth of a second is never sent.
func (c *stormClient) talk(ctx context.Context, conn *resp.Conn) error {
	began, sent := time.Now(), 0
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds()*float64(c.rate)) - sent
		if over := due - c.rate/10; over > 0 {
			sent, due = sent+over, due-over
		}
		if due < 20 {
			pause(ctx, 4*time.Millisecond)
			continue
		}
		due = min(due, stormMost) / 2
		sent += 2 * due
		if err := c.batch(conn, due); err != nil {
			return err
		}
	}
	return nil
}

// batch writes so many times, and reads after each write what was acknowledged before.
func (c *stormClient) batch(conn *resp.Conn, writes int) error {
	first, known := c.next, -1
	if len(c.fresh) > 0 {
		known = c.fresh[len(c.fresh)-1]
	}
	var b []byte
	for range writes {
		n := c.next
		c.next++
		if n%2 == 1 {
			c.tried[n%heldKeys] = append(c.tried[n%heldKeys], n)
		}
		b = resp.AppendCommand(b, "SET", c.key(n), strconv.Itoa(n))
		b = resp.AppendCommand(b, "GET", c.key(known))
	}
	if err := conn.Send(b); err != nil {
		return err
	}
	var refused error
	for n := first; n < first+writes; n++ {
		r, err := conn.Receive()
		if err != nil {
			return err
		}
		if err := c.answered(conn, r); err != nil {
			refused = err
		} else {
			c.acknowledged(n)
		}
		if r, err = conn.Receive(); err != nil {
			return err
		}
		if err := c.answered(conn, r); err != nil {
			refused = err
		} else if known >= 0 && string(r.Bytes) != strconv.Itoa(known) {
			c.stale++
		}
	}
	return refused
}

// answered counts an answer, and returns where it sends the client, or an error.
func (c *stormClient) answered(conn *resp.Conn, r *resp.Reply) error {
	err := r.Err()
	if to, sent := conn.Redirection(err); sent {
		c.moved++
		return &elsewhere{to.Addr}
	}
	if err != nil {
		return err
	}
	now := time.Now()
	if !c.last.IsZero() {
		c.longest = max(c.longest, now.Sub(c.last))
	}
	c.last = now
	c.done.Add(1)
	return nil
}

func (c *stormClient) acknowledged(n int) {
	if n%2 == 0 {
		c.fresh = append(c.fresh, n)
		return
	}
	c.held[n%heldKeys] = n
	delete(c.tried, n%heldKeys)
}

func (c *stormClient) key(n int) string {
	if n%2 == 0 {
		return c.tag + "once" + strconv.Itoa(n)
	}
	return c.tag + "held" + strconv.Itoa(n%heldKeys)
}

// String is what clients saw.
func (st *storm) String() string {
	var done int64
	var writes, moved int
	var longest time.Duration
	seen := map[string]int{}
	for _, c := range st.clients {
		done, writes, moved = done+c.done.Load(), writes+c.next, moved+c.moved
		longest = max(longest, c.longest)
		for e, n := range c.errors {
			seen[e] += n
		}
	}
	return fmt.Sprintf("%.0f commands a second of %d asked for, %d writes, longest wait of a client %s, %d times sent on, errors %v",
		float64(done)/st.took.Seconds(), asked, writes, longest.Round(time.Millisecond), moved, seen)
}

// check wants each key to have what was acknowledged last, or was written afterwards
// without an answer; then it deletes all.
func (st *storm) check(t *testing.T) {
	t.Helper()
	for _, c := range st.clients {
		lost := 0
		keys, want := []string{}, []int{}
		for _, n := range c.fresh {
			keys, want = append(keys, c.key(n)), append(want, n)
		}
		for _, n := range c.held {
			keys, want = append(keys, c.key(n)), append(want, n)
		}
		for i, got := range c.each(t, "GET", keys) {
			if !c.may(want[i], got) {
				if lost++; lost < 4 {
					t.Errorf("%s was acknowledged as %d and is %q", keys[i], want[i], got)
				}
			}
		}
		if lost > 0 || c.stale > 0 {
			t.Errorf("%d of %d keys have lost what was acknowledged; %d reads had not what was acknowledged before", lost, len(keys), c.stale)
		}
		keys = keys[:0]
		for n := range c.next {
			keys = append(keys, c.key(n))
		}
		c.each(t, "UNLINK", keys)
	}
}

// may tells whether a key of which n was acknowledged may be what it is.
func (c *stormClient) may(n int, got string) bool {
	if got == strconv.Itoa(n) {
		return true
	}
	if n%2 == 1 {
		for _, o := range c.tried[n%heldKeys] {
			if got == strconv.Itoa(o) {
				return true
			}
		}
	}
	return false
}

// each sends a command for each of some keys, and returns what is answered.
func (c *stormClient) each(t *testing.T, cmd string, keys []string) (out []string) {
	t.Helper()
	for len(out) < len(keys) {
		conn, err := resp.Dial(t.Context(), c.opt.At(c.at))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil && len(out) < len(keys) {
			var more []string
			more, err = c.some(conn, cmd, keys[len(out):min(len(out)+stormMost, len(keys))])
			out = append(out, more...)
		}
		_ = conn.Close() // it has served
		if to := (*elsewhere)(nil); errors.As(err, &to) {
			c.at = to.addr
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// some does so for a few, and returns none if any fails.
func (c *stormClient) some(conn *resp.Conn, cmd string, keys []string) (out []string, refused error) {
	var b []byte
	for _, k := range keys {
		b = resp.AppendCommand(b, cmd, k)
	}
	if err := conn.Send(b); err != nil {
		return nil, err
	}
	for range keys {
		r, err := conn.Receive()
		if err != nil {
			return nil, err
		}
		if to, sent := conn.Redirection(r.Err()); sent {
			refused = &elsewhere{to.Addr}
		} else if r.Err() != nil {
			refused = r.Err()
		}
		out = append(out, text(r))
	}
	if refused != nil {
		return nil, refused
	}
	return out, nil
}
