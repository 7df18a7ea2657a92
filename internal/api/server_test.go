package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"holdfast.dev/internal/api"
	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
	"holdfast.dev/internal/api/sigv4"
	"holdfast.dev/internal/api/sts"
)

// signed makes a request that the SDK's signer signs for a service.
func (d *door) signed(t testing.TB, method, path, service, region, body string, headers map[string]string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	if service == "s3" && r.Header.Get("X-Amz-Content-Sha256") == "" {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	} else if service == "s3" {
		hash = r.Header.Get("X-Amz-Content-Sha256")
	}
	err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }).
		SignHTTP(t.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, r, hash, service, region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCallerIdentity(t *testing.T) {
	d := open(t, nil)
	out, err := awssts.NewFromConfig(d.config(t)).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *out.Account != "000000000000" || *out.Arn != "arn:aws:iam::000000000000:root" || *out.UserId != "ROOT" {
		t.Errorf("got %s, %s, %s", *out.Account, *out.Arn, *out.UserId)
	}
	// The presigned form is how programs prove who they are to each other.
	pre, err := awssts.NewPresignClient(awssts.NewFromConfig(d.config(t))).PresignGetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(pre.Method, pre.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := d.send(t, r); a.status != 200 || !strings.Contains(a.body, "<Account>000000000000</Account>") {
		t.Errorf("presigned: %d %s", a.status, a.body)
	}
}

func TestInfoReachesTheHandler(t *testing.T) {
	d := open(t, nil)
	client := elasticache.NewFromConfig(d.config(t))
	_, err := client.DescribeReplicationGroups(t.Context(), nil, func(o *elasticache.Options) { o.Region = "us-gov-west-1" })
	if err != nil {
		t.Fatal(err)
	}
	got := d.groups.lastAsk
	if got.RequestID == "" {
		t.Error("no request id")
	}
	got.RequestID = ""
	want := query.Info{
		Service: "elasticache", Action: "DescribeReplicationGroups", Region: "us-gov-west-1", AccessKeyID: keyID,
		Identity: sigv4.Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:root", UserID: "ROOT"},
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestErrorsReachTheClientTyped(t *testing.T) {
	d := open(t, nil)
	client := elasticache.NewFromConfig(d.config(t))
	_, err := client.DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("none")})
	var gone *types.ReplicationGroupNotFoundFault
	if !errors.As(err, &gone) || gone.ErrorMessage() != "ReplicationGroup none not found." {
		t.Errorf("got %v", err)
	}
	_, err = client.TestFailover(t.Context(), &elasticache.TestFailoverInput{ReplicationGroupId: aws.String("x"), NodeGroupId: aws.String("0001")})
	var code smithy.APIError
	if !errors.As(err, &code) || code.ErrorCode() != "UnsupportedOperation" || !strings.Contains(code.ErrorMessage(), "TestFailover") {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(d.log.String(), "action=TestFailover"); n != 1 {
		t.Errorf("the client tried %d times:\n%s", n, d.log)
	}
}

func TestRefusals(t *testing.T) {
	d := open(t, nil)
	const describe = "Action=DescribeReplicationGroups&Version=2015-02-02"
	unsigned := func(method, path string) *http.Request {
		r, err := http.NewRequest(method, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	changed := d.signed(t, "POST", "/", "elasticache", "eu-west-1", describe, nil)
	changed.Body = io.NopCloser(strings.NewReader(strings.Replace(describe, "Describe", "describe", 1)))
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		want   string
	}{
		{"no signature", unsigned("POST", "/?"+describe), 403, "<Code>MissingAuthenticationToken</Code><Message>Request is missing Authentication Token</Message>"},
		{"anonymous S3", unsigned("GET", "/bucket/key"), 403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Resource>/bucket/key</Resource>"},
		{"GET", d.signed(t, "GET", "/?"+describe, "elasticache", "eu-west-1", "", nil), 200, "<ReplicationGroups></ReplicationGroups>"},
		{"body changed", changed, 403, "<Code>SignatureDoesNotMatch</Code>"},
		{"region", d.signed(t, "POST", "/", "elasticache", "mars", describe, nil), 403, "Credential should be scoped to a valid region, not &#39;mars&#39;."},
		{"region of S3", d.signed(t, "GET", "/b", "s3", "mars", "", nil), 400, "<Code>AuthorizationHeaderMalformed</Code>"},
		{"service", d.signed(t, "POST", "/", "sqs", "eu-west-1", describe, nil), 400, "<Code>UnsupportedOperation</Code><Message>The service sqs is not served by this endpoint. Served: elasticache, sts</Message>"},
		{"JSON service", d.signed(t, "POST", "/", "logs", "eu-west-1", "{}", map[string]string{"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}), 400, `{"__type":"UnsupportedOperation","message":"The service logs is not served by this endpoint. Served: elasticache, sts"}`},
		{"S3 not served", d.signed(t, "GET", "/b", "s3", "eu-west-1", "", nil), 400, "The service s3 is not served"},
		{"path", d.signed(t, "POST", "/x", "elasticache", "eu-west-1", describe, nil), 400, "<Code>InvalidAction</Code>"},
		{"method", d.signed(t, "PUT", "/", "elasticache", "eu-west-1", describe, nil), 405, "Requests must be GET or POST"},
		{"content type", d.signed(t, "POST", "/", "elasticache", "eu-west-1", "{}", map[string]string{"Content-Type": "text/plain"}), 400, "<Code>MalformedInput</Code>"},
		{"large body", d.signed(t, "POST", "/", "elasticache", "eu-west-1", describe+strings.Repeat("x", api.MaxBody), nil), 413, "<Code>RequestEntityTooLarge</Code>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := d.send(t, c.r)
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Errorf("%d %s\nwant %d %s", a.status, a.body, c.status, c.want)
			}
			if a.header.Get("X-Amzn-Requestid") == "" {
				t.Error("no request id")
			}
		})
	}
}

func TestHealth(t *testing.T) {
	var notReady error
	d := open(t, func(c *api.Config) { c.Ready = func(context.Context) error { return notReady } })
	if a := d.get(t, "/readyz"); a.status != 200 {
		t.Errorf("ready: %+v", a)
	}
	notReady = errors.New("the store is opening")
	if a := d.get(t, "/readyz"); a.status != 503 || a.body != "the store is opening\n" {
		t.Errorf("not ready: %+v", a)
	}
	if a := d.get(t, "/healthz"); a.status != 200 {
		t.Errorf("healthy: %+v", a)
	}
	if a := d.send(t, d.signed(t, "GET", "/healthz", "s3", "eu-west-1", "", nil)); a.status != 400 {
		t.Errorf("a bucket of that name: %+v", a)
	}
}

func TestPanicIsInternalFailure(t *testing.T) {
	d := open(t, nil)
	a := d.send(t, d.signed(t, "POST", "/", "elasticache", "eu-west-1", "Action=CreateReplicationGroup&Version=2015-02-02&ReplicationGroupId=x&ReplicationGroupDescription=d&Engine=panic", nil))
	if a.status != 500 || !strings.Contains(a.body, "<Code>InternalFailure</Code>") || strings.Contains(a.body, "asked to") {
		t.Errorf("%+v", a)
	}
	if log := d.log.String(); !strings.Contains(log, "asked to") || !strings.Contains(log, "door_test.go") {
		t.Errorf("the log lacks the panic or its stack: %s", log)
	}
}

// TestNoSecretIsLogged looks through the debug log of requests full of secrets.
func TestNoSecretIsLogged(t *testing.T) {
	d := open(t, nil)
	client := elasticache.NewFromConfig(d.config(t))
	in := &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), AuthToken: aws.String("hush-hush-token")}
	for range 2 { // once well, once with an error
		_, _ = client.CreateReplicationGroup(t.Context(), in)
	}
	_, _ = client.CreateUser(t.Context(), &elasticache.CreateUserInput{UserId: aws.String("u"), UserName: aws.String("u"), AccessString: aws.String("on"), Engine: aws.String("valkey"), Passwords: []string{"hush-hush-password"}})
	in.Engine, in.ReplicationGroupId = aws.String("panic"), aws.String("other")
	_, _ = client.CreateReplicationGroup(t.Context(), in, func(o *elasticache.Options) { o.RetryMaxAttempts = 1 })
	log := d.log.String()
	for _, s := range []string{"hush-hush", "Signature", "AWS4-HMAC", secret, keyID} {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q:\n%s", s, log)
		}
	}
	for _, s := range []string{"action=CreateReplicationGroup", "region=eu-west-1", "request_id=", "code=ReplicationGroupAlreadyExists", "code=UnsupportedOperation", "duration="} {
		if !strings.Contains(log, s) {
			t.Errorf("the log lacks %q:\n%s", s, log)
		}
	}
}

func TestS3GetsVerifiedRequests(t *testing.T) {
	type seen struct {
		info query.Info
		path string
		body string
		err  error
	}
	got := make(chan seen, 10)
	d := open(t, func(c *api.Config) {
		c.S3 = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			got <- seen{query.InfoFrom(r.Context()), r.URL.Path, string(body), err}
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
		})
	})
	client := s3.NewFromConfig(d.config(t), func(o *s3.Options) { o.UsePathStyle = true })
	const key = "folder/a b+c é~%25.rdb"
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: strings.NewReader("content")}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s.err != nil || s.path != "/bucket/"+key || s.info.Region != "eu-west-1" || s.info.Identity.Account != "000000000000" || !strings.Contains(s.body, "content") {
		t.Errorf("put: %+v", s)
	}
	pre, err := s3.NewPresignClient(client).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(pre.Method, pre.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := d.send(t, r); a.status != 200 {
		t.Errorf("presigned: %+v", a)
	}
	if s := <-got; s.err != nil || s.path != "/bucket/"+key {
		t.Errorf("presigned: %+v", s)
	}
	forged := d.signed(t, "PUT", "/bucket/x", "s3", "eu-west-1", "content", nil)
	forged.Body = io.NopCloser(strings.NewReader("CONTENT"))
	if a := d.send(t, forged); a.status != 400 {
		t.Errorf("forged body: %+v", a)
	}
	if s := <-got; !errors.Is(s.err, sigv4.ErrPayload) || s.body == "CONTENT" {
		t.Errorf("forged body: %+v", s)
	}
	_, err = client.ListBuckets(t.Context(), nil, func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider("NOBODY", "x", "")
	})
	var code smithy.APIError
	if !errors.As(err, &code) || code.ErrorCode() != "InvalidAccessKeyId" {
		t.Errorf("unknown key: %v", err)
	}
	if len(got) != 0 {
		t.Error("a refused request reached the handler")
	}
}

func TestNewRefusesMistakes(t *testing.T) {
	bad := query.NewService(shapes.ElastiCache)
	query.Handle(bad, func(context.Context, *awssts.GetCallerIdentityInput) (*awssts.GetCallerIdentityOutput, error) {
		return nil, nil
	})
	for name, c := range map[string]api.Config{
		"no keys": {},
		"twice":   {Keys: rootKeys{}, Services: []*query.Service{sts.New(), sts.New()}},
		"handler": {Keys: rootKeys{}, Services: []*query.Service{bad}},
	} {
		if _, err := api.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
