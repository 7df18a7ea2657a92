package mover

import (
	"fmt"
	"path/filepath"
	"testing"

	"holdfast.dev/internal/testkit"
)

// TestPartOfTheKeysIsNotTheWhole: a user who may read or write some keys only gets an
// error, not a part that passes for everything.
func TestPartOfTheKeysIsNotTheWhole(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "valkey-8.1")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	for i := range 50 {
		from.Must("SET", fmt.Sprint("mine:", i), i)
		from.Must("SET", fmt.Sprint("others:", i), i)
	}
	for _, s := range []*testkit.Server{from, to} {
		s.Must("ACL", "SETUSER", "some", "on", ">word", "~mine:*", "&*", "+@all")
	}
	env := []string{"REDISCLI_AUTH=word", "VALKEYCLI_AUTH=word"}
	run := func(code int, args ...string) *command {
		t.Helper()
		c := holdfast(t, args...)
		c.Env = append(c.Environ(), env...)
		return c.start().ends(code)
	}
	file := filepath.Join(t.TempDir(), "x.rdb")
	run(failed, "backup", "redis://some@"+from.Addr(), file, "--from", "commands").says("NOPERM")
	run(failed, "migrate", "redis://some@"+from.Addr(), url(to)).says("NOPERM")
	run(failed, "verify", "redis://some@"+from.Addr(), url(to)).says("NOPERM")
	if n := keys(t, to); n > 0 {
		t.Errorf("%d keys were moved by a user who may not read all", n)
	}
	run(failed, "migrate", url(from), "redis://some@"+to.Addr()).says("NOPERM")
	run(failed, "restore", filepath.Join(backupOf(t, from)), "redis://some@"+to.Addr(), "--replace").says("NOPERM")
}

func backupOf(t *testing.T, s *testkit.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.rdb")
	runs(t, done, "backup", url(s), file)
	return file
}

// TestATargetWithoutRoom: one that refuses more ends the movement; one that evicts
// what it was given is told of by the comparison.
func TestATargetWithoutRoom(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "redis-7.0")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	f := filler{s: from}
	f.seed()
	for part := range 4 {
		f.many("MSET", nil, 5000, func(i int) []any { return []any{fmt.Sprint("k:", part, ":", i), f.noise(200)} })
	}
	for name, args := range map[string][]string{
		"restore":             {"restore", backupOf(t, from), url(to)},
		"migrate by commands": {"migrate", url(from), url(to)},
		"migrate by replica":  {"migrate", url(from), url(to), "--from", "replica"},
	} {
		t.Run(name, func(t *testing.T) {
			to.Must("CONFIG", "SET", "maxmemory", 4_000_000)
			to.Must("CONFIG", "SET", "maxmemory-policy", "noeviction")
			runs(t, failed, args...).says("memory", "--no-memory-check")
			if n := keys(t, to); n > 0 {
				t.Errorf("%d keys were moved to see that there is no room", n)
			}
			runs(t, failed, append(args, "--no-memory-check")...).says("OOM", "--replace")
			to.Must("FLUSHALL")
			to.Must("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
			runs(t, differ, append(args, "--no-memory-check")...).says("missing in B")
			to.Must("CONFIG", "SET", "maxmemory", 0)
			runs(t, done, append(args, "--replace")...).says("identical")
			want(t, testkit.ReadContent(t, from), 0, to)
			emptied(to)
		})
	}
}

// TestSomebodyElseWritesToTheTarget: what is not as it was brought is named.
func TestSomebodyElseWritesToTheTarget(t *testing.T) {
	t.Parallel()
	s := newScene(t, "redis-7.0")
	for name, args := range s.movements() {
		t.Run(name, func(t *testing.T) {
			s.far.Slow(slowly)
			c := s.begin(args...)
			s.writing()
			s.to.Must("SET", "stranger", "v")
			s.calm()
			c.ends(differ).says("stranger", "missing in A")
			emptied(s.to)
		})
	}
}
