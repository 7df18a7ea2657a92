package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// TestTheOtherReplicaOfAShardFollows: of two replicas one takes over, and the other
// one and the former primary follow it, with all the data, again and again.
func TestTheOtherReplicaOfAShardFollows(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "8.1"}, {"redis", "6.0"}} {
		t.Run(e.engine, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in := clusterRequest("shop", e.engine, e.version, 2, 0)
			in.NumNodeGroups, in.ReplicasPerNodeGroup = nil, nil
			in.NodeGroupConfiguration = []types.NodeGroupConfiguration{{ReplicaCount: aws.Int32(2)}, {ReplicaCount: aws.Int32(0)}}
			g := s.createGroup(east, in)
			want := fillCluster(t, configuration(g))
			members := []string{"shop-0001-001", "shop-0001-002", "shop-0001-003"}
			lead := members[0]
			for range 2 {
				s.killEngine(east, lead)
				var now []string
				eventually(t, "another one leads and two follow it", func(context.Context) (bool, error) {
					now = s.roles(members)
					return len(now) == 3 && now[0] != lead, nil
				})
				lead = now[0]
				wantCluster(t, configuration(g), want)
			}
		})
	}
}

// roles are those that answer: the one that leads, and then those that follow it
// and have its data; none if not exactly one leads.
func (s *service) roles(members []string) []string {
	s.t.Helper()
	var lead, follow []string
	for _, m := range members {
		out, err := try(s.t.Context(), s.nodeAddress(east, m), "INFO", "replication")
		switch {
		case err != nil:
		case strings.Contains(out, "role:master"):
			lead = append(lead, m)
		case strings.Contains(out, "master_link_status:up"):
			follow = append(follow, m)
		}
	}
	if len(lead) != 1 {
		return nil
	}
	return append(lead, follow...)
}
