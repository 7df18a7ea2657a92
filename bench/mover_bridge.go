package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"holdfast.dev/internal/bridge"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

func benchBridge(ctx context.Context, l *lab) error {
	a, there := l.engine("redis-8.0")
	b, too := l.engine("valkey-9.1")
	if !there || !too {
		return nil
	}
	return errors.Join(l.bridgeFigure(ctx, a, b), l.bridgeFigure(ctx, b, a))
}

// bridgeFigure moves a server that is read and written to another engine again and
// again, and tells how long no writes were taken.
func (l *lab) bridgeFigure(ctx context.Context, from, to catalog.Build) error {
	var held series
	for range l.few(5) {
		sec, err := l.cutOver(ctx, from, to)
		if err != nil {
			return fmt.Errorf("from %s to %s: %w", from.Name, to.Name, err)
		}
		held = append(held, sec)
	}
	l.figure(figure{
		What:  fmt.Sprintf("%s to %s, A, %d commands/s half writes: writes held until the target is a primary, all equal", from.Name, to.Name, loadRate),
		Value: held.String(), Target: "at most 50 ms", Met: told(held.median() <= 50e-3),
	})
	return nil
}

// cutOver is how many seconds one cut-over took.
func (l *lab) cutOver(ctx context.Context, from, to catalog.Build) (sec float64, err error) {
	a, f, err := l.loaded(ctx, from, setA)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.stop(), os.RemoveAll(a.dir)) }()
	b, err := l.empty(ctx, to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.stop(), os.RemoveAll(b.dir)) }()
	dir, err := l.mkdir("bridge")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	under, err := startLoad(ctx, a.addr(), f.keys)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, under.end()) }()
	br := bridge.New(bridge.Options{Source: a.options(), Target: b.options(), Dir: dir})
	over := make(chan error, 1)
	go func() { over <- br.Run(ctx) }()
	if err := poll(ctx, look, func() (bool, error) {
		select {
		case err := <-over:
			return false, errors.Join(errors.New("the bridge ended"), err)
		default:
		}
		s := br.Status()
		return s.Phase == bridge.PhaseFollow && s.Lag() < 1<<20, nil
	}); err != nil {
		return 0, err
	}
	if err := errors.Join(br.Hold(ctx), br.Promote(ctx)); err != nil {
		return 0, err
	}
	sec = br.Status().HeldFor.Seconds()
	return sec, errors.Join(sameContent(ctx, a, b), br.Release(ctx), <-over)
}

// sameContent compares the fingerprints of two servers that nobody writes to.
func sameContent(ctx context.Context, servers ...*server) error {
	var prints []string
	for _, s := range servers {
		src := source.NewScan(s.options(), source.ScanOptions{})
		p, err := verify.Compute(ctx, src, verify.Options{})
		if err := errors.Join(err, src.Close()); err != nil {
			return err
		}
		prints = append(prints, p.String())
	}
	if prints[0] != prints[1] {
		return fmt.Errorf("%s and %s differ after the cut-over", servers[0].build.Name, servers[1].build.Name)
	}
	return nil
}
