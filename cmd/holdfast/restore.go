package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

func (w *writeFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&w.replace, "replace", false, "fill a server that holds keys: those of the same names are replaced, the others stay")
	f.BoolVar(&w.withoutFunctions, "without-functions", false, "leave functions out")
	f.BoolVar(&w.noVerify, "no-verify", false, "do not compare both ends afterwards")
	f.BoolVar(&w.noMemory, "no-memory-check", false, "go ahead where the estimate says that memory will not do")
}

// checkTarget refuses what cannot be filled.
func checkTarget(e *end) error {
	switch {
	case e.server == nil:
		return usageError{fmt.Errorf("%s is no server; %q writes files", e.name, "holdfast backup")}
	case e.db >= 0:
		return usageError{fmt.Errorf("%s names a database, and every key goes to the database it comes from; leave the number out", e.name)}
	}
	return nil
}

func newRestoreCmd() *cobra.Command {
	var (
		acc   access
		out   output
		flags writeFlags
		only  selectFlags
		into  = newInto()
		show  replicaTLS
		mc    = newMemcachedFlags()
	)
	cmd := &cobra.Command{
		Use:   "restore SRC DST",
		Short: "Fill a server from RDB files",
		Long: `Restore writes every key of one or several RDB files to a running server, whatever
engine and version they come from; values that the server reads only in another
encoding are written again in it.

Before a byte is sent, a file or object is read once to its end, and all that speaks
against the movement is listed: a server that is a replica, loading, not to be
written to, not empty, too small, too old for what the file holds, or that has too
few databases. Standard input cannot be read twice: what it holds is seen as it comes.

Afterwards both ends are compared key by key. Exit code 3 means that they differ.
When restore is broken off, the server holds a part; the same command with --replace
begins anew and may be repeated.

` + selectHelp + endsHelp + memcachedHelp,
		Example: `  holdfast restore orders.rdb redis://127.0.0.1:6379
  holdfast restore s3://backups/orders.rdb valkeys://cache.example.com --password-file pw
  holdfast restore 'shards/*.rdb' redis://127.0.0.1 --replace
  holdfast restore sessions.items memcached://10.0.1.1,10.0.1.2 --distribution ketama --add
  ssh old cat /var/lib/redis/dump.rdb | holdfast restore - redis://127.0.0.1`,
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: completeEnds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if anyMemcached(args) {
				return mc.restore(cmd, &acc, &flags, args, &out)
			}
			if err := mc.refuseOthers(); err != nil {
				return err
			}
			src, err := acc.parse(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			dst, err := acc.parse(args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if src.server != nil {
				return usageError{fmt.Errorf("%s is a server; %q copies from server to server", src.name, "holdfast migrate")}
			}
			if err := checkTarget(dst); err != nil {
				return err
			}
			if err := only.apply(src, dst); err != nil {
				return err
			}
			if show.given() && into.name == intoRestore {
				return usageError{errors.New("--replica-tls-cert does not go with --into restore, by which nothing is fetched from us")}
			}
			cert, err := show.load()
			if err != nil {
				return err
			}
			return runMove(cmd, &out, func(ctx context.Context, steps *phases) (*moveReport, error) {
				m := &movement{src: src, dst: dst, flags: flags, steps: steps, warn: cmd.ErrOrStderr(), pace: flow.NewLimiter(acc.rate), into: into.name, replicaCert: cert}
				return m.restore(ctx)
			})
		},
	}
	acc.addFlag(cmd)
	acc.addRateFlags(cmd, "write, and read to verify, at most so many %s per second (default: as many as the server takes)")
	only.addFlags(cmd)
	into.addFlag(cmd, "into", intoUsage)
	show.addFlags(cmd)
	flags.addFlags(cmd)
	mc.addWriteFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// runMove runs a movement into a server and prints its report, which it does as
// JSON even of one that failed.
func runMove(cmd *cobra.Command, out *output, move func(context.Context, *phases) (*moveReport, error)) error {
	bars := newProgressGroup(cmd.ErrOrStderr())
	steps := &phases{group: bars}
	rep, err := move(cmd.Context(), steps)
	steps.done()
	bars.wait()
	if rep != nil && err != nil {
		rep.Error = err.Error()
	}
	switch {
	case rep != nil && out.json():
		err = errors.Join(err, printJSON(cmd.OutOrStdout(), rep))
	case err == nil:
		err = rep.print(cmd.OutOrStdout())
	}
	if err == nil && rep.Verified != nil && !rep.Verified.Equal {
		return differs{}
	}
	return err
}

// movement fills a server from files or from another server.
type movement struct {
	src, dst *end
	flags    writeFlags
	steps    *phases
	warn     io.Writer
	rep      moveReport
	// pace slows the writing down; nil does not.
	pace *flow.Limiter
	// through: keys may go to the target that the source does not have at the instant.
	through bool
	// mine holds the keys that were moved into a server that held others.
	mine *keySet
	// into is how a server is filled from files. counted is what they hold, and checksummed
	// tells that they say so themselves; both only where they were read beforehand.
	into        string
	replicaCert *tls.Certificate
	counted     *contents
	checksummed bool
}

// restore fills the server from files.
func (m *movement) restore(ctx context.Context) (_ *moveReport, err error) {
	m.rep = moveReport{Source: m.src.name, Target: m.dst.name}
	p, err := newPreflight(ctx, *m.dst.server, m.flags)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	total := int64(0)
	if m.src.rereadable() {
		s, err := m.survey(ctx, p)
		if err != nil {
			return nil, err
		}
		total, m.counted = s.keys, s
		if err := p.data(ctx, s); err != nil {
			return nil, err
		}
	} else {
		p.warn("data", "standard input is not looked at beforehand: whether the server can hold it shows as it comes")
	}
	if err := m.cleared(p); err != nil {
		return &m.rep, err
	}
	src, err := m.files(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	var print *fingerprinter
	if !m.src.rereadable() && !m.flags.noVerify {
		print = newFingerprinter(ctx, time.Now().Add(fleetingFor).UnixMilli(), m.src.view)
		defer print.abort()
		if src, err = m.tapped(ctx, print); err != nil {
			return nil, err
		}
	}
	if err := m.fillBy(ctx, m.into, src, total); err != nil {
		return &m.rep, err
	}
	if m.flags.noVerify {
		return &m.rep, nil
	}
	if print != nil {
		return &m.rep, m.compareSums(ctx, print)
	}
	a, done := m.src.verifyEnd()
	return &m.rep, errors.Join(m.compare(ctx, a), done())
}

// rereadable tells whether an end can be read a second time.
func (e *end) rereadable() bool {
	for _, f := range e.files {
		if f.std {
			return false
		}
	}
	return true
}

// survey reads the files once before anything is moved.
func (m *movement) survey(ctx context.Context, p *preflight) (*contents, error) {
	src, err := m.files(ctx)
	if err != nil {
		return nil, err
	}
	s, err := surveyFiles(ctx, src, m.src.view.over(src), p.target(), func(n int64) { m.steps.at("look", n, 0, 0) })
	if err := errors.Join(err, src.Close()); err != nil {
		return nil, fmt.Errorf("nothing was moved: %w", err)
	}
	m.checksummed = !slices.ContainsFunc(src.Files(), func(f source.FileInfo) bool { return !f.Checksummed })
	return s, nil
}

func (m *movement) files(ctx context.Context) (*source.RDB, error) {
	s, err := m.src.openWhole(ctx)
	if err != nil {
		return nil, err
	}
	return s.(*source.RDB), nil
}

// fleetingFor is how long a key must live on to be compared where only
// fingerprints are: a key that expires in between would make them differ.
const fleetingFor = time.Hour

// tapped reads standard input such that its fingerprint is taken in passing.
func (m *movement) tapped(ctx context.Context, print *fingerprinter) (*source.RDB, error) {
	if len(m.src.files) != 1 {
		return nil, usageError{errors.New("standard input cannot be one of several files")}
	}
	in, err := m.src.files[0].input(ctx)
	if err != nil {
		return nil, err
	}
	open := in.Open
	in.Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return &teed{r, print}, nil
	}
	return source.NewRDB(in), nil
}

// cleared tells the warnings, and refuses what the preflight refused.
func (m *movement) cleared(p *preflight) error {
	m.steps.done()
	m.rep.Server, m.rep.Findings = p.srv.String(), append([]finding{}, p.findings...)
	for _, f := range p.warnings() {
		fmt.Fprintf(m.warn, "holdfast: warning: %s: %s\n", f.Check, f.Text)
	}
	if p.before > 0 {
		m.mine = newKeySet()
	}
	return p.verdict()
}

// fill moves what is meant of a source.
func (m *movement) fill(ctx context.Context, src flow.Source, functions func() []rdb.FunctionLibrary, total int64) (err error) {
	opt := *m.dst.server
	server, err := sink.NewServer(ctx, opt, sink.ServerOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	dst := &withFunctions{Sink: server, list: func() []rdb.FunctionLibrary { return nil }}
	if !m.flags.withoutFunctions {
		l, err := newLoader(ctx, opt, m.flags.replace)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		dst.list, dst.load = functions, l.load
		defer func() { m.rep.Functions = l.count }()
	}
	err = m.pour(ctx, src, dst, total)
	m.rep.Reencoded = server.Transcoded().Reencoded
	// What a target that ended meanwhile has lost shows in the comparison; functions are not compared.
	if again := server.Events().Restarts; err == nil && len(again) > 0 && (m.flags.noVerify || dst.done > 0) {
		err = fmt.Errorf("%s, and what it had confirmed before may be gone", again[0])
	}
	var lost *rdb.LossError
	if errors.As(err, &lost) {
		err = fmt.Errorf("%w; %s", err, withoutLoss(string(lost.What)))
	}
	switch {
	case err == nil:
		return nil
	case !dst.begun:
		return fmt.Errorf("nothing was moved: %w", err)
	}
	return m.broken(err, total)
}

// pour moves what is meant of a source, and counts it.
func (m *movement) pour(ctx context.Context, src flow.Source, dst flow.Sink, total int64) error {
	began := time.Now()
	meant := m.src.view.over(src)
	stats, err := flow.Run(ctx, &flow.Paced{Source: meant, Limiter: m.pace}, dst, flow.Options{
		Keep: m.keep, Progress: func(s flow.Stats) {
			m.steps.at("write", s.Keys, total, 0)
			m.steps.bytes(s.Bytes)
		},
	})
	m.rep.LeftOut = skipped(meant)
	m.rep.Keys, m.rep.Bytes = stats.Keys, stats.Bytes
	m.rep.timing = newTiming(time.Since(began), stats.Keys)
	return err
}

// keep notes the keys where others are there too.
func (m *movement) keep(e *flow.Entry) bool {
	if m.mine != nil {
		m.mine.add(e)
	}
	return true
}

// broken says how far it came and how to go on.
func (m *movement) broken(err error, total int64) error {
	of := ""
	if total > 0 {
		of = " of " + thousands(total)
	}
	note := fmt.Sprintf("%s holds a part now: about %s%s keys were sent. The same command with --replace begins anew and completes it",
		m.dst.name, thousands(m.rep.Keys), of)
	if m.rep.Keys == 0 {
		note = fmt.Sprintf("%s may hold a part now, of the first keys. The same command with --replace begins anew", m.dst.name)
	}
	if m.through {
		// Run again, --replace does not delete what it does not know of.
		note = fmt.Sprintf("%s holds a part now, of no one instant: about %s%s keys were sent. Empty it, and the same command begins anew. "+
			"With --replace it completes what is there, and keys that the source has deleted meanwhile stay",
			m.dst.name, thousands(m.rep.Keys), of)
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(m.warn, "holdfast: interrupted;", note) // the exit code says the rest
	}
	return fmt.Errorf("%w; %s", err, note)
}
