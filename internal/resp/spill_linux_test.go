package resp

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A full disk is told as what it is. /dev/full takes no byte.
func TestSpillDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no /dev/full: %v", err)
	}
	r := NewReader(strings.NewReader(bulk(10_000, 'x')))
	r.SpillAbove(1000, "")
	r.spill.file, r.spill.buf = full, make([]byte, spillBuffer)
	defer r.Close()
	if _, err := r.Next(); !errors.As(err, new(*SpillError)) || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}

// Connections that spilled leave no descriptor open.
func TestSpillDescriptors(t *testing.T) {
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("descriptors cannot be counted: %v", err)
		}
		return len(list)
	}
	dir := t.TempDir()
	before := open()
	for range 50 {
		r := NewReader(strings.NewReader(bulk(10_000, 'x') + bulk(20_000, 'y')))
		r.SpillAbove(1000, dir)
		for range 2 {
			if rep, err := r.Next(); err != nil || rep.Spilled() == nil {
				t.Fatal(rep, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := open(); after > before+10 {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}
