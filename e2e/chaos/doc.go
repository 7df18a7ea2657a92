// Package chaos breaks a replication group in every way that there is, while clients
// write to it, and proves from the clients' history that nothing went wrong.
//
// # A round
//
// A seed makes a Schedule: episodes of one to three faults (engines killed or
// halted, the service killed or restarted, nodes cut off from each other, replicas
// added and taken away, slots moved). Run plays it against the program itself and
// real engines. In each episode clients write and read keys of their own episode;
// then everything that was broken is let go, the group has to become whole again by
// itself, and every key is looked at, at the primary and at each replica.
//
// # What is checked
//
// Check is a pure function over a History. Every acknowledged operation carries
// the engine that took it (its run id) and the term in which it did (the
// replication id, which changes at each promotion), asked within the same
// transaction. Every write is a register's new value and a member of a set that
// only grows, so one that is lost is missed even after later ones.
//
//   - lost: a write that had reached more replicas than the episode took nodes
//     away (WAIT tells how many) is there ever after.
//   - kept: what was there when a group was whole again is there the next time.
//   - strange: nothing is there that was refused, or that nobody wrote.
//   - apart: a replica in step holds what its primary holds.
//   - two primaries: writes of two terms of a shard do not interleave in time.
//   - stale: nobody reads what such a write had replaced before.
//   - not linearizable: within a term each key behaves like one register.
//   - not whole: the group becomes whole again at all.
//
// A write without an answer may have happened or not, at any later time. A write
// that reached fewer replicas than nodes were taken away may be lost: nobody could
// have kept it. No check asks how long anything took.
//
// # What fails is made small
//
// Shrink takes operations out of a history as long as what is left still shows the
// same violation. Only whole values are taken out, a write with all its reads:
// what is left of a good history is good, so nothing is found that was not there.
// ShrinkFaults plays a schedule again with fewer and fewer faults.
//
// Cutting nodes off needs a network namespace of our own, which most Linux machines
// give to everybody. Where there is none these faults are left out, and it is said.
package chaos
