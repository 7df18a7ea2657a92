package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"holdfast.dev/internal/engine/catalog"
)

func benchVerify(ctx context.Context, l *lab) error {
	for _, d := range []dataset{setA, setB} {
		if err := l.verifyRow(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// verifyRow compares two engines that hold the same.
func (l *lab) verifyRow(ctx context.Context, d dataset) (err error) {
	builds := l.engines()
	if len(builds) < 2 {
		l.report.note("verify needs two engines")
		return nil
	}
	a, f, err := l.loaded(ctx, builds[1], d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop(), os.RemoveAll(a.dir)) }()
	b, err := l.empty(ctx, builds[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop(), os.RemoveAll(b.dir)) }()
	if err := copyServer(ctx, a, b, f.keys); err != nil {
		return err
	}
	both := []*server{a, b}
	bare := func(s *server) piece {
		return counting([]*server{s}, nil, func() error { return blast(ctx, s.addr(), d.dbs, false, f.keys) })
	}
	got, err := l.rounds(ctx, bare(a), bare(b), l.running(ctx, both, nil, "verify", a.url(), b.url()))
	if err != nil {
		return err
	}
	slower, limit := a, got[0]
	if times(got[1]).median() > times(got[0]).median() {
		slower, limit = b, got[1]
	}
	what := a.build.Name + " and " + b.build.Name + ", " + d.name
	l.flow(flowRow{What: what, Keys: f.keys, LimitIs: "bare SCAN+DUMP of " + slower.build.Name, Target: 0.7}, got[2], limit)
	return nil
}

func benchGenerate(ctx context.Context, l *lab) error {
	for _, b := range l.engines() {
		if b.CLI == "" {
			l.report.note("%s comes without its client: filling has nothing to compare with", b.Name)
			continue
		}
		for _, preset := range []string{"playground", "mixed"} {
			if err := l.generateRow(ctx, b, preset); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) generateRow(ctx context.Context, b catalog.Build, preset string) (err error) {
	program, err := l.holdfast(ctx)
	if err != nil {
		return err
	}
	s, err := l.empty(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(s.dir)) }()
	commands := filepath.Join(s.dir, "commands")
	shape := []string{"--preset", preset, "--keys", strconv.FormatInt(l.keys(), 10)}
	if _, _, err := execute(ctx, program, nil, append([]string{"generate", "--resp", commands}, shape...)...); err != nil {
		return err
	}
	on, full := []*server{s}, func() error { return s.holds(ctx, l.keys()) }
	got, err := l.rounds(ctx,
		counting(on, s.flush(ctx), func() error { return pipe(ctx, s, commands) }).also(full),
		l.running(ctx, on, s.flush(ctx), append([]string{"generate", s.url()}, shape...)...).also(full))
	if err != nil {
		return err
	}
	l.flow(flowRow{What: b.Name + ", " + preset, Keys: l.keys(), LimitIs: filepath.Base(b.CLI) + " --pipe from a file", Target: 1}, got[1], got[0])
	return nil
}
