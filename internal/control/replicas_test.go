package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
)

// lookedAt says how nodes are, by the end of their names.
type lookedAt map[string]cache.Health

func (l lookedAt) Probe(_ context.Context, spec cache.NodeSpec) (cache.Health, error) {
	h, ok := l[spec.Key[len(spec.Key)-3:]]
	if !ok || spec.Secret == "" || spec.Address.IsZero() {
		return h, errors.New("nobody answers")
	}
	return h, nil
}

// TestWhoLeaves: the zones stay evenly filled, and of those in one zone the one goes
// that is furthest behind, or does not answer.
func TestWhoLeaves(t *testing.T) {
	at := func(offset int64) cache.Health { return cache.Health{LinkUp: true, Offset: offset} }
	for name, c := range map[string]struct {
		zones string // of the members, the primary first
		seen  lookedAt
		keep  []string // zones that were asked for
		left  int
		want  string // the fault, or who goes
	}{
		"the fuller zone":              {zones: "abbc", left: 2, seen: lookedAt{"002": at(5), "003": at(9), "004": at(1)}, want: "002"},
		"the primary's zone is full":   {zones: "aaab", left: 2, seen: lookedAt{"002": at(5), "003": at(3), "004": at(1)}, want: "003"},
		"then evenly, by lag":          {zones: "abc", left: 1, seen: lookedAt{"002": at(5), "003": at(9)}, want: "002"},
		"silence is worse":             {zones: "abc", left: 1, seen: lookedAt{"002": at(5)}, want: "003"},
		"a link that is down, too":     {zones: "abc", left: 1, seen: lookedAt{"002": {Offset: 99}, "003": at(1)}, want: "002"},
		"nobody says anything":         {zones: "abc", left: 1, want: "003"},
		"all but one":                  {zones: "abab", left: 1, seen: lookedAt{"002": at(5), "003": at(9), "004": at(7)}, want: "002 003"},
		"all":                          {zones: "abc", left: 0, want: "002 003"},
		"zones that were asked for":    {zones: "abc", left: 1, keep: []string{"a", "c"}, seen: lookedAt{"002": at(9), "003": at(1)}, want: "002"},
		"without the primary's":        {zones: "abc", left: 1, keep: []string{"b", "c"}, want: "InvalidParameterValue"},
		"a zone where there is nobody": {zones: "abc", left: 1, keep: []string{"a", "d"}, want: "InvalidParameterValue"},
	} {
		t.Run(name, func(t *testing.T) {
			w := controltest.New(t, func(cfg *control.Config) { cfg.Nodes = c.seen })
			in := group("g", len(c.zones))
			for _, z := range c.zones {
				in.Zones = append(in.Zones, region+string(z))
			}
			if _, err := w.Control.CreateReplicationGroup(t.Context(), region, in); err != nil {
				t.Fatal(err)
			}
			if err := w.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			ask := control.ReplicaCount{Immediately: true, New: &c.left}
			if c.keep != nil {
				ask.New, ask.Shards = nil, []control.ShardReplicas{{ID: "0001", New: c.left}}
				for _, z := range c.keep {
					ask.Shards[0].Zones = append(ask.Shards[0].Zones, region+z)
				}
			}
			g, err := w.Control.DecreaseReplicaCount(t.Context(), region, "g", ask)
			var gone []string
			if err != nil {
				gone = append(gone, strings.SplitN(err.Error(), ":", 2)[0])
			} else {
				for _, k := range g.Members {
					if k.Deletion != nil {
						gone = append(gone, k.ID[2:])
					}
				}
			}
			if got := strings.Join(gone, " "); got != c.want {
				t.Errorf("%s goes, want %s (%v)", got, c.want, err)
			}
		})
	}
}

// TestReplicasNeedMemory: what the new ones would hold must be free.
func TestReplicasNeedMemory(t *testing.T) {
	w := controltest.New(t, func(cfg *control.Config) { cfg.Nodes = lookedAt{"001": {UsedMemory: 3 << 30}} })
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, group("g", 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Memory.Free = 8 << 30
	_, err := w.Control.IncreaseReplicaCount(t.Context(), region, "g", control.ReplicaCount{Immediately: true, New: new(3)})
	if !cache.IsFault(err, "InsufficientCacheClusterCapacity") || !strings.Contains(err.Error(), "9.00 GiB") || !strings.Contains(err.Error(), "8.00 GiB") {
		t.Errorf("three: %v", err)
	}
	if _, err := w.Control.IncreaseReplicaCount(t.Context(), region, "g", control.ReplicaCount{Immediately: true, New: new(2)}); err != nil {
		t.Errorf("two: %v", err)
	}
}

// TestFifteenFailoversADay counts over all groups of a region, those that are gone too.
func TestFifteenFailoversADay(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	test := func(id string, on bool) error {
		in := group(id, 2)
		in.AutomaticFailover = on
		if _, err := w.Control.CreateReplicationGroup(ctx, region, in); err != nil {
			t.Fatal(err)
		}
		if err := w.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		_, err := w.Control.TestFailover(ctx, region, id, "0001")
		if serr := w.Settle(ctx); serr != nil {
			t.Fatal(serr)
		}
		if _, derr := w.Control.DeleteReplicationGroup(ctx, region, id, ""); derr != nil {
			t.Fatal(derr)
		}
		return errors.Join(err, w.Settle(ctx))
	}
	for i := range 15 {
		if err := test(fmt.Sprint("g", i), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := test("more", true); !cache.IsFault(err, "APICallRateForCustomerExceeded") {
		t.Errorf("the sixteenth: %v", err)
	}
	if err := test("off", false); !cache.IsFault(err, "InvalidReplicationGroupState") {
		t.Errorf("without automatic failover: %v", err)
	}
	w.Pass(24*time.Hour + time.Minute)
	if err := test("later", true); err != nil {
		t.Errorf("a day later: %v", err)
	}
}
