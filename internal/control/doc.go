// Package control is what can be asked of the service: one function per action.
// Each validates, writes down what is wanted in one transaction and returns; none
// waits for anything to come true. Describe functions only read.
//
// Contract. Regions are namespaces: every function takes one, and names are
// matched without case and stored in lower case. What the caller did wrong is a
// *cache.Fault with ElastiCache's code; every other error is ours. Nothing that
// was asked for is dropped in silence: what cannot be honoured is refused with a
// message that names it, and what is kept without effect is said in an event.
//
// What looks outside the store (the catalogue, buckets, memory, whether an
// address is free) is asked before the transaction, since its closure may run
// twice; what it said about records is checked again inside.
//
// Kept, but without effect for now, each told by an event on the cache: a
// notification topic (shown as inactive), security groups (nodes answer on this
// machine only).
//
// Memory. Node types are nominal. By default a creation is refused only if the
// data that it is seeded from, counted LoadFactor times for each node, does not
// fit what is really free; with StrictMemory the node types of all caches
// together may not exceed the machine.
//
// Of Memcached, what concerns nodes, version and node type is pending until the
// maintenance window unless it is to be applied immediately. New nodes have their
// addresses while they are pending.
//
// Invariants: a group, its members, the claims on their addresses and, for a
// seed, the mark on the snapshot are written together or not at all; no address
// belongs to two; the windows of a cache never overlap.
package control
