package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// The values of AuthTokenUpdateStrategy.
const (
	TokenRotate = "ROTATE"
	TokenSet    = "SET"
	TokenDelete = "DELETE"
)

// Rules of AUTH tokens.
const (
	shortestToken = 16
	longestToken  = 128
	validTokens   = 2 // at one time, while one replaces the other
	// newTokenMarks are the only ones in the token of a new group, and barredTokenMarks
	// those that no token may have.
	newTokenMarks    = "!&#$^<>-"
	barredTokenMarks = `/"@%`
	firstWithTokens  = "5.0.6" // from which on they can be modified
)

// AuthChange is what ModifyReplicationGroup says of the AUTH token. It never leaves memory:
// what is kept is a hash.
type AuthChange struct {
	Token string
	// Strategy is one of the above; "" means TokenRotate.
	Strategy string
}

// checkToken does not repeat the token in its error.
func checkToken(token string, isNew bool) error {
	if len(token) < shortestToken || len(token) > longestToken {
		return invalid("The parameter AuthToken must be at least %d and no more than %d characters long.", shortestToken, longestToken)
	}
	for i := range len(token) {
		c := token[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		switch {
		case letter:
		case c <= ' ' || c > '~':
			return invalid("The parameter AuthToken must have printable ASCII characters only, and no spaces.")
		case isNew && !strings.Contains(newTokenMarks, string(c)):
			return invalid("The only special characters permitted in the parameter AuthToken are %s.", strings.Join(strings.Split(newTokenMarks, ""), " "))
		case strings.Contains(barredTokenMarks, string(c)):
			return invalid("The parameter AuthToken must not contain any of %s.", strings.Join(strings.Split(barredTokenMarks, ""), " "))
		}
	}
	return nil
}

// protect gives a new group the AUTH token that was asked for.
func (n *newGroup) protect(g *cache.ReplicationGroup) error {
	token := n.in.AuthToken
	switch {
	case token == "":
		return nil
	case g.TransitEncryption == "":
		return conflict("AuthToken can be specified only on replication groups where TransitEncryptionEnabled is true.")
	case len(g.UserGroupIDs) > 0:
		return errTokenAndUsers()
	}
	if err := checkToken(token, true); err != nil {
		return err
	}
	giveTokens(g, []string{cache.HashPassword(token)}, false, g.CreatedAt)
	n.Access = g.Access
	return nil
}

func errTokenAndUsers() error {
	return conflict("A replication group can have an AUTH token or user groups, not both.")
}

// giveTokens has these tokens let clients in, and with open those that have none.
func giveTokens(g *cache.ReplicationGroup, hashes []string, open bool, now time.Time) {
	g.AuthTokens, g.AuthOpen, g.AuthTokenModifiedAt = hashes, open, now
	rules := []string{"on"}
	for _, h := range hashes {
		if !open {
			rules = append(rules, "#"+h)
		}
	}
	if open {
		// An engine that asks for no password takes any; a hash beside that would end it.
		rules = append(rules, "nopass")
	}
	rules = append(rules, "~*", "&*", "+@all")
	g.Access = &cache.Access{Users: []cache.NodeUser{{Name: cache.BuiltInUser, Rules: rules}}, TokenModifiedAt: now}
}

// changeToken is to follow what is changed of the user groups. before are the settings as they
// were. The notes are events.
func (in *GroupChange) changeToken(g *Group, before *cache.Settings, now time.Time) (notes []string, err error) {
	a := in.Auth
	users := len(g.UserGroupIDs) > 0
	hadUsers := before.Access != nil && before.Access.TokenModifiedAt.IsZero()
	switch {
	case a == AuthChange{}:
		if users && len(g.AuthTokens) > 0 {
			return nil, conflict("Replication group %s has an AUTH token. To use user groups in its place, ask for AuthTokenUpdateStrategy %s too.", g.ID, TokenDelete)
		}
		return nil, nil
	case a.Strategy == TokenDelete:
		return in.deleteToken(g, users && !hadUsers)
	case a.Strategy != "" && a.Strategy != TokenRotate && a.Strategy != TokenSet:
		return nil, invalid("The parameter AuthTokenUpdateStrategy must be one of %s, %s, %s.", TokenSet, TokenRotate, TokenDelete)
	case a.Token == "":
		return nil, missing("AuthToken")
	case users:
		return nil, errTokenAndUsers()
	case hadUsers && a.Strategy != TokenSet:
		return nil, conflict("With RemoveUserGroups, AuthToken needs AuthTokenUpdateStrategy %s.", TokenSet)
	}
	if err := in.checkTokenChange(g); err != nil {
		return nil, err
	}
	hash := cache.HashPassword(a.Token)
	hashes, open := rotated(g.AuthTokens, hash), g.AuthOpen || len(g.AuthTokens) == 0
	if a.Strategy == TokenSet {
		if n := len(g.AuthTokens); n > 0 && g.AuthTokens[n-1] != hash {
			return nil, invalid("AuthTokenUpdateStrategy %s needs the AuthToken that %s gave last to replication group %s. Ask for %s with the new one first.",
				TokenSet, TokenRotate, g.ID, TokenRotate)
		}
		hashes, open = []string{hash}, false
	}
	if slices.Equal(hashes, g.AuthTokens) && open == g.AuthOpen {
		return nil, nil
	}
	giveTokens(&g.ReplicationGroup, hashes, open, now)
	notes = append(notes, fmt.Sprintf("AUTH token modification with strategy %s requested for replication group %s", orText(a.Strategy, TokenRotate), g.ID))
	if open {
		notes = append(notes, "Replication group "+g.ID+" lets clients in without a token until AuthTokenUpdateStrategy "+TokenSet)
	}
	return notes, nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// checkTokenChange checks a token for a group that serves.
func (in *GroupChange) checkTokenChange(g *Group) error {
	switch {
	case g.TransitEncryption == "":
		return conflict("AuthToken can be specified only on replication groups where TransitEncryptionEnabled is true.")
	case g.Engine == cache.Redis && cache.CompareVersions(g.EngineVersion, firstWithTokens) < 0:
		return conflict("Modifying the AuthToken needs redis %s or newer. The replication group has %s.", firstWithTokens, g.EngineVersion)
	case !in.Immediately:
		return conflict("AuthToken is modified at once or not at all: ApplyImmediately must be true.")
	}
	return checkToken(in.Auth.Token, false)
}

// rotated are the tokens once another has joined them: the last two.
func rotated(hashes []string, hash string) []string {
	out := slices.DeleteFunc(slices.Clone(hashes), func(h string) bool { return h == hash })
	out = append(out, hash)
	return out[max(0, len(out)-validTokens):]
}

// deleteToken ends the use of tokens where that of user groups begins.
func (in *GroupChange) deleteToken(g *Group, usersBegin bool) ([]string, error) {
	switch {
	case len(g.AuthTokens) == 0:
		return nil, conflict("Replication group %s has no AUTH token.", g.ID)
	case !usersBegin:
		return nil, conflict("AuthTokenUpdateStrategy %s needs UserGroupIdsToAdd.", TokenDelete)
	case !in.Immediately:
		return nil, conflict("AuthToken is modified at once or not at all: ApplyImmediately must be true.")
	case in.Auth.Token != "" && !slices.Contains(g.AuthTokens, cache.HashPassword(in.Auth.Token)):
		return nil, invalid("The parameter AuthToken is not one of the tokens of replication group %s.", g.ID)
	}
	g.AuthTokens, g.AuthOpen, g.AuthTokenModifiedAt = nil, false, time.Time{}
	return []string{"AUTH token of replication group " + g.ID + " deleted"}, nil
}

// PendingToken is what is being done with the AUTH token, as AuthTokenStatus has it, while
// not all nodes have been told; "" for nothing.
func (g *Group) PendingToken() string {
	untold := func(k cache.CacheCluster) bool { return !k.Departed && !k.AccessTold() }
	switch {
	case len(g.AuthTokens) == 0 || !slices.ContainsFunc(g.Members, untold):
		return ""
	case g.AuthOpen || len(g.AuthTokens) > 1:
		return "ROTATING"
	}
	return "SETTING"
}
