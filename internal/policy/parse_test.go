package policy_test

import (
	"errors"
	"strings"
	"testing"

	"holdfast.dev/internal/policy"
)

func TestMalformed(t *testing.T) {
	condition := func(c string) string { return one("Allow", anyAction, anyResource, c) }
	for _, tt := range []struct{ doc, want string }{
		{``, "valid JSON"},
		{`{`, "valid JSON"},
		{`{} {}`, "valid JSON"},
		{`[]`, "must be a JSON object"},
		{`null`, "must be a JSON object"},
		{`{"Version":"2012-10-17"}`, "Statement is missing"},
		{`{"Version":"2012-10-17","Statement":[]}`, "Statement is missing"},
		{`{"Version":"2013-10-17","Statement":[]}`, "valid version"},
		{`{"Version":20121017,"Statement":[]}`, "valid version"},
		{`{"version":"2012-10-17"}`, `"version" is not known`},
		{`{"Statement":[1]}`, "must be an object"},
		{`{"Statement":{"Effect":"Allow","Action":"*"}}`, "must contain resources"},
		{`{"Statement":{"Effect":"Allow","Resource":"*"}}`, "must contain actions"},
		{`{"Statement":{"Action":"*","Resource":"*"}}`, "Effect must be"},
		{`{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`, "Effect must be"},
		{`{"Statement":{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}}`, "Duplicate element"},
		{`{"Statement":{"Effect":"Allow","Action":"*","NotAction":"a:b","Resource":"*"}}`, "both Action"},
		{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","NotResource":"*"}}`, "both Resource"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, "should not specify a principal"},
		{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Conditions":{}}}`, "is not known"},
		{`{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}`, "must be unique"},
		{`{"Statement":{"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"}}`, "alpha-numeric"},
		{one("Allow", `"Action":"Describe"`, anyResource, ""), "prefaced by a vendor"},
		{one("Allow", `"Action":"s3:Get Object"`, anyResource, ""), "not valid"},
		{one("Allow", `"Action":[]`, anyResource, ""), "must not be empty"},
		{one("Allow", `"Action":[1]`, anyResource, ""), "list of strings"},
		{one("Allow", anyAction, `"Resource":"orders"`, ""), "must be in ARN format"},
		{one("Allow", anyAction, `"Resource":"arn:aws:s3"`, ""), "must be in ARN format"},
		{one("Allow", anyAction, `"Resource":"arn:gcp:s3:::b"`, ""), "Partition"},
		{one("Allow", anyAction, `"Resource":"arn:aws:s3:::${aws:username"`, ""), "not closed"},
		{one("Allow", anyAction, `"Resource":"arn:aws:s3:::${aws:nobody}"`, ""), "not known"},
		{one("Allow", anyAction, `"Resource":"arn:aws:s3:::${aws:TagKeys}"`, ""), "several values"},
		{one("Allow", anyAction, `"Resource":"arn:aws:s3:::${aws:username, x}"`, ""), "single quotes"},
		{condition(`[]`), "must be an object"},
		{condition(`{"StringEquals":"x"}`), "keys and values"},
		{condition(`{"StringEquals":{}}`), "keys and values"},
		{condition(`{"StringSame":{"aws:username":"x"}}`), "Invalid Condition type : StringSame."},
		{condition(`{"BinaryEquals":{"aws:username":"eA=="}}`), "Invalid Condition type"},
		{condition(`{"NullIfExists":{"aws:username":"true"}}`), "Invalid Condition type"},
		{condition(`{"ForAnyValue:Null":{"aws:username":"true"}}`), "Invalid Condition type"},
		{condition(`{"ForAnyValue:ForAllValues:StringLike":{"aws:username":"true"}}`), "Invalid Condition type"},
		{condition(`{"StringEquals":{"aws:SourceVpc":"vpc-1"}}`), "aws:SourceVpc is not supported"},
		{condition(`{"StringEquals":{"aws:ResourceTag/":"x"}}`), "not supported"},
		{condition(`{"StringEquals":{"aws:TagKeys":"x"}}`), "several values"},
		{condition(`{"StringEquals":{"aws:username":"x","AWS:username":"y"}}`), "Duplicate element"},
		{condition(`{"StringEquals":{"aws:username":{}}}`), "list of strings"},
		{condition(`{"StringEquals":{"aws:username":null}}`), "list of strings"},
		{condition(`{"Bool":{"aws:SecureTransport":"yes"}}`), "not valid"},
		{condition(`{"NumericEquals":{"elasticache:NumNodeGroups":"1e99999999"}}`), "not valid"},
		{condition(`{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), "not valid"},
		{condition(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/40"}}`), "not valid"},
		{condition(`{"ArnLike":{"aws:PrincipalArn":"bob"}}`), "not valid"},
	} {
		_, err := policy.Parse(tt.doc)
		var told *policy.Malformed
		if !errors.As(err, &told) || !strings.Contains(told.Message, tt.want) {
			t.Errorf("%s:\ngot %v, want %s", tt.doc, err, tt.want)
		}
	}
}
