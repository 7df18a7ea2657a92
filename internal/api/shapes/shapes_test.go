package shapes

import "testing"

// TestKnownFacts holds the tables against the service's published model, which
// the generator does not read.
func TestKnownFacts(t *testing.T) {
	if got := len(ElastiCache.Actions); got != 77 {
		t.Errorf("%d actions, want 77", got)
	}
	counts := map[int]int{}
	for _, status := range ElastiCache.Status {
		counts[status]++
	}
	if counts[404] != 17 || counts[408] != 1 || counts[400] < 58 || len(counts) != 3 {
		t.Errorf("errors by status: %v", counts)
	}
	for code, status := range map[string]int{"CacheClusterNotFound": 404, "CacheSubnetGroupNotFoundFault": 400, "ReservedCacheNodeAlreadyExists": 404, "SnapshotAlreadyExistsFault": 400} {
		if ElastiCache.Status[code] != status {
			t.Errorf("%s has status %d, want %d", code, ElastiCache.Status[code], status)
		}
	}
	for list, item := range map[[2]string]string{
		{"CreateReplicationGroupInput", "NodeGroupConfiguration"}: "NodeGroupConfiguration",
		{"ReplicationGroup", "MemberClusters"}:                    "ClusterId",
		{"CreateUserInput", "Passwords"}:                          "member",
		{"RemoveTagsFromResourceInput", "TagKeys"}:                "member",
	} {
		if got := ElastiCache.Item(list[0], list[1]); got != item {
			t.Errorf("%v has items %s, want %s", list, got, item)
		}
	}
	for name, action := range ElastiCache.Actions {
		empty := name == "DeleteCacheParameterGroup" || name == "DeleteCacheSecurityGroup" || name == "DeleteCacheSubnetGroup"
		if action.Result == empty {
			t.Errorf("%s: result element %v", name, action.Result)
		}
	}
	if STS.Wire("PolicyDescriptorType", "Arn") != "arn" || STS.Wire("Tag", "Key") != "Key" {
		t.Error("names on the wire")
	}
}
