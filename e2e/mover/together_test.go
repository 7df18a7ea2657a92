package mover

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// again gives a server commands, over a connection of its own, until the test ends.
func again(t *testing.T, s *testkit.Server, command func(i int) []string) {
	t.Helper()
	c, err := resp.Dial(t.Context(), resp.Options{Addr: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Do(context.Background(), command(i)...); err != nil {
				t.Errorf("%v: %v", command(i), err)
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		done.Wait()
		_ = c.Close() // it only hangs up
	})
}

// TestSomebodyElseEndsThePause: while writes are held back to fix the instant,
// another client lets them go, as a second backup of the same server does, or a
// fail-over. What is called point-in-time is it all the same.
func TestSomebodyElseEndsThePause(t *testing.T) {
	b := testkit.Engine(t, "valkey-8.1")
	from, to := testkit.StartServer(t, b), testkit.StartServer(t, b)
	const pairs = 230
	name := strings.Repeat("long:", 100)
	again(t, from, func(int) []string {
		return []string{"EVAL", "for i = 0, ARGV[2] - 1 do redis.call('INCR', ARGV[1] .. 'a:' .. i) redis.call('INCR', ARGV[1] .. 'b:' .. i) end", "0", name, fmt.Sprint(pairs)}
	})
	again(t, from, func(int) []string { return []string{"CLIENT", "UNPAUSE"} })
	path := filepath.Join(t.TempDir(), "x.rdb")
	for range 8 {
		c := holdfast(t, "backup", url(from), path, "--from", "commands").start()
		c.ends(done, failed)
		if c.ProcessState.ExitCode() == failed {
			continue // no instant could be had, and that is said
		}
		c.says("point-in-time")
		emptied(to)
		runs(t, done, "restore", path, url(to))
		torn := 0
		got := testkit.ReadContent(t, to).Keys
		for i := range pairs {
			one, other := got[testkit.Key{Name: fmt.Sprint(name+"a:", i)}].Facets["value"], got[testkit.Key{Name: fmt.Sprint(name+"b:", i)}].Facets["value"]
			if one != other {
				torn++
			}
		}
		if torn > 0 {
			t.Errorf("%d of %d pairs are not of one instant", torn, pairs)
		}
	}
}
