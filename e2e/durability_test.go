package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/resp"
)

// TestAllNodesDie kills every node of groups at once, with the service there and without
// it. With a log on disk that is synced at every write nothing is lost that was
// acknowledged, whichever node leads afterwards; without one the group comes back empty
// and says so, and serves.
func TestAllNodesDie(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.parameterGroup("logged", "valkey8")
	s.set("logged", "appendonly", "yes", "appendfsync", "always")
	groups := []string{"logged", "bare"}
	for _, group := range groups {
		in := groupRequest(group, "valkey", "8.1", 3)
		if group == "logged" {
			in.CacheParameterGroupName = aws.String("logged")
		}
		s.createGroup(east, in)
	}
	for _, down := range []bool{false, true} {
		t.Log("the service is down meanwhile:", down)
		clients, acked := map[string]*resp.Conn{}, map[string]int{}
		for _, group := range groups {
			s.awaitRoles(memberNames(group, 3))
			clients[group] = redis(t, primary(s.awaitGroup(east, group, "available")))
		}
		if down {
			s.kill()
		}
		for _, group := range groups {
			acked[group] = s.writeAndKillAll(group, clients[group])
		}
		if down {
			s.start()
		}
		s.hasAll("logged", acked["logged"])
		s.isEmpty("bare")
	}
	if said := s.said("without data"); len(said) != 2 || !strings.HasPrefix(said[0], "bare-") || !strings.HasPrefix(said[1], "bare-") {
		t.Errorf("data are said to be lost by %q", said)
	}
}

// writeAndKillAll writes to a group until all of its nodes are dead, and returns how many
// writes were acknowledged.
func (s *service) writeAndKillAll(group string, c *resp.Conn) (acked int) {
	s.t.Helper()
	ask(s.t, c, "FLUSHALL")
	done := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			if _, err := c.Do(context.Background(), "SET", "n:"+strconv.Itoa(n), strconv.Itoa(n)); err != nil {
				break
			}
			if n == 200 {
				done <- n
			}
		}
		done <- n
	}()
	<-done
	// The replicas first, so that the primary's last writes are in its own log alone.
	for i := range 3 {
		s.killEngine(east, fmt.Sprintf("%s-%03d", group, 3-i))
	}
	return <-done
}

// hasAll waits until a group serves again, and asks for everything that was acknowledged.
func (s *service) hasAll(group string, acked int) {
	s.t.Helper()
	s.awaitRoles(memberNames(group, 3))
	c := redis(s.t, primary(s.awaitGroup(east, group, "available")))
	for n := range acked {
		if got := ask(s.t, c, "GET", "n:"+strconv.Itoa(n)); got != strconv.Itoa(n) {
			s.t.Fatalf("of %d writes that were acknowledged and synced number %d is %s", acked, n, got)
		}
	}
}

// isEmpty waits until a group serves again, and wants it to have nothing.
func (s *service) isEmpty(group string) {
	s.t.Helper()
	s.awaitRoles(memberNames(group, 3))
	at := primary(s.awaitGroup(east, group, "available"))
	if n, err := try(s.t.Context(), at, "DBSIZE"); err != nil || n != "0" {
		s.t.Errorf("%s has %s keys: %v", group, n, err)
	}
}

// said are the events that have a text in them.
func (s *service) said(text string) (out []string) {
	for _, m := range s.messages(east) {
		if strings.Contains(m, text) {
			out = append(out, m)
		}
	}
	return out
}

// TestWritesNeedAReplica: min-replicas-to-write has a primary refuse writes while no
// replica is there to take them, and take them again once one is.
func TestWritesNeedAReplica(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.parameterGroup("careful", "valkey8")
	s.set("careful", "min-replicas-to-write", "1", "min-replicas-max-lag", "2")
	in := groupRequest("two", "valkey", "8.1", 2)
	in.CacheParameterGroupName = aws.String("careful")
	g := s.createGroup(east, in)
	s.awaitAnswer(primary(g), "SET", "key", "1")
	s.awaitRoles([]string{"two-001", "two-002"})
	if err := syscall.Kill(s.mustPID(east, "two-002"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes are refused", func(ctx context.Context) (bool, error) {
		_, err := try(ctx, primary(g), "SET", "key", "2")
		return resp.IsServerError(err, "NOREPLICAS"), err
	})
	if _, err := try(t.Context(), primary(g), "GET", "key"); err != nil {
		t.Errorf("reads are refused as well: %v", err)
	}
	// The one that hangs is started again in the end.
	s.awaitAnswer(primary(g), "SET", "key", "3")
	s.killEngine(east, s.awaitRoles([]string{"two-001", "two-002"})[0])
	eventually(t, "the one that was left alone takes no writes until another follows it", func(ctx context.Context) (bool, error) {
		_, err := try(ctx, primary(g), "SET", "key", "4")
		if err == nil {
			now := s.roles([]string{"two-001", "two-002"})
			return len(now) == 2, fmt.Errorf("a write is taken while there are %v", now)
		}
		return false, err
	})
}
