package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createUserGroup(ctx context.Context, in *elasticache.CreateUserGroupInput) (*elasticache.CreateUserGroupOutput, error) {
	g, err := h.ctl.CreateUserGroup(ctx, region(ctx), control.NewUserGroup{
		ID:      aws.ToString(in.UserGroupId),
		Engine:  aws.ToString(in.Engine),
		UserIDs: in.UserIds,
		Tags:    readTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	s := showUserGroup(g)
	return &elasticache.CreateUserGroupOutput{
		ARN: s.ARN, Engine: s.Engine, MinimumEngineVersion: s.MinimumEngineVersion, PendingChanges: s.PendingChanges,
		ReplicationGroups: s.ReplicationGroups, Status: s.Status, UserGroupId: s.UserGroupId, UserIds: s.UserIds,
	}, nil
}

func (h *handlers) modifyUserGroup(ctx context.Context, in *elasticache.ModifyUserGroupInput) (*elasticache.ModifyUserGroupOutput, error) {
	g, err := h.ctl.ModifyUserGroup(ctx, region(ctx), control.UserGroupChange{
		ID:     aws.ToString(in.UserGroupId),
		Engine: aws.ToString(in.Engine),
		Add:    in.UserIdsToAdd,
		Remove: in.UserIdsToRemove,
	})
	if err != nil {
		return nil, err
	}
	s := showUserGroup(g)
	return &elasticache.ModifyUserGroupOutput{
		ARN: s.ARN, Engine: s.Engine, MinimumEngineVersion: s.MinimumEngineVersion, PendingChanges: s.PendingChanges,
		ReplicationGroups: s.ReplicationGroups, Status: s.Status, UserGroupId: s.UserGroupId, UserIds: s.UserIds,
	}, nil
}

func (h *handlers) deleteUserGroup(ctx context.Context, in *elasticache.DeleteUserGroupInput) (*elasticache.DeleteUserGroupOutput, error) {
	g, err := h.ctl.DeleteUserGroup(ctx, region(ctx), aws.ToString(in.UserGroupId))
	if err != nil {
		return nil, err
	}
	s := showUserGroup(g)
	return &elasticache.DeleteUserGroupOutput{
		ARN: s.ARN, Engine: s.Engine, MinimumEngineVersion: s.MinimumEngineVersion, PendingChanges: s.PendingChanges,
		ReplicationGroups: s.ReplicationGroups, Status: s.Status, UserGroupId: s.UserGroupId, UserIds: s.UserIds,
	}, nil
}

func (h *handlers) describeUserGroups(ctx context.Context, in *elasticache.DescribeUserGroupsInput) (*elasticache.DescribeUserGroupsOutput, error) {
	out := &elasticache.DescribeUserGroupsOutput{}
	groups, err := h.ctl.DescribeUserGroups(ctx, region(ctx), aws.ToString(in.UserGroupId),
		paged(func(g *cache.UserGroup) string { return g.ID }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for i := range groups {
		out.UserGroups = append(out.UserGroups, showUserGroup(&groups[i]))
	}
	return out, nil
}

// showUserGroup shows a user group, and while nodes have not been told of it what was
// changed last.
func showUserGroup(g *control.UserGroup) types.UserGroup {
	out := types.UserGroup{
		ARN:                  aws.String(cache.ARN(g.Region, cache.KindUserGroup, g.ID)),
		Engine:               aws.String(g.Engine),
		MinimumEngineVersion: aws.String(g.MinVersion),
		ReplicationGroups:    g.CacheIDs,
		Status:               aws.String(string(g.Status)),
		UserGroupId:          aws.String(g.ID),
		UserIds:              g.UserIDs,
	}
	if c := g.Change; c != nil && len(c.Added)+len(c.Removed) > 0 {
		out.PendingChanges = &types.UserGroupPendingChanges{UserIdsToAdd: c.Added, UserIdsToRemove: c.Removed}
	}
	return out
}

// showUserGroupsChange shows what is changed of the user groups of a replication group.
func showUserGroupsChange(g *control.Group) *types.UserGroupsUpdateStatus {
	c := g.PendingUserGroups()
	if c == nil {
		return nil
	}
	return &types.UserGroupsUpdateStatus{UserGroupIdsToAdd: c.Added, UserGroupIdsToRemove: c.Removed}
}
