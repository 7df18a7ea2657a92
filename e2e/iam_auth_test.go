package e2e

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/resp"
)

// nothingHash is the SHA-256 of a body of no bytes.
const nothingHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// token is what a client logs in with: a request that the SDK has presigned.
func (u *user) token(group, user string, at time.Time) string {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, "http://"+group+"/?Action=connect&User="+user+"&X-Amz-Expires=900", http.NoBody)
	if err != nil {
		u.t.Fatal(err)
	}
	key := aws.Credentials{AccessKeyID: u.id, SecretAccessKey: u.secret}
	signed, _, err := v4.NewSigner().PresignHTTP(u.t.Context(), key, r, nothingHash, "elasticache", east, at)
	if err != nil {
		u.t.Fatal(err)
	}
	return strings.TrimPrefix(signed, "http://")
}

// says tells what becomes of a log-in at an address, and of a command after it.
func (s *vault) says(at, user, password string, command ...string) string {
	s.t.Helper()
	c, err := s.as(at, user, password)
	if err == nil {
		defer c.Close()
		_, err = c.Do(s.t.Context(), command...)
	}
	for _, code := range []string{"WRONGPASS", "NOAUTH", "NOPERM"} {
		if resp.IsServerError(err, code) {
			return code
		}
	}
	if err != nil {
		return err.Error()
	}
	return "OK"
}

// connecting is a policy that allows to connect with resources.
func connecting(resources ...string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":["` + strings.Join(resources, `","`) + `"]}]}`
}

const (
	groupARN = "arn:aws:elasticache:us-east-1:000000000000:replicationgroup:vault"
	loginARN = "arn:aws:elasticache:us-east-1:000000000000:user:shop"
)

// TestIAMLogins: a cache lets in who has an access key whose policies allow it, for as long
// as they do, through a failover and a kill of the service.
func TestIAMLogins(t *testing.T) {
	for _, v := range [][2]string{{"redis", "7.0"}, {"valkey", "9.1"}} {
		t.Run(v[0]+"-"+v[1], func(t *testing.T) {
			t.Parallel()
			service := startService(t)
			g := service.withUsers(v[0], v[1])
			service.joins(v[0])
			s := service.open()
			bob := service.newUser("bob", connecting(groupARN, loginARN))
			now := time.Now()
			for _, at := range []string{primary(g), reader(g)} {
				s.awaitSays("OK", at, "GET", func() string { return bob.token("vault", "shop", now) })
			}
			for _, at := range []string{primary(g), reader(g)} {
				for _, c := range []struct{ what, want, user, password string }{
					{"with a token", "OK", "shop", bob.token("vault", "shop", now)},
					{"of another cache", "WRONGPASS", "shop", bob.token("vault2", "shop", now)},
					{"of another user", "WRONGPASS", "shop", bob.token("vault", "admin", now)},
					{"expired", "WRONGPASS", "shop", bob.token("vault", "shop", now.Add(-16*time.Minute))},
					{"with no token", "WRONGPASS", "shop", "a-password-123456"},
					{"with a password", "OK", oddName, firstPassword},
					{"with a token as one with a password", "WRONGPASS", oddName, bob.token("vault", oddName, now)},
					{"as nobody", "NOAUTH", "", ""},
				} {
					if got := s.says(at, c.user, c.password, "GET", "app:1"); got != c.want {
						t.Errorf("%s, at %s: %s, want %s", c.what, at, got, c.want)
					}
				}
			}
			if got := s.says(primary(g), "shop", bob.token("vault", "shop", now), "CONFIG", "GET", "port"); got != "NOPERM" {
				t.Errorf("what nobody may: %s", got)
			}
			// The nodes themselves know no tokens.
			for _, m := range g.NodeGroups[0].NodeGroupMembers {
				if got := s.says(addr(m.ReadEndpoint), "shop", bob.token("vault", "shop", now), "PING"); got != "WRONGPASS" {
					t.Errorf("at a node: %s", got)
				}
			}
			s.plainRefused(primary(g))
			s.policies(g, bob)
			s.modifyUser(&elasticache.ModifyUserInput{Passwords: []string{firstPassword, secondPassword}})
			s.awaitMay(g, "OK", oddName, secondPassword, "PING")
			if s.leader(g) == 0 {
				t.Fatal("nobody leads")
			}
			s.leaderDies(g)
			s.awaitSays("OK", primary(g), "SET", func() string { return bob.token("vault", "shop", time.Now()) })
			service.kill()
			service.start()
			s.awaitSays("OK", primary(g), "SET", func() string { return bob.token("vault", "shop", time.Now()) })
			s.revoked(g, bob)
			service.quietAbout(bob.secret)
			service.quietAbout("X-Amz-Signature")
		})
	}
}

// joins has a user who logs in with tokens join the user group of a cache that serves.
func (s *service) joins(engine string) {
	s.t.Helper()
	c := s.elasticache(east)
	_, err := c.CreateUser(s.t.Context(), &elasticache.CreateUserInput{
		UserId: aws.String("shop"), UserName: aws.String("shop"), Engine: &engine, AccessString: aws.String("on ~app:* +@all"),
		AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam},
	})
	s.accepted(err, "UserAlreadyExists")
	_, err = c.ModifyUserGroup(s.t.Context(), &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("web"), UserIdsToAdd: []string{"shop"}})
	s.accepted(err, "InvalidParameterCombination")
}

func (s *vault) awaitSays(want, at, how string, token func() string) {
	s.t.Helper()
	eventually(s.t, "a log-in with a token: "+want, func(context.Context) (bool, error) {
		command := []string{how, "app:1", "x"}
		if how == "GET" {
			command = command[:2]
		}
		return s.says(at, "shop", token(), command...) == want, nil
	})
}

// policies: both resources have to be allowed, at the moment of the log-in.
func (s *vault) policies(g types.ReplicationGroup, bob *user) {
	s.t.Helper()
	host, _, _ := net.SplitHostPort(primary(g))
	for policy, want := range map[string]string{
		connecting(groupARN): "WRONGPASS", connecting(loginARN): "WRONGPASS", connecting("*"): "OK",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Describe*","Resource":"*"}]}`:                                                         "WRONGPASS",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]}`: "WRONGPASS",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}]}`:  "OK",
	} {
		s.iam("PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", policy)
		if got := s.says(primary(g), "shop", bob.token("vault", "shop", time.Now()), "PING"); got != want {
			s.t.Errorf("%s with %s: %s, want %s", host, policy, got, want)
		}
	}
	s.iam("PutUserPolicy", "UserName", "bob", "PolicyName", "p", "PolicyDocument", connecting(groupARN, loginARN))
}

// revoked: without the key there is no new log-in; without the user no connection either.
func (s *vault) revoked(g types.ReplicationGroup, bob *user) {
	s.t.Helper()
	token := bob.token("vault", "shop", time.Now())
	stays, err := s.as(primary(g), "shop", token)
	if err != nil {
		s.t.Fatal(err)
	}
	defer stays.Close()
	s.iam("UpdateAccessKey", "UserName", "bob", "AccessKeyId", bob.id, "Status", "Inactive")
	if got := s.says(primary(g), "shop", token, "PING"); got != "WRONGPASS" {
		s.t.Errorf("with a key that is disabled: %s", got)
	}
	if _, err := stays.Do(s.t.Context(), "GET", "app:1"); err != nil {
		s.t.Errorf("who is connected was cut off: %v", err)
	}
	_, err = s.elasticache(east).DeleteUser(s.t.Context(), &elasticache.DeleteUserInput{UserId: aws.String("shop")})
	s.accepted(err)
	eventually(s.t, "the connection of a user who is deleted ends", func(context.Context) (bool, error) {
		_, err := stays.Do(s.t.Context(), "GET", "app:1")
		return err != nil, nil
	})
}

// TestIAMFromTheBeginning: a cache is created with a user who logs in with tokens, and
// serves clients with TLS and without.
func TestIAMFromTheBeginning(t *testing.T) {
	t.Parallel()
	service := startService(t)
	service.withUsers("redis", "7.0")
	service.joins("redis")
	in := groupRequest("both", "redis", "7.0", 1)
	in.TransitEncryptionEnabled, in.TransitEncryptionMode, in.UserGroupIds = aws.Bool(true), types.TransitEncryptionModePreferred, []string{"web"}
	g := service.createGroup(east, in)
	s, bob := service.open(), service.newUser("bob", connecting("*"))
	for _, at := range []string{primary(g), reader(g)} {
		for _, plain := range []bool{false, true} {
			trust := s.trust
			if plain {
				trust = nil
			}
			for token, want := range map[string]bool{bob.token("both", "shop", time.Now()): true, bob.token("vault", "shop", time.Now()): false} {
				c, err := resp.Dial(t.Context(), resp.Options{Addr: at, Username: "shop", Password: token, TLS: trust, DialTimeout: patience, Timeout: patience})
				if err == nil {
					_, err = c.Do(t.Context(), "PING")
					c.Close()
				}
				if want && err != nil || !want && !resp.IsServerError(err, "WRONGPASS") {
					t.Errorf("at %s, plain %v, a good token %v: %v", at, plain, want, err)
				}
			}
		}
	}
}
