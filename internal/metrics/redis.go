package metrics

import (
	"strconv"
	"strings"
	"time"
)

// Redis derives the figures of a Redis or Valkey node. Before is the reading that
// was taken a minute ago, nil if there is none; one that is older than longest is taken for none.
func Redis(now, before *Reading, longest time.Duration) Values {
	d := derive(now, before, longest)
	d.host()
	for _, f := range redisGauges {
		d.is(f.name, f.field)
	}
	for _, f := range redisCounters {
		d.grew(f.name, f.field)
	}
	d.is("CurrConnections", "connected_clients")
	d.memory()
	d.keyspace()
	d.hitRate()
	d.cpu()
	d.replication()
	d.commands()
	return d.out
}

// named is a figure that one field gives.
type named struct{ name, field string }

var redisGauges = []named{
	{"BytesUsedForCache", "used_memory"},
	{"BlockedConnections", "blocked_clients"},
	{"MemoryFragmentationRatio", "mem_fragmentation_ratio"},
	{"AllocatorFragmentationBytes", "allocator_frag_bytes"},
	{"AllocatorFragmentationRatio", "allocator_frag_ratio"},
	{"UsedMemoryDataset", "used_memory_dataset"},
	{"PubSubChannels", "pubsub_channels"},
	{"PubSubShardChannels", "pubsubshard_channels"},
	{"SaveInProgress", "rdb_bgsave_in_progress"},
}

var redisCounters = []named{
	{"ActiveDefragHits", "active_defrag_hits"},
	{"AuthenticationFailures", "acl_access_denied_auth"},
	{"CommandAuthorizationFailures", "acl_access_denied_cmd"},
	{"KeyAuthorizationFailures", "acl_access_denied_key"},
	{"ChannelAuthorizationFailures", "acl_access_denied_channel"},
	{"DatabaseAuthorizationFailures", "acl_access_denied_db"},
	{"CacheHits", "keyspace_hits"},
	{"CacheMisses", "keyspace_misses"},
	{"NewConnections", "total_connections_received"},
	{"RejectedConnections", "rejected_connections"},
	{"ReclaimedFields", "expired_fields"},
	{"Evictions", "evicted_keys"},
	{"Reclaimed", "expired_keys"},
	{"ProcessedCommands", "total_commands_processed"},
	{"ErrorCount", "total_error_replies"},
	{"NetworkBytesIn", "total_net_input_bytes"},
	{"NetworkBytesOut", "total_net_output_bytes"},
}

// memory is how much of what it may use is used.
func (d *deriver) memory() {
	used, ok := d.now.number("used_memory")
	most, there := d.now.number("maxmemory")
	if !ok || !there || most <= 0 {
		return
	}
	percent := 100 * used / most
	d.out["DatabaseMemoryUsagePercentage"], d.out["DatabaseCapacityUsagePercentage"] = percent, percent
	if not, ok := d.now.number("mem_not_counted_for_evict"); ok {
		percent = 100 * (used - not) / most
		d.out["DatabaseMemoryUsageCountedForEvictPercentage"] = percent
		d.out["DatabaseCapacityUsageCountedForEvictPercentage"] = percent
	}
}

// keyspace adds up what all databases hold.
func (d *deriver) keyspace() {
	if _, ok := d.now.Fields["role"]; !ok {
		return // INFO did not say anything
	}
	var keys, volatile, fields float64
	for name, value := range d.now.Fields {
		if !isDatabase(name) {
			continue
		}
		all := list(value)
		n, _ := parse(all["keys"])
		v, _ := parse(all["expires"])
		f, _ := parse(all["keys_with_volatile_items"])
		keys, volatile, fields = keys+n, volatile+v, fields+f
		if ttl, ok := parse(all["avg_ttl"]); ok && name == "db0" && d.now.Fields["role"] == "master" {
			d.out["DB0AverageTTL"] = ttl
		}
	}
	d.out["CurrItems"], d.out["CurrVolatileItems"] = keys, volatile
	if _, ok := d.now.Fields["expired_fields"]; ok {
		d.out["CurrItemsWithVolatileFields"] = fields
	}
}

func isDatabase(field string) bool {
	n, ok := strings.CutPrefix(field, "db")
	if !ok {
		return false
	}
	_, err := strconv.Atoi(n)
	return err == nil
}

// hitRate is there only when something was looked for.
func (d *deriver) hitRate() {
	hits, ok := d.out["CacheHits"]
	if all := hits + d.out["CacheMisses"]; ok && all > 0 {
		d.out["CacheHitRate"] = 100 * hits / all
	}
}

// cpu is how busy the thread was that gives commands; before 6.2 engines tell of
// all their threads together.
func (d *deriver) cpu() {
	fields := []string{"used_cpu_sys_main_thread", "used_cpu_user_main_thread"}
	if _, ok := d.now.number(fields[0]); !ok {
		fields = []string{"used_cpu_sys", "used_cpu_user"}
	}
	used, ok := d.now.Grown(d.before, fields...)
	if !ok {
		return
	}
	if passed := d.now.At.Sub(d.before.At).Seconds(); passed > 0 {
		d.out["EngineCPUUtilization"] = min(100*used/passed, 100)
	}
}

// replication is what a primary sends and what a replica has of it.
func (d *deriver) replication() {
	switch d.now.Fields["role"] {
	case "master":
		d.out["IsMaster"] = 1
		if sent, ok := d.now.Replicated(d.before); ok {
			d.out["ReplicationBytes"] = sent
		}
	case "slave":
		d.out["IsMaster"] = 0
		d.out["ReplicationBytes"] = 0
		up := 0.0
		if d.now.Fields["master_link_status"] == "up" {
			up = 1
		}
		d.out["MasterLinkHealthStatus"] = up
	}
}

// Replicated is how many bytes a primary has sent to replicas since an earlier reading. The
// offset is the data's and not the process's: what takes the place of a primary goes on with it.
func (r *Reading) Replicated(before *Reading) (float64, bool) {
	now, ok := r.number("master_repl_offset")
	then, was := before.number("master_repl_offset")
	switch {
	case !ok || !was || r.Fields["role"] != "master":
		return 0, false
	case now >= then:
		return now - then, true
	}
	return now, true
}

// commands adds up the kinds of commands, and how long each call took in the mean.
func (d *deriver) commands() {
	calls, usec := map[string]float64{}, map[string]float64{}
	for name, value := range d.now.Fields {
		stat, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok || d.before == nil {
			continue
		}
		kinds := kindsOf(stat)
		if kinds == nil {
			continue
		}
		n, took := d.since(name, value)
		for _, k := range kinds {
			calls[k] += n
			usec[k] += took
		}
	}
	for k, n := range calls {
		if n > 0 {
			d.out[k+"Cmds"], d.out[k+"CmdsLatency"] = n, usec[k]/n
		}
	}
}

// since is how often a command was called since the reading before, and how many
// microseconds that took.
func (d *deriver) since(field, value string) (calls, usec float64) {
	before := d.before.Fields[field]
	same := d.now.run() == d.before.run()
	if same && before == value {
		return 0, 0 // as for most commands in most minutes
	}
	calls, _ = parse(part(value, "calls"))
	usec, _ = parse(part(value, "usec"))
	then, _ := parse(part(before, "calls"))
	took, _ := parse(part(before, "usec"))
	if !same || then > calls {
		return calls, usec
	}
	return calls - then, max(usec-took, 0)
}

// part is one value of "a=1,b=2".
func part(s, name string) string {
	for p := range strings.SplitSeq(s, ",") {
		if n, value, ok := strings.Cut(p, "="); ok && n == name {
			return value
		}
	}
	return ""
}

// ReplicaLags is, by "ip:port", how many seconds ago a primary last heard each of its replicas.
func ReplicaLags(primary *Reading) map[string]float64 {
	out := map[string]float64{}
	for name, value := range primary.Fields {
		n, ok := strings.CutPrefix(name, "slave")
		if _, err := strconv.Atoi(n); !ok || err != nil {
			continue
		}
		f := list(value)
		if lag, ok := parse(f["lag"]); ok && lag >= 0 {
			out[f["ip"]+":"+f["port"]] = lag
		}
	}
	return out
}
