package control

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
	"holdfast.dev/internal/store"
)

// IAMConfig is what an IAM works with. All is needed.
type IAMConfig struct {
	DB  *store.DB
	Now func() time.Time
	// Sealer keeps the secrets of access keys from who has only the records.
	Sealer Sealer
}

// Sealer encrypts. What it sealed under a label it opens under that label alone.
type Sealer interface {
	Seal(label, secret string) ([]byte, error)
	Open(label string, sealed []byte) (string, error)
}

// IAM keeps users, access keys and policies, and decides by them. Nothing of what it
// decides by is older than the transaction that it decides in.
type IAM struct {
	IAMConfig
	// parsed are documents that have been read, by their text.
	parsed sync.Map
}

// NewIAM makes an IAM.
func NewIAM(c IAMConfig) (*IAM, error) {
	if c.DB == nil || c.Now == nil || c.Sealer == nil {
		return nil, errors.New("cannot make an IAM: a part of its configuration is missing")
	}
	return &IAM{IAMConfig: c}, nil
}

// IAM's codes.
const (
	codeNoSuchEntity    = "NoSuchEntity"
	codeEntityExists    = "EntityAlreadyExists"
	codeMalformedPolicy = "MalformedPolicyDocument"
	codeLimitExceeded   = "LimitExceeded"
	codeDeleteConflict  = "DeleteConflict"
	codeValidation      = "ValidationError"
	codeAccessDenied    = "AccessDenied"
)

// IAM's quotas.
const (
	maxIAMUsers       = 5000
	maxAccessKeys     = 2
	maxIAMPolicies    = 1500
	maxAttached       = 10
	maxInlinePolicies = 2048 // characters of all inline policies of a user, white space apart
	maxManagedPolicy  = 6144 // characters, white space apart
)

var (
	iamNameForm    = regexp.MustCompile(`^[\w+=,.@-]+$`)
	iamPathForm    = regexp.MustCompile(`^(/|/[!-~]+/)$`)
	policyPathForm = regexp.MustCompile(`^((/[A-Za-z0-9.,+@=_-]+)*)/$`)
	policyTextForm = regexp.MustCompile(`^[\t\n\r -\x{FF}]+$`)
)

func iamInvalid(value, member, rule string) error {
	return cache.Faultf(codeValidation, "1 validation error detected: Value '%.200s' at '%s' failed to satisfy constraint: Member must satisfy %s", value, member, rule)
}

func checkIAMName(member, name string, longest int) error {
	switch {
	case !iamNameForm.MatchString(name):
		return iamInvalid(name, member, `regular expression pattern: [\w+=,.@-]+`)
	case len(name) > longest:
		return cache.Faultf(codeValidation, "1 validation error detected: Value '%.200s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", name, member, longest)
	}
	return nil
}

// checkIAMPath holds a path against its form; "" stands for "/".
func checkIAMPath(path string, form *regexp.Regexp) (string, error) {
	if path == "" {
		return "/", nil
	}
	if len(path) > 512 || !form.MatchString(path) {
		return "", cache.Faultf(codeValidation, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return path, nil
}

// checkIAMTags holds tags against the rules that ElastiCache has, under IAM's code.
func checkIAMTags(tags []cache.Tag) error {
	err := checkTags(tags)
	var fault *cache.Fault
	if errors.As(err, &fault) {
		return cache.Faultf("InvalidInput", "%s", fault.Message)
	}
	return err
}

// parse reads a document that was taken before, or is about to be.
func (m *IAM) parse(doc string) (*policy.Document, error) {
	if d, ok := m.parsed.Load(doc); ok {
		if d, ok := d.(*policy.Document); ok {
			return d, nil
		}
	}
	d, err := policy.Parse(doc)
	if err == nil {
		m.remember(doc, d)
	}
	return d, err
}

// maxParsed bounds what is kept of documents that nobody uses any more.
const maxParsed = 4096

func (m *IAM) remember(doc string, d *policy.Document) {
	n := 0
	m.parsed.Range(func(any, any) bool { n++; return n < maxParsed })
	if n >= maxParsed {
		m.parsed.Clear()
	}
	m.parsed.Store(doc, d)
}

// checkPolicy reads a document that somebody wants to have kept.
func checkPolicy(doc string) error {
	if !policyTextForm.MatchString(doc) {
		return cache.Faultf(codeMalformedPolicy, "The policy is not in the valid JSON format.")
	}
	_, err := policy.Parse(doc)
	var told *policy.Malformed
	if errors.As(err, &told) {
		return cache.Faultf(codeMalformedPolicy, "%s", told.Message)
	}
	return err
}

// policySize is how IAM counts: white space apart.
func policySize(doc string) int {
	n := 0
	for _, r := range doc {
		if !strings.ContainsRune(" \t\r\n", r) {
			n++
		}
	}
	return n
}

// newIAMID makes an id of IAM's form: a prefix that tells its kind, and letters.
func newIAMID(prefix string) string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // crypto/rand.Read never fails
	return prefix + base32.StdEncoding.EncodeToString(b)
}

// newSecretKey makes a secret access key: 40 letters of 240 random bits.
func newSecretKey() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
