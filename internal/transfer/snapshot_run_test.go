package transfer

import (
	"context"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/testkit"
)

// TestAnotherProcessIsNotBackedUp: a node that came back without its data answers at the same
// address, and what it has is no backup of what was there.
func TestAnotherProcessIsNotBackedUp(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	anew := testkit.StartServer(t, w.server.Build, testkit.Config("repl-diskless-sync yes", "repl-diskless-sync-delay 0"))
	anew.Must("SET", "the first", "of new ones")
	door := testkit.Proxy(t, w.server.Addr())
	door.Slow(64 << 10)
	job := w.job(true)
	job.Node.Address = cache.Address{Host: "127.0.0.1", Port: door.Port()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refused := func(man cache.Manifest, err error) {
		t.Helper()
		// Whichever sees it first: the reader of the keys, or who looks at the process.
		told := err != nil && (strings.Contains(err.Error(), "was started anew") || strings.Contains(err.Error(), "was restarted and has lost its keys"))
		if !told {
			t.Errorf("a snapshot of %d keys was made of a node that had %d: %v", man.Keys, testKeys, err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		refused(w.Snapshot(ctx, job))
	}()
	testkit.Wait(t, time.Minute, func() bool { return w.server.Info("commandstats")["cmdstat_dump"] != "" }, "it is being read")
	door.Retarget(anew.Addr())
	door.Slow(0)
	door.Cut()
	<-ended
	job.RunID = w.server.Info("server")["run_id"]
	refused(w.Snapshot(ctx, job))
	job.Forkless = false
	refused(w.Snapshot(ctx, job))
	door.Retarget(w.server.Addr())
	for _, job.Forkless = range []bool{false, true} {
		if man, err := w.Snapshot(ctx, job); err != nil || man.Keys != testKeys {
			t.Errorf("of the process that was meant: %d keys, %v", man.Keys, err)
		}
	}
}
