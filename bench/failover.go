package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// circumstance is under what a primary is lost.
type circumstance struct {
	// rate is how many writes a second there are.
	rate int
	// busy machines have a process that never rests on each processor.
	busy bool
	// hung primaries are stopped by SIGSTOP and not killed.
	hung bool
}

// group says which groups are measured, and where. The first engine has the
// whole distribution; of others it is enough to see that they are no worse.
type group struct {
	line, engine, version string
	// shards in cluster mode; 0 is without it.
	shards int
	// share of --kills for each circumstance.
	share int
	under []circumstance
}

// The rates of writes.
const (
	rest  = 0
	some  = 10_000
	heavy = 50_000
)

var failoverGroups = []group{
	{"valkey-8.1", "valkey", "8.1", 0, 1, []circumstance{
		{rate: rest},
		{rate: some},
		{rate: heavy},
		{rate: rest, busy: true},
		{rate: some, busy: true},
		{rate: heavy, busy: true},
	}},
	{"valkey-8.1", "valkey", "8.1", 0, 5, []circumstance{{rate: some, hung: true}, {rate: some, busy: true, hung: true}}},
	{"valkey-8.1", "valkey", "8.1", 3, 5, []circumstance{
		{rate: rest}, {rate: some}, {rate: heavy}, {rate: some, busy: true}, {rate: some, hung: true},
	}},
	{"valkey-9.1", "valkey", "9.1", 0, 5, []circumstance{{rate: some}}},
	{"redis-7.0", "redis", "7.0", 0, 5, []circumstance{{rate: some}}},
	{"redis-6.0", "redis", "6.0", 0, 5, []circumstance{{rate: some}, {rate: some, hung: true}}},
}

// The peers are measured in fewer rounds: each takes seconds, and they hardly differ.
const (
	sentinelShare = 20
	clusterShare  = 50
)

// benchFailover is how long nobody can write after a primary was lost, and what
// of the acknowledged writes is lost with it; ours, and the engines' own ways.
func benchFailover(ctx context.Context, l *lab) (err error) {
	b, ok := l.engine(engineLine)
	if !ok {
		return nil
	}
	s, err := l.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, g := range failoverGroups {
		if _, ok := l.engine(g.line); !ok {
			continue
		}
		if err := l.lose(ctx, s.keeper(g), g.under, l.opt.kills/g.share); err != nil {
			return err
		}
	}
	all := failoverGroups[0].under
	sentinel := append([]circumstance{}, all[:3]...)
	sentinel = append(sentinel, circumstance{rate: some, busy: true}, circumstance{rate: some, hung: true})
	if err := l.lose(ctx, l.sentinelKeeper(b), sentinel, l.opt.kills/sentinelShare); err != nil {
		return err
	}
	return l.lose(ctx, l.clusterKeeper(b), all[1:2], l.opt.kills/clusterShare)
}

// leastKills: a distribution of fewer says nothing.
const leastKills = 3

// lose loses the primary so often in each circumstance, and reports it.
func (l *lab) lose(ctx context.Context, k *keeper, under []circumstance, kills int) (err error) {
	defer func() { err = errors.Join(err, k.stop()) }()
	kills = max(kills, leastKills)
	for _, c := range under {
		row := failoverRow{Who: k.name, Cluster: k.cluster, Ours: k.ours, Rate: c.rate, Busy: c.busy, Hung: c.hung}
		calm, err := makeBusy(ctx, c.busy)
		if err != nil {
			return err
		}
		err = l.loseAgain(ctx, k, c, kills, &row)
		calm()
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		l.report.failover(row)
	}
	return nil
}

// killsEach is how often the primary of one group is lost before another group
// takes its place: nodes that end again and again are started after longer and
// longer rests, which is not what is measured.
const killsEach = 4

func (l *lab) loseAgain(ctx context.Context, k *keeper, c circumstance, kills int, row *failoverRow) error {
	for n := range kills {
		if n%killsEach == 0 {
			if err := k.renew(ctx); err != nil {
				return fmt.Errorf("cannot set it up: %w", err)
			}
		}
		if err := k.whole(ctx); err != nil {
			if n == 0 || ctx.Err() != nil {
				return fmt.Errorf("it is not whole before loss %d: %w", n+1, err)
			}
			l.report.note("%s, %s: still not whole %s after loss %d, and lost no more: %v", k.name, row.event(), patience, n, err)
			return nil
		}
		r, err := loseOnce(ctx, k, c, n)
		if err != nil {
			return fmt.Errorf("loss %d: %w", n+1, err)
		}
		if row.add(r); r.silent {
			return nil // nor will it the next time
		}
	}
	return nil
}

// loss is what came of one.
type loss struct {
	took time.Duration
	// silent: no write was accepted within enough.
	silent bool
	// rate is how many writes a second there really were before.
	rate float64
	// tally is what became of the acknowledged writes.
	tally
}

const (
	// enough is how long a write is waited for.
	enough = time.Minute
	// runUp is how long the writes have gone on when the primary is lost.
	runUp = 300 * time.Millisecond
)

func loseOnce(ctx context.Context, k *keeper, c circumstance, round int) (r loss, err error) {
	v, err := k.victim(ctx)
	if err != nil {
		return r, err
	}
	w := startWriters(ctx, k, c.rate, round)
	if err := pause(ctx, runUp); err != nil {
		return r, errors.Join(err, w.end())
	}
	r.rate = w.pace()
	signal := syscall.SIGKILL
	if c.hung {
		signal = syscall.SIGSTOP
	}
	began := time.Now()
	if err := syscall.Kill(v.pid, signal); err != nil {
		return r, errors.Join(fmt.Errorf("cannot kill the primary: %w", err), w.end())
	}
	at, err := firstWrite(ctx, k, v.run)
	r.silent = errors.Is(err, errSilent)
	if r.took = at.Sub(began); r.silent {
		err = nil
	}
	err = errors.Join(err, w.end())
	if c.hung && (r.silent || k.heal != nil) {
		// Nobody else puts an end to it.
		if kerr := syscall.Kill(v.pid, syscall.SIGKILL); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
			err = errors.Join(err, kerr)
		}
	}
	if err != nil || r.silent {
		return r, err
	}
	if r.tally, err = w.check(ctx); err != nil || k.heal == nil {
		return r, err
	}
	return r, k.heal(ctx, v.pid)
}

// makeBusy keeps all processors busy with processes of their own, until calm is called.
func makeBusy(ctx context.Context, busy bool) (calm func(), err error) {
	var started []*exec.Cmd
	calm = func() {
		for _, c := range started {
			_ = c.Process.Kill() // it may be gone with its context
			_ = c.Wait()
		}
	}
	if !busy {
		return calm, nil
	}
	// The kernel watches the thread that starts them, so it must not end before calm.
	runtime.LockOSThread()
	for range runtime.NumCPU() {
		c := exec.CommandContext(ctx, "/bin/sh", "-c", "while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{}
		dieWithParent(c.SysProcAttr)
		if err := c.Start(); err != nil {
			calm()
			runtime.UnlockOSThread()
			return nil, fmt.Errorf("cannot make the machine busy: %w", err)
		}
		started = append(started, c)
	}
	stop := calm
	return func() { stop(); runtime.UnlockOSThread() }, nil
}

var errSilent = errors.New("no write was accepted in time")
