package cache

import (
	"strconv"
	"time"
)

// AuthType is how a user shows who it is, as the API prints it.
type AuthType string

// The ways to log in.
const (
	AuthPassword   AuthType = "password"
	AuthNoPassword AuthType = "no-password"
	AuthIAM        AuthType = "iam"
)

// Kinds of resources in ARNs, and event source types.
const (
	KindUser       = "user"
	KindUserGroup  = "usergroup"
	EventUser      = "user"
	EventUserGroup = "user-group"
)

// StatusActive is how users and user groups are that every node knows as they are.
const StatusActive Status = "active"

// User may log in to the caches of the user groups that it is in.
type User struct {
	Region, ID string
	// Name is what it logs in as; several users may have one, though not in one user group.
	Name   string
	Engine string // Redis or Valkey
	// AccessString is normalised.
	AccessString string
	Auth         AuthType
	// PasswordHashes as HashPassword makes them; two at most.
	PasswordHashes []string `json:",omitempty"`
	// MinVersion is the oldest engine version that understands its rules.
	MinVersion string
	Tags       []Tag
	CreatedAt  time.Time
	// Deletion is set once it is to go. It is in no user group any more.
	Deletion *UserDeletion `json:",omitempty"`
}

// UserDeletion names the replication groups whose nodes may still know a user: once all
// of them have been told, the user is gone.
type UserDeletion struct {
	RequestedAt time.Time
	GroupIDs    []string
}

// Key is where the user is stored.
func (u *User) Key() string { return Key(u.Region, u.ID) }

// Mark tells users apart, those too that had one id after the other.
func (u *User) Mark() string {
	if u.ID == BuiltInUser {
		return u.ID
	}
	return u.ID + "@" + strconv.FormatInt(u.CreatedAt.UnixNano(), 36)
}

// DefaultUser is the user that every region has. It is no record.
func DefaultUser(region string) User {
	return User{
		Region: region, ID: BuiltInUser, Name: BuiltInUser, Engine: Redis,
		AccessString: "on ~* +@all", Auth: AuthNoPassword, MinVersion: "6.0",
	}
}

// UserGroup is a set of users, for caches to use as a whole.
type UserGroup struct {
	Region, ID string
	Engine     string   // Redis or Valkey
	UserIDs    []string // in order
	Tags       []Tag
	CreatedAt  time.Time
	// Change is the last one of UserIDs; nil for none that any cache had to be told of.
	Change *UserGroupChange `json:",omitempty"`
}

// Key is where the user group is stored.
func (g *UserGroup) Key() string { return Key(g.Region, g.ID) }

// UserGroupChange is a change of the users of a user group, and the replication groups
// whose nodes are to know of it.
type UserGroupChange struct {
	Added, Removed []string
	GroupIDs       []string
}

// UserGroupsChange is the last change of the user groups of a replication group.
type UserGroupsChange struct {
	Added, Removed []string
}

// AccessTold tells whether nobody but those of Access may log in to the node, and give no
// command that is blocked. One that does not run, or has left, is told before it serves, if ever.
func (c *CacheCluster) AccessTold() bool {
	return c.Departed || c.Node.Process == nil || c.Node.Access == c.Access.Digest() && c.CommandsTold()
}
