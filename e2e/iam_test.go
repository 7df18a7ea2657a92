package e2e

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// TestTheCommandsOfIAM runs docs/iam.md as it is written.
func TestTheCommandsOfIAM(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/iam.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startService(t)
	sh := s.shell(east)
	home := t.TempDir()
	for name, to := range map[string]string{"state/holdfast": s.dir, "bin/holdfast": program} {
		link := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	var p page
	if n := p.read(t, string(text)); n < 30 {
		t.Fatalf("only %d commands are found in the page", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir, cmd.Stdin = home, strings.NewReader(p.script.String())
	cmd.Env = append(sh.env, "XDG_STATE_HOME="+filepath.Join(home, "state"), "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	cmd.WaitDelay = patience
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// user is a client of the service with a key of its own.
type user struct {
	*service
	id, secret string
}

func (u *user) config(region string) aws.Config {
	c := u.service.config(region)
	c.Credentials = credentials.NewStaticCredentialsProvider(u.id, u.secret, "")
	return c
}

func (u *user) bucket() *s3.Client {
	return s3.NewFromConfig(u.config(east), func(o *s3.Options) { o.UsePathStyle = true })
}

// iam makes a call of IAM as root, by hand: its SDK is no dependency of ours.
func (s *service) iam(action string, parameters ...string) string {
	s.t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.listen+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	id, secret := s.rootKey()
	status, answer := s.send(r, aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, "iam", hex.EncodeToString(sum[:]))
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", action, status, answer)
	}
	return answer
}

// send signs a request, unless it carries a signature, and returns what is answered.
func (s *service) send(r *http.Request, c aws.Credentials, service, hash string) (int, string) {
	s.t.Helper()
	if c.AccessKeyID != "" {
		r.Header.Set("X-Amz-Content-Sha256", hash)
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
		if err := signer.SignHTTP(s.t.Context(), c, r, hash, service, east, time.Now()); err != nil {
			s.t.Fatal(err)
		}
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// element is the text of an element of an answer.
func element(t *testing.T, answer, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(answer, "<"+name+">")
	text, _, closed := strings.Cut(rest, "</"+name+">")
	if !ok || !closed {
		t.Fatalf("no %s in %s", name, answer)
	}
	return html.UnescapeString(text)
}

// newUser makes a user with a policy.
func (s *service) newUser(name, policy string) *user {
	s.t.Helper()
	s.iam("CreateUser", "UserName", name)
	s.iam("PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", policy)
	answer := s.iam("CreateAccessKey", "UserName", name)
	return &user{s, element(s.t, answer, "AccessKeyId"), element(s.t, answer, "SecretAccessKey")}
}

// raw asks for an object by a path that is sent as it stands.
func (u *user) raw(method, path string) (int, string) {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), method, "http://"+u.listen, nil)
	if err != nil {
		u.t.Fatal(err)
	}
	if r.URL, err = url.Parse("http://" + u.listen + path); err != nil {
		u.t.Fatal(err)
	}
	return u.send(r, aws.Credentials{AccessKeyID: u.id, SecretAccessKey: u.secret}, "s3", "UNSIGNED-PAYLOAD")
}

// presigned2 asks by a URL presigned by signature version 2.
func (u *user) presigned2(path, secret string) (int, string) {
	u.t.Helper()
	const expires = "9999999999"
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte("GET\n\n\n" + expires + "\n" + path))
	q := url.Values{"AWSAccessKeyId": {u.id}, "Expires": {expires}, "Signature": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
	r, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, "http://"+u.listen+path+"?"+q.Encode(), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	return u.send(r, aws.Credentials{}, "", "")
}

const files = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":["s3:*","elasticache:Describe*"],"Resource":"*"},
	{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::files/closed/*"}]}`

// TestAUserOfTheAPI is what one may do by his policy and not round it, after the service
// was killed, and until his key is disabled.
func TestAUserOfTheAPI(t *testing.T) {
	t.Parallel()
	s := startService(t)
	bob := s.newUser("bob", files)
	s.kill()
	s.start() // what was answered was kept
	root := s.s3(east)
	if _, err := root.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"open/a", "closed/a"} {
		if _, err := root.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("files"), Key: &key, Body: strings.NewReader("text")}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := elasticache.NewFromConfig(bob.config(east)).DescribeReplicationGroups(t.Context(), nil)
	if err != nil {
		t.Errorf("describe: %v", err)
	}
	_, err = elasticache.NewFromConfig(bob.config(east)).DeleteReplicationGroup(t.Context(), &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("Orders")})
	var told smithy.APIError
	const denied = "User: arn:aws:iam::000000000000:user/bob is not authorized to perform: elasticache:DeleteReplicationGroup on resource: " +
		"arn:aws:elasticache:us-east-1:000000000000:replicationgroup:orders because no identity-based policy allows the elasticache:DeleteReplicationGroup action"
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &told) || told.ErrorCode() != "AccessDenied" || told.ErrorMessage() != denied || !errors.As(err, &answer) || answer.HTTPStatusCode() != http.StatusForbidden {
		t.Errorf("delete: %v", err)
	}
	bob.objects()
	bob.disabled()
	s.quietAbout(bob.secret)
}

// objects holds every way to an object against the policy.
func (u *user) objects() {
	u.t.Helper()
	for _, tt := range []struct {
		method, path string
		want         int
		says         string
	}{
		{"GET", "/files/open/a", 200, "text"},
		{"GET", "/files/closed/a", 403, "explicit deny"},
		{"HEAD", "/files/closed/a", 403, ""},
		{"GET", "/files/open/../closed/a", 403, "root key alone"},
		{"GET", "/files//closed/a", 403, "root key alone"},
		{"GET", "/files/closed//a", 403, ""},
		{"GET", "/files/./closed/a", 403, "root key alone"},
		{"GET", "/files/closed%2Fa", 403, "root key alone"},
		{"GET", "/files%2Fclosed/a", 403, ""},
		{"GET", "/files/open/%2e%2e/closed/a", 403, "root key alone"},
		{"GET", "/files/closed/a?acl&tagging", 403, "root key alone"},
		{"GET", "/files/open/a?unknown", 403, "root key alone"},
		{"GET", "/files/closed/a?tagging", 403, "s3:GetObjectTagging"},
		{"DELETE", "/files/closed/a", 403, "s3:DeleteObject"},
		{"PUT", "/files/closed/b", 403, "s3:PutObject"},
		{"POST", "/files/closed/b?uploads", 403, "s3:PutObject"},
	} {
		if status, body := u.raw(tt.method, tt.path); status != tt.want || !strings.Contains(body, tt.says) {
			u.t.Errorf("%s %s: %d %s", tt.method, tt.path, status, body)
		}
	}
	if status, body := u.presigned2("/files/open/a", u.secret); status != 200 || body != "text" {
		u.t.Errorf("presigned by version 2: %d %s", status, body)
	}
	if status, body := u.presigned2("/files/closed/a", u.secret); status != 403 || !strings.Contains(body, "explicit deny") {
		u.t.Errorf("closed and presigned by version 2: %d %s", status, body)
	}
	if status, body := u.presigned2("/files/closed/a", "wrong"); status != 403 || !strings.Contains(body, "SignatureDoesNotMatch") {
		u.t.Errorf("presigned by nobody: %d %s", status, body)
	}
	c := u.bucket()
	_, err := c.CopyObject(u.t.Context(), &s3.CopyObjectInput{Bucket: aws.String("files"), Key: aws.String("open/stolen"), CopySource: aws.String("files/closed/a")})
	if code(err) != "AccessDenied" {
		u.t.Errorf("a copy of what is closed: %v", err)
	}
	_, err = c.CopyObject(u.t.Context(), &s3.CopyObjectInput{Bucket: aws.String("files"), Key: aws.String("open/b"), CopySource: aws.String("files/open/a")})
	if err != nil {
		u.t.Errorf("a copy: %v", err)
	}
	all := &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: aws.String("open/b")}, {Key: aws.String("closed/a")}}}
	if _, err = c.DeleteObjects(u.t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("files"), Delete: all}); code(err) != "AccessDenied" {
		u.t.Errorf("several deleted, one of them closed: %v", err)
	}
	if status, _ := u.raw("GET", "/files/open/b"); status != 200 {
		u.t.Errorf("a part of what was refused has been done: %d", status)
	}
	all.Objects = all.Objects[:1]
	if _, err = c.DeleteObjects(u.t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("files"), Delete: all}); err != nil {
		u.t.Errorf("deleted: %v", err)
	}
	if status, _ := u.raw("GET", "/files/open/b"); status != 404 {
		u.t.Errorf("it was not deleted: %d", status)
	}
}

// disabled takes the key away.
func (u *user) disabled() {
	u.t.Helper()
	u.iam("UpdateAccessKey", "UserName", "bob", "AccessKeyId", u.id, "Status", "Inactive")
	if status, body := u.raw("GET", "/files/open/a"); status != 403 || !strings.Contains(body, "InvalidAccessKeyId") {
		u.t.Errorf("S3 with a disabled key: %d %s", status, body)
	}
	if status, body := u.presigned2("/files/open/a", u.secret); status != 403 || !strings.Contains(body, "InvalidAccessKeyId") {
		u.t.Errorf("a URL of version 2 with a disabled key: %d %s", status, body)
	}
	_, err := elasticache.NewFromConfig(u.config(east)).DescribeReplicationGroups(u.t.Context(), nil)
	if code(err) != "InvalidClientTokenId" {
		u.t.Errorf("ElastiCache with a disabled key: %v", err)
	}
}

// quietAbout fails the test if a secret stands in the log or in any file as it is.
func (s *service) quietAbout(secret string) {
	s.t.Helper()
	if strings.Contains(s.lastWords(1<<20), secret) {
		s.t.Error("a user's secret is in the log")
	}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) {
			s.t.Errorf("a user's secret is in %s", path)
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
}

// TestRotation turns the root key over while the service runs, and under requests.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := startService(t)
	id, secret := s.rootKey()
	old := &user{s, id, secret}
	works := func(u *user, want string) {
		t.Helper()
		_, err := elasticache.NewFromConfig(u.config(east)).DescribeReplicationGroups(t.Context(), nil)
		_, s3err := u.bucket().ListBuckets(t.Context(), nil)
		_, v2 := u.presigned2("/files/a", u.secret)
		for what, got := range map[string]bool{"ElastiCache": err == nil, "S3": s3err == nil, "a URL of version 2": v2 == "text"} {
			if got != (want == "works") {
				t.Errorf("%s by %s: %v %v %s, want it %s", what, u.id, err, s3err, v2, want)
			}
		}
	}
	rotate := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(program, append([]string{"keys", "rotate", "--data", s.dir}, args...)...).CombinedOutput()
		if err != nil {
			return "failed: " + string(out)
		}
		return string(out)
	}
	if _, err := old.bucket().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("files")}); err != nil {
		t.Fatal(err)
	}
	if _, err := old.bucket().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("files"), Key: aws.String("a"), Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	works(old, "works")
	if out := rotate("--finish"); !strings.Contains(out, "failed: holdfast: there is no old root key to end") {
		t.Error(out)
	}
	said := rotate()
	id, secret = s.rootKey()
	fresh := &user{s, id, secret}
	if fresh.id == old.id || !strings.Contains(said, fresh.id) || strings.Contains(said, secret) {
		t.Errorf("%s", said)
	}
	works(fresh, "works")
	works(old, "works")
	if out := rotate(); !strings.Contains(out, "failed: ") || !strings.Contains(out, "is still good") {
		t.Error(out)
	}
	s.kill()
	s.start()
	works(fresh, "works")
	works(old, "works")
	if out := rotate("--finish"); !strings.Contains(out, "The key "+old.id+" is ended") {
		t.Error(out)
	}
	works(old, "refused")
	works(fresh, "works")
	s.privateFiles()
}

// TestIAMWithTheCLI makes every action of IAM that there is with the AWS CLI, which reads
// the answers by AWS' own model.
func TestIAMWithTheCLI(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sh := s.shell(west) // IAM belongs to no region
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Describe*","Resource":"*"}]}`
	fails := func(want, line string, more ...string) {
		t.Helper()
		if out, err := sh.try(line, more...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s %v: %v %s\nwant %s", line, more, err, out, want)
		}
	}
	sh.want("arn:aws:iam::000000000000:user/dev/bob", "aws iam create-user --user-name bob --path /dev/ --tags Key=team,Value=blue --query User.Arn")
	fails("(EntityAlreadyExists)", "aws iam create-user --user-name Bob")
	sh.run("aws iam create-user --user-name alice")
	sh.want("blue", "aws iam get-user --user-name bob --query User.Tags[0].Value")
	sh.want("arn:aws:iam::000000000000:root", "aws iam get-user --query User.Arn")
	fails("(NoSuchEntity) when calling the GetUser operation: The user with name eve cannot be found.", "aws iam get-user --user-name eve")
	sh.want("alice\nbob", "aws iam list-users --page-size 1 --query Users[].UserName")
	sh.want("bob", "aws iam list-users --path-prefix /dev/ --query Users[].UserName")

	sh.want("Active", "aws iam create-access-key --user-name bob --query AccessKey.Status")
	key := sh.run("aws iam list-access-keys --user-name bob --query AccessKeyMetadata[0].AccessKeyId")
	sh.run("aws iam create-access-key --user-name bob")
	fails("(LimitExceeded)", "aws iam create-access-key --user-name bob")
	fails("Must specify userName", "aws iam create-access-key")
	sh.run("aws iam update-access-key --user-name bob --status Inactive --access-key-id " + key)
	sh.want("Inactive", "aws iam list-access-keys --user-name bob --query AccessKeyMetadata[0].Status")
	sh.run("aws iam delete-access-key --user-name bob --access-key-id " + key)
	fails("(NoSuchEntity)", "aws iam delete-access-key --user-name bob --access-key-id "+key)

	sh.run("aws iam put-user-policy --user-name bob --policy-name own --policy-document", allow)
	fails("(MalformedPolicyDocument)", "aws iam put-user-policy --user-name bob --policy-name bad --policy-document", `{"Version":"2012-10-17"}`)
	sh.want("elasticache:Describe*", "aws iam get-user-policy --user-name bob --policy-name own --query PolicyDocument.Statement[0].Action")
	sh.want("own", "aws iam list-user-policies --user-name bob --query PolicyNames")
	const arn = "arn:aws:iam::000000000000:policy/team/look"
	sh.want(arn, "aws iam create-policy --policy-name look --path /team/ --description words --query Policy.Arn --policy-document", allow)
	sh.run("aws iam create-policy --policy-name more --policy-document", allow)
	sh.run("aws iam attach-user-policy --user-name bob --policy-arn " + arn)
	sh.want("words\t1\tv1", "aws iam get-policy --query Policy.[Description,AttachmentCount,DefaultVersionId] --policy-arn "+arn)
	sh.want("elasticache:Describe*", "aws iam get-policy-version --version-id v1 --query PolicyVersion.Document.Statement[0].Action --policy-arn "+arn)
	sh.want("v1\tTrue", "aws iam list-policy-versions --query Versions[].[VersionId,IsDefaultVersion] --policy-arn "+arn)
	sh.want("look\nmore", "aws iam list-policies --scope Local --page-size 1 --query Policies[].PolicyName")
	if out := sh.run("aws iam list-policies --only-attached --query Policies[].PolicyName"); out != "look" {
		t.Errorf("attached policies: %s", out)
	}
	sh.want("look\t"+arn, "aws iam list-attached-user-policies --user-name bob --query AttachedPolicies[].[PolicyName,PolicyArn]")
	fails("(DeleteConflict)", "aws iam delete-policy --policy-arn "+arn)
	fails("(DeleteConflict)", "aws iam delete-user --user-name bob")
	sh.run("aws iam detach-user-policy --user-name bob --policy-arn " + arn)
	sh.run("aws iam delete-policy --policy-arn " + arn)
	sh.run("aws iam delete-user-policy --user-name bob --policy-name own")
	last := sh.run("aws iam list-access-keys --user-name bob --query AccessKeyMetadata[0].AccessKeyId")
	sh.run("aws iam delete-access-key --user-name bob --access-key-id " + last)
	sh.run("aws iam delete-user --user-name bob")
	if out := sh.run("aws iam list-users --query Users[].UserName"); out != "alice" {
		t.Errorf("users left: %s", out)
	}
	fails("(UnsupportedOperation) when calling the CreateRole operation: The action CreateRole of iam is not supported by this endpoint.",
		"aws iam create-role --role-name r --assume-role-policy-document {}")
}
