// Package bridge joins two servers that would not replicate to each other: it is a
// replica of the source and the primary of the target at once, and changes the
// dialect in between. Redis 8 and Valkey 9 are joined so, both ways.
//
// # Protocol
//
// The target is told REPLICAOF us, and the source is asked by PSYNC. The source's
// snapshot is written anew, entry by entry, in encodings that the target reads, and
// is the target's full synchronization. Then the command stream follows. What the
// target understands passes byte for byte; a transaction arrives as one.
//
// A command that the target does not know, that means something else there, or that
// carries a serialized value (RESTORE) is kept back, and with it every later command
// that touches the same keys. Each such key is read from the source, in one
// transaction that also tells the offset at which the value was so, and put into the
// target's stream as RESTORE (or DEL) exactly at that offset; from there on the key's commands
// pass again. Between the two the target has an old value of that key; when nothing
// waits, which Hold sees to, source and target are the same.
//
// So the two streams differ, and the target's has offsets of its own, which begin
// with that of the snapshot. It is kept in a journal in Options.Dir: files of the
// stream as the target gets it, and beside each an index of marks, at which both
// offsets and all other state are known. The target is sent nothing that lies behind the
// last mark, and the source gets acknowledgements for nothing else.
//
// # What breaks, and what follows
//
//   - The source's link: the stream is resumed where it was received to. A source that
//     has nothing to resume from sends everything again (Status.Resyncs says so).
//   - The target's link, the target's restart with its replication state: it goes on from the
//     journal, as far back as that goes.
//   - This process, by kill -9 too: a new Bridge with the same Dir goes on. The target is
//     meanwhile a replica of an address where nobody is; REPLICAOF NO ONE ends that.
//   - The machine: a journal that is not whole is found out by its checksums, and
//     everything is copied again.
//
// # Contract
//
//   - A target that holds anything is refused unless Options.ReplaceAll is set: a full
//     synchronization empties it. sink.ErrNoReplicaOf and source.ErrNoReplica say that there is
//     no bridge between these two, before anything was changed.
//   - What the target cannot hold at all (field TTLs, functions, vector sets, values of
//     modules) ends the bridge with an error that names it; known beforehand, before
//     the target is touched.
//   - Run is called once. Hold, Promote, Release and Status may be called from any
//     goroutine while it runs.
//   - The journal holds at most Options.JournalLimit bytes. When the target is away
//     for longer than that lasts, everything is copied again when it is back.
//   - Memory: about the largest command or transaction of the stream.
//   - SORT ... STORE with patterns and scripts that were sent as scripts read keys that they do not
//     name; while a key waits for its refresh they are kept back too.
package bridge
