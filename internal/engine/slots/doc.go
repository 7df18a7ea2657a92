// Package slots moves slots with their keys from one primary of a running cluster to
// another while clients read and write.
//
// # Contract
//
//   - Run may be cut short anywhere, by a crash too, and called again: what stands in
//     the nodes is all it needs to go on. Nodes that were replaced by their replicas
//     meanwhile are named anew by the caller.
//   - A slot is told as done when source, target and all others know whose it is. Until
//     then a failover might bring forth a node that still claims it.
//   - At every moment clients find each key at one of the two, by MOVED and ASK.
//   - A slot with an item that is too large stays where it is, whole.
//   - One Run per source and per target at a time.
//   - No password of the caller goes into a command that others can watch.
//
// # The two ways
//
// Valkey 9 moves whole slots by itself, as a replication of these slots: a job is
// ordered, and a job that an earlier attempt ordered is waited for. All others are
// moved key by key. The target is told to import and the source to migrate, so that
// the source sends clients to the target for what it has not got; then keys go by
// MIGRATE, and in the end the slot is given to the target, then taken from the
// source, then told to the others. This order matters: while two nodes disagree,
// clients are sent to and fro between them and find their keys; while both claim a
// slot, or none does, they would not.
//
// # Speed
//
// MIGRATE stops the source for as long as it takes. So keys go in bursts, whose size
// follows from how long the last ones took and from how long the source lets a PING on
// another connection wait; after each the source is left alone for as long as it was
// kept busy, and for longer while it is slow. A slot with few keys costs as much as one with none, so
// that slots are opened and closed by hundreds; each is open for a short time only,
// for commands on several keys are refused by TRYAGAIN meanwhile.
//
// # Keys at both ends
//
// MIGRATE that is cut off leaves keys at both ends. The owner's are the ones that
// count: as long as the source has a key, clients are not sent elsewhere for it. The
// other copy is replaced once it is seen that the slot is open still, from this
// source to this target.
//
// # Turning round
//
// An item may become too large when others of its slot have left. They cannot just be
// sent back: the source would redirect them to the target, and without that it would
// tell clients that they are gone. So the two nodes change places: the target becomes
// the owner that migrates, the source imports, and the keys come home by the ordinary
// way. The order of the steps matters more than anywhere else (turn.go says why): an
// owner that hears of a newer claim to a slot deletes the keys that it has in it.
//
// # Failover
//
// Before Redis 7 and Valkey 8 a replica knows nothing of slots on the move. One that
// took over from the source has what the source still had; one that took over from the
// target has what the target had got, though it says to nobody that it imports. Run sets
// both marks again, and goes on. What was on its way in the last burst before a
// primary died may be lost with it, like any write that no replica had received: after
// each burst Run waits for a replica to acknowledge it, where there is one.
//
// One that takes over from the source claims what it knows to have been the source's, with
// the newest claim of all. If it had not heard yet that slots were given away the target
// would delete their keys. So whoever lets it lead calls Learn first.
package slots
