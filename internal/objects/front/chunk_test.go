package front_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func hexsum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// chunked is a PUT as the Java SDK and others send it: aws-chunked, each chunk and
// the trailing checksum signed, or only the checksum for a payload that is not signed.
type chunked struct {
	signed bool
	spoil  func(body []byte) []byte
}

func (c chunked) send(t *testing.T, url, region string, body []byte) int {
	t.Helper()
	now := time.Now().UTC()
	payload := "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	if c.signed {
		payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	}
	req, err := http.NewRequestWithContext(limited(t), http.MethodPut, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "aws-chunked,gzip")
	req.Header.Set("X-Amz-Content-Sha256", payload)
	req.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(body)))
	req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	creds := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}
	if err := signer.SignHTTP(context.Background(), creds, req, payload, "s3", region, now); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	encoded := c.encode(body, seed, region, now)
	if c.spoil != nil {
		encoded = c.spoil(encoded)
	}
	req.Body, req.ContentLength = readCloser{bytes.NewReader(encoded)}, int64(len(encoded))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func (c chunked) encode(body []byte, previous, region string, now time.Time) []byte {
	day, stamp := now.Format("20060102"), now.Format("20060102T150405Z")
	scope := day + "/" + region + "/s3/aws4_request"
	key := mac(mac(mac(mac([]byte("AWS4"+secret), day), region), "s3"), "aws4_request")
	sign := func(kind, rest string) string {
		previous = hex.EncodeToString(mac(key, kind+"\n"+stamp+"\n"+scope+"\n"+previous+"\n"+rest))
		return previous
	}
	var out bytes.Buffer
	for at := 0; ; at += 64 << 10 {
		chunk := body[min(at, len(body)):min(at+64<<10, len(body))]
		fmt.Fprintf(&out, "%x", len(chunk))
		if c.signed {
			fmt.Fprintf(&out, ";chunk-signature=%s", sign("AWS4-HMAC-SHA256-PAYLOAD", hexsum(nil)+"\n"+hexsum(chunk)))
		}
		out.WriteString("\r\n")
		if len(chunk) == 0 {
			break
		}
		out.Write(chunk)
		out.WriteString("\r\n")
	}
	crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
	trailer := "x-amz-checksum-crc32:" + base64.StdEncoding.EncodeToString(crc)
	fmt.Fprintf(&out, "%s\r\n", trailer)
	if c.signed {
		fmt.Fprintf(&out, "x-amz-trailer-signature:%s\r\n", sign("AWS4-HMAC-SHA256-TRAILER", hexsum([]byte(trailer+"\n"))))
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

func TestChunkedUploads(t *testing.T) {
	s := newService(t)
	s.bucket(t, near, "one")
	body := random(300_000)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at]++; return b }
	}
	for name, tt := range map[string]struct {
		chunked
		good bool
	}{
		"signed":            {chunked{true, nil}, true},
		"unsigned":          {chunked{false, nil}, true},
		"signed-spoilt":     {chunked{true, flip(200_000)}, false},
		"unsigned-spoilt":   {chunked{false, flip(200_000)}, false},
		"signature-spoilt":  {chunked{true, flip(50)}, false},
		"signed-cut-short":  {chunked{true, func(b []byte) []byte { return b[:len(b)-40_000] }}, false},
		"trailer-cut-short": {chunked{false, func(b []byte) []byte { return b[:len(b)-10] }}, false},
	} {
		st := tt.send(t, s.url+"/one/"+name, near, bytes.Clone(body))
		if tt.good != (st == http.StatusOK) {
			t.Errorf("%s: status %d", name, st)
		}
		onDisk, err := os.ReadFile(filepath.Join(s.root, near, "one", name))
		if tt.good && !bytes.Equal(onDisk, body) || !tt.good && !os.IsNotExist(err) {
			t.Errorf("%s: %d bytes stored, %v", name, len(onDisk), err)
		}
	}
	head, err := s.client(t, near).HeadObject(limited(t), &s3.HeadObjectInput{Bucket: aws.String("one"), Key: aws.String("signed")})
	if err != nil || aws.ToString(head.ContentEncoding) != "gzip" {
		t.Errorf("content encoding %q, want gzip alone: %v", aws.ToString(head.ContentEncoding), err)
	}
}
