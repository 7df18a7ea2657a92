package mover

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// secured is a cluster, or a server, that speaks TLS alone and knows a user.
type secured struct {
	nodes []*testkit.Server // primaries, then replicas
	first int               // how many of them are primaries
	ca    *testkit.CA
	pw    string // a file with the user's password
}

const moverPassword = "correct-horse"

// newSecured starts one: a cluster of so many primaries with a replica each, or a server where that is 0.
func newSecured(t *testing.T, b catalog.Build, primaries int) *secured {
	t.Helper()
	testkit.SpeaksTLS(t, b)
	s := &secured{ca: testkit.NewCA(t), first: max(primaries, 1), pw: write(t, "pw", []byte(moverPassword+"\n"))}
	if primaries == 0 {
		s.nodes = []*testkit.Server{testkit.StartServer(t, b, s.ca.TLS("127.0.0.1"))}
	} else {
		s.nodes = testkit.StartCluster(t, b, primaries, 1, s.ca.TLS("127.0.0.1")).All()
	}
	for _, n := range s.nodes {
		words := []any{"ACL", "SETUSER", "mover", "on", ">" + moverPassword, "~*", "+@all"}
		if !strings.HasPrefix(b.Version, "6.0") {
			words = append(words, "&*") // since 6.2 users have no channels by themselves
		}
		n.Must(words...)
	}
	return s
}

func (s *secured) primaries() []*testkit.Server { return s.nodes[:s.first] }

// url names the last node, which a replica is in a cluster.
func (s *secured) url() string {
	n := s.nodes[len(s.nodes)-1]
	return fmt.Sprintf("rediss://mover@%s/?cacert=%s", net.JoinHostPort(n.Host, strconv.Itoa(n.Port)), s.ca.File())
}

// runs is a run with the user's password; every end speaks TLS.
func (s *secured) runs(t *testing.T, code int, args ...string) *command {
	t.Helper()
	return runs(t, code, append(args, "--password-file", s.pw)...)
}

func (s *secured) emptied() {
	for _, n := range s.primaries() {
		emptied(n)
	}
}

// TestMatrixOfTLS: between clusters that speak TLS alone, with a user of theirs, every command works.
func TestMatrixOfTLS(t *testing.T) {
	for _, pair := range [][2]string{{"valkey-9.1", "redis-7.0"}, {"redis-7.0", "valkey-9.1"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			t.Parallel()
			from, to := newSecured(t, testkit.Engine(t, pair[0]), 2), newSecured(t, testkit.Engine(t, pair[1]), 3)
			everyCommand(t, from, to)
		})
	}
}

func everyCommand(t *testing.T, from, to *secured) {
	from.runs(t, done, "generate", from.url(), "--keys", "3000")
	wanted := testkit.ReadContent(t, from.primaries()...)
	if len(wanted.Keys) != 3000 {
		t.Fatalf("%d keys were generated", len(wanted.Keys))
	}
	for _, by := range []string{"replica", "commands"} {
		dir := t.TempDir()
		from.runs(t, done, "backup", from.url(), filepath.Join(dir, "b.rdb"), "--from", by)
		from.runs(t, done, "restore", filepath.Join(dir, "*.rdb"), to.url()).says("identical")
		want(t, wanted, 0, to.primaries()...)
		to.emptied()
		from.runs(t, done, "migrate", from.url(), to.url(), "--from", by).says("identical")
		want(t, wanted, 0, to.primaries()...)
		to.emptied()
	}
	from.runs(t, done, "migrate", from.url(), to.url(), "--no-verify")
	from.runs(t, done, "verify", from.url(), to.url()).says("identical")
	a := from.runs(t, done, "fingerprint", from.url()).fingerprint()
	if b := from.runs(t, done, "fingerprint", to.url()).fingerprint(); a != b || len(a) < 64 {
		t.Errorf("the fingerprints are %q and %q", a, b)
	}
	to.emptied()
	for _, by := range []string{"replica", "commands"} {
		follow(t, from, to, by)
		to.emptied()
	}
}

// follow moves everything while a client writes.
func follow(t *testing.T, from, to *secured, by string) {
	stop := make(chan struct{})
	var writer sync.WaitGroup
	acked := 0
	writer.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, n := range from.primaries() {
				// The key is that primary's, or it says so.
				if _, err := n.Try("SET", "counter:"+by, i); err == nil {
					acked = i
				} else if !strings.Contains(err.Error(), "MOVED") {
					return // held for good
				}
			}
		}
	})
	r := from.runs(t, done, "migrate", from.url(), to.url(), "--live", "--cutover", "auto", "--from", by, "--state-dir", t.TempDir(),
		"--max-pause", "60s", "--max-lag", "5s", "--on-switch", "true")
	close(stop)
	writer.Wait()
	wanted := testkit.ReadContent(t, from.primaries()...)
	want(t, wanted, 0, to.primaries()...)
	if v := wanted.Keys[testkit.Key{Name: "counter:" + by}].Facets["value"]; v != strconv.Itoa(acked) || acked == 0 {
		t.Errorf("the source holds %q, and %d was acknowledged:\n%s", v, acked, r.said())
	}
	for _, n := range from.primaries() {
		n.Must("CONFIG", "SET", "min-replicas-to-write", 0)
	}
}

// fingerprint is what the command of that name printed.
func (c *command) fingerprint() string {
	_, after, _ := strings.Cut(c.out.String(), "hf1:")
	sum, _, _ := strings.Cut(after, "\n")
	return sum
}

// TestReplicaByTLS: a target that fetches its data by TLS does so where it trusts what we
// show it. Where it does not it is filled by commands, if anything will do.
func TestReplicaByTLS(t *testing.T) {
	t.Parallel()
	b := testkit.Engine(t, "valkey-9.1")
	from, to := newSecured(t, testkit.Engine(t, "redis-8.0"), 0), newSecured(t, b, 0)
	from.runs(t, done, "generate", from.url(), "--keys", "2000")
	wanted := testkit.ReadContent(t, from.primaries()...)
	file := filepath.Join(t.TempDir(), "b.rdb")
	from.runs(t, done, "backup", from.url(), file)
	trusted, key := to.ca.Issue([]string{"mover"})
	foreign, foreignKey := testkit.NewCA(t).Issue([]string{"mover"})
	show := []string{"--replica-tls-cert", trusted, "--replica-tls-key", key}
	foreigner := []string{"--replica-tls-cert", foreign, "--replica-tls-key", foreignKey}
	restore := func(code int, into string, more []string, says ...string) {
		t.Helper()
		to.nodes[0].Must("CLIENT", "SETNAME", "holdfast") // or our own connection would be somebody else's
		to.runs(t, code, append([]string{"restore", file, to.url(), "--into", into}, more...)...).says(says...)
		if code == done {
			want(t, wanted, 0, to.primaries()...)
		} else if n := keys(t, to.nodes[0]); n > 0 {
			t.Errorf("%d keys are there", n)
		}
		to.emptied()
	}
	restore(done, "auto", nil, "filled by RESTORE", "--replica-tls-cert")
	restore(done, "auto", show, "filled as our replica")
	restore(done, "auto", foreigner, "filled by RESTORE", "does not accept our certificate")
	restore(failed, "replica", nil, "--replica-tls-cert")
	restore(failed, "replica", foreigner, "does not accept our certificate")
	restore(done, "replica", show, "filled as our replica")
	restore(misused, "restore", show, "--into restore")

	live := func(code int, more []string) *command {
		return to.runs(t, code, append([]string{
			"migrate", from.url(), to.url(), "--live", "--cutover", "auto", "--into", "replica", "--state-dir", t.TempDir(),
			"--max-pause", "60s", "--max-lag", "5s", "--on-switch", "true", "--no-fence",
		}, more...)...)
	}
	live(failed, nil).says("--replica-tls-cert")
	live(failed, foreigner).says("does not accept our certificate")
	live(done, show)
	want(t, wanted, 0, to.primaries()...)
}
