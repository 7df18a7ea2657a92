package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

// TestMemcached is the life of a cluster, as its clients see it.
func TestMemcached(t *testing.T) {
	t.Parallel()
	s := newService(t)
	engines := t.TempDir()
	installed(t, engines, "memcached-1.6.18")
	s.start("HOLDFAST_ENGINES_DIR="+engines, "PATH=/nowhere")
	s.createMemcached("web", "1.6.17", 3)
	k := s.awaitMemcached("web", 3)
	wantList(t, k, 1)
	if zones := zonesOf(k); len(zones) != 3 || aws.ToString(k.PreferredAvailabilityZone) != "Multiple" {
		t.Errorf("the nodes are in %v, which is shown as %s", zones, aws.ToString(k.PreferredAvailabilityZone))
	}
	for _, n := range k.CacheNodes {
		wantAnswer(t, addr(n.Endpoint), "set mine 7 0 4\r\n"+*n.CacheNodeId+"\r\n", "STORED\r\n")
	}
	t.Run("nodes come and go", func(t *testing.T) { s.t = t; s.nodesComeAndGo() })
	t.Run("kills", func(t *testing.T) { s.t = t; s.memcachedKilled(engines) })
	t.Run("restarts keep the items", func(t *testing.T) { s.t = t; s.memcachedKeeps(engines) })
	s.t = t
	memory := s.memoryDir("web/0001")
	if keepsItems() && memory == "" {
		t.Error("there is room for items, and nothing keeps them")
	}
	s.deleteMemcached("web")
	s.nothingLeft()
	if _, err := os.Stat(memory); memory != "" && !os.IsNotExist(err) {
		t.Errorf("%s is left (%v)", memory, err)
	}
}

func (s *service) nodesComeAndGo() {
	t := s.t
	s.modifyMemcached(&elasticache.ModifyCacheClusterInput{
		NumCacheNodes: aws.Int32(5), NewAvailabilityZones: []string{"us-east-1f", "us-east-1a"},
	})
	k := s.awaitMemcached("web", 5)
	version := listVersion(t, addr(k.ConfigurationEndpoint))
	if version < 2 || version > 3 {
		t.Errorf("the list has version %d after two nodes were added", version)
	}
	wantList(t, k, version)
	wantAnswer(t, addr(k.CacheNodes[1].Endpoint), "get mine\r\n", "VALUE mine 7 4\r\n0002\r\nEND\r\n")
	gone := addr(k.CacheNodes[1].Endpoint)
	s.modifyMemcached(&elasticache.ModifyCacheClusterInput{NumCacheNodes: aws.Int32(4), CacheNodeIdsToRemove: []string{"0002"}})
	k = s.awaitMemcached("web", 4)
	wantList(t, k, version+1)
	if c, err := net.Dial("tcp", gone); err == nil {
		_ = c.Close()
		t.Error("a node that was removed takes connections")
	}
	for _, m := range []string{
		"Added cache node 0005 in availability zone us-east-1a", "Finished modifying number of nodes from 3 to 5",
		"Removed cache nodes 0002", "Finished modifying number of nodes from 5 to 4",
	} {
		s.wantMessage(east, "web: "+m)
	}
}

// memcachedKilled: a node that dies stays on the list and comes back empty; the others do
// not notice, and nobody's items suffer from the end of the service.
func (s *service) memcachedKilled(engines string) {
	t := s.t
	k := s.awaitMemcached("web", 4)
	version := listVersion(t, addr(k.ConfigurationEndpoint))
	s.killEngine(east, "web/0001")
	s.wantMessage(east, "web: Finished recovery for cache nodes 0001")
	eventually(t, "the node answers, and is empty", func(context.Context) (bool, error) {
		got, err := memcachedSays(addr(k.CacheNodes[0].Endpoint), "get mine\r\n")
		return got == "END\r\n", err
	})
	wantList(t, k, version)
	wantAnswer(t, addr(k.CacheNodes[1].Endpoint), "get mine\r\n", "VALUE mine 7 4\r\n0003\r\nEND\r\n")

	before := s.mustPID(east, "web/0003")
	s.kill()
	s.start("HOLDFAST_ENGINES_DIR="+engines, "PATH=/nowhere")
	eventually(t, "the fronts stand again", func(context.Context) (bool, error) {
		got, err := memcachedSays(addr(k.CacheNodes[1].Endpoint), "get mine\r\n")
		return got == "VALUE mine 7 4\r\n0003\r\nEND\r\n", err
	})
	if now := s.mustPID(east, "web/0003"); now != before {
		t.Errorf("the node was restarted: process %d and not %d", now, before)
	}
	wantList(t, k, version)
}

// memcachedKeeps: what is planned costs no items, where there is memory to keep them in.
func (s *service) memcachedKeeps(engines string) {
	t := s.t
	keeps := keepsItems()
	k := s.awaitMemcached("web", 4)
	first, third := addr(k.CacheNodes[0].Endpoint), addr(k.CacheNodes[1].Endpoint)
	wantAnswer(t, first, "set mine 1 0 3\r\nnew\r\n", "STORED\r\n")
	want := func(what string) {
		t.Helper()
		for at, full := range map[string]string{first: "VALUE mine 1 3\r\nnew\r\nEND\r\n", third: "VALUE mine 7 4\r\n0003\r\nEND\r\n"} {
			got, err := memcachedSays(at, "get mine\r\n")
			if err != nil || keeps && got != full || !keeps && got != full && got != "END\r\n" {
				t.Errorf("after %s %s says %q (%v), want %q", what, at, got, err, full)
			}
		}
	}
	pid := s.mustPID(east, "web/0001")
	_, err := s.elasticache(east).RebootCacheCluster(t.Context(), &elasticache.RebootCacheClusterInput{
		CacheClusterId: aws.String("web"), CacheNodeIdsToReboot: []string{"0001"},
	})
	s.accepted(err)
	s.awaitMemcached("web", 4)
	if s.mustPID(east, "web/0001") == pid {
		t.Error("the node was not restarted")
	}
	want("a reboot")
	s.wantMessage(east, "web: Cache node 0001 shutdown")
	s.wantMessage(east, "web: Cache node 0001 restarted")
	if keeps {
		s.wantMessage(east, "web: Cache node 0001 has kept its items over the restart: 1")
	}

	installed(t, engines, "memcached-1.6.38")
	if out, err := exec.Command(program, "down", "--data", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("down: %v\n%s", err, out)
	}
	s.awaitEnd()
	s.start("HOLDFAST_ENGINES_DIR="+engines, "PATH=/nowhere")
	eventually(t, "all nodes run again", func(ctx context.Context) (bool, error) {
		for _, n := range k.CacheNodes {
			if got, err := memcachedSays(addr(n.Endpoint), "version\r\n"); got != "VERSION 1.6.18\r\n" {
				return false, fmt.Errorf("%q %w", got, err)
			}
		}
		return true, nil
	})
	want("down and up")
	s.modifyMemcached(&elasticache.ModifyCacheClusterInput{EngineVersion: aws.String("1.6.22")})
	k = s.awaitMemcached("web", 4)
	for _, n := range k.CacheNodes {
		wantAnswer(t, addr(n.Endpoint), "version\r\n", "VERSION 1.6.38\r\n")
	}
	want("an upgrade")
	s.wantMessage(east, "web: Engine version memcached 1.6.22 is served by the installed build memcached-1.6.38")
}

func TestMemcachedWithTLS(t *testing.T) {
	t.Parallel()
	testkit.Engine(t, "memcached-1.6.38")
	s := startService(t)
	_, err := s.elasticache(east).CreateCacheCluster(t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("web"), Engine: aws.String("memcached"), CacheNodeType: aws.String("cache.t3.micro"),
		NumCacheNodes: aws.Int32(2), TransitEncryptionEnabled: aws.Bool(true),
	})
	s.accepted(err)
	k := s.awaitMemcached("web", 2)
	bundle, err := exec.Command(program, "ca", "--data", s.dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatalf("ca prints %q", bundle)
	}
	for _, at := range []string{addr(k.CacheNodes[0].Endpoint), addr(k.CacheNodes[1].Endpoint), addr(k.ConfigurationEndpoint)} {
		c, err := tls.Dial("tcp", at, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if got, err := converse(c, "set k 0 0 1\r\nv\r\n"); err != nil || got != "STORED\r\n" {
			t.Errorf("%s says %q (%v)", at, got, err)
		}
		if got, err := memcachedSays(at, "version\r\n"); strings.Contains(got, "VERSION") {
			t.Errorf("%s says %q (%v) to a client without TLS", at, got, err)
		}
	}
	s.deleteMemcached("web")
	s.nothingLeft()
}

// memcachedScenario is what is crashed of it: what was put off until the maintenance window
// begins, a reboot, and the end.
var memcachedScenario = scenario{
	name:  "memcached",
	kinds: []string{"apply", "front", "list", "restart", "unfront", "remove"},
	before: func(s *service) {
		s.createMemcached("web", "", 2)
		k := s.awaitMemcached("web", 2)
		wantAnswer(s.t, addr(k.CacheNodes[0].Endpoint), "set k 0 0 1\r\nv\r\n", "STORED\r\n")
		_, err := s.elasticache(east).ModifyCacheCluster(s.t.Context(), &elasticache.ModifyCacheClusterInput{
			CacheClusterId: aws.String("web"), NumCacheNodes: aws.Int32(3),
		})
		s.accepted(err)
	},
	between: func(s *service) {
		s.write(func(tx *store.Tx) error {
			c, _, err := records.Clusters.Get(tx, cache.Key(east, "web"))
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			from, to := now.Add(-time.Hour), now.Add(23*time.Hour)
			c.MaintenanceWindow = strings.ToLower(from.Format("Mon:15:04") + "-" + to.Format("Mon:15:04"))
			return records.Clusters.Put(tx, c.Key(), c)
		})
	},
	run: func(s *service) {
		k := s.awaitMemcached("web", 3)
		wantAnswer(s.t, addr(k.CacheNodes[0].Endpoint), "get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n")
		_, err := s.elasticache(east).RebootCacheCluster(s.t.Context(), &elasticache.RebootCacheClusterInput{
			CacheClusterId: aws.String("web"), CacheNodeIdsToReboot: []string{"0001"},
		})
		s.accepted(err, "InvalidCacheClusterState")
		s.awaitMemcached("web", 3)
		s.deleteMemcached("web")
	},
}

func init() { scenarios = append(scenarios, memcachedScenario) }

// installed puts an engine among those that are installed in a directory.
func installed(t *testing.T, dir, engine string) {
	t.Helper()
	testkit.Engine(t, engine) // so that one is missed by name
	from, err := catalog.DefaultDir()
	if err == nil {
		err = os.Symlink(filepath.Join(from, engine), filepath.Join(dir, engine))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// createMemcached asks for a cluster whose nodes are so small that their items find room
// in any file system in memory.
func (s *service) createMemcached(id, version string, nodes int32) {
	s.t.Helper()
	s.parameterGroup("small", "memcached1.6")
	s.set("small", "memcached_connections_overhead", "440")
	in := &elasticache.CreateCacheClusterInput{
		CacheClusterId: &id, Engine: aws.String("memcached"), CacheNodeType: aws.String("cache.t3.micro"),
		NumCacheNodes: &nodes, AZMode: types.AZModeCrossAz, CacheParameterGroupName: aws.String("small"),
	}
	if version != "" {
		in.EngineVersion = &version
	}
	_, err := s.elasticache(east).CreateCacheCluster(s.t.Context(), in)
	s.accepted(err, "CacheClusterAlreadyExists")
}

func (s *service) modifyMemcached(in *elasticache.ModifyCacheClusterInput) {
	s.t.Helper()
	in.CacheClusterId, in.ApplyImmediately = aws.String("web"), aws.Bool(true)
	_, err := s.elasticache(east).ModifyCacheCluster(s.t.Context(), in)
	s.accepted(err)
}

// awaitMemcached waits until a cluster is available with so many nodes.
func (s *service) awaitMemcached(id string, nodes int32) (k types.CacheCluster) {
	s.t.Helper()
	api := s.elasticache(east)
	eventually(s.t, fmt.Sprintf("%s is available with %d nodes", id, nodes), func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		out, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &id, ShowCacheNodeInfo: aws.Bool(true)})
		if err != nil {
			return false, err
		}
		k = out.CacheClusters[0]
		status, n := aws.ToString(k.CacheClusterStatus), aws.ToInt32(k.NumCacheNodes)
		if status == "restore-failed" {
			s.t.Fatalf("%s has failed: %v", id, s.messages(east))
		}
		return status == "available" && n == nodes && len(k.CacheNodes) == int(n), fmt.Errorf("it is %s with %d", status, n)
	})
	return k
}

func (s *service) deleteMemcached(id string) {
	s.t.Helper()
	api := s.elasticache(east)
	_, err := api.DeleteCacheCluster(s.t.Context(), &elasticache.DeleteCacheClusterInput{CacheClusterId: &id})
	s.accepted(err, "CacheClusterNotFound", "InvalidCacheClusterState")
	eventually(s.t, id+" is gone", func(ctx context.Context) (bool, error) {
		s.reviveIfDead()
		_, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &id})
		if code(err) == "CacheClusterNotFound" {
			return true, nil
		}
		return false, err
	})
}

// memoryDir is where the installation keeps items, by what a node was started with; "" for nowhere.
func (s *service) memoryDir(node string) string {
	s.t.Helper()
	_, rest, _ := strings.Cut(commandLine(s.mustPID(east, node)), " -e ")
	if rest == "" {
		return ""
	}
	return filepath.Join("/dev/shm", strings.Split(rest, "/")[3])
}

// keepsItems tells whether this machine has a file system in memory with room for a few
// small nodes.
func keepsItems() bool {
	var st syscall.Statfs_t
	return syscall.Statfs("/dev/shm", &st) == nil && int64(st.Bavail)*st.Bsize-int64(st.Blocks)*st.Bsize/10 > 512<<20
}

// wantList holds what auto discovery answers at every address of a cluster against what
// the API shows, byte for byte.
func wantList(t *testing.T, k types.CacheCluster, version int) {
	t.Helper()
	var nodes []string
	at := []string{addr(k.ConfigurationEndpoint)}
	for _, n := range k.CacheNodes {
		host := aws.ToString(n.Endpoint.Address)
		nodes = append(nodes, fmt.Sprintf("%s|%s|%d", host, host, aws.ToInt32(n.Endpoint.Port)))
		at = append(at, addr(n.Endpoint))
	}
	slices.Sort(nodes)
	list := fmt.Sprintf("%d\n%s\n", version, strings.Join(nodes, " "))
	for _, a := range at {
		wantAnswer(t, a, "config get cluster\r\n", fmt.Sprintf("CONFIG cluster 0 %d\r\n%s\r\nEND\r\n", len(list), list))
	}
}

func listVersion(t *testing.T, at string) (version int) {
	t.Helper()
	got, err := memcachedSays(at, "config get cluster\r\n")
	if err != nil {
		t.Fatal(err)
	}
	var size int
	if _, err := fmt.Sscanf(got, "CONFIG cluster 0 %d\r\n%d\n", &size, &version); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	return version
}

func zonesOf(k types.CacheCluster) map[string]bool {
	out := map[string]bool{}
	for _, n := range k.CacheNodes {
		out[aws.ToString(n.CustomerAvailabilityZone)] = true
	}
	return out
}

func wantAnswer(t *testing.T, at, request, want string) {
	t.Helper()
	if got, err := memcachedSays(at, request); err != nil || got != want {
		t.Errorf("%s answers %q with %q (%v), want %q", at, request, got, err, want)
	}
}

// memcachedSays sends a request on a connection of its own.
func memcachedSays(at, request string) (string, error) {
	c, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		return "", err
	}
	return converse(c, request)
}

// converse sends a request, closes the sending side as far as that can be, and returns
// everything that comes back until the end of an answer.
func converse(c net.Conn, request string) (string, error) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	var out strings.Builder
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		out.WriteString(line)
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err != nil || slices.Contains([]string{"END", "STORED", "ERROR", "VERSION"}, first) {
			return out.String(), err
		}
	}
}
