package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/testkit"
)

// nothingIn tells that a list has become empty.
func nothingIn(list func() []string) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) { return len(list()) == 0, nil }
}

// A snapshot is an end like any other, sealed or not, whether the service runs or not.
func TestASnapshotIsAnEnd(t *testing.T) {
	t.Parallel()
	s := startService(t)
	in := groupRequest("orders", "valkey", "8.1", 1)
	in.AtRestEncryptionEnabled = aws.Bool(true)
	g := s.createGroup(east, in)
	fill(t, primary(g), fewKeys)
	s.takeSnapshot(east, "orders", "sealed")
	s.copySnapshot(east, "sealed", "copy")
	if out := s.mustHoldfast("verify", "snapshot:Sealed", "redis://"+primary(g)); !strings.Contains(out, "identical") {
		t.Errorf("verify says:\n%s", out)
	}
	print := reference(t, fewKeys)
	look := func() {
		t.Helper()
		for _, args := range [][]string{{"fingerprint", "snapshot:sealed"}, {"fingerprint", "snapshot:copy", "--output", "json"}} {
			if out := s.mustHoldfast(args...); !strings.Contains(out, print) {
				t.Errorf("%v says:\n%s", args, out)
			}
		}
		s.fails("there is no snapshot none in region us-east-1", "fingerprint", "snapshot:none")
		s.fails("there are: copy, sealed", "inspect", "snapshot:none")
	}
	look()
	s.mustHoldfast("inspect", "snapshot:sealed")
	target := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"))
	s.mustHoldfast("restore", "snapshot:sealed", "redis://"+target.Addr())
	wantData(t, target.Addr(), fewKeys)
	s.stop()
	look()

	file := filepath.Join(s.dir, "snapshots", east, "copy", "0001.rdb.aws%2Felasticache.age")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.fails("damaged", "verify", "snapshot:sealed", "snapshot:copy")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.fails("has lost the file of node group 0001", "fingerprint", "snapshot:copy")
	s.start()
}
