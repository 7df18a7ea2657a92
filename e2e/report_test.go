package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

// upgradeDocument is what of a report matters here.
type upgradeDocument struct {
	Complete      bool      `json:"complete"`
	Outcome       string    `json:"outcome"`
	Verdict       string    `json:"verdict"`
	Compared      int64     `json:"keysCompared"`
	WritePausesMs []float64 `json:"writePausesMs"`
	Nodes         []struct {
		ID                    string `json:"cacheClusterId"`
		Replaced              bool   `json:"replaced"`
		Before, During, After *struct {
			Primary bool             `json:"primary"`
			Figures map[string]int64 `json:"figures"`
		}
	} `json:"nodes"`
}

// report runs the command until the report is complete.
func (s *service) report(id string) (d upgradeDocument) {
	s.t.Helper()
	eventually(s.t, "the report is complete", func(ctx context.Context) (bool, error) {
		out, err := exec.CommandContext(ctx, program, "report", id, "--data", s.dir, "--output", "json").Output()
		if err != nil {
			return false, fmt.Errorf("%w: %s", err, out)
		}
		var all []upgradeDocument
		if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
			s.t.Fatalf("%v: %s", err, out)
		}
		d = all[0]
		return d.Complete, fmt.Errorf("it says %s", out)
	})
	return d
}

// TestAnUpgradeIsReported: the table tells what clients did before, meanwhile and afterwards,
// and that nothing was lost.
func TestAnUpgradeIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		nodes    int32 // 0: a cluster that stands alone
		from, to line
	}{
		"two nodes":                   {2, line{"redis", "7.0"}, line{"valkey", "8.1"}},
		"a cluster that stands alone": {0, line{"redis", "6.0"}, line{"redis", "7.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := c.nodes
			t.Parallel()
			s := startService(t)
			at := s.startLine("shop", nodes, c.from)
			fill(t, at, fewKeys)
			load := loadOn(t, at)
			load.goesOn(t)
			s.upgradeLine("shop", nodes, c.to)
			load.goesOn(t)
			d := s.report("shop")
			load.stop()
			if d.Outcome != "no-loss" || d.Compared < fewKeys || len(d.WritePausesMs) != 1 {
				t.Errorf("%+v", d)
			}
			if want := max(int(nodes), 1); len(d.Nodes) != want {
				t.Fatalf("%d nodes are told of, and there are %d", len(d.Nodes), want)
			}
			for _, n := range d.Nodes {
				if !n.Replaced || n.Before == nil || n.During == nil || n.After == nil {
					t.Fatalf("%+v", n)
				}
				if n.Before.Figures["CurrItems"] < fewKeys || n.After.Figures["CurrItems"] < n.Before.Figures["CurrItems"] || n.During.Figures["Evictions"] != 0 {
					t.Errorf("%s: before %v, after %v", n.ID, n.Before.Figures, n.After.Figures)
				}
			}
			out, err := exec.CommandContext(t.Context(), program, "report", "shop", "--data", s.dir).CombinedOutput()
			t.Logf("%v\n%s", err, out)
		})
	}
}

// TestAResizeIsReported: no process is replaced, which the verdict says.
func TestAResizeIsReported(t *testing.T) {
	t.Parallel()
	s := startService(t)
	at := s.startLine("shop", 2, line{"redis", "7.0"})
	fillKeys(t, at)
	_, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("shop"), CacheNodeType: aws.String("cache.m6g.xlarge"), ApplyImmediately: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := s.report("shop")
	if d.Outcome != "no-loss" || d.Verdict != "no data lost: no node was replaced" || len(d.Nodes) != 2 {
		t.Errorf("%+v", d)
	}
	for _, n := range d.Nodes {
		if n.Replaced || n.Before == nil || n.After == nil || n.Before.Figures["CurrItems"] != fewKeys || n.After.Figures["CurrItems"] != fewKeys {
			t.Errorf("%+v", n)
		}
	}
}
