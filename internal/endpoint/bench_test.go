package endpoint_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/testkit"
)

// BenchmarkTraffic measures GETs per second with the engine's own tool, 50
// clients, directly, through a forwarder, and through one that leaves the copying
// to the kernel (splice). Everything shares the machine's processors.
func BenchmarkTraffic(b *testing.B) {
	build := testkit.Engine(b, "redis-7.0")
	tool := filepath.Join(filepath.Dir(build.Server), "redis-benchmark")
	s := testkit.StartServer(b, build)
	m := manager(b, endpoint.Config{})
	spliced := splicer(b, addressOf(s))
	for _, depth := range []int{1, 16} {
		direct := 0.0
		for _, lane := range []struct {
			name string
			at   cache.Address
		}{{"direct", addressOf(s)}, {"forwarded", forward(b, m, addressOf(s))}, {"spliced", spliced}} {
			b.Run(fmt.Sprintf("pipeline=%d/%s", depth, lane.name), func(b *testing.B) {
				var sum float64
				for b.Loop() {
					sum += requests(b, tool, lane.at, depth)
				}
				rate := sum / float64(b.N)
				if lane.name == "direct" {
					direct = rate
				}
				b.ReportMetric(rate, "req/s")
				b.ReportMetric(rate/direct, "of-direct")
			})
		}
	}
}

// requests runs the tool once and returns GETs per second.
func requests(b *testing.B, tool string, at cache.Address, depth int) float64 {
	b.Helper()
	out, err := exec.Command(tool, "-h", at.Host, "-p", strconv.Itoa(at.Port), "-c", "50", "-P", strconv.Itoa(depth),
		"-n", strconv.Itoa(100000*depth), "-t", "get", "--csv").Output()
	if err != nil {
		b.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
	if err != nil || len(rows) < 2 {
		b.Fatalf("%s, %v", out, err)
	}
	rate, err := strconv.ParseFloat(rows[1][1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}

// splicer is the simplest forwarder there can be.
func splicer(b *testing.B, to cache.Address) cache.Address {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", hostPort(to))
				if err != nil {
					return
				}
				defer s.Close()
				go func() { _, _ = io.Copy(s, c); _ = s.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(c, s)
			}()
		}
	}()
	b.Cleanup(func() { l.Close(); <-done })
	return address(b, l.Addr())
}
