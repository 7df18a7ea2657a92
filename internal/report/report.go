package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/metrics"
)

// Expect says which nodes were there when the change began.
func Expect(r *cache.UpgradeReport, nodes []string) {
	for _, id := range nodes {
		find(r, id).New = false
	}
}

// See adds what a node says while it is changed. The first time that is what it was
// before, with what it had done since minute, a reading of up to some minutes ago; nil for none.
func See(r *cache.UpgradeReport, node string, now, minute *metrics.Reading) {
	if now.Fields["role"] == "" || now.Fields["loading"] == "1" || now.Fields["async_loading"] == "1" {
		return // it is not what it is going to be
	}
	n := find(r, node)
	if n.Seen == nil {
		if n.Before == nil && n.During == nil && !n.New && isFormer(r, now) {
			before := figures(now)
			if minute != nil {
				before.add(now, minute)
			}
			n.Before = before.f
		}
		during := figures(now)
		n.During, n.Seen = during.f, seen(now)
		return
	}
	then := &metrics.Reading{At: n.Seen.At, Fields: n.Seen.Fields}
	during := counting{n.During}
	during.add(now, then)
	during.f.At, during.f.Primary, during.f.Version = now.At, primary(now), version(now)
	during.f.CurrItems = min(during.f.CurrItems, items(now))
	during.f.BytesUsedForCache = max(during.f.BytesUsedForCache, whole(now, "used_memory"))
	n.Replaced = n.Replaced || then.Fields["run_id"] != now.Fields["run_id"]
	n.Seen = seen(now)
}

// Afterwards adds what a node says some time after the change has ended.
func Afterwards(r *cache.UpgradeReport, node string, now *metrics.Reading) {
	if now.Fields["role"] == "" {
		return
	}
	n := find(r, node)
	after := figures(now)
	if n.Seen != nil {
		then := &metrics.Reading{At: n.Seen.At, Fields: n.Seen.Fields}
		after.add(now, then)
		n.Replaced = n.Replaced || then.Fields["run_id"] != now.Fields["run_id"]
	}
	n.After = after.f
}

// Finish makes the report complete: nothing is added any more.
func Finish(r *cache.UpgradeReport) {
	for i := range r.Nodes {
		r.Nodes[i].Seen = nil
	}
	r.Done = true
}

func find(r *cache.UpgradeReport, node string) *cache.NodeReport {
	i, ok := slices.BinarySearchFunc(r.Nodes, node, func(n cache.NodeReport, id string) int { return strings.Compare(n.ID, id) })
	if !ok {
		r.Nodes = slices.Insert(r.Nodes, i, cache.NodeReport{ID: node, New: true})
	}
	return &r.Nodes[i]
}

// counting are figures that counters are added to.
type counting struct{ f *cache.NodeFigures }

func figures(now *metrics.Reading) counting {
	f := &cache.NodeFigures{
		At: now.At, Primary: primary(now), Version: version(now), CurrItems: items(now), BytesUsedForCache: whole(now, "used_memory"),
	}
	if _, ok := now.Fields["total_error_replies"]; !ok {
		f.Errors = -1
	}
	return counting{f}
}

// counters are the fields whose growth counts.
var counters = []struct {
	field string
	of    func(*cache.NodeFigures) *int64
}{
	{"evicted_keys", func(f *cache.NodeFigures) *int64 { return &f.Evictions }},
	{"expired_keys", func(f *cache.NodeFigures) *int64 { return &f.Reclaimed }},
	{"keyspace_hits", func(f *cache.NodeFigures) *int64 { return &f.CacheHits }},
	{"keyspace_misses", func(f *cache.NodeFigures) *int64 { return &f.CacheMisses }},
	{"total_connections_received", func(f *cache.NodeFigures) *int64 { return &f.NewConnections }},
	{"rejected_connections", func(f *cache.NodeFigures) *int64 { return &f.RejectedConnections }},
}

// add adds by how much the counters have grown since an earlier reading.
func (c counting) add(now, then *metrics.Reading) {
	c.f.Seconds += max(now.At.Sub(then.At), 0).Seconds()
	for _, k := range counters {
		if n, ok := now.Grown(then, k.field); ok {
			*k.of(c.f) += int64(n)
		}
	}
	if sent, ok := now.Replicated(then); ok {
		c.f.ReplicationBytes += int64(sent)
	}
	if n, ok := now.Grown(then, "total_error_replies"); ok {
		c.f.Errors = max(c.f.Errors, 0) + int64(n)
	}
	// What a replica is told to take away, its primary took away before; what another
	// process counts, it counts from when it was a replica.
	if primary(now) && primary(then) && now.Fields["run_id"] == then.Fields["run_id"] {
		c.f.Removals += now.Removals(then)
	}
}

func primary(r *metrics.Reading) bool { return r.Fields["role"] == "master" }

func version(r *metrics.Reading) string {
	if v := r.Fields["valkey_version"]; v != "" {
		return "valkey " + v
	}
	return "redis " + r.Fields["redis_version"]
}

func items(r *metrics.Reading) int64 { return int64(metrics.Redis(r, nil, 0)["CurrItems"]) }

// isFormer tells whether a node is still what it was before: one that did not answer at
// first may have been replaced by now.
func isFormer(r *cache.UpgradeReport, now *metrics.Reading) bool {
	return r.From.Build == "" || r.From.Build == strings.Replace(version(now), " ", "-", 1)
}

func whole(r *metrics.Reading, field string) int64 {
	n, err := strconv.ParseInt(r.Fields[field], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// seen keeps of a reading what the next one is held against.
func seen(now *metrics.Reading) *cache.NodeCounters {
	kept := map[string]string{}
	maps.Copy(kept, now.Fields)
	maps.DeleteFunc(kept, func(name, _ string) bool { return !countedFrom(name) })
	return &cache.NodeCounters{At: now.At.Round(time.Millisecond), Fields: kept}
}

func countedFrom(field string) bool {
	switch field {
	case "run_id", "role", "master_repl_offset", "total_error_replies":
		return true
	}
	if stat, ok := strings.CutPrefix(field, "cmdstat_"); ok {
		return metrics.MayRemove(stat)
	}
	for _, k := range counters {
		if k.field == field {
			return true
		}
	}
	return false
}
