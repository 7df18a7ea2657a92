package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/access"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// pool is what random access strings are made of.
var pool = []string{
	"on", "off", "allkeys", "~*", "~a:*", "~b*", "~", "resetkeys", "%R~a:*", "%W~b*", "%rw~*", "%RW~c",
	"&*", "allchannels", "&a:*", "&b*", "resetchannels", "allcommands", "nocommands", "+@all", "-@all",
	"+@read", "-@read", "+@write", "-@write", "+@keyspace", "-@dangerous", "+@connection", "-@connection", "+@admin", "+@string", "-@fast",
	"+get", "-get", "+set", "-set", "+GetDel", "+mget", "-mget", "+select", "+select|0", "-select", "-select|0", "+client", "-client",
	"+client|id", "-client|id", "+client|no-touch", "+client|kill", "-client|kill", "+cluster|info", "+config", "+config|get", "-config", "+acl|setuser", "+acl",
	"+object|freq", "+xinfo|stream", "+script|load", "+pubsub|channels", "+object", "-object", "+sort", "+copy", "+publish", "+subscribe", "+spublish", "+@pubsub", "-@pubsub", "+nosuch", "+eval",
	"(~c +get)", "(%R~a:* +@all", "-get)", "(+@all ~b* &b*)", "(~* +set)", "(%W~c +@write &*)", "()", "clearselectors", "(+config)", "(db=1 +get ~*)",
	"db=0", "db=0,1", "alldbs", "resetdbs", "sanitize-payload", "nopass", ">x", "reset", "+quit", "+hexpire", "+@sortedset",
}

func randomString(r *rand.Rand) string {
	words := make([]string, 1+r.IntN(7))
	for i := range words {
		words[i] = pool[r.IntN(len(pool))]
	}
	return strings.Join(words, " ")
}

// probes are commands that a user may or may not be allowed.
var probes = commandsOf(`
	get a:1; get b1; get c; get zz; set a:1 v; set b1 v; set c v; set zz v; mget a:1 b1; mget a:1 zz; getdel a:1; getset b1 v;
	del c; rename a:1 b1; copy a:1 b1; sort a:1; sort a:1 by zz*; keys *; dbsize; randomkey; scan 0; ping; echo x; select 0; select 1;
	client id; client getname; client list; object freq a:1; object encoding zz; config get port; acl whoami; acl list; cluster info;
	eval return 0; zadd b1 1 x; hset a:1 f v; type c; publish a:x m; publish b1 m; publish zz m; swapdb 0 1; flushdb; time;
	command count; pubsub channels; module list; info; role`)

// dryProbes are for engines that can say what they would answer.
var dryProbes = commandsOf(`
	subscribe a:x; subscribe zz; psubscribe a:*; psubscribe *; spublish b1 m; ssubscribe a:x; ssubscribe zz; move a:1 1; copy b1 b2 db 1;
	shutdown; client kill id 1; client no-touch on; monitor; blpop b1 0; eval_ro return 1 a:1; bitfield a:1 get u8 0; set b1 v get;
	getex a:1; lcs a:1 b1; hexpire b1 1 fields 1 f; cluster meet 127.0.0.1 1; acl setuser x`)

func commandsOf(text string) (out [][]string) {
	for c := range strings.SplitSeq(text, ";") {
		out = append(out, strings.Fields(c))
	}
	return out
}

// TestNoMoreThanNative makes two users of random access strings, one with the rules as
// they were written and one with ours: what ours may do the other may.
func TestNoMoreThanNative(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		t.Parallel()
		s := testkit.StartServer(t, b)
		r := rand.New(rand.NewPCG(6, 1))
		made, allowed, denied := 0, 0, 0
		for range 1200 {
			text := randomString(r)
			ours, err := access.Parse(text)
			if err != nil || cache.CompareVersions(ours.MinVersion(), b.Version) > 0 {
				continue
			}
			if cache.CompareVersions(b.Version, "6.2") >= 0 {
				s.Must("CONFIG", "SET", "acl-pubsub-default", []string{"allchannels", "resetchannels"}[r.IntN(2)])
			}
			s.Must("ACL", "DELUSER", "raw", "ours")
			if e, bad := makeUser(s, "ours", ours.Rules()).(testkit.ReplyError); bad {
				t.Fatalf("%q became %q, and %s says %s", text, ours.String(), b.Name, e)
			}
			if _, refused := makeUser(s, "raw", strings.Fields(text)).(testkit.ReplyError); refused {
				continue // as "&a" after the default of all channels
			}
			made++
			for _, probe := range probesOf(b) {
				if !passes(s, b, "ours", probe) {
					denied++
					continue
				}
				allowed++
				if !passes(s, b, "raw", probe) {
					t.Fatalf("%q became %q, which may %q on %s: the former may not\n%v", text, ours.String(), probe, b.Name, s.Do("ACL", "LIST"))
				}
			}
		}
		t.Logf("%d pairs of users, %d probes allowed, %d denied", made, allowed, denied)
		if made < 50 || allowed < 100 || denied < 100 {
			t.Errorf("too little was tried: %d pairs of users, %d probes allowed, %d denied", made, allowed, denied)
		}
	})
}

func makeUser(s *testkit.Server, name string, rules []string) any {
	args := []any{"ACL", "SETUSER", name, "reset"}
	for _, r := range rules {
		args = append(args, r)
	}
	// Both may log in, so that they can be tried where there is no dry run.
	return s.Do(append(args, "on", "nopass")...)
}

func canDryRun(b catalog.Build) bool { return cache.CompareVersions(b.Version, "7.0") >= 0 }

func probesOf(b catalog.Build) [][]string {
	if canDryRun(b) {
		return slices.Concat(probes, dryProbes)
	}
	return probes
}

// passes tells whether a user may run a command.
func passes(s *testkit.Server, b catalog.Build, user string, probe []string) bool {
	if _, known := s.Do("COMMAND", "INFO", probe[0]).([]any)[0].([]any); !known {
		return false
	}
	args := []any{}
	for _, a := range probe {
		args = append(args, a)
	}
	if canDryRun(b) {
		return s.Do(append([]any{"ACL", "DRYRUN", user}, args...)...) == "OK"
	}
	s.Must("AUTH", user, "any")
	reply := s.Do(args...)
	s.Must("AUTH", "default", "any")
	s.Must("SELECT", 0)
	e, failed := reply.(testkit.ReplyError)
	return !failed || !strings.HasPrefix(string(e), "NOPERM")
}

// TestCommandsOfEngines: an engine knows the commands that its version has according to
// the table, and no others.
func TestCommandsOfEngines(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		for _, c := range s.Must("COMMAND").([]any) {
			name := c.([]any)[0].(string)
			if slices.Contains([]string{"host:", "post", "stralgo"}, name) { // gone after 6.x
				continue
			}
			known, err := access.Parse("-" + name)
			if err != nil {
				t.Errorf("%s has a command more: %v", b.Name, err)
				continue
			}
			if cache.CompareVersions(known.MinVersion(), b.Version) > 0 {
				t.Errorf("%s has %s, which is said to be since %s", b.Name, name, known.MinVersion())
			}
		}
		for _, name := range access.Commands() {
			known, err := access.Parse("-" + name)
			if err != nil || cache.CompareVersions(known.MinVersion(), b.Version) > 0 {
				continue
			}
			if e, bad := makeUser(s, "u", []string{"-" + name}).(testkit.ReplyError); bad {
				t.Errorf("%s does not know %s: %s", b.Name, name, e)
			}
		}
		for _, c := range access.Categories() {
			if reply := fmt.Sprint(s.Do("ACL", "CAT")); c != "all" && !strings.Contains(reply, c) {
				t.Errorf("%s has no category %s: %s", b.Name, c, reply)
			}
		}
	})
}
