package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// twoStored makes two snapshots of one file.
func twoStored(s *service) {
	s.t.Helper()
	file := filepath.Join(s.dir, "foreign.rdb")
	if out, err := exec.Command(program, "generate", file, "--keys", "1000").CombinedOutput(); err != nil {
		s.t.Fatalf("generate: %v\n%s", err, out)
	}
	for _, name := range []string{"good", "bad"} {
		s.mustHoldfast("backup", file, "snapshot:"+name)
	}
	eventually(s.t, "nothing waits any more", nothingIn(s.incoming))
}

// aWeekLater makes a week pass in which a bit of one of them has changed.
func aWeekLater(s *service) {
	s.t.Helper()
	s.write(func(tx *store.Tx) error {
		for _, name := range []string{"good", "bad"} {
			rec, _, err := records.Snapshots.Get(tx, cache.Key(east, name))
			if err != nil {
				return err
			}
			rec.CreatedAt = rec.CreatedAt.AddDate(0, 0, -8)
			if err := records.Snapshots.Put(tx, rec.Key(), rec); err != nil {
				return err
			}
		}
		return nil
	})
	path := filepath.Join(s.dir, "snapshots", east, "bad", "0001.rdb")
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// scrubbed expects the one that has rotted to be shown as failed and to be restored
// nowhere, and the other to be as it was.
func scrubbed(s *service) {
	s.t.Helper()
	s.awaitSnapshot(east, "bad", "failed")
	s.awaitSnapshot(east, "good", "available")
	_, err := s.elasticache(east).CreateReplicationGroup(s.t.Context(), &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String("g"), ReplicationGroupDescription: aws.String("g"), SnapshotName: aws.String("bad"),
	})
	if err == nil || !strings.Contains(err.Error(), "it is damaged") {
		s.t.Errorf("restoring what has rotted: %v", err)
	}
	s.wantMessage(east, "Snapshot bad is damaged and cannot be restored")
	s.reviveIfDead()
	s.fails("is failed and cannot be read; those that can be: good", "fingerprint", "snapshot:bad")
	eventually(s.t, "the good one has been read again", func(context.Context) (bool, error) {
		s.reviveIfDead()
		var rec cache.Snapshot
		s.pause()
		s.read(func(tx *store.Tx) (err error) {
			rec, _, err = records.Snapshots.Get(tx, cache.Key(east, "good"))
			return err
		})
		s.start()
		return time.Since(rec.ProvedAt) < time.Hour, nil
	})
	s.deleteSnapshot(east, "good")
	s.deleteSnapshot(east, "bad")
}

// pause ends the service. If it dies at its crash point instead, which may be passed on
// the way out, that is the death that it was started for.
func (s *service) pause() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	cmd, _ := s.process()
	switch {
	case cmd.ProcessState.Success():
	case killed(cmd) && s.revive:
		s.revived++
	default:
		s.t.Fatalf("the service ended with %s:\n%s", cmd.ProcessState, s.lastWords(30))
	}
}
