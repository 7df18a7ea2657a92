package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// joined is everything that was written, in order.
func joined(t *testing.T, path string, keep int) string {
	t.Helper()
	var b strings.Builder
	for i := keep; i >= 1; i-- {
		part, err := os.ReadFile(fmt.Sprintf("%s.%d", path, i))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		b.Write(part)
	}
	b.WriteString(read(t, path))
	return b.String()
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := rotate(path, 1, 2); err != nil {
		t.Errorf("no log: %v", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all bytes.Buffer
	write := func(n int) {
		for range n {
			line := fmt.Sprintf("line %d\n", all.Len())
			all.WriteString(line)
			if _, err := f.WriteString(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(100)
	if err := rotate(path, 1<<20, 2); err != nil || joined(t, path, 2) != read(t, path) {
		t.Errorf("rotated a small one: %v", err)
	}
	for range 2 {
		write(5000)
		if err := rotate(path, 10000, 2); err != nil {
			t.Fatal(err)
		}
		if joined(t, path, 3) != all.String() {
			t.Fatal("something is lost or twice")
		}
		if n := len(read(t, path)); n > 4096 {
			t.Errorf("%d bytes stay", n)
		}
	}
	write(5000)
	if err := rotate(path, 10000, 2); err != nil {
		t.Fatal(err)
	}
	if got := joined(t, path, 3); !strings.HasSuffix(all.String(), got) || len(got) < 100000 || len(got) == all.Len() {
		t.Errorf("after the third: %d of %d bytes", len(got), all.Len())
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 3 {
		t.Errorf("files %v, %v", names, err)
	}
}

// TestRotateUnderLoad rotates as fast as it can while a process writes as fast as
// it can. On file systems that can drop the front of a file not a byte is lost.
func TestRotateUnderLoad(t *testing.T) {
	const least, keep, load = 400000, 10000, 5
	dir := runDir(t)
	enough := filepath.Join(t.TempDir(), "enough")
	s := newTestOf(t, Options{Dir: dir, LogBytes: 1 << 40}) // it leaves the rotating to us
	ref := start(t, s, spec(dir, "a", "lines", fmt.Sprint(least), enough))
	rotations, told := 0, false
	for over := false; !over; {
		select {
		case <-s.Done(ref):
			over = true
		default:
		}
		before := len(glob(t, ref.Log))
		if err := rotate(ref.Log, 64<<10, keep); err != nil {
			t.Fatal(err)
		}
		if len(glob(t, ref.Log)) > before {
			rotations++
		}
		if rotations >= load && !told { // until then the writer goes on, however little time we get
			told = true
			if err := os.WriteFile(enough, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if exit, _ := s.LastExit("a"); exit.Code != 0 {
		t.Fatalf("the writer: %v", exit)
	}
	if !told {
		t.Fatalf("%d rotations: that was no load", rotations)
	}
	lines, err := strconv.Atoi(read(t, enough))
	if err != nil {
		t.Fatal(err)
	}
	got := joined(t, ref.Log, len(glob(t, ref.Log)))
	n, missing := 0, 0
	for line := range strings.Lines(got) {
		for n < lines && !strings.HasPrefix(line, fmt.Sprintf("line %08d ", n)) {
			n++
			missing++
		}
		n++
	}
	missing += lines - n
	t.Logf("%d rotations, %d of %d lines missing", rotations, missing, lines)
	if lossless(t, ref.Log) && missing > 0 {
		t.Errorf("%d lines are lost", missing)
	}
	// On others what is written between the copy and the cut is lost, which is as
	// much as the writer manages while the rotator waits for a processor.
	if missing == lines {
		t.Error("every line is lost")
	}
}

func glob(t *testing.T, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + ".[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func lossless(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return wholeBlocks(f, 1<<20) > 0
}

// TestCopyTruncate is what other file systems get.
func TestCopyTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("one\ntwo\n"); err != nil { // less than a block
		t.Fatal(err)
	}
	if err := rotate(path, 8, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("three\n"); err != nil {
		t.Fatal(err)
	}
	if got := joined(t, path, 1); got != "one\ntwo\nthree\n" || read(t, path) != "three\n" {
		t.Errorf("got %q and %q", got, read(t, path))
	}
}

// TestSupervisorRotates: the logs of started and of adopted processes are rotated.
func TestSupervisorRotates(t *testing.T) {
	dir := runDir(t)
	s, err := New(Options{Dir: dir, LogBytes: 10000})
	if err != nil {
		t.Fatal(err)
	}
	ref := start(t, s, sleeper(dir, "a"))
	fill := func() {
		f, err := os.OpenFile(ref.Log, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(strings.Repeat("x", 20000)); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	eventually(t, "the first rotation", func() bool { return len(glob(t, ref.Log)) == 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = New(Options{Dir: dir, LogBytes: 10000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stopAll(t, dir)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if ok, err := s.Adopt(t.Context(), ref); !ok || err != nil {
		t.Fatal(ok, err)
	}
	fill()
	eventually(t, "the second rotation", func() bool { return len(glob(t, ref.Log)) == 2 })
}
