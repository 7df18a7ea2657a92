package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

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

		kmsKey      string
		noFunctions bool

		mc = newMemcachedFlags()
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

The file appears under its name when it is whole. What is written is decoded as it
passes, to its end mark and checksum, and its fingerprint is printed; then the file is
read back from where it stands, and every byte must be what was written. Never in the
file: users, configuration, and scripts that were not loaded as functions.

With snapshot:NAME as DST the backup becomes a manual snapshot of the service, from which
groups can be created: of a server, of a cluster with all its shards, or of an RDB file
that is there already. Without a running service it becomes one when the next starts.

` + selectHelp + `A file of chosen or renamed keys, or without functions, is written anew: data of modules
that belong to no key are not in it.

` + endsHelp + memcachedHelp,
		Example: `  holdfast backup redis://10.0.0.1 orders.rdb
  holdfast backup rediss://reader@cache.example.com --password-file pw s3://backups/orders.rdb
  holdfast backup redis://10.0.0.1 orders.rdb --from commands --max-keys-per-second 50000
  holdfast backup redis://10.0.0.1 users.rdb --match 'user:*' --ttl 'none,>=1h'
  holdfast backup redis://old.example.com --password-file pw snapshot:orders --region eu-west-1
  holdfast backup dump.rdb snapshot:orders
  holdfast backup memcached://10.0.0.1,10.0.0.2 sessions.items
  holdfast backup redis://10.0.0.1 - | zstd > orders.rdb.zst`,
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: completeEnds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if anyMemcached(args) {
				return mc.backup(cmd, &acc, args, &out)
			}
			if err := mc.refuseOthers(); err != nil {
				return err
			}
			src, err := acc.parse(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			src.noFunctions = noFunctions
			if name, ok := strings.CutPrefix(args[1], snapshotPrefix); ok {
				if noFunctions {
					return usageError{errors.New("--without-functions is for files; a snapshot of the service holds everything")}
				}
				if err := importable(src, &r, &only); err != nil {
					return err
				}
				return runImport(cmd, &importing{dir: dataDir(acc.data), region: acc.region, name: name, kmsKey: kmsKey}, &r, src, &out)
			}
			dst, err := acc.parse(args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if kmsKey != "" {
				return usageError{errors.New("--kms-key-id is for snapshots of the service; files are plain RDB files")}
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
	mc.addReadFlags(cmd)
	only.addFlags(cmd)
	r.addFlags(cmd, "how to read the server: auto, replica or commands", roadAuto, roadReplica, roadCommands)
	out.addFlag(cmd)
	cmd.Flags().BoolVar(&noFunctions, "without-functions", false, "leave functions out: engines before Redis 7.0 have none")
	cmd.Flags().StringVar(&kmsKey, "kms-key-id", "", "seal the snapshot with this key of the region, where DST is snapshot:NAME")
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
	if _, asIs := streams(from, src); !asIs {
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

// streams tells whether what the server streams is the file as it is.
func streams(from serverSource, src *end) (*replicaSource, bool) {
	stream, ok := from.(*replicaSource)
	return stream, ok && src.view == nil && !src.noFunctions
}

// writeBackup passes the whole RDB file: as the server streams it, or as it is
// put together from what commands have read, or from what is meant of either.
func writeBackup(ctx context.Context, from serverSource, src *end, p *passing, progress func(int64)) (*leftOut, error) {
	if stream, ok := streams(from, src); ok {
		return nil, p.stream(ctx, stream, progress)
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
	if src.noFunctions {
		dst.list = func() []rdb.FunctionLibrary { return nil }
	}
	meant := src.view.over(from)
	_, err = flow.Run(ctx, meant, dst, flow.Options{Progress: func(s flow.Stats) { progress(s.Keys) }})
	return skipped(meant), errors.Join(err, file.Close())
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

// fileSum is by what a file is known again: the CRC-64 of all but its last bytes, and
// these as they are. Over everything, its own checksum included, which is of the same
// kind, it would be 0 for every file that is whole, and for as many zeros.
type fileSum struct {
	crc  uint64
	last [8]byte
	held int // of last
}

func (s *fileSum) add(b []byte) {
	if len(b) >= len(s.last) {
		s.crc = rdb.CRC64(rdb.CRC64(s.crc, s.last[:s.held]), b[:len(b)-len(s.last)])
		s.held = copy(s.last[:], b[len(b)-len(s.last):])
		return
	}
	for _, c := range b {
		if s.held == len(s.last) {
			s.crc = rdb.CRC64(s.crc, s.last[:1])
			s.held = copy(s.last[:], s.last[1:])
		}
		s.last[s.held] = c
		s.held++
	}
}

func (s fileSum) String() string { return fmt.Sprintf("%016x, %x", s.crc, s.last[:s.held]) }

// passing is what is written of a file: how long it is, a sum by which it is known
// again, and what it holds. The target is committed after a look at it, not by the sink.
//
// The bytes are decoded on their way, once, and never again: what is then read back
// from where they stand has to be the same bytes, which takes a tenth of the time.
type passing struct {
	target sink.Target
	n      int64
	sum    fileSum
	// print decodes what passes, or content says what was found by whoever decodes it anyway.
	print   *fingerprinter
	content *checked
}

// Write passes bytes on.
func (p *passing) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	p.sum.add(b)
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

// stream passes on what the server streams, and takes the fingerprint of it.
func (p *passing) stream(ctx context.Context, from *replicaSource, progress func(int64)) error {
	from.tee = p
	print, err := verify.Compute(ctx, from, verify.Options{Progress: func(at verify.Progress) { progress(at.Keys) }})
	if err != nil {
		return err
	}
	p.content = &checked{print: print, info: from.Files()[0]}
	return nil
}

// checked is what was found in a file.
type checked struct {
	print *verify.Fingerprint
	info  source.FileInfo
}

// found is what everything that was written holds.
func (p *passing) found() (*checked, error) {
	if p.print == nil {
		return p.content, nil
	}
	return p.print.finish()
}

// check reads back what was written and makes it visible: a file before it gets
// its name, an object, which cannot be read sooner, after.
func (p *passing) check(ctx context.Context, file rdbFile, progress func(int64)) (*checked, error) {
	c, err := p.found()
	if err != nil {
		return nil, err
	}
	keys := c.print.Totals().Keys
	share := func(bytes int64) { progress(int64(float64(keys) * float64(bytes) / float64(max(p.n, 1)))) }
	staged, ok := p.target.(sink.Staged)
	switch {
	case ok:
		err = p.settle(ctx, staged, share)
	case file.std:
		err = p.target.Commit(ctx)
	default:
		err = p.settleObject(ctx, file, share)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// settle reads a file back while it is made durable, which is waiting for the disk
// for the most part, and gives it its name.
func (p *passing) settle(ctx context.Context, staged sink.Staged, progress func(int64)) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(staged.Flush)
	g.Go(func() error {
		return p.readBack(inner, func(ctx context.Context) (io.ReadCloser, error) {
			f, err := staged.Reread()
			if err != nil {
				return nil, err
			}
			return source.CloseOnDone(ctx, f), nil
		}, progress)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return staged.Commit(ctx)
}

// settleObject stores an object and reads it back.
func (p *passing) settleObject(ctx context.Context, file rdbFile, progress func(int64)) error {
	if err := p.target.Commit(ctx); err != nil {
		return err
	}
	in, err := file.input(ctx)
	if err != nil {
		return err
	}
	if err := p.readBack(ctx, in.Open, progress); err != nil {
		return fmt.Errorf("do not use %s: %w", file, err)
	}
	return nil
}

// readBackSize is small enough to be summed in the processor's cache.
const readBackSize = 256 << 10

// readBack reads a file to its end and compares its bytes with those written.
func (p *passing) readBack(ctx context.Context, open func(context.Context) (io.ReadCloser, error), progress func(bytes int64)) (err error) {
	f, err := open(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	again := &passing{target: nowhere{}}
	buf := make([]byte, readBackSize)
	for err == nil {
		var n int
		n, err = f.Read(buf)
		if _, werr := again.Write(buf[:n]); werr != nil {
			return werr
		}
		progress(again.n)
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read back what was written: %w", err)
	}
	if again.n != p.n || again.sum != p.sum {
		return fmt.Errorf("what was read back, %d bytes with sum %v, is not what was written, %d bytes with sum %v", again.n, again.sum, p.n, p.sum)
	}
	return nil
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
