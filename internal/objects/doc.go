// Package objects keeps whole byte streams under names: a directory, or a bucket
// of any S3 service. Snapshots, exports and seeds are written and read through it.
//
// Contract of every Store, held by one conformance suite:
//
//   - An object appears whole or not at all. Until Writer.Commit returns nil
//     nobody sees its name; after Abort, a failed Commit, a cancelled context or
//     a killed process nothing carries it.
//   - Commit is durable as far as the place allows: files and their directory are
//     synced; an S3 service has acknowledged.
//   - IfAbsent never replaces an object, races included: of two writers one gets
//     ErrExist.
//   - Open reads one version of an object to its end or fails; it never splices
//     two versions and never ends early without an error.
//   - Errors match the sentinels of this package with errors.Is.
//
// A Store may be used from many goroutines; a Writer and a reader from one.
//
// Buckets finds the store behind an S3 bucket name and its region: in the embedded
// service (package gateway), or at an endpoint of the user's own (NewExternal).
// The packages below: gateway runs the embedded S3 service, a child process for
// each region; front is the HTTP handler before those children.
package objects
