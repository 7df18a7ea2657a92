package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast.dev"

// rule forbids imports: no package that matches From may import one that matches
// Not. Patterns are those of path.Match under internal/, or end in "/..." to take in the packages below.
type rule struct {
	From []string
	Not  []string
	// Except are imports that the rule lets pass.
	Except []string
	Why    string
}

var everything = []string{"..."}

var rules = []rule{
	{
		From: []string{"cache", "command", "proc", "rdb", "resp", "flow", "metrics", "api/shapes", "store", "engine/catalog", "authority", "endpoint/discovery", "memcache"},
		Not:  everything,
		Why:  "leaves import nothing of ours, so that everybody may import them",
	},
	{
		From: []string{"bridge/...", "command", "flow/...", "migrate/...", "source/...", "sink/...", "verify/...", "rdb/...", "resp/..."},
		Not:  []string{"store/...", "control/...", "reconcile/...", "engine/...", "api/...", "records/...", "cache/..."},
		Why:  "the mover works with no service running",
	},
	{
		From: []string{"api/...", "console/...", "control/...", "records/...", "reconcile/...", "engine/...", "endpoint/...", "proc/...", "metrics/..."},
		Not:  []string{"bridge/...", "flow/...", "migrate/...", "source/...", "sink/...", "rdb/...", "verify/...", "transfer/..."},
		Why:  "the service asks transfer to move data, through the interface that reconcile declares",
	},
	{
		From: []string{"cache/...", "store/...", "records/...", "control/...", "api/...", "engine/...", "endpoint/..."},
		Not:  []string{"reconcile/..."},
		Why:  "records flow down to reconcile; nobody calls it",
	},
	{From: []string{"policy/..."}, Not: everything, Why: "a decision depends on the policy and the request alone"},
	{
		From: []string{"monitor/..."}, Not: everything, Except: []string{"cache"},
		Why: "the monitor judges what it is shown, and reaches the rest through its own interface",
	},
	{
		From: []string{"access/..."}, Not: everything, Except: []string{"cache"},
		Why: "what an access string allows is told by the string alone",
	},
	{From: []string{"source/..."}, Not: []string{"sink/..."}, Why: "siblings meet only in flow"},
	{From: []string{"sink/..."}, Not: []string{"source/..."}, Why: "siblings meet only in flow"},
	{From: []string{"bridge/..."}, Not: []string{"migrate/...", "verify/..."}, Why: "the bridge carries; migrate decides and compares"},
	{From: []string{"verify/..."}, Not: []string{"sink/...", "bridge/...", "migrate/..."}, Why: "verification is independent of the writer"},
	{From: []string{"api/..."}, Not: []string{"console/..."}, Why: "the console is a client of the API like any other"},
	{From: []string{"console/..."}, Not: []string{"api/..."}, Why: "the console is a client of the API like any other"},
	{
		From: everything, Not: []string{"transfer"},
		Why: "transfer is where service and mover meet; only the wiring in cmd/holdfast knows it",
	},
	{From: everything, Not: []string{"testkit/..."}, Why: "testkit is for tests"},
}

type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == "..." {
			return true
		}
		if base, below := strings.CutSuffix(p, "/..."); below {
			return name == base || strings.HasPrefix(name, base+"/")
		}
		ok, _ := path.Match(p, name)
		return ok
	})
}

func internalName(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/internal/")
}

// broken says which imports of a package a rule forbids.
func broken(r rule, p pkg) []string {
	from, ok := internalName(p.ImportPath)
	if !ok || !matches(r.From, from) {
		return nil
	}
	var out []string
	for _, imp := range p.Imports {
		if to, ours := internalName(imp); ours && to != from && matches(r.Not, to) && !slices.Contains(r.Except, to) {
			out = append(out, to)
		}
	}
	return out
}

func TestImportDirections(t *testing.T) {
	for _, p := range list(t) {
		for _, r := range rules {
			for _, to := range broken(r, p) {
				t.Errorf("%s imports %s, but %s", p.ImportPath, to, r.Why)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestRulesCatch shows that a rule can fail.
func TestRulesCatch(t *testing.T) {
	p := pkg{ImportPath: module + "/internal/verify", Imports: []string{"fmt", module + "/internal/sink"}}
	var caught []string
	for _, r := range rules {
		caught = append(caught, broken(r, p)...)
	}
	if !slices.Equal(caught, []string{"sink"}) {
		t.Errorf("caught %q, want sink once", caught)
	}
	leaf := pkg{ImportPath: module + "/internal/cache", Imports: []string{module + "/internal/store"}}
	if len(broken(rules[0], leaf)) != 1 {
		t.Error("a leaf that imports something of ours is not caught")
	}
}
