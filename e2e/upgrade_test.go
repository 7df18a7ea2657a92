package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/resp"
)

// line is an engine and its version.
type line struct{ engine, version string }

// TestUpgradesLoseNothing takes caches from one version to the next while they are written
// to: nothing that was acknowledged is lost, and everything stands where it stood.
func TestUpgradesLoseNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int32 // 0: a cluster that stands alone
		from  line
		to    []line
	}{
		{"one", 1, line{"redis", "6.0"}, []line{{"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}}},
		{"two", 2, line{"redis", "6.0"}, []line{{"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}}},
		{"three", 3, line{"redis", "6.0"}, []line{{"valkey", "9.1"}}},
		{"alone", 0, line{"redis", "6.0"}, []line{{"redis", "7.0"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			at := s.startLine("shop", c.nodes, c.from)
			fill(t, at, fewKeys)
			for _, to := range c.to {
				load := loadOn(t, at)
				load.goesOn(t)
				began := time.Now()
				s.upgradeLine("shop", c.nodes, to)
				load.goesOn(t)
				if now := s.endpointOf("shop", c.nodes); now != at {
					t.Errorf("it was at %s and is at %s", at, now)
				}
				acked := load.sum()
				if lost := load.lost(t); len(lost) > 0 {
					t.Errorf("%d of %d acknowledged writes are lost: %v", len(lost), acked, lost[:min(len(lost), 10)])
				}
				t.Logf("to %s %s in %s: %d writes, longest pause %s from %s on, %d errors %v; %v",
					to.engine, to.version, time.Since(began).Round(time.Millisecond), acked, load.longest, load.since.UTC().Format("05.000"), load.failed, load.kinds(), s.pauses())
				s.servedBy(at, to)
				s.unchanged(at)
			}
			if c.nodes == 2 {
				s.inStep(s.awaitGroup(east, "shop", "available"), fewKeys)
			}
		})
	}
}

func (s *service) startLine(id string, nodes int32, v line) string {
	s.t.Helper()
	if nodes > 0 {
		return primary(s.createGroup(east, groupRequest(id, v.engine, v.version, nodes)))
	}
	_, err := s.elasticache(east).CreateCacheCluster(s.t.Context(), &elasticache.CreateCacheClusterInput{
		CacheClusterId: &id, Engine: &v.engine, EngineVersion: &v.version,
		CacheNodeType: aws.String("cache.t4g.small"), NumCacheNodes: aws.Int32(1),
	})
	s.accepted(err, "CacheClusterAlreadyExists")
	return s.awaitCluster(id)
}

func (s *service) endpointOf(id string, nodes int32) string {
	s.t.Helper()
	if nodes > 0 {
		return primary(s.awaitGroup(east, id, "available"))
	}
	return s.awaitCluster(id)
}

// upgradeLine asks for another version, at once, and waits until it is there.
func (s *service) upgradeLine(id string, nodes int32, to line) {
	s.t.Helper()
	s.askLine(id, nodes, to)
	s.awaitLine(id, nodes, to)
}

func (s *service) awaitLine(id string, nodes int32, to line) {
	s.t.Helper()
	api := s.elasticache(east)
	eventually(s.t, fmt.Sprintf("%s is %s %s", id, to.engine, to.version), func(ctx context.Context) (bool, error) {
		if said := s.said("Failed to upgrade"); len(said) > 0 {
			s.t.Fatal(said)
		}
		out, err := api.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{})
		if err != nil {
			return false, err
		}
		for _, c := range out.CacheClusters {
			if aws.ToString(c.Engine) != to.engine || !strings.HasPrefix(aws.ToString(c.EngineVersion), to.version) ||
				aws.ToString(c.CacheClusterStatus) != "available" {
				return false, fmt.Errorf("%s is %s %s and %s", *c.CacheClusterId, *c.Engine, *c.EngineVersion, *c.CacheClusterStatus)
			}
		}
		return true, nil
	})
	s.endpointOf(id, nodes)
}

func (s *service) askLine(id string, nodes int32, to line) {
	s.t.Helper()
	var err error
	if nodes > 0 {
		_, err = s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
			ReplicationGroupId: &id, Engine: &to.engine, EngineVersion: &to.version, ApplyImmediately: aws.Bool(true),
		})
	} else {
		_, err = s.elasticache(east).ModifyCacheCluster(s.t.Context(), &elasticache.ModifyCacheClusterInput{
			CacheClusterId: &id, Engine: &to.engine, EngineVersion: &to.version, ApplyImmediately: aws.Bool(true),
		})
	}
	s.accepted(err, "InvalidReplicationGroupState", "InvalidCacheClusterState")
}

// load writes as a client does, at one address and one write after the other, whatever
// happens, and remembers what was acknowledged.
type load struct {
	counter
	// longest is the longest time between two acknowledged writes, failed how many attempts
	// to connect or to write were in vain.
	longest time.Duration
	since   time.Time // when that began
	failed  int
}

func loadOn(t *testing.T, at string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{counter: counter{at: at, errs: map[string]bool{}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := time.Now()
		for n := 1; ctx.Err() == nil; {
			n = l.write(ctx, n, &last)
		}
	}()
	l.stop = func() { cancel(); <-done }
	t.Cleanup(l.stop)
	return l
}

// write writes from n on until something fails, and returns the number to go on with.
func (l *load) write(ctx context.Context, n int, last *time.Time) int {
	conn, err := resp.Dial(ctx, resp.Options{Addr: l.at, DialTimeout: time.Second, Timeout: 10 * time.Second})
	if err == nil {
		defer conn.Close()
	}
	for err == nil {
		if _, err = conn.Do(ctx, "SET", "count:"+strconv.Itoa(n), strconv.Itoa(n)); err == nil {
			l.mu.Lock()
			l.acked = append(l.acked, n)
			if d := time.Since(*last); d > l.longest {
				l.longest, l.since = d, *last
			}
			l.mu.Unlock()
			*last = time.Now()
		}
		n++
	}
	if ctx.Err() == nil {
		l.mu.Lock()
		l.failed++
		text := err.Error()
		l.errs[text[strings.LastIndex(text, ": ")+1:]] = true
		l.mu.Unlock()
		pause(ctx, time.Millisecond)
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (l *load) kinds() []string { return slices.Sorted(maps.Keys(l.errs)) }

// servedBy wants the engine itself to say which it is.
func (s *service) servedBy(at string, want line) {
	s.t.Helper()
	said := ask(s.t, redis(s.t, at), "INFO", "server")
	field := want.engine + "_version:" + want.version
	if !strings.Contains(said, field) {
		s.t.Errorf("%s is not served by %s %s:\n%s", at, want.engine, want.version, said)
	}
}

// pauses are the steps of all take-overs, as the service's log has them.
func (s *service) pauses() (out []string) {
	for line := range strings.Lines(s.lastWords(1000)) {
		if head, figures, ok := strings.Cut(line, `"leads":true,`); ok {
			out = append(out, head[:40]+strings.TrimSpace(figures))
		}
	}
	return out
}

// unchanged wants the made-up data to be what they were.
func (s *service) unchanged(at string) {
	s.t.Helper()
	got, err := tryFingerprint(s.t.Context(), at)
	if err != nil || got != reference(s.t, fewKeys) {
		s.t.Errorf("the data at %s are not what they were: %v %v", at, got, err)
	}
}

// upgradeKinds are the kinds of actions of an upgrade without cluster mode that comes to
// its end undisturbed; the others of it are in a scenario of one that fails.
var upgradeKinds = []string{"prepare", "launch", "catch-up", "compare", "take-over", "discard", "upgraded"}

// TestAnUpgradeIsCrashed kills the service at every step of an upgrade of a pair, and of
// one that stands alone: it goes on, loses nothing, and says what it says without a crash.
func TestAnUpgradeIsCrashed(t *testing.T) {
	for _, nodes := range []int32{0, 2} {
		sc := scenario{
			name:   "upgrade",
			kinds:  upgradeKinds,
			before: func(s *service) { fill(s.t, s.startLine("shop", nodes, line{"redis", "7.0"}), fewKeys) },
		}
		to := line{"valkey", "8.1"}
		if nodes == 0 {
			sc.before = func(s *service) { fill(s.t, s.startLine("shop", nodes, line{"redis", "6.0"}), fewKeys) }
			to = line{"redis", "7.0"}
		}
		sc.run = func(s *service) {
			at := s.endpointOf("shop", nodes)
			load := loadOn(s.t, at)
			load.goesOn(s.t)
			s.upgradeLine("shop", nodes, to)
			load.goesOn(s.t)
			if lost := load.lost(s.t); len(lost) > 0 {
				s.t.Errorf("%d acknowledged writes are lost: %v", len(lost), lost)
			}
			s.unchanged(at)
			s.deleteLine("shop", nodes)
		}
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			var undisturbed []string
			t.Run("undisturbed", func(t *testing.T) { undisturbed = withoutKeys(sc.play(t, "")) })
			if t.Failed() {
				return
			}
			at := []string{"chosen take-over", "fenced take-over"}
			for _, kind := range sc.kinds {
				for _, place := range places {
					at = append(at, place+" "+kind)
				}
			}
			for _, place := range at {
				t.Run(place, func(t *testing.T) {
					t.Parallel()
					if diff := cmp.Diff(undisturbed, withoutKeys(sc.play(t, place))); diff != "" {
						t.Errorf("the events are not those of a run without a crash (-without +with):\n%s", diff)
					}
				})
			}
		})
	}
}

// TestNodesDieInAnUpgrade kills nodes that are being replaced, and those that come, in the
// midst: the upgrade comes to its end, and what was there before is there.
func TestNodesDieInAnUpgrade(t *testing.T) {
	for _, c := range []struct {
		nodes  int32
		dies   string // once the directory of the second is there
		beside string
	}{
		{0, "shop.1", "shop.1"},
		{2, "shop-002.1", "shop-002.1"},
		{2, "shop-002", "shop-002.1"},
		{2, "shop-001.1", "shop-001.1"},
		{2, "shop-001", "shop-001.1"},
		{2, "shop-001", "shop-002.1"},
	} {
		t.Run(fmt.Sprintf("%s as %s comes", c.dies, c.beside), func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			at := s.startLine("shop", c.nodes, line{"redis", "6.0"})
			fillKeys(t, at)
			if c.nodes > 0 {
				s.inStep(s.awaitGroup(east, "shop", "available"), fewKeys)
			}
			l := loadOn(t, at)
			l.goesOn(t)
			to := line{"redis", "7.0"}
			s.askLine("shop", c.nodes, to)
			eventually(t, "the new node comes", func(context.Context) (bool, error) {
				return s.enginePID(east, c.beside) != 0, nil
			})
			if pid := s.enginePID(east, c.dies); pid != 0 {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Fatal(err)
				}
			}
			s.awaitLine("shop", c.nodes, to)
			l.goesOn(t)
			lost := l.lost(t)
			t.Logf("%d writes, %d of them lost, longest pause %s", len(l.acked), len(lost), l.longest)
			if c.dies == c.beside && len(lost) > 0 {
				t.Errorf("acknowledged writes are lost though no primary died: %v", lost)
			}
			s.unchanged(s.endpointOf("shop", c.nodes))
		})
	}
}

// TestAnUpgradeLetsInWhoWasLetIn: who may log in, and that everybody encrypts, is the same
// at the nodes that come.
func TestAnUpgradeLetsInWhoWasLetIn(t *testing.T) {
	t.Parallel()
	s := startService(t)
	g := s.protected("redis", "6.0", 2)
	v := s.open()
	v.valid(g, firstToken)
	c, err := v.withToken(primary(g), firstToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask(t, c, "SET", "stays", "1")
	for _, to := range []line{{"redis", "7.0"}, {"valkey", "9.1"}} {
		s.upgradeLine("vault", 2, to)
		g = s.awaitGroup(east, "vault", "available")
		v.valid(g, firstToken)
		now, err := v.withToken(primary(g), firstToken)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, now, "GET", "stays"); got != "1" {
			t.Errorf("the value is %q after the upgrade to %s", got, to.version)
		}
		_ = now.Close() // it only asked
		if n, err := try(t.Context(), primary(g), "PING"); err == nil {
			t.Errorf("without encryption it is answered %q", n)
		}
	}
}

// TestStoppedInAnUpgrade: "holdfast down" in the midst of an upgrade keeps the data, and the
// upgrade goes on with the next start.
func TestStoppedInAnUpgrade(t *testing.T) {
	for _, nodes := range []int32{0, 2} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			at := s.startLine("shop", nodes, line{"redis", "6.0"})
			fillKeys(t, at)
			s.askLine("shop", nodes, line{"redis", "7.0"})
			first := "shop.1"
			if nodes > 0 {
				first = "shop-002.1"
			}
			eventually(t, "the new node comes", func(context.Context) (bool, error) { return s.enginePID(east, first) != 0, nil })
			s.kill() // so that it is the midst
			s.down()
			s.start()
			s.awaitLine("shop", nodes, line{"redis", "7.0"})
			s.unchanged(s.endpointOf("shop", nodes))
		})
	}
}

// ofItsOwn is what differs from run to run: when the snapshot was taken, how many keys were
// compared, which the load decides, and how long that waited.
var ofItsOwn = regexp.MustCompile(`pre-upgrade[-\w]*|; \d+ keys were compared|; writes waited for .*`)

// withoutKeys leaves that out.
func withoutKeys(said []string) []string {
	for i := range said {
		said[i] = ofItsOwn.ReplaceAllString(said[i], "")
	}
	slices.Sort(said)
	return said
}

func (s *service) deleteLine(id string, nodes int32) {
	s.t.Helper()
	if nodes > 0 {
		s.deleteGroup(east, id, "")
		return
	}
	_, err := s.elasticache(east).DeleteCacheCluster(s.t.Context(), &elasticache.DeleteCacheClusterInput{CacheClusterId: &id})
	s.accepted(err, "CacheClusterNotFound", "InvalidCacheClusterState")
	eventually(s.t, id+" is gone", func(ctx context.Context) (bool, error) {
		_, err := s.elasticache(east).DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &id})
		return code(err) == "CacheClusterNotFound", err
	})
}

// fillKeys writes the made-up data of which there is enough where the number does not matter.
func fillKeys(t *testing.T, at string) {
	t.Helper()
	fill(t, at, fewKeys)
}
