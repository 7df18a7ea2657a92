package cache

import (
	"regexp"
	"strings"
)

// DefaultKey is the name of the key of a region that seals what no other was named for.
const DefaultKey = "aws/elasticache"

var (
	keyARN   = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:((?:key|alias)/.+)$`)
	keyUUID  = regexp.MustCompile(`^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
	keyAlias = regexp.MustCompile(`^alias/[A-Za-z0-9/_-]{1,250}$`)
)

// KeyName reads a KmsKeyId as AWS KMS writes them: the ARN of a key of the region or
// of an alias, a key's own id, or alias/name. It returns the name of the key in the
// region's keyring, the same for every way of writing it.
func KeyName(region, id string) (name string, ok bool) {
	if m := keyARN.FindStringSubmatch(id); m != nil {
		if m[1] != region {
			return "", false
		}
		id = strings.TrimPrefix(m[2], "key/")
	}
	if id == "alias/"+DefaultKey {
		return DefaultKey, true
	}
	return id, keyUUID.MatchString(id) || keyAlias.MatchString(id)
}

// SealKey is the name of the key that a snapshot is sealed with, "" for none.
func (s *Snapshot) SealKey() string {
	if s.KmsKeyID == "" {
		if s.AtRestEncryption {
			return DefaultKey
		}
		return ""
	}
	name, _ := KeyName(s.Region, s.KmsKeyID) // it was checked when it was asked for
	return name
}
