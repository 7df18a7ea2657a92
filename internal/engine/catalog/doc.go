// Package catalog knows which engines are installed and which of them serves
// which version that ElastiCache names.
//
// # Contract
//
//   - Scan looks at the bundles that scripts/engines makes (a directory with a
//     manifest.json) and at redis-server, valkey-server and memcached on PATH. It
//     starts nothing but "--version" of the latter. What it finds but cannot use
//     is kept as a problem and stops nothing else.
//   - A Catalog does not change once made and may be shared by goroutines.
//   - Checksums of bundles are scripts/engines' business; Scan reads no binary.
//
// # Which build serves which version
//
// Distributions do not ship everything that ElastiCache names, and an engine of
// the same kind that is newer loads the older one's files, follows it as a
// replica and speaks its commands. So the version asked for is served by the
// closest installed build of the same engine that is not older. Redis 7.1 is
// ElastiCache's own name for a faster 7.0, and is served by 7.0.
//
// A version is refused when nothing installed is as new, or when all that sets it
// apart is something no open build has: Valkey 8.2 is 8.1 with vector search. For
// the others, Version.Lacks names what ElastiCache adds and the build does not have.
//
// From Redis 6.0 on, as in Valkey, ElastiCache names major and minor only; "6.x"
// stands for the newest 6. A patch is refused there.
package catalog
