package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// trust is what a client has that was given what "holdfast ca" prints.
func (s *service) trust() *tls.Config {
	s.t.Helper()
	out, err := exec.Command(program, "ca", "--data", s.dir).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !cfg.RootCAs.AppendCertsFromPEM(out) {
		s.t.Fatalf("there is no certificate in %q", out)
	}
	return cfg
}

// asksSecurely sends one command with TLS, to a server whose certificate is for the address.
func (s *service) asksSecurely(ctx context.Context, trust *tls.Config, at string, args ...string) (string, error) {
	c, err := resp.Dial(ctx, resp.Options{Addr: at, TLS: trust, DialTimeout: 5 * time.Second, Timeout: 10 * time.Second})
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Do(ctx, args...)
	if err != nil {
		return "", err
	}
	return text(r), nil
}

// secretly does so until it is answered.
func (s *service) secretly(at string, args ...string) string {
	s.t.Helper()
	trust, said := s.trust(), ""
	eventually(s.t, fmt.Sprintf("%v is answered at %s", args, at), func(ctx context.Context) (bool, error) {
		var err error
		said, err = s.asksSecurely(ctx, trust, at, args...)
		return err == nil, err
	})
	return said
}

func (s *service) plainRefused(at string) {
	s.t.Helper()
	if said, err := try(s.t.Context(), at, "PING"); err == nil {
		s.t.Errorf("without TLS %s says %q", at, said)
	}
}

// A group that takes nothing but TLS, on every engine: what it shows, who is let in, a
// failover, a new replica, a snapshot, a restart of the service, and what is restored.
func TestEncryptionInTransit(t *testing.T) {
	for _, c := range [][2]string{{"redis", "6.0"}, {"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}} {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in := groupRequest("orders", c[0], c[1], 2)
			in.TransitEncryptionEnabled, in.AutomaticFailoverEnabled = aws.Bool(true), aws.Bool(true)
			g := s.createGroup(east, in)
			if !aws.ToBool(g.TransitEncryptionEnabled) || g.TransitEncryptionMode != types.TransitEncryptionModeRequired {
				t.Errorf("it shows TransitEncryptionEnabled %v, mode %q", aws.ToBool(g.TransitEncryptionEnabled), g.TransitEncryptionMode)
			}
			old := s.trust()
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			for _, at := range []string{primary(g), reader(g), s.nodeAddress(east, "orders-001"), s.nodeAddress(east, "orders-002")} {
				if got := s.secretly(at, "PING"); got != "PONG" {
					t.Errorf("%s says %q", at, got)
				}
				s.plainRefused(at)
				if c, err := tls.Dial("tcp", at, old); err == nil {
					t.Errorf("%s speaks %x", at, c.ConnectionState().Version)
					_ = c.Close()
				}
				unknown := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
				if _, err := tls.Dial("tcp", at, unknown); !errors.As(err, &x509.UnknownAuthorityError{}) {
					t.Errorf("to somebody who does not know the authority %s shows: %v", at, err)
				}
			}
			for i := range 50 {
				s.secretly(primary(g), "SET", fmt.Sprint("key", i), "v")
			}
			s.secretly(primary(g), "WAIT", "1", "5000")

			s.killEngine(east, "orders-001")
			s.secretly(primary(g), "SET", "after", "v")
			s.wantMessage(east, "orders-001: Finished recovery for cache nodes 0001")
			_, err := s.elasticache(east).IncreaseReplicaCount(t.Context(), &elasticache.IncreaseReplicaCountInput{
				ReplicationGroupId: aws.String("orders"), NewReplicaCount: aws.Int32(2), ApplyImmediately: aws.Bool(true),
			})
			s.accepted(err)
			g = s.awaitGroup(east, "orders", "available")
			if got := s.secretly(s.nodeAddress(east, "orders-003"), "DBSIZE"); got != "51" {
				t.Errorf("the new replica has %s keys", got)
			}
			s.plainRefused(reader(g))

			s.snapshot(east, "orders", "first")
			s.awaitSnapshot(east, "first", "available")
			s.stop()
			s.start()
			s.secretly(primary(g), "SET", "later", "v")
			restored := groupRequest("copy", c[0], c[1], 2)
			restored.TransitEncryptionEnabled, restored.SnapshotName = aws.Bool(true), aws.String("first")
			if got := s.secretly(primary(s.createGroup(east, restored)), "DBSIZE"); got != "51" {
				t.Errorf("what was restored has %s keys", got)
			}
			s.stop()
			s.down()
			s.start()
			if got := s.secretly(primary(g), "DBSIZE"); got != "52" {
				t.Errorf("after everything was stopped there are %s keys", got)
			}
			for _, line := range strings.Split(s.lastWords(1<<20), "\n") {
				if strings.Contains(line, `"level":"ERROR"`) {
					t.Errorf("the log says: %s", line)
				}
			}
		})
	}
}

// transit asks for a mode of encryption, or with "" for none.
func transit(id, mode string) *elasticache.ModifyReplicationGroupInput {
	return &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: &id, TransitEncryptionEnabled: aws.Bool(mode != ""),
		TransitEncryptionMode: types.TransitEncryptionMode(mode), ApplyImmediately: aws.Bool(true),
	}
}

// changeTransit does so and waits until it is so.
func (s *service) changeTransit(id, mode string) types.ReplicationGroup {
	s.t.Helper()
	out, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), transit(id, mode))
	s.accepted(err, "InvalidReplicationGroupState")
	if err == nil {
		pending := out.ReplicationGroup.PendingModifiedValues
		if aws.ToString(out.ReplicationGroup.Status) == "modifying" && string(pending.TransitEncryptionMode) != mode {
			s.t.Errorf("pending is %+v", pending)
		}
	}
	g := s.awaitGroup(east, id, "available")
	if string(g.TransitEncryptionMode) != mode || aws.ToBool(g.TransitEncryptionEnabled) != (mode != "") {
		s.t.Errorf("the group shows TransitEncryptionEnabled %v, mode %q after it was to be %q", aws.ToBool(g.TransitEncryptionEnabled), g.TransitEncryptionMode, mode)
	}
	return g
}

// A group comes to encrypt, and back, while it serves and is written to. Steps that would
// lock clients out are refused.
func TestEncryptionIsTurnedOnAndOff(t *testing.T) {
	for _, c := range [][2]string{{"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}} {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			g := s.createGroup(east, groupRequest("shop", c[0], c[1], 2))
			refused := func(code_ string, in *elasticache.ModifyReplicationGroupInput) {
				t.Helper()
				if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), in); code(err) != code_ {
					t.Errorf("refused with %v, want %s", err, code_)
				}
			}
			later := transit("shop", "preferred")
			later.ApplyImmediately = nil
			refused("InvalidParameterCombination", later)
			refused("InvalidParameterCombination", transit("shop", "required"))
			refused("InvalidParameterValue", transit("shop", "sometimes"))
			s.awaitAnswer(primary(g), "SET", "before", "v")

			keys := 1
			write := func(ask func(at string, args ...string)) {
				for range 20 {
					ask(primary(g), "SET", fmt.Sprint("key", keys), "v")
					keys++
				}
			}
			plain := func(at string, args ...string) { s.awaitAnswer(at, args...) }
			secure := func(at string, args ...string) { s.secretly(at, args...) }
			for _, mode := range []string{"preferred", "required", "preferred", ""} {
				g = s.changeTransit("shop", mode)
				for _, at := range []string{primary(g), reader(g)} {
					if mode != "" {
						s.secretly(at, "PING")
					}
					if mode == "required" {
						s.plainRefused(at)
					} else {
						s.awaitAnswer(at, "PING")
					}
				}
				if mode != "" {
					write(secure)
				}
				if mode != "required" {
					write(plain)
				}
				if mode == "preferred" {
					refused("InvalidParameterCombination", &elasticache.ModifyReplicationGroupInput{
						ReplicationGroupId: aws.String("shop"), TransitEncryptionMode: "required", TransitEncryptionEnabled: aws.Bool(false),
					})
				}
				if mode == "required" {
					refused("InvalidParameterCombination", transit("shop", ""))
					s.killEngine(east, "shop-002")
					s.wantMessage(east, "shop-002: Finished recovery for cache nodes 0001")
				}
			}
			for _, at := range []string{primary(g), reader(g)} {
				eventually(t, "all keys are at "+at, func(ctx context.Context) (bool, error) {
					got, err := try(ctx, at, "DBSIZE")
					return got == fmt.Sprint(keys), fmt.Errorf("%s of %d keys, %w", got, keys, err)
				})
			}
		})
	}
}

// encryptionChanges is the scenario of a crash at any step of that.
func encryptionChanges(s *service) {
	s.t.Helper()
	g := s.awaitGroup(east, "pair", "available")
	had := ""
	eventually(s.t, "the primary endpoint answers", func(ctx context.Context) (ok bool, err error) {
		had, err = try(ctx, primary(g), "DBSIZE")
		return err == nil, err
	})
	for _, mode := range []string{"preferred", "required"} {
		s.changeTransit("pair", mode)
	}
	for _, at := range []string{primary(g), reader(g)} {
		if got := s.secretly(at, "DBSIZE"); got != had {
			s.t.Errorf("%s has %s keys of %s", at, got, had)
		}
		s.plainRefused(at)
	}
	s.deleteGroup(east, "pair", "")
}

// A cluster encrypts everything: what clients see, a failover, a new node group.
func TestAnEncryptedCluster(t *testing.T) {
	for _, c := range [][2]string{{"redis", "6.0"}, {"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}} {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			in := clusterRequest("wide", c[0], c[1], 2, 1)
			in.TransitEncryptionEnabled = aws.Bool(true)
			g := s.createGroup(east, in)
			s.plainRefused(configuration(g))
			for i := range 40 {
				s.routed(configuration(g), "SET", fmt.Sprint("key", i), "v")
			}
			s.killEngine(east, "wide-0001-001")
			s.wantMessage(east, "wide-0001-001: Finished recovery for cache nodes 0001")
			g = s.reshard(reshardRequest("wide", 3))
			for i := range 40 {
				if got := s.routed(configuration(g), "GET", fmt.Sprint("key", i)); got != "v" {
					t.Errorf("key%d is %q", i, got)
				}
			}
			s.snapshot(east, "wide", "wide-first")
			s.awaitSnapshot(east, "wide-first", "available")
			s.awaitGroup(east, "wide", "available")
			if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), transit("wide", "preferred")); code(err) != "InvalidParameterCombination" {
				t.Errorf("a cluster that encrypts is to encrypt less: %v", err)
			}
		})
	}
}

// routed sends a command with TLS to the node that has its key.
func (s *service) routed(at string, args ...string) string {
	s.t.Helper()
	trust, said := s.trust(), ""
	eventually(s.t, fmt.Sprintf("%v is answered in the cluster at %s", args, at), func(ctx context.Context) (bool, error) {
		to := at
		for range 5 {
			var err error
			said, err = s.asksSecurely(ctx, trust, to, args...)
			moved := resp.IsServerError(err, "MOVED", "ASK")
			if !moved {
				return err == nil, err
			}
			f := strings.Fields(err.Error())
			to = f[len(f)-1]
		}
		return false, errors.New("sent from node to node")
	})
	return said
}

// A cluster for both kinds of clients tells each where the nodes are for it.
func TestAClusterForBothKindsOfClients(t *testing.T) {
	t.Parallel()
	s := startService(t)
	in := clusterRequest("wide", "valkey", "8.1", 2, 0)
	g := s.createGroup(east, in)
	s.awaitAnswer(configuration(g), "PING")
	g = s.changeTransit("wide", "preferred")
	for i := range 20 {
		s.routed(configuration(g), "SET", fmt.Sprint("key", i), "v")
	}
	if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), transit("wide", "required")); code(err) != "InvalidParameterCombination" {
		t.Errorf("required with cluster mode: %v", err)
	}
	plain := 0
	for _, m := range g.MemberClusters {
		n := 0
		got, err := try(t.Context(), s.nodeAddress(east, m), "DBSIZE")
		if err == nil {
			_, err = fmt.Sscan(got, &n)
		}
		if err != nil {
			t.Error(err)
		}
		plain += n
	}
	if plain != 20 {
		t.Errorf("the nodes have %d keys", plain)
	}
	s.changeTransit("wide", "")
	s.awaitAnswer(configuration(g), "PING")
}

// What cannot be is refused before anything is made.
func TestEncryptionThatCannotBe(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for name, in := range map[string]*elasticache.CreateReplicationGroupInput{
		"a mode alone":              {TransitEncryptionMode: "preferred"},
		"a mode of nothing":         {TransitEncryptionMode: "required", TransitEncryptionEnabled: aws.Bool(false)},
		"both kinds with redis 6.0": {TransitEncryptionMode: "preferred", TransitEncryptionEnabled: aws.Bool(true), EngineVersion: aws.String("6.0")},
	} {
		req := groupRequest("never", "redis", "7.0", 2)
		req.TransitEncryptionEnabled, req.TransitEncryptionMode = in.TransitEncryptionEnabled, in.TransitEncryptionMode
		if in.EngineVersion != nil {
			req.EngineVersion = in.EngineVersion
		}
		if _, err := s.elasticache(east).CreateReplicationGroup(t.Context(), req); code(err) != "InvalidParameterCombination" {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.createGroup(east, groupRequest("old", "redis", "6.0", 1))
	if _, err := s.elasticache(east).ModifyReplicationGroup(t.Context(), transit("old", "preferred")); code(err) != "InvalidParameterCombination" {
		t.Errorf("redis 6.0 is to change while it serves: %v", err)
	}
}

// The authority is replaced while a group serves: connections stay, nodes come to show
// certificates of the new one, and replicas go on.
func TestTheAuthorityIsRotated(t *testing.T) {
	t.Parallel()
	s := startService(t)
	in := groupRequest("vault", "valkey", "8.1", 2)
	in.TransitEncryptionEnabled = aws.Bool(true)
	g := s.createGroup(east, in)
	held, err := resp.Dial(t.Context(), resp.Options{Addr: primary(g), TLS: s.trust()})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	out, err := exec.Command(program, "ca", "--rotate", "--data", s.dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	newest, _ := pem.Decode(out)
	ca, err := x509.ParseCertificate(newest.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	alone := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	alone.RootCAs.AddCert(ca)
	for _, at := range []string{primary(g), reader(g), s.nodeAddress(east, "vault-001"), s.nodeAddress(east, "vault-002")} {
		eventually(t, at+" shows a certificate of the new authority", func(ctx context.Context) (bool, error) {
			_, err := s.asksSecurely(ctx, alone, at, "PING")
			return err == nil, err
		})
	}
	ask(t, held, "SET", "key", "v")
	s.killEngine(east, "vault-002")
	s.wantMessage(east, "vault-002: Finished recovery for cache nodes 0001")
	if got := s.secretly(s.nodeAddress(east, "vault-002"), "DBSIZE"); got != "1" {
		t.Errorf("the replica has %s keys", got)
	}
}
