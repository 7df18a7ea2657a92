package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
)

// configOf is the running node's configuration.
func (b *bench) configOf(spec cache.NodeSpec) map[string]string {
	b.t.Helper()
	c := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
	r, err := c.Do(b.context(), "CONFIG", "GET", "*")
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]string{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		out[string(r.Elems[i].Bytes)] = string(r.Elems[i+1].Bytes)
	}
	return out
}

// Every build takes the default parameters of every family that it can be asked to serve.
func TestDefaultParameters(t *testing.T) {
	// What no open engine has, by modern name.
	absent := map[string]bool{
		"close-on-replica-write": true, "list-max-ziplist-entries": true, "list-max-ziplist-value": true,
		"search-default-timeout-ms": true, "search-enable-partial-results": true, "search-fanout-target-mode": true,
	}
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		served := 0
		for _, f := range cache.Families() {
			if f.Engine != build.Engine || cache.CompareVersions(f.First, build.Version) > 0 {
				continue
			}
			served++
			t.Run(f.Name, func(t *testing.T) {
				spec := b.spec(build, "orders-001")
				spec.MaxMemory = 100 << 20
				spec.Parameters = cache.EffectiveParameters("default."+f.Name, "cache.t3.small", build.Version)
				if len(spec.Parameters) < 20 {
					t.Fatalf("%s has only %d parameters", f.Name, len(spec.Parameters))
				}
				p := b.up(spec)
				missing, err := b.Unapplied(b.context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range missing {
					if name != "maxclients" && !absent[strings.ReplaceAll(name, "slave", "replica")] {
						t.Errorf("%s is not applied", name)
					}
				}
				before := b.configOf(spec)
				if before["maxmemory"] != "104857600" || before["maxmemory-policy"] != spec.Parameters["maxmemory-policy"] {
					t.Errorf("maxmemory %s, policy %s", before["maxmemory"], before["maxmemory-policy"])
				}
				for name, value := range spec.Parameters {
					if has, ok := before[name]; ok && has != value && name != "maxmemory" && name != "cluster-preferred-endpoint-type" && name != "maxclients" && name != "cluster-databases" {
						t.Errorf("%s is %q and not %q", name, has, value)
					}
				}
				if err := b.Reconfigure(b.context(), spec); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, b.configOf(spec)); diff != "" {
					t.Errorf("Reconfigure without a change changed (-before +after):\n%s", diff)
				}
				again, err := b.Unapplied(b.context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(missing, again); diff != "" {
					t.Errorf("Reconfigure changed what is not applied (-before +after):\n%s", diff)
				}
				if lowered := slices.Contains(missing, "maxclients"); lowered == (before["maxclients"] == spec.Parameters["maxclients"]) {
					t.Errorf("maxclients is %s, not applied: %v", before["maxclients"], missing)
				}
				b.down(spec, &p)
			})
		}
		if served == 0 {
			t.Fatal("serves no family")
		}
	})
}

// Parameters change while the node runs; what it refuses is told and stops nothing.
func TestReconfigureParameters(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		b.up(spec)
		spec.MaxMemory = 64 << 20
		spec.Parameters = map[string]string{
			"maxmemory-policy": "allkeys-lfu", "timeout": "77", "notify-keyspace-events": "KEA", "slowlog-max-len": "7",
			"hash-max-ziplist-entries": "99", "appendonly": "yes", "min-slaves-to-write": "0", "tcp-keepalive": "55",
			"client-output-buffer-limit-pubsub-hard-limit": "1048576", "client-output-buffer-limit-pubsub-soft-limit": "524288",
			"client-output-buffer-limit-pubsub-soft-seconds": "9", "client-output-buffer-limit-replica-hard-limit": "1",
			// Refused: by the engine, by the table, by its compilation.
			"hll-sparse-max-bytes": "many", "rename-commands": "keys all", "activedefrag": "yes", "no-such-thing": "1",
			// Nobody gets a second directive in through a value.
			"slowlog-log-slower-than": "10\nrequirepass x",
		}
		for range 2 {
			if err := b.Reconfigure(b.context(), spec); err != nil {
				t.Fatal(err)
			}
		}
		has := b.configOf(spec)
		hash := "hash-max-listpack-entries"
		if strings.HasPrefix(build.Version, "6.") {
			hash = "hash-max-ziplist-entries"
		}
		for name, want := range map[string]string{
			"maxmemory": "67108864", "maxmemory-policy": "allkeys-lfu", "timeout": "77",
			"slowlog-max-len": "7", hash: "99", "appendonly": "yes", "tcp-keepalive": "55", "requirepass": "",
		} {
			if has[name] != want {
				t.Errorf("%s is %q and not %q", name, has[name], want)
			}
		}
		limits := has["client-output-buffer-limit"]
		for _, want := range []string{"pubsub 1048576 524288 9", "268435456 268435456 60"} {
			if !strings.Contains(limits, want) {
				t.Errorf("output limits are %s, without %s", limits, want)
			}
		}
		got, err := b.Unapplied(b.context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"activedefrag", "hll-sparse-max-bytes", "no-such-thing", "rename-commands", "slowlog-log-slower-than"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("unapplied (-want +got):\n%s", diff)
		}
	})
}

// A value cannot smuggle a directive into the file, and a file that the engine
// does not take is an error for good, in its words.
func TestBadParameter(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Parameters["slowlog-max-len"] = "10\nrequirepass x"
		if _, err := b.Start(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		_, err := b.AwaitReady(b.context(), spec)
		t.Logf("%v", err)
		if !isPermanent(err) || !strings.Contains(err.Error(), "slowlog-max-len") {
			t.Fatalf("got %v", err)
		}
		spec.Parameters = map[string]string{"activedefrag": "yes", "notify-keyspace-events": ""}
		b.up(spec) // at the start too it is only tried
		if got, err := b.Unapplied(b.context(), spec); err != nil || len(got) != 1 {
			t.Fatalf("unapplied: %v, %v", got, err)
		}
	})
}
