package command_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/testkit"
)

var lines = []string{"redis-6.0", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"}

// samples are commands whose keys are not just the first argument; more than one
// where the keys move.
var samples = []string{
	"del a b c", "unlink a b", "mset a 1 b 2", "msetnx a 1 b 2", "rename a b", "renamenx a b",
	"rpoplpush a b", "smove a b m", "lmove a b left right", "brpoplpush a b 0", "blmove a b left right 0",
	"copy a b", "copy a b db 3", "copy a b replace db 3", "move a 5", "zrangestore a b 0 -1",
	"geosearchstore a b fromlonlat 1 1 byradius 5 km", "pfmerge a b c", "sdiffstore a b c",
	"sinterstore a b", "sunionstore a b c d", "bitop and a b c", "bitop not a b",
	"blpop a b c 0", "brpop a 0", "bzpopmin a b 0", "bzpopmax a 0",
	"zdiffstore d 2 a b withscores", "zinterstore d 2 a b weights 1 2 aggregate sum", "zunionstore d 1 a",
	"lmpop 2 a b left count 3", "zmpop 1 a min", "blmpop 0 2 a b left", "bzmpop 0 1 a max count 2",
	"msetex 2 a 1 b 2", "msetex 1 a 1 ex 10",
	"eval script 2 a b x y", "evalsha sha 1 a", "eval script 0 x", "fcall f 2 a b x", "fcall f 0",
	"sort a", "sort a by b limit 0 3 get c store d", "sort a store d store e", "sort store store d", "sort a by store alpha store d",
	"georadius a 1 1 5 km", "georadius a 1 1 5 km store d", "georadius a 1 1 5 km count 3 storedist d",
	"georadiusbymember a m 5 km store d", "georadiusbymember store m 5 km storedist d",
	"migrate h 1 k 0 5", "migrate h 1  0 5 copy keys a b c", "migrate h 1  0 5 auth keys keys a", "migrate h 1  0 5 auth2 u keys keys a b",
	"xreadgroup group g c streams a b > >", "xreadgroup group g c count 3 block 5 noack streams a 0", "xreadgroup group streams streams streams a >",
	"xgroup create a g $", "xgroup setid a g 5", "xgroup destroy a g", "xgroup createconsumer a g c", "xgroup delconsumer a g c",
	"pfdebug getreg a", "restore a 0 payload", "restore-asking a 0 payload",
}

// mistaken are those of them of which Redis 6.0 itself names wrong keys.
var mistaken = []string{"migrate h 1  0 5 auth keys keys a", "migrate h 1  0 5 auth2 u keys keys a b", "pfdebug getreg a"}

// noKeys are write commands that name no key.
var noKeys = []string{"flushall", "flushdb", "swapdb", "function", "cluster"}

func each(t *testing.T, f func(t *testing.T, s *testkit.Server)) {
	for _, line := range lines {
		t.Run(line, func(t *testing.T) {
			f(t, testkit.StartServer(t, testkit.Engine(t, line)))
		})
	}
}

// listed is one command as the engine lists it.
type listed struct {
	name  string
	arity int64
	write bool
}

// commands asks the engine for its commands; a container counts as a writer if
// one of its subcommands is.
func commands(t *testing.T, s *testkit.Server) []listed {
	t.Helper()
	var out []listed
	for _, c := range s.Must("COMMAND").([]any) {
		f := c.([]any)
		l := listed{name: strings.ToLower(f[0].(string)), arity: f[1].(int64), write: writes(f)}
		if len(f) > 9 {
			for _, sub := range f[9].([]any) {
				l.write = l.write || writes(sub.([]any))
			}
		}
		out = append(out, l)
	}
	return out
}

func writes(f []any) bool { return slices.Contains(f[2].([]any), any("write")) }

// asked are the keys that the engine names.
func asked(s *testkit.Server, args []string) (keys []string, err string) {
	cmd := []any{"COMMAND", "GETKEYS"}
	for _, a := range args {
		cmd = append(cmd, a)
	}
	switch r := s.Do(cmd...).(type) {
	case []any:
		for _, k := range r {
			keys = append(keys, k.(string))
		}
	case testkit.ReplyError:
		err = r.Error()
	}
	return keys, err
}

func ours(args []string) (command.Effect, []string) {
	var raw [][]byte
	for _, a := range args {
		raw = append(raw, []byte(a))
	}
	e := command.Parse(raw)
	var keys []string
	for _, at := range e.Keys {
		keys = append(keys, args[at])
	}
	return e, keys
}

// No write command of any engine is missing, nor has other keys.
func TestTableAgreesWithTheEngines(t *testing.T) {
	each(t, func(t *testing.T, s *testkit.Server) {
		special := map[string][][]string{}
		for _, text := range samples {
			args := strings.Split(text, " ")
			special[args[0]] = append(special[args[0]], args)
		}
		tried := 0
		for _, c := range commands(t, s) {
			if !c.write {
				continue
			}
			if !command.Known(c.name) {
				t.Errorf("%s is not in the table", c.name)
				continue
			}
			if slices.Contains(noKeys, c.name) {
				continue
			}
			tries := special[c.name]
			if tries == nil { // the first argument alone is a key
				args := []string{strings.ToUpper(c.name)}
				for i := range max(c.arity, -c.arity) + 1 {
					args = append(args, fmt.Sprint("arg", i))
				}
				if c.arity > 0 {
					args = args[:c.arity]
				}
				tries = [][]string{args}
			}
			for _, args := range tries {
				if s.Build.Line() == "redis-6.0" && slices.Contains(mistaken, strings.Join(args, " ")) {
					continue
				}
				want, refused := asked(s, args)
				if strings.Contains(refused, "no key arguments") {
					refused, want = "", nil
				}
				e, got := ours(args)
				switch {
				case refused != "":
					t.Errorf("%q: the engine says %s", args, refused)
				case e.Kind != command.Write:
					t.Errorf("%q is %s", args, e.Kind)
				case !slices.Equal(sorted(got), sorted(want)):
					t.Errorf("%q: keys %q, the engine names %q", args, got, want)
				}
				tried++
			}
		}
		if tried < 90 {
			t.Errorf("only %d commands were compared", tried)
		}
	})
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// What the table says of a command that is no write of the engines is not a write either.
func TestTableHasNoReaders(t *testing.T) {
	// Writers that engines flag otherwise, or that are older or newer than those installed.
	also := []string{"eval", "evalsha", "fcall", "substr"}
	each(t, func(t *testing.T, s *testkit.Server) {
		for _, c := range commands(t, s) {
			if c.write || slices.Contains(also, c.name) {
				continue
			}
			args := [][]byte{[]byte(c.name)}
			for range 12 {
				args = append(args, []byte("1"))
			}
			if e := command.Parse(args); e.Kind == command.Write || e.Kind == command.Flush || e.Kind == command.SwapDB || len(e.Written) > 0 {
				t.Errorf("%s is %s", c.name, e.Kind)
			}
		}
	})
}
