package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/engine/catalog"
)

// traffic is one way in which the engine's own benchmark sends commands.
type traffic struct {
	what           string
	clients, depth int
	requests       int
}

var traffics = []traffic{
	{"50 clients, pipeline 1", 50, 1, 100_000},
	{"50 clients, pipeline 16", 50, 16, 800_000},
	{"one client, pipeline 1", 1, 1, 20_000},
}

// lane is an endpoint, and a node behind it.
type lane struct {
	what, command      string
	endpoint, straight string
}

// benchEndpoints is what commands lose by the address that they are sent to: an
// endpoint that the engine has bound itself, and those that are forwarded.
func benchEndpoints(ctx context.Context, l *lab) (err error) {
	b, ok := l.engine(engineLine)
	if !ok {
		return nil
	}
	program := benchmarkOf(b)
	if program == "" {
		l.report.note("%s comes without its client programs: there is nothing to send commands with", b.Name)
		return nil
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	lanes, err := endpointLanes(ctx, s.elasticache(), l)
	if err != nil {
		return err
	}
	for _, x := range lanes {
		for _, t := range traffics {
			to := func(addr string) timed {
				return func() (time.Duration, error) { return t.send(ctx, b, program, addr, x.command, l.few(t.requests)) }
			}
			got, err := l.alternate(ctx, l.opt.rounds, to(x.straight), to(x.endpoint))
			if err != nil {
				return err
			}
			l.report.add(row{
				What: fmt.Sprintf("%s, %s, %s", x.what, strings.ToUpper(x.command), t.what), Requests: int64(l.few(t.requests)),
				Ours: got[1], LimitIs: "the node's own address", Limit: got[0],
			})
		}
	}
	return nil
}

// endpointLanes makes a group with two replicas, and one of an engine that cannot rebind.
func endpointLanes(ctx context.Context, api *elasticache.Client, l *lab) ([]lane, error) {
	out, err := nodeGroupOf(ctx, api, engineName, version, 3)
	if err != nil {
		return nil, err
	}
	lanes := []lane{
		{"primary endpoint, bound by the engine", "set", at(out.PrimaryEndpoint), memberIn(out, "primary")},
		{"reader endpoint, forwarded to two replicas", "get", at(out.ReaderEndpoint), memberIn(out, "replica")},
	}
	if _, ok := l.engine("redis-6.0"); !ok {
		return lanes, nil
	}
	if out, err = nodeGroupOf(ctx, api, "redis", "6.0", 1); err != nil {
		return nil, err
	}
	return append(lanes, lane{"primary endpoint of redis 6.0, forwarded", "set", at(out.PrimaryEndpoint), memberIn(out, "primary")}), nil
}

func nodeGroupOf(ctx context.Context, api *elasticache.Client, engine, version string, nodes int32) (types.NodeGroup, error) {
	id := "lane-" + engine
	_, err := api.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &id, ReplicationGroupDescription: aws.String("measured"), NumCacheClusters: &nodes,
		Engine: &engine, EngineVersion: &version, CacheNodeType: aws.String(smallType),
	})
	if err != nil {
		return types.NodeGroup{}, err
	}
	if err := groupIs(ctx, api, id, "available"); err != nil {
		return types.NodeGroup{}, err
	}
	out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		return types.NodeGroup{}, err
	}
	return out.ReplicationGroups[0].NodeGroups[0], nil
}

func at(e *types.Endpoint) string {
	if e == nil {
		return ""
	}
	return net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port))))
}

// memberIn is the address of the first node in that role.
func memberIn(g types.NodeGroup, role string) string {
	for _, m := range g.NodeGroupMembers {
		if aws.ToString(m.CurrentRole) == role {
			return at(m.ReadEndpoint)
		}
	}
	return ""
}

// benchmarkOf is the engine's own benchmark program; "" if it came without.
func benchmarkOf(b catalog.Build) string {
	if b.CLI == "" {
		return ""
	}
	program := filepath.Join(filepath.Dir(b.CLI), strings.TrimSuffix(filepath.Base(b.CLI), "-cli")+"-benchmark")
	if _, err := os.Stat(program); err != nil {
		return ""
	}
	return program
}

var anyRate = regexp.MustCompile(`(?m)^"[A-Z]+","([0-9.]+)"`)

// send is how long so many commands take to that address.
func (t traffic) send(ctx context.Context, b catalog.Build, program, addr, command string, requests int) (time.Duration, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, "-h", host, "-p", port, "-t", command, "-n", strconv.Itoa(requests),
		"-r", "100000", "-d", strconv.Itoa(plainValue), "-c", strconv.Itoa(t.clients), "-P", strconv.Itoa(t.depth), "--csv")
	cmd.Env = append(os.Environ(), b.Env...)
	out, err := cmd.CombinedOutput()
	m := anyRate.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, fmt.Errorf("cannot run %s: %w\n%s", program, errors.Join(err), out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || rate <= 0 {
		return 0, fmt.Errorf("cannot read the rate of %s: %w\n%s", program, errors.Join(err), out)
	}
	return time.Duration(float64(requests) / rate * float64(time.Second)), nil
}
