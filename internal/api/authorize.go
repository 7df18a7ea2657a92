package api

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
)

// Authorizer decides what callers other than root may do.
type Authorizer interface {
	// Authorize returns nil when the owner of an access key may do all that is asked,
	// else the error that the caller is told.
	Authorize(ctx context.Context, accessKeyID string, asked []policy.Request) error
	// TagsOf returns the tags of the resource of an ARN of ElastiCache; none when there
	// is no such resource.
	TagsOf(ctx context.Context, arn string) ([]cache.Tag, error)
	// DefaultParameterGroup names the group that a creation gets which names none; "" when
	// the version cannot be served.
	DefaultParameterGroup(engine, version string) string
	// UserARN names the user of that name, be there one or not. The name "" is the owner
	// of the access key.
	UserARN(ctx context.Context, name, accessKeyID string) (string, error)
}

// isRoot tells the owner of the installation, who may do everything.
func isRoot(info query.Info) bool { return info.Identity.ARN == cache.RootARN }

// authorize is a call's Check: it lets root pass, and others as far as their policies go.
func (x *exchange) authorize(ctx context.Context, in any) error {
	if isRoot(x.info) {
		return nil
	}
	if x.access == nil {
		return cache.Faultf("AccessDenied", "User: %s is not authorized to perform: %s:%s because this endpoint knows root alone", x.info.Identity.ARN, x.info.Service, x.info.Action)
	}
	a := asking{x: x, ctx: ctx, in: in, common: RequestContext(x.r, x.info, x.now())}
	asked, err := a.requests()
	if err != nil || len(asked) == 0 {
		return err
	}
	return x.access.Authorize(ctx, x.info.AccessKeyID, asked)
}

// asking makes the requests that a call stands for.
type asking struct {
	x      *exchange
	ctx    context.Context
	in     any
	common policy.Context
}

// requests is empty for what everybody may do.
func (a *asking) requests() ([]policy.Request, error) {
	info := a.x.info
	switch info.Service {
	case "elasticache":
		return a.elasticache()
	case "iam":
		return a.iam()
	case "sts":
		if info.Action == "GetCallerIdentity" {
			return nil, nil // no policy can take it away
		}
	}
	return []policy.Request{{Action: info.Service + ":" + info.Action, Resource: "*", Context: a.common}}, nil
}

// RequestContext holds the condition keys that every signed request has.
func RequestContext(r *http.Request, info query.Info, now time.Time) policy.Context {
	c := policy.Context{}
	c.Set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
	c.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	c.Set("aws:SecureTransport", strconv.FormatBool(r.TLS != nil))
	c.Set("aws:RequestedRegion", info.Region)
	c.Set("aws:ViaAWSService", "false")
	c.Set("aws:PrincipalIsAWSService", "false")
	c.Set("aws:ResourceAccount", cache.Account)
	if agent := r.UserAgent(); agent != "" {
		c.Set("aws:UserAgent", agent)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.Set("aws:SourceIp", strings.TrimSpace(host))
	}
	return c
}

// withTags adds what tags a request brings.
func withTags(c policy.Context, tags []cache.Tag, keys []string) policy.Context {
	more := policy.Context{}
	for _, t := range tags {
		more.Add("aws:RequestTag/"+t.Key, t.Value)
		keys = append(keys, t.Key)
	}
	if len(keys) > 0 {
		more.Set("aws:TagKeys", keys...)
	}
	return c.With(more)
}
