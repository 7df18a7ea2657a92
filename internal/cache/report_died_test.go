package cache

import (
	"strings"
	"testing"
	"time"
)

// TestADeadPrimaryProvesNothing: writes that it acknowledged last may not have reached anybody.
func TestADeadPrimaryProvesNothing(t *testing.T) {
	lead := &NodeFigures{Primary: true, CurrItems: 10}
	r := UpgradeReport{
		EndedAt: time.Unix(1, 0), Compared: 10, Died: 1,
		Nodes: []NodeReport{{ID: "g", Before: lead, After: lead, Replaced: true}},
	}
	if v := r.Judge(); v.Outcome != OutcomeUnknown || !strings.Contains(v.Text, "ended by itself") {
		t.Errorf("%+v", v)
	}
	r.Died = 0
	if v := r.Judge(); v.Outcome != OutcomeNoLoss {
		t.Errorf("%+v", v)
	}
}
