package cache

import (
	"slices"
	"strings"
	"time"
)

// MemberChange is a change of who is in a group that serves, under way. Who comes and
// who goes is told by the members themselves: see Joining and Leaving.
type MemberChange struct {
	// Nodes is how many there were before.
	Nodes int
	// Promote is the member that is to lead the group, by hand; "" for none. Promoting is
	// the one that led when that was asked for.
	Promote, Promoting string `json:",omitempty"`
}

// FailoverTest is a failover that TestFailover asked for.
type FailoverTest struct {
	Region, GroupID string
	NodeGroupID     string
	// Primary is the member that is to die, and Process its engine: another one that
	// came up in its place meanwhile is left alone.
	Primary string
	Process Process
	AskedAt time.Time
	// Done: the primary is dead. The test goes on until its node is back.
	Done bool
}

// Key is where the test is remembered, so that the tests of a region sort by time.
func (f *FailoverTest) Key() string {
	return Key(f.Region, f.AskedAt.UTC().Format("2006-01-02T15:04:05.000000000Z")+"/"+f.GroupID+"/"+f.NodeGroupID)
}

// Joining tells whether a member is being added to a group that serves.
func (g *ReplicationGroup) Joining(c *CacheCluster) bool {
	return (g.Change != nil || c.StandIn) && c.Status == StatusCreating && c.Deletion == nil
}

// Leaving tells whether a member is being taken out of its group: it stays one, and
// may even come to lead it, until it has Departed.
func (c *CacheCluster) Leaving() bool { return c.GroupID != "" && c.Deletion != nil }

// AddMember puts a new member into its node group, in the order of their numbers.
func (g *ReplicationGroup) AddMember(nodeGroup, member string) {
	if !g.ClusterEnabled {
		g.Members = inOrder(g.ID, append(slices.Clone(g.Members), member))
		return
	}
	g.Members = nil
	for i := range g.NodeGroups {
		n := &g.NodeGroups[i]
		if n.ID == nodeGroup {
			n.Members = inOrder(g.ID, append(slices.Clone(n.Members), member))
		}
		g.Members = append(g.Members, n.Members...)
	}
}

// inOrder sorts members as they are numbered; those that have names of their own come last.
func inOrder(group string, members []string) []string {
	named := func(id string) bool { return !strings.HasPrefix(id, group+"-") }
	slices.SortStableFunc(members, func(a, b string) int {
		switch {
		case named(a) && named(b):
			return 0
		case named(a):
			return 1
		case named(b):
			return -1
		}
		return strings.Compare(a, b)
	})
	return members
}

// RemoveMember takes a member out of its node group.
func (g *ReplicationGroup) RemoveMember(member string) {
	is := func(id string) bool { return id == member }
	g.Members = slices.DeleteFunc(slices.Clone(g.Members), is)
	if g.Upgrade != nil {
		g.Upgrade.StandIns = slices.DeleteFunc(slices.Clone(g.Upgrade.StandIns), is)
	}
	for i := range g.NodeGroups {
		g.NodeGroups[i].Members = slices.DeleteFunc(slices.Clone(g.NodeGroups[i].Members), is)
	}
}
