package cache

// memcachedRow is one parameter of Memcached: it exists in versions from since
// and, if until is set, before that.
type memcachedRow struct {
	parameterRow
	sinceVersion, untilVersion string
}

// memcachedParameters are those that some version of the family has.
func memcachedParameters(f Family) []Parameter {
	last := f.Name[len(Memcached):] + ".999999"
	var out []Parameter
	for _, r := range memcachedRows {
		if CompareVersions(r.sinceVersion, last) > 0 {
			continue
		}
		if r.untilVersion != "" && CompareVersions(r.untilVersion, f.First) <= 0 {
			continue
		}
		row := r.parameterRow
		row.min = r.sinceVersion
		out = append(out, row.parameter(f.First))
	}
	return out
}

func memcached(name, value, allowed, typ, flags, since, until, about string) memcachedRow {
	return memcachedRow{
		parameterRow: parameterRow{name: name, value: value, allowed: allowed, typ: typ, flags: flags, about: about},
		sinceVersion: since, untilVersion: until,
	}
}

var memcachedRows = []memcachedRow{
	memcached("backlog_queue_limit", "1024", "1-10000", TypeInteger, "FR", "1.4.5", "", "Connections that may wait to be accepted."),
	memcached("binding_protocol", "auto", "auto,ascii", TypeString, "R", "1.4.5", "", "Protocol that clients may speak."),
	memcached("cas_disabled", "0", "0,1", TypeBoolean, "R", "1.4.5", "", "Whether check-and-set is off, which saves 8 bytes per item."),
	memcached("chunk_size", "48", "1-1024", TypeInteger, "R", "1.4.5", "", "Least bytes for the key, value and flags of the smallest item."),
	memcached("chunk_size_growth_factor", "1.25", "1-1024", TypeFloat, "R", "1.4.5", "", "Factor between the chunk sizes of slab classes."),
	memcached("config_max", "16", "16", TypeInteger, "FR", "1.4.14", "", "Most configuration entries."),
	memcached("config_size_max", "65536", "65536", TypeInteger, "FR", "1.4.14", "", "Most bytes of the configuration entries."),
	memcached("disable_flush_all", "0", "0,1", TypeBoolean, "R", "1.4.24", "", "Whether flush_all is off."),
	memcached("error_on_memory_exhausted", "0", "0,1", TypeBoolean, "R", "1.4.5", "", "Whether full memory is an error rather than a reason to evict."),
	memcached("expirezero_does_not_evict", "0", "0,1", TypeBoolean, "R", "1.4.24", "1.5.10", "Whether items without expiry are never evicted."),
	memcached("hash_algorithm", "jenkins", "jenkins,murmur3", TypeString, "R", "1.4.24", "", "Hash of the main table."),
	memcached("hashpower_init", "16", "12-64", TypeInteger, "FR", "1.4.14", "", "First size of the main table, as a power of two."),
	memcached("idle_timeout", "0", "0-86400", TypeInteger, "R", "1.4.33", "", "Seconds after which an idle client is disconnected; 0 for never."),
	memcached("inline_ascii_resp", "0", "0,1", TypeBoolean, "R", "1.5.10", "", "Whether numbers of an answer are stored in the item."),
	memcached("large_memory_pages", "0", "0,1", TypeBoolean, "FR", "1.4.5", "", "Whether large pages are used."),
	memcached("lock_down_paged_memory", "0", "0,1", TypeBoolean, "FR", "1.4.5", "", "Whether memory is locked."),
	memcached("lru_crawler", "0", "0,1", TypeBoolean, "R", "1.4.24", "", "Whether a thread reclaims expired items."),
	memcached("lru_maintainer", "0", "0,1", TypeBoolean, "R", "1.4.24", "", "Whether a thread reorders items in the background."),
	memcached("max_cache_memory", "", "-", TypeInteger, "FRN", "1.4.5", "", "Megabytes of memory for items and connections."),
	memcached("max_item_size", "1048576", "1024-1073741824", TypeInteger, "R", "1.4.5", "", "Most bytes of one item."),
	memcached("max_simultaneous_connections", "65000", "3-65000", TypeInteger, "FR", "1.4.5", "", "Most clients at once."),
	memcached("maxconns_fast", "0", "0,1", TypeBoolean, "R", "1.4.14", "", "Whether clients beyond the most are turned away at once."),
	memcached("maximize_core_file_limit", "0", "0,1", TypeBoolean, "FR", "1.4.5", "", "Whether core files may be of any size."),
	memcached("memcached_connections_overhead", "100", "0-", TypeInteger, "R", "1.4.5", "", "Megabytes set aside for connections."),
	memcached("modern", "1", "0,1", TypeBoolean, "R", "1.4.33", "1.5.10", "Whether the newer defaults apply."),
	memcached("no_modern", "1", "0,1", TypeBoolean, "R", "1.5.10", "", "Whether the newer defaults are off."),
	memcached("num_threads", "", "-", TypeInteger, "FRN", "1.4.5", "", "Worker threads."),
	memcached("requests_per_event", "20", "20", TypeInteger, "FR", "1.4.5", "", "Requests of one connection before others get their turn."),
	memcached("slab_automove", "0", "0,1,2", TypeInteger, "R", "1.4.14", "", "How eagerly memory moves between slab classes."),
	memcached("slab_chunk_max", "524288", "1024-1048576", TypeInteger, "R", "1.4.33", "", "Most bytes of one chunk."),
	memcached("slab_reassign", "0", "0,1", TypeBoolean, "R", "1.4.14", "", "Whether memory may move between slab classes."),
	memcached("track_sizes", "0", "0,1", TypeBoolean, "R", "1.4.33", "", "Whether item sizes are counted."),
	memcached("watch", "1", "0,1", TypeBoolean, "", "1.4.33", "", "Whether clients may watch evictions and requests."),
	memcached("watcher_logbuf_size", "256", "8-", TypeInteger, "R", "1.4.33", "", "Kilobytes of a watcher's buffer."),
	memcached("worker_logbuf_size", "64", "8-", TypeInteger, "R", "1.4.33", "", "Kilobytes of a worker's log buffer."),
}
