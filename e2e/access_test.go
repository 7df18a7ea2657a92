package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

const (
	firstToken  = "first-token-1234"
	secondToken = "second-token-5678"
	wrongToken  = "no-token-of-ours"
)

// protected makes a group that encrypts and asks for firstToken.
func (s *service) protected(engine, version string, nodes int32) types.ReplicationGroup {
	s.t.Helper()
	in := groupRequest("vault", engine, version, nodes)
	in.TransitEncryptionEnabled, in.AuthToken = aws.Bool(true), aws.String(firstToken)
	if nodes > 1 {
		in.AutomaticFailoverEnabled = aws.Bool(true)
	}
	return s.createGroup(east, in)
}

// vault is a service with a group that asks for tokens.
type vault struct {
	*service
	trust *tls.Config
}

// open learns which certificates the nodes of the group show.
func (s *service) open() *vault {
	s.t.Helper()
	out, err := exec.Command(program, "ca", "--data", s.dir).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(out) {
		s.t.Fatalf("no certificate in:\n%s", out)
	}
	return &vault{s, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}

// withToken logs in as clients do that know no user names.
func (s *vault) withToken(at, token string) (*resp.Conn, error) {
	return resp.Dial(s.t.Context(), resp.Options{
		Addr: at, Password: token, TLS: s.trust, RESP2: true, DialTimeout: 10 * time.Second, Timeout: 20 * time.Second,
	})
}

// admits tells whether a token, or none, lets a client in that gives a command.
func (s *vault) admits(at, token string) (bool, error) {
	c, err := s.withToken(at, token)
	if err == nil {
		defer c.Close()
		_, err = c.Do(s.t.Context(), "DBSIZE")
	}
	if resp.IsServerError(err, "WRONGPASS", "NOAUTH") {
		return false, nil
	}
	return err == nil, err
}

// nodesOf are the addresses of all nodes and endpoints of a group.
func nodesOf(g types.ReplicationGroup) []string {
	at := []string{primary(g), reader(g)}
	for _, m := range g.NodeGroups[0].NodeGroupMembers {
		at = append(at, addr(m.ReadEndpoint))
	}
	return at
}

// valid waits until everywhere just these tokens are.
func (s *vault) valid(g types.ReplicationGroup, tokens ...string) {
	s.t.Helper()
	for _, at := range nodesOf(g) {
		s.validAt(at, tokens...)
	}
}

func (s *vault) validAt(at string, tokens ...string) {
	s.t.Helper()
	for _, token := range []string{"", wrongToken, firstToken, secondToken} {
		want := slices.Contains(tokens, token)
		eventually(s.t, "the right tokens are valid at "+at, func(context.Context) (bool, error) {
			got, err := s.admits(at, token)
			return got == want, err
		})
	}
}

func (s *vault) modifyToken(strategy types.AuthTokenUpdateStrategyType, token string) {
	s.t.Helper()
	_, err := s.elasticache(east).ModifyReplicationGroup(s.t.Context(), &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: aws.String("vault"), AuthToken: aws.String(token), AuthTokenUpdateStrategy: strategy, ApplyImmediately: aws.Bool(true),
	})
	s.accepted(err)
}

// tokenTold waits until no node is to be told of a token any more.
func (s *vault) tokenTold() (g types.ReplicationGroup) {
	s.t.Helper()
	eventually(s.t, "all nodes know the token", func(context.Context) (bool, error) {
		g = s.awaitGroup(east, "vault", "available")
		return g.PendingModifiedValues == nil || g.PendingModifiedValues.AuthTokenStatus == "", nil
	})
	return g
}

// TestAuthToken: a token lets clients in and nothing else does, it is replaced with
// clients connected, what was revoked is so on every node, and a failover changes nothing.
func TestAuthToken(t *testing.T) {
	for _, v := range [][2]string{{"redis", "7.0"}, {"valkey", "8.1"}} {
		t.Run(v[0], func(t *testing.T) {
			t.Parallel()
			service := startService(t)
			g := service.protected(v[0], v[1], 2)
			s := service.open()
			if !aws.ToBool(g.AuthTokenEnabled) || g.AuthTokenLastModifiedDate == nil {
				t.Errorf("it is not shown to have a token: %+v", g)
			}
			s.valid(g, firstToken)
			stays, err := s.withToken(primary(g), firstToken)
			if err != nil {
				t.Fatal(err)
			}
			defer stays.Close()

			s.modifyToken(types.AuthTokenUpdateStrategyTypeRotate, secondToken)
			s.tokenTold()
			s.valid(g, firstToken, secondToken)
			s.modifyToken(types.AuthTokenUpdateStrategyTypeSet, secondToken)
			revoked := time.Now()
			for _, at := range nodesOf(g) {
				eventually(t, "the former token is revoked", func(context.Context) (bool, error) {
					in, err := s.admits(at, firstToken)
					return !in, err
				})
			}
			t.Logf("after SET was answered every node refused the former token within %v", time.Since(revoked).Round(time.Millisecond))
			s.valid(g, secondToken)
			if _, err := stays.Do(t.Context(), "SET", "k", "v"); err != nil {
				t.Errorf("a client that was connected was cut off: %v", err)
			}

			leads := s.awaitRolesOf(g)
			if err := syscall.Kill(leads, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "another one leads", func(context.Context) (bool, error) {
				c, err := s.withToken(primary(g), secondToken)
				if err != nil {
					return false, nil
				}
				defer c.Close()
				_, err = c.Do(t.Context(), "SET", "after", "1")
				return err == nil, nil
			})
			s.awaitBoth(g)
			s.valid(g, secondToken)
			for _, m := range s.messages(east) {
				if strings.Contains(m, firstToken) || strings.Contains(m, secondToken) {
					t.Errorf("an event tells a token: %s", m)
				}
			}
		})
	}
}

// awaitRolesOf returns the process id of the primary of a group that is in step.
func (s *vault) awaitRolesOf(g types.ReplicationGroup) int {
	s.t.Helper()
	s.awaitBoth(g)
	c, err := s.withToken(primary(g), secondToken)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Do(s.t.Context(), "INFO", "server")
	if err != nil {
		s.t.Fatal(err)
	}
	return infoNumber(s.t, text(r), "process_id")
}

// awaitBoth waits until the primary has a replica that is online.
func (s *vault) awaitBoth(g types.ReplicationGroup) {
	s.t.Helper()
	eventually(s.t, "the replica is online", func(context.Context) (bool, error) {
		c, err := s.withToken(primary(g), secondToken)
		if err != nil {
			return false, nil
		}
		defer c.Close()
		r, err := c.Do(s.t.Context(), "INFO", "replication")
		return err == nil && strings.Contains(text(r), "state=online"), nil
	})
}

func infoNumber(t *testing.T, text, name string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			for _, c := range rest {
				n = 10*n + int(c-'0')
			}
		}
	}
	if n == 0 {
		t.Fatalf("no %s in:\n%s", name, text)
	}
	return n
}

// tokens is the scenario that is crashed: a token is replaced by another.
func tokens(in *service) {
	in.t.Helper()
	s := in.open()
	g := s.awaitGroup(east, "vault", "available")
	s.modifyToken(types.AuthTokenUpdateStrategyTypeRotate, secondToken)
	s.tokenTold()
	s.valid(g, firstToken, secondToken)
	s.modifyToken(types.AuthTokenUpdateStrategyTypeSet, secondToken)
	s.tokenTold()
	s.valid(g, secondToken)
	s.deleteGroup(east, "vault", "")
}

// TestTheCommandsOfAuth runs the page about tokens.
func TestTheCommandsOfAuth(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startService(t)
	home := t.TempDir()
	for name, to := range map[string]string{"state/holdfast": s.dir, "bin/holdfast": program} {
		link := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	var p page
	if n := p.read(t, string(text)); n < 10 {
		t.Fatalf("only %d commands are found in the page", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = home, strings.NewReader(p.script.String())
	cmd.Env = append(s.shell(east).env, "XDG_STATE_HOME="+filepath.Join(home, "state"), "PATH="+filepath.Join(home, "bin")+":"+redisCLI(t)+":"+os.Getenv("PATH"))
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// redisCLI is where a client is that speaks TLS: it comes with the engine.
func redisCLI(t *testing.T) string {
	t.Helper()
	dir := filepath.Dir(testkit.Engine(t, "redis-7.0").Server)
	if _, err := os.Stat(filepath.Join(dir, "redis-cli")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestAuthTokenInClusterMode: every node of every shard knows the tokens.
func TestAuthTokenInClusterMode(t *testing.T) {
	t.Parallel()
	service := startService(t)
	in := clusterRequest("vault", "valkey", "8.1", 2, 1)
	in.TransitEncryptionEnabled, in.AuthToken = aws.Bool(true), aws.String(firstToken)
	service.createGroup(east, in)
	s := service.open()
	out, err := s.elasticache(east).DescribeCacheClusters(t.Context(), &elasticache.DescribeCacheClustersInput{ShowCacheNodeInfo: aws.Bool(true)})
	if err != nil || len(out.CacheClusters) != 4 {
		t.Fatalf("%d nodes: %v", len(out.CacheClusters), err)
	}
	valid := func(tokens ...string) {
		t.Helper()
		for _, k := range out.CacheClusters {
			s.validAt(addr(k.CacheNodes[0].Endpoint), tokens...)
		}
	}
	valid(firstToken)
	s.modifyToken(types.AuthTokenUpdateStrategyTypeRotate, secondToken)
	valid(firstToken, secondToken)
	s.modifyToken(types.AuthTokenUpdateStrategyTypeSet, secondToken)
	valid(secondToken)
	s.tokenTold()
}
