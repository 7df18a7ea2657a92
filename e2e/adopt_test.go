package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

// TestEnginesOutliveTheService: SIGTERM leaves them, the next start takes them
// over as they are, and a client's connection notices nothing of it.
func TestEnginesOutliveTheService(t *testing.T) {
	t.Parallel()
	s := startService(t)
	pairInStep(s)
	g := s.awaitGroup(east, "pair", "available")
	lead, follow := s.mustPID(east, "pair-001"), s.mustPID(east, "pair-002")
	client := redis(t, primary(g))
	id := ask(t, client, "CLIENT", "ID")
	for _, end := range []func(){s.stop, s.kill} {
		end()
		ask(t, client, "SET", "written", "without a service")
		s.start()
		if got := ask(t, client, "GET", "written"); got != "without a service" {
			t.Fatalf("the key is %q", got)
		}
		s.awaitGroup(east, "pair", "available")
		// The service has looked at its nodes once it can take a snapshot of one.
		s.takeSnapshot(east, "pair", "proof")
		s.deleteSnapshot(east, "proof")
		if a, b := s.mustPID(east, "pair-001"), s.mustPID(east, "pair-002"); a != lead || b != follow {
			t.Fatalf("processes %d and %d have become %d and %d", lead, follow, a, b)
		}
	}
	if got := ask(t, client, "CLIENT", "ID"); got != id {
		t.Fatalf("the client was %s and is %s", id, got)
	}
	for _, m := range s.messages(east) {
		if strings.Contains(m, "Recover") {
			t.Errorf("an event tells of a restart: %s", m)
		}
	}
}

// TestOneServiceForADirectory: the second is refused and says why; the first
// is not disturbed.
func TestOneServiceForADirectory(t *testing.T) {
	t.Parallel()
	s := startService(t)
	second := exec.Command(program, "serve", "--data", s.dir, "--listen", "127.0.0.1:0")
	out, err := second.CombinedOutput()
	if err == nil || second.ProcessState.ExitCode() != 1 {
		t.Fatalf("a second service ended with %v", err)
	}
	// Its last line is for the person who started it.
	if !strings.Contains(string(out), "another process") && !strings.Contains(string(out), "in use") {
		t.Fatalf("a second service says nothing of the first:\n%s", out)
	}
	s.createGroup(east, groupRequest("still", "valkey", "8.1", 1))
	// A taken address is refused too, and leaves nothing behind.
	third := exec.Command(program, "serve", "--data", t.TempDir(), "--listen", s.listen)
	if out, err := third.CombinedOutput(); err == nil || !strings.Contains(string(out), "cannot listen") {
		t.Fatalf("a service on a taken address ended with %v:\n%s", err, out)
	}
}

// TestDownKeepsDataAndDiscardDoesNot stops everything and starts it again, for
// engines of each kind.
func TestDownKeepsDataAndDiscardDoesNot(t *testing.T) {
	t.Parallel()
	s := startService(t)
	lines := map[string][2]string{"a": {"redis", "6.0"}, "b": {"redis", "7.0"}, "c": {"valkey", "8.1"}, "d": {"valkey", "9.1"}}
	at := map[string]string{}
	for id, v := range lines {
		testkit.Engine(t, v[0]+"-"+v[1])
		nodes := int32(1)
		if id == "c" {
			nodes = 2
		}
		g := s.createGroup(east, groupRequest(id, v[0], v[1], nodes))
		at[id] = primary(g)
		fill(t, at[id], fewKeys)
	}
	before := map[string]string{}
	for id := range lines {
		before[id] = fingerprint(t, at[id])
	}
	s.down()
	s.start()
	for id := range lines {
		s.awaitAnswer(at[id], "PING")
		same := func(ctx context.Context) (bool, error) {
			now, err := tryFingerprint(ctx, at[id])
			// Redis 6.0 tells expiries to the millisecond or two.
			return now == before[id] || lines[id][1] == "6.0" && verify.SameData(now, before[id]), err
		}
		eventually(t, "group "+id+" has its data", same)
	}
	s.down("--discard")
	s.start()
	for id := range lines {
		s.awaitAnswer(at[id], "SET", "written", "again")
		if n := ask(t, redis(t, at[id]), "DBSIZE"); n != "1" {
			t.Errorf("group %s has %s keys after --discard, not the one that was written since", id, n)
		}
	}
}
