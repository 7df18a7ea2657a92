package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// restart is the plain way, under the same clients: the engine writes its data to a file
// and ends, and the new one is started from that at the same address.
func (l *lab) restart(ctx context.Context, from, to engineVersion, keys int64) (gap time.Duration, err error) {
	old, _ := l.engine(from.line())
	next, _ := l.engine(to.line())
	dir, err := l.mkdir("restart")
	if err != nil {
		return 0, err
	}
	s, err := l.start(ctx, old, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(dir)) }()
	if err := l.pour(ctx, s.options(), &plain{keys: keys, size: plainValue}, keys); err != nil {
		return 0, err
	}
	c := startSteady(ctx, s.addr())
	defer c.end()
	if err := c.settle(ctx); err != nil {
		return 0, err
	}
	_, _ = s.do(ctx, "SHUTDOWN", "SAVE") // it hangs up instead of an answer
	select {
	case <-s.gone:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if _, err := os.Stat(filepath.Join(dir, "dump.rdb")); err != nil {
		return 0, fmt.Errorf("%s left no file: %w", old.Name, err)
	}
	s.build, s.gone = next, make(chan struct{})
	if err := s.exec(filepath.Join(dir, "engine.conf")); err != nil {
		return 0, err
	}
	if err := s.awaitPing(ctx); err != nil {
		return 0, err
	}
	if err := c.settle(ctx); err != nil {
		return 0, err
	}
	return c.end(), nil
}
