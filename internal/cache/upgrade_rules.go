package cache

import (
	"strings"
)

// CheckUpgrade refuses what a cache cannot become: by ElastiCache's rules first, then by
// what engines replicate to. builds are those that serve at present; alone tells a cluster
// without a replication group.
func CheckUpgrade(from, to Kind, builds []string, alone bool) error {
	if err := checkDirection(from, to); err != nil {
		return err
	}
	if alone && from.Engine != to.Engine {
		return Faultf("InvalidParameterCombination", "Cannot modify a cache cluster from %s to %s: a cluster that stands alone has to be made a replication group first. "+
			"Take a snapshot of it and create a replication group with the engine %s from that.", from.Engine, to.Engine, to.Engine)
	}
	for _, build := range builds {
		if !ReplicatesTo(build, to.Build) {
			return Faultf("InvalidParameterCombination", "Cannot modify %s %s to %s %s in place: the installed engine %s does not replicate to %s. "+
				"Create another cache with %s %s and move the data with holdfast migrate --live.",
				from.Engine, from.EngineVersion, to.Engine, to.EngineVersion, build, to.Build, to.Engine, to.EngineVersion)
		}
	}
	return nil
}

// checkDirection: engines only go up, by any number of versions, and from Redis to Valkey.
// The one way back is from the first Valkey to the last Redis.
func checkDirection(from, to Kind) error {
	const advice = "An engine can only go up. Create another cache with the older version and move the data with holdfast migrate --live."
	switch {
	case from.Engine == to.Engine && CompareVersions(to.EngineVersion, from.EngineVersion) < 0:
		return Faultf("InvalidParameterCombination", "Cannot modify %s from %s to %s. %s", from.Engine, from.EngineVersion, to.EngineVersion, advice)
	case from.Engine == to.Engine, from.Engine == Redis && to.Engine == Valkey:
		return nil
	case from.Engine == Valkey && from.EngineVersion == "7.2" && to.Engine == Redis && to.EngineVersion == "7.1":
		return nil
	}
	return Faultf("InvalidParameterCombination", "Cannot modify %s %s to %s %s. %s", from.Engine, from.EngineVersion, to.Engine, to.EngineVersion, advice)
}

// ReplicatesTo tells whether a build can be the primary of a replica of another one: that
// one has to read the RDB file which the first sends.
func ReplicatesTo(primary, replica string) bool {
	if primary == replica {
		return true
	}
	from, fromVersion, _ := strings.Cut(primary, "-")
	to, toVersion, _ := strings.Cut(replica, "-")
	if to == Valkey && from == Valkey {
		// Valkey 9 sends replicas of older ones the files that those know, as far as it can.
		return true
	}
	sent := redisRDB(fromVersion)
	if from == Valkey {
		sent = sharedRDB
	}
	reads := redisRDB(toVersion)
	if to == Valkey {
		reads = sharedRDB
	}
	return sent <= reads
}

// sharedRDB is the last version of RDB files that Redis and Valkey have in common.
const sharedRDB = 11

// redisRDB is the version of the RDB files that a Redis writes.
func redisRDB(version string) int {
	for _, since := range []struct {
		version string
		rdb     int
	}{{"7.4", 12}, {"7.2", sharedRDB}, {"7.0", 10}, {"5.0", 9}, {"4.0", 8}} {
		if CompareVersions(version, since.version) >= 0 {
			return since.rdb
		}
	}
	return 6
}
