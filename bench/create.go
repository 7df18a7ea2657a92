package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/engine/catalog"
)

func benchCreate(ctx context.Context, l *lab) (err error) {
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
	n := 0
	got, err := l.alternate(ctx, l.few(20),
		func() (time.Duration, error) { return l.bareStart(ctx, b) },
		func() (time.Duration, error) {
			n++
			return createOnce(ctx, api, fmt.Sprintf("one-%d", n))
		})
	if err != nil {
		return err
	}
	l.report.add(row{What: fmt.Sprintf("%s: create to available, p50 of %d", b.Name, n), Ours: got[1], LimitIs: "bare start until PING", Limit: got[0]})
	return nil
}

// bareStart is how long the engine takes from its start to its first PONG.
func (l *lab) bareStart(ctx context.Context, b catalog.Build) (time.Duration, error) {
	dir, err := l.mkdir("bare")
	if err != nil {
		return 0, err
	}
	s, err := l.start(ctx, b, dir)
	if err != nil {
		return 0, err
	}
	return s.ready, errors.Join(s.stop(), os.RemoveAll(dir))
}

func createOnce(ctx context.Context, api *elasticache.Client, id string) (time.Duration, error) {
	began := time.Now()
	if err := create(ctx, api, id); err != nil {
		return 0, err
	}
	if _, err := available(ctx, api, id); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, erase(ctx, api, id)
}

func benchMany(ctx context.Context, l *lab) error {
	b, ok := l.engine(engineLine)
	if !ok {
		return nil
	}
	n := l.few(50)
	var limit, ours, p50, p99 series
	for range 3 {
		took, err := l.bareStarts(ctx, b, n)
		if err != nil {
			return err
		}
		limit = append(limit, took.Seconds())
		all, asked, err := l.createMany(ctx, n)
		if err != nil {
			return err
		}
		ours = append(ours, all.Seconds())
		p50 = append(p50, asked.quantile(0.5).Seconds())
		p99 = append(p99, asked.quantile(0.99).Seconds())
	}
	l.report.add(row{What: fmt.Sprintf("%d groups at once, until all are available", n), Ours: ours, LimitIs: fmt.Sprintf("%d bare starts at once", n), Limit: limit})
	l.report.add(row{What: "Describe of all of them meanwhile, p50", Ours: p50})
	l.report.add(row{What: "Describe of all of them meanwhile, p99", Ours: p99})
	return nil
}

// bareStarts is how long so many engines take until each has answered PING.
func (l *lab) bareStarts(ctx context.Context, b catalog.Build, n int) (took time.Duration, err error) {
	servers := make([]*server, n)
	work, wctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i := range servers {
		work.Go(func() error {
			dir, err := l.mkdir("bare")
			if err == nil {
				servers[i], err = l.start(wctx, b, dir)
			}
			return err
		})
	}
	err = work.Wait()
	took = time.Since(began)
	for _, s := range servers {
		if s != nil {
			err = errors.Join(err, s.stop(), os.RemoveAll(s.dir))
		}
	}
	return took, err
}

// createMany creates groups all at once in a service of their own, and asks for
// all of them, one request after the other, until every one is available.
func (l *lab) createMany(ctx context.Context, n int) (took time.Duration, asked latencies, err error) {
	s, err := l.serve(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	api := s.elasticache()
	began := time.Now()
	work, wctx := errgroup.WithContext(ctx)
	for i := range n {
		work.Go(func() error { return create(wctx, api, fmt.Sprintf("many-%d", i)) })
	}
	work.Go(func() error {
		return poll(wctx, look, func() (bool, error) {
			sent := time.Now()
			out, err := api.DescribeReplicationGroups(wctx, &elasticache.DescribeReplicationGroupsInput{})
			if err != nil {
				return false, err
			}
			asked = append(asked, time.Since(sent))
			there := 0
			for i := range out.ReplicationGroups {
				switch g := &out.ReplicationGroups[i]; *g.Status {
				case "available":
					there++
				case "create-failed":
					return false, fmt.Errorf("%s became create-failed", *g.ReplicationGroupId)
				}
			}
			return there == n, nil
		})
	})
	if err := work.Wait(); err != nil {
		return 0, nil, err
	}
	return time.Since(began), asked, nil
}
