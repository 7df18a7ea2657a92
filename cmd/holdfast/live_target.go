package main

import (
	"context"
	"fmt"
	"strings"

	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/source"
)

// undecided refuses to go on where an earlier run was killed while clients were
// switched, and it cannot be ruled out that they were: what they wrote to the
// target since would be overwritten with what the source has.
func (m *liveMove) undecided(ctx context.Context) error {
	r := &m.point.Record
	if !m.began || r.State != migrate.StateSwitching {
		return nil
	}
	now, err := m.written(ctx)
	if err != nil {
		return err
	}
	if r.Written != "" && r.Written == now {
		return nil // whoever was switched has written nothing
	}
	return fmt.Errorf("an earlier run ended while clients were switched, and since then %[2]s was written to, or does not tell. "+
		"If clients use %[2]s, the migration is over: see that none writes to %[1]s any more, and delete %[3]s. "+
		"If they use %[1]s, --restart with --replace-all begins anew, and deletes what was written to %[2]s", m.src.name, m.dst.name, m.point.Dir())
}

// evicted counts the keys that the target's primaries deleted for want of memory.
func (m *liveMove) evicted(ctx context.Context) (n int64, err error) {
	first, others, err := primaryOf(ctx, *m.dst.server)
	if err != nil {
		return 0, err
	}
	for _, opt := range append(others, first) {
		one, err := source.Evicted(ctx, opt)
		if err != nil {
			return 0, err
		}
		n += one
	}
	return n, nil
}

// written tells how much was written to the target, by all its primaries' words.
func (m *liveMove) written(ctx context.Context) (string, error) {
	first, others, err := primaryOf(ctx, *m.dst.server)
	if err != nil {
		return "", err
	}
	var all []string
	for _, opt := range append(others, first) {
		one, err := source.Written(ctx, opt)
		if err != nil || one == "" {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, ","), nil
}
