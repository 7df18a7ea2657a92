package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// TransitMode says whether clients have to encrypt: "", TransitPreferred or TransitRequired.
type TransitMode string

// The modes as TransitEncryptionMode has them. With TransitPreferred both kinds of
// clients are served.
const (
	TransitPreferred TransitMode = "preferred"
	TransitRequired  TransitMode = "required"
)

// Access says who may log in to the nodes of a cache, besides Holdfast's own
// administrator. It is computed from users and AUTH tokens, and changes in one
// transaction with them. A nil Access lets everybody in as the default user.
type Access struct {
	Users []NodeUser
}

// NodeUser is a user as an engine knows it.
type NodeUser struct {
	Name string
	// Rules are ACL rules in the order in which an engine takes them, without "reset" and
	// without passwords in clear: "on", "#<sha256 in hex>", "~app:*", "+@read".
	Rules []string
	// IAM: it logs in with a token that is checked outside of the engine.
	IAM bool `json:",omitempty"`
}

// Digest names an Access: two that differ in anything have different ones. It is "" for nil.
func (a *Access) Digest() string {
	if a == nil {
		return ""
	}
	h := sha256.New()
	users := slices.Clone(a.Users)
	slices.SortFunc(users, func(x, y NodeUser) int { return strings.Compare(x.Name, y.Name) })
	for _, u := range users {
		iam := "-"
		if u.IAM {
			iam = "iam"
		}
		for _, s := range append([]string{u.Name, iam}, u.Rules...) {
			h.Write([]byte(s))
			h.Write([]byte{0})
		}
		h.Write([]byte{1})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// HashPassword is what is kept of a password, as an engine's rule "#…" has it.
func HashPassword(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}
