package control

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// CreateUser makes a user who may do nothing yet.
func (m *IAM) CreateUser(ctx context.Context, path, name string, tags []cache.Tag) (*cache.IAMUser, error) {
	if err := checkIAMName("userName", name, 64); err != nil {
		return nil, err
	}
	path, err := checkIAMPath(path, iamPathForm)
	if err != nil {
		return nil, err
	}
	if err := checkIAMTags(tags); err != nil {
		return nil, err
	}
	u := cache.IAMUser{Path: path, Name: name, ID: newIAMID("AIDA"), CreatedAt: m.Now().UTC(), Tags: tags}
	err = m.DB.Update(ctx, func(tx *store.Tx) error {
		if _, taken, err := records.IAMUsers.Get(tx, u.Key()); err != nil || taken {
			return firstError(err, cache.Faultf(codeEntityExists, "User with name %s already exists.", name))
		}
		n, err := records.IAMUsers.Count(tx, "")
		if err != nil {
			return err
		}
		if n >= maxIAMUsers {
			return cache.Faultf(codeLimitExceeded, "Cannot exceed quota for UsersPerAccount: %d", maxIAMUsers)
		}
		return records.IAMUsers.Put(tx, u.Key(), u)
	})
	if err != nil {
		return nil, err
	}
	return &u, nil
}

// firstError is err where there is one, else what else there is to tell.
func firstError(err error, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// User finds a user by name.
func (m *IAM) User(ctx context.Context, name string) (*cache.IAMUser, error) {
	var u cache.IAMUser
	err := m.DB.View(ctx, func(tx *store.Tx) (err error) {
		u, err = iamUser(tx, name)
		return err
	})
	return &u, err
}

func iamUser(tx *store.Tx, name string) (cache.IAMUser, error) {
	if err := checkIAMName("userName", name, 128); err != nil {
		return cache.IAMUser{}, err
	}
	u, ok, err := records.IAMUsers.Get(tx, cache.IAMKey(name))
	if err == nil && !ok {
		err = cache.Faultf(codeNoSuchEntity, "The user with name %s cannot be found.", name)
	}
	return u, err
}

// Users returns the page of the users whose path begins with a prefix.
func (m *IAM) Users(ctx context.Context, prefix string, page Page[cache.IAMUser]) ([]cache.IAMUser, error) {
	var out []cache.IAMUser
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		all, err := records.IAMUsers.List(tx, "")
		if err != nil {
			return err
		}
		out, err = page.of(keepIf(all, func(u *cache.IAMUser) bool { return strings.HasPrefix(u.Path, prefix) }))
		return err
	})
	return out, err
}

// changeUser changes a user in one transaction.
func (m *IAM) changeUser(ctx context.Context, name string, change func(*store.Tx, *cache.IAMUser) error) error {
	return m.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := iamUser(tx, name)
		if err != nil {
			return err
		}
		if err := change(tx, &u); err != nil {
			return err
		}
		return records.IAMUsers.Put(tx, u.Key(), u)
	})
}

// DeleteUser removes a user that has neither keys nor policies.
func (m *IAM) DeleteUser(ctx context.Context, name string) error {
	return m.DB.Update(ctx, func(tx *store.Tx) error {
		u, err := iamUser(tx, name)
		switch {
		case err != nil:
			return err
		case len(u.Attached) > 0:
			return cache.Faultf(codeDeleteConflict, "Cannot delete entity, must detach all policies first.")
		case len(u.Inline) > 0:
			return cache.Faultf(codeDeleteConflict, "Cannot delete entity, must delete policies first.")
		case len(u.Keys) > 0:
			return cache.Faultf(codeDeleteConflict, "Cannot delete entity, must delete access keys first.")
		}
		return records.IAMUsers.Delete(tx, u.Key())
	})
}

// CreateAccessKey makes a key of a user. The secret is returned this once.
func (m *IAM) CreateAccessKey(ctx context.Context, user string) (key *cache.AccessKey, secret string, err error) {
	k := cache.AccessKey{ID: newIAMID("AKIA"), Status: cache.AccessKeyActive, CreatedAt: m.Now().UTC()}
	secret = newSecretKey()
	if k.Sealed, err = m.Sealer.Seal(k.ID, secret); err != nil {
		return nil, "", err
	}
	err = m.changeUser(ctx, user, func(tx *store.Tx, u *cache.IAMUser) error {
		if len(u.Keys) >= maxAccessKeys {
			return cache.Faultf(codeLimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
		}
		k.UserName = u.Name
		u.Keys = append(u.Keys, k.ID)
		return records.AccessKeys.Put(tx, k.ID, k)
	})
	if err != nil {
		return nil, "", err
	}
	return &k, secret, nil
}

// AccessKeys returns the keys of a user, oldest first.
func (m *IAM) AccessKeys(ctx context.Context, user string) ([]cache.AccessKey, error) {
	var out []cache.AccessKey
	err := m.DB.View(ctx, func(tx *store.Tx) error {
		u, err := iamUser(tx, user)
		if err != nil {
			return err
		}
		for _, id := range u.Keys {
			k, err := accessKey(tx, &u, id)
			if err != nil {
				return err
			}
			out = append(out, k)
		}
		return nil
	})
	return out, err
}

func accessKey(tx *store.Tx, u *cache.IAMUser, id string) (cache.AccessKey, error) {
	if slices.Contains(u.Keys, id) {
		k, ok, err := records.AccessKeys.Get(tx, id)
		if err != nil || ok {
			return k, err
		}
	}
	return cache.AccessKey{}, cache.Faultf(codeNoSuchEntity, "The Access Key with id %.128s cannot be found.", id)
}

// UpdateAccessKey makes a key active or inactive.
func (m *IAM) UpdateAccessKey(ctx context.Context, user, id, status string) error {
	if status != cache.AccessKeyActive && status != cache.AccessKeyInactive {
		return iamInvalid(status, "status", "enum value set: [Active, Inactive]")
	}
	return m.changeUser(ctx, user, func(tx *store.Tx, u *cache.IAMUser) error {
		k, err := accessKey(tx, u, id)
		if err != nil {
			return err
		}
		k.Status = status
		return records.AccessKeys.Put(tx, id, k)
	})
}

// DeleteAccessKey removes a key.
func (m *IAM) DeleteAccessKey(ctx context.Context, user, id string) error {
	return m.changeUser(ctx, user, func(tx *store.Tx, u *cache.IAMUser) error {
		if _, err := accessKey(tx, u, id); err != nil {
			return err
		}
		u.Keys = slices.DeleteFunc(u.Keys, func(k string) bool { return k == id })
		return records.AccessKeys.Delete(tx, id)
	})
}
