package source_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// manyStrings fills a server with strings of every kind, among a few keys that are none.
func manyStrings(t *testing.T, s *testkit.Server) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	var cmds [][]string
	for i := range 4000 {
		binary := make([]byte, rnd.IntN(300))
		for j := range binary {
			binary[j] = byte(rnd.Uint32())
		}
		value := []string{strconv.FormatInt(int64(rnd.Uint64())>>rnd.IntN(64), 10), string(binary), "-0", strings.Repeat("a", i)}[i%4]
		if i%40 == 0 {
			value = ""
		}
		key := fmt.Sprint("key", i)
		cmds = append(cmds, []string{"SET", key, value})
		if i%7 == 0 {
			cmds = append(cmds, []string{"PEXPIREAT", key, fmt.Sprint(4_000_000_000_000 + i)})
		}
	}
	for i, n := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000} {
		cmds = append(cmds, []string{"SET", fmt.Sprint("edge", i), strings.Repeat("x", n-1) + "!"})
	}
	for i := range 60 {
		cmds = append(cmds, []string{"HSET", fmt.Sprint("hash", i), "f", fmt.Sprint(i)}, []string{"RPUSH", fmt.Sprint("list", i), "a", "b"})
	}
	pipeline(t, s, cmds)
}

// calls is how often a server carried a command out.
func calls(t *testing.T, s *testkit.Server, command string) (n int) {
	t.Helper()
	stat := s.Info("commandstats")["cmdstat_"+command]
	if stat == "" {
		return 0
	}
	if _, err := fmt.Sscanf(stat, "calls=%d,", &n); err != nil {
		t.Fatalf("%s: %q: %v", command, stat, err)
	}
	return n
}

// sameButOldExpiries compares what was read, but for expiries, which a server that
// tells only what is left of them tells a millisecond late now and then.
func sameButOldExpiries(t *testing.T, s *testkit.Server, got, want map[string]string) {
	t.Helper()
	if s.Build.Line() == "redis-6.0" {
		for _, m := range []map[string]string{got, want} {
			for key, text := range m {
				at, value, _ := strings.Cut(text, " ")
				m[key] = fmt.Sprint(at != "0", " ", value)
			}
		}
	}
	if d := compare(got, want); len(d) > 0 {
		t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 5)])
	}
}

// Strings that are read as they are equal those that are dumped, and hardly anybody
// asks for their sizes.
func TestLiveStrings(t *testing.T) {
	for _, line := range []string{"redis-6.0", "redis-7.0", "valkey-9.1"} {
		t.Run(line, func(t *testing.T) {
			s := testkit.StartServer(t, testkit.Engine(t, line), testkit.Config("notify-keyspace-events KEA"))
			manyStrings(t, s)
			s.Must("ACL", "SETUSER", "dumps", "on", ">pw", "~*", "+@all", "-getrange")
			if line != "redis-6.0" { // which lets everyone use all channels
				s.Must("ACL", "SETUSER", "dumps", "&*")
			}
			o := at(s)
			o.Username, o.Password = "dumps", "pw"
			want := contentOf(t, source.NewLive(o, source.LiveOptions{PointInTime: true}))
			if n := calls(t, s, "getrange"); n > 0 || len(want) != 4124 {
				t.Fatalf("%d keys, %d of them by GETRANGE", len(want), n)
			}
			s.Must("CONFIG", "RESETSTAT")
			got := contentOf(t, source.NewLive(at(s), source.LiveOptions{PointInTime: true}))
			sameButOldExpiries(t, s, got, want)
			if n := calls(t, s, "getrange"); n < 2000 {
				t.Errorf("%d of %d keys were read as strings", n, len(got))
			}
			if n := calls(t, s, "dump"); n > 2500 {
				t.Errorf("%d of %d keys were dumped", n, len(got))
			}
		})
	}
}

// While strings become something else, and back, and go.
func TestLiveStringsChangeType(t *testing.T) {
	for _, line := range []string{"redis-7.0", "valkey-8.1"} {
		t.Run(line, func(t *testing.T) {
			w := newWorld(t, testkit.Engine(t, line))
			w.write(2)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for i := 0; ; i++ {
					key := fmt.Sprint("s:", i*37%401) // a few, that most are strings still
					change := [][]string{{"RPUSH", key, "a", "b"}, {"SET", key, ""}, {"HSET", key, "f", "v"}, {"SET", key, strings.Repeat("long", 5000)}, {"SETNX", "none", "x"}}[i%5]
					select {
					case w.extra <- tx{{"DEL", key}, change}:
					case <-ctx.Done():
						return
					}
				}
			}()
			sh := w.shoot(t, source.LiveRules{}, source.LiveOptions{PointInTime: true})
			cancel()
			if d := w.differences(sh); len(d) > 0 {
				t.Errorf("%d differences, such as %q", len(d), d[:min(len(d), 5)])
			}
			if n := calls(t, w.srv, "getrange"); n == 0 {
				t.Error("no key was read as a string")
			}
		})
	}
}

// A large string among small ones is asked for in pieces, and never as a whole.
func TestLiveStringsLargeAmongSmall(t *testing.T) {
	s := testkit.StartServer(t, testkit.Engine(t, "valkey-8.1"))
	fill(t, s, 3000)
	s.Must("SET", "large", strings.Repeat("0123456789", 500_000))
	watch, err := resp.Dial(t.Context(), at(s))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	if _, err := watch.Do(t.Context(), "MONITOR"); err != nil {
		t.Fatal(err)
	}
	asked := make(chan []string, 1)
	go func() {
		var about []string
		for {
			r, err := watch.Receive()
			if err != nil || strings.Contains(string(r.Bytes), `"ECHO" "the end"`) {
				asked <- about
				return
			}
			if strings.Contains(string(r.Bytes), `"large"`) || strings.Contains(string(r.Bytes), `"MGET"`) {
				about = append(about, string(r.Bytes))
			}
		}
	}()
	src := source.NewLive(at(s), source.LiveOptions{})
	if got := read(t, src); len(got) != 3001 {
		t.Errorf("%d keys", len(got))
	}
	s.Must("ECHO", "the end")
	pieces := 0
	for _, line := range <-asked {
		_, command, _ := strings.Cut(line, "] ")
		var from, to int
		switch n, _ := fmt.Sscanf(command, `"GETRANGE" "large" "%d" "%d"`, &from, &to); {
		case n == 2 && to-from < 256<<10:
			pieces++
		case strings.HasPrefix(command, `"MEMORY"`), strings.HasPrefix(command, `"TYPE"`), strings.HasPrefix(command, `"STRLEN"`), strings.HasPrefix(command, `"PEXPIRETIME"`):
		default:
			t.Errorf("the server was asked %s", command)
		}
	}
	if pieces < 5_000_000/(256<<10) || src.Report().Pieces != 1 {
		t.Errorf("%d pieces of %d values", pieces, src.Report().Pieces)
	}
	if n := calls(t, s, "getrange"); n < 1500 {
		t.Errorf("%d keys were read as strings", n)
	}
}
