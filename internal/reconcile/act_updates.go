package reconcile

import (
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// newest is what a unit with these settings is to become by itself; zero for nothing.
func (r *Runner) newest(s *cache.Settings) cache.Successor {
	if r.Newest == nil || !cache.FollowsMinors(s.Engine, s.EngineVersion) {
		return cache.Successor{}
	}
	return r.Newest(s.Engine, s.EngineVersion)
}

// beginMinor makes what is newest pending, as if it had been asked for: it begins in the same
// window, by the same checks.
func (r *Runner) beginMinor(v *View) outcome {
	return func(tx *store.Tx) error {
		u, err := reread(tx, v)
		if err != nil || u == nil || u.deletion() != nil || u.status() != cache.StatusAvailable {
			return err
		}
		s := u.settings()
		to := r.newest(s)
		w, ok := cache.ParseWeeklyWindow(s.MaintenanceWindow)
		if !ok || !s.AutoMinorVersionUpgrade || !s.Pending.Empty() || u.upgrade() != nil || !u.outdated(to) {
			return nil
		}
		_, next := w.At(r.Now())
		s.MinorTried = next.Add(-week)
		s.Pending = &cache.Pending{Engine: s.Engine, EngineVersion: to.EngineVersion, Build: to.Build, AskedAt: r.Now()}
		if err := u.noteBegun(tx, to, r.Now()); err != nil {
			return err
		}
		if err := u.put(tx); err != nil {
			return err
		}
		return r.unitEvent(tx, u, "AutoMinorVersionUpgrade: %s %s, served by the installed build %s, is applied in the maintenance window",
			s.Engine, to.EngineVersion, to.Build)
	}
}

// noteBegun writes down that a service update is begun by nobody's order, if it is one.
func (v *View) noteBegun(tx *store.Tx, to cache.Successor, at time.Time) error {
	s := v.settings()
	x, ok, err := records.UpdateOf(tx, s.Engine, to.EngineVersion, to.Build)
	if err != nil || !ok || to.EngineVersion != s.EngineVersion {
		return err
	}
	a := v.updateAction()
	a.Update, a.By = x.Name, cache.BySystem
	return records.BeginUpdate(tx, a, at)
}

// updateAction names the unit in the records of service updates.
func (v *View) updateAction() cache.UpdateAction {
	if g := v.Group; g != nil {
		return cache.UpdateAction{Region: g.Region, ID: g.ID, Group: true, CacheCreatedAt: g.CreatedAt}
	}
	m := &v.Members[0]
	return cache.UpdateAction{Region: m.Region, ID: m.ID, CacheCreatedAt: m.CreatedAt}
}
