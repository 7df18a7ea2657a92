package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"holdfast.dev/internal/objects/gateway"
)

// hop lists the headers that concern one connection and not the request.
var hop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// forward hands r to the child of its bucket's region and its answer back.
func (d *door) forward(w http.ResponseWriter, r *http.Request, t target) *fault {
	out, fault := d.outgoing(r, t)
	if fault != nil {
		return fault
	}
	return d.exchange(w, r, t.home, out)
}

// exchange sends out to a region and copies the answer.
func (d *door) exchange(w http.ResponseWriter, r *http.Request, region string, out *http.Request) *fault {
	resp, err := d.pool.RoundTrip(region, out)
	if err != nil {
		return d.broken(r, err)
	}
	defer func() { _ = resp.Body.Close() }()
	copyHeader(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return nil
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(onlyWriter{w}, resp.Body, *buf); err != nil {
		d.cut(w, r, resp, err)
	}
	return nil
}

// broken tells a body that could not be read from a child that could not be
// reached.
func (d *door) broken(r *http.Request, err error) *fault {
	if body, ok := r.Body.(*taken); ok && d.bodyFault != nil {
		if cause := body.failure(); cause != nil {
			return newFault(d.bodyFault(cause))
		}
	}
	return d.unavailable(r, err)
}

type onlyWriter struct{ io.Writer }

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// cut breaks the client's connection when the answer ended early, so that a part is never
// taken for the whole. Where a length was announced, the server does that by itself.
func (d *door) cut(w http.ResponseWriter, r *http.Request, resp *http.Response, err error) {
	if r.Context().Err() != nil {
		return
	}
	d.log.Warn("an S3 answer was cut off", "method", r.Method, "path", r.URL.Path, "error", err)
	if resp.ContentLength >= 0 {
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)); err != nil {
		d.log.Error("cannot break off an S3 answer", "error", err)
	}
}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		to[name] = values
	}
	for _, name := range hop {
		to.Del(name)
	}
	to.Del("Server")
	to.Del("Date") // ours is as good, and set by the server
}

// outgoing makes the request for the child: as the client signed it, or, where
// the child could not verify that, signed by ourselves.
func (d *door) outgoing(r *http.Request, t target) (*http.Request, *fault) {
	out := (&http.Request{
		Method: r.Method, Host: r.Host, Header: r.Header.Clone(), Body: r.Body, ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: childURL(r.URL.EscapedPath(), r.URL.RawQuery),
	}).WithContext(r.Context())
	if r.ContentLength == 0 {
		out.Body = http.NoBody // or an empty object would be sent in chunks of unknown length
	}
	for _, name := range hop {
		out.Header.Del(name)
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // or the transport would add its own
	}
	if t.native {
		return out, nil
	}
	payload := r.Header.Get(payloadHeader)
	switch {
	case strings.HasPrefix(payload, "STREAMING-AWS4-"):
		return nil, newFault(http.StatusNotImplemented, "NotImplemented",
			"Signed chunks cannot be sent to "+r.Host+"; use a path-style URL or the host "+t.bucket+".s3.localhost.")
	case payload == "" || r.URL.Query().Has("X-Amz-Signature"):
		payload = "UNSIGNED-PAYLOAD"
	}
	if t.hosted {
		out.URL = childURL("/"+t.bucket+r.URL.EscapedPath(), r.URL.RawQuery)
	}
	if err := d.sign(r.Context(), out, t.home, payload); err != nil {
		return nil, d.internal(r, err)
	}
	return out, nil
}

// childURL keeps a path exactly as it was escaped, because the signature covers it.
func childURL(escapedPath, query string) *url.URL {
	u := &url.URL{Scheme: "http", Host: strings.TrimPrefix(gateway.ChildURL, "http://"), RawQuery: query}
	if path, err := url.PathUnescape(escapedPath); err == nil {
		u.Path, u.RawPath = path, escapedPath
	}
	return u
}

const payloadHeader = "X-Amz-Content-Sha256"

var signatureQuery = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
	"X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token",
	"AWSAccessKeyId", "Signature", "Expires", // of version 2
}

// sign replaces whatever signature out carries by our own. payload is the value
// of x-amz-content-sha256, by which the child checks the body.
func (d *door) sign(ctx context.Context, out *http.Request, region, payload string) error {
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		out.Header.Del(name)
	}
	q := out.URL.Query()
	for _, name := range signatureQuery {
		q.Del(name)
	}
	out.URL.RawQuery = q.Encode()
	out.Host = out.URL.Host
	out.Header.Set(payloadHeader, payload)
	creds, err := d.pool.Credentials().Retrieve(ctx)
	if err != nil {
		return errors.New("cannot sign a request to the S3 service: no credentials")
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	return signer.SignHTTP(ctx, creds, out, payload, "s3", region, time.Now())
}
