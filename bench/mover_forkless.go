package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

func benchForkless(ctx context.Context, l *lab) error {
	b, ok := l.engine("redis-7.0")
	if !ok {
		return nil
	}
	return l.forkless(ctx, b)
}

// span is a part of a run under load.
type span struct {
	from, to time.Duration
	// grown is what the server's memory grew by meanwhile, of what it had.
	grown float64
}

// forkless compares what the clients of a server notice of a backup with commands
// of clients, of BGSAVE, and of neither, all in one run.
func (l *lab) forkless(ctx context.Context, b catalog.Build) (err error) {
	d := setC
	if !l.opt.large {
		d.scale /= 10
	}
	s, f, err := l.loaded(ctx, b, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(s.dir)) }()
	program, err := l.holdfast(ctx)
	if err != nil {
		return err
	}
	var pauses, speeds, memory series
	spans := map[string][]span{}
	under, err := startLoad(ctx, s.addr(), f.keys)
	if err != nil {
		return err
	}
	for range l.few(3) {
		err = errors.Join(
			l.spanOf(ctx, s, under, spans, "idle", func() error { return pause(ctx, 5*time.Second) }),
			l.spanOf(ctx, s, under, spans, "BGSAVE", func() error { _, err := bgsave(ctx, s); return err }),
			pause(ctx, time.Second),
			l.spanOf(ctx, s, under, spans, "forkless", func() error {
				var r struct {
					Read struct {
						WritePauseMs float64 `json:"writePauseMs"`
					} `json:"read"`
				}
				c, err := runJSON(ctx, program, &r, "backup", "--from", "commands", s.url(), filepath.Join(s.dir, "forkless.rdb"))
				pauses = append(pauses, r.Read.WritePauseMs/1e3)
				speeds, memory = append(speeds, float64(f.keys)/c.took.Seconds()), append(memory, float64(c.peak))
				return err
			}),
			os.RemoveAll(filepath.Join(s.dir, "forkless.rdb")), pause(ctx, time.Second))
		if err != nil {
			return errors.Join(err, under.end())
		}
	}
	if err := under.end(); err != nil {
		return err
	}
	l.forklessFigures(b, f, under, spans, pauses, speeds, memory)
	return nil
}

// spanOf runs f and notes when it ran and how the server's memory grew.
func (l *lab) spanOf(ctx context.Context, s *server, under *load, into map[string][]span, name string, f func() error) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	grown := make(chan float64, 1)
	go func() { grown <- growthAt(watch, s.options(), name == "BGSAVE") }()
	n := span{from: under.since()}
	err := f()
	n.to = under.since()
	stop()
	n.grown = <-grown
	into[name] = append(into[name], n)
	if err != nil {
		return fmt.Errorf("%s under load: %w", name, err)
	}
	return nil
}

// growthAt watches a server until ctx ends: by what part its memory grew at most. A
// child's copies are no memory of the server's own, and are counted with it.
func growthAt(ctx context.Context, at resp.Options, forks bool) float64 {
	c, err := resp.Dial(ctx, at)
	if err != nil {
		return 0
	}
	defer c.Close()
	var first, most float64
	for {
		fields := map[string]float64{}
		for _, section := range []string{"memory", "persistence"} {
			r, err := c.Do(ctx, "INFO", section)
			if err != nil {
				return most / max(first, 1)
			}
			for name, value := range resp.InfoFields(r.Bytes) {
				fields[name], _ = strconv.ParseFloat(value, 64)
			}
		}
		if first == 0 {
			first = fields["used_memory"]
		}
		now := fields["used_memory"] - first
		if forks {
			now += fields["current_cow_size"]
		}
		most = max(most, now)
		if pause(ctx, 100*time.Millisecond) != nil {
			return most / max(first, 1)
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quantiles of the latencies of all spans of a name, p50, p99, p99.9 and the worst,
// as medians over the spans; and the commands a second.
func quantiles(under *load, spans []span) (q [4]series, rate series) {
	for _, n := range spans {
		took, r := under.between(n.from, n.to)
		for i, at := range []float64{0.5, 0.99, 0.999, 1} {
			q[i] = append(q[i], took.quantile(at).Seconds())
		}
		rate = append(rate, r)
	}
	return q, rate
}

func (l *lab) forklessFigures(b catalog.Build, f dataFile, under *load, spans map[string][]span, pauses, speeds, memory series) {
	what := fmt.Sprintf("%s, C of %d keys, %d commands/s half writes: ", b.Name, f.keys, loadRate)
	worst := map[string]float64{}
	for _, name := range []string{"idle", "BGSAVE", "forkless"} {
		q, rate := quantiles(under, spans[name])
		worst[name] = q[2].median()
		l.figure(figure{What: what + name + ", p50 / p99 / p99.9 / worst", Value: fmt.Sprintf("%s / %s / %s / %s at %.0f commands/s",
			short(q[0].median()), short(q[1].median()), short(q[2].median()), short(q[3].median()), rate.median())})
	}
	grown := func(name string) float64 {
		var s series
		for _, n := range spans[name] {
			s = append(s, n.grown)
		}
		return s.median()
	}
	var lasted series
	for _, n := range spans["BGSAVE"] {
		lasted = append(lasted, float64(f.keys)/(n.to-n.from).Seconds())
	}
	judge := func(name, value, target string, met bool) {
		l.figure(figure{What: what + name, Value: value, Target: target, Met: told(met)})
	}
	judge("keys/s, whole program", fmt.Sprintf("%.0f (BGSAVE %.0f)", speeds.median(), lasted.median()), "at least 130000", speeds.median() >= 130_000)
	judge("write pause", pauses.String(), "at most 5 ms", pauses.median() <= 5e-3)
	judge("p99.9 of BGSAVE's", fmt.Sprintf("× %.2f", worst["forkless"]/worst["BGSAVE"]), "at most × 0.50", worst["forkless"] <= worst["BGSAVE"]/2)
	judge("the server's memory grows by", fmt.Sprintf("%.2f %% (BGSAVE %.1f %%)", 100*grown("forkless"), 100*grown("BGSAVE")),
		"under 1 %", grown("forkless") < 0.01)
	l.figure(figure{What: what + "memory of the program", Value: fmt.Sprintf("%.0f MB", memory.median()/(1<<20))})
}
