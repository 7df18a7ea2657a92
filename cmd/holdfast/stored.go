package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/transfer"
)

// snapshotPrefix marks an end that is a snapshot of the service.
const snapshotPrefix = "snapshot:"

// lookTime bounds the look-up of a snapshot, which is on this machine.
const lookTime = 30 * time.Second

// storedSnapshot is what has to be known of a snapshot to read it.
type storedSnapshot struct {
	name       string
	status     cache.Status
	nodeGroups []string
}

// readable tells whether its files are all there and as they are to stay.
func (s *storedSnapshot) readable() bool {
	switch s.status {
	case cache.StatusAvailable, cache.StatusCopying, cache.StatusRestoring:
		return true
	}
	return false
}

// parseSnapshot finds the files of a snapshot of a region.
func (a *access) parseSnapshot(name string) (*end, error) {
	// The file store answers from this machine, and so does the service.
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	files, err := findSnapshot(ctx, dataDir(a.data), a.region, strings.ToLower(name))
	if err != nil {
		return nil, err
	}
	return &end{name: snapshotPrefix + name, files: files, db: -1}, nil
}

func findSnapshot(ctx context.Context, dir dataDir, region, name string) ([]rdbFile, error) {
	all, err := dir.listSnapshots(ctx, region)
	if err != nil {
		return nil, fmt.Errorf("cannot look for snapshot %s of region %s: %w", name, region, err)
	}
	i := slices.IndexFunc(all, func(s storedSnapshot) bool { return s.name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("there is no snapshot %s in region %s of %s; there are: %s", name, region, dir, names(all))
	case !all[i].readable():
		return nil, fmt.Errorf("snapshot %s is %s and cannot be read; those that can be: %s", name, all[i].status, names(all))
	}
	snapshots, err := dir.openSnapshots()
	if err != nil {
		return nil, err
	}
	var files []rdbFile
	for _, group := range all[i].nodeGroups {
		f, err := transfer.FindStored(ctx, snapshots, region, name, group)
		if err != nil {
			return nil, err
		}
		files = append(files, rdbFile{stored: f})
	}
	return files, nil
}

// names lists the snapshots that can be read.
func names(all []storedSnapshot) string {
	var out []string
	for _, s := range all {
		if s.readable() {
			out = append(out, s.name)
		}
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

// listSnapshots asks the running service for the snapshots of a region, or the records
// where none runs.
func (d dataDir) listSnapshots(ctx context.Context, region string) ([]storedSnapshot, error) {
	if !d.exists() {
		return nil, fmt.Errorf("no service has ever been started in %s; --data names another data directory", d)
	}
	if list, err := d.askSnapshots(ctx, region); err == nil {
		return list, nil
	}
	db, err := store.Open(ctx, d.database())
	if errors.Is(err, store.ErrLocked) {
		// Somebody holds the records: the service, so it has an answer or a reason.
		return d.askSnapshots(ctx, region)
	}
	if err != nil {
		return nil, err
	}
	var out []storedSnapshot
	err = db.View(ctx, func(tx *store.Tx) error {
		all, err := records.Snapshots.List(tx, records.InRegion(region))
		for i := range all {
			s := storedSnapshot{name: all[i].Name, status: all[i].Status}
			for _, shard := range all[i].Shards {
				s.nodeGroups = append(s.nodeGroups, shard.NodeGroupID)
			}
			out = append(out, s)
		}
		return err
	})
	return out, errors.Join(err, db.Close())
}

// awsRegion is the region that the AWS CLI would use.
func awsRegion() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), defaultRegion)
}
