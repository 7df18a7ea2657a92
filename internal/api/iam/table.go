package iam

import (
	"net/http"
	"strings"

	"holdfast.dev/internal/api/shapes"
)

// table is what the protocol needs to know beside the types.
var table = makeTable()

func makeTable() *shapes.Service {
	s := &shapes.Service{
		Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Actions: map[string]shapes.Action{},
		Required: map[string][]string{
			"Tag":             {"Key"},
			"CreateUserInput": {"UserName"}, "DeleteUserInput": {"UserName"},
			"UpdateAccessKeyInput": {"AccessKeyId", "Status"}, "DeleteAccessKeyInput": {"AccessKeyId"},
			"PutUserPolicyInput": {"UserName", "PolicyName", "PolicyDocument"}, "GetUserPolicyInput": {"UserName", "PolicyName"},
			"ListUserPoliciesInput": {"UserName"}, "DeleteUserPolicyInput": {"UserName", "PolicyName"},
			"CreatePolicyInput": {"PolicyName", "PolicyDocument"}, "GetPolicyInput": {"PolicyArn"},
			"GetPolicyVersionInput": {"PolicyArn", "VersionId"}, "ListPolicyVersionsInput": {"PolicyArn"}, "DeletePolicyInput": {"PolicyArn"},
			"AttachUserPolicyInput": {"UserName", "PolicyArn"}, "DetachUserPolicyInput": {"UserName", "PolicyArn"},
			"ListAttachedUserPoliciesInput": {"UserName"},
		},
		Status: map[string]int{
			"NoSuchEntity": http.StatusNotFound, "EntityAlreadyExists": http.StatusConflict, "LimitExceeded": http.StatusConflict,
			"DeleteConflict": http.StatusConflict, "MalformedPolicyDocument": http.StatusBadRequest, "InvalidInput": http.StatusBadRequest,
		},
	}
	for name := range strings.FieldsSeq(actions) {
		s.Actions[name] = shapes.Action{Input: name + "Input", Output: name + "Output", Result: !silent[name]}
	}
	return s
}

// silent are the actions whose replies have no result element.
var silent = map[string]bool{
	"DeleteUser": true, "UpdateAccessKey": true, "DeleteAccessKey": true, "PutUserPolicy": true, "DeleteUserPolicy": true,
	"DeletePolicy": true, "AttachUserPolicy": true, "DetachUserPolicy": true,
}

// Actions are all actions of IAM's API, served here or not.
func Actions() []string { return strings.Fields(actions) }
