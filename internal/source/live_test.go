package source_test

import (
	"os"
	"strconv"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// harnessBig makes the harness' large values large.
const harnessBig = 32 << 10

// runs is how often the harness runs: once, or as often as HOLDFAST_SOAK says.
func runs() int {
	if n, err := strconv.Atoi(os.Getenv("HOLDFAST_SOAK")); err == nil {
		return n
	}
	return 1
}

func TestLiveConforms(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		load(t, s, flowtest.Sample())
		flowtest.Source(t, func(*testing.T) flow.Source { return source.NewLive(at(s), source.LiveOptions{}) })
	})
}

// exact runs the harness and fails where the file is not that of one instant.
func exact(t *testing.T, b catalog.Build, rules source.LiveRules, lo source.LiveOptions, opts ...testkit.Option) *shot {
	t.Helper()
	w := newWorld(t, b, opts...)
	writers := 4
	if rules.Cut == source.CutExec || rules.Cut == source.CutMarker || b.Line() == "redis-6.0" {
		writers = 2 // a moment without writes has to be found, on a slow machine too
	}
	w.write(writers)
	s := w.shoot(t, rules, lo)
	if d := w.differences(s); len(d) > 0 {
		t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 10)])
	}
	if s.report.Consistency != source.PointInTime {
		t.Errorf("%s: %q", s.report.Consistency, s.report.Notes)
	}
	return s
}

func (w *world) shoot(t *testing.T, rules source.LiveRules, lo source.LiveOptions) *shot {
	t.Helper()
	lo.Dir = t.TempDir()
	if rules.Big == 0 {
		rules.Big = harnessBig
	}
	src := source.NewLive(at(w.srv), lo)
	src.Break(rules)
	before := w.count.Load()
	s, err := shoot(t.Context(), src, fileVersion(w.srv.Build))
	if err != nil {
		t.Fatal(err)
	}
	r := &s.report
	t.Logf("%s by %s, cut by %s: pause %s in %d, tries %d; %d rounds, %d restarts, %d keys, %d read again, %d streams, %d in pieces, %d large in the cut; scan %s, drain %s, cut %s; %.0f keys/s; index %d bytes, spool %d; batches %d to %d; meanwhile %.0f tx/s; notes %q",
		r.Consistency, r.Capture, r.Cut, r.Pause, r.Pauses, r.CutTries, r.Rounds, len(r.Restarts), r.Keys, r.Reread, r.Streams, r.Pieces, r.Large,
		r.Scan, r.Drain, r.Cutting, float64(r.Keys)/(r.Scan+r.Drain+r.Cutting).Seconds(), r.IndexBytes, r.SpoolBytes, r.BatchMin, r.BatchMax,
		float64(w.count.Load()-before)/s.took.Seconds(), r.Notes)
	return s
}

func TestLiveIsExact(t *testing.T) {
	for _, line := range append(testkit.Lines, "redis-8.0") {
		t.Run(line, func(t *testing.T) {
			for range runs() {
				b := testkit.Engine(t, line)
				s := exact(t, b, source.LiveRules{}, source.LiveOptions{PointInTime: true})
				want := source.CutPause
				if line == "redis-6.0" {
					want = source.CutExec
				}
				if s.report.Cut != want || s.report.Capture != source.CaptureTracking {
					t.Errorf("by %s and %s", s.report.Capture, s.report.Cut)
				}
			}
		})
	}
}
