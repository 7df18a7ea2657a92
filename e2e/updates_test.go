package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// laterPatch installs a build under the name of a later patch: what it is called is all that
// tells the two apart, and all that matters.
func laterPatch(t *testing.T, dir, engine, version, later string) {
	t.Helper()
	testkit.Engine(t, engine+"-"+version)
	from, err := catalog.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	from = filepath.Join(from, engine+"-"+version)
	to := filepath.Join(dir, engine+"-"+later)
	manifest, err := os.ReadFile(filepath.Join(from, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(manifest), fmt.Sprintf(`"version": %q`, version), fmt.Sprintf(`"version": %q`, later), 1)
	if text == string(manifest) {
		t.Fatalf("the manifest names no version: %s", manifest)
	}
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o755)
	}
	for _, e := range entries {
		if err == nil && e.IsDir() {
			err = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "manifest.json"), []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// window is a maintenance window that has begun, or one of the day after tomorrow.
func window(now bool) *string {
	from := time.Now().UTC().Add(-time.Hour)
	if !now {
		from = from.Add(48 * time.Hour)
	}
	const form = "Mon:15:04"
	return aws.String(strings.ToLower(from.Format(form) + "-" + from.Add(8*time.Hour).Format(form)))
}

// TestAServiceUpdateOfAnInstalledBuild: a patch that is installed while caches serve is a
// service update of them. It is applied to one by order and to one by itself, under load, and
// nothing is lost.
func TestAServiceUpdateOfAnInstalledBuild(t *testing.T) {
	t.Parallel()
	s := newService(t)
	engines := t.TempDir()
	installed(t, engines, "redis-7.0.15")
	env := []string{"HOLDFAST_ENGINES_DIR=" + engines, "PATH=/nowhere"}
	s.start(env...)
	api := s.elasticache(east)
	group := func(id string, now bool) string {
		in := groupRequest(id, "redis", "7.0", 2)
		in.PreferredMaintenanceWindow = window(now)
		return primary(s.createGroup(east, in))
	}
	ordered, byItself := group("ordered", false), group("itself", true)
	fill(t, ordered, fewKeys)
	writes, other := loadOn(t, ordered), loadOn(t, byItself)
	s.stop()
	laterPatch(t, engines, "redis", "7.0.15", "7.0.99")
	s.start(env...)
	name := s.updateOf("7.0")
	s.awaitUpdate(name, "itself", "complete", "2/2")
	s.awaitUpdate(name, "ordered", "not-applied", "0/2")
	apply, err := api.BatchApplyUpdateAction(t.Context(), &elasticache.BatchApplyUpdateActionInput{ServiceUpdateName: &name, ReplicationGroupIds: []string{"ordered"}})
	if err != nil || len(apply.ProcessedUpdateActions) != 1 {
		t.Fatalf("%v: %+v", err, apply)
	}
	a := s.awaitUpdate(name, "ordered", "complete", "2/2")
	if n := a.NodeGroupUpdateStatus[0].NodeGroupMemberUpdateStatus[0]; n.NodeUpdateInitiatedBy != "customer" || n.NodeUpdateStatus != "complete" {
		t.Errorf("of the first node it is said: %+v", n)
	}
	for _, l := range []*load{writes, other} {
		l.goesOn(t)
		acked := l.sum()
		if lost := l.lost(t); len(lost) > 0 {
			t.Errorf("%d of %d acknowledged writes are lost", len(lost), acked)
		}
		t.Logf("%d writes, longest pause %s, %d errors %v", acked, l.longest, l.failed, l.kinds())
	}
	s.unchanged(ordered)
	for _, id := range []string{"ordered", "itself"} {
		g := s.awaitGroup(east, id, "available")
		if at := primary(g); at != map[string]string{"ordered": ordered, "itself": byItself}[id] {
			t.Errorf("%s is at %s", id, at)
		}
		s.wantMessage(east, id+": Upgraded from redis 7.0 to redis 7.0, served by the installed build redis-7.0.99")
	}
	s.wantMessage(east, "itself: AutoMinorVersionUpgrade: redis 7.0, served by the installed build redis-7.0.99, is applied in the maintenance window")
	s.wantMessage(east, "ordered-001: Service update is available for cache node 0001.")
}

// updateOf is the name of the service update of a Redis version.
func (s *service) updateOf(version string) string {
	s.t.Helper()
	out, err := s.elasticache(east).DescribeServiceUpdates(s.t.Context(), &elasticache.DescribeServiceUpdatesInput{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, u := range out.ServiceUpdates {
		if aws.ToString(u.EngineVersion) == version && u.ServiceUpdateStatus == types.ServiceUpdateStatusAvailable {
			return *u.ServiceUpdateName
		}
	}
	s.t.Fatalf("no service update of %s: %+v", version, out.ServiceUpdates)
	return ""
}

// awaitUpdate waits until an update is in that state in a group.
func (s *service) awaitUpdate(name, group, status, nodes string) (a types.UpdateAction) {
	s.t.Helper()
	eventually(s.t, name+" of "+group+" is "+status, func(ctx context.Context) (bool, error) {
		out, err := s.elasticache(east).DescribeUpdateActions(ctx, &elasticache.DescribeUpdateActionsInput{
			ServiceUpdateName: &name, ReplicationGroupIds: []string{group}, ShowNodeLevelUpdateStatus: aws.Bool(true),
		})
		if err != nil || len(out.UpdateActions) != 1 {
			return false, err
		}
		a = out.UpdateActions[0]
		return string(a.UpdateActionStatus) == status && aws.ToString(a.NodesUpdated) == nodes, fmt.Errorf("it is %s with %s", a.UpdateActionStatus, *a.NodesUpdated)
	})
	return a
}
