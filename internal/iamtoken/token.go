package iamtoken

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/api/sigv4"
)

const (
	// Lifetime is the longest that a token may be valid.
	Lifetime = 15 * time.Minute
	// MaxLength bounds a token, in bytes.
	MaxLength = 4096

	service = "elasticache"
	// emptyHash is the SHA-256 of nothing, which is the body of a token's request.
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Want is what a token has to be for.
type Want struct {
	Region string
	// Cache is the id of the replication group, User that of the user.
	Cache, User string
}

// Signer is who signed a token.
type Signer struct {
	AccessKeyID string
	sigv4.Identity
}

// refusal is an error that repeats nothing of the token.
func refusal(why string) error { return errors.New("the token " + why) }

// parameters are all that a token may have, each once.
var parameters = []string{
	"Action", "User", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
}

// Check tells who signed a token, if it is good at that time. Errors are for the log: they
// hold nothing of the token. Keys are asked only about tokens that are otherwise right.
func Check(token string, want Want, keys sigv4.Keys, now time.Time) (Signer, error) {
	r, err := request(token, want)
	if err != nil {
		return Signer{}, err
	}
	auth, err := sigv4.Parse(r)
	if err != nil {
		return Signer{}, refusal("cannot be read as a presigned request")
	}
	switch {
	case !auth.Presigned || auth.Service != service:
		return Signer{}, refusal("is not signed for " + service)
	case auth.Region != want.Region:
		return Signer{}, refusal("is signed for another region")
	}
	who, err := auth.Verify(r, emptyHash, keys, now)
	if err != nil {
		var refused *sigv4.Error
		if errors.As(err, &refused) {
			return Signer{}, refusal("is refused: " + refused.Code)
		}
		return Signer{}, refusal("cannot be verified")
	}
	return Signer{AccessKeyID: auth.AccessKeyID, Identity: who}, nil
}

// request is what the token is a signature of, if it is about what is wanted.
func request(token string, want Want) (*http.Request, error) {
	if len(token) > MaxLength {
		return nil, refusal("is too long")
	}
	host, query, ok := strings.Cut(token, "/?")
	if !ok || want.Cache == "" || host != strings.ToLower(want.Cache) {
		return nil, refusal("is not for this cache")
	}
	if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
		return nil, refusal("has characters that no URL has")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, refusal("cannot be read as a URL")
	}
	for name, v := range values {
		if !slices.Contains(parameters, name) || len(v) != 1 {
			return nil, refusal("has parameters that are unknown, or that are there twice")
		}
	}
	seconds, err := strconv.Atoi(values.Get("X-Amz-Expires"))
	switch {
	case values.Get("Action") != "connect":
		return nil, refusal("is not for the action connect")
	case want.User == "" || values.Get("User") != want.User:
		return nil, refusal("is for another user")
	case values.Get("X-Amz-SignedHeaders") != "host":
		return nil, refusal("signs other headers than host")
	case err != nil || seconds < 1 || time.Duration(seconds)*time.Second > Lifetime:
		return nil, refusal("is not valid for 1 to 900 seconds")
	}
	return &http.Request{Method: http.MethodGet, Host: host, Header: http.Header{}, URL: &url.URL{Scheme: "http", Host: host, Path: "/", RawQuery: query}}, nil
}
