package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// TestClientsAreCutOffOnce: whoever was connected to a primary that died is cut off,
// by an engine that holds the address itself and by a forwarder; whoever the new primary has
// taken a write of stays, while the former one comes back, and afterwards. Nor is anybody
// cut off who is about to connect: what listens there is not replaced.
func TestClientsAreCutOffOnce(t *testing.T) {
	for _, c := range []struct {
		name, engine, version string
		nodes                 int32
		sig                   syscall.Signal
		cluster               bool
	}{
		{"pair", "valkey", "8.1", 2, syscall.SIGKILL, false},
		{"three hung", "valkey", "8.1", 3, syscall.SIGSTOP, false},
		{"forwarded pair", "redis", "6.0", 2, syscall.SIGKILL, false},
		{"forwarded three hung", "redis", "6.0", 3, syscall.SIGSTOP, false},
		{"cluster mode", "valkey", "8.1", 2, syscall.SIGKILL, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in, members := groupRequest("kept", c.engine, c.version, c.nodes), memberNames("kept", int(c.nodes))
			if c.cluster {
				in, members = clusterRequest("kept", c.engine, c.version, 1, c.nodes-1), memberNames("kept-0001", int(c.nodes))
			}
			g := s.createGroup(east, in)
			now := s.awaitRoles(members)
			former, next := s.writersOf(g, c.cluster, now)
			before := redis(t, former)
			ask(t, before, "SET", "before", "1")
			if err := syscall.Kill(s.mustPID(east, now[0]), c.sig); err != nil {
				t.Fatal(err)
			}
			if _, err := before.Do(t.Context(), "BLPOP", "nothing", "0"); err == nil || resp.IsServerError(err) {
				t.Errorf("a client of the former primary is not cut off: %v", err)
			}
			after := s.firstAccepted(next)
			id, door := ask(t, after, "CLIENT", "ID"), listenerAt(t, next)
			s.wantMessage(east, now[0]+": Finished recovery for cache nodes 0001")
			s.awaitRoles(members)
			if c.cluster {
				s.awaitAnswer(configuration(g), "PING")
			}
			if _, err := after.Do(t.Context(), "SET", "after", "2"); err != nil {
				t.Fatalf("a client of the new primary is cut off as well: %v", err)
			}
			if now := ask(t, after, "CLIENT", "ID"); now != id {
				t.Errorf("client %s has become %s", id, now)
			}
			if now := listenerAt(t, next); now != door {
				t.Errorf("another socket listens at %s: %s was %s", next, now, door)
			}
		})
	}
}

// writersOf is where writers find the primary, and where they will find the first of those
// that follow it once that leads: in cluster mode there are no addresses but the nodes' own.
func (s *service) writersOf(g types.ReplicationGroup, cluster bool, roles []string) (now, next string) {
	s.t.Helper()
	if cluster {
		return s.nodeAddress(east, roles[0]), s.nodeAddress(east, roles[1])
	}
	return primary(g), primary(g)
}

// listenerAt names the socket that listens at an address.
func listenerAt(t *testing.T, at string) string {
	t.Helper()
	a, err := netip.ParseAddrPort(at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	ip := a.Addr().As4()
	want := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port()) // as this kind of machine keeps it
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 9 && f[1] == want && f[3] == "0A" {
			return f[9]
		}
	}
	t.Fatalf("nothing listens at %s", at)
	return ""
}

func memberNames(group string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%03d", group, i+1)
	}
	return out
}

// firstAccepted connects until a write is accepted, and returns that connection.
func (s *service) firstAccepted(at string) *resp.Conn {
	s.t.Helper()
	var c *resp.Conn
	eventually(s.t, at+" accepts a write", func(ctx context.Context) (bool, error) {
		var err error
		if c, err = resp.Dial(ctx, resp.Options{Addr: at, DialTimeout: time.Second, Timeout: patience}); err != nil {
			return false, err
		}
		if _, err = c.Do(ctx, "SET", "accepted", "1"); err != nil {
			_ = c.Close() // it was refused or cut off
			return false, err
		}
		return true, nil
	})
	s.t.Cleanup(func() { _ = c.Close() }) // it only hangs up
	return c
}
