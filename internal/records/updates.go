package records

import (
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// ServiceUpdates are those of the installation, by name. ServedBy has the build that served
// an engine version when that was last looked at, keyed "<engine>/<version>".
var (
	ServiceUpdates = store.NewTable[cache.ServiceUpdate]("serviceupdates")
	ServedBy       = store.NewTable[string]("servedby")
	// UpdateActions are keyed "<region>/<group or cluster>/<id>/<update>".
	UpdateActions = store.NewTable[cache.UpdateAction]("updateactions")
)

// UpdateActionKey is where what is done with a service update to a cache is kept.
func UpdateActionKey(a *cache.UpdateAction) string {
	kind := "cluster"
	if a.Group {
		kind = "group"
	}
	return InRegion(a.Region) + kind + "/" + a.ID + "/" + a.Update
}

// FindUpdateAction returns what was done to this very cache, and false for nothing.
func FindUpdateAction(tx *store.Tx, of cache.UpdateAction) (cache.UpdateAction, bool, error) {
	a, ok, err := UpdateActions.Get(tx, UpdateActionKey(&of))
	if err != nil || !ok || !a.CacheCreatedAt.Equal(of.CacheCreatedAt) {
		return of, false, err
	}
	return a, true, nil
}

// UpdateOf finds the service update that is about a build of an engine version.
func UpdateOf(tx *store.Tx, engine, version, build string) (cache.ServiceUpdate, bool, error) {
	all, err := ServiceUpdates.List(tx, "")
	for _, u := range all {
		if u.Engine == engine && u.EngineVersion == version && u.Build == build {
			return u, true, nil
		}
	}
	return cache.ServiceUpdate{}, false, err
}

// BeginUpdate writes down that a service update is begun, for the cache that of names.
func BeginUpdate(tx *store.Tx, of cache.UpdateAction, at time.Time) error {
	of.BegunAt, of.ChangedAt = at, at
	of.CompletedAt, of.StoppedAt, of.Failed = time.Time{}, time.Time{}, ""
	return UpdateActions.Put(tx, UpdateActionKey(&of), of)
}

// EndUpdate writes down what came of an upgrade, where that was a service update: whole
// tells that all nodes have been replaced.
func EndUpdate(tx *store.Tx, of cache.UpdateAction, x *cache.Upgrade, whole bool, at time.Time) error {
	if !x.Patch() {
		return nil
	}
	u, ok, err := UpdateOf(tx, x.To.Engine, x.To.EngineVersion, x.To.Build)
	if err != nil || !ok {
		return err
	}
	of.Update = u.Name
	a, ok, err := FindUpdateAction(tx, of)
	if err != nil || !ok {
		return err
	}
	a.ChangedAt = at
	switch {
	case whole:
		a.CompletedAt = at
	case x.Stopped:
		a.StoppedAt = at
	default:
		a.Failed = x.Failed
	}
	return UpdateActions.Put(tx, UpdateActionKey(&a), a)
}
