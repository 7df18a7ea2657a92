package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

func newBackupCmd() *cobra.Command {
	var (
		acc  access
		out  output
		r    road
		only selectFlags
	)
	cmd := &cobra.Command{
		Use:   "backup SRC DST",
		Short: "Write a server's data, as of one instant, to an RDB file",
		Long: `Backup writes everything that a server holds to a file, to an object in S3, or to
standard output, as an RDB file that engines load. All keys are those of one instant.

--from chooses how they are had:
  replica    as a replica gets them: the server forks and streams its own snapshot,
             stored byte for byte, functions and data of modules included
  commands   with commands of ordinary clients, while others write: no fork, no
             memory for one, no rights of an administrator; writes are held back
             for about a millisecond
  auto       as a replica where the server allows it, otherwise (and with a limit
             to the rate) with commands

Where commands cannot fix one instant either, backup refuses and says what is missing;
--allow-per-key accepts a file in which each key is right for some instant.

A cluster gives a file for each shard, all read at the same time, each as of an
instant of its own: orders.rdb becomes orders-0001.rdb, orders-0002.rdb and so on.

The file appears under its name when it is whole. It is read back from where it
stands, to its end mark and checksum, and its fingerprint is printed. Never in the
file: users, configuration, and scripts that were not loaded as functions.

` + selectHelp + `A file of chosen or renamed keys is written anew: data of modules that belong to no key
are not in it.

` + endsHelp,
		Example: `  holdfast backup redis://10.0.0.1 orders.rdb
  holdfast backup rediss://reader@cache.example.com --password-file pw s3://backups/orders.rdb
  holdfast backup redis://10.0.0.1 orders.rdb --from commands --max-keys-per-second 50000
  holdfast backup redis://10.0.0.1 users.rdb --match 'user:*' --ttl 'none,>=1h'
  holdfast backup redis://10.0.0.1 - | zstd > orders.rdb.zst`,
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: completeEnds,
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := acc.parse(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			dst, err := acc.parse(args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := r.check(src); err != nil {
				return err
			}
			if dst.server != nil || len(dst.files) != 1 {
				return usageError{fmt.Errorf("%s is not one file; %q copies from server to server", dst.name, "holdfast migrate")}
			}
			if err := only.apply(src, nil); err != nil {
				return err
			}
			return runBackup(cmd, &r, src, dst, &out)
		},
	}
	acc.addReadFlags(cmd)
	only.addFlags(cmd)
	r.addFlags(cmd, "how to read the server: auto, replica or commands", roadAuto, roadReplica, roadCommands)
	out.addFlag(cmd)
	return cmd
}

// completeEnds offers files: ends that are no files cannot be guessed.
func completeEnds(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

func runBackup(cmd *cobra.Command, r *road, src, dst *end, out *output) error {
	w := cmd.OutOrStdout()
	if dst.files[0].std {
		w = cmd.ErrOrStderr() // standard output is the file's
	}
	shards, err := shardsOf(cmd.Context(), *src.server)
	if err != nil {
		return err
	}
	if len(shards) > 1 {
		return runShardsBackup(cmd, r, src, shards, dst, out)
	}
	bars := newProgressGroup(cmd.ErrOrStderr())
	steps := &phases{group: bars}
	rep, err := backup(cmd.Context(), r, src, dst.files[0], steps)
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

// backup reads a server and writes and checks the file.
func backup(ctx context.Context, r *road, src *end, file rdbFile, steps *phases) (_ *backupReport, err error) {
	total := src.size(ctx)
	began := time.Now()
	from, err := r.openServer(ctx, src, steps)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	target, err := file.target(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Abort()) }()
	p := &passing{target: target}
	if file.std {
		p.print = newFingerprinter(ctx, 0, nil)
		defer p.print.abort()
	}
	left, err := writeBackup(ctx, from, src, p, func(n int64) { steps.at("write", n, total, 0) })
	if err != nil {
		return nil, advise(err, from)
	}
	read := time.Since(began)
	c, err := p.check(ctx, file, func(n int64) { steps.at("check", n, total, 0) })
	if err != nil {
		return nil, err
	}
	rep := &backupReport{
		Source: src.name, Target: file.String(), Read: from.report(), RDB: c.info.Header.String(), Bytes: p.n,
		Content: c.print, Functions: len(c.info.Functions), ModuleAux: len(c.info.ModuleAux), Checksummed: c.info.Checksummed,
		ReadBack: !file.std, LeftOut: left, timing: newTiming(read, c.print.Totals().Keys), CheckSeconds: (time.Since(began) - read).Seconds(),
	}
	return rep, nil
}

// writeBackup passes the whole RDB file: as the server streams it, or as it is
// put together from what commands have read, or from what is meant of either.
func writeBackup(ctx context.Context, from serverSource, src *end, p *passing, progress func(int64)) (*leftOut, error) {
	if stream, ok := from.(*replicaSource); ok && src.view == nil {
		stream.tee = p
		return nil, readThrough(ctx, from, progress)
	}
	srv, err := lookAt(ctx, *src.server)
	if err != nil {
		return nil, err
	}
	file, err := sink.NewRDB(p, rdb.HeaderOf(sink.VersionOf(srv)), rdb.Aux{Name: srv.Engine + "-ver", Value: srv.Version})
	if err != nil {
		return nil, err
	}
	dst := &withFunctions{Sink: file, list: from.Functions, load: func(_ context.Context, f rdb.FunctionLibrary) error {
		return file.Function(f)
	}}
	meant := src.view.over(from)
	_, err = flow.Run(ctx, meant, dst, flow.Options{Progress: func(s flow.Stats) { progress(s.Keys) }})
	return skipped(meant), errors.Join(err, file.Close())
}

// readThrough reads a source to its end.
func readThrough(ctx context.Context, src flow.Source, progress func(int64)) error {
	var n int64
	for _, err := range src.Entries(ctx) {
		if err != nil {
			return err
		}
		if n++; n&4095 == 0 {
			progress(n)
		}
	}
	progress(n)
	return nil
}

// lookAt asks a server what it is.
func lookAt(ctx context.Context, opt resp.Options) (resp.Server, error) {
	c, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return resp.Server{}, err
	}
	defer c.Close()
	srv, err := c.Server(ctx)
	if resp.IsServerError(err, "NOPERM") && c.Greeting().Engine != "" {
		return c.Greeting(), nil
	}
	return srv, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// passing is what was written of a file: how long it is, and a sum by which it is
// known again. The target is committed after a look at it, not by the sink.
type passing struct {
	target sink.Target
	print  *fingerprinter // where the file cannot be read again
	n      int64
	sum    uint32
}

// Write passes bytes on.
func (p *passing) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	p.sum = crc32.Update(p.sum, castagnoli, b)
	if p.print != nil {
		if _, err := p.print.Write(b); err != nil {
			return 0, err
		}
	}
	return p.target.Write(b)
}

// Commit and Abort are left to the owner of the target.
func (p *passing) Commit(context.Context) error { return nil }

// Abort is left to the owner.
func (p *passing) Abort() error { return nil }

// checked is what was found in a file.
type checked struct {
	print *verify.Fingerprint
	info  source.FileInfo
}

// check reads back what was written and makes it visible: a file before it gets
// its name, an object, which cannot be read sooner, after.
func (p *passing) check(ctx context.Context, file rdbFile, progress func(int64)) (*checked, error) {
	if p.print != nil {
		c, err := p.print.finish()
		if err != nil {
			return nil, err
		}
		return c, p.target.Commit(ctx)
	}
	staged, ok := p.target.(sink.Staged)
	if !ok {
		if err := p.target.Commit(ctx); err != nil {
			return nil, err
		}
		in, err := file.input(ctx)
		if err != nil {
			return nil, err
		}
		c, err := p.readBack(ctx, in.Open, progress)
		if err != nil {
			return nil, fmt.Errorf("do not use %s: %w", file, err)
		}
		return c, nil
	}
	c, err := p.readBack(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		f, err := staged.Reread()
		if err != nil {
			return nil, err
		}
		return source.CloseOnDone(ctx, f), nil
	}, progress)
	if err != nil {
		return nil, err
	}
	return c, p.target.Commit(ctx)
}

// readBack reads a file to its end and compares its bytes with those written.
func (p *passing) readBack(ctx context.Context, open func(context.Context) (io.ReadCloser, error), progress func(int64)) (*checked, error) {
	again := &passing{target: nowhere{}}
	src := source.NewRDB(source.Input{Name: "reading back", Open: func(ctx context.Context) (io.ReadCloser, error) {
		f, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return &teed{f, again}, nil
	}})
	print, err := verify.Compute(ctx, src, verify.Options{Progress: func(at verify.Progress) { progress(at.Keys) }})
	if err := errors.Join(err, src.Close()); err != nil {
		return nil, err
	}
	if again.n != p.n || again.sum != p.sum {
		return nil, fmt.Errorf("what was read back, %d bytes with sum %08x, is not what was written, %d bytes with sum %08x", again.n, again.sum, p.n, p.sum)
	}
	return &checked{print: print, info: src.Files()[0]}, nil
}

// nowhere takes bytes and forgets them.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error)  { return len(b), nil }
func (nowhere) Commit(context.Context) error { return nil }
func (nowhere) Abort() error                 { return nil }

// teed hands on what is read of a file.
type teed struct {
	io.ReadCloser
	to io.Writer
}

// Read hands on what it reads before it returns it.
func (t *teed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if n > 0 {
		if _, werr := t.to.Write(b[:n]); werr != nil {
			return 0, werr // with bytes, a reader may ask for it again
		}
	}
	return n, err
}
