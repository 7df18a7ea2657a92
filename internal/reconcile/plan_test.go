package reconcile

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected decisions in testdata")

// epoch is the time at which every case is planned.
var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestPlan reads testdata/plan: each case is a title, the state in a tiny
// language (see parseState) and, below ----, the decision it must lead to.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { runCases(t, f) })
	}
}

func runCases(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		head, want, _ := strings.Cut(block, "\n----")
		title, state, _ := strings.Cut(head, "\n")
		got := strings.TrimSpace(decide(t, title, state))
		out = append(out, head+"\n----\n"+got)
		if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" && !*rewrite {
			t.Errorf("%s (-want +got):\n%s", title, diff)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func decide(t *testing.T, title, state string) string {
	v := parseState(t, title, state)
	d := Plan(v, epoch)
	var b strings.Builder
	for _, a := range d.Do {
		fmt.Fprint(&b, a.ID())
		if a.Source != "" {
			fmt.Fprint(&b, " from ", a.Source)
		}
		if a.Kind == actSnapshot {
			fmt.Fprint(&b, " from ", sourceNames(&v, a.Target))
		}
		for i, to := range a.To {
			fmt.Fprint(&b, []string{" to ", ","}[min(i, 1)], hostPort(to))
		}
		if a.Reason != "" {
			fmt.Fprintf(&b, " because %q", a.Reason)
		}
		fmt.Fprintln(&b)
	}
	for _, id := range d.Cancel {
		fmt.Fprintln(&b, "cancel", id)
	}
	if !d.Again.IsZero() {
		fmt.Fprintln(&b, "again in", d.Again.Sub(epoch))
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// sourceNames are the nodes that a snapshot may read, those of a shard between commas.
func sourceNames(v *View, snapshot string) string {
	_, name := cache.SplitKey(snapshot)
	var shards []string
	for _, sh := range v.shards() {
		var names []string
		for _, m := range v.sources(v.snapshot(name), sh) {
			names = append(names, m.Key())
		}
		shards = append(shards, strings.Join(names, ","))
	}
	return strings.Join(shards, " and ")
}

// parseState reads lines of a word and key=value pairs:
//
//	group [status= primary= seed=yes|placed|verified deleting= final= change promote=N test=SHARD/N[/done]]
//	shard ID slots=... [primary=N seeded|proved]   the group is in cluster mode; nodes come after
//	node N [shard=ID status= up ready told=<role>/<primary n>/<bind,bind> build= failures= exited=<ago> gone departed heirless silent parked]
//	snapshot NAME [status= cluster=]
//	step KIND TARGET [attempts= wait= permanent error=]
//	flying KIND TARGET
//	forward p|r N,N   N+ where it tells both kinds of clients apart
//
// transit=MODE is that of a group, or what a node was told last; becomes=MODE is what the group is about to have.
//
// The group is g with members g-001 …; without a group line node 1 stands alone.
func parseState(t *testing.T, title, state string) View {
	t.Helper()
	v := View{
		Steps: map[string]cache.Step{}, InFlight: map[string]bool{}, CanRebind: map[string]bool{"new": true, "old": false},
		Forwards: map[cache.Address][]cache.Address{},
	}
	lines := bufio.NewScanner(strings.NewReader(state))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		kv := map[string]string{}
		for _, w := range words[1:] {
			k, val, _ := strings.Cut(w, "=")
			kv[k] = val
		}
		switch words[0] {
		case "group":
			v.Group = parseGroup(kv)
		case "shard":
			parseShard(v.Group, words[1], kv)
		case "node":
			v.Members = append(v.Members, parseNode(words[1], kv, &v))
		case "snapshot":
			v.Snapshots = append(v.Snapshots, cache.Snapshot{Region: "r", Name: words[1], Status: cache.Status(kv["status"]), ClusterID: kv["cluster"]})
		case "step":
			parseStep(&v, words, kv)
		case "flying":
			v.InFlight[words[1]+" "+words[2]] = true
		case "forward":
			for _, n := range strings.Split(words[2], ",") {
				n, both := strings.CutSuffix(n, "+")
				to := []cache.Address{nodeAddress(n)}
				if both {
					to = bothPorts(&cache.Node{Address: to[0]})
				}
				v.Forwards[endpointOf(words[1])] = append(v.Forwards[endpointOf(words[1])], to...)
			}
		default:
			t.Fatalf("%s: unknown line %q", title, lines.Text())
		}
	}
	return v
}

func endpointOf(name string) cache.Address { return cache.Address{Host: name, Port: 6379} }

func nodeAddress(n string) cache.Address { return cache.Address{Host: "n" + n, Port: 6379} }

func parseGroup(kv map[string]string) *cache.ReplicationGroup {
	g := &cache.ReplicationGroup{
		Region: "r", ID: "g", Status: "available", Primary: "g-001",
		PrimaryEndpoint: endpointOf("p"), ReaderEndpoint: endpointOf("r"),
	}
	if s, ok := kv["status"]; ok {
		g.Status = cache.Status(s)
	}
	if p, ok := kv["primary"]; ok {
		g.Primary = "g-00" + p
	}
	g.Seed = parseSeed(kv)
	g.TransitEncryption = cache.TransitMode(kv["transit"])
	if to, ok := kv["becomes"]; ok {
		g.Status, g.TransitChange = cache.StatusModifying, &cache.TransitChange{From: g.TransitEncryption, To: cache.TransitMode(to)}
	}
	parseChange(g, kv)
	if _, ok := kv["deleting"]; ok {
		g.Status, g.Deletion = cache.StatusDeleting, &cache.Deletion{FinalSnapshot: kv["final"]}
	}
	return g
}

func parseChange(g *cache.ReplicationGroup, kv map[string]string) {
	if _, ok := kv["change"]; ok {
		g.Status, g.Change = cache.StatusModifying, &cache.MemberChange{}
	}
	if to, ok := kv["promote"]; ok {
		g.Change.Promote, g.Change.Promoting = "g-00"+to, "g-001"
	}
	if t, ok := kv["test"]; ok {
		parts := strings.Split(t, "/")
		g.Test = &cache.FailoverTest{NodeGroupID: parts[0], Primary: "g-00" + parts[1], Done: len(parts) > 2, Process: cache.Process{PID: 99}}
	}
}

// parseShard turns cluster mode on.
func parseShard(g *cache.ReplicationGroup, id string, kv map[string]string) {
	g.ClusterEnabled, g.Primary, g.PrimaryEndpoint, g.ReaderEndpoint = true, "", cache.Address{}, cache.Address{}
	g.ConfigurationEndpoint = endpointOf("c")
	slots, err := cache.ParseSlots(kv["slots"])
	if err != nil {
		panic(err)
	}
	g.NodeGroups = append(g.NodeGroups, cache.NodeGroup{ID: id, Slots: slots, Primary: "g-00" + kv["primary"]})
	_, seeded := kv["seeded"]
	_, proved := kv["proved"]
	if g.Seed == nil || !seeded && !proved {
		return
	}
	if g.Seed.Shards == nil {
		g.Seed.Shards = map[string]cache.SeedShard{}
	}
	g.Seed.Shards[id] = cache.SeedShard{Verified: proved}
}

func parseSeed(kv map[string]string) *cache.Seed {
	switch kv["seed"] {
	case "yes":
		return &cache.Seed{SnapshotName: "s"}
	case "placed":
		return &cache.Seed{SnapshotName: "s", Manifest: &cache.Manifest{}}
	case "verified":
		return &cache.Seed{SnapshotName: "s", Manifest: &cache.Manifest{}, Verified: true}
	}
	return nil
}

func parseNode(n string, kv map[string]string, v *View) cache.CacheCluster {
	c := cache.CacheCluster{Region: "r", ID: "g-00" + n, Status: "available"}
	if v.Group != nil {
		c.GroupID, c.NodeGroupID = "g", kv["shard"]
	} else {
		c.Seed = parseSeed(kv)
	}
	if s, ok := kv["status"]; ok {
		c.Status = cache.Status(s)
	}
	if _, ok := kv["deleting"]; ok {
		c.Status, c.Deletion = cache.StatusDeleting, &cache.Deletion{FinalSnapshot: kv["final"]}
	}
	_, c.Departed = kv["departed"]
	node := &c.Node
	node.Address, node.Build = nodeAddress(n), "new"
	if b, ok := kv["build"]; ok {
		node.Build = b
	}
	if _, ok := kv["up"]; ok {
		node.Process = &cache.Process{PID: 100}
	}
	_, node.Ready = kv["ready"]
	_, node.Heirless = kv["heirless"]
	_, node.Silent = kv["silent"]
	_, node.Parked = kv["parked"]
	_, node.Gone = kv["gone"]
	node.Transit = cache.TransitMode(kv["transit"])
	node.Failures, _ = strconv.Atoi(kv["failures"])
	if d, err := time.ParseDuration(kv["exited"]); err == nil {
		node.ExitedAt = epoch.Add(-d)
	}
	if told, ok := kv["told"]; ok {
		parts := strings.Split(told, "/")
		node.Role = cache.Role(parts[0])
		if parts[1] != "" {
			node.Primary = nodeAddress(parts[1])
		}
		if parts[2] != "" {
			node.Binds = strings.Split(parts[2], ",")
		}
	}
	return c
}

func parseStep(v *View, words []string, kv map[string]string) {
	s := cache.Step{ID: words[1] + " " + words[2], State: cache.StepFailed, Error: kv["error"]}
	s.Attempts, _ = strconv.Atoi(kv["attempts"])
	_, s.Permanent = kv["permanent"]
	if d, err := time.ParseDuration(kv["wait"]); err == nil {
		s.NotBefore = epoch.Add(d)
	}
	v.Steps[s.ID] = s
}

func TestRetryDelayGrowsToALimit(t *testing.T) {
	var got []time.Duration
	for n := 1; n <= 12; n++ {
		got = append(got, retryDelay(n))
	}
	if got[0] != 200*time.Millisecond || !slices.IsSorted(got) || got[11] != 30*time.Second {
		t.Errorf("delays are %v", got)
	}
}
