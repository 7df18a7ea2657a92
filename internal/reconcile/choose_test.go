package reconcile

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/cache"
)

// replies stands for engines of which each replica says how it is; one that has no
// reply does not answer.
type replies struct {
	Engines
	health map[string]cache.Health
}

func (r replies) Probe(_ context.Context, spec cache.NodeSpec) (cache.Health, error) {
	h, ok := r.health[spec.Key]
	if !ok {
		return h, errors.New("it is busy")
	}
	return h, nil
}

func (replies) Fence(context.Context, cache.NodeSpec, *cache.Process) error { return nil }

// bereft is a group of three whose primary has just died.
func bereft(now time.Time, parameters map[string]string) *View {
	v := &View{Group: &cache.ReplicationGroup{
		Region: "r", ID: "g", Status: cache.StatusAvailable, Primary: "g-001", Members: []string{"g-001", "g-002", "g-003"},
	}}
	for i, id := range v.Group.Members {
		c := cache.CacheCluster{Region: "r", ID: id, GroupID: "g", Status: cache.StatusAvailable}
		c.Settings = cache.Settings{Engine: cache.Redis, EngineVersion: "7.0", NodeType: "cache.t3.micro", ParameterGroup: "mine", Parameters: parameters}
		c.Node.Role, c.Node.ExitedAt = cache.RolePrimary, now
		if i > 0 {
			c.Node.Role, c.Node.Ready, c.Node.Process = cache.RoleReplica, true, &cache.Process{PID: i}
		}
		v.Members = append(v.Members, c)
	}
	return v
}

func TestTheNewPrimaryIsChosenOfWhatReplicasSay(t *testing.T) {
	now := time.Now()
	inStep := cache.Health{Role: cache.RoleReplica, LinkUp: true, Offset: 100}
	stale := cache.Health{Role: cache.RoleReplica, LinkDown: time.Hour, Offset: 50}
	unlinked := cache.Health{Role: cache.RoleReplica, LinkDown: cache.NeverLinked, Offset: 50}
	logs := map[string]string{"appendonly": "yes"}
	for _, c := range []struct {
		name          string
		second, third *cache.Health
		parameters    map[string]string
		began         time.Duration
		want          string // "" for none, "?" for an error
	}{
		{name: "one of two that are in step", second: &inStep, third: &inStep, want: "g-002"},
		{name: "the one that answers and is in step", third: &inStep, want: "g-003"},
		{name: "nobody answers", want: "?"},
		{name: "a stale one does not lead while the other cannot be asked", third: &stale, began: 2 * time.Hour, want: "?"},
		{name: "nor where it is not known how stale", third: &stale, want: "?"},
		{name: "a stale one that is the only one", second: &stale, third: &stale, began: 2 * time.Hour, want: "g-002"},
		{name: "the primary's files have more", second: &stale, third: &stale, parameters: logs, began: 2 * time.Hour},
		{name: "also than those have that never followed it", second: &unlinked, third: &unlinked, parameters: logs, began: 2 * time.Hour},
		{name: "those that never followed have something at least", second: &unlinked, third: &unlinked, want: "g-002"},
	} {
		e := replies{health: map[string]cache.Health{}}
		for id, h := range map[string]*cache.Health{"r/g-002": c.second, "r/g-003": c.third} {
			if h != nil {
				e.health[id] = *h
			}
		}
		r := &Runner{Config: Config{Engines: e, Now: func() time.Time { return now }}, began: now.Add(-c.began)}
		v := bereft(now, c.parameters)
		best, err := r.chooseLeader(context.Background(), v, v.shards()[0])
		got := ""
		switch {
		case err != nil:
			got = "?"
		case best.m != nil:
			got = best.m.ID
		}
		if got != c.want {
			t.Errorf("%s: %q leads, want %q (%v)", c.name, got, c.want, err)
		}
		if best.m != nil && best.stale > 24*time.Hour {
			t.Errorf("%s: it is told to be stale by %v", c.name, best.stale)
		}
	}
}

type fencer struct {
	replies
	fenced *int
}

func (f fencer) Adopt(context.Context, cache.NodeSpec, cache.Process) (bool, error) { return true, nil }

func (f fencer) Fence(context.Context, cache.NodeSpec, *cache.Process) error { *f.fenced++; return nil }

// A test of a failover is no reason to lose what a replica does not have yet.
func TestNoPrimaryIsKilledForATestWhileItsReplicasLackData(t *testing.T) {
	for name, c := range map[string]struct {
		health map[string]cache.Health
		want   int
	}{
		"one is in step":    {map[string]cache.Health{"r/g-002": {LinkDown: time.Minute}, "r/g-003": {LinkUp: true}}, 1},
		"none has its link": {map[string]cache.Health{"r/g-002": {LinkDown: time.Minute}, "r/g-003": {LinkDown: cache.NeverLinked}}, 0},
		"none answers":      {nil, 0},
	} {
		v := bereft(time.Now(), nil)
		lead := &v.Members[0].Node
		lead.Process, lead.Ready = &cache.Process{PID: 9}, true
		v.Group.Test = &cache.FailoverTest{NodeGroupID: cache.NodeGroupID, Primary: "g-001", Process: *lead.Process}
		n := 0
		r := &Runner{Config: Config{Engines: fencer{replies{health: c.health}, &n}, Now: time.Now}}
		synctest.Test(t, func(t *testing.T) { // it waits for a link before it gives up
			if _, err := r.testFailover(t.Context(), v, v.Group.Key()); err != nil {
				t.Fatal(err)
			}
		})
		if n != c.want {
			t.Errorf("%s: the primary was killed %d times, want %d", name, n, c.want)
		}
	}
}
