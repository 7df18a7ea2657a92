package mover

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// program is the binary under test.
var program = flag.String("program", "", "test a holdfast that is built already")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "SKIPPED: these tests limit and watch processes as Linux does")
		return 0
	}
	if *program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "holdfast-mover-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*program = filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", *program, "../../cmd/holdfast").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
