package control

import (
	"strings"
	"unicode/utf8"

	"holdfast.dev/internal/cache"
)

// Bounds of tags, in characters, and how many a resource may have.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	awsPrefix   = "aws:"
)

// checkTags holds the tags of one request against the rules.
func checkTags(tags []cache.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch n := utf8.RuneCountInString(t.Key); {
		case n == 0 || n > maxTagKey:
			return invalid("Tag keys must have 1 to %d characters.", maxTagKey)
		case strings.HasPrefix(lower(t.Key), awsPrefix):
			return invalid("Tag keys must not begin with %q: %s", awsPrefix, t.Key)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return invalid("The value of the tag %s has more than %d characters.", t.Key, maxTagValue)
		case seen[t.Key]:
			return invalid("The tag key %s is given more than once.", t.Key)
		}
		seen[t.Key] = true
	}
	return checkTagCount(tags)
}

func checkTagCount(tags []cache.Tag) error {
	if len(tags) > maxTags {
		return cache.Faultf(codeTagQuota, "A resource can have at most %d tags.", maxTags)
	}
	return nil
}

// mergeTags puts new tags over old ones, keys in the order in which they came.
func mergeTags(old, add []cache.Tag) []cache.Tag {
	out := append([]cache.Tag(nil), old...)
next:
	for _, t := range add {
		for i := range out {
			if out[i].Key == t.Key {
				out[i].Value = t.Value
				continue next
			}
		}
		out = append(out, t)
	}
	return out
}
