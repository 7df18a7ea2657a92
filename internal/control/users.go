package control

import (
	"context"
	"slices"
	"strings"

	"holdfast.dev/internal/access"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// ElastiCache's quotas, per region.
const (
	maxUsers         = 2000
	maxUserGroups    = 200
	maxUsersPerGroup = 100
)

// maxUserID bounds the ids of users and user groups, which are part of ARNs, and
// maxUserName what clients have to say at each login.
const (
	maxUserID   = 255
	maxUserName = 255
)

// administrator is the user name that Holdfast itself has on every node.
const administrator = "holdfast-admin"

// NewUser is what CreateUser asks for.
type NewUser struct {
	ID, Name, Engine, AccessString string
	Login                          Login
	Tags                           []cache.Tag
}

// User is a user as it is shown.
type User struct {
	cache.User
	Status   cache.Status
	GroupIDs []string
}

// CreateUser makes a user, who may log in nowhere until it is in a user group.
func (c *Control) CreateUser(ctx context.Context, region string, in NewUser) (*User, error) {
	u, err := newUser(region, &in)
	if err != nil {
		return nil, err
	}
	u.CreatedAt = c.Now()
	err = c.DB.Update(ctx, func(tx *store.Tx) error {
		if err := sweepUsers(tx, region); err != nil {
			return err
		}
		_, taken, err := records.FindUser(tx, region, u.ID)
		if err != nil {
			return err
		}
		if taken {
			return cache.Faultf(codeUserExists, "User %s already exists.", u.ID)
		}
		n, err := records.Users.Count(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		if n >= maxUsers {
			return cache.Faultf(codeUserQuota, "You have reached your quota of %d users in this region.", maxUsers)
		}
		if err := records.Users.Put(tx, u.Key(), u); err != nil {
			return err
		}
		return c.tell(tx, region, cache.EventUser, u.ID, "User "+u.ID+" created")
	})
	if err != nil {
		return nil, err
	}
	return &User{User: u, Status: cache.StatusActive}, nil
}

// newUser checks what needs no other knowledge.
func newUser(region string, in *NewUser) (cache.User, error) {
	u := cache.User{Region: region, ID: lower(in.ID), Name: in.Name, Tags: in.Tags}
	if err := checkUserID("UserId", in.ID); err != nil {
		return u, err
	}
	if err := checkUserName(in.Name); err != nil {
		return u, err
	}
	if err := checkTags(in.Tags); err != nil {
		return u, err
	}
	if in.AccessString == "" {
		return u, missing("AccessString")
	}
	if in.Login.Empty() {
		return u, conflict("No password was provided. If you want to create/update the user without password, please use the NoPasswordRequired flag.")
	}
	var err error
	if u.Engine, err = userEngine(in.Engine); err != nil {
		return u, err
	}
	if err := setAccess(&u, in.AccessString); err != nil {
		return u, err
	}
	if err := in.Login.set(&u); err != nil {
		return u, err
	}
	return u, checkUser(&u)
}

// checkUserID holds an id against the pattern that the API has for users and user groups.
func checkUserID(parameter, id string) error {
	switch {
	case id == "":
		return missing(parameter)
	case len(id) > maxUserID:
		return invalid("The parameter %s has %d characters; %d are allowed.", parameter, len(id), maxUserID)
	case !asciiLetter(rune(id[0])), strings.ContainsFunc(id, notIDRune):
		return invalid("The parameter %s must begin with a letter and must contain only ASCII letters, digits, and hyphens. Provided value: %q", parameter, id)
	}
	return nil
}

// checkUserName refuses names that no client could log in as, and that of the administrator.
func checkUserName(name string) error {
	switch {
	case name == "":
		return missing("UserName")
	case len(name) > maxUserName:
		return invalid("The parameter UserName has %d characters; %d are allowed.", len(name), maxUserName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
		return invalid("The parameter UserName must contain only printable ASCII characters without spaces.")
	case lower(name) == administrator:
		return invalid("The user name %s is reserved.", administrator)
	}
	return nil
}

func userEngine(engine string) (string, error) {
	switch e := lower(engine); e {
	case cache.Redis, cache.Valkey:
		return e, nil
	case "":
		return "", missing("Engine")
	}
	return "", invalid("The parameter Engine must be redis or valkey. Provided value: %s", engine)
}

// setAccess gives a user the permissions of an access string.
func setAccess(u *cache.User, text string) error {
	s, err := access.Parse(text)
	if err != nil {
		return invalid("Access String syntax error: %s.", err)
	}
	u.AccessString = s.String()
	return nil
}

// The versions from which engines have what users need.
const (
	redisWithUsers  = access.Oldest
	valkeyWithUsers = "7.2"
	redisWithIAM    = "7.0"
)

// checkUser holds the parts of a user against each other, and says which engine
// versions it is for.
func checkUser(u *cache.User) error {
	s, err := access.Parse(u.AccessString)
	if err != nil {
		return err
	}
	u.MinVersion = newest(s.MinVersion(), firstWithUsers(u.Engine))
	switch {
	case u.Auth == cache.AuthNoPassword && u.Engine == cache.Valkey:
		return conflict("Users of the engine valkey need a password or IAM authentication.")
	case u.Auth == cache.AuthIAM && u.Name != u.ID:
		return conflict("The UserId and the UserName of a user with IAM authentication must be the same. Provided values: %s, %s", u.ID, u.Name)
	case u.Auth == cache.AuthIAM:
		u.MinVersion = newest(u.MinVersion, redisWithIAM)
	}
	return nil
}

func firstWithUsers(engine string) string {
	if engine == cache.Valkey {
		return valkeyWithUsers
	}
	return redisWithUsers
}

func newest(a, b string) string {
	if cache.CompareVersions(a, b) < 0 {
		return b
	}
	return a
}

// UserFilter is what DescribeUsers asks for; empty fields match all.
type UserFilter struct {
	ID, Engine string
	// Filters by property: a user passes if it has one of the values of each.
	Filters []PropertyFilter
}

// PropertyFilter is one of the Filters of a request.
type PropertyFilter struct {
	Name   string
	Values []string
}

// DescribeUsers returns the user of that id, or the page of those that match.
func (c *Control) DescribeUsers(ctx context.Context, region string, f UserFilter, page Page[User]) ([]User, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var out []User
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		seen, err := lookAtUsage(tx, region)
		if err != nil {
			return err
		}
		if f.ID != "" {
			u, err := getUser(tx, region, f.ID, seen)
			if err != nil {
				return err
			}
			out = keepIf([]User{seen.user(&u)}, f.matches)
			return nil
		}
		all, err := records.Users.List(tx, records.InRegion(region))
		if err != nil {
			return err
		}
		shown := make([]User, 0, len(all)+1)
		for _, u := range append(all[:len(all):len(all)], cache.DefaultUser(region)) {
			if !seen.gone(&u) {
				shown = append(shown, seen.user(&u))
			}
		}
		slices.SortFunc(shown, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
		out, err = page.of(keepIf(shown, f.matches))
		return err
	})
	return out, err
}

// userProperties are what users can be filtered by.
var userProperties = map[string]func(*User) []string{
	"userid":         func(u *User) []string { return []string{u.ID} },
	"username":       func(u *User) []string { return []string{u.Name} },
	"usergroupid":    func(u *User) []string { return u.GroupIDs },
	"engine":         func(u *User) []string { return []string{u.Engine} },
	"status":         func(u *User) []string { return []string{string(u.Status)} },
	"authentication": func(u *User) []string { return []string{string(u.Auth)} },
}

// property reads a name as the API's members are spelled, or the command line's: "user-id".
func property(name string) string { return strings.ReplaceAll(lower(name), "-", "") }

func (f *UserFilter) check() error {
	if f.Engine != "" {
		if _, err := userEngine(f.Engine); err != nil {
			return err
		}
	}
	for _, p := range f.Filters {
		switch {
		case p.Name == "":
			return missing("Filters.Name")
		case userProperties[property(p.Name)] == nil:
			return invalid("Users cannot be filtered by %s. Use one of UserId, UserName, UserGroupId, Engine, Status and Authentication.", p.Name)
		case len(p.Values) == 0:
			return missing("Filters.Values")
		}
	}
	return nil
}

func (f *UserFilter) matches(u *User) bool {
	if f.Engine != "" && u.Engine != lower(f.Engine) {
		return false
	}
	for _, p := range f.Filters {
		has := userProperties[property(p.Name)](u)
		wanted := func(v string) bool {
			return slices.ContainsFunc(has, func(h string) bool { return h == v || lower(h) == lower(v) && property(p.Name) != "username" })
		}
		if !slices.ContainsFunc(p.Values, wanted) {
			return false
		}
	}
	return true
}

// getUser finds a user that is not gone, the default one too.
func getUser(tx *store.Tx, region, id string, seen *usage) (cache.User, error) {
	if id == "" {
		return cache.User{}, missing("UserId")
	}
	u, ok, err := records.FindUser(tx, region, lower(id))
	if err == nil && (!ok || seen.gone(&u)) {
		err = cache.Faultf(codeUserNotFound, "User %s not found.", id)
	}
	return u, err
}
