package reconcile

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
)

// TestPlanMemcached reads testdata/memcached/plan.txt, which is as those of TestPlan but for
// the language of its states:
//
//	cluster [status= deleting scale=PERCENT/MINUTES rolled=AGO pending window=]
//	node N [up ready listed leaving reboot restarting old small failures= exited=AGO gone]
//	fronts stand|unsure      without it there are none
//	step KIND TARGET ... and flying KIND TARGET as there
func TestPlanMemcached(t *testing.T) {
	const file = "testdata/memcached/plan.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		head, want, _ := strings.Cut(block, "\n----")
		title, state, _ := strings.Cut(head, "\n")
		got := decidedOn(PlanMemcached(parseMemcached(t, title, state), epoch))
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

func decidedOn(d Decision) string {
	var lines []string
	for _, a := range d.Do {
		line := a.ID()
		if a.Reason != "" {
			line += fmt.Sprintf(" because %q", a.Reason)
		}
		lines = append(lines, line)
	}
	for _, id := range d.Cancel {
		lines = append(lines, "cancel "+id)
	}
	if !d.Again.IsZero() {
		lines = append(lines, "again in "+d.Again.Sub(epoch).String())
	}
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n")
}

func parseMemcached(t *testing.T, title, state string) MemcachedView {
	v := MemcachedView{InFlight: map[string]bool{}}
	of := View{Steps: map[string]cache.Step{}}
	c := &v.Cluster
	c.Memcached = &cache.MemcachedCluster{ConfigurationEndpoint: cache.Address{Host: "cfg", Port: 11211}}
	lines := bufio.NewScanner(strings.NewReader(state))
	fronts := ""
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		kv := map[string]string{}
		for _, w := range words[1:] {
			k, val, _ := strings.Cut(w, "=")
			kv[k] = val
		}
		switch words[0] {
		case "cluster":
			parseMemcachedCluster(c, kv)
		case "node":
			c.Memcached.Nodes = append(c.Memcached.Nodes, parseMemcachedNode(words[1], kv))
		case "fronts":
			fronts = words[1]
		case "step":
			parseStep(&of, words, kv)
		case "flying":
			v.InFlight[words[1]+" "+words[2]] = true
		default:
			t.Fatalf("%s: unknown line %q", title, lines.Text())
		}
	}
	switch fronts {
	case "stand":
		f := c.Memcached.Fronts()
		v.Fronts = &f
	case "unsure":
		v.Fronts = &cache.MemcachedFronts{}
	}
	v.Steps = of.Steps
	return v
}

func parseMemcachedCluster(c *cache.CacheCluster, kv map[string]string) {
	c.Region, c.ID, c.Status, c.NodeType, c.Node.Build = "r", "c", cache.StatusAvailable, "type", "new"
	c.MaintenanceWindow = "sun:05:00-sun:06:00"
	if s, ok := kv["status"]; ok {
		c.Status = cache.Status(s)
	}
	if _, ok := kv["deleting"]; ok {
		c.Status, c.Deletion = cache.StatusDeleting, &cache.Deletion{}
	}
	if w, ok := kv["window"]; ok {
		c.MaintenanceWindow = w
	}
	if s, ok := kv["scale"]; ok {
		percent, minutes, _ := strings.Cut(s, "/")
		c.Memcached.Scale = &cache.ScaleConfig{}
		c.Memcached.Scale.Percent, _ = strconv.Atoi(percent)
		c.Memcached.Scale.Minutes, _ = strconv.Atoi(minutes)
	}
	if d, err := time.ParseDuration(kv["rolled"]); err == nil {
		c.Memcached.RolledAt = epoch.Add(-d)
	}
	if _, ok := kv["pending"]; ok {
		c.Memcached.Pending = &cache.MemcachedPending{NodeType: "another"}
	}
}

func parseMemcachedNode(n string, kv map[string]string) cache.MemcachedNode {
	node := cache.MemcachedNode{ID: "000" + n, Address: cache.Address{Host: "n" + n, Port: 11211}, Build: "new", NodeType: "type"}
	if _, ok := kv["old"]; ok {
		node.Build = "old"
	}
	if _, ok := kv["small"]; ok {
		node.NodeType = "small"
	}
	if _, ok := kv["up"]; ok {
		node.Process = &cache.Process{PID: 100}
	}
	_, node.Ready = kv["ready"]
	_, node.Listed = kv["listed"]
	_, node.Leaving = kv["leaving"]
	_, node.Reboot = kv["reboot"]
	_, node.Restarting = kv["restarting"]
	_, node.Gone = kv["gone"]
	node.Failures, _ = strconv.Atoi(kv["failures"])
	if d, err := time.ParseDuration(kv["exited"]); err == nil {
		node.ExitedAt = epoch.Add(-d)
	}
	return node
}
