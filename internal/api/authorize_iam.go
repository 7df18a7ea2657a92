package api

import (
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/policy"
)

// iamTarget says what an action of IAM is about.
type iamTarget int

const (
	iamUser      iamTarget = iota // the user named, or the caller
	iamNewUser                    // a user that is to be made
	iamUsers                      // all users
	iamPolicy                     // the managed policy named
	iamNewPolicy                  // a managed policy that is to be made
	iamNothing
)

// iamActions are the actions of IAM that are served.
var iamActions = map[string]iamTarget{
	"CreateUser": iamNewUser, "GetUser": iamUser, "ListUsers": iamUsers, "DeleteUser": iamUser,
	"CreateAccessKey": iamUser, "ListAccessKeys": iamUser, "UpdateAccessKey": iamUser, "DeleteAccessKey": iamUser,
	"PutUserPolicy": iamUser, "GetUserPolicy": iamUser, "ListUserPolicies": iamUser, "DeleteUserPolicy": iamUser,
	"AttachUserPolicy": iamUser, "DetachUserPolicy": iamUser, "ListAttachedUserPolicies": iamUser,
	"CreatePolicy": iamNewPolicy, "GetPolicy": iamPolicy, "GetPolicyVersion": iamPolicy, "ListPolicyVersions": iamPolicy,
	"DeletePolicy": iamPolicy, "ListPolicies": iamNothing,
}

// iam makes the requests of a call of IAM.
func (a *asking) iam() ([]policy.Request, error) {
	action := a.x.info.Action
	target, ok := iamActions[action]
	if !ok {
		return nil, fmt.Errorf("no rule says what iam:%s needs", action)
	}
	arn, tagging, err := a.iamARN(target)
	if err != nil {
		return nil, err
	}
	tags := taggedWith(a.in)
	common := withTags(a.common, tags, nil)
	if arns := field(a.in, "PolicyArn"); len(arns) > 0 && target == iamUser {
		common.Set("iam:PolicyARN", arns...)
	}
	c, err := a.withResourceTags(common, arn)
	if err != nil {
		return nil, err
	}
	out := []policy.Request{{Action: "iam:" + action, Resource: arn, Context: c}}
	if len(tags) > 0 && tagging != "" {
		out = append(out, policy.Request{Action: tagging, Resource: arn, Context: c})
	}
	return out, nil
}

// iamARN is the resource, and the action that tags one of its kind.
func (a *asking) iamARN(target iamTarget) (arn, tagging string, err error) {
	path := first(field(a.in, "Path"), "/")
	switch target {
	case iamUser:
		arn, err = a.x.access.UserARN(a.ctx, first(field(a.in, "UserName"), ""), a.x.info.AccessKeyID)
		return arn, "", err
	case iamNewUser:
		return cache.IAMUserARN(path, first(field(a.in, "UserName"), "")), "iam:TagUser", nil
	case iamUsers:
		return cache.IAMUserARN("/", ""), "", nil
	case iamPolicy:
		return first(field(a.in, "PolicyArn"), "*"), "", nil
	case iamNewPolicy:
		return cache.IAMPolicyARN(path, first(field(a.in, "PolicyName"), "")), "iam:TagPolicy", nil
	}
	return "*", "", nil
}

// taggedWith reads the tags of an input of IAM.
func taggedWith(in any) []cache.Tag {
	t, ok := in.(interface{ RequestTags() []cache.Tag })
	if !ok {
		return nil
	}
	return t.RequestTags()
}
