package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// asServer sends the request over the wire as text.
func asServer(wire string) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
}

// drawSigned draws a request and lets the SDK's signer sign it.
func drawSigned(t *rapid.T) (wire string, at time.Time) {
	word := rapid.StringMatching(`[A-Za-z0-9 _.~/+=&%?#é世:,;*()'"-]{0,12}`)
	service := rapid.SampledFrom([]string{"elasticache", "s3", "sts", "monitoring"}).Draw(t, "service")
	path := "/"
	if service == "s3" || service == "monitoring" {
		path += word.Draw(t, "path")
	}
	u := &url.URL{Scheme: "http", Host: "localhost:4510", Path: path}
	u.RawPath = escape(path, false)
	query := url.Values{}
	for _, name := range rapid.SliceOfN(word, 0, 4).Draw(t, "names") {
		for range rapid.IntRange(1, 2).Draw(t, "times") {
			query.Add("q"+name, word.Draw(t, "value"))
		}
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	body := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "body")
	r, err := http.NewRequest(rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"), u.String(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	header := rapid.StringMatching(`[a-zA-Z0-9,;= ]{0,12}`)
	for i := range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Header.Set(fmt.Sprintf("X-Amz-Meta-%d", i), header.Draw(t, "header"))
	}
	return sign(t, r, service, body)
}

func sign(t *rapid.T, r *http.Request, service string, body []byte) (string, time.Time) {
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	if rapid.Bool().Draw(t, "session") {
		creds.AccessKeyID, creds.SessionToken = "ASIA", "the+token/="
	}
	at := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "time"), 0).UTC()
	s3 := service == "s3"
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s3 })
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if s3 {
		payload = rapid.SampledFrom([]string{payload, unsignedPayload, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}).Draw(t, "payload")
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	if rapid.Bool().Draw(t, "presigned") {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "300")
		r.URL.RawQuery = q.Encode()
		target, headers, err := signer.PresignHTTP(t.Context(), creds, r, payload, service, "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if r.URL.Query().Has("X-Amz-Content-Sha256") {
			r.Header.Del("X-Amz-Content-Sha256")
		}
		for name := range r.Header {
			if headers.Get(name) == "" && r.URL.Query().Has(name) {
				r.Header.Del(name)
			}
		}
	} else if err := signer.SignHTTP(t.Context(), creds, r, payload, service, "us-east-1", at); err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	return wire.String(), at
}

// meaning is all that a signature vouches for.
type meaning struct {
	method, path, body string
	query              url.Values
	headers            map[string]string
}

func meaningOf(r *http.Request) (meaning, error) {
	a, err := Parse(r)
	if err != nil {
		return meaning{}, err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return meaning{}, err
	}
	m := meaning{method: r.Method, path: r.URL.Path, query: query, headers: map[string]string{}}
	for _, name := range a.signedHeaders {
		m.headers[name], _ = canonicalHeaders(r, []string{name})
	}
	if _, whole := a.PayloadHash(r); whole || !a.S3() {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return meaning{}, err
		}
		m.body = string(body)
	}
	return m, nil
}

func TestWhatTheSDKSignsVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wire, at := drawSigned(t)
		r, err := asServer(wire)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(r, at); err != nil {
			t.Fatalf("%v\n%s", err, wire)
		}
	})
}

// TestChangedRequestsFail changes one byte anywhere in a signed request. What
// still verifies must mean the same: a byte outside the signature, or another
// spelling of the same.
func TestChangedRequestsFail(t *testing.T) {
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		wire, at := drawSigned(t)
		i := rapid.IntRange(0, len(wire)-1).Draw(t, "at")
		flipped := []byte(wire)
		flipped[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		r, err := asServer(string(flipped))
		if err != nil {
			return
		}
		if err := check(r, at); err != nil {
			refused++
			return
		}
		want, got := mustMean(t, wire), mustMean(t, string(flipped))
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("byte %d changed, and it verifies, and means\n%+v\nnot\n%+v\n%s", i, got, want, wire)
		}
	})
	if refused == 0 {
		t.Error("no change was refused")
	}
}

func mustMean(t *rapid.T, wire string) meaning {
	r, err := asServer(wire)
	if err != nil {
		t.Fatal(err)
	}
	m, err := meaningOf(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEachPartIsSigned changes each part of one request: none may go unnoticed.
func TestEachPartIsSigned(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wire := signed(t, "POST", "/bucket/key?a=1&b=2", "s3", nil, "the body", at)
	changes := map[string][2]string{
		"method":    {"POST ", "PUT "},
		"path":      {"/bucket/key", "/bucket/kez"},
		"value":     {"a=1", "a=2"},
		"name":      {"&b=2", "&c=2"},
		"parameter": {"&b=2", "&b=2&c"},
		"host":      {"Host: localhost:4510", "Host: localhost:4511"},
		"date":      {"X-Amz-Date: 20260102T030405Z", "X-Amz-Date: 20260102T030406Z"},
		"body":      {"the body", "the bodz"},
		"payload":   {"X-Amz-Content-Sha256: ", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Old: "},
		"scope":     {"/us-east-1/s3/", "/us-east-2/s3/"},
		"signature": {"Signature=", "Signature=0"},
	}
	if err := check(receive(t, wire), at); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		changed := strings.Replace(wire, changes[name][0], changes[name][1], 1)
		if changed == wire {
			t.Errorf("%s: nothing changed", name)
			continue
		}
		if err := check(receive(t, changed), at); codeOf(err) == "" || strings.HasPrefix(codeOf(err), "not an Error") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Add(signed(f, "POST", "/", "elasticache", nil, "Action=X", at))
	f.Add(signed(f, "PUT", "/bucket/a%20b?x=1&x-y=2", "s3", nil, "body", at))
	f.Add("GET /k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z" +
		"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + emptyHash + " HTTP/1.1\r\nHost: h\r\n\r\n")
	genuine := map[string]bool{}
	for _, wire := range []string{signed(f, "POST", "/", "elasticache", nil, "Action=X", at), signed(f, "PUT", "/bucket/a%20b?x=1&x-y=2", "s3", nil, "body", at)} {
		r, err := asServer(wire)
		if err != nil {
			f.Fatal(err)
		}
		a, err := Parse(r)
		if err != nil {
			f.Fatal(err)
		}
		genuine[a.signature] = true
	}
	f.Fuzz(func(t *testing.T, wire string) {
		r, err := asServer(wire)
		if err != nil {
			return
		}
		err = check(r, at)
		if code := codeOf(err); code == "" {
			if a, err := Parse(r); err != nil || !genuine[a.signature] {
				t.Errorf("a forged request verifies:\n%s", wire)
			}
		}
	})
}
