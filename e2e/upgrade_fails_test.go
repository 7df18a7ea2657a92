package e2e

import (
	"context"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// beforeFailingUpgrade makes a pair of which no snapshot is taken first, for that has the
// time in its name.
func beforeFailingUpgrade(s *service) {
	s.t.Helper()
	in := groupRequest("shop", "redis", "7.0", 2)
	in.Tags = []types.Tag{{Key: aws.String("holdfast:snapshot-before-upgrade"), Value: aws.String("no")}}
	g := s.createGroup(east, in)
	fillKeys(s.t, primary(g))
	s.inStep(g, fewKeys)
}

// failingUpgrade has a file where the new node of the primary needs its directory. The
// replica, which has been replaced by then, becomes what it was.
func failingUpgrade(s *service) {
	s.t.Helper()
	s.awaitGroup(east, "shop", "available")
	inTheWay := filepath.Join(s.dir, "nodes", east, "shop-001.1")
	obstruct(s.t, inTheWay)
	s.askLine("shop", 2, line{"valkey", "8.1"})
	eventually(s.t, "the upgrade fails", func(context.Context) (bool, error) {
		s.reviveIfDead()
		return len(s.said("shop: Failed to upgrade from redis 7.0 to valkey 8.1")) == 1, nil
	})
	if _, err := os.Stat(inTheWay); !os.IsNotExist(err) {
		s.t.Errorf("what did not come to replace a node is not gone: %v", err)
	}
	g := s.awaitGroup(east, "shop", "available")
	s.inStep(g, fewKeys)
	wantData(s.t, primary(g), fewKeys)
	for _, at := range []string{primary(g), reader(g)} {
		s.servedBy(at, line{"redis", "7.0"})
	}
	s.isReplica(reader(g))
	s.deleteGroup(east, "shop", "")
}
