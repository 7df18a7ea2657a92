package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// BenchmarkMinute is what 200 groups of two nodes cost each minute, besides the asking: to read
// what they say, to derive, to keep and to write the answer to Prometheus.
func BenchmarkMinute(b *testing.B) {
	text := after
	for command := range kinds {
		text += fmt.Sprintf("cmdstat_%s:calls=9,usec=100,usec_per_call=11.1,rejected_calls=0,failed_calls=0\n", command)
	}
	h, err := OpenHistory(b.TempDir(), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	var targets []Target
	for i := range 400 {
		n := one
		n.ClusterID = fmt.Sprintf("orders-%03d", i)
		targets = append(targets, Target{Node: n, Read: func(context.Context) (map[string]string, error) { return ParseInfo(text), nil }})
	}
	c := NewCollector(Config{
		History: h, Log: slog.New(slog.DiscardHandler), Host: func() Host { return Host{} },
		Targets: func(context.Context) ([]Target, error) { return targets, nil },
	})
	for b.Loop() {
		if err := c.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
		var out strings.Builder
		if err := WritePrometheus(&out, h.Last(time.Time{})); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/600, "%core")
}
