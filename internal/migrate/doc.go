// Package migrate moves a source that clients write to, to a target that they
// will write to, and lets nobody notice but for a moment.
//
// A Carrier brings everything over and then follows what changes. When it is in
// step, the cut-over comes:
//
//  1. Rehearsal, with writers at work: both ends are compared whole, and from its
//     beginning on it is noted which keys change.
//  2. Writes at the source are held. What is still on its way is drained.
//  3. The keys noted since the rehearsal began, and those that it did not see to
//     agree, are compared again. All others did not change since they were seen
//     to agree, so the ends are equal if these are.
//  4. If they are, the operator switches the clients and says so; the source then
//     refuses writes for good, and writers that were made to wait get an error,
//     not a success that nobody will see again. If anything fails, or takes longer
//     than it may, writes are released and the source is as it was.
//
// What is needed to go on after a kill is in a directory of ours, a Checkpoint;
// the target holds nothing but the data.
package migrate
