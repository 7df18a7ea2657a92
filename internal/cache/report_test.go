package cache

import (
	"testing"
	"time"
)

func TestVerdicts(t *testing.T) {
	at := time.Unix(1, 0)
	held := func(n int64) *NodeFigures { return &NodeFigures{Primary: true, CurrItems: n} }
	report := func(change func(*UpgradeReport, *NodeReport)) UpgradeReport {
		r := UpgradeReport{EndedAt: at, Compared: 100, Nodes: []NodeReport{
			{ID: "a", Before: held(100), During: held(100), After: held(100), Replaced: true},
			// What a replica holds is there once already.
			{ID: "b", Before: &NodeFigures{CurrItems: 100}, After: &NodeFigures{CurrItems: 40}},
		}}
		change(&r, &r.Nodes[0])
		return r
	}
	for _, test := range []struct {
		name   string
		change func(*UpgradeReport, *NodeReport)
		want   Verdict
	}{
		{"all is well", func(*UpgradeReport, *NodeReport) {}, Verdict{OutcomeNoLoss, "no data lost: 100 keys were compared, none differs"}},
		{"it goes on", func(r *UpgradeReport, _ *NodeReport) { r.EndedAt = time.Time{} }, Verdict{OutcomeUnderWay, "under way"}},
		{"nothing is replaced", func(r *UpgradeReport, n *NodeReport) { r.Compared, n.Replaced = 0, false }, Verdict{OutcomeNoLoss, "no data lost: no node was replaced"}},
		{"nothing is compared", func(r *UpgradeReport, _ *NodeReport) { r.Compared = 0 }, Verdict{OutcomeUnknown, "not proved: nodes were replaced and no keys were compared"}},
		{"nothing to compare", func(r *UpgradeReport, n *NodeReport) { r.Compared, n.Before, n.After = 0, held(0), held(0) }, Verdict{OutcomeNoLoss, "no data lost: 0 keys were compared, none differs"}},
		{"evictions", func(_ *UpgradeReport, n *NodeReport) { n.During.Evictions = 3 }, Verdict{OutcomePossible, "possible loss: 3 keys were evicted meanwhile"}},
		{"evictions just after", func(_ *UpgradeReport, n *NodeReport) { n.After.Evictions = 1 }, Verdict{OutcomePossible, "possible loss: 1 key was evicted meanwhile"}},
		{"keys expire", func(_ *UpgradeReport, n *NodeReport) { n.During.Reclaimed, n.After = 10, held(90) }, Verdict{OutcomeNoLoss, "no data lost: 100 keys were compared, none differs; 10 keys expired meanwhile"}},
		{"items are missing", func(_ *UpgradeReport, n *NodeReport) { n.During.Reclaimed, n.After = 4, held(90) }, Verdict{OutcomePossible, "possible loss: 10 items fewer than before, of which 4 expired and none was taken away by a client"}},
		{"clients delete", func(_ *UpgradeReport, n *NodeReport) { n.During.Removals, n.After = 2, held(98) }, Verdict{OutcomeNoLoss, "no data lost: 100 keys were compared, none differs; 2 items fewer than before, where clients gave 2 commands that take keys away"}},
		{"it was not seen", func(_ *UpgradeReport, n *NodeReport) { n.Before = nil }, Verdict{OutcomeUnknown, "not known: the nodes were not seen before it began"}},
		{"nobody looked", func(r *UpgradeReport, _ *NodeReport) { r.Nodes = nil }, Verdict{OutcomeUnknown, "not known: the nodes were not seen before it began"}},
		{"it does not answer afterwards", func(_ *UpgradeReport, n *NodeReport) { n.After = nil }, Verdict{OutcomeUnknown, "not known: a node could not be asked afterwards"}},
		{"a stand-in has gone", func(r *UpgradeReport, _ *NodeReport) {
			r.Nodes = append(r.Nodes, NodeReport{ID: "s", New: true, During: held(100)})
		}, Verdict{OutcomeNoLoss, "no data lost: 100 keys were compared, none differs"}},
		{"it was given up", func(r *UpgradeReport, n *NodeReport) { r.Failed, n.Replaced, r.Compared = "no room", false, 0 }, Verdict{OutcomeNoLoss, "given up (no room); no data lost: no node was replaced"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := report(test.change)
			if got := r.Judge(); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
