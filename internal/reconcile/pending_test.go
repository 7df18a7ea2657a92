package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// of is what a decision says about what is pending.
func ofPending(d Decision) string {
	var out []string
	for line := range strings.SplitSeq(decidedOn(d), "\n") {
		word, _, _ := strings.Cut(line, " ")
		if word == string(actBegin) || word == string(actHasten) || word == "again" {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// TestWhenPendingBegins plans a group of two that is available and up, with a change of
// the node type pending; the clock stands at Thursday noon.
func TestWhenPendingBegins(t *testing.T) {
	const begin = "begin r/g"
	for name, c := range map[string]struct {
		change func(v *View)
		want   string
	}{
		"outside of the window":    {func(*View) {}, "again in 20h0m0s"},
		"inside":                   {func(v *View) { v.Group.MaintenanceWindow = "thu:11:30-thu:12:30" }, begin},
		"at its end":               {func(v *View) { v.Group.MaintenanceWindow = "thu:11:00-thu:12:00" }, "again in 167h0m0s"},
		"no window":                {func(v *View) { v.Group.MaintenanceWindow = "" }, ""},
		"not to wait":              {func(v *View) { v.Group.Pending.Now, v.Group.Status = true, cache.StatusModifying }, begin},
		"nothing":                  {func(v *View) { v.Group.Pending = nil }, ""},
		"an upgrade is under way":  {func(v *View) { v.Group.Pending.Now, v.Group.Upgrade = true, &cache.Upgrade{} }, ""},
		"a snapshot is being made": {func(v *View) { v.Group.Pending.Now, v.Group.Status = true, cache.StatusSnapshotting }, ""},
		"members change":           {func(v *View) { v.Group.Pending.Now, v.Group.Change = true, &cache.MemberChange{} }, ""},
		"TLS is turned on": {func(v *View) {
			v.Group.Pending.Now, v.Group.Status, v.Group.TransitChange = true, cache.StatusModifying, &cache.TransitChange{}
		}, ""},
		"a node is rebooted": {func(v *View) { v.Group.Pending.Now, v.Members[0].Reboot = true, &cache.Reboot{} }, ""},
		"a node fails":       {func(v *View) { v.Members[1].Node.Recovering = true }, "hasten r/g"},
		"it is still away":   {func(v *View) { v.Group.Pending.Now, v.Members[1].Node.Process = true, nil }, ""},
		"a node is not told": {func(v *View) { v.Group.Pending.Now = true; v.Steps["configure r/g-002"] = cache.Step{} }, ""},
		"a node never comes back": {func(v *View) {
			v.Group.Pending.Now, v.Group.Status = true, cache.StatusModifying
			v.Members[1].Node.Process = nil
			v.Steps["start r/g-002"] = cache.Step{ID: "start r/g-002", State: cache.StepFailed, Attempts: 9, Error: "no such engine"}
		}, `begin r/g because "g-002 does not come up: no such engine"`},
	} {
		t.Run(name, func(t *testing.T) {
			v := parseState(t, name, "group\nnode 1 up ready told=primary//p\nnode 2 up ready told=replica/1/r")
			v.Group.MaintenanceWindow, v.Group.Pending = "fri:08:00-fri:09:00", &cache.Pending{NodeType: "cache.t3.small"}
			c.change(&v)
			if got := ofPending(Plan(v, epoch)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	// The same holds for a cluster that stands alone.
	v := parseState(t, "alone", "node 1 up ready told=primary//")
	v.Members[0].MaintenanceWindow, v.Members[0].Pending = "thu:11:30-thu:12:30", &cache.Pending{NodeType: "cache.t3.small"}
	if got := ofPending(Plan(v, epoch)); got != "begin r/g-001" {
		t.Errorf("alone: %q", got)
	}
}

// small is what the groups of these tests are at first.
func small() cache.Kind {
	return cache.Kind{Engine: cache.Redis, EngineVersion: "7.0", NodeType: "cache.t3.small", ParameterGroup: "default.redis7", Build: "new"}
}

// sized makes a group, or one in cluster mode, of these nodes, and waits until it serves.
func sized(t *testing.T, clustered bool) *bench {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	k := small()
	if clustered {
		b.cluster("g", nil)
		k.ParameterGroup = "default.redis7.cluster.on"
	} else {
		b.group("g", 2, nil)
	}
	b.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "r/g")
		if err != nil {
			return err
		}
		g.Become(k)
		for _, id := range g.Members {
			if err := changeCluster(tx, "r/"+id, func(c *cache.CacheCluster) { c.Become(k) }); err != nil {
				return err
			}
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	return b
}

// ask writes down what is pending, as control does.
func (b *bench) ask(p cache.Pending) {
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Pending = &p
			if p.Now {
				g.Status = cache.StatusModifying
			}
		})
	})
}

// settledAs tells whether a group is at rest with nothing pending, it and all of its
// nodes of a node type.
func (b *bench) settledAs(nodeType string) func(world) bool {
	return func(w world) bool {
		g := w.groups[0]
		if g.Status != cache.StatusAvailable || g.Upgrade != nil || g.Pending != nil || g.NodeType != nodeType {
			return false
		}
		for _, c := range w.clusters {
			if c.NodeType != nodeType || !isReady(&c) {
				return false
			}
		}
		return true
	}
}

// limitsAre tells of which nodes the engines have another limit than that of a node type.
func (b *bench) limitsAre(t *testing.T, nodeType string) {
	t.Helper()
	k := small()
	k.NodeType = nodeType
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	for key, p := range b.machine.processes {
		if p.spec.MaxMemory != k.Holds() {
			t.Errorf("%s holds %d, and is to hold %d", key, p.spec.MaxMemory, k.Holds())
		}
		if p.held {
			t.Errorf("%s takes no writes", key)
		}
		if b.machine.starts[key] != 1 {
			t.Errorf("%s was started %d times", key, b.machine.starts[key])
		}
	}
}

func (b *bench) eventsOf(id string) []string {
	var out []string
	for _, e := range b.events() {
		if rest, ok := strings.CutPrefix(e, id+": "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// In the window of a group that is served the change begins by itself.
func TestTheMaintenanceWindowBeginsWhatIsPending(t *testing.T) {
	b := sized(t, false)
	b.ask(cache.Pending{NodeType: "cache.t3.medium"})
	at := func(d time.Duration) string {
		return strings.ToLower(time.Now().UTC().Add(d).Format("Mon:15:04"))
	}
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.MaintenanceWindow = at(-time.Hour) + "-" + at(time.Hour) })
	})
	b.eventually("resized", b.settledAs("cache.t3.medium"))
	b.limitsAre(t, "cache.t3.medium")
	b.wantEvent("g: Applying modification to cache node type cache.t3.medium")
}

// A node that failed has the change begin as soon as it is back.
func TestAFailureHastensWhatIsPending(t *testing.T) {
	b := sized(t, false)
	b.ask(cache.Pending{NodeType: "cache.t3.medium"})
	b.machine.kill("r/g-002")
	b.eventually("resized", b.settledAs("cache.t3.medium"))
	b.wantEvent("because a node failed")
}

// What is too large by the time that it begins is dropped, with both figures.
func TestPendingThatDoesNotFitIsDropped(t *testing.T) {
	b := sized(t, false)
	b.machine.mu.Lock()
	b.machine.used = 700 << 20
	b.machine.mu.Unlock()
	b.ask(cache.Pending{NodeType: "cache.t3.micro", Now: true})
	b.eventually("dropped", b.settledAs("cache.t3.small"))
	b.limitsAre(t, "cache.t3.small")
	for _, id := range []string{"g", "g-001", "g-002"} {
		if !slices.Contains(b.eventsOf(id), "Failed applying modification to cache node type to cache.t3.micro.") {
			t.Errorf("%s: %q", id, b.eventsOf(id))
		}
	}
	b.wantEvent("nothing is changed: the data of g-001 take 700.0 MiB of memory and a node of type cache.t3.micro holds 384.0 MiB")
}

// Rules that held when it was asked for are applied to how things are now.
func TestPendingIsCheckedAgain(t *testing.T) {
	b := sized(t, false)
	b.update(func(tx *store.Tx) error {
		own := cache.ParameterGroup{Region: "r", Name: "mine", Family: "redis7"}
		if err := records.ParameterGroups.Put(tx, own.Key(), own); err != nil {
			return err
		}
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.ParameterGroup = "mine" })
	})
	b.ask(cache.Pending{Engine: cache.Valkey, EngineVersion: "8.1", Build: "new", Now: true})
	b.eventually("dropped", b.settledAs("cache.t3.small"))
	b.wantEvent("valkey 8.1 needs a CacheParameterGroupName of the family valkey8")
}

// Before an engine is replaced a snapshot is taken, unless a tag says no.
func TestASnapshotComesFirst(t *testing.T) {
	for _, c := range []struct {
		tags  []cache.Tag
		taken bool
	}{{nil, true}, {[]cache.Tag{{Key: records.NoSnapshotTag, Value: "no"}}, false}} {
		b := sized(t, false)
		b.update(func(tx *store.Tx) error {
			return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Tags = c.tags })
		})
		b.ask(cache.Pending{Engine: cache.Redis, EngineVersion: "7.1", Build: "new-2", Now: true})
		b.eventually("begun", func(world) bool {
			return slices.Contains(b.eventsOf("g"), "Applying modification to engine version redis 7.1")
		})
		b.eventually("over", groupIs("g", cache.StatusAvailable))
		var names []string
		for _, s := range b.read().snapshots {
			names = append(names, s.Name)
			if s.Status != cache.StatusAvailable || s.Source != cache.SourceManual || s.EngineVersion != "7.0" || s.Pending != nil {
				t.Errorf("got %+v", s)
			}
		}
		if taken := len(names) == 1 && strings.HasPrefix(names[0], "g-pre-upgrade-20"); taken != c.taken || len(names) > 1 {
			t.Errorf("with tags %v: %q", c.tags, names)
		}
	}
}
