// Package memcached makes one memcached be what its spec says.
//
// # Contract
//
//   - memcached listens at a Unix socket in its own directory and nowhere else: whoever
//     comes over the network comes through a front (internal/endpoint/discovery). The
//     directory is private, and so is the socket.
//   - Start finds the process that runs or starts one; it returns when the process
//     exists, and AwaitReady when it answers. All of it is only said at the
//     start: memcached cannot be told anything later.
//   - Parameters have ElastiCache's names. What a build does not know is told by Unapplied,
//     and left out.
//   - With Keep, items are in a memory file (-e): StopKeeping writes down
//     what is in it, and the next start of the same or a newer version has every item. What
//     ends in any other way starts empty.
//
// # The trap in the second
//
// memcached takes a memory file only if time has passed since it was closed, in whole
// seconds; one that is started within the same second is silently empty. Start waits for the next.
package memcached
