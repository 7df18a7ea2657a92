// Package front is the S3 door before the children of package gateway: it finds
// the region of a bucket, answers what concerns several regions, and hands every
// other request to the region's child, byte for byte as the client signed it.
//
// Who verifies what: the API server verifies the signature of the headers before it
// calls this handler, and must leave the body unread. The child verifies that same
// signature again, and the payload: its hash, the chunk signatures and the
// checksums in trailers. URLs presigned by signature version 2 are verified here.
//
// Who may do what: Options.Authorize decides, after all signatures of headers and URLs
// have been verified, about the actions that actions.go makes of a request. What cannot be
// told for certain is no action, and left to whom everything is allowed.
//
// Regions. Bucket names are global. A request signed for another region than its
// bucket's gets PermanentRedirect with x-amz-bucket-region, which the AWS CLI and
// boto3 follow by themselves. CreateBucket makes the bucket in the region of the
// request; us-east-1 wants no constraint, every other region its own name.
// GetBucketLocation and ListBuckets answer for all regions.
//
// Copies between regions are streamed from child to child, with metadata, tags,
// conditions and checksums as S3 has them. A source that does not match its own
// stored checksum is not copied.
//
// Addresses. /bucket/key works on every host. <bucket>.s3.<anything> names a
// bucket too, and so does <bucket>.localhost; through the latter, uploads with
// signed chunks are refused with NotImplemented, because the child could not verify
// them.
package front
