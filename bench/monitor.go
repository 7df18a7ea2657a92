package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"golang.org/x/sync/errgroup"
)

const (
	// restSpan is how long the service is watched while nothing happens.
	restSpan = 20 * time.Second
	// together is how many groups are made at a time.
	together = 16
	// nodeMemory is what a node without data needs, roughly, in bytes.
	nodeMemory = 12 << 20
)

// watchSteps are numbers of groups, of a primary and a replica each.
var watchSteps = []int{50, 100, 200}

// crowd are many groups of one service. A region holds no more than 300 nodes, so
// they are spread over two.
type crowd struct {
	*lab
	s      *service
	groups []crowdGroup
}

type crowdGroup struct {
	id, region, primary string
	nodes               []string
}

var crowdRegions = []string{"us-east-1", "eu-west-1"}

func (c *crowd) api(region string) *elasticache.Client {
	return elasticache.NewFromConfig(c.s.config, func(o *elasticache.Options) { o.Region = region })
}

// benchMonitor is what it costs to watch many groups in which nothing happens, and
// what a restart of the service means to them.
func benchMonitor(ctx context.Context, l *lab) (err error) {
	if _, ok := l.engine(engineLine); !ok {
		return nil
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c := &crowd{lab: l, s: s}
	for _, n := range watchSteps {
		if l.opt.quick {
			n /= 10
		}
		if free := freeMemory(); free > 0 && int64(n-len(c.groups))*2*nodeMemory > free/2 {
			l.report.note("%d groups do not fit into half of the %d MB of memory that are free", n, free>>20)
			break
		}
		if err := c.grow(ctx, n); err != nil {
			return fmt.Errorf("cannot make %d groups: %w", n, err)
		}
		if err := c.atRest(ctx); err != nil {
			return err
		}
	}
	return c.restarts(ctx)
}

// grow makes groups until there are n.
func (c *crowd) grow(ctx context.Context, n int) error {
	began := len(c.groups)
	c.groups = append(c.groups, make([]crowdGroup, n-began)...)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(together)
	for i := began; i < n; i++ {
		work.Go(func() (err error) {
			c.groups[i], err = c.one(ctx, fmt.Sprintf("crowd-%d", i), crowdRegions[i%len(crowdRegions)])
			return err
		})
	}
	return work.Wait()
}

func (c *crowd) one(ctx context.Context, id, region string) (g crowdGroup, err error) {
	g = crowdGroup{id: id, region: region}
	api := c.api(region)
	_, err = api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("one of many"), NumCacheClusters: aws.Int32(2),
		AutomaticFailoverEnabled: aws.Bool(true), Engine: aws.String(engineName), EngineVersion: aws.String(version), CacheNodeType: aws.String(smallType),
	})
	if err != nil {
		return g, err
	}
	if err := groupIs(ctx, api, id, "available"); err != nil {
		return g, err
	}
	out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		return g, err
	}
	n := out.ReplicationGroups[0].NodeGroups[0]
	g.primary = at(n.PrimaryEndpoint)
	for _, m := range n.NodeGroupMembers {
		g.nodes = append(g.nodes, at(m.ReadEndpoint))
	}
	return g, nil
}

// member is the process of a node, and its role.
type member struct {
	victim
	role string
}

// members are those of all nodes, by address.
func (c *crowd) members(ctx context.Context) (map[string]member, error) {
	out := map[string]member{}
	var mu sync.Mutex
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(together)
	for _, g := range c.groups {
		for _, addr := range g.nodes {
			work.Go(func() error {
				r, err := memberOf(ctx, addr)
				mu.Lock()
				out[addr] = r
				mu.Unlock()
				return err
			})
		}
	}
	return out, work.Wait()
}

func memberOf(ctx context.Context, addr string) (r member, err error) {
	text, err := asked(ctx, addr, "INFO", "server")
	if err != nil {
		return r, err
	}
	r.victim.run = infoField(text, "run_id")
	if r.pid, err = strconv.Atoi(infoField(text, "process_id")); err != nil {
		return r, fmt.Errorf("%s does not tell its process", addr)
	}
	text, err = asked(ctx, addr, "INFO", "replication")
	r.role = infoField(text, "role")
	return r, err
}

// atRest reports what the service and its engines use while nothing happens.
func (c *crowd) atRest(ctx context.Context) error {
	all, err := c.members(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, 5*time.Second); err != nil { // the last of the creation settles
		return err
	}
	ours, engines, err := c.used(ctx, all, restSpan)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d groups of two", len(c.groups))
	f := figure{What: what + ": CPU of the service at rest", Value: percent(ours)}
	if len(c.groups) == watchSteps[len(watchSteps)-1] {
		f.Target, f.Met = "under 5 % of a core", told(ours < 0.05)
	}
	c.figure(f)
	c.figure(figure{What: what + ": CPU of all their engines meanwhile", Value: percent(engines)})
	c.figure(figure{What: what + ": memory of the service", Value: fmt.Sprintf("%d MB", residentMemory(c.s.cmd.Process.Pid)>>20)})
	return nil
}

// used is which part of a core the service and the engines use over a span.
func (c *crowd) used(ctx context.Context, all map[string]member, span time.Duration) (service, engines float64, err error) {
	sum := func() (service, engines float64) {
		for _, r := range all {
			engines += processBusy(r.pid)
		}
		return processBusy(c.s.cmd.Process.Pid), engines
	}
	s1, e1 := sum()
	began := time.Now()
	err = pause(ctx, span)
	s2, e2 := sum()
	took := time.Since(began).Seconds()
	return (s2 - s1) / took, (e2 - e1) / took, err
}

func percent(part float64) string { return fmt.Sprintf("%.2f %% of a core", 100*part) }

// restarts ends the service and starts it again: how long until it serves, what
// of a failover that was due meanwhile, and that there was none otherwise.
func (c *crowd) restarts(ctx context.Context) error {
	var ready, meanwhile, atOnce series
	for i := range c.few(3) {
		if err := c.restart(ctx, i, &ready, &meanwhile, &atOnce); err != nil {
			return fmt.Errorf("restart %d: %w", i+1, err)
		}
	}
	what := fmt.Sprintf("restart with %d groups of two", len(c.groups))
	c.figure(figure{What: what + ": until ready", Value: ready.String()})
	c.figure(figure{What: what + ": until a group writes again whose primary died meanwhile", Value: meanwhile.String()})
	c.figure(figure{What: what + ": primary killed at the moment of ready, until the first write", Value: atOnce.String()})
	c.figure(figure{What: what + ": other groups whose nodes were restarted or changed roles", Value: "none", Met: told(true)})
	return nil
}

func (c *crowd) restart(ctx context.Context, round int, ready, meanwhile, atOnce *series) error {
	before, err := c.members(ctx)
	if err != nil {
		return err
	}
	if err := c.s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-c.s.done; err != nil {
		return fmt.Errorf("the service did not end well: %w", err)
	}
	if round == 0 {
		_, engines, err := c.used(ctx, before, restSpan/2)
		if err != nil {
			return err
		}
		c.figure(figure{What: fmt.Sprintf("%d groups of two: CPU of all their engines with no service", len(c.groups)), Value: percent(engines)})
	}
	dead, next := c.groups[2*round], c.groups[2*round+1]
	k, v, err := c.doom(ctx, dead)
	if err != nil {
		return err
	}
	if err := syscall.Kill(v.pid, syscall.SIGKILL); err != nil {
		return err
	}
	began := time.Now()
	if err := c.s.start(ctx); err != nil {
		return err
	}
	*ready = append(*ready, time.Since(began).Seconds())
	k2, v2, err := c.doom(ctx, next)
	if err != nil {
		return err
	}
	killed := time.Now()
	if err := syscall.Kill(v2.pid, syscall.SIGKILL); err != nil {
		return err
	}
	for _, x := range []struct {
		k     *keeper
		run   string
		since time.Time
		into  *series
	}{{k2, v2.run, killed, atOnce}, {k, v.run, began, meanwhile}} {
		done, err := firstWrite(ctx, x.k, x.run)
		if err != nil {
			return err
		}
		*x.into = append(*x.into, done.Sub(x.since).Seconds())
	}
	if err := c.s.configure(); err != nil {
		return err
	}
	return c.unchanged(ctx, before, dead.id, next.id)
}

// doom looks up the primary of a group, which is about to be killed.
func (c *crowd) doom(ctx context.Context, g crowdGroup) (*keeper, victim, error) {
	k := &keeper{find: func(context.Context) (string, error) { return g.primary, nil }}
	v, err := k.victim(ctx)
	return k, v, err
}

// unchanged waits until all is well again, and then makes sure that in all groups
// but those named the same processes have the same roles as before.
func (c *crowd) unchanged(ctx context.Context, before map[string]member, but ...string) error {
	for _, g := range c.groups {
		if err := groupIs(ctx, c.api(g.region), g.id, "available"); err != nil {
			return err
		}
		if err := whole(ctx, g.primary); err != nil {
			return fmt.Errorf("%s does not come to itself: %w", g.id, err)
		}
	}
	after, err := c.members(ctx)
	if err != nil {
		return err
	}
	for _, g := range c.groups {
		for _, addr := range g.nodes {
			if before[addr] != after[addr] && g.id != but[0] && g.id != but[1] {
				return fmt.Errorf("the restart of the service changed %s of %s: %v, before %v", addr, g.id, after[addr], before[addr])
			}
		}
	}
	return nil
}

// whole waits for a primary whose replica is in step.
func whole(ctx context.Context, addr string) error {
	k := &keeper{
		find:    func(context.Context) (string, error) { return addr, nil },
		settled: func(context.Context) (bool, error) { return true, nil },
	}
	return k.whole(ctx)
}

// freeMemory is how much there is for new processes, in bytes; 0 where the system
// does not tell it in a file.
func freeMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "MemAvailable:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}
