package mover

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// migrateLive follows the source until the cut-over; nobody has to switch, and the
// source is left as it was, for others to read.
func migrateLive(t *testing.T, from *origin, to *testkit.Server, by string, code int, flags ...string) *command {
	t.Helper()
	from.reading.Lock()
	defer from.reading.Unlock()
	args := []string{
		"migrate", url(from.Server), url(to), "--live", "--cutover", "auto", "--compare", "all", "--max-pause", "60s",
		"--from", by, "--state-dir", t.TempDir(), "--on-switch", "true", "--no-fence", "-o", "json",
	}
	return runs(t, code, append(args, flags...)...)
}

// clients write to a server, in transactions and otherwise, until it refuses.
type clients struct {
	t       *testing.T
	round   func(n int, i int64) []string
	stop    chan struct{}
	running sync.WaitGroup

	mu sync.Mutex
	// acked is the greatest value of each client's counter that was acknowledged.
	acked   map[string]int64
	refused int
}

// startClients starts some. Each writes to keys of its own and to keys of all.
func startClients(t *testing.T, s *testkit.Server) *clients {
	t.Helper()
	c := &clients{t: t, round: round, stop: make(chan struct{}), acked: map[string]int64{}}
	for n := range 2 {
		c.start(s, n)
	}
	t.Cleanup(c.end)
	return c
}

// start has client n write to a server.
func (c *clients) start(s *testkit.Server, n int) {
	c.t.Helper()
	conn, err := resp.Dial(c.t.Context(), resp.Options{Addr: s.Addr(), Timeout: 2 * patience})
	if err != nil {
		c.t.Fatal(err)
	}
	c.running.Go(func() {
		defer conn.Close()
		c.write(c.t, conn, n)
	})
}

func (c *clients) end() {
	c.mu.Lock()
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.mu.Unlock()
	c.running.Wait()
}

func (c *clients) write(t *testing.T, conn *resp.Conn, n int) {
	pace := time.NewTicker(2 * time.Millisecond) // leaves room for the rest of the machine
	defer pace.Stop()
	counter := fmt.Sprint("counter:", n)
	for i := int64(1); ; i++ {
		select {
		case <-c.stop:
			return
		case <-pace.C:
		}
		for _, words := range c.round(n, i) {
			_, err := conn.Do(t.Context(), strings.Fields(words)...)
			if resp.IsServerError(err, "NOREPLICAS", "EXECABORT") {
				c.mu.Lock()
				c.refused++
				c.mu.Unlock()
				return
			}
			var said *resp.ServerError
			if err != nil && (!errors.As(err, &said) || !strings.Contains(err.Error(), "no such key")) {
				t.Errorf("%s: %v", words, err)
				return
			}
		}
		c.mu.Lock()
		c.acked[counter] = i
		c.mu.Unlock()
	}
}

// round is what a client writes in its round i: sums that stay the same, names that
// change, databases that are emptied and born, groups that are read, expiries that
// are renewed.
func round(n int, i int64) []string {
	a, b := i%50, (i*7+1)%50
	all := []string{
		"MULTI", fmt.Sprintf("DECRBY account:%d %d", a, i), fmt.Sprintf("INCRBY account:%d %d", b, i), fmt.Sprintf("SET counter:%d %d", n, i), "EXEC",
		fmt.Sprintf("SET going:%d %d", n, i), fmt.Sprintf("RENAME going:%d gone:%d", n, i%9), fmt.Sprintf("DEL gone:%d", (i+4)%9),
		fmt.Sprintf("SET moving:%d:%d %d", n, i%40, i), fmt.Sprintf("MOVE moving:%d:%d 13", n, i%40),
		fmt.Sprintf("XADD events * n %d", i), fmt.Sprintf("XREADGROUP GROUP g c%d COUNT 3 STREAMS events >", n), "XTRIM events MAXLEN 200",
		fmt.Sprintf("PEXPIRE session:%d %d", i%20, 90_000_000+i), fmt.Sprintf("RPUSH list %d", i), "LPOP list",
		fmt.Sprintf("APPEND large %d", i), fmt.Sprintf("ZADD zset %d m%d", i, i%30), fmt.Sprintf("SPOP set:%d", a), fmt.Sprintf("SADD set:%d %d", b, i),
		"SELECT 12", fmt.Sprintf("HSET hash f%d %d", i%60, i), fmt.Sprintf("PERSIST session:%d", (i+3)%20),
		fmt.Sprintf("EVAL redis.call('set',KEYS[1],ARGV[1]) 1 script:%d %d", i%10, i), "SELECT 0",
	}
	if n == 0 && i%150 == 0 {
		all = append(all, "SELECT 14", "FLUSHDB", fmt.Sprintf("SET born %d", i), "SELECT 0", "SWAPDB 14 15")
	}
	return all
}

// begin is what clients find.
func begin(t *testing.T, s *testkit.Server) {
	t.Helper()
	fill(t, s)
	f := filler{s: s}
	for i := range 50 {
		f.words(fmt.Sprintf("SET account:%d 1000", i))
	}
	for i := range 20 {
		f.words(fmt.Sprintf("SET session:%d v", i))
	}
	f.words("XGROUP CREATE events g 0 MKSTREAM")
	s.Must("SET", "large", f.large())
}

// TestMatrixLive: clients write all the time. What the source holds when it takes no
// more is what the target holds, to the last write that was acknowledged.
func TestMatrixLive(t *testing.T) {
	builds := engines(t)
	for j, b := range builds {
		t.Run("to "+b.Name, func(t *testing.T) {
			t.Parallel()
			to := testkit.StartServer(t, b)
			for i, source := range builds {
				for k, by := range []string{"commands", "replica", bridged} {
					if !everything() && (i != (j+1)%len(builds) || k != j%3) {
						continue
					}
					t.Run("from "+source.Name+" by "+by, func(t *testing.T) {
						emptied(to)
						moveLive(t, testkit.StartServer(t, source), to, by)
					})
				}
			}
		})
	}
}

func moveLive(t *testing.T, from, to *testkit.Server, by string) {
	begin(t, from)
	var more []string
	switch {
	case by == bridged:
		by, more = "replica", []string{"--into", "replica"}
		if from.Build.Functions && !to.Build.Functions {
			from.Must("FUNCTION", "FLUSH") // such a target cannot be a replica
		}
	case from.Build.Functions && !to.Build.Functions:
		more = []string{"--without-functions"}
	}
	c := startClients(t, from)
	switchesTo(t, from, to, by, more...)
	testkit.Wait(t, patience, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.refused == 2 || t.Failed() }, "the source to refuse")
	c.end()
	wanted := testkit.ReadContent(t, from)
	if !to.Build.Functions {
		wanted.Functions = nil
	}
	forget(wanted)
	got := testkit.ReadContent(t, to)
	forget(got)
	if diff := wanted.Differences(got, tolerance(from, road{by: "commands"})); len(diff) > 0 {
		t.Errorf("%d differences between the source, A, and the target, B:\n%s", len(diff), strings.Join(diff[:min(len(diff), 20)], "\n"))
	}
	for key, n := range c.acked {
		if v := got.Keys[testkit.Key{Name: key}].Facets["value"]; v != fmt.Sprint(n) && v != fmt.Sprint(n+1) {
			t.Errorf("%s is %s at the target; %d was acknowledged", key, v, n)
		}
	}
	invariants(t, got)
}

// bridged is the road by which the target becomes our replica.
const bridged = "replica into replica"

// switchesTo is a live migration that goes through and says so.
func switchesTo(t *testing.T, from, to *testkit.Server, by string, more ...string) {
	t.Helper()
	r := runs(t, done, append([]string{
		"migrate", url(from), url(to), "--live", "--cutover", "auto", "--from", by, "--state-dir", t.TempDir(),
		"--max-pause", "60s", "--max-lag", "5s", "--on-switch", "true", "-o", "json",
	}, more...)...)
	var said struct {
		Switched bool
		Final    struct{ Equal bool }
	}
	if err := json.Unmarshal(r.out.Bytes(), &said); err != nil || !said.Switched || !said.Final.Equal {
		t.Errorf("%v; the report says %+v:\n%s", err, said, r.said())
	}
}

// invariants are what holds at every instant.
func invariants(t *testing.T, c *testkit.Content) {
	t.Helper()
	sum := int64(0)
	for i := range 50 {
		var n int64
		if _, err := fmt.Sscan(c.Keys[testkit.Key{Name: fmt.Sprint("account:", i)}].Facets["value"], &n); err != nil {
			t.Errorf("account %d: %v", i, err)
		}
		sum += n
	}
	if sum != 50_000 {
		t.Errorf("the accounts have %d", sum)
	}
}

// forget drops the times at which consumers were last seen, which an engine changes
// without telling anybody when they ask for entries and there are none.
func forget(c *testkit.Content) {
	for _, v := range c.Keys {
		maps.DeleteFunc(v.Facets, func(name, _ string) bool {
			return strings.HasSuffix(name, " seen-time") || strings.HasSuffix(name, " active-time")
		})
	}
}
