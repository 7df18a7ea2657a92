package policy

import "strings"

// key is what is known of a condition key.
type key struct {
	many bool // may have several values in one request
}

// keys are the condition keys that requests carry, in lower case. Those of multi-factor
// authentication and sessions are known and never present: access keys have neither.
var keys = map[string]key{
	"aws:currenttime": {}, "aws:epochtime": {}, "aws:sourceip": {}, "aws:securetransport": {}, "aws:useragent": {},
	"aws:requestedregion": {}, "aws:username": {}, "aws:userid": {}, "aws:principalarn": {}, "aws:principalaccount": {},
	"aws:principaltype": {}, "aws:resourceaccount": {}, "aws:tagkeys": {many: true},
	"aws:viaawsservice": {}, "aws:principalisawsservice": {},
	"aws:multifactorauthpresent": {}, "aws:multifactorauthage": {}, "aws:tokenissuetime": {},

	"elasticache:cachenodetype": {}, "elasticache:engineversion": {}, "elasticache:enginetype": {},
	"elasticache:authtokenenabled": {}, "elasticache:snapshotretentionlimit": {}, "elasticache:cacheparametergroupname": {},
	"elasticache:atrestencryptionenabled": {}, "elasticache:transitencryptionenabled": {},
	"elasticache:automaticfailoverenabled": {}, "elasticache:multiazenabled": {}, "elasticache:numnodegroups": {},
	"elasticache:replicaspernodegroup": {}, "elasticache:userauthenticationmode": {}, "elasticache:kmskeyid": {},

	"iam:policyarn": {},

	"s3:prefix": {}, "s3:delimiter": {}, "s3:max-keys": {}, "s3:versionid": {}, "s3:x-amz-acl": {},
}

// tagKeys are the prefixes of keys that end in the key of a tag.
var tagKeys = []string{"aws:resourcetag/", "aws:requesttag/", "aws:principaltag/"}

// findKey finds a condition key by its name in lower case.
func findKey(name string) (key, bool) {
	for _, prefix := range tagKeys {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return key{}, rest != ""
		}
	}
	k, ok := keys[name]
	return k, ok
}
