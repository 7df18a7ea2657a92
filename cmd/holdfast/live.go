package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// liveFlags are those of a migration that follows its source.
type liveFlags struct {
	on           bool
	into         word
	cutover      word
	compare      word
	maxLag       time.Duration
	maxPause     time.Duration
	switchWithin time.Duration
	onSwitch     string
	stateDir     string
	restart      bool
	replaceAll   bool
	noFence      bool
	hold         word
	show         replicaTLS
	replicaCert  *tls.Certificate // of show
}

// How a target is filled.
const (
	intoRestore = "restore" // with RESTORE, as any client may
	intoReplica = "replica" // as our replica: nobody else's data survive there
)

// How writes at the source are held.
const (
	holdAuto = "auto"
	holdNone = "none"
)

// How a cut-over is decided on.
const (
	cutAsk   = "ask"
	cutAuto  = "auto"
	cutNever = "never"
)

const liveHelp = `With --live, migrate goes on: it follows the source while clients use it, until the
cut-over. Then it holds writes at the source, drains what is on its way, compares
both ends, and tells you to switch your clients, or has a command of yours do it
(--on-switch). If anything fails or takes longer than it may, writes go on at the
source as before. Once clients are switched the source refuses writes for good
(min-replicas-to-write), so that none is lost there; --no-fence leaves it alone.

--cutover says when:
  ask      when you press Enter (the default on a terminal)
  auto     as soon as the target is behind by less than --max-lag
  never    not at all: the target follows until migrate is interrupted

Where writes cannot be held, stop the writers and say --hold none: what is still
written while both ends are compared takes the cut-over back.

Before the cut-over everything is compared while writers are at work. With writes held
only what was not seen to agree then, and what changed since, is compared again
(--compare changed), or everything (all), or nothing at all (none).

Interrupted or killed, the same command goes on where it was: what it needs for that
is in --state-dir, and nothing but the data is at the target. Nobody else may write to
the target until the cut-over.
`

func (l *liveFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&l.on, "live", false, "follow the source until the cut-over")
	l.into = word{name: intoRestore, among: []string{intoRestore, intoReplica}}
	l.into.addFlag(cmd, "into", "with --live, how the target is filled: restore, or replica (it becomes our replica)")
	l.cutover = word{among: []string{cutAsk, cutAuto, cutNever}}
	l.compare = word{name: string(migrate.ScopeChanged), among: []string{string(migrate.ScopeChanged), string(migrate.ScopeAll), string(migrate.ScopeNone)}}
	l.cutover.addFlag(cmd, "cutover", "with --live, when to cut over: ask, auto or never (default: ask on a terminal)")
	l.compare.addFlag(cmd, "compare", "with --live, what to compare with writes held: changed, all or none")
	l.hold = word{name: holdAuto, among: []string{holdAuto, holdNone}}
	l.hold.addFlag(cmd, "hold", "with --live, how writes at the source are held: auto, or none where you stop the writers yourself")
	l.show.addFlags(cmd)
	f.DurationVar(&l.maxLag, "max-lag", migrate.DefaultMaxLag, "with --live, how far the target may be behind for the cut-over to begin")
	f.DurationVar(&l.maxPause, "max-pause", migrate.DefaultMaxPause, "with --live, how long writes may be held to drain and compare")
	f.DurationVar(&l.switchWithin, "switch-within", time.Minute, "with --live, how long writes may be held while clients are switched")
	f.StringVar(&l.onSwitch, "on-switch", "", "with --live, `COMMAND` of the shell that switches the clients; if it fails, they stay")
	f.StringVar(&l.stateDir, "state-dir", "", "with --live, `DIRECTORY` for what is needed to go on after a kill")
	f.BoolVar(&l.restart, "restart", false, "with --live, forget what an earlier run left and begin anew")
	f.BoolVar(&l.replaceAll, "replace-all", false, "with --live, make a target that holds keys equal to the source: others are deleted")
	f.BoolVar(&l.noFence, "no-fence", false, "with --live, let the source take writes again after the cut-over")
}

// onlyLive are flags that mean nothing without --live.
var onlyLive = []string{
	"into", "hold", "cutover", "compare", "max-lag", "max-pause", "switch-within", "on-switch", "state-dir", "restart", "replace-all", "no-fence",
	"replica-tls-cert", "replica-tls-key",
}

// check refuses flags that do not go together.
func (l *liveFlags) check(cmd *cobra.Command, w *writeFlags, terminal bool) error {
	if !l.on {
		for _, name := range onlyLive {
			if cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s goes with --live", name)}
			}
		}
		return nil
	}
	if l.cutover.name == "" {
		if !terminal {
			return usageError{errors.New("there is no terminal to ask on: say --cutover auto or --cutover never")}
		}
		l.cutover.name = cutAsk
	}
	switch {
	case l.cutover.name == cutAsk && !terminal:
		return usageError{errors.New("--cutover ask needs a terminal on standard input and standard error")}
	case w.replace:
		return usageError{errors.New("--replace does not go with --live: --replace-all makes the target equal to the source and deletes what else it holds")}
	case w.noVerify:
		return usageError{errors.New("--no-verify does not go with --live: say --compare none")}
	case l.maxLag <= 0 || l.maxPause <= 0 || l.switchWithin <= 0:
		return usageError{errors.New("--max-lag, --max-pause and --switch-within must be above zero")}
	}
	if l.show.given() && l.into.name != intoReplica {
		return usageError{errors.New("--replica-tls-cert goes with --into replica, by which the target fetches its data from us")}
	}
	var err error
	l.replicaCert, err = l.show.load()
	return err
}

// from is how the source is to be read: as what can be had, if nobody said.
func (l *liveFlags) from(cmd *cobra.Command, r *road) string {
	if cmd.Flags().Changed("from") {
		return r.name
	}
	return roadAuto
}

// liveMove is one migration that follows its source.
type liveMove struct {
	*movement
	live *liveFlags
	only *selectFlags
	// from is roadAuto, roadReplica or roadCommands.
	from   string
	screen *liveScreen
	point  *migrate.Checkpoint
	// source and target are by what both ends are known again.
	source, target identity
	// began: the target holds what an earlier run of this migration brought.
	began bool
}

// run carries the migration out.
func (m *liveMove) run(ctx context.Context) (rep *liveReport, err error) {
	rep = &liveReport{Source: m.src.name, Target: m.dst.name}
	if err := differentServers(ctx, *m.src.server, *m.dst.server); err != nil {
		return rep, err
	}
	if err := m.bridgeable(ctx); err != nil {
		return rep, err
	}
	if m.point, err = m.openCheckpoint(ctx); err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, m.point.Close()) }()
	if err := m.undecided(ctx); err != nil {
		return rep, err
	}
	if err := m.putBack(ctx); err != nil {
		return rep, err
	}
	if err := m.look(ctx); err != nil {
		rep.Server, rep.Findings = m.rep.Server, m.rep.Findings
		return rep, err
	}
	rep.Server, rep.Findings = m.rep.Server, m.rep.Findings
	carrier, err := m.carrier(ctx)
	if err != nil {
		return rep, err
	}
	stop := m.screen.watch(ctx, carrier.Status)
	result, err := migrate.New(m.options(ctx, carrier)).Run(ctx)
	stop()
	rep.Road, rep.Report = carrier.Road(), result
	if err == nil && result.Switched {
		return rep, m.point.Forget()
	}
	return rep, m.advise(err, result.Switched)
}

// look is the preflight.
func (m *liveMove) look(ctx context.Context) (err error) {
	if m.bridged() && m.began {
		return nil // the target is our replica already, which the bridge looks at itself
	}
	flags := m.flags
	flags.replace = m.began || m.live.replaceAll
	p, err := newPreflight(ctx, *m.dst.server, flags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := m.lookAtSource(ctx, p); err != nil {
		return err
	}
	if m.began {
		// What it holds already is ours, and needs no room a second time.
		p.flags.noMemory = true
	}
	return m.cleared(p)
}

// options of the migration itself.
func (m *liveMove) options(ctx context.Context, c liveCarrier) migrate.Options {
	opt := migrate.Options{
		Carrier: c, Operator: m.operator(), Ends: m.ends(), Checkpoint: m.point,
		Scope: migrate.Scope(m.live.compare.name), MaxLag: m.live.maxLag, MaxPause: m.live.maxPause, NoFence: m.live.noFence,
		Tolerance: expiryTolerance(ctx, m.src, m.dst) + expiryTolerance(ctx, m.src), // of the reading that was written, too
	}
	opt.Written, opt.Evicted = m.written, m.evicted
	opt.Holder = c // either carrier holds the primaries that it reads
	if m.live.hold.name == holdNone {
		opt.Holder, opt.NoFence = migrate.Unheld{Carrier: c}, true
	}
	if m.bridged() {
		return opt // functions come as they are, and the target's place in the stream is its identity
	}
	opt.Functions = m.syncFunctions()
	opt.Target = func(ctx context.Context) (string, error) { return runIDs(ctx, *m.dst.server) }
	return opt
}

// advise says how to go on.
func (m *liveMove) advise(err error, switched bool) error {
	switch {
	case err == nil:
		return nil
	case switched:
		return fmt.Errorf("clients were switched to %s, where all that was compared is; but %w", m.dst.name, err)
	case errors.Is(err, source.ErrStillHeld):
		err = fmt.Errorf("the source may still hold writes back; the same command puts that right and goes on: %w", err)
		if errors.Is(err, migrate.ErrStopped) {
			fmt.Fprintln(m.warn, "holdfast:", err)
		}
		return err
	case errors.Is(err, migrate.ErrStopped):
		fmt.Fprintln(m.warn, "holdfast: interrupted; the source is as it was. The same command goes on from here")
		if m.bridged() {
			fmt.Fprintf(m.warn, "holdfast: %s waits for it as a replica, and takes no writes; REPLICAOF NO ONE ends that\n", m.dst.name)
		}
		return err
	}
	var differ *migrate.DifferError
	if errors.As(err, &differ) {
		// What somebody else wrote there is not ours to take away unasked.
		return fmt.Errorf("%w; the source goes on as it was. Nobody else may write to the target; --restart --replace-all makes it equal to the source again", err)
	}
	return fmt.Errorf("%w; the source goes on as it was, and the same command goes on from here", err)
}

// openCheckpoint finds what an earlier run left.
func (m *liveMove) openCheckpoint(ctx context.Context) (_ *migrate.Checkpoint, err error) {
	if m.source, err = identityOf(ctx, m.src); err != nil {
		return nil, err
	}
	if m.target, err = identityOf(ctx, m.dst); err != nil {
		return nil, err
	}
	dir, err := m.place()
	if err != nil {
		return nil, err
	}
	c, err := migrate.OpenCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	if err := m.adopt(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// adopt goes on from a checkpoint, or begins one.
func (m *liveMove) adopt(c *migrate.Checkpoint) error {
	settings := m.settings()
	r := &c.Record
	switch {
	case !c.Found:
	case m.live.restart || r.State == migrate.StateSwitched:
		undo := r.Undo
		if err := c.Forget(); err != nil {
			return err
		}
		r.Undo = undo
	case !m.same(r):
		return fmt.Errorf("%s is the state of a migration from %s to %s; give another --state-dir", c.Dir(), r.Source, r.Target)
	case r.Settings != settings:
		return fmt.Errorf("this migration was begun with other flags (%s, and now %s); give the same, or --restart with --replace-all", r.Settings, settings)
	default:
		m.began = true
		m.note(r)
		fmt.Fprintf(m.warn, "holdfast: going on with the migration begun %s (%s)\n", r.Began.Local().Format(time.DateTime), c.Dir())
		return nil
	}
	m.note(r)
	r.Settings, r.Began = settings, time.Now().UTC()
	return nil
}

// stateHome is where programs keep what must outlive them.
func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "holdfast"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a place for the migration's state, give --state-dir: %w", err)
	}
	return filepath.Join(home, ".local", "state", "holdfast"), nil
}

// runIDs tells the present life of a server, or of all primaries of a cluster, from any other.
func runIDs(ctx context.Context, opt resp.Options) (string, error) {
	shards, err := shardsOf(ctx, opt)
	if err != nil {
		return "", err
	}
	if shards == nil {
		return runID(ctx, opt)
	}
	ids := make([]string, len(shards))
	for i, one := range shards {
		if ids[i], err = runID(ctx, one); err != nil || ids[i] == "" {
			return "", err
		}
	}
	slices.Sort(ids) // the shards are in the order of their slots, which may move
	return strings.Join(ids, ","), nil
}

func runID(ctx context.Context, opt resp.Options) (string, error) {
	c, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Do(ctx, "INFO", "server")
	if resp.IsServerError(err) {
		return "", nil // the right to ask is missing
	}
	if err != nil {
		return "", err
	}
	for name, value := range resp.InfoFields(r.Bytes) {
		if name == "run_id" {
			return value, nil
		}
	}
	return "", nil
}
