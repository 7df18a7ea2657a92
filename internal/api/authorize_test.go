package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/google/go-cmp/cmp"

	"holdfast.dev/internal/api/iam"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
)

// inputs are the input types of all actions of ElastiCache, by action.
func inputs() map[string]reflect.Type {
	out := map[string]reflect.Type{}
	client := reflect.TypeFor[*elasticache.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() == 4 && m.Type.In(2).Kind() == reflect.Pointer && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			out[m.Name] = m.Type.In(2).Elem()
		}
	}
	return out
}

// Every action has a rule, and every rule speaks of members that the action has.
func TestEveryActionHasARule(t *testing.T) {
	types := inputs()
	for action := range shapes.ElastiCache.Actions {
		rules, ok := elasticacheActions[action]
		if !ok {
			t.Errorf("no rule says what %s needs", action)
		}
		for _, r := range rules {
			f, ok := types[action].FieldByName(r.field)
			if !ok {
				t.Errorf("%s has no member %s", action, r.field)
				continue
			}
			if f.Type != reflect.TypeFor[*string]() && f.Type != reflect.TypeFor[[]string]() {
				t.Errorf("%s.%s is a %s, which is not read", action, r.field, f.Type)
			}
		}
	}
	for action := range elasticacheActions {
		if _, ok := shapes.ElastiCache.Actions[action]; !ok {
			t.Errorf("there is no action %s", action)
		}
	}
	svc, n := iam.New(nil), 0
	for _, action := range iam.Actions() {
		_, ok := iamActions[action]
		if svc.Has(action) != ok {
			t.Errorf("iam:%s is served: %v, has a rule: %v", action, svc.Has(action), ok)
		}
		if ok {
			n++
		}
	}
	if n != len(iamActions) || n < 20 {
		t.Errorf("%d actions of IAM are served, %d have rules", n, len(iamActions))
	}
}

// A member whose name says that it names a resource is in the rule of its action, or here.
func TestNoResourceIsForgotten(t *testing.T) {
	kinds := []string{
		"ReplicationGroupId", "CacheClusterId", "SnapshotName", "CacheParameterGroupName", "CacheSubnetGroupName", "UserId", "UserIds",
		"UserGroupId", "UserGroupIds", "UserGroupIdsToAdd", "UserGroupIdsToRemove", "UserIdsToAdd", "UserIdsToRemove", "FinalSnapshotIdentifier",
		"SourceSnapshotName", "TargetSnapshotName", "PrimaryClusterId", "ResourceName", "CacheSecurityGroupName", "CacheSecurityGroupNames",
		"ServerlessCacheName", "ServerlessCacheSnapshotName", "GlobalReplicationGroupId", "ReplicationGroupIds", "CacheClusterIds",
	}
	filters := map[string]bool{ // what only narrows a list that is allowed as a whole
		"DescribeSnapshots.ReplicationGroupId": true, "DescribeSnapshots.CacheClusterId": true,
		// The reference has no resource type for these.
		"FailoverGlobalReplicationGroup.PrimaryReplicationGroupId": true, "DisassociateGlobalReplicationGroup.ReplicationGroupId": true,
		// It is a member of the group.
		"ModifyReplicationGroup.PrimaryClusterId": true,
	}
	for action, in := range inputs() {
		named := map[string]bool{}
		for _, r := range elasticacheActions[action] {
			named[r.field] = true
		}
		for _, kind := range kinds {
			if _, has := in.FieldByName(kind); has && !named[kind] && !filters[action+"."+kind] {
				t.Errorf("%s.%s is not in the rule", action, kind)
			}
		}
	}
}

// tagged is an Authorizer that knows tags, and allows nothing.
type tagged struct {
	tags  map[string][]cache.Tag
	asked []policy.Request
}

func (a *tagged) Authorize(_ context.Context, _ string, asked []policy.Request) error {
	a.asked = asked
	return errors.New("no")
}

func (a *tagged) TagsOf(_ context.Context, arn string) ([]cache.Tag, error) { return a.tags[arn], nil }

func (a *tagged) DefaultParameterGroup(engine, version string) string {
	return "default." + engine + version
}

func (a *tagged) UserARN(_ context.Context, name, _ string) (string, error) {
	if name == "" {
		name = "self"
	}
	return cache.IAMUserARN("/dev/", name), nil
}

// ask makes a call by a user and returns what it was to be allowed for, one line each.
func ask(t *testing.T, access *tagged, service, action string, in any) []string {
	t.Helper()
	r := httptest.NewRequest("POST", "http://holdfast/", nil)
	x := &exchange{Server: &Server{access: access, now: time.Now}, r: r, info: query.Info{
		Service: service, Action: action, Region: "eu-west-1", AccessKeyID: "AKIAUSER", Identity: sigv4.Identity{ARN: cache.IAMUserARN("/", "bob")},
	}}
	access.asked = nil
	if err := x.authorize(t.Context(), in); (err == nil) != (access.asked == nil) {
		t.Errorf("%s: %v", action, err)
	}
	var lines []string
	for _, a := range access.asked {
		lines = append(lines, a.Action+" "+strings.TrimPrefix(a.Resource, "arn:aws:elasticache:eu-west-1:000000000000:"))
	}
	return lines
}

func TestWhatCallsAskFor(t *testing.T) {
	s := aws.String
	tags := []types.Tag{{Key: s("team"), Value: s("blue")}}
	for _, tt := range []struct {
		service, action string
		in              any
		want            []string
	}{
		{"elasticache", "DeleteReplicationGroup", &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: s("ORDERS")}, []string{
			"elasticache:DeleteReplicationGroup replicationgroup:orders",
		}},
		{"elasticache", "DeleteReplicationGroup", &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: s("orders"), FinalSnapshotIdentifier: s("last")}, []string{
			"elasticache:DeleteReplicationGroup replicationgroup:orders", "elasticache:DeleteReplicationGroup snapshot:last",
		}},
		{"elasticache", "DescribeReplicationGroups", &elasticache.DescribeReplicationGroupsInput{}, []string{
			"elasticache:DescribeReplicationGroups replicationgroup:*",
		}},
		{"elasticache", "DescribeCacheParameterGroups", &elasticache.DescribeCacheParameterGroupsInput{}, []string{
			"elasticache:DescribeCacheParameterGroups parametergroup:*",
		}},
		{"elasticache", "DescribeEvents", &elasticache.DescribeEventsInput{}, []string{"elasticache:DescribeEvents *"}},
		{"elasticache", "CreateReplicationGroup", &elasticache.CreateReplicationGroupInput{
			ReplicationGroupId: s("orders"), Engine: s("valkey"), EngineVersion: s("8"), NumNodeGroups: aws.Int32(2), Tags: tags,
			CacheSubnetGroupName: s("Private"), UserGroupIds: []string{"a", "b"}, SnapshotArns: []string{"arn:aws:s3:::b/f.rdb", "arn:aws:s3:::b/x/../g.rdb"},
		}, []string{
			"elasticache:CreateReplicationGroup replicationgroup:orders", "elasticache:AddTagsToResource replicationgroup:orders",
			"elasticache:CreateReplicationGroup parametergroup:default.valkey8.cluster.on", "elasticache:CreateReplicationGroup subnetgroup:private",
			"elasticache:CreateReplicationGroup usergroup:a", "elasticache:CreateReplicationGroup usergroup:b",
			"s3:GetObject arn:aws:s3:::b/f.rdb", "s3:GetObject arn:aws:s3:::b/x/../g.rdb", "s3:GetObject arn:aws:s3:::b/g.rdb",
		}},
		{"elasticache", "CreateReplicationGroup", &elasticache.CreateReplicationGroupInput{ReplicationGroupId: s("orders"), SnapshotArns: []string{"arn:aws:s3:::b/../c/g.rdb", "arn:aws:s3:::b//f.rdb"}}, []string{
			"elasticache:CreateReplicationGroup replicationgroup:orders", "elasticache:CreateReplicationGroup parametergroup:default.redis",
			"s3:GetObject arn:aws:s3:::b/../c/g.rdb", "s3:GetObject arn:aws:s3:::c/g.rdb", "s3:GetObject arn:aws:s3:::b//f.rdb", "s3:GetObject arn:aws:s3:::b/f.rdb",
		}},
		{"elasticache", "CopySnapshot", &elasticache.CopySnapshotInput{SourceSnapshotName: s("a"), TargetSnapshotName: s("b"), TargetBucket: s("out")}, []string{
			"elasticache:CopySnapshot snapshot:a", "elasticache:CopySnapshot snapshot:b", "s3:GetBucketAcl arn:aws:s3:::out",
			"s3:PutObject arn:aws:s3:::out/b-0001.rdb", "s3:DeleteObject arn:aws:s3:::out/b-0001.rdb",
		}},
		{"elasticache", "AddTagsToResource", &elasticache.AddTagsToResourceInput{ResourceName: s("arn:aws-cn:elasticache:eu-west-1:000000000000:cluster:ONE"), Tags: tags}, []string{
			"elasticache:AddTagsToResource cluster:one",
		}},
		{"elasticache", "ModifyUserGroup", &elasticache.ModifyUserGroupInput{UserGroupId: s("g"), UserIdsToAdd: []string{"u"}}, []string{
			"elasticache:ModifyUserGroup usergroup:g", "elasticache:ModifyUserGroup user:u",
		}},
		{"iam", "CreateAccessKey", &iam.CreateAccessKeyInput{}, []string{"iam:CreateAccessKey arn:aws:iam::000000000000:user/dev/self"}},
		{"iam", "CreateUser", &iam.CreateUserInput{UserName: s("eve"), Path: s("/ops/"), Tags: []iam.Tag{{Key: s("k"), Value: s("v")}}}, []string{
			"iam:CreateUser arn:aws:iam::000000000000:user/ops/eve", "iam:TagUser arn:aws:iam::000000000000:user/ops/eve",
		}},
		{"iam", "GetPolicy", &iam.GetPolicyInput{PolicyArn: s("arn:aws:iam::000000000000:policy/p")}, []string{"iam:GetPolicy arn:aws:iam::000000000000:policy/p"}},
		{"holdfast", "ImportSnapshot", &struct{}{}, []string{"holdfast:ImportSnapshot *"}},
		{"sts", "GetCallerIdentity", &struct{}{}, nil},
	} {
		if diff := cmp.Diff(tt.want, ask(t, &tagged{}, tt.service, tt.action, tt.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.action, diff)
		}
	}
}

func TestConditionKeys(t *testing.T) {
	s := aws.String
	access := &tagged{tags: map[string][]cache.Tag{cache.ARN("eu-west-1", cache.KindGroup, "orders"): {{Key: "team", Value: "blue"}}}}
	ask(t, access, "elasticache", "ModifyReplicationGroup", &elasticache.ModifyReplicationGroupInput{
		ReplicationGroupId: s("Orders"), CacheNodeType: s("cache.r7g.large"), SnapshotRetentionLimit: aws.Int32(3), MultiAZEnabled: aws.Bool(true), AuthToken: s("x"),
	})
	got := access.asked[0].Context
	for key, want := range map[string]string{
		"aws:ResourceTag/team": "blue", "elasticache:CacheNodeType": "cache.r7g.large", "elasticache:SnapshotRetentionLimit": "3",
		"elasticache:MultiAZEnabled": "true", "elasticache:AuthTokenEnabled": "true", "aws:RequestedRegion": "eu-west-1",
		"aws:SourceIp": "192.0.2.1", "aws:SecureTransport": "false",
	} {
		if v := got[strings.ToLower(key)]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %s", key, v, want)
		}
	}
	ask(t, access, "elasticache", "CreateReplicationGroup", &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: s("new"), Tags: []types.Tag{{Key: s("a"), Value: s("1")}, {Key: s("b"), Value: s("2")}},
	})
	got = access.asked[0].Context
	if diff := cmp.Diff([]string{"a", "b"}, got["aws:tagkeys"]); diff != "" {
		t.Errorf("tag keys: %s", diff)
	}
	for key, want := range map[string]string{"aws:RequestTag/b": "2", "elasticache:EngineType": "redis", "elasticache:TransitEncryptionEnabled": "false", "elasticache:AuthTokenEnabled": "false"} {
		if v := got[strings.ToLower(key)]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %s", key, v, want)
		}
	}
	if v, has := got["aws:resourcetag/team"]; has {
		t.Errorf("a new group has the tag %q", v)
	}
	ask(t, access, "elasticache", "RemoveTagsFromResource", &elasticache.RemoveTagsFromResourceInput{ResourceName: s(cache.ARN("eu-west-1", cache.KindGroup, "ORDERS")), TagKeys: []string{"team"}})
	got = access.asked[0].Context
	if got["aws:tagkeys"][0] != "team" || got["aws:resourcetag/team"][0] != "blue" {
		t.Errorf("removing tags: %v", got)
	}
	ask(t, access, "elasticache", "CreateUser", &elasticache.CreateUserInput{UserId: s("u"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})
	if got := access.asked[0].Context["elasticache:userauthenticationmode"]; len(got) != 1 || got[0] != "iam" {
		t.Errorf("user mode: %q", got)
	}
}

// Where ElastiCache does not tell the cases apart, a condition is not got round by capitals.
func TestConditionKeysInOneSpelling(t *testing.T) {
	s := aws.String
	access := &tagged{}
	ask(t, access, "elasticache", "CreateCacheCluster", &elasticache.CreateCacheClusterInput{
		CacheClusterId: s("a"), Engine: s("MemCached"), CacheParameterGroupName: s("Wide.Open"),
	})
	got := access.asked[0].Context
	for key, want := range map[string]string{"elasticache:enginetype": "memcached", "elasticache:cacheparametergroupname": "wide.open"} {
		if v := got[key]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %s", key, v, want)
		}
	}
}

// Tags whose keys differ in nothing but case are both held against a condition, which does
// not tell them apart.
func TestTagsThatDifferInCase(t *testing.T) {
	s := aws.String
	arn := cache.ARN("eu-west-1", cache.KindGroup, "orders")
	access := &tagged{tags: map[string][]cache.Tag{arn: {{Key: "team", Value: "red"}, {Key: "Team", Value: "blue"}}}}
	ask(t, access, "elasticache", "AddTagsToResource", &elasticache.AddTagsToResourceInput{
		ResourceName: &arn, Tags: []types.Tag{{Key: s("TEAM"), Value: s("red")}, {Key: s("team"), Value: s("blue")}},
	})
	for _, key := range []string{"aws:resourcetag/team", "aws:requesttag/team"} {
		if diff := cmp.Diff([]string{"red", "blue"}, access.asked[0].Context[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
}

// Without anybody to ask, only root gets in.
func TestNobodyToAsk(t *testing.T) {
	for arn, want := range map[string]bool{cache.RootARN: true, cache.IAMUserARN("/", "bob"): false, cache.IAMUserARN("/", "root"): false, "": false} {
		x := &exchange{Server: &Server{now: time.Now}, r: httptest.NewRequest("POST", "/", nil), info: query.Info{Service: "elasticache", Identity: sigv4.Identity{ARN: arn}}}
		if err := x.authorize(t.Context(), &elasticache.DescribeEventsInput{}); (err == nil) != want {
			t.Errorf("%q: %v", arn, err)
		}
	}
}
