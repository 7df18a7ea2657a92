package records

import (
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// Reports are those of upgrades, keyed "<region>/<group or cluster>/<id>/<start>", so that those
// of one cache follow one another in time.
var Reports = store.NewTable[cache.UpgradeReport]("reports")

// ReportsKept is how many are kept of one cache.
const ReportsKept = 20

// ReportsOf is the prefix of the keys of one cache's reports.
func ReportsOf(region string, group bool, id string) string {
	kind := "cluster"
	if group {
		kind = "group"
	}
	return InRegion(region) + kind + "/" + id + "/"
}

// ReportKey is where a report is kept.
func ReportKey(r *cache.UpgradeReport) string {
	return ReportsOf(r.Region, r.Group, r.ID) + r.StartedAt.UTC().Format(keyTime)
}

// BeginReport returns the report of an upgrade that goes on, or has just ended.
func BeginReport(tx *store.Tx, region string, group bool, id string, u *cache.Upgrade) (cache.UpgradeReport, error) {
	fresh := cache.UpgradeReport{Region: region, ID: id, Group: group, From: u.From, To: u.To, StartedAt: u.StartedAt}
	r, ok, err := Reports.Get(tx, ReportKey(&fresh))
	if err != nil || !ok {
		r = fresh
	}
	r.Failed, r.Pauses, r.Compared, r.Died = u.Failed, u.Pauses, u.Compared, u.Died
	return r, err
}

// PutReport keeps a report, and of its cache no more than the latest.
func PutReport(tx *store.Tx, r cache.UpgradeReport) error {
	r.Verdict = r.Judge()
	if err := Reports.Put(tx, ReportKey(&r), r); err != nil {
		return err
	}
	var keys []string
	for item, err := range Reports.Scan(tx, ReportsOf(r.Region, r.Group, r.ID), "") {
		if err != nil {
			return err
		}
		keys = append(keys, item.Key)
	}
	for len(keys) > ReportsKept {
		if err := Reports.Delete(tx, keys[0]); err != nil {
			return err
		}
		keys = keys[1:]
	}
	return nil
}

// EndReport notes in the transaction that ends an upgrade what came of it, so that there is
// a report of it whoever else looked on.
func EndReport(tx *store.Tx, region string, group bool, id string, u *cache.Upgrade, at time.Time) error {
	r, err := BeginReport(tx, region, group, id, u)
	if err != nil {
		return err
	}
	r.EndedAt = at
	return PutReport(tx, r)
}
