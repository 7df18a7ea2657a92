package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// smallType is enough where a node holds next to nothing.
const smallType = "cache.t4g.small"

// keeper of a replication group of the service, with one replica for each primary.
func (s *service) keeper(g group) *keeper {
	k := &keeper{name: "holdfast, " + g.engine + " " + g.version, ours: true, cluster: g.shards > 0}
	api, made := s.elasticache(), 0
	id := ""
	var nodes []string
	remove := func(ctx context.Context) error {
		if id == "" {
			return nil
		}
		gone := id
		id = ""
		return erase(ctx, api, gone)
	}
	k.renew = func(ctx context.Context) error {
		if err := remove(ctx); err != nil {
			return err
		}
		made++
		id = fmt.Sprintf("lost-%s-%s-%d-%d", g.engine, strings.ReplaceAll(g.version, ".", "-"), g.shards, made)
		if _, err := api.CreateReplicationGroup(ctx, g.request(id)); err != nil {
			return err
		}
		var err error
		if g.shards == 0 {
			var at resp.Options
			at, err = available(ctx, api, id)
			k.find = func(context.Context) (string, error) { return at.Addr, nil }
			return err
		}
		nodes, err = k.meet(ctx, api, id)
		return err
	}
	k.settled = func(ctx context.Context) (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if err != nil || aws.ToString(out.ReplicationGroups[0].Status) != "available" {
			return false, err
		}
		for _, m := range out.ReplicationGroups[0].MemberClusters {
			if ok, err := recovered(ctx, api, m); !ok || err != nil {
				return false, err
			}
		}
		return clusterFine(ctx, nodes), nil // of no nodes without cluster mode
	}
	k.stop = func() error { return remove(context.Background()) }
	return k
}

// recovered tells whether the service is done with what happened to a node.
func recovered(ctx context.Context, api *elasticache.Client, node string) (bool, error) {
	out, err := api.DescribeEvents(ctx, &elasticache.DescribeEventsInput{SourceIdentifier: &node, SourceType: types.SourceTypeCacheCluster})
	if err != nil {
		return false, err
	}
	open := 0
	for i := range out.Events {
		switch text := aws.ToString(out.Events[i].Message); {
		case strings.HasPrefix(text, "Recovering cache nodes"):
			open++
		case strings.HasPrefix(text, "Finished recovery"):
			open--
		}
	}
	return open <= 0, nil
}

func (g group) request(id string) *elasticache.CreateReplicationGroupInput {
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(id), ReplicationGroupDescription: aws.String("measured"), AutomaticFailoverEnabled: aws.Bool(true),
		Engine: aws.String(g.engine), EngineVersion: aws.String(g.version), CacheNodeType: aws.String(smallType),
	}
	if g.shards == 0 {
		in.NumCacheClusters = aws.Int32(2)
		return in
	}
	in.ClusterMode = types.ClusterModeEnabled
	in.NumNodeGroups, in.ReplicasPerNodeGroup = aws.Int32(int32(g.shards)), aws.Int32(1)
	return in
}

// meet waits for a cluster and looks up its nodes.
func (k *keeper) meet(ctx context.Context, api *elasticache.Client, id string) (nodes []string, err error) {
	if err := groupIs(ctx, api, id, "available"); err != nil {
		return nil, err
	}
	out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		return nil, err
	}
	e := out.ReplicationGroups[0].ConfigurationEndpoint
	return k.learn(ctx, net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port)))))
}

// learn reads a cluster's table: the primary of the first shard is to be lost, and
// the others are asked for it.
func (k *keeper) learn(ctx context.Context, at string) (nodes []string, err error) {
	t, err := resp.Discover(ctx, resp.Options{Addr: at})
	if err != nil {
		return nil, err
	}
	if k.tag, err = shardTag(t); err != nil {
		return nil, err
	}
	var seeds []string
	for _, s := range t.Shards[1:] {
		seeds = append(seeds, s.Primary.Addr)
	}
	k.find = shardOwner(seeds, k.tag)
	return t.Addrs(), nil
}

func groupIs(ctx context.Context, api *elasticache.Client, id, want string) error {
	return poll(ctx, look, func() (bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
		if err != nil {
			return false, err
		}
		status := aws.ToString(out.ReplicationGroups[0].Status)
		if status == "create-failed" {
			return false, fmt.Errorf("%s became create-failed", id)
		}
		return status == want, nil
	})
}
