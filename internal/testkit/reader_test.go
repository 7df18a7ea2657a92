package testkit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// plant is a change of one key, and the facet by which it has to be found.
type plant struct {
	db     int
	before []string // commands, of words
	change []string
	// want begins what is told of it.
	want string
	// needs is what the engine must have; nil is nothing.
	needs func(catalog.Build) bool
}

var plants = map[string]plant{
	"string":       {0, []string{"SET K v"}, []string{"SET K w"}, "value", nil},
	"onlyold":      {0, []string{"SET K v"}, []string{"DEL K"}, "missing in B", nil},
	"onlynew":      {0, nil, []string{"SET K v"}, "missing in A", nil},
	"type":         {0, []string{"SET K v"}, []string{"DEL K", "RPUSH K v"}, "type", nil},
	"database":     {3, []string{"SET K v"}, []string{"MOVE K 12"}, "missing in", nil},
	"listorder":    {0, []string{"RPUSH K a b c"}, []string{"LSET K 0 b", "LSET K 1 a"}, "value", nil},
	"member":       {0, []string{"SADD K a b c"}, []string{"SREM K a", "SADD K d"}, "value", nil},
	"intmember":    {0, []string{"SADD K 1 2 3"}, []string{"SADD K 4"}, "value", nil},
	"field":        {11, []string{"HSET K f v g w"}, []string{"HSET K f w g v"}, "value", nil},
	"score":        {0, []string{"ZADD K 0.1 a 1 b"}, []string{"ZADD K 0.10000000000000002 a"}, "value", nil},
	"ttl":          {0, []string{"SET K v PX 90000000"}, []string{"PEXPIRE K 80000000"}, "expiry", nil},
	"ttllost":      {0, []string{"SET K v PX 90000000"}, []string{"PERSIST K"}, "expiry", nil},
	"ttlnew":       {0, []string{"RPUSH K v"}, []string{"PEXPIRE K 90000000"}, "expiry", nil},
	"entry":        {0, []string{"XADD K 1-1 f v"}, []string{"XADD K 1-2 f v"}, "entries ", nil},
	"lastid":       {0, []string{"XADD K 1-1 f v"}, []string{"XADD K 1-2 f v", "XDEL K 1-2"}, "last-generated-id", nil},
	"group":        {0, []string{"XADD K 1-1 f v"}, []string{"XGROUP CREATE K g 0"}, "groups", nil},
	"delivered":    {0, []string{"XADD K 1-1 f v", "XGROUP CREATE K g 0"}, []string{"XGROUP SETID K g 1-1"}, `group "g" last-delivered-id`, nil},
	"consumer":     {0, []string{"XADD K 1-1 f v", "XGROUP CREATE K g $"}, []string{"XREADGROUP GROUP g idle STREAMS K >", "XGROUP CREATECONSUMER K g idle"}, `group "g" consumer "idle" `, modern},
	"pending":      {0, withPending, []string{"XACK K g 1-1"}, `group "g" pending`, nil},
	"owner":        {0, withPending, []string{"XCLAIM K g d 0 1-1 TIME 77 RETRYCOUNT 1 JUSTID"}, `group "g" consumer "d" pending`, nil},
	"deliveries":   {0, withPending, []string{"XCLAIM K g c 0 1-1 TIME 5 RETRYCOUNT 9 JUSTID"}, `group "g" pending`, nil},
	"deliverytime": {0, withPending, []string{"XCLAIM K g c 0 1-1 TIME 6 RETRYCOUNT 2 JUSTID"}, `group "g" pending`, nil},
	"added":        {0, []string{"XADD K 1-1 f v"}, []string{"XSETID K 1-1 ENTRIESADDED 7"}, "entries-added", modern},
	"maxdeleted":   {0, []string{"XADD K 1-1 f v", "XADD K 1-2 f v"}, []string{"XSETID K 1-2 ENTRIESADDED 2 MAXDELETEDID 1-1"}, "max-deleted-entry-id", modern},
	"entriesread":  {0, []string{"XADD K 1-1 f v", "XGROUP CREATE K g 0"}, []string{"XGROUP SETID K g 0 ENTRIESREAD 1"}, `group "g" entries-read`, modern},
	"fieldttl":     {0, []string{"HSET K f v g w"}, []string{"HPEXPIREAT K 4000000000123 FIELDS 1 f"}, "field expiries", fieldTTL},
	"fieldttl2":    {0, []string{"HSET K f v", "HPEXPIREAT K 4000000000123 FIELDS 1 f"}, []string{"HPEXPIREAT K 4000000000124 FIELDS 1 f"}, "field expiries", fieldTTL},
}

var withPending = []string{"XADD K 1-1 f v", "XADD K 1-2 f v", "XGROUP CREATE K g 0", "XREADGROUP GROUP g c STREAMS K >", "XCLAIM K g c 0 1-1 TIME 5 RETRYCOUNT 2 JUSTID"}

func modern(b catalog.Build) bool   { return b.Functions }
func fieldTTL(b catalog.Build) bool { return b.FieldTTL }

// words gives a server commands in which K stands for a key.
func words(s *testkit.Server, db int, key string, commands []string) {
	s.Must("SELECT", db)
	for _, c := range commands {
		var args []any
		for _, w := range strings.Fields(c) {
			if w == "K" {
				w = key
			}
			args = append(args, w)
		}
		s.Must(args...)
	}
	s.Must("SELECT", 0)
}

// The reader that judges the mover is judged itself: whatever is changed is found
// and named, and nothing else is.
func TestReaderFindsWhatIsPlanted(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		all := map[string]plant{}
		for name, p := range plants {
			if p.needs == nil || p.needs(b) {
				all[name] = p
			}
		}
		for name, p := range all {
			words(s, p.db, name, p.before)
			words(s, p.db, "same:"+name, p.before)
		}
		before := testkit.ReadContent(t, s)
		if again := before.Differences(testkit.ReadContent(t, s), 0); len(again) > 0 {
			t.Fatalf("nothing was changed, and there differ: %q", again)
		}
		for name, p := range all {
			words(s, p.db, name, p.change)
		}
		got := before.Differences(testkit.ReadContent(t, s), 0)
		for name, p := range all {
			want := fmt.Sprintf("%q: %s", name, p.want)
			if !slices.ContainsFunc(got, func(d string) bool { return strings.Contains(d, want) }) {
				t.Errorf("%s is not found among %q", want, got)
			}
		}
		if strings.Contains(strings.Join(got, "\n"), "same:") {
			t.Errorf("what was not changed is among %q", got)
		}
	})
}

// Function libraries are read with their code.
func TestReaderReadsFunctions(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	code := "#!lua name=lib\nredis.register_function('f', function() return %d end)"
	s.Must("FUNCTION", "LOAD", fmt.Sprintf(code, 1))
	before := testkit.ReadContent(t, s)
	s.Must("FUNCTION", "LOAD", "REPLACE", fmt.Sprintf(code, 2))
	got := before.Differences(testkit.ReadContent(t, s), 0)
	if len(got) != 1 || !strings.HasPrefix(got[0], "function library lib (A: LUA") {
		t.Errorf("%q", got)
	}
	s.Must("FUNCTION", "FLUSH")
	if got := before.Differences(testkit.ReadContent(t, s), 0); len(got) != 1 || !strings.Contains(got[0], "only in A") {
		t.Errorf("%q", got)
	}
}
