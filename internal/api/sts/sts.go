// Package sts answers AWS STS: who the caller is. Nothing else of STS is built.
package sts

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
)

// New returns the service.
func New() *query.Service {
	svc := query.NewService(shapes.STS)
	query.Handle(svc, getCallerIdentity)
	return svc
}

func getCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	id := query.InfoFrom(ctx).Identity
	return &sts.GetCallerIdentityOutput{Account: &id.Account, Arn: &id.ARN, UserId: &id.UserID}, nil
}
