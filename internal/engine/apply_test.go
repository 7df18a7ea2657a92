package engine_test

import (
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
)

// A running node takes new parameters and keeps its role; it says which it does not
// have, and with a log its data outlive it at once.
func TestApply(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		c := b.client(spec.Address.Host, spec.Address.Port)
		b.do(c, "SET", "key", "kept")
		spec.Primary = cache.Address{Host: "127.9.9.9", Port: 1} // nothing but the parameters is told
		spec.Parameters = map[string]string{
			"maxmemory-policy": "allkeys-lru", "notify-keyspace-events": "KEA", "timeout": "60", "appendonly": "yes", "appendfsync": "always",
			"activedefrag": "yes", "hll-sparse-max-bytes": "many", "no-such-thing": "1",
		}
		for range 2 {
			got, err := b.Apply(b.context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"activedefrag", "hll-sparse-max-bytes", "no-such-thing"}, got); diff != "" {
				t.Errorf("not applied (-want +got):\n%s", diff)
			}
		}
		spec.Primary = cache.Address{}
		has := b.configOf(spec)
		for name, want := range map[string]string{"maxmemory-policy": "allkeys-lru", "timeout": "60", "appendonly": "yes", "replicaof": ""} {
			if has[name] != want {
				t.Errorf("%s is %q and not %q", name, has[name], want)
			}
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		closed(t, "the engine dies", b.Exited(p))
		delete(spec.Parameters, "hll-sparse-max-bytes") // with this the engine would not start
		p = b.up(spec)
		if got := b.do(b.client(spec.Address.Host, spec.Address.Port), "GET", "key"); got != "kept" {
			t.Errorf("after kill -9 the key is %q", got)
		}
		b.down(spec, &p)
	})
}

// What no build can have is known without asking one.
func TestUnhonoured(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		got := b.Unhonoured(build.Name, map[string]string{"timeout": "30", "rename-commands": "keys blocked get fetch", "no-such-thing": "1", "slave-lazy-flush": "yes"})
		if diff := cmp.Diff([]string{"no-such-thing", "rename-commands"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for value, want := range map[string][]string{"keys blocked FLUSHALL Blocked": nil, "": nil, "auth blocked": {"rename-commands"}, "get fetch": {"rename-commands"}} {
			if diff := cmp.Diff(want, b.Unhonoured(build.Name, map[string]string{"rename-commands": value})); diff != "" {
				t.Errorf("rename-commands %q (-want +got):\n%s", value, diff)
			}
		}
		if got := b.Unhonoured("redis-0.1", map[string]string{"no-such-thing": "1"}); got != nil {
			t.Errorf("of a build that is not there: %v", got)
		}
	})
}
