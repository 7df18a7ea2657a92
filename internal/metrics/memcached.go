package metrics

import "time"

var memcachedGauges = []named{
	{"BytesUsedForCacheItems", "bytes"},
	{"BytesUsedForHash", "hash_bytes"},
	{"CurrConnections", "curr_connections"},
	{"CurrItems", "curr_items"},
}

var memcachedCounters = []named{
	{"BytesReadIntoMemcached", "bytes_read"},
	{"BytesWrittenOutFromMemcached", "bytes_written"},
	{"CasBadval", "cas_badval"},
	{"CasHits", "cas_hits"},
	{"CasMisses", "cas_misses"},
	{"CmdFlush", "cmd_flush"},
	{"CmdGets", "cmd_get"},
	{"CmdSet", "cmd_set"},
	{"CmdTouch", "cmd_touch"},
	{"DecrHits", "decr_hits"},
	{"DecrMisses", "decr_misses"},
	{"DeleteHits", "delete_hits"},
	{"DeleteMisses", "delete_misses"},
	{"Evictions", "evictions"},
	{"EvictedUnfetched", "evicted_unfetched"},
	{"ExpiredUnfetched", "expired_unfetched"},
	{"GetHits", "get_hits"},
	{"GetMisses", "get_misses"},
	{"IncrHits", "incr_hits"},
	{"IncrMisses", "incr_misses"},
	{"Reclaimed", "reclaimed"},
	{"SlabsMoved", "slabs_moved"},
	{"TouchHits", "touch_hits"},
	{"TouchMisses", "touch_misses"},
	{"NewConnections", "total_connections"},
	{"NewItems", "total_items"},
}

// Memcached derives the figures of a node of memcached, as Redis does.
func Memcached(now, before *Reading, longest time.Duration) Values {
	d := derive(now, before, longest)
	d.host()
	for _, f := range memcachedGauges {
		d.is(f.name, f.field)
	}
	for _, f := range memcachedCounters {
		d.grew(f.name, f.field)
	}
	bytes, ok := d.now.number("bytes")
	if most, there := d.now.number("limit_maxbytes"); ok && there {
		d.out["UnusedMemory"] = most - bytes
	}
	return d.out
}
