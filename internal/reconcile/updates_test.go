package reconcile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// minorView is a group of two of Redis 7.0, available and up, in its maintenance window, of
// which redis-7.0.16 is the newest build.
func minorView(t *testing.T) View {
	v := parseState(t, t.Name(), "group\nnode 1 up ready told=primary//p\nnode 2 up ready told=replica/1/r")
	v.Newest = cache.Successor{EngineVersion: "7.0", Build: "redis-7.0.16"}
	v.Group.AutoMinorVersionUpgrade, v.Group.MaintenanceWindow = true, "thu:11:30-thu:12:30"
	v.Group.Engine, v.Group.EngineVersion = cache.Redis, "7.0"
	for i := range v.Members {
		v.Members[i].Node.Build = "redis-7.0.15"
	}
	return v
}

// TestWhenMinorsBegin: the clock stands at Thursday noon.
func TestWhenMinorsBegin(t *testing.T) {
	const begin = "minor r/g"
	for name, c := range map[string]struct {
		change func(v *View)
		want   string
	}{
		"a newer build":             {func(*View) {}, begin},
		"in one node alone":         {func(v *View) { v.Members[0].Node.Build = "redis-7.0.16" }, begin},
		"all have it":               {func(v *View) { v.Members[0].Node.Build, v.Members[1].Node.Build = "redis-7.0.16", "redis-7.0.16" }, ""},
		"a newer minor":             {func(v *View) { v.Newest = cache.Successor{EngineVersion: "7.1", Build: "redis-7.1.2"} }, begin},
		"of the same build":         {func(v *View) { v.Newest = cache.Successor{EngineVersion: "7.1", Build: "redis-7.0.15"} }, ""},
		"an older build":            {func(v *View) { v.Newest.Build = "redis-7.0.14" }, ""},
		"an older build of a minor": {func(v *View) { v.Newest = cache.Successor{EngineVersion: "7.1", Build: "redis-7.0.14"} }, ""},
		"nothing":                   {func(v *View) { v.Newest = cache.Successor{} }, ""},
		"opted out":                 {func(v *View) { v.Group.AutoMinorVersionUpgrade = false }, ""},
		"outside of the window":     {func(v *View) { v.Group.MaintenanceWindow = "fri:08:00-fri:09:00" }, "again in 20h0m0s"},
		"tried in this window":      {func(v *View) { v.Group.MinorTried = epoch.Add(-30 * time.Minute) }, "again in 167h30m0s"},
		"tried a week ago":          {func(v *View) { v.Group.MinorTried = epoch.Add(-30*time.Minute - week) }, begin},
		"something else waits":      {func(v *View) { v.Group.Pending = &cache.Pending{NodeType: "cache.t3.small"} }, ""},
		"an upgrade is under way":   {func(v *View) { v.Group.Upgrade = &cache.Upgrade{Failed: "why"} }, ""},
		"a snapshot is being made":  {func(v *View) { v.Group.Status = cache.StatusSnapshotting }, ""},
		"a node is down":            {func(v *View) { v.Members[1].Node.Process = nil }, ""},
		"Redis 5": {func(v *View) {
			v.Group.EngineVersion, v.Newest = "5.0.6", cache.Successor{EngineVersion: "5.0.6", Build: "redis-7.0.16"}
		}, ""},
		"Redis 6, which takes up no address": {func(v *View) {
			v.Group.EngineVersion, v.Newest = "6.0", cache.Successor{EngineVersion: "6.0", Build: "redis-6.0.20"}
			v.Members[0].Node.Build, v.Members[1].Node.Build = "redis-6.0.16", "redis-6.0.16"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := minorView(t)
			c.change(&v)
			var got []string
			for line := range strings.SplitSeq(decidedOn(Plan(v, epoch)), "\n") {
				if word, _, _ := strings.Cut(line, " "); word == string(actMinor) || word == "again" {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if all := strings.Join(got, "; "); all != c.want {
				t.Errorf("got %q, want %q", all, c.want)
			}
		})
	}
}

// now is a maintenance window that has begun an hour ago, and another one.
func windowNow() (inside, outside string) {
	const form = "Mon:15:04"
	at := func(d time.Duration) string { return strings.ToLower(time.Now().UTC().Add(d).Format(form)) }
	return at(-time.Hour) + "-" + at(5*time.Hour), at(24*time.Hour) + "-" + at(26*time.Hour)
}

// TestMinorsByThemselves: they go the road of every upgrade, in the window alone and without
// anybody's order, and those who fail wait for the next one.
func TestMinorsByThemselves(t *testing.T) {
	from, to := kind70, kind70
	from.Build = "redis-7.0.15"
	to.EngineVersion, to.Build = "7.1", "redis-7.1.2"
	for _, nodes := range []int{0, 2} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprint(nodes, " fails=", fails), func(t *testing.T) {
				b := upgrading(t, t.TempDir(), nodes)
				defer b.close()
				b.nameBuilds(from.Build)
				inside, outside := windowNow()
				b.autoMinor(t, outside)
				b.newest = func(engine, version string) cache.Successor {
					if engine+" "+version != "redis 7.0" {
						return cache.Successor{}
					}
					return cache.Successor{EngineVersion: to.EngineVersion, Build: to.Build}
				}
				if fails {
					b.breaks("compare", fmt.Errorf("3 keys differ: %w", cache.ErrPermanent))
				}
				b.run()
				b.autoMinor(t, inside)
				end := to
				if fails {
					end = from
					b.eventually("it was tried", func(world) bool {
						return slices.ContainsFunc(b.events(), func(e string) bool { return strings.Contains(e, "Failed to upgrade from redis 7.0 to redis 7.1") })
					})
				}
				b.eventually("it is over", b.of(end))
				b.stop()
				b.run() // the next start of the service
				b.eventually("it is over still", b.of(end))
				b.stop()
				b.wantWhole(t)
				began := 0
				for _, e := range b.events() {
					if strings.Contains(e, "AutoMinorVersionUpgrade: redis 7.1, served by the installed build redis-7.1.2, is applied") {
						began++
					}
				}
				if began != 1 {
					t.Errorf("it was begun %d times: %v", began, b.events())
				}
			})
		}
	}
}

// nameBuilds gives what serves all nodes another name.
func (b *bench) nameBuilds(build string) {
	b.update(func(tx *store.Tx) error {
		all, err := records.Clusters.List(tx, "")
		for i := range all {
			all[i].Node.Build = build
			if err == nil {
				err = records.Clusters.Put(tx, all[i].Key(), all[i])
			}
		}
		return err
	})
}

// autoMinor gives the cache a maintenance window.
func (b *bench) autoMinor(t *testing.T, window string) {
	t.Helper()
	b.update(func(tx *store.Tx) error {
		_, group, err := records.Groups.Get(tx, "r/g")
		if err != nil {
			return err
		}
		set := func(s *cache.Settings) { s.AutoMinorVersionUpgrade, s.MaintenanceWindow = true, window }
		if group {
			return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { set(&g.Settings) })
		}
		return changeCluster(tx, "r/g", func(c *cache.CacheCluster) { set(&c.Settings) })
	})
}

// stopUpdate writes down what BatchStopUpdateAction does.
func (b *bench) stopUpdate() {
	b.update(func(tx *store.Tx) error {
		stop := func(u *cache.Upgrade) {
			if u != nil && u.Failed == "" {
				u.Stopped, u.Failed = true, "stopped"
			}
		}
		_, group, err := records.Groups.Get(tx, "r/g")
		if err != nil {
			return err
		}
		if group {
			return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { stop(g.Upgrade) })
		}
		return changeCluster(tx, "r/g", func(c *cache.CacheCluster) { stop(c.Upgrade) })
	})
}

// TestAnUpdateIsStopped at each call to the outside, with the service killed or not: what has
// been replaced by then stays, all else is as before, and nothing is lost or left over.
func TestAnUpdateIsStopped(t *testing.T) {
	patch := kind70
	patch.Build = "newer"
	for _, nodes := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			dir, mixed := t.TempDir(), 0
			for at := 1; ; at++ {
				b := upgrading(t, filepath.Join(dir, fmt.Sprint(at)), nodes)
				b.noteUpdate(t, patch)
				b.upgradeTo(patch)
				b.cutAfter(at)
				before := b.builds()
				over := b.of(patch)(b.read())
				b.stopUpdate()
				b.run()
				b.eventually("it is over", b.atRest)
				b.stop()
				b.wantWhole(t)
				b.wantKept(t, before)
				if after := b.builds(); len(slices.Compact(slices.Sorted(valuesOf(after)))) == 2 {
					mixed++
					b.wantEvent("The service update to the installed build newer was stopped; ")
				}
				b.wantUpdateEnded(t, patch)
				b.close()
				if over {
					break
				}
			}
			if nodes == 3 && mixed == 0 {
				t.Error("it was never stopped halfway")
			}
		})
	}
}

func valuesOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// atRest tells whether every node serves and nothing else is left. A forwarder ends with
// the service that put it up: a step about one that was cut short may have lost its sense.
func (b *bench) atRest(w world) bool {
	for _, c := range w.clusters {
		n := &c.Node
		if !isReady(&c) || n.Next != nil || len(n.Discard) > 0 || c.Upgrade != nil || c.Status != cache.StatusAvailable || !b.machine.alive(*n.Process) {
			return false
		}
	}
	for _, g := range w.groups {
		if g.Upgrade != nil || g.Status != cache.StatusAvailable || len(g.Members) != len(w.clusters) {
			return false
		}
	}
	for _, unit := range w.steps {
		for _, s := range unit {
			if k := Kind(s.Kind); s.State != cache.StepRunning || k != actForward && k != actUnforward {
				return false
			}
		}
	}
	return true
}

// builds are those of all nodes, by id.
func (b *bench) builds() map[string]string {
	out := map[string]string{}
	for _, c := range b.read().clusters {
		if !c.StandIn {
			out[c.ID] = c.Node.Build
		}
	}
	return out
}

// wantKept wants no node that had been replaced to be what it was before.
func (b *bench) wantKept(t *testing.T, before map[string]string) {
	t.Helper()
	for id, now := range b.builds() {
		if before[id] == "newer" && now != "newer" {
			t.Errorf("%s was replaced and is %s again", id, now)
		}
	}
}

// noteUpdate makes a service update of what a cache is to become, and begins it.
func (b *bench) noteUpdate(t *testing.T, to cache.Kind) {
	t.Helper()
	b.update(func(tx *store.Tx) error {
		x := cache.ServiceUpdate{Name: "elc-1", Engine: to.Engine, EngineVersion: to.EngineVersion, Build: to.Build, Status: cache.UpdateAvailable}
		if err := records.ServiceUpdates.Put(tx, x.Name, x); err != nil {
			return err
		}
		return records.BeginUpdate(tx, b.actionIn(tx), time.Now())
	})
}

func (b *bench) actionIn(tx *store.Tx) cache.UpdateAction {
	a := cache.UpdateAction{Update: "elc-1", Region: "r", ID: "g"}
	if g, group, _ := records.Groups.Get(tx, "r/g"); group {
		a.Group, a.CacheCreatedAt = true, g.CreatedAt
	} else if c, ok, _ := records.Clusters.Get(tx, "r/g"); ok {
		a.CacheCreatedAt = c.CreatedAt
	}
	return a
}

// wantUpdateEnded wants it written down that the update is complete, or else was stopped.
func (b *bench) wantUpdateEnded(t *testing.T, to cache.Kind) {
	t.Helper()
	whole := true
	for _, build := range b.builds() {
		whole = whole && build == to.Build
	}
	b.update(func(tx *store.Tx) error {
		a, ok, err := records.FindUpdateAction(tx, b.actionIn(tx))
		if !ok || whole == a.CompletedAt.IsZero() || whole != a.StoppedAt.IsZero() {
			t.Errorf("complete: %v, and it is written down: %+v", whole, a)
		}
		return err
	})
}

// TestAnUpdateOfAClusterIsStopped: as above, in cluster mode, where a stand-in that leads
// hands back before it goes.
func TestAnUpdateOfAClusterIsStopped(t *testing.T) {
	patch := formerKind
	patch.Build = "newer"
	for _, lone := range []bool{false, true} {
		t.Run(fmt.Sprint("lone ", lone), func(t *testing.T) {
			t.Parallel()
			dir, halfway := t.TempDir(), 0
			for at := 1; ; at += 2 {
				b := newBench(t, filepath.Join(dir, fmt.Sprint(at)))
				b.cluster("g", nil)
				if lone {
					b.lone("g")
				}
				b.run()
				b.eventually("available", groupIs("g", cache.StatusAvailable))
				b.stop()
				b.noteUpdate(t, patch)
				b.patchCluster(patch)
				b.cutAfter(at)
				before := b.builds()
				over := b.allOf("newer")(b.read())
				b.stopUpdate()
				b.run()
				b.eventually(fmt.Sprintf("it is over, stopped at call %d", at), b.atRest)
				b.stop()
				b.watchLeads(t)
				b.onlyRuns(t, b.read().groups[0].Members...)
				b.wantKept(t, before)
				b.wantUpdateEnded(t, patch)
				if len(slices.Compact(slices.Sorted(valuesOf(b.builds())))) == 2 {
					halfway++
				}
				b.close()
				if over {
					break
				}
			}
			if halfway == 0 {
				t.Error("it was never stopped halfway")
			}
		})
	}
}

// patchCluster has a cluster be given another build.
func (b *bench) patchCluster(to cache.Kind) {
	b.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "r/g")
		if err != nil {
			return err
		}
		for _, id := range g.Members {
			if err := changeCluster(tx, "r/"+id, func(c *cache.CacheCluster) { c.Become(formerKind) }); err != nil {
				return err
			}
		}
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Become(formerKind)
			g.Status, g.Upgrade = cache.StatusModifying, &cache.Upgrade{From: formerKind, To: to}
		})
	})
}
