// Package sigv4 verifies AWS Signature Version 4 on incoming requests: the
// Authorization header and the presigned query form.
//
// It only verifies; it never signs and never reads a secret except through Keys.
// The two flavours differ as AWS has them: every service but S3 escapes the path
// twice and covers the whole body; S3 escapes once and may send
// UNSIGNED-PAYLOAD or STREAMING-… instead of a hash. Of a STREAMING-… payload the
// seed signature is verified here, the chunk signatures are the reader's matter.
//
// Faults are *Error with the code and status of AWS; S3 has its own set.
package sigv4
