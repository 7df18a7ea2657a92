package control

import (
	"context"
	"maps"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// GroupChange is what ModifyReplicationGroup asks for.
type GroupChange struct {
	Change
	Description         *string
	SnapshottingCluster string
	AutomaticFailover   *bool
	MultiAZ             *bool
	// Auth is only changed Immediately.
	Auth AuthChange
	// UserGroups are always changed at once.
	UserGroups UserGroupsOf
	// PrimaryCluster is the member that is to lead, which may only be Immediately.
	PrimaryCluster string
	// Transit is what is to become of the encryption of connections.
	Transit Transit
	// ClusterMode cannot be changed yet, and passes if it is what there is.
	ClusterMode string
}

// ModifyReplicationGroup changes settings of a group.
func (c *Control) ModifyReplicationGroup(ctx context.Context, region, id string, in GroupChange) (*Group, error) {
	if err := in.check(region); err != nil {
		return nil, err
	}
	if in.Description != nil {
		if err := checkDescription("ReplicationGroupDescription", *in.Description); err != nil {
			return nil, err
		}
	}
	seen, err := c.lookAtGroup(ctx, region, id, &in.Change)
	if err != nil {
		return nil, err
	}
	var out Group
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := getGroup(tx, region, id)
		if err != nil {
			return err
		}
		if !modifiable(g.Status) {
			return cache.Faultf(codeGroupState, "Replication group must be in available state to modify. Replication group %s has status %s.", g.ID, g.Status)
		}
		if out, err = withMembers(tx, g); err != nil {
			return err
		}
		return c.changeGroup(tx, &out, &in, seen)
	})
	if err != nil {
		return nil, c.tellRefusal(ctx, region, cache.EventGroup, lower(id), err)
	}
	return &out, nil
}

func (c *Control) changeGroup(tx *store.Tx, g *Group, in *GroupChange, seen sizes) error {
	if err := in.checkSame(g); err != nil {
		return err
	}
	before := g.ReplicationGroup.Settings
	notes, err := c.apply(&in.Change, &g.Settings, &g.Automatic)
	if err != nil {
		return err
	}
	turned, err := in.changeFailover(g)
	if err != nil {
		return err
	}
	later, err := c.changeKind(tx, &in.Change, &g.Settings, &parameterUser{group: &g.ReplicationGroup, members: g.Members}, seen)
	if err != nil {
		return err
	}
	if err := checkDurability(g.Parameters, g.MultiAZ); err != nil {
		return err
	}
	if err := chooseSource(tx, &g.ReplicationGroup, in.SnapshottingCluster); err != nil {
		return err
	}
	used, err := in.UserGroups.useUserGroups(tx, g)
	if err != nil {
		return err
	}
	if err := checkUsersLater(tx, &g.ReplicationGroup); err != nil {
		return err
	}
	tokens, err := in.changeToken(g, &before, c.Now())
	if err != nil {
		return err
	}
	g.Description = orElse(in.Description, g.Description)
	if g.SnapshotRetention != before.SnapshotRetention {
		if err := keepFor(tx, g.Region, g.ID, "", g.SnapshotRetention); err != nil {
			return err
		}
	}
	for i := range g.Members {
		k := &g.Members[i]
		follow(&k.Settings, &g.Settings)
		if err := records.Clusters.Put(tx, k.Key(), *k); err != nil {
			return err
		}
	}
	if later.begins {
		if err := in.checkBegin(g); err != nil {
			return err
		}
		g.Status = cache.StatusModifying
	}
	if err := c.changeTransit(in, g, later.begins); err != nil {
		return err
	}
	if err := records.Groups.Put(tx, g.Key(), g.ReplicationGroup); err != nil {
		return err
	}
	if err := in.promote(tx, g); err != nil {
		return err
	}
	return c.tell(tx, g.Region, cache.EventGroup, g.ID, slices.Concat(notes, turned, later.notes, used, tokens)...)
}

// follow gives a member the settings of its group that can be modified.
func follow(member, group *cache.Settings) {
	member.SnapshotRetention = group.SnapshotRetention
	member.SnapshotWindow, member.MaintenanceWindow = group.SnapshotWindow, group.MaintenanceWindow
	member.NotificationTopicARN = group.NotificationTopicARN
	member.AutoMinorVersionUpgrade = group.AutoMinorVersionUpgrade
	member.SecurityGroupIDs = slices.Clone(group.SecurityGroupIDs)
	member.Pending = nil // it is its group's
	// One that an upgrade which failed has left behind has a group of another family.
	own, _ := cache.FamilyOf(member.Engine, member.EngineVersion)
	if family, _ := cache.FamilyOf(group.Engine, group.EngineVersion); own == family {
		member.ParameterGroup, member.Parameters = group.ParameterGroup, maps.Clone(group.Parameters)
	}
	member.Access = group.Access
}

// chooseSource writes down which member the daily backup reads. Without cluster
// mode it has to be named when backups are turned on, and has no meaning otherwise.
func chooseSource(tx *store.Tx, g *cache.ReplicationGroup, asked string) error {
	asked = lower(asked)
	switch {
	case g.ClusterEnabled && asked != "":
		return conflict("Cannot set snapshotting cluster for cluster mode enabled replication group")
	case g.ClusterEnabled:
		return nil
	case g.SnapshotRetention == 0 && asked == "":
		g.SnapshottingCluster = ""
		return nil
	case g.SnapshotRetention == 0, asked == "" && g.SnapshottingCluster == "":
		return conflict("Must specify both SnapshotRetentionLimit and SnapshottingClusterId to turn on snapshots")
	case asked == "":
		return nil
	}
	if _, err := getCluster(tx, g.Region, asked); err != nil {
		return err
	}
	if !slices.Contains(g.Members, asked) {
		return invalid("The cache cluster %s is not a member of replication group %s.", asked, g.ID)
	}
	g.SnapshottingCluster = asked
	return nil
}

// checkBegin tells whether nodes may be replaced or resized now.
func (in *GroupChange) checkBegin(g *Group) error {
	if to := lower(in.PrimaryCluster); to != "" && to != g.Primary {
		return conflict("PrimaryClusterId cannot be applied together with another engine version or node type. Ask for them one after the other.")
	}
	return checkChangeable(g)
}

// checkSame holds what is named and cannot be changed against what there is.
func (in *GroupChange) checkSame(g *Group) error {
	fixed := Same{IPDiscovery: in.Same.IPDiscovery}
	if err := fixed.check(&g.Settings, ""); err != nil {
		return err
	}
	mode := "disabled"
	if g.ClusterEnabled {
		mode = "enabled"
	}
	if m := in.ClusterMode; m != "" && m != mode {
		return unchangeable("ClusterMode", m, mode)
	}
	return nil
}
