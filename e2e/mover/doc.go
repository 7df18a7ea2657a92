// Package mover tests the data tools from outside: it builds the program, runs its
// commands between real engines, and judges the outcome by exit codes and by a
// reader that has nothing in common with them (testkit.ReadContent), never by the
// mover's own verification alone.
//
// Three kinds of tests:
//
//   - matrix: every ordered pair of installed engines. By default each pair goes by
//     one road, so that every engine is source and target on every road;
//     HOLDFAST_MATRIX=full takes every road for each.
//   - peers: every way in which other movers are known to lose data, one test each.
//     The list in peers_test.go says where those stand that have a test elsewhere.
//   - kill: whatever dies, stalls or runs full on the way, the result is complete and
//     verified, or an exit code that is not 0 and words that say how to go on.
package mover
