package source

// Follow keeps a copy of a live server up to date by refresh and not by replay: a
// feed tells which keys change, and those are read again (value and expiry in
// one) and written whole, or as deleted. The rules that make it exact:
//
//   - A key is taken out of the set of changed keys before it is read again, so that
//     a change during the reading puts it back. All readings go over one connection,
//     and are written in the order in which they were made: the last one written is
//     the last one read.
//   - While a snapshot is on its way or being applied no key is read again: what was
//     read of it would be newer than the snapshot, and be overwritten.
//   - The snapshot is received into a file at full speed, whatever the target does,
//     and changes are noted as they come: the source keeps nothing for us but what is
//     on the wire. When changed keys are too many for memory their names go to a file.
//   - In the stream of a replica the database is known, and what no key says is
//     seen: FLUSHDB, FLUSHALL and SWAPDB are carried out by asking the source for
//     every key that the target has in these databases (a sweep) and, for SWAPDB, by
//     reading both again. On RoadCommands these are seen by counters, like in Live, or by a
//     null invalidation, and everything is read again, and swept.
//   - A sweep deletes what the source has not at that moment. What is born afterwards
//     is told of, like any change.
//   - The place in the source's history that State holds is that of the moment at which
//     the changed keys were taken, once all of them are written and confirmed. It is between two
//     commands and has the selected database with it, since a server that goes on
//     from there does not select it again.
//   - A transaction is not kept together at the target while it catches up. After a
//     Drain under a Hold, target and source are the same.
//   - Consumer groups change in ways that neither invalidations nor replicas are told
//     of. A Drain reads the streams again that may have, as the cut of Live does.
//   - Scripts that a server replicates as they are, before Redis 5, do not tell what they
//     change; such a stream is refused.
//   - A source that comes back from a restart with no keys at all does not empty the target.
//
// What was tried and lost: to replay the commands. It needs the same version on
// both sides or a translation of every command, an expiry that is renewed in flight loses
// the key, and nothing may be applied twice, so that a place has to be stored in
// the target. A refresh is a DUMP more for each changed key, and a key that changes a thousand
// times between two rounds is read once.
