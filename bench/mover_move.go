package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// eachPair runs f for each engine and data set with a server that holds it and an empty one.
func (l *lab) eachPair(ctx context.Context, sets []dataset, f func(d dataset, file dataFile, from, to *server) error) error {
	for _, b := range l.engines() {
		for _, d := range sets {
			if err := l.pair(ctx, b, d, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) pair(ctx context.Context, b catalog.Build, d dataset, f func(d dataset, file dataFile, from, to *server) error) (err error) {
	from, file, err := l.loaded(ctx, b, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.stop(), os.RemoveAll(from.dir)) }()
	to, err := l.empty(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.stop(), os.RemoveAll(to.dir)) }()
	return f(d, file, from, to)
}

func benchScanMove(ctx context.Context, l *lab) error {
	return l.eachPair(ctx, []dataset{setA, setB}, func(d dataset, file dataFile, from, to *server) error {
		on, both, full := []*server{from}, []*server{from, to}, func() error { return to.holds(ctx, file.keys) }
		got, err := l.rounds(ctx,
			counting(on, nil, func() error { return blast(ctx, from.addr(), d.dbs, false, file.keys) }),
			counting(on, to.flush(ctx), func() error { return drain(ctx, from, file.keys) }),
			counting(on, to.flush(ctx), func() error { return copyServer(ctx, from, to, file.keys) }).also(full),
			l.running(ctx, both, to.flush(ctx), "migrate", "--no-verify", "--from", "commands", from.url(), to.url()).also(full),
			counting(both, to.flush(ctx), func() error { return pipeAcross(ctx, from.addr(), to.addr(), file.keys) }).also(full))
		if err != nil {
			return err
		}
		what := from.build.Name + ", " + d.name
		row := flowRow{What: what + ": read alone", Keys: file.keys, LimitIs: "bare SCAN+DUMP"}
		l.flow(row, got[1], got[0])
		row.What, row.Target = what+": each key at an instant", 0.9
		l.flow(row, got[2], got[0])
		row.What, row.Target = what+": a bare pipe into another server, nothing checked", 0
		l.flow(row, got[4], got[0])
		row.What, row.Target = what+": migrate, all at one instant", 0.9
		l.flow(row, got[3], got[0])
		row.LimitIs, row.Target = "a bare pipe SCAN+DUMP to RESTORE", 0
		l.flow(row, got[3], got[4])
		return nil
	})
}

// drain reads a whole server and keeps nothing.
func drain(ctx context.Context, from *server, keys int64) error {
	src := source.NewScan(from.options(), source.ScanOptions{})
	defer src.Close()
	n := int64(0)
	for _, err := range src.Entries(ctx) {
		if err != nil {
			return err
		}
		n++
	}
	return counted(n, keys)
}

// copyServer reads a server and fills another with it.
func copyServer(ctx context.Context, from, to *server, keys int64) error {
	src := source.NewScan(from.options(), source.ScanOptions{})
	defer src.Close()
	dst, err := sink.NewServer(ctx, to.options(), sink.ServerOptions{})
	if err != nil {
		return err
	}
	defer dst.Close()
	stats, err := flow.Run(ctx, src, dst, flow.Options{})
	if err != nil {
		return err
	}
	return counted(stats.Keys, keys)
}

func benchReplicaMove(ctx context.Context, l *lab) error {
	return l.eachPair(ctx, []dataset{setA, setB}, func(d dataset, file dataFile, from, to *server) error {
		both, full := []*server{from, to}, func() error { return to.holds(ctx, file.keys) }
		engines := piece(func() (cost, error) {
			if err := to.flush(ctx)(); err != nil {
				return cost{}, err
			}
			took, err := fullSync(ctx, from, to)
			return cost{took: took}, err
		})
		got, err := l.rounds(ctx,
			engines.also(full),
			l.running(ctx, both, to.flush(ctx), "migrate", "--no-verify", "--from", "replica", from.url(), to.url()).also(full))
		if err != nil {
			return err
		}
		l.flow(flowRow{What: from.build.Name + ", " + d.name, Keys: file.keys, LimitIs: "full synchronization of a replica", Target: 1}, got[1], got[0])
		return nil
	})
}

func benchBackup(ctx context.Context, l *lab) error {
	return l.eachPair(ctx, []dataset{setA, setB}, func(d dataset, file dataFile, from, _ *server) error {
		if from.build.CLI == "" {
			l.report.note("%s comes without its client: a backup has nothing to compare with", from.build.Name)
			return nil
		}
		on := []*server{from}
		saved := filepath.Join(from.dir, "saved.rdb")
		gone := func() error { return os.RemoveAll(saved) }
		got, err := l.rounds(ctx,
			counting(on, gone, func() error {
				_, _, err := execute(ctx, from.build.CLI, from.build.Env, "-p", strconv.Itoa(from.port), "--rdb", saved)
				return err
			}).also(func() error { return parseFile(dataFile{path: saved, keys: file.keys}) }),
			l.running(ctx, on, gone, "backup", "--from", "replica", from.url(), saved).
				also(func() error { return parseFile(dataFile{path: saved, keys: file.keys}) }))
		if err != nil {
			return err
		}
		l.flow(flowRow{
			What: from.build.Name + ", " + d.name, Keys: file.keys,
			LimitIs: filepath.Base(from.build.CLI) + " --rdb", Target: 0.95,
		}, got[1], got[0])
		return gone()
	})
}
