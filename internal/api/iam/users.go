package iam

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
)

func fromUser(u *cache.IAMUser) *User {
	return &User{
		Path: &u.Path, UserName: &u.Name, UserId: &u.ID, Arn: aws.String(u.ARN()), CreateDate: &u.CreatedAt, Tags: fromTags(u.Tags),
	}
}

func (h *handlers) createUser(ctx context.Context, in *CreateUserInput) (*CreateUserOutput, error) {
	if in.PermissionsBoundary != nil {
		return nil, cache.Faultf("InvalidInput", "The parameter PermissionsBoundary is not supported by this endpoint.")
	}
	u, err := h.iam.CreateUser(ctx, aws.ToString(in.Path), *in.UserName, toTags(in.Tags))
	if err != nil {
		return nil, err
	}
	return &CreateUserOutput{User: fromUser(u)}, nil
}

// getUser without a name tells who the caller is, root as well.
func (h *handlers) getUser(ctx context.Context, in *GetUserInput) (*GetUserOutput, error) {
	info := query.InfoFrom(ctx)
	if aws.ToString(in.UserName) == "" && info.Identity.ARN == cache.RootARN {
		return &GetUserOutput{User: &User{Path: aws.String("/"), UserId: &info.Identity.UserID, Arn: &info.Identity.ARN}}, nil
	}
	name, err := h.userName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	u, err := h.iam.User(ctx, name)
	if err != nil {
		return nil, err
	}
	return &GetUserOutput{User: fromUser(u)}, nil
}

func (h *handlers) listUsers(ctx context.Context, in *ListUsersInput) (*ListUsersOutput, error) {
	out := &ListUsersOutput{}
	page := paged((*cache.IAMUser).Key, in.Marker, in.MaxItems, &out.Marker)
	users, err := h.iam.Users(ctx, aws.ToString(in.PathPrefix), page)
	if err != nil {
		return nil, err
	}
	for i := range users {
		u := fromUser(&users[i])
		u.Tags = nil // lists do not show them
		out.Users = append(out.Users, *u)
	}
	out.IsTruncated = out.Marker != nil
	return out, nil
}

func (h *handlers) deleteUser(ctx context.Context, in *DeleteUserInput) (*DeleteUserOutput, error) {
	return &DeleteUserOutput{}, h.iam.DeleteUser(ctx, *in.UserName)
}

func (h *handlers) createAccessKey(ctx context.Context, in *CreateAccessKeyInput) (*CreateAccessKeyOutput, error) {
	name, err := h.userName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	k, secret, err := h.iam.CreateAccessKey(ctx, name)
	if err != nil {
		return nil, err
	}
	return &CreateAccessKeyOutput{AccessKey: &AccessKey{
		UserName: &k.UserName, AccessKeyId: &k.ID, Status: StatusType(k.Status), SecretAccessKey: &secret, CreateDate: &k.CreatedAt,
	}}, nil
}

func (h *handlers) listAccessKeys(ctx context.Context, in *ListAccessKeysInput) (*ListAccessKeysOutput, error) {
	name, err := h.userName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	keys, err := h.iam.AccessKeys(ctx, name)
	if err != nil {
		return nil, err
	}
	out := &ListAccessKeysOutput{} // there are two at most: no pages
	for _, k := range keys {
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, AccessKeyMetadata{
			UserName: &k.UserName, AccessKeyId: &k.ID, Status: StatusType(k.Status), CreateDate: &k.CreatedAt,
		})
	}
	return out, nil
}

func (h *handlers) updateAccessKey(ctx context.Context, in *UpdateAccessKeyInput) (*UpdateAccessKeyOutput, error) {
	name, err := h.userName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	return &UpdateAccessKeyOutput{}, h.iam.UpdateAccessKey(ctx, name, *in.AccessKeyId, string(in.Status))
}

func (h *handlers) deleteAccessKey(ctx context.Context, in *DeleteAccessKeyInput) (*DeleteAccessKeyOutput, error) {
	name, err := h.userName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	return &DeleteAccessKeyOutput{}, h.iam.DeleteAccessKey(ctx, name, *in.AccessKeyId)
}
