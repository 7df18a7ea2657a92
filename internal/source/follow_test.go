package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// roads are the ways to see changes.
var roads = []struct {
	name string
	fo   source.FollowOptions
	rule source.LiveRules
	// lines are the engines that it is tried on each time.
	lines map[string]bool
}{
	{"replica", source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{}, map[string]bool{"redis-6.0": true, "redis-7.0": true, "redis-8.0": true, "valkey-8.1": true, "valkey-9.1": true}},
	{"tracking", source.FollowOptions{Road: source.RoadCommands}, source.LiveRules{}, map[string]bool{"redis-6.0": true, "valkey-9.1": true}},
	{"notifications", source.FollowOptions{Road: source.RoadCommands, SetNotifications: true}, source.LiveRules{Capture: source.CaptureNotifications}, map[string]bool{"redis-7.0": true}},
}

// Every road on every engine: a target that is what the source is, under writers
// that leave nothing out.
func TestFollowIsExact(t *testing.T) {
	for _, road := range roads {
		eachHoldLine(t, func(t *testing.T, b catalog.Build) {
			t.Run(road.name, func(t *testing.T) {
				if !road.lines[b.Line()] && os.Getenv("HOLDFAST_SOAK") == "" {
					t.Skip("a part of the matrix runs each time, all of it where HOLDFAST_SOAK is set")
				}
				for range runs() {
					w := newWorld(t, b)
					dst := testkit.StartServer(t, b)
					dst.Must("SET", "stale", "the source never had it")
					w.write(3)
					w.renew()
					r := follow(t, w.srv, dst, road.fo, road.rule)
					r.following()
					w.extra <- tx{{"SELECT", "1"}, {"FLUSHDB"}, {"SET", "after", "it"}, {"SELECT", "0"}}
					w.more(60)
					w.extra <- tx{{"SWAPDB", "2", "13"}}
					w.more(100)
					w.held(r)
					if w.modern {
						w.more(100)
						w.held(r)
					}
					if s := r.f.Status(); s.Keys == 0 || s.Refreshed == 0 || s.Deleted == 0 {
						t.Errorf("%+v", s)
					}
				}
			})
		})
	}
}

// The harness sees it when something is left out.
func TestFollowHarnessSeesBrokenRules(t *testing.T) {
	for name, rules := range map[string]source.LiveRules{
		"keys are lost": {Forget: 50},
		"no streams":    {NoStreams: true, Capture: source.CaptureTracking},
	} {
		t.Run(name, func(t *testing.T) {
			for try := range 5 { // by chance all that is left out may come again
				if d := brokenlyFollowed(t, rules); len(d) > 0 {
					t.Logf("try %d: %d differences, such as %q", try, len(d), d[:min(len(d), 3)])
					return
				}
			}
			t.Error("nothing is seen")
		})
	}
}

// brokenlyFollowed follows writers with rules that leave something out, and compares.
func brokenlyFollowed(t *testing.T, rules source.LiveRules) []string {
	t.Helper()
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	dst := testkit.StartServer(t, w.srv.Build)
	fo := source.FollowOptions{Road: source.RoadCommands}
	if rules.Forget > 0 {
		fo.Road = source.RoadReplica
	}
	w.write(4)
	r := follow(t, w.srv, dst, fo, rules)
	r.following()
	w.more(500)
	w.halt()
	r.drained()
	return compare(content(t, dst), content(t, w.srv))
}

// More keys change than memory is to hold.
func TestFollowSpills(t *testing.T) {
	for _, road := range roads[:2] {
		t.Run(road.name, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, "redis-7.0"))
			dst := testkit.StartServer(t, w.srv.Build)
			w.write(3)
			rule := road.rule
			rule.Memory = 200
			r := follow(t, w.srv, dst, road.fo, rule)
			r.following()
			w.more(300)
			w.held(r)
		})
	}
}

// A read-only replica is as good a source as its primary.
func TestFollowAReplica(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	replica := testkit.StartServer(t, w.srv.Build, testkit.ReplicaOf(w.srv))
	replica.WaitLink()
	dst := testkit.StartServer(t, w.srv.Build)
	w.write(3)
	r := follow(t, replica, dst, source.FollowOptions{Road: source.RoadReplica}, source.LiveRules{})
	r.following()
	w.more(300)
	w.halt()
	testkit.Wait(t, 60*time.Second, func() bool {
		return fmt.Sprint(compare(content(t, replica), content(t, w.srv))) == "[]" || len(compare(asReplica(content(t, replica)), asReplica(content(t, w.srv)))) == 0
	}, "the replica to catch up")
	r.drained()
	r.same()
}

// asReplica leaves out what engines do not replicate.
func asReplica(m map[string]string) map[string]string {
	asReplicated(m)
	return m
}

// What changed since Mark is told; functions come with a Drain; Again reads a key again.
func TestFollowTells(t *testing.T) {
	for _, road := range roads {
		t.Run(road.name, func(t *testing.T) {
			src := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
			dst := testkit.StartServer(t, src.Build)
			fill(t, src, 100)
			src.Must("FUNCTION", "LOAD", "#!lua name=lib\nserver.register_function('f', function() return 1 end)")
			r := follow(t, src, dst, road.fo, road.rule)
			r.following()
			r.drained()
			if _, all := r.f.Marked(); !all {
				t.Error("without Mark nothing may be known")
			}
			r.f.Mark()
			src.Must("SET", "key:00000003", "changed")
			dst.Must("DEL", "key:00000005")
			r.f.Again(0, []byte("key:00000005"))
			r.drained()
			r.same()
			keys, all := r.f.Marked()
			if all || len(keys) != 1 || string(keys[0].Key) != "key:00000003" {
				t.Errorf("%d keys, all %t", len(keys), all)
			}
			if libs := r.f.Functions(); len(libs) != 1 {
				t.Errorf("%d libraries", len(libs))
			}
			src.Must("SELECT", "2")
			src.Must("SET", "elsewhere", "1")
			src.Must("FLUSHDB")
			src.Must("SET", "elsewhere", "2")
			src.Must("SET", "short", "1")
			r.drained()
			src.Must("FLUSHDB")
			r.drained()
			r.same()
			src.Must("FLUSHALL")
			testkit.Wait(t, time.Minute, func() bool { _, all := r.f.Marked(); return all || dst.Must("DBSIZE") == int64(0) }, "FLUSHALL to be seen")
			r.drained()
			r.same()
			if _, all := r.f.Marked(); !all {
				t.Error("FLUSHALL changes everything")
			}
			if err := r.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run ends with %v", err)
			}
		})
	}
}

// A key that leaves the scope of a filter leaves the target; one that was never
// in it by its name is not touched.
func TestFollowKeeps(t *testing.T) {
	src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := testkit.StartServer(t, src.Build)
	src.Must("SET", "app:a", "1")
	src.Must("SET", "other", "1")
	dst.Must("SET", "other", "the target's own")
	r := follow(t, src, dst, source.FollowOptions{
		Keep: func(e *flow.Entry) bool {
			return bytes.HasPrefix(e.Key, []byte("app:")) && (e.Deleted || rdb.ClassOf(e.Type) == rdb.ClassString)
		},
		TargetKeys: func(ctx context.Context, visit func(int, []byte) bool) error {
			return keysOf(dst)(ctx, func(db int, key []byte) bool { return !bytes.HasPrefix(key, []byte("app:")) || visit(db, key) })
		},
	}, source.LiveRules{})
	r.following()
	r.drained()
	if dst.Must("GET", "app:a") != "1" {
		t.Error("app:a did not come")
	}
	src.Must("DEL", "app:a", "other")
	src.Must("RPUSH", "app:a", "now a list")
	r.drained()
	if dst.Must("EXISTS", "app:a") != int64(0) || dst.Must("GET", "other") != "the target's own" {
		t.Error("the target holds", dst.Must("KEYS", "*"))
	}
}

// An error of the target ends it, and what the target did not confirm is not in the state.
func TestFollowABrokenTarget(t *testing.T) {
	src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := testkit.StartServer(t, src.Build)
	fill(t, src, 100)
	r := follow(t, src, dst, source.FollowOptions{}, source.LiveRules{})
	r.following()
	r.drained()
	before := r.f.State()
	dst.Kill()
	src.Must("SET", "lost", strings.Repeat("x", 10_000))
	if err := r.ended(); err == nil || !strings.Contains(err.Error(), "cannot write to the target") {
		t.Errorf("%v", err)
	}
	if after := r.f.State(); after.Offset > before.Offset+5000 {
		t.Errorf("the state went from %+v to %+v", before, after)
	}
	if err := r.f.Drain(t.Context()); err == nil {
		t.Error("Drain finds nothing wrong")
	}
}
