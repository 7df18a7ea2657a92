// Package flow holds the words of the mover: an Entry is one key with its
// value, a Source is where entries come from, a Sink is where they go, and Run
// carries them from one to the other in batches.
//
// Contract
//
//   - Sources pull: they yield entries or one final error, and stop when the
//     context ends. They never panic and never log what they should return.
//   - Sinks push back: Write returns only when the batch is accepted, so a slow
//     sink slows its source.
//   - An Entry handed out by a source is valid until the next one is asked for;
//     whoever keeps it longer clones it. Run clones into batches.
//   - A Filter says which entries are meant, a Rewrite what they are called
//     elsewhere; a Rewriter refuses to make one key of two. A Limiter holds a
//     reading to a rate.
//
// The value of an entry is the engine's own serialization and is never decoded
// here, which is what lets an RDB file, a replica stream and DUMP feed any sink
// without a second encoding.
package flow
