package gateway

import (
	"errors"
	"net/http"
	"sync"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// keyring tells the server library who may enter. Every key acts for the one
// account, which owns every bucket: turning keys over changes no ownership.
type keyring struct {
	account string

	mu      sync.RWMutex
	secrets map[string]string
}

var (
	_ auth.IAMService       = (*keyring)(nil)
	_ auth.FixedBucketOwner = (*keyring)(nil)

	errFixedKeys = errors.New("keys are managed by the service that started this process")
)

func newKeyring(account string, keys []Key) *keyring {
	k := &keyring{account: account}
	k.set(keys)
	return k
}

func (k *keyring) set(keys []Key) {
	secrets := make(map[string]string, len(keys))
	for _, key := range keys {
		secrets[key.AccessKeyID] = key.Secret
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets = secrets
}

// GetUserAccount answers the look-up that precedes each signature check.
func (k *keyring) GetUserAccount(access string) (auth.Account, error) {
	if access == k.account {
		return k.BucketOwner(), nil // named as the owner of a bucket, not as a key
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	secret, ok := k.secrets[access]
	if !ok {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return auth.Account{Access: k.account, Secret: secret, Role: auth.RoleAdmin}, nil
}

// BucketOwner is the account, without a secret.
func (k *keyring) BucketOwner() auth.Account {
	return auth.Account{Access: k.account, Role: auth.RoleAdmin}
}

// ResolveAccounts refuses what nobody can be granted: see grantee. It never names
// an id as missing, since the server library would answer that as its own failure.
func (k *keyring) ResolveAccounts(ids []string) ([]string, error) {
	for _, id := range ids {
		if _, ok := grantee(id); !ok && id != k.account {
			return nil, s3err.APIError{Code: "InvalidArgument", Description: "Invalid id", HTTPStatusCode: http.StatusBadRequest}
		}
	}
	return nil, nil
}

// ListUserAccounts names the one account.
func (k *keyring) ListUserAccounts() ([]auth.Account, error) {
	return []auth.Account{k.BucketOwner()}, nil
}

// CreateAccount is refused: see errFixedKeys. So are the next two.
func (k *keyring) CreateAccount(auth.Account) error { return errFixedKeys }

// UpdateUserAccount is refused.
func (k *keyring) UpdateUserAccount(string, auth.MutableProps) error { return errFixedKeys }

// DeleteUserAccount is refused.
func (k *keyring) DeleteUserAccount(string) error { return errFixedKeys }

// Shutdown has nothing to end.
func (k *keyring) Shutdown() error { return nil }
