package source_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// openLoop sends rate requests a second, half of them writes, over some
// connections, at times that do not depend on the answers, and returns how long
// each took from when it was due.
func openLoop(t testing.TB, addr string, keys, rate int, value string, stop *atomic.Bool) []time.Duration {
	const conns = 8
	all := make([][]time.Duration, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := resp.Dial(context.Background(), resp.Options{Addr: addr})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			every := time.Second * conns / time.Duration(rate)
			due := time.Now()
			tick := time.NewTicker(500 * time.Microsecond)
			defer tick.Stop()
			var cmds []byte
			var sent []time.Time
			for !stop.Load() {
				<-tick.C
				cmds, sent = cmds[:0], sent[:0]
				for now := time.Now(); due.Before(now); due = due.Add(every) {
					key := fmt.Sprintf("key:%08d", rnd.IntN(keys))
					if rnd.IntN(2) == 0 {
						cmds = resp.AppendCommand(cmds, "SET", key, value)
					} else {
						cmds = resp.AppendCommand(cmds, "GET", key)
					}
					sent = append(sent, due)
				}
				if len(sent) == 0 {
					continue
				}
				if err := c.Send(cmds); err != nil {
					t.Error(err)
					return
				}
				for _, at := range sent {
					if _, err := c.Receive(); err != nil {
						t.Error(err)
						return
					}
					all[i] = append(all[i], time.Since(at))
				}
			}
		})
	}
	wg.Wait()
	out := slices.Concat(all...)
	slices.Sort(out)
	return out
}

func quantiles(d []time.Duration) string {
	at := func(q float64) time.Duration {
		return d[min(int(q*float64(len(d))), len(d)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests, p50 %s p99 %s p99.9 %s max %s", len(d), at(0.5), at(0.99), at(0.999), d[len(d)-1].Round(10*time.Microsecond))
}

// TestLiveUnderLoad measures: HOLDFAST_LOAD is how many keys of 400 bytes are read
// while 20,000 requests a second come, half of them writes.
func TestLiveUnderLoad(t *testing.T) {
	keys, err := strconv.Atoi(os.Getenv("HOLDFAST_LOAD"))
	if err != nil {
		t.Skip("HOLDFAST_LOAD is not set")
	}
	for _, line := range []string{"redis-7.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, line))
			value := ""
			for len(value) < 400 {
				value += strconv.FormatUint(rand.Uint64(), 36)
			}
			fillValues(t, s, keys, value[:400])
			measure := func(name string, during func()) {
				var stop atomic.Bool
				done := make(chan []time.Duration, 1)
				go func() { done <- openLoop(t, s.Addr(), keys, 20_000, value[:400], &stop) }()
				during()
				stop.Store(true)
				t.Logf("%s: %s", name, quantiles(<-done))
			}
			wait := func(d time.Duration) func() {
				return func() {
					select {
					case <-time.After(d):
					case <-t.Context().Done():
					}
				}
			}
			memory := func() string { return s.Info("memory")["used_memory_peak_human"] }
			measure("alone", wait(4*time.Second))
			before := memory()
			measure("live", func() {
				src := source.NewLive(at(s), source.LiveOptions{PointInTime: true})
				var m runtime.MemStats
				begun := time.Now()
				var read time.Duration
				n := 0
				for _, err := range src.Entries(t.Context()) {
					if err != nil {
						t.Error(err)
						return
					}
					if n++; n == 1 {
						read = time.Since(begun)
					}
				}
				runtime.ReadMemStats(&m)
				r := src.Report()
				t.Logf("%d keys in %s and %s to hand them out: %.0f keys/s to the cut, %.0f in all; scan %s drain %s cut %s; pause %s; %d rounds; batches %d to %d; index %d B/key; spool %d MB; heap %d MB; server's peak %s to %s",
					n, read, time.Since(begun)-read, float64(n)/read.Seconds(), float64(n)/time.Since(begun).Seconds(), r.Scan, r.Drain, r.Cutting, r.Pause, r.Rounds,
					r.BatchMin, r.BatchMax, r.IndexBytes/int64(n), r.SpoolBytes>>20, m.HeapSys>>20, before, memory())
			})
			measure("bgsave", func() {
				s.Must("BGSAVE")
				testkit.Wait(t, time.Minute, func() bool { return s.Info("persistence")["rdb_bgsave_in_progress"] == "0" }, "the save")
			})
		})
	}
}

func fillValues(t testing.TB, s *testkit.Server, n int, value string) {
	var cmds [][]string
	for i := range n {
		cmds = append(cmds, []string{"SET", fmt.Sprintf("key:%08d", i), value})
	}
	pipeline(t, s, cmds)
}

// BenchmarkLive reads a million strings of 400 bytes that nobody writes to, and
// for comparison the same with bare SCAN and DUMP and with Scan.
func BenchmarkLive(b *testing.B) {
	s := testkit.StartServer(b, testkit.Engine(b, "valkey-8.1"))
	value := ""
	for len(value) < 400 {
		value += strconv.FormatUint(rand.Uint64(), 36)
	}
	const keys = 1_000_000
	fillValues(b, s, keys, value[:400])
	rate := func(b *testing.B) { b.ReportMetric(keys*float64(b.N)/b.Elapsed().Seconds(), "keys/s") }
	b.Run("bare", func(b *testing.B) {
		c, err := resp.Dial(b.Context(), at(s))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		for b.Loop() {
			bareScan(b, c)
		}
		rate(b)
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			if _, err := failure(b.Context(), source.NewScan(at(s), source.ScanOptions{})); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("live", func(b *testing.B) {
		for b.Loop() {
			src := source.NewLive(at(s), source.LiveOptions{})
			if n, err := failure(b.Context(), src); err != nil || n != keys {
				b.Fatal(n, err)
			}
			r := src.Report()
			b.ReportMetric(float64(r.Scan.Milliseconds()), "ms-scan")
			b.ReportMetric(float64(r.BatchMax), "batch")
		}
		rate(b)
	})
}
