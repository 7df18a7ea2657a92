package main

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// writers write to a server all the time and remember what it acknowledged.
type writers struct {
	stop chan struct{}
	wg   sync.WaitGroup

	// cluster: there is database 0 alone.
	cluster bool

	mu sync.Mutex
	// acked are counters by key, each as last acknowledged; sent as last sent.
	acked, sent map[string]int64
	n           int64
	// refused is how the server said that it takes nothing more.
	refused error
}

const writerKeys = 300

// writePace is a load that leaves room for the rest of the machine.
const writePace = 500 * time.Microsecond

// startWriters begins to write: counters, a stream with a group, a list, a hash, keys
// that are renamed and deleted, in two databases, and sessions whose expiry is renewed
// all the time, so that none of them is ever away. It outlives the writing by as long
// as a busy machine takes to look.
func startWriters(t *testing.T, s *testkit.Server) *writers {
	t.Helper()
	w := &writers{stop: make(chan struct{}), acked: map[string]int64{}, sent: map[string]int64{}}
	conn, err := resp.Dial(t.Context(), resp.Options{Addr: s.Addr(), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, conn)
	return w
}

// doer carries out commands, wherever.
type doer interface {
	Do(ctx context.Context, args ...string) (*resp.Reply, error)
	Close() error
}

// write writes until halt, or until it is refused.
func (w *writers) write(t *testing.T, conn doer) {
	w.wg.Go(func() {
		defer conn.Close()
		pace := time.NewTicker(writePace)
		defer pace.Stop()
		for i := int64(1); ; i++ {
			select {
			case <-w.stop:
				return
			case <-pace.C:
			}
			if !w.round(t, conn, i) {
				return
			}
		}
	})
	t.Cleanup(func() {
		w.halt()
		w.wg.Wait()
	})
}

func (w *writers) halt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
}

// sessions are kept alive from one round to the next.
const (
	sessions    = 5
	sessionTime = "600000" // milliseconds
)

// round writes once to a key of each kind. False means that the server refused.
func (w *writers) round(t *testing.T, conn doer, i int64) bool {
	key := fmt.Sprintf("w:%d", i%writerKeys)
	w.mu.Lock()
	w.sent[key] = i
	w.mu.Unlock()
	for _, args := range [][]string{
		{"SET", key, strconv.FormatInt(i, 10)},
		{"RPUSH", "list", strconv.FormatInt(i, 10)},
		{"LTRIM", "list", "-500", "-1"},
		{"HSET", "hash", fmt.Sprint("f", i%50), strconv.FormatInt(i, 10)},
		{"ZADD", "zset", strconv.FormatInt(i, 10), fmt.Sprint("m", i%70)},
		{"XADD", "events", "MAXLEN", "~", "300", "*", "n", strconv.FormatInt(i, 10)},
		{"SET", fmt.Sprint("session:", i%sessions), strconv.FormatInt(i, 10), "PX", sessionTime},
		{"PEXPIRE", fmt.Sprint("session:", (i+1)%sessions), sessionTime},
		{"SET", "{g}going", strconv.FormatInt(i, 10)},
		{"RENAME", "{g}going", fmt.Sprint("{g}one:", i%7)},
		{"DEL", fmt.Sprint("{g}one:", (i+3)%7)},
		{"SELECT", "11"},
		{"INCR", "counter"},
		{"SELECT", "0"},
	} {
		if w.cluster && args[0] == "SELECT" {
			continue
		}
		_, err := conn.Do(t.Context(), args...)
		if err != nil {
			w.mu.Lock()
			w.refused = err
			w.mu.Unlock()
			return false
		}
	}
	w.mu.Lock()
	w.acked[key] = i
	w.n = i
	w.mu.Unlock()
	return true
}

func (w *writers) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// wait waits until so many rounds were acknowledged.
func (w *writers) wait(t *testing.T, n int64) {
	t.Helper()
	testkit.Wait(t, patience, func() bool { return w.count() >= n }, "writes do not go on")
}

// end ends the writing. With refused the server must have refused to take more.
func (w *writers) end(t *testing.T, refused bool) {
	t.Helper()
	if refused {
		testkit.Wait(t, patience, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.refused != nil }, "the source still takes writes")
	}
	w.halt()
	w.wg.Wait()
	switch {
	case refused && !strings.Contains(w.refused.Error(), "NOREPLICAS"):
		t.Fatalf("the writers ended with %v", w.refused)
	case !refused && w.refused != nil:
		t.Fatalf("the writers were refused: %v", w.refused)
	}
}

func (w *writers) acknowledged() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.acked)
}

// checkKey sees that a counter is what was acknowledged, or what was sent in the round
// whose end was refused.
func (w *writers) checkKey(t *testing.T, key string, acked int64, found any) {
	t.Helper()
	got, err := strconv.ParseInt(fmt.Sprint(found), 10, 64)
	if err != nil || got != acked && got != w.sent[key] {
		t.Errorf("%s is %v, and %d was acknowledged", key, found, acked)
	}
}

// check sees that a server, or the primaries of a cluster, have what was
// acknowledged. What was sent and not acknowledged may be there too.
func (w *writers) check(t *testing.T, to ...*testkit.Server) {
	t.Helper()
	for key, v := range w.acknowledged() {
		w.checkKey(t, key, v, oneOf(t, to, "GET", key))
	}
	for i := range sessions {
		if got := oneOf(t, to, "PTTL", fmt.Sprint("session:", i)).(int64); got <= 0 {
			t.Errorf("session %d has %d ms left", i, got)
		}
	}
}

// oneOf asks the one server of several that does not send us to another.
func oneOf(t *testing.T, servers []*testkit.Server, args ...any) any {
	t.Helper()
	var err error
	for _, s := range servers {
		var r any
		if r, err = s.Try(args...); err == nil {
			return r
		}
	}
	t.Fatalf("nobody answers %v: %v", args, err)
	return nil
}
