package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

func newMigrateCmd() *cobra.Command {
	var (
		acc   access
		out   output
		flags writeFlags
		r     road
		live  liveFlags
		only  selectFlags
		mc    = newMemcachedFlags()
	)
	cmd := &cobra.Command{
		Use:   "migrate SRC DST",
		Short: "Move a server's data to another server, once or until clients switch",
		Long: `Migrate copies everything that one server holds to another, of any engine and
version. Without --live it is a copy of one instant: what is written to the source
after that is not carried over.

--from chooses how the source is read:
  commands   with commands of ordinary clients: no fork, no rights of an
             administrator; into an empty server at once, and what changes meanwhile
             again; otherwise kept in a temporary file until the instant is fixed
  replica    as a replica gets them, which makes the server fork; a target that is
             empty and that nobody uses is filled as a replica too (REPLICAOF), and
             is left empty where that is broken off

Before a byte is sent, all that speaks against the movement is listed. What types
the source's values have is not known then: a value that the target cannot hold
ends the copy with the key's name. Afterwards both ends are compared key by key,
as they are then: a source that is still written to differs, with exit code 3. When
migrate is broken off, the target holds a part; the same command with --replace
begins anew and may be repeated.

` + liveHelp + `
` + selectHelp + endsHelp + memcachedHelp,
		Example: `  holdfast migrate redis://10.0.0.1 valkey://10.0.0.2
  holdfast migrate rediss://cache.example.com redis://127.0.0.1 --max-keys-per-second 20000 -o json
  holdfast migrate redis://10.0.0.1 valkey://10.0.0.2 --live
  holdfast migrate memcached://10.0.0.1 memcached://10.0.1.1,10.0.1.2 --distribution ketama
  holdfast migrate redis://old valkey://new --live --cutover auto --on-switch './point-dns-at-new'`,
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if anyMemcached(args) {
				return mc.migrate(cmd, &acc, &flags, args, &out)
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
			if err := errors.Join(live.check(cmd, &flags, onTerminal()), live.checkBridge(cmd, &only, src), r.check(src), checkTarget(dst)); err != nil {
				return err
			}
			if err := only.apply(src, dst); err != nil {
				return err
			}
			m := &movement{src: src, dst: dst, flags: flags, warn: cmd.ErrOrStderr()}
			if live.on {
				return runLive(cmd, &out, &liveMove{movement: m, live: &live, only: &only, from: live.from(cmd, &r)})
			}
			return runMove(cmd, &out, func(ctx context.Context, steps *phases) (*moveReport, error) {
				m.steps = steps
				return m.migrate(ctx, &r)
			})
		},
	}
	acc.addReadFlags(cmd)
	r.addFlags(cmd, "how to read the source: commands or replica (with --live also as what can be had)", roadCommands, roadReplica)
	flags.addFlags(cmd)
	mc.addReadFlags(cmd)
	mc.addWriteFlags(cmd)
	only.addFlags(cmd)
	live.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// migrate fills a server from another one.
func (m *movement) migrate(ctx context.Context, r *road) (_ *moveReport, err error) {
	m.rep = moveReport{Source: m.src.name, Target: m.dst.name}
	if err := differentServers(ctx, *m.src.server, *m.dst.server); err != nil {
		return nil, err
	}
	p, err := newPreflight(ctx, *m.dst.server, m.flags)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := m.lookAtSource(ctx, p); err != nil {
		return nil, err
	}
	if err := m.cleared(p); err != nil {
		return &m.rep, err
	}
	total := m.src.size(ctx)
	m.through = r.name == roadCommands && m.mayPassThrough(p)
	by := *r
	by.through = m.through
	into, err := m.followUs(ctx, r)
	if err != nil {
		return &m.rep, err
	}
	from, err := by.openServer(ctx, m.src, m.steps)
	if err != nil {
		return nil, errors.Join(err, into.close())
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	err = advise(m.fillFrom(ctx, from, into, total), from)
	read := from.report()
	m.rep.Read = &read
	if c, ok := from.(*commandsSource); ok && err == nil {
		m.passedThrough(c.Report())
	}
	if err != nil || m.flags.noVerify {
		return &m.rep, err
	}
	a, done := m.src.verifyEnd()
	return &m.rep, errors.Join(m.compare(ctx, a), done())
}

// mayPassThrough tells whether the target may get keys before the instant is fixed, for
// they may have to be deleted again. It holds none of its own then, which could be replaced
// first and then deleted; the user may delete; and a key is in scope whatever its value.
// The shards of a cluster go by way of files too: a key that moves from one to another would
// be deleted by the one and written by the other, in no order.
func (m *movement) mayPassThrough(p *preflight) bool {
	limited := slices.ContainsFunc(p.findings, func(f finding) bool { return f.Check == "writing" || f.Check == "rights" })
	return p.before == 0 && !p.unseen && !limited && m.src.view == nil && m.mine == nil
}

// passedThrough counts each key once, whatever was sent of it again.
func (m *movement) passedThrough(r source.LiveReport) {
	if !r.Through {
		return
	}
	m.rep.Keys = r.Keys
	if m.rep.Seconds > 0 {
		m.rep.KeysPerSecond = int64(float64(r.Keys) / m.rep.Seconds)
	}
}

// differentServers refuses to copy a server onto itself.
func differentServers(ctx context.Context, a, b resp.Options) error {
	var ids [2]string
	for i, opt := range []resp.Options{a, b} {
		c, err := resp.Dial(ctx, opt.WithDB(0))
		if err != nil {
			return err
		}
		r, err := c.Do(ctx, "INFO", "server")
		if err == nil {
			for name, value := range resp.InfoFields(r.Bytes) {
				if name == "run_id" {
					ids[i] = value
				}
			}
		} else if !resp.IsServerError(err) {
			return errors.Join(err, c.Close())
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	if ids[0] != "" && ids[0] == ids[1] {
		return usageError{fmt.Errorf("%s and %s are the same server", a, b)}
	}
	return differentClusters(ctx, a, b)
}

// lookAtSource adds to the preflight what only the source knows.
func (m *movement) lookAtSource(ctx context.Context, p *preflight) error {
	c, err := resp.Dial(ctx, m.src.server.WithDB(0))
	if err != nil {
		return err
	}
	defer c.Close()
	dbs, err := c.Keyspaces(ctx)
	if resp.IsServerError(err) {
		p.warn("data", "what the source holds cannot be told beforehand: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.databases(ctx, m.src.view.highest(dbs, p)); err != nil {
		return err
	}
	if !m.src.view.narrows() {
		if err := m.sourceMemory(ctx, p); err != nil {
			return err
		}
	}
	if m.flags.withoutFunctions {
		return nil
	}
	libs, err := loadedFunctions(ctx, c)
	if resp.IsServerError(err) {
		if !resp.UnknownCommand(err) {
			p.warn("functions", "whether the source has functions cannot be told: %v", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return p.libraries(ctx, libs)
}

// sourceMemory takes what the source needs for its data as what the target will need.
func (m *movement) sourceMemory(ctx context.Context, p *preflight) error {
	used, err := dataMemory(ctx, *m.src.server)
	if err != nil {
		return err
	}
	p.memory(used, "what the source uses for them")
	return nil
}
