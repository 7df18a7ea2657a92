package e2e

import (
	"context"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// places at which the service can be made to kill itself around an action.
var places = []string{"begun", "acted", "ended"}

// TestACrashAtEveryStep kills the service at each place of each kind of action,
// starts it again, and expects the same end as without the crash: the same
// statuses, data and objects, each event once, and nothing left over.
func TestACrashAtEveryStep(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			var undisturbed []string
			// Not in parallel to what follows: that is compared with it.
			t.Run("undisturbed", func(t *testing.T) { undisturbed = sc.play(t, "") })
			if t.Failed() {
				return
			}
			for _, kind := range sc.kinds {
				for _, place := range sc.placesOf(kind) {
					t.Run(place+" "+kind, func(t *testing.T) {
						t.Parallel()
						if diff := cmp.Diff(undisturbed, sc.play(t, place+" "+kind)); diff != "" {
							t.Errorf("the events are not those of a run without a crash (-without +with):\n%s", diff)
						}
					})
				}
			}
		})
	}
}

// placesOf are the places at which a scenario is crashed around a kind of action: all of
// them in the first scenario that has the kind, and in the others, where it is the same
// code, the one that leaves most undone. With HOLDFAST_ALL set it is all of them everywhere.
func (sc *scenario) placesOf(kind string) []string {
	first := slices.IndexFunc(scenarios, func(o scenario) bool { return slices.Contains(o.kinds, kind) })
	switch {
	case os.Getenv("HOLDFAST_ALL") != "":
		return places
	case kind == "configure": // when one has ended a failover may be tested too early, which calls the test off
		return places[:2]
	case scenarios[first].name == sc.name:
		return places
	}
	return []string{"acted"}
}

// play runs a scenario with one crash, or none, and returns what its events say, sorted.
func (sc *scenario) play(t *testing.T, crashAt string) []string {
	t.Helper()
	s := newService(t)
	s.revive = true
	if sc.before != nil {
		s.start()
		sc.before(s)
		s.stop()
	}
	if sc.between != nil {
		sc.between(s)
	}
	if crashAt == "" {
		s.start()
	} else {
		s.start("HOLDFAST_CRASH_AT=" + crashAt)
	}
	end := func() {}
	if sc.snapshots {
		end = s.observe(east)
	}
	sc.run(s)
	if crashAt != "" {
		eventually(t, "the service dies at the crash point", func(context.Context) (bool, error) {
			return s.revived > 0 || s.dead(), nil
		})
		s.reviveIfDead()
	}
	if want := min(len(crashAt), 1); s.revived != want {
		t.Fatalf("the service died %d times and should have %d times", s.revived, want)
	}
	end()
	said := slices.DeleteFunc(append(s.messages(east), s.messages(west)...), slowness)
	for i := range said {
		said[i] = started.ReplaceAllString(strings.ReplaceAll(said[i], s.dir, "DIR"), "WHEN")
	}
	said = withoutKeys(said)
	s.nothingLeft()
	return said
}

// slowness tells whether an event says that an engine got no processor for seconds. That is
// the machine's doing, with or without a crash.
func slowness(message string) bool {
	return slices.ContainsFunc([]string{
		"is busy and answers nobody", "does not answer, and whether it ever will cannot be told", "answers again after",
	}, func(part string) bool { return strings.Contains(message, part) })
}

// TestEveryActionIsCrashed makes sure that no kind of action is forgotten: each occurs in a
// scenario above, or in an upgrade, whose kinds TestAnUpgradeIsCrashed and
// TestAnUpgradeOfAClusterSurvivesCrashes go through, with a load that has to lose nothing.
func TestEveryActionIsCrashed(t *testing.T) {
	crashed := append(slices.Clone(upgradeKinds), clusterUpgradeKinds...)
	for _, sc := range scenarios {
		crashed = append(crashed, sc.kinds...)
	}
	kinds := kindsOfActions(t)
	for _, kind := range kinds {
		if !slices.Contains(crashed, kind) {
			t.Errorf("no scenario crashes at %q", kind)
		}
	}
	for _, kind := range crashed {
		if !slices.Contains(kinds, kind) {
			t.Errorf("a scenario crashes at %q, which is no action", kind)
		}
	}
}

// kindsOfActions are all constants of type Kind of the reconciler.
func kindsOfActions(t *testing.T) (out []string) {
	t.Helper()
	files, err := filepath.Glob("../internal/reconcile/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Kind" {
				return true
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s: %s is no string", path, spec.Names[0])
			}
			kind, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, kind)
			return true
		})
	}
	if len(out) == 0 {
		t.Fatal("no kinds of actions are found in internal/reconcile")
	}
	return out
}

var (
	seed   = flag.Uint64("e2e.seed", uint64(time.Now().UnixNano()), "seed of the random kills")
	rounds = flag.Int("e2e.rounds", 10, "rounds of random kills")
)

// TestKilledAtAnyMoment kills the service from outside at random moments.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Logf("to repeat: -e2e.seed %d", *seed)
	for round := range *rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.revive = true
			s.start()
			end := s.observe(east)
			stop := s.killAtRandom(rand.New(rand.NewPCG(*seed, uint64(round))))
			j := journey{service: s, keys: fewKeys}
			j.run()
			j.deleteAll()
			kills := stop()
			s.reviveIfDead()
			end()
			for _, m := range append(s.messages(east), s.messages(west)...) {
				if strings.Contains(m, "Recovering") || strings.Contains(m, "ailed") {
					t.Errorf("an event tells of harm: %s", m)
				}
			}
			s.nothingLeft()
			t.Logf("killed %d times", kills)
		})
	}
}

// killAtRandom kills the service a few times. The returned function ends that
// and tells how often.
func (s *service) killAtRandom(r *rand.Rand) (stop func() int) {
	const most = 8
	ctx, cancel := context.WithCancel(s.t.Context())
	kills := 0
	var work sync.WaitGroup
	work.Go(func() {
		for kills < most {
			pause := time.NewTimer(time.Duration(20+r.IntN(900)) * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return
			}
			if cmd, _ := s.process(); cmd.Process.Kill() == nil {
				kills++
			}
		}
	})
	stop = func() int {
		cancel()
		work.Wait()
		return kills
	}
	s.t.Cleanup(func() { stop() })
	return stop
}
