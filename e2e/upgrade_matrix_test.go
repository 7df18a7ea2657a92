package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

// asked is how many commands a second a cache of the matrix is asked for; half are writes.
const asked = 10_000

// shape is what a cache of the matrix is made of.
type shape struct {
	name             string
	nodes            int32 // 0: a cluster that stands alone
	shards, replicas int32 // of cluster mode
}

var shapes = []shape{
	{name: "alone"},
	{name: "group of 1", nodes: 1},
	{name: "group of 2", nodes: 2},
	{name: "2 shards of 1", nodes: 2, shards: 2},
	{name: "2 shards of 2", nodes: 4, shards: 2, replicas: 1},
}

// cell is one upgrade of the matrix.
type cell struct {
	from, to line
	shape    shape
	// closed: everybody encrypts, and logs in with a token.
	closed bool
}

func (c cell) name() string {
	out := fmt.Sprintf("%s-%s to %s-%s, %s", c.from.engine, c.from.version, c.to.engine, c.to.version, c.shape.name)
	if c.closed {
		out += ", closed"
	}
	return out
}

// held tells how writes are held back at the primary, which is the former engine's doing.
func (c cell) held() string {
	switch {
	case c.from.version != "6.0":
		return "CLIENT PAUSE WRITE"
	case c.shape.shards > 0:
		return "CLUSTER FAILOVER"
	}
	return "CLIENT PAUSE"
}

// matrix is every upgrade that there is.
func matrix() (out []cell) {
	lines := []line{{"redis", "6.0"}, {"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}}
	for i, from := range lines {
		for _, to := range lines[i+1:] {
			for _, sh := range shapes {
				if sh.nodes == 0 && from.engine != to.engine {
					continue // it has to be in a group for that
				}
				out = append(out, cell{from, to, sh, false})
				if sh.nodes > 0 {
					out = append(out, cell{from, to, sh, true})
				}
			}
		}
	}
	return out
}

// sample is what of the matrix always runs: each version, each shape, open and closed.
var sample = []string{
	"redis-6.0 to redis-7.0, alone",
	"redis-7.0 to valkey-8.1, group of 2, closed",
	"valkey-8.1 to valkey-9.1, group of 1",
	"redis-6.0 to valkey-9.1, 2 shards of 2",
}

// TestUpgradeMatrix takes caches of every shape from every version to every newer one,
// open and closed, under more commands a second than the machine may stand: nothing
// that was acknowledged is lost. HOLDFAST_ALL=1 runs all of it.
func TestUpgradeMatrix(t *testing.T) {
	cells := slices.DeleteFunc(matrix(), func(c cell) bool {
		return os.Getenv("HOLDFAST_ALL") == "" && !slices.Contains(sample, c.name())
	})
	pauses := map[string][]float64{}
	for _, c := range cells {
		t.Run(c.name(), func(t *testing.T) {
			testkit.Engine(t, c.from.engine+"-"+c.from.version)
			testkit.Engine(t, c.to.engine+"-"+c.to.version)
			pauses[c.held()] = append(pauses[c.held()], c.run(t)...)
		})
	}
	for _, held := range slices.Sorted(maps.Keys(pauses)) {
		all := slices.Sorted(slices.Values(pauses[held]))
		at := func(percent int) float64 { return all[(len(all)*percent+99)/100-1] }
		if len(all) > 0 {
			t.Logf("with %s writes waited %d times: p50 %.1f ms, p99 %.1f ms, longest %.1f ms", held, len(all), at(50), at(99), at(100))
		}
	}
}

// subject is the cache of one cell.
type subject struct {
	*service
	cell
	opt   resp.Options // how it is reached
	at    string       // where clients begin
	group types.ReplicationGroup
}

// run takes the cell, and returns for how long writes waited, in milliseconds.
func (c cell) run(t *testing.T) []float64 {
	x := &subject{service: startService(t), cell: c}
	x.create()
	want := x.fill()
	st := stormAt(t, x.opt, x.at)
	st.goesOn()
	began := time.Now()
	x.askLine("shop", c.shape.nodes, c.to)
	x.await()
	took := time.Since(began)
	st.goesOn()
	st.stop()
	d := x.reported()
	x.inStep()
	st.check(t)
	t.Logf("%s in %s: %s; held by %s for %.1f ms; %d keys compared", c.name(), took.Round(time.Millisecond), st, c.held(), d.WritePausesMs, d.Compared)
	x.holds(want)
	return d.WritePausesMs
}

func (x *subject) create() {
	x.t.Helper()
	x.opt = resp.Options{DialTimeout: 2 * time.Second, Timeout: 20 * time.Second, RESP2: true}
	if x.shape.nodes == 0 {
		x.at = x.startLine("shop", 0, x.from)
		return
	}
	in := groupRequest("shop", x.from.engine, x.from.version, x.shape.nodes)
	if x.shape.shards > 0 {
		in = clusterRequest("shop", x.from.engine, x.from.version, x.shape.shards, x.shape.replicas)
	}
	if x.closed {
		in.TransitEncryptionEnabled, in.AuthToken = aws.Bool(true), aws.String(firstToken)
	}
	x.group = x.createGroup(east, in)
	if x.closed {
		x.opt.TLS, x.opt.Password = x.trust(), firstToken
		x.opt.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if x.shape.shards > 0 {
		x.at = configuration(x.group)
	} else {
		x.at = primary(x.group)
	}
}

// reported is the report of the upgrade as it is right after that: it is complete once the
// nodes have served for a while, which TestAnUpgradeIsReported waits for.
func (x *subject) reported() (d upgradeDocument) {
	x.t.Helper()
	out, err := exec.CommandContext(x.t.Context(), program, "report", "shop", "--data", x.dir, "--output", "json").Output()
	var all []upgradeDocument
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil || len(all) != 1 || len(all[0].WritePausesMs) == 0 || all[0].Compared == 0 {
		x.t.Fatalf("the report is %s: %v", out, err)
	}
	return all[0]
}

// fill writes made-up data, and returns the fingerprint of all that it holds.
func (x *subject) fill() string {
	x.t.Helper()
	var src flow.Source
	if x.shape.shards > 0 {
		src = clusterData(x.t)
	} else {
		sh, err := source.Preset("mixed", began)
		if err != nil {
			x.t.Fatal(err)
		}
		sh.Keys, sh.Databases = fewKeys, databases
		if src, err = source.NewGenerate(sh); err != nil {
			x.t.Fatal(err)
		}
	}
	defer src.Close()
	dst, err := sink.NewServer(x.t.Context(), x.opt.At(x.at), sink.ServerOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	if _, err := flow.Run(x.t.Context(), src, dst, flow.Options{}); err != nil {
		x.t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		x.t.Fatal(err)
	}
	return x.print(x.t.Context())
}

// print is the fingerprint of everything.
func (x *subject) print(ctx context.Context) string {
	x.t.Helper()
	var src flow.Source = source.NewScan(x.opt.At(x.at), source.ScanOptions{})
	if x.shape.shards > 0 {
		src = source.NewCluster(x.opt.At(x.at), source.ScanOptions{})
	}
	defer src.Close()
	f, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		x.t.Fatal(err)
	}
	return f.String()
}

// await waits until all nodes are what they are to be. On a machine that does nothing else
// it takes seconds.
func (x *subject) await() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 4*patience)
	defer cancel()
	api, last := x.elasticache(east), ""
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if said := x.said("Failed to upgrade"); len(said) > 0 {
			x.t.Fatal(said)
		}
		out, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{})
		if err == nil {
			if last = behind(out.CacheClusters, x.to); last == "" {
				break
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			x.t.Fatalf("it is not upgraded: %s %v", last, err)
		}
	}
	if x.shape.nodes > 0 {
		x.group = x.awaitGroup(east, "shop", "available")
	}
}

// behind names a cluster that is not what it is to be.
func behind(all []types.CacheCluster, to line) string {
	for _, c := range all {
		if aws.ToString(c.Engine) != to.engine || !strings.HasPrefix(aws.ToString(c.EngineVersion), to.version) || aws.ToString(c.CacheClusterStatus) != "available" {
			return fmt.Sprintf("%s is %s %s and %s", *c.CacheClusterId, *c.Engine, *c.EngineVersion, *c.CacheClusterStatus)
		}
	}
	return ""
}

// inStep waits until the nodes of each node group hold the same, and asks each who it is.
func (x *subject) inStep() {
	x.t.Helper()
	for _, g := range x.group.NodeGroups {
		var first, id string
		for _, m := range g.NodeGroupMembers {
			opt := x.opt.At(x.nodeAddress(east, *m.CacheClusterId))
			x.is(opt)
			if first == "" {
				first, id = x.printOf(opt), *m.CacheClusterId
				continue
			}
			eventually(x.t, *m.CacheClusterId+" holds what "+id+" holds", func(context.Context) (bool, error) {
				now := x.printOf(opt)
				return now == first, fmt.Errorf("it is %s and not %s", now, first)
			})
		}
	}
	if len(x.group.NodeGroups) == 0 {
		x.is(x.opt.At(x.at))
	}
}

// printOf is the fingerprint of one node, whichever its role.
func (x *subject) printOf(opt resp.Options) string {
	x.t.Helper()
	src := source.NewReplicaScan(opt, source.ScanOptions{})
	defer src.Close()
	f, err := verify.Compute(x.t.Context(), src, verify.Options{})
	if err != nil {
		return err.Error()
	}
	return f.String()
}

// is wants a node to say itself that it is of the new version.
func (x *subject) is(opt resp.Options) {
	x.t.Helper()
	c, err := resp.Dial(x.t.Context(), opt)
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	if said := ask(x.t, c, "INFO", "server"); !strings.Contains(said, x.to.engine+"_version:"+x.to.version) {
		x.t.Errorf("%s is not %s %s:\n%s", opt.Addr, x.to.engine, x.to.version, said)
	}
}

// holds wants the made-up data to be what they were, and nothing else to be there.
func (x *subject) holds(want string) {
	x.t.Helper()
	if got := x.print(x.t.Context()); got != want {
		x.t.Errorf("the data are %s and were %s", got, want)
	}
}
