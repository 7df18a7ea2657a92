package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"holdfast.dev/internal/cache"
)

// defaultUser is who a client is that has not said otherwise.
const defaultUser = "default"

// account is a user of a node with all of his rules, in the order in which the engine
// takes them, from none at all.
type account struct {
	name  string
	rules []string
}

func administrator(d dialect, secret string) account {
	own := []string{"on", "#" + cache.HashPassword(secret), "~*", "&*", "+@all"}
	return account{AdminUser, spoken(d, own)}
}

// accounts are all users of a node but the administrator. The default user, whom no
// engine can do without, is among them: turned off unless somebody is to log in as him.
func accounts(d dialect, spec cache.NodeSpec) []account {
	if spec.Access == nil {
		return []account{{defaultUser, append(customerRules(d), blocked(spec)...)}}
	}
	out := make([]account, 0, len(spec.Access.Users)+1)
	if !spec.Access.Has(defaultUser) {
		out = append(out, account{defaultUser, []string{"off"}})
	}
	for _, u := range spec.Access.Users {
		out = append(out, account{u.Name, userRules(d, spec.Secret, u, blocked(spec)...)})
	}
	return out
}

// userRules are the user's own and, behind them and at the end of every selector, those
// that take away what nobody may give. A selector gives by itself, whatever the rules
// outside of it take. So do they take the commands that are blocked.
func userRules(d dialect, secret string, u cache.NodeUser, blocked ...string) []string {
	root, selectors := split(u.Rules)
	out := spoken(d, root)
	if u.IAM {
		out = append(out, "#"+cache.HashPassword(IAMPassword(secret, u.Name)))
	}
	out = append(append(out, withhold(d, root, true)...), blocked...)
	inner := strings.Join(append(withhold(d, nil, true), blocked...), " ")
	for _, s := range selectors {
		if strings.HasPrefix(s, "(") {
			s = s[:len(s)-1] + " " + inner + ")"
		}
		out = append(out, s)
	}
	return out
}

// split takes the selectors out of rules, in their order, and with them "clearselectors",
// whose place among them matters. A selector is one rule, or several that
// the engine joins: "(~k", "+get)".
func split(rules []string) (root, selectors []string) {
	open := ""
	for _, r := range rules {
		switch {
		case open != "":
			open += " " + r
		case strings.HasPrefix(r, "("):
			open = r
		case strings.EqualFold(r, "clearselectors"):
			selectors = append(selectors, r)
			continue
		default:
			root = append(root, r)
			continue
		}
		if strings.HasSuffix(r, ")") {
			selectors, open = append(selectors, open), ""
		}
	}
	if open != "" {
		root = append(root, open) // checkRules refuses one that is left open
	}
	return root, selectors
}

// spoken leaves out what a build has no word for because it cannot be otherwise: before
// 6.2 everybody has all channels.
func spoken(d dialect, rules []string) []string {
	out := make([]string, 0, len(rules))
	for _, r := range rules {
		if !d.has(since62) && (r == "&*" || strings.EqualFold(r, "allchannels")) {
			continue
		}
		out = append(out, r)
	}
	return out
}

// IAMPassword is the password with which the engines know a user who logs in with an IAM
// token: whoever has checked the token logs in with this in its stead. Nobody who
// does not have the secret of the node can tell it.
func IAMPassword(secret, user string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("iam\x00" + user))
	return hex.EncodeToString(mac.Sum(nil))
}

// checkAccess refuses users that no engine may have, or not be told in this way.
// What is wrong with a rule apart from that the engine itself says.
func checkAccess(d dialect, a *cache.Access) error {
	if a == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, u := range a.Users {
		switch {
		case u.Name == "" || strings.ContainsFunc(u.Name, unprintable):
			return fmt.Errorf("%w: a user has the name %q", cache.ErrPermanent, u.Name)
		case strings.EqualFold(u.Name, AdminUser):
			return fmt.Errorf("%w: the user name %s is taken", cache.ErrPermanent, AdminUser)
		case seen[u.Name]:
			return fmt.Errorf("%w: there are two users with the name %s", cache.ErrPermanent, u.Name)
		}
		seen[u.Name] = true
		if err := checkRules(d, u); err != nil {
			return err
		}
	}
	return nil
}

// checkRules does not repeat the rule in its error: it may hold a password.
func checkRules(d dialect, u cache.NodeUser) error {
	root, selectors := split(u.Rules)
	for _, r := range root {
		switch {
		case strings.HasPrefix(r, "("):
			return fmt.Errorf("%w: a selector of the user %s is not closed", cache.ErrPermanent, u.Name)
		case r == "" || strings.ContainsFunc(r, unprintable):
			return fmt.Errorf("%w: a rule of the user %s is empty, or has a space in it", cache.ErrPermanent, u.Name)
		case strings.EqualFold(r, "reset"), strings.HasPrefix(r, ">"), strings.HasPrefix(r, "<"):
			return fmt.Errorf("%w: a rule of the user %s is reset, or has a password in clear", cache.ErrPermanent, u.Name)
		case u.IAM && (strings.HasPrefix(r, "#") || strings.EqualFold(r, "nopass")):
			return fmt.Errorf("%w: the user %s logs in with IAM tokens, and has another way in besides", cache.ErrPermanent, u.Name)
		}
	}
	if len(selectors) > 0 && !d.has(since70) {
		return fmt.Errorf("%w: the user %s has selectors, which %s %d.%d does not know",
			cache.ErrPermanent, u.Name, d.engine, d.version[0], d.version[1])
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }
