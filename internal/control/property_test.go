package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const region = "us-east-1"

// everything is all that is in the store.
type everything struct {
	groups    []cache.ReplicationGroup
	clusters  []cache.CacheCluster
	snapshots []cache.Snapshot
	claims    []records.AddressClaim
}

func readAll(t rapidOrTest, db *store.DB) *everything {
	a := &everything{}
	err := db.View(context.Background(), func(tx *store.Tx) error {
		var errs [4]error
		a.groups, errs[0] = records.Groups.List(tx, "")
		a.clusters, errs[1] = records.Clusters.List(tx, "")
		a.snapshots, errs[2] = records.Snapshots.List(tx, "")
		a.claims, errs[3] = records.Addresses.List(tx, "")
		return errors.Join(errs[:]...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type rapidOrTest interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// checkInvariants holds the store against what the package promises.
func checkInvariants(t rapidOrTest, w *controltest.World, ownHost bool) {
	a := readAll(t, w.DB)
	clusters := map[string]cache.CacheCluster{}
	for _, k := range a.clusters {
		clusters[k.Key()] = k
	}
	want := map[cache.Address]string{}
	add := func(at cache.Address, owner string) {
		if other, taken := want[at]; taken {
			t.Fatalf("%v belongs to %s and to %s", at, other, owner)
		}
		want[at] = owner
	}
	listed := map[string]bool{}
	for _, g := range a.groups {
		if len(g.Members) == 0 || !slices.Contains(g.Members, g.Primary) {
			t.Fatalf("group %s has members %v and primary %q", g.ID, g.Members, g.Primary)
		}
		if (g.SnapshotRetention > 0) != (g.SnapshottingCluster != "") {
			t.Fatalf("group %s keeps backups for %d days and takes them of %q", g.ID, g.SnapshotRetention, g.SnapshottingCluster)
		}
		begins := g.Pending != nil && g.Pending.Now
		if (g.Change != nil || begins) != (g.Status == cache.StatusModifying) || len(g.Members) > 6 {
			t.Fatalf("group %s with %d members has status %s and change %v", g.ID, len(g.Members), g.Status, g.Change)
		}
		if g.SnapshotRetention > 0 && g.Change == nil && !slices.Contains(g.Members, g.SnapshottingCluster) {
			t.Fatalf("backups of group %s are taken of %s, which has gone", g.ID, g.SnapshottingCluster)
		}
		if p := g.Pending; p != nil {
			to := cache.Kind{Engine: p.Engine, EngineVersion: p.EngineVersion}
			if p.Empty() || p.NodeType == g.NodeType || p.EngineVersion != "" && cache.CheckUpgrade(g.Kind(""), to, nil, false) != nil {
				t.Fatalf("of group %s, which is %+v, there waits %+v", g.ID, g.Kind(""), p)
			}
		}
		add(g.PrimaryEndpoint, records.GroupOwner(g.Key()))
		add(g.ReaderEndpoint, records.GroupOwner(g.Key()))
		for _, id := range g.Members {
			k, ok := clusters[cache.Key(g.Region, id)]
			if !ok || k.GroupID != g.ID {
				t.Fatalf("group %s lists %s, which is %+v", g.ID, id, k)
			}
			if !k.Kind("").Same(g.Kind("")) || k.Node.Build != clusters[cache.Key(g.Region, g.Members[0])].Node.Build {
				t.Fatalf("group %s is %+v, and member %s is %+v", g.ID, g.Kind(""), id, k.Kind(k.Node.Build))
			}
			if k.SnapshotRetention != g.SnapshotRetention || k.SnapshotWindow != g.SnapshotWindow {
				t.Fatalf("group %s and member %s have other backups", g.ID, id)
			}
			if g.Deletion != nil && k.Deletion == nil || g.Deletion == nil && k.Deletion != nil && g.Change == nil {
				t.Fatalf("group %s and member %s do not go together", g.ID, id)
			}
			if g.Leads(id) && g.Deletion == nil && k.Deletion != nil {
				t.Fatalf("the primary %s is to go", id)
			}
			listed[k.Key()] = true
		}
	}
	for key, k := range clusters {
		if (k.GroupID != "") != listed[key] {
			t.Fatalf("cluster %s says group %q, listed: %v", key, k.GroupID, listed[key])
		}
		add(k.Node.Address, records.ClusterOwner(key))
	}
	checkClaims(t, a.claims, want, ownHost)
	checkSnapshots(t, a)
}

func checkClaims(t rapidOrTest, claims []records.AddressClaim, want map[cache.Address]string, ownHost bool) {
	hosts := map[string]bool{}
	for _, c := range claims {
		if want[c.Address] != c.Owner {
			t.Fatalf("%v is claimed by %q and held by %q", c.Address, c.Owner, want[c.Address])
		}
		if ownHost && hosts[c.Address.Host] {
			t.Fatalf("host %s is given twice", c.Address.Host)
		}
		hosts[c.Address.Host] = true
	}
	if len(claims) != len(want) {
		t.Fatalf("%d addresses are claimed, %d are held", len(claims), len(want))
	}
}

func checkSnapshots(t rapidOrTest, a *everything) {
	restores := map[string]string{} // cache → snapshot, for those still being created
	for _, g := range a.groups {
		if g.Seed != nil && g.Seed.SnapshotName != "" && g.Status == cache.StatusCreating {
			restores[g.Key()] = g.Seed.SnapshotName
		}
	}
	for _, k := range a.clusters {
		if k.Seed != nil && k.Seed.SnapshotName != "" && k.Status == cache.StatusCreating {
			restores[k.Key()] = k.Seed.SnapshotName
		}
	}
	n := 0
	for _, s := range a.snapshots {
		if (len(s.Restores) > 0) != (s.Status == cache.StatusRestoring) {
			t.Fatalf("snapshot %s has status %s and restores %v", s.Name, s.Status, s.Restores)
		}
		for _, key := range s.Restores {
			if restores[key] != s.Name {
				t.Fatalf("snapshot %s is kept for %s, which wants %q", s.Name, key, restores[key])
			}
			n++
		}
	}
	if n != len(restores) {
		t.Fatalf("%d caches are being restored, %d of them marked", len(restores), n)
	}
}

// actor does random things. Every refusal must be a fault.
type actor struct {
	rt *rapid.T
	w  *controltest.World
}

func (a *actor) id(kind string, n int) string {
	return fmt.Sprintf("%s%d", kind, rapid.IntRange(1, n).Draw(a.rt, kind))
}

func (a *actor) check(err error) {
	var f *cache.Fault
	if err != nil && !errors.As(err, &f) {
		a.rt.Fatalf("not a fault: %v", err)
	}
}

func (a *actor) seed() string {
	if rapid.Bool().Draw(a.rt, "seeded") {
		return a.id("s", 4)
	}
	return ""
}

func (a *actor) actions() map[string]func(*rapid.T) {
	ctx, c := context.Background(), a.w.Control
	port := func() *int { return new(rapid.SampledFrom([]int{6379, 7000}).Draw(a.rt, "port")) }
	final := func() string {
		if rapid.Bool().Draw(a.rt, "final") {
			return a.id("s", 4)
		}
		return ""
	}
	return map[string]func(*rapid.T){
		"create group": func(*rapid.T) {
			_, err := c.CreateReplicationGroup(ctx, region, control.NewGroup{
				ID: a.id("g", 4), Nodes: new(rapid.IntRange(1, 4).Draw(a.rt, "nodes")),
				Asked: control.Asked{
					Engine: "valkey", NodeType: "cache.t3.micro", Port: port(), SnapshotName: a.seed(),
					EngineVersion: rapid.SampledFrom([]string{"", "7.2"}).Draw(a.rt, "version"),
				},
			})
			a.check(err)
		},
		"create cluster": func(*rapid.T) {
			_, err := c.CreateCacheCluster(ctx, region, control.NewCluster{
				ID:    rapid.SampledFrom([]string{"c1", "c2", "g1-002", "g2-001"}).Draw(a.rt, "cluster"),
				Asked: control.Asked{Engine: "valkey", NodeType: "cache.t3.micro", Port: port(), SnapshotName: a.seed()},
			})
			a.check(err)
		},
		"delete group": func(*rapid.T) {
			_, err := c.DeleteReplicationGroup(ctx, region, a.id("g", 4), final())
			a.check(err)
		},
		"delete cluster": func(*rapid.T) {
			id := rapid.SampledFrom([]string{"c1", "c2", "g1-001", "g1-002", "g2-001"}).Draw(a.rt, "cluster")
			_, err := c.DeleteCacheCluster(ctx, region, id, final())
			a.check(err)
		},
		"modify": func(*rapid.T) {
			change := control.Change{SnapshotRetention: new(rapid.IntRange(0, 3).Draw(a.rt, "days"))}
			if rapid.Bool().Draw(a.rt, "window") {
				change.SnapshotWindow = rapid.SampledFrom([]string{"01:00-02:00", "12:00-13:00"}).Draw(a.rt, "when")
			}
			if rapid.Bool().Draw(a.rt, "alone") {
				_, err := c.ModifyCacheCluster(ctx, region, rapid.SampledFrom([]string{"c1", "g1-001"}).Draw(a.rt, "cluster"), change)
				a.check(err)
				return
			}
			id := a.id("g", 4)
			_, err := c.ModifyReplicationGroup(ctx, region, id, control.GroupChange{Change: change, SnapshottingCluster: id + "-001"})
			a.check(err)
		},
		"add replicas": func(*rapid.T) {
			n := rapid.IntRange(0, 5).Draw(a.rt, "replicas")
			_, err := c.IncreaseReplicaCount(ctx, region, a.id("g", 4), control.ReplicaCount{Immediately: true, New: &n})
			a.check(err)
		},
		"remove replicas": func(*rapid.T) {
			n := rapid.IntRange(0, 3).Draw(a.rt, "replicas")
			_, err := c.DecreaseReplicaCount(ctx, region, a.id("g", 4), control.ReplicaCount{Immediately: true, New: &n})
			a.check(err)
		},
		"add a replica": func(*rapid.T) {
			_, err := c.CreateCacheCluster(ctx, region, control.NewCluster{
				ID: rapid.SampledFrom([]string{"c1", "r1", "g1-002"}).Draw(a.rt, "cluster"), GroupID: a.id("g", 4),
			})
			a.check(err)
		},
		"upgrade": func(*rapid.T) {
			to := control.Same{
				Engine:        rapid.SampledFrom([]string{"", cache.Redis, cache.Valkey}).Draw(a.rt, "engine"),
				EngineVersion: rapid.SampledFrom([]string{"", "6.2", "7.0", "7.1", "7.2", "8.1"}).Draw(a.rt, "version"),
				NodeType:      rapid.SampledFrom([]string{"", "cache.t3.micro", "cache.t3.small", "cache.m6g.large"}).Draw(a.rt, "node type"),
			}
			change := control.Change{Same: to, Immediately: rapid.Bool().Draw(a.rt, "immediately")}
			_, err := c.ModifyReplicationGroup(ctx, region, a.id("g", 4), control.GroupChange{Change: change})
			a.check(err)
		},
		"hand over": func(*rapid.T) {
			id := a.id("g", 4)
			_, err := c.ModifyReplicationGroup(ctx, region, id, control.GroupChange{
				PrimaryCluster: id + rapid.SampledFrom([]string{"-001", "-002"}).Draw(a.rt, "member"), Change: control.Change{Immediately: true},
				AutomaticFailover: new(rapid.Bool().Draw(a.rt, "failover")),
			})
			a.check(err)
		},
		"snapshot": func(*rapid.T) {
			in := control.NewSnapshot{Name: a.id("s", 4), GroupID: a.id("g", 4)}
			if rapid.Bool().Draw(a.rt, "of cluster") {
				in.GroupID, in.ClusterID = "", rapid.SampledFrom([]string{"c1", "g1-001", "g2-002"}).Draw(a.rt, "cluster")
			}
			_, err := c.CreateSnapshot(ctx, region, in)
			a.check(err)
		},
		"copy": func(*rapid.T) {
			in := control.SnapshotCopy{Source: a.id("s", 4), Target: a.id("s", 4)}
			if rapid.Bool().Draw(a.rt, "export") {
				in.Bucket = "here"
			}
			_, err := c.CopySnapshot(ctx, region, in)
			a.check(err)
		},
		"delete snapshot": func(*rapid.T) {
			_, err := c.DeleteSnapshot(ctx, region, a.id("s", 4))
			a.check(err)
		},
		"settle": func(*rapid.T) {
			if err := a.w.Settle(ctx); err != nil {
				a.rt.Fatal(err)
			}
		},
		"pass": func(*rapid.T) { a.w.Pass(time.Hour) },
	}
}

func TestRandomSequences(t *testing.T) {
	for name, ownHost := range map[string]bool{"a host each": true, "a port each": false} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := controltest.New(t, func(c *control.Config) { c.Addresses.Range = ownHost })
				w.Buckets.Add("here", region, nil)
				for i := range 3 { // some addresses are somebody else's
					w.Taken[cache.Address{Host: "127.77.0." + fmt.Sprint(2+3*i), Port: 6379}] = true
					w.Taken[cache.Address{Host: "127.0.0.1", Port: 16379 + 2*i}] = true
				}
				a := &actor{rt, w}
				actions := a.actions()
				actions[""] = func(*rapid.T) { checkInvariants(rt, w, ownHost) }
				rt.Repeat(actions)
				a.empty()
			})
		})
	}
}

// empty deletes everything and looks for what is left.
func (a *actor) empty() {
	ctx, c := context.Background(), a.w.Control
	settle := func() {
		if err := a.w.Settle(ctx); err != nil {
			a.rt.Fatal(err)
		}
	}
	settle()
	all := readAll(a.rt, a.w.DB)
	for _, g := range all.groups {
		if _, err := c.DeleteReplicationGroup(ctx, region, g.ID, ""); err != nil {
			a.rt.Fatal(err)
		}
	}
	for _, k := range all.clusters {
		if k.GroupID == "" {
			if _, err := c.DeleteCacheCluster(ctx, region, k.ID, ""); err != nil {
				a.rt.Fatal(err)
			}
		}
	}
	for _, s := range all.snapshots {
		if _, err := c.DeleteSnapshot(ctx, region, s.Name); err != nil {
			a.rt.Fatal(err)
		}
	}
	settle()
	if left := readAll(a.rt, a.w.DB); len(left.groups)+len(left.clusters)+len(left.snapshots)+len(left.claims) != 0 {
		a.rt.Fatalf("left over: %+v", left)
	}
}
