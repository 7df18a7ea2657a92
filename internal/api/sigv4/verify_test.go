package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	emptyHash  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// testKeys maps an access key to its secret. A session key is "key/token".
type testKeys map[string]string

func (k testKeys) Secret(id string) (string, Identity, bool) {
	s, ok := k[id]
	return s, Identity{Account: "000000000000"}, ok
}

func (k testKeys) Session(id, token string) (string, Identity, bool) {
	return k.Secret(id + "/" + token)
}

var keys = testKeys{testKey: testSecret, "ASIA/the+token/=": testSecret}

// receive parses wire text as the server does.
func receive(t testing.TB, wire string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check is what the front door does with a request.
func check(r *http.Request, now time.Time) error {
	a, err := Parse(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if _, err := a.Verify(r, hex.EncodeToString(sum[:]), keys, now); err != nil {
		return err
	}
	if hash, ok := a.PayloadHash(r); ok {
		_, err = io.ReadAll(CheckBody(io.NopCloser(bytes.NewReader(body)), r.ContentLength, hash))
	}
	return err
}

func codeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "not an Error: " + err.Error()
	}
	return ""
}

func date(t testing.TB, text string) time.Time {
	t.Helper()
	d, err := time.Parse(timeFormat, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPublishedVectors are the examples in AWS's own documents.
func TestPublishedVectors(t *testing.T) {
	const s3Key, s3Secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	keys[s3Key] = s3Secret
	for name, c := range map[string]struct{ now, wire string }{
		"get-vanilla": {"20150830T123600Z", "GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, " +
			"Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\r\n\r\n"},
		"iam": {"20150830T123600Z", "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\r\nHost: iam.amazonaws.com\r\n" +
			"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nX-Amz-Date: 20150830T123600Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
			"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n\r\n"},
		"s3 presigned": {"20130524T010000Z", "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
			"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n\r\n"},
		"s3 header": {"20130524T000000Z", "GET /test.txt HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nRange: bytes=0-9\r\n" +
			"x-amz-content-sha256: " + emptyHash + "\r\nx-amz-date: 20130524T000000Z\r\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
			"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(receive(t, c.wire), date(t, c.now)); err != nil {
				t.Error(err)
			}
		})
	}
}

// signed returns the wire text of a request in header form, signed by the code under test.
func signed(t testing.TB, method, target, service string, headers map[string]string, body string, at time.Time) string {
	t.Helper()
	r, err := http.NewRequest(method, "http://localhost:4510"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	payload := hex.EncodeToString(sum[:])
	a := &Auth{AccessKeyID: testKey, Region: "us-east-1", Service: service, date: at.Format(dateFormat), time: at, signedHeaders: []string{"host", "x-amz-date"}}
	r.Header.Set("X-Amz-Date", at.Format(timeFormat))
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
		a.signedHeaders = []string{"host", "x-amz-content-sha256", "x-amz-date"}
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := canonicalHeaders(r, a.signedHeaders)
	canonical := strings.Join([]string{method, canonicalPaths(r, a.S3())[0], canonicalQuery(query), text, strings.Join(a.signedHeaders, ";"), payload}, "\n")
	r.Header.Set("Authorization", algorithm+" Credential="+testKey+"/"+a.date+"/us-east-1/"+service+"/aws4_request, SignedHeaders="+
		strings.Join(a.signedHeaders, ";")+", Signature="+a.sign(a.signingKey(testSecret), canonical))
	for k, v := range headers {
		if v == "" {
			r.Header.Del(k)
		} else {
			r.Header.Set(k, v)
		}
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return wire.String()
}

func TestFaults(t *testing.T) {
	at := date(t, "20260102T030405Z")
	long := strings.Repeat("a;", 300)
	for _, c := range []struct {
		name, service string
		headers       map[string]string
		later         time.Duration
		code          string
		status        int
	}{
		{name: "good", service: "elasticache"},
		{name: "good s3", service: "s3"},
		{"none", "elasticache", map[string]string{"Authorization": ""}, 0, "MissingAuthenticationToken", 403},
		{"anonymous s3", "s3", map[string]string{"Authorization": ""}, 0, "AccessDenied", 403},
		{"unknown key", "elasticache", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=NOBODY/20260102/us-east-1/elasticache/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + emptyHash}, 0, "InvalidClientTokenId", 403},
		{"unknown key s3", "s3", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=NOBODY/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + emptyHash}, 0, "InvalidAccessKeyId", 403},
		{"wrong signature", "sts", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + emptyHash}, 0, "SignatureDoesNotMatch", 403},
		{"no signature", "elasticache", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/elasticache/aws4_request, SignedHeaders=host"}, 0, "IncompleteSignature", 400},
		{"host not signed", "elasticache", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/elasticache/aws4_request, SignedHeaders=x-amz-date, Signature=" + emptyHash}, 0, "IncompleteSignature", 400},
		{"many headers", "elasticache", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/elasticache/aws4_request, SignedHeaders=" + long + "host, Signature=" + emptyHash}, 0, "IncompleteSignature", 400},
		{"another day", "elasticache", map[string]string{"X-Amz-Date": "20260103T000000Z"}, 0, "IncompleteSignature", 400},
		{"no date", "elasticache", map[string]string{"X-Amz-Date": ""}, 0, "IncompleteSignature", 400},
		{"basic", "elasticache", map[string]string{"Authorization": "Basic eDp5"}, 0, "IncompleteSignature", 400},
		{"signature v2", "s3", map[string]string{"Authorization": "AWS AKIDEXAMPLE:xyz"}, 0, "InvalidRequest", 400},
		{"malformed s3", "s3", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, 0, "AuthorizationHeaderMalformed", 400},
		{"payload not named", "s3", map[string]string{"X-Amz-Content-Sha256": ""}, 0, "InvalidRequest", 400},
		{"payload nonsense", "s3", map[string]string{"X-Amz-Content-Sha256": "abc"}, 0, "InvalidArgument", 400},
		{"header added", "s3", map[string]string{"X-Amz-Copy-Source": "/bucket/other"}, 0, "AccessDenied", 403},
		{"token added", "elasticache", map[string]string{"X-Amz-Security-Token": "the+token/="}, 0, "SignatureDoesNotMatch", 403},
		{"just in time", "elasticache", nil, Skew, "", 0},
		{"too late", "elasticache", nil, Skew + time.Second, "RequestExpired", 400},
		{"just not early", "elasticache", nil, -Skew, "", 0},
		{"too early", "elasticache", nil, -Skew - time.Second, "RequestExpired", 400},
		{"too late s3", "s3", nil, Skew + time.Second, "RequestTimeTooSkewed", 403},
		{"too early s3", "s3", nil, -Skew - time.Second, "RequestTimeTooSkewed", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := "/"
			if c.service == "s3" {
				target = "/bucket/key"
			}
			err := check(receive(t, signed(t, "POST", target, c.service, c.headers, "Action=X", at)), at.Add(c.later))
			if codeOf(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			var e *Error
			if errors.As(err, &e) && e.Status != c.status {
				t.Errorf("status %d, want %d", e.Status, c.status)
			}
		})
	}
}

// TestQueryOrder: a name that is a prefix of another sorts first, whatever
// follows in the longer one, although '-' and '.' sort before '='.
func TestQueryOrder(t *testing.T) {
	got := canonicalQuery(url.Values{"a": {"2", "1"}, "a-b": {"0"}, "a.b": {"0"}, "A": {" /"}})
	if want := "A=%20%2F&a=1&a=2&a-b=0&a.b=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckBody(t *testing.T) {
	const text = "0123456789"
	sum := sha256.Sum256([]byte(text))
	want := hex.EncodeToString(sum[:])
	for _, length := range []int64{int64(len(text)), -1} {
		got, err := io.ReadAll(CheckBody(io.NopCloser(strings.NewReader(text)), length, want))
		if err != nil || string(got) != text {
			t.Errorf("length %d: %q, %v", length, got, err)
		}
		got, err = io.ReadAll(CheckBody(io.NopCloser(iotestOneByte{strings.NewReader("012345678X")}), length, want))
		if !errors.Is(err, ErrPayload) {
			t.Errorf("length %d: a wrong body gives %v", length, err)
		}
		if length > 0 && len(got) >= len(text) {
			t.Errorf("a wrong body of known length was given out whole")
		}
	}
	if _, err := io.ReadAll(CheckBody(io.NopCloser(strings.NewReader("")), 0, want)); !errors.Is(err, ErrPayload) {
		t.Errorf("an empty body instead of another gives %v", err)
	}
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func BenchmarkVerify(b *testing.B) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := receive(b, signed(b, "POST", "/", "elasticache", nil, "Action=DescribeReplicationGroups&Version=2015-02-02", at))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		a, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.Sum256(body)
		if _, err := a.Verify(r, hex.EncodeToString(sum[:]), keys, at); err != nil {
			b.Fatal(err)
		}
	}
}
