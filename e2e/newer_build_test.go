package e2e

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/testkit"
)

// beforeNewerBuild makes a pair that follows newer builds, in a maintenance window of now, and
// without a snapshot before, for that has the time in its name.
func beforeNewerBuild(s *service) {
	s.t.Helper()
	in := groupRequest("shop", "redis", "7.0", 2)
	in.AutoMinorVersionUpgrade = aws.Bool(true)
	in.PreferredMaintenanceWindow = window(true)
	in.Tags = []types.Tag{{Key: aws.String("holdfast:snapshot-before-upgrade"), Value: aws.String("no")}}
	g := s.createGroup(east, in)
	fillKeys(s.t, primary(g))
	s.inStep(g, fewKeys)
}

// installNewerBuild installs the same engine once more, under the name of a later patch.
func installNewerBuild(s *service) {
	s.t.Helper()
	is := testkit.Engine(s.t, "redis-7.0")
	s.engines = s.t.TempDir()
	installed(s.t, s.engines, is.Name)
	laterPatch(s.t, s.engines, "redis", is.Version, "7.0.99")
}

// newerBuild expects all nodes to be served by that, without anybody's order.
func newerBuild(s *service) {
	s.t.Helper()
	s.wantMessage(east, "is applied in the maintenance window")
	s.wantMessage(east, "shop: Upgraded from redis 7.0 to redis 7.0, served by the installed build redis-7.0.99")
	g := s.awaitGroup(east, "shop", "available")
	s.inStep(g, fewKeys)
	wantData(s.t, primary(g), fewKeys)
	s.deleteGroup(east, "shop", "")
}
