package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/api"
	"holdfast.dev/internal/api/own"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/metrics"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

// observed is a store with a cache in it, and a reporter that looks on. The nodes are
// what the test says.
type observed struct {
	t     *testing.T
	dir   dataDir
	db    *store.DB
	mu    sync.Mutex
	nodes map[string]*testkit.Server // by the id of the cluster
}

func observe(t *testing.T) *observed {
	t.Helper()
	o := &observed{t: t, dir: dataDir(t.TempDir()), nodes: map[string]*testkit.Server{}}
	o.open()
	return o
}

func (o *observed) open() {
	o.t.Helper()
	db, err := store.Open(o.t.Context(), o.dir.database())
	if err != nil {
		o.t.Fatal(err)
	}
	o.db = db
	o.t.Cleanup(func() { _ = db.Close() }) // closed by some tests already
}

// start has a reporter look on until the returned function is called.
func (o *observed) start() (stop func()) {
	r := &reporter{
		db: o.db, log: slog.New(slog.DiscardHandler), quiet: 200 * time.Millisecond, open: map[string]*openReport{},
		minute:    func(string, string, string) *metrics.Reading { return nil },
		targetsOf: o.targets,
	}
	ctx, cancel := context.WithCancel(o.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Error(err)
		}
	})
}

func (o *observed) targets(c *cache.CacheCluster, _ *cache.ReplicationGroup) []metrics.Target {
	id := c.ID
	return []metrics.Target{{
		Node: metrics.Node{Region: c.Region, ClusterID: id, NodeID: firstNode},
		Read: func(context.Context) (map[string]string, error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.nodes[id] == nil {
				return nil, errors.New("it does not run")
			}
			text, err := o.nodes[id].Try("INFO", "all")
			if err != nil {
				return nil, err
			}
			return metrics.ParseInfo(fmt.Sprint(text)), nil
		},
	}}
}

func (o *observed) serve(id string, s *testkit.Server) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes[id] = s
}

// update changes records.
func (o *observed) update(f func(tx *store.Tx) error) {
	o.t.Helper()
	if err := o.db.Update(o.t.Context(), f); err != nil {
		o.t.Fatal(err)
	}
}

// await reads the reports of a cache until one does.
func (o *observed) await(what string, does func(cache.UpgradeReport) bool) cache.UpgradeReport {
	o.t.Helper()
	ctl := control.Control{Config: control.Config{DB: o.db}}
	for deadline := time.Now().Add(time.Minute); ; {
		all, err := ctl.UpgradeReports(o.t.Context(), "us-east-1", "orders")
		if err != nil {
			o.t.Fatal(err)
		}
		if n := len(all); n > 0 && does(all[n-1]) {
			return all[n-1]
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%s does not come: %+v", what, all)
		}
		select {
		case <-o.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var upgrading = cache.Upgrade{
	From:      cache.Kind{Engine: "redis", EngineVersion: "7.0", NodeType: "cache.t3.micro", Build: "redis-7.0.15"},
	To:        cache.Kind{Engine: "valkey", EngineVersion: "9.1", NodeType: "cache.t3.micro", Build: "valkey-9.1.2"},
	StartedAt: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
}

func (o *observed) begin() {
	o.update(func(tx *store.Tx) error {
		g := cache.ReplicationGroup{Region: "us-east-1", ID: "orders", Members: []string{"orders-001"}}
		u := upgrading
		g.Upgrade = &u
		if err := records.Groups.Put(tx, "us-east-1/orders", g); err != nil {
			return err
		}
		return records.Clusters.Put(tx, "us-east-1/orders-001", cache.CacheCluster{Region: "us-east-1", ID: "orders-001", GroupID: "orders"})
	})
}

// end is what the reconciler does.
func (o *observed) end(failed string) {
	o.update(func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, "us-east-1/orders")
		if err != nil {
			return err
		}
		u := upgrading
		u.Failed, u.Pauses, u.Compared = failed, []time.Duration{3 * time.Millisecond}, 50
		g.Upgrade = nil
		if err := records.Groups.Put(tx, "us-east-1/orders", g); err != nil {
			return err
		}
		return records.EndReport(tx, "us-east-1", true, "orders", &u, u.StartedAt.Add(20*time.Second))
	})
}

func done(r cache.UpgradeReport) bool { return r.Done }

// upgraded goes through an upgrade, of which restart may cut the looking on short.
func (o *observed) upgraded(restart bool) cache.UpgradeReport {
	o.t.Helper()
	old := testkit.StartServer(o.t, testkit.Engine(o.t, "redis-7.0"))
	for i := range 50 {
		old.Must("SET", fmt.Sprint(i), "v")
	}
	o.serve("orders-001", old)
	stop := o.start()
	o.begin()
	o.await("the first look", func(r cache.UpgradeReport) bool { return len(r.Nodes) == 1 && r.Nodes[0].Before != nil })
	old.Must("GET", "1")
	if restart {
		stop()
	}
	successor := testkit.StartServer(o.t, testkit.Engine(o.t, "valkey-9.1"), testkit.ReplicaOf(old))
	successor.WaitLink()
	successor.Must("REPLICAOF", "NO", "ONE")
	o.serve("orders-001", successor)
	if restart {
		stop = o.start()
	}
	o.end("")
	r := o.await("the end", done)
	stop()
	return r
}

func TestTheReportOfAnUpgrade(t *testing.T) {
	for name, restart := range map[string]bool{"in one go": false, "the service is restarted": true} {
		t.Run(name, func(t *testing.T) {
			r := observe(t).upgraded(restart)
			n := r.Nodes[0]
			if len(r.Nodes) != 1 || n.Before.CurrItems != 50 || n.After.CurrItems != 50 || !n.Replaced || r.Compared != 50 || len(r.Pauses) != 1 {
				t.Errorf("%+v", r)
			}
			if !strings.HasPrefix(n.Before.Version, "redis 7.0") || !strings.HasPrefix(n.After.Version, "valkey 9.1") {
				t.Errorf("from %s to %s", n.Before.Version, n.After.Version)
			}
			if n.After.Seconds < 0.15 {
				t.Errorf("afterwards is %v seconds long", n.After.Seconds)
			}
			if want := "no data lost: 50 keys were compared, none differs"; r.Verdict.Text != want {
				t.Errorf("%q, want %q", r.Verdict.Text, want)
			}
		})
	}
}

// TestAnUpgradeThatNobodySaw: it began and ended between two looks.
func TestAnUpgradeThatNobodySaw(t *testing.T) {
	o := observe(t)
	o.serve("orders-001", testkit.StartServer(t, testkit.Engine(t, "valkey-9.1")))
	o.begin()
	o.end("")
	defer o.start()()
	if r := o.await("the report", done); r.Verdict.Outcome == cache.OutcomeUnderWay || len(r.Nodes) != 1 || r.Nodes[0].After == nil {
		t.Errorf("%+v", r)
	}
}

func TestANodeThatDoesNotAnswerBeforeIsSaid(t *testing.T) {
	o := observe(t)
	o.begin()
	defer o.start()()
	o.await("the first look", func(r cache.UpgradeReport) bool { return len(r.Nodes) == 1 })
	o.end("it does not run")
	o.serve("orders-001", testkit.StartServer(t, testkit.Engine(t, "valkey-9.1")))
	r := o.await("the end", done)
	if v := r.Verdict; v.Outcome == cache.OutcomePossible || !strings.HasPrefix(v.Text, "given up (it does not run); ") {
		t.Errorf("%+v", v)
	}
}

func TestReportsGoWithTheirCache(t *testing.T) {
	o := observe(t)
	o.upgraded(false)
	defer o.start()()
	// The reporter has to have looked once, so that it sees the group go.
	o.begin()
	o.await("another look", func(r cache.UpgradeReport) bool { return r.EndedAt.IsZero() || r.Done })
	o.update(func(tx *store.Tx) error { return records.Groups.Delete(tx, "us-east-1/orders") })
	for deadline := time.Now().Add(time.Minute); ; {
		var left []cache.UpgradeReport
		err := o.db.View(t.Context(), func(tx *store.Tx) (err error) {
			left, err = records.Reports.List(tx, "")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d reports are left", len(left))
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestReportCommand(t *testing.T) {
	o := observe(t)
	o.upgraded(false)
	if err := o.db.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(opt reportOptions, id string) (string, error) {
		var b bytes.Buffer
		opt.dir, opt.region = string(o.dir), "us-east-1"
		err := runReport(t.Context(), opt, id, &b)
		return b.String(), err
	}
	text, err := run(reportOptions{}, "Orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"replication group orders: redis 7.0 (redis-7.0.15) to valkey 9.1 (valkey-9.1.2)\n", "took 20.00 s", "orders-001  engine", "CurrItems            50",
		"writes waited 3.0 ms\n50 keys were compared; what", "\nno data lost: 50 keys were compared, none differs\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	member, err := run(reportOptions{}, "orders-001")
	if err != nil || member != text {
		t.Errorf("asked for a member: %v", err)
	}
	text, err = run(reportOptions{out: "json", all: true}, "orders")
	var docs []reportDocument
	if err = errors.Join(err, json.Unmarshal([]byte(text), &docs)); err != nil || len(docs) != 1 {
		t.Fatal(err, text)
	}
	if d := docs[0]; d.Outcome != "no-loss" || !d.Complete || d.Nodes[0].After.Figures["CurrItems"] != 50 || d.PausesMs[0] != 3 {
		t.Errorf("%+v", d)
	}
	if _, err := run(reportOptions{}, "none"); err == nil || !strings.Contains(err.Error(), "There is no replication group and no cache cluster none in us-east-1") {
		t.Error(err)
	}

	// Data that may be lost are an exit code, and so are they when a service is asked.
	o.open()
	o.update(func(tx *store.Tx) error {
		all, err := records.Reports.List(tx, "")
		all[0].Nodes[0].During.Evictions = 1
		return errors.Join(err, records.PutReport(tx, all[0]))
	})
	key, err := o.dir.rootKey()
	if err != nil {
		t.Fatal(err)
	}
	server := o.service(key)
	defer server.Close()
	text, err = run(reportOptions{}, "orders")
	if code := exitCode(t.Context(), err); code != exitDiffers || !strings.Contains(text, "possible loss: 1 key was evicted meanwhile") {
		t.Errorf("%v: %s", err, text)
	}
	if _, err := run(reportOptions{}, "none"); err == nil || !strings.Contains(err.Error(), "There is no replication group") {
		t.Error(err)
	}
}

// oneKey is root's, and the only one.
type oneKey struct{ rootKey }

func (k oneKey) Secret(id string) (string, sigv4.Identity, bool) {
	return k.SecretAccessKey, sigv4.Identity{Account: cache.Account, ARN: cache.RootARN, UserID: cache.Account}, id == k.AccessKeyID
}

// service answers Holdfast's own calls.
func (o *observed) service(key rootKey) *httptest.Server {
	o.t.Helper()
	ctl := &control.Control{Config: control.Config{DB: o.db, Now: time.Now}}
	h, err := api.New(api.Config{Keys: oneKey{key}, Services: []*query.Service{own.New(ctl)}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.t.Fatal(err)
	}
	server := httptest.NewServer(http.Handler(h))
	if err := writeJSON(o.dir.service(), serviceInfo{Listen: strings.TrimPrefix(server.URL, "http://"), PID: os.Getpid()}); err != nil {
		o.t.Fatal(err)
	}
	return server
}

func TestTwentyReportsAreKept(t *testing.T) {
	o := observe(t)
	for i := range records.ReportsKept + 5 {
		u := upgrading
		u.StartedAt = u.StartedAt.Add(time.Duration(i) * time.Hour)
		o.update(func(tx *store.Tx) error { return records.EndReport(tx, "us-east-1", true, "orders", &u, u.StartedAt) })
	}
	o.update(func(tx *store.Tx) error {
		return records.EndReport(tx, "us-east-1", true, "orders2", &upgrading, upgrading.StartedAt)
	})
	var kept []cache.UpgradeReport
	o.update(func(tx *store.Tx) (err error) {
		kept, err = records.Reports.List(tx, records.ReportsOf("us-east-1", true, "orders"))
		return err
	})
	if len(kept) != records.ReportsKept || !kept[0].StartedAt.Equal(upgrading.StartedAt.Add(5*time.Hour)) {
		t.Errorf("%d are kept from %s", len(kept), kept[0].StartedAt)
	}
}

func TestMachineFigures(t *testing.T) {
	path := t.TempDir() + "/stat"
	if err := os.WriteFile(path, []byte("cpu  10 1 5 100 20 1 2 3 9 9\ncpu0 1 1 1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, total, ok := procStat(path)
	if busy != 22 || total != 142 || !ok {
		t.Errorf("%v of %v, %t", busy, total, ok)
	}
	if _, _, ok := procStat(path + "x"); ok {
		t.Error("a file that is not there says something")
	}
}

func TestMetricsAreServed(t *testing.T) {
	history := metrics.NewHistory()
	n := metrics.Node{Region: "us-east-1", ClusterID: "orders-001", NodeID: "0001", GroupID: "orders", Engine: "redis"}
	if err := history.Add(time.Now(), map[metrics.Node]metrics.Values{n: {"CurrItems": 5}}); err != nil {
		t.Fatal(err)
	}
	ln, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&metered{history: history}).serveMetrics(ctx, ln) }()
	get := func(path string) (int, string, string) {
		r, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, r.Header.Get("Content-Type"), b.String()
	}
	code, kind, text := get("/metrics")
	if code != http.StatusOK || kind != metrics.ContentType || !strings.Contains(text, `aws_elasticache_curr_items{region="us-east-1",cache_cluster_id="orders-001",cache_node_id="0001",replication_group_id="orders",engine="redis"} 5`) {
		t.Errorf("%d %s\n%s", code, kind, text)
	}
	if code, _, _ := get("/"); code != http.StatusNotFound {
		t.Errorf("another path answers %d", code)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if ln, err := listenMetrics(""); ln != nil || err != nil {
		t.Error(ln, err)
	}
}
