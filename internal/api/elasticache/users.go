package elasticache

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

func (h *handlers) createUser(ctx context.Context, in *elasticache.CreateUserInput) (*elasticache.CreateUserOutput, error) {
	u, err := h.ctl.CreateUser(ctx, region(ctx), control.NewUser{
		ID:           aws.ToString(in.UserId),
		Name:         aws.ToString(in.UserName),
		Engine:       aws.ToString(in.Engine),
		AccessString: aws.ToString(in.AccessString),
		Login:        readLogin(in.AuthenticationMode, in.Passwords, in.NoPasswordRequired),
		Tags:         readTags(in.Tags),
	})
	if err != nil {
		return nil, err
	}
	s := showUser(u)
	return &elasticache.CreateUserOutput{
		ARN: s.ARN, AccessString: s.AccessString, Authentication: s.Authentication, Engine: s.Engine,
		MinimumEngineVersion: s.MinimumEngineVersion, Status: s.Status, UserGroupIds: s.UserGroupIds, UserId: s.UserId, UserName: s.UserName,
	}, nil
}

func (h *handlers) modifyUser(ctx context.Context, in *elasticache.ModifyUserInput) (*elasticache.ModifyUserOutput, error) {
	u, err := h.ctl.ModifyUser(ctx, region(ctx), control.UserChange{
		ID:           aws.ToString(in.UserId),
		Engine:       aws.ToString(in.Engine),
		AccessString: aws.ToString(in.AccessString),
		AccessAppend: aws.ToString(in.AppendAccessString),
		Login:        readLogin(in.AuthenticationMode, in.Passwords, in.NoPasswordRequired),
	})
	if err != nil {
		return nil, err
	}
	s := showUser(u)
	return &elasticache.ModifyUserOutput{
		ARN: s.ARN, AccessString: s.AccessString, Authentication: s.Authentication, Engine: s.Engine,
		MinimumEngineVersion: s.MinimumEngineVersion, Status: s.Status, UserGroupIds: s.UserGroupIds, UserId: s.UserId, UserName: s.UserName,
	}, nil
}

func (h *handlers) deleteUser(ctx context.Context, in *elasticache.DeleteUserInput) (*elasticache.DeleteUserOutput, error) {
	u, err := h.ctl.DeleteUser(ctx, region(ctx), aws.ToString(in.UserId))
	if err != nil {
		return nil, err
	}
	s := showUser(u)
	return &elasticache.DeleteUserOutput{
		ARN: s.ARN, AccessString: s.AccessString, Authentication: s.Authentication, Engine: s.Engine,
		MinimumEngineVersion: s.MinimumEngineVersion, Status: s.Status, UserGroupIds: s.UserGroupIds, UserId: s.UserId, UserName: s.UserName,
	}, nil
}

func (h *handlers) describeUsers(ctx context.Context, in *elasticache.DescribeUsersInput) (*elasticache.DescribeUsersOutput, error) {
	out := &elasticache.DescribeUsersOutput{}
	filter := control.UserFilter{ID: aws.ToString(in.UserId), Engine: aws.ToString(in.Engine)}
	for _, f := range in.Filters {
		filter.Filters = append(filter.Filters, control.PropertyFilter{Name: aws.ToString(f.Name), Values: f.Values})
	}
	users, err := h.ctl.DescribeUsers(ctx, region(ctx), filter,
		paged(func(u *control.User) string { return u.ID }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for i := range users {
		out.Users = append(out.Users, showUser(&users[i]))
	}
	return out, nil
}

// readLogin takes over how a user is to show who it is.
func readLogin(mode *types.AuthenticationMode, passwords []string, none *bool) control.Login {
	l := control.Login{Passwords: passwords, NoPassword: aws.ToBool(none)}
	if mode != nil {
		l.Mode, l.ModePasswords = string(mode.Type), mode.Passwords
	}
	return l
}

// showUser shows a user; of passwords, how many there are.
func showUser(u *control.User) types.User {
	out := types.User{
		ARN:                  aws.String(cache.ARN(u.Region, cache.KindUser, u.ID)),
		AccessString:         aws.String(u.AccessString),
		Authentication:       &types.Authentication{Type: types.AuthenticationType(u.Auth)},
		Engine:               aws.String(u.Engine),
		MinimumEngineVersion: aws.String(u.MinVersion),
		Status:               aws.String(string(u.Status)),
		UserGroupIds:         u.GroupIDs,
		UserId:               aws.String(u.ID),
		UserName:             aws.String(u.Name),
	}
	if u.Auth == cache.AuthPassword {
		out.Authentication.PasswordCount = integer(len(u.PasswordHashes))
	}
	return out
}
