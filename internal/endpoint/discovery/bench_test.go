package discovery

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// BenchmarkFront is a client's traffic through a front, and next to it the same with a
// memcached that listens by itself, as one without auto discovery would. ratio is the former by the latter.
func BenchmarkFront(b *testing.B) {
	build := testkit.Engine(b, testkit.MemcachedLines[0])
	m := testkit.StartMemcached(b, build)
	unix := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", m.Socket)
	}
	f, err := New(Config{Listener: testkit.Listen(b), Dial: unix}, aList)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	}()
	for _, c := range []struct {
		name  string
		depth int
		size  int
	}{
		{"one get of 100 bytes at a time", 1, 100},
		{"50 gets of 100 bytes at a time", 50, 100},
		{"one get of 100 KB at a time", 1, 100_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			plain := plainly(b, build)
			var rate [2]float64
			for i, dial := range []Dial{plain, func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", f.cfg.Listener.Addr().String())
			}} {
				rate[i] = traffic(b, dial, c.depth, c.size)
			}
			b.ReportMetric(rate[1], "gets/s")
			b.ReportMetric(rate[0], "direct-gets/s")
			b.ReportMetric(rate[1]/rate[0], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// plainly is a memcached of the same build that listens by itself.
func plainly(b *testing.B, build catalog.Build) Dial {
	b.Helper()
	l := testkit.Listen(b)
	at := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	args := []string{"-l", at.IP.String(), "-p", strconv.Itoa(at.Port), "-U", "0", "-t", "2"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	cmd := exec.CommandContext(b.Context(), build.Server, args...)
	cmd.Env = append(os.Environ(), build.Env...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", at.String())
	}
	testkit.Wait(b, 30*time.Second, func() bool {
		c, err := dial(b.Context())
		return err == nil && c.Close() == nil
	}, "memcached listens")
	return dial
}

// traffic returns gets per second on one connection.
func traffic(b *testing.B, dial Dial, depth, size int) float64 {
	b.Helper()
	c, err := dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	value := strings.Repeat("v", size)
	if _, err := io.WriteString(c, "set k 0 0 "+strconv.Itoa(size)+"\r\n"+value+"\r\n"); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("STORED\r\n"))); err != nil {
		b.Fatal(err)
	}
	question := []byte(strings.Repeat("get k\r\n", depth))
	answer := make([]byte, depth*len("VALUE k 0 "+strconv.Itoa(size)+"\r\n"+value+"\r\nEND\r\n"))
	gets := 0
	began := time.Now()
	for time.Since(began) < time.Second {
		if _, err := c.Write(question); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
		gets += depth
	}
	return float64(gets) / time.Since(began).Seconds()
}
