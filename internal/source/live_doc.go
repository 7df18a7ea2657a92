// Live reads a server that others write to, exactly as it was at one instant,
// with the commands of an ordinary client. The rules that make it exact:
//
//   - A connection hears of every key that is written to, from before the first
//     key is read: by the invalidations of client tracking in broadcast mode, or
//     by keyspace notifications. If it is lost, everything read is worthless.
//   - A key is taken out of the set of changed keys before it is read again, so
//     that a change during the reading puts it back.
//   - Invalidations do not tell the database: a changed key is read in every
//     database that held keys at some time. Which these are, and whether they hold
//     volatile keys, is asked after the changed keys were taken, not before.
//   - No key is read twice by the scan: one that is known is either right or
//     among the changed ones, and a changed one will be read anyway.
//   - Commands on consumer groups tell nobody. If the server's counters say that
//     one was called, every stream is read in the cut, or, a large one, seen by
//     XINFO not to have changed.
//   - SWAPDB, FLUSHDB and FLUSHALL are seen by the same counters, and so is their
//     reset, since the counter of DUMP must have grown by what was sent. Any of
//     these begins anew.
//   - The cut: writes are held back (CLIENT PAUSE WRITE), a PING on the listening
//     connection brings everything up to then, the remainder is read, writes go on.
//     It counts only if all of it was read within the bound of the pause.
//     The bound is also what the server was told, so that writes go on by
//     themselves should we die. A pause that somebody else began ends with ours.
//   - Or, where writes cannot be held back: the remainder is read in one
//     transaction of which it is known what came before it; if anything else was
//     written to, it is tried again with that. See execCut.
//
// Values over a mebibyte are copied in pieces, so that the server is never busy
// with one for long. Those that would not stand still are read at once in the
// cut: there being right goes before being fast, and the report says so.
//
// Entries wait in a spool, a file without a name, with an index of 20 to 30
// bytes for each key in memory. Changed keys take about a hundred bytes each
// until they are read again, at most some 200,000 of them. The spool holds
// superseded versions too until the end; they are not yielded.
package source
