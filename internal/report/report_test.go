package report

import (
	"fmt"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/metrics"
	"holdfast.dev/internal/testkit"
)

// said is a reading of a real engine, so many seconds after the first.
func said(t *testing.T, s *testkit.Server, second int) *metrics.Reading {
	t.Helper()
	text, ok := s.Must("INFO", "all").(string)
	if !ok {
		t.Fatal("INFO is no text")
	}
	return &metrics.Reading{At: time.Unix(1000+int64(second), 0), Fields: metrics.ParseInfo(text)}
}

func node(t *testing.T, r *cache.UpgradeReport, i int) *cache.NodeReport {
	t.Helper()
	if len(r.Nodes) <= i {
		t.Fatalf("there are %d nodes", len(r.Nodes))
	}
	return &r.Nodes[i]
}

// TestFiguresOfEngines goes through a replacement by hand: a new engine follows the old one,
// takes its place, and clients work all the while.
func TestFiguresOfEngines(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		old := testkit.StartServer(t, b)
		var r cache.UpgradeReport
		Expect(&r, []string{"n"})
		for i := range 100 {
			old.Must("SET", fmt.Sprint("k", i), "v")
		}
		minute := said(t, old, 0)
		old.Must("GET", "k1")
		old.Must("GET", "none")
		See(&r, "n", said(t, old, 30), minute)
		if f := node(t, &r, 0).Before; f == nil || f.CurrItems != 100 || f.CacheHits != 1 || f.CacheMisses != 1 || f.Seconds != 30 || !f.Primary || f.BytesUsedForCache == 0 {
			t.Fatalf("before: %+v", f)
		}
		old.Must("GET", "k1")
		old.Must("DEL", "k0")
		successor := testkit.StartServer(t, testkit.Engine(t, "valkey-9.1"), testkit.ReplicaOf(old))
		successor.WaitLink()
		old.Must("SET", "later", "v")
		See(&r, "n", said(t, old, 40), nil)
		old.Must("UNLINK", "k9") // which the replica is told to do
		old.Must("SET", "k9", "v")
		successor.WaitLink()
		for deadline := time.Now().Add(time.Minute); successor.Info("replication")["slave_repl_offset"] != old.Info("replication")["master_repl_offset"]; {
			if time.Now().After(deadline) {
				t.Fatal("the replica does not follow")
			}
		}
		successor.Must("REPLICAOF", "NO", "ONE")
		for range 4 {
			successor.Must("GET", "k2")
		}
		_, _ = successor.Try("LPUSH", "k2", "v") // an error
		See(&r, "n", said(t, successor, 50), nil)
		f := node(t, &r, 0).During
		if f.CacheHits != 5 || f.Evictions != 0 || f.Removals != 1 || f.Seconds != 20 || f.CurrItems != 100 || f.ReplicationBytes == 0 || f.ReplicationBytes > 1000 || f.NewConnections == 0 {
			t.Errorf("during: %+v", f)
		}
		if f.Errors < 1 {
			t.Errorf("%d errors", f.Errors)
		}
		successor.Must("GET", "k3")
		Afterwards(&r, "n", said(t, successor, 110))
		Finish(&r)
		n := node(t, &r, 0)
		if f := n.After; f.CacheHits != 1 || f.Seconds != 60 || f.CurrItems != 100 || !f.Primary || f.Removals != 0 {
			t.Errorf("after: %+v", f)
		}
		if !n.Replaced || n.New || n.Seen != nil || !r.Done {
			t.Errorf("%+v", n)
		}
		r.EndedAt, r.Compared = time.Unix(1050, 0), 100
		if v := r.Judge(); v.Outcome != cache.OutcomeNoLoss {
			t.Errorf("%+v", v)
		}
	})
}

func TestEvictionsOfANewNodeCount(t *testing.T) {
	old := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	small := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"), testkit.Config("maxmemory 3mb", "maxmemory-policy allkeys-lru"))
	var r cache.UpgradeReport
	Expect(&r, []string{"n"})
	See(&r, "n", said(t, old, 0), nil)
	for i := range 3000 {
		small.Must("SET", fmt.Sprint(i), fmt.Sprintf("%01000d", i))
	}
	See(&r, "n", said(t, small, 10), nil)
	if f := node(t, &r, 0).During; f.Evictions < 100 {
		t.Errorf("%+v", f)
	}
	r.EndedAt, r.Compared = time.Unix(1010, 0), 3000
	if v := r.Judge(); v.Outcome != cache.OutcomePossible {
		t.Errorf("%+v", v)
	}
}

func TestANodeThatCameMeanwhileHasNoBefore(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	var r cache.UpgradeReport
	Expect(&r, []string{"a"})
	See(&r, "b", said(t, s, 0), nil)
	See(&r, "b", &metrics.Reading{At: time.Unix(2000, 0), Fields: map[string]string{"role": "master", "loading": "1"}}, nil)
	if n := node(t, &r, 1); n.ID != "b" || !n.New || n.Before != nil || n.During == nil || n.During.Seconds != 0 {
		t.Errorf("%+v", n)
	}
}

func TestANodeThatIsReplacedAlreadyHasNoBefore(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	for from, seen := range map[string]bool{"redis-7.0.15": false, s.Build.Name: true} {
		r := cache.UpgradeReport{From: cache.Kind{Build: from}}
		Expect(&r, []string{"a"})
		See(&r, "a", said(t, s, 0), nil)
		if n := node(t, &r, 0); (n.Before != nil) != seen || n.During == nil {
			t.Errorf("from %s: %+v", from, n)
		}
	}
}
