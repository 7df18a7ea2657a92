package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
)

// TestMetrics: what Prometheus is told of nodes of Redis and of Memcached is what they say.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newService(t)
	at := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	s.flags = []string{"--metrics", at}
	s.start()
	g := s.createGroup(east, groupRequest("orders", "redis", "7.0", 2))
	s.createMemcached("web", "", 2)
	k := s.awaitMemcached("web", 2)
	for i := range 7 {
		wantAnswer(t, addr(k.CacheNodes[0].Endpoint), fmt.Sprintf("set k%d 0 0 1\r\nx\r\n", i), "STORED\r\n")
	}
	conn := redis(t, primary(g))
	for i := range 12 {
		ask(t, conn, "SET", fmt.Sprint("k", i), "v")
	}
	labels := `{region="us-east-1",cache_cluster_id="%s",cache_node_id="0001",replication_group_id="%s",engine="%s"}`
	first, second := fmt.Sprintf(labels, "orders-001", "orders", "redis"), fmt.Sprintf(labels, "orders-002", "orders", "redis")
	web := fmt.Sprintf(labels, "web", "", "memcached")
	// What is a rate takes two readings, a minute apart.
	s.wantMetrics(at, "aws_elasticache_curr_items"+first+" 12", "aws_elasticache_curr_items"+web+" 7")
	s.wantMetrics(at,
		"aws_elasticache_curr_items"+first+" 12", "aws_elasticache_curr_items"+second+" 12", "aws_elasticache_curr_items"+web+" 7",
		"aws_elasticache_is_master"+first+" 1", "aws_elasticache_is_master"+second+" 0", "aws_elasticache_replication_lag"+second,
		"aws_elasticache_bytes_used_for_cache"+first, "aws_elasticache_bytes_used_for_cache_items"+web, "aws_elasticache_cpuutilization"+web,
		"aws_elasticache_evictions"+first+" 0", "aws_elasticache_engine_cpuutilization"+first, "aws_elasticache_cmd_gets"+web+" 0")
	// A restart of the service keeps what was seen.
	s.stop()
	s.start()
	s.wantMetrics(at, "aws_elasticache_curr_items"+first+" 12")
}

// wantMetrics waits until each of some lines is there; it may go on with a value.
func (s *service) wantMetrics(at string, lines ...string) {
	s.t.Helper()
	eventually(s.t, "the metrics are there", func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/metrics", nil)
		if err != nil {
			return false, err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		for _, l := range lines {
			if !strings.Contains("\n"+string(text), "\n"+l) {
				return false, fmt.Errorf("%s is not there: %w", l, err)
			}
		}
		return true, nil
	})
}
