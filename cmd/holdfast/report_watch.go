package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/metrics"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/report"
	"holdfast.dev/internal/store"
)

// How often the nodes of a cache are asked that is changed, how often what was seen is
// written down, and how long after the end the figures of afterwards are taken: some time of
// ordinary work.
const (
	reportEvery  = time.Second
	reportSaved  = 5 * time.Second
	reportQuiet  = 10 * time.Second
	reportGiveUp = time.Minute
	reportAnswer = 2 * time.Second
)

// reporter looks on while caches are upgraded or resized, and writes the reports of that. It
// only looks: what is done does not wait for it.
type reporter struct {
	db  *store.DB
	log *slog.Logger
	// targetsOf are the nodes of a cluster that run. minute is what one said at the last full
	// minute, nil if that is not known.
	targetsOf func(*cache.CacheCluster, *cache.ReplicationGroup) []metrics.Target
	minute    func(region, cluster, node string) *metrics.Reading
	quiet     time.Duration
	// open are the reports that are not complete, by their keys.
	open map[string]*openReport
}

type openReport struct {
	cache.UpgradeReport
	targets []metrics.Target
	saved   time.Time
	// over is when the nodes were first asked since the end: what they do from then on is
	// afterwards. Zero until then.
	over time.Time
}

func newReporter(m *metered) *reporter {
	return &reporter{
		db: m.in.db, log: m.in.log, targetsOf: m.targetsOf, minute: m.collector.Before, quiet: reportQuiet,
		open: map[string]*openReport{},
	}
}

// run looks on until the context ends.
func (r *reporter) run(ctx context.Context) error {
	prefixes := []string{records.Groups.Prefix(""), records.Clusters.Prefix(""), records.Reports.Prefix("")}
	watch, track := r.db.Watch(prefixes...), r.db.Track(prefixes...)
	defer watch.Close()
	defer track.Close()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		if err := r.look(ctx, track); err != nil && ctx.Err() == nil {
			r.log.Warn("the report of an upgrade is delayed", "error", err)
		}
		var again <-chan time.Time
		if len(r.open) > 0 {
			again = tick.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C():
		case <-again:
		}
	}
}

// look finds what is due and does it.
func (r *reporter) look(ctx context.Context, track *store.Tracker) error {
	if err := r.find(ctx, track); err != nil {
		return err
	}
	for key, o := range r.open {
		if err := r.goOn(ctx, o); err != nil {
			return err
		}
		if o.Done {
			delete(r.open, key)
		}
	}
	return nil
}

// find opens the reports of upgrades that have begun, and those that an earlier run of
// the service left open.
func (r *reporter) find(ctx context.Context, track *store.Tracker) error {
	var began []cache.UpgradeReport
	var gone []string
	err := r.db.View(ctx, func(tx *store.Tx) error {
		began, gone = nil, nil
		refs, ok := track.Changed(tx)
		if !ok {
			var err error
			began, err = r.all(tx)
			return err
		}
		for _, ref := range refs {
			found, err := unfinished(tx, ref)
			if err != nil {
				return err
			}
			began = append(began, found...)
			prefix, err := reportsGone(tx, ref)
			if err != nil {
				return err
			}
			if prefix != "" {
				gone = append(gone, prefix)
			}
		}
		return nil
	})
	if len(gone) > 0 && err == nil {
		err = r.forget(ctx, gone)
	}
	for _, b := range began {
		if key := records.ReportKey(&b); r.open[key] == nil {
			r.open[key] = &openReport{UpgradeReport: b}
		}
	}
	return err
}

// reportsGone is the prefix of the reports of a cache that is no more, "" for one that is there.
func reportsGone(tx *store.Tx, ref store.Ref) (string, error) {
	region, id := cache.SplitKey(ref.Key)
	var ok bool
	var err error
	switch ref.Table {
	case groupsTable:
		_, ok, err = records.Groups.Get(tx, ref.Key)
	case clustersTable:
		_, ok, err = records.Clusters.Get(tx, ref.Key)
	default:
		return "", nil
	}
	if err != nil || ok {
		return "", err
	}
	return records.ReportsOf(region, ref.Table == groupsTable, id), nil
}

// forget deletes the reports of caches that are no more.
func (r *reporter) forget(ctx context.Context, prefixes []string) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		for _, p := range prefixes {
			var keys []string
			for item, err := range records.Reports.Scan(tx, p, "") {
				if err != nil {
					return err
				}
				keys = append(keys, item.Key)
			}
			for _, k := range keys {
				if err := records.Reports.Delete(tx, k); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// all reads everything.
func (r *reporter) all(tx *store.Tx) (out []cache.UpgradeReport, err error) {
	refs := []store.Ref{}
	for item, err := range records.Groups.Scan(tx, "", "") {
		if err != nil {
			return nil, err
		}
		refs = append(refs, store.Ref{Table: groupsTable, Key: item.Key})
	}
	for item, err := range records.Clusters.Scan(tx, "", "") {
		if err != nil {
			return nil, err
		}
		refs = append(refs, store.Ref{Table: clustersTable, Key: item.Key})
	}
	for item, err := range records.Reports.Scan(tx, "", "") {
		if err != nil {
			return nil, err
		}
		refs = append(refs, store.Ref{Table: reportsTable, Key: item.Key})
	}
	for _, ref := range refs {
		found, err := unfinished(tx, ref)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// The names of the tables, as a store.Ref has them.
var (
	groupsTable   = tableName(records.Groups.Prefix(""))
	clustersTable = tableName(records.Clusters.Prefix(""))
	reportsTable  = tableName(records.Reports.Prefix(""))
)

func tableName(prefix string) string { return prefix[:len(prefix)-1] }

// unfinished is the report that a record asks for, if it does.
func unfinished(tx *store.Tx, ref store.Ref) ([]cache.UpgradeReport, error) {
	var u *cache.Upgrade
	region, id := cache.SplitKey(ref.Key)
	switch ref.Table {
	case groupsTable:
		g, _, err := records.Groups.Get(tx, ref.Key)
		if err != nil {
			return nil, err
		}
		u = g.Upgrade
	case clustersTable:
		c, _, err := records.Clusters.Get(tx, ref.Key)
		if err != nil {
			return nil, err
		}
		if c.GroupID == "" {
			u = c.Upgrade
		}
	default:
		rep, ok, err := records.Reports.Get(tx, ref.Key)
		if err != nil || !ok || rep.Done {
			return nil, err
		}
		return []cache.UpgradeReport{rep}, nil
	}
	if u == nil {
		return nil, nil
	}
	rep, err := records.BeginReport(tx, region, ref.Table == groupsTable, id, u)
	return []cache.UpgradeReport{rep}, err
}

// goOn takes the figures that are due of one report.
func (r *reporter) goOn(ctx context.Context, o *openReport) error {
	gone, err := r.refresh(ctx, o)
	if err != nil {
		return err
	}
	first := len(o.Nodes) == 0
	if first {
		ids := make([]string, len(o.targets))
		for i, t := range o.targets {
			ids[i] = t.ClusterID
		}
		report.Expect(&o.UpgradeReport, ids)
	}
	switch since := time.Since(o.over); {
	case gone:
		report.Finish(&o.UpgradeReport) // nothing more can be had
	case o.EndedAt.IsZero() || o.over.IsZero():
		r.see(ctx, o, first)
		if !o.EndedAt.IsZero() {
			o.over = time.Now()
		}
	case since < r.quiet:
		return nil
	default:
		if whole := r.afterwards(ctx, o); whole || since > reportGiveUp {
			report.Finish(&o.UpgradeReport)
		}
	}
	if !o.Done && !first && time.Since(o.saved) < reportSaved {
		return nil
	}
	return r.save(ctx, o, gone)
}

// refresh reads what the records say of the upgrade, and which nodes the cache has by
// now. It tells whether the cache is gone, or the upgrade without an end.
func (r *reporter) refresh(ctx context.Context, o *openReport) (gone bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		var u *cache.Upgrade
		o.targets, gone = nil, false
		if o.Group {
			g, ok, err := records.Groups.Get(tx, cache.Key(o.Region, o.ID))
			if gone = !ok; err != nil || !ok {
				return err
			}
			u = g.Upgrade
			members := append([]string{}, g.Members...)
			if u != nil {
				members = append(members, u.StandIns...)
			}
			if err := r.targets(tx, o, members, &g); err != nil {
				return err
			}
		} else {
			c, ok, err := records.Clusters.Get(tx, cache.Key(o.Region, o.ID))
			if gone = !ok; err != nil || !ok {
				return err
			}
			u = c.Upgrade
			o.targets = r.targetsOf(&c, nil)
		}
		if u != nil && u.StartedAt.Equal(o.StartedAt) {
			o.Failed, o.Pauses, o.Compared = u.Failed, u.Pauses, u.Compared
			return nil
		}
		ended, ok, err := records.Reports.Get(tx, records.ReportKey(&o.UpgradeReport))
		if gone = !ok || ended.EndedAt.IsZero(); err != nil || gone {
			return err
		}
		o.EndedAt, o.Failed, o.Pauses, o.Compared = ended.EndedAt, ended.Failed, ended.Pauses, ended.Compared
		return nil
	})
	return gone, err
}

func (r *reporter) targets(tx *store.Tx, o *openReport, members []string, g *cache.ReplicationGroup) error {
	known := map[string]bool{}
	for _, id := range members {
		c, ok, err := records.Clusters.Get(tx, cache.Key(o.Region, id))
		if err != nil {
			return err
		}
		if ok && !known[id] {
			o.targets = append(o.targets, r.targetsOf(&c, g)...)
		}
		known[id] = true
	}
	return nil
}

// see asks all nodes while the cache is changed, or just after.
func (r *reporter) see(ctx context.Context, o *openReport, first bool) {
	for i, now := range r.ask(ctx, o) {
		if now == nil {
			continue
		}
		t := &o.targets[i]
		minute := r.minute(t.Region, t.ClusterID, t.NodeID)
		if !first || minute != nil && !minute.At.Before(o.StartedAt) {
			minute = nil // it is not of before
		}
		if first && !o.EndedAt.IsZero() && minute != nil {
			// It was over before anybody looked: what was before, the minute tells.
			report.See(&o.UpgradeReport, t.ClusterID, minute, nil)
			minute = nil
		}
		report.See(&o.UpgradeReport, t.ClusterID, now, minute)
	}
}

// afterwards asks all nodes, and tells whether all that were there before have answered.
func (r *reporter) afterwards(ctx context.Context, o *openReport) bool {
	for i, now := range r.ask(ctx, o) {
		if now != nil {
			report.Afterwards(&o.UpgradeReport, o.targets[i].ClusterID, now)
		}
	}
	for _, n := range o.Nodes {
		if !n.New && n.After == nil {
			return false
		}
	}
	return true
}

// ask gives a reading of each node, nil of one that does not answer.
func (r *reporter) ask(ctx context.Context, o *openReport) []*metrics.Reading {
	out := make([]*metrics.Reading, len(o.targets))
	var work errgroup.Group
	var mu sync.Mutex
	for i := range o.targets {
		work.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, reportAnswer)
			defer cancel()
			fields, err := o.targets[i].Read(ctx)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[i] = &metrics.Reading{At: time.Now(), Fields: fields}
			}
			return nil //nolint:nilerr // a node that is being replaced does not answer
		})
	}
	_ = work.Wait() // nothing fails
	return out
}

// save writes down what was seen, beside what the end of the upgrade wrote.
func (r *reporter) save(ctx context.Context, o *openReport, gone bool) error {
	err := r.db.Update(ctx, func(tx *store.Tx) error {
		key := records.ReportKey(&o.UpgradeReport)
		kept, ok, err := records.Reports.Get(tx, key)
		if err != nil {
			return err
		}
		if gone && (!ok || kept.EndedAt.IsZero()) {
			return records.Reports.Delete(tx, key)
		}
		next := o.UpgradeReport
		if ok && next.EndedAt.IsZero() && !kept.EndedAt.IsZero() {
			next.EndedAt, next.Failed, next.Pauses, next.Compared = kept.EndedAt, kept.Failed, kept.Pauses, kept.Compared
		}
		return records.PutReport(tx, next)
	})
	if err == nil {
		o.saved = time.Now()
	}
	return err
}
