package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// node is a member of the group.
type node struct {
	Name, Shard, Addr string
}

func (n node) host() string {
	host, _, _ := net.SplitHostPort(n.Addr) // it was joined from one
	return host
}

// group is what is known of the group under test: as it was when the API was asked last.
type group struct {
	mu     sync.Mutex
	status string
	meet   string // the primary endpoint, or the configuration endpoint
	nodes  []node
	shards []string
}

func (g *group) all() []node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.nodes)
}

func (g *group) of(shard string) []node {
	return slices.DeleteFunc(g.all(), func(n node) bool { return n.Shard != shard })
}

func (g *group) shardIDs() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.shards)
}

// refresh asks the API who is in the group.
func (g *group) refresh(ctx context.Context, api *elasticache.Client, id string) error {
	out, err := api.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &id})
	if err != nil {
		return err
	}
	nodes, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{ShowCacheNodeInfo: aws.Bool(true)})
	if err != nil {
		return err
	}
	at := map[string]string{}
	for _, c := range nodes.CacheClusters {
		if len(c.CacheNodes) > 0 && c.CacheNodes[0].Endpoint != nil {
			at[aws.ToString(c.CacheClusterId)] = join(c.CacheNodes[0].Endpoint)
		}
	}
	now := out.ReplicationGroups[0]
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.nodes, g.shards = aws.ToString(now.Status), nil, nil
	for _, s := range now.NodeGroups {
		g.shards = append(g.shards, aws.ToString(s.NodeGroupId))
		for _, m := range s.NodeGroupMembers {
			name := aws.ToString(m.CacheClusterId)
			if at[name] == "" {
				return fmt.Errorf("%s has no address", name)
			}
			g.nodes = append(g.nodes, node{Name: name, Shard: aws.ToString(s.NodeGroupId), Addr: at[name]})
		}
		if s.PrimaryEndpoint != nil {
			g.meet = join(s.PrimaryEndpoint)
		}
	}
	if now.ConfigurationEndpoint != nil {
		g.meet = join(now.ConfigurationEndpoint)
	}
	return nil
}

func join(e *types.Endpoint) string {
	return net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port))))
}

// askTimeout bounds a question to a node that may be dead or halted.
const askTimeout = time.Second

// state is a node as it describes itself; "" when it does not answer.
func (n node) state(ctx context.Context) string {
	reply, err := ask(ctx, n.Addr, askTimeout, []string{"INFO", "replication"})
	if err != nil {
		return ""
	}
	return text(reply)
}

func leads(state string) bool { return field(state, "role") == "master" }

// roles are a shard's primary and replicas as they say; the primary is the one with
// the most replicas, and with the most data, of those that say so.
func (g *group) roles(ctx context.Context, shard string) (primary *node, replicas []node) {
	best := -1
	for _, n := range g.of(shard) {
		state := n.state(ctx)
		if !leads(state) {
			replicas = append(replicas, n)
			continue
		}
		has, _ := strconv.Atoi(field(state, "connected_slaves")) // 0 if it does not tell
		if has > best {
			if primary != nil {
				replicas = append(replicas, *primary)
			}
			best, primary = has, &n
		} else {
			replicas = append(replicas, n)
		}
	}
	return primary, replicas
}

// unwhole says what is not as it should be with a shard that has been let alone; ""
// when all is. If level, all nodes have to be at the same place of the replication stream.
func (g *group) unwhole(ctx context.Context, shard string, level bool) string {
	nodes := g.of(shard)
	var lead []node
	var text strings.Builder
	offsets := map[string]bool{}
	whole := true
	for _, n := range nodes {
		state := n.state(ctx)
		fmt.Fprintf(&text, "%s at %s: role %s, follows %s:%s (%s), connected replicas %s, offset %s\n", n.Name, n.Addr, field(state, "role"),
			field(state, "master_host"), field(state, "master_port"), field(state, "master_link_status"), field(state, "connected_slaves"), field(state, "master_repl_offset"))
		offsets[field(state, "master_repl_offset")] = true
		switch {
		case leads(state):
			lead = append(lead, n)
			whole = whole && field(state, "connected_slaves") == strconv.Itoa(len(nodes)-1)
		case field(state, "role") == "slave":
			whole = whole && field(state, "master_link_status") == "up" && field(state, "master_sync_in_progress") == "0"
		default:
			whole = false
		}
	}
	if whole && len(lead) == 1 && (!level || len(offsets) == 1) {
		return ""
	}
	return text.String()
}

// pid is the engine's process of a node, 0 when none runs. A child of it that saves
// works in the same directory and does not count.
func pid(dir, name string) (int, error) {
	home := filepath.Join(dir, "nodes", region, name)
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return 0, err
	}
	in := map[int]bool{}
	for _, l := range links {
		cwd, err := os.Readlink(l)
		if err != nil || cwd != home && !strings.HasPrefix(cwd, home+"/") {
			continue // gone meanwhile, or elsewhere
		}
		if p, err := strconv.Atoi(filepath.Base(filepath.Dir(l))); err == nil && parent(p) != 0 {
			in[p] = true
		}
	}
	for p := range in {
		if !in[parent(p)] {
			return p, nil
		}
	}
	return 0, nil
}

// parent is 0 for what is dead or a zombie.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 || f[0] == "Z" {
		return 0
	}
	n, _ := strconv.Atoi(f[1]) // always a number
	return n
}

// errNoProcess: there is nothing to be killed.
var errNoProcess = errors.New("no process of it runs")
