package engine_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
)

// BenchmarkProbe is what looking at one node costs, here and in the engine.
func BenchmarkProbe(b *testing.B) {
	for _, build := range builds(b) {
		b.Run(build.Name, func(b *testing.B) {
			t := newBench(b)
			spec := t.spec(build, "orders-001")
			p := t.up(spec)
			ctx := t.context()
			if _, err := t.Probe(ctx, spec); err != nil {
				b.Fatal(err)
			}
			theirs, ours := ticks(b, p.PID), ownTime(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Probe(ctx, spec); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((ownTime(b)-ours).Microseconds())/float64(b.N), "our-cpu-us/op")
			b.ReportMetric(float64(ticks(b, p.PID)-theirs)*10000/float64(b.N), "engine-cpu-us/op")
		})
	}
}

func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ticks is the processor time of a process in hundredths of a second.
func ticks(b *testing.B, pid int) int64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("no /proc here")
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return user + system
}

// BenchmarkStart is from Start to a node that serves.
func BenchmarkStart(b *testing.B) {
	for _, build := range builds(b) {
		b.Run(build.Name, func(b *testing.B) {
			t := newBench(b)
			spec := t.spec(build, "orders-001")
			for b.Loop() {
				p := t.up(spec)
				b.StopTimer()
				t.down(spec, &p)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPromotion is from the order to the first write at the endpoint, which
// moves between two nodes; connecting is part of it.
func BenchmarkPromotion(b *testing.B) {
	for _, build := range builds(b) {
		b.Run(build.Name, func(b *testing.B) {
			t := newBench(b)
			lead, follow, vip := t.pair(build)
			t.up(lead)
			t.up(follow)
			for b.Loop() {
				b.StopTimer()
				lead, follow = follow, lead
				follow.Primary, lead.Primary = lead.Address, cache.Address{}
				lead.Binds, follow.Binds = follow.Binds, nil
				if err := t.Reconfigure(t.context(), follow); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := t.Reconfigure(t.context(), lead); err != nil {
					b.Fatal(err)
				}
				at := lead.Address.Host
				if build.Rebind {
					at = vip
				}
				c := t.client(at, lead.Address.Port)
				t.do(c, "SET", "k", "v")
				b.StopTimer()
				_ = c.Close()
				if _, err := t.AwaitReady(t.context(), follow); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
