package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// pool is what random rules are made of, by the version of Redis that knows it first.
var pool = map[string][]string{
	"6.0": strings.Fields(`on +@all -@all +@all allcommands nocommands +@admin -@admin +@dangerous -@dangerous +@slow -@slow +@read +@write
		-@write +@fast +@keyspace -@keyspace +@connection +get -get +set -set +acl -acl +acl|list +acl|cat +acl|setuser +config -config +config|get +debug +debug|sleep
		+cluster -cluster +cluster|info +cluster|meet +module +module|list +module|load +replicaof +shutdown +migrate +sync +psync +bgsave +client -client
		+client|id ~* ~app:* ~a?p:1 resetkeys allkeys`),
	"6.2": strings.Fields(`&* &c* resetchannels allchannels +failover`),
	"7.0": {
		"%R~app:*", "%W~*", "%RW~x*", "(+@all ~*)", "(+config)", "(+get ~zzz)", "(+@admin -config)", "(~app:* +acl|setuser +cluster|meet)", "( +shutdown )",
		"(+@all", "~*)", "clearselectors", "ClearSelectors", "(+debug|sleep +debug)", "(%R~app:* +get +bgsave)", "+acl|load", "(allcommands allkeys)",
	},
}

func randomRules(r *rand.Rand, build catalog.Build) []string {
	from := pool["6.0"]
	for _, v := range []string{"6.2", "7.0"} {
		if build.Engine == catalog.Valkey || build.Version >= v {
			from = append(slices.Clone(from), pool[v]...)
		}
	}
	rules := []string{"on", "nopass"}
	for range 1 + r.IntN(7) {
		rules = append(rules, from[r.IntN(len(from))])
	}
	return rules
}

// probes are commands, in words as an engine has them: all that there are, with as many
// arguments as each needs, of two kinds.
func (b *bench) probes(admin *resp.Conn) [][]string {
	b.t.Helper()
	var names []string
	cats, err := admin.Do(b.context(), "ACL", "CAT")
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for i := range cats.Elems {
		all = append(all, string(cats.Elems[i].Bytes))
	}
	for _, cat := range all {
		r, err := admin.Do(b.context(), "ACL", "CAT", cat)
		if err != nil {
			b.t.Fatal(err)
		}
		for i := range r.Elems {
			names = append(names, string(r.Elems[i].Bytes))
		}
	}
	slices.Sort(names)
	var out [][]string
	for _, name := range slices.Compact(names) {
		words := strings.Split(name, "|")
		for n := range 8 {
			_, err := admin.Do(b.context(), append([]string{"ACL", "DRYRUN", engine.AdminUser}, append(slices.Clone(words), same("app:1", n)...)...)...)
			if err == nil {
				out = append(out, append(slices.Clone(words), same("app:1", n)...), append(slices.Clone(words), same("zzz", n)...))
				break
			}
		}
	}
	return out
}

func same(word string, n int) []string { return slices.Repeat([]string{word}, n) }

// isForbidden tells whether the command is one that nobody may give.
func isForbidden(cmd []string, build catalog.Build) bool {
	for _, f := range append(slices.Clone(forbidden), hashTellers...) {
		words := strings.Fields(f.command)
		if !exists(build, f.redis, f.valkey) || words[0] == "EVAL" {
			continue
		}
		container := slices.Contains([]string{"ACL", "CLUSTER", "MODULE"}, words[0])
		if strings.EqualFold(cmd[0], words[0]) && (!container || len(cmd) > 1 && strings.EqualFold(cmd[1], words[1])) {
			return true
		}
		// The sub-commands of those that are withheld whole, and what newer engines have of the kind.
		if strings.EqualFold(cmd[0], "cluster") && len(cmd) > 1 && strings.EqualFold(cmd[1], "syncslots") {
			return true
		}
	}
	return false
}

// hashTellers are withheld from users with passwords besides.
var hashTellers = []struct{ command, redis, valkey string }{{"ACL LIST", "", ""}, {"ACL GETUSER x", "", ""}}

// With whatever rules, a user may give no command that is withheld, and else exactly what the
// same rules give on the same engine by themselves.
func TestRulesGiveNoMore(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		if build.Engine == catalog.Redis && build.Version < "7" {
			t.Skip("it has no ACL DRYRUN: TestRulesGiveNoMoreBefore70")
		}
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		var probes [][]string
		b.random(build, r, seed, 40, func(_ cache.NodeSpec, admin *resp.Conn, rules []string) {
			if probes == nil {
				if probes = b.probes(admin); len(probes) < 500 {
					t.Fatalf("only %d commands are tried", len(probes))
				}
			}
			for _, cmd := range probes {
				ours, native := b.dryRun(admin, "ours", cmd), b.dryRun(admin, "native", cmd)
				want := native
				if isForbidden(cmd, build) {
					want = false
				}
				if ours != want {
					t.Fatalf("seed %d: %q may %q: %v, and natively %v", seed, rules, cmd, ours, native)
				}
			}
		})
	})
}

// random has two users on a node, of the same random rules: "ours" by Grant, and "native".
func (b *bench) random(build catalog.Build, r *rand.Rand, seed uint64, times int, f func(spec cache.NodeSpec, admin *resp.Conn, rules []string)) {
	b.t.Helper()
	spec := b.spec(build, "orders-001")
	b.up(spec)
	admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
	b.do(admin, "SET", "app:1", "1")
	b.do(admin, "SET", "zzz", "1")
	tried := 0
	for range 20 * times {
		if tried == times {
			return
		}
		rules := randomRules(r, build)
		_, refused := admin.Do(b.context(), append([]string{"ACL", "SETUSER", "native", "reset"}, rules...)...)
		spec.Access = only(cache.NodeUser{Name: "ours", Rules: rules})
		err := b.Grant(b.context(), spec, nil)
		if (err == nil) != (refused == nil) {
			b.t.Fatalf("seed %d: %q: %v, and natively %v", seed, rules, err, refused)
		}
		if refused != nil {
			continue
		}
		tried++
		b.do(admin, append([]string{"ACL", "SETUSER", "native", "reset"}, rules...)...) // Grant has deleted it
		f(spec, admin, rules)
	}
	b.t.Errorf("seed %d: only %d random sets of rules were valid", seed, tried)
}

func (b *bench) dryRun(admin *resp.Conn, user string, cmd []string) bool {
	b.t.Helper()
	r, err := admin.Do(b.t.Context(), append([]string{"ACL", "DRYRUN", user}, cmd...)...) // a time limit each would cost more
	if err != nil {
		b.t.Fatalf("%s: %v", cmd, err)
	}
	return string(r.Bytes) == "OK"
}

// Where nothing can be tried without doing it, a few are done.
func TestRulesGiveNoMoreBefore70(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		if build.Engine != catalog.Redis || build.Version >= "7" {
			t.Skip("it has ACL DRYRUN: TestRulesGiveNoMore")
		}
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		b.random(build, r, seed, 300, func(spec cache.NodeSpec, admin *resp.Conn, rules []string) {
			ours := b.login(spec.Address.Host, spec.Address.Port, "ours", "x")
			for _, f := range append(slices.Clone(forbidden), hashTellers...) {
				if !exists(build, f.redis, f.valkey) {
					continue
				}
				if _, err := ours.Do(b.context(), strings.Fields(f.command)...); !noPermission(err) {
					t.Fatalf("seed %d: %q may %s: %v", seed, rules, f.command, err)
				}
			}
			native := b.login(spec.Address.Host, spec.Address.Port, "native", "x")
			for _, line := range strings.Split("GET app:1,GET zzz,SET app:1 1,SET zzz 1,DEL none,ACL CAT,ACL WHOAMI,ACL USERS,MODULE LIST,CLUSTER INFO,"+
				"CLIENT ID,INFO,KEYS x,PING,DBSIZE,SLOWLOG LEN,MEMORY DOCTOR,EXISTS app:1,EVAL return(1) 0", ",") {
				cmd := strings.Fields(line)
				_, e1 := ours.Do(b.context(), cmd...)
				_, e2 := native.Do(b.context(), cmd...)
				if got, want := fmt.Sprint(resp.IsServerError(e1, "NOPERM")), fmt.Sprint(resp.IsServerError(e2, "NOPERM")); got != want {
					t.Fatalf("seed %d: %q and %s: %v, and natively %v", seed, rules, line, e1, e2)
				}
			}
			_ = ours.Close()
			_ = native.Close()
		})
	})
}

// A node that is started with users has the same ones as one that is told them.
func TestStartedAsTold(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 2))
		scratch := b.spec(build, "orders-000")
		b.up(scratch)
		admin := b.login(scratch.Address.Host, scratch.Address.Port, engine.AdminUser, secret)
		users := []cache.NodeUser{as("default", oldToken), {Name: `a"b\c'd`, Rules: []string{"on", `~"quoted\'*`, "~ü*", "+get"}}}
		for n := 0; len(users) < 30; n++ {
			rules := randomRules(r, build)
			if _, err := admin.Do(b.context(), append([]string{"ACL", "SETUSER", "native", "reset"}, rules...)...); err == nil {
				users = append(users, cache.NodeUser{Name: fmt.Sprint("user-", n), Rules: rules})
			}
		}
		spec := b.spec(build, "orders-001")
		spec.Access = only(users...)
		b.up(spec)
		admin = b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		before := b.list(admin)
		b.grants(spec)
		if diff := cmp.Diff(before, b.list(admin)); diff != "" || len(before) != 31 {
			t.Errorf("seed %d: %d users; started (-) and told (+):\n%s", seed, len(before), diff)
		}
	})
}

// list is what ACL LIST says.
func (b *bench) list(c *resp.Conn) (out []string) {
	b.t.Helper()
	r, err := c.Do(b.context(), "ACL", "LIST")
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range r.Elems {
		out = append(out, string(r.Elems[i].Bytes))
	}
	return out
}
