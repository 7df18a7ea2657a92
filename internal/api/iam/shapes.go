package iam

import (
	"time"

	"holdfast.dev/internal/cache"
)

// Tag is a key and a value.
type Tag struct{ Key, Value *string }

// User is somebody who may sign requests.
type User struct {
	Path, UserName, UserId, Arn *string
	CreateDate                  *time.Time
	Tags                        []Tag
}

// AccessKey is a new key, with its secret.
type AccessKey struct {
	UserName, AccessKeyId *string
	Status                StatusType
	SecretAccessKey       *string
	CreateDate            *time.Time
}

// AccessKeyMetadata is a key without its secret.
type AccessKeyMetadata struct {
	UserName, AccessKeyId *string
	Status                StatusType
	CreateDate            *time.Time
}

// StatusType is the status of an access key.
type StatusType string

// Values are those that IAM knows.
func (StatusType) Values() []StatusType { return []StatusType{"Active", "Inactive", "Expired"} }

// Policy is a managed policy.
type Policy struct {
	PolicyName, PolicyId, Arn, Path, DefaultVersionId *string
	AttachmentCount, PermissionsBoundaryUsageCount    *int32
	IsAttachable                                      *bool
	Description                                       *string
	CreateDate, UpdateDate                            *time.Time
	Tags                                              []Tag
}

// PolicyVersion is a version of a managed policy.
type PolicyVersion struct {
	Document, VersionId *string
	IsDefaultVersion    *bool
	CreateDate          *time.Time
}

// AttachedPolicy names a managed policy.
type AttachedPolicy struct{ PolicyName, PolicyArn *string }

// PolicyScopeType chooses among managed policies.
type PolicyScopeType string

// Values are those that IAM knows.
func (PolicyScopeType) Values() []PolicyScopeType { return []PolicyScopeType{"All", "AWS", "Local"} }

// PolicyUsageType chooses among the uses of policies.
type PolicyUsageType string

// Values are those that IAM knows.
func (PolicyUsageType) Values() []PolicyUsageType {
	return []PolicyUsageType{"PermissionsPolicy", "PermissionsBoundary"}
}

// The inputs and outputs of the actions.
type (
	CreateUserInput struct {
		Path, UserName, PermissionsBoundary *string
		Tags                                []Tag
	}
	CreateUserOutput struct{ User *User }
	GetUserInput     struct{ UserName *string }
	GetUserOutput    struct{ User *User }
	ListUsersInput   struct {
		PathPrefix, Marker *string
		MaxItems           *int32
	}
	ListUsersOutput struct {
		Users       []User
		IsTruncated bool
		Marker      *string
	}
	DeleteUserInput  struct{ UserName *string }
	DeleteUserOutput struct{}

	CreateAccessKeyInput  struct{ UserName *string }
	CreateAccessKeyOutput struct{ AccessKey *AccessKey }
	ListAccessKeysInput   struct {
		UserName, Marker *string
		MaxItems         *int32
	}
	ListAccessKeysOutput struct {
		AccessKeyMetadata []AccessKeyMetadata
		IsTruncated       bool
		Marker            *string
	}
	UpdateAccessKeyInput struct {
		UserName, AccessKeyId *string
		Status                StatusType
	}
	UpdateAccessKeyOutput struct{}
	DeleteAccessKeyInput  struct{ UserName, AccessKeyId *string }
	DeleteAccessKeyOutput struct{}

	PutUserPolicyInput    struct{ UserName, PolicyName, PolicyDocument *string }
	PutUserPolicyOutput   struct{}
	GetUserPolicyInput    struct{ UserName, PolicyName *string }
	GetUserPolicyOutput   struct{ UserName, PolicyName, PolicyDocument *string }
	ListUserPoliciesInput struct {
		UserName, Marker *string
		MaxItems         *int32
	}
	ListUserPoliciesOutput struct {
		PolicyNames []string
		IsTruncated bool
		Marker      *string
	}
	DeleteUserPolicyInput  struct{ UserName, PolicyName *string }
	DeleteUserPolicyOutput struct{}

	CreatePolicyInput struct {
		PolicyName, Path, PolicyDocument, Description *string
		Tags                                          []Tag
	}
	CreatePolicyOutput      struct{ Policy *Policy }
	GetPolicyInput          struct{ PolicyArn *string }
	GetPolicyOutput         struct{ Policy *Policy }
	GetPolicyVersionInput   struct{ PolicyArn, VersionId *string }
	GetPolicyVersionOutput  struct{ PolicyVersion *PolicyVersion }
	ListPolicyVersionsInput struct {
		PolicyArn, Marker *string
		MaxItems          *int32
	}
	ListPolicyVersionsOutput struct {
		Versions    []PolicyVersion
		IsTruncated bool
		Marker      *string
	}
	ListPoliciesInput struct {
		Scope              PolicyScopeType
		OnlyAttached       *bool
		PathPrefix, Marker *string
		PolicyUsageFilter  PolicyUsageType
		MaxItems           *int32
	}
	ListPoliciesOutput struct {
		Policies    []Policy
		IsTruncated bool
		Marker      *string
	}
	DeletePolicyInput             struct{ PolicyArn *string }
	DeletePolicyOutput            struct{}
	AttachUserPolicyInput         struct{ UserName, PolicyArn *string }
	AttachUserPolicyOutput        struct{}
	DetachUserPolicyInput         struct{ UserName, PolicyArn *string }
	DetachUserPolicyOutput        struct{}
	ListAttachedUserPoliciesInput struct {
		UserName, PathPrefix, Marker *string
		MaxItems                     *int32
	}
	ListAttachedUserPoliciesOutput struct {
		AttachedPolicies []AttachedPolicy
		IsTruncated      bool
		Marker           *string
	}
)

// RequestTags are what a call wants its new user to be tagged with.
func (in *CreateUserInput) RequestTags() []cache.Tag { return toTags(in.Tags) }

// RequestTags are what a call wants its new policy to be tagged with.
func (in *CreatePolicyInput) RequestTags() []cache.Tag { return toTags(in.Tags) }
