package sink_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast.dev/internal/sink"
)

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// What a killed writer left is removed by the next one of the same name, and
// nothing else is: not what another writes just now, nor what only looks alike.
func TestFileRemovesWhatWasLeft(t *testing.T) {
	dir := t.TempDir()
	keep := []string{".x.rdb..part", ".x.rdb.1a.part", ".x.rdb.12.part2", ".xyrdb.12.part", ".y.rdb.12.part", "x.rdb.12.part"}
	for _, n := range append([]string{".x.rdb.12.part", ".x.rdb.345.part"}, keep...) {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".x.rdb.77.part"), 0o700); err != nil {
		t.Fatal(err)
	}
	keep = append(keep, ".x.rdb.77.part")
	path := filepath.Join(dir, "x.rdb")
	other, err := sink.File(path)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := sink.File(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != len(keep)+2 {
		t.Errorf("with two writers there are %q", got)
	}
	for _, f := range []sink.Target{other, mine} {
		if _, err := f.Write([]byte("whole")); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got, want := names(t, dir), append(keep, "x.rdb")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, not %q", got, want)
	}
}
