package iamtoken_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/iamtoken"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want = iamtoken.Want{Region: "eu-west-1", Cache: "orders", User: "shop"}
)

// keys has one key.
type keys struct{}

func (keys) Secret(id string) (string, sigv4.Identity, bool) {
	return "the-secret", sigv4.Identity{ARN: "arn:aws:iam::000000000000:user/shop"}, id == "AKIASHOP"
}

// asked is what is signed, and how.
type asked struct {
	method, host, path, query, region, service, key, secret, session string
	at                                                               time.Time
}

func usual() asked {
	return asked{"GET", "orders", "/", "Action=connect&User=shop&X-Amz-Expires=900", "eu-west-1", "elasticache", "AKIASHOP", "the-secret", "", now}
}

// presign makes a token as the AWS SDK does.
func presign(t testing.TB, a asked) string {
	t.Helper()
	r, err := http.NewRequest(a.method, "http://"+a.host+a.path+"?"+a.query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(),
		aws.Credentials{AccessKeyID: a.key, SecretAccessKey: a.secret, SessionToken: a.session}, r, emptyHash, a.service, a.region, a.at)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(signed, "http://")
}

func TestAToken(t *testing.T) {
	token := presign(t, usual())
	who, err := iamtoken.Check(token, want, keys{}, now)
	if err != nil || who.AccessKeyID != "AKIASHOP" || who.ARN != "arn:aws:iam::000000000000:user/shop" {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, err := iamtoken.Check(token, want, keys{}, now.Add(15*time.Minute)); err != nil {
		t.Errorf("at its last second: %v", err)
	}
	if _, err := iamtoken.Check(token, want, keys{}, now.Add(-14*time.Minute)); err != nil {
		t.Errorf("by a clock that is late: %v", err)
	}
	other := want
	other.Cache = "Orders"
	if _, err := iamtoken.Check(token, other, keys{}, now); err != nil {
		t.Errorf("for an id in another case: %v", err)
	}
}

// TestTokensThatAreRefused: each of them is rightly signed, for something else.
func TestTokensThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*asked){
		"another cache":     func(a *asked) { a.host = "orders2" },
		"a port":            func(a *asked) { a.host = "orders:6379" },
		"capitals":          func(a *asked) { a.host = "Orders" },
		"another user":      func(a *asked) { a.query = "Action=connect&User=admin&X-Amz-Expires=900" },
		"no user":           func(a *asked) { a.query = "Action=connect&X-Amz-Expires=900" },
		"two users":         func(a *asked) { a.query = "Action=connect&User=shop&User=admin&X-Amz-Expires=900" },
		"another action":    func(a *asked) { a.query = "Action=DeleteUser&User=shop&X-Amz-Expires=900" },
		"serverless":        func(a *asked) { a.query += "&ResourceType=ServerlessCache" },
		"too long":          func(a *asked) { a.query = "Action=connect&User=shop&X-Amz-Expires=901" },
		"for ever":          func(a *asked) { a.query = "Action=connect&User=shop" },
		"for no time":       func(a *asked) { a.query = "Action=connect&User=shop&X-Amz-Expires=0" },
		"another method":    func(a *asked) { a.method = "POST" },
		"another path":      func(a *asked) { a.path = "/x" },
		"another region":    func(a *asked) { a.region = "us-east-1" },
		"another service":   func(a *asked) { a.service = "iam" },
		"an unknown key":    func(a *asked) { a.key = "AKIAOTHER" },
		"another secret":    func(a *asked) { a.secret = "guessed" },
		"a session":         func(a *asked) { a.session = "temporary" },
		"expired":           func(a *asked) { a.at = now.Add(-15*time.Minute - time.Second) },
		"of the far future": func(a *asked) { a.at = now.Add(15*time.Minute + time.Second) },
	} {
		a := usual()
		change(&a)
		token := presign(t, a)
		_, err := iamtoken.Check(token, want, keys{}, now)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "AKIA") || strings.Contains(err.Error(), "X-Amz-Signature") {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
}

// TestEveryCharacterOfATokenCounts: none can be changed, or left out.
func TestEveryCharacterOfATokenCounts(t *testing.T) {
	token := presign(t, usual())
	for i := range token {
		for _, other := range []string{token[:i] + token[i+1:], token[:i] + "A" + token[i+1:], token[:i] + "0" + token[i+1:]} {
			if _, err := iamtoken.Check(other, want, keys{}, now); err == nil && !same(t, token, other) {
				t.Fatalf("taken with another character %d:\n%s\n%s", i, token, other)
			}
		}
	}
}

// same tells whether two tokens are the same request, written in two ways.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err1 := url.Parse("http://" + a)
	y, err2 := url.Parse("http://" + b)
	return err1 == nil && err2 == nil && x.Host == y.Host && x.Path == y.Path && x.Query().Encode() == y.Query().Encode()
}

// FuzzCheck: nothing but the one token passes, whatever it is made of.
func FuzzCheck(f *testing.F) {
	token := presign(f, usual())
	f.Add(token)
	f.Add(token + "&X-Amz-Signature=" + strings.Repeat("0", 64))
	f.Add("orders/?Action=connect&User=shop")
	f.Add("orders/?%zz")
	f.Add("")
	query := func(s string) string {
		_, q, _ := strings.Cut(s, "/?")
		v, _ := url.ParseQuery(q)
		return v.Encode()
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := iamtoken.Check(s, want, keys{}, now); err == nil && query(s) != query(token) {
			t.Fatalf("taken: %q", s)
		}
	})
}
