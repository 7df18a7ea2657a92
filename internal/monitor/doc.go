// Package monitor tells engines that hang from those that are busy, and ends the
// former, so that what follows the end of any process follows theirs: another node
// leads, or the same one is started again.
//
// # Contract
//
//   - Judge is pure: evidence in, verdict out. The table of its cases is its test.
//   - Nothing is ended on one piece of evidence. Of our own probe, the process table
//     and what the replicas say of their link two have to agree, and none may speak
//     against it. What they disagree on is told by an event and left alone.
//   - A busy engine is not a dead one: while its process uses the processor nothing is
//     done, however long a script runs.
//   - Nothing is ended without something to gain: a primary only where a replica
//     answers that has its data. A node that stands alone keeps what it has, and an
//     event tells of it. A replica, and a node that has no data yet, is started again.
//   - Our own silence is not taken for a node's: when this process itself came late
//     (it was stopped, starved, or collected garbage) what it noted before counts for
//     nothing. A node that was never heard is not missed for a while.
//   - The end of a process is nobody's judgement: whoever waits for it acts.
//
// # Cost
//
// One goroutine serves all nodes: a write and, a moment later, a read per question,
// without allocations, and without the runtime's poller, which would wake up for each
// answer. The process table is read for nodes that owe an answer, and for no others.
// Connections are made by goroutines that Run waits for. Those with TLS cannot be read
// without the runtime: each has a goroutine that reads, and ends when it is closed.
package monitor
