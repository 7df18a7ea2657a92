package source_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// Every way to see changes goes with every way to cut.
func TestLiveEveryWay(t *testing.T) {
	for _, c := range []struct {
		line, flags string
		capture     source.Capture
		cut         source.Cut
	}{
		{"redis-7.0", "", source.CaptureTracking, source.CutExec},
		{"valkey-9.1", "", source.CaptureTracking, source.CutExec},
		{"redis-6.0", "KEA", source.CaptureNotifications, source.CutMarker},
		{"redis-7.0", "EA", source.CaptureNotifications, source.CutMarker},
		{"valkey-8.1", "Kg$lshzxetd", source.CaptureNotifications, source.CutMarker},
		{"valkey-8.1", "KA", source.CaptureNotifications, source.CutPause},
	} {
		t.Run(fmt.Sprint(c.line, " ", c.capture, " ", c.cut), func(t *testing.T) {
			for range runs() {
				rules := source.LiveRules{Capture: c.capture, Cut: c.cut}
				s := exact(t, testkit.Engine(t, c.line), rules, source.LiveOptions{PointInTime: true}, testkit.Config("notify-keyspace-events "+fmt.Sprintf("%q", c.flags)))
				if s.report.Cut != c.cut || s.report.Capture != c.capture {
					t.Errorf("by %s and %s", s.report.Capture, s.report.Cut)
				}
			}
		})
	}
}

// The harness sees it when a rule is broken.
func TestLiveHarnessSeesBrokenRules(t *testing.T) {
	for name, rules := range map[string]source.LiveRules{
		"no pause":   {NoPause: true},
		"no streams": {NoStreams: true},
	} {
		t.Run(name, func(t *testing.T) {
			// By chance nothing may happen in the wrong moment.
			for try := range 10 {
				w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
				w.write(8)
				if d := w.differences(w.shoot(t, rules, source.LiveOptions{})); len(d) > 0 {
					t.Logf("try %d: %d differences, such as %q", try, len(d), d[:min(len(d), 3)])
					return
				}
			}
			t.Error("the harness saw nothing in ten runs")
		})
	}
}

// What happens while a server is read makes reading begin anew, and the result is exact.
func TestLiveBeginsAnew(t *testing.T) {
	for name, act := range map[string]func(t *testing.T, w *world){
		"SWAPDB":  func(_ *testing.T, w *world) { w.also(tx{{"SWAPDB", "1", "2"}}) },
		"FLUSHDB": func(_ *testing.T, w *world) { w.also(tx{{"SELECT", "1"}, {"FLUSHDB"}, {"SELECT", "0"}}) },
		"FLUSHALL": func(_ *testing.T, w *world) {
			w.also(tx{{"EVAL", `local g = redis.call('GET', 'counter') redis.call('FLUSHALL') redis.call('SET', 'counter', g)`, "0"}, {"SET", "after", "it"}})
		},
		"by a script": func(_ *testing.T, w *world) {
			w.also(tx{{"EVAL", "redis.call('SELECT', 2) return redis.call('FLUSHDB')", "0"}, {"SELECT", "0"}})
		},
		"RESETSTAT": func(_ *testing.T, w *world) { w.srv.Must("CONFIG", "RESETSTAT") },
		"the listener is killed": func(t *testing.T, w *world) {
			list, _ := w.srv.Must("CLIENT", "LIST").(string)
			for line := range strings.Lines(list) {
				id, rest, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
				if _, flags, _ := strings.Cut(rest, " flags="); strings.Contains(flags[:strings.IndexByte(flags, ' ')], "B") {
					w.srv.Must("CLIENT", "KILL", "ID", id)
					return
				}
			}
			t.Errorf("nobody listens:\n%s", list)
		},
	} {
		for _, phase := range []string{"scan", "cut"} {
			t.Run(name+" before the "+phase, func(t *testing.T) {
				w := newWorld(t, testkit.Engine(t, "valkey-9.1"))
				w.write(3)
				var once sync.Once
				s := w.shoot(t, source.LiveRules{Phase: func(now string) {
					if now == phase {
						once.Do(func() {
							act(t, w)
							n := w.count.Load()
							testkit.Wait(t, time.Minute, func() bool { return w.count.Load() > n+8 }, "some more transactions")
						})
					}
				}}, source.LiveOptions{})
				if d := w.differences(s); len(d) > 0 {
					t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
				}
				if len(s.report.Restarts) == 0 {
					t.Error("it did not begin anew")
				}
				t.Log(s.report.Restarts)
			})
		}
	}
}

func TestLiveGivesUp(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	fill(t, s, 1000)
	src := source.NewLive(at(s), source.LiveOptions{MaxRestarts: 2})
	src.Break(source.LiveRules{Phase: func(phase string) {
		if phase == "cut" {
			s.Must("SWAPDB", "3", "4")
		}
	}})
	keys, err := failure(t.Context(), src)
	if keys != 0 {
		t.Errorf("%d keys came", keys)
	}
	says(t, err, "begun 3 times")
	says(t, err, "SWAPDB")
}

// A connection that breaks, whichever and whenever.
func TestLiveConnectionsBreak(t *testing.T) {
	for _, after := range []int64{3_000, 100_000, 1_000_000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
			p := testkit.Proxy(t, w.srv.Addr())
			w.write(2)
			o := at(w.srv)
			o.Addr = p.Addr()
			src := source.NewLive(o, source.LiveOptions{})
			src.Break(source.LiveRules{Big: harnessBig})
			p.CutAfter(testkit.ToClient, after)
			s, err := shoot(t.Context(), src, fileVersion(w.srv.Build))
			if err != nil {
				// While it connects it does not try again.
				if after > 10_000 {
					t.Fatal(err)
				}
				return
			}
			if d := w.differences(s); len(d) > 0 {
				t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
			}
			if len(s.report.Restarts) != 1 {
				t.Errorf("restarts: %q", s.report.Restarts)
			}
		})
	}
}

// A user who lacks a right is told which; what can be had without is had.
func TestLiveRights(t *testing.T) {
	for _, c := range []struct {
		name, deny string
		consist    source.Consistency
		cut        source.Cut
		note       string
	}{
		{"all", "", source.PointInTime, source.CutPause, ""},
		{"no pause", "-client|pause", source.PointInTime, source.CutExec, "+client|pause"},
		{"no unpause", "-client|unpause", source.PointInTime, source.CutExec, "+client|unpause"},
		{"no pause nor multi", "-client|pause -multi", source.PerKey, source.CutNone, "+multi"},
		{"no tracking", "-client|tracking", source.PointInTime, source.CutPause, "+client|tracking"},
		{"no tracking, no CONFIG", "-client|tracking -config", source.PerKey, source.CutNone, "+config|get"},
		{"no tracking, no channels", "-client|tracking resetchannels", source.PerKey, source.CutNone, "+client|tracking"},
		{"no INFO", "-info", source.PerKey, source.CutNone, "+info"},
		{"no sizes", "-memory|usage", source.PointInTime, source.CutPause, "+memory|usage"},
		{"no functions", "-function", source.PointInTime, source.CutPause, "+function|dump"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("notify-keyspace-events KA"))
			w.srv.Must("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "-@all", "+hello", "+auth", "+ping", "+select", "+scan", "+dbsize", "+info",
				"+dump", "+pttl", "+pexpiretime", "+multi", "+exec", "+time", "+client", "+memory|usage", "+function|dump", "+config|get",
				"+psubscribe", "+subscribe", "+publish", "+type", "+@read")
			if c.deny != "" {
				args := []any{"ACL", "SETUSER", "reader"}
				for _, d := range strings.Fields(c.deny) {
					args = append(args, d)
				}
				w.srv.Must(args...)
			}
			o := at(w.srv)
			o.Username, o.Password = "reader", "pw"
			strict := source.NewLive(o, source.LiveOptions{PointInTime: true})
			if _, err := failure(t.Context(), strict); (err == nil) != (c.consist == source.PointInTime) {
				t.Errorf("asked for a point in time: %v", err)
			} else if err != nil {
				says(t, err, c.note)
				t.Log(err)
			}
			w.write(2)
			src := source.NewLive(o, source.LiveOptions{})
			s, err := shoot(t.Context(), src, 11)
			if err != nil {
				t.Fatal(err)
			}
			r := s.report
			t.Logf("%s by %s and %s: %q", r.Consistency, r.Capture, r.Cut, r.Notes)
			if r.Consistency != c.consist || r.Cut != c.cut {
				t.Errorf("%s by %s", r.Consistency, r.Cut)
			}
			if !slices.ContainsFunc(append(r.Notes, ""), func(n string) bool { return strings.Contains(n, c.note) }) {
				t.Errorf("the notes do not say %q", c.note)
			}
			if c.consist == source.PointInTime {
				if d := w.differences(s); len(d) > 0 {
					t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
				}
			}
		})
	}
}

// The setting is changed only on request, and put back.
func TestLiveSetsNotifications(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b, testkit.Config("notify-keyspace-events Kx"))
		fill(t, s, 100)
		get := func() string { return s.Must("CONFIG", "GET", "notify-keyspace-events").([]any)[1].(string) }
		was := get()
		src := source.NewLive(at(s), source.LiveOptions{})
		src.Break(source.LiveRules{Capture: source.CaptureNotifications})
		if n := len(read(t, src)); n != 100 || src.Report().Consistency != source.PerKey {
			t.Errorf("%d keys, %s", n, src.Report().Consistency)
		}
		if now := get(); now != was {
			t.Errorf("the setting went from %q to %q", was, now)
		}
		var during []string
		src = source.NewLive(at(s), source.LiveOptions{SetNotifications: true, PointInTime: true})
		src.Break(source.LiveRules{Capture: source.CaptureNotifications, Phase: func(string) { during = append(during, get()) }})
		if n := len(read(t, src)); n != 100 {
			t.Errorf("%d keys", n)
		}
		if now := get(); now != was || len(during) < 3 || !strings.Contains(during[0], "A") {
			t.Errorf("the setting went from %q to %q to %q", was, during, now)
		}
	})
}

// A bound that cannot be kept is not kept at others' cost: the cut is had otherwise.
func TestLivePauseIsBounded(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	w.write(2)
	s := w.shoot(t, source.LiveRules{}, source.LiveOptions{MaxPause: 10 * time.Microsecond, PointInTime: true})
	if d := w.differences(s); len(d) > 0 {
		t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
	}
	if s.report.Cut != source.CutExec || s.report.Pauses != 3 {
		t.Errorf("cut by %s after %d pauses", s.report.Cut, s.report.Pauses)
	}
}

// A replica can be read in its primary's stead.
func TestLiveOfReplica(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	w := newWorld(t, b)
	w.replica = true
	replica := testkit.StartServer(t, b, testkit.ReplicaOf(w.srv))
	replica.WaitLink()
	w.write(3)
	src := source.NewLive(at(replica), source.LiveOptions{PointInTime: true})
	src.Break(source.LiveRules{Big: harnessBig})
	s, err := shoot(t.Context(), src, 11)
	if err != nil {
		t.Fatal(err)
	}
	if d := w.differences(s); len(d) > 0 {
		t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
	}
}

func TestLiveInClusterMode(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Cluster())
	s.Must("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	testkit.Wait(t, 10*time.Second, func() bool {
		return strings.Contains(fmt.Sprint(s.Do("CLUSTER", "INFO")), "cluster_state:ok")
	}, "the cluster")
	fill(t, s, 5000, "EX", "1000")
	src := source.NewLive(at(s), source.LiveOptions{PointInTime: true})
	if got := read(t, src); len(got) != 5000 || src.Report().Cut != source.CutPause {
		t.Errorf("%d keys, cut by %s", len(got), src.Report().Cut)
	}
	src = source.NewLive(at(s), source.LiveOptions{})
	src.Break(source.LiveRules{Cut: source.CutExec})
	if got := read(t, src); len(got) != 5000 || src.Report().Consistency != source.PerKey {
		t.Errorf("%d keys, %s", len(got), src.Report().Consistency)
	}
}

func TestLiveKeepsFunctions(t *testing.T) {
	for _, line := range []string{"redis-7.0", "valkey-9.1"} {
		s := testkit.StartServer(t, testkit.Engine(t, line))
		const code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
		s.Must("FUNCTION", "LOAD", code)
		src := source.NewLive(at(s), source.LiveOptions{})
		read(t, src)
		f := src.Report().Functions
		if len(f) != 1 {
			t.Fatalf("%d libraries", len(f))
		}
		if got, err := f[0].Code(); err != nil || got != code {
			t.Errorf("%q, %v", got, err)
		}
	}
}
