// Package discovery stands in front of memcached nodes and answers auto discovery,
// which memcached itself does not know: clients ask a node, or the configuration
// endpoint, for the list of all nodes.
//
// # Contract
//
//   - A Front answers `config get cluster`, `get AmazonElastiCache:cluster` and their
//     binary forms (opcodes 0x60, 0x00, 0x0c) from the list that it was last told.
//     No `config` command reaches memcached; the others are refused here.
//   - Everything else passes through as it came, both ways, and an answer of ours
//     stands where it belongs among those of memcached to pipelined requests: in the
//     request's place memcached is asked something harmless, a version or a no-op, and
//     our answer takes the place of that one's. So whoever is not let in by
//     memcached is not told the list either.
//   - A client sees nothing of the front but that: what memcached ends, the
//     front ends, and the other way round. When a node takes no connection the client is cut off.
//   - A Manager owns the fronts of whole clusters: Set makes exactly the doors that it is
//     told of stand, and has all of them answer the new list before any that goes is closed.
//   - Memory per connection is bounded: two buffers. A line that is longer than one, which only
//     a get of many keys is, passes through unread.
//
// # How requests are told apart
//
// Only so much is read of a request as is needed to find where the next one begins: the
// length of a data block in the text protocol, and that of the body in the binary one. A
// request that memcached itself refuses may be understood to be shorter or
// longer than memcached takes it; what can come of it is that its own sender gets the list
// in the place of an error.
package discovery
