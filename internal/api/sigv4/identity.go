package sigv4

// Identity is the caller behind an access key.
type Identity struct {
	// Account is the 12-digit account.
	Account string
	// ARN is the caller's ARN, for example arn:aws:iam::000000000000:root.
	ARN string
	// UserID is what GetCallerIdentity calls UserId.
	UserID string
}

// Keys looks up access keys. It must be safe for concurrent use.
type Keys interface {
	// Secret returns the secret and the owner of an access key; ok is false when
	// there is no such key.
	Secret(accessKeyID string) (secret string, identity Identity, ok bool)
}

// Sessions is what Keys may offer as well: temporary credentials. Without it, a
// request that carries a session token is refused.
type Sessions interface {
	// Session is Secret for a key that is only good together with its token.
	Session(accessKeyID, token string) (secret string, identity Identity, ok bool)
}

// lookup finds the secret for a request's key and token.
func lookup(keys Keys, accessKeyID, token string) (string, Identity, bool) {
	if token == "" {
		return keys.Secret(accessKeyID)
	}
	s, ok := keys.(Sessions)
	if !ok {
		return "", Identity{}, false
	}
	return s.Session(accessKeyID, token)
}
