package objects

import (
	"context"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Access is what a bucket lets one canonical user do.
type Access struct {
	// Read is to list objects, Write to create and delete them, ReadACP to read the
	// bucket's own access control list.
	Read, Write, ReadACP bool
	// Owned tells that the bucket belongs to whom the service takes us for. It is true
	// where that cannot be told.
	Owned bool
}

var fullAccess = Access{Read: true, Write: true, ReadACP: true, Owned: true}

// AskAccess asks a service what the access control list of a bucket grants a
// canonical user.
//
// A bucket may have its lists turned off, as S3 makes them by default; and many
// services have no lists at all. Neither holds a grant that could be missing, so
// there everything is taken for granted: whether it is so shows in the writing.
func AskAccess(ctx context.Context, client *s3.Client, bucket, user string) (Access, error) {
	inForce, err := listsInForce(ctx, client, bucket)
	if err != nil || !inForce {
		return fullAccess, err
	}
	out, err := client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket})
	if err != nil {
		return fullAccess, unanswered(bucket, err)
	}
	a := granted(out.Grants, user)
	a.Owned = out.Owner == nil || owns(ctx, client, aws.ToString(out.Owner.ID))
	return a, nil
}

// listsInForce tells whether a bucket goes by its access control list.
func listsInForce(ctx context.Context, client *s3.Client, bucket string) (bool, error) {
	out, err := client.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &bucket})
	if code, _, _ := s3Error(err); code == "OwnershipControlsNotFoundError" {
		return true, nil // as of buckets from before there were such controls
	}
	if err != nil {
		return false, unanswered(bucket, err)
	}
	if out.OwnershipControls == nil || len(out.OwnershipControls.Rules) == 0 {
		return false, nil // not an answer to what was asked
	}
	return !slices.ContainsFunc(out.OwnershipControls.Rules, func(r types.OwnershipControlsRule) bool {
		return r.ObjectOwnership == types.ObjectOwnershipBucketOwnerEnforced
	}), nil
}

// unanswered drops the refusal of a question that the service does not know or does
// not answer us, and keeps the failures that may pass.
func unanswered(bucket string, err error) error {
	code, status, _ := s3Error(err)
	switch {
	case status == http.StatusNotImplemented, code == "NotImplemented":
		return nil
	case status == 0, status >= http.StatusInternalServerError, code == "NoSuchBucket":
		return bucketFault(bucket, "", err)
	}
	return nil
}

// Groups that everybody is in.
const (
	everyone   = "http://acs.amazonaws.com/groups/global/AllUsers"
	everyLogin = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
)

// granted adds up what a list grants a user, by name or as one of everybody.
func granted(grants []types.Grant, user string) Access {
	var a Access
	for _, g := range grants {
		if g.Grantee == nil {
			continue
		}
		uri := aws.ToString(g.Grantee.URI)
		if aws.ToString(g.Grantee.ID) != user && uri != everyone && uri != everyLogin {
			continue
		}
		full := g.Permission == types.PermissionFullControl
		a.Read = a.Read || full || g.Permission == types.PermissionRead
		a.Write = a.Write || full || g.Permission == types.PermissionWrite
		a.ReadACP = a.ReadACP || full || g.Permission == types.PermissionReadAcp
	}
	return a
}

// owns tells whether an owner is who the service takes us for; true where it does
// not say.
func owns(ctx context.Context, client *s3.Client, owner string) bool {
	out, err := client.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	if err != nil || out.Owner == nil {
		return true
	}
	me := aws.ToString(out.Owner.ID)
	return me == "" || owner == "" || me == owner
}
