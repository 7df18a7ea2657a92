package proc

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	at := time.Unix(1e9, 0)
	var waits []time.Duration
	for n := range 11 {
		waits = append(waits, DefaultBackoff.Next(n, at, at).Sub(at))
	}
	s := time.Second
	want := []time.Duration{0, 0, s / 2, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s, 30 * s}
	if !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if n := DefaultBackoff.Failures(7, at, at.Add(59*s)); n != 8 {
		t.Errorf("a short run makes it %d", n)
	}
	if n := DefaultBackoff.Failures(7, at, at.Add(60*s)); n != 1 {
		t.Errorf("a stable run makes it %d", n)
	}
}

// TestBackoffBounds: whatever the clocks say, the wait is between 0 and Max.
func TestBackoffBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "now"), 0)
		ended := time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "ended"), 0)
		n := rapid.IntRange(-1, 1<<30).Draw(rt, "failures")
		wait := DefaultBackoff.Next(n, ended, now).Sub(now)
		if wait < 0 || wait > DefaultBackoff.Max {
			rt.Fatalf("wait %v", wait)
		}
	})
}

// TestPS holds what ps and lsof tell against what is true here.
func TestPS(t *testing.T) {
	for _, tool := range []string{"ps", "lsof"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("LOUD SKIP: %s is not installed, so nothing is read through it", tool)
		}
	}
	dir := runDir(t)
	s := newTest(t, dir)
	ref := start(t, s, sleeper(dir, "a"))
	waitReady(t, ref)
	st, err := psStat(ref.PID)
	if err != nil {
		t.Fatal(err)
	}
	age := time.Since(time.Unix(int64(st.start), 0))
	if st.group != ref.PID || st.dead() || age < -5*time.Second || age > time.Minute {
		t.Errorf("ps says %+v, age %v", st, age)
	}
	if found, err := psMembers(ref.PID); err != nil || !slices.Equal(found, []int{ref.PID}) {
		t.Errorf("members %v, %v", found, err)
	}
	if found, err := lsofHolders(s.runPath("a")); err != nil || !slices.Equal(found, []int{ref.PID}) {
		t.Errorf("holders %v, %v", found, err)
	}
	h, err := openPolling(ref.PID)
	if err != nil {
		t.Fatal(err)
	}
	limit := make(chan struct{})
	close(limit)
	if gone, err := h.wait(limit); gone || err != nil {
		t.Errorf("wait with a limit: %v, %v", gone, err)
	}
	if err := h.signal(9); err != nil {
		t.Error(err)
	}
	if gone, err := h.wait(nil); !gone || err != nil {
		t.Errorf("wait: %v, %v", gone, err)
	}
	if err := errors.Join(h.signal(9), h.close(), h.close()); err != nil {
		t.Error(err)
	}
	waitDone(t, s, ref)
	if _, err := psStat(ref.PID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ps of a dead one: %v", err)
	}
	if found, err := lsofHolders(s.runPath("a")); err != nil || len(found) != 0 {
		t.Errorf("holders of a dead one: %v, %v", found, err)
	}
}

func BenchmarkStartStop(b *testing.B) {
	s := benchSupervisor(b)
	for b.Loop() {
		ref, err := s.Start(b.Context(), sleeper(s.opts.Dir, "a"))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Kill(b.Context(), ref); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSupervisor(b *testing.B) *Supervisor {
	b.Helper()
	s, err := New(Options{Dir: b.TempDir() + "/run"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkLatencies prints the parts: start, adopt, find, stop.
func BenchmarkLatencies(b *testing.B) {
	s := benchSupervisor(b)
	var sum [4]time.Duration
	for b.Loop() {
		t0 := time.Now()
		ref, err := s.Start(b.Context(), sleeper(s.opts.Dir, "a"))
		t1 := time.Now()
		if err != nil {
			b.Fatal(err)
		}
		other := benchSupervisor(b)
		t2 := time.Now()
		ok, err := other.Adopt(b.Context(), ref)
		t3 := time.Now()
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		_, ok, err = s.Find(b.Context(), "a")
		t4 := time.Now()
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		err = s.Stop(b.Context(), ref, 10*time.Second)
		t5 := time.Now()
		if err != nil {
			b.Fatal(err)
		}
		for i, d := range []time.Duration{t1.Sub(t0), t3.Sub(t2), t4.Sub(t3), t5.Sub(t4)} {
			sum[i] += d
		}
	}
	for i, name := range []string{"start-us", "adopt-us", "find-us", "stop-us"} {
		b.ReportMetric(float64(sum[i].Microseconds())/float64(b.N), name)
	}
}
