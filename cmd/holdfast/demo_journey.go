package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// Where the journey goes.
const (
	demoFrom, demoTo = "us-east-1", "eu-west-1"
	demoGroup        = "orders"
	demoSnapshot     = "orders-backup"
	demoExport       = "orders-export"
	demoBucket       = "orders-us-east-1"
	demoBucketThere  = "orders-eu-west-1"
	demoDatabases    = 2
	demoPatience     = 10 * time.Minute
	demoNodeType     = "cache.m6g.large"
	demoFile         = demoExport + "-0001.rdb"
)

// journey is one run of the main job, by the public API alone.
type journey struct {
	svc   *demoService
	out   io.Writer
	opt   demoOptions
	steps []stepTime

	from, to resp.Options // the primary endpoints
	result   *verify.Report
}

// stepTime is one line of the table.
type stepTime struct {
	what string
	took time.Duration
	keys int64 // keys that went through, 0 where none did
}

func newJourney(svc *demoService, out io.Writer, o demoOptions) *journey {
	return &journey{svc: svc, out: out, opt: o}
}

func (j *journey) run(ctx context.Context) error {
	for _, s := range []struct {
		what string
		do   func(context.Context) (keys int64, err error)
	}{
		{"create group orders in us-east-1: a primary and a replica", j.create},
		{fmt.Sprintf("fill it with %s keys of every type", thousands(j.opt.keys)), j.fill},
		{"CreateSnapshot", j.snapshot},
		{"CopySnapshot to a bucket of us-east-1", j.export},
		{"CopyObject to a bucket of eu-west-1", j.copyObject},
		{"CreateReplicationGroup in eu-west-1 from SnapshotArns", j.seed},
		{"compare both live groups", j.compare},
	} {
		began := time.Now()
		fmt.Fprintf(os.Stderr, "» %s\n", s.what)
		keys, err := s.do(ctx)
		if err != nil {
			return fmt.Errorf("cannot %s: %w", s.what, err)
		}
		j.steps = append(j.steps, stepTime{s.what, time.Since(began), keys})
		fmt.Fprintf(os.Stderr, "  done in %s\n", seconds(time.Since(began)))
	}
	return nil
}

func (j *journey) create(ctx context.Context) (int64, error) {
	api := j.svc.elasticache(demoFrom)
	_, err := api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId:          aws.String(demoGroup),
		ReplicationGroupDescription: aws.String("the demonstration's group"),
		Engine:                      aws.String("valkey"),
		EngineVersion:               aws.String(j.opt.version),
		CacheNodeType:               aws.String(demoNodeType),
		NumCacheClusters:            aws.Int32(2),
	})
	if err != nil {
		return 0, err
	}
	j.from, err = awaitGroup(ctx, api)
	return 0, err
}

// awaitGroup waits until the group is available and returns its primary endpoint.
func awaitGroup(ctx context.Context, api *elasticache.Client) (resp.Options, error) {
	in := &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String(demoGroup)}
	var group types.ReplicationGroup
	err := until(ctx, "group "+demoGroup, func() (string, bool, error) {
		out, err := api.DescribeReplicationGroups(ctx, in)
		if err != nil {
			return "", false, err
		}
		group = out.ReplicationGroups[0]
		status := aws.ToString(group.Status)
		if status == "create-failed" {
			return status, false, failure(ctx, api, types.SourceTypeReplicationGroup, demoGroup)
		}
		return status, status == "available", nil
	})
	if err != nil {
		return resp.Options{}, err
	}
	at := group.NodeGroups[0].PrimaryEndpoint
	return resp.Options{Addr: fmt.Sprintf("%s:%d", aws.ToString(at.Address), aws.ToInt32(at.Port))}, nil
}

// failure asks the events why something failed.
func failure(ctx context.Context, api *elasticache.Client, kind types.SourceType, id string) error {
	out, err := api.DescribeEvents(ctx, &elasticache.DescribeEventsInput{SourceType: kind, SourceIdentifier: aws.String(id)})
	if err != nil || len(out.Events) == 0 {
		return fmt.Errorf("%s failed and no event says why: %w", id, err)
	}
	return fmt.Errorf("%s failed: %s", id, aws.ToString(out.Events[0].Message))
}

func (j *journey) fill(ctx context.Context) (int64, error) {
	shape, err := source.Preset("mixed", time.Now())
	if err != nil {
		return 0, err
	}
	shape.Keys, shape.Databases = j.opt.keys, demoDatabases
	src, err := source.NewGenerate(shape)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	dst, err := sink.NewServer(ctx, j.from, sink.ServerOptions{})
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	p := newProgress(os.Stderr, "fill", j.opt.keys)
	defer p.Done()
	stats, err := flow.Run(ctx, src, dst, flow.Options{Progress: func(s flow.Stats) { p.Set(s.Keys) }})
	return stats.Keys, err
}

func (j *journey) snapshot(ctx context.Context) (int64, error) {
	api := j.svc.elasticache(demoFrom)
	_, err := api.CreateSnapshot(ctx, &elasticache.CreateSnapshotInput{
		ReplicationGroupId: aws.String(demoGroup), SnapshotName: aws.String(demoSnapshot),
	})
	if err != nil {
		return 0, err
	}
	return j.opt.keys, j.awaitSnapshot(ctx, api)
}

// awaitSnapshot waits until nothing is done with the snapshot any more.
func (j *journey) awaitSnapshot(ctx context.Context, api *elasticache.Client) error {
	in := &elasticache.DescribeSnapshotsInput{SnapshotName: aws.String(demoSnapshot)}
	return until(ctx, "snapshot "+demoSnapshot, func() (string, bool, error) {
		out, err := api.DescribeSnapshots(ctx, in)
		if err != nil {
			return "", false, err
		}
		status := aws.ToString(out.Snapshots[0].SnapshotStatus)
		if status == "failed" {
			return status, false, failure(ctx, api, types.SourceTypeReplicationGroup, demoGroup)
		}
		return status, status == "available", nil
	})
}

func (j *journey) export(ctx context.Context) (int64, error) {
	_, err := j.svc.s3(demoFrom).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(demoBucket)})
	if err != nil {
		return 0, err
	}
	api := j.svc.elasticache(demoFrom)
	_, err = api.CopySnapshot(ctx, &elasticache.CopySnapshotInput{
		SourceSnapshotName: aws.String(demoSnapshot), TargetSnapshotName: aws.String(demoExport), TargetBucket: aws.String(demoBucket),
	})
	if err != nil {
		return 0, err
	}
	if err := j.awaitSnapshot(ctx, api); err != nil {
		return 0, err
	}
	_, err = j.svc.s3(demoFrom).HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(demoBucket), Key: aws.String(demoFile)})
	if err != nil {
		return 0, errors.Join(failure(ctx, api, types.SourceTypeReplicationGroup, demoGroup), err)
	}
	return j.opt.keys, nil
}

func (j *journey) copyObject(ctx context.Context) (int64, error) {
	there := j.svc.s3(demoTo)
	_, err := there.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String(demoBucketThere),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: demoTo},
	})
	if err != nil {
		return 0, err
	}
	_, err = there.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: aws.String(demoBucketThere), Key: aws.String(demoFile), CopySource: aws.String(demoBucket + "/" + demoFile),
	})
	return j.opt.keys, err
}

func (j *journey) seed(ctx context.Context) (int64, error) {
	api := j.svc.elasticache(demoTo)
	_, err := api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId:          aws.String(demoGroup),
		ReplicationGroupDescription: aws.String("the demonstration's group, moved"),
		Engine:                      aws.String("valkey"),
		EngineVersion:               aws.String(j.opt.version),
		CacheNodeType:               aws.String(demoNodeType),
		NumCacheClusters:            aws.Int32(2),
		SnapshotArns:                []string{"arn:aws:s3:::" + demoBucketThere + "/" + demoFile},
	})
	if err != nil {
		return 0, err
	}
	j.to, err = awaitGroup(ctx, api)
	return j.opt.keys, err
}

func (j *journey) compare(ctx context.Context) (int64, error) {
	p := newProgress(os.Stderr, "compare", 2*j.opt.keys)
	defer p.Done()
	var read [2]int64
	a, closeA := liveEnd(demoFrom, j.from)
	defer closeA()
	b, closeB := liveEnd(demoTo, j.to)
	defer closeB()
	r, err := verify.Compare(ctx, a, b, verify.CompareOptions{Progress: func(at verify.Progress) {
		read[at.End] = at.Keys
		p.Set(read[0] + read[1])
	}})
	j.result = r
	return j.opt.keys, err
}

// liveEnd is a live server as one side of a comparison.
func liveEnd(name string, at resp.Options) (verify.End, func()) {
	again := source.NewScan(at, source.ScanOptions{})
	return verify.End{
		Name:    name,
		Open:    func(context.Context) (flow.Source, error) { return source.NewScan(at, source.ScanOptions{}), nil },
		Recheck: again.Lookup,
	}, func() { _ = again.Close() } // it only hangs up
}
