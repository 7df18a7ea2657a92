package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const (
	onePassword   = "one-password-16c"
	otherPassword = "other-password-x"
)

// newUser makes a user of this name and id.
func newUser(t testing.TB, w *controltest.World, id, rules string, change func(*control.NewUser)) {
	t.Helper()
	in := control.NewUser{ID: id, Name: id, Engine: cache.Redis, AccessString: rules, Login: control.Login{Passwords: []string{onePassword}}}
	if change != nil {
		change(&in)
	}
	if _, err := w.Control.CreateUser(t.Context(), region, in); err != nil {
		t.Fatal(err)
	}
}

func newUserGroup(t testing.TB, w *controltest.World, id, engine string, users ...string) {
	t.Helper()
	if _, err := w.Control.CreateUserGroup(t.Context(), region, control.NewUserGroup{ID: id, Engine: engine, UserIDs: users}); err != nil {
		t.Fatal(err)
	}
}

// newCache makes a group that serves, with encryption in transit.
func newCache(t testing.TB, w *controltest.World, id, engine, version string, userGroups ...string) {
	t.Helper()
	in := group(id, 2)
	in.Engine, in.EngineVersion, in.UserGroupIDs = engine, version, userGroups
	in.Transit.Enabled = new(true)
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func useGroups(ctx context.Context, w *controltest.World, id string, in control.UserGroupsOf) (*control.Group, error) {
	return w.Control.ModifyReplicationGroup(ctx, region, id, control.GroupChange{UserGroups: in})
}

// logins prints who may log in to a cache, the same on all of its nodes.
func logins(t rapidOrTest, w *controltest.World, id string) string {
	a := readAll(t, w.DB)
	i := slices.IndexFunc(a.groups, func(g cache.ReplicationGroup) bool { return g.ID == id })
	for _, k := range a.clusters {
		if k.GroupID == id && k.Access.Digest() != a.groups[i].Access.Digest() {
			t.Fatalf("%s may be logged in to by %+v, its group by %+v", k.ID, k.Access, a.groups[i].Access)
		}
	}
	if a.groups[i].Access == nil {
		return "everybody"
	}
	var out []string
	for _, u := range a.groups[i].Access.Users {
		rules := strings.Join(u.Rules, " ")
		rules = strings.ReplaceAll(rules, "#"+cache.HashPassword(onePassword), "#one")
		rules = strings.ReplaceAll(rules, "#"+cache.HashPassword(otherPassword), "#other")
		if u.IAM {
			rules += " iam"
		}
		out = append(out, u.Name+" "+rules)
	}
	return strings.Join(out, "; ")
}

func status(t testing.TB, w *controltest.World, user, userGroup string) string {
	t.Helper()
	u, err := w.Control.DescribeUsers(t.Context(), region, control.UserFilter{ID: user}, nil)
	if err != nil {
		var f *cache.Fault
		if !errors.As(err, &f) {
			t.Fatal(err)
		}
		return f.Code
	}
	g, err := w.Control.DescribeUserGroups(t.Context(), region, userGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(u[0].Status, " ", g[0].Status)
}

// TestUsersReachNodes: whatever changes of users and user groups is in the records of the
// nodes by the same transaction, and shows as being modified until they know it.
func TestUsersReachNodes(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	newUser(t, w, "ann", "on ~a:* +@read", nil)
	newUserGroup(t, w, "web", cache.Redis, "default", "ann")
	newCache(t, w, "g", cache.Redis, "7.0")
	expect := func(what, want, state string) {
		t.Helper()
		if got := logins(t, w, "g"); got != want {
			t.Errorf("%s: who may log in is\n%s, want\n%s", what, got, want)
		}
		if got := status(t, w, "ann", "web"); got != state {
			t.Errorf("%s: %q, want %q", what, got, state)
		}
	}
	settle := func() {
		t.Helper()
		if err := w.Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("before", "everybody", "active active")
	g, err := useGroups(ctx, w, "g", control.UserGroupsOf{Add: []string{"Web"}})
	must(g, err)
	if p := g.PendingUserGroups(); p == nil || !slices.Equal(p.Added, []string{"web"}) || len(p.Removed) > 0 {
		t.Errorf("pending is %+v", p)
	}
	expect("attached", "ann on ~a:* -@all +@read #one; default on ~* +@all nopass", "modifying modifying")
	settle()
	expect("told", "ann on ~a:* -@all +@read #one; default on ~* +@all nopass", "active active")
	g, err = w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{})
	must(g, err)
	if p := g.PendingUserGroups(); p != nil {
		t.Errorf("told, and pending is %+v", p)
	}

	must(w.Control.ModifyUser(ctx, region, control.UserChange{ID: "ann", Login: control.Login{Passwords: []string{onePassword, otherPassword}}}))
	expect("two passwords", "ann on ~a:* -@all +@read #one #other; default on ~* +@all nopass", "modifying modifying")
	must(w.Control.ModifyUser(ctx, region, control.UserChange{ID: "ann", AccessAppend: "-keys (~b +get)"}))
	expect("rules", "ann on ~a:* -@all +@read -keys (~b -@all +get) #one #other; default on ~* +@all nopass", "modifying modifying")
	settle()

	// A replica that comes later knows them from its start.
	must(w.Control.IncreaseReplicaCount(ctx, region, "g", control.ReplicaCount{Immediately: true, New: new(2)}))
	expect("one more replica", "ann on ~a:* -@all +@read -keys (~b -@all +get) #one #other; default on ~* +@all nopass", "active active")
	settle()

	newUser(t, w, "off", "off", func(u *control.NewUser) { u.Name = "default" })
	must(w.Control.ModifyUserGroup(ctx, region, control.UserGroupChange{ID: "web", Add: []string{"off"}, Remove: []string{"default"}}))
	expect("another default user", "ann on ~a:* -@all +@read -keys (~b -@all +get) #one #other; default off -@all #one", "modifying modifying")
	settle()

	must(w.Control.DeleteUser(ctx, region, "ann"))
	expect("deleted", "default off -@all #one", "deleting modifying")
	_, err = w.Control.ModifyUser(ctx, region, control.UserChange{ID: "ann", AccessString: "on"})
	if !cache.IsFault(err, "InvalidUserState") {
		t.Errorf("a user that is deleted is modified: %v", err)
	}
	_, err = w.Control.CreateUser(ctx, region, control.NewUser{ID: "ann", Name: "ann", Engine: cache.Redis, AccessString: "on", Login: control.Login{NoPassword: true}})
	if !cache.IsFault(err, "UserAlreadyExists") {
		t.Errorf("a user that nodes still know is made anew: %v", err)
	}
	settle()
	newCache(t, w, "later", cache.Valkey, "8.1", "web")
	if got, want := logins(t, w, "later"), "default off -@all #one"; got != want {
		t.Errorf("created with the user group: %s, want %s", got, want)
	}
	if got := status(t, w, "ann", "web"); got != "UserNotFound" {
		t.Errorf("deleted and told: %s", got)
	}
	newUser(t, w, "ann", "on", nil)

	_, err = w.Control.DeleteUserGroup(ctx, region, "web")
	if !cache.IsFault(err, "InvalidUserGroupState") {
		t.Errorf("a user group in use is deleted: %v", err)
	}
	must(useGroups(ctx, w, "later", control.UserGroupsOf{Remove: []string{"WEB"}}))
	must(useGroups(ctx, w, "g", control.UserGroupsOf{RemoveAll: true}))
	expect("detached", "everybody", "active active")
	must(w.Control.DeleteUserGroup(ctx, region, "web"))
}

// TestUsersThatCachesCannotHave: refused when a user group is attached, and when one that
// is attached would come to be such.
func TestUsersThatCachesCannotHave(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	iam := func(u *control.NewUser) { u.Login = control.Login{Mode: "iam"} }
	newUser(t, w, "new", "on +getdel", nil)
	newUser(t, w, "iam", "on", iam)
	newUser(t, w, "valkey", "on", func(u *control.NewUser) { u.Engine = cache.Valkey })
	newUser(t, w, "old", "on", nil)
	newUserGroup(t, w, "plain", cache.Redis, "default", "old")
	newUserGroup(t, w, "getdel", cache.Redis, "default", "new")
	newUserGroup(t, w, "tokens", cache.Redis, "default", "iam")
	newUserGroup(t, w, "valkeys", cache.Valkey, "valkey")
	newCache(t, w, "five", cache.Redis, "5.0.6")
	newCache(t, w, "six", cache.Redis, "6.0")
	newCache(t, w, "seven", cache.Redis, "7.0")
	newCache(t, w, "valkey", cache.Valkey, "7.2")
	for _, c := range []struct{ cache, group, refused string }{
		{"five", "plain", "requires redis 6.0 or later"},
		{"six", "getdel", "User new requires the engine version 6.2"},
		{"six", "tokens", "User iam requires the engine version 7.0"},
		{"seven", "valkeys", "of the engine valkey cannot be associated"},
		{"seven", "nothing", "User group nothing not found"},
		{"six", "plain", ""},
		{"seven", "getdel", ""},
		{"valkey", "tokens", ""},
	} {
		_, err := useGroups(ctx, w, c.cache, control.UserGroupsOf{Add: []string{c.group}})
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s on %s: %v, want %q", c.group, c.cache, err, c.refused)
		}
	}
	_, second := useGroups(ctx, w, "six", control.UserGroupsOf{Add: []string{"getdel"}})
	_, again := useGroups(ctx, w, "six", control.UserGroupsOf{Add: []string{"plain"}})
	_, absent := useGroups(ctx, w, "six", control.UserGroupsOf{Remove: []string{"getdel"}})
	_, both := useGroups(ctx, w, "six", control.UserGroupsOf{Add: []string{"getdel"}, RemoveAll: true})
	_, swapped := useGroups(ctx, w, "six", control.UserGroupsOf{Add: []string{"tokens"}, Remove: []string{"plain"}})
	_, rules := w.Control.ModifyUser(ctx, region, control.UserChange{ID: "old", AccessString: "on &x"})
	_, token := w.Control.ModifyUserGroup(ctx, region, control.UserGroupChange{ID: "plain", Add: []string{"new"}})
	_, kind := w.Control.ModifyUserGroup(ctx, region, control.UserGroupChange{ID: "getdel", Engine: "valkey", Remove: []string{"default"}})
	for what, err := range map[string]error{
		"a second user group": second, "the same again": again, "one that is not there": absent, "add and remove all": both,
		"a swap for one that does not fit": swapped, "rules that the cache does not know": rules,
		"a user that the cache cannot have": token, "an engine that the cache is not": kind,
	} {
		if !cache.IsFault(err, "InvalidParameterCombination") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, want := logins(t, w, "six"), "default on ~* +@all nopass; old on -@all #one"; got != want {
		t.Errorf("what was refused has left %q, want %q", got, want)
	}
}

// TestUsersAfterAnUpgrade: a cache does not become what its users cannot log in to, and
// its users do not become such while it is about to.
func TestUsersAfterAnUpgrade(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	for i := range w.Engines { // builds that replicate to each other
		switch v := &w.Engines[i]; v.Engine + v.Asked {
		case "redis7.1":
			v.Build, v.FullVersion = "redis-7.2.4", "7.2.4"
		case "valkey7.2":
			v.Build, v.FullVersion = "valkey-7.2.8", "7.2.8"
		}
	}
	newUser(t, w, "a", "on", nil)
	newUserGroup(t, w, "valkeys", cache.Valkey, "a")
	newUserGroup(t, w, "plain", cache.Redis, "default", "a")
	newCache(t, w, "g", cache.Valkey, "7.2", "valkeys")
	back := func() error {
		_, err := w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{
			Change: control.Change{Same: control.Same{Engine: cache.Redis, EngineVersion: "7.1"}},
		})
		return err
	}
	if err := back(); !cache.IsFault(err, "InvalidParameterCombination") || !strings.Contains(err.Error(), "user group valkeys") {
		t.Errorf("to redis with users of valkey: %v", err)
	}
	if _, err := useGroups(ctx, w, "g", control.UserGroupsOf{Add: []string{"plain"}, Remove: []string{"valkeys"}}); err != nil {
		t.Fatal(err)
	}
	if err := back(); err != nil {
		t.Fatal(err)
	}
	_, attached := useGroups(ctx, w, "g", control.UserGroupsOf{Add: []string{"valkeys"}, Remove: []string{"plain"}})
	_, modified := w.Control.ModifyUser(ctx, region, control.UserChange{ID: "a", AccessString: "on +waitaof"})
	for what, err := range map[string]error{"another user group": attached, "other rules": modified} {
		if !cache.IsFault(err, "InvalidParameterCombination") {
			t.Errorf("%s, while a change to redis waits: %v", what, err)
		}
	}
}

// TestIAMUsersNeedOneEndpoint: the door that checks tokens stands at endpoints.
func TestIAMUsersNeedOneEndpoint(t *testing.T) {
	w := controltest.New(t, nil)
	newUser(t, w, "iam", "on", func(u *control.NewUser) { u.Login = control.Login{Mode: "iam"} })
	newUserGroup(t, w, "tokens", cache.Redis, "default", "iam")
	in := group("shards", 2)
	in.Nodes, in.Replicas = nil, new(1)
	in.ClusterMode, in.AutomaticFailover, in.EngineVersion = control.ClusterOn, true, "7.0"
	in.Transit.Enabled = new(true)
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := useGroups(t.Context(), w, "shards", control.UserGroupsOf{Add: []string{"tokens"}})
	if !cache.IsFault(err, "InvalidParameterCombination") || !strings.Contains(err.Error(), "IAM") {
		t.Errorf("%v", err)
	}
}

// TestReservedUserName: nobody can be the administrator.
func TestReservedUserName(t *testing.T) {
	w := controltest.New(t, nil)
	for _, name := range []string{engine.AdminUser, strings.ToUpper(engine.AdminUser)} {
		_, err := w.Control.CreateUser(t.Context(), region, control.NewUser{
			ID: "x", Name: name, Engine: cache.Redis, AccessString: "on +@all", Login: control.Login{NoPassword: true},
		})
		if !cache.IsFault(err, "InvalidParameterValue") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPasswordsAreNotKept: what is on disk has hashes alone.
func TestPasswordsAreNotKept(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	w := controltest.New(t, func(c *control.Config) { c.DB = db })
	if _, err := w.Control.CreateUser(t.Context(), region, control.NewUser{
		ID: "x", Name: "x", Engine: cache.Redis, AccessString: "on", Login: control.Login{Passwords: []string{onePassword}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Control.ModifyUser(t.Context(), region, control.UserChange{ID: "x", Login: control.Login{Mode: "password", ModePasswords: []string{otherPassword}}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all = append(all, raw...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(all, []byte(cache.HashPassword(otherPassword))) {
		t.Error("the hash of the password is not there")
	}
	for _, p := range []string{onePassword, otherPassword} {
		if bytes.Contains(all, []byte(p)) {
			t.Errorf("the password %q is on disk", p)
		}
	}
}

func TestUserQuotas(t *testing.T) {
	w := controltest.New(t, nil)
	err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
		for i := range 1999 {
			u := cache.User{Region: region, ID: fmt.Sprint("u", i), Name: fmt.Sprint("u", i), Engine: cache.Redis, AccessString: "off -@all", MinVersion: "6.0"}
			if err := records.Users.Put(tx, u.Key(), u); err != nil {
				return err
			}
		}
		for i := range 199 {
			g := cache.UserGroup{Region: region, ID: fmt.Sprint("g", i), Engine: cache.Valkey}
			if err := records.UserGroups.Put(tx, g.Key(), g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	newUser(t, w, "last", "off", nil)
	newUserGroup(t, w, "last", cache.Redis, "default")
	_, user := w.Control.CreateUser(t.Context(), region, control.NewUser{ID: "more", Name: "m", Engine: cache.Redis, AccessString: "off", Login: control.Login{NoPassword: true}})
	_, userGroup := w.Control.CreateUserGroup(t.Context(), region, control.NewUserGroup{ID: "more", Engine: cache.Valkey})
	full := make([]string, 99)
	for i := range full {
		full[i] = fmt.Sprint("u", i)
	}
	if _, err := w.Control.ModifyUserGroup(t.Context(), region, control.UserGroupChange{ID: "last", Add: full}); err != nil {
		t.Fatal(err)
	}
	_, members := w.Control.ModifyUserGroup(t.Context(), region, control.UserGroupChange{ID: "last", Add: []string{"u99"}})
	if !cache.IsFault(user, "UserQuotaExceeded") || !cache.IsFault(userGroup, "UserGroupQuotaExceeded") || !cache.IsFault(members, "UserGroupQuotaExceeded") {
		t.Errorf("one more than the quota: user %v, user group %v, user of a group %v", user, userGroup, members)
	}
}

// TestUsersProperty does anything in any order: who may log in to a cache is always who is
// in its user group, on all nodes.
func TestUsersProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := controltest.New(t, nil)
		ctx := t.Context()
		newUser(t, w, "a", "on ~x +get", nil)
		newUser(t, w, "b", "on ~x +get", func(u *control.NewUser) { u.Engine = cache.Valkey })
		newUserGroup(t, w, "g", cache.Redis, "default")
		newUserGroup(t, w, "h", cache.Valkey, "a", "b")
		newCache(t, w, "one", cache.Redis, "7.0", "g")
		newCache(t, w, "two", cache.Valkey, "8.1", "h")
		user := rapid.SampledFrom([]string{"a", "b", "c", "default"})
		name := rapid.SampledFrom([]string{"a", "b", "default"})
		userGroup := rapid.SampledFrom([]string{"g", "h"})
		engines := rapid.SampledFrom([]string{cache.Redis, cache.Valkey})
		rules := rapid.SampledFrom([]string{"on ~x +get", "off", "on &x +@all", "+nosuch"})
		login := rapid.SampledFrom([]control.Login{{NoPassword: true}, {Passwords: []string{onePassword}}, {Mode: "iam"}})
		some := rapid.SliceOfNDistinct(user, 0, 2, rapid.ID)
		caches := rapid.SampledFrom([]string{"one", "two"})
		expected := func(err error) {
			var f *cache.Fault
			if err != nil && !errors.As(err, &f) {
				r.Fatalf("not a fault: %v", err)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"create user": func(r *rapid.T) {
				_, err := w.Control.CreateUser(ctx, region, control.NewUser{
					ID: user.Draw(r, "id"), Name: name.Draw(r, "name"), Engine: engines.Draw(r, "engine"), AccessString: rules.Draw(r, "rules"), Login: login.Draw(r, "login"),
				})
				expected(err)
			},
			"modify user": func(r *rapid.T) {
				_, err := w.Control.ModifyUser(ctx, region, control.UserChange{
					ID: user.Draw(r, "id"), Engine: engines.Draw(r, "engine"), AccessAppend: rules.Draw(r, "rules"), Login: login.Draw(r, "login"),
				})
				expected(err)
			},
			"delete user": func(r *rapid.T) {
				_, err := w.Control.DeleteUser(ctx, region, user.Draw(r, "id"))
				expected(err)
			},
			"create group": func(r *rapid.T) {
				_, err := w.Control.CreateUserGroup(ctx, region, control.NewUserGroup{ID: userGroup.Draw(r, "id"), Engine: engines.Draw(r, "engine"), UserIDs: some.Draw(r, "users")})
				expected(err)
			},
			"modify group": func(r *rapid.T) {
				_, err := w.Control.ModifyUserGroup(ctx, region, control.UserGroupChange{ID: userGroup.Draw(r, "id"), Add: some.Draw(r, "add"), Remove: some.Draw(r, "remove")})
				expected(err)
			},
			"delete group": func(r *rapid.T) {
				_, err := w.Control.DeleteUserGroup(ctx, region, userGroup.Draw(r, "id"))
				expected(err)
			},
			"attach": func(r *rapid.T) {
				_, err := useGroups(ctx, w, caches.Draw(r, "cache"), control.UserGroupsOf{Add: []string{userGroup.Draw(r, "id")}})
				expected(err)
			},
			"detach": func(r *rapid.T) {
				_, err := useGroups(ctx, w, caches.Draw(r, "cache"), control.UserGroupsOf{RemoveAll: true})
				expected(err)
			},
			"settle": func(r *rapid.T) {
				if err := w.Settle(ctx); err != nil {
					r.Fatal(err)
				}
			},
			"": func(r *rapid.T) { checkUsers(r, w) },
		})
	})
}

// checkUsers holds users, user groups and caches against each other.
func checkUsers(t rapidOrTest, w *controltest.World) {
	ctx := context.Background()
	users, err := w.Control.DescribeUsers(ctx, region, control.UserFilter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := w.Control.DescribeUserGroups(ctx, region, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]control.User{}
	for _, u := range users {
		byID[u.ID] = u
	}
	who := map[string][]string{}
	for _, g := range groups {
		seen := map[string]bool{}
		for _, id := range g.UserIDs {
			u, ok := byID[id]
			if !ok || u.Status == cache.StatusDeleting || seen[u.Name] || !slices.Contains(u.GroupIDs, g.ID) {
				t.Fatalf("the user group %s has %s, which is %+v", g.ID, id, u)
			}
			if g.Engine == cache.Valkey && u.Auth == cache.AuthNoPassword || g.Engine == cache.Redis && u.Engine != cache.Redis {
				t.Fatalf("the user group %+v has the user %+v", g, u)
			}
			seen[u.Name] = true
			who[g.ID] = append(who[g.ID], fmt.Sprint(u.Name, u.PasswordHashes, u.Auth, u.AccessString))
		}
		if g.Engine == cache.Redis && !seen["default"] {
			t.Fatalf("the user group %s has no default user", g.ID)
		}
	}
	for _, g := range readAll(t, w.DB).groups {
		logins(t, w, g.ID) // the same on all nodes
		if len(g.UserGroupIDs) == 0 {
			if g.Access != nil {
				t.Fatalf("%s has no user group, and %+v", g.ID, g.Access)
			}
			continue
		}
		var got []string
		for _, u := range g.Access.Users {
			var hashes, rest []string
			auth := cache.AuthPassword
			for _, rule := range u.Rules {
				switch {
				case rule[0] == '#':
					hashes = append(hashes, rule[1:])
				case rule == "nopass":
					auth = cache.AuthNoPassword
				default:
					rest = append(rest, rule)
				}
			}
			if u.IAM {
				auth = cache.AuthIAM
			}
			got = append(got, fmt.Sprint(u.Name, hashes, auth, strings.Join(rest, " ")))
		}
		if !slices.Equal(got, who[g.UserGroupIDs[0]]) {
			t.Fatalf("%s may be logged in to by %q, and of the user group are %q", g.ID, got, who[g.UserGroupIDs[0]])
		}
	}
}
