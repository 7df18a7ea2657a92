package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/control/controltest"
	"holdfast.dev/internal/policy"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// reversed is a Sealer whose work can be seen.
type reversed struct{}

func (reversed) Seal(label, secret string) ([]byte, error) {
	return []byte(label + "|sealed|" + secret), nil
}

func (reversed) Open(label string, sealed []byte) (string, error) {
	secret, ok := strings.CutPrefix(string(sealed), label+"|sealed|")
	if !ok {
		return "", errors.New("another label")
	}
	return secret, nil
}

func newIAM(t *testing.T) (*control.IAM, *controltest.World) {
	t.Helper()
	w := controltest.New(t, nil)
	iam, err := control.NewIAM(control.IAMConfig{DB: w.DB, Now: w.Now, Sealer: reversed{}})
	if err != nil {
		t.Fatal(err)
	}
	return iam, w
}

const (
	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	allowS3  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	denyAll  = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
	policyP  = "arn:aws:iam::000000000000:policy/p"
)

// TestIAMFaults makes each fault that a caller can be told.
func TestIAMFaults(t *testing.T) {
	iam, _ := newIAM(t)
	ctx := t.Context()
	user := func(name string) error { _, err := iam.CreateUser(ctx, "", name, nil); return err }
	managed := func(name, doc string) error {
		_, err := iam.CreatePolicy(ctx, cache.ManagedPolicy{Name: name, Document: doc})
		return err
	}
	key := func(name string) error { _, _, err := iam.CreateAccessKey(ctx, name); return err }
	long := `{"Statement":{"Effect":"Allow","Action":"s3:` + strings.Repeat("a", 2100) + `","Resource":"*"}}`
	spaced := strings.ReplaceAll(allowAll, ",", ","+strings.Repeat(" ", 3000))
	for _, step := range []struct {
		what string
		err  func() error
		want string // code and the beginning of the message
	}{
		{"user", func() error { return user("bob") }, ""},
		{"the same in other letters", func() error { return user("BOB") }, "EntityAlreadyExists: User with name BOB already exists."},
		{"a name", func() error { return user("b/b") }, "ValidationError: "},
		{"a long name", func() error { return user(strings.Repeat("b", 65)) }, "ValidationError: "},
		{"a path", func() error { _, err := iam.CreateUser(ctx, "dev", "eve", nil); return err }, "ValidationError: "},
		{"a tag", func() error {
			_, err := iam.CreateUser(ctx, "", "eve", []cache.Tag{{Key: "aws:x"}})
			return err
		}, "InvalidInput: Tag keys must not begin"},
		{"nobody", func() error { _, err := iam.User(ctx, "eve"); return err }, "NoSuchEntity: The user with name eve cannot be found."},
		{"a key of nobody", func() error { return key("eve") }, "NoSuchEntity: "},
		{"first key", func() error { return key("bob") }, ""},
		{"second key", func() error { return key("Bob") }, ""},
		{"third key", func() error { return key("bob") }, "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2"},
		{"no such key", func() error { return iam.UpdateAccessKey(ctx, "bob", "AKIANONE", "Inactive") }, "NoSuchEntity: The Access Key with id AKIANONE cannot be found."},
		{"no such key to delete", func() error { return iam.DeleteAccessKey(ctx, "bob", "AKIANONE") }, "NoSuchEntity: "},
		{"a policy that is none", func() error { return iam.PutUserPolicy(ctx, "bob", "p", "{}") }, "MalformedPolicyDocument: "},
		{"a condition that is not known", func() error {
			return iam.PutUserPolicy(ctx, "bob", "p", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"x"}}}}`)
		}, "MalformedPolicyDocument: The condition key aws:SourceVpc is not supported"},
		{"a large one", func() error { return iam.PutUserPolicy(ctx, "bob", "p", long) }, "LimitExceeded: Maximum policy size of 2048 bytes exceeded for user bob"},
		{"white space is free", func() error { return iam.PutUserPolicy(ctx, "bob", "p", spaced) }, ""},
		{"in place of it", func() error { return iam.PutUserPolicy(ctx, "bob", "p", allowAll) }, ""},
		{"no such policy", func() error { _, err := iam.UserPolicy(ctx, "bob", "q"); return err }, "NoSuchEntity: The user policy with name q cannot be found."},
		{"no such policy to delete", func() error { return iam.DeleteUserPolicy(ctx, "bob", "q") }, "NoSuchEntity: "},
		{"managed", func() error { return managed("p", allowS3) }, ""},
		{"the same again", func() error { return managed("P", allowS3) }, "EntityAlreadyExists: A policy called P already exists. Duplicate names are not allowed."},
		{"managed and malformed", func() error { return managed("m", "x") }, "MalformedPolicyDocument: "},
		{"managed and large", func() error { return managed("m", strings.ReplaceAll(long, "aaa", "aaaaaaaaa")) }, "LimitExceeded: Cannot exceed quota for PolicySize: 6144"},
		{"attached", func() error { return iam.AttachUserPolicy(ctx, "bob", policyP) }, ""},
		{"attached again", func() error { return iam.AttachUserPolicy(ctx, "bob", policyP) }, ""},
		{"of AWS", func() error { return iam.AttachUserPolicy(ctx, "bob", "arn:aws:iam::aws:policy/p") }, "NoSuchEntity: Policy arn:aws:iam::aws:policy/p does not exist or is not attachable."},
		{"of another path", func() error { return iam.AttachUserPolicy(ctx, "bob", "arn:aws:iam::000000000000:policy/x/p") }, "NoSuchEntity: "},
		{"while attached", func() error { return iam.DeletePolicy(ctx, policyP) }, "DeleteConflict: Cannot delete a policy attached to entities."},
		{"while he has one attached", func() error { return iam.DeleteUser(ctx, "bob") }, "DeleteConflict: Cannot delete entity, must detach all policies first."},
		{"detached", func() error { return iam.DetachUserPolicy(ctx, "bob", policyP) }, ""},
		{"detached again", func() error { return iam.DetachUserPolicy(ctx, "bob", policyP) }, "NoSuchEntity: Policy " + policyP + " was not found."},
		{"while he has one of his own", func() error { return iam.DeleteUser(ctx, "bob") }, "DeleteConflict: Cannot delete entity, must delete policies first."},
		{"taken away", func() error { return iam.DeleteUserPolicy(ctx, "bob", "p") }, ""},
		{"while he has keys", func() error { return iam.DeleteUser(ctx, "bob") }, "DeleteConflict: Cannot delete entity, must delete access keys first."},
		{"keys taken away", func() error {
			keys, err := iam.AccessKeys(ctx, "bob")
			for _, k := range keys {
				err = errors.Join(err, iam.DeleteAccessKey(ctx, "bob", k.ID))
			}
			return err
		}, ""},
		{"gone", func() error { return iam.DeleteUser(ctx, "bob") }, ""},
		{"gone before", func() error { return iam.DeleteUser(ctx, "bob") }, "NoSuchEntity: "},
		{"policy gone", func() error { return iam.DeletePolicy(ctx, policyP) }, ""},
		{"policy gone before", func() error { return iam.DeletePolicy(ctx, policyP) }, "NoSuchEntity: Policy " + policyP + " was not found."},
		{"no ARN", func() error { return iam.DeletePolicy(ctx, "p") }, "InvalidInput: "},
	} {
		got := ""
		if err := step.err(); err != nil {
			got = err.Error()
		}
		if step.want == "" && got != "" || !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: %q, want %q", step.what, got, step.want)
		}
	}
}

// TestDecisions changes what a user has and asks at once.
func TestDecisions(t *testing.T) {
	iam, _ := newIAM(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := iam.CreateUser(ctx, "/dev/", "bob", []cache.Tag{{Key: "team", Value: "blue"}})
	must(err)
	k, secret, err := iam.CreateAccessKey(ctx, "bob")
	must(err)
	asked := policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: policy.Context{}}
	want := func(step, begin string) {
		t.Helper()
		got := fmt.Sprint(iam.Authorize(ctx, k.ID, []policy.Request{asked}))
		if got != begin {
			t.Errorf("%s: %s\nwant %s", step, got, begin)
		}
	}
	const about = "AccessDenied: User: arn:aws:iam::000000000000:user/dev/bob is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k "
	none, denied := about+"because no identity-based policy allows the s3:GetObject action", about+"with an explicit deny in an identity-based policy"
	want("without a policy", none)
	must(iam.PutUserPolicy(ctx, "bob", "all", allowAll))
	want("with one of his own", "<nil>")
	_, err = iam.CreatePolicy(ctx, cache.ManagedPolicy{Name: "p", Document: denyAll})
	must(err)
	want("with one that is not attached", "<nil>")
	must(iam.AttachUserPolicy(ctx, "bob", policyP))
	want("with a deny attached", denied)
	must(iam.DetachUserPolicy(ctx, "bob", policyP))
	must(iam.PutUserPolicy(ctx, "bob", "all", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*",
		"Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue","aws:username":"bob"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ops/*"}}}}`))
	want("by who he is not", none)
	must(iam.PutUserPolicy(ctx, "bob", "all", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*",
		"Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue","aws:username":"bob"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/dev/*"}}}}`))
	want("by who he is", "<nil>")
	s, err := iam.Signer(ctx, k.ID)
	must(err)
	if diff := cmp.Diff(control.Signer{KeyID: k.ID, Secret: secret, ARN: "arn:aws:iam::000000000000:user/dev/bob", UserID: s.UserID}, *s); diff != "" || !strings.HasPrefix(s.UserID, "AIDA") {
		t.Errorf("signer: %s %s", s.UserID, diff)
	}
	must(iam.UpdateAccessKey(ctx, "bob", k.ID, "Inactive"))
	if s, err := iam.Signer(ctx, k.ID); s != nil || err != nil {
		t.Errorf("an inactive key signs: %v %v", s, err)
	}
	want("by an inactive key", "InvalidClientTokenId: The security token included in the request is invalid.")
	must(iam.UpdateAccessKey(ctx, "bob", k.ID, "Active"))
	want("by an active key", "<nil>")
	must(iam.DeleteAccessKey(ctx, "bob", k.ID))
	want("by a key that is gone", "InvalidClientTokenId: The security token included in the request is invalid.")
}

// All that is asked has to be allowed, and a deny is told before what is merely missing.
func TestDecidesAboutAll(t *testing.T) {
	iam, _ := newIAM(t)
	ctx := t.Context()
	_, err := iam.CreateUser(ctx, "", "bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := iam.CreateAccessKey(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	err = iam.PutUserPolicy(ctx, "bob", "p", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:Yes","Resource":"*"},{"Effect":"Deny","Action":"a:No","Resource":"*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ asked, want string }{
		{"Yes", "<nil>"},
		{"Yes Yes", "<nil>"},
		{"Yes Other", "because no identity-based policy allows the a:Other action"},
		{"Other Yes", "because no identity-based policy allows the a:Other action"},
		{"Other No", "with an explicit deny"},
		{"", "nothing was asked"},
	} {
		var asked []policy.Request
		for _, a := range strings.Fields(tt.asked) {
			asked = append(asked, policy.Request{Action: "a:" + a, Resource: "*"})
		}
		if got := fmt.Sprint(iam.Authorize(ctx, k.ID, asked)); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.asked, got, tt.want)
		}
	}
}

// A secret is sealed in the records; the key of one is not that of another.
func TestSecretsAreSealed(t *testing.T) {
	iam, w := newIAM(t)
	ctx := t.Context()
	if _, err := iam.CreateUser(ctx, "", "bob", nil); err != nil {
		t.Fatal(err)
	}
	k, secret, err := iam.CreateAccessKey(ctx, "bob")
	if err != nil || len(secret) != 40 {
		t.Fatalf("%q %v", secret, err)
	}
	err = w.DB.Update(ctx, func(tx *store.Tx) error {
		r, _, err := records.AccessKeys.Get(tx, k.ID)
		if string(r.Sealed) != k.ID+"|sealed|"+secret {
			t.Errorf("not sealed: %q", r.Sealed)
		}
		r.Sealed = []byte("AKIAOTHER|sealed|" + secret)
		return errors.Join(err, records.AccessKeys.Put(tx, k.ID, r))
	})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := iam.Signer(ctx, k.ID); err == nil {
		t.Errorf("what was sealed for another key was opened: %v", s)
	}
}

// Tags of resources can be seen whatever state those are in.
func TestTagsOf(t *testing.T) {
	iam, w := newIAM(t)
	ctx := t.Context()
	tags := []cache.Tag{{Key: "team", Value: "blue"}}
	in := control.NewSubnetGroup{Name: "private", Description: "d", Subnets: []string{"subnet-a"}, Tags: tags}
	if _, err := w.Control.CreateCacheSubnetGroup(ctx, "us-east-1", in); err != nil {
		t.Fatal(err)
	}
	err := w.DB.Update(ctx, func(tx *store.Tx) error {
		g := cache.ReplicationGroup{Region: "us-east-1", ID: "orders", Status: cache.StatusCreating}
		g.Tags = tags
		k := cache.CacheCluster{Region: "us-east-1", ID: "orders-001", Status: cache.StatusCreating}
		k.Tags = tags
		return errors.Join(records.Groups.Put(tx, g.Key(), g), records.Clusters.Put(tx, k.Key(), k))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := iam.CreateUser(ctx, "/dev/", "bob", tags); err != nil {
		t.Fatal(err)
	}
	for arn, want := range map[string]int{
		cache.ARN("us-east-1", cache.KindGroup, "orders"): 1, cache.ARN("us-east-1", cache.KindCluster, "orders-001"): 1,
		cache.ARN("us-east-1", cache.KindSubnetGroup, "private"): 1, cache.ARN("eu-west-1", cache.KindGroup, "orders"): 0,
		cache.ARN("us-east-1", cache.KindGroup, "*"): 0, cache.ARN("us-east-1", "nonsense", "orders"): 0, "x": 0,
	} {
		if got, err := w.Control.TagsOf(ctx, arn); err != nil || len(got) != want {
			t.Errorf("%s: %v %v", arn, got, err)
		}
	}
	for arn, want := range map[string]int{cache.IAMUserARN("/dev/", "bob"): 1, cache.IAMUserARN("/", "bob"): 0, policyP: 0} {
		if got, err := iam.TagsOf(ctx, arn); err != nil || len(got) != want {
			t.Errorf("%s: %v %v", arn, got, err)
		}
	}
}

// BenchmarkAuthorize decides by ten attached policies of five statements each.
func BenchmarkAuthorize(b *testing.B) {
	w := controltest.New(b, nil)
	iam, err := control.NewIAM(control.IAMConfig{DB: w.DB, Now: w.Now, Sealer: reversed{}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	_, err = iam.CreateUser(ctx, "", "bob", nil)
	for n := range 10 {
		var rules []string
		for i := range 5 {
			rules = append(rules, fmt.Sprintf(`{"Effect":"Allow","Action":"elasticache:Delete*","Resource":"arn:aws:elasticache:*:*:replicationgroup:team%d%d-*","Condition":{"StringEquals":{"aws:ResourceTag/team":"${aws:username}"}}}`, n, i))
		}
		p, failed := iam.CreatePolicy(ctx, cache.ManagedPolicy{Name: fmt.Sprint("p", n), Document: `{"Version":"2012-10-17","Statement":[` + strings.Join(rules, ",") + `]}`})
		if err = errors.Join(err, failed); err == nil {
			err = iam.AttachUserPolicy(ctx, "bob", p.ARN())
		}
	}
	k, _, failed := iam.CreateAccessKey(ctx, "bob")
	if err := errors.Join(err, failed); err != nil {
		b.Fatal(err)
	}
	asked := []policy.Request{{
		Action: "elasticache:DeleteReplicationGroup", Resource: cache.ARN("us-east-1", cache.KindGroup, "team94-orders"),
		Context: policy.Context{"aws:resourcetag/team": {"bob"}},
	}}
	for b.Loop() {
		if err := iam.Authorize(ctx, k.ID, asked); err != nil {
			b.Fatal(err)
		}
	}
}
