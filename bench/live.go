package main

import (
	"context"
	"errors"
	"fmt"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

func benchLive(ctx context.Context, l *lab) error {
	for _, b := range l.engines() {
		for _, d := range []dataset{setA, setM} {
			if err := liveRows(ctx, l, b, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func liveRows(ctx context.Context, l *lab, b catalog.Build, d dataset) (err error) {
	s, f, err := l.loaded(ctx, b, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	var got []series
	err = l.profiled(func() (err error) {
		got, err = l.alternate(ctx, l.opt.rounds,
			elapsed(func() error { return blast(ctx, s.addr(), d.dbs, false, f.keys) }),
			elapsed(func() error { return blast(ctx, s.addr(), d.dbs, true, f.keys) }),
			elapsed(func() error { return fingerprintLive(ctx, s, f.keys) }))
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %s: fingerprint", b.Name, d.name)
	l.report.add(row{What: what, Keys: f.keys, Ours: got[2], LimitIs: "bare SCAN+DUMP", Limit: got[0]})
	l.report.add(row{What: what, Keys: f.keys, Ours: got[2], LimitIs: "bare SCAN+DUMP+PEXPIRETIME", Limit: got[1]})
	return nil
}

func fingerprintLive(ctx context.Context, s *server, keys int64) error {
	src := source.NewScan(s.options(), source.ScanOptions{})
	defer src.Close()
	p, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		return err
	}
	return counted(p.Totals().Keys, keys)
}
