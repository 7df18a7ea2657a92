package reconcile

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// onlooker follows random changes with an outlook, as a Runner does, and holds it
// against one that reads and plans everything each time.
type onlooker struct {
	*rapid.T
	db      *store.DB
	track   *store.Tracker
	outlook *outlook
	l       look
	// decided is what was last said of each unit, and at when.
	decided map[string]Decision
	at      map[string]time.Time
}

func (o *onlooker) one(name string, of ...string) string {
	return rapid.SampledFrom(of).Draw(o.T, name)
}

func (o *onlooker) flag(name string) bool { return rapid.Bool().Draw(o.T, name) }

func (o *onlooker) seldom(name string) bool { return rapid.IntRange(0, 4).Draw(o.T, name) == 0 }

// before is a time of the last days.
func (o *onlooker) before(name string) time.Time {
	return o.l.now.Add(-time.Duration(rapid.IntRange(0, 9*24).Draw(o.T, name)) * time.Hour)
}

func (o *onlooker) settings() (s cache.Settings) {
	s.SnapshotRetention = rapid.IntRange(0, 3).Draw(o.T, "retention")
	s.SnapshotWindow = o.one("window", "03:00-05:00", "22:00-23:30", "")
	return s
}

func (o *onlooker) status() cache.Status {
	return cache.Status(o.one("status", string(cache.StatusAvailable), string(cache.StatusCreating), string(cache.StatusSnapshotting)))
}

func (o *onlooker) deletion() *cache.Deletion {
	if !o.seldom("deleting") {
		return nil
	}
	return &cache.Deletion{FinalSnapshot: o.one("final", "", "s1", "s2")}
}

// change does one change of a record.
func (o *onlooker) change(tx *store.Tx) error {
	switch o.one("what", "group", "cluster", "snapshot", "step") {
	case "group":
		g := cache.ReplicationGroup{
			Region: "r", ID: o.one("id", "g1", "g1", "g2"), Status: o.status(), Settings: o.settings(),
			CreatedAt: epoch.Add(-30 * day), Deletion: o.deletion(),
		}
		if o.seldom("gone") {
			return records.Groups.Delete(tx, g.Key())
		}
		g.PrimaryEndpoint, g.ReaderEndpoint = cache.Address{Host: g.ID + "-p", Port: 1}, cache.Address{Host: g.ID + "-r", Port: 1}
		g.Members, g.Primary = []string{g.ID + "-001", g.ID + "-002"}, g.ID+"-001"
		return records.Groups.Put(tx, g.Key(), g)
	case "cluster":
		c := cache.CacheCluster{Region: "r", ID: o.one("id", "g1-001", "g1-002", "g2-001", "c1", "c1"), Status: o.status()}
		if o.seldom("gone") {
			return records.Clusters.Delete(tx, c.Key())
		}
		c.Node = cache.Node{Address: cache.Address{Host: c.ID, Port: 1}, Build: o.one("build", "new", "old"), Gone: o.flag("swept")}
		if c.GroupID = c.ID[:2]; c.ID == "c1" {
			c.GroupID, c.CreatedAt, c.Settings, c.Deletion = "", epoch.Add(-30*day), o.settings(), o.deletion()
		}
		if o.flag("runs") {
			c.Node.Process, c.Node.Ready, c.Node.Role = &cache.Process{PID: 1}, o.flag("ready"), cache.RolePrimary
		} else {
			c.Node.Failures, c.Node.ExitedAt = rapid.IntRange(0, 9).Draw(o.T, "failures"), o.l.now
		}
		return records.Clusters.Put(tx, c.Key(), c)
	case "snapshot":
		return o.changeSnapshot(tx)
	}
	return o.changeStep(tx)
}

func (o *onlooker) changeStep(tx *store.Tx) error {
	s := cache.Step{
		ID:    o.one("step", "start r/g1-001", "remove r/g1-001", "backup r/g1", "snapshot r/s1", "backup r/c1", "erase r/s1", "expire r/s1", "scrub r/s1"),
		State: cache.StepFailed, NotBefore: o.l.now.Add(time.Duration(rapid.IntRange(-1, 3).Draw(o.T, "rest")) * time.Minute),
		Permanent: o.flag("permanent"),
	}
	if o.flag("gone") {
		return records.Steps.Delete(tx, s.ID)
	}
	switch {
	case strings.HasPrefix(s.ID, string(actScrub)):
		s.Unit = scrubUnit
	case strings.Contains(s.ID, "/g1"):
		s.Unit = groupUnit("r/g1")
	case strings.Contains(s.ID, "/c1"):
		s.Unit = clusterUnit("r/c1")
	default:
		s.Unit = snapshotUnit("r/s1")
	}
	if s.ID == "snapshot r/s1" {
		s.Unit = o.one("unit", groupUnit("r/g1"), clusterUnit("r/c1"))
	}
	return records.Steps.Put(tx, s.ID, s)
}

func (o *onlooker) changeSnapshot(tx *store.Tx) error {
	s := cache.Snapshot{Region: "r", Name: o.one("name", "s1", "s1", "s2", "s3")}
	if o.seldom("gone") {
		return records.Snapshots.Delete(tx, s.Key())
	}
	s.Source = o.one("source", cache.SourceAutomated, cache.SourceManual)
	s.Status = cache.Status(o.one("status", string(cache.StatusAvailable), string(cache.StatusCreating), string(cache.StatusFailed)))
	s.CreatedAt, s.SourceCreatedAt, s.SnapshotRetention = o.before("begun"), epoch.Add(-30*day), 1
	s.Deleting = o.seldom("deleting")
	switch o.one("of", "group", "member", "cluster", "copy") {
	case "group":
		s.GroupID = "g1"
	case "member":
		s.ClusterID = o.one("member", "g1-001", "g1-002")
	case "cluster":
		s.ClusterID = "c1"
	case "copy":
		s.GroupID, s.CopyOf, s.Source = "g1", o.one("original", "s1", "s1", "s2"), cache.SourceManual
	}
	if s.Status == cache.StatusAvailable {
		s.Shards = []cache.ShardSnapshot{{NodeGroupID: cache.NodeGroupID}}
	}
	return records.Snapshots.Put(tx, s.Key(), s)
}

// fly launches some of what was said to be due, and ends some of what runs.
func (o *onlooker) fly() {
	o.l.ended = map[string]bool{}
	for _, unit := range slices.Sorted(maps.Keys(o.decided)) {
		for id := range o.l.running[unit] {
			if o.flag("ends") {
				delete(o.l.running[unit], id)
				o.l.ended[unit] = true
			}
		}
		if do := o.decided[unit].Do; len(do) > 0 && o.flag("launched") {
			if o.l.running[unit] == nil {
				o.l.running[unit] = map[string]bool{}
			}
			o.l.running[unit][do[0].ID()] = true
		}
	}
	if o.flag("forwarder") {
		at := cache.Address{Host: o.one("at", "g1-p", "g1-r", "g2-r"), Port: 1}
		o.l.forwards = maps.Clone(o.l.forwards)
		if _, stands := o.l.forwards[at]; stands {
			delete(o.l.forwards, at)
		} else {
			o.l.forwards[at] = []cache.Address{{Host: "g1-002", Port: 1}}
		}
		o.l.ended[groupUnit("r/"+at.Host[:2])] = true
	}
}

// look brings the outlook up to date and compares it with a new one.
func (o *onlooker) look() {
	var anew *outlook
	err := o.db.View(context.Background(), func(tx *store.Tx) error {
		anew = newOutlook(o.outlook.idle)
		if err := anew.read(tx); err != nil {
			return err
		}
		return o.outlook.refresh(tx, o.track)
	})
	if err != nil {
		o.Fatal(err)
	}
	for _, unit := range o.outlook.units(&o.l) {
		o.decided[unit], o.at[unit] = o.outlook.plan(unit, &o.l), o.l.now
	}
	for _, unit := range anew.units(&o.l) {
		want, have := anew.decide(unit, &o.l), o.decided[unit]
		if running := o.l.running[unit]; o.at[unit].Equal(o.l.now) && len(running) == 0 && !cmp.Equal(want, have) {
			o.Fatalf("of %s is known %+v, and it should be %+v", unit, have, want)
		}
		for _, a := range want.Do {
			if !slices.ContainsFunc(have.Do, func(b Action) bool { return cmp.Equal(a, b) }) {
				o.Fatalf("%+v was missed of %s, only %+v is known", a, unit, have)
			}
		}
		for _, id := range want.Cancel {
			if !slices.Contains(have.Cancel, id) {
				o.Fatalf("%s: that %q is to be cancelled was missed", unit, id)
			}
		}
	}
	if diff := cmp.Diff(anew.contents(), o.outlook.contents()); diff != "" {
		o.Fatalf("what was read again (-) is not what is there:\n%s", diff)
	}
}

// contents is a world in an order that is always the same.
func (w *world) contents() map[string]any {
	out := map[string]any{"steps": w.steps, "units of steps": w.unitOf, "taken": w.taken, "copies": w.copies, "backups": w.backups, "clusters": w.clusters}
	for key := range w.groupAt {
		out[key] = *w.group(key)
	}
	for key := range w.snapshotAt {
		out[key] = *w.snapshot(key)
	}
	out["all"] = fmt.Sprint(len(w.groups), len(w.snapshots))
	return out
}

// TestNothingIsMissed: what is planned of changes alone is what a plan of everything says.
func TestNothingIsMissed(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		db, err := store.Open(context.Background(), filepath.Join(dir, fmt.Sprint(n)))
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				rt.Error(err)
			}
		}()
		o := &onlooker{
			T: rt, db: db, track: db.Track(tables()...), outlook: newOutlook(1000 * day), decided: map[string]Decision{}, at: map[string]time.Time{},
			l: look{
				now: epoch, running: map[string]map[string]bool{}, forwards: map[cache.Address][]cache.Address{},
				rebind: func(build string) bool { return build == "new" },
			},
		}
		defer o.track.Close()
		for range rapid.IntRange(1, 12).Draw(rt, "rounds") {
			if o.flag("changes") {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					for range rapid.IntRange(1, 4).Draw(rt, "changes") {
						if err := o.change(tx); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					rt.Fatal(err)
				}
			}
			o.fly()
			o.l.now = o.l.now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 10, 60 * 24, -5}).Draw(rt, "minutes")) * time.Minute)
			o.look()
		}
	})
}
