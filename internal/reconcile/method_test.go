package reconcile

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

func TestTheMethodFollowsTheMemory(t *testing.T) {
	roomy := evidence{Used: 100 * mib, Node: gib, Free: 8 * gib, Keep: 512 * mib, Changes: -1}
	with := func(change func(*evidence)) evidence {
		e := roomy
		change(&e)
		return e
	}
	for _, c := range []struct {
		name     string
		e        evidence
		forkless bool
		says     []string
	}{
		{"room for everything", roomy, false, []string{"a copy of all data", "100.0 MiB"}},
		{"an empty node", with(func(e *evidence) { e.Used = 0 }), false, []string{"a copy of all data"}},
		{"no limit of the node's", with(func(e *evidence) { e.Node, e.Used = 0, gib }), false, []string{"8.00 GiB free"}},
		{"a full node that nobody writes to", with(func(e *evidence) { e.Used, e.Changes = 768*mib, 0 }), false, []string{"at most 5.5 MiB", "0 writes a second"}},
		{"a full node with few writes", with(func(e *evidence) { e.Used, e.Changes = 768*mib, 500 }), false, []string{"500 writes a second for about 8 s", "256.0 MiB left"}},
		{"a full node with many writes", with(func(e *evidence) { e.Used, e.Changes = 768*mib, 20_000 }), true, []string{"20000 writes a second", "256.0 MiB left of its 1.00 GiB"}},
		{"the same, on a quick disk", with(func(e *evidence) { e.Used, e.Changes, e.Speed = 768*mib, 20_000, float64(2*gib) }), false, []string{"about 1 s"}},
		{"writes that are not known", with(func(e *evidence) { e.Used = 768 * mib }), true, []string{"773"}},
		{"a node over its limit", with(func(e *evidence) { e.Used, e.Changes = 2*gib, 0 }), true, []string{"0 bytes left"}},
		{"a machine with little memory", with(func(e *evidence) { e.Free = 600 * mib }), true, []string{"600.0 MiB free, 512.0 MiB of which are kept"}},
		{"a machine with too little to keep", with(func(e *evidence) { e.Free, e.Changes = 100*mib, 0 }), true, nil},
		{"more promised than there is", with(func(e *evidence) { e.Free, e.Changes = -gib, 0 }), true, nil},
		{"a save that was stopped", with(func(e *evidence) { e.Stopped = "it ate too much" }), true, []string{"it ate too much"}},
		{"data on disk", with(func(e *evidence) { e.Tiered, e.Used, e.Stopped = true, gib, "it ate too much" }), false, []string{"by a fork alone"}},
	} {
		got := chooseMethod(c.e)
		if got.Forkless != c.forkless {
			t.Errorf("%s: forkless %t, because %s", c.name, got.Forkless, got.Reason)
		}
		for _, says := range c.says {
			if !strings.Contains(got.Reason, says) {
				t.Errorf("%s: %q does not say %q", c.name, got.Reason, says)
			}
		}
	}
}

// The figures are those of real saves under load, with 2.0 GiB of data in four
// million keys: what is expected must not be less than what was copied, and not
// twice as much.
func TestWhatIsExpectedIsWhatSavesCopied(t *testing.T) {
	for _, c := range []struct {
		changes, seconds float64
		copied           int64
	}{
		{20_000, 11.4, 1008 * mib},
		{10_000, 14.5, 791 * mib},
		{20_000, 14, 1029 * mib},
	} {
		e := evidence{Used: 2 * gib, Changes: c.changes, Speed: float64(2*gib) / c.seconds}
		if got := e.expected(); got < c.copied || got > 2*c.copied {
			t.Errorf("%.0f writes a second for %.1f s: %s are expected, and %s were copied", c.changes, c.seconds, size(got), size(c.copied))
		}
	}
}

func TestAForkThatIsChosenFits(t *testing.T) {
	for used := int64(0); used < 2*gib; used += 97 * mib {
		for _, changes := range []float64{-1, 0, 100, 5_000, 100_000} {
			for _, free := range []int64{0, 300 * mib, 700 * mib, 3 * gib} {
				e := evidence{Used: used, Node: 2 * gib, Free: free, Keep: 256 * mib, Changes: changes}
				c := chooseMethod(e)
				if !c.Forkless && (c.Copies > free-e.Keep || c.Copies > e.Node-used) {
					t.Errorf("%+v forks, for %s", e, size(c.Copies))
				}
				if c.Copies > e.worst() {
					t.Errorf("%+v: more than everything is expected to be copied, %s", e, size(c.Copies))
				}
			}
		}
	}
}

func TestWhatIsKeptFree(t *testing.T) {
	for total, want := range map[int64]int64{0: keepLeast, gib: keepLeast, 8 * gib: 256 * mib, 1 << 62: keepMost} {
		if got := keepFree(total); got != want {
			t.Errorf("of %s %s are kept, want %s", size(total), size(got), size(want))
		}
	}
}

func TestANodeThatGrowsHasLessRoom(t *testing.T) {
	c := chooseMethod(evidence{Used: 100 * mib, Node: gib, Free: 8 * gib, Changes: 0})
	if got := c.roomNow(&cache.Health{UsedMemory: gib - mib}); got != mib {
		t.Errorf("the node has room for %s", size(got))
	}
}
