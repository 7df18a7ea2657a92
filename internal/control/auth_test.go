package control_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const (
	tokenA = "token-A-of-16-letters"
	tokenB = "token-B-of-16-letters"
	tokenC = "token-C-of-16-letters"
)

// encrypted is a group of two that encrypts, with what change makes of it.
func encrypted(t *testing.T, w *controltest.World, id string, change func(*cache.ReplicationGroup)) {
	t.Helper()
	if _, err := w.Control.CreateReplicationGroup(t.Context(), region, group(id, 2)); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := w.DB.Update(t.Context(), func(tx *store.Tx) error {
		g, _, err := records.Groups.Get(tx, cache.Key(region, id))
		if err != nil {
			return err
		}
		g.TransitEncryption = cache.TransitRequired
		if change != nil {
			change(&g)
		}
		return records.Groups.Put(tx, g.Key(), g)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func modifyToken(t *testing.T, w *controltest.World, id, strategy, token string) (*control.Group, error) {
	t.Helper()
	return w.Control.ModifyReplicationGroup(t.Context(), region, id, control.GroupChange{
		Change: control.Change{Immediately: true}, Auth: control.AuthChange{Token: token, Strategy: strategy},
	})
}

// letsIn are the passwords of the default user, "" for none being asked for.
func letsIn(g *cache.Settings) string {
	if g.Access == nil {
		return "anybody"
	}
	var out []string
	for _, r := range g.Access.Users[0].Rules {
		for _, token := range []string{tokenA, tokenB, tokenC} {
			if r == "#"+cache.HashPassword(token) {
				out = append(out, token[6:7])
			}
		}
		if r == "nopass" {
			out = append(out, "anybody")
		}
	}
	return strings.Join(out, "")
}

// A token joins, another takes its place, and what is set is the only one.
func TestTokenStrategies(t *testing.T) {
	w := controltest.New(t, nil)
	encrypted(t, w, "g", nil)
	for _, step := range []struct {
		strategy, token, code, in string
	}{
		{"SET", "short", "InvalidParameterValue", "anybody"},
		{"DELETE", "", "InvalidParameterCombination", "anybody"},
		{"ROTATE", "", "InvalidParameterValue", "anybody"},
		{"RENEW", tokenA, "InvalidParameterValue", "anybody"},
		{"", tokenA, "", "anybody"}, // as with ROTATE, those without a token come in still
		{"SET", tokenB, "InvalidParameterValue", "anybody"},
		{"SET", tokenA, "", "A"},
		{"SET", tokenA, "", "A"},
		{"SET", tokenB, "InvalidParameterValue", "A"},
		{"ROTATE", tokenB, "", "AB"},
		{"ROTATE", tokenC, "", "BC"},
		{"SET", tokenB, "InvalidParameterValue", "BC"}, // not the last one
		{"ROTATE", tokenB, "", "CB"},
		{"SET", tokenB, "", "B"},
		{"DELETE", "", "InvalidParameterCombination", "B"},
		{"ROTATE", tokenB, "", "B"},
	} {
		w.Pass(time.Minute)
		_, err := modifyToken(t, w, "g", step.strategy, step.token)
		if step.code == "" && err != nil || step.code != "" && !cache.IsFault(err, step.code) {
			t.Fatalf("%s %s: %v", step.strategy, step.token, err)
		}
		if err != nil && len(step.token) > 5 && strings.Contains(err.Error(), step.token) {
			t.Errorf("the error repeats the token: %v", err)
		}
		all, err := w.Control.DescribeReplicationGroups(t.Context(), region, "g", nil)
		if err != nil {
			t.Fatal(err)
		}
		g := all[0]
		for _, s := range []*cache.Settings{&g.Settings, &g.Members[0].Settings, &g.Members[1].Settings} {
			if got := letsIn(s); got != step.in {
				t.Fatalf("after %s %s: %s, want %s", step.strategy, step.token, got, step.in)
			}
		}
		if step.code == "" && step.strategy == "ROTATE" && step.in != "B" && !g.AuthTokenModifiedAt.Equal(w.Now()) {
			t.Errorf("it was modified at %s, and not at %s", g.AuthTokenModifiedAt, w.Now())
		}
		text, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{tokenA, tokenB, tokenC} {
			if strings.Contains(string(text), token) {
				t.Errorf("the records hold the token %s", token)
			}
		}
	}
}

// The first token may be the only one at once.
func TestFirstTokenSet(t *testing.T) {
	w := controltest.New(t, nil)
	encrypted(t, w, "g", nil)
	g, err := modifyToken(t, w, "g", "SET", tokenA)
	if err != nil || letsIn(&g.Settings) != "A" || g.AuthOpen {
		t.Errorf("%v, %v", g, err)
	}
}

// What a group must be to have a token, and what a request must say.
func TestTokenRefusals(t *testing.T) {
	w := controltest.New(t, nil)
	for name, c := range map[string]struct {
		change func(*cache.ReplicationGroup)
		ask    control.GroupChange
	}{
		"plain":  {change: func(g *cache.ReplicationGroup) { g.TransitEncryption = "" }},
		"old":    {change: func(g *cache.ReplicationGroup) { g.Engine, g.EngineVersion = cache.Redis, "4.0.10" }},
		"later":  {ask: control.GroupChange{Auth: control.AuthChange{Token: tokenA}}},
		"users":  {change: func(g *cache.ReplicationGroup) { g.UserGroupIDs, g.Access = []string{"u"}, &cache.Access{} }},
		"delete": {ask: control.GroupChange{Auth: control.AuthChange{Strategy: "DELETE"}, Change: control.Change{Immediately: true}}},
	} {
		encrypted(t, w, name, c.change)
		ask := c.ask
		if ask.Auth.Strategy == "" && ask.Auth.Token == "" {
			ask.Auth, ask.Immediately = control.AuthChange{Token: tokenA, Strategy: "SET"}, true
		}
		if _, err := w.Control.ModifyReplicationGroup(t.Context(), region, name, ask); !cache.IsFault(err, "InvalidParameterCombination") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for token, code := range map[string]string{
		strings.Repeat("x", 15): "InvalidParameterValue", strings.Repeat("x", 129): "InvalidParameterValue",
		"a token with spaces in it": "InvalidParameterValue", "slash/slash/slash": "InvalidParameterValue", `quote"quote"quote`: "InvalidParameterValue",
		"umlaut-ü-umlaut-ü": "InvalidParameterValue", "percent%percent%": "InvalidParameterValue", "at@at@at@at@at@at": "InvalidParameterValue",
		strings.Repeat("x", 16): "", strings.Repeat("x", 128): "", "!&#$^<>-abcdefgh": "", "(other)~marks{}are,fine": "",
	} {
		id := "t" + cache.HashPassword(token)[:8]
		encrypted(t, w, id, nil)
		if _, err := modifyToken(t, w, id, "SET", token); code == "" && err != nil || code != "" && !cache.IsFault(err, code) {
			t.Errorf("%q: %v", token, err)
		}
		in := group("n"+id, 1)
		in.AuthToken = token
		if _, err := w.Control.CreateReplicationGroup(t.Context(), region, in); !cache.IsFault(err, "InvalidParameterCombination") {
			t.Errorf("a new group that does not encrypt, with a token: %v", err)
		}
	}
}

// A group with a token keeps it whatever else is asked for, and loses it to user groups only
// where that is said.
func TestTokenStays(t *testing.T) {
	w := controltest.New(t, nil)
	encrypted(t, w, "g", nil)
	if _, err := modifyToken(t, w, "g", "SET", tokenA); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]control.GroupChange{
		"another setting": {Description: new("other")},
		"no user groups":  {UserGroups: control.UserGroupsOf{RemoveAll: true}},
	} {
		g, err := w.Control.ModifyReplicationGroup(t.Context(), region, "g", ask)
		if err != nil || letsIn(&g.Settings) != "A" || letsIn(&g.Members[1].Settings) != "A" {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
}

// While a node has not been told, the group shows what is pending.
func TestPendingToken(t *testing.T) {
	w := controltest.New(t, nil)
	encrypted(t, w, "g", nil)
	var g *control.Group
	ask := func(strategy, token string) {
		t.Helper()
		var err error
		if g, err = modifyToken(t, w, "g", strategy, token); err != nil {
			t.Fatal(err)
		}
	}
	told := func(g *control.Group) {
		for i := range g.Members {
			g.Members[i].Node.Process, g.Members[i].Node.Access = &cache.Process{PID: 1}, g.Access.Digest()
		}
	}
	var got []string
	for _, s := range [][2]string{{"ROTATE", tokenA}, {"SET", tokenA}, {"ROTATE", tokenB}, {"SET", tokenB}} {
		ask(s[0], s[1])
		told(g)
		g.Members[1].Node.Access = "something else"
		got = append(got, g.PendingToken())
		told(g)
		got = append(got, g.PendingToken())
	}
	if want := []string{"ROTATING", "", "SETTING", "", "ROTATING", "", "SETTING", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A group has a token or users, and goes from one to the other where that is said.
func TestTokenAndUsers(t *testing.T) {
	w := controltest.New(t, nil)
	ctx := t.Context()
	if _, err := w.Control.CreateUser(ctx, region, control.NewUser{
		ID: "app", Name: "app", Engine: "redis", AccessString: "on ~* +@all", Login: control.Login{Passwords: []string{"password-of-the-app"}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Control.CreateUserGroup(ctx, region, control.NewUserGroup{ID: "users", Engine: "redis", UserIDs: []string{"default", "app"}}); err != nil {
		t.Fatal(err)
	}
	encrypted(t, w, "g", nil)
	if _, err := modifyToken(t, w, "g", "SET", tokenA); err != nil {
		t.Fatal(err)
	}
	add, drop := control.UserGroupsOf{Add: []string{"users"}}, control.UserGroupsOf{RemoveAll: true}
	for _, step := range []struct {
		name            string
		users           control.UserGroupsOf
		strategy, token string
		code, in        string
	}{
		{"users besides a token", add, "", "", "InvalidParameterCombination", "A"},
		{"users and another token", add, "ROTATE", tokenB, "InvalidParameterCombination", "A"},
		{"users, and a token deleted that is none", add, "DELETE", tokenB, "InvalidParameterValue", "A"},
		{"users in place of the token", add, "DELETE", "", "", "users"},
		{"nothing to delete", control.UserGroupsOf{}, "DELETE", "", "InvalidParameterCombination", "users"},
		{"a token besides users", control.UserGroupsOf{}, "SET", tokenB, "InvalidParameterCombination", "users"},
		{"no users, and a token that is not needed", drop, "ROTATE", tokenB, "InvalidParameterCombination", "users"},
		{"a token in place of users", drop, "SET", tokenB, "", "B"},
	} {
		_, err := w.Control.ModifyReplicationGroup(ctx, region, "g", control.GroupChange{
			Change: control.Change{Immediately: true}, UserGroups: step.users, Auth: control.AuthChange{Token: step.token, Strategy: step.strategy},
		})
		if step.code == "" && err != nil || step.code != "" && !cache.IsFault(err, step.code) {
			t.Fatalf("%s: %v", step.name, err)
		}
		all, err := w.Control.DescribeReplicationGroups(ctx, region, "g", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*cache.Settings{&all[0].Settings, &all[0].Members[1].Settings} {
			got := letsIn(s)
			if s.Access.Has("app") {
				got = "users"
			}
			if got != step.in {
				t.Fatalf("after %s: %s, want %s", step.name, got, step.in)
			}
		}
	}
}
