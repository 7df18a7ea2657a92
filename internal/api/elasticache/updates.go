package elasticache

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) describeServiceUpdates(ctx context.Context, in *elasticache.DescribeServiceUpdatesInput) (*elasticache.DescribeServiceUpdatesOutput, error) {
	out := &elasticache.DescribeServiceUpdatesOutput{}
	filter := control.UpdateFilter{Name: aws.ToString(in.ServiceUpdateName), Statuses: names(in.ServiceUpdateStatus)}
	list, err := h.ctl.DescribeServiceUpdates(ctx, filter,
		paged(func(u *cache.ServiceUpdate) string { return u.Name }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for i := range list {
		out.ServiceUpdates = append(out.ServiceUpdates, showServiceUpdate(&list[i]))
	}
	return out, nil
}

func names[T ~string](of []T) []string {
	var out []string
	for _, s := range of {
		out = append(out, string(s))
	}
	return out
}

func showServiceUpdate(u *cache.ServiceUpdate) types.ServiceUpdate {
	return types.ServiceUpdate{
		AutoUpdateAfterRecommendedApplyByDate: aws.Bool(false),
		Engine:                                aws.String(u.Engine),
		EngineVersion:                         aws.String(u.EngineVersion),
		EstimatedUpdateTime:                   aws.String(cache.UpdateTakes),
		ServiceUpdateDescription: aws.String(fmt.Sprintf("%s %s is served by the installed build %s in place of %s",
			u.Engine, u.EngineVersion, u.Build, u.Former)),
		ServiceUpdateEndDate:                date(u.EndedAt),
		ServiceUpdateName:                   aws.String(u.Name),
		ServiceUpdateRecommendedApplyByDate: date(u.ApplyBy()),
		ServiceUpdateReleaseDate:            date(u.ReleasedAt),
		ServiceUpdateSeverity:               cache.UpdateSeverity,
		ServiceUpdateStatus:                 types.ServiceUpdateStatus(u.Status),
		ServiceUpdateType:                   cache.UpdateType,
	}
}

// date is nil for no time.
func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (h *handlers) describeUpdateActions(ctx context.Context, in *elasticache.DescribeUpdateActionsInput) (*elasticache.DescribeUpdateActionsOutput, error) {
	out := &elasticache.DescribeUpdateActionsOutput{}
	filter := control.UpdateFilter{
		Name: aws.ToString(in.ServiceUpdateName), Statuses: names(in.ServiceUpdateStatus),
		Groups: in.ReplicationGroupIds, Clusters: in.CacheClusterIds,
		Engine: aws.ToString(in.Engine), Actions: names(in.UpdateActionStatus),
	}
	if r := in.ServiceUpdateTimeRange; r != nil {
		filter.From, filter.To = aws.ToTime(r.StartTime), aws.ToTime(r.EndTime)
	}
	list, err := h.ctl.DescribeUpdateActions(ctx, region(ctx), filter,
		paged((*control.UpdateAction).Order, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for i := range list {
		out.UpdateActions = append(out.UpdateActions, showUpdateAction(&list[i], aws.ToBool(in.ShowNodeLevelUpdateStatus)))
	}
	return out, nil
}

func showUpdateAction(a *control.UpdateAction, nodes bool) types.UpdateAction {
	u := &a.Of
	out := types.UpdateAction{
		Engine:                              aws.String(u.Engine),
		EstimatedUpdateTime:                 aws.String(cache.UpdateTakes),
		NodesUpdated:                        aws.String(fmt.Sprintf("%d/%d", a.Updated(), len(a.Nodes))),
		ServiceUpdateName:                   aws.String(u.Name),
		ServiceUpdateRecommendedApplyByDate: date(u.ApplyBy()),
		ServiceUpdateReleaseDate:            date(u.ReleasedAt),
		ServiceUpdateSeverity:               cache.UpdateSeverity,
		ServiceUpdateStatus:                 types.ServiceUpdateStatus(u.Status),
		ServiceUpdateType:                   cache.UpdateType,
		SlaMet:                              types.SlaMet(a.Met),
		UpdateActionAvailableDate:           date(a.AvailableAt),
		UpdateActionStatus:                  types.UpdateActionStatus(a.Status),
		UpdateActionStatusModifiedDate:      date(a.ChangedAt),
	}
	if a.Group {
		out.ReplicationGroupId = aws.String(a.ID)
		if nodes {
			out.NodeGroupUpdateStatus = showNodeGroupUpdates(a)
		}
		return out
	}
	out.CacheClusterId = aws.String(a.ID)
	for _, n := range a.Nodes {
		if nodes {
			m := showNodeUpdate(a, &n)
			out.CacheNodeUpdateStatus = append(out.CacheNodeUpdateStatus, types.CacheNodeUpdateStatus{
				CacheNodeId: m.CacheNodeId, NodeDeletionDate: m.NodeDeletionDate, NodeUpdateInitiatedBy: m.NodeUpdateInitiatedBy,
				NodeUpdateInitiatedDate: m.NodeUpdateInitiatedDate, NodeUpdateStatus: m.NodeUpdateStatus,
			})
		}
	}
	return out
}

// showNodeGroupUpdates shows the nodes of a group by their node groups, in the order of both.
func showNodeGroupUpdates(a *control.UpdateAction) []types.NodeGroupUpdateStatus {
	var out []types.NodeGroupUpdateStatus
	at := map[string]int{}
	for _, n := range a.Nodes {
		i, known := at[n.NodeGroupID]
		if !known {
			i = len(out)
			at[n.NodeGroupID] = i
			out = append(out, types.NodeGroupUpdateStatus{NodeGroupId: aws.String(n.NodeGroupID)})
		}
		out[i].NodeGroupMemberUpdateStatus = append(out[i].NodeGroupMemberUpdateStatus, showNodeUpdate(a, &n))
	}
	return out
}

func showNodeUpdate(a *control.UpdateAction, n *control.NodeUpdate) types.NodeGroupMemberUpdateStatus {
	return types.NodeGroupMemberUpdateStatus{
		CacheClusterId:          aws.String(n.ClusterID),
		CacheNodeId:             aws.String(cache.NodeGroupID),
		NodeDeletionDate:        date(n.DeletedAt),
		NodeUpdateInitiatedBy:   types.NodeUpdateInitiatedBy(a.By),
		NodeUpdateInitiatedDate: date(a.BegunAt),
		NodeUpdateStatus:        types.NodeUpdateStatus(n.Status),
	}
}

func (h *handlers) batchApplyUpdateAction(ctx context.Context, in *elasticache.BatchApplyUpdateActionInput) (*elasticache.BatchApplyUpdateActionOutput, error) {
	all, err := h.ctl.BatchApplyUpdateAction(ctx, region(ctx), control.UpdateBatch{
		Name: aws.ToString(in.ServiceUpdateName), Groups: in.ReplicationGroupIds, Clusters: in.CacheClusterIds,
	})
	out := &elasticache.BatchApplyUpdateActionOutput{}
	out.ProcessedUpdateActions, out.UnprocessedUpdateActions = showOutcomes(all)
	return out, err
}

func (h *handlers) batchStopUpdateAction(ctx context.Context, in *elasticache.BatchStopUpdateActionInput) (*elasticache.BatchStopUpdateActionOutput, error) {
	all, err := h.ctl.BatchStopUpdateAction(ctx, region(ctx), control.UpdateBatch{
		Name: aws.ToString(in.ServiceUpdateName), Groups: in.ReplicationGroupIds, Clusters: in.CacheClusterIds,
	})
	out := &elasticache.BatchStopUpdateActionOutput{}
	out.ProcessedUpdateActions, out.UnprocessedUpdateActions = showOutcomes(all)
	return out, err
}

func showOutcomes(all []control.UpdateOutcome) (done []types.ProcessedUpdateAction, not []types.UnprocessedUpdateAction) {
	for _, o := range all {
		var group, cluster *string
		if id := aws.String(o.ID); o.Group {
			group = id
		} else {
			cluster = id
		}
		if f := o.Fault; f != nil {
			not = append(not, types.UnprocessedUpdateAction{
				CacheClusterId: cluster, ReplicationGroupId: group, ServiceUpdateName: aws.String(o.Update),
				ErrorType: aws.String(f.Code), ErrorMessage: aws.String(f.Message),
			})
			continue
		}
		done = append(done, types.ProcessedUpdateAction{
			CacheClusterId: cluster, ReplicationGroupId: group, ServiceUpdateName: aws.String(o.Update),
			UpdateActionStatus: types.UpdateActionStatus(o.Status),
		})
	}
	return done, not
}
