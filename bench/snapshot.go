package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

func benchSnapshot(ctx context.Context, l *lab) (err error) {
	b, ok := l.engine(engineLine)
	if !ok {
		return nil
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	api := s.elasticache()
	for _, d := range []dataset{setA, setM} {
		id := "shot-" + strings.ToLower(d.name)
		if err := create(ctx, api, id); err != nil {
			return err
		}
		at, err := available(ctx, api, id)
		if err != nil {
			return err
		}
		if err := l.fill(ctx, at, d); err != nil {
			return err
		}
		bare, f, err := l.loaded(ctx, b, d)
		if err != nil {
			return err
		}
		err = l.snapshotRows(ctx, api, id, bare, d, f)
		if err := errors.Join(err, bare.stop(), os.RemoveAll(bare.dir), erase(ctx, api, id)); err != nil {
			return err
		}
	}
	return nil
}

// fill puts a data set into a server.
func (l *lab) fill(ctx context.Context, at resp.Options, d dataset) error {
	src, err := d.source(l.keys())
	if err != nil {
		return err
	}
	return l.pour(ctx, at, src, l.keys())
}

// pour puts the entries of a source into a server and closes the source.
func (l *lab) pour(ctx context.Context, at resp.Options, src flow.Source, keys int64) error {
	defer src.Close()
	dst, err := sink.NewServer(ctx, at, sink.ServerOptions{})
	if err != nil {
		return err
	}
	defer dst.Close()
	stats, err := flow.Run(ctx, src, dst, flow.Options{})
	if err != nil {
		return err
	}
	return counted(stats.Keys, keys)
}

func (l *lab) snapshotRows(ctx context.Context, api *elasticache.Client, id string, bare *server, d dataset, f dataFile) error {
	n := 0
	got, err := l.alternate(ctx, l.opt.rounds,
		func() (time.Duration, error) { return bgsave(ctx, bare) },
		elapsed(func() error { return stream(ctx, bare, false) }),
		elapsed(func() error { return stream(ctx, bare, true) }),
		func() (time.Duration, error) {
			n++
			return snapshotOnce(ctx, api, id, fmt.Sprintf("%s-%d", id, n))
		})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %s: CreateSnapshot to available", bare.build.Name, d.name)
	for i, limit := range []string{"BGSAVE alone", "replica stream, thrown away", "replica stream to a file, synced"} {
		l.report.add(row{What: what, Keys: f.keys, Bytes: f.bytes, Ours: got[3], LimitIs: limit, Limit: got[i]})
	}
	return nil
}

// bgsave is how long the engine's own background save takes.
func bgsave(ctx context.Context, s *server) (time.Duration, error) { return bgsaveAt(ctx, s.options()) }

func bgsaveAt(ctx context.Context, at resp.Options) (time.Duration, error) {
	c, err := resp.Dial(ctx, at)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	if _, err := c.Do(ctx, "BGSAVE"); err != nil {
		return 0, err
	}
	var status string
	err = poll(ctx, look, func() (bool, error) {
		info, err := c.Do(ctx, "INFO", "persistence")
		if err != nil {
			return false, err
		}
		busy := ""
		for name, value := range resp.InfoFields(info.Bytes) {
			switch name {
			case "rdb_bgsave_in_progress":
				busy = value
			case "rdb_last_bgsave_status":
				status = value
			}
		}
		return busy == "0", nil
	})
	took := time.Since(began)
	if err == nil && status != "ok" {
		err = fmt.Errorf("BGSAVE of %s ended with %q", at, status)
	}
	return took, err
}

// stream takes the snapshot that a replica would get.
func stream(ctx context.Context, s *server, keep bool) (err error) {
	in, _, err := source.Snapshot(ctx, s.options())
	if err != nil {
		return err
	}
	defer in.Close()
	if !keep {
		_, err = io.Copy(io.Discard, in)
		return err
	}
	f, err := os.Create(filepath.Join(s.dir, "stream.rdb"))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, in); err != nil {
		return err
	}
	return f.Sync()
}

func snapshotOnce(ctx context.Context, api *elasticache.Client, group, name string) (time.Duration, error) {
	took, err := snapshotTaken(ctx, api, group, name)
	if err != nil {
		return 0, err
	}
	return took, eraseSnapshot(ctx, api, group, name)
}

// snapshotTaken is how long a snapshot takes until it is available.
func snapshotTaken(ctx context.Context, api *elasticache.Client, group, name string) (time.Duration, error) {
	began := time.Now()
	_, err := api.CreateSnapshot(ctx, &elasticache.CreateSnapshotInput{ReplicationGroupId: &group, SnapshotName: &name})
	if err != nil {
		return 0, err
	}
	in := &elasticache.DescribeSnapshotsInput{SnapshotName: &name}
	err = poll(ctx, look, func() (bool, error) {
		out, err := api.DescribeSnapshots(ctx, in)
		if err != nil {
			return false, err
		}
		status := aws.ToString(out.Snapshots[0].SnapshotStatus)
		if status == "failed" {
			return false, fmt.Errorf("snapshot %s failed", name)
		}
		return status == "available", nil
	})
	return time.Since(began), err
}

// eraseSnapshot deletes a snapshot and waits until it is gone and its group rests.
func eraseSnapshot(ctx context.Context, api *elasticache.Client, group, name string) error {
	if _, err := available(ctx, api, group); err != nil {
		return err
	}
	if _, err := api.DeleteSnapshot(ctx, &elasticache.DeleteSnapshotInput{SnapshotName: &name}); err != nil {
		return err
	}
	return poll(ctx, look, func() (bool, error) {
		out, err := api.DescribeSnapshots(ctx, &elasticache.DescribeSnapshotsInput{SnapshotName: &name})
		var gone *types.SnapshotNotFoundFault
		if errors.As(err, &gone) || err == nil && len(out.Snapshots) == 0 {
			return true, nil
		}
		return false, err
	})
}
