package elasticache

import (
	"context"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
	"holdfast.dev/internal/control"
)

// handlers answers actions by way of a Control.
type handlers struct {
	ctl *control.Control
}

// New returns the service.
func New(ctl *control.Control) *query.Service {
	svc := query.NewService(shapes.ElastiCache)
	h := &handlers{ctl: ctl}
	query.Handle(svc, h.createReplicationGroup)
	query.Handle(svc, h.describeReplicationGroups)
	query.Handle(svc, h.modifyReplicationGroup)
	query.Handle(svc, h.deleteReplicationGroup)
	query.Handle(svc, h.modifyReplicationGroupShardConfiguration)
	query.Handle(svc, h.increaseReplicaCount)
	query.Handle(svc, h.decreaseReplicaCount)
	query.Handle(svc, h.testFailover)
	query.Handle(svc, h.createCacheCluster)
	query.Handle(svc, h.describeCacheClusters)
	query.Handle(svc, h.modifyCacheCluster)
	query.Handle(svc, h.deleteCacheCluster)
	query.Handle(svc, h.createSnapshot)
	query.Handle(svc, h.copySnapshot)
	query.Handle(svc, h.deleteSnapshot)
	query.Handle(svc, h.describeSnapshots)
	query.Handle(svc, h.createCacheSubnetGroup)
	query.Handle(svc, h.modifyCacheSubnetGroup)
	query.Handle(svc, h.deleteCacheSubnetGroup)
	query.Handle(svc, h.describeCacheSubnetGroups)
	query.Handle(svc, h.rebootCacheCluster)
	query.Handle(svc, h.createCacheParameterGroup)
	query.Handle(svc, h.modifyCacheParameterGroup)
	query.Handle(svc, h.resetCacheParameterGroup)
	query.Handle(svc, h.deleteCacheParameterGroup)
	query.Handle(svc, h.describeCacheParameterGroups)
	query.Handle(svc, h.describeCacheParameters)
	query.Handle(svc, h.describeEngineDefaultParameters)
	query.Handle(svc, h.createUser)
	query.Handle(svc, h.modifyUser)
	query.Handle(svc, h.deleteUser)
	query.Handle(svc, h.describeUsers)
	query.Handle(svc, h.createUserGroup)
	query.Handle(svc, h.modifyUserGroup)
	query.Handle(svc, h.deleteUserGroup)
	query.Handle(svc, h.describeUserGroups)
	query.Handle(svc, h.describeCacheEngineVersions)
	query.Handle(svc, h.addTagsToResource)
	query.Handle(svc, h.removeTagsFromResource)
	query.Handle(svc, h.listTagsForResource)
	query.Handle(svc, h.describeEvents)
	query.Handle(svc, h.listAllowedNodeTypeModifications)
	query.Handle(svc, h.describeServiceUpdates)
	query.Handle(svc, h.describeUpdateActions)
	query.Handle(svc, h.batchApplyUpdateAction)
	query.Handle(svc, h.batchStopUpdateAction)
	return svc
}

func region(ctx context.Context) string { return query.InfoFrom(ctx).Region }

// paged makes of the paging members of a request the choice of a page. next is
// set when it is made.
func paged[T any](name func(*T) string, marker *string, maxRecords *int32, lim query.Limits, next **string) control.Page[T] {
	return func(all []T) ([]T, error) {
		page, n, err := query.Page(all, func(t T) string { return name(&t) }, marker, maxRecords, lim)
		*next = n
		return page, err
	}
}
