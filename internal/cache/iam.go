package cache

import (
	"strings"
	"time"
)

// IAMUser is somebody who may call the API as far as policies let him. Users belong to
// the installation as a whole, not to a region.
type IAMUser struct {
	Path, Name string
	// ID is what never comes again, even for a user of the same name: "AIDA…".
	ID        string
	CreatedAt time.Time
	Tags      []Tag `json:",omitempty"`
	// Inline are the policies that are the user's own, by name.
	Inline map[string]string `json:",omitempty"`
	// Attached are the ARNs of managed policies, in the order of their attachment.
	Attached []string `json:",omitempty"`
	// Keys are the ids of the access keys, oldest first.
	Keys []string `json:",omitempty"`
}

// IAMKey is where a user is stored: names are unique whatever their case.
func IAMKey(name string) string { return strings.ToLower(name) }

// Key is where the user is stored.
func (u *IAMUser) Key() string { return IAMKey(u.Name) }

// ARN names the user.
func (u *IAMUser) ARN() string { return IAMUserARN(u.Path, u.Name) }

// IAMUserARN names a user, be there one or not.
func IAMUserARN(path, name string) string { return "arn:aws:iam::" + Account + ":user" + path + name }

// RootARN names the owner of the installation.
const RootARN = "arn:aws:iam::" + Account + ":root"

// Statuses of access keys.
const (
	AccessKeyActive   = "Active"
	AccessKeyInactive = "Inactive"
)

// AccessKey lets a user sign. Its secret has to be known to verify signatures, so it is
// kept, sealed by a key that stands outside the records.
type AccessKey struct {
	ID, UserName, Status string
	CreatedAt            time.Time
	Sealed               []byte
}

// ManagedPolicy is a policy that can be attached to users. It has one version.
type ManagedPolicy struct {
	Path, Name, ID, Description string
	Document                    string
	CreatedAt                   time.Time
	Tags                        []Tag `json:",omitempty"`
}

// PolicyVersion is the one version that a managed policy has.
const PolicyVersion = "v1"

// Key is where the policy is stored.
func (p *ManagedPolicy) Key() string { return IAMKey(p.Name) }

// ARN names the policy.
func (p *ManagedPolicy) ARN() string { return IAMPolicyARN(p.Path, p.Name) }

// IAMPolicyARN names a managed policy, be there one or not.
func IAMPolicyARN(path, name string) string {
	return "arn:aws:iam::" + Account + ":policy" + path + name
}
