package control

import (
	"strings"

	"holdfast.dev/internal/cache"
)

// Bounds of passwords, in characters, and how many a user may have.
const (
	minPassword  = 16
	maxPassword  = 128
	maxPasswords = 2
)

// Login is what a request says of how a user shows who it is. The passwords are in it in
// clear, and go no further than to their hashes.
type Login struct {
	// Mode is AuthenticationMode.Type, with ModePasswords.
	Mode          string
	ModePasswords []string
	// Passwords and NoPassword are the older way to say it.
	Passwords  []string
	NoPassword bool
}

// Empty tells whether nothing was said.
func (l *Login) Empty() bool {
	return l.Mode == "" && len(l.ModePasswords) == 0 && len(l.Passwords) == 0 && !l.NoPassword
}

// The values of AuthenticationMode.Type.
const (
	modePassword   = "password"
	modeNoPassword = "no-password-required"
	modeIAM        = "iam"
)

// set gives a user what was asked for.
func (l *Login) set(u *cache.User) error {
	mode, passwords, err := l.resolve()
	if err != nil {
		return err
	}
	var hashes []string
	switch mode {
	case modePassword:
		if hashes, err = hashPasswords(passwords); err != nil {
			return err
		}
		u.Auth = cache.AuthPassword
	case modeNoPassword:
		u.Auth = cache.AuthNoPassword
	case modeIAM:
		u.Auth = cache.AuthIAM
	default:
		return invalid("The parameter AuthenticationMode.Type must be password, no-password-required or iam. Provided value: %s", mode)
	}
	if mode != modePassword && len(passwords) > 0 {
		return conflict("Passwords cannot be used together with the authentication type %s.", mode)
	}
	u.PasswordHashes = hashes
	return nil
}

// resolve makes one of the two ways to say it.
func (l *Login) resolve() (mode string, passwords []string, err error) {
	older := len(l.Passwords) > 0 || l.NoPassword
	switch {
	case older && (l.Mode != "" || len(l.ModePasswords) > 0):
		return "", nil, conflict("AuthenticationMode cannot be used together with Passwords or NoPasswordRequired.")
	case len(l.Passwords) > 0 && l.NoPassword:
		return "", nil, conflict("Passwords and NoPasswordRequired cannot be used together.")
	case l.NoPassword:
		return modeNoPassword, nil, nil
	case older:
		return modePassword, l.Passwords, nil
	case l.Mode == "":
		return "", nil, missing("AuthenticationMode.Type")
	}
	return lower(l.Mode), l.ModePasswords, nil
}

// hashPasswords checks passwords without repeating them.
func hashPasswords(passwords []string) ([]string, error) {
	if n := len(passwords); n == 0 || n > maxPasswords {
		return nil, invalid("A user with password authentication must have 1 or %d passwords. Provided: %d", maxPasswords, n)
	}
	var out []string
	for _, p := range passwords {
		switch {
		case len(p) < minPassword || len(p) > maxPassword:
			return nil, invalid("Passwords must have %d to %d characters.", minPassword, maxPassword)
		case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r > '~' }), strings.ContainsAny(p, `,"/@`):
			return nil, invalid(`Passwords must contain only printable ASCII characters, and none of , " / @.`)
		}
		out = append(out, cache.HashPassword(p))
	}
	if len(out) == 2 && out[0] == out[1] {
		return nil, invalid("The two passwords of a user must not be the same.")
	}
	return out, nil
}
