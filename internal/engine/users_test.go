package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// as is a user who may do everything, with these passwords; none means nopass.
func as(name string, passwords ...string) cache.NodeUser {
	u := cache.NodeUser{Name: name, Rules: []string{"on"}}
	for _, p := range passwords {
		u.Rules = append(u.Rules, "#"+cache.HashPassword(p))
	}
	if len(passwords) == 0 {
		u.Rules = append(u.Rules, "nopass")
	}
	u.Rules = append(u.Rules, "~*", "&*", "+@all")
	return u
}

func only(users ...cache.NodeUser) *cache.Access { return &cache.Access{Users: users} }

// tries logs in; without a user by AUTH with a password alone, without either not at all.
func (b *bench) tries(spec cache.NodeSpec, user, password string) error {
	b.t.Helper()
	c, err := resp.Dial(b.context(), resp.Options{Addr: addrOf(spec.Address), Username: user, Password: password, RESP2: true})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do(b.context(), "SET", "tried", "1")
	return err
}

func (b *bench) grants(spec cache.NodeSpec, ended ...string) {
	b.t.Helper()
	if err := b.Grant(b.context(), spec, ended); err != nil {
		b.t.Fatal(err)
	}
}

// lives tells whether a connection still stands.
func (b *bench) lives(c *resp.Conn) bool {
	_, err := c.Do(b.context(), "PING")
	return err == nil || resp.IsServerError(err)
}

const (
	oldToken = "an-old-token-of-16"
	newToken = "a-new-token-of-16!"
)

// A running node has exactly the users that it is told, and those that are gone are
// thrown out; so has one that is started with them.
func TestGrant(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		nobody := b.client(spec.Address.Host, spec.Address.Port)
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		b.do(admin, "ACL", "SETUSER", "mallory", "on", "nopass", "~*", "+@all")

		alice := cache.NodeUser{Name: "alice", Rules: []string{"on", "#" + cache.HashPassword("pass-1"), "~a:*", "+@all"}}
		spec.Access = only(alice, as("bob", "pass-2"))
		b.grants(spec, "default")
		if b.lives(nobody) {
			t.Error("the default user is gone and stays connected")
		}
		for _, c := range []struct {
			user, password string
			in             bool
		}{
			{"", "", false},
			{"", "pass-2", false},
			{"bob", "pass-2", true},
			{"bob", "pass-1", false},
			{"mallory", "x", false},
			{"alice", "pass-1", false}, // "tried" is none of her keys
			{engine.AdminUser, secret, true},
		} {
			if err := b.tries(spec, c.user, c.password); (err == nil) != c.in {
				t.Errorf("%q with %q: %v", c.user, c.password, err)
			}
		}
		a := b.login(spec.Address.Host, spec.Address.Port, "alice", "pass-1")
		b.do(a, "SET", "a:1", "1")
		if _, err := a.Do(b.context(), "SET", "b:1", "1"); !noPermission(err) {
			t.Errorf("alice writes what is not hers: %v", err)
		}

		bob := b.login(spec.Address.Host, spec.Address.Port, "bob", "pass-2")
		alice.Rules[1] = "#" + cache.HashPassword("pass-3")
		spec.Access = only(alice, as("carol", "pass-4"))
		b.grants(spec, "bob")
		if !b.lives(a) || b.lives(bob) {
			t.Errorf("alice with another password: connected %v; bob, who is gone: %v", b.lives(a), b.lives(bob))
		}
		b.do(a, "SET", "a:1", "2")
		usersOf := func() {
			t.Helper()
			for user, passwords := range map[string][2]string{"alice": {"pass-3", "pass-1"}, "carol": {"pass-4", "pass-2"}} {
				c := b.login(spec.Address.Host, spec.Address.Port, user, passwords[0])
				b.do(c, "PING")
				if _, err := resp.Dial(b.context(), resp.Options{Addr: addrOf(spec.Address), Username: user, Password: passwords[1]}); err == nil {
					t.Errorf("%s logs in with a password that is no more", user)
				}
			}
			if err := b.tries(spec, "bob", "pass-2"); err == nil {
				t.Error("bob, who is gone, logs in")
			}
			if err := b.tries(spec, "", ""); err == nil {
				t.Error("anybody may come in")
			}
		}
		usersOf()
		b.again()
		b.grants(spec)
		usersOf()

		file, err := os.ReadFile(filepath.Join(b.dir, "nodes", "us-east-1", "orders-001", "engine.conf"))
		if err != nil {
			t.Fatal(err)
		}
		has := func(s string) bool { return strings.Contains(string(file), s) }
		if has("pass-") || has(cache.HashPassword("pass-2")) || !has(cache.HashPassword("pass-4")) {
			t.Errorf("the file keeps what it should not, or lacks what it should have:\n%s", file)
		}
		b.down(spec, &p)
		b.up(spec)
		usersOf()

		spec.Access = nil
		b.grants(spec, "alice", "carol")
		if err := b.tries(spec, "", ""); err != nil {
			t.Errorf("everybody is let in again, and yet: %v", err)
		}
		if err := b.tries(spec, "carol", "pass-4"); err == nil {
			t.Error("carol, who is gone, logs in")
		}
	})
}

// Two tokens are valid while one is being replaced by the other; whoever is connected stays so.
func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken))
		b.up(spec)
		c := b.login(spec.Address.Host, spec.Address.Port, "", oldToken)
		valid := func(tokens ...string) {
			t.Helper()
			for _, token := range []string{"", oldToken, newToken, "some-other-token"} {
				want := false
				for _, v := range tokens {
					want = want || v == token
				}
				if err := b.tries(spec, "", token); (err == nil) != want {
					t.Errorf("login with %q: %v", token, err)
				}
			}
			b.do(c, "SET", "k", "v")
		}
		valid(oldToken)
		spec.Access = only(as("default", oldToken, newToken))
		b.grants(spec)
		valid(oldToken, newToken)
		spec.Access = only(as("default", newToken))
		b.grants(spec)
		valid(newToken)
		if _, err := c.Do(b.context(), "ACL", "LIST"); !noPermission(err) {
			t.Errorf("a client sees the hashes of tokens: %v", err)
		}
	})
}

// The name of one user becomes that of another: the connections of the former end.
func TestNameChangesHands(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken), as("app", oldToken))
		b.up(spec)
		stranger := b.login(spec.Address.Host, spec.Address.Port, "", oldToken)
		app := b.login(spec.Address.Host, spec.Address.Port, "app", oldToken)
		spec.Access = only(as("default", newToken), as("app", newToken))
		b.grants(spec, "default")
		if b.lives(stranger) || !b.lives(app) {
			t.Errorf("the former default user is connected: %v; the other: %v", b.lives(stranger), b.lives(app))
		}
	})
}

// A node that hangs when a token is revoked does not let it in once it is awake.
func TestGrantReachesWhoHangs(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken))
		p := b.up(spec)
		if _, err := b.Probe(b.context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		spec.Access = only(as("default", newToken))
		ctx, cancel := contextFor(b, 100*time.Millisecond)
		defer cancel()
		if err := b.Grant(ctx, spec, nil); err == nil {
			t.Fatal("a node that hangs has agreed")
		}
		in := make(chan error)
		go func() { in <- b.tries(spec, "", oldToken) }()
		if err := syscall.Kill(p.PID, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := <-in; !resp.IsServerError(err, "WRONGPASS") {
			t.Errorf("it let a revoked token in: %v", err)
		}
		b.grants(spec)
		if err := b.tries(spec, "", newToken); err != nil {
			t.Error(err)
		}
	})
}

// Rules that the engine does not take turn their user off, and nobody else.
func TestRefusedRules(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("app", oldToken), as("other", oldToken))
		b.up(spec)
		bad := as("app", oldToken)
		bad.Rules = append(bad.Rules, "+no-such-command")
		spec.Access = only(bad, as("other", newToken))
		err := b.Grant(b.context(), spec, nil)
		if !isPermanent(err) || !strings.Contains(err.Error(), "app") || strings.Contains(err.Error(), cache.HashPassword(oldToken)) {
			t.Errorf("%v", err)
		}
		if err := b.tries(spec, "app", oldToken); err == nil {
			t.Error("a user whose rules are not known to be obeyed logs in")
		}
		if err := b.tries(spec, "other", newToken); err != nil {
			t.Error(err)
		}
		if err := b.tries(spec, "other", oldToken); err == nil {
			t.Error("a revoked password is valid because of another user's rules")
		}
	})
}

// An engine that does not start because of a rule repeats it, and what we say of that has
// no hash of a password in it.
func TestNoHashIsTold(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		for _, rule := range []string{"+no-such-command", "no-such-rule"} {
			spec := b.spec(build, "orders-001")
			bad := as("app", oldToken)
			bad.Rules = append(bad.Rules, rule)
			spec.Access = only(bad)
			if _, err := b.Start(b.context(), spec); err != nil {
				t.Fatal(err)
			}
			_, err := b.AwaitReady(b.context(), spec)
			if !isPermanent(err) || !strings.Contains(err.Error(), rule) || strings.Contains(err.Error(), cache.HashPassword(oldToken)) {
				t.Errorf("%v", err)
			}
		}
	})
}

// What no engine may be told is refused before any is, and no error repeats a password.
func TestCheckAccess(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		for name, a := range map[string]*cache.Access{
			"no name":       only(as("")),
			"a space":       only(as("two words")),
			"ours":          only(as(engine.AdminUser)),
			"ours, in caps": only(as(strings.ToUpper(engine.AdminUser))),
			"twice":         only(as("app"), as("app")),
			"in clear":      only(cache.NodeUser{Name: "app", Rules: []string{"on", ">clear-password"}}),
			"reset":         only(cache.NodeUser{Name: "app", Rules: []string{"on", "RESET"}}),
			"two in one":    only(cache.NodeUser{Name: "app", Rules: []string{"on +@all"}}),
			"a line":        only(cache.NodeUser{Name: "app", Rules: []string{"on\nuser x on nopass +@all"}}),
			"IAM besides":   only(cache.NodeUser{Name: "app", IAM: true, Rules: []string{"on", "nopass"}}),
		} {
			spec.Access = a
			_, err := b.Start(b.context(), spec)
			if !isPermanent(err) || strings.Contains(err.Error(), "clear-password") {
				t.Errorf("%s: %v", name, err)
			}
			if err := b.Grant(b.context(), spec, nil); !isPermanent(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Users with IAM tokens have a password that is told to nobody, and differs by node group and user.
func TestIAMPassword(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(cache.NodeUser{Name: "app", IAM: true, Rules: []string{"on", "~*", "+@all"}})
		b.up(spec)
		b.grants(spec)
		if err := b.tries(spec, "app", engine.IAMPassword(secret, "app")); err != nil {
			t.Error(err)
		}
		for _, p := range []string{"app", engine.IAMPassword(secret, "other"), engine.IAMPassword("another secret", "app"), secret} {
			if err := b.tries(spec, "app", p); err == nil {
				t.Errorf("logs in with %s", p)
			}
		}
	})
}

// What a node is told of its users is seen by no client that watches: neither in the slow
// log nor by MONITOR.
func TestGrantIsNotSeen(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		spec.Access = only(as("default", oldToken))
		spec.Parameters["slowlog-log-slower-than"] = "0"
		b.up(spec)
		watcher := b.login(spec.Address.Host, spec.Address.Port, "", oldToken)
		b.do(watcher, "MONITOR")
		spec.Access = only(as("default", oldToken, newToken))
		b.grants(spec)
		c := b.login(spec.Address.Host, spec.Address.Port, "", newToken)
		b.do(c, "ECHO", "the-end")
		release := watcher.Guard(b.context())
		defer release()
		for seen := ""; !strings.Contains(seen, "the-end"); {
			r, err := watcher.Receive()
			if err != nil {
				t.Fatal(err)
			}
			if seen = string(r.Bytes); strings.Contains(seen, cache.HashPassword(newToken)) || strings.Contains(seen, newToken) {
				t.Errorf("MONITOR: %s", seen)
			}
		}
		r, err := c.Do(b.context(), "SLOWLOG", "GET", "1000")
		if err != nil || len(r.Elems) == 0 {
			t.Fatalf("%d entries: %v", len(r.Elems), err)
		}
		for i := range r.Elems {
			for _, word := range r.Elems[i].Elems[3].Elems {
				if s := string(word.Bytes); strings.Contains(s, cache.HashPassword(newToken)) || s == newToken {
					t.Errorf("SLOWLOG: %s", s)
				}
			}
		}
	})
}
