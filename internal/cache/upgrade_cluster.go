package cache

import "slices"

// Handover is the lead of a node group on its way from a primary that lives to a replica.
// While it stands only the two themselves know which of them leads.
type Handover struct{ NodeGroup, From, To string }

// StandInID is the name of the stand-in of a node group. No member can have it: a point is
// in no name that may be asked for.
func StandInID(group, nodeGroup string) string { return group + "-" + nodeGroup + ".next" }

// Nodes are the ids of all cache clusters that are nodes of the group: its members, and
// the stand-ins of an upgrade.
func (g *ReplicationGroup) Nodes() []string {
	if g.Upgrade == nil || len(g.Upgrade.StandIns) == 0 {
		return g.Members
	}
	return append(slices.Clone(g.Members), g.Upgrade.StandIns...)
}

// endHandover forgets a handover of which it is known how it ended.
func (g *ReplicationGroup) endHandover(nodeGroup string) {
	if u := g.Upgrade; u != nil && u.Handing != nil && u.Handing.NodeGroup == nodeGroup {
		u.Handing = nil
	}
}
