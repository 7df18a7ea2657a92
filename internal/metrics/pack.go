package metrics

import (
	"encoding/binary"
	"math"
	"slices"
)

// names are all figures there are, in order; a sample holds their places.
var names = func() []string {
	out := []string{
		"FreeableMemory", "SwapUsage", "CPUUtilization", "EngineCPUUtilization",
		"CurrConnections", "CurrItems", "CurrVolatileItems", "CurrItemsWithVolatileFields", "CacheHitRate", "DB0AverageTTL",
		"DatabaseMemoryUsagePercentage", "DatabaseMemoryUsageCountedForEvictPercentage",
		"DatabaseCapacityUsagePercentage", "DatabaseCapacityUsageCountedForEvictPercentage",
		"IsMaster", "MasterLinkHealthStatus", "ReplicationBytes", "ReplicationLag", "UnusedMemory",
	}
	for _, table := range [][]named{redisGauges, redisCounters, memcachedGauges, memcachedCounters} {
		for _, f := range table {
			out = append(out, f.name)
		}
	}
	kinds := []string{"GetType", "SetType", "NonKeyType"}
	for family := range families {
		kinds = append(kinds, family)
	}
	for _, k := range kinds {
		out = append(out, k+"Cmds", k+"CmdsLatency")
	}
	slices.Sort(out)
	return slices.Compact(out)
}()

// pack writes figures in few bytes: most are small whole numbers. The places are those of
// names; a figure that is not among them is lost, which a test holds never to happen.
func pack(v Values) []byte {
	var out []byte
	for place, name := range names {
		f, ok := v[name]
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		if f >= 0 && f < 1<<53 && f == math.Trunc(f) {
			out = binary.AppendUvarint(out, uint64(place)<<1)
			out = binary.AppendUvarint(out, uint64(f))
			continue
		}
		out = binary.AppendUvarint(out, uint64(place)<<1|1)
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(f))
	}
	return out
}

// unpack reads what pack wrote, by the names that were in use then; false if it is damaged.
func unpack(b []byte, names []string) (Values, bool) {
	out := Values{}
	for len(b) > 0 {
		place, n := binary.Uvarint(b)
		if n <= 0 || place>>1 >= uint64(len(names)) {
			return nil, false
		}
		b = b[n:]
		name := names[place>>1]
		if place&1 == 0 {
			whole, n := binary.Uvarint(b)
			if n <= 0 {
				return nil, false
			}
			out[name], b = float64(whole), b[n:]
			continue
		}
		if len(b) < 8 {
			return nil, false
		}
		out[name], b = math.Float64frombits(binary.LittleEndian.Uint64(b)), b[8:]
	}
	return out, true
}
