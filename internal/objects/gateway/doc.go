// Package gateway runs the embedded S3 service: one child process for each region,
// started when the region is first used.
//
// The child (Main) serves <root>/<region> through a Unix socket: objects are plain
// files <root>/<region>/<bucket>/<key>, with their S3 attributes beside them as
// extended attributes (or in <root>/.meta/<region> where the file system has none).
// It is a process of its own because the server library changes the working
// directory and holds one backend for each process.
//
// The parent (Pool) starts children, checks that they answer, starts them again
// with growing delays when they die, and ends them. A child never outlives its
// parent: it ends when its standard input ends, and on Linux the kernel kills it
// with the parent besides. Secrets go to it through that standard input only, never on its
// command line or in its environment.
//
// The child verifies every request itself, with the customers' own keys, so that a
// client's signature, chunk signatures and checksums are checked end to end.
// Requests of our own are signed with a key that is drawn anew at each start.
//
// A write is acknowledged once the object's bytes and name are synced to disk.
package gateway
