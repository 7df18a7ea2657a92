package e2e

import (
	"context"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/resp"
)

var (
	kills = flag.Int("e2e.kills", 2, "primaries to kill in each failover that is timed")
	crowd = flag.Int("e2e.crowd", 0, "groups of one node that stand beside those of which a failover is timed")
)

// TestWritesAreAcceptedAgain kills or stops primaries, again and again, and prints how
// long it took until the same address accepted a write. What was acknowledged and had
// reached a replica is there afterwards.
func TestWritesAreAcceptedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		version [2]string
		sig     syscall.Signal
		cluster bool
	}{
		{"killed", [2]string{"valkey", "8.1"}, syscall.SIGKILL, false},
		{"killed behind a forwarder", [2]string{"redis", "6.0"}, syscall.SIGKILL, false},
		{"hung", [2]string{"valkey", "8.1"}, syscall.SIGSTOP, false},
		{"killed in cluster mode", [2]string{"valkey", "8.1"}, syscall.SIGKILL, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			s.crowded(*crowd)
			in, members := groupRequest("pair", c.version[0], c.version[1], 2), memberNames("pair", 2)
			if c.cluster {
				in, members = clusterRequest("pair", c.version[0], c.version[1], 1, 1), memberNames("pair-0001", 2)
			}
			g := s.createGroup(east, in)
			var took []time.Duration
			for n := range *kills {
				now := s.awaitRoles(members)
				before, after := s.writersOf(g, c.cluster, now)
				s.inStepWith(before, fmt.Sprint("key", n), "acknowledged")
				took = append(took, s.outage(after, now[0], c.sig))
				if got, err := try(t.Context(), after, "GET", fmt.Sprint("key", n)); err != nil || got != "acknowledged" {
					t.Fatalf("after failover %d the key is %q: %v", n, got, err)
				}
			}
			s.awaitRoles(members)
			logTimes(t, took)
		})
	}
}

// crowded makes groups that nothing happens to.
func (s *service) crowded(groups int) {
	s.t.Helper()
	names := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprintf("beside-%02d", i)
		in := groupRequest(names[i], "valkey", "8.1", 1)
		in.CacheNodeType = aws.String("cache.t4g.micro")
		_, err := s.elasticache(east).CreateReplicationGroup(s.t.Context(), in)
		s.accepted(err)
	}
	for _, name := range names {
		s.awaitGroup(east, name, "available")
	}
}

func logTimes(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	at := func(p int) time.Duration { return took[min(len(took)*p/100, len(took)-1)].Round(time.Millisecond) }
	t.Logf("%d failovers: writes were accepted again after %v at least, %v (p50), %v (p90), %v (p99), %v at most", len(took), at(0), at(50), at(90), at(99), at(100))
}

// awaitRoles waits until one of the members leads and all others follow it with their data.
func (s *service) awaitRoles(members []string) (now []string) {
	s.t.Helper()
	eventually(s.t, "one leads and the others follow", func(context.Context) (bool, error) {
		s.reviveIfDead()
		now = s.roles(members)
		return len(now) == len(members), nil
	})
	return now
}

// inStepWith writes a key and waits until a replica has it.
func (s *service) inStepWith(at, key, value string) {
	s.t.Helper()
	eventually(s.t, "a replica acknowledges a write", func(ctx context.Context) (bool, error) {
		c, err := resp.Dial(ctx, resp.Options{Addr: at, DialTimeout: time.Second, Timeout: 5 * time.Second})
		if err != nil {
			return false, err
		}
		defer c.Close()
		if _, err := c.Do(ctx, "SET", key, value); err != nil {
			return false, err
		}
		r, err := c.Do(ctx, "WAIT", "1", "1000")
		return err == nil && r.Int >= 1, err
	})
}

// outage signals a node's engine and tells how long it took until the address accepted
// a write again.
func (s *service) outage(at, member string, sig syscall.Signal) time.Duration {
	s.t.Helper()
	pid := s.mustPID(east, member)
	begin := time.Now()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
	eventuallyFast(s.t, "a write is accepted", func() bool { return writes(at) })
	return time.Since(begin)
}

// writes tells whether an address accepts a write within a tenth of a second.
func writes(at string) bool {
	c, err := net.DialTimeout("tcp", at, 100*time.Millisecond)
	if err != nil {
		return false
	}
	defer c.Close()
	if c.SetDeadline(time.Now().Add(100*time.Millisecond)) != nil {
		return false
	}
	if _, err := c.Write([]byte("SET written again\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	return err == nil && strings.HasPrefix(string(answer[:n]), "+OK")
}

// eventuallyFast looks every two milliseconds.
func eventuallyFast(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// TestACrashAfterTheChoiceOfAPrimary: who leads is written down, and nobody was told yet.
func TestACrashAfterTheChoiceOfAPrimary(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		if sc.name != "failover" {
			continue
		}
		said := sc.play(t, "chosen promote")
		for what, times := range map[string]int{
			"Failover from primary node pair-001 to replica node pair-002 completed": 2, // of the node and of the group
			"Recovering cache nodes 0001":                                            1, "Finished recovery for cache nodes 0001": 1,
		} {
			n := 0
			for _, m := range said {
				if strings.Contains(m, what) {
					n++
				}
			}
			if n != times {
				t.Errorf("%d events say %q, want %d:\n%s", n, what, times, strings.Join(said, "\n"))
			}
		}
	}
}
