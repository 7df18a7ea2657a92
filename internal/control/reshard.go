package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Reshard is what ModifyReplicationGroupShardConfiguration asks for.
type Reshard struct {
	// Immediately is ApplyImmediately, which has to be true.
	Immediately bool
	// NodeGroups is how many there are to be.
	NodeGroups int
	// Zones says where the nodes of node groups are to be.
	Zones []ShardZones
	// Remove and Retain are two ways to say which node groups go; one of them is given
	// where some are to.
	Remove, Retain []string
}

// ShardZones are the zones of the nodes of one node group, the primary's first. ID is
// "" for a new one under a name of our choice.
type ShardZones struct {
	ID    string
	Zones []string
}

// ModifyShards writes down how many node groups a group in cluster mode is to have, and
// the nodes of new ones.
func (c *Control) ModifyShards(ctx context.Context, region, id string, in Reshard) (*Group, error) {
	if err := in.check(region); err != nil {
		return nil, err
	}
	g, err := c.readGroup(ctx, region, id)
	if err != nil {
		return nil, err
	}
	plan, err := in.plan(g)
	if err != nil {
		return nil, err
	}
	need := plan.nodes()
	if !c.ownHosts() {
		need *= 2 // the buses want ports, too
	}
	var out Group
	err = c.withAddresses(ctx, need, g.Port, func(tx *store.Tx, at []cache.Address, next int) (err error) {
		if out, err = fullGroup(tx, region, id); err != nil {
			return err
		}
		again, err := in.plan(&out)
		if err == nil && again.nodes() != plan.nodes() {
			err = cache.Faultf(codeGroupState, "Replication group %s was changed meanwhile. Try again.", out.ID)
		}
		if err != nil {
			return err
		}
		return c.reshard(tx, &out, again, at, next)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// check checks what needs no other knowledge.
func (in *Reshard) check(region string) error {
	switch {
	case !in.Immediately:
		return invalid("The parameter ApplyImmediately must be true: the shard configuration is changed at once.")
	case in.NodeGroups < 1:
		return invalid("The parameter NodeGroupCount must be at least 1. Provided value: %d", in.NodeGroups)
	case in.NodeGroups > maxNodeGroups:
		return cache.Faultf(codeNodeGroupQuota, "The request would exceed the maximum allowed number of node groups (shards) in a single replication group, which is %d.", maxNodeGroups)
	case len(in.Remove) > 0 && len(in.Retain) > 0:
		return conflict("The parameters NodeGroupsToRemove and NodeGroupsToRetain cannot be used together.")
	}
	for _, z := range in.Zones {
		if err := checkZones(region, z.Zones); err != nil {
			return err
		}
	}
	return nil
}

// reshardPlan is what a request comes to.
type reshardPlan struct {
	before, want []string
	// add are new node groups.
	add []layout
}

func (p *reshardPlan) nodes() int {
	n := 0
	for i := range p.add {
		n += p.add[i].nodes
	}
	return n
}

func (p *reshardPlan) told(group string) string {
	if slices.Equal(p.before, p.want) {
		return "Rebalancing of the slots of replication group " + group + " started"
	}
	return fmt.Sprintf("Resharding of replication group %s from %d to %d node groups started", group, len(p.before), len(p.want))
}

// plan holds a request against the group as it is.
func (in *Reshard) plan(g *Group) (*reshardPlan, error) {
	if !g.ClusterEnabled {
		return nil, conflict("Replication group %s is not in cluster mode: it has one node group, always.", g.ID)
	}
	if err := checkChangeable(g); err != nil {
		return nil, err
	}
	p := &reshardPlan{}
	for _, n := range g.NodeGroups {
		p.before = append(p.before, n.ID)
	}
	now := len(p.before)
	if in.NodeGroups >= now && len(in.Remove)+len(in.Retain) > 0 {
		return nil, conflict("NodeGroupsToRemove and NodeGroupsToRetain can be used only when NodeGroupCount is less than the current number of node groups, which is %d.", now)
	}
	if in.NodeGroups <= now && len(in.Zones) > 0 {
		return nil, conflict("ReshardingConfiguration can be used only when NodeGroupCount is greater than the current number of node groups, which is %d.", now)
	}
	switch {
	case in.NodeGroups > now:
		return p, in.planOut(g, p)
	case in.NodeGroups < now:
		return p, in.planIn(g, p)
	}
	p.want = p.before
	if len(g.Unfinished) == 0 && len(cache.PlanSlots(g.NodeGroups, p.want)) == 0 {
		return nil, cache.Faultf(codeGroupState, "Slots in the replication group are uniformly distributed. Nothing to do.")
	}
	return p, nil
}

// planOut adds node groups, each with as many nodes as the smallest one has.
func (in *Reshard) planOut(g *Group, p *reshardPlan) error {
	nodes := maxGroupNodes
	for _, n := range g.NodeGroups {
		nodes = min(nodes, len(n.Members))
	}
	added, err := in.newShards(g, p.before)
	if err != nil {
		return err
	}
	for _, z := range added {
		if len(z.Zones) > 0 && len(z.Zones) != nodes {
			return invalid("The number of PreferredAvailabilityZones must be that of the nodes of a new node group, which is %d. Provided: %d.", nodes, len(z.Zones))
		}
		p.add = append(p.add, layout{id: z.ID, nodes: nodes, zones: z.Zones})
	}
	if len(g.Members)+p.nodes() > maxClusterNodes {
		return cache.Faultf(codeClusterNodeQuota, "Cluster node quota exceeded. Each cluster can have at most %d nodes in this region.", maxClusterNodes)
	}
	p.want = slices.Clone(p.before)
	for _, l := range p.add {
		p.want = append(p.want, l.id)
	}
	slices.Sort(p.want)
	return nil
}

// newShards are the node groups to be added. A configuration is of them alone, or of
// all node groups, of which the present ones stay where they are.
func (in *Reshard) newShards(g *Group, before []string) ([]ShardZones, error) {
	want := in.NodeGroups - len(before)
	given, err := in.stated(g)
	if err != nil {
		return nil, err
	}
	if n := len(given); n > 0 && n != want {
		return nil, invalid("ReshardingConfiguration must have one element for each new node group, of which there are %d, or one for each node group, of which there will be %d. Provided: %d new ones.",
			want, in.NodeGroups, n)
	}
	out := make([]ShardZones, want)
	copy(out, given)
	taken := slices.Clone(before)
	for _, z := range out {
		if z.ID != "" && slices.Contains(taken, z.ID) {
			return nil, invalid("ReshardingConfiguration names the node group %s twice.", z.ID)
		}
		taken = append(taken, z.ID)
	}
	for i := range out {
		if out[i].ID == "" {
			out[i].ID = nextShard(before, taken)
			taken = append(taken, out[i].ID)
		}
	}
	return out, nil
}

// highestShard is the last number that a name has room for.
const highestShard = 9999

// nextShard is the first free name after the highest one that there was.
func nextShard(before, taken []string) string {
	n := number(slices.Max(before))
	for {
		if n++; n > highestShard {
			n = 1
		}
		if id := cache.NodeGroupName(n); !slices.Contains(taken, id) {
			return id
		}
	}
}

// stated is what is said of new node groups.
func (in *Reshard) stated(g *Group) ([]ShardZones, error) {
	rest := slices.Clone(in.Zones)
	for i := range rest {
		if rest[i].ID == "" {
			continue
		}
		n := number(rest[i].ID)
		if n < 1 || len(rest[i].ID) > 4 {
			return nil, invalid("ReshardingConfiguration.NodeGroupId must have 1 to 4 digits. Provided value: %s", rest[i].ID)
		}
		rest[i].ID = cache.NodeGroupName(n)
	}
	if len(rest) == in.NodeGroups { // of all: the nameless ones are in the order of the node groups
		next := 0
		for i := range rest {
			if rest[i].ID == "" && next < len(g.NodeGroups) {
				rest[i].ID = g.NodeGroups[next].ID
			}
			next++
		}
	}
	for _, z := range rest {
		if g.Shard(z.ID) == nil || len(z.Zones) == 0 {
			continue
		}
		have := zonesOf(g, z.ID)
		if slices.Sort(have); !slices.Equal(have, slices.Sorted(slices.Values(z.Zones))) {
			return nil, invalid("The nodes of node group %s are in %s. ReshardingConfiguration cannot move them: nodes stay in their zones.", z.ID, listed(have))
		}
	}
	return slices.DeleteFunc(rest, func(z ShardZones) bool { return g.Shard(z.ID) != nil }), nil
}

// planIn chooses the node groups that stay.
func (in *Reshard) planIn(g *Group, p *reshardPlan) error {
	param, ids := "NodeGroupsToRemove", in.Remove
	if len(in.Retain) > 0 {
		param, ids = "NodeGroupsToRetain", in.Retain
	}
	if len(ids) == 0 {
		return conflict("Either NodeGroupsToRemove or NodeGroupsToRetain must be provided when NodeGroupCount is less than the current number of node groups, which is %d.", len(p.before))
	}
	var named []string
	for _, id := range ids {
		if n := number(id); n > 0 && len(id) <= 4 {
			id = cache.NodeGroupName(n)
		}
		switch {
		case g.Shard(id) == nil:
			return invalid("%s: replication group %s has no node group %s. It has %s.", param, g.ID, id, strings.Join(p.before, ", "))
		case slices.Contains(named, id):
			return invalid("%s names the node group %s twice.", param, id)
		}
		named = append(named, id)
	}
	for _, id := range p.before {
		if slices.Contains(named, id) == (len(in.Retain) > 0) {
			p.want = append(p.want, id)
		}
	}
	if len(p.want) != in.NodeGroups {
		return conflict("%s leaves %d node groups and NodeGroupCount asks for %d.", param, len(p.want), in.NodeGroups)
	}
	return nil
}

// reshard writes down what is planned. Nothing is moved before the nodes of new node
// groups serve.
func (c *Control) reshard(tx *store.Tx, g *Group, p *reshardPlan, at []cache.Address, next int) error {
	if len(p.add) > 0 {
		if err := c.addShards(tx, g, p, at, next); err != nil {
			return err
		}
	} else if err := begin(tx, g, cache.MemberChange{}); err != nil {
		return err
	}
	g.Resharding = &cache.Resharding{Before: p.before, Want: p.want}
	if err := records.Groups.Put(tx, g.Key(), g.ReplicationGroup); err != nil {
		return err
	}
	return c.tell(tx, g.Region, cache.EventGroup, g.ID, p.told(g.ID))
}

// addShards writes the nodes of new node groups down.
func (c *Control) addShards(tx *store.Tx, g *Group, p *reshardPlan, at []cache.Address, next int) error {
	subnets, err := subnetGroup(tx, g.Region, g.SubnetGroup)
	if err != nil {
		return err
	}
	var all []newcomer
	for i, l := range p.add {
		turn := len(p.before) + i
		zones := place(g.Region, turn+l.nodes, nil, subnets)[turn:] // each begins in the next one, as those before
		copy(zones, l.zones)
		for _, zone := range zones {
			all = append(all, newcomer{shard: l.id, zone: zone})
		}
		g.NodeGroups = append(g.NodeGroups, cache.NodeGroup{ID: l.id})
	}
	slices.SortFunc(g.NodeGroups, func(a, b cache.NodeGroup) int { return number(a.ID) - number(b.ID) })
	if err := c.add(tx, g, all, at, next); err != nil {
		return err
	}
	for i := range g.NodeGroups {
		if n := &g.NodeGroups[i]; n.Primary == "" {
			n.Primary = n.Members[0]
		}
	}
	return nil
}
