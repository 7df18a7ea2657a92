package query

import (
	"context"

	"holdfast.dev/internal/api/sigv4"
)

// Info is what the front door knows of a verified request.
type Info struct {
	// Service is the credential scope's service name, for example "elasticache".
	Service string
	// Action is the Query action; empty for S3.
	Action string
	// Region is the credential scope's region.
	Region string
	// Identity is whose key signed; Identity.Account is the 12-digit account.
	Identity sigv4.Identity
	// AccessKeyID is the key that signed.
	AccessKeyID string
	// RequestID is what the reply carries as x-amzn-RequestId.
	RequestID string
}

type infoKey struct{}

// WithInfo returns a context that carries info. The front door calls it; tests of handlers may.
func WithInfo(ctx context.Context, info Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// InfoFrom returns what WithInfo put there, or the zero Info.
func InfoFrom(ctx context.Context) Info {
	info, _ := ctx.Value(infoKey{}).(Info)
	return info
}
