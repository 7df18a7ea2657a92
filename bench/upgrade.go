package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// engineVersion is an engine as the API names it.
type engineVersion struct{ engine, version string }

func (v engineVersion) line() string { return v.engine + "-" + v.version }

// upgrades are the changes that are measured, in both sizes.
var upgrades = []struct{ from, to engineVersion }{
	{engineVersion{"redis", "7.0"}, engineVersion{"valkey", "8.1"}},
	{engineVersion{"valkey", "8.1"}, engineVersion{"valkey", "9.1"}},
	{engineVersion{"redis", "6.0"}, engineVersion{"redis", "7.0"}},
}

// shape is how many nodes a group has.
type shape struct {
	name            string
	nodes           int32
	cluster         bool
	replicasInGroup int32
}

var shapes = []shape{
	{name: "a single node", nodes: 1},
	{name: "a pair", nodes: 2},
	{name: "cluster mode, a pair", cluster: true, replicasInGroup: 1},
}

// benchUpgrade is how long clients that write wait when all nodes of a group become
// another version, beside a restart of the engine with its data from a file.
func benchUpgrade(ctx context.Context, l *lab) (err error) {
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	sizes := []int64{100_000}
	if !l.opt.quick {
		sizes = append(sizes, 1_000_000)
	}
	for _, u := range upgrades {
		if _, ok := l.engine(u.from.line()); !ok {
			continue
		}
		if _, ok := l.engine(u.to.line()); !ok {
			continue
		}
		for _, keys := range sizes {
			if err := l.upgrade(ctx, s, u.from, u.to, keys); err != nil {
				return fmt.Errorf("%s to %s, %d keys: %w", u.from.line(), u.to.line(), keys, err)
			}
		}
	}
	return nil
}

// upgrade measures one change of one size in all shapes, and the plain restart.
func (l *lab) upgrade(ctx context.Context, s *service, from, to engineVersion, keys int64) error {
	var plain series
	for range l.opt.rounds {
		gap, err := l.restart(ctx, from, to, keys)
		if err != nil {
			return fmt.Errorf("plain restart: %w", err)
		}
		plain = append(plain, gap.Seconds())
	}
	for _, sh := range shapes {
		what := fmt.Sprintf("%s to %s, %d k keys, %s", from.line(), to.line(), keys/1000, sh.name)
		var seen, told series
		for n := range l.opt.rounds {
			id := fmt.Sprintf("up-%s-%d-%t-%d-%d", strings.ReplaceAll(from.version, ".", ""), sh.nodes, sh.cluster, keys/1000, n)
			gap, said, err := l.upgradeOnce(ctx, s.elasticache(), id, sh, from, to, keys)
			if err != nil {
				return fmt.Errorf("%s: %w", sh.name, err)
			}
			seen, told = append(seen, gap.Seconds()), append(told, said.Seconds())
		}
		l.report.add(row{What: what + ", longest gap between acknowledged writes", Ours: seen, LimitIs: "restart from a file", Limit: plain})
		l.report.note("%s: clients saw p50 %s, p99 %s; the service tells p50 %s, p99 %s", what,
			short(seen.quantile(0.5)), short(seen.quantile(0.99)), short(told.quantile(0.5)), short(told.quantile(0.99)))
	}
	return nil
}

// upgradeOnce upgrades a group under clients, and returns what they saw and what its event says.
func (l *lab) upgradeOnce(ctx context.Context, api *elasticache.Client, id string, sh shape, from, to engineVersion, keys int64) (gap, told time.Duration, err error) {
	id = strings.NewReplacer("true", "c", "false", "p").Replace(id)
	if _, err := api.CreateReplicationGroup(ctx, sh.request(id, from)); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, erase(context.WithoutCancel(ctx), api, id)) }()
	if err := groupIs(ctx, api, id, "available"); err != nil {
		return 0, 0, err
	}
	at, err := writeTo(ctx, api, id)
	if err != nil {
		return 0, 0, err
	}
	src := &plain{keys: keys, size: plainValue}
	if err := l.pour(ctx, resp.Options{Addr: at}, src, keys); err != nil {
		return 0, 0, err
	}
	c := startSteady(ctx, at)
	defer c.end()
	if err := c.settle(ctx); err != nil {
		return 0, 0, err
	}
	if _, err := api.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: &id, Engine: &to.engine, EngineVersion: &to.version, ApplyImmediately: aws.Bool(true),
	}); err != nil {
		return 0, 0, err
	}
	if err := poll(ctx, 20*look, func() (bool, error) {
		told, err = saidOf(ctx, api, id)
		return told > 0, err
	}); err != nil {
		return 0, 0, err
	}
	if err := c.settle(ctx); err != nil {
		return 0, 0, err
	}
	return c.end(), told, nil
}

var writesWaited = regexp.MustCompile(`writes waited for (\S+)$`)

// saidOf is what the event at the end of an upgrade says; 0 while there is none.
func saidOf(ctx context.Context, api *elasticache.Client, id string) (time.Duration, error) {
	out, err := api.DescribeEvents(ctx, &elasticache.DescribeEventsInput{SourceIdentifier: &id, SourceType: types.SourceTypeReplicationGroup})
	if err != nil {
		return 0, err
	}
	for i := range out.Events {
		text := aws.ToString(out.Events[i].Message)
		if m := writesWaited.FindStringSubmatch(text); m != nil {
			return time.ParseDuration(m[1])
		}
		if strings.HasPrefix(text, "Failed to upgrade") {
			return 0, errors.New(text)
		}
	}
	return 0, nil
}

func (sh shape) request(id string, v engineVersion) *elasticache.CreateReplicationGroupInput {
	in := &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(id), ReplicationGroupDescription: aws.String("measured"),
		Engine: &v.engine, EngineVersion: &v.version, CacheNodeType: aws.String("cache.t4g.medium"),
		Tags: []types.Tag{{Key: aws.String("holdfast:snapshot-before-upgrade"), Value: aws.String("no")}},
	}
	if sh.cluster {
		in.ClusterMode, in.AutomaticFailoverEnabled = types.ClusterModeEnabled, aws.Bool(true)
		in.NumNodeGroups, in.ReplicasPerNodeGroup = aws.Int32(1), aws.Int32(sh.replicasInGroup)
		return in
	}
	in.NumCacheClusters = aws.Int32(sh.nodes)
	return in
}

// writeTo is where clients of a group write; in cluster mode its present primary.
func writeTo(ctx context.Context, api *elasticache.Client, id string) (string, error) {
	out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		return "", err
	}
	g := out.ReplicationGroups[0]
	e := g.ConfigurationEndpoint
	if e == nil {
		e = g.NodeGroups[0].PrimaryEndpoint
	}
	at := net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port))))
	if g.ConfigurationEndpoint == nil {
		return at, nil
	}
	t, err := resp.Discover(ctx, resp.Options{Addr: at})
	if err != nil {
		return "", err
	}
	return t.Shards[0].Primary.Addr, nil
}
