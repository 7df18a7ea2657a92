package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// shardsReport is the backup of a cluster: a file for each shard.
type shardsReport struct {
	Source string          `json:"source"`
	Shards []*backupReport `json:"shards"`
	Notes  []string        `json:"notes"`
}

// runShardsBackup backs all shards of a cluster up at the same time.
func runShardsBackup(cmd *cobra.Command, r *road, src *end, shards []resp.Options, dst *end, out *output) error {
	if dst.files[0].std {
		return usageError{fmt.Errorf("%s is a cluster of %d shards, and a backup has a file for each; give the name of a file or object", src.name, len(shards))}
	}
	rep, err := backupShards(cmd.Context(), r, src, shards, dst.files[0])
	if err != nil {
		return fmt.Errorf("cannot back up %s to %s: %w", src.name, dst.name, err)
	}
	if out.json() {
		return printJSON(cmd.OutOrStdout(), rep)
	}
	return rep.print(cmd.OutOrStdout())
}

func (r *shardsReport) print(w io.Writer) error {
	for i, s := range r.Shards {
		if _, err := fmt.Fprintf(w, "shard %d of %d\n", i+1, len(r.Shards)); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
		if err := s.print(w); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", n); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
	}
	return nil
}

func backupShards(ctx context.Context, r *road, src *end, shards []resp.Options, file rdbFile) (_ *shardsReport, err error) {
	look := source.NewCluster(*src.server, source.ScanOptions{})
	defer func() { err = errors.Join(err, look.Close()) }()
	stayed, err := look.Steady(ctx)
	if err != nil {
		return nil, err
	}
	rep := &shardsReport{Source: src.name, Shards: make([]*backupReport, len(shards))}
	when := "at the same time"
	g, inner := errgroup.WithContext(ctx)
	if src.view != nil { // what it leaves out is counted by one reader at a time
		when = "one after the other, since some keys are left out"
		g.SetLimit(1)
	}
	for i, opt := range shards {
		g.Go(func() error {
			// They go on at the same time, so none shows how far it is.
			steps := &phases{group: newProgressGroup(io.Discard)}
			one, err := backup(inner, r, src.shardAt(opt, len(shards)), file.numbered(i+1), steps)
			steps.done()
			steps.group.wait()
			if err != nil {
				return fmt.Errorf("shard %d, %s: %w", i+1, opt, err)
			}
			rep.Shards[i] = one
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("%w; files of other shards may be there already, and are no backup of the cluster without this one", err)
	}
	if err := stayed(ctx); err != nil {
		return nil, fmt.Errorf("do not use the files that were written: %w", err)
	}
	rep.Notes = []string{fmt.Sprintf("the %d shards were read %s, each as of an instant of its own", len(shards), when)}
	return rep, nil
}

// numbered is the file of one shard, named as ElastiCache names those of an export: name-0001.rdb.
func (f rdbFile) numbered(n int) rdbFile {
	if f.bucket != "" {
		f.key = numberedName(f.key, n)
	} else {
		f.path = numberedName(f.path, n)
	}
	return f
}

func numberedName(name string, n int) string {
	base, isRDB := strings.CutSuffix(name, ".rdb")
	name = fmt.Sprintf("%s-%04d", base, n)
	if isRDB {
		name += ".rdb"
	}
	return name
}
