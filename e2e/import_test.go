package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/testkit"
)

// holdfast runs a command of the program on the service's data directory.
func (s *service) holdfast(args ...string) (string, error) {
	s.t.Helper()
	out, err := exec.Command(program, append(args, "--data", s.dir, "--region", east)...).CombinedOutput()
	return string(out), err
}

func (s *service) mustHoldfast(args ...string) string {
	s.t.Helper()
	out, err := s.holdfast(args...)
	if err != nil {
		s.t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fails runs a command that must fail with a text.
func (s *service) fails(says string, args ...string) {
	s.t.Helper()
	if out, err := s.holdfast(args...); err == nil || !strings.Contains(out, says) {
		s.t.Errorf("holdfast %s does not fail with %q: %v\n%s", strings.Join(args, " "), says, err, out)
	}
}

// incoming lists what waits to be imported.
func (s *service) incoming() []string {
	s.t.Helper()
	left, err := filepath.Glob(filepath.Join(s.dir, "incoming", "*", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return left
}

// fromSnapshot creates a group from a snapshot, of another engine if that is named.
func (s *service) fromSnapshot(id, snapshot, engine, version string) types.ReplicationGroup {
	s.t.Helper()
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: &id, SnapshotName: &snapshot,
	}
	if engine != "" {
		in.Engine, in.EngineVersion = &engine, &version
	}
	return s.createGroup(east, in)
}

// The recipe of 2014 (a replica of your own, BGSAVE, upload, launch) as one command.
func TestAForeignServerBecomesASnapshot(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	fill(t, foreign.Addr(), fewKeys)
	foreign.Must("CONFIG", "SET", "requirepass", "open sesame")
	s := startService(t)
	from := "redis://" + foreign.Addr()
	s.fails("NOAUTH", "backup", from, "snapshot:orders")
	s.fails("must", "backup", from, "snapshot:1orders", "--password-file", password)
	if left := s.incoming(); len(left) > 0 {
		t.Errorf("what failed has left %v", left)
	}
	out := s.mustHoldfast("backup", from, "snapshot:Orders", "--password-file", password)
	if !strings.Contains(out, "snapshot orders of region us-east-1, redis 6.0") || !strings.Contains(out, "is available") {
		t.Errorf("it says:\n%s", out)
	}
	s.fails("exists already", "backup", from, "snapshot:orders", "--password-file", password)
	snap := s.awaitSnapshot(east, "orders", "available")
	if aws.ToString(snap.SnapshotSource) != "manual" || aws.ToString(snap.Engine) != "redis" || !strings.HasPrefix(aws.ToString(snap.EngineVersion), "6.0") ||
		len(snap.NodeSnapshots) != 1 || aws.ToString(snap.NodeSnapshots[0].CacheSize) != "1 MB" {
		t.Errorf("the record shows %+v", snap)
	}
	if man, err := manifest(filepath.Join(s.dir, "snapshots", east, "orders")); err != nil || man.Keys != fewKeys || man.Method == "" || man.Engine != "redis" {
		t.Errorf("the manifest says %+v, %v", man, err)
	}
	eventually(t, "nothing waits any more", nothingIn(s.incoming))
	g := s.fromSnapshot("orders", "orders", "valkey", "8.1")
	if out := s.mustHoldfast("verify", "snapshot:orders", "redis://"+primary(g), "--ttl-tolerance", "1s"); !strings.Contains(out, "identical") {
		t.Errorf("verify says:\n%s", out)
	}
	if out := s.mustHoldfast("verify", from, "snapshot:orders", "--password-file", password, "--ttl-tolerance", "1s"); !strings.Contains(out, "identical") {
		t.Errorf("verify says:\n%s", out)
	}
	// The same as the engine says by itself: no type asked for, no engine.
	if g := s.fromSnapshot("plain", "orders", "", ""); aws.ToString(g.Engine) != "redis" || aws.ToString(g.CacheNodeType) == "" {
		t.Errorf("a group that asks for nothing else is %+v", g)
	}
	wantData(t, primary(s.awaitGroup(east, "plain", "available")), fewKeys)
}

func TestAFileBecomesASnapshotWithoutAService(t *testing.T) {
	t.Parallel()
	foreign := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fill(t, foreign.Addr(), fewKeys)
	file := filepath.Join(t.TempDir(), "dump.rdb")
	s := newService(t)
	s.start()
	s.stop()
	s.mustHoldfast("backup", "redis://"+foreign.Addr(), file)
	out := s.mustHoldfast("backup", file, "snapshot:file", "--kms-key-id", "alias/mine")
	if !strings.Contains(out, "becomes available when the service starts") {
		t.Errorf("it says:\n%s", out)
	}
	s.fails("exists already", "backup", file, "snapshot:file")
	s.fails("is creating and cannot be read", "fingerprint", "snapshot:file")
	broken := filepath.Join(t.TempDir(), "broken.rdb")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, b[:len(b)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	s.fails("cannot make snapshot broken", "backup", broken, "snapshot:broken")
	// What a process left that was killed while it read.
	dead := filepath.Join(s.dir, "incoming", east, "import-dead")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, ".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.awaitSnapshot(east, "file", "available")
	if _, err := os.Stat(filepath.Join(s.dir, "snapshots", east, "file", "0001.rdb.alias%2Fmine.age")); err != nil {
		t.Errorf("it is not sealed: %v", err)
	}
	eventually(t, "nothing waits any more", nothingIn(s.incoming))
	g := s.fromSnapshot("orders", "file", "", "")
	wantData(t, primary(g), fewKeys)
}

// importFile makes a snapshot of a file and deletes it again.
func importFile(s *service) {
	s.t.Helper()
	file := filepath.Join(s.dir, "foreign.rdb")
	if out, err := exec.Command(program, "generate", file, "--keys", "1000").CombinedOutput(); err != nil {
		s.t.Fatalf("generate: %v\n%s", err, out)
	}
	done := make(chan struct{})
	var out string
	var err error
	go func() {
		defer close(done)
		out, err = s.holdfast("backup", file, "snapshot:foreign")
	}()
	eventually(s.t, "the import ends", func(context.Context) (bool, error) {
		s.reviveIfDead()
		select {
		case <-done:
			return true, nil
		default:
			return false, nil
		}
	})
	if err != nil {
		s.t.Fatalf("backup: %v\n%s", err, out)
	}
	s.awaitSnapshot(east, "foreign", "available")
	eventually(s.t, "nothing waits any more", func(context.Context) (bool, error) {
		s.reviveIfDead()
		return len(s.incoming()) == 0, nil
	})
	if man, err := manifest(filepath.Join(s.dir, "snapshots", east, "foreign")); err != nil || man.Keys != 1000 {
		s.t.Errorf("the manifest says %+v, %v", man, err)
	}
	s.deleteSnapshot(east, "foreign")
}

func TestAForeignClusterBecomesASnapshot(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, testkit.Engine(t, "redis-7.0"), 3, 0)
	if out, err := exec.Command(program, "generate", "redis://"+c.Primaries[0].Addr(), "--keys", "2000").CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, out)
	}
	s := startService(t)
	s.mustHoldfast("backup", "redis://"+c.Primaries[1].Addr(), "snapshot:shop")
	snap := s.awaitSnapshot(east, "shop", "available")
	if len(snap.NodeSnapshots) != 3 || aws.ToInt32(snap.NumNodeGroups) != 3 {
		t.Errorf("the record shows %+v", snap)
	}
	if out := s.mustHoldfast("verify", "redis://"+c.Primaries[2].Addr(), "snapshot:shop", "--output", "json"); !strings.Contains(out, `"equal": true`) {
		t.Errorf("verify says:\n%s", out)
	}
	g := s.createGroup(east, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String("shop"), ReplicationGroupDescription: aws.String("d"), SnapshotName: aws.String("shop"),
		AutomaticFailoverEnabled: aws.Bool(true),
	})
	if len(g.NodeGroups) != 3 || !aws.ToBool(g.ClusterEnabled) {
		t.Fatalf("a group that asks for nothing else is %+v", g)
	}
	out := s.mustHoldfast("verify", "redis://"+c.Primaries[2].Addr(), "redis://"+addr(g.ConfigurationEndpoint), "--output", "json")
	if !strings.Contains(out, `"equal": true`) {
		t.Errorf("verify says:\n%s", out)
	}
}
