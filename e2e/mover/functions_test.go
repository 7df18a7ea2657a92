package mover

import (
	"fmt"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/testkit"
)

// TestBackupWithoutFunctions: on either road the file has everything else, and goes into
// an engine that knows no functions as it is.
func TestBackupWithoutFunctions(t *testing.T) {
	t.Parallel()
	from, to := testkit.StartServer(t, testkit.Engine(t, "redis-7.0")), testkit.StartServer(t, testkit.Engine(t, "redis-6.0"))
	fill(t, from)
	wanted := testkit.ReadContent(t, from)
	libraries := len(wanted.Functions)
	if libraries == 0 {
		t.Fatal("the source has no functions")
	}
	wanted.Functions = nil
	for _, by := range []string{"replica", "commands"} {
		path := filepath.Join(t.TempDir(), by+".rdb")
		runs(t, done, "backup", url(from), path, "--from", by).says(fmt.Sprint("functions: ", libraries))
		runs(t, failed, "restore", path, url(to)).says("functions")
		runs(t, done, "backup", url(from), path, "--from", by, "--without-functions").says("functions: 0")
		runs(t, done, "restore", path, url(to)).says("identical")
		want(t, wanted, tolerance(to, road{by: by}), to)
		emptied(to)
	}
	runs(t, misused, "backup", url(from), "snapshot:x", "--without-functions").says("--without-functions")
}
