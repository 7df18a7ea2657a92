// Package endpoint puts stable addresses in front of nodes, where an engine
// cannot hold an address itself: in front of Redis before 7.0, of several
// replicas, and on platforms where all nodes share one host.
//
// # Contract
//
//   - A Manager owns its forwarders, their connections and goroutines; Close and
//     Remove return when all of those have ended.
//   - A connection belongs to one node from its first byte to its last: it is
//     never moved. When its node leaves the list it is cut off (RST), so that the
//     client connects anew and reaches a node that is on the list. When Set or
//     Remove has returned, no such connection is left.
//   - New connections go to the nodes in turn. A node that does not take
//     connections is passed over, and for a short time not asked again; when none
//     takes them the client is cut off, as the engine's own address would do.
//   - Bytes are passed on as they come, both directions independent of each other:
//     the end of one (FIN) is passed on and the other goes on. An abrupt end on one
//     side (RST, an error) is an abrupt end on the other.
//   - With SetMixed clients with TLS and without come to one address. The first byte tells
//     them apart; nothing is decrypted here.
//   - Memory is bounded: one buffer per direction and only while bytes pass through
//     it; two descriptors per connection; a limit to the number of connections,
//     beyond which a client is told so in the engine's words.
//   - The kernel gives an address to one process: while an engine, or a process
//     that hangs, still holds it, Set waits for a while and then fails.
//
// # What was tried
//
// Letting the kernel move the bytes (splice) costs a pipe per direction, four
// more descriptors per connection, and is not faster for the short commands
// that make up a cache's traffic; see BenchmarkTraffic.
package endpoint
