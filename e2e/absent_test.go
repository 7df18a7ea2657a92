package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"holdfast.dev/internal/resp"
)

// serverField is what a node says of itself, "" while it does not answer.
func serverField(ctx context.Context, at, field string) (string, error) {
	info, err := try(ctx, at, "INFO", "server")
	_, rest, _ := strings.Cut(info, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value, err
}

// runs are the run ids of members, by name.
func (s *service) runs(members []string) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, m := range members {
		id, err := serverField(s.t.Context(), s.nodeAddress(east, m), "run_id")
		if err != nil || id == "" {
			s.t.Fatalf("%s has run id %q: %v", m, id, err)
		}
		out[m] = id
	}
	return out
}

// TestWhatDiedWhileTheServiceWasAway: of four groups one loses its primary, one its
// replica, one both and one nothing. Each is found as it is and is made whole, and who lives
// goes on in the same process and the same role.
func TestWhatDiedWhileTheServiceWasAway(t *testing.T) {
	t.Parallel()
	s := startService(t)
	dies := map[string][]int{"first": {1}, "second": {2}, "both": {1, 2}, "none": nil}
	before, at := map[string]map[string]string{}, map[string]string{}
	for id := range dies {
		at[id] = primary(s.createGroup(east, groupRequest(id, "valkey", "8.1", 2)))
		s.awaitRoles(memberNames(id, 2))
		before[id] = s.runs(memberNames(id, 2))
		s.inStepWith(at[id], "key", id)
	}
	s.kill()
	for id, who := range dies {
		for _, n := range who {
			s.killEngine(east, fmt.Sprintf("%s-%03d", id, n))
		}
	}
	if got, err := try(t.Context(), at["second"], "GET", "key"); err != nil || got != "second" {
		t.Errorf("without a service a primary says %q: %v", got, err)
	}
	s.start()
	for id, who := range dies {
		members := memberNames(id, 2)
		lead, data := members[0], id
		switch id {
		case "first":
			lead = members[1]
		case "both": // nothing keeps its data
			data = "(nil)"
		}
		now := s.awaitRoles(members)
		if now[0] != lead {
			t.Errorf("%s is led by %s, want %s", id, now[0], lead)
		}
		after := s.runs(members)
		for i, m := range members {
			if died := slices.Contains(who, i+1); died == (after[m] == before[id][m]) {
				t.Errorf("%s was killed: %v; its run was %s and is %s", m, died, before[id][m], after[m])
			}
		}
		if got, err := try(t.Context(), at[id], "GET", "key"); err != nil || got != data {
			t.Errorf("the key of %s is %q, want %q: %v", id, got, data, err)
		}
		s.awaitGroup(east, id, "available")
	}
	if said := s.said("Failover from"); len(said) != 2 || !strings.Contains(strings.Join(said, " "), "first: ") {
		t.Errorf("of failovers the events say %q", said)
	}
	s.wantMessage(east, "both-001: Cache node 0001 restarted without data")
}

// TestCreationOutlastsNodesThatHang: a primary and a replica are stopped before their
// groups are available, another primary when its replica has just been started. They are
// started again in the end, and the groups come to be.
func TestCreationOutlastsNodesThatHang(t *testing.T) {
	t.Parallel()
	s := startService(t)
	api := s.elasticache(east)
	for _, c := range []struct{ id, node, once string }{
		{"lead", "lead-001", "lead-001"}, {"follow", "follow-002", "follow-002"}, {"late", "late-001", "late-002"},
	} {
		id, node := c.id, c.node
		if _, err := api.CreateReplicationGroup(t.Context(), groupRequest(id, "valkey", "8.1", 2)); err != nil {
			t.Fatal(err)
		}
		eventuallyFast(t, c.once+" runs", func() bool { return s.enginePID(east, c.once) != 0 })
		pid := s.mustPID(east, node)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"lead", "follow", "late"} {
		g := s.awaitGroup(east, id, "available")
		s.awaitAnswer(primary(g), "SET", "key", "value")
		s.awaitRoles(memberNames(id, 2))
	}
}

// TestReadersAreSentToReplicasThatAnswer: of two replicas behind the reader endpoint
// one hangs or dies. Whoever reads through it is cut off and finds the other one; later
// both are there again.
func TestReadersAreSentToReplicasThatAnswer(t *testing.T) {
	for _, e := range []struct{ engine, version string }{{"valkey", "8.1"}, {"redis", "6.0"}} {
		t.Run(e.engine, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, groupRequest("read", e.engine, e.version, 3))
			members := memberNames("read", 3)
			for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
				now := s.awaitRoles(members)
				pids := map[string]string{}
				for _, m := range now[1:] {
					pids[m] = fmt.Sprint(s.mustPID(east, m))
				}
				gone, stays := now[1], now[2]
				c := s.readerOf(reader(g), pids[gone])
				s.readerOf(reader(g), pids[stays])
				if err := syscall.Kill(s.mustPID(east, gone), sig); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Do(t.Context(), "GET", "key"); err == nil || resp.IsServerError(err) {
					t.Errorf("after %s a reader is not cut off: %v", sig, err)
				}
				if got, err := serverField(t.Context(), primary(g), "process_id"); err != nil || got == pids[stays] {
					t.Errorf("the primary is %s: %v", got, err)
				}
				s.readerOf(reader(g), pids[stays])
				s.awaitRoles(members)
				s.readerOf(reader(g), fmt.Sprint(s.mustPID(east, gone)))
			}
		})
	}
}

// readerOf connects to an address until a process answers there, and keeps that connection.
func (s *service) readerOf(at, pid string) *resp.Conn {
	s.t.Helper()
	var c *resp.Conn
	eventually(s.t, "process "+pid+" answers at "+at, func(ctx context.Context) (bool, error) {
		var err error
		if c, err = resp.Dial(ctx, resp.Options{Addr: at, DialTimeout: patience, Timeout: patience}); err != nil {
			return false, err
		}
		r, err := c.Do(ctx, "INFO", "server")
		if err == nil && strings.Contains(string(r.Bytes), "\nprocess_id:"+pid+"\r") {
			return true, nil
		}
		_ = c.Close() // another one answers there
		return false, err
	})
	s.t.Cleanup(func() { _ = c.Close() }) // it only hangs up
	return c
}
