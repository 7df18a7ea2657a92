package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// owing is a group of two nodes that owes the backup of a window that is open at epoch.
func owing() View {
	g := &cache.ReplicationGroup{
		Region: "r", ID: "g", Status: cache.StatusAvailable, Primary: "g-001", Members: []string{"g-001", "g-002"},
		SnapshottingCluster: "g-002", CreatedAt: epoch.AddDate(0, -1, 0),
		Settings: cache.Settings{SnapshotRetention: 3, SnapshotWindow: "08:00-16:00"},
	}
	v := View{Group: g, Steps: map[string]cache.Step{}, InFlight: map[string]bool{}}
	for _, id := range g.Members {
		k := cache.CacheCluster{Region: "r", ID: id, GroupID: "g", Status: cache.StatusAvailable}
		k.Node = cache.Node{Process: &cache.Process{PID: 1}, Ready: true}
		v.Members = append(v.Members, k)
	}
	return v
}

// divide makes a shard of each node.
func divide(v *View) {
	v.Group.ClusterEnabled = true
	for i := range v.Members {
		m := &v.Members[i]
		m.NodeGroupID = cache.NodeGroupName(i + 1)
		v.Group.NodeGroups = append(v.Group.NodeGroups, cache.NodeGroup{ID: m.NodeGroupID, Members: []string{m.ID}, Primary: m.ID})
	}
}

func TestSchedule(t *testing.T) {
	// The backup of this group is due before noon, and its window ends at four.
	if at := spread("r/g", cache.DailyWindow{From: 480, Length: 480}); at >= 4*time.Hour {
		t.Fatalf("the group's backup is due %v into its window: choose another name", at)
	}
	later := epoch.Add(5 * time.Hour)
	for name, c := range map[string]struct {
		change func(*View)
		now    time.Time
		want   string // the action, its source, and when to look again
	}{
		"taken":                            {func(*View) {}, epoch, "backup r/g of g-002"},
		"its window is over":               {func(*View) {}, later, "backup r/g of g-002"},
		"no automatic backups":             {func(v *View) { v.Group.SnapshotRetention = 0 }, epoch, ""},
		"it is being backed up":            {func(v *View) { v.Group.Status = cache.StatusSnapshotting }, epoch, "again 16:00"},
		"it is being modified":             {func(v *View) { v.Group.Status = cache.StatusModifying }, epoch, "again 16:00"},
		"it was modified all the time":     {func(v *View) { v.Group.Status = cache.StatusModifying }, later, "missed r/g"},
		"that was told":                    {func(v *View) { v.Group.Status, v.Group.Automatic.Told = cache.StatusModifying, epoch.Add(-4*time.Hour) }, later, ""},
		"it is being created":              {func(v *View) { v.Group.Status = cache.StatusCreating }, later, ""},
		"it is being deleted":              {func(v *View) { v.Group.Deletion = &cache.Deletion{} }, epoch, ""},
		"the chosen member is down":        {func(v *View) { v.Members[1].Node.Ready = false }, epoch, "backup r/g of g-001"},
		"the chosen member is gone":        {func(v *View) { v.Group.SnapshottingCluster = "g-003" }, epoch, "backup r/g of g-002"},
		"the chosen member leads":          {func(v *View) { v.Group.SnapshottingCluster = "g-001" }, epoch, "backup r/g of g-001"},
		"no member is ready":               {func(v *View) { v.Members[0].Node.Ready, v.Members[1].Node.Process = false, nil }, epoch, "again 16:00"},
		"no member was ready all the time": {func(v *View) { v.Members[0].Node.Ready, v.Members[1].Node.Process = false, nil }, later, "missed r/g"},
		"cluster mode":                     {divide, epoch, "backup r/g of the group"},
		"cluster mode, a shard is down": {func(v *View) {
			divide(v)
			v.Members[1].Node.Ready = false
		}, epoch, "again 16:00"},
		"running already": {func(v *View) { v.InFlight["backup r/g"] = true }, epoch, ""},
		"it rests after a failure": {func(v *View) {
			v.Steps["backup r/g"] = cache.Step{State: cache.StepFailed, NotBefore: epoch.Add(time.Minute)}
		}, epoch, "again 12:01"},
	} {
		t.Run(name, func(t *testing.T) {
			v := owing()
			c.change(&v)
			p := planner{v: &v, now: c.now}
			p.schedule()
			if got := inWords(&p); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// inWords is a decision in words; the next day is left out.
func inWords(p *planner) string {
	var out []string
	for _, a := range p.d.Do {
		s := a.ID()
		if a.Kind == actBackup {
			s += " of the group"
			if m, _ := p.v.backupSource(); m != nil {
				s = a.ID() + " of " + m.ID
			}
		}
		out = append(out, s)
	}
	if at := p.d.Again; !at.IsZero() && at.Sub(p.now) < 6*time.Hour {
		out = append(out, "again "+at.Format("15:04"))
	}
	return strings.Join(out, ", ")
}

// openWindow is one that is open, in which the backup is due by now whatever its minute is,
// and none is for hours, so that no second one comes while a test runs.
func openWindow() string {
	from := time.Now().UTC().Add(-13 * time.Hour)
	return from.Format("15:04") + "-" + from.Add(14*time.Hour).Format("15:04")
}

// TestABackupIsTakenAndGoesWithItsGroup goes through the life of one.
func TestABackupIsTakenAndGoesWithItsGroup(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.group("g", 1, nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.SnapshotRetention, g.SnapshotWindow, g.SnapshottingCluster = 1, openWindow(), "g-001"
			g.CreatedAt = time.Now().AddDate(0, 0, -3)
		})
	})
	b.eventually("a backup", func(w world) bool {
		return len(w.snapshots) == 1 && w.snapshots[0].Status == cache.StatusAvailable
	})
	s := b.read().snapshots[0]
	if s.Name != cache.AutomaticName("g-001", s.CreatedAt) || s.Source != cache.SourceAutomated || s.GroupID != "g" || s.ClusterID != "g-001" || s.SnapshotRetention != 1 {
		t.Errorf("it is %+v", s)
	}
	b.eventually("available again", groupIs("g", cache.StatusAvailable))
	b.group("h", 1, nil)
	b.eventually("another group", groupIs("h", cache.StatusAvailable))
	if n := len(b.read().snapshots); n != 1 {
		t.Errorf("%d snapshots of one day", n)
	}
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Status, g.Deletion = cache.StatusDeleting, &cache.Deletion{} })
	})
	b.eventually("nothing is left of it", func(w world) bool {
		b.machine.mu.Lock()
		defer b.machine.mu.Unlock()
		return len(w.snapshots) == 0 && len(w.groups) == 1 && len(b.machine.objects) == 0
	})
}

// TestAWindowThatPasses is told once, and the backup follows.
func TestAWindowThatPasses(t *testing.T) {
	b := newBench(t, t.TempDir())
	defer b.close()
	b.group("g", 1, nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	over := time.Now().UTC().Add(-30 * time.Hour)
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) {
			g.Status, g.SnapshotRetention, g.CreatedAt = cache.StatusModifying, 1, over
			from := time.Now().UTC().Add(-3 * time.Hour)
			g.SnapshotWindow = from.Format("15:04") + "-" + from.Add(time.Hour).Format("15:04")
		})
	})
	missed := func() (n int) {
		err := b.db.View(context.Background(), func(tx *store.Tx) error {
			for item, err := range records.EventsBetween(tx, "r", over, time.Now().Add(time.Hour)) {
				if err != nil {
					return err
				}
				if strings.Contains(item.Value.Message, "passed without an automatic backup: its status was modifying") {
					n++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b.eventually("an event", func(world) bool { return missed() > 0 })
	b.group("h", 1, nil) // what comes of it are more looks at the first
	b.eventually("another group", groupIs("h", cache.StatusAvailable))
	b.update(func(tx *store.Tx) error {
		return changeGroup(tx, "r/g", func(g *cache.ReplicationGroup) { g.Status = cache.StatusAvailable })
	})
	b.eventually("the backup", func(w world) bool {
		return len(w.snapshots) == 1 && w.snapshots[0].Status == cache.StatusAvailable
	})
	if n := missed(); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

// TestManyThatAreOwedTakeTurns has ten groups owe a backup at once. While the first
// ones are taken the others can be used, and in the end all have had theirs.
func TestManyThatAreOwedTakeTurns(t *testing.T) {
	const groups = 10
	b := newBench(t, t.TempDir())
	defer b.close()
	b.run()
	for i := range groups {
		b.group(fmt.Sprint("g", i), 1, nil)
	}
	b.eventually("available", func(w world) bool {
		return !slices.ContainsFunc(w.groups, func(g cache.ReplicationGroup) bool { return g.Status != cache.StatusAvailable })
	})
	b.stop()
	var most atomic.Int64
	b.machine.hook = func(_ int, name string) {
		if name != "snapshot" {
			return
		}
		n := int64(0)
		for _, g := range b.read().groups {
			if g.Status == cache.StatusSnapshotting {
				n++
			}
		}
		most.Store(max(most.Load(), n))
	}
	b.update(func(tx *store.Tx) error {
		for i := range groups {
			err := changeGroup(tx, fmt.Sprint("r/g", i), func(g *cache.ReplicationGroup) {
				g.SnapshotRetention, g.SnapshotWindow, g.SnapshottingCluster = 1, openWindow(), g.Primary
				g.CreatedAt = time.Now().AddDate(0, 0, -3)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	b.run()
	b.eventually("all are backed up", func(w world) bool {
		n := 0
		for _, s := range w.snapshots {
			if s.Status == cache.StatusAvailable {
				n++
			}
		}
		return n == groups
	})
	if n := most.Load(); n < 1 || n > backupsAtOnce {
		t.Errorf("%d groups were being backed up at once, of %d that may be", n, backupsAtOnce)
	}
}
