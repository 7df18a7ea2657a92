package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// rounds writes the same keys again and again, each round with its own number as
// the value, half of them as lists, and some are deleted: what is there in the end
// is known.
type rounds struct {
	keys  int
	batch []flow.Entry
	// last is what each key holds by now; "" where it is deleted.
	last map[string]string
}

func newRounds(keys int) *rounds { return &rounds{keys: keys, last: map[string]string{}} }

// next is the batch of one round, its keys in an order of its own.
func (r *rounds) next(round int) []flow.Entry {
	r.batch = r.batch[:0]
	for _, i := range rand.Perm(r.keys) {
		e := flow.Entry{Key: fmt.Appendf(nil, "key:%d", i), Version: 9, Idle: -1, Freq: -1}
		value := fmt.Sprintf("%d of %d %s", i, round, strings.Repeat("x", i%100))
		switch {
		case (i+round)%7 == 0:
			e.Deleted, value = true, ""
		case i%2 == 0:
			e.Type, e.Value = rdb.TypeString, rdb.AppendString(nil, []byte(value))
		default:
			e.Type, e.Value = rdb.TypeList, rdb.AppendList(nil, [][]byte{[]byte(value)})
		}
		r.last[string(e.Key)] = value
		r.batch = append(r.batch, e)
	}
	return r.batch
}

// check compares the servers' keys with what was written last.
func (r *rounds) check(t *testing.T, servers ...*testkit.Server) {
	t.Helper()
	found := map[string]string{}
	for _, s := range servers {
		for _, k := range s.Must("KEYS", "*").([]any) {
			key := k.(string)
			if _, twice := found[key]; twice {
				t.Errorf("%s is there twice", key)
			}
			v := s.Do("GET", key)
			if _, wrong := v.(testkit.ReplyError); wrong {
				v = s.Must("LRANGE", key, 0, -1).([]any)[0]
			}
			found[key], _ = v.(string)
		}
	}
	bad := 0
	for key, want := range r.last {
		if found[key] != want {
			if bad++; bad < 5 {
				t.Errorf("%s holds %.40q, not %.40q", key, found[key], want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d keys are wrong", bad, r.keys)
	}
}

func mustWrite(t *testing.T, s *Server, batch []flow.Entry) {
	t.Helper()
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func mustCommit(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// However often connections are lost, at whatever byte, every key ends up as it
// was written last.
func TestServerSendsAgainInOrder(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		p := testkit.Proxy(t, s.Addr())
		dst := open(t, resp.Options{Addr: p.Addr()}, ServerOptions{Window: 100_000})
		w := newRounds(500)
		for round := range 60 {
			if round%2 == 0 {
				p.CutAfter(testkit.ToTarget, rand.Int64N(100_000))
			} else {
				p.CutAfter(testkit.ToClient, rand.Int64N(2000))
			}
			mustWrite(t, dst, w.next(round))
		}
		mustCommit(t, dst)
		w.check(t, s)
		e := dst.Events()
		if e.Reconnects < 5 || e.Resent < e.Reconnects || e.Confirmed < 500 || len(e.Restarts) > 0 {
			t.Errorf("%+v", e)
		}
	})
}

// A command of a lost connection that the server has got and not looked at yet is
// not carried out after its successors: it is ended with its connection.
func TestServerEndsTheFormerConnection(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		p := testkit.Proxy(t, s.Addr())
		dst := open(t, resp.Options{Addr: p.Addr()}, ServerOptions{})
		mustWrite(t, dst, newRounds(10).next(1))
		mustCommit(t, dst)
		id := dst.one.life.client
		if id == 0 || dst.one.life.run == "" {
			t.Fatalf("%+v", dst.one.life)
		}
		// A second road to the server that does not tell it of the loss.
		if _, err := succeed(t.Context(), dst.one.conn, lifeline{id + 1000, dst.one.life.run}, dst.one.life); err != nil {
			t.Fatal(err)
		}
		other := open(t, at(s), ServerOptions{})
		became, err := succeed(t.Context(), other.one.conn, dst.one.life, other.one.life)
		if err != nil || became != formerGone {
			t.Fatalf("%v %v", became, err)
		}
		if list := fmt.Sprint(s.Must("CLIENT", "LIST")); strings.Contains(list, fmt.Sprintf("id=%d ", id)) {
			t.Error("the former connection lives")
		}
		// Where it cannot be told, it is not guessed.
		for _, old := range []lifeline{{}, {0, dst.one.life.run}, {id, ""}} {
			if became, err := succeed(t.Context(), other.one.conn, old, other.one.life); err != nil || became != formerUnknown {
				t.Errorf("%+v: %v %v", old, became, err)
			}
		}
		if became, err := succeed(t.Context(), other.one.conn, lifeline{id, "another"}, other.one.life); err != nil || became != formerRestart {
			t.Errorf("%v %v", became, err)
		}
	})
}

// A user who may not end connections can go on after a loss, but not write a key
// again of which an older version may still come.
func TestServerDoubtsWithoutTheRight(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	s.Must("ACL", "SETUSER", "mover", "on", ">secret", "~*", "+@all", "-client|kill")
	p := testkit.Proxy(t, s.Addr())
	dst := open(t, resp.Options{Addr: p.Addr(), Username: "mover", Password: "secret"}, ServerOptions{})
	w := newRounds(2000)
	p.CutAfter(testkit.ToTarget, 20_000)
	mustWrite(t, dst, w.next(1))
	mustCommit(t, dst)
	w.check(t, s)
	err := errors.Join(dst.Write(t.Context(), w.next(2)), dst.Commit(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "CLIENT KILL") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// A server that is killed and comes back with its data gets what it missed, in
// every database; that it ended is told.
func TestServerRestarted(t *testing.T) {
	for _, line := range []string{"redis-6.0", "valkey-8.1"} {
		s := testkit.StartServer(t, testkit.Engine(t, line), testkit.Config("appendonly yes"))
		dst := open(t, at(s), ServerOptions{})
		w := newRounds(500)
		for round := range 12 {
			batch := w.next(round)
			for i := range batch {
				batch[i].DB = i % 2
			}
			mustWrite(t, dst, batch)
			if round%4 == 3 {
				s.Kill()
				s.Restart()
			}
		}
		mustWrite(t, dst, w.next(100))
		mustCommit(t, dst)
		w.check(t, s)
		if e := dst.Events(); len(e.Restarts) == 0 || !strings.Contains(e.Restarts[0], s.Addr()) {
			t.Errorf("%+v", e)
		}
	}
}

// Patience has an end, and the error tells what was confirmed.
func TestServerGone(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := open(t, at(s), ServerOptions{Patience: 300 * time.Millisecond})
	w := newRounds(100)
	mustWrite(t, dst, w.next(0))
	mustCommit(t, dst)
	s.Kill()
	err := errors.Join(dst.Write(t.Context(), w.next(1)), dst.Commit(t.Context()))
	if err == nil || !strings.Contains(err.Error(), `cannot restore key "key:`) || !strings.Contains(err.Error(), "100 commands had been confirmed") {
		t.Errorf("%v", err)
	}
	if again := dst.Commit(t.Context()); !errors.Is(again, err) && again.Error() != strings.Split(err.Error(), "\n")[0] {
		t.Errorf("afterwards: %v", again)
	}
}

// With KeepExisting a key that is there after a loss may be ours or not: the loss ends it.
func TestServerKeepExistingLost(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	p := testkit.Proxy(t, s.Addr())
	dst := open(t, resp.Options{Addr: p.Addr()}, ServerOptions{KeepExisting: true})
	p.CutAfter(testkit.ToTarget, 20_000)
	err := errors.Join(dst.Write(t.Context(), newRounds(2000).next(1)), dst.Commit(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("%v", err)
	}
}

// What a server refuses for a passing reason is sent again when the reason has
// gone, but not where a later version of the key was taken meanwhile.
func TestServerWaits(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	dst := open(t, at(s), ServerOptions{})
	w := newRounds(50)
	done := make(chan error, 1)
	go func() {
		var err error
		for round := 0; round < 2000 && err == nil; round++ {
			err = dst.Write(context.Background(), w.next(round))
		}
		done <- errors.Join(err, dst.Commit(context.Background()))
	}()
	for finished := false; !finished; {
		s.Must("CONFIG", "SET", "min-replicas-to-write", 1)
		s.Must("CONFIG", "SET", "min-replicas-to-write", 0)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			finished = true
		default:
		}
	}
	if !strings.Contains(s.Info("errorstats")["errorstat_NOREPLICAS"], "count=") || dst.Events().Resent == 0 {
		t.Errorf("nothing was refused: %+v", dst.Events())
	}
	w.check(t, s)
}

// A database that is not there is found out before anything is written behind the
// SELECT that fails.
func TestServerMissingDatabase(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"), testkit.Config("databases 2"))
	dst := open(t, at(s), ServerOptions{})
	batch := newRounds(10).next(1)
	for i := range batch {
		batch[i].DB = 5
	}
	err := errors.Join(dst.Write(t.Context(), batch), dst.Commit(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "cannot select database 5") {
		t.Errorf("%v", err)
	}
	if n := s.Must("DBSIZE"); n != int64(0) {
		t.Errorf("%d keys went to another database", n)
	}
}
