package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/internal/authority"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/iamtoken"
	"holdfast.dev/internal/policy"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// iamDoor judges the tokens of IAM with which clients log in to caches, by what users, keys
// and policies there are at that moment.
type iamDoor struct {
	db        *store.DB
	keys      *accessKeys
	tags      authorizer
	authority *authority.Authority
	log       *slog.Logger
	now       func() time.Time
	limit     *loginLimit

	// How often a log-in was slowed down, and a session cut off for its age.
	throttlings, expirations atomic.Int64

	mu      sync.Mutex
	bundle  string
	trusted *x509.CertPool
}

func newIAMDoor(in *installation, keys *accessKeys, tags authorizer) *iamDoor {
	return &iamDoor{
		db: in.db, keys: keys, tags: tags, authority: in.authority, log: in.log,
		now: time.Now, limit: newLoginLimit(time.Now),
	}
}

// Server is how an endpoint speaks TLS.
func (d *iamDoor) Server(host string) *tls.Config { return d.authority.Server([]string{host}) }

// Client is how an endpoint speaks TLS with a node.
func (d *iamDoor) Client(host string) *tls.Config {
	bundle := d.authority.Bundle()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trusted == nil || d.bundle != string(bundle) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(bundle)
		d.bundle, d.trusted = string(bundle), pool
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.trusted, ServerName: host}
}

// Expired counts a session that has ended for its age.
func (d *iamDoor) Expired(unit string) {
	d.expirations.Add(1)
	d.log.Info("a client has been cut off 12 hours after it logged in with a token of IAM", "group", unit)
}

// Login judges a log-in. What it says of why goes to the log alone.
func (d *iamDoor) Login(ctx context.Context, l endpoint.Login) endpoint.Verdict {
	g, err := d.group(ctx, l)
	if err != nil || g == nil {
		if err != nil {
			d.log.Error("cannot look up who may log in", "group", l.Unit, "error", err)
		}
		return endpoint.Verdict{}
	}
	if l.Queued {
		return endpoint.Verdict{Refused: true}
	}
	source := l.Unit + " " + l.User + " " + l.From
	if wait := d.limit.wait(source); wait > 0 {
		d.throttlings.Add(1)
		pause(ctx, wait)
	}
	if err := d.check(ctx, g, l); err != nil {
		d.limit.failed(source)
		d.log.Warn("a token of IAM was refused", "group", l.Unit, "user", l.User, "from", l.From, "error", err)
		return endpoint.Verdict{}
	}
	d.limit.succeeded(source)
	return endpoint.Verdict{Password: engine.IAMPassword(g.Secret, l.User)}
}

// group finds the cache of a log-in by token; nil where that is by something else.
func (d *iamDoor) group(ctx context.Context, l endpoint.Login) (*cache.ReplicationGroup, error) {
	var out *cache.ReplicationGroup
	err := d.db.View(ctx, func(tx *store.Tx) error {
		g, ok, err := records.Groups.Get(tx, l.Unit)
		if err == nil && ok && g.Deletion == nil && g.Access.LogsInWithIAM(l.User) {
			out = &g
		}
		return err
	})
	return out, err
}

// check says what is wrong with a token.
func (d *iamDoor) check(ctx context.Context, g *cache.ReplicationGroup, l endpoint.Login) error {
	want := iamtoken.Want{Region: g.Region, Cache: g.ID, User: l.User}
	who, err := iamtoken.Check(l.Token, want, d.keys, d.now())
	if err != nil || d.keys.isRoot(who.AccessKeyID) {
		return err
	}
	common := policy.Context{}
	now := d.now().UTC()
	common.Set("aws:CurrentTime", now.Format(time.RFC3339))
	common.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	common.Set("aws:RequestedRegion", g.Region)
	common.Set("aws:ResourceAccount", cache.Account)
	common.Set("aws:ViaAWSService", "false")
	common.Set("aws:PrincipalIsAWSService", "false")
	common.Set("aws:SourceIp", l.From)
	var asked []policy.Request
	for _, arn := range []string{cache.ARN(g.Region, cache.KindGroup, g.ID), cache.ARN(g.Region, cache.KindUser, strings.ToLower(l.User))} {
		tags, err := d.tags.TagsOf(ctx, arn)
		if err != nil {
			return err
		}
		more := policy.Context{}
		for _, t := range tags {
			more.Add("aws:ResourceTag/"+t.Key, t.Value)
		}
		asked = append(asked, policy.Request{Action: "elasticache:Connect", Resource: arn, Context: common.With(more)})
	}
	return d.keys.iam.Authorize(ctx, who.AccessKeyID, asked)
}

// pause waits, unless the client goes away.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
