// Package query speaks the AWS Query protocol (a form in, XML out) for one
// service at a time, typed by the structs of the AWS SDK for Go v2.
//
// Registering and answering:
//
//	svc := query.NewService(shapes.ElastiCache)
//	query.Handle(svc, func(ctx context.Context, in *elasticache.CreateReplicationGroupInput) (*elasticache.CreateReplicationGroupOutput, error) {
//		info := query.InfoFrom(ctx) // region, account, identity, request id
//		…
//	})
//	if err := svc.Err(); err != nil { … } // a mistake in registering; api.New checks it too
//
// The action is the input type's name without "Input". The table says which
// actions exist; one without a handler answers 400 UnsupportedOperation and
// names itself, one the table does not know answers 400 InvalidAction.
//
// Errors. A handler returns one of these, wrapped or not:
//
//   - an error struct of the SDK: &types.CacheClusterNotFoundFault{Message: &msg};
//   - any error with ErrorCode() string and ErrorMessage() string, such as cache.Fault;
//   - query.Errorf(code, format, …) for a code without a struct.
//
// The HTTP status comes from the table (404, 408, else 400). Everything else,
// an error of another service's SDK client included, is internal: it is logged
// and answered as 500 InternalFailure without its text.
//
// What has been checked before a handler runs: the signature, the version, that
// required members are there and not blank, that numbers, booleans and times
// parse, that enum values are known (compared without case, as ElastiCache does,
// and handed on in the SDK's spelling). Ranges, patterns and combinations are
// the handler's.
//
// Absent and empty. A list that the caller sent empty arrives as a non-nil slice
// of length 0; one not sent is nil. In a reply, lists that stand directly in the
// output are always written, even when nil, so that clients show [] as they do
// with AWS; lists further down are left out when nil.
//
// Limits: a request holds at most MaxParams parameters, nests at most MaxDepth
// deep, and no list has an index over MaxIndex; what is allocated is bounded by
// what was sent, never by a number in a parameter's name.
//
// A handler for an action that changes something runs to its end even when its
// client has gone (the client's retry is then given the same answer), within
// MutateTimeout. Actions named Describe…, List… or Get… end with their client.
//
// Invariant: a Service is filled first and serves afterwards; it is safe for
// concurrent use once nothing is registered any more.
package query
