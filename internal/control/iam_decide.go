package control

import (
	"context"
	"fmt"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Signer is who is behind an access key of a user.
type Signer struct {
	KeyID, Secret string
	// ARN and UserID are the user's.
	ARN, UserID string
}

// Signer finds the user of an active access key, nil when there is none.
func (m *IAM) Signer(ctx context.Context, keyID string) (*Signer, error) {
	var k cache.AccessKey
	var u cache.IAMUser
	found := false
	err := m.DB.View(ctx, func(tx *store.Tx) (err error) {
		k, u, found, err = signer(tx, keyID)
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	secret, err := m.Sealer.Open(k.ID, k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("cannot open the secret of the access key %s: %w", k.ID, err)
	}
	return &Signer{KeyID: k.ID, Secret: secret, ARN: u.ARN(), UserID: u.ID}, nil
}

func signer(tx *store.Tx, keyID string) (k cache.AccessKey, u cache.IAMUser, found bool, err error) {
	if keyID == "" {
		return k, u, false, nil
	}
	k, ok, err := records.AccessKeys.Get(tx, keyID)
	if err != nil || !ok || k.Status != cache.AccessKeyActive {
		return k, u, false, err
	}
	u, ok, err = records.IAMUsers.Get(tx, cache.IAMKey(k.UserName))
	return k, u, ok, err
}

// NameOf is the name of the user of an active access key, "" when there is none.
func (m *IAM) NameOf(ctx context.Context, keyID string) (string, error) {
	var u cache.IAMUser
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		var found bool
		var err error
		_, u, found, err = signer(tx, keyID)
		if !found {
			u = cache.IAMUser{}
		}
		return err
	})
	return u.Name, err
}

// UserARN names a user as policies do, be there one or not; the name "" stands for the
// user of the access key.
func (m *IAM) UserARN(ctx context.Context, name, keyID string) (string, error) {
	if name == "" {
		var err error
		if name, err = m.NameOf(ctx, keyID); err != nil {
			return "", err
		}
	}
	arn := cache.IAMUserARN("/", name)
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		u, ok, err := records.IAMUsers.Get(tx, cache.IAMKey(name))
		if ok {
			arn = u.ARN()
		}
		return err
	})
	return arn, err
}

// TagsOf returns the tags of the user or the managed policy of an ARN; none where there
// is neither.
func (m *IAM) TagsOf(ctx context.Context, arn string) ([]cache.Tag, error) {
	key := cache.IAMKey(arn[strings.LastIndexByte(arn, '/')+1:])
	if key == "" {
		return nil, nil
	}
	var out []cache.Tag
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		u, ok, err := records.IAMUsers.Get(tx, key)
		if err != nil || ok && u.ARN() == arn {
			out = u.Tags
			return err
		}
		p, ok, err := findPolicy(tx, arn)
		if ok {
			out = p.Tags
		}
		return err
	})
	return out, err
}

// Signers are all active access keys with their secrets.
func (m *IAM) Signers(ctx context.Context) ([]Signer, error) {
	var keys []cache.AccessKey
	err := m.DB.View(ctx, func(tx *store.Tx) (err error) {
		keys, err = records.AccessKeys.List(tx, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []Signer
	for _, k := range keys {
		s, err := m.Signer(ctx, k.ID)
		if err != nil {
			return nil, err
		}
		if s != nil {
			out = append(out, *s)
		}
	}
	return out, nil
}

// Authorize tells whether the user of an access key may do all that is asked, by what his
// policies say now. A refusal is a fault AccessDenied in the words of AWS.
func (m *IAM) Authorize(ctx context.Context, keyID string, asked []policy.Request) error {
	var u cache.IAMUser
	var texts []string
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		var found bool
		var err error
		if _, u, found, err = signer(tx, keyID); err != nil {
			return err
		}
		if !found {
			return cache.Faultf("InvalidClientTokenId", "The security token included in the request is invalid.")
		}
		texts, err = policiesOf(tx, &u)
		return err
	})
	if err != nil {
		return err
	}
	docs, err := m.read(texts)
	if err != nil {
		return fmt.Errorf("cannot read the policies of user %s: %w", u.Name, err)
	}
	return decide(&u, docs, asked)
}

// policiesOf are the texts of all policies of a user.
func policiesOf(tx *store.Tx, u *cache.IAMUser) ([]string, error) {
	var out []string
	for _, doc := range u.Inline {
		out = append(out, doc)
	}
	for _, arn := range u.Attached {
		p, ok, err := findPolicy(tx, arn)
		if err != nil {
			return nil, err
		}
		if !ok {
			// It may have denied something: nothing is decided without it.
			return nil, fmt.Errorf("the policy %s of user %s is missing", arn, u.Name)
		}
		out = append(out, p.Document)
	}
	return out, nil
}

func (m *IAM) read(texts []string) ([]*policy.Document, error) {
	var docs []*policy.Document
	for _, text := range texts {
		d, err := m.parse(text)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

func decide(u *cache.IAMUser, docs []*policy.Document, asked []policy.Request) error {
	if len(asked) == 0 {
		return fmt.Errorf("nothing was asked for user %s", u.Name)
	}
	var denied error
	for _, r := range asked {
		r.Context = r.Context.With(nil)
		who(u, r.Context)
		switch policy.Evaluate(docs, r) {
		case policy.Allow:
		case policy.ExplicitDeny:
			return cache.Faultf(codeAccessDenied, "User: %s is not authorized to perform: %s on resource: %s with an explicit deny in an identity-based policy", u.ARN(), r.Action, r.Resource)
		default:
			if denied == nil {
				denied = cache.Faultf(codeAccessDenied, "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", u.ARN(), r.Action, r.Resource, r.Action)
			}
		}
	}
	return denied
}

// who adds the condition keys of the user himself.
func who(u *cache.IAMUser, c policy.Context) {
	c.Set("aws:username", u.Name)
	c.Set("aws:userid", u.ID)
	c.Set("aws:PrincipalArn", u.ARN())
	c.Set("aws:PrincipalAccount", cache.Account)
	c.Set("aws:PrincipalType", "User")
	for _, t := range u.Tags {
		c.Add("aws:PrincipalTag/"+t.Key, t.Value)
	}
}
