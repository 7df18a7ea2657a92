package e2e

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

const (
	firstPassword  = "first-password-123"
	secondPassword = "second-password-45"
	// oddName and oddPattern have what configuration files take for more than itself.
	oddName    = `a"p\p'#{x`
	oddPattern = `~we"i'rd\*#`
)

// withUsers makes a user group and a replication group that uses it.
func (s *service) withUsers(engine, version string) types.ReplicationGroup {
	s.t.Helper()
	c := s.elasticache(east)
	user := func(id, name, rules string, passwords ...string) {
		s.t.Helper()
		_, err := c.CreateUser(s.t.Context(), &elasticache.CreateUserInput{
			UserId: &id, UserName: &name, Engine: &engine, AccessString: &rules, Passwords: passwords,
		})
		s.accepted(err, "UserAlreadyExists")
	}
	user("app", oddName, "on ~app:* "+oddPattern+" +@all", firstPassword)
	user("nobody", "default", "off", firstPassword)
	_, err := c.CreateUserGroup(s.t.Context(), &elasticache.CreateUserGroupInput{
		UserGroupId: aws.String("web"), Engine: &engine, UserIds: []string{"app", "nobody"},
	})
	s.accepted(err, "UserGroupAlreadyExists")
	in := groupRequest("vault", engine, version, 2)
	in.TransitEncryptionEnabled, in.UserGroupIds = aws.Bool(true), []string{"web"}
	in.AutomaticFailoverEnabled = aws.Bool(true)
	return s.createGroup(east, in)
}

func (s *vault) as(at, user, password string) (*resp.Conn, error) {
	return resp.Dial(s.t.Context(), resp.Options{
		Addr: at, Username: user, Password: password, TLS: s.trust, RESP2: true, DialTimeout: 10 * time.Second, Timeout: 20 * time.Second,
	})
}

// may tells whether a user may give a command everywhere, or, where it does not, why not.
func (s *vault) may(g types.ReplicationGroup, user, password string, command ...string) string {
	for _, at := range nodesOf(g) {
		c, err := s.as(at, user, password)
		if err == nil {
			_, err = c.Do(s.t.Context(), command...)
			c.Close()
		}
		for _, code := range []string{"WRONGPASS", "NOAUTH", "NOPERM"} {
			if resp.IsServerError(err, code) {
				return code
			}
		}
		if err != nil {
			return err.Error()
		}
	}
	return "OK"
}

func (s *vault) awaitMay(g types.ReplicationGroup, want, user, password string, command ...string) {
	s.t.Helper()
	eventually(s.t, user+" may, or may not, "+strings.Join(command, " ")+": "+want, func(context.Context) (bool, error) {
		return s.may(g, user, password, command...) == want, nil
	})
}

func (s *vault) modifyUser(in *elasticache.ModifyUserInput) {
	s.t.Helper()
	in.UserId = aws.String("app")
	_, err := s.elasticache(east).ModifyUser(s.t.Context(), in)
	s.accepted(err)
}

// userTold waits until all nodes know a user as it is, and prints its status by then.
func (s *vault) userTold(id string) (status string) {
	s.t.Helper()
	eventually(s.t, "all nodes know the user "+id, func(ctx context.Context) (bool, error) {
		out, err := s.elasticache(east).DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &id})
		if code(err) == "UserNotFound" {
			status = "gone"
			return true, nil
		}
		if err != nil {
			return false, err
		}
		status = *out.Users[0].Status
		return status == "active", nil
	})
	return status
}

// TestUsers: users log in to every node with what their access string gives and nothing
// else, what is changed of them holds everywhere, and a failover changes nothing of it.
func TestUsers(t *testing.T) {
	for _, v := range [][2]string{{"redis", "6.0"}, {"redis", "7.0"}, {"valkey", "9.1"}} {
		t.Run(v[0]+"-"+v[1], func(t *testing.T) {
			t.Parallel()
			service := startService(t)
			g := service.withUsers(v[0], v[1])
			s := service.open()
			if !slices.Equal(g.UserGroupIds, []string{"web"}) {
				t.Errorf("it uses %v", g.UserGroupIds)
			}
			s.awaitMay(g, "OK", oddName, firstPassword, "GET", "app:1")
			for _, c := range []struct{ want, user, password, command string }{
				{"NOAUTH", "", "", "GET app:1"},
				{"WRONGPASS", oddName, secondPassword, "GET app:1"},
				{"WRONGPASS", "default", firstPassword, "GET app:1"},
				{"WRONGPASS", "web", firstPassword, "GET app:1"},
				{"NOPERM", oddName, firstPassword, "GET other"},
				{"NOPERM", oddName, firstPassword, "CONFIG GET port"},
				{"NOPERM", oddName, firstPassword, "ACL SETUSER app allkeys"},
				{"NOPERM", oddName, firstPassword, "REPLICAOF NO ONE"},
			} {
				if got := s.may(g, c.user, c.password, strings.Fields(c.command)...); got != c.want {
					t.Errorf("%s as %q with %q: %s, want %s", c.command, c.user, c.password, got, c.want)
				}
			}
			stays, err := s.as(reader(g), oddName, firstPassword)
			if err != nil {
				t.Fatal(err)
			}
			defer stays.Close()

			s.modifyUser(&elasticache.ModifyUserInput{AppendAccessString: aws.String("-@dangerous +info -get"), Passwords: []string{firstPassword, secondPassword}})
			s.userTold("app")
			s.awaitMay(g, "NOPERM", oddName, secondPassword, "GET", "app:1")
			s.awaitMay(g, "OK", oddName, secondPassword, "STRLEN", "app:1")
			if _, err := stays.Do(t.Context(), "GET", "app:1"); !resp.IsServerError(err, "NOPERM") {
				t.Errorf("a client that is connected has its former permissions, or is cut off: %v", err)
			}
			s.modifyUser(&elasticache.ModifyUserInput{Passwords: []string{secondPassword}})
			s.userTold("app")
			if got := s.may(g, oddName, firstPassword, "STRLEN", "app:1"); got != "WRONGPASS" {
				t.Errorf("the former password: %s", got)
			}
			if _, err := stays.Do(t.Context(), "STRLEN", "app:1"); err != nil {
				t.Errorf("another password has cut a client off: %v", err)
			}

			s.leaderDies(g)
			if got := s.may(g, oddName, secondPassword, "GET", "app:1"); got != "NOPERM" {
				t.Errorf("after the failover: %s", got)
			}

			if _, err := s.elasticache(east).DeleteUser(t.Context(), &elasticache.DeleteUserInput{UserId: aws.String("app")}); err != nil {
				t.Fatal(err)
			}
			deleted := time.Now()
			eventually(t, "nobody is the user any more", func(context.Context) (bool, error) {
				return s.may(g, oddName, secondPassword, "STRLEN", "app:1") == "WRONGPASS", nil
			})
			t.Logf("after DeleteUser was answered every node refused the user within %v", time.Since(deleted).Round(time.Millisecond))
			if got := s.userTold("app"); got != "gone" {
				t.Errorf("the deleted user is %s", got)
			}
			if _, err := stays.Do(t.Context(), "STRLEN", "app:1"); err == nil {
				t.Error("a client of the deleted user goes on")
			}
		})
	}
}

// leaderDies kills the primary of a group, and waits until both nodes are there again.
func (s *vault) leaderDies(g types.ReplicationGroup) {
	s.t.Helper()
	lead := 0 // which as a process id would mean this test itself
	eventually(s.t, "the primary says who it is", func(context.Context) (bool, error) {
		lead = s.leader(g)
		return lead != 0, nil
	})
	if err := syscall.Kill(lead, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "another one leads, with a replica", func(context.Context) (bool, error) {
		return s.leader(g) != lead && s.may(g, oddName, secondPassword, "PING") == "OK", nil
	})
	s.awaitGroup(east, "vault", "available")
}

// leader is the process id of the primary; 0 while it cannot be told.
func (s *vault) leader(g types.ReplicationGroup) int {
	c, err := s.as(primary(g), oddName, secondPassword)
	if err != nil {
		return 0
	}
	defer c.Close()
	r, err := c.Do(s.t.Context(), "INFO", "server")
	if err != nil || !strings.Contains(text(r), "process_id") {
		return 0
	}
	return infoNumber(s.t, text(r), "process_id")
}
