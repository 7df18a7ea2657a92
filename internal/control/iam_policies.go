package control

import (
	"context"
	"maps"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// PutUserPolicy gives a user a policy of his own, in place of one of that name.
func (m *IAM) PutUserPolicy(ctx context.Context, user, name, doc string) error {
	if err := checkIAMName("policyName", name, 128); err != nil {
		return err
	}
	if err := checkPolicy(doc); err != nil {
		return err
	}
	return m.changeUser(ctx, user, func(_ *store.Tx, u *cache.IAMUser) error {
		inline := maps.Clone(u.Inline)
		if inline == nil {
			inline = map[string]string{}
		}
		inline[name] = doc
		n := 0
		for _, d := range inline {
			n += policySize(d)
		}
		if n > maxInlinePolicies {
			return cache.Faultf(codeLimitExceeded, "Maximum policy size of %d bytes exceeded for user %s", maxInlinePolicies, u.Name)
		}
		u.Inline = inline
		return nil
	})
}

func noUserPolicy(name string) error {
	return cache.Faultf(codeNoSuchEntity, "The user policy with name %.128s cannot be found.", name)
}

// UserPolicy returns a policy that is a user's own.
func (m *IAM) UserPolicy(ctx context.Context, user, name string) (string, error) {
	u, err := m.User(ctx, user)
	if err != nil {
		return "", err
	}
	doc, ok := u.Inline[name]
	if !ok {
		return "", noUserPolicy(name)
	}
	return doc, nil
}

// UserPolicies names the policies that are a user's own.
func (m *IAM) UserPolicies(ctx context.Context, user string) ([]string, error) {
	u, err := m.User(ctx, user)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(u.Inline)), nil
}

// DeleteUserPolicy takes a policy of his own from a user.
func (m *IAM) DeleteUserPolicy(ctx context.Context, user, name string) error {
	return m.changeUser(ctx, user, func(_ *store.Tx, u *cache.IAMUser) error {
		if _, ok := u.Inline[name]; !ok {
			return noUserPolicy(name)
		}
		u.Inline = maps.Clone(u.Inline)
		delete(u.Inline, name)
		return nil
	})
}

// CreatePolicy makes a policy that can be attached to users.
func (m *IAM) CreatePolicy(ctx context.Context, p cache.ManagedPolicy) (*cache.ManagedPolicy, error) {
	if err := checkIAMName("policyName", p.Name, 128); err != nil {
		return nil, err
	}
	var err error
	if p.Path, err = checkIAMPath(p.Path, policyPathForm); err != nil {
		return nil, err
	}
	if err := checkIAMTags(p.Tags); err != nil {
		return nil, err
	}
	if len(p.Description) > 1000 {
		return nil, cache.Faultf(codeValidation, "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000")
	}
	if err := checkPolicy(p.Document); err != nil {
		return nil, err
	}
	if policySize(p.Document) > maxManagedPolicy {
		return nil, cache.Faultf(codeLimitExceeded, "Cannot exceed quota for PolicySize: %d", maxManagedPolicy)
	}
	p.ID, p.CreatedAt = newIAMID("ANPA"), m.Now().UTC()
	err = m.DB.Update(ctx, func(tx *store.Tx) error {
		if _, taken, err := records.IAMPolicies.Get(tx, p.Key()); err != nil || taken {
			return firstError(err, cache.Faultf(codeEntityExists, "A policy called %s already exists. Duplicate names are not allowed.", p.Name))
		}
		n, err := records.IAMPolicies.Count(tx, "")
		if err != nil {
			return err
		}
		if n >= maxIAMPolicies {
			return cache.Faultf(codeLimitExceeded, "Cannot exceed quota for PoliciesPerAccount: %d", maxIAMPolicies)
		}
		return records.IAMPolicies.Put(tx, p.Key(), p)
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// findPolicy finds a managed policy by its ARN.
func findPolicy(tx *store.Tx, arn string) (cache.ManagedPolicy, bool, error) {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	if name == "" {
		return cache.ManagedPolicy{}, false, nil
	}
	p, ok, err := records.IAMPolicies.Get(tx, cache.IAMKey(name))
	return p, ok && p.ARN() == arn, err
}

func mustFindPolicy(tx *store.Tx, arn string) (cache.ManagedPolicy, error) {
	if !strings.HasPrefix(arn, "arn:") || len(arn) < 20 {
		return cache.ManagedPolicy{}, cache.Faultf("InvalidInput", "ARN %.200s is not valid.", arn)
	}
	p, ok, err := findPolicy(tx, arn)
	if err == nil && !ok {
		err = cache.Faultf(codeNoSuchEntity, "Policy %.200s was not found.", arn)
	}
	return p, err
}

// PolicyUse is a managed policy and how many users it is attached to.
type PolicyUse struct {
	cache.ManagedPolicy
	Attachments int
}

// Policy finds a managed policy.
func (m *IAM) Policy(ctx context.Context, arn string) (*PolicyUse, error) {
	var out PolicyUse
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		p, err := mustFindPolicy(tx, arn)
		if err != nil {
			return err
		}
		uses, err := attachments(tx)
		out = PolicyUse{p, uses[p.ARN()]}
		return err
	})
	return &out, err
}

// attachments counts the users of each managed policy, by its ARN.
func attachments(tx *store.Tx) (map[string]int, error) {
	n := map[string]int{}
	for u, err := range records.IAMUsers.Peek(tx, "") {
		if err != nil {
			return nil, err
		}
		for _, arn := range u.Attached {
			n[arn]++
		}
	}
	return n, nil
}

// Policies returns the page of the managed policies of which keep is true.
func (m *IAM) Policies(ctx context.Context, keep func(*PolicyUse) bool, page Page[PolicyUse]) ([]PolicyUse, error) {
	var out []PolicyUse
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		uses, err := attachments(tx)
		if err != nil {
			return err
		}
		all, err := records.IAMPolicies.List(tx, "")
		if err != nil {
			return err
		}
		var kept []PolicyUse
		for _, p := range all {
			if u := (PolicyUse{p, uses[p.ARN()]}); keep(&u) {
				kept = append(kept, u)
			}
		}
		out, err = page.of(kept)
		return err
	})
	return out, err
}

// DeletePolicy removes a policy that is attached to nobody.
func (m *IAM) DeletePolicy(ctx context.Context, arn string) error {
	return m.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := mustFindPolicy(tx, arn)
		if err != nil {
			return err
		}
		uses, err := attachments(tx)
		if err != nil {
			return err
		}
		if uses[arn] > 0 {
			return cache.Faultf(codeDeleteConflict, "Cannot delete a policy attached to entities.")
		}
		return records.IAMPolicies.Delete(tx, p.Key())
	})
}

// AttachUserPolicy lets a managed policy hold for a user. One that does already is no
// fault.
func (m *IAM) AttachUserPolicy(ctx context.Context, user, arn string) error {
	return m.changeUser(ctx, user, func(tx *store.Tx, u *cache.IAMUser) error {
		_, ok, err := findPolicy(tx, arn)
		switch {
		case err != nil:
			return err
		case !ok:
			return cache.Faultf(codeNoSuchEntity, "Policy %.200s does not exist or is not attachable.", arn)
		case slices.Contains(u.Attached, arn):
			return nil
		case len(u.Attached) >= maxAttached:
			return cache.Faultf(codeLimitExceeded, "Cannot exceed quota for PoliciesPerUser: %d", maxAttached)
		}
		u.Attached = append(u.Attached, arn)
		return nil
	})
}

// DetachUserPolicy ends that.
func (m *IAM) DetachUserPolicy(ctx context.Context, user, arn string) error {
	return m.changeUser(ctx, user, func(_ *store.Tx, u *cache.IAMUser) error {
		if !slices.Contains(u.Attached, arn) {
			return cache.Faultf(codeNoSuchEntity, "Policy %.200s was not found.", arn)
		}
		u.Attached = slices.DeleteFunc(u.Attached, func(a string) bool { return a == arn })
		return nil
	})
}

// AttachedPolicies returns the ARNs of the managed policies of a user, in their order
// by name, under a path.
func (m *IAM) AttachedPolicies(ctx context.Context, user, prefix string) ([]cache.ManagedPolicy, error) {
	var out []cache.ManagedPolicy
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		u, err := iamUser(tx, user)
		if err != nil {
			return err
		}
		for _, arn := range u.Attached {
			p, ok, err := findPolicy(tx, arn)
			if err != nil {
				return err
			}
			if ok && strings.HasPrefix(p.Path, prefix) {
				out = append(out, p)
			}
		}
		slices.SortFunc(out, func(a, b cache.ManagedPolicy) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return out, err
}
