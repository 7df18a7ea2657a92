package policy_test

import (
	"fmt"
	"testing"

	"holdfast.dev/internal/policy"
)

// one is a document of one statement.
func one(effect, action, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,%s,%s%s}]}`, effect, action, resource, condition)
}

const (
	anyAction   = `"Action":"*"`
	anyResource = `"Resource":"*"`
	group       = "arn:aws:elasticache:us-east-1:000000000000:replicationgroup:orders"
)

func context(pairs ...string) policy.Context {
	c := policy.Context{}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = append(c[pairs[i]], pairs[i+1])
	}
	return c
}

func evaluate(t *testing.T, r policy.Request, docs ...string) policy.Decision {
	t.Helper()
	var parsed []*policy.Document
	for _, doc := range docs {
		d, err := policy.Parse(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		parsed = append(parsed, d)
	}
	return policy.Evaluate(parsed, r)
}

func TestEffects(t *testing.T) {
	allow, deny := one("Allow", anyAction, anyResource, ""), one("Deny", anyAction, anyResource, "")
	other := one("Allow", `"Action":"s3:*"`, anyResource, "")
	for _, tt := range []struct {
		name string
		docs []string
		want policy.Decision
	}{
		{"no policy", nil, policy.ImplicitDeny},
		{"allowed", []string{allow}, policy.Allow},
		{"about something else", []string{other}, policy.ImplicitDeny},
		{"a deny wins behind", []string{allow, deny}, policy.ExplicitDeny},
		{"a deny wins before", []string{deny, allow}, policy.ExplicitDeny},
		{"a deny alone", []string{deny}, policy.ExplicitDeny},
		{"any of several", []string{other, allow}, policy.Allow},
	} {
		if got := evaluate(t, policy.Request{Action: "elasticache:DeleteReplicationGroup", Resource: group}, tt.docs...); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestActions(t *testing.T) {
	for _, tt := range []struct {
		element string
		want    bool
	}{
		{`"Action":"elasticache:DescribeEvents"`, true},
		{`"Action":"ELASTICACHE:describeevents"`, true},
		{`"Action":"elasticache:Describe*"`, true},
		{`"Action":"elasticache:D*s"`, true},
		{`"Action":"elasticache:DescribeEvent?"`, true},
		{`"Action":"elasticache:DescribeEvents?"`, false},
		{`"Action":"elasticache:DescribeEvent"`, false},
		{`"Action":["s3:*","elasticache:*"]`, true},
		{`"Action":["s3:*"]`, false},
		{`"NotAction":"s3:*"`, true},
		{`"NotAction":["s3:*","elasticache:DescribeE*"]`, false},
	} {
		got := evaluate(t, policy.Request{Action: "elasticache:DescribeEvents", Resource: "*"}, one("Allow", tt.element, anyResource, ""))
		if (got == policy.Allow) != tt.want {
			t.Errorf("%s: %d", tt.element, got)
		}
	}
}

func TestResources(t *testing.T) {
	const object = "arn:aws:s3:::bucket/a:b/c"
	for _, tt := range []struct {
		element, resource string
		want              bool
	}{
		{`"Resource":"` + group + `"`, group, true},
		{`"Resource":"` + group + `x"`, group, false},
		{`"Resource":"arn:aws:elasticache:us-east-1:000000000000:replicationgroup:Orders"`, group, false},
		{`"Resource":"arn:aws:elasticache:*:*:replicationgroup:*"`, group, true},
		{`"Resource":"arn:aws:elasticache:*:*:cluster:*"`, group, false},
		{`"Resource":"arn:aws:elasticache:eu-*:*:replicationgroup:*"`, group, false},
		{`"Resource":"arn:aws:elasticache:us-????-1:*:replicationgroup:*"`, group, true},
		{`"Resource":"arn:aws:elasticache:*"`, group, true},
		{`"Resource":"arn:aws:s3:*"`, group, false},
		{`"Resource":"arn:aws:elasticache:us-*1:000000000000:replicationgroup:orders"`, group, true},
		// A '*' in the middle of a part stays in it.
		{`"Resource":"arn:aws:el*1:000000000000:replicationgroup:orders"`, group, false},
		{`"Resource":"arn:aws:elasticache:us*0:replicationgroup:orders"`, group, false},
		{`"Resource":"arn:aws:elasticache:us-east-1?000000000000:replicationgroup:orders:*"`, group, false},
		{`"Resource":"arn:aws:s3:::bucket/*c"`, object, true},
		{`"Resource":"arn:aws:s3:::bucket/a?b/c"`, object, true},
		{`"Resource":"arn:aws:s3:::bucket"`, object, false},
		{`"Resource":"arn:aws:s3:::bucket*"`, object, true},
		{`"NotResource":"arn:aws:s3:::bucket/*"`, object, false},
		{`"NotResource":"arn:aws:s3:::bucket/*"`, group, true},
		// Only what is allowed on everything is allowed on all of a kind.
		{`"Resource":"` + group + `"`, "arn:aws:elasticache:us-east-1:000000000000:replicationgroup:*", false},
		{`"Resource":"arn:aws:elasticache:*:*:replicationgroup:*"`, "arn:aws:elasticache:us-east-1:000000000000:replicationgroup:*", true},
		{`"Resource":"arn:aws:elasticache:*:*:replicationgroup:*"`, "*", false},
		{`"Resource":"*"`, "*", true},
		// Variables.
		{`"Resource":"arn:aws:s3:::${aws:username}/*"`, "arn:aws:s3:::bob/x", true},
		{`"Resource":"arn:aws:s3:::${AWS:UserName}/*"`, "arn:aws:s3:::eve/x", false},
		{`"Resource":"arn:aws:s3:::${aws:PrincipalTag/team}/*"`, "arn:aws:s3:::bob/x", false},
		{`"Resource":"arn:aws:s3:::${aws:PrincipalTag/team, 'none'}/*"`, "arn:aws:s3:::none/x", true},
		{`"NotResource":"arn:aws:s3:::${aws:PrincipalTag/team}/*"`, "arn:aws:s3:::bob/x", false},
		{`"Resource":"arn:aws:s3:::a${*}b"`, "arn:aws:s3:::axb", false},
		{`"Resource":"arn:aws:s3:::a${*}b"`, "arn:aws:s3:::a*b", true},
		{`"Resource":"arn:aws:s3:::${aws:PrincipalTag/star}"`, "arn:aws:s3:::anything", false},
		{`"Resource":"arn:aws:s3:::${aws:PrincipalTag/star}"`, "arn:aws:s3:::*", true},
	} {
		c := context("aws:username", "bob", "aws:principaltag/star", "*")
		got := evaluate(t, policy.Request{Action: "s3:GetObject", Resource: tt.resource, Context: c}, one("Allow", anyAction, tt.element, ""))
		if (got == policy.Allow) != tt.want {
			t.Errorf("%s on %s: %d", tt.element, tt.resource, got)
		}
	}
}

// An older version knows no variables: they are letters.
func TestOldVersion(t *testing.T) {
	doc := `{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::${aws:username}"}}`
	c := context("aws:username", "bob")
	if got := evaluate(t, policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::bob", Context: c}, doc); got != policy.ImplicitDeny {
		t.Errorf("a variable was put in: %d", got)
	}
	if got := evaluate(t, policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::${aws:username}", Context: c}, doc); got != policy.Allow {
		t.Errorf("the letters themselves: %d", got)
	}
}

func TestConditions(t *testing.T) {
	ctx := context(
		"aws:username", "bob", "aws:sourceip", "10.1.2.3", "aws:currenttime", "2026-11-21T12:00:00Z", "aws:epochtime", "1795262400",
		"aws:securetransport", "false", "aws:requestedregion", "eu-west-1", "aws:principalarn", "arn:aws:iam::000000000000:user/dev/bob",
		"aws:resourcetag/team", "blue", "aws:requesttag/team", "red", "aws:tagkeys", "team", "aws:tagkeys", "cost",
		"elasticache:snapshotretentionlimit", "7", "elasticache:numnodegroups", "3", "aws:principaltag/team", "blue", "aws:principaltag/any", "*",
	)
	for _, tt := range []struct {
		condition string
		want      bool
	}{
		{`{"StringEquals":{"aws:username":"bob"}}`, true},
		{`{"StringEquals":{"AWS:UserName":["eve","bob"]}}`, true},
		{`{"StringEquals":{"aws:username":"BOB"}}`, false},
		{`{"StringEquals":{"aws:username":"b*"}}`, false},
		{`{"StringEqualsIgnoreCase":{"aws:username":"BOB"}}`, true},
		{`{"StringNotEquals":{"aws:username":["eve","bob"]}}`, false},
		{`{"StringNotEquals":{"aws:username":["eve","mallory"]}}`, true},
		{`{"StringNotEqualsIgnoreCase":{"aws:username":"BOB"}}`, false},
		{`{"StringLike":{"aws:username":"b?b"}}`, true},
		{`{"StringLike":{"aws:username":"*:*"}}`, false},
		{`{"StringNotLike":{"aws:username":"b*"}}`, false},
		{`{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`, true},
		{`{"StringEquals":{"aws:RequestTag/team":"${aws:PrincipalTag/team}"}}`, false},
		{`{"StringLike":{"aws:username":"${aws:PrincipalTag/any}"}}`, false},
		{`{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/absent}"}}`, false},
		{`{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/absent}"}}`, false},
		// Absent keys.
		{`{"StringEquals":{"aws:ResourceTag/absent":"x"}}`, false},
		{`{"StringNotEquals":{"aws:ResourceTag/absent":"x"}}`, true},
		{`{"StringEqualsIfExists":{"aws:ResourceTag/absent":"x"}}`, true},
		{`{"StringEqualsIfExists":{"aws:ResourceTag/team":"x"}}`, false},
		{`{"Null":{"aws:ResourceTag/absent":"true"}}`, true},
		{`{"Null":{"aws:ResourceTag/absent":false}}`, false},
		{`{"Null":{"aws:ResourceTag/team":"false"}}`, true},
		{`{"Null":{"aws:TagKeys":true}}`, false},
		{`{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`, false},
		{`{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}`, true},
		// All conditions hold, or none.
		{`{"StringEquals":{"aws:username":"bob","aws:RequestedRegion":"eu-west-1"}}`, true},
		{`{"StringEquals":{"aws:username":"bob","aws:RequestedRegion":"us-east-1"}}`, false},
		{`{"StringEquals":{"aws:username":"bob"},"Bool":{"aws:SecureTransport":"true"}}`, false},
		{`{"Bool":{"aws:SecureTransport":false}}`, true},
		// Addresses.
		{`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"10.2.0.0/16"}}`, false},
		{`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, false},
		{`{"NotIpAddress":{"aws:SourceIp":"fe80::/10"}}`, true},
		// Numbers and dates.
		{`{"NumericLessThanEquals":{"elasticache:SnapshotRetentionLimit":7}}`, true},
		{`{"NumericLessThan":{"elasticache:SnapshotRetentionLimit":"7"}}`, false},
		{`{"NumericGreaterThan":{"elasticache:SnapshotRetentionLimit":"6.5"}}`, true},
		{`{"NumericEquals":{"elasticache:NumNodeGroups":"03.0"}}`, true},
		{`{"NumericNotEquals":{"elasticache:NumNodeGroups":["2","3"]}}`, false},
		{`{"NumericEquals":{"aws:username":"3"}}`, false},
		{`{"DateGreaterThan":{"aws:CurrentTime":"2026-11-21T11:59:59Z"}}`, true},
		{`{"DateLessThan":{"aws:CurrentTime":"2026-11-21"}}`, false},
		{`{"DateEquals":{"aws:CurrentTime":"2026-11-21T13:00:00+01:00"}}`, true},
		{`{"DateLessThan":{"aws:CurrentTime":"1795262401"}}`, true},
		{`{"DateGreaterThanEquals":{"aws:EpochTime":"1795262400"}}`, true},
		// ARNs.
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/dev/*"}}`, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:user/ops/*"}}`, false},
		{`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/dev/*"}}`, false},
		{`{"ArnLike":{"aws:username":"*"}}`, false},
		// Several values.
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["team","cost","more"]}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}`, false},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["team"]}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["other"]}}`, false},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["team"]}}`, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["team"]}}`, true},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["team","cost"]}}`, false},
		{`{"ForAllValues:StringLike":{"aws:PrincipalTag/absent":"x"}}`, true},
		{`{"ForAnyValue:StringLike":{"aws:PrincipalTag/absent":"x"}}`, false},
	} {
		for effect, yes := range map[string]policy.Decision{"Allow": policy.Allow, "Deny": policy.ExplicitDeny} {
			if effect == "Deny" && tt.condition == `{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/absent}"}}` {
				continue // it fails closed either way: see below
			}
			got := evaluate(t, policy.Request{Action: "a:B", Resource: "*", Context: ctx}, one(effect, anyAction, anyResource, tt.condition))
			if (got == yes) != tt.want {
				t.Errorf("%s if %s: %d", effect, tt.condition, got)
			}
		}
	}
}

// A variable without a value keeps out, whatever the effect.
func TestUnresolvedFailsClosed(t *testing.T) {
	r := policy.Request{Action: "a:B", Resource: "*", Context: context("aws:resourcetag/team", "blue")}
	const other = `{"StringNotEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}`
	if got := evaluate(t, r, one("Allow", anyAction, anyResource, other)); got != policy.ImplicitDeny {
		t.Errorf("allowed: %d", got)
	}
	if got := evaluate(t, r, one("Deny", anyAction, anyResource, other)); got != policy.ExplicitDeny {
		t.Errorf("not denied: %d", got)
	}
	if got := evaluate(t, r, one("Deny", anyAction, `"NotResource":"arn:aws:s3:::${aws:PrincipalTag/team}"`, "")); got != policy.ExplicitDeny {
		t.Errorf("not denied beside what is meant: %d", got)
	}
}

// A key that has one value as a rule, and two here, as tags whose keys differ in case: to
// allow all of them have to pass, to deny one is enough.
func TestTwoValuesOfOneKey(t *testing.T) {
	red := context("aws:resourcetag/team", "red")
	both := context("aws:resourcetag/team", "red", "aws:resourcetag/team", "blue")
	for _, tt := range []struct {
		condition      string
		ctx            policy.Context
		allows, denies bool
	}{
		{`{"StringEquals":{"aws:ResourceTag/team":"red"}}`, red, true, true},
		{`{"StringEquals":{"aws:ResourceTag/team":"red"}}`, both, false, true},
		{`{"StringEquals":{"aws:ResourceTag/team":"blue"}}`, both, false, true},
		{`{"StringEquals":{"aws:ResourceTag/team":["red","blue"]}}`, both, true, true},
		{`{"StringEquals":{"aws:ResourceTag/team":"green"}}`, both, false, false},
		{`{"StringNotEquals":{"aws:ResourceTag/team":"red"}}`, red, false, false},
		{`{"StringNotEquals":{"aws:ResourceTag/team":"red"}}`, both, false, true},
		{`{"StringNotEquals":{"aws:ResourceTag/team":"green"}}`, both, true, true},
		{`{"StringEquals":{"aws:username":"${aws:ResourceTag/team, 'bob'}"}}`, both.With(context("aws:username", "bob")), false, false},
	} {
		r := policy.Request{Action: "a:B", Resource: group, Context: tt.ctx}
		if got := evaluate(t, r, one("Allow", anyAction, anyResource, tt.condition)) == policy.Allow; got != tt.allows {
			t.Errorf("%s with %v allows: %v", tt.condition, tt.ctx, got)
		}
		if got := evaluate(t, r, one("Deny", anyAction, anyResource, tt.condition)) == policy.ExplicitDeny; got != tt.denies {
			t.Errorf("%s with %v denies: %v", tt.condition, tt.ctx, got)
		}
	}
}
