package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
)

// The server library takes what stands in x-amz-grant-… for plain account names.
// S3 has it be type=value, quoted or not: id=, uri= or emailAddress=. What comes out
// of the library is put right before it is stored.

// allUsers is the one group that the library knows, and what it calls it.
const (
	allUsersURI = "http://acs.amazonaws.com/groups/global/AllUsers"
	allUsers    = "all-users"
)

// canonical is the form of the ids by which S3 knows accounts, AWS's own included.
var canonical = regexp.MustCompile(`^([0-9a-f]{64}|[0-9]{12})$`)

// grantee reads one grantee of a header: an account by its canonical id, or everybody.
func grantee(text string) (auth.Grantee, bool) {
	kind, value, typed := strings.Cut(strings.TrimSpace(text), "=")
	value = strings.Trim(strings.TrimSpace(value), `"`)
	if !typed {
		kind, value = "id", kind
	}
	switch {
	case strings.EqualFold(kind, "id") && canonical.MatchString(value):
		return auth.Grantee{Access: value, Type: types.TypeCanonicalUser}, true
	case strings.EqualFold(kind, "uri") && value == allUsersURI:
		return auth.Grantee{Access: allUsers, Type: types.TypeGroup}, true
	}
	return auth.Grantee{}, false
}

// putRight mends the grants of an access control list as the library stores it.
func putRight(data []byte) ([]byte, error) {
	acl, err := auth.ParseACL(data)
	if err != nil {
		return nil, fmt.Errorf("cannot read the access control list: %w", err)
	}
	kept := acl.Grantees[:0]
	for _, g := range acl.Grantees {
		if who, ok := grantee(g.Access); ok && g.Type == types.TypeCanonicalUser {
			g.Access, g.Type = who.Access, who.Type
		}
		if !slices.Contains(kept, g) {
			kept = append(kept, g)
		}
	}
	acl.Grantees = kept
	b, err := json.Marshal(acl)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the access control list: %w", err)
	}
	return b, nil
}

// PutBucketAcl stores a list that has been put right.
func (d *durable) PutBucketAcl(ctx context.Context, bucket string, data []byte) error {
	data, err := putRight(data)
	if err != nil {
		return err
	}
	if err := d.Posix.PutBucketAcl(ctx, bucket, data); err != nil {
		return err // as it is: the library answers by its type
	}
	return syncFile(bucket)
}

// CreateBucket does so for the list that a bucket begins with, and makes the bucket
// whole or not at all.
func (d *durable) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	acl, err := putRight(acl)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(*in.Bucket); err == nil {
		return d.Posix.CreateBucket(ctx, in, acl) // it says whose it is
	}
	if err := expect(*in.Bucket); err != nil {
		return err
	}
	if err := d.Posix.CreateBucket(ctx, in, acl); err != nil {
		if rerr := os.Remove(unborn + *in.Bucket); rerr != nil {
			return errors.Join(err, rerr)
		}
		return err // as it is
	}
	return born(*in.Bucket)
}
