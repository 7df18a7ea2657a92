package reconcile

import (
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

// TestPlanUpgrade: a state as in testdata/plan, what is different in it, and the actions that
// concern the replacement of nodes.
func TestPlanUpgrade(t *testing.T) {
	const pair = "group\nnode 1 up ready told=primary//p\nnode 2 up ready told=replica/1/r"
	for _, c := range []struct {
		name, state string
		with        func(v *View)
		want        string
	}{
		{"replicas are first", pair, nil, "prepare r/g-002"},
		{"one that was launched has to catch up", pair, next(1, cache.Node{Process: &cache.Process{PID: 7}}), "catch-up r/g-002"},
		{"then it is compared", pair, next(1, cache.Node{Process: &cache.Process{PID: 7}, Ready: true}), "compare r/g-002"},
		{"then it takes over", pair, next(1, inStepNext), "take-over r/g-002"},
		{
			"not from under a snapshot", pair + "\nsnapshot s status=creating\nflying snapshot r/s",
			next(1, inStepNext), "",
		},
		{"a primary that comes later is followed", pair, func(v *View) {
			next(1, inStepNext)(v)
			v.Members[1].Node.Next.Primary = nodeAddress("9")
		}, "catch-up r/g-002"},
		{
			"a dead replica is what it is to be when it is started", strings.ReplaceAll(pair, "node 2 up ready", "node 2"), nil, "convert r/g-002",
		},
		{
			"unless its replacement is there", strings.ReplaceAll(pair, "node 2 up ready", "node 2"),
			next(1, inStepNext), "take-over r/g-002",
		},
		{
			"a primary that was about to hand over is not started, and no replica leads", strings.ReplaceAll(pair, "node 1 up ready", "node 1"),
			func(v *View) {
				next(0, inStepNext)(v)
				v.Members[0].Node.Next.TakingOver = true
			}, "take-over r/g-001",
		},
		{
			"nor one whose replacement has died since", strings.ReplaceAll(pair, "node 1 up ready", "node 1"),
			next(0, cache.Node{TakingOver: true}), "take-over r/g-001",
		},
		{
			"a primary that dies otherwise has the replicas and its replacement asked", strings.ReplaceAll(pair, "node 1 up ready", "node 1"),
			next(0, inStepNext), "promote r/g",
		},
		{
			"one that stands alone is succeeded", "group\nnode 1 told=primary//p,r", next(0, inStepNext), "take-over r/g-001",
		},
		{
			"one whose replacement has nothing is started", "group\nnode 1 told=primary//p,r",
			next(0, cache.Node{Process: &cache.Process{PID: 7}}), "start r/g-001",
		},
		{
			"no primary comes up empty while a replica's replacement has the data",
			strings.NewReplacer("node 1 up ready", "node 1", "node 2 up ready", "node 2").Replace(pair), next(1, inStepNext), "take-over r/g-002",
		},
		{"a failure takes back what was on its way", pair, func(v *View) {
			next(1, inStepNext)(v)
			v.Group.Upgrade.Failed = "it differs"
		}, "revert r/g-002"},
		{"and what came", strings.ReplaceAll(pair, "node 2", "node 2 build=newer"), func(v *View) {
			v.Group.Upgrade.Failed = "it differs"
		}, "revert r/g-002"},
		{"a snapshot comes first", pair + "\nsnapshot s status=creating\nflying snapshot r/s", func(v *View) {
			v.Group.Upgrade.Snapshot = "s"
		}, ""},
		{"without one nothing begins", pair + "\nsnapshot s status=failed", func(v *View) {
			v.Group.Upgrade.Snapshot = "s"
		}, "stop-short r/g"},
		{"a step that fails for good ends it", pair + "\nstep prepare r/g-002 attempts=1 permanent error=no", nil, "stop-short r/g"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := parseState(t, c.name, c.state)
			v.CanRebind["newer"] = true
			v.Group.Status = cache.StatusModifying
			v.Group.Upgrade = &cache.Upgrade{To: cache.Kind{EngineVersion: "9.1", Build: "newer"}}
			if c.with != nil {
				c.with(&v)
			}
			var got []string
			for _, a := range Plan(v, epoch).Do {
				if !slices.Contains([]Kind{actForward, actUnforward, actConfigure, actReady}, a.Kind) {
					got = append(got, a.ID())
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("planned are %q and should be %q", s, c.want)
			}
		})
	}
}

// inStepNext is a replacement that may take over.
var inStepNext = cache.Node{Process: &cache.Process{PID: 7}, Ready: true, Compared: true, Primary: cache.Address{Host: "n1", Port: 6379}}

// next gives a member a replacement, of the primary.
func next(member int, n cache.Node) func(v *View) {
	return func(v *View) {
		n.Generation, n.Build, n.Primary = 1, "newer", nodeAddress("1")
		n.Becomes = &v.Group.Upgrade.To
		v.Members[member].Node.Next = &n
	}
}

// TestAnotherBuildOfTheSameVersionIsAsGood: a replica that dies stays what it was, unless it
// is of another version than its primary.
func TestAnotherBuildOfTheSameVersionIsAsGood(t *testing.T) {
	for version, want := range map[string]Kind{"8.1": actStart, "7.0": actConvert} {
		v := parseState(t, "", "group\nnode 1 up ready build=newer told=primary//p\nnode 2 told=replica/1/r")
		v.Members[0].EngineVersion, v.Members[1].EngineVersion = "8.1", version
		d := Plan(v, epoch)
		if !slices.ContainsFunc(d.Do, func(a Action) bool { return a.Kind == want && a.Target == "r/g-002" }) {
			t.Errorf("%s: planned are %v and should be %s", version, d.Do, want)
		}
	}
}
