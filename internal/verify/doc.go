// Package verify proves that two keyspaces hold the same: it computes
// fingerprints of sources of entries, and compares two sources key by key where
// their fingerprints differ. It knows nothing of how data is moved.
//
// # Fingerprint
//
// A fingerprint does not depend on the order of entries nor on how an engine
// encodes a value, so a live Redis 6, an RDB file and a Valkey 9 compare
// directly. For each entry there is a 128-bit hash over key, type, decoded value
// and whether the key expires. The hashes are added modulo 2^128 per database
// and slot; addition, unlike XOR, tells a key twice from no key at all, and one
// 128-bit sum with carry beats two 64-bit sums in nothing but simplicity: any
// change of content changes either with probability 1-2^-128.
//
// When a key expires is in a second sum of the same kind, over key and Unix
// milliseconds of the volatile keys. It is apart because engines before Redis 7.0
// tell only the remaining time, so that a source reading them knows the expiry
// to a millisecond or two: data then still compares exactly, by the first sum,
// and expiries within a tolerance, by Compare.
//
// The canonical form of a value:
//
//   - string: its bytes; list: its items in order; set: its members; hash: its
//     fields with values and, where fields have them, expiries in Unix milliseconds
//     (exact on every engine that has them); sorted set: its members with the bits of
//     their scores, -0 taken as 0 since some encodings lose its sign;
//   - stream: its entries in order with id, fields and values; last id; groups
//     with last delivered id, pending entries (id, when and how often delivered, to
//     whom) and consumers' names. Left out is what engines before Redis 7.0 or 7.2
//     do not keep and therefore cannot give back: the greatest deleted id, the number
//     of entries ever added, the number that a group has read, and a consumer's last
//     active time; and its last seen time, which each replica counts for itself;
//   - vector set: dimensions, configuration and projection; its elements with vector and
//     attributes. Left out is the graph over them, and their order, which turns round at each load;
//   - other modules: the serialized bytes as they are.
//
// Not part of it: idle times, access frequencies, functions, and the size hints of files.
//
// The hash is MurmurHash3 (x64, 128 bits) with a 128-bit starting state, by which
// parts are chained. It finds every accident; it is no defence against someone
// who crafts two contents with the same hash.
//
// Values too large for memory (flow.Entry.Body) are hashed where they are read, and
// give the same fingerprint.
//
// # Compare
//
// Both ends are read once, at the same time. If their sums differ, the slots
// that differ are read again and compared key by key, with a bound on the keys
// held at once. On live ends each difference is looked at again before it is
// reported, and keys that expired meanwhile are counted, not reported.
//
// Contract: sources yield each key of a database once, as flow.Source asks; an
// error of a source is returned, never a verdict on half the data.
package verify
