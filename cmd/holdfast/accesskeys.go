package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/api"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/objects/front"
	"holdfast.dev/internal/objects/gateway"
	"holdfast.dev/internal/policy"
)

// accessKeys are all keys that requests may be signed with: root's and the users'.
type accessKeys struct {
	root *rootKeys
	iam  *control.IAM
	log  *slog.Logger

	telling sync.Mutex // of the S3 service
}

func (in *installation) openAccessKeys() (*accessKeys, error) {
	root, err := newRootKeys(in.dir, in.log)
	if err != nil {
		return nil, err
	}
	sealer, err := openSealer(in.dir)
	if err != nil {
		return nil, err
	}
	iam, err := control.NewIAM(control.IAMConfig{DB: in.db, Now: time.Now, Sealer: sealer})
	return &accessKeys{root: root, iam: iam, log: in.log}, err
}

// Secret looks a key up as it is now.
func (k *accessKeys) Secret(accessKeyID string) (string, sigv4.Identity, bool) {
	if secret, ok := k.root.current().find(accessKeyID); ok {
		return secret, rootIdentity, true
	}
	s, err := k.iam.Signer(context.Background(), accessKeyID)
	if err != nil {
		k.log.Error("cannot look up an access key", "error", err)
	}
	if err != nil || s == nil {
		return "", sigv4.Identity{}, false
	}
	return s.Secret, sigv4.Identity{Account: cache.Account, ARN: s.ARN, UserID: s.UserID}, true
}

// isRoot tells the keys that may do everything.
func (k *accessKeys) isRoot(accessKeyID string) bool {
	_, ok := k.root.current().find(accessKeyID)
	return ok
}

// forGateway are all keys as the S3 service takes them.
func (k *accessKeys) forGateway(ctx context.Context) ([]gateway.Key, error) {
	var out []gateway.Key
	for _, one := range k.root.current().all() {
		out = append(out, gateway.Key{AccessKeyID: one.AccessKeyID, Secret: one.SecretAccessKey})
	}
	users, err := k.iam.Signers(ctx)
	for _, u := range users {
		out = append(out, gateway.Key{AccessKeyID: u.KeyID, Secret: u.Secret})
	}
	return out, err
}

// authorizer is what the front door asks about callers other than root.
type authorizer struct {
	*control.IAM
	ctl *control.Control
}

// TagsOf returns the tags of a resource of either service.
func (a authorizer) TagsOf(ctx context.Context, arn string) ([]cache.Tag, error) {
	if strings.HasPrefix(arn, "arn:aws:iam:") {
		return a.IAM.TagsOf(ctx, arn)
	}
	return a.ctl.TagsOf(ctx, arn)
}

// DefaultParameterGroup asks control.
func (a authorizer) DefaultParameterGroup(engine, version string) string {
	return a.ctl.DefaultParameterGroup(engine, version)
}

// signerOf is the key that a request for S3 was signed with.
func signerOf(r *http.Request) string {
	if id := query.InfoFrom(r.Context()).AccessKeyID; id != "" {
		return id
	}
	return r.URL.Query().Get("AWSAccessKeyId") // a URL presigned by signature version 2
}

// mayDoS3 lets root pass, and users as far as their policies go.
func (k *accessKeys) mayDoS3(r *http.Request, asked func() ([]front.Asked, error)) error {
	id := signerOf(r)
	if k.isRoot(id) {
		return nil
	}
	list, err := asked()
	if err != nil {
		return err
	}
	common := api.RequestContext(r, query.InfoFrom(r.Context()), time.Now())
	q := r.URL.Query()
	for key, name := range map[string]string{"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys", "s3:VersionId": "versionId"} {
		if q.Has(name) {
			common.Set(key, q.Get(name))
		}
	}
	if acl := r.Header.Get("X-Amz-Acl"); acl != "" {
		common.Set("s3:x-amz-acl", acl)
	}
	var requests []policy.Request
	for _, a := range list {
		requests = append(requests, policy.Request{Action: a.Action, Resource: a.ARN(), Context: common})
	}
	return k.iam.Authorize(r.Context(), id, requests)
}

// tell makes sure, before a request for S3 is handed on, that the service behind knows
// its key, and no key that is gone: it verifies signatures once more.
func (k *accessKeys) tell(pool *gateway.Pool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := k.tellOf(r.Context(), pool, signerOf(r)); err != nil {
			k.log.Error("cannot tell the S3 service its keys", "error", err)
			http.Error(w, "the S3 service cannot be told its keys", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (k *accessKeys) tellOf(ctx context.Context, pool *gateway.Pool, id string) error {
	secret, _, ok := k.Secret(id)
	if known, has := pool.Secret(id); has == ok && known == secret {
		return nil
	}
	k.telling.Lock()
	defer k.telling.Unlock()
	keys, err := k.forGateway(ctx)
	if err != nil {
		return err
	}
	return pool.SetKeys(keys)
}
