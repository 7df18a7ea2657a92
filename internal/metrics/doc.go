// Package metrics derives ElastiCache's figures, by CloudWatch's names, from what
// engines say of themselves, keeps a day of them, and writes them for Prometheus. It speaks to
// nobody itself: whoever uses it brings what an engine said.
//
// Contract
//
//   - A figure that an engine does not tell is left out, never made up; so is one that counts
//     for a minute while there is no reading of the minute before.
//   - A counter that has gone back, or is another process's, began anew: all of it counts.
//   - What is kept is bounded, in memory and on disk: a day, minute by minute.
//   - A file that was cut short by a crash is read up to the cut.
package metrics
