package control

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// MemcachedChange is what ModifyCacheCluster asks of Memcached alone. What concerns
// its nodes, its version and its node type waits for the maintenance window unless Immediately.
type MemcachedChange struct {
	Nodes    *int
	Remove   []string
	NewZones []string
	AZMode   string
	// Scale is for a change of the node type.
	Scale       *cache.ScaleConfig
	Immediately bool
}

// refuse is for the other engines.
func (in *MemcachedChange) refuse() error {
	for _, c := range []struct {
		member string
		asked  bool
	}{
		{"AZMode", in.AZMode == CrossAZ},
		{"CacheNodeIdsToRemove", len(in.Remove) > 0},
		{"NewAvailabilityZones", len(in.NewZones) > 0},
		{"NumCacheNodes", orElse(in.Nodes, 1) != 1},
		{"ScaleConfig", in.Scale != nil},
	} {
		if c.asked {
			return invalid("The parameter %s is for the engine memcached only. Leave it out.", c.member)
		}
	}
	return nil
}

// isMemcached tells whether there is a Memcached cluster of that id, and the port of its nodes.
func (c *Control) isMemcached(ctx context.Context, region, id string) (k cache.CacheCluster, yes bool, err error) {
	err = c.DB.View(ctx, func(tx *store.Tx) error {
		k, _, err = records.Clusters.Get(tx, cache.Key(region, lower(id)))
		return err
	})
	return k, k.Memcached != nil, err
}

// modifyMemcached changes a Memcached cluster. now is how it was a moment ago.
func (c *Control) modifyMemcached(ctx context.Context, now *cache.CacheCluster, in *Change) (*cache.CacheCluster, error) {
	if err := checkMemcachedChange(now.Region, in); err != nil {
		return nil, err
	}
	choice, err := c.newVersion(now, in.Same.EngineVersion)
	if err != nil {
		return nil, err
	}
	addresses := 0
	if n := in.Memcached.Nodes; n != nil {
		plan, err := planNodes(now.Memcached, *n, in.Memcached.Remove)
		if err != nil {
			return nil, err
		}
		addresses = plan.add
	}
	var k cache.CacheCluster
	err = c.withAddresses(ctx, addresses, now.Port, func(tx *store.Tx, at []cache.Address, next int) error {
		var err error
		if k, err = getCluster(tx, now.Region, now.ID); err != nil {
			return err
		}
		if k.Status != cache.StatusAvailable {
			return cache.Faultf(codeClusterState, "Cache cluster must be in available state to modify. Cache cluster %s has status %s.", k.ID, k.Status)
		}
		return c.changeMemcached(tx, &k, in, choice, at, next)
	})
	if err != nil {
		return nil, err
	}
	return &k, nil
}

func checkMemcachedChange(region string, in *Change) error {
	m := &in.Memcached
	if m.Nodes != nil {
		if err := checkNodeCount(*m.Nodes); err != nil {
			return err
		}
	}
	if err := checkAZMode(m.AZMode); err != nil {
		return err
	}
	if err := checkZones(region, m.NewZones); err != nil {
		return err
	}
	s := m.Scale
	switch {
	case in.SnapshotWindow != "" || orElse(in.SnapshotRetention, 0) > 0:
		return conflict("Snapshots are not supported for the engine memcached: SnapshotWindow and SnapshotRetentionLimit cannot be used.")
	case m.Nodes == nil && len(m.Remove) > 0:
		return conflict("CacheNodeIdsToRemove needs NumCacheNodes.")
	case m.Nodes == nil && len(m.NewZones) > 0:
		return conflict("NewAvailabilityZones needs NumCacheNodes.")
	case s != nil && in.Same.NodeType == "":
		return conflict("ScaleConfig needs CacheNodeType.")
	case s != nil && (s.Percent < 10 || s.Percent > 100):
		return invalid("The parameter ScaleConfig.ScalePercentage must be between 10 and 100. Provided value: %d", s.Percent)
	case s != nil && (s.Minutes < 2 || s.Minutes > 30):
		return invalid("The parameter ScaleConfig.ScaleIntervalMinutes must be between 2 and 30. Provided value: %d", s.Minutes)
	}
	return nil
}

// newVersion finds what serves another version; nil where none is asked for.
func (c *Control) newVersion(now *cache.CacheCluster, asked string) (*Choice, error) {
	if asked == "" {
		return nil, nil
	}
	d := &decided{}
	if err := c.decideEngine(d, &Asked{Engine: cache.Memcached, EngineVersion: asked, memcached: true}); err != nil {
		return nil, err
	}
	if cache.CompareVersions(d.EngineVersion, now.EngineVersion) < 0 {
		return nil, conflict("Cache cluster %s has version %s of memcached and cannot be given an older one: %s. Create another cluster with it.",
			now.ID, now.EngineVersion, d.EngineVersion)
	}
	return &d.choice, nil
}

// changeMemcached writes the change down, as pending or as asked for now.
func (c *Control) changeMemcached(tx *store.Tx, k *cache.CacheCluster, in *Change, choice *Choice, at []cache.Address, next int) error {
	same := Same{Engine: in.Same.Engine, IPDiscovery: in.Same.IPDiscovery}
	if err := same.check(&k.Settings, k.Node.Build); err != nil {
		return err
	}
	notes, err := c.apply(in, &k.Settings, &k.Automatic)
	if err != nil {
		return err
	}
	m := k.Memcached
	if m.Pending == nil {
		m.Pending = &cache.MemcachedPending{}
	}
	if err := changeAZMode(m, in.Memcached.AZMode); err != nil {
		return err
	}
	if err := c.changeNodes(tx, k, &in.Memcached, at, next); err != nil {
		return err
	}
	if err := c.changeNodeType(tx, k, in); err != nil {
		return err
	}
	used, err := c.changeVersion(tx, k, choice, in.ParameterGroup)
	if err != nil {
		return err
	}
	if in.Memcached.Immediately {
		applied, err := records.ApplyMemcachedPending(tx, k, c.Now())
		if err != nil {
			return err
		}
		notes = append(notes, applied...)
	}
	if m.Pending.Empty() {
		m.Pending = nil
	}
	if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
		return err
	}
	return c.tell(tx, k.Region, cache.EventCluster, k.ID, append(notes, used...)...)
}

func changeAZMode(m *cache.MemcachedCluster, mode string) error {
	if mode == SingleAZ && m.Spans() {
		return conflict("The AZMode cannot be %s: cache nodes are in several availability zones.", SingleAZ)
	}
	if mode != "" {
		m.CrossAZ = mode == CrossAZ
	}
	return nil
}

// changeNodes adds to what is pending what another number of nodes comes to.
func (c *Control) changeNodes(tx *store.Tx, k *cache.CacheCluster, in *MemcachedChange, at []cache.Address, next int) error {
	if in.Nodes == nil {
		return nil
	}
	m := k.Memcached
	plan, err := planNodes(m, *in.Nodes, in.Remove)
	if err != nil {
		return err
	}
	if plan.add > len(at) {
		return cache.Faultf(codeClusterState, "Cache cluster %s has just been modified. Ask again.", k.ID)
	}
	subnets, err := subnetGroup(tx, k.Region, k.SubnetGroup)
	if err != nil {
		return err
	}
	zones, err := newZones(k, plan.add, in.NewZones, subnets)
	if err != nil {
		return err
	}
	t, _ := cache.FindNodeType(k.NodeType)
	if plan.add > 0 {
		if _, err := c.reserve(tx, k.Region, plan.add, t); err != nil {
			return err
		}
	}
	var claims []records.AddressClaim
	var added []cache.MemcachedNode
	for i, id := range freeIDs(m, plan.add) {
		added = append(added, cache.MemcachedNode{ID: id, Zone: zones[i], Address: at[i], CreatedAt: c.Now()})
		claims = append(claims, records.AddressClaim{Address: at[i], Owner: records.MemcachedOwner(k.Key(), id)})
	}
	for _, id := range plan.drop {
		if err := records.ReleaseAddresses(tx, records.MemcachedOwner(k.Key(), id)); err != nil {
			return err
		}
	}
	m.Pending.Add = slices.DeleteFunc(m.Pending.Add, func(n cache.MemcachedNode) bool { return slices.Contains(plan.drop, n.ID) })
	m.Pending.Add = append(m.Pending.Add, added...)
	m.Pending.Remove = plan.remove
	if len(claims) == 0 {
		return nil
	}
	return c.claim(tx, next, claims)
}

// changeNodeType adds another node type to what is pending, or takes one off it again.
func (c *Control) changeNodeType(tx *store.Tx, k *cache.CacheCluster, in *Change) error {
	p := k.Memcached.Pending
	switch in.Same.NodeType {
	case "":
		return nil
	case k.NodeType:
		p.NodeType, p.Scale = "", nil
		return nil
	}
	t, ok := cache.FindNodeType(in.Same.NodeType)
	if !ok {
		return invalid("The parameter CacheNodeType is not valid: there is no node type %s.", in.Same.NodeType)
	}
	if cache.CompareVersions(k.EngineVersion, "1.5") < 0 {
		return conflict("The node type of a cluster with memcached %s cannot be modified: that needs 1.5 or newer.", k.EngineVersion)
	}
	if err := checkMemcachedNodeType(t, k.EngineVersion); err != nil {
		return err
	}
	if k.Memcached.TransitEncryption {
		if err := checkMemcachedTLS(&decided{Settings: cache.Settings{EngineVersion: k.EngineVersion, NodeType: t.Name}}, true); err != nil {
			return err
		}
	}
	if c.StrictMemory {
		more := t
		was, _ := cache.FindNodeType(k.NodeType)
		more.MaxMemory -= was.MaxMemory
		if _, err := c.reserve(tx, k.Region, len(k.Memcached.Nodes), more); err != nil {
			return err
		}
	}
	p.NodeType, p.Scale = t.Name, in.Memcached.Scale
	return nil
}

// changeVersion adds another version to what is pending, with the parameter group that it
// needs; another parameter group alone is used at once.
func (c *Control) changeVersion(tx *store.Tx, k *cache.CacheCluster, choice *Choice, group string) (notes []string, err error) {
	p := k.Memcached.Pending
	if choice != nil && choice.Asked == k.EngineVersion {
		p.EngineVersion, p.Build, p.ParameterGroup = "", "", ""
		choice = nil
	}
	family, _ := cache.FamilyOf(k.Engine, k.EngineVersion)
	name, build := lower(group), k.Node.Build
	if choice != nil {
		if name == "" && choice.Family != family {
			if k.ParameterGroup != cache.DefaultParameterGroup(family) {
				return nil, conflict("Version %s needs a CacheParameterGroupName of the family %s.", choice.Asked, choice.Family)
			}
			name = cache.DefaultParameterGroup(choice.Family)
		}
		family, build = choice.Family, choice.Build
	}
	if name == "" {
		name = k.ParameterGroup
	}
	g, err := findParameterGroup(tx, k.Region, name)
	if err != nil {
		return nil, err
	}
	if g.Family != family {
		return nil, conflict("Expected a parameter group of family %s but found one of family %s", family, g.Family)
	}
	if err := c.checkHonoured(&g, build, g.Values); err != nil {
		return nil, err
	}
	if choice != nil {
		to := k.Settings
		to.EngineVersion, to.ParameterGroup = choice.Asked, g.Name
		if err := checkItemSizes(to.EffectiveParameters(g.Values)); err != nil {
			return nil, err
		}
		p.EngineVersion, p.Build, p.ParameterGroup = choice.Asked, choice.Build, g.Name
		return nil, nil
	}
	if g.Name == k.ParameterGroup {
		return nil, nil
	}
	k.ParameterGroup, k.Parameters = g.Name, maps.Clone(g.Values)
	return []string{usesParameterGroup(g.Name)}, nil
}

// checkItemSizes refuses what ElastiCache refuses of the parameters at a change of the version.
func checkItemSizes(values map[string]string) error {
	number := func(name string) int {
		n, err := strconv.Atoi(values[name])
		if err != nil {
			return 0 // the version has no such parameter
		}
		return n
	}
	chunk, item := number("slab_chunk_max"), number("max_item_size")
	room := (number("max_cache_memory") - number("memcached_connections_overhead")) << 20
	switch {
	case chunk > item:
		return conflict("The engine version cannot be modified: slab_chunk_max (%d) is more than max_item_size (%d).", chunk, item)
	case chunk > 0 && item%chunk != 0:
		return conflict("The engine version cannot be modified: max_item_size (%d) is not a multiple of slab_chunk_max (%d).", item, chunk)
	case item > room/4:
		return conflict("The engine version cannot be modified: max_item_size (%d) is more than a quarter of max_cache_memory less memcached_connections_overhead (%d).", item, room)
	}
	return nil
}
