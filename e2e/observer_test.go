package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/cache"
)

// observer looks at all snapshots again and again: one that is shown as
// available must be whole on disk, whatever is crashing meanwhile.
type observer struct {
	t     *testing.T
	dir   string // the region's snapshots
	api   *elasticache.Client
	looks int             // at snapshots that were shown as available
	whole map[string]bool // files that were read and found right
}

// observe watches the snapshots of a region until the returned function is
// called, which fails the test if none was ever seen.
func (s *service) observe(region string) (end func()) {
	s.t.Helper()
	c := s.config(region)
	// One that repeats requests might start the service, which is for the test to do.
	c.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	o := &observer{t: s.t, dir: filepath.Join(s.dir, "snapshots", region), api: elasticache.NewFromConfig(c), whole: map[string]bool{}}
	ctx, stop := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.watch(ctx)
	}()
	s.t.Cleanup(func() { stop(); <-done })
	return func() {
		s.t.Helper()
		stop()
		<-done
		if o.looks == 0 {
			s.t.Error("no snapshot was ever seen to be available")
		}
	}
}

func (o *observer) watch(ctx context.Context) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := o.look(ctx); err != nil {
			o.t.Error(err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// look returns an error if a snapshot is shown as available and is not whole.
func (o *observer) look(ctx context.Context) error {
	for _, name := range o.available(ctx) {
		err := o.intact(name)
		o.looks++
		if err == nil {
			continue
		}
		// It may have been deleted between the two looks.
		for _, still := range o.available(ctx) {
			if still == name {
				return fmt.Errorf("snapshot %s is shown as available: %w", name, err)
			}
		}
	}
	return nil
}

// available lists the snapshots that are shown as available; nothing while the
// service does not answer.
func (o *observer) available(ctx context.Context) []string {
	out, err := o.api.DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{})
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range out.Snapshots {
		switch aws.ToString(s.SnapshotStatus) {
		case "available", "restoring", "copying":
			names = append(names, aws.ToString(s.SnapshotName))
		}
	}
	return names
}

// intact tells what is wrong with the files of a snapshot.
func (o *observer) intact(name string) error {
	dir := filepath.Join(o.dir, name)
	man, err := manifest(dir)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "0001.rdb")
	fi, err := os.Stat(file)
	if err != nil {
		return err
	}
	id := fmt.Sprint(dir, man.SHA256, fi.ModTime(), fi.Size())
	if o.whole[id] {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != man.SHA256 || int64(len(b)) != man.Bytes {
		return fmt.Errorf("its file of %d bytes is not what its manifest says: %d bytes", len(b), man.Bytes)
	}
	o.whole[id] = true
	return nil
}

func manifest(dir string) (cache.Manifest, error) {
	var man cache.Manifest
	b, err := os.ReadFile(filepath.Join(dir, "0001.json"))
	if err == nil {
		err = json.Unmarshal(b, &man)
	}
	return man, err
}

// TestTheObserverSeesWhatIsBroken makes sure that the observer would notice.
func TestTheObserverSeesWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := startService(t)
	g := s.createGroup(east, groupRequest("seen", "valkey", "8.1", 1))
	fill(t, primary(g), 100)
	s.takeSnapshot(east, "seen", "whole")
	look := func() error {
		o := &observer{dir: filepath.Join(s.dir, "snapshots", east), api: s.elasticache(east), whole: map[string]bool{}}
		return o.look(t.Context())
	}
	if err := look(); err != nil {
		t.Fatalf("a whole snapshot: %v", err)
	}
	file := filepath.Join(s.dir, "snapshots", east, "whole", "0001.rdb")
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, b[:len(b)-1], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := look(); err == nil || !strings.Contains(err.Error(), "not what its manifest says") {
		t.Fatalf("a truncated snapshot: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := look(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing file: %v", err)
	}
}
