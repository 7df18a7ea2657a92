package iam

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

// handlers answers actions by way of an IAM.
type handlers struct{ iam *control.IAM }

// New returns the service.
func New(iam *control.IAM) *query.Service {
	svc, h := query.NewService(table), &handlers{iam}
	query.Handle(svc, h.createUser)
	query.Handle(svc, h.getUser)
	query.Handle(svc, h.listUsers)
	query.Handle(svc, h.deleteUser)
	query.Handle(svc, h.createAccessKey)
	query.Handle(svc, h.listAccessKeys)
	query.Handle(svc, h.updateAccessKey)
	query.Handle(svc, h.deleteAccessKey)
	query.Handle(svc, h.putUserPolicy)
	query.Handle(svc, h.getUserPolicy)
	query.Handle(svc, h.listUserPolicies)
	query.Handle(svc, h.deleteUserPolicy)
	query.Handle(svc, h.createPolicy)
	query.Handle(svc, h.getPolicy)
	query.Handle(svc, h.getPolicyVersion)
	query.Handle(svc, h.listPolicyVersions)
	query.Handle(svc, h.listPolicies)
	query.Handle(svc, h.deletePolicy)
	query.Handle(svc, h.attachUserPolicy)
	query.Handle(svc, h.detachUserPolicy)
	query.Handle(svc, h.listAttachedUserPolicies)
	return svc
}

// limits are those of MaxItems.
var limits = query.Limits{Default: 100, Min: 1, Max: 1000}

// paged makes of the paging members of a request the choice of a page.
func paged[T any](name func(*T) string, marker *string, maxItems *int32, next **string) control.Page[T] {
	return func(all []T) ([]T, error) {
		page, n, err := query.Page(all, func(t T) string { return name(&t) }, marker, maxItems, limits)
		*next = n
		return page, err
	}
}

// userName is the user that a request names, or else the caller, who is no user when he
// is root.
func (h *handlers) userName(ctx context.Context, asked *string) (string, error) {
	if aws.ToString(asked) != "" {
		return *asked, nil
	}
	name, err := h.iam.NameOf(ctx, query.InfoFrom(ctx).AccessKeyID)
	if err == nil && name == "" {
		err = cache.Faultf("ValidationError", "Must specify userName when calling with non-User credentials")
	}
	return name, err
}

func toTags(tags []Tag) []cache.Tag {
	var out []cache.Tag
	for _, t := range tags {
		out = append(out, cache.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)})
	}
	return out
}

func fromTags(tags []cache.Tag) []Tag {
	var out []Tag
	for _, t := range tags {
		out = append(out, Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out
}
