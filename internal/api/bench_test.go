package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
)

// hundredGroups answers with 100 groups of one primary and one replica each.
func hundredGroups() *query.Service {
	out := &elasticache.DescribeReplicationGroupsOutput{}
	for i := range 100 {
		id := fmt.Sprintf("orders-%03d", i)
		node := func(n int) types.NodeGroupMember {
			return types.NodeGroupMember{
				CacheClusterId: aws.String(fmt.Sprintf("%s-%03d", id, n)), CacheNodeId: aws.String("0001"), CurrentRole: aws.String("primary"),
				PreferredAvailabilityZone: aws.String("eu-west-1a"), ReadEndpoint: &types.Endpoint{Address: aws.String("127.0.0.1"), Port: aws.Int32(6379)},
			}
		}
		out.ReplicationGroups = append(out.ReplicationGroups, types.ReplicationGroup{
			ReplicationGroupId: &id, Description: aws.String("orders of the shop"), Status: aws.String("available"), Engine: aws.String("valkey"),
			ARN: aws.String("arn:aws:elasticache:eu-west-1:000000000000:replicationgroup:" + id), CacheNodeType: aws.String("cache.t4g.micro"),
			MemberClusters: []string{id + "-001", id + "-002"}, MultiAZ: types.MultiAZStatusDisabled, AutomaticFailover: types.AutomaticFailoverStatusEnabled,
			SnapshotRetentionLimit: aws.Int32(0), SnapshotWindow: aws.String("01:00-02:00"), ClusterEnabled: aws.Bool(false),
			NodeGroups: []types.NodeGroup{{
				NodeGroupId: aws.String("0001"), Status: aws.String("available"), NodeGroupMembers: []types.NodeGroupMember{node(1), node(2)},
				PrimaryEndpoint: &types.Endpoint{Address: aws.String("127.0.0.1"), Port: aws.Int32(6379)},
			}},
		})
	}
	svc := query.NewService(shapes.ElastiCache)
	query.Handle(svc, func(context.Context, *elasticache.DescribeReplicationGroupsInput) (*elasticache.DescribeReplicationGroupsOutput, error) {
		return out, nil
	})
	return svc
}

// BenchmarkDescribe100 is decoding, dispatch and encoding: no network, no signature.
func BenchmarkDescribe100(b *testing.B) {
	svc := hundredGroups()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form := []byte("Action=DescribeReplicationGroups&Version=2015-02-02&MaxRecords=100")
	b.ReportAllocs()
	for b.Loop() {
		reply := svc.Parse(r, form).Do(b.Context())
		if reply.Status != http.StatusOK {
			b.Fatal(string(reply.Body))
		}
		b.SetBytes(int64(len(reply.Body)))
	}
}

// BenchmarkDescribe100OverHTTP is the same from the SDK's client and back.
func BenchmarkDescribe100OverHTTP(b *testing.B) {
	d := openWith(b, hundredGroups())
	client := elasticache.NewFromConfig(d.config(b))
	for b.Loop() {
		if _, err := client.DescribeReplicationGroups(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
