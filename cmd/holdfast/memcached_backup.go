package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/memcache"
	"holdfast.dev/internal/sink"
)

// memcachedBackup is what is told of a backup of memcached.
type memcachedBackup struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Consistency says of which moment it is.
	Consistency string `json:"consistency"`
	Items       int64  `json:"items"`
	// Bytes of the file.
	Bytes int64 `json:"bytes"`
	// Volatile items expire.
	Volatile int64 `json:"volatile"`
	// ReadBack: the file was read back from where it stands, and is what was written.
	ReadBack bool `json:"readBack"`
	timing
	CheckSeconds float64 `json:"checkSeconds"`
}

func (r *memcachedBackup) print(w io.Writer) error {
	read := "read back, and every byte is what was written"
	if !r.ReadBack {
		read = "not read back: it is standard output"
	}
	_, err := fmt.Fprintf(w, "%s to %s: %s items, %s of them with a TTL, %s bytes\n%s\n%.2f s, %s items/s; %s\n",
		r.Source, r.Target, thousands(r.Items), thousands(r.Volatile), thousands(r.Bytes), r.Consistency, r.Seconds, thousands(r.KeysPerSecond), read)
	if err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

// backup writes the items of memcached to a file.
func (m *memcachedFlags) backup(cmd *cobra.Command, acc *access, args []string, out *output) error {
	if err := m.refuse(cmd, "source-distribution"); err != nil {
		return err
	}
	src, err := acc.parseMemcached(args[0], cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	dst, err := acc.parseMemcached(args[1], cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if src.servers == nil || dst.servers != nil {
		return usageError{fmt.Errorf("backup goes from servers to a file; %q fills servers from one, and %q goes from servers to servers", "holdfast restore", "holdfast migrate")}
	}
	if err := src.narrow(m.from.name); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if dst.file.std {
		w = cmd.ErrOrStderr() // standard output is the file's
	}
	bars := newProgressGroup(cmd.ErrOrStderr())
	steps := &phases{group: bars}
	rep, err := backupMemcached(cmd.Context(), src, dst.file, flow.NewLimiter(acc.rate), steps)
	steps.done()
	bars.wait()
	if err != nil {
		return fmt.Errorf("cannot back up %s to %s: %w", src.name, dst.name, err)
	}
	if out.json() {
		return printJSON(w, rep)
	}
	return rep.print(w)
}

func backupMemcached(ctx context.Context, src *memcachedEnd, file rdbFile, pace *flow.Limiter, steps *phases) (_ *memcachedBackup, err error) {
	before, err := src.stats(ctx)
	if err != nil {
		return nil, err
	}
	target, err := file.target(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Abort()) }()
	rep := &memcachedBackup{Source: src.name, Target: file.String(), Consistency: consistency, ReadBack: !file.std}
	p := &passing{target: target}
	began := time.Now()
	out, err := memcache.NewFileWriter(p)
	if err != nil {
		return nil, err
	}
	for i, err := range src.items(ctx) {
		if err == nil {
			err = paced(ctx, pace, i)
		}
		if err == nil {
			err = out.Write(i)
		}
		if err != nil {
			return nil, err
		}
		if rep.Items++; rep.Items%1024 == 0 {
			steps.at("write", rep.Items, before.Items, 0)
		}
		if !i.ExpireAt.IsZero() {
			rep.Volatile++
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	read := time.Since(began)
	rep.Bytes, rep.timing = p.n, newTiming(read, rep.Items)
	err = p.settled(ctx, file, func(n int64) { steps.at("check", n, p.n, 0) })
	rep.CheckSeconds = (time.Since(began) - read).Seconds()
	return rep, err
}

// settled reads back what was written, whatever it is, and makes it visible.
func (p *passing) settled(ctx context.Context, file rdbFile, progress func(bytes int64)) error {
	staged, ok := p.target.(sink.Staged)
	switch {
	case ok:
		return p.settle(ctx, staged, progress)
	case file.std:
		return p.target.Commit(ctx)
	}
	return p.settleObject(ctx, file, progress)
}
