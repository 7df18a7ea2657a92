// Package resp speaks the RESP wire, versions 2 and 3, to Redis and Valkey
// servers: encoding commands, reading replies without copying them, and keeping
// many commands in flight on one connection.
//
// # Contract
//
//   - Append functions append one piece of a command to a byte slice and return
//     it, as the append built-in does. They never fail.
//   - A Reply, its bytes and its elements are valid until the next reply is read
//     from the same Reader, Conn or Pipe.
//   - What a server claims costs nothing: memory is taken as bytes arrive, and
//     sizes, element counts and nesting are limited (Limits).
//   - A string may be larger than memory: where SpillAbove was asked for, what a
//     reply has no room for lies in a nameless file (Reply.Spilled), and Bytes is nil.
//     A disk that is full is a SpillError.
//   - An error reply is a ServerError. A connection that failed otherwise, or
//     whose context ended, is dead: every later call gives the same error.
//   - No error and no String method shows a password. Addresses are printed as
//     redis://user:***@host:port/db.
//   - Certificates are verified unless Options say otherwise in so many words.
//
// # Ownership
//
// A Conn belongs to one goroutine at a time. A Pipe takes its Conn over until
// it is closed and owns one goroutine, which Close waits for. A Pipe never
// deadlocks against a server that answers before it has read everything,
// because sending and receiving are independent of each other.
package resp
