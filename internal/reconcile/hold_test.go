package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/cache"
)

// laggard stands for engines of which the primary holds writes for a time and the
// replica gets nearer slowly.
type laggard struct {
	Engines
	t         *testing.T
	held      time.Time
	perSecond int64
	told      bool
}

const ahead = 1000

func (l *laggard) HoldWrites(_ context.Context, _ cache.NodeSpec, d time.Duration) error {
	l.held = time.Now().Add(d)
	return nil
}

func (l *laggard) FreeWrites(context.Context, cache.NodeSpec) error { return nil }

func (l *laggard) Probe(_ context.Context, spec cache.NodeSpec) (cache.Health, error) {
	if spec.Key == "r/g-001" {
		return cache.Health{Role: cache.RolePrimary, Offset: ahead}, nil
	}
	since := holdFor - time.Until(l.held)
	return cache.Health{Role: cache.RoleReplica, LinkUp: true, Offset: int64(since.Seconds() * float64(l.perSecond))}, nil
}

func (l *laggard) Reconfigure(context.Context, cache.NodeSpec) error {
	l.ends("was made a replica")
	l.told = true
	return nil
}

func (l *laggard) Stop(context.Context, cache.NodeSpec, *cache.Process) error {
	l.ends("was stopped")
	l.told = true
	return nil
}

func (l *laggard) ends(what string) {
	if !time.Now().Before(l.held) {
		l.t.Errorf("the primary %s when it had been taking writes again", what)
	}
}

// What a primary acknowledges after its writes were held is not what the replica was
// waited for.
func TestAPrimaryGivesTheLeadAwayWhileItsWritesAreHeldOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		perSecond int64
		told      bool
	}{{ahead, true}, {ahead / 10, true}, {ahead / 60, false}} {
		synctest.Test(t, func(t *testing.T) {
			v := bereft(time.Now(), nil)
			lead := &v.Members[0]
			lead.Node.Process, lead.Node.Ready, lead.Reboot = &cache.Process{PID: 9}, true, &cache.Reboot{}
			for name, do := range map[string]func(r *Runner) error{
				"handing over": func(r *Runner) error {
					return r.yield(t.Context(), v, lead, &v.Members[1], want{Role: cache.RoleReplica})
				},
				"a reboot": func(r *Runner) error { _, err := r.reboot(t.Context(), v, lead); return err },
			} {
				l := &laggard{t: t, perSecond: c.perSecond}
				err := do(New(Config{Engines: l, Now: time.Now, Log: slog.New(slog.DiscardHandler)}))
				if l.told != c.told || c.told != (err == nil) {
					t.Errorf("%s at %d bytes a second: done %v, %v", name, c.perSecond, l.told, err)
				}
			}
		})
	}
}
