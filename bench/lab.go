package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

// lab is what the benchmarks share: engines, data sets, a place for files, and
// the report.
type lab struct {
	opt     options
	dir     string
	catalog *catalog.Catalog
	report  *report
	files   map[string]dataFile
	program string
}

func newLab(ctx context.Context, o options) (*lab, error) {
	if o.rounds < 3 {
		return nil, errors.New("--rounds must be at least 3: a median of fewer says nothing")
	}
	if o.quick {
		o.rounds, o.kills = 3, o.kills/10
	}
	engines, err := catalog.Scan(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory to work in: %w", err)
	}
	return &lab{opt: o, dir: dir, catalog: engines, report: newReport(o, engines), files: map[string]dataFile{}}, nil
}

func (l *lab) close() error { return os.RemoveAll(l.dir) }

// mkdir makes a new directory in the lab's.
func (l *lab) mkdir(name string) (string, error) { return os.MkdirTemp(l.dir, name+"-") }

// keys is how many keys the large data sets have.
func (l *lab) keys() int64 {
	if l.opt.quick {
		return 100_000
	}
	return 1_000_000
}

// few is n, or less when a quick run is wanted.
func (l *lab) few(n int) int {
	if l.opt.quick {
		return max(n/5, 3)
	}
	return n
}

// engine finds the newest installed build of a line, "valkey-8.1". Without one it
// leaves a note in the report.
func (l *lab) engine(line string) (catalog.Build, bool) {
	var found catalog.Build
	for _, b := range l.catalog.Builds() {
		if b.Line() == line {
			found = b
		}
	}
	if found.Name == "" {
		l.report.note("%s is not installed: run scripts/engines install %s", line, line)
	}
	return found, found.Name != ""
}

// lines are the engines that whole data sets are measured on.
var lines = []string{"valkey-8.1", "redis-7.0"}

func (l *lab) engines() []catalog.Build {
	var out []catalog.Build
	for _, line := range lines {
		if b, ok := l.engine(line); ok {
			out = append(out, b)
		}
	}
	return out
}

// holdfast is the program to measure, built from this source unless one was named.
func (l *lab) holdfast(ctx context.Context) (string, error) {
	if l.opt.holdfast != "" {
		return filepath.Abs(l.opt.holdfast)
	}
	if l.program != "" {
		return l.program, nil
	}
	path := filepath.Join(l.dir, "holdfast")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", path, "holdfast.dev/cmd/holdfast").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build holdfast (this runs inside the source tree, or with --holdfast): %w\n%s", err, out)
	}
	l.program = path
	return path, nil
}

// timed is a piece of work that says how long it took, which may be less than
// the whole call.
type timed func() (time.Duration, error)

// elapsed times the whole of f.
func elapsed(f func() error) timed {
	return func() (time.Duration, error) {
		began := time.Now()
		err := f()
		return time.Since(began), err
	}
}

// alternate runs each piece once per round, in turn, so that what else happens on
// the machine meets all of them. Garbage of one is not the next one's to collect.
func (l *lab) alternate(ctx context.Context, rounds int, pieces ...timed) ([]series, error) {
	out := make([]series, len(pieces))
	for range rounds {
		for i, f := range pieces {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			runtime.GC()
			took, err := f()
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], took.Seconds())
		}
	}
	return out, nil
}
