package api

import (
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
)

// elasticache makes the requests of a call of ElastiCache: one for each resource that it
// names, and what it needs beside them.
func (a *asking) elasticache() ([]policy.Request, error) {
	action := a.x.info.Action
	rules, ok := elasticacheActions[action]
	if !ok {
		return nil, fmt.Errorf("no rule says what elasticache:%s needs", action)
	}
	tags := requestTags(a.in)
	common := withTags(a.common.With(elasticacheKeys(action, a.in)), tags, field(a.in, "TagKeys"))
	var out []policy.Request
	for _, r := range rules {
		for _, arn := range a.arns(r) {
			c, err := a.withResourceTags(common, arn)
			if err != nil {
				return nil, err
			}
			out = append(out, policy.Request{Action: "elasticache:" + action, Resource: arn, Context: c})
			// Who makes something with tags needs to be allowed to tag it.
			if len(tags) > 0 && r.made {
				out = append(out, policy.Request{Action: "elasticache:AddTagsToResource", Resource: arn, Context: c})
			}
		}
	}
	if len(out) == 0 {
		out = append(out, policy.Request{Action: "elasticache:" + action, Resource: "*", Context: common})
	}
	return append(out, a.objects()...), nil
}

// withResourceTags adds the tags that a resource has.
func (a *asking) withResourceTags(c policy.Context, arn string) (policy.Context, error) {
	tags, err := a.x.access.TagsOf(a.ctx, arn)
	if err != nil {
		return nil, err
	}
	more := policy.Context{}
	for _, t := range tags {
		more.Add("aws:ResourceTag/"+t.Key, t.Value)
	}
	return c.With(more), nil
}

// arns are the resources that a field of the input names.
func (a *asking) arns(r resource) []string {
	values := field(a.in, r.field)
	var out []string
	if r.kind == anyKind {
		for _, v := range values {
			out = append(out, canonicalARN(v))
		}
		return out
	}
	if len(values) == 0 && r.always {
		values = []string{"*"}
		if r.kind == cache.KindParameterGroup && strings.HasPrefix(a.x.info.Action, "Create") {
			values = []string{a.defaultParameterGroup()}
		}
	}
	for _, v := range values {
		out = append(out, cache.ARN(a.x.info.Region, r.kind, strings.ToLower(v)))
	}
	return out
}

// canonicalARN spells an ARN as ElastiCache finds its resource: by the name in lower case,
// in whatever partition.
func canonicalARN(arn string) string {
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) != 7 {
		return arn
	}
	parts[1], parts[6] = "aws", strings.ToLower(parts[6])
	return strings.Join(parts, ":")
}

// defaultParameterGroup is what a creation gets that names no group.
func (a *asking) defaultParameterGroup() string {
	engine := first(field(a.in, "Engine"), cache.Redis)
	name := a.x.access.DefaultParameterGroup(engine, first(field(a.in, "EngineVersion"), ""))
	if name == "" {
		return "*"
	}
	in := reflect.ValueOf(a.in).Elem()
	if groups := in.FieldByName("NumNodeGroups"); groups.IsValid() && !groups.IsNil() && groups.Elem().Int() > 1 ||
		strings.EqualFold(first(field(a.in, "ClusterMode"), ""), "enabled") {
		name += ".cluster.on"
	}
	return name
}

func first(values []string, otherwise string) string {
	if len(values) > 0 {
		return values[0]
	}
	return otherwise
}

// objects are the requests for what is read from buckets or written to them at the
// caller's wish: ElastiCache is not to fetch what he may not.
func (a *asking) objects() []policy.Request {
	var out []policy.Request
	add := func(action, arn string) {
		for _, one := range spellings(arn) {
			out = append(out, policy.Request{Action: "s3:" + action, Resource: one, Context: a.common})
		}
	}
	for _, arn := range field(a.in, "SnapshotArns") {
		add("GetObject", arn)
	}
	bucket := first(field(a.in, "TargetBucket"), "")
	if bucket == "" {
		return out
	}
	object := "arn:aws:s3:::" + bucket + "/" + first(field(a.in, "TargetSnapshotName"), "") + "-0001.rdb"
	add("GetBucketAcl", "arn:aws:s3:::"+bucket)
	add("PutObject", object)
	add("DeleteObject", object)
	return out
}

// bucketARN is what the name of a bucket follows, and then that of an object.
const bucketARN = "arn:aws:s3:::"

// spellings are an object's ARN as it is given, and as a file system takes it: what
// either denies is denied.
func spellings(arn string) []string {
	name, ok := strings.CutPrefix(arn, bucketARN)
	if clean := bucketARN + strings.TrimPrefix(path.Clean("/"+name), "/"); ok && clean != arn {
		return []string{arn, clean}
	}
	return []string{arn}
}

// field returns the text of a field of an input: of a string, of each of a list, or of
// none where it is absent or empty.
func field(in any, name string) []string {
	v := reflect.ValueOf(in).Elem().FieldByName(name)
	if !v.IsValid() {
		return nil
	}
	var out []string
	switch v := v.Interface().(type) {
	case *string:
		out = []string{aws.ToString(v)}
	case string:
		out = []string{v}
	case []string:
		out = v
	default:
		if v := reflect.ValueOf(v); v.Kind() == reflect.String {
			out = []string{v.String()}
		}
	}
	if len(out) == 1 && out[0] == "" {
		return nil
	}
	return out
}

// requestTags are the tags that an input brings.
func requestTags(in any) []cache.Tag {
	v := reflect.ValueOf(in).Elem().FieldByName("Tags")
	if !v.IsValid() {
		return nil
	}
	tags, _ := v.Interface().([]types.Tag)
	var out []cache.Tag
	for _, t := range tags {
		out = append(out, cache.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)})
	}
	return out
}

// elasticacheKeys are the condition keys that show what an input asks for.
func elasticacheKeys(action string, in any) policy.Context {
	c := policy.Context{}
	v := reflect.ValueOf(in).Elem()
	for name, fields := range map[string][]string{
		"CacheNodeType": {"CacheNodeType"}, "EngineVersion": {"EngineVersion"}, "EngineType": {"Engine"},
		"SnapshotRetentionLimit": {"SnapshotRetentionLimit"}, "CacheParameterGroupName": {"CacheParameterGroupName"},
		"AtRestEncryptionEnabled": {"AtRestEncryptionEnabled"}, "TransitEncryptionEnabled": {"TransitEncryptionEnabled"},
		"AutomaticFailoverEnabled": {"AutomaticFailoverEnabled"}, "MultiAZEnabled": {"MultiAZEnabled"},
		"NumNodeGroups": {"NumNodeGroups", "NodeGroupCount"}, "ReplicasPerNodeGroup": {"ReplicasPerNodeGroup", "NewReplicaCount"},
		"KmsKeyId": {"KmsKeyId"},
	} {
		for _, f := range fields {
			if text, ok := scalarText(v.FieldByName(f)); ok {
				c.Set("elasticache:"+name, text)
			}
		}
	}
	if v.FieldByName("AuthToken").IsValid() {
		c.Set("elasticache:AuthTokenEnabled", fmt.Sprint(len(field(in, "AuthToken")) > 0))
	}
	if az := field(in, "AZMode"); len(az) > 0 {
		c.Set("elasticache:MultiAZEnabled", fmt.Sprint(az[0] == string(types.AZModeCrossAz)))
	}
	// ElastiCache takes these in whatever case.
	for _, key := range []string{"elasticache:EngineType", "elasticache:CacheParameterGroupName"} {
		if given := c[strings.ToLower(key)]; len(given) == 1 {
			c.Set(key, strings.ToLower(given[0]))
		}
	}
	setDefaults(c, action)
	setUserMode(c, v)
	return c
}

// setDefaults gives what a creation of a replication group does not name the values that
// it then has.
func setDefaults(c policy.Context, action string) {
	if action != "CreateReplicationGroup" {
		return
	}
	for key, value := range map[string]string{
		"elasticache:EngineType": cache.Redis, "elasticache:AtRestEncryptionEnabled": "false", "elasticache:TransitEncryptionEnabled": "false",
	} {
		if _, given := c[strings.ToLower(key)]; !given {
			c.Set(key, value)
		}
	}
}

// setUserMode tells how a user is to log in.
func setUserMode(c policy.Context, in reflect.Value) {
	f := in.FieldByName("AuthenticationMode")
	if !f.IsValid() {
		return
	}
	mode, _ := f.Interface().(*types.AuthenticationMode)
	none := in.FieldByName("NoPasswordRequired")
	switch {
	case mode != nil && mode.Type != "":
		c.Set("elasticache:UserAuthenticationMode", string(mode.Type))
	case none.IsValid() && !none.IsNil() && none.Elem().Bool():
		c.Set("elasticache:UserAuthenticationMode", string(types.InputAuthenticationTypeNoPassword))
	case in.FieldByName("Passwords").Len() > 0:
		c.Set("elasticache:UserAuthenticationMode", string(types.InputAuthenticationTypePassword))
	}
}

// scalarText is the text of a value that has been given.
func scalarText(v reflect.Value) (string, bool) {
	if !v.IsValid() {
		return "", false
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", false
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), v.Len() > 0
	case reflect.Bool, reflect.Int32, reflect.Int64:
		return fmt.Sprint(v.Interface()), true
	}
	return "", false
}
