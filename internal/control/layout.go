package control

import (
	"slices"
	"strconv"

	"holdfast.dev/internal/cache"
)

// NewShard is what one NodeGroupConfiguration asks for; zero values were not said.
type NewShard struct {
	ID, Slots    string
	Replicas     *int
	PrimaryZone  string
	ReplicaZones []string
}

// layout is one node group as it is to be.
type layout struct {
	id    string // "0001"
	slots cache.Slots
	nodes int
	// zones that were asked for, the primary's first; shorter than nodes, or empty,
	// for our choice.
	zones []string
}

// ElastiCache's quotas for a cluster.
const (
	maxNodeGroups   = 90
	maxClusterNodes = 90
)

// layouts are the node groups of a new replication group.
func (in *NewGroup) layouts(d *decided, from *cache.Snapshot) ([]layout, error) {
	if !d.cluster {
		one, err := in.single()
		return []layout{one}, err
	}
	if err := in.checkClustered(); err != nil {
		return nil, err
	}
	n, err := in.shardCount(from)
	if err != nil {
		return nil, err
	}
	ids, err := in.shardIDs(n)
	if err != nil {
		return nil, err
	}
	slots, err := in.shardSlots(n, from)
	if err != nil {
		return nil, err
	}
	out, nodes := make([]layout, n), 0
	for i := range out {
		out[i] = layout{id: ids[i], slots: slots[i]}
		if out[i].nodes, err = in.shardNodes(i, from); err != nil {
			return nil, err
		}
		if out[i].zones, err = in.shardZones(i, out[i].nodes); err != nil {
			return nil, err
		}
		nodes += out[i].nodes
	}
	if in.MultiAZ && slices.ContainsFunc(out, func(l layout) bool { return l.nodes < 2 }) {
		return nil, conflict("MultiAZEnabled requires at least one replica in each node group.")
	}
	if nodes > maxClusterNodes {
		return nil, cache.Faultf(codeClusterNodeQuota, "Cluster node quota exceeded. Each cluster can have at most %d nodes in this region.", maxClusterNodes)
	}
	slices.SortFunc(out, func(a, b layout) int { return number(a.id) - number(b.id) })
	return out, nil
}

// single is the one node group of a replication group without cluster mode.
func (in *NewGroup) single() (layout, error) {
	if n := orElse(in.NodeGroups, 1); n > 1 || len(in.Shards) > 1 {
		return layout{}, conflict("More than one node group needs cluster mode: name a parameter group with cluster-enabled yes, or leave CacheParameterGroupName and ClusterMode out.")
	}
	l := layout{id: cache.NodeGroupID, slots: cache.AllSlots(), zones: in.Zones}
	if err := in.readSingle(); err != nil {
		return l, err
	}
	n, err := groupSize(in)
	if err != nil {
		return l, err
	}
	l.nodes, l.zones = n, in.Zones
	switch {
	case in.AutomaticFailover && n < 2:
		err = conflict("When using automatic failover, there must be at least 2 cache clusters in the replication group.")
	case len(in.Zones) > 0 && len(in.Zones) != n:
		err = invalid("The number of availability zones must be equal to the number of cache clusters. Provided: %d zones for %d clusters.", len(in.Zones), n)
	}
	return l, err
}

// readSingle takes over what the configuration of the one shard says.
func (in *NewGroup) readSingle() error {
	if len(in.Shards) == 0 {
		return nil
	}
	s := &in.Shards[0]
	if s.Slots != "" && s.Slots != cache.AllSlots().String() {
		return conflict("NodeGroupConfiguration.Slots needs cluster mode: without it the one node group has all slots.")
	}
	if s.ID != "" && number(s.ID) != 1 {
		return invalid("The only node group without cluster mode is %s. Provided value: %s", cache.NodeGroupID, s.ID)
	}
	if s.Replicas != nil {
		if in.Replicas != nil && *in.Replicas != *s.Replicas {
			return conflict("ReplicasPerNodeGroup and NodeGroupConfiguration.ReplicaCount contradict each other.")
		}
		in.Replicas = s.Replicas
	}
	if s.PrimaryZone == "" && len(s.ReplicaZones) == 0 {
		return nil
	}
	zones := append([]string{s.PrimaryZone}, s.ReplicaZones...)
	if len(in.Zones) > 0 && !slices.Equal(in.Zones, zones) {
		return conflict("PreferredCacheClusterAZs and the zones of NodeGroupConfiguration contradict each other.")
	}
	in.Zones = zones
	return nil
}

// checkClustered refuses what does not go with cluster mode.
func (in *NewGroup) checkClustered() error {
	switch {
	case !in.AutomaticFailover:
		return invalid("Redis with cluster mode enabled cannot be created with auto failover turned off.")
	case in.Nodes != nil:
		return conflict("NumCacheClusters cannot be used with cluster mode enabled: use NumNodeGroups and ReplicasPerNodeGroup.")
	case len(in.Zones) > 0:
		return conflict("PreferredCacheClusterAZs cannot be used with cluster mode enabled: use NodeGroupConfiguration.")
	}
	return nil
}

// shardCount is how many node groups there are to be: as many as asked for, or as the
// snapshot has.
func (in *NewGroup) shardCount(from *cache.Snapshot) (int, error) {
	n := len(in.Shards)
	switch {
	case in.NodeGroups != nil && n > 0 && *in.NodeGroups != n:
		return 0, conflict("The number of elements of NodeGroupConfiguration must be equal to NumNodeGroups. Provided: %d for %d node groups.", n, *in.NodeGroups)
	case in.NodeGroups != nil:
		n = *in.NodeGroups
	case n == 0 && from != nil && from.ClusterEnabled():
		n = len(from.NodeGroups)
	case n == 0:
		n = 1
	}
	if n > maxNodeGroups {
		return 0, cache.Faultf(codeNodeGroupQuota, "The request would exceed the maximum allowed number of node groups (shards) in a single replication group, which is %d.", maxNodeGroups)
	}
	return n, nil
}

func number(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return -1
	}
	return n
}

// shardIDs are those of NodeGroupConfiguration, or 0001 and so on.
func (in *NewGroup) shardIDs(n int) ([]string, error) {
	out := make([]string, n)
	named := 0
	for i := range out {
		out[i] = cache.NodeGroupName(i + 1)
		if i >= len(in.Shards) || in.Shards[i].ID == "" {
			continue
		}
		named++
		id := number(in.Shards[i].ID)
		if id < 1 || id > 9999 || len(in.Shards[i].ID) > 4 {
			return nil, invalid("NodeGroupConfiguration.NodeGroupId must have 1 to 4 digits. Provided value: %s", in.Shards[i].ID)
		}
		if out[i] = cache.NodeGroupName(id); slices.Contains(out[:i], out[i]) {
			return nil, invalid("NodeGroupConfiguration names the node group %s twice.", out[i])
		}
	}
	if named != 0 && named != n {
		return nil, conflict("NodeGroupConfiguration.NodeGroupId must be given for all node groups or for none.")
	}
	return out, nil
}

// shardSlots are those of NodeGroupConfiguration, those of the snapshot's node
// groups where there are as many, or even parts.
func (in *NewGroup) shardSlots(n int, from *cache.Snapshot) ([]cache.Slots, error) {
	given := 0
	for _, s := range in.Shards {
		if s.Slots != "" {
			given++
		}
	}
	switch {
	case given < n && len(in.SnapshotARNs) > 0:
		return nil, conflict("Slots must be provided when restoring from snapshot ARNs with cluster mode enabled")
	case given == 0 && from != nil && len(from.NodeGroups) == n:
		out := make([]cache.Slots, n)
		for i := range out {
			out[i] = from.NodeGroups[i].Slots
		}
		return out, nil
	case given == 0:
		return cache.EvenSlots(n), nil
	case given < n:
		return nil, conflict("NodeGroupConfiguration.Slots must be given for all node groups or for none.")
	}
	return parseShardSlots(in.Shards)
}

// parseShardSlots reads slots that have to cover the keyspace once.
func parseShardSlots(shards []NewShard) ([]cache.Slots, error) {
	out := make([]cache.Slots, len(shards))
	var all cache.Slots
	for i, s := range shards {
		var err error
		if out[i], err = cache.ParseSlots(s.Slots); err != nil {
			return nil, invalid("NodeGroupConfiguration.Slots: %s.", err)
		}
		all = append(all, out[i]...)
	}
	slices.SortFunc(all, func(a, b cache.SlotRange) int { return a.First - b.First })
	next := 0
	for _, r := range all {
		switch {
		case r.First < next:
			return nil, invalid("NodeGroupConfiguration.Slots must not overlap: slot %d belongs to two node groups.", r.First)
		case r.First > next:
			return nil, uncovered(next, r.First-1)
		}
		next = r.Last + 1
	}
	if next < cache.SlotCount {
		return nil, uncovered(next, cache.SlotCount-1)
	}
	return out, nil
}

func uncovered(first, last int) error {
	return invalid("NodeGroupConfiguration.Slots must cover all slots from 0 to %d: %s belong to no node group.",
		cache.SlotCount-1, cache.SlotRange{First: first, Last: last})
}

// shardNodes is how many nodes a node group has, the primary too.
func (in *NewGroup) shardNodes(i int, from *cache.Snapshot) (int, error) {
	replicas := orElse(in.Replicas, 0)
	if in.Replicas == nil && from != nil && i < len(from.NodeGroups) {
		replicas = max(0, len(from.NodeGroups[i].Members)-1)
	}
	if i < len(in.Shards) {
		replicas = orElse(in.Shards[i].Replicas, max(replicas, len(in.Shards[i].ReplicaZones)))
	}
	if replicas < 0 || replicas >= maxGroupNodes {
		return 0, invalid("The number of replicas per node group must be within 0 and %d.", maxGroupNodes-1)
	}
	return replicas + 1, nil
}

func (in *NewGroup) shardZones(i, nodes int) ([]string, error) {
	if i >= len(in.Shards) {
		return nil, nil
	}
	s := &in.Shards[i]
	switch {
	case len(s.ReplicaZones) > 0 && len(s.ReplicaZones) != nodes-1:
		return nil, invalid("The number of ReplicaAvailabilityZones must be equal to the number of replicas of the node group. Provided: %d zones for %d replicas.", len(s.ReplicaZones), nodes-1)
	case s.PrimaryZone == "" && len(s.ReplicaZones) == 0:
		return nil, nil
	case s.PrimaryZone == "":
		return nil, invalid("ReplicaAvailabilityZones need a PrimaryAvailabilityZone.")
	}
	return append([]string{s.PrimaryZone}, s.ReplicaZones...), nil
}
