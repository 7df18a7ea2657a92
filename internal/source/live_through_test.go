package source_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// Handed on as it is read, what came last of every key is what the server held at
// one instant, by every way to see changes and to cut.
func TestThroughIsExact(t *testing.T) {
	for _, c := range []struct {
		line  string
		rules source.LiveRules
		cut   source.Cut
	}{
		{"redis-6.0", source.LiveRules{}, source.CutExec},
		{"redis-7.0", source.LiveRules{}, source.CutPause},
		{"redis-8.0", source.LiveRules{}, source.CutPause},
		{"valkey-8.1", source.LiveRules{}, source.CutPause},
		{"valkey-9.1", source.LiveRules{}, source.CutPause},
		{"valkey-8.1", source.LiveRules{Cut: source.CutExec}, source.CutExec},
		{"redis-7.0", source.LiveRules{Capture: source.CaptureNotifications}, source.CutPause},
		{"valkey-9.1", source.LiveRules{Capture: source.CaptureNotifications, Cut: source.CutMarker}, source.CutMarker},
	} {
		t.Run(fmt.Sprint(c.line, " ", c.rules.Capture, " ", c.cut), func(t *testing.T) {
			for range runs() {
				s := exact(t, testkit.Engine(t, c.line), c.rules, source.LiveOptions{Through: true}, testkit.Config("notify-keyspace-events KA"))
				if !s.report.Through || s.report.Cut != c.cut {
					t.Errorf("through: %v, by %s", s.report.Through, s.report.Cut)
				}
			}
		})
	}
}

// The harness sees it when what is written while the remainder is read is missed.
func TestThroughHarnessSeesNoPause(t *testing.T) {
	for try := range 10 { // by chance nothing may happen in the wrong moment
		w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
		w.write(8)
		if d := w.differences(w.shoot(t, source.LiveRules{NoPause: true}, source.LiveOptions{Through: true})); len(d) > 0 {
			t.Logf("try %d: %d differences, such as %q", try, len(d), d[:min(len(d), 3)])
			return
		}
	}
	t.Error("the harness saw nothing in ten runs")
}

// obeyed is a target that does what it is told.
type obeyed map[string]string

func (c obeyed) take(t *testing.T, e *flow.Entry) {
	t.Helper()
	key := fmt.Sprintf("%d/%q", e.DB, e.Key)
	if e.Deleted {
		delete(c, key)
		return
	}
	v, err := rdb.Decode(e.Type, e.Version, e.Value)
	if err != nil {
		t.Fatal(err)
	}
	c[key] = fmt.Sprintf("%d %s", e.ExpireAt, describe(v))
}

// anewActs are what makes a reading begin anew, with keys that are gone afterwards.
var anewActs = map[string]func(t *testing.T, s *testkit.Server){
	"FLUSHALL": func(_ *testing.T, s *testkit.Server) {
		s.Must("FLUSHALL")
		s.Must("SET", "key:00000001", "another")
		s.Must("SET", "born", "afterwards")
	},
	"FLUSHDB": func(_ *testing.T, s *testkit.Server) { s.Must("FLUSHDB") },
	"SWAPDB":  func(_ *testing.T, s *testkit.Server) { s.Must("SWAPDB", "0", "1") },
	"the listener is killed": func(t *testing.T, s *testkit.Server) {
		killListener(t, s)
		for i := range 500 { // nobody is told of these
			s.Must("DEL", fmt.Sprintf("key:%08d", i))
		}
	},
}

// What an attempt handed on that was then given up is deleted, if the server does not
// have it any more, and nothing else is.
func TestThroughLeavesNothingStale(t *testing.T) {
	for name, act := range anewActs {
		for _, when := range []string{"while it is read", "before the cut"} {
			t.Run(name+" "+when, func(t *testing.T) {
				s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
				fill(t, s, 3000)
				s.Must("SELECT", "1")
				s.Must("RPUSH", "list", "a", "b")
				s.Must("SET", "key:00000007", "of database 1")
				s.Must("SELECT", "0")
				src := source.NewLive(at(s), source.LiveOptions{Through: true, PointInTime: true, Dir: t.TempDir()})
				done := false
				src.Break(source.LiveRules{Phase: func(phase string) {
					if phase == "cut" && when == "before the cut" && !done {
						done = true
						act(t, s)
					}
				}})
				target, foreign := obeyed{}, map[string]bool{}
				for e, err := range src.Entries(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					key := fmt.Sprintf("%d/%q", e.DB, e.Key)
					if _, had := target[key]; e.Deleted && !had {
						foreign[key] = true
					}
					if target.take(t, e); len(target) == 1000 && when != "before the cut" && !done {
						done = true
						act(t, s)
					}
				}
				r := src.Report()
				if !done || len(r.Restarts) == 0 || !r.Through || r.Consistency != source.PointInTime {
					t.Errorf("%+v", r)
				}
				if d := compare(target, content(t, s)); len(d) > 0 {
					t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 5)])
				}
				if r.Keys != int64(len(target)) {
					t.Errorf("the report tells of %d keys, there are %d", r.Keys, len(target))
				}
				if len(foreign) > 0 && name != "the listener is killed" {
					t.Errorf("%d keys were deleted that had not been written, such as %v", len(foreign), maps.Keys(foreign))
				}
			})
		}
	}
}

func killListener(t *testing.T, s *testkit.Server) {
	t.Helper()
	list, _ := s.Must("CLIENT", "LIST").(string)
	for line := range strings.Lines(list) {
		id, rest, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if _, flags, _ := strings.Cut(rest, " flags="); strings.Contains(flags[:strings.IndexByte(flags, ' ')], "B") {
			s.Must("CLIENT", "KILL", "ID", id)
			return
		}
	}
	t.Errorf("nobody listens:\n%s", list)
}

// A server that comes back without its keys does not empty the target.
func TestThroughSourceComesBackEmpty(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	fill(t, s, 3000)
	src := source.NewLive(at(s), source.LiveOptions{Through: true, Dir: t.TempDir()})
	target, killed := obeyed{}, false
	var failed error
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			failed = err
			break
		}
		if target.take(t, e); len(target) == 1000 && !killed {
			killed = true
			s.Kill()
			s.Restart()
		}
	}
	if !errors.Is(failed, source.ErrSourceEmptied) || len(target) < 1000 {
		t.Errorf("%d keys, %v", len(target), failed)
	}
}

// Where it is known beforehand that there may be no instant, nothing is handed on before there is one.
func TestThroughNotWithoutAnInstant(t *testing.T) {
	for name, tc := range map[string]struct {
		line, acl string
		through   bool
	}{
		"no PAUSE WRITE":       {"redis-6.0", "", false},
		"no right to PAUSE":    {"redis-7.0", "-client|pause", false},
		"no right to UNPAUSE":  {"redis-7.0", "-client|unpause", true}, // a transaction does
		"all that it takes":    {"redis-7.0", "", true},
		"no right to ask INFO": {"valkey-8.1", "-info", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, tc.line))
			fill(t, s, 1000)
			o := at(s)
			if tc.acl != "" {
				s.Must("ACL", "SETUSER", "some", "on", ">secret", "~*", "&*", "+@all", tc.acl)
				o.Username, o.Password = "some", "secret"
			}
			src := source.NewLive(o, source.LiveOptions{Through: true, PointInTime: true, Dir: t.TempDir()})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			keys := 0
			var failed error
			for _, err := range src.Entries(ctx) {
				if failed = err; err != nil {
					break
				}
				keys++
			}
			if r := src.Report(); r.Through != tc.through || failed != nil && keys > 0 || failed == nil && keys != 1000 {
				t.Errorf("%d keys, %v, %+v", keys, failed, r)
			}
		})
	}
}

// Values in pieces, and streams that change silently, go through too.
func TestThroughConforms(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fill(t, s, 5)
	s.Must("SET", "large", strings.Repeat("x", 5<<20))
	for i := range 60 {
		s.Must("HSET", "hash", i, strings.Repeat("y", 40_000))
	}
	src := source.NewLive(at(s), source.LiveOptions{Through: true, Dir: t.TempDir()})
	target := obeyed{}
	for e, err := range src.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c := e.Clone()
		if e.Body != nil {
			value, err := rdb.ReadHeld(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			c.Value, c.Body = value, nil
		}
		target.take(t, &c)
	}
	if d := compare(target, content(t, s)); len(d) > 0 || src.Report().Pieces != 2 {
		t.Errorf("%d pieces, %d differences, such as %q", src.Report().Pieces, len(d), d[:min(len(d), 5)])
	}
}
