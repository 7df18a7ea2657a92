package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// NoteBuilds looks at what the installed builds serve, and makes a service update of each
// that serves an engine version in place of an older one. To be called once the catalogue
// has been read. Memcached has none: its nodes cannot be replaced with what they hold.
func (c *Control) NoteBuilds(ctx context.Context) error {
	return c.DB.Update(ctx, func(tx *store.Tx) error {
		served := map[string]bool{}
		for _, v := range c.Catalogue.Versions() {
			if v.Engine == cache.Memcached {
				continue
			}
			served[v.Engine+"/"+v.Asked] = true
			if err := c.noteBuild(tx, v); err != nil {
				return fmt.Errorf("cannot note what serves %s %s: %w", v.Engine, v.Asked, err)
			}
		}
		return c.endUpdates(tx, func(u *cache.ServiceUpdate) string {
			if !served[u.Engine+"/"+u.EngineVersion] {
				return cache.UpdateCancelled
			}
			return ""
		})
	})
}

// noteBuild makes a service update for what serves a version now, if that is newer than what
// did, or than what a cache has.
func (c *Control) noteBuild(tx *store.Tx, v Version) error {
	key := v.Engine + "/" + v.Asked
	former, _, err := records.ServedBy.Get(tx, key)
	if err != nil {
		return err
	}
	behind, err := nodesBehind(tx, v)
	if err != nil {
		return err
	}
	if former == "" && len(behind) > 0 { // they are older than these notes
		former = behind[0].Node.Build
	}
	// A build stands in for many versions that nobody uses.
	if cache.NewerBuild(v.Build, former) && (v.Exact || len(behind) > 0) {
		if err := c.release(tx, v, former, behind); err != nil {
			return err
		}
	}
	err = c.endUpdates(tx, func(u *cache.ServiceUpdate) string {
		switch {
		case u.Engine != v.Engine || u.EngineVersion != v.Asked || u.Build == v.Build:
			return ""
		case cache.NewerBuild(v.Build, u.Build):
			return cache.UpdateExpired
		}
		return cache.UpdateCancelled
	})
	if err != nil || former == v.Build {
		return err
	}
	return records.ServedBy.Put(tx, key, v.Build)
}

// endUpdates ends those service updates for which why has a status.
func (c *Control) endUpdates(tx *store.Tx, why func(*cache.ServiceUpdate) string) error {
	return each(tx, records.ServiceUpdates, func(u *cache.ServiceUpdate) bool {
		status := why(u)
		if status == "" || u.Status != cache.UpdateAvailable {
			return false
		}
		u.Status, u.EndedAt = status, c.Now()
		return true
	})
}

// each changes the records of a table that change says it has changed.
func each[T any](tx *store.Tx, t store.Table[T], change func(*T) bool) error {
	var all []store.Item[T]
	for item, err := range t.Scan(tx, "", "") {
		if err != nil {
			return err
		}
		all = append(all, item)
	}
	for i := range all {
		if !change(&all[i].Value) {
			continue
		}
		if err := t.Put(tx, all[i].Key, all[i].Value); err != nil {
			return err
		}
	}
	return nil
}

// nodesBehind are the clusters of all regions that have an older build than serves their
// version now.
func nodesBehind(tx *store.Tx, v Version) ([]cache.CacheCluster, error) {
	all, err := records.Clusters.List(tx, "")
	return slices.DeleteFunc(all, func(k cache.CacheCluster) bool {
		return k.StandIn || k.Engine != v.Engine || k.EngineVersion != v.Asked || !cache.NewerBuild(v.Build, k.Node.Build)
	}), err
}

// release makes a service update, or makes one available again, and tells the clusters.
func (c *Control) release(tx *store.Tx, v Version, former string, behind []cache.CacheCluster) error {
	u, known, err := records.UpdateOf(tx, v.Engine, v.Asked, v.Build)
	if err != nil {
		return err
	}
	if !known {
		u = cache.ServiceUpdate{Engine: v.Engine, EngineVersion: v.Asked, Build: v.Build, ReleasedAt: c.Now()}
		if u.Name, err = nextUpdateName(tx, c.Now()); err != nil {
			return err
		}
	}
	u.Status, u.EndedAt, u.Former = cache.UpdateAvailable, time.Time{}, former
	if err := records.ServiceUpdates.Put(tx, u.Name, u); err != nil {
		return err
	}
	for _, k := range behind {
		said := "Service update is available for cache node " + cache.NodeGroupID + "."
		if err := c.tell(tx, k.Region, cache.EventCluster, k.ID, said); err != nil {
			return err
		}
	}
	return nil
}

// nextUpdateName is the next of a day, in ElastiCache's form.
func nextUpdateName(tx *store.Tx, now time.Time) (string, error) {
	prefix := "elc-" + now.UTC().Format("20060102") + "-"
	all, err := records.ServiceUpdates.List(tx, prefix)
	return fmt.Sprintf("%s%03d", prefix, len(all)+1), err
}

// UpdateFilter is what DescribeServiceUpdates and DescribeUpdateActions ask for; empty
// fields match all.
type UpdateFilter struct {
	Name     string
	Statuses []string
	// Of update actions alone. The times are those in which an update was released.
	Groups, Clusters []string
	Engine           string
	Actions          []string
	From, To         time.Time
}

func (f *UpdateFilter) matches(u *cache.ServiceUpdate) bool {
	return (f.Name == "" || f.Name == u.Name) && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, u.Status)) &&
		(f.Engine == "" || strings.EqualFold(f.Engine, u.Engine)) &&
		(f.From.IsZero() || !u.ReleasedAt.Before(f.From)) && (f.To.IsZero() || !u.ReleasedAt.After(f.To))
}

// DescribeServiceUpdates returns the page of the service updates that match.
func (c *Control) DescribeServiceUpdates(ctx context.Context, f UpdateFilter, page Page[cache.ServiceUpdate]) ([]cache.ServiceUpdate, error) {
	var all []cache.ServiceUpdate
	err := c.DB.View(ctx, func(tx *store.Tx) (err error) {
		if f.Name != "" {
			if _, err = getUpdate(tx, f.Name); err != nil {
				return err
			}
		}
		all, err = records.ServiceUpdates.List(tx, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return page.of(keepIf(all, f.matches))
}

func getUpdate(tx *store.Tx, name string) (cache.ServiceUpdate, error) {
	u, ok, err := cache.ServiceUpdate{}, false, error(nil)
	if name != "" {
		u, ok, err = records.ServiceUpdates.Get(tx, lower(name))
	}
	if err == nil && !ok {
		err = cache.Faultf(codeUpdateNotFound, "Service update %s not found.", name)
	}
	return u, err
}
