package engine

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
)

func threeNodes(self string) *cache.ClusterSpec {
	at := func(host string) cache.Address { return cache.Address{Host: host, Port: 6379} }
	return &cache.ClusterSpec{Self: self, Nodes: []cache.ClusterNode{
		{ID: "aa", Shard: "s1", Address: at("127.0.0.1"), BusPort: 16379, Slots: cache.Slots{{First: 0, Last: 99}, {First: 200, Last: 200}}},
		{ID: "bb", Shard: "s1", Address: at("127.0.0.2"), BusPort: 16379, Primary: "aa"},
		{ID: "cc", Shard: "s2", Address: at("127.0.0.3"), BusPort: 16379, Slots: cache.Slots{{First: 100, Last: 199}}},
	}}
}

func TestANodeFindsItsClusterInAFile(t *testing.T) {
	got := nodesText(dialect{engine: cache.Valkey, version: version{8, 1, 0}}, threeNodes("bb"), "tls-port=0", "")
	want := `aa 127.0.0.1:6379@16379,,tls-port=0,shard-id=s1 master - 0 0 1 connected 0-99 200
bb 127.0.0.2:6379@16379,,tls-port=0,shard-id=s1 myself,slave aa 0 0 0 connected
cc 127.0.0.3:6379@16379,,tls-port=0,shard-id=s2 master - 0 0 2 connected 100-199
vars currentEpoch 2 lastVoteEpoch 0
`
	if got != want {
		t.Errorf("it is\n%swant\n%s", got, want)
	}
	if old := nodesText(dialect{engine: cache.Redis, version: version{6, 0, 16}}, threeNodes("bb"), "tls-port=0", ""); strings.Contains(old, "shard-id") {
		t.Errorf("Redis 6 is told\n%s", old)
	}
}

// Who took a shard over while a node was dead must have the newer claim in its file,
// whatever the node believed, and what the others have agreed on stays.
func TestTheEpochsOfTheLastRunAreKept(t *testing.T) {
	old := `aa 127.0.0.1:6379@16379 slave bb 0 0 7 connected
bb 127.0.0.2:6379@16379 myself,master - 0 0 7 connected 0-99
cc 127.0.0.3:6379@16379 master - 0 0 5 connected 100-199
vars currentEpoch 9 lastVoteEpoch 0
not a line of it
`
	known, current := readEpochs(nodesText(dialect{engine: cache.Valkey, version: version{8, 1, 0}}, threeNodes("bb"), "tls-port=0", old))
	if known["aa"] != 10 || known["cc"] != 5 || current != 10 || len(known) != 2 {
		t.Errorf("epochs %v, the cluster's is %d", known, current)
	}
}
