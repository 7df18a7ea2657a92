package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/sink"
)

func benchFill(ctx context.Context, l *lab) error {
	for _, b := range l.engines() {
		if err := fillRows(ctx, l, b); err != nil {
			return err
		}
	}
	return nil
}

func fillRows(ctx context.Context, l *lab, b catalog.Build) (err error) {
	dir, err := l.mkdir("fill")
	if err != nil {
		return err
	}
	s, err := l.start(ctx, b, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(dir)) }()
	program := benchmarkOf(b)
	if program == "" {
		l.report.note("%s comes without its client programs: filling has nothing to compare with", b.Name)
		return nil
	}
	for _, d := range []dataset{setA, setM} {
		if err := l.fillRow(ctx, s, d, program); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) fillRow(ctx context.Context, s *server, d dataset, program string) error {
	commands := filepath.Join(s.dir, d.name+".resp")
	if err := l.writeCommands(ctx, d, commands); err != nil {
		return err
	}
	emptied := func(f timed) timed {
		return func() (time.Duration, error) {
			if _, err := s.do(ctx, "FLUSHALL"); err != nil {
				return 0, err
			}
			return f()
		}
	}
	pieces := []timed{
		emptied(elapsed(func() error { return pipe(ctx, s, commands) })),
		emptied(elapsed(func() error { return l.fill(ctx, s.options(), d) })),
	}
	if d.name == setA.name {
		pieces = append(pieces, emptied(func() (time.Duration, error) { return enginesBenchmark(ctx, s, program, l.keys()) }))
	}
	got, err := l.alternate(ctx, l.opt.rounds, pieces...)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %s: fill", s.build.Name, d.name)
	l.report.add(row{What: what, Keys: l.keys(), Ours: got[1], LimitIs: filepath.Base(s.build.CLI) + " --pipe", Limit: got[0]})
	if len(got) > 2 {
		l.report.add(row{What: what, Keys: l.keys(), Ours: got[1], LimitIs: filepath.Base(program) + " -t set -P 64", Limit: got[2]})
	}
	return os.Remove(commands)
}

// writeCommands writes the data set as redis-cli --pipe takes it.
func (l *lab) writeCommands(ctx context.Context, d dataset, path string) (err error) {
	src, err := d.source(l.keys())
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = flow.Run(ctx, src, sink.NewRESP(f), flow.Options{})
	return err
}

var pipeErrors = regexp.MustCompile(`errors: (\d+)`)

// pipe feeds the file to the engine's own command line client.
func pipe(ctx context.Context, s *server, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	cmd := exec.CommandContext(ctx, s.build.CLI, "-p", strconv.Itoa(s.port), "--pipe")
	cmd.Stdin, cmd.Env = in, append(os.Environ(), s.build.Env...)
	out, err := cmd.CombinedOutput()
	if m := pipeErrors.FindSubmatch(out); err != nil || m == nil || string(m[1]) != "0" {
		return fmt.Errorf("cannot fill %s by %s --pipe: %w\n%s", s.build.Name, s.build.CLI, errors.Join(err), out)
	}
	return nil
}

var setRate = regexp.MustCompile(`(?m)^"SET","([0-9.]+)"`)

// enginesBenchmark has the engine's own program SET as many keys; with random
// names, as it has no others, so that a third of them are written over.
func enginesBenchmark(ctx context.Context, s *server, program string, keys int64) (time.Duration, error) {
	n := strconv.FormatInt(keys, 10)
	cmd := exec.CommandContext(ctx, program, "-p", strconv.Itoa(s.port), "-t", "set", "-n", n, "-r", n, "-d", strconv.Itoa(plainValue), "-P", "64", "--csv")
	cmd.Env = append(os.Environ(), s.build.Env...)
	out, err := cmd.CombinedOutput()
	m := setRate.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, fmt.Errorf("cannot run %s: %w\n%s", program, errors.Join(err), out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || rate <= 0 {
		return 0, fmt.Errorf("cannot read the rate of %s: %w\n%s", program, errors.Join(err), out)
	}
	return time.Duration(float64(keys) / rate * float64(time.Second)), nil
}
