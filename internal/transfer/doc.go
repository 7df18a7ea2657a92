// Package transfer moves whole data sets between nodes, the snapshot store and
// buckets, and proves each time that what arrived is what left. It is the one
// place where the service (package cache) meets the mover (package flow).
//
// Contract
//
//   - Every movement reads what it moves as it passes: the format is checked to
//     its end mark and checksum, and the content is fingerprinted. Nothing is
//     called done that was not read to its end.
//   - Every movement may be run again after being cut short at any point. What it
//     writes appears whole or not at all, and a target that already holds
//     exactly what would be written counts as done.
//   - Input that cannot get better by trying again (corrupt, too new, different
//     from its manifest) is an error that wraps cache.ErrPermanent.
//
// A snapshot is the directory <region>/<name> of the snapshot store: one
// NNNN.rdb per shard, an ordinary RDB file, and beside it NNNN.json, its manifest.
package transfer
