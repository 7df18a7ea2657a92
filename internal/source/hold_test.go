package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// holdLines are the engines that a source may be.
var holdLines = []string{"redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"}

func eachHoldLine(t *testing.T, f func(t *testing.T, b catalog.Build)) {
	for _, line := range holdLines {
		t.Run(line, func(t *testing.T) { f(t, testkit.Engine(t, line)) })
	}
}

// write sends one SET and hands over its reply.
func write(t *testing.T, s *testkit.Server) <-chan error {
	t.Helper()
	c, err := resp.Dial(t.Context(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), "SET", "k", "held")
		done <- errors.Join(err, c.Close())
	}()
	return done
}

func TestHoldAndRelease(t *testing.T) {
	eachHoldLine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		s.Must("SET", "k", "before")
		var saved source.HoldUndo
		span := source.DefaultHoldPause
		if b.Line() == "valkey-8.1" {
			span = 9 * time.Second // to see it renewed
		}
		h, err := source.HoldWrites(t.Context(), at(s), source.HoldOptions{
			MaxPause: span,
			Save:     func(u source.HoldUndo) error { saved = u; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		written := write(t, s)
		if b.Line() == "redis-6.0" {
			if err := <-written; !resp.IsServerError(err, "NOREPLICAS") || h.Means() != source.HoldRefuse || saved.Value != "0" {
				t.Errorf("%v by %s, to be put back %+v", err, h.Means(), saved)
			}
		} else {
			if h.Means() != source.HoldPause || saved.Setting != "" {
				t.Errorf("by %s, to be put back %+v", h.Means(), saved)
			}
			if b.Line() == "valkey-8.1" { // longer than one pause lasts
				testkit.Wait(t, time.Minute, func() bool {
					calls := 0
					_, _ = fmt.Sscanf(s.Info("commandstats")["cmdstat_client|pause"], "calls=%d,", &calls) // 0 if there are none
					return len(written) > 0 || calls >= 5
				}, "the pause to be renewed")
			}
			if len(written) > 0 {
				t.Error("a write got through")
			}
		}
		if s.Must("GET", "k") != "before" {
			t.Error("it was written to")
		}
		if err := h.Check(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := h.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if b.Line() != "redis-6.0" {
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
		if err := <-write(t, s); err != nil || s.Must("GET", "k") != "held" {
			t.Errorf("after the release: %v", err)
		}
	})
}

// Nobody renews the pause of one who died.
func TestHoldEndsByItself(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	p := testkit.Proxy(t, s.Addr())
	var err error
	// Where we get no time for as long as a pause lasts, it ends before the proxy stands still.
	for span := time.Second; span < time.Minute; span *= 4 {
		if err = endsByItself(t, s, p, span); strings.Contains(err.Error(), "could not be renewed") {
			break
		}
	}
	says(t, err, "could not be renewed")
}

// endsByItself lets a pause end that is not renewed, and tells how its holder sees that.
func endsByItself(t *testing.T, s *testkit.Server, p *testkit.FaultProxy, span time.Duration) error {
	t.Helper()
	h, err := source.HoldWrites(t.Context(), resp.Options{Addr: p.Addr()}, source.HoldOptions{MaxPause: span})
	if err != nil {
		t.Fatal(err)
	}
	written := write(t, s)
	p.Stall()
	if err := <-written; err != nil {
		t.Error(err)
	}
	select {
	case <-h.Lost():
	case <-time.After(2 * time.Minute):
		t.Fatal("the hold is not seen to be lost")
	}
	p.Resume()
	if err := h.ReleaseNow(); err != nil {
		t.Error(err)
	}
	return h.Err()
}

func TestHoldSeesThatItDoesNotHold(t *testing.T) {
	hold := func(t *testing.T, line string) (*testkit.Server, *source.Hold) {
		s := testkit.StartServer(t, testkit.Engine(t, line))
		h, err := source.HoldWrites(t.Context(), at(s), source.HoldOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.ReleaseNow() }) // the server may be gone
		return s, h
	}
	t.Run("a script", func(t *testing.T) {
		s, h := hold(t, "redis-6.0")
		s.Must("EVAL", "return redis.call('SET', 'a', 'b')", 0)
		says(t, h.Check(t.Context()), "1 writes got through")
		<-h.Lost()
	})
	t.Run("a pause that somebody ended", func(t *testing.T) {
		s, h := hold(t, "valkey-8.1")
		s.Must("CLIENT", "UNPAUSE")
		says(t, h.Check(t.Context()), "UNPAUSE")
	})
	t.Run("the same where the server does not say so", func(t *testing.T) {
		s, h := hold(t, "redis-7.0")
		s.Must("CLIENT", "UNPAUSE")
		s.Must("SET", "a", "b")
		says(t, h.Check(t.Context()), "1 writes got through")
	})
	t.Run("a restart", func(t *testing.T) {
		s, h := hold(t, "redis-7.0")
		s.Kill()
		s.Restart()
		says(t, h.Check(t.Context()), "restarted")
	})
}

// What a run that was killed holding has stored is enough to put things right.
func TestHoldUndoneAfterACrash(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"), testkit.Config("min-replicas-to-write 0", "min-replicas-max-lag 0"))
	var stored []byte
	died, err := source.HoldWrites(t.Context(), at(s), source.HoldOptions{Save: func(u source.HoldUndo) (err error) {
		if s.Must("CONFIG", "GET", "min-replicas-to-write").([]any)[1] != "0" {
			t.Error("it was changed before it was noted")
		}
		stored, err = json.Marshal(u)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = died.ReleaseNow() }() // at the end, for the goroutine; until then it is as if it had died
	if _, err := source.HoldWrites(t.Context(), at(s), source.HoldOptions{}); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("%v", err)
	}
	var u source.HoldUndo
	if err := json.Unmarshal(stored, &u); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := source.UndoHold(t.Context(), at(s), u); err != nil {
			t.Error(err)
		}
	}
	if lag := s.Must("CONFIG", "GET", "min-replicas-max-lag").([]any)[1]; lag != "0" {
		t.Errorf("the lag is %v", lag)
	}
	if err := <-write(t, s); err != nil {
		t.Error(err)
	}
}

func TestHoldRefusedOrNotSaved(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	s.Must("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+info", "+ping", "+hello")
	o := at(s)
	o.Username, o.Password = "reader", "pw"
	_, err := source.HoldWrites(t.Context(), o, source.HoldOptions{})
	says(t, err, "+client|pause")
	says(t, err, "stop the writers")
	old := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	full := errors.New("the disk is full")
	if _, err := source.HoldWrites(t.Context(), at(old), source.HoldOptions{Save: func(source.HoldUndo) error { return full }}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if err := <-write(t, old); err != nil {
		t.Errorf("it holds although nothing was noted: %v", err)
	}
}
