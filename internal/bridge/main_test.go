package bridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

func at(s *testkit.Server) resp.Options { return resp.Options{Addr: s.Addr()} }

// through is a server behind a proxy.
func through(p *testkit.FaultProxy) resp.Options { return resp.Options{Addr: p.Addr()} }

// quick makes a source hand its snapshot over without waiting for more replicas.
func quick() testkit.Option {
	return testkit.Config("repl-diskless-sync-delay 0", "repl-diskless-sync yes")
}

// bridged is a bridge that runs.
type bridged struct {
	*Bridge
	t    testing.TB
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
}

func start(t testing.TB, opt Options) *bridged {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bridged{Bridge: New(opt), t: t, stop: cancel, done: make(chan error, 1)}
	go func() { b.done <- b.Run(ctx) }()
	t.Cleanup(func() { _ = b.end() })
	return b
}

// end ends it and returns what Run returned.
func (b *bridged) end() error {
	b.once.Do(func() {
		b.stop()
		b.err = b.wait()
	})
	return b.err
}

func (b *bridged) wait() error {
	select {
	case err := <-b.done:
		return err
	case <-time.After(patience):
		b.t.Error("Run does not end")
		return nil
	}
}

// until waits for a status, and fails when Run ends before.
func (b *bridged) until(what string, good func(Status) bool) {
	b.t.Helper()
	testkit.Wait(b.t, patience, func() bool {
		select {
		case err := <-b.done:
			b.done <- err
			b.t.Fatalf("%s: Run has ended: %v", what, err)
		default:
		}
		return good(b.Status())
	}, "%s", what)
}

func (b *bridged) following() {
	b.t.Helper()
	b.until("following", func(s Status) bool { return s.Phase == PhaseFollow && s.TargetLink && s.SourceLink })
}

// cutOver holds, compares all keys, and promotes.
func (b *bridged) cutOver(from, to *testkit.Server, tolerance time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := b.Hold(ctx); err != nil {
		b.t.Fatal(err)
	}
	held := b.Status().HeldFor
	same(b.t, from, to, tolerance)
	began := time.Now()
	if err := b.Promote(ctx); err != nil {
		b.t.Fatal(err)
	}
	st := b.Status()
	b.t.Logf("writes held to target caught up: %s; promotion: %s; %d keys, %d refreshed, resyncs %q",
		held, time.Since(began), st.Keys, st.Refreshed, st.Resyncs)
	if err := b.wait(); err != nil {
		b.t.Errorf("Run: %v", err)
	}
	b.done <- nil
	if err := b.Release(ctx); err != nil {
		b.t.Error(err)
	}
	if role := to.Info("replication")["role"]; role != "master" {
		b.t.Errorf("the target is a %s", role)
	}
	if auth := to.Must("CONFIG", "GET", "masterauth").([]any)[1]; auth != "" {
		b.t.Error("masterauth was not put back")
	}
	to.Must("SET", "written by", "its users")
}

// same compares two servers key by key.
func same(t testing.TB, a, b *testkit.Server, tolerance time.Duration) {
	t.Helper()
	r, err := verify.Compare(t.Context(), live(t, a), live(t, b), verify.CompareOptions{Tolerance: tolerance})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Equal {
		t.Errorf("they differ: %s", r.Verdict())
		for i := range r.Differences {
			t.Errorf("%s\nsource %s\ntarget %s", r.Differences[i].String(), shown(a, r.Differences[i]), shown(b, r.Differences[i]))
		}
	}
	if r.A.Totals().Keys == 0 {
		t.Error("nothing was compared")
	}
}

func live(t testing.TB, s *testkit.Server) verify.End {
	again := source.NewScan(at(s), source.ScanOptions{})
	t.Cleanup(func() { _ = again.Close() })
	return verify.End{
		Name: s.Addr(),
		Recheck: func(ctx context.Context, db int, key []byte) (*flow.Entry, error) {
			e, err := again.Lookup(ctx, db, key)
			if e != nil && sink.EmptyCollection(e.Type, e.Value) {
				return nil, err
			}
			return e, err
		},
		Open: func(context.Context) (flow.Source, error) {
			return source.NewScan(at(s), source.ScanOptions{}), nil
		},
	}
}

// writers change a server until they are stopped.
type writers struct {
	wg   sync.WaitGroup
	stop context.CancelFunc
	n    atomic.Int64
	// fieldTTLs: the server has them.
	fieldTTLs bool
}

func write(t testing.TB, s *testkit.Server, n int, fieldTTLs bool) *writers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writers{stop: cancel, fieldTTLs: fieldTTLs}
	for i := range n {
		w.wg.Go(func() {
			if err := w.run(ctx, at(s), uint64(i)); err != nil && ctx.Err() == nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *writers) end() { w.stop(); w.wg.Wait() }

// more waits until so many more commands were sent.
func (w *writers) more(t testing.TB, n int64) {
	t.Helper()
	from := w.n.Load()
	testkit.Wait(t, patience, func() bool { return w.n.Load() >= from+n }, "%d more commands", n)
}

// run writes about 5000 commands a second, in pipelines; a server that was restarted or cut is dialled again.
func (w *writers) run(ctx context.Context, opt resp.Options, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 7))
	for ctx.Err() == nil {
		conn, err := resp.Dial(ctx, opt)
		if err != nil {
			// The server is away.
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		release := conn.Guard(ctx)
		pace := time.NewTicker(2 * time.Millisecond)
		for err == nil {
			<-pace.C
			err = w.burst(conn, r)
		}
		pace.Stop()
		release()
		_ = conn.Close()
		if errors.Is(err, errWrong) {
			return err
		}
	}
	return nil
}

var errWrong = errors.New("wrong")

// burst sends a few commands. Errors like WRONGTYPE are part of the game.
func (w *writers) burst(conn *resp.Conn, r *rand.Rand) error {
	var b []byte
	n := 0
	for range 8 {
		for _, c := range w.commands(r) {
			b = resp.AppendCommand(b, c...)
			n++
		}
	}
	if err := conn.Send(b); err != nil {
		return err
	}
	for range n {
		if _, err := conn.Receive(); err != nil {
			return err
		}
	}
	w.n.Add(int64(n))
	return nil
}

// commands makes up one step.
func (w *writers) commands(r *rand.Rand) [][]string {
	one := func(args ...string) [][]string { return [][]string{args} }
	key := func(kind string) string { return kind + ":" + strconv.Itoa(r.IntN(200)) }
	num := func(n int) string { return strconv.Itoa(r.IntN(n)) }
	text := func() string { return fmt.Sprintf("%x", r.Uint64()) }
	switch r.IntN(40) {
	case 0, 1:
		return one("SET", key("s"), text())
	case 2:
		return one("SET", key("s"), text(), "PX", num(20000))
	case 3:
		return one("SET", key("s"), text(), "PX", strconv.Itoa(1+r.IntN(200)))
	case 4, 5:
		return one("INCR", key("n"))
	case 6:
		return one("APPEND", key("s"), text())
	case 7, 8:
		return one("RPUSH", key("l"), text(), text())
	case 9:
		return one("LPOP", key("l"))
	case 10:
		return one("LTRIM", key("l"), "0", "20")
	case 11, 12:
		return one("HSET", key("h"), "f"+num(5), text(), "g"+num(5), text())
	case 13:
		return one("HINCRBY", key("c"), "f"+num(3), "2")
	case 14:
		return one("HDEL", key("h"), "f"+num(5))
	case 15:
		return one("SADD", key("set"), num(50), text())
	case 16:
		return one("SREM", key("set"), num(50))
	case 17:
		return one("SPOP", key("set"))
	case 18:
		return one("ZADD", key("z"), num(1000), "m"+num(20))
	case 19:
		return one("ZINCRBY", key("z"), "1.5", "m"+num(20))
	case 20, 21:
		return one("XADD", key("x"), "MAXLEN", "~", "30", "*", "f", text())
	case 22:
		return one("XGROUP", "CREATE", key("x"), "g", "0", "MKSTREAM")
	case 23:
		return one("XREADGROUP", "GROUP", "g", "c"+num(3), "COUNT", "3", "STREAMS", key("x"), ">")
	case 24:
		return one("XAUTOCLAIM", key("x"), "g", "c"+num(3), "0", "0", "COUNT", "2")
	case 25:
		return one("EXPIRE", key("h"), strconv.Itoa(1+r.IntN(500)))
	case 26:
		return one("PERSIST", key("h"))
	case 27:
		return one("RENAME", key("h"), key("h"))
	case 28:
		return [][]string{{"DEL", key("n"), key("l")}, {"UNLINK", key("z")}}
	case 29:
		i, j, by := key("account"), key("account"), num(100)
		return [][]string{{"MULTI"}, {"DECRBY", i, by}, {"INCRBY", j, by}, {"EXEC"}}
	case 30:
		return [][]string{{"SELECT", num(12)}, {"SET", key("other"), text()}, {"SELECT", "0"}}
	case 31:
		return [][]string{{"MULTI"}, {"SELECT", "11"}, {"INCR", key("n")}, {"SELECT", "0"}, {"HSET", key("h"), "f1", text()}, {"EXEC"}}
	case 32:
		return one("MOVE", key("other"), "9")
	case 33:
		return one("EVAL", "redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[2], ARGV[1])", "2", key("n"), key("l"), text())
	case 34:
		switch r.IntN(20) {
		case 0:
			return one("SWAPDB", "10", "11")
		case 1:
			return [][]string{{"SELECT", "7"}, {"FLUSHDB"}, {"SELECT", "0"}}
		}
		return one("SORT", key("l"), "ALPHA", "STORE", key("l"))
	case 35:
		return one("SUNIONSTORE", key("set"), key("set"), key("set"))
	default:
		if w.fieldTTLs {
			return w.withFieldTTLs(r, key)
		}
		return one("SETRANGE", key("s"), num(30), text())
	}
}

// withFieldTTLs makes up a step with the commands that the two families have each for themselves.
func (w *writers) withFieldTTLs(r *rand.Rand, key func(string) string) [][]string {
	h, f := key("h"), "f"+strconv.Itoa(r.IntN(5))
	switch r.IntN(8) {
	case 0, 1:
		return [][]string{{"HPEXPIRE", h, strconv.Itoa(60_000 + r.IntN(60_000)), "FIELDS", "1", f}}
	case 2:
		return [][]string{{"HPEXPIRE", h, strconv.Itoa(1 + r.IntN(100)), "FIELDS", "1", f}}
	case 3:
		return [][]string{{"HPERSIST", h, "FIELDS", "1", f}}
	case 4:
		return [][]string{{"MULTI"}, {"HSET", h, f, "v"}, {"HEXPIRE", h, "3000", "FIELDS", "1", f}, {"INCR", key("n")}, {"EXEC"}}
	case 5:
		return [][]string{{"COPY", h, key("h"), "REPLACE"}}
	case 6:
		return [][]string{{"SELECT", "10"}, {"HSET", h, f, "v"}, {"HEXPIRE", h, "3000", "FIELDS", "1", f}, {"SELECT", "0"}}
	}
	return [][]string{{"COPY", h, h, "DB", "10", "REPLACE"}}
}

// shown is a key as plain commands tell it.
func shown(s *testkit.Server, d verify.Difference) string {
	s.Must("SELECT", d.DB)
	defer s.Must("SELECT", 0)
	switch s.Do("TYPE", d.Key) {
	case "stream":
		return fmt.Sprint(s.Do("XINFO", "STREAM", d.Key, "FULL"))
	case "hash":
		return fmt.Sprint(s.Do("HGETALL", d.Key), s.Do("HPTTL", d.Key, "FIELDS", 5, "f0", "f1", "f2", "f3", "f4"))
	}
	return fmt.Sprintf("%q", s.Do("DUMP", d.Key))
}
