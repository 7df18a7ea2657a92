package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// copied is a sink that writes to a server of the same kind, one batch after the other.
type copied struct {
	conn *resp.Conn
	db   int
	// wrote counts entries with a value, gone those without; names are the former
	// where they are wanted.
	wrote, gone atomic.Int64
	mu          sync.Mutex
	names       map[string]bool
}

func newCopied(t testing.TB, s *testkit.Server) *copied {
	t.Helper()
	c, err := resp.Dial(context.Background(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &copied{conn: c, names: map[string]bool{}}
}

func (c *copied) Write(ctx context.Context, batch []flow.Entry) error {
	defer c.conn.Guard(ctx)()
	var cmds []byte
	n := 0
	add := func(args ...string) {
		cmds = resp.AppendCommand(cmds, args...)
		n++
	}
	for i := range batch {
		e := &batch[i]
		if e.DB != c.db {
			add("SELECT", strconv.Itoa(e.DB))
			c.db = e.DB
		}
		if e.Deleted {
			add("UNLINK", string(e.Key))
			c.gone.Add(1)
			continue
		}
		c.wrote.Add(1)
		c.mu.Lock()
		c.names[fmt.Sprint(e.DB, "/", string(e.Key))] = true
		c.mu.Unlock()
		value, err := flowtest.Value(e)
		if err != nil {
			return err
		}
		version := e.Version
		add("RESTORE", string(e.Key), strconv.FormatInt(e.ExpireAt, 10), string(rdb.AppendDump(nil, e.Type, value, version)), "ABSTTL", "REPLACE")
	}
	sent := make(chan error, 1)
	go func() { sent <- c.conn.SendBeside(cmds) }()
	for range n {
		r, err := c.conn.Receive()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return errors.Join(err, <-sent)
		}
	}
	return <-sent
}

func (c *copied) Commit(context.Context) error { return nil }
func (c *copied) Close() error                 { return c.conn.Close() }

// keysOf lists what a server holds.
func keysOf(s *testkit.Server) func(ctx context.Context, visit func(db int, key []byte) bool) error {
	return func(ctx context.Context, visit func(db int, key []byte) bool) error {
		c, err := resp.Dial(ctx, at(s))
		if err != nil {
			return err
		}
		defer c.Close()
		dbs, err := c.Keyspaces(ctx)
		if err != nil {
			return err
		}
		for _, db := range dbs {
			if _, err := c.Do(ctx, "SELECT", strconv.Itoa(db.DB)); err != nil {
				return err
			}
			for cursor := ""; cursor != "0"; {
				r, err := c.Do(ctx, "SCAN", max(cursor, "0"), "COUNT", "1000")
				if err != nil {
					return err
				}
				cursor = string(r.Elems[0].Bytes)
				var keys [][]byte
				for i := range r.Elems[1].Elems {
					keys = append(keys, bytes.Clone(r.Elems[1].Elems[i].Bytes))
				}
				for _, k := range keys {
					if !visit(db.DB, k) {
						return nil
					}
				}
			}
		}
		return nil
	}
}

// followed is a Follow of one server into another one that runs.
type followed struct {
	t    testing.TB
	f    *source.Follow
	src  *testkit.Server
	dst  *testkit.Server
	sink *copied
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
}

// follow starts one.
func follow(t testing.TB, src, dst *testkit.Server, fo source.FollowOptions, rules source.LiveRules) *followed {
	t.Helper()
	return followAt(t, at(src), src, dst, fo, rules)
}

func followAt(t testing.TB, opt resp.Options, src, dst *testkit.Server, fo source.FollowOptions, rules source.LiveRules) *followed {
	t.Helper()
	fo.Dir = t.TempDir()
	if fo.TargetKeys == nil {
		fo.TargetKeys = keysOf(dst)
	}
	if rules.Big == 0 {
		rules.Big = harnessBig
	}
	r := &followed{t: t, f: source.NewFollow(opt, fo), src: src, dst: dst, sink: newCopied(t, dst), done: make(chan error, 1)}
	r.f.Break(rules)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.f.Run(ctx, r.sink) }()
	t.Cleanup(func() { _ = r.end() })
	return r
}

// end stops it and returns what Run did.
func (r *followed) end() error {
	r.once.Do(func() {
		r.stop()
		r.err = <-r.done
	})
	return r.err
}

// ended waits for Run to end by itself.
func (r *followed) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.once.Do(func() { r.err = err })
		r.stop()
		return err
	case <-time.After(2 * time.Minute):
		r.t.Fatalf("it does not end: %+v", r.f.Status())
		return nil
	}
}

// following waits until the full phase is over.
func (r *followed) following() {
	r.t.Helper()
	testkit.Wait(r.t, 2*time.Minute, func() bool {
		if len(r.done) > 0 {
			r.t.Fatalf("it ended: %v", <-r.done)
		}
		return r.f.Status().Phase != source.PhaseFull
	}, "the full phase to end")
}

// drained waits until the target is up to date; writes are held.
func (r *followed) drained() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := r.f.Drain(ctx); err != nil {
		r.t.Fatalf("%v\n%+v", err, r.f.Status())
	}
}

// differences compares both servers. They are read one after the other: what expires
// in between must have expired in both in the end.
func (r *followed) differences() (out []string) {
	r.t.Helper()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for until := time.Now().Add(time.Minute); ; <-t.C {
		out = compare(content(r.t, r.dst), content(r.t, r.src))
		if len(out) == 0 || time.Now().After(until) {
			return out
		}
	}
}

// same fails the test where the servers differ.
func (r *followed) same() {
	r.t.Helper()
	if d := r.differences(); len(d) > 0 {
		r.t.Errorf("%d differences, such as %q\n%+v", len(d), d[:min(len(d), 8)], r.f.Status())
	}
}

// held holds the writers, drains, compares, and lets them go on.
func (w *world) held(r *followed) {
	w.t.Helper()
	if !w.modern { // it would refuse writes, not delay them
		w.halt()
	}
	h, err := source.HoldWrites(w.t.Context(), at(w.srv), source.HoldOptions{MaxPause: time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
	begun := time.Now()
	r.drained()
	w.t.Logf("held: drained in %s; %+v", time.Since(begun).Round(time.Millisecond/10), r.f.Status())
	r.same()
	if err := h.Check(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	if err := h.Release(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// more waits until the writers have done so many more transactions.
func (w *world) more(n int64) {
	w.t.Helper()
	from := w.count.Load()
	testkit.Wait(w.t, 2*time.Minute, func() bool { return w.count.Load() >= from+n || w.stop.Load() }, "the writers")
}

// renew keeps keys alive that would expire: each second or so their short expiry is renewed.
func (w *world) renew() {
	w.wg.Go(func() {
		c, err := resp.Dial(context.Background(), at(w.srv))
		if err != nil {
			return
		}
		defer c.Close()
		for i := range 20 {
			if _, err := c.Do(context.Background(), "SET", "renewed:"+strconv.Itoa(i), strings.Repeat("r", 100)); err != nil {
				return
			}
		}
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for ; !w.stop.Load(); <-t.C {
			for i := range 20 {
				if _, err := c.Do(context.Background(), "PEXPIRE", "renewed:"+strconv.Itoa(i), "2000"); err != nil {
					return
				}
			}
		}
	})
}
