// Package api is the front door: one port and one http.Handler for every AWS
// service that is spoken here. The credential scope of a request's signature
// names the service and the region, so one AWS_ENDPOINT_URL is enough.
//
// The order of things, for each request:
//
//  1. /healthz and /readyz are answered when the request carries no signature;
//     a bucket may have either name.
//  2. The signature is read, the region's form checked.
//  3. S3: the signature is verified, the body's hash is checked while it is read,
//     and the request goes to Config.S3 with query.Info in its context.
//     All others: the body is read whole (MaxBody), then the signature verified.
//  4. The decoded call of anybody but root is held against his policies, by
//     Config.Access: elasticacheActions says what each action of ElastiCache needs,
//     iamActions those of IAM. An action without a rule is refused. What S3 is asked
//     for package front tells, since the bucket is found there.
//  5. The service's Query registry answers; a service not spoken here is refused
//     by name.
//
// No handler ever sees a request whose signature has not been verified, but for
// those that Config.S3Verifies says S3 verifies by itself. Every
// reply carries x-amzn-RequestId. A panic is a 500 InternalFailure and is logged.
//
// SDKs send the same amz-sdk-invocation-id with each retry of a call. For actions
// that change something the successful reply is kept for a few minutes by access
// key, invocation, action and body: a retry whose first reply was lost is given
// that reply and changes nothing. Retries that come while the first is running
// wait for it. Failures are not kept.
//
// Logs hold action, region, request id, code and duration; never a header, a
// parameter or a body.
package api
