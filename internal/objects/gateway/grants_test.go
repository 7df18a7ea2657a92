package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/gateway"
)

const guest = "540804c33a284a299d2547575ce1010f2312ef3da9b3a053c8bc45bf233e4353"

// listed makes a bucket that goes by its access control list.
func listed(t *testing.T, p *gateway.Pool, name string) *s3.Client {
	t.Helper()
	c := p.Client(region)
	_, err := c.CreateBucket(limited(t), &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func access(t *testing.T, p *gateway.Pool, bucket string) objects.Access {
	t.Helper()
	a, err := p.Buckets().Access(limited(t), region, bucket, guest)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatABucketGrantsIsWhatItsListSays(t *testing.T) {
	p := newPool(t, t.TempDir())
	c := listed(t, p, "listed")
	nothing, all := objects.Access{Owned: true}, objects.Access{Read: true, Write: true, ReadACP: true, Owned: true}
	if a := access(t, p, "listed"); a != nothing {
		t.Errorf("a new list: %+v", a)
	}
	for _, step := range []struct {
		what string
		in   s3.PutBucketAclInput
		want objects.Access
	}{
		{"read", s3.PutBucketAclInput{GrantRead: aws.String("id=" + guest)}, objects.Access{Read: true, Owned: true}},
		{"write, quoted, beside another", s3.PutBucketAclInput{GrantWrite: aws.String(`id="` + strings.Repeat("ab", 32) + `", id="` + guest + `"`)}, objects.Access{Write: true, Owned: true}},
		{"the list", s3.PutBucketAclInput{GrantReadACP: aws.String("id=" + guest)}, objects.Access{ReadACP: true, Owned: true}},
		{"everything", s3.PutBucketAclInput{GrantFullControl: aws.String("id=" + guest)}, all},
		{"somebody else", s3.PutBucketAclInput{GrantFullControl: aws.String("id=" + strings.Repeat("0", 64))}, nothing},
		{"private", s3.PutBucketAclInput{ACL: types.BucketCannedACLPrivate}, nothing},
		{"a document", s3.PutBucketAclInput{AccessControlPolicy: &types.AccessControlPolicy{
			Owner: &types.Owner{ID: aws.String(account)},
			Grants: []types.Grant{
				{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: aws.String(guest)}, Permission: types.PermissionRead},
				{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: aws.String(guest)}, Permission: types.PermissionWrite},
			},
		}}, objects.Access{Read: true, Write: true, Owned: true}},
	} {
		step.in.Bucket = aws.String("listed")
		if _, err := c.PutBucketAcl(limited(t), &step.in); err != nil {
			t.Errorf("%s: %v", step.what, err)
			continue
		}
		if a := access(t, p, "listed"); a != step.want {
			t.Errorf("%s: %+v, want %+v", step.what, a, step.want)
		}
	}
	out, err := c.GetBucketAcl(limited(t), &s3.GetBucketAclInput{Bucket: aws.String("listed")})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range out.Grants {
		if id := aws.ToString(g.Grantee.ID); id != guest && id != account {
			t.Errorf("the list names %q", id)
		}
	}
}

// Lists are off where nobody asked for them, as with S3.
func TestABucketWithoutListsGrantsAll(t *testing.T) {
	p := newPool(t, t.TempDir())
	c := p.Client(region)
	if _, err := c.CreateBucket(limited(t), &s3.CreateBucketInput{Bucket: aws.String("plain")}); err != nil {
		t.Fatal(err)
	}
	if a := access(t, p, "plain"); !a.Read || !a.Write || !a.ReadACP || !a.Owned {
		t.Errorf("a bucket without lists: %+v", a)
	}
	_, err := c.PutBucketAcl(limited(t), &s3.PutBucketAclInput{Bucket: aws.String("plain"), GrantRead: aws.String("id=" + guest)})
	wantCode(t, err, "AccessControlListNotSupported")
	if _, err := c.DeleteBucketOwnershipControls(limited(t), &s3.DeleteBucketOwnershipControlsInput{Bucket: aws.String("plain")}); err != nil {
		t.Fatal(err)
	}
	if a := access(t, p, "plain"); a.Read || a.Write {
		t.Errorf("once nothing says that the list is off it holds: %+v", a)
	}
	if _, err := p.Buckets().Access(limited(t), region, "nowhere", guest); !errors.Is(err, objects.ErrNoSuchBucket) {
		t.Errorf("no bucket: %v", err)
	}
}

func TestGrantsAtBirthAndGrantsToNobody(t *testing.T) {
	p := newPool(t, t.TempDir())
	_, err := p.Client(region).CreateBucket(limited(t), &s3.CreateBucketInput{
		Bucket: aws.String("born"), ObjectOwnership: types.ObjectOwnershipObjectWriter, GrantFullControl: aws.String("id=" + guest),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := access(t, p, "born"); !a.Read || !a.Write || !a.ReadACP {
		t.Errorf("granted at birth: %+v", a)
	}
	for _, who := range []string{"id=somebody", "emailAddress=a@example.com", "uri=http://acs.amazonaws.com/groups/s3/LogDelivery"} {
		_, err := p.Client(region).PutBucketAcl(limited(t), &s3.PutBucketAclInput{Bucket: aws.String("born"), GrantWrite: &who})
		wantCode(t, err, "InvalidArgument")
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("answered %v, want %s", err, code)
	}
}
