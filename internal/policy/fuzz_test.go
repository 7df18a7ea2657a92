package policy_test

import (
	"errors"
	"testing"

	"holdfast.dev/internal/policy"
)

// FuzzParse reads anything. What is taken decides without failing, and no document overrules a
// deny.
func FuzzParse(f *testing.F) {
	f.Add(one("Allow", `"Action":["s3:*","elasticache:Describe?"]`, `"Resource":"arn:aws:s3:::${aws:username}/*"`,
		`{"ForAllValues:StringLike":{"aws:TagKeys":["a*","${aws:username}"]},"NumericLessThanIfExists":{"elasticache:NumNodeGroups":3}}`), group)
	f.Add(one("Deny", `"NotAction":"iam:*"`, `"NotResource":"arn:aws:*"`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Null":{"aws:userid":true}}`), "*")
	f.Add(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-01"}}}}`, "arn:a:b:c:d:e")
	f.Fuzz(func(t *testing.T, doc, resource string) {
		d, err := policy.Parse(doc)
		if err != nil {
			var told *policy.Malformed
			if !errors.As(err, &told) || d != nil {
				t.Errorf("not a fault for the author: %v", err)
			}
			return
		}
		c := context("aws:username", "bob", "aws:tagkeys", "a", "aws:tagkeys", resource, "elasticache:numnodegroups", resource)
		r := policy.Request{Action: "s3:GetObject", Resource: resource, Context: c}
		if policy.Evaluate(nil, r) != policy.ImplicitDeny {
			t.Error("allowed by nothing")
		}
		if policy.Evaluate([]*policy.Document{d}, r) == policy.ExplicitDeny && policy.Evaluate([]*policy.Document{d, d}, r) != policy.ExplicitDeny {
			t.Error("a deny that goes away")
		}
		deny, err := policy.Parse(one("Deny", anyAction, anyResource, ""))
		if err != nil {
			t.Fatal(err)
		}
		if policy.Evaluate([]*policy.Document{d, deny}, r) != policy.ExplicitDeny {
			t.Error("a deny was overruled")
		}
	})
}
