package control

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest names, in letters.
const (
	maxGroupID      = 40
	maxClusterID    = 50
	maxSnapshotName = 255
	maxSubnetGroup  = 255
	maxExportName   = 1000
	maxDescription  = 255
)

// checkID holds a name against the rule that most of ElastiCache's names share:
// letters, digits and hyphens, a letter first, no hyphen last and no two in a row.
func checkID(parameter, id string, longest int) error {
	switch {
	case id == "":
		return missing(parameter)
	case len(id) > longest:
		return invalid("The parameter %s is not a valid identifier. It has %d characters; %d are allowed.", parameter, len(id), longest)
	case !asciiLetter(rune(id[0])), strings.HasSuffix(id, "-"), strings.Contains(id, "--"), strings.ContainsFunc(id, notIDRune):
		return invalid("The parameter %s is not a valid identifier. Identifiers must begin with a letter; "+
			"must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.", parameter)
	}
	return nil
}

func asciiLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func notIDRune(r rune) bool { return !asciiLetter(r) && (r < '0' || r > '9') && r != '-' }

// checkExportName holds the first part of an object's key against the rule for
// exports. A slash would hide the files in a folder that nobody asked for.
func checkExportName(name string) error {
	n := utf8.RuneCountInString(name)
	if n == 0 || n > maxExportName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, "/") {
		return invalid("The parameter TargetSnapshotName must have 1 to %d characters, none of them a slash or a control character.", maxExportName)
	}
	return nil
}

func checkDescription(parameter, text string) error {
	if utf8.RuneCountInString(text) > maxDescription {
		return invalid("The parameter %s must not be longer than %d characters.", parameter, maxDescription)
	}
	return nil
}
