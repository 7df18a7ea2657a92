package gateway

import (
	"net"
	"strings"
)

// hostMark makes a Host of the form <bucket>.s3.<anything> name a bucket: what
// stands before the first ".s3." is the bucket. The child splits the name in the
// same way, because the signature covers path and Host as they were sent.
const hostMark = "s3."

// HostBucket takes the bucket out of a Host header. native is true when the child
// understands the form by itself; <bucket>.localhost it does not.
func HostBucket(host string) (bucket string, native bool) {
	if bucket, _, ok := strings.Cut(host, "."+hostMark); ok {
		return bucket, true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	bucket, ok := strings.CutSuffix(host, ".localhost")
	if !ok || bucket == "s3" || strings.HasPrefix(bucket, "s3.") || bucket == "" {
		return "", false // s3.localhost and s3.<region>.localhost are the service itself
	}
	return bucket, false
}
