package engine_test

import (
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
)

// Whoever watches with MONITOR sees what everybody says, and is asked for a right to it only
// when that begins: one who loses the right is cut off, and sees nothing of what follows.
func TestWatchersLoseTheirRight(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken), as("app", newToken))
		b.up(spec)
		at := spec.Address
		watcher, worker := b.login(at.Host, at.Port, "app", newToken), b.login(at.Host, at.Port, "app", newToken)
		b.do(watcher, "MONITOR")
		less := as("app", newToken)
		less.Rules = append(less.Rules, "-@dangerous", "resetkeys", "~app:*")
		spec.Access = only(as("default", oldToken), less)
		b.grants(spec)
		b.do(worker, "SET", "app:1", "stays") // who does not watch stays connected
		other := b.login(at.Host, at.Port, "", oldToken)
		b.do(other, "SET", "other:secret", "v")
		b.do(other, "ECHO", "the-end")
		release := watcher.Guard(b.context())
		defer release()
		for {
			r, err := watcher.Receive()
			if err != nil {
				return
			}
			if seen := string(r.Bytes); strings.Contains(seen, "other:secret") {
				t.Fatalf("he sees %s", seen)
			}
		}
	})
}

// Who may still watch goes on.
func TestWatchersKeepTheirRight(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken), as("app", newToken))
		b.up(spec)
		watcher := b.login(spec.Address.Host, spec.Address.Port, "app", newToken)
		b.do(watcher, "MONITOR")
		spec.Access = only(as("default", oldToken), as("app", newToken, "another-token-of-16"))
		b.grants(spec)
		c := b.login(spec.Address.Host, spec.Address.Port, "", oldToken)
		b.do(c, "ECHO", "the-end")
		release := watcher.Guard(b.context())
		defer release()
		for seen := ""; !strings.Contains(seen, "the-end"); {
			r, err := watcher.Receive()
			if err != nil {
				t.Fatal(err)
			}
			seen = string(r.Bytes)
		}
	})
}
