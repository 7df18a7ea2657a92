package reconcile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

func accessOf(users ...string) *cache.Access {
	a := &cache.Access{}
	for _, u := range users {
		a.Users = append(a.Users, cache.NodeUser{Name: u, Rules: []string{"on", "nopass", "~*", "+@all"}})
	}
	return a
}

// TestPlanAccess: a node that runs is told who may log in, in whatever state it is.
func TestPlanAccess(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(v *View)
	}{
		{"nothing was changed", "", func(v *View) { v.Members[0].Settings.Access, v.Members[1].Settings.Access = nil, nil }},
		{"both are to be told", "access r/g-001, access r/g-002", func(*View) {}},
		{"one was", "access r/g-002", func(v *View) { v.Members[0].Node.Access = accessOf("a").Digest() }},
		{"it is not known", "access r/g-001", func(v *View) {
			v.Members[0].Node.Access = cache.AccessUnsure
			v.Members[1].Node.Access = accessOf("a").Digest()
		}},
		{"what was told was cut short", "access r/g-001", func(v *View) {
			v.Members[0].Node.Access, v.Members[1].Node.Access = accessOf("a").Digest(), accessOf("a").Digest()
			v.Steps["access r/g-001"] = cache.Step{State: cache.StepRunning}
		}},
		{"one is not ready", "access r/g-001, access r/g-002", func(v *View) { v.Members[0].Node.Ready = false }},
		{"one does not run", "access r/g-002", func(v *View) { v.Members[0].Node.Process = nil }},
		{"one has departed", "access r/g-001", func(v *View) { v.Members[1].Departed = true }},
		{"the group is being created", "access r/g-001, access r/g-002", func(v *View) { v.Group.Status = cache.StatusCreating }},
		{"what is told goes on", "access r/g-002", func(v *View) { v.InFlight["access r/g-001"] = true }},
		{"commands are blocked", "access r/g-002", func(v *View) {
			for i := range v.Members {
				v.Members[i].Node.Access = accessOf("a").Digest()
				v.Members[i].Parameters = map[string]string{"rename-commands": "KEYS blocked del blocked"}
			}
			v.Members[0].Node.Blocked = "del keys"
		}},
		{"commands are blocked no more", "access r/g-001", func(v *View) {
			v.Members[0].Node.Access, v.Members[1].Node.Access = accessOf("a").Digest(), accessOf("a").Digest()
			v.Members[0].Node.Blocked = "keys"
		}},
		{"everybody is let in again", "access r/g-001", func(v *View) {
			v.Members[0].Settings.Access, v.Members[1].Settings.Access = nil, nil
			v.Members[0].Node.Access = accessOf("a").Digest()
		}},
	} {
		v := parseState(t, c.name, pairThatServes)
		for i := range v.Members {
			v.Members[i].Settings.Access = accessOf("a")
		}
		c.change(&v)
		if got := planned(v, actAccess); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// access writes down who may log in to a group.
func (b *bench) access(id string, a *cache.Access) {
	b.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "r/"+id)
		if err != nil {
			return err
		}
		g.Access = a
		for _, m := range g.Members {
			if err := changeCluster(tx, "r/"+m, func(c *cache.CacheCluster) { c.Settings.Access = a }); err != nil {
				return err
			}
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
}

// knows tells whether every node that runs lets in just these, and the records know it.
func (b *bench) knows(a *cache.Access) func(w world) bool {
	return func(w world) bool {
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		for key, c := range w.clusters {
			p := b.machine.processes[key]
			if p == nil || p.spec.Access.Digest() != a.Digest() || c.Node.Access != a.Digest() {
				return false
			}
		}
		return true
	}
}

// Every node is told, loses those who are gone and no others, and it is told of once.
func TestAccessIsTold(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.run()
	b.group("g", 2, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	first, second := accessOf("default", "a", "b"), accessOf("a", "c")
	b.access("g", first)
	b.eventually("the first users", b.knows(first))
	b.access("g", second)
	b.eventually("the second users", b.knows(second))
	third := accessOf("a", "c")
	third.Users[0].ID = "somebody-else"
	b.access("g", third)
	b.eventually("the third users", b.knows(third))
	b.machine.kill("r/g-002")
	b.eventually("it is back", func(w world) bool { return b.whole(w) && b.knows(third)(w) })
	for key, want := range map[string][]string{"r/g-001": {"b", "default", "a"}, "r/g-002": nil} {
		b.machine.mu.Lock()
		if got := b.machine.processes[key].ended; !slices.Equal(got, want) {
			t.Errorf("%s: the connections of %q end, and not %q", key, got, want)
		}
		b.machine.mu.Unlock()
	}
	told := 0
	for _, e := range b.events() {
		if e == "g: All nodes know the users of replication group g" {
			told++
		}
	}
	if told != 3 {
		t.Errorf("it was told of %d times:\n%q", told, b.events())
	}
}

// Whatever is killed whenever, in the end each node lets in whom it should, and never does
// a record say so of one that does not.
func TestAccessSurvives(t *testing.T) {
	dir := t.TempDir()
	n := 0
	all := []*cache.Access{nil, accessOf("default"), accessOf("a"), accessOf("a", "b"), accessOf()}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := newBench(t, filepath.Join(dir, fmt.Sprint(n)))
		defer b.close()
		b.group("g", 2, nil)
		var last *cache.Access
		for range rapid.IntRange(1, 6).Draw(rt, "changes") {
			last = rapid.SampledFrom(all).Draw(rt, "who may log in")
			b.access("g", last)
			if key := rapid.SampledFrom([]string{"", "r/g-001", "r/g-002"}).Draw(rt, "node to kill"); key != "" {
				b.machine.kill(key)
			}
			b.cutAfter(rapid.IntRange(1, 9).Draw(rt, "calls until the cut"))
			b.honest(rt)
		}
		b.run()
		b.eventually("whole", b.whole)
		b.eventually("all know", b.knows(last))
	})
}

// honest: what the records say of nodes that run is so.
func (b *bench) honest(rt *rapid.T) {
	w := b.read()
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	for key, c := range w.clusters {
		p := b.machine.processes[key]
		_, open := w.steps["group r/g"]["access "+key]
		if p == nil || c.Node.Process == nil || p.ref != *c.Node.Process || !c.AccessTold() || open {
			continue
		}
		if p.spec.Access.Digest() != c.Settings.Access.Digest() {
			rt.Fatalf("%s is said to know who may log in, and knows others", key)
		}
	}
}

// A node that cannot be told is asked again every second, however long it takes; one
// that says no for good, more rarely.
func TestAccessIsUrgent(t *testing.T) {
	step := cache.Step{Kind: string(actAccess), Attempts: 30}
	if d := restAfter(&step); d > time.Second {
		t.Errorf("it rests for %s", d)
	}
	step.Permanent = true
	if d := restAfter(&step); d < 10*time.Second {
		t.Errorf("a node that refuses is told again after %s", d)
	}
	b := newBench(t, t.TempDir())
	defer b.close()
	b.machine.broken["grant"] = errors.New("the node does not answer")
	b.run()
	b.group("g", 2, nil)
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.access("g", accessOf("a"))
	b.eventually("it fails", func(w world) bool { return w.steps["group r/g"]["access r/g-001"].Attempts > 2 })
	b.machine.mu.Lock()
	delete(b.machine.broken, "grant")
	b.machine.mu.Unlock()
	b.eventually("all know", b.knows(accessOf("a")))
}
