package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
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
	// TokenModifiedAt is when the AUTH token was given that the users stand for; zero
	// for users of user groups.
	TokenModifiedAt time.Time `json:",omitzero"`
}

// NodeUser is a user as an engine knows it.
type NodeUser struct {
	Name string
	// Rules are ACL rules in the order in which an engine takes them, without "reset" and
	// without passwords in clear: "on", "#<sha256 in hex>", "~app:*", "+@read".
	Rules []string
	// IAM: it logs in with a token that is checked outside of the engine.
	IAM bool `json:",omitempty"`
	// ID tells users apart that have one name after the other: the connections of the
	// former one end. It is "" for the default user of a cache without user groups.
	ID string `json:",omitempty"`
}

// BuiltInUser is the id, and the name, of the user that everybody is who logs in as
// nobody. It is the same one with user groups and without.
const BuiltInUser = "default"

// Has tells whether somebody may log in by that name.
func (a *Access) Has(name string) bool {
	return a == nil && name == BuiltInUser ||
		a != nil && slices.ContainsFunc(a.Users, func(u NodeUser) bool { return u.Name == name })
}

// HasIAM tells whether anybody logs in with tokens that are checked outside of the engine.
func (a *Access) HasIAM() bool {
	return a != nil && slices.ContainsFunc(a.Users, func(u NodeUser) bool { return u.IAM })
}

// LogsInWithIAM tells whether the user of that name does.
func (a *Access) LogsInWithIAM(name string) bool {
	return a != nil && slices.ContainsFunc(a.Users, func(u NodeUser) bool { return u.IAM && u.Name == name })
}

// Logins are the ids of those who may log in, by name; nil for everybody as the
// default user.
func (a *Access) Logins() map[string]string {
	if a == nil {
		return nil
	}
	out := make(map[string]string, len(a.Users))
	for _, u := range a.Users {
		out[u.Name] = u.ID
	}
	return out
}

// Ended names those, in order, of the logins that a node was told before whose
// connections are to end: they have gone, or the name is another user's by now.
func (a *Access) Ended(before map[string]string) []string {
	if before == nil {
		before = map[string]string{BuiltInUser: ""}
	}
	now := a.Logins()
	if now == nil {
		now = map[string]string{BuiltInUser: ""}
	}
	var out []string
	for name, id := range before {
		is, ok := now[name]
		if !ok || plainID(is) != plainID(id) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// AccessUnsure stands for a digest where it is not known what a node was told last.
const AccessUnsure = "?"

func plainID(id string) string {
	if id == BuiltInUser {
		return ""
	}
	return id
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
		for _, s := range append([]string{u.Name, iam, u.ID}, u.Rules...) {
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
