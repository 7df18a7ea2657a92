package mover

import (
	"path/filepath"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// TestMatrixOfClusters moves everything from a server to a cluster of three shards,
// from there to one of two, and from there to a server again; engines and commands
// change on the way. What arrives is what was there before.
func TestMatrixOfClusters(t *testing.T) {
	builds := engines(t)
	n := len(builds)
	for i := range builds {
		if !everything() && i%3 != 1 {
			continue
		}
		chain := []catalog.Build{builds[i], builds[(i+1)%n], builds[(i+3)%n], builds[(i+2)%n]}
		for _, by := range []string{"replica", "commands"} {
			if !everything() && by != []string{"replica", "commands"}[i/3%2] {
				continue
			}
			t.Run(chain[0].Name+" "+chain[1].Name+" "+chain[2].Name+" "+chain[3].Name+" by "+by, func(t *testing.T) {
				t.Parallel()
				first := testkit.StartServer(t, chain[0])
				fillOne(t, first)
				wanted := testkit.ReadContent(t, first)
				at := []*testkit.Server{first}
				for step, to := range [][]*testkit.Server{
					testkit.StartCluster(t, chain[1], 3, 0).Primaries,
					testkit.StartCluster(t, chain[2], 2, 0).Primaries,
					{testkit.StartServer(t, chain[3])},
				} {
					if step == 1 {
						byFiles(t, wanted, at, to, by)
					} else {
						byMigrate(t, wanted, at, to, by)
					}
					// Older engines do not keep everything; from here on this is what there is.
					at, wanted = to, testkit.ReadContent(t, to...)
				}
			})
		}
	}
}

// without are the flags by which a target can hold what a source has.
func without(wanted *testkit.Content, to *testkit.Server) []string {
	if len(wanted.Functions) == 0 || to.Build.Functions {
		return nil
	}
	wanted.Functions = nil
	return []string{"--without-functions"}
}

// exact are the flags for reading a cluster that cannot fix an instant with commands.
func exact(from []*testkit.Server, by string) []string {
	if len(from) > 1 && by == "commands" && !from[0].Build.PauseWrites {
		return []string{"--allow-per-key"}
	}
	return nil
}

func byMigrate(t *testing.T, wanted *testkit.Content, from, to []*testkit.Server, by string) {
	t.Helper()
	args := append([]string{"migrate", url(from[len(from)-1]), url(to[0]), "--from", by}, without(wanted, to[0])...)
	runs(t, done, append(args, exact(from, by)...)...).says("identical")
	want(t, wanted, tolerance(from[0], road{by: by}), to...)
}

func byFiles(t *testing.T, wanted *testkit.Content, from, to []*testkit.Server, by string) {
	t.Helper()
	dir := t.TempDir()
	runs(t, done, append([]string{"backup", url(from[0]), filepath.Join(dir, "b.rdb"), "--from", by}, exact(from, by)...)...)
	files := left(t, dir)
	if len(files) != len(from) {
		t.Errorf("a cluster of %d shards has the files %q", len(from), files)
	}
	args := append([]string{"restore", filepath.Join(dir, "*.rdb"), url(to[len(to)-1])}, without(wanted, to[0])...)
	runs(t, done, args...).says("identical")
	want(t, wanted, tolerance(from[0], road{by: by}), to...)
}
