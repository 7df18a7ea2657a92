package control

import (
	"context"
	"slices"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Of so many node groups of a region a failover may be tested within failoverSpan.
const (
	maxFailoverTests = 15
	failoverSpan     = 24 * time.Hour
)

// TestFailover writes down that the primary of a node group is to fail.
func (c *Control) TestFailover(ctx context.Context, region, id, nodeGroup string) (*Group, error) {
	var out Group
	err := c.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if out, err = fullGroup(tx, region, id); err != nil {
			return err
		}
		t, err := c.newTest(&out, nodeGroup)
		if err != nil {
			return err
		}
		if err := countTests(tx, region, t.AskedAt); err != nil {
			return err
		}
		out.Test = t
		if err := records.FailoverTests.Put(tx, t.Key(), *t); err != nil {
			return err
		}
		if err := records.Groups.Put(tx, out.Key(), out.ReplicationGroup); err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventGroup, out.ID, "Test Failover API called for node group "+t.NodeGroupID)
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// newTest checks that a node group can lose its primary, which has to be whole.
func (c *Control) newTest(g *Group, nodeGroup string) (*cache.FailoverTest, error) {
	if n := number(nodeGroup); n >= 0 && len(nodeGroup) <= 4 {
		nodeGroup = cache.NodeGroupName(n)
	}
	s := g.Shard(nodeGroup)
	switch {
	case s == nil:
		return nil, cache.Faultf(codeNodeGroupNotFound, "Replication group %s has no node group %s.", g.ID, nodeGroup)
	case g.Status != cache.StatusAvailable:
		return nil, cache.Faultf(codeGroupState, "Replication group %s has status %s; it must be in available state to test a failover.", g.ID, g.Status)
	case !g.AutomaticFailover:
		return nil, cache.Faultf(codeGroupState, "Automatic failover is not enabled for replication group %s.", g.ID)
	case g.Test != nil:
		return nil, cache.Faultf(codeTestNotAvailable, "A failover of node group %s of replication group %s is being tested. Try again when its node is back.", g.Test.NodeGroupID, g.ID)
	}
	var lead *cache.CacheCluster
	replicas := 0
	for i := range g.Members {
		k := &g.Members[i]
		switch whole := k.Node.Process != nil && k.Node.Ready; {
		case !slices.Contains(s.Members, k.ID) || !whole:
		case k.ID == s.Primary:
			lead = k
		default:
			replicas++
		}
	}
	switch {
	case len(s.Members) < 2:
		return nil, cache.Faultf(codeGroupState, "Node group %s of replication group %s has no replica that could take over.", s.ID, g.ID)
	case lead == nil:
		return nil, cache.Faultf(codeClusterState, "Cache cluster %s, the primary of node group %s, is being recovered. Try again when it is back.", s.Primary, s.ID)
	case replicas == 0:
		return nil, cache.Faultf(codeClusterState, "No replica of node group %s has the data of its primary at present. Try again when one is back.", s.ID)
	}
	return &cache.FailoverTest{
		Region: g.Region, GroupID: g.ID, NodeGroupID: s.ID, Primary: lead.ID, Process: *lead.Node.Process, AskedAt: c.Now(),
	}, nil
}

// countTests holds one more test against the quota of a region, and forgets those
// that do not count any more.
func countTests(tx *store.Tx, region string, now time.Time) error {
	all, err := records.FailoverTests.List(tx, records.InRegion(region))
	if err != nil {
		return err
	}
	n := 0
	for i := range all {
		if now.Sub(all[i].AskedAt) < failoverSpan {
			n++
			continue
		}
		if err := records.FailoverTests.Delete(tx, all[i].Key()); err != nil {
			return err
		}
	}
	if n >= maxFailoverTests {
		return cache.Faultf(codeCallRate, "The failover of at most %d node groups can be tested within 24 hours in this region.", maxFailoverTests)
	}
	return nil
}
