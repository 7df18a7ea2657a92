// Package store keeps records durably: what was asked for and what was seen. It
// knows nothing of what the records mean.
//
// # Contract
//
// A record is a Go value kept as JSON in a named [Table] under a string key such
// as "us-east-1/orders". All access is through transactions: [DB.View] sees one
// consistent state, [DB.Update] makes one change that is wholly there or not at
// all. When Update returns nil the change is on disk: neither kill -9 of this
// process nor a power cut undoes it. When it returns an error nothing of the
// change is there, with one exception that says so, [ErrUncertain].
//
// The closure of an Update may be run more than once and together with those of
// other callers in one commit; so it reads its input through the transaction, has
// no effects outside it, does no input or output and is short. Inside a closure
// neither Update nor Close is called: both would wait for it for ever.
//
// Every Update that changes something gets the next revision, and each record
// carries the revision of its last change. [DB.Watch] tells that something below
// a prefix has changed since one last looked; what it is now, is read. A [Tracker] says
// which records are to be read then.
//
// This is a subset of what etcd offers (transactions by closure, revisions,
// watches by prefix), so that a clustered form can stand behind the same functions.
//
// # Format
//
// The file is a bbolt database: bucket "meta" holds the format number and the
// last revision, bucket "records" one bucket per table, each value is the
// revision (8 bytes, big endian) and the JSON. Migrations are numbered, each runs
// in one transaction with the format number it leads to, and a file of a newer
// format is refused. Fields that a record has on disk and the Go type has not are
// ignored, since removing a field must not need a migration; therefore a release
// that adds a field which an older one must not lose adds a migration, be it an
// empty one, and the older release refuses the file.
//
// # Invariants
//
//   - One process at a time has the file open (flock); a second one gets [ErrLocked].
//   - The file comes into being complete, by link from a temporary one: there is no
//     moment at which a kill leaves a half-made database behind.
//   - Values returned are the caller's own, to be changed at will, but for those of
//     [Table.Peek]. The cache of decoded records behind them is keyed by revision and
//     filled from committed states alone.
//   - Whoever keeps a copy of the records, and reads again what a Tracker names in the
//     transaction that it asks in, has the state of that transaction, and no mixture.
package store
