// Package source holds the places that entries come from.
//
//   - RDB: one or many RDB files, from anywhere that can be read from beginning to end.
//   - Scan: a live server, read key by key with SCAN and DUMP.
//   - Cluster: all shards of a cluster, each as Scan reads a server, exact while slots
//     move; Merge puts shards together that are read in other ways.
//   - Live: a live server that others write to, as it was at one instant, with the
//     commands of ordinary clients alone; its rules stand in live_doc.go.
//   - PSync: a live server, read as a replica of it would: its snapshot, one instant in time.
//   - Follow: a live server copied into a sink, and then what changes, until it is
//     stopped; for migrations without downtime. Its rules stand in follow_doc.go.
//   - HoldWrites: makes a server take no writes for the moment of the switch.
//   - Generate: made-up data of a stated shape, the same again from the same seed.
//
// Contract, besides that of flow.Source
//
//   - Every source yields each key of a database once.
//   - A source that cannot read everything ends with an error; what it yielded
//     before must then not be taken for the whole.
//   - Scan is exact for each key: value and expiry belong to one instant. It is
//     not a point in time over all keys: keys written while it runs are yielded
//     with the value of some instant in between, and keys created meanwhile may be left out.
//   - No value above a few megabytes is held in memory: it comes as a Body, out of the
//     stream or a nameless file. The server is not spared: DUMP makes the whole
//     payload in its memory first. Live avoids that for values above 1 MiB, which it
//     reads in pieces; streams, modules and hashes with expiring fields excepted.
//   - RDB and PSync have seen the end mark and, where the file has one, a right
//     checksum when they end without an error.
package source
