package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"golang.org/x/sync/errgroup"
)

const (
	storedGroups = 500
	pageSize     = 100
	manyClients  = 50
)

// question is one kind of request; ask makes it once.
type question struct {
	what string
	// times it is asked per round by a single client, and by all of many together.
	times int
	ask   func(ctx context.Context, api *elasticache.Client) error
}

var questions = []question{
	{"one group by id", 1000, func(ctx context.Context, api *elasticache.Client) error {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String(groupID(storedGroups / 2))})
		return groupsFound(err, out, 1)
	}},
	{"a page of 100", 200, func(ctx context.Context, api *elasticache.Client) error {
		out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{MaxRecords: aws.Int32(pageSize)})
		return groupsFound(err, out, pageSize)
	}},
	{"all 500 in pages of 100", 50, func(ctx context.Context, api *elasticache.Client) error {
		n := 0
		pages := elasticache.NewDescribeReplicationGroupsPaginator(api, &elasticache.DescribeReplicationGroupsInput{MaxRecords: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			n += len(out.ReplicationGroups)
		}
		return counted(int64(n), storedGroups)
	}},
}

func groupsFound(err error, out *elasticache.DescribeReplicationGroupsOutput, want int64) error {
	if err != nil {
		return err
	}
	return counted(int64(len(out.ReplicationGroups)), want)
}

func benchAPI(ctx context.Context, l *lab) (err error) {
	dir, err := l.mkdir("api")
	if err != nil {
		return err
	}
	handler, closeStore, err := frontDoor(ctx, filepath.Join(dir, "records.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore(), os.RemoveAll(dir)) }()
	memory := &replay{next: handler, known: map[string]reply{}}
	ours, err := listen(handler)
	if err != nil {
		return err
	}
	limit, err := listen(memory)
	if err != nil {
		return errors.Join(err, ours.close())
	}
	defer func() { err = errors.Join(err, ours.close(), limit.close()) }()
	for _, clients := range []int{1, manyClients} {
		for _, q := range questions {
			if err := l.askRows(ctx, q, clients, ours, limit); err != nil {
				return fmt.Errorf("%s: %w", q.what, err)
			}
		}
	}
	return nil
}

// askRows asks both doors the same, round by round.
func (l *lab) askRows(ctx context.Context, q question, clients int, ours, limit *door) error {
	// Once for the connections, and for the replay to know the answers.
	for _, d := range []*door{ours, limit} {
		if _, err := askAll(ctx, q, d, clients, 2*clients); err != nil {
			return err
		}
	}
	var p50, p99 [2]series
	for range l.opt.rounds {
		for i, d := range []*door{ours, limit} {
			took, err := askAll(ctx, q, d, clients, l.few(q.times))
			if err != nil {
				return err
			}
			p50[i] = append(p50[i], took.quantile(0.5).Seconds())
			p99[i] = append(p99[i], took.quantile(0.99).Seconds())
		}
	}
	what := q.what
	if clients > 1 {
		what = fmt.Sprintf("%s, %d clients at once", what, clients)
	}
	l.report.add(row{What: what + ", p50", Ours: p50[0], LimitIs: "replayed answer", Limit: p50[1]})
	l.report.add(row{What: what + ", p99", Ours: p99[0], LimitIs: "replayed answer", Limit: p99[1]})
	return nil
}

// askAll asks so many times altogether.
func askAll(ctx context.Context, q question, d *door, clients, times int) (latencies, error) {
	var mu sync.Mutex
	var all latencies
	work, ctx := errgroup.WithContext(ctx)
	for range clients {
		work.Go(func() error {
			var took latencies
			for range max(times/clients, 2) {
				began := time.Now()
				if err := q.ask(ctx, d.client); err != nil {
					return err
				}
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			return nil
		})
	}
	err := work.Wait()
	return all, err
}

// door is a listening HTTP server and an SDK client of it.
type door struct {
	srv    *http.Server
	failed chan error
	client *elasticache.Client
}

func listen(h http.Handler) (*door, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	d := &door{srv: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}, failed: make(chan error, 1)}
	go func() { d.failed <- d.srv.Serve(ln) }()
	d.client = elasticache.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: aws.String("http://" + ln.Addr().String()),
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
		HTTPClient:  newSDKClient(),
	})
	return d, nil
}

func (d *door) close() error {
	err := d.srv.Close()
	if ended := <-d.failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
